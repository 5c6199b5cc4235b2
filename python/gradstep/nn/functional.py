# SPDX-License-Identifier: Apache-2.0
"""The functions under the layers: ``import gradstep.nn.functional as F; F.relu(x)``.

A function that the engine has with PyTorch's signature is the engine's own object. Written here
are only those that warn in Python or are made of several ops. Such losses are in _losses.py,
pooling and image functions in _vision.py, attention in _attention.py.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from gradstep import _C
from gradstep._C import (
    Tensor,
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    alpha_dropout,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    batch_norm,
    bilinear,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    celu,
    celu_,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    dropout,
    elu,
    elu_,
    embedding,
    feature_alpha_dropout,
    gaussian_nll_loss,
    gelu,
    group_norm,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    hardtanh_,
    hinge_embedding_loss,
    instance_norm,
    layer_norm,
    leaky_relu,
    leaky_relu_,
    linear,
    logsigmoid,
    margin_ranking_loss,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    mish,
    multi_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    one_hot,
    pad,
    pairwise_distance,
    pixel_shuffle,
    pixel_unshuffle,
    poisson_nll_loss,
    prelu,
    relu,
    relu6,
    relu_,
    rms_norm,
    scaled_dot_product_attention,
    selu,
    selu_,
    sigmoid,
    silu,
    soft_margin_loss,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
    threshold_,
    triplet_margin_loss,
)

from ._attention import multi_head_attention_forward
from ._losses import (
    ctc_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    multilabel_margin_loss,
    smooth_l1_loss,
    triplet_margin_with_distance_loss,
)
from ._vision import (
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    affine_grid,
    fold,
    grid_sample,
    interpolate,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
    unfold,
    upsample,
    upsample_bilinear,
    upsample_nearest,
)

# ---- activations ----


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """leaky_relu whose slope is drawn from [lower, upper) in training, else their mean.

    Shape: (*) to (*).
    Source: Xu et al., Empirical Evaluation of Rectified Activations in Convolutional Network,
    2015.
    Raises: RuntimeError where lower exceeds upper.
    """
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if training:
        slope = _C.empty_like(input).uniform_(lower, upper)
        result = _C.where(input > 0, input, input * slope)
        return input.copy_(result) if inplace else result
    return _C.leaky_relu(input, (lower + upper) / 2, inplace)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the halves of the input along `dim`.

    Shape: (.., 2 n, ..) to (.., n, ..).
    Raises: RuntimeError if the axis is odd or the input 0-d.
    Source: Dauphin et al., Language Modeling with Gated Convolutional Networks, 2017.
    """
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.shape[dim]
    if size % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}"
        )
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def _implicit_dim(name: str, n_dims: int, stacklevel: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. "
        "Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if n_dims in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`.

    Shape: (*) to (*).
    Raises: IndexError if dim is no axis; RuntimeError for integers without dtype.
    """
    if dim is None:
        dim = _implicit_dim("softmax", input.dim(), _stacklevel)
    return _C.softmax(input, dim, dtype=dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """softmax(-x).

    Shape: (*) to (*).
    Raises: IndexError if dim is no axis; RuntimeError for integers without dtype.
    """
    if dim is None:
        dim = _implicit_dim("softmin", input.dim(), _stacklevel)
    return _C.softmax(-input, dim, dtype=dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """log(softmax(x)), computed stably.

    Shape: (*) to (*).
    Raises: IndexError if dim is no axis; RuntimeError for integers without dtype.
    """
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim(), _stacklevel)
    return _C.log_softmax(input, dim, dtype=dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """A sample of the Gumbel-softmax distribution; with `hard` one-hot, gradients of the soft.

    Shape: logits (*) to (*), sums of 1 along dim.
    Source: Jang et al., Categorical Reparameterization with Gumbel-Softmax, 2017.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = -_C.empty_like(logits).exponential_().log()
    soft = _C.softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one = _C.zeros_like(logits).scatter_(dim, index, 1.0)
    return one - soft.detach() + soft


# ---- normalization ----


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by a power of the mean square over neighbouring channels (Krizhevsky, 2012).

    Shape: (N, C, *) to the same.
    Raises: ValueError for less than 3 axes.
    """
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    square = input.mul(input).movedim(1, -1)
    square = _C.pad(square, (size // 2, (size - 1) // 2))
    window = square.unfold(-1, size, 1)
    mean = window.mean(-1) if input.is_floating_point() else window.sum(-1) // size
    mean = mean.movedim(-1, 1)
    return input / mean.mul(alpha).add(k).pow(beta)


def normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """x / max(||x||_p, eps) along `dim`.

    Shape: (*) to (*).
    Raises: IndexError if dim is no axis.
    """
    result = input / input.norm(p, dim, keepdim=True).clamp_min(eps)
    return result if out is None else out.copy_(result)


# ---- linear and sparse ----


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or max of rows of `weight` over bags of indices.

    Shape: indices (N, S), or (total) with offsets (N); weight (V, D); the result (N, D).
    Raises: IndexError or RuntimeError for indices or offsets that do not fit; ValueError for an
    unknown mode.
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        n_bags, length = input.shape
        bags = _C.arange(n_bags, device=input.device).repeat_interleave(length)
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = offsets[:-1] if include_last_offset else offsets
        n_bags = starts.shape[0]
        place = _C.arange(input.shape[0], device=input.device)
        bags = (place.unsqueeze(1) >= starts.unsqueeze(0)).sum(1) - 1
    else:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    all_bags = n_bags
    if padding_idx is not None:  # padding has a bag of its own, which is left out at the end
        bags = _C.where(input == padding_idx % weight.shape[0], n_bags, bags)
        all_bags += 1
    rows = _C.embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    out = rows.new_zeros((all_bags, weight.shape[1]))
    if mode == "max":
        index = bags.unsqueeze(1).expand(rows.shape)
        return out.scatter_reduce(0, index, rows, "amax", include_self=False)[:n_bags]
    out = out.index_add(0, bags, rows)
    if mode == "mean":
        counts = out.new_zeros(all_bags).index_add(0, bags, out.new_ones(bags.shape[0]))
        out = out / counts.clamp_min(1).unsqueeze(1)
    return out[:n_bags]


# ---- dropout ----


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _feature_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    return (_C.feature_dropout_ if inplace else _C.feature_dropout)(input, p, training)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of a (N, C, L) or (C, L) input.

    Raises: ValueError if p is outside of [0, 1].
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """
    _check_probability(p)
    n_dims = input.dim()
    if n_dims not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {n_dims}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, "
            "a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    if n_dims == 3:
        return _feature_dropout(input, p, training, inplace)
    return _feature_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of a (N, C, H, W) input.

    Raises: ValueError if p is outside of [0, 1].
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """
    _check_probability(p)
    n_dims = input.dim()
    if n_dims not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {n_dims}-D input to dropout2d, which is deprecated and will "
            "result in an error in a future release. To retain the behavior and silence this "
            "warning, please use dropout instead. Note that dropout2d exists to provide "
            "channel-wise dropout on inputs with 2 spatial dimensions, a channel dimension, and "
            "an optional batch dimension (i.e. 3D or 4D inputs).",
            stacklevel=2,
        )
    if n_dims == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
            "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel "
            "dim. This behavior will change in a future release to interpret the input as one "
            "without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _feature_dropout(input, p, training, inplace)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of a (N, C, D, H, W) or (C, D, H, W) input.

    Raises: ValueError if p is outside of [0, 1].
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """
    _check_probability(p)
    n_dims = input.dim()
    if n_dims not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {n_dims}-D input to dropout3d, which is deprecated and will "
            "result in an error in a future release. To retain the behavior and silence this "
            "warning, please use dropout instead. Note that dropout3d exists to provide "
            "channel-wise dropout on inputs with 3 spatial dimensions, a channel dimension, and "
            "an optional batch dimension (i.e. 4D or 5D inputs).",
            stacklevel=2,
        )
    if n_dims == 4:
        return _feature_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)
    return _feature_dropout(input, p, training, inplace)


