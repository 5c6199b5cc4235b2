# SPDX-License-Identifier: Apache-2.0
"""Autograd against PyTorch. A scenario is written once and run in both libraries:
`@equal def test_x(t): ...` compares what it returns, `@equal_error("text") def ...` what it raises."""

import gc
import threading
import weakref

import numpy as np
import pytest

import gradstep as gs
from devices import text_of

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True"),
    pytest.mark.filterwarnings("ignore:Decorating classes is deprecated"),
]

# ---- running a scenario in both libraries ----


def plain(value, t):
    """A result without library types: tensors become (dtype, array)."""
    if isinstance(value, t.Tensor):
        return str(value.dtype).rsplit(".", 1)[-1], value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {k: plain(v, t) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v, t) for v in value]
    return value


def compare(a, b):
    if isinstance(b, np.ndarray):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    elif isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            compare(a[key], b[key])
    elif isinstance(b, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            compare(x, y)
    elif isinstance(b, float):
        assert a == pytest.approx(b, rel=1e-6)
    else:
        assert a == b


def equal(scenario):
    """The test that `scenario(t)` returns the same with gradstep and with torch."""

    def test():
        compare(plain(scenario(gs), gs), plain(scenario(torch), torch))

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


def raised(fn):
    """Type and text of what fn raises."""
    with pytest.raises(Exception) as info:
        fn()
    return f"{type(info.value).__name__}: {text_of(info.value)}"


def equal_error(fragment):
    """The test that `scenario(t)` raises the same with gradstep and with torch, with `fragment` in the text."""

    def decorate(scenario):
        def test():
            ours, theirs = (raised(lambda: scenario(lib)) for lib in (gs, torch))
            assert fragment in theirs
            assert ours == theirs

        test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
        return test

    return decorate


def leaf(t, values):
    return t.tensor(values, dtype=t.float64, requires_grad=True)


def leaves(t):
    return leaf(t, [1.0, 2.0, 3.0]), leaf(t, [0.5, -1.0, 4.0])


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


# ---- grad_fn, next_functions, is_leaf, retain_grad ----


@equal
def test_grad_fn_and_is_leaf(t):
    x, _ = leaves(t)
    c = t.ones(2)
    y = x * 2
    return (
        x.grad_fn,
        x.is_leaf,
        c.is_leaf,
        y.is_leaf,
        y.grad_fn is None,
        y.detach().is_leaf,
        x.output_nr,
    )


@equal
def test_names_of_common_nodes(t):
    x = leaf(t, [[1.0, 2.0], [3.0, 4.0]])
    made = [
        x * 2, x + x, x - 1, x / x, x**2, x.exp(), x.sigmoid(), x.relu(), x.sum(), x.mean(), x @ x,
        x.clone(), x[0], -x, x.tanh(), x.log(), x.sqrt(), x.abs(), x.reshape(4), x.expand(3, 2, 2),
        x.unsqueeze(0), x.permute(1, 0), x.softmax(1), x.log_softmax(1), t.cat([x, x]),
    ]  # fmt: skip
    return [y.grad_fn.name() for y in made], [type(y.grad_fn).__name__ for y in made]


@equal
def test_next_functions_lead_to_the_leaves(t):
    x, y = leaves(t)
    z = (x * 2) * y
    (mul, nr), (leaf_y, _) = z.grad_fn.next_functions
    accumulate = mul.next_functions[0][0]
    return (
        mul.name(),
        nr,
        leaf_y.name(),
        leaf_y.variable is y,
        accumulate.variable is x,
        len(mul.next_functions),
        accumulate.next_functions,
        (x + 1).grad_fn.next_functions[0][0] is accumulate,
    )


@equal
def test_a_constant_has_no_next_function(t):
    x, _ = leaves(t)
    y = x * t.ones(3, dtype=t.float64)
    return [f is None for f, _ in y.grad_fn.next_functions], [
        nr for _, nr in y.grad_fn.next_functions
    ]


@equal
def test_output_nr_of_several_outputs(t):
    x = leaf(t, [1.0, 4.0, 3.0, 2.0])
    values, places = x.sort()
    spread, mean = t.var_mean(x)
    return (
        values.output_nr,
        places.requires_grad,
        spread.output_nr,
        mean.output_nr,
        spread.grad_fn is mean.grad_fn,
    )


@equal
def test_retain_grad(t):
    x, _ = leaves(t)
    y = x * 3
    y.retain_grad()
    y.retain_grad()
    (y * y).sum().backward()
    flags = y.retains_grad, x.retains_grad
    x.retain_grad()
    (x * 3).sum().backward()
    return y.grad, x.grad, flags


@equal
def test_retain_grad_accumulates(t):
    x, _ = leaves(t)
    y = x * 3
    y.retain_grad()
    loss = (y * y).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    return y.grad, x.grad


@equal_error("can't retain_grad on Tensor that has requires_grad=False")
def test_retain_grad_without_requires_grad(t):
    t.ones(2).retain_grad()


@equal
def test_requires_grad_rules(t):
    x, y = leaves(t)
    z = x * y
    return (
        raised(lambda: t.ones(2, dtype=t.int64).requires_grad_()).partition(" point")[0],
        raised(lambda: setattr(z, "requires_grad", False)),
        raised(lambda: t.ones(2, dtype=t.int64, requires_grad=True)),
        z.requires_grad_() is z,
        (x > y).requires_grad,
        x.argmax().requires_grad,
        x.long().requires_grad,
        x.float().requires_grad,
    )


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


# ---- hooks on tensors ----


@equal
def test_hook_on_a_leaf_replaces_its_gradient(t):
    x, _ = leaves(t)
    handle = x.register_hook(lambda g: g * 2)
    (x * 3).sum().backward()
    first = x.grad.clone()
    handle.remove()
    handle.remove()
    (x * 3).sum().backward()
    return first, x.grad


@equal
def test_hook_on_a_middle_tensor(t):
    x, _ = leaves(t)
    seen = []
    y = x * 3
    y.register_hook(lambda g: seen.append(g.clone()))
    y.register_hook(lambda g: g + 1)
    (y * y).sum().backward()
    return seen, x.grad


@equal
def test_hooks_run_in_order_of_registration_and_once(t):
    x, _ = leaves(t)
    order = []
    for k in range(3):
        x.register_hook(lambda g, k=k: order.append(k))
    y = x * 2
    (y + y * y).sum().backward()
    return order


@equal
def test_hook_on_one_of_several_outputs(t):
    x = leaf(t, [1.0, 2.0, 3.0, 4.0])
    a, b = x.split(2)
    b.register_hook(lambda g: g * 10)
    (a * 2 + b * 3).sum().backward()
    return x.grad


@equal
def test_hook_also_changes_the_result_of_grad(t):
    x, _ = leaves(t)
    x.register_hook(lambda g: -g)
    y = x * 2
    y.register_hook(lambda g: g * 5)
    z = y.sum()
    return t.autograd.grad(z, y, retain_graph=True), t.autograd.grad(z, x)


@equal
def test_retained_gradient_is_the_one_after_hooks(t):
    x, _ = leaves(t)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g * 100)
    y.sum().backward()
    return y.grad, x.grad


