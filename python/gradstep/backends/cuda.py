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

# ---- what may compute scaled_dot_product_attention ----


def cudnn_sdp_enabled() -> bool:
    return bool(_C._cuda_flag("cudnn_sdp"))


def enable_cudnn_sdp(enabled: bool) -> None:
    """cuDNN, where it is trusted: for float16 and bfloat16."""
    _C._cuda_set_flag("cudnn_sdp", enabled)


def flash_sdp_enabled() -> bool:
    return bool(_C._cuda_flag("flash_sdp"))


def enable_flash_sdp(enabled: bool) -> None:
    """The kernels of our own, on the CPU too, as does enable_mem_efficient_sdp: either of the two allows them."""
    _C._cuda_set_flag("flash_sdp", enabled)


def mem_efficient_sdp_enabled() -> bool:
    return bool(_C._cuda_flag("mem_efficient_sdp"))


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """See enable_flash_sdp."""
    _C._cuda_set_flag("mem_efficient_sdp", enabled)


def math_sdp_enabled() -> bool:
    return bool(_C._cuda_flag("math_sdp"))


def enable_math_sdp(enabled: bool) -> None:
    """Attention composed of other operations."""
    _C._cuda_set_flag("math_sdp", enabled)


@contextlib.contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[dict[str, bool]]:
    """The older form of torch.nn.attention.sdpa_kernel."""
    values = (enable_flash, enable_math, enable_mem_efficient, enable_cudnn)
    names = ("flash_sdp", "math_sdp", "mem_efficient_sdp", "cudnn_sdp")
    before = [_C._cuda_flag(name) for name in names]
    try:
        for name, value in zip(names, values):
            _C._cuda_set_flag(name, value)
        yield dict(zip(("flash", "math", "mem_efficient", "cudnn"), values))
    finally:
        for name, value in zip(names, before):
            _C._cuda_set_flag(name, value)


def preferred_linalg_library(backend: str | None = None) -> str:
    """Accepted: factorisations are computed on the CPU."""
    return backend or "default"


def preferred_blas_library(backend: str | None = None) -> str:
    """Accepted: products go through cuBLASLt."""
    return backend or "cublaslt"


def is_flash_attention_available() -> bool:
    """True: attention never writes its matrix of weights."""
    return True
