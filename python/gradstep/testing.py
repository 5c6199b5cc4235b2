# SPDX-License-Identifier: Apache-2.0
"""`assert_close`, with PyTorch's default tolerances."""

from typing import Any

from gradstep import _C

_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
}


def _tensor(x: Any) -> Any:
    return x if isinstance(x, _C.Tensor) else _C.as_tensor(x)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Any = None,
) -> None:
    """Raises AssertionError unless |actual - expected| <= atol + rtol * |expected| everywhere."""
    if isinstance(expected, dict):
        if actual.keys() != expected.keys():
            raise AssertionError(
                f"The keys of the mappings do not match: {list(actual)} and {list(expected)}"
            )
        for k in expected:
            assert_close(
                actual[k],
                expected[k],
                rtol=rtol,
                atol=atol,
                equal_nan=equal_nan,
                check_dtype=check_dtype,
            )
        return
    if isinstance(expected, list | tuple):
        if len(actual) != len(expected):
            raise AssertionError(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
            )
        for a, b in zip(actual, expected, strict=True):
            assert_close(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=check_dtype)
        return
    a, b = _tensor(actual), _tensor(expected)
    if a.shape != b.shape:
        raise AssertionError(
            f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}."
        )
    if check_dtype and a.dtype != b.dtype:
        raise AssertionError(
            f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}."
        )
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified")
    if rtol is None or atol is None:
        pairs = [_TOLERANCES.get(repr(t.dtype).partition(".")[2], (0.0, 0.0)) for t in (a, b)]
        rtol, atol = max(p[0] for p in pairs), max(p[1] for p in pairs)
    x, y = a.detach().to(_C.float64), b.detach().to(_C.float64)
    close = _C.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if not close.all():
        bad = int((~close).sum().item())
        worst = float((x - y).abs().max().item())
        text = f"Tensor-likes are not close!\n\nMismatched elements: {bad} / {a.numel()}\nGreatest absolute difference: {worst}"
        raise AssertionError(msg(text) if callable(msg) else (msg or text))
