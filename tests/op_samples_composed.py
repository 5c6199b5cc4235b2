# SPDX-License-Identifier: Apache-2.0
"""Rows of the ops that are composed in Python (python/gradstep/_ops, linalg, masked, signal, fft); see op_samples.py."""

import torch

from op_rows import SINGLES, a, binary, call, calls, loose, unary, with_args

MATRICES = ((3, 3), (2, 3, 4), (4, 3))


def _square(m, n=3):
    return m(n, n) + 2 * n * torch.eye(n, dtype=m.dtype)


def _factored(m, n=3):
    return torch.linalg.lu_factor(_square(m, n))


VIEWS = [
    *[
        with_args(n, a(), shapes=((2, 3),))
        for n in "alias_copy t_copy conj_physical resolve_conj resolve_neg squeeze_copy unbind_copy diagonal_copy".split()
    ],
    with_args("as_strided_copy", a((2, 2), (1, 2))),
    with_args("expand_copy", a((4, 2, 3))),
    with_args("narrow_copy", a(1, 0, 2)),
    with_args("permute_copy", a((1, 0))),
    with_args("select_copy", a(1, 0)),
    with_args("slice_copy", a(1, 0, 3, 2)),
    with_args("split_copy", a(2, 1)),
    with_args("split_with_sizes_copy", a((1, 2), 1)),
    with_args("transpose_copy", a(0, 1)),
    with_args("unfold_copy", a(1, 2, 1)),
    with_args("unsqueeze_copy", a(1)),
    with_args("view_copy", a((3, 2)), strided=False),
    with_args("unsafe_chunk", a(2, 1)),
    with_args("unsafe_split", a(2, 1)),
    calls("select_scatter", lambda m: (call(m(2, 3), m(2), 1, 0),)),
    calls("slice_scatter", lambda m: (call(m(2, 3), m(2, 2), 1, 0, 3, 2), call(m(2, 3), m(1, 3), 0, 1))),
    calls("diagonal_scatter", lambda m: (call(m(3, 3), m(3)), call(m(3, 4), m(3), 1))),
    # PyTorch's gradient of what is written over is wrong: docs/differences.md.
    calls("as_strided_scatter", lambda m: (call(m(3, 3), m(2, 2), (2, 2), (1, 2), 1),), grad=False, strided=False),
    calls("empty_permuted", lambda m: (call((2, 3, 4), (2, 0, 1)),), grad=False, values=False, dtypes=("float32",)),
    calls("Tensor.new_empty_strided", lambda m: (call(m(2), (2, 3), (1, 2)),), grad=False, values=False),
    with_args("constant_pad_nd", a((1, 2), 3)),
    calls("_chunk_cat", lambda m: (call([m(3, 2), m(4)[:, None]], 0, 2),), dtypes=SINGLES),
]  # fmt: skip

ARITHMETIC = [
    *[binary(n, grad=False, dtypes=("int64",)) for n in "gcd lcm".split()],
    binary("nextafter", dtypes=SINGLES, gradgrad=False),
    unary("frexp", grad=False, dtypes=SINGLES),
    unary("angle", dtypes=(*SINGLES, "int64"), gradgrad=False),
    *[binary(n, 0.5, 5, dtypes=SINGLES, tolerance=loose, grad=False) for n in "igamma igammac".split()],
    *[
        calls(f"special.{n}", lambda m: (call(torch.tensor([0.5, 3.0]).to(m.dtype), m(2)),), low=0.5, high=5, dtypes=SINGLES, tolerance=loose, grad=False)
        for n in "gammainc gammaincc".split()
    ],
    with_args("mvlgamma", a(1), a(3), low=1.5, high=4, dtypes=SINGLES, tolerance=loose),
    with_args("special.multigammaln", a(2), low=1.5, high=4, dtypes=SINGLES, tolerance=loose),
    calls("polygamma", lambda m: tuple(call(n, m(2, 3)) for n in (0, 1, 2, 4)), low=0.3, high=4, dtypes=SINGLES, tolerance=loose),
    calls("special.polygamma", lambda m: (call(1, m(2, 3)),), low=-3, high=4, dtypes=SINGLES, tolerance=loose, gradgrad=False),
    binary("special.zeta", 1.1, 4, dtypes=SINGLES, tolerance=loose, grad=False),
    *[unary(f"special.{n}", dtypes=SINGLES, tolerance=loose) for n in "i0e i1 i1e erfcx".split()],
    *[
        unary(f"special.{n}", -9 if n[0] in "ajs" or "_i" in n else 0.05, 9, dtypes=SINGLES, grad=False, tolerance={"float32": (2e-5, 2e-6), "float64": (1e-5, 1e-9)})
        for n in (
            "airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_i0 modified_bessel_i1 modified_bessel_k0 "
            "modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0"
        ).split()
    ],
    *[
        calls(f"special.{n}", lambda m: (call(m(5, 1, low=-1, high=1), torch.arange(6)),), dtypes=SINGLES, grad=False, tolerance={"float32": (2e-5, 2e-5), "float64": (1e-9, 1e-10)})
        for n in (
            *(f"{s}chebyshev_polynomial_{k}" for s in ("", "shifted_") for k in "tuvw"),
            *"hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p".split(),
        )
    ],
]  # fmt: skip

