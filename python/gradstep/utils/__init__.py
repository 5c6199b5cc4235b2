# SPDX-License-Identifier: Apache-2.0
"""Helpers around training: `utils.data` (data sets, samplers, loaders)."""

from . import data

__all__ = ["data"]
