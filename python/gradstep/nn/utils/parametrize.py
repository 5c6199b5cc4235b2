# SPDX-License-Identifier: Apache-2.0
"""Parametrisations: a parameter that is computed from others each time somebody reads it.

    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T
    parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())

The module gets a class of its own with a property in place of the parameter; the original ones live in
`module.parametrizations.<name>.original` (`original0`, `original1`, .. if right_inverse returns several).
"""

from __future__ import annotations

import contextlib
import copyreg
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad

from ..modules.container import ModuleDict, ModuleList
from ..modules.module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache_depth = 0
_cache: dict[tuple[int, str], Tensor | None] = {}


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Within the block each parametrised tensor is computed once."""
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if not _cache_depth:
            _cache.clear()


def _register(module: Module, name: str, tensor: Tensor | None) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _set(to: Tensor, value: Tensor) -> None:
    """Gives the tensor object other values, memory and shape; its identity stays."""
    with no_grad():
        to.data = value


def _inverted(modules: ModuleList, value: Any) -> Any:
    """What the parametrisations make the value of; those without an inverse take it as it is."""
    for module in reversed(modules):
        inverse: Any = getattr(module, "right_inverse", None)
        if inverse is not None:
            try:
                value = inverse(value)
            except NotImplementedError:
                pass
    return value


class ParametrizationList(ModuleList):
    """The parametrisations of one tensor, first one first, and the tensors that they start from."""

    original: Tensor
    unsafe: bool

    def __init__(
        self, modules: Sequence[Module], original: Tensor | Parameter, unsafe: bool = False
    ) -> None:
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new = _inverted(self, original)
        if not isinstance(new, Tensor | Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        if isinstance(new, Tensor):
            if original.dtype != new.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            # The parameter object stays the one that optimizers know.
            _set(original, new)
            _register(self, "original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                        f"Got element {i} of the sequence with type {type(part).__name__}."
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                _register(self, f"original{i}", part.requires_grad_(original.requires_grad))
        if not unsafe:
            out = self()
            if not isinstance(out, Tensor):
                raise ValueError(
                    f"A parametrization must return a tensor. Got {type(out).__name__}."
                )
            if out.dtype != dtype:
                raise ValueError(
                    "Registering a parametrization may not change the dtype of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized dtype: {dtype}\nparametrized dtype: {out.dtype}"
                )
            if out.shape != shape:
                raise ValueError(
                    "Registering a parametrization may not change the shape of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized shape: {shape}\nparametrized shape: {out.shape}"
                )

    def _originals(self) -> list[Tensor]:
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    @no_grad()
    def right_inverse(self, value: Tensor) -> None:
        """Sets the original tensors such that the parametrised one becomes value, as far as they can."""
        new: Any = value
        for module in reversed(self):
            inverse: Any = getattr(module, "right_inverse", None)
            if inverse is None:
                raise RuntimeError(
                    f"parametrization {type(module).__name__} does not implement right_inverse."
                )
            new = inverse(new)
        if self.is_tensor:
            if not isinstance(new, Tensor):
                raise ValueError(
                    f"`right_inverse` should return a tensor. Got {type(new).__name__}"
                )
            if value.dtype != new.dtype:
                raise ValueError(
                    "The tensor returned by `right_inverse` has dtype "
                    f"{new.dtype} while `value` has dtype {value.dtype}"
                )
            _set(self.original, new)
            return
        if not isinstance(new, Sequence):
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors. Got {type(new).__name__}."
            )
        if len(new) != self.ntensors:
            raise ValueError(
                "'right_inverse' must return a sequence of tensors of length "
                f"{self.ntensors}. Got a sequence of length {len(new)}."
            )
        for original, part in zip(self._originals(), new, strict=True):
            _set(original, part)

    def forward(self) -> Tensor:  # type: ignore[override]
        first, *rest = self
        out = first(*self._originals())
        for module in rest:
            out = module(out)
        return out


# ---- the property ----


def _read(module: Module, name: str) -> Any:
    table: Any = module._modules["parametrizations"]
    if not _cache_depth:
        return table[name]()
    key = id(module), name
    if _cache.get(key) is None:
        _cache[key] = table[name]()
    return _cache[key]


def _with_own_class(module: Module) -> None:
    """Gives the module a class of its own, which can take properties."""
    base = type(module)

    def getstate(self: Any) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(). See:\n"
            "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
            "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
        )

    def copy(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        replica = self.__new__(type(self))
        memo[id(self)] = replica
        replica.__dict__ = deepcopy(self.__dict__, memo)
        for slot in copyreg._slotnames(type(self)):  # type: ignore[attr-defined]
            if hasattr(self, slot):
                setattr(replica, slot, deepcopy(getattr(self, slot), memo))
        return replica

    members: dict[str, Any] = {"__getstate__": getstate}
    if not hasattr(base, "__deepcopy__"):
        members["__deepcopy__"] = copy
    module.__class__ = type(f"Parametrized{base.__name__}", (base,), members)


def _add_property(module: Module, name: str) -> None:
    def get(self: Module) -> Any:
        return _read(self, name)

    def set(self: Module, value: Tensor) -> None:
        table: Any = self._modules["parametrizations"]
        table[name].right_inverse(value)

    setattr(type(module), name, property(get, set))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Computes module.<tensor_name> by parametrization(original) from now on; returns the module.

    A right_inverse() of the parametrisation, if it has one, makes the original from the present value. Several
    registered in turn are applied in that order. unsafe=True allows another shape or dtype. ValueError for a name that
    is neither a parameter nor a buffer.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        table: Any = module.parametrizations
        chain: ParametrizationList = table[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            out = parametrization(value)
            if not isinstance(out, Tensor):
                raise ValueError(
                    f"A parametrization must return a tensor. Got {type(out).__name__}."
                )
            if out.dtype != value.dtype or out.shape != value.shape:
                what = "dtype" if out.dtype != value.dtype else "shape"
                raise ValueError(
                    f"Registering a parametrization may not change the {what} of the tensor, unless the `unsafe` flag "
                    f"is enabled.\nmodule.{tensor_name}.{what}: {getattr(value, what)}\n"
                    f"parametrization(module.{tensor_name}).{what}: {getattr(out, what)}"
                )
            inverse: Any = getattr(parametrization, "right_inverse", None)
            if inverse is not None:
                back = inverse(value)
                if not isinstance(back, Tensor):
                    raise ValueError(
                        "parametrization.right_inverse must return a tensor. "
                        f"Got: {type(back).__name__}"
                    )
                if back.dtype != value.dtype or back.shape != value.shape:
                    what = "dtype" if back.dtype != value.dtype else "shape"
                    raise ValueError(
                        f"The tensor returned by parametrization.right_inverse must have the same {what} as "
                        f"module.{tensor_name}, unless the `unsafe` flag is enabled."
                    )
        chain.append(parametrization)
        chain.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        chain = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _with_own_class(module)
            module.parametrizations = ModuleDict()
        _add_property(module, tensor_name)
        table = module.parametrizations
        table[tensor_name] = chain
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrisation (of that tensor)."""
    table = getattr(module, "parametrizations", None)
    if table is None or not isinstance(table, ModuleDict):
        return False
    return len(table) > 0 if tensor_name is None else tensor_name in table


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Makes the tensor an ordinary one again, with its present value or (leave_parametrized=False) the original."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    table: Any = module.parametrizations
    chain: ParametrizationList = table[tensor_name]
    original = chain._originals()[0]
    if chain.is_tensor:
        if leave_parametrized:
            with no_grad():
                value = getattr(module, tensor_name)
            _set(original, value)
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del table[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The module's class without what parametrisations made of it."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Copies the parametrisations of one module (of one tensor of it) and their tensors to another."""
    if not is_parametrized(from_module):
        return to_module
    source: Any = from_module.parametrizations
    names = list(source) if tensor_name is None else [tensor_name]
    for name in names:
        if not is_parametrized(to_module, name):
            if not hasattr(to_module, name):
                value: Any = getattr(from_module, name).detach().clone()
                _register(to_module, name, Parameter(value))
            for part in source[name]:
                register_parametrization(to_module, name, deepcopy(part), unsafe=True)
        target: Any = to_module.parametrizations
        for ours, theirs in zip(target[name]._originals(), source[name]._originals(), strict=True):
            _set(ours, theirs.detach().clone())
    return to_module