LINALG = [
    calls("addbmm", lambda m: (call(m(2, 4), m(3, 2, 5), m(3, 5, 4)), call(m(2, 4), m(3, 2, 5), m(3, 5, 4), beta=2, alpha=3)), dtypes=(*SINGLES, "int64"), tolerance=loose),
    calls("vdot", lambda m: (call(m(3), m(3)),), dtypes=SINGLES),
    # PyTorch gives gradients to the half of L that is not read as well.
    calls("cholesky_solve", lambda m: (call(m(3, 2), torch.linalg.cholesky(m.spd(3))),), dtypes=SINGLES, tolerance=loose, grad=False),
    calls("cholesky_inverse", lambda m: (call(torch.linalg.cholesky(m.spd(3))),), dtypes=SINGLES, tolerance=loose, grad=False),
    calls("linalg.cholesky_ex", lambda m: (call(m.spd(3)),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    calls(
        "linalg.solve_triangular",
        lambda m: (
            call(_square(m), m(3, 2), upper=True),
            call(_square(m), m(2, 3), upper=False, left=False),
            call(_square(m), m(2, 3, 1), upper=False, unitriangular=True),
        ),
        dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-3)},
    ),
    calls("triangular_solve", lambda m: (call(m(3, 2), _square(m)), call(m(3, 2), _square(m), transpose=True)), dtypes=SINGLES, tolerance=loose),
    *[
        with_args(f"linalg.{n}", a(), shapes=MATRICES, dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-4)}, gradgrad=False)
        for n in "lu_factor lu_factor_ex lu".split()
    ],
    *[
        with_args(f"linalg.{n}", a(), shapes=((1, 1), (4, 4), (2, 5, 5), (0, 0)), grad=False, dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-4)})
        for n in "ldl_factor ldl_factor_ex".split()
    ],
    calls(
        "linalg.ldl_solve",
        lambda m: tuple(call(*torch.linalg.ldl_factor(m(*shape, 5, 5)), m(*more, 5, 2)) for shape, more in (((), ()), ((2,), ()), ((), (3,)))),
        grad=False, dtypes=SINGLES, tolerance={"float32": (1e-3, 1e-3)},
    ),
    with_args("lu", a(), shapes=((3, 3),), dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-4)}, gradgrad=False),
    calls("lu_unpack", lambda m: (call(*_factored(m)),), dtypes=SINGLES),
    calls(
        "linalg.lu_solve",
        lambda m: (call(*_factored(m), m(3, 2)), call(*_factored(m), m(2, 3), left=False), call(*_factored(m), m(3, 2), adjoint=True)),
        dtypes=SINGLES, tolerance=loose,
    ),
    calls("lu_solve", lambda m: (call(m(3, 2), *_factored(m)),), dtypes=SINGLES, tolerance=loose),
    *[
        calls(f"linalg.{n}", lambda m: (call(m.spd(3)), call(_square(m).expand(2, 3, 3))), dtypes=SINGLES, tolerance=loose, gradgrad=False)
        for n in "slogdet cond inv_ex".split()
    ],
    calls("logdet", lambda m: (call(m.spd(3)),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    calls("linalg.solve_ex", lambda m: (call(_square(m), m(3, 2)),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    with_args("matrix_exp", a(), shapes=((3, 3), (2, 2, 2), (0, 0)), dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-4)}, aliases=("linalg.matrix_exp",)),
    with_args("linalg.matrix_rank", a(), shapes=MATRICES, dtypes=SINGLES, grad=False),
    calls("linalg.lstsq", lambda m: (call(m(4, 2), m(4, 3), driver="gelsd"), call(m(3, 3), m(3, 1))), dtypes=SINGLES, tolerance={"float32": (1e-3, 1e-3)}, gradgrad=False),
    calls("linalg.tensorinv", lambda m: (call(_square(m, 6).reshape(2, 3, 6), 2),), dtypes=SINGLES, tolerance=loose),
    calls("linalg.tensorsolve", lambda m: (call(_square(m, 6).reshape(2, 3, 6), m(2, 3)),), dtypes=SINGLES, tolerance=loose),
    with_args("linalg.vander", a(), a(N=5), shapes=((3,), (2, 3)), dtypes=(*SINGLES, "int64")),
    with_args("geqrf", a(), shapes=MATRICES, dtypes=SINGLES, grad=False, tolerance={"float32": (1e-4, 1e-4)}),
    calls("linalg.householder_product", lambda m: (call(m(4, 3), m(2)), call(m(2, 3, 3), m(2, 3))), dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-3)}, gradgrad=False, aliases=("orgqr",)),
    calls(
        "ormqr",
        lambda m: (call(m(4, 3), m(3), m(4, 2)), call(m(4, 3), m(3), m(4, 2), True, True), call(m(3, 3), m(3), m(2, 3), False)),
        dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-2)}, gradgrad=False,
    ),
    *[with_args(n, a(), shapes=((4, 3),), dtypes=SINGLES, grad=False, values=False) for n in "qr svd svd_lowrank pca_lowrank".split()],
]  # fmt: skip

