# SPDX-License-Identifier: Apache-2.0
"""The loop that every tutorial shows, as a text that is run under both modules: nothing but the name in its import
lines differs. What is compared is what it leaves behind."""

import re

import numpy as np
import pytest

import gradstep as gs
from devices import on_the_cpu

torch_module = pytest.importorskip("torch")

MODEL = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

device = torch.device(device_name)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(6 * 3 * 3, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc2(x)


torch.manual_seed(0)
train_set = TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, num_workers=0)
model = Net().to(device=device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10000)
history = []
"""

PLAIN = (
    MODEL
    + """
for epoch in range(2):
    running_loss = 0.0
    model.train()
    for i, (inputs, labels) in enumerate(train_loader):
        inputs = inputs.to(device=device)
        labels = labels.to(device=device)

        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        scheduler.step()

        running_loss += loss.item()
        history.append((running_loss, scheduler.get_last_lr()[0], optimizer.param_groups[0]["lr"]))

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for inputs, labels in train_loader:
            outputs = model(inputs.to(device=device))
            _, predicted = torch.max(outputs.data, 1)
            total += labels.size(0)
            correct += (predicted == labels.to(device=device)).sum().item()
    history.append((correct, total, correct / total))
"""
)

ACCUMULATED = (
    MODEL
    + """
accumulation_steps = 4
optimizer.zero_grad()
for i, (inputs, labels) in enumerate(train_loader):
    inputs = inputs.to(device=device)
    labels = labels.to(device=device)
    loss = criterion(model(inputs), labels) / accumulation_steps
    loss.backward()
    if (i + 1) % accumulation_steps == 0:
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    history.append((loss.item(),))
"""
)


def run(module, script, device="cpu", batch_size=16, n=96):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 10, n)
    images = rng.standard_normal((10, 1, 8, 8))[labels] + 0.3 * rng.standard_normal((n, 1, 8, 8))
    scope = {
        "images": images.astype(np.float32),
        "labels": labels,
        "batch_size": batch_size,
        "device_name": device,
    }
    if module is gs:
        script = re.sub(r"^import torch$", "import gradstep as torch", script, flags=re.MULTILINE)
        script = re.sub(r"^(import|from) torch\.", r"\1 gradstep.", script, flags=re.MULTILINE)
        assert not re.search(r"^(import|from) torch", script, flags=re.MULTILINE)
    with gs.device("cpu"):  # the script moves what it wants to move
        exec(compile(script, "tutorial", "exec"), scope)
    weights = {k: v.detach().cpu().numpy().copy() for k, v in scope["model"].state_dict().items()}
    return scope["history"], weights, scope["optimizer"].state_dict()


@pytest.mark.parametrize("script", [PLAIN, ACCUMULATED], ids=["plain", "accumulated"])
def test_the_tutorial_loop_gives_the_same_weights_in_both_libraries(script, device):
    ours, theirs = run(gs, script, device), run(torch_module, script)
    assert len(ours[0]) == len(theirs[0]) > 0
    for a, b in zip(ours[0], theirs[0]):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name in theirs[1]:
        np.testing.assert_allclose(
            ours[1][name], theirs[1][name], rtol=1e-5, atol=1e-6, err_msg=name
        )
    assert ours[2]["state"].keys() == theirs[2]["state"].keys()
    assert ours[2]["param_groups"][0]["params"] == theirs[2]["param_groups"][0]["params"]
    assert ours[2]["param_groups"][0]["lr"] == pytest.approx(
        theirs[2]["param_groups"][0]["lr"], rel=1e-12
    )


def gradients(module, parts, n=32):
    """The gradients of one batch, given whole or in equal parts."""
    module.manual_seed(0)
    rng = np.random.default_rng(5)
    inputs = module.tensor(rng.standard_normal((n, 6)).astype(np.float32))
    labels = module.tensor(rng.integers(0, 3, n))
    nn = module.nn

    def build():
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    model = on_the_cpu(build) if module is gs else build()
    optimizer = module.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = module.nn.CrossEntropyLoss()
    optimizer.zero_grad()
    for x, y in zip(inputs.chunk(parts), labels.chunk(parts)):
        (criterion(model(x), y) / parts).backward()
    optimizer.step()
    return [p.detach().cpu().numpy() for p in model.parameters()], [
        p.grad.cpu().numpy() for p in model.parameters()
    ]


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulated_micro_batches_give_the_update_of_the_big_batch(parts):
    for whole, split in zip(gradients(gs, 1), gradients(gs, parts)):
        for a, b in zip(whole, split):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    for ours, theirs in zip(gradients(gs, parts), gradients(torch_module, parts)):
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_zero_grad_sets_to_none_or_zeroes_in_place():
    for lib in (gs, torch_module):
        model = lib.nn.Linear(3, 2)
        optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
        model(lib.ones(4, 3)).sum().backward()
        kept = model.weight.grad
        optimizer.zero_grad(set_to_none=False)
        assert model.weight.grad is kept and not kept.any()
        optimizer.zero_grad()
        assert model.weight.grad is None
        model(lib.ones(4, 3)).sum().backward()
        model.zero_grad(set_to_none=False)
        assert not model.weight.grad.any()
        model.zero_grad()
        assert model.weight.grad is None
