# SPDX-License-Identifier: Apache-2.0
"""ChannelShuffle under its older path."""

from .flatten import ChannelShuffle

__all__ = ["ChannelShuffle"]
