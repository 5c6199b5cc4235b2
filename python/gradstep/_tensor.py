# SPDX-License-Identifier: Apache-2.0
"""The parts of Tensor that are Python: copying, pickling, formatting, types by name."""

from types import FunctionType
from typing import Any

from gradstep import _C, _ops
from gradstep._C import Tensor

_TYPE_NAMES = {
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor",
    "int64": "LongTensor",
    "int32": "IntTensor",
    "int16": "ShortTensor",
    "int8": "CharTensor",
    "uint8": "ByteTensor",
    "bool": "BoolTensor",
}


def _short(dtype: Any) -> str:
    return repr(dtype).partition(".")[2]


def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
    """The type's name, or the tensor converted to a type: `x.type(torch.float64)`, `x.type('torch.LongTensor')`."""
    if dtype is None:
        return ("torch.cuda." if self.is_cuda else "torch.") + _TYPE_NAMES[_short(self.dtype)]
    if isinstance(dtype, str):
        module, _, name = dtype.rpartition(".")
        for short, long in _TYPE_NAMES.items():
            if long == name:
                wanted = "cuda" if module.endswith(".cuda") else "cpu"
                device = self.device if self.device.type == wanted else wanted
                return self.to(device, getattr(_C, short), non_blocking)
        raise ValueError(f"invalid type: '{dtype}'")
    if isinstance(dtype, type) and hasattr(dtype, "_dtype"):
        wanted = dtype._device  # type: ignore[attr-defined]
        device = self.device if self.device.type == wanted else wanted
        return self.to(device, dtype._dtype, non_blocking)
    return self.to(dtype)


def _rebuild(
    data: bytes,
    dtype: Any,
    shape: tuple[int, ...],
    requires_grad: bool,
    device: str = "cpu",
    stride: tuple[int, ...] | None = None,
    cls: type[Tensor] = Tensor,
) -> Tensor:
    """A tensor from pickled bytes."""
    if not data:
        t = _C.empty(shape, dtype=dtype, device="cpu")
    else:
        flat = _C.frombuffer(data, dtype=dtype).clone()
        t = flat.reshape(shape) if stride is None else flat.as_strided(shape, stride)
    t = t if device == "cpu" else t.to(device)
    if cls is not Tensor:
        return Tensor._make_subclass(cls, t, requires_grad)
    return t.requires_grad_() if requires_grad else t


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A 1-d tensor that shares memory with a buffer."""
    import numpy as np

    size = dtype.itemsize
    view = memoryview(buffer).cast("B")
    if len(view) == 0:
        raise ValueError(f"both buffer length (0) and count ({count}) must not be 0")
    if not 0 <= offset < len(view):
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({len(view)} bytes) minus 1"
        )
    available = len(view) - offset
    if count < 0:
        if available % size:
            raise ValueError(
                f"buffer length ({available} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})"
            )
        count = available // size
    if count * size > available:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than actual "
            f"buffer length ({len(view)} bytes)"
        )
    raw = np.frombuffer(view, dtype=np.uint8, count=count * size, offset=offset)
    t = _C.from_numpy(raw).view(dtype)
    return t.requires_grad_() if requires_grad else t


_C.frombuffer = frombuffer


def dense(t: Tensor) -> tuple[Tensor, tuple[int, ...] | None]:
    """(its elements as a contiguous 1-d tensor, the stride that they have there or None for the plain one).

    Strides are kept where that takes no more memory than the elements: transposed and expanded tensors.
    """
    t = t.detach()
    if not t.is_contiguous() and t.numel():
        span = 1 + sum((n - 1) * step for n, step in zip(t.shape, t.stride()))
        if span <= t.numel():
            return t.as_strided((span,), (1,), t.storage_offset()), tuple(t.stride())
    return t.contiguous().reshape(-1), None


def _reduce_ex(self: Tensor, protocol: int) -> Any:
    # As in PyTorch, the history is not pickled; strides are, where that writes no more than the elements.
    flat, stride = dense(self)
    data = flat.cpu().view(_C.uint8).numpy().tobytes() if self.numel() else b""
    leaf = self.requires_grad and self.is_leaf
    made = data, self.dtype, tuple(self.shape), leaf, str(self.device), stride, type(self)
    return _rebuild, made, self.__dict__ or None


def _copied_storage(self: Tensor, memo: dict[Any, Any]) -> Tensor:
    """The bytes of the tensor's whole storage, copied once for all tensors that view it."""
    address, size = _C._storage(self)
    key = "storage", self.device, address
    if key not in memo:
        count = size // self.element_size()
        memo[key] = self.detach().as_strided((count,), (1,), 0).view(_C.uint8).clone()
    return memo[key]


