# SPDX-License-Identifier: Apache-2.0
"""PixelShuffle under its older path."""

from .flatten import PixelShuffle, PixelUnshuffle

__all__ = ["PixelShuffle", "PixelUnshuffle"]
