# SPDX-License-Identifier: Apache-2.0
"""AdamW under the module name that PyTorch has for it."""

from gradstep.optim.adam import AdamW

__all__ = ["AdamW"]
