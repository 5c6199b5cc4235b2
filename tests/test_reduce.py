# SPDX-License-Identifier: Apache-2.0
"""Reductions, scans and order statistics against PyTorch: values, two orders of derivatives, dtypes, shapes."""

import numpy as np
import pytest
import torch

import gradstep as gs
from against_torch import check, numbers, numpy_of, same_error

# ---- every reduction, every axis ----

WITH_DIM = {
    "sum": lambda x, **k: x.sum(**k),
    "mean": lambda x, **k: x.mean(**k),
    "nansum": lambda x, **k: x.nansum(**k),
    "nanmean": lambda x, **k: x.nanmean(**k),
    "amax": lambda x, **k: x.amax(**k),
    "amin": lambda x, **k: x.amin(**k),
    "logsumexp": lambda x, **k: x.logsumexp(**k),
    "var": lambda x, **k: x.var(**k),
    "std": lambda x, **k: x.std(**k),
    "norm": lambda x, **k: x.norm(2, **k),
}
ONE_DIM = {
    "prod": lambda x, **k: x.prod(**k),
    "max": lambda x, **k: x.max(**k),
    "min": lambda x, **k: x.min(**k),
    "median": lambda x, **k: x.median(**k),
    "argmax": lambda x, **k: x.argmax(**k),
    "argmin": lambda x, **k: x.argmin(**k),
}


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1, (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", WITH_DIM)
def test_reduction_over_any_axes_has_torchs_values_and_derivatives(name, dim, keepdim):
    check(
        lambda lib, x: WITH_DIM[name](x, dim=dim, keepdim=keepdim),
        numbers(3, 4, 5, dtype=np.float64),
    )


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ONE_DIM)
def test_reduction_along_one_axis_has_torchs_values_and_derivatives(name, dim):
    check(
        lambda lib, x: ONE_DIM[name](x, dim=dim, keepdim=dim == 1),
        numbers(3, 4, 5, dtype=np.float64),
    )


@pytest.mark.parametrize(
    "name", ["sum", "mean", "prod", "max", "min", "median", "var", "std", "norm", "amax", "amin"]
)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4)])
@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_full_reduction_has_torchs_values_and_derivatives(name, shape):
    check(lambda lib, x: getattr(x, name)(), numbers(*shape, dtype=np.float64))


@pytest.mark.parametrize(
    "layout", ["transposed", "strided", "expanded", "channels last", "flipped batch"]
)
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "var", "logsumexp", "argmax", "prod"])
def test_reduction_of_a_view_equals_torchs(name, layout):
    def look(lib, x):
        if layout == "transposed":
            return x.transpose(0, 2)
        if layout == "strided":
            return x[::2, :, 1::3]
        if layout == "expanded":
            return x[:, :1].expand(6, 5, 7)
        if layout == "channels last":
            return x.permute(0, 2, 1)[1:]
        return x[1:].transpose(0, 1)

    for dim in (0, 1, 2):
        check(lambda lib, x: getattr(look(lib, x), name)(dim), numbers(6, 8, 7, seed=dim), order=1)


LENGTHS = [1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 129, 511, 513, 2047, 2049, 5000]


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths_around_vector_and_block_borders(n):
    rows, columns = numbers(3, n), numbers(n, 3)
    for fn in ("sum", "amax", "argmax", "logsumexp", "argmin"):
        check(lambda lib, x: getattr(x, fn)(1), rows, order=0, atol=2e-5)
        check(lambda lib, x: getattr(x, fn)(0), columns, order=0, atol=2e-5)
        check(lambda lib, x: getattr(x, fn)(0), numbers(7, n), order=0)
    if n > 1:
        check(lambda lib, x: lib.var_mean(x, 1), rows, order=0)
        check(lambda lib, x: lib.var_mean(x, 0), columns, order=0)
    check(lambda lib, x: lib.std_mean(x, 0), numbers(7, n), order=0)


# ---- dtypes ----

DTYPES = "bool uint8 int8 int16 int32 int64 float16 float32 float64 bfloat16".split()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name", ["sum", "prod", "amax", "any", "all", "count_nonzero", "argmin", "cumsum"]
)
def test_reduction_result_has_torchs_dtype_and_value(name, dtype):
    values = np.random.default_rng(3).integers(0, 3, (4, 6)).tolist()
    results = []
    for lib in (gs, torch):
        x = lib.tensor(values).to(getattr(lib, dtype))
        if name == "argmin" and dtype == "bool":
            return
        results.append(getattr(x, name)(1))
    ours, theirs = results
    assert str(ours.dtype) == str(theirs.dtype).replace(
        "torch.", str(gs.float32).rsplit("float32", 1)[0]
    )
    assert ours.tolist() == theirs.tolist()


