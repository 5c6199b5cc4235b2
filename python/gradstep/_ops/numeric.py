# SPDX-License-Identifier: Apache-2.0
"""Statistics, integrals, finite differences, histograms and reductions over parts of a tensor."""

import math
from typing import Any

import numpy as np

from gradstep import _C
from gradstep._C import Tensor
from gradstep._numerics import finfo
from gradstep._ops._results import named

grid_sampler_2d = _C.grid_sampler
grid_sampler_3d = _C.grid_sampler


def _written(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else out.resize_(result.shape).copy_(result)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates of flat indices into an array of a shape, one tensor for each axis."""
    if not isinstance(indices, Tensor):
        raise TypeError(
            f"unravel_index(): argument 'indices' must be Tensor, not {type(indices).__name__}"
        )
    if indices.dtype.is_floating_point or indices.dtype is _C.bool:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if isinstance(shape, Tensor):
        shape = shape.tolist()
    if not isinstance(shape, (int, tuple, list)):
        raise TypeError(
            f"expected 'shape' to be int or sequence of ints, but got {type(shape).__name__}"
        )
    sizes = [shape] if isinstance(shape, int) else list(shape)
    if any(not isinstance(n, int) for n in sizes):
        raise TypeError("expected 'shape' sequence to only contain ints")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(sizes)}")
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    indices = indices.to(_C.int64)
    return tuple((indices // s) % n for s, n in zip(strides, sizes, strict=True))


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1, out: Any = None) -> Tensor:
    """The coordinates of the first `size` elements that are not zero; rows of fill_value where there are fewer."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = _C.nonzero(input)[:size]
    lacking = size - found.shape[0]
    if lacking:
        found = _C.cat([found, found.new_full((lacking, found.shape[1]), fill_value)])
    return _written(found, out)


# ---- statistics ----


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariance matrix of variables in rows and observations in columns.

    Shape: (variables, observations) to (variables, variables); (observations) to ().
    Raises: RuntimeError for more than 2 axes or weights that do not fit.
    """
    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    if input.dtype is _C.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input if input.dim() == 2 else input.reshape(1, -1)
    n = x.shape[1]
    w: Tensor | None = None
    for name, weights, integral in (("fweights", fweights, True), ("aweights", aweights, False)):
        if weights is None:
            continue
        if weights.dim() > 1:
            raise RuntimeError(
                f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.dim()} dimensions"
            )
        if weights.dtype.is_floating_point == integral or weights.dtype is _C.bool:
            kind = "integral" if integral else "floating point"
            raise RuntimeError(
                f"cov(): expected {name} to have {kind} dtype but got {name} with {weights.dtype} dtype"
            )
        if weights.numel() != n:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the input but got "
                f"{weights.numel()} != {n}"
            )
        if n and bool((weights.min() < 0).item()):
            raise RuntimeError(f"cov(): {name} cannot be negative")
        w = weights if w is None else w * weights
    if w is not None and n and bool((w.sum() == 0).item()):
        raise RuntimeError("cov(): weights sum to zero, can't be normalized")
    if not x.dtype.is_floating_point:
        x = x.to(_C.get_default_dtype())
    total: Any = n if w is None else w.sum()
    mean = x.mean(1, keepdim=True) if w is None else (x * w).sum(1, keepdim=True) / total
    if w is None or correction == 0:
        norm = total - (correction if w is None else 0)
    elif aweights is None:
        norm = total - correction
    else:
        norm = total - correction * (w * aweights).sum() / total
    if (norm if not isinstance(norm, Tensor) else norm.item()) <= 0:
        import warnings

        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
            stacklevel=2,
        )
        norm = norm.clamp(min=0) if isinstance(norm, Tensor) else 0
    centred = x - mean
    right = centred if w is None else centred * w
    product = centred @ right.mT
    result = product / norm
    return result if input.dim() == 2 and input.shape[0] != 1 else result.squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation of variables in rows.

    Shape: (variables, observations) to (variables, variables); (observations) to ().
    Raises: RuntimeError for more than 2 axes or weights that do not fit.
    """
    if input.dim() > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    c = cov(input)
    if c.dim() == 0:
        return c / c
    d = c.diagonal().sqrt()
    return (c / d.unsqueeze(1) / d).clamp(-1, 1)


# ---- integrals and differences ----


def _areas(name: str, y: Tensor, x: Any, dx: Any, dim: int) -> Tensor:
    if y.dtype is _C.bool or (isinstance(x, Tensor) and x.dtype is _C.bool):
        raise RuntimeError(
            f"{name}: received a bool input for `{'y' if y.dtype is _C.bool else 'x'}`, but bool is not supported"
        )
    n = y.shape[dim]
    if x is not None:
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): argument 'x' must be Tensor, not {type(x).__name__}")
        if x.dim() == 1:
            if x.shape[0] != n:
                raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
            shape = [1] * y.dim()
            shape[dim] = n
            x = x.reshape(shape)
        elif x.dim() < y.dim():
            x = x.reshape([1] * (y.dim() - x.dim()) + list(x.shape))
        steps = x.diff(dim=dim)
    else:
        steps = dx
    low, high = y.narrow(dim, 0, max(n - 1, 0)), y.narrow(dim, min(1, n), max(n - 1, 0))
    return (low + high) * steps / 2.0


