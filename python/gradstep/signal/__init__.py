# SPDX-License-Identifier: Apache-2.0
"""`torch.signal`: window functions."""

from gradstep.signal import windows

__all__ = ["windows"]
