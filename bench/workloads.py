# SPDX-License-Identifier: Apache-2.0
"""Whole training steps, written once for every library that speaks PyTorch.

    step = WORKLOADS["lstm"].make(gradstep)   # then step() trains once on a fixed batch
    WORKLOADS["lstm"].make(torch)             # the same seed, weights and batch

`fused` asks PyTorch for its fused optimizers, which it does not choose by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = Callable[[], Any]


@dataclass
class Workload:
    """One training step; `jax` names its twin in jax_twins.py."""

    name: str
    group: str
    build: Callable[[Any], tuple[Any, Callable[[Any], Any]]]
    """lib -> (model, loss of one step)"""
    optimizer: str
    options: dict[str, Any]
    accumulate: int = 1
    jax: str = ""
    more_flops: float = 0.0  # what a counter of matmuls and convolutions does not see

    def make(self, lib: Any, fused: bool = False) -> Step:
        lib.manual_seed(0)
        model, loss = self.build(lib)
        extra = {"fused": True} if fused and lib.__name__ == "torch" else {}
        optimizer = getattr(lib.optim, self.optimizer)(model.parameters(), **self.options, **extra)

        def step() -> Any:
            optimizer.zero_grad()
            for _ in range(self.accumulate):
                out = loss(model)
                out.backward()
            optimizer.step()
            return out

        step.model = model  # type: ignore[attr-defined]
        return step


def floats(lib: Any, *shape: int) -> Any:
    """On the default device."""
    return lib.tensor(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


def labels(lib: Any, n_classes: int, *shape: int) -> Any:
    return lib.tensor(np.random.default_rng(1).integers(0, n_classes, shape))


def classifier(
    model: Callable[[Any], Any], shape: tuple[int, ...], n_classes: int
) -> Callable[[Any], tuple[Any, Callable[[Any], Any]]]:
    def build(lib: Any) -> tuple[Any, Callable[[Any], Any]]:
        inputs, target = floats(lib, *shape), labels(lib, n_classes, shape[0])
        criterion = lib.nn.CrossEntropyLoss()
        return model(lib), lambda net: criterion(net(inputs), target)

    return build


# ---- small nets ----


def mlp(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def tiny(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
    )


def lenet(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


# ---- ResNet-18 for small images (He et al., 2015) ----


def resnet18(lib: Any) -> Any:
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self, c_in: int, c_out: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(c_out)
            self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(c_out)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = nn.Sequential()
            if stride != 1 or c_in != c_out:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out)
                )

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            y += self.shortcut(x)
            return self.relu(y)

    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    c_in = 64
    for c_out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(c_in, c_out, stride), Block(c_out, c_out, 1)]
        c_in = c_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


# ---- transformers (decoder only, pre-norm) ----


def gpt(lib: Any, n_layer: int, n_embd: int, n_head: int, block: int, vocabulary: int = 65) -> Any:
    nn, F = lib.nn, lib.nn.functional

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(n_embd, 3 * n_embd)
            self.proj = nn.Linear(n_embd, n_embd)

        def forward(self, x: Any) -> Any:
            b, t, c = x.size()
            q, k, v = self.qkv(x).split(n_embd, dim=2)
            q = q.view(b, t, n_head, c // n_head).transpose(1, 2)
            k = k.view(b, t, n_head, c // n_head).transpose(1, 2)
            v = v.view(b, t, n_head, c // n_head).transpose(1, 2)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.proj(y.transpose(1, 2).contiguous().view(b, t, c))

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.attn = nn.LayerNorm(n_embd), Attention()
            self.ln_2 = nn.LayerNorm(n_embd)
            self.mlp = nn.Sequential(
                nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd)
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, n_embd)
            self.positions = nn.Embedding(block, n_embd)
            self.layers = nn.Sequential(*[Layer() for _ in range(n_layer)])
            self.ln = nn.LayerNorm(n_embd)
            self.head = nn.Linear(n_embd, vocabulary, bias=False)

        def forward(self, ids: Any) -> Any:
            x = self.tokens(ids) + self.positions(lib.arange(ids.size(1), device=ids.device))
            return self.head(self.ln(self.layers(x)))

    return Gpt()


def language(
    model: Callable[[Any], Any], batch: int, block: int, vocabulary: int = 65
) -> Callable[[Any], tuple[Any, Callable[[Any], Any]]]:
    """Next-token cross-entropy over (batch, block) tokens."""

    def build(lib: Any) -> tuple[Any, Callable[[Any], Any]]:
        ids = labels(lib, vocabulary, batch, block)
        target = ids.roll(-1, 1).reshape(-1)
        F = lib.nn.functional
        return model(lib), lambda net: F.cross_entropy(net(ids).view(-1, vocabulary), target)

    return build


# ---- LSTM language model ----


def lstm(lib: Any, vocabulary: int = 65, hidden: int = 256) -> Any:
    nn = lib.nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, hidden)
            self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
            self.head = nn.Linear(hidden, vocabulary)

        def forward(self, ids: Any) -> Any:
            return self.head(self.lstm(self.embedding(ids))[0])

    return Model()


# ---- physics-informed net: u_t + u u_x = nu u_xx (Raissi et al., 2019) ----


def pinn(lib: Any) -> tuple[Any, Callable[[Any], Any]]:
    nn = lib.nn
    net = nn.Sequential(
        nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 50), nn.Tanh(),
        nn.Linear(50, 1),
    )  # fmt: skip
    points = floats(lib, 256, 2).requires_grad_()
    nu = 0.01 / math.pi

    def loss(model: Any) -> Any:
        u = model(points)
        (du,) = lib.autograd.grad(u.sum(), points, create_graph=True)
        u_x, u_t = du[:, 0:1], du[:, 1:2]
        (du_x,) = lib.autograd.grad(u_x.sum(), points, create_graph=True)
        residual = u_t + u * u_x - nu * du_x[:, 0:1]
        return (residual**2).mean()

    return net, loss


# ---- the list ----

SGD = {"lr": 1e-3, "momentum": 0.9}
ADAM = {"lr": 1e-4}


def lstm_flops(tokens: int, hidden: int) -> float:
    """Both products of every step, forward and twice in backward; 2 FLOPs a multiply-add."""
    return 3 * 2.0 * tokens * (2 * hidden) * (4 * hidden)


def attention_flops(batch: int, heads: int, block: int, size: int, layers: int) -> float:
    """Causal: half of the scores. Two products forward, four backward (recomputation is not counted)."""
    return layers * 6 * 2.0 * batch * heads * block * block * size / 2


WORKLOADS = [
    Workload("MLP 4-64-64-2, batch 32, Adam", "tiny", classifier(tiny, (32, 4), 2),
             "Adam", ADAM, jax="tiny"),
    Workload("MLP 784-256-128-10, batch 64, SGD", "mlp", classifier(mlp, (64, 784), 10),
             "SGD", SGD, jax="mlp64"),
    Workload("MLP 784-256-128-10, batch 512, SGD", "mlp", classifier(mlp, (512, 784), 10),
             "SGD", SGD, jax="mlp512"),
    Workload("MLP, 8 micro-batches of 64, SGD", "accumulate", classifier(mlp, (64, 784), 10),
             "SGD", SGD, accumulate=8, jax="accumulate"),
    Workload("LeNet 28x28, batch 64, SGD", "cnn", classifier(lenet, (64, 1, 28, 28), 10),
             "SGD", SGD, jax="lenet"),
    Workload("ResNet-18 32x32, batch 16, SGD", "cnn", classifier(resnet18, (16, 3, 32, 32), 10),
             "SGD", SGD),
    Workload("transformer 4x128, block 64, batch 12, AdamW", "transformer",
             language(lambda lib: gpt(lib, 4, 128, 4, 64), 12, 64),
             "AdamW", ADAM, jax="char", more_flops=attention_flops(12, 4, 64, 32, 4)),
    Workload("transformer 6x384, block 256, batch 4, AdamW", "transformer",
             language(lambda lib: gpt(lib, 6, 384, 6, 256), 4, 256),
             "AdamW", ADAM, jax="mid", more_flops=attention_flops(4, 6, 256, 64, 6)),
    Workload("LSTM 256, sequence 64, batch 32, Adam", "lstm", language(lstm, 32, 64),
             "Adam", ADAM, jax="lstm", more_flops=lstm_flops(32 * 64, 256)),
    Workload("PINN 2-50-50-50-1, batch 256, Adam", "pinn", pinn, "Adam", ADAM, jax="pinn"),
]  # fmt: skip
