# SPDX-License-Identifier: Apache-2.0
"""What may compute ``F.scaled_dot_product_attention``:

with sdpa_kernel(SDPBackend.MATH):
    y = F.scaled_dot_product_attention(q, k, v)
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from contextlib import AbstractContextManager

from gradstep.backends import cuda


class SDPBackend(enum.IntEnum):
    """CUDNN_ATTENTION is cuDNN, on a GPU; FLASH_ATTENTION and EFFICIENT_ATTENTION are the same kernels of our own, on
    the CPU too; MATH is composed of other operations. By default all are allowed, the first that can is taken."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


def sdpa_kernel(
    backends: SDPBackend | Iterable[SDPBackend], set_priority: bool = False
) -> AbstractContextManager[dict[str, bool]]:
    """Allows these backends and no other within the context. There is one order: set_priority changes nothing."""
    allowed = {backends} if isinstance(backends, SDPBackend) else set(backends)
    if not all(isinstance(backend, SDPBackend) for backend in allowed):
        raise TypeError("sdpa_kernel(): expected SDPBackend or a list of SDPBackend")
    return cuda.sdp_kernel(
        enable_flash=SDPBackend.FLASH_ATTENTION in allowed,
        enable_math=SDPBackend.MATH in allowed,
        enable_mem_efficient=SDPBackend.EFFICIENT_ATTENTION in allowed,
        enable_cudnn=SDPBackend.CUDNN_ATTENTION in allowed,
    )
