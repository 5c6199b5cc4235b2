# SPDX-License-Identifier: Apache-2.0
"""Derivatives of any order, and products that are added to a gradient in place: against PyTorch."""

import pytest
import torch

import gradstep as gs

LIBRARIES = [gs, torch]

# ---- orders ----

FUNCTIONS = {
    "tanh": lambda t, x: t.tanh(x),
    "sigmoid": lambda t, x: t.sigmoid(x),
    "exp": lambda t, x: t.exp(x),
    "exp2": lambda t, x: t.exp2(x),
    "log": lambda t, x: t.log(x),
    "sin": lambda t, x: t.sin(x),
    "cos": lambda t, x: t.cos(x),
    "square": lambda t, x: t.square(x),
    "sqrt": lambda t, x: t.sqrt(x),
    "reciprocal": lambda t, x: t.reciprocal(x),
    "silu": lambda t, x: t.nn.functional.silu(x),
    "softplus": lambda t, x: t.nn.functional.softplus(x, 2.0, 3.0),
    "div": lambda t, x: t.div(x, x + 2),
    "pow": lambda t, x: t.pow(x, 3.5),
    "net": lambda t, x: t.tanh(t.sin(x * 2) + t.tanh(x) * x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_five_derivatives_equal_torchs(name):
    results = []
    for t in LIBRARIES:
        y = x = t.tensor([0.3, 0.9, 1.1, 1.9], dtype=t.float64, requires_grad=True)
        y = FUNCTIONS[name](t, x)
        orders = []
        for _ in range(5):
            if not y.requires_grad:
                break
            (y,) = t.autograd.grad(
                (y * t.arange(1.0, 5, dtype=t.float64)).sum(), x, create_graph=True
            )
            orders.append(y.tolist())
        results.append(orders)
    ours, theirs = results
    assert len(ours) >= 2
    for a, b in zip(ours, theirs, strict=False):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-12)
    for rest in (*theirs[len(ours) :], *ours[len(theirs) :]):
        assert rest == [0.0] * 4


@pytest.mark.parametrize("name", FUNCTIONS)
def test_third_derivative_without_a_graph_equals_torchs(name):
    found = []
    for t in LIBRARIES:
        x = t.tensor([0.3, 0.9, 1.6], dtype=t.float64, requires_grad=True)
        (first,) = t.autograd.grad(FUNCTIONS[name](t, x).sum(), x, create_graph=True)
        (second,) = t.autograd.grad(first.sum(), x, create_graph=True)
        if second.requires_grad:
            second.sum().backward()
        found.append(x.grad.tolist() if x.grad is not None else [0.0] * 3)
    assert found[0] == pytest.approx(found[1], rel=1e-9, abs=1e-12)


# ---- sums in place ----


def weights(t):
    w = t.tensor(
        [[0.1 * i - 0.07 * j * j for i in range(5)] for j in range(4)],
        dtype=t.float64,
        requires_grad=True,
    )
    x = t.tensor([[0.03 * i * j - 0.04 for i in range(5)] for j in range(6)], dtype=t.float64)
    return w, x


def same(scenario):
    a, b = (scenario(t) for t in LIBRARIES)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert torch.allclose(
            torch.tensor(x.tolist()), torch.tensor(y.tolist()), rtol=1e-6, atol=1e-8
        )


PRODUCTS = {
    "linear": lambda t, x, w: t.nn.functional.linear(x, w),
    "linear 3-d": lambda t, x, w: t.nn.functional.linear(x.view(2, 3, 5), w),
    "linear vector": lambda t, x, w: t.nn.functional.linear(x[0], w),
    "mm": lambda t, x, w: x @ w.t(),
    "mm left": lambda t, x, w: w @ x.t(),
    "bmm": lambda t, x, w: t.bmm(x.view(2, 3, 5), w.t().expand(2, 5, 4)),
    "addmm": lambda t, x, w: t.addmm(w.sum(), x, w.t(), beta=2, alpha=3),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_accumulated_product_gradients_equal_torchs(name):
    def scenario(t):
        w, x = weights(t)
        for i in range(3):
            (PRODUCTS[name](t, x * (i + 1), w).sin()).sum().backward()
        return [w.grad]

    same(scenario)


def test_grad_stays_the_same_tensor_and_its_version_rises():
    w, x = weights(gs)
    (x @ w.t()).sum().backward()
    grad, version = w.grad, w.grad._version
    gs.nn.functional.linear(x, w).sum().backward()
    assert w.grad is grad and grad._version > version


def test_a_tensor_used_twice_sums_its_products():
    def scenario(t):
        w, x = weights(t)
        h = t.tanh(x)
        h.requires_grad_()
        hidden = h * 1.5
        y = t.nn.functional.linear(hidden, w) + t.nn.functional.linear(hidden * 2, w)
        z = (hidden @ w.t()).sin() + y.cos()
        hidden.retain_grad()
        z.sum().backward()
        return [w.grad, h.grad, hidden.grad]

    same(scenario)


def test_grad_that_shares_memory_with_an_operand_is_safe():
    def scenario(t):
        w, x = weights(t)
        memory = (t.arange(20, dtype=t.float64) / 10 - 0.7).view(4, 5)
        w.grad = memory
        loss = (memory.detach()[:, :5] @ w.t()).sum() + (x @ w.t()).sum()
        loss.backward()
        out = [w.grad.clone()]
        w.grad = t.ones(4, 5, dtype=t.float64)
        y = w.grad.t() @ (
            w @ t.ones(5, 4, dtype=t.float64)
        )  # the product's operand is .grad itself
        y.sum().backward()
        return [*out, w.grad]

    same(scenario)


def test_grad_of_other_layout_or_dtype_keeps_the_ordinary_way():
    def scenario(t):
        w, x = weights(t)
        w.grad = t.ones(5, 4, dtype=t.float64).t()
        (x @ w.t()).sum().backward()
        transposed = w.grad
        w.grad = None
        narrow = w.detach().float().requires_grad_()
        for _ in range(2):
            t.nn.functional.linear(x.float(), narrow).sum().backward()
        return [transposed, narrow.grad]

    same(scenario)


def test_hooks_see_each_gradient_by_itself():
    def scenario(t):
        w, x = weights(t)
        seen = []
        (x @ w.t()).sum().backward()
        handle = w.register_hook(lambda g: seen.append(g.clone()))
        t.nn.functional.linear(x, w).sum().backward()
        handle.remove()
        after = []
        w.register_post_accumulate_grad_hook(lambda p: after.append(p.grad.clone()))
        t.nn.functional.linear(x, w).sum().backward()
        return [*seen, *after, w.grad]

    same(scenario)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
def test_create_graph_makes_a_new_sum():
    def scenario(t):
        w, x = weights(t)
        (x @ w.t()).sum().backward()
        old = w.grad
        (x @ w.t()).sin().sum().backward(create_graph=True)
        kept = old.clone()
        (w.grad * w.grad).sum().backward()
        return [kept, w.grad.detach()]

    same(scenario)


def test_autograd_grad_leaves_grad_alone():
    def scenario(t):
        w, x = weights(t)
        (x @ w.t()).sum().backward()
        kept = w.grad.clone()
        (g,) = t.autograd.grad((x @ w.t()).sum(), w)
        (h,) = t.autograd.grad((x @ w.t()).sum() + (x @ w.t()).sin().sum(), w)
        assert bool((w.grad == kept).all())
        (x @ w.t()).sum().backward(inputs=[w])
        return [g, h, w.grad]

    same(scenario)


def test_a_gradient_that_somebody_holds_is_not_written():
    def scenario(t):
        w, x = weights(t)
        h = (x * 1).requires_grad_()
        mid = h * 2
        held = []
        mid.register_hook(lambda g: held.append(g))
        out = (mid @ w.t()).sum() + (mid @ w.t()).sin().sum() + mid.sum()
        out.backward()
        return [*held, h.grad, w.grad]

    same(scenario)


def test_anomaly_mode_still_names_the_function():
    w, x = weights(gs)
    (x @ w.t()).sum().backward()
    y = x @ w.t()
    with pytest.raises(RuntimeError, match="nan"), gs.autograd.detect_anomaly():
        (gs.sqrt((x @ w.t()) * 0 - 1) * y).sum().backward()
