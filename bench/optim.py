# SPDX-License-Identifier: Apache-2.0
"""Optimizer steps beside PyTorch: many tiny parameters, and the parameter list of ResNet-50.

    python bench/optim.py [--only Adam] [--fused] [--threads 2] [--markdown | --json]

PyTorch's optimizers run as they do by default; --fused asks PyTorch for its fused ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common import Case, arguments, chosen, measure, show

Shapes = list[tuple[int, ...]]


def tiny_shapes() -> Shapes:
    """161 tensors of 64 floats: all of the time is overhead."""
    return [(64,)] * 161


def resnet50_shapes() -> Shapes:
    """The 161 parameters of ResNet-50 (He et al., 2015), 25.6 million floats."""
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    width_in = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            for c_out, c_in, k in ((width, width_in, 1), (width, width, 3), (4 * width, width, 1)):
                shapes += [(c_out, c_in, k, k), (c_out,), (c_out,)]
            if block == 0:
                shapes += [(4 * width, width_in, 1, 1), (4 * width,), (4 * width,)]
            width_in = 4 * width
    return [*shapes, (1000, 2048), (1000,)]


def step_of(
    shapes: Shapes, algorithm: str, fused: bool, **options: Any
) -> Callable[[Any], Callable[[], Any]]:
    def make(lib: Any) -> Callable[[], Any]:
        params = [lib.full(s, 0.5).requires_grad_() for s in shapes]
        for p in params:
            p.grad = lib.full(p.shape, 0.01)
        extra = {"fused": True} if fused and lib.__name__ == "torch" else {}
        return getattr(lib.optim, algorithm)(params, lr=1e-6, **options, **extra).step

    return make


def zero_grad_of(shapes: Shapes, set_to_none: bool) -> Callable[[Any], Callable[[], Any]]:
    def make(lib: Any) -> Callable[[], Any]:
        params = [lib.full(s, 0.5).requires_grad_() for s in shapes]
        for p in params:
            p.grad = lib.full(p.shape, 0.01)
        optimizer = lib.optim.SGD(params, lr=1e-6)
        return lambda: optimizer.zero_grad(set_to_none=set_to_none)

    return make


def cases(fused: bool) -> list[Case]:
    out = []
    for group, shapes in (("161 tiny", tiny_shapes()), ("ResNet-50", resnet50_shapes())):
        out += [
            Case("SGD", group=group, make=step_of(shapes, "SGD", fused)),
            Case(
                "SGD momentum",
                group=group,
                make=step_of(shapes, "SGD", fused, momentum=0.9, weight_decay=1e-4),
            ),
            Case("Adam", group=group, make=step_of(shapes, "Adam", fused)),
            Case("AdamW", group=group, make=step_of(shapes, "AdamW", fused)),
            Case("zero_grad(set_to_none=False)", group=group, make=zero_grad_of(shapes, False)),
        ]
    return out


def main() -> None:
    parser = arguments(__doc__, rounds=11)
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused optimizers")
    options = parser.parse_args()
    report = measure(
        chosen(cases(options.fused), options.only),
        rounds=options.rounds,
        threads=options.threads,
        seconds=0.03,
    )
    optimizer = "PyTorch's fused" if options.fused else "PyTorch's default"
    show(
        report, options, f"Optimizer step, {options.threads} thread(s), {optimizer} implementation"
    )


if __name__ == "__main__":
    main()
