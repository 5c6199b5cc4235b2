# SPDX-License-Identifier: Apache-2.0
"""Linear layers and their activations on a GPU: what is computed together there, alone and with the stand-in for
cuBLASLt, equals what the CPU computes one after the other; and nobody sees that it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import gradstep as gs
from gradstep import nn
from gradstep.nn import functional as F
from test_cuda_gemm import TOLERANCE, needs_cublaslt, numbers, run_with_cublaslt

pytestmark = pytest.mark.cuda

FLOATS = (gs.float32, gs.float64, gs.bfloat16, gs.float16)
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "gelu": nn.GELU,
    "gelu tanh": lambda: nn.GELU("tanh"),
}


def near(found: gs.Tensor, expected: gs.Tensor) -> None:
    assert found.is_cuda and found.dtype == expected.dtype
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    tolerance = TOLERANCE[expected.dtype]
    gs.testing.assert_close(found.cpu(), expected, rtol=tolerance, atol=tolerance * scale)


def both(work: Callable[[str], list[gs.Tensor]]) -> None:
    expected, found = work("cpu"), work("cuda")
    assert len(expected) == len(found)
    for e, f in zip(expected, found, strict=True):
        near(f, e.cpu())


def filled(net: nn.Module, dtype: gs.dtype, device: str) -> nn.Module:
    net = net.to("cpu")
    with gs.no_grad():
        for p in net.parameters():
            p.copy_(numbers(tuple(p.shape), gs.float32) / 4)
    return net.to(device, dtype)


def check_networks(dtype: gs.dtype) -> None:
    """Values and gradients, of two passes, of layers with and without activation, bias and gradient of the input."""
    for make in ACTIVATIONS.values():
        for shape, middle, last in [((5, 6), 8, 3), ((2, 3, 10), 16, 8), ((150, 4), 24, 130)]:
            for bias in (True, False):
                for wants in (True, False):

                    def work(
                        device: str,
                        make: Callable[[], nn.Module] = make,
                        shape: tuple[int, ...] = shape,
                        sizes: tuple[int, int] = (middle, last),
                        bias: bool = bias,
                        wants: bool = wants,
                    ) -> list[gs.Tensor]:
                        net = nn.Sequential(
                            nn.Linear(shape[-1], sizes[0], bias),
                            make(),
                            nn.Linear(sizes[0], sizes[1], bias),
                            make(),
                        )
                        net = filled(net, dtype, device)
                        x = numbers(shape, dtype).to(device).requires_grad_(wants)
                        for _ in range(2):
                            y = net(x)
                            y.backward(numbers(tuple(y.shape), dtype).to(device) / 2)
                        with gs.no_grad():
                            plain = net(x)
                        found = [y.detach(), plain, *(p.grad for p in net.parameters())]
                        return [*found, x.grad] if wants else found

                    both(work)


def check_addmm(dtype: gs.dtype) -> None:
    for m, k, n in [(3, 4, 8), (70, 5, 12), (0, 3, 8), (2, 0, 8), (9, 3, 5)]:
        for options in [{}, {"alpha": 2}, {"beta": 0.5}]:
            for size in [(n,), (m, n)]:
                for gelu in (False, True):

                    def work(
                        device: str,
                        sizes: tuple[int, int, int] = (m, k, n),
                        options: dict[str, float] = options,
                        size: tuple[int, ...] = size,
                        gelu: bool = gelu,
                    ) -> list[gs.Tensor]:
                        m, k, n = sizes
                        leaves = [
                            (numbers(s, dtype) / 2).to(device).requires_grad_()
                            for s in (size, (m, k), (k, n))
                        ]
                        if device == "cuda":
                            y = gs._addmm_activation(*leaves, use_gelu=gelu, **options)
                        else:
                            y = gs.addmm(*leaves, **options)
                            y = F.gelu(y, approximate="tanh") if gelu else F.relu(y)
                        y.backward(numbers((m, n), dtype).to(device) / 4)
                        return [y.detach(), *(t.grad for t in leaves)]

                    both(work)


def check_nobody_sees() -> None:
    """Gradients in between, other users of a result, partial and second derivatives: as on the CPU."""
    dtype = gs.bfloat16

    def parts(device: str) -> tuple[nn.Module, nn.Module, gs.Tensor]:
        one, two = filled(nn.Linear(6, 8), dtype, device), filled(nn.Linear(8, 16), dtype, device)
        return one, two, numbers((5, 6), dtype).to(device).requires_grad_()

    def grads(*modules: nn.Module) -> list[gs.Tensor]:
        return [p.grad for m in modules for p in m.parameters()]

    def activations() -> list[Callable[[gs.Tensor], gs.Tensor]]:
        return [F.relu, F.gelu, lambda z: F.gelu(z, approximate="tanh")]

    for act in activations():

        def kept(device: str, act: Callable[[gs.Tensor], gs.Tensor] = act) -> list[gs.Tensor]:
            one, two, x = parts(device)
            z = one(x)
            y = act(z)
            z.retain_grad()
            y.retain_grad()
            two(y).sum().backward()
            return [z.grad, y.grad, x.grad, *grads(one, two)]

        def hooked(device: str, act: Callable[[gs.Tensor], gs.Tensor] = act) -> list[gs.Tensor]:
            one, two, x = parts(device)
            z = one(x)
            y = act(z)
            y.register_hook(lambda g: g * 2)
            z.register_hook(lambda g: g * 0.5)
            two(y).sum().backward()
            return [x.grad, *grads(one, two)]

        def shared(device: str, act: Callable[[gs.Tensor], gs.Tensor] = act) -> list[gs.Tensor]:
            one, two, x = parts(device)
            z = one(x)
            y = act(z)
            (two(y).sum() + (y * y).sum() + (z * 0.5).sum() + two(y * 1).sum()).backward()
            return [x.grad, *grads(one, two)]

        def twice(device: str, act: Callable[[gs.Tensor], gs.Tensor] = act) -> list[gs.Tensor]:
            one, two, x = parts(device)
            y = act(one(x))
            first, second = two(y).sum(), two(y).sum()
            first.backward(retain_graph=True)
            second.backward(retain_graph=True)
            first.backward()
            return [x.grad, *grads(one, two)]

        def partial(device: str, act: Callable[[gs.Tensor], gs.Tensor] = act) -> list[gs.Tensor]:
            one, two, x = parts(device)
            z = one(x)
            y = act(z)
            out = two(y).sum()
            some = gs.autograd.grad(out, [y, z, one.bias], retain_graph=True)
            return [*some, *gs.autograd.grad(out, [x])]

        def second(device: str, act: Callable[[gs.Tensor], gs.Tensor] = act) -> list[gs.Tensor]:
            one, two = (m.to(device, gs.float64) for m in parts("cpu")[:2])
            x = numbers((5, 6), gs.float64).to(device).requires_grad_()
            (g,) = gs.autograd.grad(two(act(one(x))).sum(), [x], create_graph=True)
            (g * g).sum().backward()
            return [x.grad, one.weight.grad]

        def alone(device: str, act: Callable[[gs.Tensor], gs.Tensor] = act) -> list[gs.Tensor]:
            one, two, x = parts(device)
            made = two(act(one(x)))  # nothing else refers to what is in between
            made.sum().backward()
            return [x.grad, *grads(one, two)]

        for work in (kept, hooked, shared, twice, partial, second, alone):
            both(work)

    # A kept value that was written over is found.
    one, two, x = parts("cuda")
    z = one(x)
    y = two(F.gelu(z, approximate="tanh")).sum()
    z.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()

    # The graph of a Sequential is that of its modules.
    net = filled(nn.Sequential(nn.Linear(6, 8), nn.GELU("tanh")), dtype, "cuda")
    made = net(x)
    by_hand = net[1](net[0](x))
    for a, b in ((made, by_hand),):
        assert a.grad_fn.name() == b.grad_fn.name()
        (inner, slot), (same, same_slot) = a.grad_fn.next_functions[0], b.grad_fn.next_functions[0]
        assert inner.name() == same.name() and slot == same_slot
        assert len(inner.next_functions) == len(same.next_functions)
    seen = []
    net[0].register_forward_hook(lambda m, args, out: seen.append(out))
    assert net(x).dtype == dtype and len(seen) == 1


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_networks_equal_the_cpus(dtype: gs.dtype) -> None:
    check_networks(dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_addmm_activation_equals_its_parts(dtype: gs.dtype) -> None:
    check_addmm(dtype)


def test_nobody_sees_what_is_computed_together() -> None:
    check_nobody_sees()


PROGRAM = """
import ctypes
import gradstep as gs
from gradstep import nn
from gradstep.nn import functional as F
import test_cuda_linear as t
import test_cuda_gemm as g

