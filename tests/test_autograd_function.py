# SPDX-License-Identifier: Apache-2.0
"""autograd.Function against PyTorch on every device: what a script writes in one, its errors; gradcheck."""

import gc
import weakref

import pytest

import gradstep as gs
from scenarios import equal, equal_error, leaf, leaves, raised

pytestmark = pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")

# ---- custom functions ----


def square_function(t):
    class Square(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x)
            ctx.scale = scale
            return x * x * scale

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * 2 * x * ctx.scale, None

    return Square


@equal
def test_function_with_a_plain_argument(t):
    x, _ = leaves(t)
    y = square_function(t).apply(x, 3.0)
    name = y.grad_fn.name()
    y.sum().backward()
    return name, type(y.grad_fn).__name__, x.grad, y.requires_grad, len(y.grad_fn.next_functions)


@equal
def test_function_without_gradients_makes_no_node(t):
    x, _ = leaves(t)
    with t.no_grad():
        y = square_function(t).apply(x, 3.0)
    z = square_function(t).apply(x.detach(), 3.0)
    return y.requires_grad, z.requires_grad, z.grad_fn


@equal
def test_function_forward_runs_without_grad_mode(t):
    modes = []

    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            modes.append(t.is_grad_enabled())
            return (x * 2).clone()

        @staticmethod
        def backward(ctx, g):
            modes.append(t.is_grad_enabled())
            return g * 2

    x, _ = leaves(t)
    F.apply(x).sum().backward()
    t.autograd.grad(F.apply(x).sum(), x, create_graph=True)
    return modes


@equal
def test_function_double_backward(t):
    x, _ = leaves(t)
    y = square_function(t).apply(x, 3.0)
    (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
    return g, t.autograd.grad(g.sum(), x)


@equal
def test_function_double_backward_with_a_saved_output(t):
    class Exp(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * y

    x, _ = leaves(t)
    (g,) = t.autograd.grad(Exp.apply(x).sum(), x, create_graph=True)
    (gg,) = t.autograd.grad(g.sum(), x, create_graph=True)
    return g, gg, t.autograd.grad(gg.sum(), x)


@equal
def test_function_several_outputs_and_unused_ones(t):
    seen = []

    class Pair(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * y, x + y

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a, b))
            x, y = ctx.saved_tensors
            return a * y + b, a * x + b

    x, y = leaves(t)
    p, s = Pair.apply(x, y)
    (p * 2 + s).sum().backward()
    p, s = Pair.apply(x, y)
    p.sum().backward()
    return x.grad, y.grad, seen, p.grad_fn is s.grad_fn, s.output_nr


@equal
def test_function_without_materialized_gradients(t):
    seen = []

    class Pair(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a is None, b is None))
            return a * 2 if b is None else b * 3

    x, _ = leaves(t)
    Pair.apply(x)[1].sum().backward()
    Pair.apply(x)[0].sum().backward()
    return seen, x.grad


@equal
def test_function_needs_input_grad(t):
    seen = []

    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y, k):
            seen.append(ctx.needs_input_grad)
            return x * y * k

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g, g, None

    x, y = leaves(t)
    F.apply(x, y, 2).sum().backward()
    F.apply(x.detach(), y, 2).sum().backward()
    return seen


@equal
def test_function_mark_non_differentiable(t):
    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            values, places = x * 2, x > 1
            copy = x.clone()
            ctx.mark_non_differentiable(places, copy)
            return values, places, copy

        @staticmethod
        def backward(ctx, g, _, __):
            return g * 2

    x, _ = leaves(t)
    values, places, copy = F.apply(x)
    values.sum().backward()
    return values.requires_grad, places.requires_grad, copy.requires_grad, x.grad


