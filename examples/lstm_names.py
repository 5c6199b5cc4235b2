# SPDX-License-Identifier: Apache-2.0
"""An LSTM learns to write words, letter by letter, from a file with one word a line (first names, for example).

gradstep run examples/lstm_names.py FILE.txt [--epochs 3]
python examples/lstm_names.py FILE.txt                      # the same, and the same losses, under PyTorch
"""

import argparse
import pathlib
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--device", default="cpu")
options = parser.parse_args()

END, BATCH, WIDTH = 0, 64, 128


class Model(nn.Module):
    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, 32)
        self.lstm = nn.LSTM(32, WIDTH, num_layers=2, batch_first=True)
        self.head = nn.Linear(WIDTH, letters)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(
            self.embedding(ids), lengths, batch_first=True, enforce_sorted=False
        )
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        logits: torch.Tensor = self.head(out)
        return logits


def loss_of(model: Model, words: list[torch.Tensor]) -> torch.Tensor:
    """The mean cross-entropy of the next letter; END comes before and after each word."""
    lengths = torch.tensor([len(w) - 1 for w in words], device="cpu")
    ids = pad_sequence([w[:-1] for w in words], batch_first=True)
    targets = pad_sequence([w[1:] for w in words], batch_first=True, padding_value=-100)
    return F.cross_entropy(model(ids, lengths).flatten(0, 1), targets.flatten())


def sample(model: Model, letters: str) -> str:
    """One word, letter by letter."""
    word, state = [END], None
    while len(word) < 20:
        x = model.embedding(torch.tensor([[word[-1]]]))
        out, state = model.lstm(x, state)
        word.append(int(torch.multinomial(F.softmax(model.head(out[0, -1]), dim=0), 1)))
        if word[-1] == END:
            break
    return "".join(letters[k - 1] for k in word if k != END)


def main() -> None:
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    lines = pathlib.Path(options.file).read_text().split()
    letters = "".join(sorted(set("".join(lines))))
    words = [torch.tensor([END, *(letters.index(c) + 1 for c in w), END]) for w in lines]
    order = torch.randperm(len(words), device="cpu").tolist()
    cut = len(words) // 10
    test, train = [words[k] for k in order[:cut]], [words[k] for k in order[cut:]]
    model = Model(len(letters) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    n_batches = len(train) // BATCH
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=options.epochs * n_batches
    )

    start = time.perf_counter()
    for epoch in range(options.epochs):
        for step in range(n_batches):
            optimizer.zero_grad()
            loss = loss_of(model, train[step * BATCH : (step + 1) * BATCH])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            if step % 150 == 0:
                print(f"epoch {epoch + 1} step {step:4} loss {loss.item():.4f}")
    seconds = time.perf_counter() - start
    model.eval()
    with torch.no_grad():
        print(f"test loss {loss_of(model, test[:2000]).item():.4f}, {seconds:.1f} s")
        print("it writes: " + " ".join(sample(model, letters) for _ in range(8)))


if __name__ == "__main__":
    main()
