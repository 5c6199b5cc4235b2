# SPDX-License-Identifier: Apache-2.0
"""Checks of values that raise when they are computed."""

import pytest

import gradstep


@pytest.mark.parametrize("n", [0, 1, 7, 5000])
def test_all_true_is_silent(n):
    gradstep._assert_async(gradstep.ones(n, dtype=gradstep.bool), "never")
    gradstep._assert_async(gradstep.ones(n).expand(3, n), "never")


@pytest.mark.parametrize("n", [1, 7, 5000])
def test_one_false_raises(n, device):
    for at in {0, n // 2, n - 1}:
        x = gradstep.ones(n)
        x[at] = 0
        with pytest.raises(RuntimeError, match="all of x are ones"):
            gradstep._assert_async(x == 1, "all of x are ones")
            if device == "cuda":
                gradstep.cuda.synchronize()
    gradstep._assert_async(gradstep.ones(2) == 1, "all of x are ones")