@equal
def test_handle_as_context_manager(t):
    x, _ = leaves(t)
    with x.register_hook(lambda g: g * 2):
        x.sum().backward()
    x.sum().backward()
    return x.grad


@equal
def test_hook_errors(t):
    x, _ = leaves(t)
    message = raised(lambda: t.ones(2).register_hook(lambda g: g))
    x.register_hook(lambda g: g[:1])
    return message, raised(lambda: x.sum().backward()).split(":")[0]


@equal
def test_post_accumulate_hook_sees_the_leaf_with_its_gradient(t):
    x, y = leaves(t)
    seen = []

    def step(p):
        seen.append((p is x, p.grad.clone()))
        p.grad = None

    handle = x.register_post_accumulate_grad_hook(step)
    (x * y).sum().backward()
    gone = x.grad
    handle.remove()
    (x * y).sum().backward()
    return seen, gone, x.grad, raised(lambda: (x * 1).register_post_accumulate_grad_hook(step))


@equal
def test_an_exception_in_a_hook_leaves_the_graph_usable(t):
    x, _ = leaves(t)
    y = x * 3

    def fails(g):
        raise KeyError("from the hook")

    handle = y.register_hook(fails)
    loss = (y * y + y.exp()).sum()
    text = raised(lambda: loss.backward(retain_graph=True))
    handle.remove()
    none = x.grad
    loss.backward()
    return text, none, x.grad


