# SPDX-License-Identifier: Apache-2.0
"""A Wasserstein GAN with gradient penalty (Gulrajani et al., 2017) on Fashion-MNIST: the penalty is a gradient of a
gradient, the two nets have an optimizer each.

gradstep run examples/wgan_gp.py FOLDER [--steps 300]    # with the four original IDX .gz files
python examples/wgan_gp.py FOLDER                        # the same, and the same losses, under PyTorch
"""

import argparse
import time

import torch
from torch import nn

from common import read_images

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--steps", type=int, default=300)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--device", default="cpu")
options = parser.parse_args()

LATENT, CRITIC_STEPS, PENALTY = 64, 5, 10.0


def generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(LATENT, 64 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Sigmoid(),
    )  # fmt: skip


def critic() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 1),
    )  # fmt: skip


def gradient_penalty(score: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    share = torch.rand(len(real), 1, 1, 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
    penalty: torch.Tensor = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    return penalty


def main() -> None:
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    images = torch.tensor(read_images(options.folder, "train")[0])
    make, score = generator(), critic()
    make_optimizer = torch.optim.Adam(make.parameters(), lr=2e-4, betas=(0.5, 0.9))
    score_optimizer = torch.optim.Adam(score.parameters(), lr=2e-4, betas=(0.5, 0.9))

    start = time.perf_counter()
    for step in range(options.steps):
        for _ in range(CRITIC_STEPS):
            real = images[torch.randint(len(images), (options.batch,))]
            fake = make(torch.randn(options.batch, LATENT)).detach()
            distance = score(real).mean() - score(fake).mean()
            loss = PENALTY * gradient_penalty(score, real, fake) - distance
            score_optimizer.zero_grad()
            loss.backward()
            score_optimizer.step()
        make_optimizer.zero_grad()
        (-score(make(torch.randn(options.batch, LATENT))).mean()).backward()
        make_optimizer.step()
        if step % 50 == 0 or step == options.steps - 1:
            print(f"step {step:4} critic loss {loss.item():.4f}")
    print(f"Wasserstein distance: loss {distance.item():.3f}, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
