# SPDX-License-Identifier: Apache-2.0
"""Cholesky, eigenvalues, singular values, QR for gradstep.linalg: numpy's, with their derivatives here, and what is
said of matrices that numpy refuses.
"""

from typing import Any

import numpy as np

from gradstep import _C
from gradstep._autocast import as_it_is, in_float32_on_cpu
from gradstep._C import Tensor
from gradstep._ops._results import named
from gradstep.autograd import Function


class LinAlgError(RuntimeError):
    """A matrix that the operation is not defined for."""

    __qualname__ = "_LinAlgError"  # as tracebacks show it in PyTorch


LinAlgError.__name__ = "_LinAlgError"


def _qr(q: Tensor, r: Tensor) -> Any:
    return named("linalg_qr", Q=q, R=r)


def _failed_minor(a: np.ndarray) -> int:
    """The order of the first leading minor that is not positive definite; 0 if there is none."""
    for n in range(1, a.shape[-1] + 1):
        try:
            np.linalg.cholesky(a[:n, :n])
        except np.linalg.LinAlgError:
            return n
    return 0


def _complaint(name: str, a: Tensor, error: Exception) -> str:
    """PyTorch's text for a matrix that numpy's LAPACK refused."""
    if name == "solve":
        return "torch.linalg.solve: The solver failed because the input matrix is singular."
    if name == "inv":
        from gradstep._ops.lu import lu_factor_ex

        info = lu_factor_ex(a.detach()).info.reshape(-1).tolist()
        at = next((i for i, n in enumerate(info) if n), 0)
        batch = f"(Batch element {at}): " if a.dim() > 2 else ""
        return (
            f"linalg.inv: {batch}The diagonal element {info[at]} is zero, the inversion could not be completed "
            "because the input matrix is singular."
        )
    if name == "cholesky":
        matrices = a.detach().cpu().numpy().reshape((-1,) + tuple(a.shape[-2:]))
        minors = [_failed_minor(m) for m in matrices]
        at = next((i for i, n in enumerate(minors) if n), 0)
        batch = f"(Batch element {at}): " if a.dim() > 2 else ""
        return (
            f"linalg.cholesky: {batch}The factorization could not be completed because the input is not "
            f"positive-definite (the leading minor of order {minors[at]} is not positive-definite)."
        )
    return f"linalg.{name}: {error}"


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
        raise LinAlgError(_complaint(name, tensors[0], error)) from None
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

    Shape: (*, n, n) to the same.
    Raises: RuntimeError for matrices that are not square; LinAlgError for those that are not
    positive definite.

    >>> cholesky(torch.tensor([[4.0]]))
    tensor([[2.]])
    """
    _square("cholesky", A)
    l = _Cholesky.apply(A)
    return l.mT if upper else l


@in_float32_on_cpu
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """cholesky(A) and, for each matrix, 0 or the order of the first minor that is not positive definite (its factor
    is then NaN), in int32.

    Shape: (*, n, n) to the same and info (*).
    Raises: RuntimeError for matrices that are not square.

    >>> cholesky_ex(torch.tensor([[-1.0]])).info
    tensor(1, dtype=torch.int32)
    """
    _square("cholesky", A)
    try:
        factor = cholesky(A, upper=upper)
        info = _C.zeros(A.shape[:-2], dtype=_C.int32, device=A.device)
        return named("linalg_cholesky_ex", L=factor, info=info)
    except LinAlgError:
        if check_errors:
            raise
    matrices = A.detach().cpu().numpy().reshape((-1, *A.shape[-2:]))
    minors = np.array([_failed_minor(m) for m in matrices], np.int32).reshape(A.shape[:-2])
    info = _C.from_numpy(minors).to(A.device)
    failed = (info != 0)[..., None, None]
    eye = _C.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    factor = cholesky(_C.where(failed, eye, A), upper=upper)
    return named("linalg_cholesky_ex", L=factor.masked_fill(failed, float("nan")), info=info)


class _EighFunction(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, lower: bool) -> tuple[Tensor, Tensor]:
        w, v = _call("eigh", lambda x: tuple(np.linalg.eigh(x, "L" if lower else "U")), a)
        ctx.save_for_backward(w, v)
        ctx.set_materialize_grads(False)
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
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues in ascending order and eigenvectors, in columns, of a symmetric matrix.

    Shape: (*, n, n) to (*, n) and (*, n, n).
    Raises: RuntimeError for matrices that are not square.
    """
    _square("eigh", A)
    values, vectors = _EighFunction.apply(A, UPLO.upper() == "L")
    return named("linalg_eigh", eigenvalues=values, eigenvectors=vectors)