NUMERIC = [
    calls("broadcast_shapes", lambda m: (call((2, 1), (3,)), call(2, (3, 1))), grad=False, dtypes=("float32",)),
    calls("cov", lambda m: (call(m(3, 5)), call(m(4)), call(m(2, 4), correction=0, fweights=m.ints(3, 4) + 1), call(m(2, 4), aweights=torch.tensor([0.5, 1, 2, 0.25]).to(m.dtype))), dtypes=SINGLES, tolerance=loose),
    calls("corrcoef", lambda m: (call(m(3, 5)),), dtypes=SINGLES, tolerance=loose),
    calls("trapezoid", lambda m: (call(m(2, 4)), call(m(2, 4), m(4)), call(m(2, 4), dx=0.5, dim=0)), dtypes=SINGLES, aliases=("trapz",)),
    calls("cumulative_trapezoid", lambda m: (call(m(2, 4)), call(m(2, 4), m(2, 4)), call(m(2, 4), dx=0.5, dim=0)), dtypes=SINGLES),
    calls("gradient", lambda m: (call(m(4, 3)), call(m(4, 3), spacing=2.0, dim=1, edge_order=2), call(m(4), spacing=(torch.tensor([0, 1.0, 3, 4]),))), dtypes=SINGLES, tolerance=loose),
    calls("histogram", lambda m: (call(m(9), 4), call(m(9), 3, range=(-1.0, 1.0), density=True), call(m(9), torch.tensor([-2.0, 0, 2]).to(m.dtype), weight=m(9))), grad=False, dtypes=SINGLES),
    calls("histogramdd", lambda m: (call(m(9, 2), [3, 2]),), grad=False, dtypes=SINGLES),
    *[
        calls("index_reduce" if k == 0 else "Tensor.index_reduce", lambda m, how=how: (call(m(3, 4), 0, torch.tensor([0, 2, 0]), m(3, 4), how), call(m(3, 4), 1, torch.tensor([1]), m(3, 1), how, include_self=False)), dtypes=SINGLES, gradgrad=False, inplace=how != "amin")
        for k, how in enumerate(["mean", "amin"])
    ],
    calls("nonzero_static", lambda m: (call(m.mask(2, 3), size=2), call(m.mask(2, 3), size=8, fill_value=-7)), grad=False, dtypes=("float32",)),
    with_args("renorm", a(2, 0, 1.5), a(1, 1, 2.0), shapes=((3, 4), (2, 3, 2)), dtypes=SINGLES, gradgrad=False),
    calls("unravel_index", lambda m: (call(m.ints(12, 5), (3, 4)),), grad=False, dtypes=("int64",)),
    calls("segment_reduce", lambda m: tuple(call(m(5, 2), how, lengths=torch.tensor([2, 0, 3])) for how in ("sum", "mean", "max", "min", "prod")), dtypes=SINGLES, gradgrad=False),
    calls("_unsafe_masked_index", lambda m: (call(m(3, 4), torch.tensor([True, False]), [torch.tensor([0, 9]), torch.tensor([1, 2])], 5.0),), dtypes=SINGLES),
    calls("_unsafe_masked_index_put_accumulate", lambda m: (call(m(3, 4), torch.tensor([True, False]), [torch.tensor([0, 2]), torch.tensor([1, 2])], m(2)),), dtypes=SINGLES),
    # PyTorch passes gradients of the first result only.
    calls("native_layer_norm", lambda m: (call(m(2, 3), (3,), m(3), m(3), 1e-5),), dtypes=SINGLES, tolerance=loose, grad=False),
    calls("native_group_norm", lambda m: (call(m(2, 4, 3), m(4), m(4), 2, 4, 3, 2, 1e-5),), dtypes=SINGLES, tolerance=loose, grad=False),
    calls("native_batch_norm", lambda m: (call(m(3, 2), m(2), m(2), None, None, True, 0.1, 1e-5),), dtypes=SINGLES, tolerance=loose, grad=False),
    calls("_softmax_backward_data", lambda m: (call(m(2, 3), torch.softmax(m(2, 3), 1), 1, m.dtype),), dtypes=SINGLES, gradgrad=False),
    calls("_log_softmax_backward_data", lambda m: (call(m(2, 3), torch.log_softmax(m(2, 3), 1), 1, m.dtype),), dtypes=SINGLES, gradgrad=False),
    calls("_foreach_add", lambda m: (call([m(2), m(3)], [m(2), m(3)], alpha=2), call([m(2), m(3)], 1.5), call([m(2)], [2.0])), dtypes=SINGLES),
    calls("_foreach_mul", lambda m: (call([m(2), m(3)], [m(2), m(3)]), call([m(2), m(3)], 1.5)), dtypes=SINGLES),
    calls("_foreach_maximum", lambda m: (call([m(2), m(3)], [m(2), m(3)]), call([m(2), m(3)], 0.5)), dtypes=SINGLES),
    calls("_foreach_addcdiv", lambda m: (call([m(2)], [m(2)], [m(2)], value=2.0), call([m(2)], [m(2)], [m(2)], [3.0])), dtypes=SINGLES, low=0.5),
    calls("_foreach_lerp", lambda m: (call([m(2)], [m(2)], 0.25), call([m(2)], [m(2)], [m(2)])), dtypes=SINGLES),
    calls("_foreach_norm", lambda m: (call([m(2), m(2, 2)]), call([m(3)], 1)), dtypes=SINGLES),
    calls("_foreach_sqrt", lambda m: (call([m(2), m(2, 2)]),), dtypes=SINGLES, low=0.5),
]  # fmt: skip