def test_sum_takes_a_dtype():
    for dtype in ("float64", "int64", "bool"):
        check(lambda lib, x: x.sum(1, dtype=getattr(lib, dtype)), numbers(5, 40) * 10, order=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_reductions_accumulate_in_float(dtype):
    for lib in (gs, torch):
        x = lib.ones(5000, dtype=getattr(lib, dtype))
        assert x.sum().item() == 5000 if dtype == "float16" else 4992
        assert x.mean().item() == 1


# ---- empty and special values ----


def test_empty_reductions():
    for shape, dim in [((0,), 0), ((0, 3), 0), ((3, 0), 1), ((0, 3), 1), ((2, 0, 3), 2)]:
        for name in ("sum", "prod", "mean", "any", "all", "nansum"):
            check(lambda lib, x: getattr(x, name)(dim), np.zeros(shape, np.float32), order=1)


def test_extremes_of_nothing_are_refused_as_in_torch():
    same_error(lambda lib: lib.zeros(0).max())
    same_error(lambda lib: lib.zeros(0).argmax())
    same_error(lambda lib: lib.zeros(0, 3).max(0))
    same_error(lambda lib: lib.zeros(0, 3).amax(0))
    same_error(lambda lib: lib.zeros(2, 3).sum(5))
    same_error(lambda lib: lib.zeros(2, 3).sum((0, 0)))
    same_error(lambda lib: lib.zeros(2, 3, dtype=lib.int64).mean())


@pytest.mark.parametrize(
    "name", ["amax", "amin", "argmax", "argmin", "sum", "logsumexp", "var", "nansum"]
)
@pytest.mark.parametrize("n", [5, 40, 600])
def test_nan_and_infinity_go_through_as_in_torch(name, n):
    x = numbers(6, n)
    x[1, n // 2] = np.nan
    x[2, n - 1] = np.inf
    x[3, 0] = -np.inf
    x[4, :] = -np.inf
    x[5, 1] = np.nan
    x[5, 3] = np.inf
    for a, dim in ((x, 1), (np.ascontiguousarray(x.T), 0)):
        check(lambda lib, t: getattr(t, name)(dim), a, order=0)


def test_any_and_all_count_nan_as_true():
    x = np.array([[0, np.nan], [0, 0], [1, 2]], np.float32)
    check(lambda lib, t: (t.any(1), t.all(1), t.any(), t.all(0)), x, order=0)


def test_argmax_takes_the_first_of_equals():
    x = np.zeros((5, 300), np.float32)
    x[:, 100::50] = 1
    for dim in (0, 1, None):
        check(lambda lib, t: t.argmax(dim), x, order=0)
        check(lambda lib, t: t.argmin(dim), x, order=0)


# ---- gradients with a convention ----


def test_ties_share_the_gradient_of_max_and_amax():
    x = np.array([[1, 3, 3], [2, 2, 0], [3, 1, 3]], np.float64)
    check(lambda lib, t: t.max(), x)
    check(lambda lib, t: t.amax(1), x)
    check(lambda lib, t: t.amin((0, 1)), x)
    check(lambda lib, t: t.max(1), x)
    check(lambda lib, t: t.median(), x)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_prod_and_cumprod_are_differentiable_at_zeros(zeros):
    x = numbers(4, 5, dtype=np.float64)
    for i in range(zeros):
        x[1, 1 + 2 * i] = 0
    check(lambda lib, t: t.prod(1), x)
    check(lambda lib, t: t.prod(), x)
    check(lambda lib, t: t.cumprod(1), x)
    check(lambda lib, t: t.cumprod(0), x)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, float("inf"), -float("inf")])
def test_norm_of_any_order(p):
    x = numbers(4, 5, dtype=np.float64)
    x[2] = 0
    order = 1 if p in (0.5, 1.5, 3) else 2
    check(lambda lib, t: t.norm(p, dim=1), x, order=1)
    check(lambda lib, t: t[:2].norm(p), x, order=order)


def test_norm_at_zero_has_gradient_zero():
    check(lambda lib, t: t.norm(), np.zeros((3, 4)), order=1)
    check(lambda lib, t: t.norm(dim=0), np.zeros((3, 4)), order=1)


@pytest.mark.parametrize("correction", [0, 1, 2])
def test_var_and_std_take_correction_and_unbiased(correction):
    x = numbers(4, 6, dtype=np.float64)
    check(lambda lib, t: t.var(1, correction=correction), x)
    check(lambda lib, t: t.std(correction=correction), x)
    check(lambda lib, t: t.std(1, unbiased=bool(correction), keepdim=True), x)
    check(lambda lib, t: t.var(bool(correction)), x)
    check(lambda lib, t: lib.var_mean(t, 0, correction=correction), x)
    check(lambda lib, t: lib.std_mean(t, (0, 1), correction=correction), x)


