# SPDX-License-Identifier: Apache-2.0
"""Fold and Unfold under their older path."""

from .flatten import Fold, Unfold

__all__ = ["Fold", "Unfold"]
