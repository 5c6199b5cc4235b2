# SPDX-License-Identifier: Apache-2.0
"""Versions that compare as versions: `TorchVersion("2.13.0") >= "2.2"`, also with tuples of numbers."""

from __future__ import annotations

import re
from typing import Any

API = "2.13.0"  # the release of PyTorch whose names and behaviour gradstep has


def _parts(version: Any) -> tuple[int, ...]:
    """The numbers of a release: "2.13.0+cpu" is (2, 13)."""
    if isinstance(version, str):
        found = re.match(r"\s*v?(\d+(?:\.\d+)*)", version)
        if found is None:
            raise ValueError(f"Invalid version: {version!r}")
        numbers = [int(n) for n in found[1].split(".")]
    else:
        numbers = [int(n) for n in version]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


class TorchVersion(str):
    """A string whose comparisons are those of releases; suffixes such as "+cpu" do not count.

    >>> TorchVersion("2.13.0") > "2.2", TorchVersion("2.13.0") >= (2, 13)
    (True, True)
    """

    def _compared(self, other: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return _parts(self), _parts(other)

    def __lt__(self, other: Any) -> bool:
        a, b = self._compared(other)
        return a < b

    def __le__(self, other: Any) -> bool:
        a, b = self._compared(other)
        return a <= b

    def __gt__(self, other: Any) -> bool:
        a, b = self._compared(other)
        return a > b

    def __ge__(self, other: Any) -> bool:
        a, b = self._compared(other)
        return a >= b

    def __eq__(self, other: Any) -> bool:
        try:
            a, b = self._compared(other)
        except (TypeError, ValueError):
            return str.__eq__(self, other)
        return a == b

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = str.__hash__
