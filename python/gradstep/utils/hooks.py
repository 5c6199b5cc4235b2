# SPDX-License-Identifier: Apache-2.0
"""The handle of a hook."""

from gradstep.nn.modules._hooks import BackwardHook, RemovableHandle

__all__ = ["BackwardHook", "RemovableHandle"]
