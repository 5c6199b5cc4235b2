# SPDX-License-Identifier: Apache-2.0
"""LU factorisations and triangular systems, batched. The loops over columns are numpy's, all matrices of a batch at a
time; derivatives are composed of differentiable ops (Murray 2016, arXiv:1602.07527, section 2)."""

from typing import Any

import numpy as np

from gradstep import _C
from gradstep._autocast import as_it_is, in_float32_on_cpu
from gradstep._C import Tensor
from gradstep._ops._results import named
from gradstep.autograd import Function


def numpy_of(t: Tensor) -> Any:
    return t.detach().cpu().numpy()


def like(array: Any, t: Tensor, dtype: Any = None) -> Tensor:
    """A tensor of the array, on t's device."""
    return _C.from_numpy(np.array(array, order="C")).to(t.device, dtype or t.dtype)


def check_floating(name: str, *tensors: Tensor) -> None:
    for t in tensors:
        if not t.dtype.is_floating_point or t.dtype.itemsize < 4:
            raise RuntimeError(
                f"{name}: Expected a floating point tensor of 32 or 64 bits as input. Got {t.dtype}"
            )
        if t.dtype != tensors[0].dtype:
            raise RuntimeError(
                f"{name}: Expected all tensors to have the same dtype, but got {tensors[0].dtype} and {t.dtype}"
            )
        if t.device != tensors[0].device:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{tensors[0].device} and {t.device}!"
            )


def check_matrix(name: str, *tensors: Tensor) -> None:
    for t in tensors:
        if t.dim() < 2:
            raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")


def check_square(name: str, a: Tensor) -> None:
    check_matrix(name, a)
    if a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} matrices"
        )


def broadcast_batches(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    batch = np.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    return a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:])


# ---- triangular systems ----


def _substitute(a: Any, b: Any, upper: bool, unit: bool) -> Any:
    """X with A X = B by substitution: a row of X at a time."""
    n = a.shape[-1]
    x = np.array(b)
    with np.errstate(all="ignore"):
        for i in reversed(range(n)) if upper else range(n):
            rest = slice(i + 1, n) if upper else slice(0, i)
            row = x[..., i, :] - (a[..., i : i + 1, rest] @ x[..., rest, :])[..., 0, :]
            x[..., i, :] = row if unit else row / a[..., i, i, None]
    return x


class _SolveTriangular(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, upper: bool, unit: bool) -> Tensor:
        x = like(_substitute(numpy_of(a), numpy_of(b), upper, unit), a)
        ctx.save_for_backward(a, x)
        ctx.upper, ctx.unit = upper, unit
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        # dB = inv(A') g, dA = the triangle of -dB X'
        a, x = ctx.saved_tensors
        db = _SolveTriangular.apply(a.mT, g, not ctx.upper, ctx.unit)
        da = -(db @ x.mT)
        return (
            da.triu(int(ctx.unit)) if ctx.upper else da.tril(-int(ctx.unit)),
            db,
            None,
            None,
        )


@in_float32_on_cpu
def solve_triangular(
    A: Tensor,
    B: Tensor,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """X with A X = B, or X A = B where left is False, for a triangular A; the other triangle is not read.

    Shape: A (*, n, n), B (*, n, k); the result as B.
    Raises: RuntimeError where shapes do not fit.
    """
    check_floating("linalg.solve_triangular", A, B)
    check_square("linalg.solve_triangular", A)
    check_matrix("linalg.solve_triangular", B)
    if A.shape[-2 if left else -1] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            "linalg.solve_triangular: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )
    a, b = broadcast_batches(A, B)
    if left:
        x = _SolveTriangular.apply(a, b, upper, unitriangular)
    else:
        x = _SolveTriangular.apply(a.mT, b.mT, not upper, unitriangular).mT
    return x if out is None else out.resize_(x.shape).copy_(x)


@in_float32_on_cpu
def cholesky_solve(
    B: Tensor, L: Tensor, upper: bool = False, *, out: Tensor | None = None
) -> Tensor:
    """X with A X = B, where A = L L' (L' L with upper)."""
    check_floating("cholesky_solve", B, L)
    if B.dim() < 2 or L.dim() < 2:
        raise RuntimeError("cholesky_solve: b and A should have at least 2 dimensions")
    check_square("cholesky_solve", L)
    if B.shape[-2] != L.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for cholesky_solve: each A matrix is {L.shape[-1]} by {L.shape[-1]} but each b "
            f"matrix is {B.shape[-2]} by {B.shape[-1]}"
        )
    low = L.mT if upper else L
    y = solve_triangular(low, B, upper=False)
    x = solve_triangular(low.mT, y, upper=True)
    return x if out is None else out.resize_(x.shape).copy_(x)


