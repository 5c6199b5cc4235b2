# SPDX-License-Identifier: Apache-2.0
"""Functions of matrices whose home is `torch.`; most have a younger twin in `torch.linalg`."""

import math
from typing import Any

import numpy as np

from gradstep import _C, linalg
from gradstep._autocast import as_it_is, in_float32_on_cpu, in_lower
from gradstep._C import Tensor
from gradstep._ops import lu as _lu
from gradstep._ops._results import named
from gradstep._ops.factorisations import reflect
from gradstep.linalg import (  # noqa: F401
    det as det,
    matrix_exp as matrix_exp,
    matrix_power as matrix_power,
    slogdet as slogdet,
)

cholesky_inverse = _lu.cholesky_inverse
cholesky_solve = _lu.cholesky_solve
lu_unpack = _lu.lu_unpack
inverse = linalg.inv
orgqr = linalg.householder_product


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse; singular values below rcond times the largest count as zero.

    Shape: (*, m, n) to (*, n, m).
    """
    return linalg.pinv(input, rtol=rcond)


def cholesky(input: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """L with A = L L', or L' with upper.

    Shape: (*, n, n) to the same.
    Raises: RuntimeError for matrices that are not square; LinAlgError for those that are not
    positive definite.
    """
    result = linalg.cholesky(input, upper=upper)
    return result if out is None else out.resize_(result.shape).copy_(result)


@in_lower
def addbmm(
    input: Tensor,
    batch1: Tensor,
    batch2: Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    """beta * input + alpha * the sum over the batch of batch1 @ batch2.

    Shape: input broadcasts to (n, m); batch1 (b, n, k), batch2 (b, k, m); result (n, m).
    Raises: RuntimeError where sizes do not fit.
    """
    if batch1.dim() != 3 or batch2.dim() != 3:
        which = "batch1" if batch1.dim() != 3 else "batch2"
        raise RuntimeError(f"{which} must be a 3D tensor")
    if batch1.shape[0] != batch2.shape[0]:
        raise RuntimeError(
            f"batch1 and batch2 must have same number of batches, got {batch1.shape[0]} and {batch2.shape[0]}"
        )
    if batch1.shape[2] != batch2.shape[1]:
        raise RuntimeError(
            f"Incompatible matrix sizes for bmm ({batch1.shape[1]}x{batch1.shape[2]} and "
            f"{batch2.shape[1]}x{batch2.shape[2]})"
        )
    if not batch1.dtype.is_floating_point:
        beta, alpha = int(beta), int(alpha)  # as PyTorch does
    product = alpha * _C.bmm(batch1, batch2).sum(0, dtype=batch1.dtype)
    result = product + (beta * input if beta != 0 else 0 * product.detach())
    if result.shape != product.shape:
        raise RuntimeError(
            f"The expanded size of the tensor {list(product.shape)} must match input's {list(input.shape)}"
        )
    result = result.to(batch1.dtype)
    return result if out is None else out.resize_(result.shape).copy_(result)


def vdot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inner product of two vectors.

    Shape: (n) and (n) to ().
    Raises: RuntimeError for other ranks or sizes that differ.
    """
    return _C.dot(input, other, out=out)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: NaN where that is negative.

    Shape: (*, n, n) to (*).
    Raises: RuntimeError for matrices that are not square.
    """
    sign, value = linalg.slogdet(input)
    return _C.where(sign < 0, math.nan, value)


# ---- triangular factors ----


@in_float32_on_cpu
def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(solution, cloned_coefficient) with A X = b, or A' X = b.

    Shape: b (*, n, k), A (*, n, n); the solution as b, A as it is.
    Raises: RuntimeError for less than 2 axes.
    """
    if b.dim() < 2 or A.dim() < 2:
        raise RuntimeError(
            "torch.triangular_solve: Expected both arguments to have at least 2 dimensions, but b has "
            f"{b.dim()} and A has {A.dim()}"
        )
    a = A.mT if transpose else A
    x = linalg.solve_triangular(a, b, upper=upper != transpose, unitriangular=unitriangular)
    batch = x.shape[:-2]
    return named(
        "triangular_solve",
        solution=x,
        cloned_coefficient=A.expand(*batch, *A.shape[-2:]).clone(),
    )


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """(LU, pivots) as linalg.lu_factor has them; the numbers of zero pivots too with get_infos."""
    result = _lu.lu_factor_ex(A, pivot=pivot)
    if get_infos:
        return named("lu", LU=result.LU, pivots=result.pivots, info=result.info)
    return named("lu", LU=result.LU, pivots=result.pivots)


