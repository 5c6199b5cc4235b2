# SPDX-License-Identifier: Apache-2.0
"""Parts of the recorded graph."""

from typing import Any

from gradstep._C import Node

__all__ = ["GradientEdge", "Node", "get_gradient_edge"]


class GradientEdge(tuple):
    """Where the gradient of a tensor goes: (node, output_nr)."""

    @property
    def node(self) -> Any:
        return self[0]

    @property
    def output_nr(self) -> int:
        return self[1]


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The gradient edge of a tensor that requires grad."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require gradients"
        )
    node = tensor.grad_fn or tensor.view_as(tensor).grad_fn.next_functions[0][0]
    return GradientEdge((node, tensor.output_nr))
