# SPDX-License-Identifier: Apache-2.0
"""Parts of the recorded graph, hooks on several tensors, and hooks for what a graph keeps.

with saved_tensors_hooks(pack, unpack): y = f(x)       # pack(tensor) -> anything -> unpack -> tensor
with save_on_cpu(): y = f(x)                           # what backward needs waits in the host's memory
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from gradstep import _C
from gradstep._C import Node

__all__ = [
    "GradientEdge",
    "Node",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class GradientEdge(tuple[Any, int]):
    """Where the gradient of a tensor goes: (node, output_nr)."""

    @property
    def node(self) -> Any:
        return self[0]

    @property
    def output_nr(self) -> int:
        return self[1]


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The gradient edge of a tensor that requires grad."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require gradients"
        )
    node = tensor.grad_fn or tensor.view_as(tensor).grad_fn.next_functions[0][0]
    return GradientEdge((node, tensor.output_nr))


def increment_version(tensor: Any) -> None:
    """Tells autograd that a tensor, or each of several, was written in a way that it can't see."""
    for t in (tensor,) if isinstance(tensor, _C.Tensor) else tensor:
        _C._bump_version(t)


# ---- hooks for what a graph keeps ----

_disabled: list[str] = []  # messages, innermost last


class saved_tensors_hooks:
    """Within it, each tensor that a graph keeps is given to `pack_hook`, and what that returned to
    `unpack_hook` when backward needs the tensor. Neither may write the tensor in place."""

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if _disabled:
            raise RuntimeError(_disabled[-1])
        _C._push_saved_tensors_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc: object) -> None:
        _C._pop_saved_tensors_hooks()


class save_on_cpu(saved_tensors_hooks):
    """What graphs keep waits in the host's memory (pinned if asked) until backward needs it."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(tensor: Any) -> tuple[Any, Any]:
            if not pin_memory:
                return tensor.device, tensor.cpu()
            from gradstep import cuda

            packed = _C.empty(
                tensor.size(),
                dtype=tensor.dtype,
                pin_memory=cuda.is_available(),
            )
            packed.copy_(tensor)
            return tensor.device, packed

        def unpack(packed: tuple[Any, Any]) -> Any:
            device, tensor = packed
            return tensor.to(device, non_blocking=pin_memory)

        super().__init__(pack, unpack)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Generator[None, None, None]:
    """Within it, hooks for saved tensors raise a RuntimeError with this message."""
    if _C._saved_tensors_hooks() is not None:
        raise RuntimeError(error_message)
    _disabled.append(error_message)
    try:
        yield
    finally:
        _disabled.pop()


# ---- hooks on several tensors ----


class _MultiHandle:
    """Removes the hooks of all the tensors."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _MultiHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Sequence[Any], fn: Callable[..., Any], *, mode: str = "all"
) -> Any:
    """Calls fn once in each backward pass.

    mode "all": fn(gradients) when those of all tensors that take part are known, None for the
    others. mode "any": fn(gradient) with the first that arrives.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    if mode == "any":
        told: set[int] = set()  # backward passes in which fn was called

        def first(grad: Any) -> None:
            run: Any = _C._current_graph_task_id()
            with lock:
                if run in told:
                    return
                told.add(run)
            fn(grad)

        return _MultiHandle([t.register_hook(first) for t in tensors if t.requires_grad])

    arrived: dict[int, tuple[list[Any], int]] = {}  # by backward pass: gradients, how many to come
    nodes = [get_gradient_edge(t).node if t.requires_grad else None for t in tensors]

    def at(index: int) -> Callable[[Any], None]:
        def hook(grad: Any) -> None:
            run: Any = _C._current_graph_task_id()
            with lock:
                if run not in arrived:
                    reached: Any = (
                        n is not None and _C._will_engine_execute_node(n) for n in nodes
                    )
                    expected = sum(map(bool, reached))
                    arrived[run] = ([None] * len(tensors), expected)
                grads, left = arrived[run]
                grads[index] = grad
                left -= 1
                arrived[run] = (grads, left)
                if left:
                    return
                del arrived[run]
            fn(grads)

        return hook

    return _MultiHandle([t.register_hook(at(i)) for i, t in enumerate(tensors) if t.requires_grad])
