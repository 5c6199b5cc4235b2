# SPDX-License-Identifier: Apache-2.0
"""Losses against PyTorch: values, two orders of derivatives, all reductions, errors."""

import numpy as np
import pytest
import torch

import gradstep as gs
from against_torch import check, numbers, same_error

REDUCTIONS = ["none", "mean", "sum"]


def probabilities(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).uniform(0.05, 0.95, shape)


def classes(*shape, n=5, seed=0):
    return np.random.default_rng([seed, *shape]).integers(0, n, shape)


def loss(lib, name):
    return getattr(lib.nn.functional, name)


# ---- classes ----

SHAPES = [((5,), ()), ((6, 5), (6,)), ((3, 5, 4), (3, 4)), ((2, 5, 3, 2), (2, 3, 2))]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape, target", SHAPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_class_indices(shape, target, weighted, reduction, smoothing):
    goal = np.array(classes(*target))
    ignored = goal.reshape(-1)[0] if goal.ndim else -100
    arrays = [numbers(*shape, dtype=np.float64), goal]
    arrays += [probabilities(5)] if weighted else []

    def cross_entropy(lib, x, t, w=None):
        w = None if w is None else w.detach()
        return loss(lib, "cross_entropy")(
            x, t, w, ignore_index=int(ignored), reduction=reduction, label_smoothing=smoothing
        )

    check(cross_entropy, *arrays)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (6, 5), (3, 5, 4)])
def test_cross_entropy_of_class_probabilities(shape, reduction):
    arrays = [numbers(*shape, dtype=np.float64), probabilities(*shape), probabilities(5)]
    for smoothing in (0.0, 0.2):
        check(
            lambda lib, x, t, w: loss(lib, "cross_entropy")(
                x, t, w.detach(), reduction=reduction, label_smoothing=smoothing
            ),
            *arrays,
        )


@pytest.mark.parametrize("n, c", [(1, 1), (64, 10), (300, 1000), (7, 4097)])
def test_cross_entropy_of_float32_rows(n, c):
    check(
        lambda lib, x, t: loss(lib, "cross_entropy")(x, t),
        numbers(n, c) * 5,
        classes(n, n=c),
        order=1,
        rtol=1e-5,
        atol=1e-6,
    )


