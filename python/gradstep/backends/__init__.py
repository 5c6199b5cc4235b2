# SPDX-License-Identifier: Apache-2.0
"""Flags that scripts set on torch.backends. They are remembered; the CPU engine needs none of them."""

from types import SimpleNamespace


def _flags(available: bool = False, **values: object) -> SimpleNamespace:
    return SimpleNamespace(is_available=lambda: available, **values)


cudnn = _flags(
    enabled=True, benchmark=False, deterministic=False, allow_tf32=True, version=lambda: None
)
cuda = SimpleNamespace(
    is_built=lambda: False,
    matmul=SimpleNamespace(allow_tf32=False, allow_fp16_reduced_precision_reduction=True),
)
mps = _flags(is_built=lambda: False)
mkl = _flags()
mkldnn = _flags(enabled=True)
openmp = _flags()
