# SPDX-License-Identifier: Apache-2.0
"""How calls are cut for threads (cpp/graph/cut.h): sums over rows, updates of every optimizer, gradients that are added
to. Each captured step has the bits of the eager one, whatever the number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import gradstep as gs

pytestmark = pytest.mark.cpu_only


@pytest.fixture(autouse=True, params=[2, 3])
def teams(request: pytest.FixtureRequest) -> Iterator[None]:
    least = gs._C._team_least(0.0)
    gs.set_num_threads(request.param)
    yield
    gs._C._team_least(least)


OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd, all flags": (
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "maximize": True},
    ),
    "adam, amsgrad": ("Adam", {"amsgrad": True}),
    "adamw": ("AdamW", {}),
    "nadam": ("NAdam", {}),
    "radam": ("RAdam", {}),
    "adamax": ("Adamax", {}),
    "rmsprop": ("RMSprop", {"momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "rprop": ("Rprop", {}),
    "asgd": ("ASGD", {}),
    "adafactor": ("Adafactor", {}),
}


def trained(wrap: Callable[[Any], Any], optimizer: str, build: Callable[[], Any]) -> list[bytes]:
    gs.manual_seed(0)
    model, x = build(), gs.randn(300, 20)
    name, options = OPTIMIZERS[optimizer]
    o = getattr(gs.optim, name)(model.parameters(), **options)
    scheduler = gs.optim.lr_scheduler.StepLR(o, 2)

    def step(x: Any) -> Any:
        o.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        o.step()
        return loss

    call, found = wrap(step), []
    for _ in range(7):
        found.append(call(x).detach().numpy().tobytes())
        scheduler.step()
    state = [t for s in o.state_dict()["state"].values() for t in s.values()]
    tensors = [*model.parameters(), *(t for t in state if isinstance(t, gs.Tensor))]
    return found + [t.detach().numpy().tobytes() for t in tensors]


def net() -> Any:
    nn = gs.nn
    return nn.Sequential(
        nn.Linear(20, 33),
        nn.LayerNorm(33),
        nn.Tanh(),
        nn.Linear(33, 50),
        nn.Tanh(),
        nn.Linear(50, 1),
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_are_cut(optimizer: str) -> None:
    eager = trained(lambda f: f, optimizer, net)
    assert trained(gs.capture, optimizer, net) == eager
    gs.set_num_threads(1)
    assert trained(gs.capture, optimizer, net) == eager


def test_a_transposed_parameter_is_updated_as_a_whole() -> None:
    def build() -> Any:
        model = net()
        model[3].weight = gs.nn.Parameter(gs.randn(33, 50).t())
        return model

    assert trained(gs.capture, "adamw", build) == trained(lambda f: f, "adamw", build)


@pytest.mark.parametrize("shape", [(50, 50, 256), (50, 2, 256), (8, 64, 128), (300, 20, 1000)])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_gradients_of_weights_do_not_depend_on_threads(
    shape: tuple[int, int, int], alpha: float
) -> None:
    m, n, k = shape
    gs.manual_seed(0)
    a, b, c = gs.randn(k, m), gs.randn(k, n), gs.randn(m, n)
    expected = (alpha * a.double().t() @ b.double() + c).numpy()

    def product() -> Any:
        return gs.addmm(c, a.t(), b, alpha=alpha)

    captured, found = gs.capture(product), []
    for threads in (1, 2, 3, 4):
        gs.set_num_threads(threads)
        found += [f().numpy().tobytes() for f in (product, captured, captured, captured)]
    assert len(set(found)) == 1
    assert abs(product().numpy() - expected).max() < 1e-5 * k**0.5


def test_a_gradient_that_lies_in_a_weight_is_recorded_anew() -> None:
    """Program::gradients_fit: steps were ordered for gradients that are apart from weights."""

    def run(wrap: Callable[[Any], Any]) -> list[bytes]:
        gs.manual_seed(0)
        w, x = gs.randn(64, 64), gs.randn(64, 64, requires_grad=True)

        def step() -> Any:
            loss = (x @ w).square().mean()
            loss.backward()
            return loss

        call, found = wrap(step), []
        for i in range(9):
            if i == 4:
                x.grad = w.view(64, 64)
            if i == 6:
                x.grad = gs.ones(64, 64)
            found.append(call().detach().numpy().tobytes())
        return [*found, w.numpy().tobytes(), x.grad.numpy().tobytes()]

    assert run(gs.capture) == run(lambda f: f)


def test_a_transposed_operand_has_its_gradient_in_its_own_layout() -> None:
    torch = pytest.importorskip("torch")

    def strides(lib: Any) -> list[tuple[int, ...]]:
        x, w = lib.ones(5, 3, requires_grad=True), lib.ones(4, 3, requires_grad=True)
        q, k = lib.ones(2, 5, 3, requires_grad=True), lib.ones(2, 4, 3, requires_grad=True)
        (x @ w.t()).square().sum().backward()
        (q @ k.transpose(1, 2)).square().sum().backward()
        (x.t().mm(lib.ones(5, 2)) * 2).sum().backward()
        return [t.grad.stride() for t in (x, w, q, k)]

    assert strides(gs) == strides(torch)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int32"])
@pytest.mark.parametrize(
    "shape",
    [(128, 18), (300, 50), (12, 64, 40), (2100, 7), (257, 130), (129, 3), (1200, 2)],
    ids=str,
)
def test_sums_over_rows_are_made_of_pieces(shape: tuple[int, ...], dtype: str) -> None:
    """With the bits of eager sums, whose pieces depend on the shape only."""
    gs.manual_seed(0)
    x = (gs.randn(*shape) * 8).to(getattr(gs, dtype))
    rows = tuple(range(len(shape) - 1))

    def step(x: Any) -> Any:
        doubled = x * 2
        sums = doubled.sum(rows), doubled.sum(rows, keepdim=True), doubled.sum(0)
        if x.dtype.is_floating_point:
            sums += (doubled.mean(rows),)
        return (*sums, sums[0] + sums[1], doubled)

    captured = gs.capture(step)
    found = [captured(x) for _ in range(4)]
    gs.set_num_threads(1)
    for results in found:
        for got, want in zip(results, step(x), strict=True):
            assert gs.equal(got, want)
    expected = x.numpy().astype("float64") if dtype != "bfloat16" else x.double().numpy()
    close = found[-1][0].double().numpy() - 2 * expected.sum(rows)
    assert abs(close).max() <= {"bfloat16": 8.0, "float32": 1e-3}.get(dtype, 1e-9)
