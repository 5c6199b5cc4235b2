# SPDX-License-Identifier: Apache-2.0
"""The examples run as they are, print the same numbers under PyTorch, and run on a GPU."""

from __future__ import annotations

import gzip
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"


def idx_folder(folder: pathlib.Path, n_train: int, n_test: int) -> str:
    """Random images in the format of the MNIST files."""
    rng = np.random.default_rng(0)
    for part, n in (("train", n_train), ("t10k", n_test)):
        for kind, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            values = rng.integers(0, 10 if kind[0] == "l" else 256, shape, dtype=np.uint8)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as f:
                header = bytes((0, 0, 8, len(shape))) + b"".join(
                    k.to_bytes(4, "big") for k in shape
                )
                f.write(header + values.tobytes())
    return str(folder)


def numbers_of(script: str, *arguments: str) -> list[float]:
    """What is printed after "loss", "batch:" and before "%"; not the times."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [
        float(a or b) for a, b in re.findall(r"(?:loss|batch:) ([\d.]+)|([\d.]+) %", done.stdout)
    ]


RUNS = {
    "accumulate.py": [],
    "burgers.py": ["--steps", "12"],
    "char_transformer.py": ["--steps", "4", "--layers", "1"],
    "mnist_cnn.py": ["FOLDER"],
}


# Small, for an emulated GPU; how near the CPU's results are where the random numbers are the CPU's, too.
ON_A_GPU = {
    "accumulate.py": (["--steps", "2"], None),
    "burgers.py": (["--steps", "2"], None),
    "char_transformer.py": (
        ["TEXT", "--steps", "2", "--layers", "1", "--batch", "2", "--bf16"],
        0.02,
    ),
    "mnist_cnn.py": (["FOLDER"], 2e-4),
}


@pytest.mark.cpu_only
def test_every_example_has_its_runs() -> None:
    assert set(RUNS) == set(ON_A_GPU) == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.cpu_only
@pytest.mark.parametrize("script", RUNS)
def test_example_prints_what_it_prints_under_pytorch(script: str, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("torch")
    arguments = [idx_folder(tmp_path, 192, 64) if a == "FOLDER" else a for a in RUNS[script]]
    ours = numbers_of(script, *arguments)
    assert len(ours) >= 2
    np.testing.assert_allclose(ours, numbers_of(script, *arguments, "--torch"), atol=2e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("script", ON_A_GPU)
def test_example_runs_on_a_gpu(script: str, tmp_path: pathlib.Path) -> None:
    words, near = ON_A_GPU[script]
    text = tmp_path / "text.txt"
    text.write_text(
        "A text that has more than sixty-four characters, which is what a block takes. " * 2
    )
    given = {"FOLDER": idx_folder(tmp_path, 8, 4), "TEXT": str(text)}
    arguments = [given.get(word, word) for word in words]
    numbers = numbers_of(script, *arguments, "--device", "cuda")
    assert len(numbers) >= 2 and np.isfinite(numbers).all()
    if near:
        np.testing.assert_allclose(
            numbers, numbers_of(script, *arguments, "--device", "cpu"), atol=near
        )


def trained(folder: pathlib.Path, *arguments: str) -> list[float]:
    """The losses of the last line about an epoch that `gradstep train` prints."""
    command = [sys.executable, "-m", "gradstep", "train", "--out", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [float(x) for x in re.findall(r"loss ([\d.]+)", done.stdout)][-2:]


@pytest.mark.cuda
def test_gradstep_train_on_a_gpu(tmp_path: pathlib.Path) -> None:
    mlp = ["--model", "mlp", "--epochs", "2", "--batch-size", "256"]
    gpu = trained(tmp_path / "gpu", *mlp, "--device", "cuda")
    np.testing.assert_allclose(gpu, trained(tmp_path / "cpu", *mlp), rtol=2e-3)
    whole = (tmp_path / "gpu" / "model.safetensors").read_bytes()
    trained(tmp_path / "again", *mlp, "--device", "cuda:0")  # the same bits
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == whole
    # From the checkpoint, on the device that it names.
    assert trained(tmp_path / "gpu", "--resume", str(tmp_path / "gpu" / "checkpoint.pt")) == []
    images = idx_folder(tmp_path, 16, 8)
    cnn = ["--data", "mnist", "--data-dir", images, "--epochs", "1", "--batch-size", "8"]
    gpu = trained(tmp_path / "cnn_gpu", *cnn, "--device", "cuda")
    np.testing.assert_allclose(gpu, trained(tmp_path / "cnn_cpu", *cnn), rtol=2e-3)