WINDOWS = [
    *[
        calls(f"windows.{n}", lambda m: (call(7, dtype=m.dtype), call(6, sym=False, dtype=m.dtype), call(1, dtype=m.dtype), call(0, dtype=m.dtype)), grad=False, dtypes=SINGLES, tolerance=loose)
        for n in "bartlett blackman cosine exponential gaussian general_hamming hamming hann kaiser nuttall".split()
    ],
    calls("windows.general_cosine", lambda m: (call(7, a=[0.5, 0.3, 0.2], dtype=m.dtype),), grad=False, dtypes=SINGLES),
    *[
        calls(f"{n}_window", lambda m: (call(7, dtype=m.dtype), call(6, periodic=False, dtype=m.dtype)), grad=False, dtypes=SINGLES, tolerance=loose)
        for n in "bartlett blackman hamming hann kaiser".split()
    ],
]  # fmt: skip


def _masked(name, *args, **kw):
    def samples(m):
        mask = torch.tensor([[True, False, True], [False, True, True]])
        yield call(m(2, 3), *args)
        yield call(m(2, 3), *args, mask=mask)

    kw.setdefault("dtypes", SINGLES)
    return calls(f"masked.{name}", samples, tolerance=loose, **kw)


MASKED = [
    *[_masked(n, 1) for n in "sum prod amax amin mean median var std logsumexp cumsum cumprod softmax log_softmax softmin".split()],
    *[_masked(n, 1, grad=False) for n in "argmax argmin".split()],
    _masked("norm", 2.0, 1),
    _masked("normalize", 2.0, 1, gradgrad=False),
    calls("masked.logaddexp", lambda m: (call(m(3), m(3), input_mask=torch.tensor([True, False, True])),), dtypes=SINGLES, gradgrad=False),
]  # fmt: skip

