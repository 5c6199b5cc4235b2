# SPDX-License-Identifier: Apache-2.0
"""Autograd against PyTorch: accumulation, backward, autograd.grad, autograd.functional."""

import pytest

import gradstep as gs
from scenarios import equal, equal_error, leaf, leaves, raised, torch

pytestmark = pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")

# ---- accumulation ----


@equal
def test_grad_is_none_before_the_first_backward(t):
    x, y = leaves(t)
    before = x.grad
    (x * y).sum().backward()
    return before, x.grad, y.grad


@equal
def test_backward_accumulates_into_the_same_tensor(t):
    x, y = leaves(t)
    (x * y).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    return x.grad is first, x.grad, first._version > 0


@equal
def test_only_tensors_that_require_grad_are_followed(t):
    x = leaf(t, [1.0, 2.0])
    c = t.tensor([3.0, 4.0], dtype=t.float64)
    y = x * c
    free = c * 2
    y.sum().backward()
    return c.grad, c.requires_grad, y.requires_grad, free.requires_grad, free.grad_fn, x.grad


@equal
def test_a_tensor_used_twice_gets_both_gradients(t):
    x, _ = leaves(t)
    y = x.exp()
    (y * y + y * x + x).sum().backward()
    return x.grad


@equal
def test_a_diamond_of_the_same_operand(t):
    x, _ = leaves(t)
    (x * x + x / x + (x - x) ** 2).sum().backward()
    return x.grad


@equal
def test_grad_of_a_frozen_part_stays_none(t):
    x, y = leaves(t)
    y.requires_grad_(False)
    (x * y).sum().backward()
    y.requires_grad_(True)
    (x * y).sum().backward()
    return x.grad, y.grad


@equal
def test_grad_can_be_set_and_is_added_to(t):
    x, _ = leaves(t)
    x.grad = t.full((3,), 10.0, dtype=t.float64)
    (x * 2).sum().backward()
    grad = x.grad
    x.grad = None
    return grad, x.grad, grad.requires_grad


@equal
def test_setting_grad_of_another_shape_dtype_or_type_raises(t):
    x, _ = leaves(t)
    return (
        raised(lambda: setattr(x, "grad", t.ones(2, dtype=t.float64))),
        raised(lambda: setattr(x, "grad", t.ones(3)))[:45],
        raised(lambda: setattr(x, "grad", 3)),
        raised(lambda: setattr(x, "grad", x)),
    )


@equal
def test_the_gradient_is_not_shared_between_leaves(t):
    x, y = leaves(t)
    (x + y).backward(t.ones(3, dtype=t.float64))
    x.grad.mul_(5)
    return x.grad, y.grad


@equal
def test_the_given_gradient_is_not_changed_by_later_accumulation(t):
    x, _ = leaves(t)
    g = t.ones(3, dtype=t.float64)
    x.clone().backward(g)
    x.clone().backward(g)
    return g, x.grad


@equal
def test_micro_batches_give_the_gradient_of_the_big_batch(t):
    data = t.arange(24, dtype=t.float64).reshape(8, 3) / 10
    w = leaf(t, [[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]])
    ((data @ w.t()).tanh() ** 2).mean().backward()
    whole = w.grad
    w.grad = None
    for part in data.split(2):
        (((part @ w.t()).tanh() ** 2).mean() / 4).backward()
    return whole, w.grad


@equal
def test_a_gradient_has_the_dtype_and_the_layout_of_its_leaf(t):
    x = t.ones(2, 3, requires_grad=True)
    y = t.ones(3, 2, dtype=t.float64, requires_grad=True)
    z = t.zeros(3, 2).t().requires_grad_()
    (x * y.t() * z).sum().backward()
    return x.grad, y.grad, x.grad.is_contiguous(), z.grad.stride()


@equal
def test_sum_to_the_shape_of_a_broadcast_leaf(t):
    a, b, c = leaf(t, [[1.0], [2.0]]), leaf(t, [1.0, 2.0, 3.0]), leaf(t, 5.0)
    (a * b + c / (a + b)).sum().backward()
    return a.grad, b.grad, c.grad


