# SPDX-License-Identifier: Apache-2.0
"""gradstep: a small, fast training engine that speaks PyTorch.

import gradstep as torch
"""

import sys
from typing import TYPE_CHECKING, Any

from . import _missing

_missing.install()

from . import _C  # noqa: E402
from ._C import *  # noqa: E402,F403
from ._C import (  # noqa: E402,F401
    CaptureError as CaptureError,
    Generator as Generator,
    Size as Size,
    Tensor as Tensor,
    _addmm_activation,
    _assert_async,
    _standard_gamma,
    _standard_gamma_grad,
    default_generator as default_generator,
    device as device,
    dtype as dtype,
    layout as layout,
    memory_format as memory_format,
)

__version__ = "0.1.0"

from . import _tensor, autograd as autograd, nn as nn, optim as optim  # noqa: E402
from ._numerics import broadcast_shapes as broadcast_shapes, finfo as finfo, iinfo as iinfo  # noqa: E402,F401
from ._settings import (  # noqa: E402,F401
    are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled,
    get_float32_matmul_precision as get_float32_matmul_precision,
    get_num_interop_threads as get_num_interop_threads,
    is_deterministic_algorithms_warn_only_enabled as is_deterministic_algorithms_warn_only_enabled,
    set_default_tensor_type as set_default_tensor_type,
    set_float32_matmul_precision as set_float32_matmul_precision,
    set_num_interop_threads as set_num_interop_threads,
    typename as typename,
    use_deterministic_algorithms as use_deterministic_algorithms,
)
from .autograd.grad_mode import (  # noqa: E402,F401
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)

if hasattr(_C, "frombuffer"):
    frombuffer = _C.frombuffer

from math import e, inf, nan, pi  # noqa: E402,F401

newaxis = None
legacy_contiguous_format = _C.contiguous_format
bool = _C.bool  # noqa: A001


def is_tensor(obj: Any) -> Any:
    """True if obj is a Tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any) -> Any:
    """True if obj is a tensor's storage."""
    return isinstance(obj, _tensor._Storage)


def set_printoptions(**kwargs: Any) -> None:
    """How tensors are printed: precision, threshold, edgeitems, linewidth, profile, sci_mode."""
    from . import _tensor_str

    _tensor_str.set_printoptions(**kwargs)


_LAZY = frozenset(
    """__config__ _custom_ops _dynamo _inductor _utils accelerator amp backends compiler cpu cuda distributed
    distributions fft func functional futures fx hub jit library linalg masked mps mtia multiprocessing onnx ops profiler
    random serialization signal special testing types utils version xpu""".split()
)
_LAZY_FROM = {
    **dict.fromkeys(("load", "load_safetensors", "save", "save_safetensors"), "serialization"),
    **dict.fromkeys(("CapturedFunction", "capture", "compile"), "_capture"),
    "autocast": "amp",
    "vmap": "func",
    **dict.fromkeys(
        """SymBool SymFloat SymInt _assert _check _check_index _check_is_size _check_not_implemented _check_tensor_all
        _check_type _check_value _check_with _shape_as_tensor cond get_device_module sym_float sym_int sym_ite sym_max
        sym_min sym_not sym_sqrt sym_sum while_loop""".split(),
        "_checks",
    ),
}

if TYPE_CHECKING:
    from . import (
        amp as amp,
        backends as backends,
        compiler as compiler,
        cuda as cuda,
        distributed as distributed,
        distributions as distributions,
        fft as fft,
        func as func,
        jit as jit,
        linalg as linalg,
        multiprocessing as multiprocessing,
        profiler as profiler,
        random as random,
        special as special,
        utils as utils,
    )
    from ._capture import capture as capture, compile as compile
    from .amp import autocast as autocast
    from .serialization import load as load, save as save


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY:
        return importlib.import_module(f"gradstep.{name}")
    if name in _LAZY_FROM:
        value = getattr(importlib.import_module(f"gradstep.{_LAZY_FROM[name]}"), name)
        globals()[name] = value
        return value
    if name.endswith("Tensor"):
        from . import _legacy

        if name in _legacy.__dict__:
            return getattr(_legacy, name)
    from . import _ops

    found = _ops.find(name)
    if found is not None:
        globals()[name] = found
        return found
    return _missing.lookup(sys.modules[__name__], name, sys._getframe(1))


def _native_name(name: str) -> Any:
    from . import _native_names

    if name in _native_names.__all__:
        return getattr(_native_names, name)
    raise AttributeError(f"module 'gradstep._C' has no attribute {name!r}")


_C.__getattr__ = _native_name  # type: ignore[method-assign]
_missing.add_missing_methods(Tensor)
