# SPDX-License-Identifier: Apache-2.0
"""Elementwise ops over operands that are not laid out as the output: transposed, broadcast, halves, large."""

import numpy as np
import pytest

import gradstep as gs

DTYPES = ["float32", "float64", "float16", "int64", "int16", "int8"]
# Shapes around the tiles of 16 rows by 512 columns in which transposed operands are brought over.
PERMUTED = [
    ((33, 70), (1, 0)),
    ((530, 35), (1, 0)),
    ((5, 64, 49), (0, 2, 1)),
    ((3, 17, 9, 11), (0, 2, 3, 1)),
    ((4, 5, 600), (2, 0, 1)),
    ((2, 3, 4, 5), (3, 2, 1, 0)),
    ((16, 16), (1, 0)),
]


def values(shape, dtype, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 20).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axes"), PERMUTED)
def test_transposed_operands(shape, axes, dtype):
    a = values(shape, dtype)
    b = values([shape[k] for k in axes], dtype, 1)
    x, y = gs.tensor(a).permute(axes), gs.tensor(b)
    t = a.transpose(axes)
    np.testing.assert_array_equal((x + y).cpu().numpy(), t + b)
    np.testing.assert_array_equal((x > y).cpu().numpy(), t > b)
    np.testing.assert_array_equal(x.contiguous().cpu().numpy(), t)
    np.testing.assert_array_equal(x.to(gs.float64).cpu().numpy(), t.astype("float64"))
    np.testing.assert_array_equal((y + x[..., :1]).cpu().numpy(), b + t[..., :1])
    np.testing.assert_array_equal((x + y[0]).cpu().numpy(), t + b[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [63, 64, 500, 513, 1100])
def test_rows_that_repeat(columns, dtype):
    a, b, c = values((7, columns), dtype), values(columns, dtype, 1), values((7, 1), dtype, 2)
    x, y, z = gs.tensor(a), gs.tensor(b), gs.tensor(c)
    np.testing.assert_array_equal((x + y).cpu().numpy(), a + b)
    np.testing.assert_array_equal((y + z).cpu().numpy(), b + c)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("offset", [0, 1, 5])
def test_outputs_beyond_the_cache(offset, threads):
    """They are written by streaming stores, which want aligned lines."""
    gs.set_num_threads(threads)
    a = np.arange(8_400_000, dtype="float32")
    twice = a[offset:] * 2
    x = gs.tensor(a)[offset:]
    np.testing.assert_array_equal((x * 2).cpu().numpy(), twice)
    x += x
    np.testing.assert_array_equal(x.cpu().numpy(), twice)


def test_every_half_survives():
    bits = np.arange(65536, dtype="uint16")
    half = bits.view("float16")
    wide = gs.tensor(half).to(gs.float32)
    np.testing.assert_array_equal(wide.cpu().numpy(), half.astype("float32"))
    back = wide.to(gs.float16).cpu().numpy()
    np.testing.assert_array_equal(np.isnan(back), np.isnan(half))
    np.testing.assert_array_equal(back.view("uint16")[~np.isnan(half)], bits[~np.isnan(half)])


def test_halves_round_to_even():
    with np.errstate(over="ignore"):
        x = np.random.default_rng(0).standard_normal(20_003).astype("float32")
        x *= np.logspace(-9, 6, len(x), dtype="float32")
        np.testing.assert_array_equal(
            gs.tensor(x).to(gs.float16).cpu().numpy(), x.astype("float16")
        )
