# SPDX-License-Identifier: Apache-2.0
"""A table with words and numbers in it (UCI Adult): embeddings for the words, a small net says who earns above 50K.

gradstep run examples/adult.py FOLDER [--epochs 5]    # with adult-train.csv.gz and adult-test.csv.gz
python examples/adult.py FOLDER                       # the same, and the same losses, under PyTorch
"""

import argparse
import csv
import gzip
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--device", default="cpu")
options = parser.parse_args()

NUMBERS = (0, 2, 4, 10, 11, 12)  # columns: age, weight, years of education, gain, loss, hours
WORDS = (1, 3, 5, 6, 7, 8, 9, 13)


def read(part: str) -> list[list[str]]:
    with gzip.open(f"{options.folder}/adult-{part}.csv.gz", "rt") as f:
        return [row for row in csv.reader(f, skipinitialspace=True) if len(row) == 15]


class Model(nn.Module):
    def __init__(self, vocabularies: list[int]) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n + 1, 8) for n in vocabularies)
        self.numbers = nn.BatchNorm1d(len(NUMBERS))
        self.net = nn.Sequential(
            nn.Linear(8 * len(vocabularies) + len(NUMBERS), 128), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, numbers: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        columns = [e(words[:, k]) for k, e in enumerate(self.embeddings)]
        logits: torch.Tensor = self.net(torch.cat([self.numbers(numbers), *columns], dim=1))
        return logits.squeeze(1)


def tensors(rows: list[list[str]], known: list[dict[str, int]]) -> TensorDataset:
    numbers = torch.tensor([[float(row[c]) for c in NUMBERS] for row in rows])
    numbers[:, 3:5] = torch.log1p(numbers[:, 3:5])  # gains and losses span five decades
    words = torch.tensor([[k.get(row[c], 0) for c, k in zip(WORDS, known)] for row in rows])
    return TensorDataset(numbers, words, torch.tensor([float(">50K" in row[14]) for row in rows]))


def main() -> None:
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    train, test = read("train"), read("test")
    known = [{w: k + 1 for k, w in enumerate(sorted({row[c] for row in train}))} for c in WORDS]
    order = torch.Generator(options.device).manual_seed(0)
    loader = DataLoader(tensors(train, known), batch_size=256, shuffle=True, generator=order)
    model = Model([len(k) for k in known])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)

    start = time.perf_counter()
    for epoch in range(options.epochs):
        model.train()
        total = 0.0
        for numbers, words, above in loader:
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(numbers, words), above)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(above)
        print(f"epoch {epoch + 1} loss {total / len(train):.4f}")
    seconds = time.perf_counter() - start
    model.eval()
    with torch.no_grad():
        numbers, words, above = tensors(test, known).tensors
        share = ((model(numbers, words) > 0) == (above > 0.5)).float().mean().item()
    print(f"{100 * share:.2f} % of the test rows, {seconds:.1f} s")


if __name__ == "__main__":
    main()
