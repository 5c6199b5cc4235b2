# SPDX-License-Identifier: Apache-2.0
"""Window functions of M points: symmetric with sym, else one period of M (Harris 1978, Proc. IEEE 66)."""

import math
from typing import Any

from gradstep import _C
from gradstep._C import Tensor

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


def _window(name: str, M: int, sym: bool, shape: Any, options: dict[str, Any]) -> Tensor:
    """shape(n, N) at n = 0 .. M - 1, with N - 1 the width of the window."""
    dtype = options.pop("dtype", None) or _C.get_default_dtype()
    device = options.pop("device", None)
    requires_grad = options.pop("requires_grad", False)
    layout = options.pop("layout", _C.strided)
    if options:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(options))}'")
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not _C.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (_C.float32, _C.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    if M <= 1:
        values = _C.ones(M, dtype=_C.float64)
    else:
        values = shape(_C.arange(M, dtype=_C.float64), M if sym else M + 1)
    return values.to(device or _C.get_default_device(), dtype).requires_grad_(requires_grad)


def general_cosine(M: int, *, a: Any, sym: bool = True, **options: Any) -> Tensor:
    """The sum of (-1)^i a_i cos(2 pi i n / (M - 1))."""
    if not hasattr(a, "__iter__"):
        raise TypeError("Coefficients must be a list/tuple")
    if not a:
        raise ValueError("Coefficients cannot be empty")

    def shape(n: Tensor, N: int) -> Tensor:
        return sum(  # type: ignore[return-value]
            (-1) ** i * c * (2 * math.pi * i / (N - 1) * n).cos() for i, c in enumerate(a)
        )

    return _window("general_cosine", M, sym, shape, options)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos(2 pi n / (M - 1))."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.54 - 0.46 cos(2 pi n / (M - 1))."""
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """(1 - cos(2 pi n / (M - 1))) / 2."""
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Nuttall's window of four cosines with the lowest side lobes."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **options)


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """1 - |2 n / (M - 1) - 1|."""
    return _window("bartlett", M, sym, lambda n, N: 1 - (2 / (N - 1) * n - 1).abs(), options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """sin(pi (n + 1/2) / M)."""
    return _window("cosine", M, sym, lambda n, N: (math.pi / N * (n + 0.5)).sin(), options)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any
) -> Tensor:
    """exp(-|n - center| / tau)."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def shape(n: Tensor, N: int) -> Tensor:
        middle = (N - 1) / 2 if center is None else center
        return (-(n - middle).abs() / tau).exp()

    return _window("exponential", M, sym, shape, options)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """exp(-((n - (M - 1) / 2) / std)^2 / 2)."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _window(
        "gaussian", M, sym, lambda n, N: (-0.5 * ((n - (N - 1) / 2) / std) ** 2).exp(), options
    )


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Any) -> Tensor:
    """I_0(beta sqrt(1 - (2 n / (M - 1) - 1)^2)) / I_0(beta)."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def shape(n: Tensor, N: int) -> Tensor:
        t = 2 / (N - 1) * n - 1
        return _C.i0(beta * (1 - t * t).clamp(min=0).sqrt()) / _C.i0(
            _C.tensor(beta, dtype=_C.float64)
        )

    return _window("kaiser", M, sym, shape, options)
