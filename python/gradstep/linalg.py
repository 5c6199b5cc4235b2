# SPDX-License-Identifier: Apache-2.0
"""`torch.linalg`: norms and products by the engine's ops; matrices are inverted and factorised by numpy, with
derivatives here and in _ops/factorisations.py and _ops/lu.py.

Derivatives follow Giles (2008), "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", and Murray (2016), arXiv:1602.07527, for Cholesky. Factorisations of CUDA tensors run on the CPU.
"""

import math
from typing import Any

import numpy as np

from gradstep import _C
from gradstep._autocast import as_it_is, in_float32_on_cpu, in_lower
from gradstep._C import Tensor, linalg_vector_norm as vector_norm, matmul
from gradstep._ops._results import named
from gradstep._ops.factorisations import (
    LinAlgError,
    _call,
    _Solve,
    _square,
    cholesky,
    cholesky_ex,
    eigh,
    eigvalsh,
    householder_product,
    qr,
    svd,
    svdvals,
)
from gradstep._ops.ldl import ldl_factor, ldl_factor_ex, ldl_solve
from gradstep._ops.lu import (
    cholesky_inverse,  # noqa: F401
    cholesky_solve,  # noqa: F401
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    solve_triangular,
)
from gradstep.autograd import Function

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "ldl_factor",
    "ldl_factor_ex",
    "ldl_solve",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]

# Their public home is here, as in PyTorch.
for _made in (
    LinAlgError,
    cholesky,
    cholesky_ex,
    eigh,
    eigvalsh,
    svd,
    svdvals,
    qr,
    householder_product,
):
    _made.__module__ = __name__

# ---- inverse, determinant, linear systems ----


