# SPDX-License-Identifier: Apache-2.0
"""Small worlds to train in: models, optimizers and what people put around a step, each built twice by the tests of
capture, once to run eagerly and once captured.

    world = World("gan", "adam", "clip")
    world.step(*world.batch())       # one training step, a function that may be captured
    world.bytes()                    # all that it left behind
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradstep as torch
import gradstep.nn as nn
import gradstep.nn.functional as F

# ---- comparing ----


def bytes_of(value: Any) -> Any:
    """Tensors as bytes, wherever they are in a structure; the rest as it is."""
    if isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        return tuple(value.shape), str(value.dtype), flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: bytes_of(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [bytes_of(v) for v in value]
    return value


def random_state() -> list[bytes]:
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state())
    return [bytes_of(s) for s in states]


def difference(a: Any, b: Any, path: str = "") -> str:
    """Where two structures of bytes differ first, "" if nowhere."""
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return f"{path}: keys {list(a)} and {list(b)}"
        return next(filter(None, (difference(a[k], b[k], f"{path}.{k}") for k in a)), "")
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{path}: {len(a)} and {len(b)} elements"
        pairs = enumerate(zip(a, b, strict=True))
        return next(filter(None, (difference(x, y, f"{path}[{k}]") for k, (x, y) in pairs)), "")
    return "" if type(a) is type(b) and a == b else f"{path} differs"


# ---- models: a module, what it learns from, and its losses ----


class Task:
    """`parts`: (parameters, loss) of each optimizer, in the order of their updates."""

    def __init__(self, module: nn.Module, data: Callable[[int], Any], *parts: Any) -> None:
        self.module, self.data = module, data
        self.parts = [(list(params), loss) for params, loss in parts]


def _classes(module: nn.Module, *shape: int, n: int = 3) -> Task:
    def loss(x: Any, y: Any) -> Any:
        return F.cross_entropy(module(x), y)

    def data(b: int) -> Any:
        return torch.randn(b, *shape), torch.randint(0, n, (b,))

    return Task(module, data, (module.parameters(), loss))


def mlp() -> Task:
    return _classes(
        nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)), 4
    )


def cnn() -> Task:
    return _classes(
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(12, 3),
        ),
        1,
        4,
        4,
    )


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.rnn = kind(3, 4, 2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


def lstm() -> Task:
    return _classes(Recurrent(nn.LSTM), 5, 3)


def gru() -> Task:
    return _classes(Recurrent(nn.GRU), 5, 3)


class Block(nn.Module):
    """A decoder block with causal attention, and dropout in it."""

    def __init__(self, n: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(n), nn.LayerNorm(n)
        self.qkv, self.out = nn.Linear(n, 3 * n), nn.Linear(n, n)
        self.mlp = nn.Sequential(
            nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n), nn.Dropout(0.1)
        )

    def forward(self, x: Any) -> Any:
        b, t, n = x.shape
        q, k, v = (
            part.view(b, t, self.heads, n // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(n, 2)
        )
        a = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=0.1 if self.training else 0.0
        )
        x = x + self.out(a.transpose(1, 2).reshape(b, t, n))
        return x + self.mlp(self.norm2(x))


class Characters(nn.Module):
    """Predicts the next of 5 characters; the last layer may have the embedding's weight."""

    def __init__(self, tied: bool = False, block: bool = True) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 8)
        self.places = nn.Embedding(6, 8)
        self.block = Block(8, 2) if block else nn.Tanh()
        self.head = nn.Linear(8, 5, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids: Any) -> Any:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(self.block(x))


def _characters(module: nn.Module) -> Task:
    def loss(ids: Any) -> Any:
        return F.cross_entropy(module(ids[:, :-1]).reshape(-1, 5), ids[:, 1:].reshape(-1))

    return Task(module, lambda b: (torch.randint(0, 5, (b, 7)),), (module.parameters(), loss))


def transformer() -> Task:
    return _characters(Characters())


def tied() -> Task:
    return _characters(Characters(tied=True, block=False))


def embedding() -> Task:
    """A bag of words with a padding word that has no gradient."""
    module = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Flatten(), nn.Linear(12, 3))

    def loss(ids: Any, y: Any) -> Any:
        return F.cross_entropy(module(ids), y)

    return Task(
        module,
        lambda b: (torch.randint(0, 9, (b, 3)), torch.randint(0, 3, (b,))),
        (module.parameters(), loss),
    )


