# SPDX-License-Identifier: Apache-2.0
"""How long PyTorch waits for other processes."""

from .distributed_c10d import default_pg_nccl_timeout, default_pg_timeout

__all__ = ["default_pg_nccl_timeout", "default_pg_timeout"]
