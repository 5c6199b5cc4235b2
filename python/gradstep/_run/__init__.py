# SPDX-License-Identifier: Apache-2.0
"""`gradstep run script.py args..`, `gradstep run -m package args..`: PyTorch scripts, as they are, on gradstep.

`hook` makes `import torch` give gradstep, `main` runs a script as Python would, `report` lists the names that it used.
"""

from .hook import install

__all__ = ["install"]