def test_numpy_spellings_of_dim_are_taken():
    check(lambda lib, t: t.sum(axis=1, keepdims=True), numbers(3, 4))


# ---- scans ----


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"])
def test_scan_has_torchs_values_and_derivatives(name, dim):
    check(lambda lib, x: getattr(x, name)(dim), numbers(3, 4, 5, dtype=np.float64))
    check(
        lambda lib, x: getattr(x.transpose(0, 2), name)(dim), numbers(3, 4, 70), order=1, rtol=1e-4
    )


def test_diff_with_order_and_ends():
    x = numbers(4, 6, dtype=np.float64)
    check(lambda lib, t: lib.diff(t), x)
    check(lambda lib, t: lib.diff(t, n=2, dim=0), x)
    check(lambda lib, t: lib.diff(t, prepend=t[:, :2], append=t[:, -1:]), x)


# ---- order statistics ----


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("dim", [None, 0, 1, 2])
def test_quantile_interpolates_as_torch(dim, interpolation):
    x = numbers(3, 4, 5, dtype=np.float64)
    for keepdim in (False, True):
        check(lambda lib, t: t.quantile(0.3, dim, keepdim, interpolation=interpolation), x, order=1)
        check(
            lambda lib, t: t.quantile(
                lib.tensor([0.0, 0.4, 1.0], dtype=lib.float64),
                dim,
                keepdim,
                interpolation=interpolation,
            ),
            x,
            order=1,
        )


def test_nan_in_medians_and_quantiles():
    x = numbers(4, 7)
    x[1, 2] = np.nan
    x[2, :] = np.nan
    check(lambda lib, t: t.median(1), x, order=0)
    check(lambda lib, t: t.nanmedian(1).values, x, order=0)
    check(lambda lib, t: (t.median(), t.nanmedian()), x, order=0)
    check(lambda lib, t: (t.quantile(0.6, 1), t.nanquantile(0.6, 1)), x, order=0)


def test_mode_takes_the_smallest_of_the_most_frequent():
    x = np.random.default_rng(0).integers(0, 4, (5, 9)).astype(np.float32)
    check(lambda lib, t: t.mode(1).values, x, order=1)
    check(lambda lib, t: t.mode(0).values, x, order=0)


def test_the_small_ones():
    x, y = numbers(4, 4, dtype=np.float64), numbers(4, 4, seed=1, dtype=np.float64)
    check(lambda lib, a: a.trace(), x)
    check(lambda lib, a: lib.aminmax(a, dim=1), x, order=1)
    check(lambda lib, a, b: lib.dist(a, b, 3), x, y, order=1)
    check(lambda lib, a, b: (lib.max(a, b), lib.min(a, b)), x, y)
    check(lambda lib, a: lib.count_nonzero(a > 0, dim=0), x, order=0)


# ---- accuracy and threads ----


def test_long_float_sums_are_as_accurate_as_torchs():
    x = np.random.default_rng(5).random(1 << 20, np.float32)
    exact = x.astype(np.float64).sum()
    ours = gs.tensor(x).sum().item()
    assert abs(ours - exact) <= max(abs(torch.from_numpy(x).sum().item() - exact), exact * 2**-24)
    columns = x.reshape(-1, 16)
    exact = columns.astype(np.float64).sum(0)
    ours = numpy_of(gs.tensor(columns).sum(0))
    assert np.abs(ours / exact - 1).max() < 2**-23


def test_variance_of_numbers_far_from_zero():
    x = (np.random.default_rng(5).standard_normal((3, 10000)) + 1000).astype(np.float32)
    exact = x.astype(np.float64).var(1)
    np.testing.assert_allclose(numpy_of(gs.tensor(x).var(1, correction=0)), exact, rtol=1e-4)


@pytest.mark.cpu_only  # the CPU's threads
def test_results_do_not_depend_on_the_number_of_threads():
    x = gs.tensor(numbers(700, 900))
    results = []
    for n in (1, 2, 4):
        gs.set_num_threads(n)
        results.append(
            [x.sum().item(), x.sum(0).tolist(), x.var(1).tolist(), x.logsumexp(0).tolist()]
        )
    assert results[0] == results[1] == results[2]


def test_nuclear_norm():
    x = numbers(3, 4, 5)
    check(lambda lib, x: lib.norm(x[0], "nuc"), x)
    check(lambda lib, x: x.norm("nuc", dim=(0, 2), keepdim=True), x)
    with pytest.raises(RuntimeError, match="'dim' argument of size 2"):
        gs.norm(gs.ones(2, 3), "nuc", dim=1)
