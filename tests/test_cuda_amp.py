# SPDX-License-Identifier: Apache-2.0
"""Autocast on a GPU: PyTorch's lists of CUDA, op by op. PyTorch needs no GPU for this: its fake tensors know types."""

import logging

import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402
import gradstep.nn.functional as F  # noqa: E402
from op_rows import Maker  # noqa: E402
from op_samples import ROWS  # noqa: E402
from op_samples_composed import COMPOSED  # noqa: E402
from test_amp import dtypes  # noqa: E402
from test_ops import ours, resolve, walk  # noqa: E402

fake = pytest.importorskip("torch._subclasses.fake_tensor")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.cuda]

# Composed of other products than PyTorch's; or refused, and only fake tensors of integers' ops and
# factorisations are not.
OTHER = {"linalg.pinv", "linalg.matrix_power"}


def faked(x):
    if isinstance(x, torch.dtype):
        return x
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda")


def types_in_pytorch(function, args, kwargs):
    """What autocast of CUDA makes of a call; None where fake tensors can't tell."""
    logging.disable(logging.CRITICAL)
    try:
        with fake.FakeTensorMode():
            args, kwargs = walk(faked, args), walk(faked, kwargs)
            torch.set_autocast_enabled("cuda", True)
            return dtypes(function(*args, **kwargs))
    except Exception:
        return None
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_op_has_the_dtypes_of_pytorch(row):
    theirs, mine = resolve(torch, row.name), resolve(gs, row.name)
    for dtype in ("float32", "float16"):
        if row in COMPOSED and dtype not in row.dtypes:
            continue
        for i, (args, kwargs) in enumerate(
            row.samples(Maker(getattr(torch, dtype), row.low, row.high))
        ):
            if i == 3 or row.name in OTHER:
                break
            wanted = types_in_pytorch(theirs, args, kwargs)
            if wanted is None:
                continue
            my_args, my_kwargs = walk(ours, args), walk(ours, kwargs)
            try:
                with gs.autocast("cuda"):
                    got = dtypes(mine(*my_args, **my_kwargs))
            except (RuntimeError, NotImplementedError) as e:
                assert "not implemented for" in str(e) or "of 32 or 64 bits" in str(e)
                continue
            assert got == wanted, (dtype, args, kwargs)


def half(*sizes):
    return gs.rand(*sizes).half()


FLOAT = {
    "a power": lambda: half(3) ** 2,
    "a power of a number": lambda: 2 ** half(3),
    "a power of tensors": lambda: half(3) ** half(3),
    "square": lambda: half(3).square(),
    "softmin": lambda: F.softmin(half(2, 3), -1),
    "rms_norm": lambda: F.rms_norm(half(2, 3), (3,)),
    "RMSNorm": lambda: gs.nn.RMSNorm(3)(half(2, 3)),
    "interpolate": lambda: F.interpolate(half(1, 1, 4, 4), scale_factor=2, mode="bilinear"),
    "normalize": lambda: F.normalize(half(2, 3)),
}
SAME = {
    "a power in place": lambda: half(3).pow_(2),
    "**=": lambda: power_in_place(half(3)),
    "add": lambda: half(3) + half(3),
    "mean": lambda: half(3).mean(),
    "sum with a dtype": lambda: half(3).sum(dtype=gs.float16),
}


def power_in_place(x):
    x **= 2
    return x


@pytest.mark.parametrize("name", FLOAT)
def test_what_runs_in_float32(name):
    with gs.autocast("cuda"):
        assert FLOAT[name]().dtype == gs.float32


@pytest.mark.parametrize("name", SAME)
def test_what_keeps_its_type(name):
    with gs.autocast("cuda"):
        assert SAME[name]().dtype == gs.float16


def test_the_cpus_powers_are_not_cast():
    h = gs.rand(3, device="cpu").half()
    with gs.autocast("cuda"), gs.autocast("cpu"):
        assert (h**2).dtype == gs.float16 and (half(3) ** 2).dtype == gs.float32


@pytest.mark.parametrize("lib", [gs, torch])
def test_state_by_its_functions(lib):
    try:
        assert lib.get_autocast_gpu_dtype() == lib.get_autocast_dtype("cuda") == lib.float16
        lib.set_autocast_gpu_dtype(lib.bfloat16)
        assert lib.get_autocast_dtype("cuda") == lib.bfloat16
        lib.set_autocast_dtype("cpu", lib.float16)
        assert lib.get_autocast_cpu_dtype() == lib.float16
        lib.set_autocast_enabled("cuda", True)
        assert lib.is_autocast_enabled() and lib.is_autocast_enabled(device_type="cuda")
        assert not lib.is_autocast_enabled("cpu")
        lib.set_autocast_enabled(False)
        assert not lib.is_autocast_enabled("cuda")
        with pytest.raises(RuntimeError, match="at start of device string: abacus"):
            lib.is_autocast_enabled("abacus")
        with pytest.raises(TypeError, match="device_type"):
            lib.get_autocast_dtype()
    finally:
        lib.set_autocast_enabled("cuda", False)
        lib.set_autocast_dtype("cuda", lib.float16)
        lib.set_autocast_dtype("cpu", lib.bfloat16)
