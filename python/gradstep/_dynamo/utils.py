# SPDX-License-Identifier: Apache-2.0
"""What libraries ask of PyTorch's compiler."""

from __future__ import annotations

from typing import Any


def is_compile_supported(device_type: Any) -> bool:
    """Whether torch.compile works for a device type."""
    return str(device_type) in ("cpu", "cuda")
