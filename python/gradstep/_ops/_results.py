# SPDX-License-Identifier: Apache-2.0
"""Named results: tuples whose fields have names, as `torch.return_types` has them, and as it prints them."""

import collections
import functools
from typing import Any


def _text(self: Any) -> str:
    fields = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
    return f"{type(self).__module__}.{type(self).__name__}(\n{fields})"


@functools.cache
def _type(name: str, fields: tuple[str, ...]) -> Any:
    base = collections.namedtuple(name, fields, module="torch.return_types")  # type: ignore[misc]
    base.__repr__ = _text  # type: ignore[method-assign, assignment]
    return base


def named(name: str, **fields: Any) -> Any:
    """A tuple of the values with the fields' names."""
    return _type(name, tuple(fields))(*fields.values())
