# SPDX-License-Identifier: Apache-2.0
"""Activation layers: every one maps (*) to (*), except GLU, which halves a dimension."""

from __future__ import annotations

from typing import Any

from gradstep import _C
from gradstep._C import Tensor

from .. import functional as F
from ..functional import relu
from ..parameter import Parameter
from .module import Module
from .multihead_attention import MultiheadAttention as MultiheadAttention  # its older path


class _InPlace(Module):
    """An activation whose only argument is `inplace`."""

    __constants__ = ["inplace"]
    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


# ---- rectifiers ----


class ReLU(_InPlace):
    """ReLU(inplace=False): max(0, x).

    Shape: (*) to (*).
    Source: Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, 2010.

    >>> nn.ReLU()(gs.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return relu(input, self.inplace)


class Hardtanh(Module):
    """Hardtanh(min_val=-1.0, max_val=1.0, inplace=False): x limited to [min_val, max_val].

    Shape: (*) to (*).
    """

    __constants__ = ["min_val", "max_val", "inplace"]

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if not self.max_val > self.min_val:
            raise AssertionError("max_val must be larger than min_val")

    def forward(self, input: Tensor) -> Tensor:
        return _C.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"min_val={self.min_val}, max_val={self.max_val}{inplace}"


class ReLU6(Hardtanh):
    """ReLU6(inplace=False): min(max(0, x), 6).

    Shape: (*) to (*).
    Source: Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, 2010.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """LeakyReLU(negative_slope=0.01, inplace=False): x where positive, else slope x.

    Shape: (*) to (*).
    Source: Maas et al., Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013.
    """

    __constants__ = ["inplace", "negative_slope"]

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return _C.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"negative_slope={self.negative_slope}{inplace}"


