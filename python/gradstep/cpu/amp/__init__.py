# SPDX-License-Identifier: Apache-2.0
"""The old names of gradstep.amp for the CPU; each warns, as in PyTorch."""

from gradstep import _C
from gradstep.amp._old_names import old_names

__all__ = ["GradScaler", "autocast"]

autocast, GradScaler = old_names("cpu", _C.bfloat16)
