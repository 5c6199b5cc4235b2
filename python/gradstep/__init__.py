# SPDX-License-Identifier: Apache-2.0
"""gradstep: a small, fast training engine that speaks PyTorch.

import gradstep as torch
"""

import sys
from typing import Any

from . import _missing

_missing.install()

from . import _C  # noqa: E402
from ._C import *  # noqa: E402,F403
from ._C import (  # noqa: E402,F401
    CaptureError,
    Generator,
    Size,
    Tensor,
    _addmm_activation,
    _assert_async,
    _standard_gamma,
    _standard_gamma_grad,
    default_generator,
    device,
    dtype,
    layout,
    memory_format,
)

__version__ = "0.1.0"

from . import _tensor, autograd, nn, optim  # noqa: E402
from ._numerics import broadcast_shapes, finfo, iinfo  # noqa: E402,F401
from ._settings import (  # noqa: E402,F401
    are_deterministic_algorithms_enabled,
    get_float32_matmul_precision,
    get_num_interop_threads,
    is_deterministic_algorithms_warn_only_enabled,
    set_default_tensor_type,
    set_float32_matmul_precision,
    set_num_interop_threads,
    typename,
    use_deterministic_algorithms,
)
from .autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled  # noqa: E402,F401

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


_LAZY = {
    "backends": "gradstep.backends",
    "cpu": "gradstep.cpu",
    "cuda": "gradstep.cuda",
    "random": "gradstep.random",
    "testing": "gradstep.testing",
    "utils": "gradstep.utils",
    "version": "gradstep.version",
    "serialization": "gradstep.serialization",
    "functional": "gradstep.functional",
    "linalg": "gradstep.linalg",
    "masked": "gradstep.masked",
    "signal": "gradstep.signal",
    "fft": "gradstep.fft",
    "special": "gradstep.special",
    "amp": "gradstep.amp",
    "distributions": "gradstep.distributions",
    "types": "gradstep.types",
    "_dynamo": "gradstep._dynamo",
    "_inductor": "gradstep._inductor",
    "_utils": "gradstep._utils",
    "accelerator": "gradstep.accelerator",
    "compiler": "gradstep.compiler",
    "distributed": "gradstep.distributed",
    "func": "gradstep.func",
    "futures": "gradstep.futures",
    "hub": "gradstep.hub",
    "jit": "gradstep.jit",
    "mps": "gradstep.mps",
    "mtia": "gradstep.mtia",
    "multiprocessing": "gradstep.multiprocessing",
    "overrides": "gradstep.overrides",
    "profiler": "gradstep.profiler",
    "xpu": "gradstep.xpu",
}
_FROM_SERIALIZATION = ("load", "load_safetensors", "save", "save_safetensors")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY:
        try:
            return importlib.import_module(_LAZY[name])
        except ModuleNotFoundError as error:
            if error.name != _LAZY[name]:
                raise
    if name in _FROM_SERIALIZATION:
        module = importlib.import_module("gradstep.serialization")
        value = getattr(module, name)
        globals()[name] = value
        return value
    if name in ("CapturedFunction", "capture", "compile"):
        from . import _capture

        globals()[name] = getattr(_capture, name)
        return globals()[name]
    if name == "vmap":
        from .func import vmap

        globals()[name] = vmap
        return vmap
    if name == "autocast":
        from .amp import autocast

        globals()[name] = autocast
        return autocast
    if name in (
        "FloatTensor",
        "DoubleTensor",
        "HalfTensor",
        "BFloat16Tensor",
        "LongTensor",
        "IntTensor",
        "ShortTensor",
        "CharTensor",
        "ByteTensor",
        "BoolTensor",
    ):
        from . import _legacy

        return getattr(_legacy, name)
    from . import _ops

    found = _ops.find(name)
    if found is not None:
        globals()[name] = found
        return found
    return _missing.lookup(sys.modules[__name__], name, sys._getframe(1))


_missing.add_missing_methods(Tensor)
