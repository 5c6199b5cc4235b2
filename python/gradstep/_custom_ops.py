# SPDX-License-Identifier: Apache-2.0
"""The older path of what is in torch.library."""

from .library import get_ctx as get_ctx
