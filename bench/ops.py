# SPDX-License-Identifier: Apache-2.0
"""Single ops at several sizes beside PyTorch: elementwise, reduce, softmax, layer-norm, matmul, convolution.

    python bench/ops.py [--only softmax] [--threads 2] [--markdown | --json]

"fwd" is the op alone, "fwd+bwd" the op on a leaf and the backward pass from a ready-made gradient.
The rows of 10 million elements live on memory traffic; their floor is the traffic of a fused forward and
backward over the measured bandwidth (floor.py). PyTorch has no cache for CPU memory: compare with an
allocator that has one as well, `LD_PRELOAD=libtcmalloc_minimal.so.4 python bench/ops.py --only 10M`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import floor
from common import Case, arguments, chosen, load, measure, show

Build = Callable[[Any, list[Any]], Any]


def op_cases(
    group: str, name: str, shapes: Sequence[tuple[int, ...]], call: Build, backward: bool = True
) -> list[Case]:
    """Forward alone without gradients, and forward with backward to all inputs."""

    def inputs(lib: Any) -> list[Any]:
        rng = np.random.default_rng(0)
        return [lib.from_numpy(rng.standard_normal(s, dtype=np.float32)) for s in shapes]

    def forward(lib: Any) -> Callable[[], Any]:
        tensors = inputs(lib)
        return lambda: call(lib, tensors)

    def both(lib: Any) -> Callable[[], Any]:
        tensors = [t.requires_grad_() for t in inputs(lib)]
        grad = lib.ones_like(call(lib, tensors).detach())

        def run() -> None:
            for t in tensors:
                t.grad = None
            call(lib, tensors).backward(grad)

        return run

    out = [Case(f"{name}, fwd", group=group, make=forward)]
    return out + ([Case(f"{name}, fwd+bwd", group=group, make=both)] if backward else [])


def elementwise() -> list[Case]:
    out = []
    for n in (1_000, 100_000, 4_000_000):
        out += op_cases("elementwise", f"add {n}", [(n,), (n,)], lambda lib, t: t[0] + t[1])
        for name in ("exp", "tanh", "sigmoid"):
            out += op_cases(
                "elementwise",
                f"{name} {n}",
                [(n,)],
                lambda lib, t, name=name: getattr(t[0], name)(),
            )
        out += op_cases(
            "elementwise", f"gelu {n}", [(n,)], lambda lib, t: lib.nn.functional.gelu(t[0])
        )
    rows = [(1000, 1000), (1000,)]
    out += op_cases("elementwise", "add 1000x1000 + 1000", rows, lambda lib, t: t[0] + t[1])
    out += op_cases(
        "elementwise",
        "add transposed 1000x1000",
        [rows[0]] * 2,
        lambda lib, t: t[0].t() + t[1],
        False,
    )
    return out


def reduce() -> list[Case]:
    out = []
    for shape in ((100, 100), (1000, 1000), (4096, 1024)):
        size = "x".join(map(str, shape))
        out += op_cases("reduce", f"sum {size}", [shape], lambda lib, t: t[0].sum())
        out += op_cases("reduce", f"sum {size} dim 0", [shape], lambda lib, t: t[0].sum(0))
        out += op_cases("reduce", f"mean {size} dim 1", [shape], lambda lib, t: t[0].mean(1))
        out += op_cases(
            "reduce", f"argmax {size} dim 1", [shape], lambda lib, t: t[0].argmax(1), False
        )
    return out


def rows() -> list[Case]:
    out = []
    for shape in ((64, 10), (512, 256), (4096, 768)):
        size = "x".join(map(str, shape))
        width = shape[1:]
        out += op_cases("row", f"softmax {size}", [shape], lambda lib, t: t[0].softmax(1))
        out += op_cases("row", f"log_softmax {size}", [shape], lambda lib, t: t[0].log_softmax(1))
        out += op_cases(
            "row",
            f"layer_norm {size}",
            [shape, width, width],
            lambda lib, t, width=width: lib.nn.functional.layer_norm(t[0], width, t[1], t[2]),
        )
    return out


def matmul() -> list[Case]:
    out = []
    for n in (16, 64, 256, 512, 1024):
        out += op_cases(
            "matmul", f"{n}x{n} @ {n}x{n}", [(n, n), (n, n)], lambda lib, t: t[0] @ t[1]
        )
    # Multi-layer perceptron, transformer up and down, a step of an LSTM, small nets: both gradients in fwd+bwd.
    for rows, n_in, n_out in (
        (64, 784, 256),
        (1024, 384, 1536),
        (1024, 1536, 384),
        (32, 256, 1024),
        (256, 50, 50),
        (256, 20, 20),
        (64, 256, 128),
    ):
        out += op_cases(
            "matmul",
            f"linear {rows}x{n_in} to {n_out}",
            [(rows, n_in), (n_out, n_in), (n_out,)],
            lambda lib, t: lib.nn.functional.linear(*t),
        )
    out += op_cases("matmul", "bmm 32x64x64", [(32, 64, 64)] * 2, lambda lib, t: lib.bmm(*t))
    return out


def convolution() -> list[Case]:
    out = []
    shapes = (
        ("1-6 k5 28x28 batch 64", (64, 1, 28, 28), (6, 1, 5, 5)),
        ("6-16 k5 14x14 batch 64", (64, 6, 14, 14), (16, 6, 5, 5)),
        ("64-64 k3 32x32 batch 16", (16, 64, 32, 32), (64, 64, 3, 3)),
        ("256-256 k3 8x8 batch 16", (16, 256, 8, 8), (256, 256, 3, 3)),
    )
    for name, x, w in shapes:
        out += op_cases(
            "conv2d", name, [x, w], lambda lib, t: lib.nn.functional.conv2d(t[0], t[1], padding=1)
        )
    pool = [(64, 16, 28, 28)]
    out += op_cases(
        "pool",
        "max_pool2d 2 64x16x28x28",
        pool,
        lambda lib, t: lib.nn.functional.max_pool2d(t[0], 2),
    )
    out += op_cases(
        "pool",
        "avg_pool2d 2 64x16x28x28",
        pool,
        lambda lib, t: lib.nn.functional.avg_pool2d(t[0], 2),
    )
    return out


def large() -> list[Case]:
    """Forward and backward over 10 million floats; the passes of a fused step over them give the floor."""
    x = (10_000, 1_000)
    target = np.random.default_rng(1).integers(0, x[1], x[0])

    def chain(lib: Any, t: list[Any]) -> Any:
        return ((t[0] * 2.0 + 1.0).tanh() * 0.5 - 0.1).relu()

    def cross_entropy(lib: Any, t: list[Any]) -> Any:
        return lib.nn.functional.cross_entropy(t[0], lib.from_numpy(target))

    calls: list[tuple[str, Build, int]] = [
        ("exp", lambda lib, t: t[0].exp(), 5),
        ("gelu", lambda lib, t: lib.nn.functional.gelu(t[0]), 5),
        ("layer_norm", lambda lib, t: lib.nn.functional.layer_norm(t[0], x[1:]), 5),
        ("softmax", lambda lib, t: t[0].softmax(1), 5),
        ("chain of five", chain, 5),
        ("cross_entropy", cross_entropy, 3),
    ]
    out = []
    for name, call, passes in calls:
        case = op_cases("10M", name, [x], call)[1]
        case.floor_bytes = passes * 4 * x[0] * x[1]
        out.append(case)
    return out


def main() -> None:
    options = arguments(__doc__, rounds=9).parse_args()
    cases = chosen(
        elementwise() + reduce() + rows() + matmul() + convolution() + large(), options.only
    )
    if any(case.floor_bytes for case in cases):
        machine = floor.measure_machine(load(options.threads))
        for case in cases:
            if case.floor_bytes:
                case.floor_us = case.floor_bytes / machine.bandwidth * 1e6
    report = measure(cases, rounds=options.rounds, threads=options.threads, seconds=0.02)
    show(report, options, f"Ops, {options.threads} thread(s)")


if __name__ == "__main__":
    main()
