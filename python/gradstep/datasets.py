# SPDX-License-Identifier: Apache-2.0
"""The data sets of `gradstep train`: the digits inside the package, and MNIST's file format.

    data = load("mnist", "folder/with/idx/files")
    data.train        # TensorDataset of uint8 images [N, 1, H, W] and int64 labels [N]

Whatever is wrong with a file raises DataError with one line that names the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

NAMES = ("digits", "mnist", "fashion-mnist")

# Mean and standard deviation of the training pixels, as parts of the largest value.
_SCALES = {
    "digits": (16.0, 0.3058, 0.3764),
    "mnist": (255.0, 0.1307, 0.3081),
    "fashion-mnist": (255.0, 0.2860, 0.3530),
}
_MAX_INFLATION = 1032  # what deflate can reach: no honest .gz holds more than this times its size


class DataError(Exception):
    """A data set cannot be read; the message is one line for the user."""


@dataclass
class ImageData:
    """Training and test images; `normalize` makes floats of them, batch by batch."""

    name: str
    train: Any
    test: Any
    size: int
    classes: int

    def normalize(self, images: Any) -> Any:
        """uint8 pixels as floats with mean 0 and standard deviation 1."""
        largest, mean, std = _SCALES[self.name]
        return images.float().sub_(mean * largest).div_(std * largest)


def load(name: str, folder: str | None = None) -> ImageData:
    """One of NAMES; `folder` has the four IDX files of mnist or fashion-mnist."""
    if name == "digits":
        train, test = _digits()
        return _pack(name, train, test)
    if name not in NAMES:
        raise DataError(f"unknown data set {name!r}; there are {', '.join(NAMES)}")
    if folder is None:
        raise DataError(
            f"--data {name} needs --data-dir FOLDER with the original files "
            "(train-images-idx3-ubyte.gz and the three others)"
        )
    if not os.path.isdir(folder):
        raise DataError(f"no such folder: {folder}")
    return _pack(name, _idx_pair(folder, name, "train"), _idx_pair(folder, name, "t10k"))


def _pack(name: str, train: tuple[Any, Any], test: tuple[Any, Any]) -> ImageData:
    from gradstep import _C

    from .utils.data import TensorDataset

    def tensors(images: Any, labels: Any) -> TensorDataset:
        return TensorDataset(
            _C.from_numpy(images).unsqueeze(1), _C.from_numpy(labels.astype("int64"))
        )

    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(f"{name}: training and test images differ in size")
    size = train[0].shape[1]
    return ImageData(name, tensors(*train), tensors(*test), size, classes=10)


# ---- digits ----


def _digits() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Every fifth image is for testing: writers follow each other in this order."""
    import zipfile
    import zlib

    import numpy as np

    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "digits.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged installation ({error})") from None
    test = np.arange(len(images)) % 5 == 4
    return (images[~test], labels[~test]), (images[test], labels[test])


# ---- IDX ----


def _find(folder: str, name: str, stem: str) -> str:
    """The file in `folder`, in its part named like the data set, or where torchvision puts it."""
    tried = [folder, os.path.join(folder, name)]
    raw = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name]
    tried.append(os.path.join(folder, raw, "raw"))
    for place in tried:
        for file in (stem, stem.replace("-idx", ".idx")):
            for path in (os.path.join(place, file + ".gz"), os.path.join(place, file)):
                if os.path.isfile(path):
                    return path
    raise DataError(f"no {stem}.gz (or without .gz) in {folder}")


def _idx_pair(folder: str, name: str, part: str) -> tuple[Any, Any]:
    image_path = _find(folder, name, f"{part}-images-idx3-ubyte")
    label_path = _find(folder, name, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(image_path, 3), read_idx(label_path, 1)
    if len(images) != len(labels):
        raise DataError(f"{label_path}: {len(labels)} labels for {len(images)} images")
    if images.shape[1] != images.shape[2] or images.shape[1] < 4:
        height, width = images.shape[1:]
        raise DataError(f"{image_path}: images of {height}x{width}, expected squares from 4x4 on")
    if labels.max() > 9:
        raise DataError(f"{label_path}: label {labels.max()}, expected 0 to 9")
    return images, labels


def read_idx(path: str, dims: int) -> Any:
    """The bytes of an IDX file (.gz or not) as a numpy array of `dims` dimensions.

    The header is big-endian: 0, 0, 8 (unsigned byte), the number of dimensions, then each size.
    """
    import gzip
    import zlib

    import numpy as np

    try:
        limit = os.path.getsize(path)
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        limit *= _MAX_INFLATION if zipped else 1
        with gzip.open(path, "rb") if zipped else open(path, "rb") as f:
            header = f.read(4 + 4 * dims)
            if len(header) < 4 + 4 * dims:
                raise DataError(f"{path}: too short for an IDX header")
            if header[:4] != bytes((0, 0, 8, dims)):
                raise DataError(
                    f"{path}: not an IDX file of bytes with {dims} dimensions "
                    f"(it starts with {header[:4].hex()})"
                )
            shape = [int.from_bytes(header[i : i + 4], "big") for i in range(4, 4 + 4 * dims, 4)]
            size = 1
            for n in shape:
                size *= n
            told = "x".join(map(str, shape))
            if size == 0:
                raise DataError(f"{path}: its header says {told}: empty")
            if size > limit:
                raise DataError(f"{path}: its header says {told}, more than the file can hold")
            data = bytearray(size)
            have = 0
            while have < size and (n := f.readinto(memoryview(data)[have:])):  # type: ignore[attr-defined]
                have += n
            if have < size:
                raise DataError(f"{path}: its header says {told}, but there are only {have} bytes")
            if f.read(1):
                raise DataError(f"{path}: its header says {told}, but there are more bytes")
    except EOFError:
        raise DataError(f"{path}: truncated") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
