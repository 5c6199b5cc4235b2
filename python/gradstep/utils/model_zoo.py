# SPDX-License-Identifier: Apache-2.0
"""The older names of torch.hub's downloads."""

from typing import Any

from gradstep import hub
from gradstep.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]


def __getattr__(name: str) -> Any:
    if name == "tqdm":
        return hub.tqdm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
