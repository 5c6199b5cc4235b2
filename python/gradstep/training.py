# SPDX-License-Identifier: Apache-2.0
"""`gradstep train`: a small net on digits, MNIST or Fashion-MNIST.

After every epoch all that the rest of the run depends on is written to one checkpoint, atomically:
model, optimizer, schedule, position, and the states of both random generators. So a run that was
killed and goes on with --resume ends with the weights of an uninterrupted run, bit for bit.
"""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from .datasets import ImageData, load

FORMAT = "gradstep train checkpoint 1"
MODELS = ("mlp", "cnn")


class TrainError(Exception):
    """A run cannot start or go on; the message is one line for the user."""


# ---- settings ----


@dataclass
class Settings:
    """What decides the result, kept in checkpoints (see FIXED), and where things are."""

    data: str = "digits"
    model: str = "cnn"
    epochs: int = 15
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False
    accumulate: int = 1
    seed: int = 0
    data_dir: str | None = None
    device: str = "cpu"
    threads: int | None = None
    resume: str | None = None
    out: str | None = None
    save: str | None = None
    state: dict[str, Any] | None = field(default=None, repr=False)  # the checkpoint's content

    @property
    def folder(self) -> str:
        """Where everything is written."""
        if self.out is None and self.resume is not None:
            return os.path.dirname(self.resume) or "."
        return self.out or f"gradstep-{self.data}-{self.model}"

    @property
    def checkpoint_path(self) -> str:
        """The checkpoint of this run."""
        return os.path.join(self.folder, "checkpoint.pt")

    def fixed(self) -> dict[str, Any]:
        """The settings that a resumed run shares with the run that wrote the checkpoint."""
        return {name: getattr(self, name) for name in FIXED}


FIXED = (
    "data",
    "model",
    "epochs",
    "batch_size",
    "lr",
    "momentum",
    "weight_decay",
    "nesterov",
    "accumulate",
    "seed",
)


def prepare(given: dict[str, Any]) -> Settings:
    """Settings from what was given on the command line, the checkpoint, and the defaults."""
    settings = dict(given)
    if given.get("data", "digits") != "digits":
        settings = {"epochs": 5, "batch_size": 64, **settings}
    if "resume" in given:
        state = _read_checkpoint(given["resume"])
        for name in FIXED:
            wanted, has = given.get(name), state["settings"][name]
            if wanted is not None and wanted != has:
                option = "--" + name.replace("_", "-")
                raise TrainError(f"{given['resume']} is of a run with {option} {has}, not {wanted}")
        settings = {"data_dir": state["data_dir"], **given, **state["settings"], "state": state}
    chosen = Settings(**settings)
    if chosen.nesterov and chosen.momentum == 0:
        raise TrainError("--nesterov needs a --momentum above 0")
    return chosen


# ---- checkpoints ----


def _read_checkpoint(path: str) -> dict[str, Any]:
    import pickle

    from .serialization import load as load_file

    try:
        state = load_file(path, map_location="cpu")
    except OSError as error:
        raise TrainError(f"cannot read {path}: {error.strerror or error}") from None
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise TrainError(f"{path} is no checkpoint: {error}") from None
    defaults = Settings().fixed()
    ok = isinstance(state, dict) and state.get("format") == FORMAT
    if not ok or not isinstance(state.get("settings"), dict):
        raise TrainError(f"{path} is no checkpoint of gradstep train")
    for name, value in defaults.items():
        if type(state["settings"].get(name)) is not type(value):
            raise TrainError(f"{path} is a damaged checkpoint: no {name}")
    if state["settings"]["model"] not in MODELS:
        raise TrainError(f"{path} is a damaged checkpoint: unknown model")
    parts = ("data_dir", "epoch", "net", "optimizer", "scheduler", "rng", "order", "history")
    for name in parts:
        if name not in state:
            raise TrainError(f"{path} is a damaged checkpoint: no {name}")
    return state


# ---- nets ----


