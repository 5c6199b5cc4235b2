# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests: the number of threads that a test sets ends with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gradstep


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = gradstep.get_num_threads()
    yield
    gradstep.set_num_threads(before)
