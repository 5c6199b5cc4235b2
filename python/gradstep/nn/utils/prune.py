# SPDX-License-Identifier: Apache-2.0
"""Pruning: a parameter `weight` becomes `weight_orig` times the buffer `weight_mask`, computed before each forward pass.

    l1_unstructured(layer, "weight", amount=0.3)    # the 30 % of smallest size are held at zero
    remove(layer, "weight")                         # the product becomes the parameter for good

Pruning a parameter again prunes what is left of it.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from gradstep import _C
from gradstep._C import Tensor

from ..modules.module import Module

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


# ---- how much ----


def _check_amount(amount: Any) -> None:
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    whole = isinstance(amount, numbers.Integral)
    if float(amount) < 0 or (not whole and float(amount) > 1.0):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
        )


def _count(amount: Any, size: int) -> int:
    """`amount` of `size` things: a number of them, or a part."""
    if not isinstance(amount, numbers.Integral):
        return round(amount * size)
    if int(amount) > size:
        raise ValueError(
            f"amount={amount} should be smaller than the number of parameters to prune={size}"
        )
    return int(amount)


def _check_structured(t: Tensor, dim: int) -> None:
    if t.dim() <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
            f"{t.shape} with {t.dim()} dims"
        )
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


def _without(mask: Tensor, channels: Tensor, dim: int) -> Tensor:
    """The mask with these channels of axis `dim` at zero."""
    return mask.clone().index_fill_(dim, channels, 0)


# ---- methods ----


class BasePruningMethod(ABC):
    """A way to choose what is pruned: `compute_mask(t, default_mask)` gives a mask of t's shape, zero where t is pruned.

    PRUNING_TYPE says what the next pruning of the same parameter is chosen from: the "unstructured" elements or the
    "structured" channels that are left, or "global"ly.
    """

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        """Before a forward pass: the product of parameter and mask becomes the attribute."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of t, given the mask it has."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask."""
        name = self._tensor_name
        mask, original = getattr(module, f"{name}_mask"), getattr(module, f"{name}_orig")
        return mask.to(original.dtype) * original

    @classmethod
    def apply(
        cls,
        module: Module,
        name: str,
        *args: Any,
        importance_scores: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Prunes the module's parameter `name` by this method, made with the other arguments."""
        made = cls(*args, **kwargs)
        made._tensor_name = name
        earlier = [
            (key, hook)
            for key, hook in module._forward_pre_hooks.items()
            if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
        ]
        method: BasePruningMethod = made
        if earlier:
            if len(earlier) != 1:
                raise AssertionError(
                    f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a "
                    "PruningContainer."
                )
            key, hook = earlier[0]
            del module._forward_pre_hooks[key]
            method = hook if isinstance(hook, PruningContainer) else PruningContainer(hook)
            method.add_pruning_method(made)
        original = getattr(module, name)
        if importance_scores is None:
            scores = original
        else:
            if importance_scores.shape != original.shape:
                raise AssertionError(
                    f"importance_scores should have the same shape as parameter {name} of {module}"
                )
            scores = importance_scores
        before = (
            getattr(module, f"{name}_mask").detach().clone(memory_format=_C.contiguous_format)
            if earlier
            else _C.ones_like(original)
        )
        # A failure leaves the module as it was: only now does it change.
        try:
            mask = method.compute_mask(scores, default_mask=before)
        except BaseException:
            if earlier:
                module._forward_pre_hooks[earlier[0][0]] = earlier[0][1]
                if isinstance(earlier[0][1], PruningContainer):
                    method._pruning_methods = method._pruning_methods[:-1]  # type: ignore[attr-defined]
            raise
        if not earlier:
            module.register_parameter(f"{name}_orig", original)
            del module._parameters[name]
        module.register_buffer(f"{name}_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self,
        t: Tensor,
        default_mask: Tensor | None = None,
        importance_scores: Tensor | None = None,
    ) -> Tensor:
        """t with what this method chooses at zero; no module is touched."""
        if importance_scores is not None and importance_scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        before = _C.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(t if importance_scores is None else importance_scores, before)

    def remove(self, module: Module) -> None:
        """The pruned values become the parameter again."""
        name = self._tensor_name
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        value = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        parameter = module._parameters[f"{name}_orig"]
        assert parameter is not None
        parameter.data = value.data
        del module._parameters[f"{name}_orig"]
        del module._buffers[f"{name}_mask"]
        setattr(module, name, parameter)


