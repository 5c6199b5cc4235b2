# SPDX-License-Identifier: Apache-2.0
"""The older names of torch.hub's downloads."""

from gradstep.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
