# SPDX-License-Identifier: Apache-2.0
"""Resizing layers: Upsample and its two old names."""

from __future__ import annotations

from typing import Any

from gradstep._C import Tensor

from .. import functional as F
from .module import Module


class Upsample(Module):
    """Upsample(size=None, scale_factor=None, mode='nearest', align_corners=None,
    recompute_scale_factor=None)

    Shape: (N, C, *) to (N, C, *size), size = floor(input size * scale_factor) where that is
    given.
    Raises: ValueError if neither or both of size and scale_factor are given; NotImplementedError
    for other ranks than the mode has.

    >>> nn.Upsample(scale_factor=2)(gs.zeros(1, 1, 2, 2)).shape
    torch.Size([1, 1, 4, 4])
    """

    __constants__ = [
        "size",
        "scale_factor",
        "mode",
        "align_corners",
        "name",
        "recompute_scale_factor",
    ]

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            info = f"scale_factor={self.scale_factor!r}"
        else:
            info = f"size={self.size!r}"
        return f"{info}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """UpsamplingNearest2d(size=None, scale_factor=None)

    Shape: (N, C, *) to (N, C, *size), size = floor(input size * scale_factor) where that is
    given.
    Raises: ValueError if neither or both of size and scale_factor are given; NotImplementedError
    for other ranks than the mode has.
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """UpsamplingBilinear2d(size=None, scale_factor=None): bilinear with aligned corners.

    Shape: (N, C, *) to (N, C, *size), size = floor(input size * scale_factor) where that is
    given.
    Raises: ValueError if neither or both of size and scale_factor are given; NotImplementedError
    for other ranks than the mode has.
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
