# SPDX-License-Identifier: Apache-2.0
"""Intel's GPUs: there are none for gradstep."""

from gradstep._no_device import device_count, empty_cache, is_available, synchronize

__all__ = ["device_count", "empty_cache", "is_available", "synchronize"]
