# SPDX-License-Identifier: Apache-2.0
"""LDL^T of symmetric matrices with Bunch and Kaufman's pivots (1977, Math. Comp. 31), in LAPACK's form: the lower half
holds L below the blocks of D; a pivot k + 1 or, for both rows of a 2x2 block, -(k + 1) tells with which row was
exchanged. Loops over columns in numpy, one matrix at a time."""

from typing import Any

import numpy as np

from gradstep import _C
from gradstep._C import Tensor
from gradstep._ops._results import named
from gradstep._ops.lu import broadcast_batches, check_floating, check_square, like, numpy_of

_GROWTH = (1 + 17**0.5) / 8  # bounds how much elements can grow


def _exchange(a: Any, i: int, j: int) -> None:
    """Rows and columns i < j of the symmetric matrix whose lower half a is, from column i on."""
    a[j + 1 :, [i, j]] = a[j + 1 :, [j, i]]
    row = a[j, i + 1 : j].copy()
    a[j, i + 1 : j] = a[i + 1 : j, i]
    a[i + 1 : j, i] = row
    a[i, i], a[j, j] = a[j, j], a[i, i]


def _choose(a: Any, k: int) -> tuple[int, int]:
    """The row of the pivot of column k, and the size of its block: 1 or 2. (0, 0): the column is 0."""
    n = a.shape[0]
    here = abs(a[k, k])
    at = k + 1 + int(np.argmax(abs(a[k + 1 :, k]))) if k + 1 < n else k
    most = abs(a[at, k]) if at != k else a.dtype.type(0)
    if max(here, most) == 0 or np.isnan(here):
        return 0, 0
    if here >= _GROWTH * most:
        return k, 1
    across = max(abs(a[at, k:at]).max(), abs(a[at + 1 :, at]).max(initial=0))
    if here >= _GROWTH * most * (most / across):
        return k, 1
    return (at, 1) if abs(a[at, at]) >= _GROWTH * across else (at, 2)


def _factor(a: Any) -> tuple[Any, int]:
    """Overwrites the lower half of a; the pivots, and the first column without one (from 1) or 0."""
    n = a.shape[0]
    pivots, info, k = np.zeros(n, np.int32), 0, 0
    while k < n:
        at, size = _choose(a, k)
        if size == 0:
            info = info or k + 1
            pivots[k] = k + 1
            k += 1
            continue
        last = k + size - 1
        if at != last:
            _exchange(a, last, at)
            if size == 2:
                a[[last, at], k] = a[[at, last], k]
        rest = slice(k + size, n)
        block = a[k : k + size, k : k + size]
        columns = a[rest, k : k + size].copy()
        if size == 1:
            scaled = columns / block[0, 0]
        else:
            off = block[1, 0]
            low, high = block[1, 1] / off, block[0, 0] / off
            t = 1 / (low * high - 1) / off
            first, second = columns.T
            scaled = np.stack([t * (low * first - second), t * (high * second - first)], 1)
        a[rest, rest] -= np.tril(scaled @ columns.T)
        a[rest, k : k + size] = scaled
        pivots[k : k + size] = at + 1 if size == 1 else -(at + 1)
        k += size
    return pivots, info


def _solve(a: Any, pivots: Any, b: Any) -> None:
    """Overwrites b: L, then D, then the transposed L."""
    n, k = a.shape[0], 0
    blocks = []
    while k < n:
        size = 1 if pivots[k] > 0 else 2
        last, at = k + size - 1, abs(pivots[k]) - 1
        blocks.append((k, size, last, at))
        b[[last, at]] = b[[at, last]]
        b[k + size :] -= a[k + size :, k : k + size] @ b[k : k + size]
        block = np.tril(a[k : k + size, k : k + size])
        block = block + np.tril(block, -1).T
        b[k : k + size] = (
            b[k : k + size] / block[0, 0] if size == 1 else np.linalg.inv(block) @ b[k : k + size]
        )
        k += size
    for k, size, last, at in reversed(blocks):
        b[k : k + size] -= a[k + size :, k : k + size].T @ b[k + size :]
        b[[last, at]] = b[[at, last]]


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """(LD, pivots, info): ldl_factor, and for each matrix the number of its first column without a pivot, or 0.

    Shape: (*, n, n) to the same, pivots (*, n), info (*).
    """
    name = "torch.linalg.ldl_factor_ex"
    check_square(name, A)
    check_floating(name, A)
    packed = np.tril(numpy_of(A))
    batch, n = packed.shape[:-2], packed.shape[-1]
    pivots, info = np.zeros((*batch, n), np.int32), np.zeros(batch, np.int32)
    for at in np.ndindex(*batch):
        pivots[at], info[at] = _factor(packed[at])
    if check_errors and info.any():
        raise RuntimeError(f"torch.linalg.ldl_factor_ex: Unknown error code: {info.max()}.")
    return named(
        "linalg_ldl_factor_ex",
        LD=like(packed, A),
        pivots=like(pivots, A, _C.int32),
        info=like(info, A, _C.int32),
    )


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """(LD, pivots) with P L D L^T P^T = A, of which the lower half is read; without a derivative.

    Shape: (*, n, n) to the same and int32 pivots (*, n).
    Raises: RuntimeError where a column has no pivot.
    """
    result = ldl_factor_ex(A, hermitian=hermitian, check_errors=True)
    return named("linalg_ldl_factor", LD=result.LD, pivots=result.pivots)


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The solution X of A X = B by ldl_factor's result; without a derivative.

    Shape: (*, n, n), (*, n), (*, n, k) to (*, n, k); batches broadcast.
    Raises: RuntimeError where shapes or dtypes do not fit.
    """
    name = "torch.linalg.ldl_solve"
    check_square(name, LD)
    if B.dim() < 2:
        raise RuntimeError(
            f"{name}: Expected B to have at least 2 dimensions, but it has {B.dim()} dimensions instead"
        )
    if tuple(LD.shape[:-1]) != tuple(pivots.shape):
        raise RuntimeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots.shape)} instead"
        )
    if B.shape[-2] != LD.shape[-1]:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {LD.shape[-1]} by {LD.shape[-1]} but each b "
            f"matrix is {B.shape[-2]} by {B.shape[-1]}"
        )
    if pivots.dtype.is_floating_point or pivots.dtype is _C.bool:
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype}")
    check_floating(name, LD, B)
    a, b = broadcast_batches(LD.detach(), B.detach())
    rows = pivots.expand(*a.shape[:-1])
    x = numpy_of(b).copy()
    matrices, all_pivots = numpy_of(a), numpy_of(rows)
    for at in np.ndindex(*x.shape[:-2]):
        _solve(matrices[at], all_pivots[at], x[at])
    return like(x, B)