# ---- padding and distances ----


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distances of all pairs of rows of a matrix, in order (0, 1), (0, 2), ..

    Shape: (n, d) to (n (n - 1) / 2).
    Raises: RuntimeError for other ranks.
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    n = input.shape[0]
    first = _C.tensor(
        [i for i in range(n) for _ in range(i + 1, n)], dtype=_C.int64, device=input.device
    )
    second = _C.tensor(
        [j for i in range(n) for j in range(i + 1, n)], dtype=_C.int64, device=input.device
    )
    return (input[first] - input[second]).norm(p, -1)


# ---- kept in _sampled.py, which is imported when one of them is called ----


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The maximum over windows at random places of (N, C, H, W) or (C, H, W).

    Raises: ValueError if neither or both of output_size and output_ratio are given.
    Source: Graham, Fractional Max-Pooling, 2014.
    """
    from gradstep.nn._sampled import fractional_max_pool

    return fractional_max_pool(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The maximum over windows at random places of (N, C, D, H, W) or (C, D, H, W).

    Raises: ValueError if neither or both of output_size and output_ratio are given.
    Source: Graham, Fractional Max-Pooling, 2014.
    """
    from gradstep.nn._sampled import fractional_max_pool

    return fractional_max_pool(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, **arguments: Any
) -> Tensor:
    """The cross entropy of a linear layer's result, as cross_entropy(linear(input, linear_weight), target).

    Shape: input (N, D), linear_weight (C, D), target (N); the result (N) with reduction='none',
    else 0-d.
    """
    from gradstep.nn import _sampled

    return _sampled.linear_cross_entropy(input, linear_weight, target, **arguments)


# PyTorch has these twice, here and in torch: an override is told which it was.
for _name in (
    "alpha_dropout batch_norm binary_cross_entropy_with_logits celu cosine_embedding_loss dropout embedding "
    "feature_alpha_dropout group_norm hinge_embedding_loss instance_norm layer_norm margin_ranking_loss max_pool1d "
    "max_pool2d max_pool3d poisson_nll_loss relu rms_norm selu sigmoid tanh threshold triplet_margin_loss"
).split():
    globals()[_name] = _C._functional_twin(globals()[_name])

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "celu_",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "elu_",
    "embedding",
    "embedding_bag",
    "feature_alpha_dropout",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "leaky_relu_",
    "linear",
    "linear_cross_entropy",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_head_attention_forward",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "relu_",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "selu_",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "threshold_",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]
