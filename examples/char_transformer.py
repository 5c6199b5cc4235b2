# SPDX-License-Identifier: Apache-2.0
"""A small transformer learns to write text, character by character; runs under either library.

gradstep run examples/char_transformer.py [FILE.txt] [--steps 500] [--bf16] [--device cuda]
python examples/char_transformer.py                  # the same, and the same losses, under PyTorch

Without a file it reads Python's own language reference. --bf16 computes under autocast.
"""

import argparse
import contextlib
import math
import pathlib
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("file", nargs="?")
parser.add_argument("--steps", type=int, default=500)
parser.add_argument("--batch", type=int, default=12)
parser.add_argument("--layers", type=int, default=4)
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--device", default="cpu")
options = parser.parse_args()

BLOCK, WIDTH, HEADS = 64, 128, 4


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.size()
        q, k, v = (
            part.view(b, t, HEADS, c // HEADS).transpose(1, 2)
            for part in self.qkv(x).split(c, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: torch.Tensor = self.proj(y.transpose(1, 2).contiguous().view(b, t, c))
        return out


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(WIDTH), Attention()
        self.ln_2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        x = x + self.mlp(self.ln_2(x))
        return x


class Transformer(nn.Module):
    def __init__(self, vocabulary: int, layers: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Embedding(BLOCK, WIDTH)
        self.layers = nn.Sequential(*[Layer() for _ in range(layers)])
        self.ln = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocabulary)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.size(1), device=ids.device))
        logits: torch.Tensor = self.head(self.ln(self.layers(x)))
        return logits


def read_text() -> str:
    if options.file:
        return pathlib.Path(options.file).read_text(encoding="utf-8")
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def main() -> None:
    device = torch.device(options.device)
    torch.manual_seed(0)
    text = read_text()
    characters = sorted(set(text))
    code = {c: i for i, c in enumerate(characters)}
    data = torch.tensor([code[c] for c in text], device=device)
    model = Transformer(len(characters), options.layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: 0.5 * (1 + math.cos(math.pi * i / options.steps))
    )

    def precision() -> contextlib.AbstractContextManager[Any]:
        if options.bf16:
            return torch.autocast(device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    start = time.perf_counter()
    for step in range(options.steps):
        at = torch.randint(len(data) - BLOCK - 1, (options.batch,))
        batch = torch.stack([data[i : i + BLOCK + 1] for i in at.tolist()])
        inputs, targets = batch[:, :-1], batch[:, 1:]
        optimizer.zero_grad()
        with precision():
            logits = model(inputs)
            loss = F.cross_entropy(logits.view(-1, len(characters)), targets.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 100 == 0 or step == options.steps - 1:
            print(f"step {step:4} loss {loss.item():.4f}")
    print(f"{(time.perf_counter() - start) / options.steps * 1e3:.1f} ms a step")

    ids = torch.zeros(1, 1, dtype=torch.long, device=device)
    with torch.no_grad():
        for _ in range(200):
            logits = model(ids[:, -BLOCK:])[:, -1]
            ids = torch.cat([ids, torch.multinomial(F.softmax(logits, dim=-1), 1)], dim=1)
    print("".join(characters[i] for i in ids[0, 1:].tolist()))


if __name__ == "__main__":
    main()
