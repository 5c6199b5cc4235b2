# SPDX-License-Identifier: Apache-2.0
"""`torch.backends.cpu`: what the CPU can do."""

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """ "DEFAULT", whatever the machine has: libraries take the answer for whether images of bytes can be resized as
    they are, which PyTorch does with vector instructions only and gradstep does not.
    """
    return "DEFAULT"
