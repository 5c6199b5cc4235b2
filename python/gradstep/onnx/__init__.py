# SPDX-License-Identifier: Apache-2.0
"""torch.onnx without an exporter: what libraries say to it while they are imported or ask of it while they run."""

from __future__ import annotations

from typing import Any

from . import symbolic_helper as symbolic_helper, symbolic_opset11 as symbolic_opset11

__all__ = ["is_in_onnx_export", "register_custom_op_symbolic", "unregister_custom_op_symbolic"]


def is_in_onnx_export() -> bool:
    """False: nothing is exported."""
    return False


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int) -> None:
    """Accepted: it would tell the exporter how to write an operator."""


def unregister_custom_op_symbolic(symbolic_name: str, opset_version: int) -> None:
    """Accepted."""
