# SPDX-License-Identifier: Apache-2.0
"""Parameter and Buffer: tensors that a Module finds by itself when they are assigned to it.

``self.weight = Parameter(gs.empty(2, 3))`` registers the tensor under the name ``weight``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gradstep import _C
from gradstep._C import Tensor


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any = None) -> Parameter:
    return Parameter(data, requires_grad)


def _rebuild_buffer(data: Tensor, requires_grad: bool, persistent: bool) -> Buffer:
    buffer: Any = Buffer(data, persistent=persistent)
    return buffer.requires_grad_() if requires_grad else buffer


def _has_class_of_its_own(data: Any) -> bool:
    """Whether it is an object of a subclass that overrides functions, which Parameter and Buffer do not."""
    override = getattr(type(data), "__torch_function__", None)
    return type(data) is not Tensor and override is not _C._disabled_torch_function_impl


def _marked(data: Tensor, requires_grad: bool, name: str) -> Any:
    """data of a class of its own, without history: an object of that class that counts as a parameter or a buffer."""
    made: Any = data.detach().requires_grad_(requires_grad)
    if type(made) is not type(data):
        raise RuntimeError(
            f"Creating a {name} from an instance of type {type(data).__name__} requires that detach() returns an "
            f"instance of the same type, but return type {type(made).__name__} was found instead. To use the type as "
            f"a {name}, please correct the detach() semantics defined by its __torch_dispatch__() implementation."
        )
    return made


class Parameter(Tensor, metaclass=_C._MarkedMeta):
    """Parameter(data=None, requires_grad=True)

    A tensor that becomes a parameter of the module that it is assigned to. Of a subclass of Tensor it is an object of
    that class, for which isinstance(p, Parameter) is true.

        >>> Parameter(gs.zeros(2)).requires_grad
        True
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = _C.empty(0)
        if _has_class_of_its_own(data):
            made = _marked(data, requires_grad, "Parameter")
            made._is_param = True
            return made
        return Tensor._make_subclass(cls, data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        pass

    _mark = "_is_param"
    __torch_function__ = _C._disabled_torch_function_impl

    def __repr__(self, **kwargs: Any) -> str:
        return "Parameter containing:\n" + Tensor.__repr__(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        key = id(self)
        if key in memo:
            return memo[key]
        result = type(self)(self.data.clone(), self.requires_grad)
        memo[key] = result
        return result

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild_parameter, (self.detach(), self.requires_grad)


class Buffer(Tensor, metaclass=_C._MarkedMeta):
    """Buffer(data=None, *, persistent=True)

    A tensor that becomes a buffer of the module that it is assigned to.

        >>> Buffer(gs.zeros(2), persistent=False).persistent
        False
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = _C.empty(0)
        if _has_class_of_its_own(data):
            buffer = _marked(data, data.requires_grad, "Buffer")
            buffer._is_buffer = True
        else:
            buffer = Tensor._make_subclass(cls, data, data.requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    _mark = "_is_buffer"
    __torch_function__ = _C._disabled_torch_function_impl

    def __repr__(self, **kwargs: Any) -> str:
        return "Buffer containing:\n" + Tensor.__repr__(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        key = id(self)
        if key in memo:
            return memo[key]
        result = _rebuild_buffer(self.data.clone(), self.requires_grad, self.persistent)
        memo[key] = result
        return result

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild_buffer, (self.detach(), self.requires_grad, self.persistent)


# ---- parameters whose shape is not known yet ----

_FACTORY_KEYS = ("device", "dtype")


class _Uninitialized:
    """What a lazy parameter and a lazy buffer share; the class changes when the shape comes."""

    cls_to_become: ClassVar[type]

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Allocate the tensor with this shape and turn into an ordinary parameter or buffer."""
        device = self.data.device if device is None else device
        dtype = self.data.dtype if dtype is None else dtype
        self.data = _C.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def share_memory_(self) -> Any:
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to "
            "initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self, **kwargs: Any) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """UninitializedParameter(requires_grad=True, device=None, dtype=None)

    A parameter whose shape the first forward pass decides.
    """

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        data = _C.empty(0, device=device, dtype=dtype)
        return Tensor._make_subclass(cls, data, requires_grad)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        key = id(self)
        if key not in memo:
            memo[key] = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        return memo[key]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self.requires_grad, self.data.device, self.data.dtype)


class UninitializedBuffer(_Uninitialized, Buffer):
    """UninitializedBuffer(requires_grad=False, device=None, dtype=None)

    A buffer whose shape the first forward pass decides.
    """

    cls_to_become = Buffer

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        data = _C.empty(0, device=device, dtype=dtype)
        buffer = Tensor._make_subclass(cls, data, requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


def is_lazy(param: Any) -> bool:
    """True for a parameter or buffer that has no shape yet."""
    return isinstance(param, _Uninitialized)
