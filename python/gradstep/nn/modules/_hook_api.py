# SPDX-License-Identifier: Apache-2.0
"""The part of Module that registers hooks; a mixin of module.py, see Note [Hook tables] there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._hooks import RemovableHandle


class HookApi:
    """Registration of forward and backward hooks."""

    _forward_hooks: Any
    _forward_hooks_with_kwargs: Any
    _forward_hooks_always_called: Any
    _forward_pre_hooks: Any
    _forward_pre_hooks_with_kwargs: Any
    _backward_hooks: Any
    _backward_pre_hooks: Any

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before forward; a result replaces the arguments."""
        flags = self._forward_pre_hooks_with_kwargs
        handle = RemovableHandle(self._forward_pre_hooks, extra_dict=flags)
        self._forward_pre_hooks[handle.id] = hook
        if with_kwargs:
            flags[handle.id] = True
        if prepend:
            self._forward_pre_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after forward; a result replaces the output."""
        flags = self._forward_hooks_with_kwargs
        always = self._forward_hooks_always_called
        handle = RemovableHandle(self._forward_hooks, extra_dict=[flags, always])
        self._forward_hooks[handle.id] = hook
        if with_kwargs:
            flags[handle.id] = True
        if always_call:
            always[handle.id] = True
        if prepend:
            self._forward_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the module's backward."""
        handle = RemovableHandle(self._backward_pre_hooks)
        self._backward_pre_hooks[handle.id] = hook
        if prepend:
            self._backward_pre_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` once the inputs' gradients are known."""
        handle = RemovableHandle(self._backward_hooks)
        self._backward_hooks[handle.id] = hook
        if prepend:
            self._backward_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The old name; behaves like `register_full_backward_hook`."""
        return self.register_full_backward_hook(hook)
