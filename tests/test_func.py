# SPDX-License-Identifier: Apache-2.0
"""torch.func and autograd.functional: values, shapes and whether results want gradients, as PyTorch's."""

import numpy as np
import pytest
import torch as real
import torch.func

import gradstep

pytestmark = pytest.mark.cpu_only

VALUES = np.array([0.5, -1.2, 2.0])


def x_of(t, requires_grad=False, values=VALUES):
    return t.tensor(values, dtype=t.float64, requires_grad=requires_grad)


def rows(t):
    return x_of(t, values=np.arange(6.0).reshape(2, 3) / 5)


def net(t):
    weight = np.linspace(-1, 1, 12).reshape(4, 3)
    m = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4)).double()
    with t.no_grad():
        m[0].weight.copy_(t.tensor(weight))
        m[0].bias.zero_()
    return m


def call_with(t, **kwargs):
    m = net(t)
    return t.func.functional_call(m, {"0.weight": t.ones(4, 3, dtype=t.float64)}, rows(t), **kwargs)


def gradient_of_parameters(t):
    m = net(t).eval()
    params = {k: v.detach() for k, v in m.named_parameters()}
    return t.func.grad(lambda p: t.func.functional_call(m, p, (rows(t),)).square().sum())(params)


def buffers_given(t):
    m = net(t)
    before = {k: v.clone() for k, v in m.named_buffers()}
    out = t.func.functional_call(m, (dict(m.named_parameters()), before), rows(t))
    return out, before, dict(m.named_buffers())


def pulled(t):
    out, pull = t.func.vjp(lambda x, y: (x * y, x.sin()), x_of(t), x_of(t))
    return out, pull((x_of(t), x_of(t)))


def with_a_leaf(t, w):
    return t.func.grad(lambda x: (x * w).sum())(x_of(t))


def linear(t):
    out, push = t.func.linearize(lambda x: x.sin(), x_of(t))
    return out, push(x_of(t))


