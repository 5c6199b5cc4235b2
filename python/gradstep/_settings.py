# SPDX-License-Identifier: Apache-2.0
"""Global switches that PyTorch's scripts set. The CPU engine is deterministic whatever they say."""

from typing import Any

from gradstep import _C

_state: dict[str, Any] = {
    "deterministic": False,
    "warn_only": False,
    "cudnn_deterministic": False,
    "matmul": "highest",
    "interop": 1,
}


def _set_deterministic(**which: bool) -> None:
    """Of all operations or of cuDNN's: CUDA knows one switch."""
    _state.update(which)
    _C._cuda_set_flag("deterministic", _state["deterministic"] or _state["cudnn_deterministic"])


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """On the CPU every operation is deterministic; on CUDA those are chosen that are."""
    _set_deterministic(deterministic=bool(mode), warn_only=bool(warn_only))


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms() was given."""
    return bool(_state["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """The warn_only that use_deterministic_algorithms() was given."""
    return bool(_state["warn_only"])


def set_float32_matmul_precision(precision: str) -> None:
    """'highest': float32 products in float32. 'high' and 'medium' allow CUDA to use TF32."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"{precision} is not one of 'highest', 'high', or 'medium'.")
    _state["matmul"] = precision
    _C._cuda_set_flag("allow_tf32", precision != "highest")


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision() was given."""
    return str(_state["matmul"])


def get_num_interop_threads() -> int:
    """What set_num_interop_threads() was given; it changes nothing."""
    return int(_state["interop"])


def set_num_interop_threads(n: int) -> None:
    """Kept for PyTorch's scripts: operations run one after the other."""
    _state["interop"] = n


def set_default_tensor_type(t: Any) -> None:
    """Deprecated in PyTorch: sets the default dtype and device by a type's name."""
    name = (
        t if isinstance(t, str) else f"{t.__module__}.{t.__name__}" if isinstance(t, type) else ""
    )
    dtypes = {"FloatTensor": _C.float32, "DoubleTensor": _C.float64, "HalfTensor": _C.float16}
    key = name.rpartition(".")[2]
    if key not in dtypes:
        raise TypeError(f"invalid type object: {t!r}")
    if name.startswith("torch.cuda."):
        _C._cuda_init()
    _C.set_default_dtype(dtypes[key])
    _C.set_default_device("cuda" if name.startswith("torch.cuda.") else "cpu")


def typename(obj: Any) -> str:
    """The type's name as PyTorch writes it."""
    if isinstance(obj, _C.Tensor):
        return obj.type()
    cls = obj if isinstance(obj, type) else type(obj)
    return f"{cls.__module__}.{cls.__qualname__}"