@in_float32_on_cpu
def cholesky_inverse(L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """The inverse of L L' (of L' L with upper)."""
    check_square("cholesky_inverse", L)
    eye = _C.eye(L.shape[-1], dtype=L.dtype, device=L.device)
    return cholesky_solve(eye.expand(L.shape), L, upper, out=out)


# ---- LU ----


def _eliminate(a: Any, pivot: bool) -> tuple[Any, Any]:
    """L and U in one matrix, and the row that each step exchanged with its own, from 0."""
    a = np.array(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    flat = a.reshape(int(np.prod(a.shape[:-2])), m, n)
    batch = np.arange(flat.shape[0])
    rows = np.tile(np.arange(k), (flat.shape[0], 1))
    with np.errstate(all="ignore"):
        for i in range(k):
            if pivot and flat.size:
                p = i + np.argmax(np.abs(flat[:, i:, i]), axis=1)
                rows[:, i] = p
                flat[batch, i], flat[batch, p] = flat[batch, p].copy(), flat[batch, i].copy()
            head = flat[:, i, i][:, None]
            flat[:, i + 1 :, i] = np.where(
                head == 0, flat[:, i + 1 :, i], flat[:, i + 1 :, i] / head
            )
            flat[:, i + 1 :, i + 1 :] -= flat[:, i + 1 :, i, None] * flat[:, i, None, i + 1 :]
    return flat.reshape(a.shape), rows.reshape(*a.shape[:-2], k)


def order_of(pivots: Any, m: int) -> Any:
    """The order of the rows of A that makes L U, from the exchanges (from 0)."""
    flat = pivots.reshape(int(np.prod(pivots.shape[:-1])), pivots.shape[-1])
    order = np.tile(np.arange(m), (flat.shape[0], 1))
    batch = np.arange(flat.shape[0])
    for i in range(flat.shape[1]):
        p = flat[:, i]
        order[batch, i], order[batch, p] = order[batch, p].copy(), order[batch, i].copy()
    return order.reshape(*pivots.shape[:-1], m)


class _Square(Function):
    """L and U of square matrices whose rows are in order."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
        l = packed.tril(-1) + _C.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        u = packed.triu()
        ctx.save_for_backward(l, u)
        return l, u

    @staticmethod
    def backward(ctx: Any, gl: Tensor, gu: Tensor) -> tuple[Tensor, None]:
        # dA = inv(L') (strict lower half of L' gl + upper half of gu U') inv(U')
        l, u = ctx.saved_tensors
        inner = (l.mT @ gl).tril(-1) + (gu @ u.mT).triu()
        half = solve_triangular(l.mT, inner, upper=True, unitriangular=True)
        return solve_triangular(u.mT, half, upper=False, left=False), None


def _factors(A: Tensor, pivot: bool) -> tuple[Any, Tensor, Tensor, Any]:
    """Exchanges, L, U and the packed values."""
    packed, pivots = _eliminate(numpy_of(A), pivot)
    m, n = A.shape[-2:]
    k = min(m, n)
    ordered = A
    if pivot:
        order = like(order_of(pivots, m), A, _C.int64)
        ordered = A.gather(-2, order.unsqueeze(-1).expand(A.shape))
    l, u = _Square.apply(ordered[..., :k, :k], like(packed[..., :k, :k], A))
    if n > k:
        rest = solve_triangular(l, ordered[..., :, k:], upper=False, unitriangular=True)
        u = _C.cat([u, rest], -1)
    if m > k:
        below = solve_triangular(u, ordered[..., k:, :], upper=True, left=False)
        l = _C.cat([l, below], -2)
    return pivots, l, u, packed


def _pack(l: Tensor, u: Tensor) -> Tensor:
    low = l.tril(-1)
    m, n = l.shape[-2], u.shape[-1]
    k = l.shape[-1]
    return _C.pad(low, [0, n - k]) + _C.pad(u, [0, 0, 0, m - k])


def _check_pivot(name: str, pivot: bool, A: Tensor) -> None:
    if not pivot and not A.is_cuda:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")


@in_float32_on_cpu
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): lu_factor, and for each matrix the number of its first pivot that is zero, or 0.

    Shape: (*, m, n) to the same and pivots (*, min(m, n)).
    """
    name = "linalg.lu_factor_ex"
    check_matrix(name, A)
    check_floating(name, A)
    _check_pivot(name, pivot, A)
    pivots, l, u, packed = _factors(A, pivot)
    zero = np.diagonal(packed, axis1=-2, axis2=-1) == 0
    info = (
        np.where(zero.any(-1), zero.argmax(-1) + 1, 0)
        if zero.shape[-1]
        else np.zeros(zero.shape[:-1])
    )
    if check_errors and np.any(info):
        from gradstep.linalg import LinAlgError

        raise LinAlgError(
            f"linalg.lu_factor: The diagonal element {np.max(info)} of U is zero, and using it to solve systems "
            "would divide by zero."
        )
    return named(
        "linalg_lu_factor_ex",
        LU=_pack(l, u),
        pivots=like(pivots + 1, A, _C.int32),
        info=like(info, A, _C.int32),
    )


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots): L (without its diagonal of ones) and U in one matrix; int32 row exchanges counted from 1.

    Shape: (*, m, n) to the same and pivots (*, min(m, n)).
    """
    check_matrix("linalg.lu_factor", A)
    result = lu_factor_ex(A, pivot=pivot)
    return named("linalg_lu_factor", LU=result.LU, pivots=result.pivots)


def _permutation(order: Any, m: int, A: Tensor) -> Tensor:
    # Row i of L U is row order[i] of A, so P has its one of column i there.
    eye = np.eye(m)[order]
    return like(np.swapaxes(eye, -1, -2), A)


@in_float32_on_cpu
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U) with A = P L U.

    Shape: (*, m, n) to (*, m, m), (*, m, k), (*, k, n) with k = min(m, n).
    """
    check_matrix("linalg.lu", A)
    check_floating("linalg.lu", A)
    _check_pivot("linalg.lu", pivot, A)
    pivots, l, u, _ = _factors(A, pivot)
    m = A.shape[-2]
    return named("linalg_lu", P=_permutation(order_of(pivots, m), m, A), L=l, U=u)


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """(P, L, U) of lu_factor's result; empty where not asked for."""
    if LU_pivots.dtype != _C.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\n"
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    check_matrix("torch.lu_unpack", LU_data)
    m, n = LU_data.shape[-2:]
    k = min(m, n)
    empty = LU_data.new_empty((0,))
    p, l, u = empty, empty, empty
    if unpack_pivots:
        p = _permutation(order_of(numpy_of(LU_pivots).astype(np.int64) - 1, m), m, LU_data)
    if unpack_data:
        eye = _C.eye(m, k, dtype=LU_data.dtype, device=LU_data.device)
        l = LU_data[..., :, :k].tril(-1) + eye
        u = LU_data[..., :k, :].triu()
    return named("lu_unpack", P=p, L=l, U=u)


@in_float32_on_cpu
@as_it_is
def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A X = B for the matrix that lu_factor took apart; A' with adjoint, X A = B where left is False.

    Shape: LU (*, n, n), pivots (*, n), B (*, n, k); the result as B.
    Raises: RuntimeError where shapes do not fit.
    """
    name = "linalg.lu_solve"
    check_floating(name, LU, B)
    check_square(name, LU)
    check_matrix(name, B)
    if pivots.dtype != _C.int32:
        raise RuntimeError(
            f"{name}: pivots should be a Tensor of scalar type torch.int32. Got {pivots.dtype}"
        )
    if pivots.shape != LU.shape[:-1]:
        raise RuntimeError(
            f"{name}: Number of pivots per batch should be same as the dimension of the matrix"
        )
    if B.shape[-2 if left else -1] != LU.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({LU.shape[-2]}x{LU.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )
    if not left:
        return lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT
    m = LU.shape[-1]
    lu_data, b = broadcast_batches(LU, B)
    p = _permutation(order_of(numpy_of(pivots).astype(np.int64) - 1, m), m, LU)
    if adjoint:
        y = solve_triangular(lu_data.mT, b, upper=False)
        return p @ solve_triangular(lu_data.mT, y, upper=True, unitriangular=True)
    y = solve_triangular(lu_data, p.mT @ b, upper=False, unitriangular=True)
    return solve_triangular(lu_data, y, upper=True)
