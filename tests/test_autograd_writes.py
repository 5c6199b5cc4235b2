# SPDX-License-Identifier: Apache-2.0
"""In-place writes, views and version counters under autograd, against PyTorch."""

import pytest

import gradstep as gs
from scenarios import equal, equal_error, leaf, leaves

pytestmark = pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")


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
