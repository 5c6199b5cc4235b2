# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers and cells against PyTorch: values, gradients, packed sequences, errors."""

import itertools

import numpy as np
import pytest
import torch

import gradstep as gs
from nn_helpers import as_gs, as_torch, both, data, same

MODES = ["RNN", "LSTM", "GRU"]
# Sizes below, at and beyond a vector's width and a task's rows; the last takes a region for each step.
SIZES = [(3, 5, 4, 2), (10, 16, 6, 9), (7, 33, 3, 35), (1, 1, 1, 1), (5, 20, 2, 70)]


def listed(result):
    """The tensors of a layer's or cell's result in one list."""
    if hasattr(result, "batch_sizes"):
        return [result.data]
    if isinstance(result, tuple | list):
        return [t for part in result for t in listed(part)]
    return [result]


def run(net, lib, convert, x, states, packed=None, no_input_grad=False):
    """Results and all gradients."""
    x = convert(x)
    x.requires_grad_(not no_input_grad)
    hx = [convert(s).requires_grad_() for s in states]
    given = (tuple(hx) if len(hx) == 2 else hx[0]) if hx else None
    inputs = x
    if packed is not None:
        inputs = lib.nn.utils.rnn.pack_padded_sequence(
            x, packed, batch_first=net.batch_first, enforce_sorted=False
        )
    results = listed(net(inputs, given))
    loss = sum((r * r).sum() * (i + 1) for i, r in enumerate(results))
    loss.backward()
    return [*results, *([] if no_input_grad else [x.grad]), *(h.grad for h in hx)] + [
        p.grad for p in net.parameters()
    ]


