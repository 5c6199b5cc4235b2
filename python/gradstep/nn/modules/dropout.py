# SPDX-License-Identifier: Apache-2.0
"""Dropout layers: identity in eval mode, random zeros in training."""

from __future__ import annotations

from gradstep._C import Tensor

from .. import functional as F
from .module import Module


class _DropoutNd(Module):
    __constants__ = ["p", "inplace"]
    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Dropout(p=0.5, inplace=False): zeros single elements.

    Shape: (*) to (*).
    Raises: ValueError if p is outside of [0, 1].
    Source: Hinton et al., Improving Neural Networks by Preventing Co-Adaptation of Feature
    Detectors, 2012.

    >>> nn.Dropout(0.5).eval()(gs.ones(2))
    tensor([1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Dropout1d(p=0.5, inplace=False): zeros channels of (N, C, L) or (C, L).

    Raises: ValueError if p is outside of [0, 1].
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Dropout2d(p=0.5, inplace=False): zeros channels of (N, C, H, W).

    Raises: ValueError if p is outside of [0, 1].
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Dropout3d(p=0.5, inplace=False): zeros channels of (N, C, D, H, W) or (C, D, H, W).

    Raises: ValueError if p is outside of [0, 1].
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """AlphaDropout(p=0.5, inplace=False): keeps the statistics of SELU activations.

    Shape: (*) to (*).
    Raises: ValueError if p is outside of [0, 1].
    Source: Klambauer et al., Self-Normalizing Neural Networks, 2017.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """FeatureAlphaDropout(p=0.5, inplace=False): AlphaDropout of whole channels.

    Raises: ValueError if p is outside of [0, 1].
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
