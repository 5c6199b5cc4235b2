# SPDX-License-Identifier: Apache-2.0
"""Versions, with the names that PyTorch's torch.version has."""

from __future__ import annotations

from gradstep import _C, __version__

_build = _C._cuda_build()
cuda: str | None = _build[0] if _build else None  # of the compiler; None in a build without CUDA
hip = None
debug = False
git_version = "unknown"

__all__ = ["__version__", "cuda", "debug", "git_version", "hip"]
