# SPDX-License-Identifier: Apache-2.0
"""Versions, with the names that PyTorch's torch.version has."""

from gradstep import __version__

cuda = None
hip = None
debug = False
git_version = "unknown"

__all__ = ["__version__", "cuda", "debug", "git_version", "hip"]
