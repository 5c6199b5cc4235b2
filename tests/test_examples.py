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


def words_file(folder: pathlib.Path, n: int) -> str:
    path = folder / "words.txt"
    path.write_text("\n".join(["ada", "grace", "emmy", "sofia", "mary", "alan"] * (n // 6)))
    return str(path)


def adult_folder(folder: pathlib.Path, n: int) -> str:
    """Rows in the format of UCI Adult."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        rows = []
        for _ in range(n):
            row = [
                str(rng.integers(1, 90)) if c in (0, 2, 4, 10, 11, 12) else f"w{rng.integers(4)}"
                for c in range(14)
            ]
            rows.append(", ".join([*row, rng.choice(["<=50K", ">50K"])]))
        with gzip.open(folder / f"adult-{part}.csv.gz", "wt") as f:
            f.write("\n".join(rows))
    return str(folder)


def text_file(folder: pathlib.Path) -> str:
    path = folder / "text.txt"
    path.write_text(
        "A text that has more than sixty-four characters, which is what a block takes. " * 2
    )
    return str(path)


def given(word: str, folder: pathlib.Path, n: int) -> str:
    """The argument that a word stands for, with about n samples."""
    makers = {
        "FOLDER": lambda: idx_folder(folder, n, n // 2),
        "WORDS": lambda: words_file(folder, n),
        "ADULT": lambda: adult_folder(folder, n),
        "TEXT": lambda: text_file(folder),
    }
    return makers[word]() if word in makers else word


def numbers_of(script: str, *arguments: str, library: str = "gradstep") -> list[float]:
    """What is printed after "loss", "batch:" and before "%"; not the times."""
    if script == "cartpole.py":
        pytest.importorskip("gymnasium")
    run = ["-m", "gradstep", "run"] if library == "gradstep" else []
    done = subprocess.run(
        [sys.executable, *run, str(EXAMPLES / script), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [
        float(a or b) for a, b in re.findall(r"(?:loss|batch:) (-?[\d.]+)|([\d.]+) %", done.stdout)
    ]


RUNS = {
    "accumulate.py": [],
    "adult.py": ["ADULT", "--epochs", "2"],
    "burgers.py": ["--steps", "12"],
    "cartpole.py": ["--episodes", "3"],
    "char_transformer.py": ["--steps", "4", "--layers", "1"],
    "lstm_names.py": ["WORDS", "--epochs", "1"],
    "mnist_cnn.py": ["FOLDER"],
    "vae.py": ["FOLDER", "--epochs", "1"],
    "wgan_gp.py": ["FOLDER", "--steps", "2"],
}


# Small, for an emulated GPU; how near the CPU's results are where the random numbers are the CPU's, too.
ON_A_GPU = {
    "accumulate.py": (["--steps", "2"], None),
    "adult.py": (["ADULT", "--epochs", "1"], None),
    "burgers.py": (["--steps", "2"], None),
    "char_transformer.py": (
        ["TEXT", "--steps", "2", "--layers", "1", "--batch", "2", "--bf16"],
        0.02,
    ),
    "lstm_names.py": (["WORDS", "--epochs", "1"], None),
    "mnist_cnn.py": (["FOLDER"], 2e-4),
    "vae.py": (["FOLDER", "--epochs", "1"], None),
    "wgan_gp.py": (["FOLDER", "--steps", "1", "--batch", "4"], None),
}
ON_THE_CPU = {"cartpole.py", "common.py"}


@pytest.mark.cpu_only
def test_every_example_has_its_runs() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")} - {"table.py"}
    assert set(RUNS) == scripts - {"common.py"}
    assert set(ON_A_GPU) == scripts - ON_THE_CPU


@pytest.mark.cpu_only
@pytest.mark.parametrize("script", RUNS)
def test_example_prints_what_it_prints_under_pytorch(script: str, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("torch")
    arguments = [given(a, tmp_path, 192) for a in RUNS[script]]
    ours = numbers_of(script, *arguments)
    assert len(ours) >= 2
    reference = numbers_of(script, *arguments, library="torch")
    np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=2e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("script", ON_A_GPU)
def test_example_runs_on_a_gpu(script: str, tmp_path: pathlib.Path) -> None:
    words, near = ON_A_GPU[script]
    arguments = [given(word, tmp_path, 72 if word == "WORDS" else 8) for word in words]
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
