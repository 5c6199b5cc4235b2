# SPDX-License-Identifier: Apache-2.0
"""Named results: tuples whose fields have names, as `torch.return_types` has them."""

import collections
import functools
from typing import Any


@functools.cache
def _type(name: str, fields: tuple[str, ...]) -> Any:
    return collections.namedtuple(name, fields)  # type: ignore[misc]


def named(name: str, **fields: Any) -> Any:
    """A tuple of the values with the fields' names."""
    return _type(name, tuple(fields))(*fields.values())
