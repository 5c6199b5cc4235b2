# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers and cells: RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell.

Sequences are (L, N, H_in), (N, L, H_in) with batch_first, (L, H_in) without a batch, or packed
(nn.utils.rnn). The input part of all steps is one matmul; the recurrence is a loop of small ones.
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
from ..utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from .module import Module

# ---- one step: (input part, hidden part, state) to the new state ----


def _tanh_step(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return ((x + h).tanh(),)


def _relu_step(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return ((x + h).relu(),)


def _lstm_step(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    i, f, g, o = (x + h).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_step(x: Tensor, h: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    x_r, x_z, x_n = x.chunk(3, -1)
    h_r, h_z, h_n = h.chunk(3, -1)
    r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
    n = (x_n + r * h_n).tanh()
    return (n + z * (state[0] - n),)


_STEPS: dict[str, tuple[Callable[..., tuple[Tensor, ...]], int]] = {
    "RNN_TANH": (_tanh_step, 1),
    "RNN_RELU": (_relu_step, 1),
    "LSTM": (_lstm_step, 4),
    "GRU": (_gru_step, 3),
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
        if mode not in _STEPS:
            raise ValueError("Unrecognized RNN mode: " + mode)

        n_gates = _STEPS[mode][1]
        n_directions = 2 if bidirectional else 1
        out_size = proj_size or hidden_size
        self._all_names: list[list[str]] = []
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
                self._all_names.append([name + suffix for name in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, uniform within 1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Accepted for compatibility: parameters need no special layout here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_names]

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

    def _run(
        self, input: Tensor, states: tuple[Tensor, ...], lengths: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """input (L, N, H), states (layers * directions, N, H) each."""
        step = _STEPS[self.mode][0]
        n_directions = 2 if self.bidirectional else 1
        finals: list[list[Tensor]] = [[] for _ in states]
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(n_directions):
                place = layer * n_directions + direction
                out, last = self._run_direction(
                    input, tuple(s[place] for s in states), place, direction == 1, step, lengths
                )
                outputs.append(out)
                for table, state in zip(finals, last):
                    table.append(state)
            input = outputs[0] if n_directions == 1 else _C.cat(outputs, -1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                input = _C.dropout(input, self.dropout, True)
        return input, tuple(_C.stack(table) for table in finals)

    def _run_direction(
        self,
        input: Tensor,
        state: tuple[Tensor, ...],
        place: int,
        reverse: bool,
        step: Callable[..., tuple[Tensor, ...]],
        lengths: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        params = {name.split("_l")[0]: getattr(self, name) for name in self._all_names[place]}
        w_hh, b_hh, w_hr = params["weight_hh"], params.get("bias_hh"), params.get("weight_hr")
        projected = _C.linear(input, params["weight_ih"], params.get("bias_ih")).unbind(0)
        outputs: list[Tensor] = []
        times = range(len(projected) - 1, -1, -1) if reverse else range(len(projected))
        for t in times:
            new = step(projected[t], _C.linear(state[0], w_hh, b_hh), state)
            if w_hr is not None:
                new = (_C.linear(new[0], w_hr), *new[1:])
            if lengths is not None:  # beyond its end a sequence keeps its state
                alive = (lengths > t).unsqueeze(1)
                new = tuple(_C.where(alive, a, b) for a, b in zip(new, state))
            state = new
            outputs.append(state[0])
        if reverse:
            outputs.reverse()
        return _C.stack(outputs), state

    def _forward(self, input: Any, hx: tuple[Tensor, ...] | None) -> tuple[Any, Any]:
        packed = input if isinstance(input, PackedSequence) else None
        lengths = None
        if packed is not None:
            input, lengths = pad_packed_sequence(packed)
            if packed.sorted_indices is not None:  # results are brought to this order again
                lengths = lengths.to(input.device)
            batched = True
        else:
            if input.dim() not in (2, 3):
                raise ValueError(
                    f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D "
                    "instead"
                )
            batched = input.dim() == 3
            if not batched:
                input = input.unsqueeze(1)
            elif self.batch_first:
                input = input.transpose(0, 1)
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {input.shape[-1]}"
            )
        n = self.num_layers * (2 if self.bidirectional else 1)
        n_batch = input.shape[1]
        sizes = [self.proj_size or self.hidden_size]
        if self.mode == "LSTM":
            sizes.append(self.hidden_size)
        if hx is None:
            states = tuple(
                _C.zeros((n, n_batch, size), dtype=input.dtype, device=input.device)
                for size in sizes
            )
        else:
            names = ("hidden[0]", "hidden[1]") if len(sizes) == 2 else ("hidden",)
            states = hx
            if not batched:
                for state in states:
                    if state.dim() != 2:
                        raise RuntimeError(
                            "For unbatched 2-D input, hx should also be 2-D but got "
                            f"{state.dim()}-D tensor"
                        )
                states = tuple(state.unsqueeze(1) for state in states)
            for state, size, name in zip(states, sizes, names):
                if tuple(state.shape) != (n, n_batch, size):
                    raise RuntimeError(
                        f"Expected {name} size {(n, n_batch, size)}, got {list(state.shape)}"
                    )
        out: Any
        out, states = self._run(input, states, lengths)
        if packed is not None:
            out = pack_padded_sequence(out, lengths.cpu(), enforce_sorted=False)  # type: ignore[union-attr]
            out = PackedSequence(
                out.data, out.batch_sizes, packed.sorted_indices, packed.unsorted_indices
            )
        elif not batched:
            out, states = out.squeeze(1), tuple(state.squeeze(1) for state in states)
        elif self.batch_first:
            out = out.transpose(0, 1)
        return out, states


class RNN(RNNBase):
    """RNN(input_size, hidden_size, num_layers=1, nonlinearity='tanh', bias=True,
    batch_first=False, dropout=0.0, bidirectional=False, device=None, dtype=None)

    h' = tanh(W_ih x + b_ih + W_hh h + b_hh).

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

    def _step(self, mode: str, input: Tensor, states: Any) -> tuple[Tensor, ...]:
        if input.dim() not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.dim()}D instead"
            )
        if states is None:
            zeros = _C.zeros(
                (*input.shape[:-1], self.hidden_size), dtype=input.dtype, device=input.device
            )
            states = (zeros, zeros)
        else:
            for i, state in enumerate(states):
                if state.dim() not in (1, 2):
                    what = f"hx[{i}]" if len(states) == 2 else "hidden"
                    raise ValueError(
                        f"{type(self).__name__}: Expected {what} to be 1D or 2D, got "
                        f"{state.dim()}D instead"
                    )
        x = _C.linear(input, self.weight_ih, self.bias_ih)
        h = _C.linear(states[0], self.weight_hh, self.bias_hh)
        return _STEPS[mode][0](x, h, states)


class RNNCell(RNNCellBase):
    """RNNCell(input_size, hidden_size, bias=True, nonlinearity='tanh', device=None, dtype=None)

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
        mode = "RNN_TANH" if self.nonlinearity == "tanh" else "RNN_RELU"
        return self._step(mode, input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """LSTMCell(input_size, hidden_size, bias=True, device=None, dtype=None)

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
        h, c = self._step("LSTM", input, hx)
        return h, c


class GRUCell(RNNCellBase):
    """GRUCell(input_size, hidden_size, bias=True, device=None, dtype=None)

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
        return self._step("GRU", input, None if hx is None else (hx,))[0]
