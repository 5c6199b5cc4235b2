# SPDX-License-Identifier: Apache-2.0
"""Every op of op_samples.py captured: a replay on other values has the bits of the eager call, forward and backward,
or the capture is refused, and only for the ops whose values decide what is done. No kernel writes an operand that its
op does not declare."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402
from gradstep import _C  # noqa: E402
from op_rows import Maker  # noqa: E402
from op_samples import ROWS  # noqa: E402
from test_ops import attempt, describe, is_floating, leaves, ours, resolve, walk  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

# What they return or launch depends on values: eager only.
VALUES_DECIDE = {
    "argwhere", "bincount", "equal", "allclose", "is_nonzero", "item", "masked_select", "nonzero", "one_hot",
    "Tensor.repeat_interleave", "repeat_interleave", "tolist", "unique", "unique_consecutive", "histc",
    "Tensor.item", "Tensor.tolist", "F.one_hot", "quantile", "nanquantile", "prod", "F.gaussian_nll_loss",
    "histogram", "combinations", "normal", "masked_scatter", "index_fill", "gaussian_nll_loss",
}  # fmt: skip

# Composed in Python of ops that read values, or of numpy's.
ON_THE_HOST = {
    "gcd", "lcm", "nextafter", "frexp", "igamma", "igammac", "mvlgamma", "polygamma", "cholesky_solve", "cholesky_inverse",
    "triangular_solve", "lu", "lu_unpack", "lu_solve", "logdet", "matrix_exp", "geqrf", "cov", "corrcoef", "histogramdd",
    "nonzero_static", "segment_reduce", "masked.prod", "masked.median", "F.fractional_max_pool2d", "F.fractional_max_pool3d",
    *(f"fft.{n}" for n in "irfft hfft irfft2 irfftn hfft2 hfftn".split()),
}  # fmt: skip


def calls(row, dtype, seed):
    maker = Maker(dtype, row.low, row.high)
    maker.rng = np.random.default_rng(seed)
    return [(list(args), kwargs) for args, kwargs in row.samples(maker)]


def program(fn, kwargs, others):
    """A function of the tensors of one sample: the results, and the gradients of those that are floating."""

    def run(*tensors):
        rest = iter(tensors)
        given = walk_in(others, rest)
        wanted = [t.requires_grad_() for t in tensors if t.is_floating_point()]
        out = leaves(fn(*given, **kwargs))
        terms = [t.float().sum() for t in out if is_floating(t) and t.requires_grad]
        found = []
        if terms and wanted:
            found = list(gs.autograd.grad(sum(terms[1:], terms[0]), wanted, allow_unused=True))
        return [t.detach() if isinstance(t, gs.Tensor) else t for t in [*out, *found]]

    return run


class Hole:
    pass


def walk_in(x, tensors):
    if isinstance(x, (list, tuple)):
        return type(x)(walk_in(v, tensors) for v in x)
    return next(tensors) if isinstance(x, Hole) else x


def tensors_of(args):
    found = []

    def take(x):
        if isinstance(x, torch.Tensor):
            found.append(x)
            return Hole()
        return getattr(gs, str(x).partition(".")[2])

    return walk(take, args), found


def bits(results):
    return [
        (str(t.dtype), tuple(t.shape), t.cpu().contiguous().view(gs.uint8).numpy().tobytes())
        if isinstance(t, gs.Tensor) and t.dtype == gs.bfloat16 and t.dim()
        else (str(t.dtype), tuple(t.shape), t.cpu().float().numpy().tobytes())
        if isinstance(t, gs.Tensor) and t.dtype == gs.bfloat16
        else (str(t.dtype), tuple(t.shape), t.cpu().numpy().tobytes())
        if isinstance(t, gs.Tensor)
        else t
        for t in results
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_replay_has_the_bits_of_the_eager_call(row, dtype):
    if dtype not in row.dtypes or not row.values:
        return
    theirs, mine = resolve(torch, row.name), resolve(gs, row.name)
    seeds = [calls(row, getattr(torch, dtype), seed) for seed in (1, 2, 3)]
    for k, (args, kwargs) in enumerate(seeds[0]):
        if attempt(theirs, args, kwargs) is None:
            continue
        kwargs = walk(ours, kwargs)
        others, _ = tensors_of(args)
        run = program(mine, kwargs, others)
        captured = gs.capture(run)
        fresh = [[ours(t) for t in tensors_of(seed[k][0])[1]] for seed in seeds]
        what = describe(row, args, kwargs)
        try:
            eager = []
            for tensors in fresh:
                gs.manual_seed(5)
                eager.append(bits(run(*[t.clone() for t in tensors])))
        except (RuntimeError, NotImplementedError, TypeError):
            continue
        try:
            captured(*[t.clone() for t in fresh[0]])
            captured(*[t.clone() for t in fresh[0]])
        except gs.CaptureError:
            # Factorisations are numpy's, on the host.
            assert (
                row.name in VALUES_DECIDE
                or row.name in ON_THE_HOST
                or row.name.startswith(("linalg.", "special."))
            ), f"{what} is refused"
            continue
        gs.manual_seed(5)
        assert bits(captured(*[t.clone() for t in fresh[2]])) == eager[2], what
        gs.manual_seed(5)
        assert bits(captured(*[t.clone() for t in fresh[1]])) == eager[1], what


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_kernels_write_what_their_ops_declare(row):
    theirs, mine = resolve(torch, row.name), resolve(gs, row.name)
    for args, kwargs in calls(row, torch.float32, 1):
        if attempt(theirs, args, kwargs) is None:
            continue
        others, tensors = tensors_of(args)
        run = program(mine, walk(ours, kwargs), others)
        given = [ours(t) for t in tensors]
        session = _C._CaptureSession(given, [])
        try:
            session.look(audits=True)
            run(*given)
            assert session.undeclared == "", describe(row, args, kwargs)
        except (RuntimeError, NotImplementedError, TypeError):
            continue
        finally:
            session.drop()
