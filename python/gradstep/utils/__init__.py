# SPDX-License-Identifier: Apache-2.0
"""Helpers around training: `utils.data` (data sets, samplers, loaders), `utils.dlpack`."""

from . import data, dlpack

__all__ = ["data", "dlpack"]