@in_float32_on_cpu
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor, *, out: Tensor | None = None) -> Tensor:
    """X with A X = b for the matrix that lu took apart.

    Shape: b (*, n, k), LU_data (*, n, n), LU_pivots (*, n); the result as b.
    """
    x = _lu.lu_solve(LU_data, LU_pivots, b)
    return x if out is None else out.resize_(x.shape).copy_(x)


# ---- orthogonal factors ----


@in_float32_on_cpu
def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """Q, R with input = Q R; Q is square where some is False.

    Shape: (*, m, n) to (*, m, k), (*, k, n) with k = min(m, n), or m where some is False.
    """
    q, r = linalg.qr(input, "reduced" if some else "complete")
    return named("qr", Q=q, R=r)


@in_float32_on_cpu
def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """U, S, V with input = U diag(S) V'.

    Shape: (*, m, n) to (*, m, k), (*, k), (*, n, k) with k = min(m, n), or m and n where some is
    False.
    """
    if input.dim() < 2:
        raise RuntimeError("linalg.svd: The input tensor A must have at least 2 dimensions.")
    if not compute_uv:
        m, n = input.shape[-2:]
        batch = input.shape[:-2]
        return named(
            "svd",
            U=input.new_zeros((*batch, m, m)),
            S=linalg.svdvals(input),
            V=input.new_zeros((*batch, n, n)),
        )
    u, s, vh = linalg.svd(input, full_matrices=not some)
    return named("svd", U=u, S=s, V=vh.mT)


@in_float32_on_cpu
def geqrf(input: Tensor, *, out: Any = None) -> Any:
    """(a, tau): R on and above the diagonal, Householder's vectors below, and their factors. Without derivatives."""
    _lu.check_matrix("torch.geqrf", input)
    _lu.check_floating("torch.geqrf", input)
    array = _lu.numpy_of(input)
    if min(array.shape[-2:]) == 0 or array.size == 0:
        tau = input.new_zeros((*input.shape[:-2], min(input.shape[-2:])))
        return named("geqrf", a=input.detach().clone(), tau=tau)
    h, factors = np.linalg.qr(array, "raw")
    return named("geqrf", a=_lu.like(np.swapaxes(h, -1, -2), input), tau=_lu.like(factors, input))


@in_float32_on_cpu
@as_it_is
def ormqr(
    input: Tensor,
    tau: Tensor,
    other: Tensor,
    left: bool = True,
    transpose: bool = False,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Q other, or other Q where left is False, with Q the product of geqrf's Householder matrices.

    Shape: input (*, m, k), tau (*, k), other (*, m, n), or (*, n, m) where left is False; the
    result as other.
    """
    name = "torch.ormqr"
    _lu.check_floating(name, input, tau, other)
    if input.dim() < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if other.dim() < 2:
        raise RuntimeError(f"{name}: other must have at least 2 dimensions.")
    side = -2 if left else -1
    if other.shape[side] < tau.shape[-1]:
        raise RuntimeError(
            f"{name}: other.shape[{side}] must be greater than or equal to tau.shape[-1]"
        )
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"{name}: other.shape[{side}] must be equal to input.shape[-2]")
    if tau.dim() != input.dim() - 1 or tau.shape[:-1] != input.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.shape)}"
        )
    if other.dim() != input.dim() or other.shape[:-2] != input.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of other to be equal to input.shape[:-2], but got {list(other.shape)}"
        )
    if left:
        result = reflect(input, tau, other, not transpose)
    else:
        result = reflect(input, tau, other.mT, transpose).mT
    return result if out is None else out.resize_(result.shape).copy_(result)


# ---- few singular values ----


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> Any:
    """(U, S, V), the q largest singular values of A (of A - M) by random projections.

    Halko, Martinsson, Tropp (2011), SIAM Review 53, algorithm 5.1 with subspace iterations.
    """
    a = A if M is None else A - M.expand(A.shape)
    m, n = a.shape[-2:]
    q = min(6, m, n) if q is None else q
    wide = m < n
    if wide:
        a = a.mT
    test = _C.randn(a.shape[-1], q, dtype=a.dtype, device=a.device)
    basis = linalg.qr(a @ test).Q
    for _ in range(niter or 0):
        basis = linalg.qr(a.mT @ basis).Q
        basis = linalg.qr(a @ basis).Q
    u, s, vh = linalg.svd(basis.mT @ a, full_matrices=False)
    u, v = basis @ u, vh.mT
    return (v, s, u) if wide else (u, s, v)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """(U, S, V) of the q main components of the rows of A."""
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
