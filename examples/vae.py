# SPDX-License-Identifier: Apache-2.0
"""A variational autoencoder (Kingma & Welling, 2013) on MNIST: latent codes of 20 numbers.

gradstep run examples/vae.py FOLDER [--epochs 3]    # with the four original IDX .gz files
python examples/vae.py FOLDER                       # the same, and the same losses, under PyTorch
"""

import argparse
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from common import read_images

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--device", default="cpu")
options = parser.parse_args()


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(400, 20), nn.Linear(400, 20)
        self.decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


def negative_elbo(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Reconstruction error plus the divergence from the standard normal, summed over the batch."""
    logits, mean, log_variance = model(x)
    error = F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="sum")
    divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return error + divergence


def main() -> None:
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    train = torch.tensor(read_images(options.folder, "train")[0])
    test = torch.tensor(read_images(options.folder, "t10k")[0])
    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.Generator(options.device).manual_seed(0)
    loader = DataLoader(TensorDataset(train), batch_size=128, shuffle=True, generator=order)

    start = time.perf_counter()
    for epoch in range(options.epochs):
        for step, (images,) in enumerate(loader):
            optimizer.zero_grad()
            loss = negative_elbo(model, images)
            loss.backward()
            optimizer.step()
            if step % 200 == 0:
                print(f"epoch {epoch + 1} step {step:4} loss {loss.item() / len(images):.3f}")
    seconds = time.perf_counter() - start
    with torch.no_grad():
        bound = negative_elbo(model, test).item() / len(test)
    print(f"test loss {bound:.2f}, {seconds:.1f} s")


if __name__ == "__main__":
    main()
