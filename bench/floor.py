# SPDX-License-Identifier: Apache-2.0
"""A yardstick for a training step: FLOPs by definition / rate of a large product + bytes / bandwidth.

    machine = measure_machine(libraries)              # the rates, taken in the same run
    floor = seconds(work_of(workload, torch), machine)

FLOPs are those of matrix products and convolutions by their definitions, forward and backward, as
torch.utils.flop_counter counts them: Winograd's algorithm does fewer, and some products run faster than the large one
that gives the rate, so a step may be below 1. Bytes are those of a step in which everything else is fused: the
optimizer reads and writes parameters and state once, and what enters a product or a convolution is written and read
once in each direction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

# Passes over the parameters: read p, g and state, write p and state.
OPTIMIZER_PASSES = {"SGD": 5, "Adam": 7, "AdamW": 7}
ACTIVATION_PASSES = 4  # written and read in forward, its gradient written and read in backward


@dataclass
class Machine:
    flops: float  # FLOP/s of a float32 product, best of all libraries
    bandwidth: float  # bytes/s of copy, add and sum over 256 MB, best of all libraries

    def best_of(self, other: Machine) -> Machine:
        return Machine(max(self.flops, other.flops), max(self.bandwidth, other.bandwidth))


@dataclass
class Work:
    flops: float
    bytes: float


def best(call: Any, repeat: int = 5) -> float:
    call()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def measure_machine(libraries: dict[str, Any]) -> Machine:
    flops, bandwidth = 0.0, 0.0
    for lib in libraries.values():
        n = 1024
        a = lib.from_numpy(np.random.default_rng(0).standard_normal((n, n), dtype=np.float32))
        flops = max(flops, 2 * n**3 / best(lambda a=a: a @ a))
        x, y = lib.ones(64 << 20), lib.ones(64 << 20)
        for n_bytes, call in (
            (2 * x.numel() * 4, lambda x=x, y=y: x.copy_(y)),
            (3 * x.numel() * 4, lambda x=x, y=y: x.add_(y)),
            (x.numel() * 4, lambda x=x: x.sum()),
        ):
            bandwidth = max(bandwidth, n_bytes / best(call))
    return Machine(flops, bandwidth)


def work_of(workload: Any, torch: Any) -> Work:
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    flops = [0]

    class Counter(TorchDispatchMode):  # FlopCounterMode refuses autograd.grad
        def __torch_dispatch__(
            self, op: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = op(*args, **(kwargs or {}))
            count_flops = flop_registry.get(op.overloadpacket)
            if count_flops is not None:
                flops[0] += count_flops(*args, **(kwargs or {}), out_val=out)
            return out

    step = workload.make(torch)
    model = step.model
    counted = [0]

    def count(module: Any, args: Any, output: Any) -> None:
        counted[0] += args[0].numel()

    nn = torch.nn
    products = (nn.Linear, nn.modules.conv._ConvNd, nn.LSTM)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, products)]
    attention = torch.nn.functional.scaled_dot_product_attention
    try:
        # Attention's share is in more_flops, so that every version of torch counts alike.
        torch.nn.functional.scaled_dot_product_attention = lambda q, k, v, **_: q + k + v
        with Counter():
            step()
    finally:
        torch.nn.functional.scaled_dot_product_attention = attention
        for hook in hooks:
            hook.remove()
    n_params = sum(p.numel() for p in model.parameters())
    n_bytes = 4 * (OPTIMIZER_PASSES[workload.optimizer] * n_params + ACTIVATION_PASSES * counted[0])
    return Work(flops[0] + workload.accumulate * workload.more_flops, n_bytes)


def seconds(work: Work, machine: Machine) -> float:
    return work.flops / machine.flops + work.bytes / machine.bandwidth
