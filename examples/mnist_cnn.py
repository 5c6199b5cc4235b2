# SPDX-License-Identifier: Apache-2.0
"""A convolutional net on MNIST, written as for PyTorch; runs under either library.

gradstep run examples/mnist_cnn.py FOLDER [--device cpu]    # with the four original IDX .gz files
python examples/mnist_cnn.py FOLDER                         # the same under PyTorch
"""

import argparse
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from common import read_images

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--device", help="cuda where there is a GPU")
options = parser.parse_args()


def read(folder: str, part: str) -> TensorDataset:
    images, labels = read_images(folder, part)
    return TensorDataset(torch.from_numpy((images - 0.1307) / 0.3081), torch.from_numpy(labels))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(32 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        logits: torch.Tensor = self.fc2(torch.relu(self.fc1(x.flatten(1))))
        return logits


def main(epochs: int = 2) -> None:
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pin = device.type == "cuda"
    torch.manual_seed(0)
    train_loader = DataLoader(
        read(options.folder, "train"), batch_size=64, shuffle=True, pin_memory=pin
    )
    test_loader = DataLoader(read(options.folder, "t10k"), batch_size=1000, pin_memory=pin)
    model = Net().to(device=device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    steps = epochs * len(train_loader)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)

    for epoch in range(epochs):
        start = time.perf_counter()
        model.train()
        for i, (inputs, labels) in enumerate(train_loader):
            inputs = inputs.to(device, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            if i % 300 == 0:
                print(f"epoch {epoch + 1} step {i:4} loss {loss.item():.4f}")
        seconds = time.perf_counter() - start

        model.eval()
        correct, seen = 0, 0
        with torch.no_grad():
            for inputs, labels in test_loader:
                outputs = model(inputs.to(device=device))
                correct += int((outputs.argmax(1) == labels.to(device=device)).sum())
                seen += len(labels)
        print(
            f"epoch {epoch + 1}: {100 * correct / seen:.2f} % of the test images, {seconds:.1f} s"
        )


if __name__ == "__main__":
    main()