ONE = lambda t: t.ones(3, dtype=t.float64)  # noqa: E731
CASES = {
    "grad": lambda t: t.func.grad(lambda x: (x**3).sum())(x_of(t)),
    "grad of a leaf": lambda t: t.func.grad(lambda x: (x**3).sum())(x_of(t, True)),
    "grad of grad": lambda t: t.func.grad(lambda x: t.func.grad(lambda y: (y**3).sum())(x).sum())(
        x_of(t)
    ),
    "grad with a leaf outside": lambda t: with_a_leaf(t, x_of(t, True)),
    "argnums": lambda t: t.func.grad(lambda x, y: (x * y * y).sum(), (1, 0))(x_of(t), x_of(t)),
    "dict": lambda t: t.func.grad(lambda d: (d["a"] * d["b"][0]).sum())(
        {"a": x_of(t), "b": [x_of(t)]}
    ),
    "aux": lambda t: t.func.grad_and_value(lambda x: ((x**3).sum(), x * 2), has_aux=True)(x_of(t)),
    "unused": lambda t: t.func.grad(lambda x, y: y.sum())(x_of(t), x_of(t)),
    "no_grad": lambda t: t.no_grad()(t.func.grad(lambda x: (x**3).sum()))(x_of(t)),
    "not a scalar": lambda t: t.func.grad(lambda x: x)(x_of(t)),
    "vjp": pulled,
    "jvp": lambda t: t.func.jvp(
        lambda x, y: (x * y, y.exp()), (x_of(t), x_of(t)), (ONE(t), x_of(t))
    ),
    "linearize": linear,
    "jacrev": lambda t: t.func.jacrev(lambda x: {"a": x.sin() * x.sum(), "b": x.sum()})(x_of(t)),
    "jacfwd": lambda t: t.func.jacfwd(lambda x: x.sin() * x.sum())(x_of(t)),
    "hessian": lambda t: t.func.hessian(lambda x: (x.sin() * x.sum()).sum())(x_of(t)),
    "vmap": lambda t: t.func.vmap(lambda x, y: (x * y, x.sum()), (0, None), (1, 0))(
        rows(t), x_of(t)
    ),
    "vmap of grad": lambda t: t.vmap(t.func.grad(lambda x: x.sin().sum()))(rows(t)),
    "grad of vmap": lambda t: t.func.grad(lambda x: t.vmap(lambda r: r.sin().sum())(x).sum())(
        rows(t)
    ),
    "vmap of nothing": lambda t: t.vmap(lambda x: x)(),
    "vmap of a number": lambda t: t.vmap(lambda x: x)(3),
    "vmap of a bad dimension": lambda t: t.vmap(lambda x: x, in_dims=5)(x_of(t)),
    "vmap the same": lambda t: t.vmap(lambda x: x + t.rand(1) * 0, randomness="same")(rows(t)),
    "functional_call": call_with,
    "functional_call, strict": lambda t: call_with(t, strict=True),
    "functional_call, grad": gradient_of_parameters,
    "functional_call, buffers": buffers_given,
    "stack": lambda t: t.func.stack_module_state([net(t), net(t)]),
    "jacobian": lambda t: t.autograd.functional.jacobian(
        lambda x, y: (x.sin() * y, x.sum()), (x_of(t), x_of(t)), create_graph=True
    ),
    "jacobian, strict": lambda t: t.autograd.functional.jacobian(
        lambda x, y: (x.sin() * y, x.sum()), (x_of(t), x_of(t)), strict=True, create_graph=True
    ),
    "jacobian, strict and vectorized": lambda t: t.autograd.functional.jacobian(
        lambda x: x.sin(), x_of(t), strict=True, vectorize=True
    ),
    "jacobian, forward": lambda t: t.autograd.functional.jacobian(
        lambda x: x.sin(), x_of(t), strategy="forward-mode"
    ),
    "hessian, strict": lambda t: t.autograd.functional.hessian(
        lambda x, y: x.sin().sum(), (x_of(t), x_of(t)), strict=True
    ),
}


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return [value.double().tolist(), tuple(value.shape), value.requires_grad]


def outcome(fn, t):
    try:
        return plain(fn(t))
    except Exception as error:
        return [type(error).__name__, str(error).partition("\n")[0]]


def assert_close(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            assert_close(a[k], b[k])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_close(x, y)
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=1e-6, abs=1e-9)
    else:
        assert a == b


@pytest.mark.parametrize("name", CASES)
def test_functions_of_functions_are_pytorchs(name):
    assert_close(outcome(CASES[name], gradstep), outcome(CASES[name], real))


def test_random_numbers_in_vmap_are_refused_unless_asked_for():
    x = gradstep.zeros(3, 2)
    before = gradstep.get_rng_state()
    with pytest.raises(RuntimeError, match="randomness error mode"):
        gradstep.vmap(lambda r: r + gradstep.rand(2))(x)
    assert gradstep.equal(before, gradstep.get_rng_state())
    same = gradstep.vmap(lambda r: r + gradstep.rand(2), randomness="same")(x)
    assert gradstep.equal(same[0], same[1])
    other = gradstep.vmap(lambda r: r + gradstep.rand(2), randomness="different")(x)
    assert not gradstep.equal(other[0], other[1])


def test_functional_call_leaves_the_module_as_it_was_also_after_an_error():
    m = gradstep.nn.Linear(2, 2)
    weight = m.weight
    with pytest.raises(RuntimeError):
        gradstep.func.functional_call(m, {"weight": gradstep.ones(3, 3)}, gradstep.ones(1, 2))
    assert m.weight is weight
    shared = gradstep.nn.Sequential(m, gradstep.nn.Linear(2, 2))
    shared[1].weight = m.weight
    out = gradstep.func.functional_call(
        shared, {"0.weight": gradstep.zeros(2, 2)}, gradstep.ones(1, 2)
    )
    assert gradstep.equal(out[0], shared[1].bias.detach())
    assert shared[1].weight is weight
