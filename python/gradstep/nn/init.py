# SPDX-License-Identifier: Apache-2.0
"""Ways to fill a tensor with initial values, in place and outside autograd.

``nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")``. Random ones take ``generator=``
and draw PyTorch's numbers for PyTorch's seed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.autograd.grad_mode import no_grad

# ---- plain fills ----


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with numbers drawn uniformly from [a, b).

    Shape: (*), filled in place and returned.
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with normally distributed numbers.

    Shape: (*), filled in place and returned.
    """
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    Shape: (*), filled in place and returned.
    """
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones.

    Shape: (*), filled in place and returned.
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros.

    Shape: (*), filled in place and returned.
    """
    with no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    Shape: (n, m), filled in place and returned.
    Raises: ValueError for other ranks.
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        tensor.zero_()
        for i in range(min(tensor.shape)):
            tensor[i, i] = 1
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution weight so that it passes its input channels through.

    Shape: (C_out, C_in, K..) with 1 to 3 axes K, filled in place and returned.
    Raises: ValueError for other ranks, or if groups does not divide C_out.
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    n_out, n_in, *kernel = tensor.shape
    if n_out % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    n_out_per_group = n_out // groups
    centre = tuple(k // 2 for k in kernel)
    with no_grad():
        tensor.zero_()
        for g in range(groups):
            for channel in range(min(n_out_per_group, n_in)):
                place = (g * n_out_per_group + channel, channel, *centre)
                tensor[place] = 1
    return tensor


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Fill with normally distributed numbers, redrawing those outside [a, b].

    Where the normal curve has less than 0.3 of its mass in [a, b], numbers are drawn uniformly
    there and kept with probability density / peak density.

    Shape: (*), filled in place and returned.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )

    def cdf(x: float) -> float:
        return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))

    with no_grad():
        if cdf((b - mean) / std) - cdf((a - mean) / std) > 0.3:
            # The bounds as the tensor's dtype has them, or a value on the edge never passes.
            low, high = _C.tensor([a, b], dtype=tensor.dtype, device="cpu").tolist()
            tensor.normal_(mean, std, generator=generator)
            rejected = (tensor < low) | (tensor > high)
            while rejected.any():
                redrawn = _C.empty_like(tensor).normal_(mean, std, generator=generator)
                tensor.copy_(_C.where(rejected, redrawn, tensor))
                rejected = (tensor < low) | (tensor > high)
            return tensor

        peak = max(a, min(mean, b))
        log_peak = -0.5 * ((peak - mean) / std) ** 2
        threshold = _C.empty_like(tensor)
        tensor.uniform_(a, b, generator=generator)
        candidates = tensor.detach().clone()
        rejected = None
        while True:
            log_density = ((candidates - mean) / std).pow(2).mul(-0.5).sub(log_peak)
            over = threshold.uniform_(generator=generator).log_() > log_density
            rejected = over if rejected is None else rejected & over
            if not rejected.any():
                return tensor
            candidates.uniform_(a, b, generator=generator)
            tensor.copy_(_C.where(rejected, candidates, tensor))


# ---- fills that look at the shape ----

_LINEAR = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """How much a nonlinearity asks the weights' standard deviation to be scaled.

    Raises: ValueError for an unknown nonlinearity.
    Source: He et al., 2015; selu: Klambauer et al., 2017.

    >>> nn.init.calculate_gain("relu") ** 2
    2.0000000000000004
    """
    if nonlinearity in _LINEAR:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            param = 0.01
        elif isinstance(param, bool) or not isinstance(param, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + param**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    valid_modes = ["fan_in", "fan_out"]
    if mode not in valid_modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {valid_modes}")
    return _calculate_fan_in_and_fan_out(tensor)[valid_modes.index(mode)]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform with variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio, 2010).

    Shape: (out, in, K..), fan_in = in * K.., fan_out = out * K..; filled in place and returned.
    Raises: ValueError for less than 2 axes, or an unknown mode or nonlinearity.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / float(fan_in + fan_out)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio, 2010).

    Shape: (out, in, K..), fan_in = in * K.., fan_out = out * K..; filled in place and returned.
    Raises: ValueError for less than 2 axes, or an unknown mode or nonlinearity.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform with variance gain^2 / fan (He et al., 2015); `a` is leaky_relu's slope.

    Shape: (out, in, K..), fan_in = in * K.., fan_out = out * K..; filled in place and returned.
    Raises: ValueError for less than 2 axes, or an unknown mode or nonlinearity.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with variance gain^2 / fan (He et al., 2015); `a` is leaky_relu's slope.

    Shape: (out, in, K..), fan_in = in * K.., fan_out = out * K..; filled in place and returned.
    Raises: ValueError for less than 2 axes, or an unknown mode or nonlinearity.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0, std, generator)


def _orthonormal_columns(matrix: Tensor) -> Tensor:
    """Q of the QR factorization whose R has a positive diagonal, which makes it unique.

    Gram-Schmidt in double precision, projected out twice ("twice is enough").
    """
    rows = matrix.double().t().contiguous()
    for j in range(rows.shape[0]):
        v = rows[j]
        if j:
            done = rows[:j]
            for _ in range(2):
                v = v - (done @ v) @ done
        rows[j] = v / v.pow(2).sum().sqrt()
    return rows.t()


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Fill with a (semi) orthogonal matrix, drawn uniformly (Saxe et al., 2013).

    Shape: (n, m..), as a matrix of n rows; filled in place and returned.
    Raises: ValueError for less than 2 axes.
    """
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    with no_grad():
        flat = _C.empty((rows, cols), dtype=tensor.dtype, device=tensor.device)
        flat.normal_(0, 1, generator=generator)
        q = _orthonormal_columns(flat.t()).t() if rows < cols else _orthonormal_columns(flat)
        tensor.copy_(q.reshape(tensor.shape))
        return tensor.mul_(gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers, with a fraction `sparsity` of every column set to zero (Martens, 2010).

    Shape: (n, m), filled in place and returned.
    Raises: ValueError for other ranks.
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, cols = tensor.shape
    n_zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for col in range(cols):
            tensor[_C.randperm(rows, device="cpu")[:n_zeros], col] = 0
    return tensor


# ---- the names without underscore, deprecated ----


def _deprecated(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    new_name = fn.__name__
    old_name = new_name[:-1]

    def alias(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{old_name}` is now deprecated in favor of `nn.init.{new_name}`.",
            FutureWarning,
            stacklevel=2,
        )
        return fn(*args, **kwargs)

    alias.__name__ = old_name
    alias.__doc__ = f"Deprecated name of {new_name}."
    return alias


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
