# SPDX-License-Identifier: Apache-2.0
"""What a replay could not repeat is refused: with CaptureError, the file and line, and the state as before the call;
or, with fallback=True, run eagerly with one warning."""

import collections
import itertools
import random
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradstep as torch
import gradstep.nn as nn
import gradstep.nn.functional as F
from capture_worlds import bytes_of, difference, random_state

HERE = __file__


class World:
    """A small training step with something in its middle."""

    def __init__(self, inside: Callable[..., Any], optimizer: str = "Adam") -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3)
        )
        self.optimizer = getattr(torch.optim, optimizer)(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 1)
        self.inside = inside
        self.log: list[Any] = []
        self.seen: set[int] = set()
        self.queue: collections.deque[int] = collections.deque()
        self.count = 0
        self.numbers = random.Random(0)
        self.array_numbers = np.random.default_rng(0)

    def step(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        self.inside(self, loss, x)
        return loss

    def state(self) -> dict[str, Any]:
        return {
            "weights": bytes_of(list(self.model.parameters())),
            "gradients": bytes_of([p.grad for p in self.model.parameters()]),
            "needed": [p.requires_grad for p in self.model.parameters()],
            "buffers": bytes_of(list(self.model.buffers())),
            "optimizer": bytes_of(self.optimizer.state_dict()),
            "scheduler": dict(self.scheduler.state_dict()),
            "training": [m.training for m in self.model.modules()],
            "random": random_state(),
            "python": [len(self.log), sorted(self.seen), list(self.queue), self.count],
            "numbers": [
                str(random.getstate()),
                str(self.numbers.getstate()),
                str(np.random.get_state()),
            ],
        }


def data() -> Any:
    return torch.randn(6, 4), torch.randint(0, 3, (6,))


COUNT = 0


def count_globally(w: World, loss: Any, x: Any) -> None:
    global COUNT
    COUNT += 1


def fail(w: World, loss: Any, x: Any) -> None:
    raise ZeroDivisionError("inside")


def caught(w: World, loss: Any, x: Any) -> None:
    try:
        loss.item()
    except RuntimeError:
        pass


def count_up(w: World, loss: Any, x: Any) -> None:
    w.count += 1


def branch(w: World, loss: Any, x: Any) -> None:
    if loss > 0:
        w.model[0].weight.detach().zero_()


def replace_weight(w: World, loss: Any, x: Any) -> None:
    w.model[0].weight = nn.Parameter(torch.ones(5, 4))


# What a step does that looks at values; the error names its line.
READS = {
    "item": lambda w, loss, x: loss.item(),
    "float": lambda w, loss, x: float(loss),
    "int": lambda w, loss, x: int(loss),
    "bool": lambda w, loss, x: bool(loss > 0),
    "if": branch,
    "caught": caught,
    "print": lambda w, loss, x: print(loss),
    "repr": lambda w, loss, x: repr(loss),
    "format": lambda w, loss, x: f"{loss:.3f}",
    "numpy": lambda w, loss, x: x.cpu().numpy(),
    "np.asarray": lambda w, loss, x: np.asarray(x.cpu()),
    "tolist": lambda w, loss, x: x.tolist(),
    "data_ptr": lambda w, loss, x: x.data_ptr(),
    "from_numpy": lambda w, loss, x: torch.from_numpy(np.ones(3)),
    "tensor of numpy": lambda w, loss, x: torch.tensor(np.ones(3)),
    "range": lambda w, loss, x: list(range(torch.argmax(loss))),
    "index": lambda w, loss, x: [1, 2, 3][torch.argmax(loss)],
    "in": lambda w, loss, x: 1.0 in x,
    "equal": lambda w, loss, x: torch.equal(x, x),
    "allclose": lambda w, loss, x: torch.allclose(x, x),
    "nonzero": lambda w, loss, x: x.nonzero(),
    "argwhere": lambda w, loss, x: torch.argwhere(x),
    "where": lambda w, loss, x: torch.where(x > 0),
    "mask": lambda w, loss, x: x[x > 0],
    "masked_select": lambda w, loss, x: torch.masked_select(x, x > 0),
    "unique": lambda w, loss, x: torch.unique(x),
    "bincount": lambda w, loss, x: torch.bincount(torch.argmax(x, 1)),
    "one_hot": lambda w, loss, x: F.one_hot(torch.argmax(x, 1)),
    "repeat_interleave": lambda w, loss, x: torch.repeat_interleave(x, torch.argmax(x, 1), 0),
    "scheduler": lambda w, loss, x: w.scheduler.step(),
    "data": lambda w, loss, x: setattr(w.model[0].weight, "data", x),
    "error_if_nonfinite": lambda w, loss, x: nn.utils.clip_grad_norm_(
        w.model.parameters(), 1.0, error_if_nonfinite=True
    ),
    "seed": lambda w, loss, x: torch.manual_seed(0),
    "generator": lambda w, loss, x: torch.Generator(),
    "random state": lambda w, loss, x: torch.get_rng_state(),
    "set random state": lambda w, loss, x: torch.set_rng_state(RANDOM_STATE),
}
RANDOM_STATE = torch.get_rng_state()
KEEPS = {
    "list": lambda w, loss, x: w.log.append(loss),
    "set": lambda w, loss, x: w.seen.add(len(w.seen)),
    "deque": lambda w, loss, x: w.queue.append(1),
    "attribute": count_up,
    "global": count_globally,
    "random": lambda w, loss, x: random.random(),
    "np.random": lambda w, loss, x: np.random.rand(),
    "Random": lambda w, loss, x: w.numbers.random(),
    "default_rng": lambda w, loss, x: w.array_numbers.random(),
    "weight": replace_weight,
    "number": lambda w, loss, x: setattr(w.model[2], "p", w.model[2].p * 0.9),
}


@pytest.mark.parametrize("name", READS)
def test_a_look_at_values_is_refused_with_its_line(name: str) -> None:
    inside = READS[name]
    world = World(inside)
    step = torch.capture(world.step)
    x, y = data()
    before = world.state()
    for _ in range(2):
        with pytest.raises(torch.CaptureError) as caught_error:
            step(x, y)
        where = re.match(r"(.*?):(\d+)", str(caught_error.value))
        assert where and where[1] == HERE, caught_error.value
        assert inside.__code__.co_firstlineno <= int(where[2]) <= inside.__code__.co_firstlineno + 3
        assert difference(before, world.state()) == ""


@pytest.mark.parametrize("name", KEEPS)
def test_what_the_function_keeps_in_python_is_refused(name: str) -> None:
    world = World(KEEPS[name])
    step = torch.capture(world.step)
    x, y = data()
    step_line = World.step.__code__.co_firstlineno
    for _ in range(3):  # the first call runs eagerly, and may keep something
        before = world.state()
        line = sys._getframe().f_lineno + 2
        try:
            step(x, y)
        except torch.CaptureError as error:
            found = re.match(r"(.*?):(\d+)", str(error))
            assert found and found[1] == HERE
            assert int(found[2]) == line or step_line <= int(found[2]) <= step_line + 6
            assert difference(before, world.state()) == ""
            break
    else:
        pytest.fail("nothing was refused")


def test_an_exception_undoes_the_call() -> None:
    world = World(fail)
    step = torch.capture(world.step)
    x, y = data()
    for _ in range(3):
        before = world.state()
        with pytest.raises(ZeroDivisionError, match="inside"):
            step(x, y)
        assert difference(before, world.state()) == ""


def _trained() -> tuple[World, Any, Any]:
    world = World(lambda w, loss, x: None)
    step = torch.capture(world.step)
    batch = data()
    for _ in range(3):
        step(*batch)
    return world, step, batch


CHANGES = {
    "frozen": (lambda w: w.model[0].weight.requires_grad_(False), "0.weight was frozen"),
    "data": (
        lambda w: setattr(w.model[0].weight, "data", torch.ones(5, 4)),
        "memory, shape, hooks or attributes of .*0.weight",
    ),
    "parameter": (
        lambda w: setattr(w.model[0], "weight", nn.Parameter(torch.ones(5, 4))),
        "weight was replaced",
    ),
    "bias": (lambda w: setattr(w.model[0], "bias", None), "bias was removed"),
    "module": (lambda w: w.model.append(nn.ReLU()), "was added"),
    "replaced": (lambda w: w.model.__setitem__(2, nn.ReLU()), "was replaced by another ReLU"),
    "dtype": (lambda w: w.model.to(torch.float64), "memory, shape, hooks"),
    "group": (
        lambda w: w.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))]}),
        "param_groups",
    ),
    "optimizer": (
        lambda w: setattr(w, "optimizer", torch.optim.SGD(w.model.parameters(), lr=0.1)),
        "optimizer was",
    ),
    "optimizer state": (
        lambda w: w.optimizer.load_state_dict(w.optimizer.state_dict()),
        "state was replaced",
    ),
    "hook": (lambda w: w.model[0].register_forward_hook(lambda *a: None), "_forward_hooks"),
    "tensor hook": (lambda w: w.model[0].weight.register_hook(lambda g: g), "0.weight"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_model_or_optimizer_is_refused_until_reset(name: str) -> None:
    change, message = CHANGES[name]
    world, step, batch = _trained()
    change(world)
    before = world.state()
    for _ in range(2):
        line = sys._getframe().f_lineno + 2
        with pytest.raises(torch.CaptureError, match=message) as error:
            step(*batch)
        assert f"{HERE}:{line}" in str(error.value)
        assert "reset()" in str(error.value)
        assert difference(before, world.state()) == ""
    if name == "dtype":
        batch = (batch[0].double(), batch[1])
    step.reset()
    for _ in range(4):
        step(*batch)
    assert step._entries()[0].replays == 2


def test_a_tensor_that_is_kept_outside_is_refused() -> None:
    kept = {}

    def step(x: Any) -> Any:
        y = x * 2
        kept["y"] = y
        return y + 1

    captured = torch.capture(step)
    captured(torch.ones(3))
    with pytest.raises(torch.CaptureError, match="kept"):
        captured(torch.ones(3))


def test_an_argument_with_a_history_is_refused() -> None:
    w = torch.ones(3, requires_grad=True)

    def step(x: Any) -> Any:
        loss = (x * x).sum()
        loss.backward()
        return loss.detach()

    with pytest.raises(torch.CaptureError, match="history that was made outside"):
        torch.capture(step)(w * 2)
    assert w.grad is None


def test_an_iterator_is_refused() -> None:
    numbers = itertools.count()
    captured = torch.capture(lambda x: x * next(numbers))
    captured(torch.ones(3))
    with pytest.raises(torch.CaptureError, match="numbers"):
        captured(torch.ones(3))


def test_a_large_numpy_array_is_refused() -> None:
    table = np.ones(100_000)
    with pytest.raises(torch.CaptureError, match="table is a numpy array"):
        torch.capture(lambda x: x * float(table[0]))(torch.ones(3))
    with pytest.raises(torch.CaptureError, match="an argument is a numpy array"):
        torch.capture(lambda x, a: x * float(a[0]))(torch.ones(3), np.ones(3))


@pytest.mark.parametrize(
    "result", [bytearray, collections.OrderedDict, set, lambda: nn.Parameter(torch.ones(2))]
)
def test_a_result_that_a_replay_would_not_make_anew_is_refused(result: Any) -> None:
    captured = torch.capture(lambda x: (x * 2, result()))
    captured(torch.ones(3))
    with pytest.raises(torch.CaptureError, match="result"):
        captured(torch.ones(3))


@pytest.mark.parametrize("name", ["item", "nonzero", "scheduler", "list", "attribute", "random"])
def test_fallback_runs_eagerly_with_one_warning(name: str) -> None:
    inside = {**READS, **KEEPS}[name]

    def train(captured: bool) -> Any:
        world = World(inside)
        step = torch.capture(world.step, fallback=True) if captured else world.step
        random.seed(0)
        torch.manual_seed(1)
        with warnings.catch_warnings(record=True) as caught_warnings:
            warnings.simplefilter("always")
            losses = [bytes_of(step(*data())) for _ in range(5)]
        ours = [w for w in caught_warnings if "runs eagerly" in str(w.message)]
        return losses, world.state(), len(ours)

    *eager, none = train(False)
    *captured, one = train(True)
    assert difference(eager, captured) == ""
    assert (none, one) == (0, 1)


@pytest.mark.cpu_only
def test_a_new_signature_at_each_call_is_told_once():
    captured = torch.capture(lambda x, k: x * k)
    with pytest.warns(UserWarning, match="was recorded 32 times") as told:
        for k in range(50):
            assert captured(torch.ones(1), k).item() == k
    assert len(told) == 1 and told[0].filename == __file__
    assert len(captured._entries()) == 8