class PReLU(Module):
    """PReLU(num_parameters=1, init=0.25, device=None, dtype=None): leaky with a learned slope.

    Shape: (N, C, *) to the same; one slope, or C of them.
    Source: He et al., Delving Deep into Rectifiers, 2015.
    """

    __constants__ = ["num_parameters"]

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(_C.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all slopes to the initial one."""
        self.weight.data.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        return _C.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """RReLU(lower=1/8, upper=1/3, inplace=False): leaky with a random slope in training.

    Shape: (*) to (*).
    Source: Xu et al., Empirical Evaluation of Rectified Activations in Convolutional Network,
    2015.
    """

    __constants__ = ["lower", "upper", "inplace"]

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"lower={self.lower}, upper={self.upper}{inplace}"


class Threshold(Module):
    """Threshold(threshold, value, inplace=False): x where above the threshold, else value.

    Shape: (*) to (*).
    """

    __constants__ = ["threshold", "value", "inplace"]

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        inplace = ", inplace=True" if self.inplace else ""
        return f"threshold={self.threshold}, value={self.value}{inplace}"


# ---- exponential units ----


class _Alpha(Module):
    __constants__ = ["alpha", "inplace"]

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}{', inplace=True' if self.inplace else ''}"


class ELU(_Alpha):
    """ELU(alpha=1.0, inplace=False): x where positive, else alpha (exp(x) - 1).

    Shape: (*) to (*).
    Source: Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units,
    2016.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.elu(input, self.alpha, self.inplace)


class CELU(_Alpha):
    """CELU(alpha=1.0, inplace=False): max(0, x) + min(0, alpha (exp(x / alpha) - 1)).

    Shape: (*) to (*).
    Source: Barron, Continuously Differentiable Exponential Linear Units, 2017.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class SELU(_InPlace):
    """SELU(inplace=False): the self-normalizing ELU (Klambauer et al., 2017).

    Shape: (*) to (*).
    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


# ---- smooth units ----


class Sigmoid(Module):
    """Sigmoid(): 1 / (1 + exp(-x)).

    Shape: (*) to (*).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.sigmoid(input)


class Tanh(Module):
    """Tanh(): the hyperbolic tangent.

    Shape: (*) to (*).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.tanh(input)


class SiLU(_InPlace):
    """SiLU(inplace=False): x sigmoid(x).

    Shape: (*) to (*).
    Source: Elfwing et al., Sigmoid-Weighted Linear Units, 2017.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.silu(input, self.inplace)


class Mish(_InPlace):
    """Mish(inplace=False): x tanh(softplus(x)).

    Shape: (*) to (*).
    Source: Misra, Mish: A Self Regularized Non-Monotonic Activation Function, 2019.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.mish(input, self.inplace)


class GELU(Module):
    """GELU(approximate='none'): x times the normal distribution function; 'tanh' approximates.

    Shape: (*) to (*).
    Source: Hendrycks & Gimpel, Gaussian Error Linear Units, 2016.
    """

    __constants__ = ["approximate"]

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    forward = _C.ModuleBase._gelu_forward  # F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """Softplus(beta=1.0, threshold=20.0): log(1 + exp(beta x)) / beta, linear above threshold.

    Shape: (*) to (*).
    """

    __constants__ = ["beta", "threshold"]

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return _C.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class LogSigmoid(Module):
    """LogSigmoid(): log(sigmoid(x)).

    Shape: (*) to (*).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.logsigmoid(input)


class Softsign(Module):
    """Softsign(): x / (1 + |x|).

    Shape: (*) to (*).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.softsign(input)


class Tanhshrink(Module):
    """Tanhshrink(): x - tanh(x).

    Shape: (*) to (*).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.tanhshrink(input)


# ---- piecewise units ----


class Hardsigmoid(_InPlace):
    """Hardsigmoid(inplace=False): min(max(0, x + 3), 6) / 6.

    Shape: (*) to (*).
    Source: Howard et al., Searching for MobileNetV3, 2019.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardswish(_InPlace):
    """Hardswish(inplace=False): x hardsigmoid(x).

    Shape: (*) to (*).
    Source: Howard et al., Searching for MobileNetV3, 2019.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class _Shrink(Module):
    __constants__ = ["lambd"]

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """Hardshrink(lambd=0.5): zero within [-lambd, lambd].

    Shape: (*) to (*).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """Softshrink(lambd=0.5): moved towards zero by lambd.

    Shape: (*) to (*).
    """

    def forward(self, input: Tensor) -> Tensor:
        return _C.softshrink(input, self.lambd)


# ---- along a dimension ----


class _AlongDim(Module):
    __constants__ = ["dim"]
    dim: int | None

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("dim", None)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """Softmax(dim=None): exp(x) / sum(exp(x)) along `dim`.

    Shape: (*) to (*), with sums of 1 (of the exponentials) along dim.
    Raises: IndexError if dim is no axis.

    >>> nn.Softmax(dim=1)(gs.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmin(_AlongDim):
    """Softmin(dim=None): softmax(-x).

    Shape: (*) to (*), with sums of 1 (of the exponentials) along dim.
    Raises: IndexError if dim is no axis.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class LogSoftmax(_AlongDim):
    """LogSoftmax(dim=None): log(softmax(x)), computed stably.

    Shape: (*) to (*), with sums of 1 (of the exponentials) along dim.
    Raises: IndexError if dim is no axis.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """Softmax2d(): softmax over the channels of (N, C, H, W) or (C, H, W).

    Shape: (N, C, H, W) or (C, H, W) to the same, sums of 1 over C.
    Raises: ValueError for other ranks.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            )
        return _C.softmax(input, -3)


class GLU(Module):
    """GLU(dim=-1): a sigmoid(b), where a and b are the halves of the input along `dim`.

    Shape: (.., 2 n, ..) to (.., n, ..).
    Raises: RuntimeError if the axis is odd.
    Source: Dauphin et al., Language Modeling with Gated Convolutional Networks, 2017.
    """

    __constants__ = ["dim"]

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