@equal
def test_backward_of_several_roots(t):
    x, y = leaves(t)
    t.autograd.backward([(x * y).sum(), (x * 3)], [None, t.ones(3, dtype=t.float64)])
    return x.grad, y.grad


@equal
def test_backward_of_a_leaf_itself(t):
    x = leaf(t, 3.0)
    x.backward()
    return x.grad


@equal
def test_an_unused_output_counts_as_zero(t):
    x = leaf(t, [[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    values, indices = x.max(dim=1)
    a, b, _ = x.unbind(1)
    (values * 2 + b).sum().backward()
    return x.grad, indices.requires_grad, a.requires_grad


# ---- backward: arguments and errors ----


@equal
def test_backward_with_a_gradient(t):
    x, _ = leaves(t)
    y = x**2
    y.backward(gradient=t.tensor([1.0, 0.5, -2.0], dtype=t.float64))
    return x.grad


@equal_error("grad can be implicitly created only for scalar outputs")
def test_backward_of_a_non_scalar_needs_a_gradient(t):
    leaves(t)[0].mul(2).backward()


@equal_error("element 0 of tensors does not require grad and does not have a grad_fn")
def test_backward_without_history(t):
    t.ones(1).sum().backward()


@equal_error("Mismatch in shape: grad_output[0]")
def test_backward_with_a_gradient_of_another_shape(t):
    (leaves(t)[0] * 2).backward(t.ones(2, dtype=t.float64))


@equal_error("Trying to backward through the graph a second time")
def test_a_second_backward_raises(t):
    x, _ = leaves(t)
    y = (x * x).sum()
    y.backward()
    y.backward()


@equal_error("Trying to backward through the graph a second time")
def test_a_second_backward_through_a_shared_part_raises(t):
    x, _ = leaves(t)
    y = x.exp()
    (y * 2).sum().backward()
    (y * 3).sum().backward()


@equal
def test_a_second_backward_is_fine_where_nothing_was_saved(t):
    x, _ = leaves(t)
    b = leaf(t, [[1.0], [2.0]])
    y = (x + 1 - b).sum()
    y.backward()
    y.backward()
    return x.grad, b.grad


@equal
def test_a_custom_function_that_saved_nothing_can_run_again(t):
    class Twice(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.factor = 2
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * ctx.factor

    x, _ = leaves(t)
    y = Twice.apply(x).sum()
    y.backward()
    y.backward()
    return x.grad


@pytest.mark.parametrize(
    "text",
    [
        "h + 1",
        "h - h",
        "h * 2",
        "h / 3",
        "-h",
        "h.sum()",
        "h.sum(0)",
        "h.mean()",
        "h.mean(1)",
        "h.exp()",
        "h.sqrt()",
        "h.tanh()",
        "h.sigmoid()",
        "h.relu()",
        "h * h",
        "h / h",
        "h.sin()",
        "h.log()",
        "h.abs()",
        "h.clone()",
        "h.reshape(4) * 1",
        "h.t() * 1",
        "h[0] * 1",
        "h.expand(3, 2, 2) * 1",
        "h.cumsum(0)",
        "h.softmax(1)",
        "h.log_softmax(1)",
        "h @ h",
        "h @ c",
        "t.stack([h, h])",
        "t.cat([h, h])",
        "h.repeat(2, 1)",
        "h.flip(0)",
        "h.roll(1, 0)",
        "h.tril()",
        "h.masked_fill(c > 1, 0.0)",
        "t.where(c > 1, h, 1.0)",
        "h.float()",
        "h.max()",
        "h.max(1)[0]",
        "h.amax(1)",
        "h.sort(1)[0]",
        "h.topk(1)[0]",
        "h.norm()",
        "h.var()",
        "h.prod()",
        "h.logsumexp(1)",
        "h.gather(1, t.zeros(2, 1, dtype=t.int64))",
        "h.index_select(0, t.tensor([1]))",
        "h[t.tensor([0, 0])]",
        "h**2",
        "h.clamp(0.25, 0.6)",
        "F.gelu(h)",
        "F.leaky_relu(h)",
        "F.pad(h, (1, 1))",
        "F.linear(h, c)",
        "F.linear(c, h)",
        "F.mse_loss(h, c)",
        "F.dropout(h, 0.5)",
        "F.layer_norm(h, (2,))",
        "h.diagonal() * 1",
        "h.maximum(c)",
        "h.lerp(c, 0.5)",
        "h.addcmul(c, c)",
        "h + c",
        "h * c",
        "h / c",
        "c / h",
    ],
)
def test_an_operation_keeps_its_input_only_where_torch_does(text):
    def keeps(t):
        x = t.tensor([[0.3, 0.5], [0.2, 0.9]], dtype=t.float64, requires_grad=True)
        h, c = x * 1, t.tensor([[0.5, 2.0], [1.5, 1.0]], dtype=t.float64)
        y = eval(text, {"t": t, "F": t.nn.functional, "h": h, "c": c})
        h.add_(1)
        try:
            y.sum().backward()
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error)
            return True
        return False

    assert keeps(torch) or not keeps(gs)


@equal
def test_retain_graph_allows_another_backward(t):
    x, _ = leaves(t)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad, raised(y.backward).split("(")[0]


@equal
def test_create_graph_makes_the_gradient_differentiable(t):
    x, _ = leaves(t)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    x.grad = None
    (first * first).sum().backward()
    return first, first.requires_grad, x.grad


@equal
def test_backward_restricted_to_inputs(t):
    x, y = leaves(t)
    z = x * y
    (z * z).sum().backward(inputs=[x])
    return x.grad, y.grad


@equal
def test_backward_restricted_to_one_tensor_and_to_a_non_leaf(t):
    x, y = leaves(t)
    z = x * y
    z.retain_grad()
    (z * z).sum().backward(inputs=z)
    return x.grad, y.grad, z.grad


@equal_error("cannot be empty")
def test_backward_with_no_inputs(t):
    leaves(t)[0].sum().backward(inputs=[])


# ---- autograd.grad ----


@equal
def test_grad_leaves_dot_grad_alone(t):
    x, y = leaves(t)
    gx, gy = t.autograd.grad((x * y * y).sum(), [x, y])
    return gx, gy, x.grad, y.grad


@equal
def test_grad_with_respect_to_a_middle_tensor(t):
    x, y = leaves(t)
    z = x * y
    return t.autograd.grad((z * z).sum(), (z, x))


@equal
def test_grad_of_the_output_itself(t):
    x, _ = leaves(t)
    z = x.sum()
    return t.autograd.grad(z, z)


@equal
def test_grad_of_an_input_asked_twice(t):
    x, _ = leaves(t)
    return t.autograd.grad((x * x).sum(), [x, x])


@equal
def test_grad_with_grad_outputs_and_several_outputs(t):
    x, y = leaves(t)
    weight = t.tensor([1.0, -1.0, 2.0], dtype=t.float64)
    return t.autograd.grad([x * y, (x + y).sum()], [x, y], grad_outputs=[weight, None])


@equal_error("appears to not have been used in the graph")
def test_grad_of_an_unused_input(t):
    x, y = leaves(t)
    t.autograd.grad(x.sum(), [x, y])


@equal
def test_grad_allow_unused_and_materialize(t):
    x, y = leaves(t)
    return (
        t.autograd.grad(x.sum(), [x, y], allow_unused=True),
        t.autograd.grad(x.sum(), [x, y], materialize_grads=True),
        raised(
            lambda: t.autograd.grad(x.sum(), [x, y], allow_unused=False, materialize_grads=True)
        ),
    )


@equal_error("One of the differentiated Tensors does not require grad")
def test_grad_of_a_constant(t):
    t.autograd.grad(leaves(t)[0].sum(), t.ones(2))


@equal
def test_grad_three_times(t):
    x, _ = leaves(t)
    y = (x * x * x * x).sum()
    orders = []
    for _ in range(3):
        (g,) = t.autograd.grad(y, x, create_graph=True)
        orders.append(g)
        y = g.sum()
    return orders


@equal
def test_grad_of_a_gradient_penalty(t):
    w, x = leaf(t, [[0.3, -0.2], [0.1, 0.7]]), leaf(t, [[1.0, 2.0]])
    score = (x @ w).tanh().sum()
    (g,) = t.autograd.grad(score, x, create_graph=True)
    penalty = ((g * g).sum().sqrt() - 1) ** 2
    (score + penalty).backward()
    return w.grad, x.grad


@equal
def test_grad_keeps_the_graph_where_it_is_told_to(t):
    x, _ = leaves(t)
    y = x.exp().sum()
    t.autograd.grad(y, x, retain_graph=True)
    t.autograd.grad(y, x)
    return raised(lambda: t.autograd.grad(y, x)).split("(")[0]


@equal
def test_grad_frees_only_the_part_that_ran(t):
    x, y = leaves(t)
    a, b = x.exp(), y.exp()
    z = (a + b).sum()
    (gx,) = t.autograd.grad(z, x)
    return gx, t.autograd.grad(b.sum(), y), raised(lambda: a.sum().backward()).split("(")[0]


@equal
def test_batched_grad_outputs(t):
    x, _ = leaves(t)
    rows = t.eye(3, dtype=t.float64)
    return t.autograd.grad(x**2, x, grad_outputs=rows, is_grads_batched=True)


# ---- autograd.functional ----


def bilinear(t):
    def fn(x, y):
        return (x * y).sin() * y.sum(), x.sum() ** 3

    return fn


@equal
def test_functional_vjp_and_jvp(t):
    x, y = (v.detach() for v in leaves(t))
    f = t.autograd.functional
    v = t.tensor([1.0, -1.0, 0.5], dtype=t.float64)
    return (
        f.vjp(bilinear(t), (x, y), v=(v, t.tensor(2.0, dtype=t.float64))),
        f.jvp(bilinear(t), (x, y), v=(v, v)),
        f.vjp(lambda a: (a * a).sum(), x),
        f.jvp(lambda a: a * a, x, v),
        f.jvp(lambda a: a.exp(), t.tensor(1.5, dtype=t.float64)),
    )


@equal
def test_functional_jacobian(t):
    x, y = (v.detach() for v in leaves(t))
    f = t.autograd.functional
    matrix = t.arange(6, dtype=t.float64).reshape(2, 3)
    return (
        f.jacobian(lambda a: a.exp(), x),
        f.jacobian(bilinear(t), (x, y)),
        f.jacobian(lambda a: a @ a.t(), matrix).shape == (2, 2, 2, 3),
        f.jacobian(lambda a: a @ a.t(), matrix),
        f.jacobian(lambda a, b: a * 2, (x, y)),
        f.jacobian(lambda a: a.sum(), x, vectorize=True),
    )


@equal
def test_functional_hessian_hvp_vhp(t):
    x, y = (v.detach() for v in leaves(t))
    f = t.autograd.functional
    v = t.tensor([1.0, -1.0, 0.5], dtype=t.float64)

    def scalar(a, b):
        return (a * a * b).sum() + (a * b).sum() ** 2

    return (
        f.hessian(lambda a: (a**3).sum(), x),
        f.hessian(scalar, (x, y)),
        f.hvp(scalar, (x, y), (v, v)),
        f.vhp(scalar, (x, y), (v, v)),
        f.vhp(lambda a: (a**3).sum(), x, v),
        f.hessian(lambda a: a.sum(), x),
    )


@equal
def test_functional_create_graph(t):
    x, _ = leaves(t)
    f = t.autograd.functional
    j = f.jacobian(lambda a: a * a * a, x, create_graph=True)
    (j.diagonal() ** 2).sum().backward()
    h = f.hessian(lambda a: (a * a * a * a).sum(), x, create_graph=True)
    return x.grad, t.autograd.grad(h.sum(), x), j.requires_grad


@equal
def test_functional_errors(t):
    x = t.ones(3, dtype=t.float64)
    f = t.autograd.functional
    return (
        raised(lambda: f.vjp(lambda a: a * 2, x)),
        raised(lambda: f.vjp(lambda a: a * 2, x, t.ones(2))),
        raised(lambda: f.hessian(lambda a: a * 2, x)),
        raised(lambda: f.jacobian(lambda a: a * 2, 3)),
        raised(lambda: f.jacobian(lambda a: 3, x)),
        raised(lambda: f.jacobian(lambda a: x * 2, x, strict=True)),
        raised(lambda: f.jvp(lambda a: a * 2, x)),
    )
