# SPDX-License-Identifier: Apache-2.0
"""Window functions under `torch.`'s old names: periodic by default, where those of `torch.signal.windows` are not."""

from typing import Any

from gradstep._C import Tensor
from gradstep.signal import windows


def _options(window_length: int, dtype: Any, rest: Any) -> dict[str, Any]:
    if window_length < 0:
        raise RuntimeError("requires non-negative window_length")
    if dtype is not None and not dtype.is_floating_point:
        raise RuntimeError(f"window functions expect floating point dtypes, got: {dtype}")
    return {"dtype": dtype, **{k: v for k, v in rest.items() if k in ("device", "requires_grad")}}


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, **rest: Any
) -> Tensor:
    """1 - |2 n / (N - 1) - 1|.

    Shape: (window_length), N = window_length + 1 where periodic.
    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    return windows.bartlett(window_length, sym=not periodic, **_options(window_length, dtype, rest))


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, **rest: Any
) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / (N - 1)) + 0.08 cos(4 pi n / (N - 1)).

    Shape: (window_length), N = window_length + 1 where periodic.
    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    return windows.blackman(window_length, sym=not periodic, **_options(window_length, dtype, rest))


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, **rest: Any
) -> Tensor:
    """(1 - cos(2 pi n / (N - 1))) / 2.

    Shape: (window_length), N = window_length + 1 where periodic.
    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    return windows.hann(window_length, sym=not periodic, **_options(window_length, dtype, rest))


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    **rest: Any,
) -> Tensor:
    """alpha - beta cos(2 pi n / (N - 1)).

    Shape: (window_length), N = window_length + 1 where periodic.
    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    return windows.general_cosine(
        window_length, a=[alpha, beta], sym=not periodic, **_options(window_length, dtype, rest)
    )


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: Any = None,
    **rest: Any,
) -> Tensor:
    """I_0(beta sqrt(1 - (2 n / (N - 1) - 1)^2)) / I_0(beta).

    Shape: (window_length), N = window_length + 1 where periodic.
    Raises: RuntimeError for a negative length or a dtype that is not floating.
    """
    return windows.kaiser(
        window_length, beta=beta, sym=not periodic, **_options(window_length, dtype, rest)
    )