lib = ctypes.CDLL("libcublasLt.so.13")
NONE, BIAS, RELU_BIAS, GELU_BIAS, GELU_AUX_BIAS, DGELU, BGRADA, BGRADB = 1, 4, 6, 36, 164, 192, 256, 512
ALL = (NONE, BIAS, RELU_BIAS, GELU_BIAS, GELU_AUX_BIAS, DGELU, BGRADA, BGRADB)


def used(work):
    before = [lib.fake_products_with(e) for e in ALL]
    work()
    return {e: n for e, b in zip(ALL, before) if (n := lib.fake_products_with(e) - b)}


for dtype in t.FLOATS:
    t.check_networks(dtype)
    t.check_addmm(dtype)
t.check_nobody_sees()

net = t.filled(nn.Sequential(nn.Linear(8, 16), nn.GELU("tanh"), nn.Linear(16, 8)), gs.bfloat16, "cuda")
x = g.numbers((4, 8), gs.bfloat16).cuda().requires_grad_()


def step(net=net, x=x):
    y = net(x)
    y.backward(gs.ones_like(y))


# Forward, two weights with the sums of what they are made of, a gradient through gelu.
assert used(step) == {GELU_AUX_BIAS: 1, BIAS: 1, BGRADB: 2, DGELU: 1, NONE: 1}, used(step)
with gs.no_grad():
    assert used(lambda: net(x)) == {GELU_BIAS: 1, BIAS: 1}
