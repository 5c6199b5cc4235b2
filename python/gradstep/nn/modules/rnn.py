# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers and cells: RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell.

Sequences are (L, N, H_in), (N, L, H_in) with batch_first, (L, H_in) without a batch, or packed
(nn.utils.rnn). The arithmetic is that of torch.lstm, torch.gru, .. and their cells.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

from gradstep import _C
from gradstep._C import Tensor

from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module

_LAYERS: dict[str, tuple[Callable[..., Any], int]] = {  # and gates of a unit
    "RNN_TANH": (_C.rnn_tanh, 1),
    "RNN_RELU": (_C.rnn_relu, 1),
    "LSTM": (_C.lstm, 4),
    "GRU": (_C.gru, 3),
}


# ---- layers ----


class RNNBase(Module):
    """RNNBase(mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False,
    dropout=0.0, bidirectional=False, proj_size=0, device=None, dtype=None)

    What RNN, LSTM and GRU share: the parameters and the run over layers, directions and steps.
    """

    __constants__ = [
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "proj_size",
    ]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                stacklevel=3,
            )
        for name, value, kind in (
            ("bias", bias, bool),
            ("batch_first", batch_first, bool),
            ("input_size", input_size, int),
        ):
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
                )
        if input_size <= 0:
            raise ValueError("input_size must be greater than zero")
        if not isinstance(hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if mode not in _LAYERS:
            raise ValueError("Unrecognized RNN mode: " + mode)

        n_gates = _LAYERS[mode][1]
        n_directions = 2 if bidirectional else 1
        out_size = proj_size or hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            in_size = input_size if layer == 0 else out_size * n_directions
            for direction in range(n_directions):
                suffix = f"_l{layer}" + ("_reverse" if direction else "")
                shapes: dict[str, Any] = {
                    "weight_ih": (n_gates * hidden_size, in_size),
                    "weight_hh": (n_gates * hidden_size, out_size),
                }
                if bias:
                    shapes["bias_ih"] = shapes["bias_hh"] = (n_gates * hidden_size,)
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    param = Parameter(_C.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(name + suffix, param)
                self._all_weights.append([name + suffix for name in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, uniform within 1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _pytorch_state(self, state: dict[str, Any]) -> dict[str, Any]:
        names = [name for names in self._all_weights for name in names]
        more = {
            "_flat_weights_names": names,
            "_flat_weights": [getattr(self, name, None) for name in names],
        }
        return super()._pytorch_state({**state, **more})

    def flatten_parameters(self) -> None:
        """Accepted for compatibility: parameters need no special layout here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text

    # ---- running ----

    def _forward(self, input: Any, hx: tuple[Tensor, ...] | None) -> tuple[Any, Any]:
        packed = input if isinstance(input, PackedSequence) else None
        batched = True
        if packed is not None:
            input = packed.data
            n_batch = int(packed.batch_sizes[0])
        else:
            if input.dim() not in (2, 3):
                raise ValueError(
                    f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D "
                    "instead"
                )
            batched = input.dim() == 3
            if not batched:
                input = input.unsqueeze(0 if self.batch_first else 1)
            n_batch = input.shape[0 if self.batch_first else 1]
        weights = [getattr(self, name) for names in self._all_weights for name in names]
        if input.dtype != weights[0].dtype and not _C.is_autocast_enabled("cpu"):
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype "
                f"({weights[0].dtype}). Convert input: input.to({weights[0].dtype}), or convert "
                f"model: model.to({input.dtype})"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {input.shape[-1]}"
            )
        n = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size]
        if self.mode == "LSTM":
            sizes.append(self.hidden_size)
        states: Any
        if hx is None:
            states = tuple(
                _C.zeros((n, n_batch, size), dtype=input.dtype, device=input.device)
                for size in sizes
            )
        else:
            states = self._checked_states(hx, [(n, n_batch, size) for size in sizes], batched)
            if packed is not None and packed.sorted_indices is not None:
                states = tuple(s.index_select(1, packed.sorted_indices) for s in states)
        run = _LAYERS[self.mode][0]
        out: Any
        state: Any = states if self.mode == "LSTM" else states[0]
        common = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if packed is not None:
            out, *states = run(input, packed.batch_sizes, state, weights, *common)
            out = packed._replace(data=out)
            if packed.unsorted_indices is not None:
                states = [s.index_select(1, packed.unsorted_indices) for s in states]
        else:
            out, *states = run(input, state, weights, *common, self.batch_first)
            if not batched:
                out = out.squeeze(0 if self.batch_first else 1)
                states = [s.squeeze(1) for s in states]
        return out, tuple(states)

    def _checked_states(
        self, hx: tuple[Tensor, ...], sizes: list[tuple[int, int, int]], batched: bool
    ) -> tuple[Tensor, ...]:
        """The given states as (layers * directions, N, size) each."""
        wanted = 3 if batched else 2
        if any(s.dim() != wanted for s in hx):
            what = f"For {'' if batched else 'un'}batched {wanted}-D input, "
            if len(sizes) == 2:
                given = ", ".join(f"{s.dim()}-D" for s in hx)
                raise RuntimeError(
                    f"{what}hx and cx should also be {wanted}-D but got ({given}) tensors"
                )
            raise RuntimeError(f"{what}hx should also be {wanted}-D but got {hx[0].dim()}-D tensor")
        if not batched:
            hx = tuple(s.unsqueeze(1) for s in hx)
        names = ("hidden[0]", "hidden[1]") if len(sizes) == 2 else ("hidden",)
        for state, size, name in zip(hx, sizes, names):
            if tuple(state.shape) != size:
                raise RuntimeError(f"Expected {name} size {size}, got {list(state.shape)}")
        return hx


class RNN(RNNBase):
    """RNN(input_size, hidden_size, num_layers=1, nonlinearity='tanh', bias=True,
    batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None)

    h' = tanh(W_ih x + b_ih + W_hh h + b_hh).

    Raises: ValueError for sizes below 1 or dropout outside of [0, 1]; RuntimeError where the
    input or its states do not fit.
    Source: Elman, Finding Structure in Time, 1990.

        >>> nn.RNN(3, 4)(gs.randn(5, 2, 3))[0].shape
        torch.Size([5, 2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            "RNN_TANH" if nonlinearity == "tanh" else "RNN_RELU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        out, states = self._forward(input, None if hx is None else (hx,))
        return out, states[0]


class GRU(RNNBase):
    """GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, device=None, dtype=None)

    The gated recurrent unit (Cho et al., 2014), with the reset after the matmul.

    Raises: ValueError for sizes below 1 or dropout outside of [0, 1]; RuntimeError where the
    input or its states do not fit.

        >>> nn.GRU(3, 4)(gs.randn(5, 2, 3))[1].shape
        torch.Size([1, 2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        out, states = self._forward(input, None if hx is None else (hx,))
        return out, states[0]


class LSTM(RNNBase):
    """LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, proj_size=0, device=None, dtype=None)

    Long short-term memory (Hochreiter and Schmidhuber, 1997); gates in the order i, f, g, o.

    Raises: ValueError for sizes below 1 or dropout outside of [0, 1]; RuntimeError where the
    input or its states do not fit.

        >>> out, (h, c) = nn.LSTM(3, 4, num_layers=2)(gs.randn(5, 2, 3))
        >>> out.shape, c.shape
        (torch.Size([5, 2, 4]), torch.Size([2, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        return self._forward(input, None if hx is None else tuple(hx))


# ---- cells ----


class RNNCellBase(Module):
    """RNNCellBase(input_size, hidden_size, bias, num_chunks, device=None, dtype=None)

    What the cells share: (N, H_in) or (H_in) and a state to the next state.
    """

    __constants__ = ["input_size", "hidden_size", "bias"]
    _mode: ClassVar[str]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(_C.empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(_C.empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            param = Parameter(_C.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, param)
        self.reset_parameters()

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def reset_parameters(self) -> None:
        """Draw new weights, uniform within 1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, run: Callable[..., Any], input: Tensor, states: Any, names: Any) -> Any:
        if input.dim() not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.dim()}D instead"
            )
        if states is None:
            zeros = _C.zeros(
                (*input.shape[:-1], self.hidden_size), dtype=input.dtype, device=input.device
            )
            states = [zeros] * len(names)
        for name, state in zip(names, states):
            if state.dim() not in (1, 2):
                raise ValueError(
                    f"{type(self).__name__}: Expected {name} to be 1D or 2D, got "
                    f"{state.dim()}D instead"
                )
        state = states if len(names) == 2 else states[0]
        return run(input, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class RNNCell(RNNCellBase):
    """RNNCell(input_size, hidden_size, bias=True, nonlinearity='tanh', device=None, dtype=None)

    Shape: input (N, input_size) or (input_size), state and result (N, hidden_size).
    Raises: RuntimeError where sizes do not fit.
    Source: Elman, Finding Structure in Time, 1990.

    >>> nn.RNNCell(3, 4)(gs.randn(2, 3)).shape
    torch.Size([2, 4])
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        run = _C.rnn_tanh_cell if self.nonlinearity == "tanh" else _C.rnn_relu_cell
        return self._step(run, input, None if hx is None else (hx,), ("hidden",))


class LSTMCell(RNNCellBase):
    """LSTMCell(input_size, hidden_size, bias=True, device=None, dtype=None)

    Shape: input (N, input_size) or (input_size), states and results h, c (N, hidden_size).
    Raises: RuntimeError where sizes do not fit.
    Source: Hochreiter & Schmidhuber, Long Short-Term Memory, 1997.

    >>> h, c = nn.LSTMCell(3, 4)(gs.randn(2, 3))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Tensor]:
        h, c = self._step(_C.lstm_cell, input, hx, ("hx[0]", "hx[1]"))
        return h, c


class GRUCell(RNNCellBase):
    """GRUCell(input_size, hidden_size, bias=True, device=None, dtype=None)

    Shape: input (N, input_size) or (input_size), state and result (N, hidden_size).
    Raises: RuntimeError where sizes do not fit.
    Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014.

    >>> nn.GRUCell(3, 4)(gs.randn(2, 3)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(_C.gru_cell, input, None if hx is None else (hx,), ("hidden",))
