# SPDX-License-Identifier: Apache-2.0
"""The default generator's seed and state."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from gradstep import _C

manual_seed = _C.manual_seed
seed = _C.seed
initial_seed = _C.initial_seed
get_rng_state = _C.get_rng_state
set_rng_state = _C.set_rng_state
default_generator = _C.default_generator


@contextlib.contextmanager
def fork_rng(
    devices: Iterable[Any] | None = None, enabled: bool = True, **kwargs: Any
) -> Iterator[None]:
    """Restores the random state at the end of the block: the CPU's and that of `devices`, which
    are all GPUs where None is given."""
    from gradstep import cuda

    if not enabled:
        yield
        return
    gpus = list(range(cuda.device_count()) if devices is None else devices)
    state = get_rng_state()
    gpu_states = [cuda.get_rng_state(device) for device in gpus]
    try:
        yield
    finally:
        set_rng_state(state)
        for device, gpu_state in zip(gpus, gpu_states, strict=True):
            cuda.set_rng_state(gpu_state, device)
