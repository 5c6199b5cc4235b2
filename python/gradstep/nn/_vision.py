# SPDX-License-Identifier: Apache-2.0
"""Pooling with indices, folding, shuffling and resampling for nn.functional.

Written on tensor ops, so that derivatives come by themselves. May include: the engine only.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from gradstep import _C
from gradstep._autocast import as_it_is, in_float32_on_cpu
from gradstep._C import Tensor


def _tuple(value: Any, n: int) -> tuple[Any, ...]:
    if isinstance(value, (tuple, list)):
        return tuple(value) if len(value) != 1 else (value[0],) * n
    return (value,) * n


# ---- pooling ----


def _max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    if stride is None:
        stride = kernel_size
    name = f"max_pool{n}d_with_indices" if return_indices else f"max_pool{n}d"
    return getattr(_C, name)(input, kernel_size, stride, padding, dilation, ceil_mode)


def _full_size(n: int, input: Tensor, output_size: Any) -> tuple[int, ...]:
    """The output size with the input's where None was given."""
    size = _tuple(output_size, n)
    return tuple(input.shape[i - n] if s is None else s for i, s in enumerate(size))


def _adaptive_max_pool(n: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    result = getattr(_C, f"adaptive_max_pool{n}d")(input, _full_size(n, input, output_size))
    return tuple(result) if return_indices else result[0]


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum over `output_size` windows of (N, C, L)."""
    return _adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum over `output_size` windows of (N, C, H, W); None keeps a size."""
    return _adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The maximum over `output_size` windows of (N, C, D, H, W); None keeps a size."""
    return _adaptive_max_pool(3, input, output_size, return_indices)


def _lp_pool(
    n: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    kernel = _tuple(kernel_size, n)
    # An even power loses the sign, so the mean is positive; an odd one keeps PyTorch's relu.
    mean = getattr(_C, f"avg_pool{n}d")(
        input.pow(norm_type), kernel, kernel if stride is None else stride, 0, ceil_mode
    )
    return (_C.sign(mean) * _C.relu(mean.abs())).mul(math.prod(kernel)).pow(1.0 / norm_type)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum x^p)^(1/p) over windows of (N, C, L)."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum x^p)^(1/p) over windows of (N, C, H, W)."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum x^p)^(1/p) over windows of (N, C, D, H, W)."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _max_unpool(
    n: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    kernel = _tuple(kernel_size, n)
    stride = kernel if stride is None else _tuple(stride, n)
    pad = _tuple(padding, n)
    default = [(input.shape[i - n] - 1) * stride[i] + kernel[i] - 2 * pad[i] for i in range(n)]
    if output_size is None:
        size = default
    else:
        size = list(output_size)
        if len(size) == n + 2:
            size = size[2:]
        if len(size) != n:
            raise ValueError(
                f"output_size should be a sequence containing {n} or {n + 2} elements, "
                f"but it has a length of '{len(size)}'"
            )
        for i in range(n):
            low, high = default[i] - stride[i], default[i] + stride[i]
            if not low < size[i] < high:
                raise ValueError(
                    f'invalid output_size "{size}" (dim {i} must be between {low} and {high})'
                )
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    lead = input.shape[:-n]
    flat = _C.zeros((*lead, math.prod(size)), dtype=input.dtype, device=input.device)
    flat = flat.scatter(-1, indices.reshape(*lead, -1), input.reshape(*lead, -1))
    return flat.view(*lead, *size)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put the maxima of max_pool1d back to their places, zeros elsewhere.

    Shape: input and indices of one shape (N, C, *); the result (N, C, *output_size).
    Raises: ValueError if output_size does not fit; RuntimeError for indices outside of it.
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@in_float32_on_cpu
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put the maxima of max_pool2d back to their places, zeros elsewhere.

    Shape: input and indices of one shape (N, C, *); the result (N, C, *output_size).
    Raises: ValueError if output_size does not fit; RuntimeError for indices outside of it.
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@in_float32_on_cpu
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put the maxima of max_pool3d back to their places, zeros elsewhere.

    Shape: input and indices of one shape (N, C, *); the result (N, C, *output_size).
    Raises: ValueError if output_size does not fit; RuntimeError for indices outside of it.
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ---- folding ----


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Windows as columns: (N, C, H, W) to (N, C * prod(kernel_size), number of windows).

    Raises: RuntimeError if no window fits.
    """
    return _C.im2col(input, kernel_size, dilation, padding, stride)


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """The adjoint of unfold: sums the columns' values at the places that they came from.

    Shape: (N, C * prod(kernel_size), windows) to (N, C, *output_size).
    Raises: RuntimeError where sizes do not fit.
    """
    return _C.col2im(input, output_size, kernel_size, dilation, padding, stride)


# ---- shuffling ----


# ---- resampling ----


def _named_sizes(sizes: Any) -> str:
    return ", ".join(f"{name}: {size}" for name, size in zip("DHW"[-len(sizes) :], sizes))


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize the last 1, 2 or 3 dimensions: nearest, linear, bilinear, bicubic, trilinear, area.

    Shape: (N, C, *) to (N, C, *size), size = floor(input size * scale_factor) where that is
    given.
    Raises: ValueError if neither or both of size and scale_factor are given; NotImplementedError
    for other ranks than the mode has.
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: "
                "linear | bilinear | bicubic | trilinear"
            )
    elif align_corners is None:
        align_corners = False
    n = input.dim() - 2
    if n < 1:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    scales = [0.0] * n  # 0: from the sizes
    if size is not None:
        if isinstance(size, (list, tuple)) and len(size) != n:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got "
                f"input with spatial dimensions of {list(input.shape[2:])} and output size of "
                f"{size}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and output "
                "size in (o1, o2, ...,oK) format."
            )
        out = [int(s) for s in _tuple(size, n)]
    elif scale_factor is not None:
        scales = [float(s) for s in _tuple(scale_factor, n)]
        out = [int(math.floor(float(input.shape[i + 2]) * scales[i])) for i in range(n)]
        if recompute_scale_factor:
            scales = [0.0] * n
    else:
        raise ValueError("either size or scale_factor should be defined")
    if mode == "area":
        return getattr(_C, f"adaptive_avg_pool{n}d")(input, out)
    n_dims = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}
    if mode in n_dims and n_dims[mode] != input.dim():
        raise NotImplementedError(
            f"Got {input.dim()}D input, but {mode} mode needs {n_dims[mode]}D input"
        )
    if mode not in n_dims and mode not in ("nearest", "nearest-exact"):
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported with the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D "
            "tensor as input"
        )
    if min(input.shape[1:]) <= 0 or min(out) <= 0:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"({_named_sizes(input.shape[2:])}) output ({_named_sizes(out)})"
        )
    return _C.resize_axes(input, out, scales, mode, bool(align_corners), antialias)


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Deprecated name of interpolate."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated name of interpolate(mode='nearest')."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated name of interpolate(mode='bilinear', align_corners=True)."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


