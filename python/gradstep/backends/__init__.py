# SPDX-License-Identifier: Apache-2.0
"""Flags that scripts set on torch.backends. Those of `cuda` and `cudnn` reach CUDA; of the CPU's one does something:
``mkldnn.conv.fp32_precision = "ieee"`` computes 3x3 convolutions by their definition, at about half the speed."""

from types import SimpleNamespace

from gradstep import _C

from . import cpu as cpu, cuda as cuda, cudnn as cudnn


class _Convolution:
    """float32 convolutions on the CPU."""

    def __init__(self) -> None:
        self._fp32_precision = "none"
        self._other_work = 2**63 - 1  # of _set_winograd_work, for "ieee"

    @property
    def fp32_precision(self) -> str:
        """ "none" (the default), "tf32" and "bf16" allow Winograd's algorithm for 3x3 kernels; "ieee" does not.

        Its results differ from the exact ones by up to 2e-5 of their root mean square, those of the definition by
        up to 2e-6.
        """
        return self._fp32_precision

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        if value not in ("none", "ieee", "tf32", "bf16"):
            raise RuntimeError(f"Unknown precision: {value}")
        if (value == "ieee") != (self._fp32_precision == "ieee"):
            self._other_work = _C._set_winograd_work(self._other_work)
        self._fp32_precision = value


def _flags(available: bool = False, **values: object) -> SimpleNamespace:
    return SimpleNamespace(is_available=lambda: available, **values)


mps = _flags(is_built=lambda: False)
mkl = _flags()
mkldnn = _flags(enabled=True, conv=_Convolution())
openmp = _flags()