@equal
def test_a_hook_may_differentiate(t):
    x, y = leaves(t)
    inner = []

    def hook(g):
        with t.enable_grad():
            z = leaf(t, [1.0, 2.0])
            (z * z).sum().backward()
            inner.append(z.grad)
        return g * inner[-1].sum()

    (x * y).register_hook(hook)
    z = x * y
    z.register_hook(hook)
    z.sum().backward()
    return x.grad, y.grad, inner


@equal
def test_a_hook_may_differentiate_through_the_leaves_of_the_outer_pass(t):
    x, y = leaves(t)
    inner = []

    def hook(g):
        with t.enable_grad():
            inner.extend(t.autograd.grad((x * x * y).sum(), [x, y]))
        return g * 2

    z = x * y
    h = z * x
    z.register_hook(hook)
    (h * x).sum().backward()
    return inner, x.grad, y.grad


# ---- hooks on nodes and modules ----


@equal
def test_node_hooks(t):
    x, y = leaves(t)
    z = x * y
    calls = []
    z.grad_fn.register_prehook(lambda outs: calls.append(("pre", len(outs))) or (outs[0] * 2,))
    z.grad_fn.register_hook(
        lambda ins, outs: calls.append(("post", len(ins), len(outs))) or (ins[0] + 1, ins[1])
    )
    z.sum().backward()
    return calls, x.grad, y.grad


@equal
def test_node_hook_handles(t):
    x, y = leaves(t)
    z = x * y
    z.grad_fn.register_hook(lambda ins, outs: (ins[0] * 7, ins[1])).remove()
    z.sum().backward()
    return x.grad


@equal
def test_module_hooks(t):
    t.manual_seed(0)
    with t.device("cpu"):  # the same random weights
        net = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Tanh(), t.nn.Linear(4, 2))
    net.to(t.get_default_device())
    calls = []
    net[0].register_forward_pre_hook(lambda m, args: calls.append("pre") or (args[0] * 2,))
    net[0].register_forward_hook(lambda m, args, out: calls.append("forward") or out + 1)
    net[1].register_full_backward_hook(
        lambda m, gi, go: calls.append(("full", len(gi), len(go))) or (gi[0] * 3,)
    )
    net[1].register_full_backward_pre_hook(
        lambda m, go: calls.append("backward pre") or (go[0] * 2,)
    )
    x = t.ones(2, 3, requires_grad=True)
    net(x).sum().backward()
    return calls, x.grad, [p.grad for p in net.parameters()]


# ---- grad modes ----


@equal
def test_no_grad_as_context_decorator_and_bare_decorator(t):
    x, _ = leaves(t)

    @t.no_grad()
    def f():
        return x * 2, t.is_grad_enabled()

    @t.no_grad
    def g():
        return x * 2

    with t.no_grad():
        inside = x * 2
        with t.enable_grad():
            again = x * 2
    return (
        inside.requires_grad,
        again.requires_grad,
        f()[0].requires_grad,
        f()[1],
        g().requires_grad,
        (x * 2).requires_grad,
    )


@equal
def test_set_grad_enabled_as_call_context_and_decorator(t):
    x, _ = leaves(t)
    t.set_grad_enabled(False)
    off = (x * 2).requires_grad
    t.set_grad_enabled(True)
    with t.set_grad_enabled(False):
        inside = (x * 2).requires_grad

    @t.set_grad_enabled(False)
    def f():
        return (x * 2).requires_grad

    return off, inside, t.is_grad_enabled(), f(), t.is_grad_enabled()


@equal
def test_modes_are_restored_after_an_exception(t):
    for mode in (t.no_grad, t.inference_mode, lambda: t.set_grad_enabled(False)):
        try:
            with mode():
                raise ValueError
        except ValueError:
            pass
    return t.is_grad_enabled(), t.is_inference_mode_enabled()


@equal
def test_no_grad_on_a_generator_switches_only_while_it_runs(t):
    states = []

    @t.no_grad()
    def numbers():
        states.append(t.is_grad_enabled())
        got = yield 1
        states.append((got, t.is_grad_enabled()))
        try:
            yield 2
        except KeyError:
            states.append(("caught", t.is_grad_enabled()))
            yield 3
        return 4

    g = numbers()
    states.append((next(g), t.is_grad_enabled()))
    states.append((g.send("sent"), t.is_grad_enabled()))
    states.append((g.throw(KeyError()), t.is_grad_enabled()))
    try:
        next(g)
    except StopIteration as stop:
        states.append(stop.value)
    return states


