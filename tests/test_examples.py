# SPDX-License-Identifier: Apache-2.0
"""The examples run as they are, and print the same numbers under PyTorch."""

from __future__ import annotations

import gzip
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.cpu_only  # programs of their own

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"


def idx_folder(folder: pathlib.Path) -> str:
    """A few random images in the format of the MNIST files."""
    rng = np.random.default_rng(0)
    for part, n in (("train", 192), ("t10k", 64)):
        for kind, header, shape in (("images-idx3", 16, (n, 28, 28)), ("labels-idx1", 8, (n,))):
            values = rng.integers(0, 10 if kind[0] == "l" else 256, shape, dtype=np.uint8)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as f:
                f.write(bytes(header) + values.tobytes())
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


def test_every_example_has_a_run() -> None:
    assert set(RUNS) == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("script", RUNS)
def test_example_prints_what_it_prints_under_pytorch(script: str, tmp_path: pathlib.Path) -> None:
    arguments = [idx_folder(tmp_path) if a == "FOLDER" else a for a in RUNS[script]]
    ours = numbers_of(script, *arguments)
    assert len(ours) >= 2
    np.testing.assert_allclose(ours, numbers_of(script, *arguments, "--torch"), atol=2e-4)
