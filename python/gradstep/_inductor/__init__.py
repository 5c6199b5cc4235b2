# SPDX-License-Identifier: Apache-2.0
"""Settings of PyTorch's code generator."""

from . import config

__all__ = ["config"]