def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule, over steps of dx or between the places x.

    Shape: y (.., n, ..) to the same without dim.
    """
    if y.dim() and y.shape[dim] == 0:
        return y.sum(dim).to(_C.get_default_dtype() if not y.dtype.is_floating_point else y.dtype)
    return _areas("trapezoid", y, x, dx, dim).sum(dim)


def trapz(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """trapezoid."""
    return trapezoid(y, x, dx=dx, dim=dim)


def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1
) -> Tensor:
    """The running integral by the trapezoidal rule: one element less along the axis.

    Shape: y (.., n, ..) to (.., n - 1, ..).
    """
    return _areas("cumulative_trapezoid", y, x, dx, dim).cumsum(dim)


def _slope(f: Tensor, dim: int, h: Any, edge_order: int) -> Tensor:
    n = f.shape[dim]

    def at(start: int, length: int) -> Tensor:
        return f.narrow(dim, start, length)

    if isinstance(h, Tensor):
        shape = [1] * f.dim()
        shape[dim] = n
        steps = h.to(f.dtype).reshape(shape).diff(dim=dim)
        h0, h1 = steps.narrow(dim, 0, n - 2), steps.narrow(dim, 1, n - 2)
        first, second = steps.narrow(dim, 0, 1), steps.narrow(dim, min(1, n - 2), 1)
        last, before = steps.narrow(dim, n - 2, 1), steps.narrow(dim, max(n - 3, 0), 1)
        middle = (
            at(2, n - 2) * (h0 / (h1 * (h0 + h1)))
            + at(1, n - 2) * ((h1 - h0) / (h0 * h1))
            - at(0, n - 2) * (h1 / (h0 * (h0 + h1)))
        )
    else:
        first = second = last = before = h
        middle = (at(2, n - 2) - at(0, n - 2)) / (2 * h)
    if edge_order == 1:
        left, right = (at(1, 1) - at(0, 1)) / first, (at(n - 1, 1) - at(n - 2, 1)) / last
    else:
        left = (
            -(2 * first + second) / (first * (first + second)) * at(0, 1)
            + (first + second) / (first * second) * at(1, 1)
            - first / (second * (first + second)) * at(2, 1)
        )
        right = (
            last / (before * (before + last)) * at(n - 3, 1)
            - (before + last) / (before * last) * at(n - 2, 1)
            + (2 * last + before) / (last * (last + before)) * at(n - 1, 1)
        )
    return _C.cat([left, middle, right], dim)


def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> Any:
    """Derivatives along axes by central differences of second order, one-sided ones at the ends."""
    axes = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    for d in axes:
        if not -input.dim() <= d < input.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-input.dim()}, {input.dim() - 1}], but got {d})"
            )
    if len({d % input.dim() for d in axes}) != len(axes):
        raise RuntimeError("dim appears multiple times in the list of dims")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if spacing is None:
        spacing = 1
    if isinstance(spacing, (int, float)) or (isinstance(spacing, Tensor) and spacing.dim() == 0):
        spaces: list[Any] = [spacing] * len(axes)
    else:
        spaces = [spacing] if isinstance(spacing, Tensor) else list(spacing)
        if (
            dim is not None
            and not isinstance(dim, int)
            and len(spaces) != len(axes)
            or ((dim is None or isinstance(dim, int)) and len(spaces) != len(axes))
        ):
            raise RuntimeError(
                "torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() "
                f"- {len(axes)}', but got a list of length {len(spaces)}"
            )
    f = input if input.dtype.is_floating_point else input.to(_C.get_default_dtype())
    results = []
    for d, h in zip(axes, spaces, strict=True):
        if input.shape[d] < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )
        if isinstance(h, Tensor) and h.dim() and h.numel() != input.shape[d]:
            raise RuntimeError(
                "torch.gradient expected each element of 'spacing' to have as many coordinates as its dimension has places"
            )
        if isinstance(h, Tensor) and h.device != input.device:
            raise RuntimeError(
                "torch.gradient expected each tensor to be on the same device, but got devices "
                f"{input.device} and {h.device}!"
            )
        results.append(
            _slope(f, d, h.item() if isinstance(h, Tensor) and not h.dim() else h, edge_order)
        )
    return results


# ---- histograms ----


def _edges(bins: Any, low: float, high: float, x: Tensor, name: str) -> Any:
    if isinstance(bins, Tensor):
        if bins.dim() != 1:
            raise RuntimeError(
                f"{name}(): bins tensor should have one dimension, but got {bins.dim()} dimensions"
            )
        return bins.detach().cpu().numpy()
    if bins <= 0:
        raise RuntimeError(f"{name}(): bins must be > 0, but got {bins}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    return _C.linspace(low, high, bins + 1, dtype=x.dtype, device="cpu").numpy()


def _histogram(
    name: str, x: Tensor, bins: Any, range: Any, weight: Tensor | None, density: bool
) -> Any:
    """Counts (weights) in the cells of a grid over points in rows, and the edges of the cells."""
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"\"{name}_cpu\" not implemented for '{x.dtype}'")
    points = x.detach().reshape(-1, x.shape[-1])
    d = points.shape[1]
    if weight is not None:
        if weight.dtype != x.dtype:
            raise RuntimeError(
                f"{name}(): if weight tensor is provided, input tensor and weight tensor should have the same dtype, "
                f"but got input(type={x.dtype}), and weight(type={weight.dtype})"
            )
        if weight.shape != x.shape[:-1]:
            raise RuntimeError(
                f"{name}(): if weight tensor is provided it should have the same shape as the input tensor excluding "
                f"its innermost dimension, but got input with shape {list(x.shape)} and weight with shape {list(weight.shape)}"
            )
    array = points.cpu().numpy()
    edges = []
    for i in map(int, np.arange(d)):
        if range is not None:
            low, high = float(range[2 * i]), float(range[2 * i + 1])
            if low > high:
                raise RuntimeError(
                    f"{name}(): min should not exceed max, but got min {low} max {high}"
                )
        elif len(array):
            low, high = float(array[:, i].min()), float(array[:, i].max())
        else:
            low, high = 0.0, 1.0
        edges.append(_edges(bins[i], low, high, x, name))
    weights = (
        None if weight is None else weight.detach().cpu().numpy().reshape(-1).astype(np.float64)
    )
    # By the edges as they are: numpy's own search scales, which moves points that lie on an edge.
    inside = np.ones(len(array), bool)
    cells = []
    for i, e in enumerate(edges):
        place = np.searchsorted(e, array[:, i], side="right") - 1
        place = np.where(array[:, i] == e[-1], len(e) - 2, place)
        inside &= (place >= 0) & (place < len(e) - 1)
        cells.append(place)
    shape = tuple(len(e) - 1 for e in edges)
    flat = (
        np.ravel_multi_index([c[inside] for c in cells], shape)
        if inside.any()
        else np.zeros(0, np.int64)
    )
    counts = np.bincount(flat, None if weights is None else weights[inside], math.prod(shape))
    hist = counts.reshape(shape).astype(np.float64)
    if density:
        hist = hist / hist.sum()
        for i, e in enumerate(edges):
            width = np.diff(e).reshape([-1 if j == i else 1 for j in np.arange(d)])
            hist = hist / width
    back = [_C.from_numpy(np.array(e)).to(x.device, x.dtype) for e in edges]
    return _C.from_numpy(hist).to(x.device, x.dtype), back


def histogram(
    input: Tensor,
    bins: Any = 100,
    *,
    range: Any = None,
    weight: Tensor | None = None,
    density: bool = False,
    out: Any = None,
) -> Any:
    """(hist, bin_edges): how many elements (or how much weight) lie between neighbouring edges; the last edge is in.

    Shape: input (*); hist (bins), bin_edges (bins + 1).
    Raises: RuntimeError for weights of another shape, or edges that are not ascending.
    """
    if weight is not None and weight.shape != input.shape:
        raise RuntimeError(
            f"histogramdd(): if weight tensor is provided it should have the same shape as the input tensor, got "
            f"{list(input.shape)} and {list(weight.shape)}"
        )
    hist, edges = _histogram(
        "histogram",
        input.reshape(-1, 1),
        [bins],
        range,
        None if weight is None else weight.reshape(-1),
        density,
    )
    return named("histogram", hist=hist, bin_edges=edges[0])


def histogramdd(
    input: Tensor,
    bins: Any,
    range: Any = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """(hist, bin_edges) of points in the last axis.

    Shape: input (*, d); hist of d axes, d vectors of edges.
    """
    if input.dim() < 2:
        raise RuntimeError(
            f"histogramdd(): input tensor should have at least 2 dimensions, but got {input.dim()}"
        )
    each = [bins] * input.shape[-1] if isinstance(bins, int) else list(bins)
    if len(each) != input.shape[-1]:
        raise RuntimeError(
            f"histogramdd(): The size of bins must be equal to the innermost dimension of the input, but got {len(each)} "
            f"and {input.shape[-1]}"
        )
    hist, edges = _histogram("histogramdd", input, each, range, weight, density)
    return named("histogramdd", hist=hist, bin_edges=edges)


# ---- parts of a tensor ----


def renorm(
    input: Tensor, p: float, dim: int, maxnorm: float, *, out: Tensor | None = None
) -> Tensor:
    """input with each slice along an axis scaled down to the p-norm maxnorm where it is larger.

    Shape: (*) to (*).
    """
    if input.dim() < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions"
        )
    if p <= 0:
        raise RuntimeError("renorm: non-positive norm degree not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    others = [d for d in range(input.dim()) if d != dim % input.dim()]
    norm = _C.linalg_vector_norm(input, p, others, True)
    scale = _C.where(norm > maxnorm, maxnorm / (norm + 1e-7), 1.0)
    return _written(input * scale, out)


_INDEX_REDUCE = {"prod": "prod", "mean": "mean", "amax": "amax", "amin": "amin"}


def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """The slices of source folded into those of input that index names: by 'prod', 'mean', 'amax' or 'amin'.

    Shape: input (.., n, ..), index (k), source (.., k, ..); the result as input.
    Raises: RuntimeError for an unknown reduce or shapes that do not fit; IndexError for indices
    out of range.
    """
    if reduce not in _INDEX_REDUCE:
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    if index.dtype not in (_C.int64, _C.int32):
        raise RuntimeError(
            f"index_reduce(): Expected dtype int32/int64 for index but got: {index.dtype}"
        )
    if source.dtype != input.dtype:
        raise RuntimeError(
            f"index_reduce(): self ({input.dtype}) and source ({source.dtype}) must have the same scalar type"
        )
    x, s = (t.unsqueeze(0) if t.dim() == 0 else t for t in (input, source))
    d = dim % x.dim()
    index = index.reshape(-1).to(_C.int64)
    if index.numel() != s.shape[d]:
        raise RuntimeError(
            f"index_reduce(): Number of indices ({index.numel()}) should be equal to source.size(dim) ({s.shape[d]})"
        )
    shape = [1] * x.dim()
    shape[d] = -1
    places = index.reshape(shape).expand(s.shape)
    result = x.scatter_reduce(d, places, s, _INDEX_REDUCE[reduce], include_self=include_self)
    return result.reshape(input.shape)


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Any = None,
) -> Tensor:
    """Reductions ('sum', 'mean', 'max', 'min', 'prod') of the segments of an axis, given by lengths or offsets."""
    if reduce not in ("sum", "mean", "max", "min", "prod"):
        raise RuntimeError(f"Unsupported reduction given: {reduce}")
    if offsets is None and lengths is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if offsets is not None:
        lengths = offsets.diff()
    assert lengths is not None
    if not unsafe:
        if bool((lengths < 0).any().item()):
            raise RuntimeError("lengths contains negative value!")
        if offsets is None and bool((lengths.sum(-1) != data.shape[axis]).any().item()):
            raise RuntimeError(
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe."
            )
    start = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}[reduce]
    first = start if initial is None else float(initial)
    # Which segment an element is in; places past the last segment go into a spare one, dropped below.
    ends = lengths.cumsum(-1)
    batch, n, k = tuple(lengths.shape[:-1]), data.shape[axis], lengths.shape[-1]
    base = offsets.narrow(-1, 0, 1) if offsets is not None else _C.zeros_like(ends.narrow(-1, 0, 1))
    places = _C.arange(n, device=data.device).expand(*batch, n)
    which = (places.unsqueeze(-1) >= (ends + base).unsqueeze(-2)).sum(-1)
    which = _C.where(places < base, k, which)
    tail = tuple(data.shape[axis + 1 :])
    index = which.reshape(*batch, n, *[1] * len(tail)).expand(data.shape)
    empty = data.new_full((*batch, k + 1, *tail), first)
    how = {"max": "amax", "min": "amin", "mean": "sum"}.get(reduce, reduce)
    result = empty.scatter_reduce(axis, index, data, how, include_self=True).narrow(axis, 0, k)
    if reduce == "mean":
        count = lengths.reshape(*lengths.shape, *[1] * len(tail)).to(data.dtype)
        missing = first if initial is not None else math.nan
        result = _C.where(count > 0, result / count.clamp(min=1), missing)
    return result


_segment_reduce = segment_reduce


def _unsafe_masked_index(input: Tensor, mask: Tensor, indices: Any, fill: float) -> Tensor:
    """input[indices] where mask is true, fill elsewhere; indices there may be out of range."""
    places = [None if i is None else i.clamp(0, input.shape[d] - 1) for d, i in enumerate(indices)]
    found = input[tuple(slice(None) if i is None else i for i in places)]
    return found.masked_fill(~mask, fill)


def _unsafe_masked_index_put_accumulate(
    input: Tensor, mask: Tensor, indices: Any, values: Tensor
) -> Tensor:
    """input with values added at indices where mask is true."""
    places = [None if i is None else i.clamp(0, input.shape[d] - 1) for d, i in enumerate(indices)]
    return input.index_put(places, values.masked_fill(~mask, 0), accumulate=True)


# ---- normalisations with their statistics ----


def native_layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(layer_norm, mean, reciprocal standard deviation)."""
    y = _C.layer_norm(input, list(normalized_shape), weight, bias, eps)
    axes = list(range(input.dim() - len(normalized_shape), input.dim()))
    mean = input.mean(axes, keepdim=True)
    return y, mean, (input.var(axes, correction=0, keepdim=True) + eps).rsqrt()


