# SPDX-License-Identifier: Apache-2.0
"""Decorators of functions that an exporter would call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def parse_args(*arg_descriptors: str) -> Callable[[_T], _T]:
    """A decorator that leaves the function as it is."""
    return lambda fn: fn