class PruningContainer(BasePruningMethod):
    """Several methods, one after the other, for one parameter; each chooses from what the earlier ones left."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        methods = args[0] if len(args) == 1 and isinstance(args[0], Iterable) else args
        if len(args) == 1 and isinstance(args[0], BasePruningMethod):
            self._tensor_name = args[0]._tensor_name
        for method in methods:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        """Appends a method for the same parameter."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Any:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        method = self._pruning_methods[-1]
        mask = default_mask.to(t.dtype)
        kind = method.PRUNING_TYPE
        if kind == "global":
            return method.compute_mask(t, mask)
        if kind == "unstructured":
            left: Any = mask == 1
            shape = None
        elif kind == "structured":
            dim = method.dim % t.dim()  # type: ignore[attr-defined]
            others = [d for d in range(t.dim()) if d != dim]
            channels = mask.sum(others) != 0
            left = (slice(None),) * dim + (channels,)
            shape = t[left].shape
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        part, part_mask = t[left], mask[left]
        chosen = method.compute_mask(part, default_mask=part_mask)
        out = mask.clone()
        out[left] = chosen.to(mask.dtype) if shape is None else chosen.to(mask.dtype).reshape(shape)
        return out


class Identity(BasePruningMethod):
    """Prunes nothing; the mask is ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Amount(BasePruningMethod):
    def __init__(self, amount: Any) -> None:
        _check_amount(amount)
        self.amount = amount


class _Unstructured(_Amount):
    """Of single elements: `_places(t, n)` says which n of the flattened t go."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        n = _count(self.amount, t.nelement())
        mask = default_mask.clone(memory_format=_C.contiguous_format)
        if n:
            mask.view(-1)[self._places(t, n)] = 0
        return mask

    def _places(self, t: Tensor, n: int) -> Tensor:
        raise NotImplementedError


class RandomUnstructured(_Unstructured):
    """Elements at random; `amount` is a part or a number of them."""

    def _places(self, t: Tensor, n: int) -> Tensor:
        return _C.topk(_C.rand_like(t).view(-1), k=n)[1]


class L1Unstructured(_Unstructured):
    """The elements nearest to zero; `amount` is a part or a number of them."""

    def _places(self, t: Tensor, n: int) -> Tensor:
        return _C.topk(t.detach().abs().view(-1), k=n, largest=False)[1]


class RandomStructured(_Amount):
    """Channels of axis `dim` at random."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        _check_structured(t, self.dim)
        size = t.shape[self.dim]
        n = _count(self.amount, size)
        if not n:
            return default_mask
        # As in PyTorch: those of the smallest of `size` random numbers.
        kept = _C.topk(_C.rand(size), k=size - n, largest=True)[1]
        pruned = [i for i in range(size) if i not in set(kept.tolist())]
        return _without(default_mask, _C.tensor(pruned, device=t.device), self.dim)


class LnStructured(_Amount):
    """The channels of axis `dim` whose norm of order `n` is smallest."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.n = n
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        _check_structured(t, self.dim)
        size = t.shape[self.dim]
        n = _count(self.amount, size)
        if not n:
            return default_mask
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        norms = _C.norm(t.detach(), p=self.n, dim=others)
        kept = set(_C.topk(norms, k=size - n, largest=True)[1].tolist())
        pruned = [i for i in range(size) if i not in kept]
        return _without(default_mask, _C.tensor(pruned, device=t.device), self.dim)


class CustomFromMask(BasePruningMethod):
    """A mask of one's own, times the mask that is there."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise AssertionError("mask and default_mask must have the same shape")
        return default_mask * self.mask.to(dtype=default_mask.dtype)


# ---- what scripts call ----


def identity(module: Module, name: str) -> Module:
    """Gives the parameter a mask of ones."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Any) -> Module:
    """Prunes elements of the parameter at random."""
    RandomUnstructured.apply(module, name, amount=amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: Any, importance_scores: Tensor | None = None
) -> Module:
    """Prunes the elements nearest to zero, or those of the lowest scores."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Any, dim: int) -> Module:
    """Prunes channels of axis `dim` at random."""
    RandomStructured.apply(module, name, amount=amount, dim=dim)
    return module


def ln_structured(
    module: Module,
    name: str,
    amount: Any,
    n: Any,
    dim: int,
    importance_scores: Tensor | None = None,
) -> Module:
    """Prunes the channels of axis `dim` of the smallest norm of order n."""
    LnStructured.apply(
        module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores
    )
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prunes over all of the (module, name) pairs at once."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    pairs: Sequence[Any] = list(parameters)
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    chooser = PruningContainer()
    chooser._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    chooser.add_pruning_method(method)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    values = [getattr(m, n) for m, n in pairs]
    flat = _C.cat(
        [scores.get((m, n), v).reshape(-1) for (m, n), v in zip(pairs, values, strict=True)]
    )
    before = _C.cat(
        [
            getattr(m, f"{n}_mask", _C.ones_like(v)).reshape(-1)
            for (m, n), v in zip(pairs, values, strict=True)
        ]
    )
    mask = chooser.compute_mask(flat, before)
    start = 0
    for (module, name), v in zip(pairs, values, strict=True):
        part = mask[start : start + v.numel()].view_as(v)
        custom_from_mask(module, name, mask=part)
        start += v.numel()


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prunes what a mask of one's own has at zero."""
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Module, name: str) -> Module:
    """The pruned values become the parameter; the mask goes."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module or of those inside it is pruned."""
    return any(
        isinstance(hook, BasePruningMethod)
        for m in module.modules()
        for hook in m._forward_pre_hooks.values()
    )