def compare(build, shape, state_shapes=(), packed=None, tolerance=2e-4, **kwargs):
    ours, theirs = both(build)
    x = data(*shape)
    states = [data(*s, seed=7 + i) for i, s in enumerate(state_shapes)]
    same(
        run(ours, gs, as_gs, x, states, packed, **kwargs),
        run(theirs, torch, as_torch, x, states, packed, **kwargs),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_layer_equals_torch(mode, sizes):
    n_in, hidden, steps, batch = sizes
    compare(lambda nn: getattr(nn, mode)(n_in, hidden), (steps, batch, n_in))


@pytest.mark.parametrize(
    "options",
    [
        {"num_layers": 2, "bidirectional": True},
        {"bias": False},
        {"batch_first": True, "bidirectional": True},
        {"batch_first": True, "num_layers": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_options_equal_torch(mode, given, options):
    n = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    states = [(n, 4, 18)] * (2 if mode == "LSTM" else 1) if given else []
    shape = (4, 5, 6) if options.get("batch_first") else (5, 4, 6)
    compare(lambda nn: getattr(nn, mode)(6, 18, **options), shape, states)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_projection_equals_torch(options):
    n = 4 if options else 1
    build = lambda nn: nn.LSTM(6, 20, proj_size=17, **options)  # noqa: E731
    compare(build, (5, 4, 6), [(n, 4, 17), (n, 4, 20)])


def test_relu_equals_torch():
    compare(lambda nn: nn.RNN(3, 40, 2, "relu", bidirectional=True), (5, 4, 3))


@pytest.mark.parametrize("mode", MODES)
def test_large_weights_equal_torch(mode):
    """Weights beyond the L2: each step is cut by units."""
    compare(lambda nn: getattr(nn, mode)(8, 640), (2, 9, 8), tolerance=1e-3)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_packed_sequences_equal_torch(mode, given):
    states = [(4, 5, 18)] * (2 if mode == "LSTM" else 1) if given else []
    build = lambda nn: getattr(nn, mode)(6, 18, 2, bidirectional=True)  # noqa: E731
    compare(build, (7, 5, 6), states, packed=[2, 7, 1, 7, 4])
    compare(
        lambda nn: getattr(nn, mode)(6, 18, batch_first=True), (5, 7, 6), packed=[7, 6, 3, 3, 1]
    )


def test_unbatched_input_equals_torch():
    for batch_first in (False, True):
        compare(lambda nn: nn.LSTM(3, 5, 2, batch_first=batch_first), (4, 3), [(2, 5)] * 2)


def test_frozen_parameters_get_no_gradient():
    net = gs.nn.LSTM(3, 5, bidirectional=True)
    for name, p in net.named_parameters():
        p.requires_grad_(name in ("weight_hh_l0", "bias_ih_l0_reverse"))
    net(gs.randn(4, 2, 3))[0].sum().backward()
    with_grad = [name for name, p in net.named_parameters() if p.grad is not None]
    assert with_grad == ["weight_hh_l0", "bias_ih_l0_reverse"]
    compare(lambda nn: nn.GRU(3, 5), (4, 2, 3), no_input_grad=True)


@pytest.mark.parametrize("mode", MODES)
def test_double_equals_torch(mode):
    ours, theirs = both(lambda nn: getattr(nn, mode)(3, 10, 2, bidirectional=True))
    x = data(6, 3, 3).astype(np.float64)
    same(
        run(ours.double(), gs, as_gs, x, []),
        run(theirs.double(), torch, as_torch, x, []),
        rtol=1e-10,
        atol=1e-10,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_computed_in_float(dtype):
    ours, _ = both(lambda nn: nn.LSTM(3, 10))
    half = getattr(gs, dtype)
    x = as_gs(data(4, 2, 3)).to(half)
    ours = ours.to(half)
    out, (h, c) = ours(x)
    assert out.dtype == h.dtype == c.dtype == half
    out.sum().backward()
    assert ours.weight_hh_l0.grad.dtype == half
    wanted = ours.float()(x.float())[0]
    assert gs.equal(out, wanted.to(half))


@pytest.mark.cpu_only
@pytest.mark.parametrize("batch_first", [False, True])
def test_dropout_masks_equal_torch(batch_first):
    ours, theirs = both(lambda nn: nn.LSTM(3, 5, 3, dropout=0.5, batch_first=batch_first))
    x = data(4, 2, 3)
    results = []
    for net, lib, convert in ((ours, gs, as_gs), (theirs, torch, as_torch)):
        lib.manual_seed(3)
        results.append(net(convert(x))[0])
        net.eval()
        results.append(net(convert(x))[0])
    same(results[:2], results[2:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_second_derivative_equals_torch(mode, packed):
    ours, theirs = both(lambda nn: getattr(nn, mode)(3, 4, bidirectional=True))
    results = []
    for net, lib, convert in ((ours.double(), gs, as_gs), (theirs.double(), torch, as_torch)):
        x = convert(data(3, 2, 3).astype(np.float64)).requires_grad_()
        inputs = lib.nn.utils.rnn.pack_padded_sequence(x, [3, 2]) if packed else x
        outputs = listed(net(inputs))
        loss = sum((r * r * r).sum() for r in outputs)
        first = lib.autograd.grad(loss, [x, *net.parameters()], create_graph=True)
        sum((g * g).sum() for g in first).backward()
        results.append([*first, x.grad, *(p.grad for p in net.parameters())])
    same(*results, rtol=1e-8, atol=1e-9)


def test_third_derivative_exists():
    x = gs.tensor([[[0.3]], [[0.1]]], dtype=gs.float64, requires_grad=True)
    net = gs.nn.GRU(1, 2).double()
    y = net(x)[0].sum()
    for _ in range(3):
        (g,) = gs.autograd.grad(y, x, create_graph=True)
        y = g.sum()
    assert y.isfinite().item()


def test_nothing_is_kept_without_gradients():
    net = gs.nn.LSTM(3, 5)
    with gs.no_grad():
        out, (h, c) = net(gs.randn(4, 2, 3))
    assert out.grad_fn is None and h.grad_fn is None and not c.requires_grad
    wanted = net(gs.ones(4, 2, 3))[0].detach()
    with gs.no_grad():
        same(net(gs.ones(4, 2, 3))[0], wanted, rtol=0, atol=0)


def test_empty_batch():
    for mode in MODES:
        compare(lambda nn: getattr(nn, mode)(3, 5, bidirectional=True), (4, 0, 3))


@pytest.mark.cpu_only  # the CPU's threads
def test_results_do_not_depend_on_threads():
    results = []
    for threads in (1, 2):
        gs.set_num_threads(threads)
        gs.manual_seed(0)
        net = gs.nn.LSTM(40, 80, 2, bidirectional=True)
        results.append([t.detach() for t in run(net, gs, as_gs, data(9, 37, 40), [])])
    for a, b in zip(*results, strict=True):
        assert gs.equal(a, b)


def test_extreme_gates_saturate():
    ours, theirs = both(lambda nn: nn.LSTM(2, 3))
    for value in (1e3, -1e3, 1e30, float("inf"), float("nan")):
        x = np.full((2, 1, 2), value, dtype=np.float32)
        x[..., 1] = 0
        same(ours(as_gs(x)), theirs(as_torch(x)), rtol=1e-5, atol=1e-6)


# ---- functions ----


def test_functions_equal_torch():
    x, sizes = data(6, 3), np.array([3, 2, 1])
    weights = [data(20, 3), data(20, 5, seed=1), data(20, seed=2), data(20, seed=3)]
    h, c = data(1, 3, 5, seed=4), data(1, 3, 5, seed=5)
    calls = {
        "lstm": lambda f, t, w: f(
            t(x), t(sizes).cpu(), (t(h), t(c)), w, True, 1, 0.0, False, False
        ),
        "gru": lambda f, t, w: f(
            t(data(4, 3, 3)), t(h), [p[:15] for p in w], True, 1, 0.0, False, False, False
        ),
        "rnn_tanh": lambda f, t, w: f(
            t(x), t(sizes).cpu(), t(h), [p[:5] for p in w], True, 1, 0.0, False, False
        ),
        "rnn_relu": lambda f, t, w: f(
            t(data(3, 4, 3)), t(h), [p[:5] for p in w[:2]], False, 1, 0.0, False, False, True
        ),
        "lstm_cell": lambda f, t, w: f(t(x[:3]), (t(h[0]), t(c[0])), *w),
        "gru_cell": lambda f, t, w: f(t(x[:3]), t(h[0]), *(p[:15] for p in w)),
        "rnn_tanh_cell": lambda f, t, w: f(t(x[:3]), t(h[0]), *(p[:5] for p in w)),
        "rnn_relu_cell": lambda f, t, w: f(t(x[:3]), t(h[0]), *(p[:5] for p in w[:2])),
    }
    for name, call in calls.items():
        ours = call(getattr(gs, name), as_gs, [as_gs(w) for w in weights])
        theirs = call(getattr(torch, name), as_torch, [as_torch(w) for w in weights])
        same(listed(ours), listed(theirs), rtol=1e-4, atol=1e-5)


# ---- cells ----


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RNNCell", {}),
        ("RNNCell", {"nonlinearity": "relu", "bias": False}),
        ("LSTMCell", {}),
        ("LSTMCell", {"bias": False}),
        ("GRUCell", {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(3,), (4, 3), (40, 3)], ids=str)
def test_cell_equals_torch(name, options, shape):
    states = [(*shape[:-1], 21)] * (2 if name == "LSTMCell" else 1)
    compare(lambda nn: getattr(nn, name)(3, 21, **options), shape)
    compare(lambda nn: getattr(nn, name)(3, 21, **options), shape, states)


# ---- errors ----


def test_bad_sizes_are_torchs_errors():
    x, h = data(4, 2, 3), data(1, 2, 5)
    for lib, t in ((gs, as_gs), (torch, as_torch)):
        net = lib.nn.LSTM(3, 5)
        cell = lib.nn.LSTMCell(3, 5)
        cases = [
            (RuntimeError, "larger than 0 in RNN", lambda: net(t(data(0, 2, 3)))),
            (RuntimeError, "Expected 3, got 4", lambda: net(t(data(4, 2, 4)))),
            (ValueError, "2D or 3D, got 4D", lambda: net(t(data(4, 2, 1, 3)))),
            (ValueError, "RNN input dtype", lambda: net(t(x).double())),
            (RuntimeError, r"Expected hidden\[0\] size", lambda: net(t(x), (t(h[:, :1]), t(h)))),
            (RuntimeError, r"Expected hidden\[1\] size", lambda: net(t(x), (t(h), t(h[..., :3])))),
            (RuntimeError, "For batched 3-D input", lambda: net(t(x), (t(h[0]), t(h[0])))),
            (RuntimeError, "For unbatched 2-D input", lambda: net(t(x[0]), (t(h), t(h)))),
            (RuntimeError, "inconsistent input_size: got 4", lambda: cell(t(data(2, 4)))),
            (RuntimeError, "batch size 3", lambda: cell(t(data(3, 3)), (t(h[0]), t(h[0])))),
            (ValueError, "greater than zero", lambda: lib.nn.LSTM(0, 5)),
            (TypeError, "bias should be of type bool", lambda: lib.nn.GRU(3, 5, bias=1)),
        ]
        for kind, message, call in cases:
            with pytest.raises(kind, match=message):
                call()


def test_functions_check_their_arguments():
    x, h = gs.randn(4, 2, 3), gs.zeros(1, 2, 5)
    w = [gs.randn(20, 3), gs.randn(20, 5), gs.randn(20), gs.randn(20)]
    rest = (1, 0.0, False, False)
    bad = [
        lambda: gs.lstm(x, (h,), w, True, *rest, False),
        lambda: gs.lstm(x, (h, h), w[:3], True, *rest, False),
        lambda: gs.lstm(x, (h, h), w, False, *rest, False),
        lambda: gs.lstm(x, (h, h), [w[1], *w[1:]], True, *rest, False),
        lambda: gs.lstm(x, (h, h[:, :1]), w, True, *rest, False),
        lambda: gs.lstm(x[0], (h, h), w, True, *rest, False),
        lambda: gs.lstm(x.double(), (h, h), w, True, *rest, False),
        lambda: gs.lstm_cell(x[0], (h[0], h[0][:, :3]), *w),
        lambda: gs.gru_cell(x[0], h[0], *w),
    ]
    for sizes in ([1, 2], [2, 2], [3, 0], [-1, 4], [2, 1, 2], [2**62, 2**62]):
        bad.append(lambda sizes=sizes: gs.lstm(x[0], gs.tensor(sizes), (h, h), w, True, *rest))
    for call in itertools.chain(bad[:9], bad[10:]):
        with pytest.raises(RuntimeError):
            call()


def test_second_derivative_with_an_output_that_needs_no_gradient():
    """Of one step with a projection: c does not depend on weight_hr."""
    found = []
    for lib in (gs, torch):
        layer = lib.nn.LSTM(3, 2, proj_size=1).double()
        for name, p in layer.named_parameters():
            p.requires_grad_(False).copy_(
                lib.linspace(-1, 1, p.numel(), dtype=lib.float64).reshape(p.shape)
            )
            p.requires_grad_(name == "weight_hr_l0")
        y, (_, c) = layer(lib.ones(1, 2, 3, dtype=lib.float64))
        (g,) = lib.autograd.grad((y**2).sum() + c.sum(), layer.weight_hr_l0, create_graph=True)
        found.append(g.tolist())
    np.testing.assert_allclose(*found)