def native_group_norm(
    input: Tensor, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(group_norm, mean, reciprocal standard deviation), the last two of shape (N, group)."""
    y = _C.group_norm(input, group, weight, bias, eps)
    x = input.reshape(N, group, C // group * HxW)
    return y, x.mean(-1), (x.var(-1, correction=0) + eps).rsqrt()


def native_batch_norm(
    input: Tensor,
    weight: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """(batch_norm, mean, reciprocal standard deviation) of the batch; the last two empty outside training."""
    axes = [0, *range(2, input.dim())]
    y = _C.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if not training:
        return y, input.new_empty((0,)), input.new_empty((0,))
    return y, input.mean(axes), (input.var(axes, correction=0) + eps).rsqrt()


def _native_batch_norm_legit(input: Tensor, weight: Any, bias: Any, *rest: Any) -> Any:
    """native_batch_norm; without the two running statistics in another form."""
    statistics = rest if len(rest) == 5 else (None, None, *rest)
    return native_batch_norm(input, weight, bias, *statistics)


def _softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """The gradient of softmax's input: y (g - sum(g y))."""
    inner = grad_output * output
    return (inner - output * inner.sum(dim, keepdim=True)).to(input_dtype)


def _log_softmax_backward_data(
    grad_output: Tensor, output: Tensor, dim: int, input_dtype: Any
) -> Tensor:
    """The gradient of log_softmax's input: g - exp(y) sum(g)."""
    return (grad_output - output.exp() * grad_output.sum(dim, keepdim=True)).to(input_dtype)


def _sample_dirichlet(input: Tensor, generator: Any = None) -> Tensor:
    """Shares along the last axis with these concentrations."""
    # Gamma numbers over their sum, in double: those of small concentrations underflow in float.
    gammas = _C._standard_gamma(input.double(), generator)
    share = (gammas / gammas.sum(-1, True)).to(input.dtype)
    limits = finfo(share.dtype)
    share.detach().clamp_(limits.tiny, 1 - limits.eps / 2)
    return share