@equal
def test_no_grad_on_a_class_covers_its_constructor(t):
    @t.no_grad()
    class Made:
        def __init__(self):
            self.enabled = t.is_grad_enabled()

        def later(self):
            return t.is_grad_enabled()

    made = Made()
    return made.enabled, made.later()


@equal
def test_decorator_keeps_name_and_doc(t):
    @t.no_grad()
    def named():
        """Documented."""

    return named.__name__, named.__doc__


@equal
def test_no_grad_results_and_requires_grad_of_new_leaves(t):
    with t.no_grad():
        x = t.ones(2, requires_grad=True)
        y = x * 2
        p = t.nn.Parameter(t.ones(2))
        y2 = y.requires_grad_()
    return x.requires_grad, y.requires_grad, y2.is_leaf, p.requires_grad


@equal
def test_inference_mode(t):
    x, _ = leaves(t)
    with t.inference_mode():
        a = x * 2
        b = t.ones(2)
        b.add_(1)
        on = t.is_inference_mode_enabled(), t.is_grad_enabled()
        with t.inference_mode(False):
            c = x * 2

    @t.inference_mode()
    def f():
        return t.is_inference_mode_enabled()

    @t.inference_mode
    def g():
        return t.is_inference_mode_enabled()

    return (
        a.requires_grad,
        a.is_inference(),
        b.is_inference(),
        x.is_inference(),
        on,
        c.requires_grad,
        f(),
        g(),
    )


@equal
def test_inference_tensors_outside(t):
    with t.inference_mode():
        a = t.ones(2, dtype=t.float64)
    w = leaf(t, [1.0, 2.0])
    (w * a.clone()).sum().backward()
    return (
        raised(lambda: w * a),
        raised(lambda: a.add_(1)).split(".")[0],
        (w + a).requires_grad,
        a.clone().is_inference(),
        w.grad,
    )


# ---- in-place, views, versions ----


@equal
def test_inplace_on_a_non_leaf(t):
    x, y = leaves(t)
    z = x * 1
    z.mul_(y).add_(x).sub_(1)
    z[1] *= 3
    z.sum().backward()
    return x.grad, y.grad, z._version


@equal
def test_inplace_changes_the_node(t):
    x, _ = leaves(t)
    z = x * 1
    before = z.grad_fn.name()
    z.exp_()
    return before, z.grad_fn.name(), z.grad_fn.next_functions[0][0].name()


@equal
def test_inplace_with_broadcast_operand(t):
    x = leaf(t, [[1.0, 2.0], [3.0, 4.0]])
    w = leaf(t, [5.0, 6.0])
    z = x.clone()
    z *= w
    z /= w.sum()
    z.sum().backward()
    return x.grad, w.grad


@equal
def test_inplace_unary_functions(t):
    grads = []
    names = (
        "exp_",
        "sigmoid_",
        "tanh_",
        "relu_",
        "sqrt_",
        "neg_",
        "abs_",
        "sin_",
        "log_",
        "reciprocal_",
        "square_",
    )
    for name in names:
        x, _ = leaves(t)
        z = x * 1
        getattr(z, name)()
        (z * z).sum().backward()
        grads.append(x.grad)
    return grads


@equal
def test_zero_and_fill_cut_the_gradient(t):
    x, _ = leaves(t)
    z = x * 2
    z[0].zero_()
    z[1].fill_(4.0)
    z.sum().backward()
    return x.grad, z


@equal
def test_inplace_makes_a_plain_tensor_part_of_the_graph(t):
    x, _ = leaves(t)
    z = t.zeros(3, dtype=t.float64)
    z.add_(x)
    z.mul_(2)
    z.sum().backward()
    return x.grad, z.requires_grad, z.is_leaf


