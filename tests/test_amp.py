# SPDX-License-Identifier: Apache-2.0
"""Mixed precision against PyTorch: which ops run in what, gradients, training, and GradScaler."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402
from op_rows import Maker  # noqa: E402
from op_samples import ROWS  # noqa: E402
from op_samples_composed import COMPOSED  # noqa: E402
from test_ops import ours, resolve, walk  # noqa: E402

# The CPU's lists of functions; test_cuda_api.py looks at those of CUDA.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.cpu_only]
LIBRARIES = (gs, torch)
DTYPES = ("bfloat16", "float16")


def dtypes(result):
    """The dtypes of all tensors in a result."""
    if isinstance(result, (list, tuple)):
        return [d for r in result for d in dtypes(r)]
    return [str(result.dtype).partition(".")[2]] if hasattr(result, "dtype") else []


def region(lib, dtype="bfloat16", **kwargs):
    return lib.autocast("cpu", dtype=getattr(lib, dtype), **kwargs)


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s, dtype=np.float32) for s in shapes]


# ---- the lists ----

# Composed of other products than PyTorch's.
OTHER = {"linalg.pinv", "linalg.matrix_power"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_op_has_the_dtypes_of_pytorch(row):
    theirs, mine = resolve(torch, row.name), resolve(gs, row.name)
    for dtype in ("float32", "bfloat16"):
        if row in COMPOSED and dtype not in row.dtypes:
            continue
        for i, (args, kwargs) in enumerate(
            row.samples(Maker(getattr(torch, dtype), row.low, row.high))
        ):
            if i == 3 or row.name in OTHER:
                break
            my_args, my_kwargs = walk(ours, args), walk(ours, kwargs)
            try:
                with region(torch):
                    wanted = dtypes(theirs(*args, **kwargs))
            except (RuntimeError, NotImplementedError):
                continue  # not for this dtype, also where float32 would be needed
            with region(gs):
                got = dtypes(mine(*my_args, **my_kwargs))
            assert got == wanted, (dtype, args, kwargs)


def test_operators_and_lists_are_cast():
    x, h = gs.randn(3, 3), gs.randn(3, 3).bfloat16()
    with gs.autocast("cpu"):
        assert (x @ x).dtype == gs.bfloat16
        assert x.mm(x).dtype == gs.bfloat16
        assert x.matmul(mat2 := x).dtype == gs.bfloat16 and mat2 is x
        assert (x + x).dtype == gs.float32
        assert gs.cat([x, h]).dtype == gs.float32
        assert gs.cat([h, h]).dtype == gs.bfloat16
        assert gs.stack((h, x)).dtype == gs.float32
        assert gs.einsum("ij,jk->ik", x, x).dtype == gs.bfloat16
        assert gs.mm(x.double(), x.double()).dtype == gs.float64
        with pytest.raises(RuntimeError):
            gs.mm(x.double(), x)
    assert (x @ x).dtype == gs.float32


@pytest.mark.parametrize("lib", LIBRARIES)
def test_out_is_not_cast(lib):
    x = lib.ones(2, 2)
    with region(lib):
        out = lib.mm(x, x, out=lib.empty(2, 2))
    assert out.dtype == lib.float32


LAYERS = {
    "Linear": ((4, 3), (2, 4)),
    "Conv1d": ((4, 3, 2), (2, 4, 5)),
    "Conv2d": ((4, 3, 2), (2, 4, 5, 5)),
    "ConvTranspose2d": ((4, 3, 2), (2, 4, 5, 5)),
    "BatchNorm2d": ((4,), (2, 4, 5, 5)),
    "LayerNorm": ((4,), (2, 4)),
    "GELU": ((), (2, 4)),
    "PReLU": ((), (2, 4)),
    "Softmax": ((1,), (2, 4)),
    "MSELoss": ((), (2, 4), (2, 4)),
    "BCEWithLogitsLoss": ((), (2, 4), (2, 4)),
    "MultiheadAttention": ((4, 2), (3, 2, 4), (3, 2, 4), (3, 2, 4)),
    "TransformerEncoderLayer": ((4, 2, 8), (3, 2, 4)),
    "RNN": ((4, 3), (3, 2, 4)),
    "LSTM": ((4, 3), (3, 2, 4)),
    "GRU": ((4, 3), (3, 2, 4)),
    "LSTMCell": ((4, 3), (2, 4)),
    "GRUCell": ((4, 3), (2, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_every_layer_has_the_dtypes_of_pytorch(name, dtype):
    """Whatever way a layer takes to its function."""
    found = []
    for lib in LIBRARIES:
        arguments, *shapes = LAYERS[name]
        layer = getattr(lib.nn, name)(*arguments)
        inputs = [lib.tensor(a).to(getattr(lib, dtype)) for a in arrays(*shapes)]
        with region(lib):
            found.append(dtypes(layer(*inputs)))
    assert found[0] == found[1]


# ---- regions ----


@pytest.mark.parametrize("lib", LIBRARIES)
def test_regions_nest_and_end_with_an_exception(lib):
    x = lib.ones(2, 2)
    with region(lib):
        with region(lib, "float16"):
            assert (x @ x).dtype == lib.float16
            with region(lib, enabled=False):
                assert (x @ x).dtype == lib.float32
        assert (x @ x).dtype == lib.bfloat16
        assert lib.is_autocast_enabled("cpu")
        assert lib.get_autocast_dtype("cpu") == lib.bfloat16
    with pytest.raises(KeyError), region(lib):
        raise KeyError
    assert not lib.is_autocast_enabled("cpu")
    assert not lib.is_autocast_enabled()


@pytest.mark.parametrize("lib", LIBRARIES)
def test_decorator(lib):
    @region(lib)
    def product(x):
        return (x @ x).dtype

    assert product(lib.ones(2, 2)) == lib.bfloat16
    assert not lib.is_autocast_enabled("cpu")


@pytest.mark.parametrize("lib", LIBRARIES)
def test_what_is_refused(lib):
    with pytest.raises(RuntimeError, match="abacus"):
        lib.autocast("abacus", dtype=lib.bfloat16)
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
        lib.autocast(lib.device("cpu"))
    with pytest.warns(UserWarning, match="the target dtype is not supported"):
        off = region(lib, "float64")
    with off:
        assert not lib.is_autocast_enabled("cpu")
    if not lib.cuda.is_available():
        with pytest.warns(UserWarning, match="CUDA is not available"), lib.autocast("cuda"):
            assert not lib.is_autocast_enabled("cuda")
    with pytest.warns(FutureWarning):
        old = lib.cpu.amp.autocast()
    with old:
        assert lib.is_autocast_cpu_enabled()
    assert lib.amp.is_autocast_available("cpu")


def test_one_object_may_be_entered_again():
    @region(gs)
    def product(x, depth):
        return product(x, depth - 1) if depth else (x @ x).dtype

    assert product(gs.ones(2, 2), 3) == gs.bfloat16
    assert not gs.is_autocast_enabled("cpu")


# ---- the casts of leaves ----


def test_a_leaf_is_cast_once_for_a_region():
    w = gs.ones(2, 2, requires_grad=True)
    nodes = []
    with gs.autocast("cpu"):
        for _ in range(2):
            nodes.append(gs.mm(w, gs.ones(2, 2)).grad_fn.next_functions[0][0])
    assert nodes[0] is nodes[1]
    with gs.autocast("cpu", cache_enabled=False):
        assert gs.mm(w, gs.ones(2, 2)).grad_fn.next_functions[0][0] is not nodes[0]
    with gs.autocast("cpu"):
        assert gs.mm(w, gs.ones(2, 2)).grad_fn.next_functions[0][0] is not nodes[0]


def test_a_leaf_that_changes_is_cast_again():
    w = gs.ones(2, 2, requires_grad=True)
    with gs.autocast("cpu"):
        before = gs.mm(w, w)
        with gs.no_grad():
            w.mul_(2)
        assert gs.mm(w, w)[0, 0].item() == 4 * before[0, 0].item()


def test_a_cast_without_gradient_does_not_serve_one_with():
    w = gs.ones(2, 2, requires_grad=True)
    with gs.autocast("cpu"):
        with gs.no_grad():
            gs.mm(w, w)
        gs.mm(w, w).sum().backward()
    assert w.grad is not None


def test_a_region_keeps_nothing_alive():
    import gc
    import weakref

    w = gs.ones(2, 2, requires_grad=True)
    with gs.autocast("cpu"):
        gs.mm(w, w)
    seen = weakref.ref(w)
    del w
    gc.collect()
    assert seen() is None


def test_several_backwards_through_one_cast():
    """Gradient accumulation inside one region."""
    for lib in LIBRARIES:
        w = lib.ones(2, 2, requires_grad=True)
        with region(lib):
            for _ in range(3):
                lib.mm(w, lib.ones(2, 2)).sum().backward()
        assert w.grad.dtype == lib.float32
        assert w.grad.tolist() == [[6, 6], [6, 6]]


# ---- gradients and training ----


def build(lib, seed=0):
    nn = lib.nn
    lib.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(64, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 5),
    )  # fmt: skip


def losses(lib, dtype, optimizer="AdamW", steps=8, autocast=True, pure=False):
    (x,) = arrays((16, 1, 8, 8))
    y = np.arange(16) % 5
    net = build(lib)
    x, y = lib.tensor(x), lib.tensor(y)
    if pure:
        net, x = net.to(getattr(lib, dtype)), x.to(getattr(lib, dtype))
    step = getattr(lib.optim, optimizer)(net.parameters(), lr=0.01)
    out = []
    for _ in range(steps):
        step.zero_grad()
        with region(lib, dtype if autocast else "bfloat16", enabled=autocast):
            loss = lib.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        step.step()
        out.append(loss.item())
    return out, net


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_follows_pytorch(dtype):
    got, net = losses(gs, dtype)
    wanted, _ = losses(torch, dtype)
    exact, _ = losses(torch, dtype, autocast=False)
    assert np.allclose(got, wanted, rtol=0.02, atol=0.01)
    assert np.allclose(got, exact, rtol=0.03, atol=0.02)
    assert all(p.grad.dtype == p.dtype == gs.float32 for p in net.parameters())


OPTIMIZERS = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta",
              "Rprop", "ASGD")  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains_a_pure_bfloat16_model(optimizer):
    got, net = losses(gs, "bfloat16", optimizer, steps=4, autocast=False, pure=True)
    wanted, _ = losses(torch, "bfloat16", optimizer, steps=4, autocast=False, pure=True)
    assert all(p.dtype == p.grad.dtype == gs.bfloat16 for p in net.parameters())
    assert np.allclose(got, wanted, rtol=0.06, atol=0.03)


def attention(lib, dtype, mask):
    q, k, v, m = (lib.tensor(a) for a in arrays((2, 3, 9, 8), (2, 3, 9, 8), (2, 3, 9, 8), (9, 9)))
    q.requires_grad_()
    with region(lib, dtype):
        y = lib.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=m if mask else None, is_causal=not mask
        )
    y.float().square().sum().backward()
    return y, q.grad


@pytest.mark.parametrize("mask", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
def test_attention(dtype, mask):
    y, dq = attention(gs, dtype, mask)
    y_torch, dq_torch = attention(torch, dtype, mask)
    assert dtypes(y) == dtypes(y_torch) == [dtype]
    assert np.allclose(
        y.float().detach().cpu().numpy(),
        y_torch.float().detach().cpu().numpy(),
        rtol=0.03,
        atol=0.03,
    )
    assert np.allclose(dq.cpu().numpy(), dq_torch.cpu().numpy(), rtol=0.05, atol=0.06)


# ---- functions with a derivative of their own ----


@pytest.mark.parametrize("lib", LIBRARIES)
def test_custom_function_sees_the_same_state_in_backward(lib):
    seen = []

    class Product(lib.autograd.Function):
        @staticmethod
        @lib.amp.custom_fwd(device_type="cpu")
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        @lib.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            seen.append(lib.is_autocast_enabled("cpu"))
            return g @ b.t(), a.t() @ g

    a = lib.ones(2, 2, requires_grad=True)
    with region(lib):
        y = Product.apply(a, lib.ones(2, 2))
    assert y.dtype == lib.bfloat16
    y.float().sum().backward()
    Product.apply(a, lib.ones(2, 2)).sum().backward()
    assert seen == [True, False]


@pytest.mark.parametrize("lib", LIBRARIES)
def test_custom_function_casts_its_inputs(lib):
    seen = []

    class Twice(lib.autograd.Function):
        @staticmethod
        @lib.amp.custom_fwd(device_type="cpu", cast_inputs=lib.float32)
        def forward(ctx, a, others):
            seen.append((a.dtype, others[0].dtype, lib.is_autocast_enabled("cpu")))
            return a * 2

        @staticmethod
        @lib.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            return g * 2, None

    h = lib.ones(2).bfloat16().requires_grad_()
    with region(lib):
        y = Twice.apply(h, [h])
    y.sum().backward()
    Twice.apply(h, [h])
    assert seen == [(lib.float32, lib.float32, False), (lib.bfloat16, lib.bfloat16, False)]
    assert h.grad.dtype == lib.bfloat16


# ---- GradScaler ----


def scaled_training(lib, **options):
    """Losses, scales and weights of training with infinities in the third and fourth step."""
    lib.manual_seed(0)
    net = lib.nn.Linear(4, 2)
    optimizer = lib.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scaler = lib.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2, **options)
    (x,) = (lib.tensor(a) for a in arrays((8, 4)))
    scales = []
    for i in range(8):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        scaler.scale(loss * (float("inf") if i in (2, 3) else 1.0)).backward()
        if i % 2:
            scaler.unscale_(optimizer)
            lib.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    return scales, [p.tolist() for p in net.parameters()], scaler.state_dict()


@pytest.mark.parametrize("options", ({}, {"growth_factor": 3.0, "backoff_factor": 0.25}))
def test_scaler_equals_pytorch(options):
    scales, weights, state = scaled_training(gs, **options)
    scales_torch, weights_torch, state_torch = scaled_training(torch, **options)
    assert scales == scales_torch and state == state_torch
    for a, b in zip(weights, weights_torch):
        assert np.allclose(a, b, rtol=1e-5)


def test_disabled_scaler_passes_everything_on():
    scales, _, state = scaled_training(gs, enabled=False)
    assert scales == [1.0] * 8 and state == {}


@pytest.mark.parametrize("lib", LIBRARIES)
@pytest.mark.parametrize("value", (float("inf"), -float("inf"), float("nan")))
@pytest.mark.parametrize("place", (0, 1))
def test_scaler_skips_a_step_with_one_bad_element(lib, value, place):
    params = [lib.ones(100, requires_grad=True), lib.ones(3).bfloat16().requires_grad_()]
    optimizer = lib.optim.SGD(params, lr=1.0)
    scaler = lib.amp.GradScaler("cpu")
    scaler.scale(lib.ones(()))
    for p in params:
        p.grad = lib.ones_like(p)
    params[place].grad[2] = value
    scaler.step(optimizer)
    assert params[0][0].item() == 1
    scaler.update()
    assert scaler.get_scale() == 2.0**15


@pytest.mark.parametrize("lib", LIBRARIES)
def test_scaler_errors(lib):
    p = lib.ones(2, requires_grad=True)
    optimizer = lib.optim.SGD([p], lr=1.0)
    scaler = lib.amp.GradScaler("cpu")
    with pytest.raises(AssertionError, match="Attempted step but _scale is None"):
        scaler.step(optimizer)
    scaler.scale(p.sum()).backward()
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="has already been called on this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step\\(\\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="being called after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
        scaler.step(optimizer, closure=lambda: None)
    with pytest.raises(AssertionError, match="beginning of an iteration"):
        pickle.dumps(scaler)
    scaler.update()
    half = lib.ones(2).half().requires_grad_()
    half.grad = lib.ones_like(half)
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(lib.optim.SGD([half], lr=1.0))
    with pytest.raises(AssertionError, match="growth factor"):
        lib.amp.GradScaler("cpu", growth_factor=1.0)


@pytest.mark.parametrize("lib", LIBRARIES)
def test_scaler_is_saved_and_set(lib):
    scaler = lib.amp.GradScaler("cpu")
    scaled = scaler.scale([lib.ones(2), (lib.ones(()),)])
    assert scaled[0][0].item() == scaled[1][0].item() == 2.0**16
    scaler.update(8.0)
    assert scaler.get_scale() == 8.0
    scaler.update(lib.full((), 4.0))
    again = pickle.loads(pickle.dumps(scaler))
    assert again.get_scale() == 4.0
    other = lib.amp.GradScaler("cpu")
    other.load_state_dict(copy.deepcopy(scaler.state_dict()))
    assert other.state_dict() == scaler.state_dict()
    assert other.scale(lib.ones(())).item() == 4.0
    with pytest.raises(RuntimeError, match="The source state dict is empty"):
        other.load_state_dict({})
