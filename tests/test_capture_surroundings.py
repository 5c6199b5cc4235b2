# SPDX-License-Identifier: Apache-2.0
"""What a captured function may look at besides tensors, and what it may leave: a replay gives what the eager call
gives, or the call is refused."""

from __future__ import annotations

import contextvars
import os
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import gradstep as torch

Script = tuple[Callable[..., Any], Callable[..., Any]]
SCALE = 1.0
X: Any = None


@pytest.fixture(autouse=True)
def x_is_on_the_device(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(sys.modules[__name__], "X", torch.arange(16.0).reshape(4, 4))


class Config:
    scale = 1.0


def live_eval() -> Script:
    def call(f: Any, i: int) -> Any:
        global SCALE
        SCALE = float(i // 3)
        return f(X)

    return lambda x: x * eval("SCALE"), call


def live_globals() -> Script:
    _, call = live_eval()
    return lambda x: x * globals()["SCALE"], call


def live_environ() -> Script:
    def call(f: Any, i: int) -> Any:
        os.environ["GRADSTEP_TEST_SCALE"] = str(i // 3)
        return f(X)

    return lambda x: x * float(os.environ["GRADSTEP_TEST_SCALE"]), call


def live_context_variable() -> Script:
    variable = contextvars.ContextVar("variable", default=1.0)

    def call(f: Any, i: int) -> Any:
        variable.set(float(i // 3))
        return f(X)

    return lambda x: x * variable.get(), call


def live_weak_reference() -> Script:
    config = Config()
    reference: Any = weakref.ref(config)

    def call(f: Any, i: int) -> Any:
        config.scale = float(i // 3)
        return f(X)

    return lambda x: x * reference().scale, call


def live_mapping_proxy() -> Script:
    inside = {"scale": 1.0}
    proxy = types.MappingProxyType(inside)

    def call(f: Any, i: int) -> Any:
        inside["scale"] = float(i // 3)
        return f(X)

    return lambda x: x * proxy["scale"], call


def live_attribute_of_an_argument() -> Script:
    def call(f: Any, i: int) -> Any:
        x = X.clone()
        x.mark = float(i // 3)  # type: ignore[attr-defined]
        return f(x)

    return lambda x: x * x.mark, call


def live_attribute_of_a_tensor_outside() -> Script:
    weight: Any = torch.ones(4, 4)

    def call(f: Any, i: int) -> Any:
        weight.mark = float(i // 3)
        return f(X)

    return lambda x: x * weight.mark, call


def live_attribute_of_a_result() -> Script:
    def fn(x: Any) -> Any:
        y = x * 2
        y.mark = 7
        return y

    return fn, lambda f, i: f(X).mark


def live_class_attribute_in_a_loop() -> Script:
    class Scaled(torch.nn.Module):
        scale = 1.0

        def forward(self, x: Any) -> Any:
            return x * self.scale * self.own

    module = Scaled()
    module.own = 1.0

    def call(f: Any, i: int) -> Any:
        for k in range(100):  # CPython specializes what runs often
            module.own = float(k + i // 4)
        if i % 5 == 4:
            Scaled.scale = float(i)
        return f(X)

    return module, call


def live_empty_set_that_grows() -> Script:
    names: set[str] = set()

    def call(f: Any, i: int) -> Any:
        if i == 5:
            names.add("double")
        return f(X)

    return lambda x: x * 2 if "double" in names else x + 1, call


def refused_dict_argument() -> Script:
    def fn(x: Any, counts: dict[str, int]) -> Any:
        counts["n"] = 1
        return x * 2

    return fn, lambda f, i: f(X, {})


def refused_list_argument() -> Script:
    def fn(x: Any, log: list[Any]) -> Any:
        log.append(1)
        return x * 2

    return fn, lambda f, i: f(X, [])


def refused_attribute_set_on_an_argument() -> Script:
    def fn(x: Any) -> Any:
        x.mark = 1
        return x * 2

    return fn, lambda f, i: f(X.clone())


def refused_argument_transposed_in_place() -> Script:
    def fn(x: Any) -> Any:
        x.t_()
        return x * 2

    return fn, lambda f, i: f(torch.ones(2, 4))


def refused_argument_resized() -> Script:
    def fn(x: Any) -> Any:
        x.resize_(2, 2)
        return x * 2

    return fn, lambda f, i: f(torch.ones(4, 4))


def refused_attribute_that_comes_to_a_tensor_outside() -> Script:
    weight: Any = torch.ones(4, 4)

    def call(f: Any, i: int) -> Any:
        f(X)
        f(X)
        weight.mark = 1.0
        return f(X)

    return lambda x: x * getattr(weight, "mark", 5.0), call


def refused_seed_read() -> Script:
    return lambda x: x * torch.initial_seed(), lambda f, i: f(X)


def values(found: Any) -> Any:
    return found.cpu().numpy().tobytes() if isinstance(found, torch.Tensor) else found


def scripts(kind: str) -> list[Any]:
    return [
        pytest.param(make, id=name.removeprefix(kind))
        for name, make in globals().items()
        if name.startswith(kind)
    ]


@pytest.mark.filterwarnings("ignore:.*was recorded")
@pytest.mark.parametrize("make", scripts("live_"))
def test_what_python_looks_at_is_compared_before_each_replay(make: Callable[[], Script]) -> None:
    found = []
    for wrap in (lambda f: f, torch.capture):
        fn, call = make()
        step = wrap(fn)
        found.append([values(call(step, i)) for i in range(9)])
    assert found[0] == found[1]


@pytest.mark.parametrize("make", scripts("refused_"))
def test_what_a_replay_would_not_leave_is_refused(make: Callable[[], Script]) -> None:
    fn, call = make()
    step = torch.capture(fn)
    with pytest.raises(torch.CaptureError, match=r"\.py:\d+"):
        call(step, 0)
        call(step, 1)


def test_arguments_are_put_back_when_a_call_is_refused() -> None:
    @torch.capture
    def step(x: Any, log: list[Any], counts: dict[str, Any]) -> Any:
        x.t_()
        x.mark = 1
        log.append(1)
        counts["inner"]["n"] = 1
        return x * 2

    step(torch.ones(2, 4), [], {"inner": {}})
    x, log, counts = torch.ones(2, 4), [0], {"inner": {}}  # type: ignore[var-annotated]
    with pytest.raises(torch.CaptureError):
        step(x, log, counts)
    assert x.shape == (2, 4) and not hasattr(x, "mark") and log == [0] and counts == {"inner": {}}


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_flags_and_rates_of_a_group_are_changed_by_hand(name: str) -> None:
    """Also such that the optimizer makes state that it did not have."""
    flags: dict[str, tuple[str, Any]] = {
        "SGD": ("momentum", 0.5),
        "Adam": ("amsgrad", True),
        "AdamW": ("amsgrad", True),
        "RMSprop": ("centered", True),
    }
    flag, value = flags[name]

    def run(wrap: Callable[[Any], Any]) -> list[bytes]:
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)
        group = optimizer.param_groups[0]
        before = group[flag]

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        call, found = wrap(step), []
        for i in range(14):
            if i in (4, 10):
                group["lr"] = torch.tensor(0.01 * i, device="cpu")
            if i == 5:
                group["lr"].fill_(0.3)
            if i in (6, 12):
                group[flag] = value if i == 6 else before
            if i == 8:
                group["weight_decay"], group["maximize"] = 0.25, True
            found.append(call(X).detach().cpu().numpy().tobytes())
        return found + [p.detach().cpu().numpy().tobytes() for p in model.parameters()]

    assert run(torch.capture) == run(lambda f: f)


# ---- Module.compile(), report() and graph() ----


def net() -> Any:
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2))


def train(model: Any, steps: int = 8) -> list[bytes]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    found = []
    for i in range(steps):
        if i == 5:
            model.register_forward_hook(lambda module, args, out: out * 2)
        optimizer.zero_grad()
        loss = model(X).square().mean()
        loss.backward()
        optimizer.step()
        found.append(loss.detach().cpu().numpy().tobytes())
    return found + [p.detach().cpu().numpy().tobytes() for p in model.parameters()]


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
def test_a_module_is_compiled_in_place() -> None:
    model = net()
    assert model.compile() is None and list(model.state_dict()) == list(net().state_dict())
    assert train(model) == train(net())
    assert model._compiled_call_impl.calls_recorded == 1
    assert model._compiled_call_impl._entries()[0].replays == 3
    loaded = net()
    loaded.__setstate__(model.__getstate__())
    assert loaded._compiled_call_impl is None and loaded(X).shape == (4, 2)
    with pytest.raises(TypeError):
        model.compile(nonsense=1)
    plain = net()
    plain.compile(disable=True)
    assert plain._compiled_call_impl is None


def test_a_child_may_be_compiled_in_place() -> None:
    model = net()
    model[0].compile(fullgraph=True)
    assert train(model) == train(net())
    assert model[0]._compiled_call_impl._entries()[0].replays == 6


def test_reports_show_backward_programs() -> None:
    model = torch.compile(net(), fullgraph=True)
    for _ in range(5):
        model(X).sum().backward()
    text = model._call.report()
    assert "program 0, backward pass 0: " in text
    backward = text.split("backward pass 0")[1]
    assert "matmul" in backward and "nan" not in backward
    assert "matmul" in model._call.graph(backward=0)
