# SPDX-License-Identifier: Apache-2.0
"""The part of `torch.fft` whose results are real: `hfft`, `irfft`, their kin, sample frequencies and shifts.

Inputs are real, as there are no complex tensors; the others raise NotImplementedError. The transforms of real input
are sums of cosines and linear, so the derivative is the transposed map. Computed by numpy, on the CPU.
"""

from typing import Any

import numpy as np

from gradstep import _C
from gradstep._autocast import in_float32_on_cpu
from gradstep._C import Tensor
from gradstep.autograd import Function

__all__ = [
    "fftfreq", "fftshift", "hfft", "hfft2", "hfftn", "ifftshift", "irfft", "irfft2", "irfftn", "rfftfreq",
]  # fmt: skip

_COMPLEX = frozenset("fft fft2 fftn ifft ifft2 ifftn rfft rfft2 rfftn ihfft ihfft2 ihfftn".split())


def __getattr__(name: str) -> Any:
    if name in _COMPLEX:

        def missing(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError(
                f"torch.fft.{name}: the result is complex, and gradstep has no complex tensors"
            )

        missing.__stub__ = True  # type: ignore[attr-defined]
        return missing
    raise AttributeError(f"module 'gradstep.fft' has no attribute '{name}'")


class _RealTransform(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: Any, axes: Any, norm: Any) -> Tensor:
        ctx.saved = (x.shape, sizes, axes, norm)
        out = np.fft.irfftn(x.detach().double().cpu().numpy(), sizes, axes, norm)
        return _C.from_numpy(np.array(out)).to(x.device, x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return _Transposed.apply(g, *ctx.saved), None, None, None


class _Transposed(Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, shape: Any, sizes: Any, axes: Any, norm: Any) -> Tensor:
        ctx.saved = (sizes, axes, norm)
        array = g.detach().double().cpu().numpy()
        # The real part of the transform by the same scale; the inner bins of the last axis stand for two.
        scale: Any = {"backward": "forward", "forward": "backward", "ortho": "ortho"}[norm]
        out = np.fft.rfftn(array, sizes, axes, scale).real
        last = axes[-1]
        weights = np.full(out.shape[last], 2.0)
        weights[0] = 1.0
        if sizes[-1] % 2 == 0:
            weights[-1] = 1.0
        out = out * weights.reshape([-1 if d == last % out.ndim else 1 for d in range(out.ndim)])
        full = np.zeros(shape)
        common = tuple(slice(0, min(a, b)) for a, b in zip(out.shape, shape, strict=True))
        full[common] = out[common]
        return _C.from_numpy(full).to(g.device, g.dtype)

    @staticmethod
    def backward(ctx: Any, gg: Tensor) -> Any:
        return _RealTransform.apply(gg, *ctx.saved), None, None, None, None


@in_float32_on_cpu
def _transform(
    name: str, input: Tensor, s: Any, dim: Any, norm: str | None, forward: bool
) -> Tensor:
    norm = norm or "backward"
    if norm not in ("forward", "backward", "ortho"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    x = input if input.dtype.is_floating_point else input.to(_C.get_default_dtype())
    n = x.dim()
    if dim is None:
        axes = tuple(range(n)) if s is None else tuple(range(n - len(s), n))
    else:
        axes = (dim,) if isinstance(dim, int) else tuple(dim)
    for d in axes:
        if not -n <= d < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})"
            )
    axes = tuple(d % n for d in axes)
    if len(set(axes)) != len(axes):
        raise RuntimeError("FFT dims must be unique")
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    if s is not None and len(s) != len(axes):
        raise RuntimeError(
            "When given, dim and shape arguments must have the same length"
            if dim is not None
            else f"Got shape with {len(s)} values but input tensor only has {n} dimensions."
        )
    sizes = [x.shape[d] for d in axes]
    sizes[-1] = 2 * (sizes[-1] - 1)
    if s is not None:
        sizes = [old if new == -1 else new for old, new in zip(sizes, s, strict=True)]
    for size in sizes:
        if size < 1:
            raise RuntimeError(f"Invalid number of data points ({size}) specified")
    if forward:
        # hfft is irfft of the conjugate, and real input is its own; it has no scale where irfft divides by the number
        # of points, and the other way round.
        norm = {"backward": "forward", "forward": "backward", "ortho": "ortho"}[norm]
    return _RealTransform.apply(x, tuple(sizes), axes, norm)


def _written(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else out.resize_(result.shape).copy_(result)


def irfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Tensor:
    """The inverse transform of the first half of a Hermitian spectrum (here a real one): n real values."""
    return _written(_transform("irfft", input, None if n is None else (n,), dim, norm, False), out)


def irfft2(
    input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None
) -> Tensor:
    """irfft over two axes."""
    return _written(_transform("irfft2", input, s, dim, norm, False), out)


def irfftn(
    input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Tensor:
    """irfft over several axes."""
    return _written(_transform("irfftn", input, s, dim, norm, False), out)


def hfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Any = None
) -> Tensor:
    """The transform of half of a Hermitian signal (here a real one): n real values."""
    return _written(_transform("hfft", input, None if n is None else (n,), dim, norm, True), out)


def hfft2(
    input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *, out: Any = None
) -> Tensor:
    """hfft over two axes."""
    return _written(_transform("hfft2", input, s, dim, norm, True), out)


def hfftn(
    input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *, out: Any = None
) -> Tensor:
    """hfft over several axes."""
    return _written(_transform("hfftn", input, s, dim, norm, True), out)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Half of each axis moved to its other side, so that frequency 0 is in the middle."""
    axes = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return input.roll([input.shape[d] // 2 for d in axes], axes) if axes else input.clone()


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of fftshift."""
    axes = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return input.roll([(input.shape[d] + 1) // 2 for d in axes], axes) if axes else input.clone()


def fftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequencies of fft's n results, for samples d apart.

    >>> fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    places = _C.arange(n)
    return _C.where(places < (n + 1) // 2, places, places - n).to(
        options.pop("dtype", None) or _C.get_default_dtype()
    ) / (n * d)


def rfftfreq(n: int, d: float = 1.0, **options: Any) -> Tensor:
    """The frequencies of rfft's n // 2 + 1 results, for samples d apart.

    >>> rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    dtype = options.pop("dtype", None) or _C.get_default_dtype()
    return _C.arange(n // 2 + 1).to(dtype) / (n * d)