def test_cross_entropy_with_all_targets_ignored_is_nan():
    check(
        lambda lib, x, t: loss(lib, "cross_entropy")(x, t), numbers(3, 4), np.full(3, -100), order=0
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape, target", SHAPES)
def test_nll_loss(shape, target, reduction):
    arrays = [numbers(*shape, dtype=np.float64), np.array(classes(*target)), probabilities(5)]
    check(
        lambda lib, x, t, w: loss(lib, "nll_loss")(x, t, w.detach(), reduction=reduction), *arrays
    )
    check(
        lambda lib, x, t, w: loss(lib, "nll_loss")(x.log_softmax(-1 if x.dim() == 1 else 1), t),
        *arrays,
    )


# ---- numbers ----

ELEMENTWISE = {
    "mse_loss": {},
    "l1_loss": {},
    "smooth_l1_loss": {"beta": 0.7},
    "huber_loss": {"delta": 0.6},
    "soft_margin_loss": {},
    "poisson_nll_loss": {},
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_loss(name, reduction):
    x, y = numbers(4, 5, dtype=np.float64), probabilities(4, 5)

    def f(lib, a, b):
        b = b.detach() if name == "soft_margin_loss" else b
        return loss(lib, name)(a, b, reduction=reduction, **ELEMENTWISE[name])

    check(f, x, y)
    check(lambda lib, a, b: f(lib, a[:0], b[:0]), x, y, order=1)


def test_losses_of_regression_take_weights():
    arrays = [numbers(4, 5, dtype=np.float64), probabilities(4, 5), probabilities(4, 5, seed=1)]
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        for reduction in REDUCTIONS:
            check(
                lambda lib, x, y, w: loss(lib, name)(x, y, reduction=reduction, weight=w), *arrays
            )


def test_smooth_l1_with_beta_zero_is_l1():
    check(
        lambda lib, x, y: loss(lib, "smooth_l1_loss")(x, y, beta=0.0),
        numbers(4, 5),
        numbers(4, 5, seed=1),
    )


def test_gaussian_and_poisson_options():
    x, y, v = numbers(4, 5, dtype=np.float64), probabilities(4, 5) * 4, probabilities(4, 5, seed=1)
    for full in (False, True):
        check(
            lambda lib, x, y, v: loss(lib, "gaussian_nll_loss")(x, y, v, full=full),
            x,
            y,
            v,
            order=1,
        )
        check(
            lambda lib, x, y: loss(lib, "poisson_nll_loss")(x, y, log_input=False, full=full),
            np.abs(x) + 1,
            y,
        )
    check(lambda lib, x, y, v: loss(lib, "gaussian_nll_loss")(x, y, v[:, :1]), x, y, v, order=1)


# ---- probabilities ----


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy(reduction):
    p, t, w = probabilities(4, 5), probabilities(4, 5, seed=1), probabilities(4, 5, seed=2)
    check(
        lambda lib, p, t, w: loss(lib, "binary_cross_entropy")(p, t, reduction=reduction), p, t, w
    )
    check(
        lambda lib, p, t, w: loss(lib, "binary_cross_entropy")(
            p, t, w.detach(), reduction=reduction
        ),
        p,
        t,
        w,
    )
    edges = np.array([[0, 1, 0, 1, 0.5]])
    check(
        lambda lib, p, t: loss(lib, "binary_cross_entropy")(p, t.detach()),
        edges,
        edges[:, ::-1].copy(),
        order=1,
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy_with_logits(reduction):
    x, t = numbers(4, 5, dtype=np.float64) * 4, probabilities(4, 5)
    w, pos = probabilities(4, 5, seed=2), probabilities(5, seed=3)
    f = "binary_cross_entropy_with_logits"
    check(lambda lib, x, t: loss(lib, f)(x, t, reduction=reduction), x, t)
    check(
        lambda lib, x, t, w, p: loss(lib, f)(x, t, w.detach(), pos_weight=p.detach(), reduction=reduction),
        x, t, w, pos,
    )  # fmt: skip
    check(lambda lib, x, t: loss(lib, f)(x * 1000, t), x, t, order=1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction, log_target):
    x, t = numbers(4, 5, dtype=np.float64), probabilities(4, 5)
    t[0, 0] = 0
    check(
        lambda lib, x, t: loss(lib, "kl_div")(
            x, t.detach(), reduction=reduction, log_target=log_target
        ),
        x,
        t,
    )


# ---- margins ----


def test_margin_losses():
    a, b, c = (numbers(4, 5, seed=k, dtype=np.float64) for k in range(3))
    sign = np.array([1, -1, 1, -1])
    for reduction in REDUCTIONS:
        check(
            lambda lib, x, t: loss(lib, "hinge_embedding_loss")(x, t, 0.4, reduction=reduction),
            a, np.sign(b).astype(np.int64),
        )  # fmt: skip
        check(
            lambda lib, x, y, t: loss(lib, "margin_ranking_loss")(x, y, t, 0.3, reduction=reduction),
            a[:, 0].copy(), b[:, 0].copy(), sign,
        )  # fmt: skip
        check(
            lambda lib, x, y, t: loss(lib, "cosine_embedding_loss")(
                x, y, t, 0.1, reduction=reduction
            ),
            a,
            b,
            sign,
        )
        check(
            lambda lib, x, y, z: loss(lib, "triplet_margin_loss")(
                x, y, z, reduction=reduction, swap=True
            ),
            a,
            b,
            c,
        )
        check(
            lambda lib, x, t: loss(lib, "multi_margin_loss")(x, t, reduction=reduction),
            a,
            classes(4),
            order=1,
        )
        check(
            lambda lib, x, t: loss(lib, "multilabel_soft_margin_loss")(x, t, reduction=reduction),
            a, classes(4, 5, n=2).astype(np.float64),
        )  # fmt: skip
    check(lambda lib, x, y: lib.cosine_similarity(x, y, dim=1), a, b)
    check(lambda lib, x, y: lib.pairwise_distance(x, y), a, b)


# ---- errors and old arguments ----


@pytest.mark.filterwarnings("ignore")
def test_errors_are_torchs():
    def refuse(name, *arrays, **options):
        same_error(lambda lib: loss(lib, name)(*(lib.tensor(a) for a in arrays), **options))

    logits = np.zeros((3, 4)).tolist()
    refuse("cross_entropy", logits, [0, 1, 7])
    refuse("cross_entropy", logits, [0, -1, 2])
    refuse("cross_entropy", logits, [0, 1])
    refuse("cross_entropy", logits, [0.0, 1.0, 2.0])
    refuse("cross_entropy", logits, [0, 1, 2], reduction="x")
    refuse("cross_entropy", logits, [0, 1, 2], label_smoothing=2.0)
    refuse("cross_entropy", logits, [0, 1, 2], [1.0, 1.0])
    refuse("cross_entropy", logits, logits, ignore_index=2)
    refuse("nll_loss", logits, [0, 1, 7])
    refuse("nll_loss", np.zeros((3, 4, 2)).tolist(), [0, 1, 2])
    refuse("mse_loss", logits, np.zeros((3, 5)).tolist())
    refuse("binary_cross_entropy", logits, np.zeros((3, 5)).tolist())
    refuse("binary_cross_entropy", [2.0, 0.5], [1.0, 0.0])
    refuse("binary_cross_entropy_with_logits", logits, np.zeros((3, 5)).tolist())
    refuse("smooth_l1_loss", logits, logits, beta=-1.0)
    refuse("huber_loss", logits, logits, delta=0.0)


@pytest.mark.filterwarnings("ignore")
def test_size_average_and_reduce_still_work():
    x, y = numbers(4, 5), numbers(4, 5, seed=1)
    for size_average in (None, True, False):
        for reduce in (None, True, False):
            check(
                lambda lib, a, b: loss(lib, "mse_loss")(
                    a, b, size_average=size_average, reduce=reduce
                ),
                x,
                y,
            )


@pytest.mark.parametrize("classes", [1, 2, 3, 7, 15, 16, 17, 40])
@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
def test_cross_entropy_of_short_and_long_rows_equals_torch(rows, classes):
    x = np.random.default_rng(rows).standard_normal((rows, classes)).astype(np.float32) * 3
    target = np.arange(rows) * 7 % classes
    target[rows // 2 :: 5] = -100
    if rows > 2 and classes > 1:
        x[1, 0] = -np.inf
        target[1] = classes - 1
    found = []
    for lib in (gs, torch):
        results = []
        for reduction in ("none", "sum", "mean"):
            logits = lib.tensor(x.copy()).requires_grad_()
            weight = lib.tensor(np.linspace(0.5, 2, classes, dtype=np.float32))
            loss = lib.nn.functional.cross_entropy(
                logits, lib.tensor(target), weight, reduction=reduction
            )
            (loss.nan_to_num(0.0) if reduction == "mean" else loss).sum().backward()
            results += [loss.detach().cpu().numpy(), logits.grad.cpu().numpy()]
        found.append(results)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_ctc_loss_has_pytorchs_gradient_of_scores_that_are_a_leaf():
    """Probability less posterior, as if log_softmax followed; 0 beyond a sample's length."""
    scores = np.random.default_rng(0).standard_normal((9, 3, 5))
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    found = []
    for lib in (gs, torch):
        x = lib.tensor(scores, requires_grad=True)
        targets = lib.tensor([[1, 2, 2], [3, 4, 0], [2, 0, 0]])
        loss = lib.nn.functional.ctc_loss(
            x, targets, lib.tensor([9, 7, 4]), lib.tensor([3, 2, 1]), reduction="none"
        )
        (loss * lib.tensor([1.0, 2.0, 3.0], dtype=lib.float64)).sum().backward()
        found.append((loss.detach().cpu().numpy(), x.grad.cpu().numpy()))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-13)


def test_linear_cross_entropy_loss_equals_pytorchs():
    x, classes = numbers(4, 3, dtype=np.float64), np.array([[0, 1], [2, 0], [1, 1], [4, 3]])
    found = []
    for lib in (gs, torch):
        options = lib.nn.LinearCrossEntropyOptions(batch_chunk_size=2, chunking_method=None)
        layer = lib.nn.LinearCrossEntropyLoss(
            3, 5, out_features=(2,), bias=True, dtype=lib.float64, ignore_index=1
        )
        with lib.no_grad():
            for k, p in enumerate(layer.parameters()):
                p.copy_(lib.tensor(numbers(*p.shape, seed=k)))
        input = lib.tensor(x, requires_grad=True)
        loss = layer(input, lib.tensor(classes))
        loss.backward()
        found.append((loss.detach().cpu().numpy(), input.grad.cpu().numpy(), repr(options)))
        for wrong in ({"acc_policy": "fast"}, {"batch_chunk_size": 0}, {"chunking_method": "x:1"}):
            with pytest.raises(ValueError, match="acc_policy|batch_chunk_size|chunking_method"):
                lib.nn.LinearCrossEntropyOptions(**wrong)
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-12, atol=1e-15)
    assert found[0][2] == found[1][2]


@pytest.mark.parametrize("head_bias", [False, True])
@pytest.mark.parametrize("target", [[0, 5, 3, 19, 7, 2], [1, 0, 2, 1, 1, 0], 12, []])
def test_adaptive_log_softmax_equals_pytorchs(target, head_bias):
    goal = np.array(target, dtype=np.int64)
    x, found = numbers(*goal.shape, 8, dtype=np.float64), []
    for lib in (gs, torch):
        layer = lib.nn.AdaptiveLogSoftmaxWithLoss(
            8, 20, [3, 7], div_value=2.0, head_bias=head_bias, dtype=lib.float64
        )
        layer.reset_parameters()
        with lib.no_grad():
            for k, p in enumerate(layer.parameters()):
                p.copy_(lib.tensor(numbers(*p.shape, seed=k)))
        input = lib.tensor(x, requires_grad=True)
        result = layer(input, lib.tensor(goal))
        if goal.size:
            result.loss.backward()
        rows = lib.tensor(numbers(30, 8, seed=3, dtype=np.float64) * 3)
        grads = [p.grad for p in (input, *layer.parameters()) if p.grad is not None]
        seen = [result.output, *([result.loss] if goal.size else []), *grads]
        seen += [layer.log_prob(rows), layer.predict(rows)]
        found.append([t.detach().cpu().numpy() for t in seen])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13)
    assert len(set(found[0][-1])) > 5  # classes of the head and of clusters


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.nn.AdaptiveLogSoftmaxWithLoss(4, 10, []),
        lambda lib: lib.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [5, 3]),
        lambda lib: lib.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [5, 5]),
        lambda lib: lib.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [0, 5]),
        lambda lib: lib.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [5, 10]),
        lambda lib: lib.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [2.5]),
        lambda lib: adaptive(lib, (2, 4), [1, 10]),
        lambda lib: adaptive(lib, (2, 4), [-1, 3]),
        lambda lib: adaptive(lib, (3, 4), [1, 2]),
        lambda lib: adaptive(lib, (4,), [1, 2, 3, 4]),
        lambda lib: adaptive(lib, (2, 4), 1),
        lambda lib: adaptive(lib, (2, 4), [[1, 2]]),
    ],
)
def test_adaptive_log_softmax_refuses_what_pytorch_refuses(call):
    same_error(call)


def adaptive(lib, shape, target):
    return lib.nn.AdaptiveLogSoftmaxWithLoss(4, 10, [2, 5], 2.0)(
        lib.ones(shape), lib.tensor(target)
    )
