# SPDX-License-Identifier: Apache-2.0
"""All parameters as one vector, and back.

``vector_to_parameters(parameters_to_vector(model.parameters()) * 0.5, model.parameters())``
"""

from __future__ import annotations

from collections.abc import Iterable

from gradstep import _C
from gradstep._C import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The parameters, flattened and joined.

    Shape: parameters of n elements together, the vector (n).
    Raises: RuntimeError for parameters on several devices.
    """
    return _C.cat([param.reshape(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Make every parameter's data a slice of the vector.

    Shape: parameters of n elements together, the vector (n).
    Raises: TypeError if vec is no tensor; RuntimeError if it is too short.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec)}")
    start = 0
    for param in parameters:
        n = param.numel()
        param.data = vec[start : start + n].view_as(param).data
        start += n
