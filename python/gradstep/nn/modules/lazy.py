# SPDX-License-Identifier: Apache-2.0
"""LazyModuleMixin: layers that take a size from their first input."""

from __future__ import annotations

from typing import Any

from ..parameter import is_lazy


class LazyModuleMixin:
    """Mixed in front of a layer: holds lazy parameters until the first forward.

    A subclass sets `cls_to_become` and writes `initialize_parameters(input)`.
    """

    cls_to_become: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The hooks are methods; the first forward removes them again.
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)  # type: ignore[attr-defined]
        self._initialize_hook = self.register_forward_pre_hook(  # type: ignore[attr-defined]
            self._infer_parameters, with_kwargs=True
        )

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, param in self._parameters.items():  # type: ignore[attr-defined]
            if param is not None:
                lazy = is_lazy(param) or keep_vars
                destination[prefix + name] = param if lazy else param.detach()
        for name, buffer in self._buffers.items():  # type: ignore[attr-defined]
            if buffer is not None and name not in self._non_persistent_buffers_set:  # type: ignore[attr-defined]
                lazy = is_lazy(buffer) or keep_vars
                destination[prefix + name] = buffer if lazy else buffer.detach()

    def _lazy_load_hook(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for table in (self._parameters, self._buffers):  # type: ignore[attr-defined]
            for name, tensor in table.items():
                key = prefix + name
                if key in state_dict and tensor is not None and is_lazy(tensor):
                    value = state_dict[key]
                    if not is_lazy(value):
                        tensor.materialize(value.shape)

    def has_uninitialized_params(self) -> bool:
        """True until every parameter and buffer has a shape."""
        tables = (self._parameters, self._buffers)  # type: ignore[attr-defined]
        return any(is_lazy(t) for table in tables for t in table.values())

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the lazy parameters their shapes, from the arguments of forward."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def _infer_parameters(self, module: Any, args: Any, kwargs: Any = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")  # type: ignore[attr-defined]
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become
