# SPDX-License-Identifier: Apache-2.0
"""einsum, tensordot and distances against PyTorch: values, derivatives, errors."""

import numpy as np
import pytest

import gradstep as gs
from against_torch import check, numbers, same_error

F64 = np.float64


def arrays(*shapes):
    return [numbers(*s, seed=k, dtype=F64) for k, s in enumerate(shapes)]


EQUATIONS = {
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ij,jk": [(2, 3), (3, 4)],
    "bij,bjk->bik": [(2, 3, 4), (2, 4, 5)],
    "ii->i": [(3, 3)],
    "ii": [(3, 3)],
    "i,j->ij": [(3,), (4,)],
    "ij->ji": [(2, 3)],
    "...ij,...jk->...ik": [(5, 2, 3), (3, 4)],
    "bn,anm,bm->ba": [(2, 5), (3, 5, 4), (2, 4)],
    "i,i->": [(3,), (3,)],
    "ijk->": [(2, 3, 4)],
    "ij,ij->ij": [(2, 3), (2, 3)],
    "bhqd,bhkd->bhqk": [(2, 2, 3, 4), (2, 2, 5, 4)],
    "ab,bc,cd->ad": [(2, 3), (3, 4), (4, 5)],
    "iij->ij": [(3, 3, 2)],
    "...,...->...": [(2, 3), (2, 3)],
    "a...,b...->ab...": [(2, 4), (3, 4)],
    "ij,k->ik": [(2, 3), (4,)],
    "ij,kj->i": [(2, 1), (1, 1)],
    "Ab,bC->CA": [(2, 3), (3, 4)],
    "i...->...": [(3, 4, 2)],
    " i j , j k -> i k ": [(2, 3), (3, 4)],
    "...ii->...i": [(2, 3, 3)],
    "ij,ij,ij->i": [(2, 3)] * 3,
    "ij,jk->k": [(0, 3), (3, 4)],
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_has_torchs_values_and_derivatives(equation):
    check(lambda lib, *x: lib.einsum(equation, *x), *arrays(*EQUATIONS[equation]))
    check(lambda lib, *x: lib.einsum(equation, list(x)), *arrays(*EQUATIONS[equation]), order=0)


WRONG = {
    "ij,jk->iz": [(2, 3), (3, 4)],
    "ij,jk->ii": [(2, 3), (3, 4)],
    "ij": [(2, 3), (2, 3)],
    "ij,jk": [(2, 3)],
    "ijk": [(2, 3)],
    "ij,jk->ik": [(2, 3), (4, 5)],
    "i1": [(2, 3)],
    "i.j": [(2, 3)],
}


@pytest.mark.parametrize("equation", WRONG)
def test_a_wrong_equation_is_torchs_error(equation):
    same_error(lambda lib: lib.einsum(equation, *(lib.ones(s) for s in WRONG[equation])))


@pytest.mark.parametrize("dims", [0, 1, 2, ([1], [0]), ([0, 1], [1, 0]), ([-1], [0])], ids=str)
def test_tensordot_has_torchs_values_and_derivatives(dims):
    check(lambda lib, a, b: lib.tensordot(a, b, dims), *arrays((3, 3), (3, 3)))


def test_small_products_have_torchs_values_and_derivatives():
    check(lambda lib, a, b: lib.inner(a, b), *arrays((2, 3), (4, 3)))
    check(lambda lib, a, b: lib.inner(a, b), *arrays((3,), (3,)))
    check(lambda lib, a, b: lib.kron(a, b), *arrays((2, 3), (4, 2)))
    check(lambda lib, a, b: lib.kron(a, b), *arrays((2,), (4, 2)))
    check(lambda lib, a, b: lib.cross(a, b, -1), *arrays((4, 3), (4, 3)))
    check(lambda lib, a, b: lib.cross(a, b, dim=0), *arrays((3, 4), (3, 4)))
    check(lambda lib, *x: lib.chain_matmul(*x), *arrays((2, 3), (3, 10), (10, 2), (2, 4)))


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, np.inf])
def test_cdist_has_torchs_values_and_derivatives(p):
    check(lambda lib, a, b: lib.cdist(a, b, p), *arrays((2, 4, 3), (2, 5, 3)), order=1)
    check(lambda lib, a, b: lib.cdist(a, b, p), *arrays((2, 1, 4, 19), (3, 5, 19)), order=1)
    # From 26 rows on distances of p = 2 come from a product; compute_mode decides otherwise.
    check(lambda lib, a, b: lib.cdist(a, b, p), *arrays((27, 3), (2, 3)), order=1)
    for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        check(lambda lib, a, b: lib.cdist(a, b, p, mode), *arrays((27, 3), (2, 3)), order=1)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, np.inf])
