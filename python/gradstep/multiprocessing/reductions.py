# SPDX-License-Identifier: Apache-2.0
"""Tensors between processes: by value, or, after share_memory_(), as the same memory.

Shared memory is an anonymous file (memfd), mapped by every process that gets the tensor. A forked child has the mapping;
another process is sent the file's descriptor. Nothing has a name, so nothing is left behind.
"""

from __future__ import annotations

import mmap
import os
import weakref
from multiprocessing import reduction
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from gradstep import _C
from gradstep._C import Tensor

__all__ = ["init_reductions"]


class _Memory(mmap.mmap):
    """A mapping and its descriptor, which is closed with it."""

    fd: int


# By address. A tensor's storage holds its mapping, so an entry is there as long as the memory is in use.
_shared: weakref.WeakValueDictionary[int, _Memory] = weakref.WeakValueDictionary()


def _map(fd: int, size: int) -> tuple[_Memory, Tensor]:
    """The mapping and its bytes."""
    memory = _Memory(fd, size)
    memory.fd = fd
    weakref.finalize(memory, os.close, fd)
    data = np.frombuffer(memory, dtype=np.uint8)
    _shared[data.ctypes.data] = memory
    return memory, _C.from_numpy(data)


def _base(t: Tensor) -> int:
    """The address of the tensor's storage."""
    return int(t.data_ptr()) - t.storage_offset() * t.element_size()


def is_shared(self: Tensor) -> bool:
    """Whether the memory is shared with processes that get the tensor; CUDA's is."""
    return self.is_cuda or self.numel() > 0 and _base(self) in _shared


def share_memory(self: Tensor) -> Tensor:
    """Moves the tensor into memory that processes share; its strides stay. Tensors of CUDA stay where they are."""
    if is_shared(self) or self.numel() == 0:
        return self
    span = 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride()))
    size = span * self.element_size()
    fd = os.memfd_create("gradstep")
    os.ftruncate(fd, size)
    _, data = _map(fd, size)
    moved = data.view(self.dtype).as_strided(self.shape, self.stride())
    moved.copy_(self.detach())
    self.data = moved
    return self


def _rebuild(
    cls: Any, fd: Any, size: int, dtype: Any, shape: Any, stride: Any, offset: int, wants_grad: bool
) -> Tensor:
    _, data = _map(fd.detach(), size)
    t = data.view(dtype).as_strided(shape, stride, offset)
    if cls is not Tensor:
        return cls(t, wants_grad)  # type: ignore[no-any-return]
    return t.requires_grad_() if wants_grad else t


def _reduce(t: Tensor) -> Any:
    memory = _shared.get(_base(t)) if t.numel() and not t.is_cuda else None
    if memory is None:
        return t.__reduce_ex__(4)
    if t.requires_grad and not t.is_leaf:
        raise RuntimeError(
            "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support "
            "crossing process boundaries.  If you just want to transfer the data, call detach() on the tensor before "
            "serializing (e.g., putting it on the queue)."
        )
    fd = reduction.DupFd(memory.fd)
    shape, stride = tuple(t.shape), tuple(t.stride())
    return _rebuild, (
        type(t), fd, len(memory), t.dtype, shape, stride, t.storage_offset(), t.requires_grad
    )  # fmt: skip


def init_reductions() -> None:
    """Tells multiprocessing's pickler; it looks at the exact type only."""
    from gradstep.nn import Parameter

    ForkingPickler.register(Tensor, _reduce)
    ForkingPickler.register(Parameter, _reduce)