class _Inv(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        y = _call("inv", np.linalg.inv, a)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        # dA = -Y' g Y'
        (y,) = ctx.saved_tensors
        return -(y.mT @ g @ y.mT)


@in_float32_on_cpu
def inv(A: Tensor) -> Tensor:
    """The inverse of a square matrix, or of each of a batch.

    Shape: (*, n, n) to the same.
    Raises: RuntimeError for matrices that are not square; LinAlgError for singular ones.

    >>> inv(torch.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    _square("inv", A)
    return _Inv.apply(A)


class _Det(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        d = _call("det", np.linalg.det, a)
        ctx.save_for_backward(a, d)
        return d

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        # dA = g det(A) inv(A)'
        a, d = ctx.saved_tensors
        return (g * d)[..., None, None] * inv(a).mT


def det(A: Tensor) -> Tensor:
    """The determinant of a square matrix, or of each of a batch.

    Shape: (*, n, n) to (*).
    Raises: RuntimeError for matrices that are not square.

    >>> det(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor(6.)
    """
    _square("det", A)
    return _Det.apply(A)


class _SlogdetFunction(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        sign, value = _call("slogdet", lambda x: tuple(np.linalg.slogdet(x)), a)
        ctx.save_for_backward(a)
        return sign, value

    @staticmethod
    def backward(ctx: Any, _: Tensor, g: Tensor) -> Tensor:
        # dA = g inv(A)'
        (a,) = ctx.saved_tensors
        return g[..., None, None] * inv(a).mT


def slogdet(A: Tensor) -> Any:
    """The sign of the determinant and the logarithm of its absolute value.

    Shape: (*, n, n) to (*).
    Raises: RuntimeError for matrices that are not square.
    """
    _square("slogdet", A)
    sign, logabsdet = _SlogdetFunction.apply(A)
    return named("linalg_slogdet", sign=sign, logabsdet=logabsdet)


@in_float32_on_cpu
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B where left is False. B is a matrix, a batch of them, or a vector.

    Shape: A (*, n, n), B (*, n, k) or (*, n); the result as B.
    Raises: RuntimeError where shapes do not fit; LinAlgError for a singular A.

    >>> solve(torch.tensor([[2.0]]), torch.tensor([4.0]))
    tensor([2.])
    """
    _square("solve", A)
    if not left:
        return solve(A.mT, B.mT).mT
    vector = B.dim() == 1 or B.shape == A.shape[:-1]
    b = B.unsqueeze(-1) if vector else B
    batch = np.broadcast_shapes(tuple(A.shape[:-2]), tuple(b.shape[:-2]))
    x = _Solve.apply(A.expand(*batch, *A.shape[-2:]), b.expand(*batch, *b.shape[-2:]))
    return x.squeeze(-1) if vector else x


def _cutoff(s: Tensor, A: Tensor, atol: Any, rtol: Any) -> Tensor:
    """Where singular values count as zero: at most max(atol, rtol times the largest)."""

    def column(value: Any) -> Any:
        return value.unsqueeze(-1) if isinstance(value, Tensor) and value.dim() else value

    if rtol is None:
        eps = float(np.finfo(str(A.dtype).partition(".")[2]).eps)
        rtol = max(A.shape[-2:]) * eps
        if atol is not None:
            positive = atol > 0
            rtol = (
                _C.where(positive, 0.0, rtol)
                if isinstance(positive, Tensor)
                else (0.0 if positive else rtol)
            )
    largest = s.amax(-1, keepdim=True) if s.shape[-1] else s.sum(-1, keepdim=True)
    least = 0.0 if atol is None else column(atol)
    return _C.maximum(largest * column(rtol), _C.zeros_like(largest) + least)


class _Pinv(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
        if hermitian:
            w, v = eigh(a.detach())
            s, u, vh = w.abs(), v * w.sign().unsqueeze(-2), v.mT
        else:
            u, s, vh = svd(a.detach(), full_matrices=False)
        keep = s > _cutoff(s, a, atol, rtol)
        inverse = _C.where(keep, 1 / _C.where(keep, s, 1.0), 0.0)
        y = (vh.mT * inverse.unsqueeze(-2)) @ u.mT
        ctx.save_for_backward(a, y)
        ctx.hermitian = hermitian
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        # Golub and Pereyra (1973), equation 4.12, for a constant rank
        a, y = ctx.saved_tensors
        gt, yt = g.mT, y.mT
        ga = -(yt @ g @ yt)
        ga = ga + (gt - a @ (y @ gt)) @ (y @ yt)
        ga = ga + (yt @ y) @ (gt - (gt @ y) @ a)
        return ga, None, None, None


@in_float32_on_cpu
@as_it_is
def pinv(
    A: Tensor,
    *,
    atol: Any = None,
    rtol: Any = None,
    hermitian: bool = False,
    rcond: Any = None,
) -> Tensor:
    """The pseudo-inverse, by the singular values (the eigenvalues with hermitian) above max(atol, rtol * largest).

    Shape: (*, m, n) to (*, n, m).
    """
    if A.dim() < 2:
        raise RuntimeError("linalg.pinv: The input tensor A must have at least 2 dimensions.")
    if hermitian:
        _square("pinv", A)
    return _Pinv.apply(A, atol, rcond if rtol is None else rtol, hermitian)


@in_float32_on_cpu
def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """The number of singular values above max(atol, rtol * the largest).

    Shape: (*, m, n) to (*), int64.
    """
    if A.dim() < 2:
        raise RuntimeError(
            "linalg.matrix_rank: The input tensor A must have at least 2 dimensions."
        )
    if tol is not None:
        atol, rtol = tol, 0.0
    a = A.detach()
    s = eigvalsh(a).abs() if hermitian else svdvals(a)
    return (s > _cutoff(s, A, atol, rtol)).sum(-1)


@in_float32_on_cpu
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The norm of A times that of its inverse; of order 2 by the singular values.

    Shape: (*, m, n) to (*).
    Raises: RuntimeError for an unknown order.
    """
    if A.dim() < 2:
        raise RuntimeError("linalg.cond: The input tensor A must have at least 2 dimensions.")
    if p is None or p in (2, -2):
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    if p not in ("fro", "nuc", 1, -1, float("inf"), -float("inf")):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    _square("cond", A)
    try:
        return matrix_norm(A, p) * matrix_norm(inv(A), p)
    except LinAlgError:
        if A.dim() > 2:
            raise
        return A.new_full((), float("inf"))


@in_float32_on_cpu
@as_it_is
def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of the least squares problem A X = B.

    residuals are empty unless A has full rank and more rows than columns; rank and singular_values as the driver
    ('gelsy' by default) has them. The solution is pinv(A) B for every driver.

    Shape: A (*, m, n), B (*, m, k); the solution (*, n, k), residuals (*, k), rank (*), singular
    values (*, min(m, n)).
    Raises: RuntimeError where shapes do not fit or for an unknown driver.
    """
    from gradstep._ops._results import named

    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(
            "torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    if A.dim() < 2:
        raise RuntimeError("torch.linalg.lstsq: input must have at least 2 dimensions.")
    if B.dim() < 1:
        raise RuntimeError("torch.linalg.lstsq: other must have at least 1 dimension.")
    if A.dtype != B.dtype:
        raise RuntimeError(
            f"torch.linalg.lstsq: Expected input and other to have the same dtype, but got input's dtype {A.dtype} "
            f"and other's dtype {B.dtype}"
        )
    vector = B.dim() == A.dim() - 1 and B.shape == A.shape[:-1]
    b = B.unsqueeze(-1) if vector else B
    if A.shape[-2] != b.shape[-2]:
        raise RuntimeError(
            f"torch.linalg.lstsq: input.size(-2) should match other.size({-1 if vector else -2})"
        )
    full = max(A.shape[-2:]) * float(np.finfo(str(A.dtype).partition(".")[2]).eps)
    rtol = full if rcond is None else rcond
    x = pinv(A, atol=0.0, rtol=rtol) @ b
    driver = driver or "gelsy"
    empty = A.new_empty((0,))
    m, n = A.shape[-2:]
    rank = matrix_rank(A, atol=0.0, rtol=rtol)
    residuals = x.reshape(-1)[:0]
    if m > n and driver != "gelsy" and bool((rank == n).all().item()):
        residuals = ((A @ x - b) ** 2).sum(-2)
    return named(
        "lstsq",
        solution=x.squeeze(-1) if vector else x,
        residuals=residuals,
        rank=rank if driver != "gels" else empty.to(_C.int64),
        singular_values=svdvals(A.detach()) if driver in ("gelsd", "gelss") else empty,
    )


def matrix_power(A: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """A times itself n times; the inverse's power where n is negative.

    Shape: (*, n, n) to the same.
    Raises: RuntimeError for matrices that are not square.
    """
    _square("matrix_power", A)
    if n < 0:
        result = matrix_power(inv(A), -n)
    elif n == 0:
        result = A.clone().copy_(
            _C.eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)
        )
    else:
        factor: Tensor = A
        powers: Any = None
        while True:
            if n & 1:
                powers = factor if powers is None else powers @ factor
            n >>= 1
            if not n:
                break
            factor = factor @ factor
        result = powers.clone() if powers is A else powers
    return result if out is None else out.resize_(result.shape).copy_(result)


@in_float32_on_cpu
@as_it_is
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices, by scaling, Taylor's polynomial and squaring.

    Shape: (*, n, n) to the same.
    Raises: RuntimeError for matrices that are not square.
    Source: Higham, The Scaling and Squaring Method for the Matrix Exponential Revisited, 2005.

    >>> matrix_exp(torch.zeros(1, 1))
    tensor([[1.]])
    """
    _square("matrix_exp", A)
    if not A.dtype.is_floating_point:
        raise RuntimeError(
            f"linalg.matrix_exp: Expected a floating point tensor as input. Got {A.dtype}"
        )
    if A.numel() == 0:
        return A.clone()
    largest = float(A.detach().abs().sum(-2).max().item())
    # The remainder of 18 terms below 1/2 is under the rounding of a double.
    halvings = max(0, math.ceil(math.log2(largest)) + 1) if 0 < largest < float("inf") else 0
    a = A / 2.0**halvings
    eye = _C.eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)
    result = eye + a / 18
    for k in range(17, 0, -1):
        result = eye + a @ result / k
    for _ in range(halvings):
        result = result @ result
    return result


# ---- systems with status in place of errors ----


def _zero_pivot(A: Tensor) -> Tensor:
    return lu_factor_ex(A.detach()).info


@in_float32_on_cpu
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): info is 0, or the number of the first pivot that is zero.

    Shape: (*, n, n) to the same and info (*).
    Raises: RuntimeError for matrices that are not square.
    """
    from gradstep._ops._results import named

    _square("inv_ex", A)
    info = _zero_pivot(A)
    bad = (info != 0)[..., None, None]
    if bool(bad.any().item()) and not check_errors:
        eye = _C.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        inverse = _C.where(bad, float("nan"), inv(_C.where(bad, eye, A)))
        return named("linalg_inv_ex", inverse=inverse, info=info)
    return named("linalg_inv_ex", inverse=inv(A), info=info)


@in_float32_on_cpu
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info): info is 0, or the number of the first pivot that is zero.

    Shape: A (*, n, n), B (*, n, k) or (*, n); the result as B, info (*).
    """
    from gradstep._ops._results import named

    _square("solve_ex", A)
    info = _zero_pivot(A)
    bad = (info != 0)[..., None, None]
    if bool(bad.any().item()) and not check_errors:
        eye = _C.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        return named(
            "linalg_solve_ex", result=solve(_C.where(bad, eye, A), B, left=left), info=info
        )
    return named("linalg_solve_ex", result=solve(A, B, left=left), info=info)


# ---- systems of tensors ----


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last axes to its first ind.

    Shape: (*first, *last), of equal products, to (*last, *first).
    Raises: RuntimeError where the products differ.
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    first, last = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if math.prod(first) != math.prod(last):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{math.prod(last)} != {math.prod(first)}"
        )
    return inv(A.reshape(math.prod(first), math.prod(last))).reshape(last + first)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.dim()) = B; dims are moved to the end of A first.

    Shape: A (*B.shape, *X.shape) of equal products; the result X.
    Raises: RuntimeError where the products differ.
    """
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    shape = tuple(A.shape[B.dim() :])
    if math.prod(shape) != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {math.prod(shape)} != {B.numel()}"
        )
    return solve(A.reshape(B.numel(), B.numel()), B.reshape(-1)).reshape(shape)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """The powers 0 to N - 1 of the numbers of a vector, in columns.

    Shape: (*, n) to (*, n, N), N = n if None.
    """
    x = x.unsqueeze(-1) if x.dim() == 0 else x
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    if x.dtype is _C.bool:
        x = x.to(_C.int64)
    ones = _C.ones_like(x).unsqueeze(-1)
    columns = x.unsqueeze(-1).expand(*x.shape, n - 1).cumprod(-1)
    return _C.cat([ones, columns], -1)


# ---- norms ----


def _converted(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else x.to(dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """'fro', 'nuc', inf, -inf, 1, -1, 2 or -2 norm of the matrices along two axes.

    Shape: (*, m, n) to (*).
    Raises: RuntimeError for an unknown order.

    >>> matrix_norm(torch.tensor([[3.0, 4.0]]))
    tensor(5.)
    """
    if A.dim() < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions."
        )
    x = _converted(A, dtype)
    rows, cols = (d % x.dim() for d in dim)
    if rows == cols:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord == "fro":
        return vector_norm(x, 2, (rows, cols), keepdim)
    if ord in ("nuc", 2, -2):
        s = svdvals(x.movedim((rows, cols), (-2, -1)))
        out = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
        if keepdim:
            for d in sorted((rows, cols)):
                out = out.unsqueeze(d)
        return out
    if ord not in (1, -1, float("inf"), -float("inf")):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    along, over = (rows, cols) if abs(ord) == 1 else (cols, rows)
    sums = x.abs().sum(along, keepdim=True)
    best = sums.amax(over, keepdim=True) if ord > 0 else sums.amin(over, keepdim=True)
    return best if keepdim else best.squeeze((rows, cols))


def norm(
    A: Tensor,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    out: Any = None,
    dtype: Any = None,
) -> Tensor:
    """vector_norm or matrix_norm, by ord and the number of axes."""
    x = _converted(A, dtype)
    if ord is None:
        return vector_norm(x, 2, dim, keepdim)
    axes = (dim,) if isinstance(dim, int) else dim
    if axes is None:
        if x.dim() not in (1, 2):
            raise RuntimeError(
                f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {x.dim()}D."
            )
        axes = tuple(range(x.dim()))
    if isinstance(ord, str) or len(axes) == 2:
        return matrix_norm(x, ord, axes, keepdim)
    return vector_norm(x, ord, axes, keepdim)


# ---- products ----


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """The cross product along an axis of length 3.

    Shape: input and other broadcast, of size 3 along dim; the result the same.
    Raises: RuntimeError for other sizes.
    """
    if input.dim() != other.dim():
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}"
        )
    return _C.cross(input, other, dim, out=out)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of the last two axes.

    Shape: (*, n, m) to (*, k); a view.
    """
    return A.diagonal(offset, dim1, dim2)


@in_lower
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner product along an axis.

    Shape: x and y broadcast; the result without the axis dim.
    Raises: RuntimeError where shapes do not broadcast.
    """
    return (x * y).sum(dim)


def multi_dot(tensors: Any, *, out: Tensor | None = None) -> Tensor:
    """The product of several matrices, in the cheapest order.

    Shape: (n, a), (a, b), .., (z, m) to (n, m); the first and the last may be vectors.
    Raises: RuntimeError for less than 2 tensors or sizes that do not fit.
    """
    parts = list(tensors)
    if len(parts) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(parts)}")
    for i, (part, name) in enumerate(((parts[0], "first"), (parts[-1], "last"))):
        if part.dim() not in (1, 2):
            raise RuntimeError(
                f"multi_dot(): the {name} tensor must be 1D or 2D but got {part.dim()}D"
            )
        if part.dim() == 1:
            parts[-i] = part.unsqueeze(i)
    result = _C.chain_matmul(*parts)
    if tensors[0].dim() == 1:
        result = result.squeeze(0)
    if tensors[-1].dim() == 1:
        result = result.squeeze(-1)
    return result if out is None else out.resize_(result.shape).copy_(result)
