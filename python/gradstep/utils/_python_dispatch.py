# SPDX-License-Identifier: Apache-2.0
"""`torch.utils._python_dispatch`: overriding below autograd, which gradstep does not have, says so."""

from typing import Any, NoReturn

__all__ = ["TorchDispatchMode", "is_traceable_wrapper_subclass", "return_and_correct_aliasing"]

_MISSING = (
    "{} is not implemented in gradstep: operations are overridden by __torch_function__ only, not below autograd by "
    "__torch_dispatch__"
)


class TorchDispatchMode:
    """Cannot be made: NotImplementedError."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(_MISSING.format(cls.__name__))


def is_traceable_wrapper_subclass(t: Any) -> bool:
    """False: there are no subclasses that wrap other tensors below autograd."""
    return False


def is_traceable_wrapper_subclass_type(t: type) -> bool:
    """False, as for their objects."""
    return False


def return_and_correct_aliasing(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError(_MISSING.format("return_and_correct_aliasing"))


def _disable_current_modes() -> Any:
    import contextlib

    return contextlib.nullcontext([])


def _get_current_dispatch_mode() -> None:
    return None


def _get_current_dispatch_mode_stack() -> list[Any]:
    return []
