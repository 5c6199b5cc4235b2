# SPDX-License-Identifier: Apache-2.0
"""The graph against PyTorch: its nodes as Python sees them, its size and life, anomaly detection."""

import gc
import threading
import warnings
import weakref

import pytest

import gradstep as gs
from scenarios import equal, equal_error, leaf, leaves, raised

pytestmark = pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")

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

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = raised(run)
        run(check_nan=False)
    return text, t.is_anomaly_enabled(), t.is_anomaly_check_nan_enabled()


@equal
def test_anomaly_mode_shows_the_line_of_the_forward_call(t):
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
