# SPDX-License-Identifier: Apache-2.0
"""A softmax over many classes, most of them rare: torch.nn.AdaptiveLogSoftmaxWithLoss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradstep import _C
from gradstep._C import Tensor

from .. import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """AdaptiveLogSoftmaxWithLoss(in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None)

    The loss over many classes that are sorted by how often they occur: a head knows the classes
    before the first cutoff and one entry for each cluster behind it; a cluster's classes have a
    layer of their own, in_features // div_value ** k wide for the k-th, which only rows of that
    cluster go through.

    Shape: input (N, in_features) or (in_features,), target (N,) or 0-d; the result's `output`, the
    log-probability of each target, as the target, its `loss`, the mean of -output, 0-d.
    Raises: ValueError where cutoffs are not ascending numbers from 1 to n_classes - 1; RuntimeError
    where shapes do not fit or a target is no class.
    Source: Grave, Joulin, Cisse, Grangier, Jegou, Efficient softmax approximation for GPUs (2017).

        >>> m = nn.AdaptiveLogSoftmaxWithLoss(8, 100, [10, 50])
        >>> m(gs.zeros(2, 8), gs.tensor([3, 70])).output.shape
        torch.Size([2])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        ends = list(cutoffs)
        if not ends:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        whole = all(int(c) == c for c in ends)
        if not whole or ends != sorted(set(ends)) or ends[0] <= 0 or ends[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*ends, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for k, (first, end) in enumerate(itertools.pairwise(self.cutoffs)):
            width = int(in_features // (div_value ** (k + 1)))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **made),
                    Linear(width, end - first, bias=False, **made),
                )
            )

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        for layer in (self.head, *(x for cluster in self.tail for x in cluster)):  # type: ignore[attr-defined]
            layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        self._check(input_, target_)
        single = target_.dim() == 0
        x, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if single else (input_, target_)
        place = target.clone()  # in the head
        within = x.new_zeros(target.shape[0])  # of a row's cluster
        for k, (first, end) in enumerate(itertools.pairwise(self.cutoffs)):
            rows = ((target >= first) & (target < end)).nonzero().squeeze(1)
            if rows.numel() == 0:
                continue
            logs = F.log_softmax(self.tail[k](x.index_select(0, rows)), dim=1)
            own = logs.gather(1, (target[rows] - first).unsqueeze(1)).squeeze(1)
            within = within.index_copy(0, rows, own)
            place[rows] = self.shortlist_size + k
        head = F.log_softmax(self.head(x), dim=1)
        output = within + head.gather(1, place.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output.squeeze(0) if single else output, loss)

    def _check(self, x: Tensor, target: Tensor) -> None:
        dims = target.dim()
        if dims > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if dims == 1 and x.size(0) != target.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if x.dim() != dims + 1:
            raise RuntimeError(
                f"{dims}D target tensor expects {dims + 1}D input tensors, but found inputs with "
                f"size {x.size()}"
            )
        if target.numel() and bool(((target < 0) | (target >= self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, n_classes) of an input (N, in_features)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for k, cluster in enumerate(self.tail):
            own = head[:, self.shortlist_size + k].unsqueeze(1)
            parts.append(F.log_softmax(cluster(input), dim=1) + own)
        return _C.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The class of the highest probability: (N,) of an input (N, in_features)."""
        found = self.head(input).argmax(1)
        rows = (found >= self.shortlist_size).nonzero().squeeze(1)
        if rows.numel():
            found[rows] = self.log_prob(input[rows]).argmax(1)
        return found
