# SPDX-License-Identifier: Apache-2.0
"""`from gradstep.utils.data.distributed import DistributedSampler`, as scripts write it."""

from .sampler import DistributedSampler

__all__ = ["DistributedSampler"]
