# SPDX-License-Identifier: Apache-2.0
"""Distances between rows: CosineSimilarity, PairwiseDistance."""

from __future__ import annotations

from gradstep import _C
from gradstep._C import Tensor

from .module import Module


class CosineSimilarity(Module):
    """CosineSimilarity(dim=1, eps=1e-8)

    Shape: x1 and x2 broadcast; the result without the axis dim.

    >>> nn.CosineSimilarity()(gs.ones(1, 3), gs.ones(1, 3)).shape
    torch.Size([1])
    """

    __constants__ = ["dim", "eps"]

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return _C.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """PairwiseDistance(p=2.0, eps=1e-6, keepdim=False)

    Shape: x1 and x2 (*, D), broadcast; the result (*), or (*, 1) with keepdim.

    >>> nn.PairwiseDistance()(gs.ones(4, 3), gs.zeros(4, 3)).shape
    torch.Size([4])
    """

    __constants__ = ["norm", "eps", "keepdim"]

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return _C.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