# A layer whose gradient comes from an activation gets the sums with it.
one = t.filled(nn.Sequential(nn.Linear(8, 16), nn.GELU()), gs.bfloat16, "cuda")
assert used(lambda: step(one)) == {BIAS: 1, NONE: 2}
# By hand, forward is two calls.
by_hand = lambda: net[2](F.gelu(net[0](x), approximate="tanh")).sum().backward()
assert used(by_hand) == {BIAS: 2, BGRADB: 2, DGELU: 1, NONE: 1}
# In float32, gelu keeps its own precision.
wide = t.filled(nn.Sequential(nn.Linear(8, 16), nn.GELU("tanh"), nn.Linear(16, 8)), gs.float32, "cuda")
assert used(lambda: step(wide, x.detach().float().requires_grad_())) == {BIAS: 2, BGRADB: 1, NONE: 3}
# Mixed precision.
with gs.autocast("cuda", dtype=gs.bfloat16):
    found = used(lambda: step(wide, x.detach().float().requires_grad_()))
assert found == {GELU_AUX_BIAS: 1, BIAS: 1, BGRADB: 2, DGELU: 1, NONE: 1}, found
# Hooks are called.
net[1].register_forward_hook(lambda m, args, out: out * 1)
assert used(step) == {BIAS: 2, BGRADB: 1, NONE: 3}

a, b, c = (g.numbers(s, gs.bfloat16).cuda().requires_grad_() for s in ((8,), (4, 8), (8, 8)))
assert used(lambda: gs._addmm_activation(a, b, c).sum().backward()) == {RELU_BIAS: 1, NONE: 1, BGRADA: 1}
print("done")
"""


@needs_cublaslt
def test_cublaslt_computes_layers_together() -> None:
    run_with_cublaslt(PROGRAM)