@equal
def test_function_mark_dirty(t):
    class AddOne(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 10

    x, _ = leaves(t)
    y = x * 2
    z = AddOne.apply(y)
    z.sum().backward()
    return z is y, x.grad, y._version, y.grad_fn.name(), raised(lambda: AddOne.apply(x))


@equal
def test_function_mark_dirty_on_a_view(t):
    class Double(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x, _ = leaves(t)
    y = x * 1
    Double.apply(y[1:])
    (y * y).sum().backward()
    return x.grad, y


@equal
def test_function_that_returns_its_input(t):
    class Identity(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 7

    x, _ = leaves(t)
    y = Identity.apply(x)
    y.sum().backward()
    return x.grad, y is x, y.grad_fn.name()


@equal
def test_function_gradient_reversal_with_view_as(t):
    class Reverse(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, strength):
            ctx.strength = strength
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return g.neg() * ctx.strength, None

    x, _ = leaves(t)
    (Reverse.apply(x * 2, 0.5) * 3).sum().backward()
    return x.grad


@equal
def test_function_setup_context(t):
    class Mul(t.autograd.Function):
        @staticmethod
        def forward(x, y, k):
            return x * y * k

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, y, ctx.k = inputs
            ctx.save_for_backward(x, y, output)

        @staticmethod
        def backward(ctx, g):
            x, y, out = ctx.saved_tensors
            return g * y * ctx.k, g * x * ctx.k, None

    x, y = leaves(t)
    out = Mul.apply(x, y, 2)
    (gx,) = t.autograd.grad(out.sum(), x, create_graph=True)
    gx.sum().backward()
    return out, gx, x.grad, y.grad


@equal
def test_function_gradient_of_a_broadcast_shape_is_summed(t):
    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g, g

    x, y = leaf(t, [[1.0], [2.0]]), leaf(t, [1.0, 2.0, 3.0])
    F.apply(x, y).sum().backward()
    return x.grad, y.grad


def wrong(t, result):
    class Wrong(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return result(g)

    Wrong.apply(*leaves(t)).sum().backward()


@equal_error("returned an incorrect number of gradients (expected 2, got 1)")
def test_function_with_too_few_gradients(t):
    wrong(t, lambda g: g)


@equal_error("returned an incorrect number of gradients (expected 2, got 3)")
def test_function_with_too_many_gradients(t):
    wrong(t, lambda g: (g, g, g))


@equal
def test_function_with_extra_none_gradients(t):
    wrong(t, lambda g: (g, g, None, None))


@equal_error("expected Variable or None")
def test_function_with_a_gradient_of_a_wrong_type(t):
    wrong(t, lambda g: (g, 3.0))


@equal_error("returned an invalid gradient at index 1")
def test_function_with_a_gradient_of_a_wrong_shape(t):
    wrong(t, lambda g: (g, g[:2]))


@equal_error("from backward")
def test_an_exception_in_backward_reaches_the_caller(t):
    def fails(g):
        raise LookupError("from backward")

    wrong(t, fails)


@equal
def test_function_none_gradient_leaves_grad_none(t):
    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g, None

    x, y = leaves(t)
    F.apply(x, y).sum().backward()
    return x.grad, y.grad


@equal
def test_function_second_time_error_and_retain_graph(t):
    x, _ = leaves(t)
    y = square_function(t).apply(x, 1.0).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad, raised(y.backward).split("(")[0]


@equal_error("modified by an inplace operation")
def test_function_saved_tensor_version_error(t):
    x, _ = leaves(t)
    h = x * 1
    y = square_function(t).apply(h, 1.0)
    h.add_(1)
    y.sum().backward()


@equal
def test_function_saves_none_and_keeps_attributes(t):
    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, y=None):
            ctx.save_for_backward(x, y)
            ctx.note = {"k": 1}
            return x * 2

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * (2 if y is None else 3) * ctx.note["k"], None

    x, _ = leaves(t)
    F.apply(x, None).sum().backward()
    return x.grad


@equal
def test_save_for_backward_of_a_number(t):
    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(3)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g

    return raised(lambda: F.apply(leaves(t)[0]))


@equal
def test_once_differentiable(t):
    from importlib import import_module

    once = import_module(f"{t.__name__}.autograd.function").once_differentiable

    class F(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x, _ = leaves(t)
    F.apply(x).sum().backward()
    (g,) = t.autograd.grad(F.apply(x).sum(), x, create_graph=True)
    return x.grad, g, raised(lambda: g.sum().backward())


@equal
def test_function_unimplemented(t):
    class NoBackward(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

    class NoForward(t.autograd.Function):
        pass

    x, _ = leaves(t)
    y = NoBackward.apply(x)
    return raised(y.sum().backward), raised(lambda: NoForward.apply(x))


@equal
def test_function_calls_another_engine_run_in_backward(t):
    """Reentrant backward, as activation checkpointing does it."""

    class Checkpoint(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return (x * w).tanh()

        @staticmethod
        def backward(ctx, g):
            x, w = (s.detach().requires_grad_() for s in ctx.saved_tensors)
            with t.enable_grad():
                y = (x * w).tanh()
            y.backward(g)
            return x.grad, w.grad

    x, w = leaves(t)
    h = x * 2
    for _ in range(3):
        h = Checkpoint.apply(h, w)
    (h * x).sum().backward()
    return x.grad, w.grad


@equal
def test_reentrant_backward_into_the_same_leaf(t):
    class Inner(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            with t.enable_grad():
                (w * w).sum().backward()
            return g

    x, w = leaves(t)
    (Inner.apply(x) * w).sum().backward()
    return x.grad, w.grad


def test_a_function_context_is_freed_with_its_graph():
    alive = []

    class F(gs.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(x, y)
            alive.append(weakref.ref(ctx))
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[1]

    x, _ = leaves(gs)
    y = F.apply(x)
    y.sum().backward()
    del y
    gc.collect()
    assert alive[0]() is None


# ---- checks of derivatives ----


def test_gradcheck_and_gradgradcheck_accept_right_derivatives():
    x, y = leaves(gs)
    assert gs.autograd.gradcheck(lambda a, b: (a * b).sin() / a.exp(), (x, y))
    assert gs.autograd.gradgradcheck(lambda a, b: (a * b).sin() / a.exp(), (x, y))
    assert gs.autograd.gradcheck(lambda a: (a[:2] * 2, a.sum()), (x,))
    assert gs.autograd.gradcheck(square_function(gs).apply, (x, 3.0))
    assert gs.autograd.gradgradcheck(square_function(gs).apply, (x, 3.0))


def test_gradcheck_rejects_a_wrong_derivative():
    class Wrong(gs.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 2.01 * ctx.saved_tensors[0]

    x, _ = leaves(gs)
    with pytest.raises(
        RuntimeError, match="Jacobian mismatch for output 0 with respect to input 0"
    ):
        gs.autograd.gradcheck(Wrong.apply, (x,))
    assert not gs.autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)


def test_gradgradcheck_rejects_a_wrong_second_derivative():
    class Wrong(gs.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0].detach()

    x, _ = leaves(gs)
    assert gs.autograd.gradcheck(Wrong.apply, (x,))
    assert not gs.autograd.gradgradcheck(Wrong.apply, (x,), raise_exception=False)


@equal_error("gradcheck expects")
def test_gradcheck_without_an_input_that_requires_grad(t):
    t.autograd.gradcheck(lambda x: x, (t.ones(2, dtype=t.float64),))
