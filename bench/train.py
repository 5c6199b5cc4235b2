# SPDX-License-Identifier: Apache-2.0
"""Training steps beside PyTorch eager: zero_grad, forward, loss, backward, optimizer step on a fixed batch.

    python bench/train.py [--threads 2] [--only cnn] [--fused] [--markdown | --json]

Both sides run the same Python with the same seed on the same batch. PyTorch's optimizers run
as they do by default; --fused asks PyTorch for its fused ones, which it does not choose by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from common import Case, arguments, chosen, measure, show


def mlp(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def lenet(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def tiny(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
    )


def trainer(
    model: Callable[[Any], Any], shape: tuple[int, ...], n_classes: int, adam: bool, fused: bool
) -> Callable[[Any], Callable[[], Any]]:
    """A function that builds the training step for one library."""

    def make(lib: Any) -> Callable[[], Any]:
        rng = np.random.default_rng(0)
        inputs = lib.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        labels = lib.from_numpy(rng.integers(0, n_classes, shape[0]))
        lib.manual_seed(0)
        net = model(lib)
        loss_fn = lib.nn.CrossEntropyLoss()
        extra = {"fused": True} if fused and lib.__name__ == "torch" else {}
        if adam:
            optimizer = lib.optim.Adam(net.parameters(), lr=1e-4, **extra)
        else:
            optimizer = lib.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, **extra)

        def step() -> None:
            optimizer.zero_grad()
            loss_fn(net(inputs), labels).backward()
            optimizer.step()

        return step

    return make


def cases(fused: bool) -> list[Case]:
    return [
        Case(
            "784-256-128-10, batch 64, SGD",
            group="mlp",
            make=trainer(mlp, (64, 784), 10, False, fused),
        ),
        Case(
            "784-256-128-10, batch 512, SGD",
            group="mlp",
            make=trainer(mlp, (512, 784), 10, False, fused),
        ),
        Case(
            "LeNet 28x28, batch 64, SGD",
            group="cnn",
            make=trainer(lenet, (64, 1, 28, 28), 10, False, fused),
        ),
        Case(
            "4-64-64-2, batch 32, Adam", group="tiny", make=trainer(tiny, (32, 4), 2, True, fused)
        ),
    ]


def main() -> None:
    parser = arguments(__doc__, rounds=21)
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused optimizers")
    options = parser.parse_args()
    report = measure(
        chosen(cases(options.fused), options.only),
        rounds=options.rounds,
        threads=options.threads,
        seconds=0.06,
    )
    optimizer = "PyTorch's fused optimizers" if options.fused else "PyTorch's default optimizers"
    show(report, options, f"Training step, {options.threads} thread(s), {optimizer}")


if __name__ == "__main__":
    main()
