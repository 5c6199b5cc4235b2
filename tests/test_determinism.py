# SPDX-License-Identifier: Apache-2.0
"""The same seed gives the same bits: from run to run, and for any number of threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gradstep as torch
from gradstep import nn

F = nn.functional


def rows(n: int) -> int:
    """So many on the CPU; fewer on a GPU, which may be emulated."""
    return n if torch.get_default_device().type == "cpu" else (n + 7) // 8


def floats(*shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


def labels(n_classes: int, *shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(1).integers(0, n_classes, shape))


def mlp() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    net = nn.Sequential(
        nn.Linear(784, 300), nn.BatchNorm1d(300), nn.GELU(), nn.Dropout(0.2),
        nn.Linear(300, 130), nn.LayerNorm(130), nn.Tanh(), nn.Linear(130, 10),
    )  # fmt: skip
    x, y = floats(rows(200), 784), labels(10, rows(200))
    return net, lambda m: F.cross_entropy(m(x), y)


def cnn() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, groups=2), nn.GroupNorm(4, 32), nn.SiLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip
    x, y = floats(rows(24), 3, 24, 24), labels(10, rows(24))
    return net, lambda m: F.cross_entropy(m(x), y)


def sequences() -> tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 64)
            self.qkv = nn.Linear(64, 192)
            self.lstm = nn.LSTM(64, 96, batch_first=True)
            self.gru = nn.GRU(96, 64, batch_first=True, bidirectional=True)
            self.head = nn.Linear(128, 50)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.embedding(ids)
            q, k, v = (
                t.view(*t.shape[:2], 4, 16).transpose(1, 2) for t in self.qkv(x).split(64, 2)
            )
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + y.transpose(1, 2).reshape(x.shape)
            return self.head(self.gru(self.lstm(x)[0])[0])

    ids = labels(50, rows(16), rows(70))
    return Model(), lambda m: F.cross_entropy(m(ids).view(-1, 50), ids.roll(-1, 1).reshape(-1))


def trained(
    build: Callable[[], tuple[nn.Module, Callable[[nn.Module], torch.Tensor]]], n: int
) -> list[bytes]:
    """Losses and weights after three steps with n threads."""
    torch.set_num_threads(n)
    torch.manual_seed(0)
    net, loss_of = build()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    out = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        out.append(loss.detach().cpu().numpy().tobytes())
    return out + [p.detach().cpu().numpy().tobytes() for p in net.parameters()]


@pytest.mark.parametrize("build", [mlp, cnn, sequences], ids=lambda f: f.__name__)
def test_training_gives_the_same_bits_from_run_to_run_and_for_any_number_of_threads(
    build, device
) -> None:
    first = trained(build, 2)
    assert trained(build, 2) == first
    if device == "cpu":
        assert trained(build, 1) == first
        assert trained(build, 3) == first
    assert len(set(first[:3])) == 3  # it does train