@in_float32_on_cpu
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric matrix in ascending order.

    Shape: (*, n, n) to (*, n).
    Raises: RuntimeError for matrices that are not square.
    """
    return eigh(A, UPLO).eigenvalues


class _SvdFunction(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vh = _call("svd", lambda x: tuple(np.linalg.svd(x, full_matrices=False)), a)
        ctx.save_for_backward(u, s, vh)
        ctx.set_materialize_grads(False)
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
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """U, S, Vh with A = U diag(S) Vh; U and Vh are square with full_matrices.

    Shape: (*, m, n) to (*, m, k), (*, k), (*, k, n) with k = min(m, n), or m and n with
    full_matrices.
    """
    if A.dim() < 2:
        raise RuntimeError("linalg.svd: The input tensor A must have at least 2 dimensions.")
    u, s, vh = _SvdFunction.apply(A)
    k = s.shape[-1]
    if full_matrices and A.shape[-1] != A.shape[-2]:
        # What completes U and V to square matrices is arbitrary and has no gradient.
        full_u, _, full_vh = _call("svd", lambda x: tuple(np.linalg.svd(x)), A)
        u = _C.cat([u, full_u[..., k:]], -1)
        vh = _C.cat([vh, full_vh[..., k:, :]], -2)
    return named("linalg_svd", U=u, S=s, Vh=vh)


@in_float32_on_cpu
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values in descending order.

    Shape: (*, m, n) to (*, min(m, n)).
    """
    return svd(A, full_matrices=False).S


class _QrFunction(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        q, r = _call("qr", lambda x: tuple(np.linalg.qr(x)), a)
        ctx.save_for_backward(q, r)
        ctx.set_materialize_grads(False)
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
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Q, R with A = Q R; without gradients where mode is 'complete'.

    Shape: (*, m, n) to (*, m, k), (*, k, n) with k = min(m, n), or m where mode is 'complete'.
    """
    rows, cols = A.shape[-2:]
    if mode != "complete" and rows < cols:
        # Of the left square part, which the rest of R follows.
        q, r = qr(A[..., :rows])
        full = _C.cat([r, q.mT @ A[..., rows:]], -1)
        return _qr(q if mode == "reduced" else _C.empty(0, dtype=A.dtype, device=A.device), full)
    if mode == "reduced":
        return _qr(*_QrFunction.apply(A))
    if mode == "complete":
        return _qr(*_call("qr", lambda x: tuple(np.linalg.qr(x, "complete")), A))
    if mode == "r":
        return _qr(_C.empty(0, dtype=A.dtype, device=A.device), _QrFunction.apply(A)[1])
    raise RuntimeError(
        f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
    )


def reflect(input: Tensor, tau: Tensor, other: Tensor, backwards: bool) -> Tensor:
    """Householder's matrices I - tau v v' applied to other, the last one first if backwards.

    v is the part of input's column below the diagonal, under a one.
    """
    k = tau.shape[-1]
    eye = _C.eye(input.shape[-2], input.shape[-1], dtype=input.dtype, device=input.device)
    vectors = input.tril(-1) + eye
    for i in reversed(range(k)) if backwards else range(k):
        v = vectors[..., :, i : i + 1]
        other = other - (tau[..., i, None, None] * v) @ (v.mT @ other)
    return other


@in_float32_on_cpu
@as_it_is
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of geqrf's Householder matrices.

    Shape: (*, m, n) and (*, k), k <= n <= m; the result (*, m, n).
    Raises: RuntimeError where shapes do not fit.
    """
    name = "torch.linalg.householder_product"
    if A.dim() < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if A.shape[-2] < A.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if A.shape[-1] < tau.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if tau.dim() != A.dim() - 1 or tau.shape[:-1] != A.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.shape)}"
        )
    if tau.dtype != A.dtype:
        raise RuntimeError(f"{name}: tau dtype {tau.dtype} does not match input dtype {A.dtype}")
    eye = _C.eye(A.shape[-2], A.shape[-1], dtype=A.dtype, device=A.device)
    if tau.shape[-1] == 0:
        return A.clone().copy_(eye.expand(A.shape))
    return reflect(A, tau, eye.expand(A.shape), True)
