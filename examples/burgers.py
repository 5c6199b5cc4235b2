# SPDX-License-Identifier: Apache-2.0
"""A physics-informed net (Raissi et al., 2019) solves Burgers' equation: gradients of gradients.

    u_t + u u_x = (0.01 / pi) u_xx,   u(0, x) = -sin(pi x),   u(t, -1) = u(t, 1) = 0

gradstep run examples/burgers.py [--steps 2000] [--device cuda]
python examples/burgers.py                # the same, and the same losses, under PyTorch
"""

import argparse
import math
import time

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--device", default="cpu")
options = parser.parse_args()


def main() -> None:
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(),
        nn.Linear(50, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    inside = torch.rand(256, 2) * torch.tensor([1.0, 2.0]) - torch.tensor([0.0, 1.0])  # (t, x)
    inside.requires_grad_()
    x0 = torch.linspace(-1, 1, 50).unsqueeze(1)
    start_points = torch.cat([torch.zeros_like(x0), x0], dim=1)
    start_values = -torch.sin(math.pi * x0)
    t = torch.linspace(0, 1, 25).unsqueeze(1)
    walls = torch.cat([torch.cat([t, torch.full_like(t, s)], dim=1) for s in (-1.0, 1.0)])

    begin = time.perf_counter()
    for step in range(options.steps):
        u = net(inside)
        (du,) = torch.autograd.grad(u.sum(), inside, create_graph=True)
        u_t, u_x = du[:, 0:1], du[:, 1:2]
        (du_x,) = torch.autograd.grad(u_x.sum(), inside, create_graph=True)
        residual = u_t + u * u_x - 0.01 / math.pi * du_x[:, 1:2]
        loss = (
            (residual**2).mean()
            + ((net(start_points) - start_values) ** 2).mean()
            + (net(walls) ** 2).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 500 == 0 or step == options.steps - 1:
            print(f"step {step:4} loss {loss.item():.6f}")
    print(f"{(time.perf_counter() - begin) / options.steps * 1e3:.2f} ms a step")


if __name__ == "__main__":
    main()
