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

from . import _native_names, _tensor, autograd as autograd, nn as nn, optim as optim  # noqa: E402
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


def set_printoptions(
    precision: Any = None,
    threshold: Any = None,
    edgeitems: Any = None,
    linewidth: Any = None,
    profile: Any = None,
    sci_mode: Any = None,
) -> None:
    """Sets how tensors are printed; what is None stays, but sci_mode=None means automatic.

    precision: digits after the point. threshold: the number of elements above which only edgeitems at each end of an
    axis are shown. linewidth: characters in a line. profile: 'default', 'short' or 'full'; KeyError for others.
    """
    from . import _tensor_str

    _tensor_str.set_printoptions(precision, threshold, edgeitems, linewidth, profile, sci_mode)


_LAZY = frozenset(
    """__config__ _custom_ops _dynamo _inductor _utils accelerator amp backends compiler cpu cuda distributed
    distributions fft func functional futures fx hub jit library linalg masked mps mtia multiprocessing onnx ops overrides
    profiler random serialization signal special testing types utils version xpu""".split()
)
_LAZY_FROM = {
    **dict.fromkeys(("load", "load_safetensors", "save", "save_safetensors"), "serialization"),
    **dict.fromkeys(("CapturedFunction", "capture", "compile"), "_capture"),
    "GradScaler": "amp",
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
        _dynamo as _dynamo,
        _inductor as _inductor,
        _utils as _utils,
        accelerator as accelerator,
        amp as amp,
        backends as backends,
        compiler as compiler,
        cpu as cpu,
        cuda as cuda,
        distributed as distributed,
        distributions as distributions,
        fft as fft,
        func as func,
        futures as futures,
        hub as hub,
        jit as jit,
        linalg as linalg,
        masked as masked,
        mps as mps,
        mtia as mtia,
        multiprocessing as multiprocessing,
        overrides as overrides,
        profiler as profiler,
        random as random,
        serialization as serialization,
        signal as signal,
        special as special,
        testing as testing,
        types as types,
        utils as utils,
        version as version,
        xpu as xpu,
    )
    from ._C import (
        Tensor as BFloat16Tensor,
        Tensor as BoolTensor,
        Tensor as ByteTensor,
        Tensor as CharTensor,
        Tensor as DoubleTensor,
        Tensor as FloatTensor,
        Tensor as HalfTensor,
        Tensor as IntTensor,
        Tensor as LongTensor,
        Tensor as ShortTensor,
    )
    from ._capture import (
        CapturedFunction as CapturedFunction,
        capture as capture,
        compile as compile,
    )
    from ._ops.arithmetic import (
        angle as angle,
        frexp as frexp,
        gcd as gcd,
        gcd_ as gcd_,
        igamma as igamma,
        igammac as igammac,
        lcm as lcm,
        lcm_ as lcm_,
        mvlgamma as mvlgamma,
        nextafter as nextafter,
        polygamma as polygamma,
    )
    from ._ops.matrices import (
        addbmm as addbmm,
        cholesky as cholesky,
        cholesky_inverse as cholesky_inverse,
        cholesky_solve as cholesky_solve,
        det as det,
        geqrf as geqrf,
        inverse as inverse,
        logdet as logdet,
        lu as lu,
        lu_solve as lu_solve,
        lu_unpack as lu_unpack,
        matrix_exp as matrix_exp,
        matrix_power as matrix_power,
        orgqr as orgqr,
        ormqr as ormqr,
        pca_lowrank as pca_lowrank,
        pinverse as pinverse,
        qr as qr,
        slogdet as slogdet,
        svd as svd,
        svd_lowrank as svd_lowrank,
        triangular_solve as triangular_solve,
        vdot as vdot,
    )
    from ._ops.numeric import (
        corrcoef as corrcoef,
        cov as cov,
        cumulative_trapezoid as cumulative_trapezoid,
        gradient as gradient,
        grid_sampler_2d as grid_sampler_2d,
        grid_sampler_3d as grid_sampler_3d,
        histogram as histogram,
        histogramdd as histogramdd,
        index_reduce as index_reduce,
        native_batch_norm as native_batch_norm,
        native_group_norm as native_group_norm,
        native_layer_norm as native_layer_norm,
        nonzero_static as nonzero_static,
        renorm as renorm,
        segment_reduce as segment_reduce,
        trapezoid as trapezoid,
        trapz as trapz,
        unravel_index as unravel_index,
    )
    from ._ops.views import (
        alias_copy as alias_copy,
        as_strided_copy as as_strided_copy,
        as_strided_scatter as as_strided_scatter,
        conj_physical as conj_physical,
        constant_pad_nd as constant_pad_nd,
        detach_copy as detach_copy,
        diagonal_copy as diagonal_copy,
        diagonal_scatter as diagonal_scatter,
        empty_permuted as empty_permuted,
        expand_copy as expand_copy,
        narrow_copy as narrow_copy,
        new_empty_strided as new_empty_strided,
        permute_copy as permute_copy,
        resize_as_ as resize_as_,
        resolve_conj as resolve_conj,
        resolve_neg as resolve_neg,
        select_copy as select_copy,
        select_scatter as select_scatter,
        slice_copy as slice_copy,
        slice_scatter as slice_scatter,
        split_copy as split_copy,
        split_with_sizes_copy as split_with_sizes_copy,
        squeeze_copy as squeeze_copy,
        t_copy as t_copy,
        transpose_copy as transpose_copy,
        unbind_copy as unbind_copy,
        unfold_copy as unfold_copy,
        unsafe_chunk as unsafe_chunk,
        unsafe_split as unsafe_split,
        unsafe_split_with_sizes as unsafe_split_with_sizes,
        unsqueeze_copy as unsqueeze_copy,
        view_copy as view_copy,
    )
    from ._ops.windows import (
        bartlett_window as bartlett_window,
        blackman_window as blackman_window,
        hamming_window as hamming_window,
        hann_window as hann_window,
        kaiser_window as kaiser_window,
    )
    from .amp import GradScaler as GradScaler, autocast as autocast
    from .serialization import (
        load as load,
        load_safetensors as load_safetensors,
        save as save,
        save_safetensors as save_safetensors,
    )

    vmap = func.vmap
else:

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


# Put there one by one: a module with a __getattr__ loses CPython's inline caches for all its names.
for _name in _native_names.__all__:
    setattr(_C, _name, getattr(_native_names, _name))
del _name
_missing.add_missing_methods(Tensor)
