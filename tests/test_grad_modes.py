# SPDX-License-Identifier: Apache-2.0
"""no_grad, enable_grad, set_grad_enabled and inference_mode against PyTorch."""

import pytest

from scenarios import equal, leaf, leaves, raised

pytestmark = pytest.mark.filterwarnings("ignore:Decorating classes is deprecated")


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
