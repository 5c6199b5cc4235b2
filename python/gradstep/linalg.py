# SPDX-License-Identifier: Apache-2.0
"""`torch.linalg`: norms and products by the engine's ops; factorisations by numpy, with their derivatives here.

Derivatives follow Giles (2008), "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", and Murray (2016), arXiv:1602.07527, for Cholesky. Factorisations of CUDA tensors run on the CPU.
"""

from typing import Any, NamedTuple

import numpy as np

from gradstep import _C
from gradstep._autocast import in_float32_on_cpu, in_lower
from gradstep._C import Tensor, cross, matmul
from gradstep._C import linalg_vector_norm as vector_norm
from gradstep._numerics import broadcast_shapes
from gradstep.autograd import Function

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vecdot",
    "vector_norm",
]


class LinAlgError(RuntimeError):
    """A matrix that the operation is not defined for."""


class _Eigh(NamedTuple):
    eigenvalues: Any
    eigenvectors: Any


class _Svd(NamedTuple):
    U: Any
    S: Any
    Vh: Any


class _Qr(NamedTuple):
    Q: Any
    R: Any


class _Slogdet(NamedTuple):
    sign: Any
    logabsdet: Any


def _call(name: str, fn: Any, *tensors: Tensor) -> Any:
    """fn of the numpy arrays, as tensors of the first one's dtype and device."""
    dtype, device = tensors[0].dtype, tensors[0].device
    if any(t.device != device for t in tensors):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{device} and {tensors[-1].device}! (in linalg.{name})"
        )
    if not dtype.is_floating_point or dtype.itemsize < 4:
        raise RuntimeError(
            f"linalg.{name}: Expected a floating point tensor of 32 or 64 bits as input. Got {dtype}"
        )
    try:
        out = fn(*(t.detach().cpu().numpy() for t in tensors))
    except np.linalg.LinAlgError as error:
        raise LinAlgError(f"linalg.{name}: {error}") from None
    wrap = [
        _C.from_numpy(np.asarray(a, order="C")).to(device, dtype)
        for a in (out if isinstance(out, tuple) else (out,))
    ]
    return tuple(wrap) if isinstance(out, tuple) else wrap[0]


