# SPDX-License-Identifier: Apache-2.0
"""Steps that threads share (cpp/graph/team.cpp) have the bits of the eager ones: every op, and whole trainings, with
three threads and no stretch too short."""

import pytest

import gradstep as gs

pytest.importorskip("torch")

from test_capture import *  # noqa: E402, F403
from test_capture_ops import *  # noqa: E402, F403

pytestmark = [pytest.mark.cpu_only, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def teams():
    threads, least = gs.get_num_threads(), gs._C._team_least(0.0)
    gs.set_num_threads(3)
    yield
    gs.set_num_threads(threads)
    gs._C._team_least(least)
