# SPDX-License-Identifier: Apache-2.0
"""A scenario is written once and run in gradstep and in torch: `@equal def test_x(t): ...` compares what it
returns, `@equal_error("text") def ...` what it raises; `t` is the library."""

import numpy as np
import pytest

import gradstep as gs
from devices import text_of

torch = pytest.importorskip("torch")


def plain(value, t):
    """A result without library types: tensors become (dtype, array)."""
    if isinstance(value, t.Tensor):
        return str(value.dtype).rsplit(".", 1)[-1], value.detach().cpu().numpy().copy()
    if isinstance(value, dict):
        return {k: plain(v, t) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v, t) for v in value]
    return value


def compare(a, b):
    if isinstance(b, np.ndarray):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    elif isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            compare(a[key], b[key])
    elif isinstance(b, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            compare(x, y)
    elif isinstance(b, float):
        assert a == pytest.approx(b, rel=1e-6)
    else:
        assert a == b


def equal(scenario):
    """The test that `scenario(t)` returns the same with gradstep and with torch."""

    def test():
        compare(plain(scenario(gs), gs), plain(scenario(torch), torch))

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


def raised(fn):
    """Type and text of what fn raises."""
    with pytest.raises(Exception) as info:
        fn()
    return f"{type(info.value).__name__}: {text_of(info.value)}"


def equal_error(fragment):
    """The test that `scenario(t)` raises the same with gradstep and with torch, with `fragment` in the text."""

    def decorate(scenario):
        def test():
            ours, theirs = (raised(lambda: scenario(lib)) for lib in (gs, torch))
            assert fragment in theirs
            assert ours == theirs

        test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
        return test

    return decorate


def leaf(t, values):
    return t.tensor(values, dtype=t.float64, requires_grad=True)


def leaves(t):
    return leaf(t, [1.0, 2.0, 3.0]), leaf(t, [0.5, -1.0, 4.0])
