# SPDX-License-Identifier: Apache-2.0
"""Types that TorchScript would read: BroadcastingList2[int] is a number, or a list of two."""

from __future__ import annotations

from typing import Any


class _BroadcastingList:
    def __getitem__(self, types: Any) -> None:
        """An annotation without a meaning for Python."""


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = _BroadcastingList()
BroadcastingList4 = BroadcastingList5 = BroadcastingList6 = _BroadcastingList()
