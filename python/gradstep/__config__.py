# SPDX-License-Identifier: Apache-2.0
"""How this build was made, as text."""

from . import _C


def show() -> str:
    """What the build consists of."""
    from .version import __version__

    rows = "".join(
        f"  - {key.replace('_', ' ')}: {value}\n" for key, value in _C._build_info().items()
    )
    return f"gradstep {__version__} built with:\n{rows}"


def parallel_info() -> str:
    """How many threads compute."""
    return f"gradstep threads:\n\tget_num_threads() : {_C.get_num_threads()}\n"
