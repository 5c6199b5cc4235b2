# SPDX-License-Identifier: Apache-2.0
"""From a list of samples to a batch: `default_collate` stacks tensors, arrays and numbers,
and walks into mappings, tuples and lists; `default_convert` turns arrays into tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from gradstep import _C

_ERROR = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "SUO"


def _like_mapping(sample: Mapping, values: dict) -> Any:
    """`values` in a mapping of the sample's own type, or a dict where that cannot be made."""
    try:
        if isinstance(sample, MutableMapping):
            clone = copy.copy(sample)
            clone.update(values)
            return clone
        return type(sample)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def _like_sequence(sample: Sequence, values: list) -> Any:
    """`values` in a sequence of the sample's own type, or a list where that cannot be made."""
    try:
        if isinstance(sample, MutableSequence):
            clone = copy.copy(sample)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(sample)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def default_convert(data: Any) -> Any:
    """Arrays and numpy numbers become tensors, inside containers too; the rest stays."""
    if isinstance(data, _C.Tensor) or isinstance(data, (str, bytes)):
        return data
    if isinstance(data, np.ndarray):
        return data if _is_text(data) else _C.as_tensor(data)
    if isinstance(data, np.generic):
        return _C.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        values = [default_convert(item) for item in data]
        return type(data)(*values) if hasattr(data, "_fields") else values
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(item) for item in data])
    return data


Collate = Callable[..., Any]
CollateMap = dict[Any, Collate]


def _collate_tensors(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    return _C.stack(batch, 0)


def _collate_arrays(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    if _is_text(batch[0]):
        raise TypeError(_ERROR.format(batch[0].dtype))
    return collate([_C.as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def _collate_numpy_numbers(
    batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None
) -> Any:
    return _C.as_tensor(np.asarray(batch))


def _collate_floats(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    return _C.tensor(batch, dtype=_C.float64)


def _collate_ints(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    return _C.tensor(batch)


def _collate_text(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    return batch


default_collate_fn_map: CollateMap = {
    _C.Tensor: _collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number, np.object_): _collate_numpy_numbers,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_text,
    bytes: _collate_text,
}


def collate(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Batches samples by the function that the map has for their type (exact, then base)."""
    sample = batch[0]
    table = collate_fn_map or {}
    fn = table.get(type(sample))
    if fn is None:
        fn = next((f for types, f in table.items() if isinstance(sample, types)), None)
    if fn is not None:
        return fn(batch, collate_fn_map=collate_fn_map)

    def inner(samples: Sequence[Any]) -> Any:
        return collate(samples, collate_fn_map=collate_fn_map)

    if isinstance(sample, Mapping):
        return _like_mapping(sample, {key: inner([d[key] for d in batch]) for key in sample})
    if not isinstance(sample, Sequence):
        raise TypeError(_ERROR.format(type(sample)))
    if hasattr(sample, "_fields"):
        return type(sample)(*(inner(column) for column in zip(*batch)))
    if len(set(map(len, batch))) != 1:
        raise RuntimeError("each element in list of batch should be of equal size")
    columns = [inner(column) for column in zip(*batch)]
    return columns if isinstance(sample, tuple) else _like_sequence(sample, columns)


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of samples as one batch, with a new first dimension.

    Raises: TypeError for types that it does not know; RuntimeError where sizes or lengths differ.

    >>> default_collate([(1, 2.0), (3, 4.0)])
    [tensor([1, 3]), tensor([2., 4.], dtype=torch.float64)]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
