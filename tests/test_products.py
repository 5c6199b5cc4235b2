# SPDX-License-Identifier: Apache-2.0
"""einsum, tensordot, distances and attention against PyTorch: values, derivatives, errors."""

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


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, np.inf])
def test_cdist_has_torchs_values_and_derivatives(p):
    check(lambda lib, a, b: lib.cdist(a, b, p), *arrays((2, 4, 3), (2, 5, 3)), order=1)


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


# ---- attention ----

QKV = [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5)]


def attention(lib, *args, **kwargs):
    return lib.nn.functional.scaled_dot_product_attention(*args, **kwargs)


@pytest.mark.parametrize("kwargs", [{}, {"is_causal": True}, {"scale": 0.3}], ids=str)
def test_attention_has_torchs_values_and_gradients(kwargs):
    check(lambda lib, q, k, v: attention(lib, q, k, v, **kwargs), *arrays(*QKV), order=1)


@pytest.mark.parametrize("causal", [False, True])
def test_masked_attention_has_torchs_values_and_gradients(causal):
    mask = (np.random.default_rng(1).random((4, 6)) > 0.4).tolist()
    mask[1] = [False] * 6  # nothing to look at: zeros, not nan
    check(
        lambda lib, q, k, v: attention(lib, q, k, v, lib.tensor(mask), is_causal=causal),
        *arrays(*QKV),
        order=1,
    )


def test_an_added_mask_has_torchs_values_and_gradients():
    check(lambda lib, q, k, v, m: attention(lib, q, k, v, m), *arrays(*QKV, (4, 6)), order=1)


def test_groups_of_query_heads_share_a_key_head():
    check(
        lambda lib, q, k, v: attention(lib, q, k, v, enable_gqa=True),
        *arrays((2, 4, 3, 5), (2, 2, 6, 5), (2, 2, 6, 5)),
        order=1,
    )


def test_attention_can_be_differentiated_twice():
    q, k, v = (
        gs.tensor(a.tolist(), dtype=gs.float64).requires_grad_()
        for a in arrays((3, 4), (5, 4), (5, 4))
    )
    assert gs.autograd.gradgradcheck(lambda *x: attention(gs, *x), (q, k, v))


def test_attention_without_a_batch_equals_torchs():
    check(
        lambda lib, q, k, v: attention(lib, q, k, v),
        *arrays((3, 4, 5), (3, 6, 5), (3, 6, 7)),
        order=1,
    )
