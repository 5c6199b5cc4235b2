# SPDX-License-Identifier: Apache-2.0
"""Gradient accumulation: N small batches give the update of one big batch.

gradstep run examples/accumulate.py [--steps 20] [--device cuda]
python examples/accumulate.py                        # the same, and the same numbers, under PyTorch
"""

import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--device", default="cpu")
options = parser.parse_args()

torch.set_default_device(options.device)


def train(micro_batches: int) -> float:
    """Fits a line through noise; each update uses 64 samples, in so many parts."""
    torch.manual_seed(1)
    x = torch.randn(64, 8)
    y = x @ torch.randn(8, 1) + 0.1 * torch.randn(64, 1)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = torch.nn.MSELoss()

    for _ in range(options.steps):
        for inputs, targets in zip(x.chunk(micro_batches), y.chunk(micro_batches)):
            loss = criterion(model(inputs), targets) / micro_batches
            loss.backward()  # adds to .grad
        optimizer.step()
        optimizer.zero_grad()
    return float(criterion(model(x), y))


big = train(micro_batches=1)
for n in (2, 4, 8):
    small = train(micro_batches=n)
    print(f"{n} micro-batches: loss {small:.6f}; one batch: {big:.6f}")
    assert abs(small - big) < 1e-5