@equal
def test_write_into_a_view_reaches_the_base(t):
    x = leaf(t, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 2
    y[0].mul_(3)
    row = y[1]
    row.add_(x[0])
    names = y.grad_fn.name(), row.grad_fn.name()
    (y * y).sum().backward()
    return x.grad, names


@equal
def test_write_into_the_base_reaches_an_old_view(t):
    x = leaf(t, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 2
    row, column = y[1], y.t()[0]
    y.mul_(5)
    (row * row).sum().backward(retain_graph=True)
    first = x.grad.clone()
    (column * column).sum().backward()
    return first, x.grad, row.grad_fn.name()


@equal
def test_view_of_a_view_and_overlapping_writes(t):
    x = t.arange(12, dtype=t.float64).requires_grad_()
    y = x * 1
    a = y.view(3, 4)
    b = a[1:].t()
    b[0].mul_(2)
    a[:, 1].add_(y[0])
    y[3:9:2].mul_(3)
    (y * t.arange(12, dtype=t.float64)).sum().backward()
    return x.grad, y, a, b


@equal
def test_stale_views_that_are_used_several_times(t):
    """The history that a view takes from its written base is older than all that uses the view."""
    x = leaf(t, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 1
    views = [y[:, 1:], y.unsqueeze(0), y.unsqueeze(0).squeeze(), y.t(), y.view(4)]
    views[0][0] = views[0][0] * 3
    loss = (
        sum((v * v).sum() * k + (v * v * v).sum() for k, v in enumerate(views, 1)) + (y * y).sum()
    )
    (g,) = t.autograd.grad(loss, x, create_graph=True)
    return g, t.autograd.grad((g * g).sum(), x)


@equal
def test_a_view_that_is_the_source_of_a_write_over_itself(t):
    x = leaf(t, [[1.0, 2.0], [3.0, 4.0]])
    y = x * 1
    whole, row, column = y.view(2, 2), y[1], y[:, 0]
    y[0] = row * 2
    y[:, 1].copy_(column)
    y.copy_(whole.t().clone())
    y[0].add_(row)
    (
        (whole * whole).sum() + (row * row).sum() * 3 + (column * column).sum() * 5 + y.sum()
    ).backward()
    return x.grad, y


@equal
def test_double_backward_through_writes_that_keep_their_result(t):
    results = []
    for name in ("exp_", "sigmoid_", "tanh_", "sqrt_"):
        x = leaf(t, [[1.0, 2.0], [3.0, 4.0]])
        y = x * x
        getattr(y[:, 1], name)()
        (g,) = t.autograd.grad((y * y).sum(), x, create_graph=True)
        results += [g, t.autograd.grad((g * g).sum(), x)]
    return results


@equal
def test_retained_gradient_of_a_tensor_that_is_written_later(t):
    x, y = leaves(t)
    z = x * 2
    z.retain_grad()
    z.mul_(y)
    (z * z).sum().backward()
    base = x * 3
    base.retain_grad()
    base[0].mul_(5)
    gone = x * 2
    gone.retain_grad()
    kept = gone + y
    gone.mul_(2)
    del gone
    (base * base + kept).sum().backward()
    return z.grad, base.grad


@equal
def test_setitem_gradients(t):
    x, y = leaves(t)
    z = t.zeros(2, 3, dtype=t.float64)
    z[0] = x
    z[1, 1:] = y[:2] * x[0]
    z[0, 2] = y[2] * 2
    (z * z).sum().backward()
    return x.grad, y.grad, z


@equal
def test_setitem_by_mask_and_by_index(t):
    x, y = leaves(t)
    z = x * 2
    z[t.tensor([True, False, True])] = y[:2]
    z[t.tensor([1, 1])] = y[2]
    (z * z).sum().backward()
    return x.grad, y.grad, z


@equal
def test_copy_into_a_slice_and_expanded_source(t):
    x, _ = leaves(t)
    z = t.ones(4, 3, dtype=t.float64)
    z[1:3].copy_(x)
    (z * t.arange(12, dtype=t.float64).view(4, 3)).sum().backward()
    return x.grad


@equal
def test_masked_fill_and_index_fill_in_place(t):
    x, _ = leaves(t)
    z = x * 2
    z.masked_fill_(t.tensor([True, False, False]), 9.0)
    z.index_fill_(0, t.tensor([1]), -1.0)
    (z * z).sum().backward()
    return x.grad


@equal
def test_double_backward_through_a_written_slice(t):
    x, y = leaves(t)
    z = x * x
    z[1:].mul_(y[1:])
    (g,) = t.autograd.grad((z * z).sum(), x, create_graph=True)
    return t.autograd.grad(g.sum(), [x, y])


@equal_error("modified by an inplace operation")
def test_version_counter_error_of_a_saved_output(t):
    x, _ = leaves(t)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


@equal_error("modified by an inplace operation")
def test_version_counter_error_of_a_saved_input(t):
    x, y = leaves(t)
    z = x * 1
    w = z * y
    z += 1
    w.sum().backward()


@equal_error("modified by an inplace operation")
def test_version_counter_error_of_a_leaf_written_without_grad(t):
    x, y = leaves(t)
    w = x * y
    with t.no_grad():
        x.add_(1)
    w.sum().backward()


@equal_error("modified by an inplace operation")
def test_version_counter_error_through_detach(t):
    x, _ = leaves(t)
    y = x * 1
    z = y * y
    y.detach().zero_()
    z.sum().backward()


@equal_error("modified by an inplace operation")
def test_version_counter_error_through_a_view(t):
    x, _ = leaves(t)
    y = x * 1
    z = y * y
    y[0] = 5.0
    z.sum().backward()


@equal
def test_version_counters(t):
    x = t.zeros(4)
    v = x.view(2, 2)
    d = x.detach()
    e = x.data
    seen = [x._version]
    x.add_(1)
    seen += [x._version, v._version, d._version, e._version]
    v[0].mul_(2)
    seen += [x._version, v._version, d._version, e._version]
    x[0] = 1
    x += 1
    seen += [x._version, x.clone()._version]
    return seen


@equal_error("a leaf Variable that requires grad is being used in an in-place operation.")
def test_inplace_on_a_leaf(t):
    leaves(t)[0].add_(1)


@equal_error("a view of a leaf Variable that requires grad is being used in an in-place operation.")
def test_inplace_on_a_view_of_a_leaf(t):
    leaves(t)[0][1:].mul_(2)


@equal_error("a view of a leaf Variable that requires grad is being used in an in-place operation.")
def test_setitem_on_a_leaf(t):
    leaves(t)[0][0] = 1.0


@equal_error(
    "A view was created in no_grad mode and is being modified inplace with grad mode enabled."
)
def test_inplace_on_a_view_made_in_no_grad(t):
    x, _ = leaves(t)
    y = x * 1
    with t.no_grad():
        v = y[1:]
    v.mul_(2)


def test_inplace_on_one_of_several_views_is_right_where_torch_refuses():
    x, _ = leaves(gs)
    y = x * 1
    a, _, c = y.unbind()
    a.mul_(2)
    c.add_(a)
    (y * y).sum().backward()
    assert y.tolist() == [2.0, 2.0, 5.0]
    assert x.grad.tolist() == [2 * (2 * 2 + 5 * 2), 4.0, 10.0]


@equal_error("more than one element of the written-to tensor refers to a single memory location")
def test_inplace_on_an_expanded_tensor(t):
    t.ones(1).expand(3).add_(1)


@equal
def test_leaves_may_be_written_without_grad(t):
    x, y = leaves(t)
    with t.no_grad():
        x -= 0.5
        x[0] = 7.0
        x.mul_(2)
    (x * y).sum().backward()
    return x, x.is_leaf, x.requires_grad, y.grad


@equal
def test_detach_shares_memory_and_has_no_history(t):
    x, _ = leaves(t)
    y = x * 2
    d = y.detach()
    d[0] = 100.0
    y2 = (x * 2).detach_()
    return y, d.requires_grad, d.is_leaf, d.grad_fn, y2.requires_grad, y2.is_leaf


@equal
def test_detach_stops_the_gradient(t):
    x, y = leaves(t)
    (x * y + x.detach() * y * y).sum().backward()
    return x.grad, y.grad


@equal
def test_data_is_apart_from_the_graph(t):
    x, y = leaves(t)
    z = x * y
    x.data.mul_(0)
    z.sum().backward()
    x.data = t.ones(2, dtype=t.float64)
    return x, y.grad, x.requires_grad, x.is_leaf, x.data.requires_grad


@equal
def test_grad_data_can_be_written(t):
    x, _ = leaves(t)
    (x * 2).sum().backward()
    x.grad.data.add_(1)
    x.grad.detach_()
    x.grad.zero_()
    return x.grad


@equal
def test_requires_grad_on_detached_copies(t):
    x, _ = leaves(t)
    y = x.detach().clone().requires_grad_()
    (y * x).sum().backward()
    return x.grad, y.grad


@equal
def test_is_leaf_after_device_and_type_conversions(t):
    x = t.ones(2, requires_grad=True)
    y = x.double()
    z = x.to(t.float32)
    (y.sum() + z.sum() * 2).backward()
    return y.is_leaf, z is x, x.grad


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


# ---- the size and the life of a graph ----


@pytest.mark.cpu_only  # many small calls; the walk knows no device
def test_a_deep_graph_is_walked_and_freed_without_recursion():
    x = gs.ones(1, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.sum().backward()
    assert x.grad.item() == 1.0
    y = x * 1.0
    for _ in range(100_000):
        y = y * 1.0
    del y


@pytest.mark.cpu_only  # many small calls; the walk knows no device
def test_a_deep_graph_of_written_views_is_freed_without_recursion():
    x = gs.ones(2, requires_grad=True)
    y = x * 1.0
    for _ in range(50_000):
        y[0].add_(1.0)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    del y


@equal
def test_a_graph_that_branches_at_every_step_is_walked_once(t):
    x = leaf(t, [1.0])
    y = x
    for _ in range(60):
        y = (y + y) / 2
    y.sum().backward()
    return x.grad


def test_a_graph_is_freed_with_its_last_tensor():
    x, _ = leaves(gs)
    made = weakref.WeakSet()
    y = x * 2
    z = y.exp()
    made.add(y)
    made.add(z)
    z.sum().backward(retain_graph=True)
    del y, z
    assert len(made) == 0


@equal
def test_a_graph_may_be_made_by_several_threads(t):
    x, _ = leaves(t)
    h = x
    for _ in range(50):
        h = h * 1.01
    made = []

    def work():
        made.append((h * h + h).exp() * 1e-3 + h)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    y = (made[0] * h).sum()
    (g,) = t.autograd.grad(y, x, retain_graph=True)
    backward = threading.Thread(target=y.backward)
    backward.start()
    backward.join()
    return g, x.grad, t.is_grad_enabled()


@equal
def test_grad_mode_belongs_to_a_thread(t):
    seen = []
    with t.no_grad():
        thread = threading.Thread(target=lambda: seen.append(t.is_grad_enabled()))
        thread.start()
        thread.join()
    return seen


@equal
def test_a_gradient_outlives_its_graph(t):
    x, _ = leaves(t)
    y = x.exp()
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    del y
    gc.collect()
    return t.autograd.grad(g.sum(), x)


@equal
def test_a_node_keeps_what_it_needs_after_its_tensors_are_gone(t):
    x, _ = leaves(t)
    node = (x * x).exp().sum().grad_fn
    gc.collect()
    return node.name(), node.next_functions[0][0].name()


# ---- anomaly detection ----


@equal
def test_anomaly_mode_names_the_function_that_made_nan(t):
    def run(check_nan=True):
        x = leaf(t, [-1.0, 4.0])
        with t.autograd.set_detect_anomaly(True, check_nan=check_nan):
            y = x.sqrt() * 0
            y.sum().backward()

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = raised(run)
        run(check_nan=False)
    return text, t.is_anomaly_enabled(), t.is_anomaly_check_nan_enabled()


@equal
def test_anomaly_mode_shows_the_line_of_the_forward_call(t):
    import warnings

    x = leaf(t, [-1.0, 4.0])
    texts = []
    for inside in (True, False):
        y = x.sqrt() * 0
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with t.autograd.set_detect_anomaly(True):
                if inside:
                    y = x.sqrt() * 0  # this line
                texts.append(raised(y.sum().backward))
        (message,) = (str(w.message) for w in seen if "Error detected" in str(w.message))
        texts += [
            message.split(".")[0],
            "# this line" in message,
            "No forward pass information" in message,
        ]
    return texts


@equal
def test_detect_anomaly_as_context(t):
    import warnings

    x, y = leaves(t)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with t.autograd.detect_anomaly():
            on = t.is_anomaly_enabled()
            z = (x * 0) / (y * 0)
            text = raised(z.sum().backward)
        t.autograd.set_detect_anomaly(True)
        switched = t.is_anomaly_enabled()
        t.autograd.set_detect_anomaly(False)
    return on, switched, t.is_anomaly_enabled(), text


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