@as_it_is
def _matmul_as_it_is(a: Tensor, b: Tensor) -> Tensor:
    return _C.matmul(a, b)


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Sampling grid (N, H, W, 2) of affine maps (N, 2, 3), or (N, D, H, W, 3) of (N, 3, 4).

    Raises: ValueError or RuntimeError for sizes that do not fit, or an unknown mode.
    Source: Jaderberg et al., Spatial Transformer Networks, 2015.
    """
    n = len(size) - 2
    axes = []
    for length in reversed(list(size)[2:]):
        if length > 1:
            axis = _C.linspace(-1, 1, length, dtype=theta.dtype, device=theta.device)
        else:
            axis = _C.zeros(length, dtype=theta.dtype, device=theta.device)
        axes.append(axis if align_corners else axis * ((length - 1) / length))
    columns = []
    spatial = list(size)[2:]
    for i, axis in enumerate(axes):
        shape = [1] * n
        shape[n - 1 - i] = axis.shape[0]
        columns.append(axis.view(shape).expand(spatial))
    columns.append(_C.ones(spatial, dtype=theta.dtype, device=theta.device))
    base = _C.stack(columns, -1).view(1, -1, n + 1)
    # PyTorch has an operator of its own, which autocast knows on the CPU only.
    product = _matmul_as_it_is if theta.is_cuda else _C.matmul
    return product(base, theta.transpose(1, 2)).view(size[0], *spatial, n)


_GRID_MODES = ("bilinear", "nearest", "bicubic")
_GRID_PADDINGS = ("zeros", "border", "reflection")


@in_float32_on_cpu
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Values of (N, C, H, W) at the places (N, Ho, Wo, 2), given as x, y in [-1, 1]; 3-d alike.

    Raises: ValueError or RuntimeError for sizes that do not fit, or an unknown mode.
    Source: Jaderberg et al., Spatial Transformer Networks, 2015.
    """
    if mode not in _GRID_MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in _GRID_PADDINGS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            stacklevel=2,
        )
    return _C.grid_sampler(
        input,
        grid,
        _GRID_MODES.index(mode),
        _GRID_PADDINGS.index(padding_mode),
        bool(align_corners),
    )
