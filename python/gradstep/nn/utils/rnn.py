# SPDX-License-Identifier: Apache-2.0
"""Sequences of different lengths: padded to a common length, or packed step by step.

``pad_packed_sequence(pack_padded_sequence(x, lengths, enforce_sorted=False))`` is the identity.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from typing import Any

from gradstep import _C
from gradstep._C import Tensor


class PackedSequence(
    namedtuple("PackedSequence", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])
):
    """The steps of sequences one after the other, longest first: data (sum of lengths, *),
    batch_sizes (L): how many sequences reach each step."""

    __slots__ = ()

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:  # an old form: both in one tuple
            data, batch_sizes = data
        if unsorted_indices is None and sorted_indices is not None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move or cast the data."""
        return self._replace(data=self.data.to(*args, **kwargs))

    def cpu(self) -> PackedSequence:
        """Move the data to the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """Move the data to a GPU."""
        return self._replace(data=self.data.cuda(*args, **kwargs))

    def pin_memory(self) -> PackedSequence:
        """Copy the data to pinned memory."""
        return self._replace(data=self.data.pin_memory())

    def is_pinned(self) -> bool:
        """Whether the data is in pinned memory."""
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return self.data.is_cuda

    def double(self) -> PackedSequence:
        return self.to(_C.float64)

    def float(self) -> PackedSequence:
        return self.to(_C.float32)

    def half(self) -> PackedSequence:
        return self.to(_C.float16)

    def long(self) -> PackedSequence:
        return self.to(_C.int64)

    def int(self) -> PackedSequence:
        return self.to(_C.int32)

    def short(self) -> PackedSequence:
        return self.to(_C.int16)

    def char(self) -> PackedSequence:
        return self.to(_C.int8)

    def byte(self) -> PackedSequence:
        return self.to(_C.uint8)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one."""
    return None if permutation is None else permutation.argsort()


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded (L, N, *); with `enforce_sorted` the lengths must be descending.

    Raises: RuntimeError for lengths of 0, or not descending where enforce_sorted is set.
    """
    values = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if any(n <= 0 for n in values):
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if batch_first:
        input = input.transpose(0, 1)
    if len(values) != input.shape[1]:
        raise RuntimeError(
            "Expected `len(lengths)` to be equal to batch_size, but got "
            f"{len(values)} (batch_size={input.shape[1]})"
        )
    sorted_indices = None
    if enforce_sorted:
        if any(a < b for a, b in zip(values, values[1:])):
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is "
                "True. You can pass `enforce_sorted=False` to pack_padded_sequence and/or "
                "pack_sequence to sidestep this requirement if you do not need ONNX "
                "exportability."
            )
    else:
        order = sorted(range(len(values)), key=lambda i: -values[i])
        sorted_indices = _C.tensor(order, dtype=_C.int64, device=input.device)
        input = input.index_select(1, sorted_indices)
        values = [values[i] for i in order]
    batch_sizes = [sum(n > t for n in values) for t in range(values[0])]
    data = _C.cat([input[t, :size] for t, size in enumerate(batch_sizes)])
    return PackedSequence(
        data, _C.tensor(batch_sizes, dtype=_C.int64, device="cpu"), sorted_indices
    )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded (L, N, *) of a packed sequence, and the lengths."""
    data, batch_sizes, _, unsorted = sequence
    sizes = batch_sizes.tolist()
    n_steps, n_batch = len(sizes), sizes[0]
    if total_length is not None:
        if total_length < n_steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in "
                f"input, but got total_length={total_length} and max sequence length being "
                f"{n_steps}"
            )
        n_steps = total_length
    rest = data.shape[1:]
    steps = []
    for chunk, size in zip(data.split(sizes), sizes):
        if size < n_batch:
            fill = _C.full(
                (n_batch - size, *rest), padding_value, dtype=data.dtype, device=data.device
            )
            chunk = _C.cat([chunk, fill])
        steps.append(chunk)
    for _ in range(n_steps - len(sizes)):
        steps.append(_C.full((n_batch, *rest), padding_value, dtype=data.dtype, device=data.device))
    padded = _C.stack(steps)
    lengths = _C.tensor([sum(size > i for size in sizes) for i in range(n_batch)], device="cpu")
    if unsorted is not None:
        padded = padded.index_select(1, unsorted)
        lengths = lengths[unsorted.cpu()]
    return padded.transpose(0, 1) if batch_first else padded, lengths


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (L_i, *) to (L, N, *), filling up to the longest.

    >>> nn.utils.rnn.pad_sequence([gs.ones(3), gs.ones(1)], batch_first=True).shape
    torch.Size([2, 3])
    """
    sequences = list(sequences)
    longest = max(s.shape[0] for s in sequences)
    rows = []
    for s in sequences:
        gap = longest - s.shape[0]
        if gap:
            fill = _C.full((gap, *s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
            s = _C.cat([s, fill] if padding_side == "right" else [fill, s])
        rows.append(s)
    return _C.stack(rows, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded tensor, without the padding."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    values = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    return [row[:n] for row, n in zip(padded_sequences, values)]


def pack_sequence(sequences: Iterable[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, *).

    Raises: RuntimeError for lengths of 0, or not descending where enforce_sorted is set.
    """
    sequences = list(sequences)
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
