# SPDX-License-Identifier: Apache-2.0
"""Switches of CUDA: ``matmul.allow_tf32 = True`` computes float32 products in TF32, eight times as fast and with
10 bits of the operands."""

import contextlib
from collections.abc import Iterator

from gradstep import _C, _settings


def is_built() -> bool:
    """True if this build has a CUDA part, whether or not there is a GPU."""
    return _C._cuda_build() is not None


class _MatMul:
    """float32 products on the GPU. Those of half types are summed in float32 whatever the flags say."""

    __slots__ = (
        "allow_bf16_reduced_precision_reduction",
        "allow_fp16_accumulation",
        "allow_fp16_reduced_precision_reduction",
    )

    def __init__(self) -> None:
        self.allow_fp16_reduced_precision_reduction = True
        self.allow_bf16_reduced_precision_reduction = True
        self.allow_fp16_accumulation = False

    @property
    def allow_tf32(self) -> bool:
        return bool(_C._cuda_flag("allow_tf32"))

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        _settings.set_float32_matmul_precision("high" if value else "highest")

    @property
    def fp32_precision(self) -> str:
        return "tf32" if self.allow_tf32 else "none"

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        if value not in ("none", "ieee", "tf32"):
            raise RuntimeError(f"Unknown precision: {value}")
        self.allow_tf32 = value == "tf32"


matmul = _MatMul()

# ---- which kernels of attention may be used: remembered ----

_attention = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def flash_sdp_enabled() -> bool:
    return _attention["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Accepted: there is one kernel for each case."""
    _attention["flash"] = enabled


def mem_efficient_sdp_enabled() -> bool:
    return _attention["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Accepted, as enable_flash_sdp."""
    _attention["mem_efficient"] = enabled


def math_sdp_enabled() -> bool:
    return _attention["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Accepted, as enable_flash_sdp."""
    _attention["math"] = enabled


def cudnn_sdp_enabled() -> bool:
    return _attention["cudnn"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Accepted, as enable_flash_sdp."""
    _attention["cudnn"] = enabled


@contextlib.contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[dict[str, bool]]:
    """Accepted, as enable_flash_sdp, for the `with` block."""
    before = dict(_attention)
    chosen = {
        "flash": enable_flash,
        "math": enable_math,
        "mem_efficient": enable_mem_efficient,
        "cudnn": enable_cudnn,
    }
    _attention.update(chosen)
    try:
        yield chosen
    finally:
        _attention.update(before)


def preferred_linalg_library(backend: str | None = None) -> str:
    """Accepted: factorisations are computed on the CPU."""
    return backend or "default"


def preferred_blas_library(backend: str | None = None) -> str:
    """Accepted: products go through cuBLASLt."""
    return backend or "cublaslt"


def is_flash_attention_available() -> bool:
    """True: attention never writes its matrix of weights."""
    return True