def _deepcopy(self: Tensor, memo: dict[Any, Any]) -> Tensor:
    import copy

    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]
    if self.numel():
        raw = _copied_storage(self, memo)
        item = self.element_size()
        flat = raw[: raw.numel() // item * item].view(self.dtype)
        new = flat.as_strided(self.shape, self.stride(), self.storage_offset())
    else:
        new = self.detach().clone()
    if type(self) is not Tensor:
        new = Tensor._make_subclass(type(self), new, self.requires_grad)
    elif self.requires_grad:
        new.requires_grad_()
    memo[id(self)] = new
    if self.grad is not None:
        new.grad = _deepcopy(self.grad, memo)
    if self.__dict__:
        new.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return new


def _copy(self: Tensor) -> Tensor:
    out = Tensor._make_subclass(type(self), self, self.requires_grad)
    out.__dict__.update(self.__dict__)
    return out


def _make_wrapper_subclass(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Raises NotImplementedError: a tensor without memory of its own needs __torch_dispatch__."""
    raise NotImplementedError(
        "Tensor._make_wrapper_subclass is not implemented in gradstep, which has no __torch_dispatch__"
    )


def _format(self: Tensor, spec: str) -> str:
    if self.dim() == 0 and type(self) is Tensor:
        return format(self.item(), spec)
    return object.__format__(self, spec)


def _reversed(self: Tensor) -> Tensor:
    return self if self.dim() == 0 else self.flip(0)


class _Storage:
    """The memory behind a tensor, as far as scripts look at it."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor._base if tensor._base is not None else tensor

    def data_ptr(self) -> int:
        return _C._storage(self._tensor)[0]

    def nbytes(self) -> int:
        return _C._storage(self._tensor)[1]

    def size(self) -> int:
        return self.nbytes() // self._tensor.element_size()

    __len__ = size


def _apply(self: Tensor, fn: Any) -> Tensor:
    """Calls fn on every element, in place (slow)."""
    for i, v in enumerate(self.reshape(-1).tolist()):
        self.view(-1)[i] = fn(v)
    return self


def _resize_as(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """resize_() to the shape of a template."""
    return self.resize_(the_template.shape, memory_format=memory_format)


def _new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """An old constructor: `x.new(2, 3)`, `x.new([1, 2])`, of x's dtype."""
    if args and not isinstance(args[0], int):
        if isinstance(args[0], _C.Size):
            return self.new_empty(args[0], device=device)
        return self.new_tensor(args[0], device=device)
    return self.new_empty(args, device=device)


def _fill_diagonal(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Overwrites the main diagonal; with wrap, of a tall matrix, again and again below."""
    rows, cols = self.shape[0], self.shape[-1]
    if self.dim() > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step = sum(self.stride())
    self.as_strided((min(rows, cols),), (step,)).fill_(fill_value)
    if wrap and self.dim() == 2 and rows > cols + 1:
        below = -(-rows * cols // (cols + 1)) - cols
        self.as_strided(
            (below,), (step,), self.storage_offset() + self.stride(0) * (cols + 1)
        ).fill_(fill_value)
    return self


def _share_memory(self: Tensor) -> Tensor:
    """Moves the tensor into memory that processes share; returns it."""
    from gradstep.multiprocessing.reductions import share_memory

    return share_memory(self)


def _is_shared(self: Tensor) -> bool:
    """Whether the memory is shared with processes that get the tensor."""
    from gradstep.multiprocessing.reductions import is_shared

    return is_shared(self)


def _get_device(self: Tensor) -> int:
    """The index of the GPU that it lies on, -1 on the CPU."""
    return (self.device.index or 0) if self.is_cuda else -1


def _storage(self: Tensor) -> Any:
    """The memory that this tensor and its views share."""
    return _Storage(self)


def _names(self: Tensor) -> tuple[None, ...]:
    """None for each axis: axes have no names."""
    return (None,) * self.dim()


def _real(self: Tensor) -> Tensor:
    """The tensor itself: there are no complex ones."""
    return self


for _name, _value in {
    "share_memory_": _share_memory,
    "is_shared": _is_shared,
    "__rdiv__": Tensor.__rtruediv__,
    "get_device": _get_device,
    "resize_as_": _resize_as,
    "new": _new,
    "fill_diagonal_": _fill_diagonal,
    "type": _type,
    "__reduce_ex__": _reduce_ex,
    "__deepcopy__": _deepcopy,
    "__copy__": _copy,
    "__format__": _format,
    "_make_wrapper_subclass": staticmethod(_make_wrapper_subclass),
    "__reversed__": _reversed,
    "storage": _storage,
    "untyped_storage": _storage,
    "apply_": _apply,
    "__array_priority__": 1000,
    "names": property(_names),
    "real": property(_real),
    **{name: _ops.as_method(name) for name in _ops.METHODS},
    **{name + "_": _ops.as_in_place(name) for name in _ops.IN_PLACE},
}.items():
    if isinstance(_value, FunctionType):  # overrides are told this name
        _value.__name__, _value.__qualname__ = _name, f"Tensor.{_name}"
    setattr(Tensor, _name, _value)