FFT = [
    *[with_args(f"fft.{n}", a(), a(5), a(norm="ortho"), a(4, 0), shapes=((3, 4),), dtypes=SINGLES, tolerance=loose) for n in "irfft hfft".split()],
    *[with_args(f"fft.{n}", a(), a((4, 5)), a(norm="forward"), shapes=((3, 4),), dtypes=SINGLES, tolerance=loose) for n in "irfft2 irfftn hfft2 hfftn".split()],
    *[with_args(f"fft.{n}", a(), a(1), shapes=((3, 4),)) for n in "fftshift ifftshift".split()],
    *[calls(f"fft.{n}", lambda m: (call(5), call(4, 0.5)), grad=False, dtypes=("float32",)) for n in "fftfreq rfftfreq".split()],
]  # fmt: skip

NN = [
    calls(
        "F.fractional_max_pool2d",
        lambda m: (
            call(m(2, 3, 7, 6), 2, output_size=(3, 4), return_indices=True, _random_samples=torch.tensor([[[0.1, 0.9]] * 3] * 2).to(m.dtype)),
            call(m(1, 3, 7, 6), (3, 2), output_ratio=(0.5, 0.5), _random_samples=torch.full((1, 3, 2), 0.5).to(m.dtype)),
        ),
        dtypes=SINGLES, gradgrad=False,
    ),
    calls(
        "F.fractional_max_pool3d",
        lambda m: (call(m(1, 2, 5, 5, 6), 2, output_size=(3, 2, 4), return_indices=True, _random_samples=torch.tensor([[[0.1, 0.9, 0.4]] * 2]).to(m.dtype)),),
        dtypes=SINGLES, gradgrad=False,
    ),
    with_args("F.glu", a(), a(0), shapes=((4, 2), (2, 4, 6)), dtypes=SINGLES),
    with_args("F.local_response_norm", a(3), a(2, alpha=0.1, beta=0.5, k=2.0), shapes=((2, 4, 3), (1, 3, 2, 2)), dtypes=SINGLES, tolerance=loose),
    *[
        with_args(f"F.lp_pool{nd}d", a(2.0, 2), a(3.0, 2, stride=1, ceil_mode=True), shapes=((1, 2, *(5, 4, 3)[:nd]),), low=0.2, dtypes=SINGLES, tolerance=loose)
        for nd in (1, 2, 3)
    ],
    calls(
        "F.embedding_bag",
        lambda m: (
            call(m.ints(4, 2, 3), m(4, 3), mode="sum"),
            call(m.ints(4, 6), m(4, 3), torch.tensor([0, 2, 2])),
            call(m.ints(4, 6), m(4, 3), torch.tensor([0, 4]), mode="sum", per_sample_weights=m(6)),
            call(m.ints(4, 2, 3), m(4, 3), mode="max"),
            call(m.ints(4, 2, 3), m(4, 3), padding_idx=1),
        ),
        dtypes=SINGLES, tolerance=loose,
    ),
    calls(
        "F.grid_sample",
        lambda m: tuple(
            call(m(1, 2, *(4, 3, 2)[:nd]), m(1, *(2, 3, 2)[:nd], nd, low=-1.4, high=1.4), mode=mode, padding_mode=padding, align_corners=align)
            for nd in (2, 3) for mode in ("bilinear", "nearest", "bicubic") if (nd, mode) != (3, "bicubic")
            for padding in ("zeros", "border", "reflection") for align in (True, False)
        ),
        dtypes=SINGLES, tolerance=loose,
    ),
    calls(
        "F.affine_grid",
        lambda m: tuple(call(m(2, nd, nd + 1), (2, 1, *(2, 3, 2)[:nd]), align_corners=align) for nd in (2, 3) for align in (True, False)),
        dtypes=SINGLES, tolerance=loose,
    ),
    calls(
        "F.multilabel_margin_loss",
        lambda m: tuple(call(m(2, 4), torch.tensor([[3, 0, -1, 1], [1, -1, 0, 2]]), reduction=r) for r in ("none", "mean", "sum")),
        dtypes=SINGLES, tolerance=loose,
    ),
    with_args("F.pdist", a(), a(1.0), a(3.0), shapes=((4, 3),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    calls(
        "F.triplet_margin_with_distance_loss",
        lambda m: (call(m(3, 4), m(3, 4), m(3, 4)), call(m(3, 4), m(3, 4), m(3, 4), margin=2.0, swap=True, reduction="none")),
        dtypes=SINGLES, tolerance=loose,
    ),
    *[
        calls(f"F.max_unpool{nd}d", lambda m, nd=nd: (call(m(1, 2, *(2, 2, 2)[:nd]), torch.arange(2**nd).reshape(1, 1, *(2,) * nd).expand(1, 2, *(2,) * nd) * 2, 2),), dtypes=SINGLES)
        for nd in (1, 2, 3)
    ],
    with_args("F.upsample_nearest", a(scale_factor=2), a(size=(3, 5)), shapes=((1, 2, 3, 4),), dtypes=SINGLES),
    with_args("F.upsample_bilinear", a(scale_factor=2), a(size=(3, 5)), shapes=((1, 2, 3, 4),), dtypes=SINGLES, tolerance=loose),
    with_args("F.upsample", a(scale_factor=2), a(size=(3, 5), mode="bicubic"), shapes=((1, 2, 3, 4),), dtypes=SINGLES, tolerance=loose),
    *[
        calls(n, lambda m, k=k: (call(m(2, 3), m(2, 4), m(4 * k, 3), m(4 * k, 4), m(4 * k), m(4 * k)), call(m(2, 3), m(2, 4), m(4 * k, 3), m(4 * k, 4))), dtypes=SINGLES, tolerance=loose)
        for n, k in (("gru_cell", 3), ("rnn_tanh_cell", 1), ("rnn_relu_cell", 1))
    ],
    calls("lstm_cell", lambda m: (call(m(2, 3), [m(2, 4), m(2, 4)], m(16, 3), m(16, 4), m(16), m(16)),), dtypes=SINGLES, tolerance=loose),
    calls("F.linear_cross_entropy", lambda m: (call(m(4, 3), m(5, 3), m.ints(5, 4)), call(m(4, 3), m(5, 3), m.ints(5, 4), linear_bias=m(5), reduction="sum")), dtypes=SINGLES, tolerance=loose),
]  # fmt: skip

COMPOSED = [*VIEWS, *ARITHMETIC, *LINALG, *NUMERIC, *WINDOWS, *MASKED, *FFT, *NN]