def _square(name: str, a: Tensor) -> None:
    if a.dim() < 2:
        raise RuntimeError(f"linalg.{name}: The input tensor A must have at least 2 dimensions.")
    if a.shape[-1] != a.shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: A must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} matrices"
        )


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

    >>> det(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor(6.)
    """
    _square("det", A)
    return _Det.apply(A)


def slogdet(A: Tensor) -> _Slogdet:
    """The sign of the determinant and the logarithm of its absolute value."""
    d = det(A)
    return _Slogdet(d.sign().detach(), d.abs().log())


class _Solve(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        x = _call("solve", np.linalg.solve, a, b)
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        # dB = inv(A') g, dA = -dB X'
        a, x = ctx.saved_tensors
        db = _Solve.apply(a.mT, g)
        return -(db @ x.mT), db


@in_float32_on_cpu
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B where left is False. B is a matrix, a batch of them, or a vector.

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


def pinv(A: Tensor, rcond: float | None = None, hermitian: bool = False) -> Tensor:
    """The pseudo-inverse, by the singular values."""
    u, s, vh = svd(A, full_matrices=False)
    if rcond is None:
        rcond = max(A.shape[-2:]) * float(np.finfo(str(A.dtype).partition(".")[2]).eps)
    keep = s > rcond * s.amax(-1, keepdim=True)
    inverse = _C.where(keep, 1 / _C.where(keep, s, 1.0), 0.0)
    return (vh.mT * inverse.unsqueeze(-2)) @ u.mT


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A times itself n times; the inverse's power where n is negative."""
    _square("matrix_power", A)
    if n < 0:
        return matrix_power(inv(A), -n)
    out = _C.eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(*A.shape)
    while n:
        if n & 1:
            out = out @ A
        A, n = A @ A, n >> 1
    return out


# ---- factorisations ----


def _lower_half(x: Tensor) -> Tensor:
    return x.tril() - 0.5 * _C.diag_embed(x.diagonal(0, -2, -1))


class _Cholesky(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        l = _call("cholesky", np.linalg.cholesky, a)
        ctx.save_for_backward(l)
        return l

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        # dA = inv(L)' P inv(L), symmetrised, with P = lower half of L' g
        (l,) = ctx.saved_tensors
        p = _lower_half(l.mT @ g.tril())
        s = _Solve.apply(l.mT, _Solve.apply(l.mT, p.mT).mT)
        return 0.5 * (s + s.mT)


@in_float32_on_cpu
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L L', for a symmetric positive definite A; L' where upper.

    >>> cholesky(torch.tensor([[4.0]]))
    tensor([[2.]])
    """
    _square("cholesky", A)
    l = _Cholesky.apply(A)
    return l.mT if upper else l


class _CholeskyEx(NamedTuple):
    L: Any
    info: Any


def _failed_minor(a: np.ndarray) -> int:
    """The order of the first leading minor that is not positive definite; 0 if there is none."""
    for n in range(1, a.shape[-1] + 1):
        try:
            np.linalg.cholesky(a[:n, :n])
        except np.linalg.LinAlgError:
            return n
    return 0


@in_float32_on_cpu
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> _CholeskyEx:
    """cholesky(A) and, for each matrix, 0 or the order of the first minor that is not positive definite (its factor
    is then NaN), in int32.

    >>> cholesky_ex(torch.tensor([[-1.0]])).info
    tensor(1, dtype=torch.int32)
    """
    _square("cholesky", A)
    try:
        factor = cholesky(A, upper=upper)
        return _CholeskyEx(factor, _C.zeros(A.shape[:-2], dtype=_C.int32, device=A.device))
    except LinAlgError:
        if check_errors:
            raise
    matrices = A.detach().cpu().numpy().reshape((-1, *A.shape[-2:]))
    minors = np.array([_failed_minor(m) for m in matrices], np.int32).reshape(A.shape[:-2])
    info = _C.from_numpy(minors).to(A.device)
    failed = (info != 0)[..., None, None]
    eye = _C.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    factor = cholesky(_C.where(failed, eye, A), upper=upper)
    return _CholeskyEx(factor.masked_fill(failed, float("nan")), info)


@in_float32_on_cpu
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B, or X A = B for left=False: A [.., n, n] triangular, of which the other triangle is not read.

    >>> solve_triangular(torch.tensor([[2.0, 9.0], [1.0, 1.0]]), torch.tensor([[2.0], [3.0]]), upper=False)
    tensor([[1.],
            [2.]])
    """
    _square("solve_triangular", A)
    triangle = A.triu(int(unitriangular)) if upper else A.tril(-int(unitriangular))
    if unitriangular:
        triangle = triangle + _C.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    if A.shape[-1] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )
    batch = broadcast_shapes(A.shape[:-2], B.shape[:-2])
    triangle = triangle.expand(batch + A.shape[-2:])
    return solve(triangle, B.expand(batch + B.shape[-2:]), left=left)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B for the Cholesky factor L of A."""
    half = solve_triangular(L.mT if upper else L, B, upper=False)
    return solve_triangular(L if upper else L.mT, half, upper=True)


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A for its Cholesky factor L."""
    return cholesky_solve(_C.eye(L.shape[-1], dtype=L.dtype, device=L.device), L, upper)


class _EighFunction(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, lower: bool) -> tuple[Tensor, Tensor]:
        w, v = _call("eigh", lambda x: tuple(np.linalg.eigh(x, "L" if lower else "U")), a)
        ctx.save_for_backward(w, v)
        return w, v

    @staticmethod
    def backward(ctx: Any, gw: Tensor | None, gv: Tensor | None) -> tuple[Tensor, None]:
        # dA = V (diag(gw) + (V' gv) / E) V' with E_ij = w_j - w_i off the diagonal
        w, v = ctx.saved_tensors
        inner = _C.diag_embed(gw) if gw is not None else 0.0
        if gv is not None:
            gap = w.unsqueeze(-2) - w.unsqueeze(-1)
            n = w.shape[-1]
            inner = inner + (v.mT @ gv) * _off_diagonal_reciprocal(gap, n)
        return v @ inner @ v.mT, None


def _off_diagonal_reciprocal(gap: Tensor, n: int) -> Tensor:
    eye = _C.eye(n, dtype=gap.dtype, device=gap.device)
    return (1 - eye) / (gap + eye)


@in_float32_on_cpu
def eigh(A: Tensor, UPLO: str = "L") -> _Eigh:
    """Eigenvalues in ascending order and eigenvectors, in columns, of a symmetric matrix."""
    _square("eigh", A)
    return _Eigh(*_EighFunction.apply(A, UPLO.upper() == "L"))


@in_float32_on_cpu
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric matrix in ascending order."""
    return eigh(A, UPLO).eigenvalues


class _SvdFunction(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = _call("svd", lambda x: tuple(np.linalg.svd(x, full_matrices=False)), a)
        ctx.save_for_backward(u, s, vh)
        return u, s, vh

    @staticmethod
    def backward(ctx: Any, gu: Tensor | None, gs: Tensor | None, gvh: Tensor | None) -> Tensor:
        # dA = U (skew(U' gu) / E S + S skew(V' gv) / E + diag(gs)) V' and what leaves the spans of U and V,
        # with E_ij = s_j^2 - s_i^2
        u, s, vh = ctx.saved_tensors
        v, k = vh.mT, s.shape[-1]
        f = _off_diagonal_reciprocal(s.unsqueeze(-2) ** 2 - s.unsqueeze(-1) ** 2, k)
        inner = _C.diag_embed(gs) if gs is not None else _C.zeros_like(f)
        out: Any = 0.0
        if gu is not None:
            utg = u.mT @ gu
            inner = inner + (f * (utg - utg.mT)) * s.unsqueeze(-2)
            if u.shape[-2] > k:
                out = out + ((gu - u @ utg) / s.unsqueeze(-2)) @ vh
        if gvh is not None:
            gv = gvh.mT
            vtg = v.mT @ gv
            inner = inner + s.unsqueeze(-1) * (f * (vtg - vtg.mT))
            if v.shape[-2] > k:
                out = out + u @ ((gv - v @ vtg) / s.unsqueeze(-2)).mT
        return u @ inner @ vh + out


@in_float32_on_cpu
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> _Svd:
    """U, S, Vh with A = U diag(S) Vh; U and Vh are square with full_matrices."""
    if A.dim() < 2:
        raise RuntimeError("linalg.svd: The input tensor A must have at least 2 dimensions.")
    u, s, vh = _SvdFunction.apply(A)
    k = s.shape[-1]
    if full_matrices and A.shape[-1] != A.shape[-2]:
        # What completes U and V to square matrices is arbitrary and has no gradient.
        full_u, _, full_vh = _call("svd", lambda x: tuple(np.linalg.svd(x)), A)
        u = _C.cat([u, full_u[..., k:]], -1)
        vh = _C.cat([vh, full_vh[..., k:, :]], -2)
    return _Svd(u, s, vh)


@in_float32_on_cpu
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values in descending order."""
    return svd(A, full_matrices=False).S


class _QrFunction(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        q, r = _call("qr", lambda x: tuple(np.linalg.qr(x)), a)
        ctx.save_for_backward(q, r)
        return q, r

    @staticmethod
    def backward(ctx: Any, gq: Tensor | None, gr: Tensor | None) -> Tensor:
        # dA = (gq + Q sym(M)) inv(R)' with M = R gr' - gq' Q, sym copying the lower triangle up
        q, r = ctx.saved_tensors
        gq = _C.zeros_like(q) if gq is None else gq
        m = -(gq.mT @ q) if gr is None else r @ gr.mT - gq.mT @ q
        low = m.tril(-1)
        return _Solve.apply(
            r, (gq + q @ (low + low.mT + _C.diag_embed(m.diagonal(0, -2, -1)))).mT
        ).mT


@in_float32_on_cpu
def qr(A: Tensor, mode: str = "reduced") -> _Qr:
    """Q, R with A = Q R; without gradients where mode is 'complete'."""
    rows, cols = A.shape[-2:]
    if mode != "complete" and rows < cols:
        # Of the left square part, which the rest of R follows.
        q, r = qr(A[..., :rows])
        full = _C.cat([r, q.mT @ A[..., rows:]], -1)
        return _Qr(q if mode == "reduced" else _C.empty(0, dtype=A.dtype, device=A.device), full)
    if mode == "reduced":
        return _Qr(*_QrFunction.apply(A))
    if mode == "complete":
        return _Qr(*_call("qr", lambda x: tuple(np.linalg.qr(x, "complete")), A))
    if mode == "r":
        return _Qr(_C.empty(0, dtype=A.dtype, device=A.device), _QrFunction.apply(A)[1])
    raise RuntimeError(
        f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
    )


# ---- norms ----


def _converted(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else x.to(dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """'fro', 'nuc', inf, -inf, 1, -1, 2 or -2 norm of the matrices along two axes.

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


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of the last two axes."""
    return A.diagonal(offset, dim1, dim2)


@in_lower
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner product along an axis."""
    return (x * y).sum(dim)


def multi_dot(tensors: Any) -> Tensor:
    """The product of several matrices, in the cheapest order."""
    return _C.chain_matmul(*tensors)
