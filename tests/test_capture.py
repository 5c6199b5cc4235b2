# SPDX-License-Identifier: Apache-2.0
"""A captured step leaves what the eager step leaves, bit for bit: weights, gradients, buffers, optimizer state, the
random stream and each loss, for all models, optimizers and what people put around a step."""

import itertools

import pytest

import gradstep as torch
from capture_worlds import EXTRAS, MODELS, OPTIMIZERS, World, bytes_of, difference

STEPS = 20
LOOKED_AT = (0, 1, 2, STEPS - 1)  # the eager call, the recorded one, the first replay, the last

GRID = list(itertools.product(MODELS, OPTIMIZERS, EXTRAS))
# The emulated GPU is slow: each model, optimizer and extra, in other combinations.
SMALL_GRID = [
    (model, list(OPTIMIZERS)[(3 * k + j) % len(OPTIMIZERS)], EXTRAS[(k + j) % len(EXTRAS)])
    for k, model in enumerate(MODELS)
    for j in range(2)
]


def train(model: str, optimizer: str, extra: str, captured: bool, steps: int = STEPS) -> list:
    world = World(model, optimizer, extra)
    step = torch.capture(world.step) if captured else world.step
    torch.manual_seed(1)
    history = []
    for k in range(steps):
        history.append(bytes_of(step(*world.batch())))
        world.after()
        if k in LOOKED_AT:
            history.append(world.bytes())
    if captured:
        (entry,) = step._entries()
        assert entry.replays == steps - 2
        assert bool(entry.graphs) == (torch.get_default_device().type == "cuda")
    return history


def _check(model: str, optimizer: str, extra: str, steps: int = STEPS) -> None:
    eager = train(model, optimizer, extra, captured=False, steps=steps)
    captured = train(model, optimizer, extra, captured=True, steps=steps)
    assert difference(eager, captured) == ""


@pytest.mark.parametrize(("model", "optimizer", "extra"), GRID)
@pytest.mark.cpu_only
def test_captured_training_equals_eager_training(model: str, optimizer: str, extra: str) -> None:
    _check(model, optimizer, extra)


@pytest.mark.parametrize(("model", "optimizer", "extra"), SMALL_GRID)
@pytest.mark.cuda
def test_captured_training_equals_eager_training_on_a_gpu(
    model: str, optimizer: str, extra: str
) -> None:
    """The first replay runs step by step, the others are CUDA graphs."""
    _check(model, optimizer, extra, steps=6)


@pytest.mark.cpu_only
def test_the_grid_has_all_combinations() -> None:
    assert len(GRID) == len(MODELS) * len(OPTIMIZERS) * len(EXTRAS) >= 300
    for k, names in enumerate((MODELS, OPTIMIZERS, EXTRAS)):
        assert {row[k] for row in GRID} == set(names)
