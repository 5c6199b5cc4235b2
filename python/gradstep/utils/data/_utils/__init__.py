# SPDX-License-Identifier: Apache-2.0
"""The parts of a DataLoader, under the names that PyTorch gives their modules: samples to batches, worker processes,
pinned memory."""

from . import collate, fetch, pin_memory, worker

MP_STATUS_CHECK_INTERVAL = worker.PARENT_CHECK_SECONDS

__all__ = ["MP_STATUS_CHECK_INTERVAL", "collate", "fetch", "pin_memory", "worker"]
