# SPDX-License-Identifier: Apache-2.0
"""The random numbers of the GPUs: one default generator for each. Seeding works without a GPU, and
before CUDA is loaded: the seed is used from then on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradstep import _C
from gradstep._C import Generator, Tensor

from ._devices import index_of

__all__ = [
    "default_generators",
    "get_rng_state",
    "get_rng_state_all",
    "initial_seed",
    "manual_seed",
    "manual_seed_all",
    "seed",
    "seed_all",
    "set_rng_state",
    "set_rng_state_all",
]

# One for each GPU that there may be.
default_generators: tuple[Generator, ...] = tuple(_C._cuda_generator(i) for i in range(16))


def _generator(device: Any = "cuda") -> Generator:
    return default_generators[index_of(device) if _C._cuda_device_count() else 0]


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of a GPU's generator, 16 bytes: its seed and its offset."""
    return _generator(device).get_state()


def get_rng_state_all() -> list[Tensor]:
    """The states of all GPUs' generators."""
    return [get_rng_state(i) for i in range(_C._cuda_device_count())]


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Sets the state of a GPU's generator."""
    _generator(device).set_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Sets the states of all GPUs' generators."""
    for i, state in enumerate(new_states):
        set_rng_state(state, i)


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current GPU."""
    _generator().manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all GPUs."""
    for generator in default_generators:
        generator.manual_seed(int(seed))


def seed() -> None:
    """Seeds the generator of the current GPU from the system's entropy."""
    _generator().seed()


def seed_all() -> None:
    """Seeds the generators of all GPUs from the system's entropy, all alike."""
    manual_seed_all(_C.Generator().seed() >> 1)  # any non-negative int64


def initial_seed() -> int:
    """The seed of the current GPU's generator."""
    return _generator().initial_seed()
