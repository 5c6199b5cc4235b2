# SPDX-License-Identifier: Apache-2.0
"""Golden losses: ten steps of SGD with momentum from the same seed on the same data give PyTorch's losses.
Nothing is copied between the libraries: parameters start equal because the random numbers are."""

import numpy as np
import pytest

import gradstep as gs
from devices import on_the_cpu

torch = pytest.importorskip("torch")

N_STEPS = 10


def mlp(nn):
    return nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)
    )


def cnn(nn):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def embedding_net(nn):
    return nn.Sequential(
        nn.Embedding(50, 8),
        nn.Flatten(),
        nn.LayerNorm(40),
        nn.Linear(40, 16),
        nn.GELU(),
        nn.Linear(16, 10),
    )


def digits():
    """Images [N_STEPS, 16, 1, 8, 8] that a net can tell apart, labels [N_STEPS, 16]."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, (N_STEPS, 16))
    prototypes = rng.standard_normal((10, 1, 8, 8))
    images = prototypes[labels] + 0.3 * rng.standard_normal((N_STEPS, 16, 1, 8, 8))
    return images.astype(np.float32), labels


def words():
    """Five word numbers for each example, of which the first gives the label."""
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, 50, (N_STEPS, 16, 5))
    return numbers, numbers[..., 0] % 10


def losses(lib, make, data, **sgd):
    """The loss before each of ten steps and the sum of all parameters' magnitudes at the end."""
    lib.manual_seed(1234)
    model = on_the_cpu(lambda: make(gs.nn)) if lib is gs else make(lib.nn)
    criterion = lib.nn.CrossEntropyLoss()
    optimizer = lib.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, **sgd)
    seen = []
    for inputs, labels in zip(*data, strict=True):
        inputs, labels = lib.tensor(inputs), lib.tensor(labels)
        loss = criterion(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    seen.append(sum(p.detach().abs().sum().item() for p in model.parameters()))
    return seen


@pytest.mark.parametrize(
    "make, data, sgd",
    [
        (mlp, lambda: [x.reshape(N_STEPS, 16, -1) for x in digits()[:1]] + [digits()[1]], {}),
        (
            mlp,
            lambda: [x.reshape(N_STEPS, 16, -1) for x in digits()[:1]] + [digits()[1]],
            {"weight_decay": 1e-2, "nesterov": True},
        ),
        (cnn, digits, {}),
        (cnn, digits, {"weight_decay": 1e-4}),
        (embedding_net, words, {}),
    ],
    ids=["mlp", "mlp-nesterov", "cnn", "cnn-decay", "embedding"],
)
def test_ten_steps_give_torchs_losses(make, data, sgd):
    ours, theirs = losses(gs, make, data(), **sgd), losses(torch, make, data(), **sgd)
    assert theirs[N_STEPS - 1] < theirs[0]  # it learns, so the gradients matter
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.cpu_only  # the CPU's threads
def test_losses_do_not_depend_on_the_number_of_threads():
    runs = []
    for n in (1, 2):
        gs.set_num_threads(n)
        runs.append(losses(gs, cnn, digits()))
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "make, data", [(cnn, digits), (embedding_net, words)], ids=["cnn", "embedding"]
)
def test_the_same_seed_gives_the_same_losses_again(make, data):
    assert losses(gs, make, data()) == losses(gs, make, data())