def build_net(kind: str, size: int, classes: int) -> Any:
    """For grey images of size x size: `mlp` (two hidden layers) or `cnn` (two convolutions)."""
    from . import nn

    if kind == "mlp":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(size * size, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (size // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


# ---- the run ----


def _why_no_cuda() -> str:
    import gradstep

    try:
        gradstep.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error)
    return "no GPU was found"


def _device(name: str) -> Any:
    import gradstep

    try:
        device = gradstep.device(name)
    except (RuntimeError, ValueError, TypeError):
        raise TrainError(f"unknown device {name!r}; there are cpu, cuda and cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise TrainError(f"unknown device {name!r}; there are cpu, cuda and cuda:N")
    if device.type == "cuda":
        if not gradstep.cuda.is_available():
            raise TrainError(f"device {name} is not available: {_why_no_cuda()}")
        count = gradstep.cuda.device_count()
        if (device.index or 0) >= count:
            raise TrainError(f"device {name} is not available: there are {count} (from cuda:0 on)")
    elif device.index:
        raise TrainError(f"unknown device {name!r}; there are cpu, cuda and cuda:N")
    return device


class Run:
    """One training run: everything that a checkpoint has to bring back."""

    def __init__(self, settings: Settings) -> None:
        import gradstep

        from . import nn, optim
        from .utils.data import DataLoader

        s = self.settings = settings
        self.device = _device(s.device)
        if s.threads is not None:
            gradstep.set_num_threads(s.threads)
        self.data: ImageData = load(s.data, s.data_dir)
        gradstep.manual_seed(s.seed)
        self.net = build_net(s.model, self.data.size, self.data.classes).to(self.device)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = optim.SGD(
            self.net.parameters(),
            lr=s.lr,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            nesterov=s.nesterov,
        )
        group = s.batch_size * s.accumulate
        updates = s.epochs * math.ceil(len(self.data.train) / group)
        self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=updates)
        self.order = gradstep.Generator()
        self.order.manual_seed(s.seed)
        self.loader = DataLoader(
            self.data.train,
            batch_size=s.batch_size,
            shuffle=True,
            generator=self.order,
            pin_memory=self.device.type == "cuda",
        )
        self.history: list[dict[str, float]] = []
        if s.state is not None:
            self._restore(s.state)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def save_checkpoint(self) -> None:
        """All of it, atomically."""
        import gradstep

        from .serialization import save

        state: dict[str, Any] = {
            "format": FORMAT,
            "settings": self.settings.fixed(),
            "data_dir": self.settings.data_dir and os.path.abspath(self.settings.data_dir),
            "epoch": self.epoch,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": gradstep.get_rng_state(),
            "order": self.order.get_state(),
            "history": self.history,
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = gradstep.cuda.get_rng_state(self.device)
        save(state, self.settings.checkpoint_path)

    def _restore(self, state: dict[str, Any]) -> None:
        import gradstep

        path = self.settings.resume
        try:
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            gradstep.set_rng_state(state["rng"])
            self.order.set_state(state["order"])
            if self.device.type == "cuda" and "cuda_rng" in state:
                gradstep.cuda.set_rng_state(state["cuda_rng"], self.device)
            self.history = [{k: float(v) for k, v in row.items()} for row in state["history"]]
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainError(f"{path} does not fit this model: {error}") from None
        if self.epoch != state["epoch"] or self.epoch > self.settings.epochs:
            raise TrainError(f"{path} is a damaged checkpoint: its history does not fit its epoch")

    def train_epoch(self, bar: Any) -> tuple[float, float]:
        """One pass over the training data; mean loss and accuracy."""
        s = self.settings
        total = len(self.data.train)
        group = s.batch_size * s.accumulate
        loss_sum = correct = 0.0
        seen = 0
        self.net.train()
        bar.set_description(f"epoch {self.epoch + 1}/{s.epochs}", refresh=False)
        for images, labels in self.loader:
            images = images.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            output = self.net(self.data.normalize(images))
            loss = self.loss(output, labels)
            count = labels.size(0)
            start = seen - seen % group
            if s.accumulate == 1:
                loss.backward()
            else:  # the mean over the whole group, which is shorter at the end
                (loss * (count / min(group, total - start))).backward()
            seen += count
            if seen % group == 0 or seen == total:
                self.optimizer.step()
                self.optimizer.zero_grad()
                self.scheduler.step()
            value = loss.item()
            if not math.isfinite(value):
                raise TrainError(
                    f"the loss is {value} in epoch {self.epoch + 1}: try a smaller --lr"
                )
            loss_sum += value * count
            correct += (output.detach().argmax(1) == labels).sum().item()
            bar.update(count)
        return loss_sum / total, correct / total

    def evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy on the test data."""
        import gradstep

        from .utils.data import DataLoader

        loss_sum = correct = 0.0
        total = len(self.data.test)
        state = gradstep.get_rng_state()  # a loader draws a seed; testing must not change training
        self.net.eval()
        with gradstep.no_grad():
            for images, labels in DataLoader(self.data.test, batch_size=512):
                images, labels = images.to(self.device), labels.to(self.device)
                output = self.net(self.data.normalize(images))
                loss_sum += self.loss(output, labels).item() * labels.size(0)
                correct += (output.argmax(1) == labels).sum().item()
        gradstep.set_rng_state(state)
        return loss_sum / total, correct / total


class _NoBar:
    """Where there is no terminal."""

    def update(self, n: int) -> None:
        """Nothing to show."""

    def set_description(self, text: str, refresh: bool = True) -> None:
        """Nothing to show."""

    def write(self, text: str) -> None:
        print(text, flush=True)

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _bar(run: Run) -> Any:
    """A progress bar over the samples of all epochs, on a terminal."""
    if not sys.stderr.isatty():
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    size = len(run.data.train)
    return tqdm(
        total=run.settings.epochs * size,
        initial=run.epoch * size,
        unit=" samples",
        unit_scale=True,
        leave=False,
        dynamic_ncols=True,
    )


def train(settings: Settings) -> Run:
    """The whole run: trains the epochs that are left, writes all files, prints what happens."""
    from .serialization import save_safetensors

    run = Run(settings)
    os.makedirs(settings.folder, exist_ok=True)
    weights = settings.save or os.path.join(settings.folder, "model.safetensors")
    parent = os.path.dirname(weights) or "."
    if os.path.isdir(weights) or not os.path.isdir(parent):
        raise TrainError(f"cannot write {weights}: not a file name in an existing folder")
    size = sum(p.numel() for p in run.net.parameters())
    print(
        f"{settings.model} with {size:,} parameters on {settings.data}: "
        f"{len(run.data.train):,} training and {len(run.data.test):,} test images, "
        f"seed {settings.seed}, {settings.device}"
    )
    if run.epoch:
        print(f"going on after epoch {run.epoch} of {settings.epochs}")
    began = time.perf_counter()
    with _bar(run) as bar:
        while run.epoch < settings.epochs:
            start = time.perf_counter()
            train_loss, train_accuracy = run.train_epoch(bar)
            speed = len(run.data.train) / (time.perf_counter() - start)
            test_loss, test_accuracy = run.evaluate()
            run.history.append(
                {
                    "train_loss": train_loss,
                    "train_accuracy": train_accuracy,
                    "test_loss": test_loss,
                    "test_accuracy": test_accuracy,
                }
            )
            bar.write(
                f"epoch {run.epoch:>{len(str(settings.epochs))}}/{settings.epochs}  "
                f"loss {train_loss:.4f}  accuracy {train_accuracy:7.2%}  "
                f"test loss {test_loss:.4f}  test accuracy {test_accuracy:7.2%}  "
                f"{speed:,.0f} samples/s"
            )
            run.save_checkpoint()
    took = time.perf_counter() - began
    final = run.history[-1]["test_accuracy"]
    print(f"test accuracy {final:.2%} after {run.epoch} epochs ({took:.1f} s)")
    # One key only: safetensors writes several in no fixed order, and equal runs make equal files.
    run_text = f"{settings.model} on {settings.data}, test accuracy {final:.4f}"
    save_safetensors(run.net.state_dict(), weights, {"gradstep": run_text})
    print(f"weights: {weights}")
    print(f"checkpoint: {settings.checkpoint_path}")
    _draw_curve(run.history, os.path.join(settings.folder, "curve.png"))
    return run


def _draw_curve(history: list[dict[str, float]], path: str) -> None:
    """Loss and accuracy by epoch as a PNG, if matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("curve: no picture without matplotlib (pip install matplotlib)")
        return
    import io

    from .serialization import atomic_write

    epochs = range(1, len(history) + 1)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy")):
        for part, colour in (("train", "tab:blue"), ("test", "tab:orange")):
            axes.plot(
                epochs, [row[f"{part}_{name}"] for row in history], ".-", color=colour, label=part
            )
        axes.set_xlabel("epoch")
        axes.set_title(name)
        axes.legend()
        axes.grid(alpha=0.3)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    with atomic_write(path) as f:
        f.write(image.getvalue())
    print(f"curve: {path}")
