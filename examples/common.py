# SPDX-License-Identifier: Apache-2.0
"""Reading the files of the MNIST family, for the examples that need it."""

import gzip

import numpy as np
import numpy.typing as npt


def read_images(folder: str, part: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Images in [0, 1] of shape (n, 1, 28, 28), and labels, of part "train" or "t10k"."""
    with gzip.open(f"{folder}/{part}-images-idx3-ubyte.gz") as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(f"{folder}/{part}-labels-idx1-ubyte.gz") as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)
