# SPDX-License-Identifier: Apache-2.0
"""autograd.Function and the graph's nodes: the same results, warnings and errors as PyTorch's."""

import warnings

import pytest
import torch as real

import gradstep

pytestmark = pytest.mark.cpu_only


def x_of(t, requires_grad=True):
    return t.tensor([1.0, 2.0, 3.0], requires_grad=requires_grad)


def make(t, forward=None, backward=None, **more):
    methods = {
        "forward": forward or (lambda ctx, x: x * 2),
        "backward": backward or (lambda ctx, g: g * 2),
        **more,
    }
    return type("My", (t.autograd.Function,), {k: staticmethod(f) for k, f in methods.items()})


def run(t, function, *args):
    x = x_of(t)
    y = function.apply(x, *args)
    y.sum().backward()
    return y, x.grad


def kept_output(ctx, inputs, output):
    ctx.save_for_backward(output)


def dirty(t, value=None, returned=True):
    def forward(ctx, x):
        ctx.mark_dirty(x if value is None else value)
        x.mul_(2)
        return x if returned else x * 3

    x = x_of(t)
    y = x * 1
    z = make(t, forward).apply(y)
    z.sum().backward()
    return z is y, y._version, x.grad


def context_of_a_node(t):
    def forward(ctx, x):
        ctx.k = 5
        ctx.save_for_backward(x)
        return x * 2

    y = make(t, forward, lambda ctx, g: g * ctx.k).apply(x_of(t))
    node = y.grad_fn
    return node.k, node.saved_tensors[0], node.name(), type(node).__name__


def unused_output(t):
    seen = []

    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    def backward(ctx, a, b):
        seen.append((a is None, b is None))
        return a

    x = x_of(t)
    make(t, forward, backward).apply(x)[0].sum().backward()
    return seen, x.grad


def once(t):
    function = make(t, None, t.autograd.function.once_differentiable(lambda ctx, g: g * 2))
    x = x_of(t)
    (g,) = t.autograd.grad(function.apply(x).sum(), x, create_graph=True)
    g.sum().backward()


def versions(t):
    x = x_of(t, False)
    t.autograd.graph.increment_version(x)
    t.autograd.graph.increment_version([x, x])
    return x._version


CASES = {
    "plain": lambda t: run(t, make(t)),
    "two gradients for one input": lambda t: run(t, make(t, None, lambda ctx, g: (g, g))),
    "more Nones": lambda t: run(t, make(t, None, lambda ctx, g: (g, None, None))),
    "too few": lambda t: run(t, make(t, lambda ctx, x, y: x * y, lambda ctx, g: g), 2.0),
    "a gradient of a number": lambda t: run(
        t, make(t, lambda ctx, x, y: x * y, lambda ctx, g: (g, g)), 2.0
    ),
    "another shape": lambda t: run(t, make(t, None, lambda ctx, g: t.ones(2))),
    "no tensor": lambda t: run(t, make(t, None, lambda ctx, g: 3)),
    "None": lambda t: run(t, make(t, None, lambda ctx, g: None)),
    "a list": lambda t: make(t, lambda ctx, x: [x * 2, x * 3]).apply(x_of(t)),
    "mixed results": lambda t: make(t, lambda ctx, x: (x * 2, 3, None)).apply(x_of(t)),
    "setup_context": lambda t: run(
        t,
        make(
            t,
            lambda x: x.exp(),
            lambda ctx, g: g * ctx.saved_tensors[0],
            setup_context=kept_output,
        ),
    ),
    "vjp beside backward": lambda t: run(t, make(t, vjp=lambda ctx, g: g)),
    "no backward": lambda t: run(
        t, type("My", (t.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x * 2)})
    ),
    "an instance": lambda t: make(t)() and None,
    "a called instance": lambda t: make(t)()(x_of(t)),
    "dirty": dirty,
    "dirty, not returned": lambda t: dirty(t, returned=False),
    "context of a node": context_of_a_node,
    "unused output": unused_output,
    "once differentiable": once,
    "kept number": lambda t: make(t, lambda ctx, x: ctx.save_for_backward(3)).apply(x_of(t)),
    "under no_grad": lambda t: t.no_grad()(lambda: make(t).apply(x_of(t)))(),
    "versions": versions,
    "a mode that is no bool": lambda t: t.set_grad_enabled(3),
}


def plain(value):
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if hasattr(value, "detach"):
        return [value.tolist(), tuple(value.shape), value.requires_grad]
    return value


def outcome(fn, t):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            result = plain(fn(t))
        except Exception as error:
            result = [type(error).__name__, str(error).partition("\n")[0]]
    return result, [w.category.__name__ for w in told]


@pytest.mark.parametrize("name", CASES)
def test_custom_functions_are_pytorchs(name):
    assert outcome(CASES[name], gradstep) == outcome(CASES[name], real)


def test_marking_what_is_no_tensor_raises():
    with pytest.raises(RuntimeError, match="mark_dirty can only accept variables, but argument 0"):
        dirty(gradstep, value=3)