def test_the_second_derivative_of_cdist_is_that_of_the_norm_of_differences(p):
    a, b = (gs.tensor(x.tolist(), dtype=gs.float64) for x in arrays((4, 3), (27, 3)))
    found = []
    for distance in (
        lambda x, y: gs.cdist(x, y, p),
        lambda x, y: gs.cdist(x, y, p, "donot_use_mm_for_euclid_dist"),
        lambda x, y: gs.linalg.vector_norm(x[:, None] - y, p, dim=-1),
    ):
        x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
        first = gs.autograd.grad(distance(x, y).sin().sum(), (x, y), create_graph=True)
        second = gs.autograd.grad(sum((g * g).sum() for g in first), (x, y))
        found.append([g.numpy(force=True) for g in (*first, *second)])
    for ours in found[:2]:
        for g, expected in zip(ours, found[2]):
            np.testing.assert_allclose(g, expected, rtol=1e-6, atol=1e-7)


def test_a_distance_of_zero_has_gradient_zero():
    check(lambda lib, a: lib.cdist(a, a), *arrays((4, 3)), order=1)


def test_layers_of_two_inputs_have_torchs_values_and_derivatives():
    def F(lib):
        return lib.nn.functional

    check(lambda lib, *x: F(lib).bilinear(*x), *arrays((4, 3), (4, 2), (5, 3, 2), (5,)))
    check(lambda lib, *x: F(lib).bilinear(*x), *arrays((2, 4, 3), (2, 4, 2), (5, 3, 2)))
    check(lambda lib, x: F(lib).normalize(x), *arrays((4, 3)))
    check(lambda lib, x: F(lib).normalize(x, 1.0, -1), *arrays((4, 3)))
    check(lambda lib, a, b: F(lib).cosine_similarity(a, b), *arrays((4, 3), (4, 3)))
    check(lambda lib, a, b: F(lib).pairwise_distance(a, b), *arrays((4, 3), (4, 3)))


# ---- products with an activation ----


@pytest.mark.parametrize("gelu", [False, True])
def test_addmm_activation_and_its_derivatives(gelu):
    """PyTorch's gelu is the exact one on a CPU and the tanh form on a GPU; it has no derivatives of this."""
    form = "none" if gs.get_default_device().type == "cpu" else "tanh"

    def activated(lib, bias, a, b):
        if lib is gs:
            return gs._addmm_activation(bias, a, b, beta=2, alpha=0.5, use_gelu=gelu)
        y = lib.addmm(bias, a, b, beta=2, alpha=0.5)
        f = lib.nn.functional
        return f.gelu(y, approximate=form) if gelu else f.relu(y)

    check(activated, *arrays((4,), (2, 3), (3, 4)))
    check(activated, *arrays((2, 4), (2, 3), (3, 4)))


def test_addmm_activation_refuses_what_torch_refuses():
    x = arrays((4,), (2, 3), (3, 4))
    for args in [(x[0], x[1], x[1]), (x[0][:2], x[1], x[2]), (x[0], x[0], x[2])]:
        same_error(lambda lib, args=args: lib._addmm_activation(*map(lib.tensor, args)))


# ---- sizes beside whole vectors ----


@pytest.mark.cpu_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3, 50, 131])
@pytest.mark.parametrize("n", [1, 2, 4, 7, 18, 20, 33, 50, 100])
def test_narrow_products_are_exact_and_the_same_in_any_number_of_threads(n, k, dtype):
    """Both layouts of both operands, with and without bias, against float64; NaN around them stays out."""
    a, b = numbers(257, k, dtype=dtype), numbers(k, n, seed=1, dtype=dtype)
    bias = numbers(n, seed=2, dtype=dtype)
    want = a.astype(F64) @ b.astype(F64)
    limit = 4 * np.finfo(dtype).eps * (np.abs(a).astype(F64) @ np.abs(b).astype(F64) + 1)

    def inside(x):
        frame = np.full((x.shape[0], x.shape[1] + 3), np.nan, dtype)
        frame[:, : x.shape[1]] = x
        return gs.from_numpy(frame)[:, : x.shape[1]]

    threads, found = gs.get_num_threads(), []
    try:
        for count in (1, 3):
            gs.set_num_threads(count)
            for left in (inside(a), inside(np.ascontiguousarray(a.T)).t()):
                for right in (inside(b), inside(np.ascontiguousarray(b.T)).t()):
                    found.append((left @ right).numpy())
                    found.append(gs.addmm(gs.from_numpy(bias), left, right).numpy() - bias)
    finally:
        gs.set_num_threads(threads)
    half = len(found) // 2
    for one, three in zip(found[:half], found[half:], strict=True):
        assert one.tobytes() == three.tobytes()
        assert (np.abs(one - want) <= limit * (1 + np.abs(bias))).all()


@pytest.mark.cpu_only
@pytest.mark.parametrize("k", [256, 1000, 7003])
def test_products_with_a_long_sum_are_the_same_in_any_number_of_threads(k):
    x, y = numbers(k, 50), numbers(k, 33, seed=1)
    threads, found = gs.get_num_threads(), []
    try:
        for count in (1, 3):
            gs.set_num_threads(count)
            out = gs.ones(50, 33)
            found.append(out.addmm_(gs.from_numpy(x).t(), gs.from_numpy(y), beta=2, alpha=0.5))
    finally:
        gs.set_num_threads(threads)
    assert found[0].numpy().tobytes() == found[1].numpy().tobytes()
    want = 2 + 0.5 * (x.T.astype(F64) @ y.astype(F64))
    np.testing.assert_allclose(found[0].numpy(), want, atol=1e-6 * k)