def pinn() -> Task:
    """u' and u'' of a net: double backward."""
    module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

    def loss(points: Any) -> Any:
        x = points.detach().requires_grad_(True)
        u = module(x)
        (du,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
        (d2u,) = torch.autograd.grad(du, x, torch.ones_like(du), create_graph=True)
        return ((d2u + u) ** 2).mean() + (du[0] - 1).square().sum()

    return Task(module, lambda b: (torch.rand(b, 1),), (module.parameters(), loss))


def gan() -> Task:
    module = nn.ModuleDict(
        {
            "g": nn.Sequential(nn.Linear(2, 6), nn.LeakyReLU(0.2), nn.Linear(6, 3)),
            "d": nn.Sequential(
                nn.Linear(3, 6), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(6, 1)
            ),
        }
    )
    generator, discriminator = module["g"], module["d"]

    def d_loss(real: Any) -> Any:
        fake = generator(torch.randn(real.shape[0], 2)).detach()
        good, bad = discriminator(real), discriminator(fake)
        return F.binary_cross_entropy_with_logits(good, torch.ones_like(good)) + (
            F.binary_cross_entropy_with_logits(bad, torch.zeros_like(bad))
        )

    def g_loss(real: Any) -> Any:
        out = discriminator(generator(torch.randn(real.shape[0], 2)))
        return F.binary_cross_entropy_with_logits(out, torch.ones_like(out))

    return Task(
        module,
        lambda b: (torch.randn(b, 3) + 2,),
        (discriminator.parameters(), d_loss),
        (generator.parameters(), g_loss),
    )


class Shared(nn.Module):
    """One layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.again = self.inner
        self.head = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.head(torch.tanh(self.again(torch.tanh(self.inner(x)))))


def shared() -> Task:
    return _classes(Shared(), 4)


def frozen() -> Task:
    """Transfer learning: the first layers stay; the optimizer has them all the same."""
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    for p in module[0].parameters():
        p.requires_grad_(False)
    return _classes(module, 4)


MODELS: dict[str, Callable[[], Task]] = {
    f.__name__: f
    for f in (mlp, cnn, lstm, gru, transformer, pinn, gan, tied, shared, frozen, embedding)
}

# ---- optimizers ----

O = torch.optim
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: O.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: O.SGD(p, lr=0.1, momentum=0.9),
    "sgd_dampening": lambda p: O.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=1e-2),
    "sgd_nesterov": lambda p: O.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "sgd_maximize": lambda p: O.SGD(p, lr=0.001, momentum=0.5, maximize=True),
    "adam": lambda p: O.Adam(p, lr=0.01),
    "adam_amsgrad": lambda p: O.Adam(p, lr=0.01, amsgrad=True, weight_decay=1e-2),
    "adam_maximize": lambda p: O.Adam(p, lr=0.001, betas=(0.8, 0.9), maximize=True),
    "adamw": lambda p: O.AdamW(p, lr=0.01),
    "adamw_amsgrad": lambda p: O.AdamW(p, lr=0.01, amsgrad=True),
    "rmsprop": lambda p: O.RMSprop(p, lr=0.01),
    "rmsprop_centered": lambda p: O.RMSprop(p, lr=0.01, centered=True, weight_decay=1e-2),
    "rmsprop_momentum": lambda p: O.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda p: O.Adagrad(p, lr=0.1),
    "adagrad_decay": lambda p: O.Adagrad(p, lr=0.1, lr_decay=0.1, weight_decay=1e-2),
    "adadelta": lambda p: O.Adadelta(p),
    "adamax": lambda p: O.Adamax(p, lr=0.01),
    "nadam": lambda p: O.NAdam(p, lr=0.01),
    "radam": lambda p: O.RAdam(p, lr=0.01),
    "rprop": lambda p: O.Rprop(p, lr=0.01),
    "asgd": lambda p: O.ASGD(p, lr=0.01),
    "adafactor": lambda p: O.Adafactor(p, lr=0.05, weight_decay=1e-2),
    "muon": lambda p: O.Muon([q for q in p if q.ndim == 2], lr=0.02),
    "groups": lambda p: O.AdamW(
        [{"params": p[:1], "lr": 0.1, "weight_decay": 0.0}, {"params": p[1:]}], lr=0.01
    ),
}

EXTRAS = (
    "none",
    "scheduler",
    "one_cycle",
    "accumulate",
    "clip_norm",
    "clip_value",
    "ema",
    "zeroed",
)


def _scheduler(optimizer: Any, extra: str) -> Any:
    if extra == "scheduler":
        return O.lr_scheduler.StepLR(optimizer, 3, 0.5)
    momentum = "momentum" in optimizer.defaults or "betas" in optimizer.defaults
    return O.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.05, total_steps=40, cycle_momentum=momentum
    )


class World:
    """A task, its optimizers, and what happens around a step."""

    def __init__(self, model: str, optimizer: str, extra: str = "none") -> None:
        torch.manual_seed(0)
        self.task = MODELS[model]()
        self.extra = extra
        self.optimizers = [OPTIMIZERS[optimizer](params) for params, _ in self.task.parts]
        schedules = extra in ("scheduler", "one_cycle")
        self.schedulers = [_scheduler(o, extra) for o in self.optimizers] if schedules else []
        self.ema = (
            [p.detach().clone() for p in self.task.module.parameters()] if extra == "ema" else []
        )
        self.size = 8 if extra == "accumulate" else 4

    def batch(self) -> Any:
        """Fresh data, out of the random stream that dropout draws from."""
        return self.task.data(self.size)

    def step(self, *batch: Any) -> Any:
        losses = []
        n = 4 if self.extra == "accumulate" else 1
        for optimizer, (params, loss_of) in zip(self.optimizers, self.task.parts, strict=True):
            optimizer.zero_grad(set_to_none=self.extra != "zeroed")
            for micro in zip(*(t.chunk(n) for t in batch), strict=True):
                loss = loss_of(*micro) / n
                loss.backward()
                losses.append(loss)
            if self.extra == "clip_norm":
                losses.append(nn.utils.clip_grad_norm_(params, 0.5))
            elif self.extra == "clip_value":
                nn.utils.clip_grad_value_(params, 0.01)
            optimizer.step()
        with torch.no_grad():
            for average, p in zip(self.ema, self.task.module.parameters(), strict=bool(self.ema)):
                average.mul_(0.9).add_(p, alpha=0.1)
        return losses

    def after(self) -> None:
        for scheduler in self.schedulers:
            scheduler.step()

    def tensors(self) -> Iterator[Any]:
        yield from self.task.module.parameters()
        yield from self.task.module.buffers()
        yield from self.ema

    def bytes(self) -> dict[str, Any]:
        return {
            "weights": bytes_of(list(self.task.module.parameters())),
            "gradients": bytes_of([p.grad for p in self.task.module.parameters()]),
            "buffers": bytes_of(list(self.task.module.buffers())),
            "ema": bytes_of(self.ema),
            "optimizers": bytes_of([o.state_dict() for o in self.optimizers]),
            "random": random_state(),
        }
