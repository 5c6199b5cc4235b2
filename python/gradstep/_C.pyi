# SPDX-License-Identifier: Apache-2.0
# Written by tools/make_stubs.py from the native module's signatures: do not edit.
# mypy: disable-error-code="overload-overlap, overload-cannot-match, override, misc"
import builtins
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeAlias, overload

Number: TypeAlias = builtins.int | builtins.float | builtins.bool

class dtype:
    """The type of a tensor's elements."""

    @property
    def itemsize(self) -> builtins.int: ...
    @property
    def is_floating_point(self) -> builtins.bool: ...
    @property
    def is_complex(self) -> builtins.bool: ...
    @property
    def is_signed(self) -> builtins.bool: ...

class _MarkedMeta(builtins.type): ...
class layout: ...
class memory_format: ...

class device:
    """Where a tensor lives: `device("cuda", 0)`, `device("cpu")`."""

    @overload
    def __init__(self, device: _device_like) -> None: ...
    @overload
    def __init__(self, type: builtins.str, index: builtins.int = -1) -> None: ...
    @property
    def type(self) -> builtins.str: ...
    @property
    def index(self) -> builtins.int | None: ...
    def __enter__(self) -> device: ...
    def __exit__(self, *exc: Any) -> None: ...

class Size(tuple[builtins.int, ...]):
    """The shape of a tensor."""

    def numel(self) -> builtins.int:
        """The product of all sizes."""

class Generator:
    """A source of random numbers."""

    def __init__(self, device: _device_like = "cpu") -> None: ...
    def manual_seed(self, seed: builtins.int) -> Generator: ...
    def seed(self) -> builtins.int: ...
    def initial_seed(self) -> builtins.int: ...
    def get_state(self) -> Tensor: ...
    def set_state(self, new_state: Tensor) -> Generator: ...
    @property
    def device(self) -> _device: ...

class Node:
    """A node of the autograd graph, as `grad_fn` shows it."""

    def name(self) -> builtins.str: ...
    def register_hook(self, fn: Callable[..., Any]) -> Any: ...
    def register_prehook(self, fn: Callable[..., Any]) -> Any: ...
    def _sequence_nr(self) -> builtins.int: ...
    @property
    def next_functions(self) -> tuple[tuple[Node | None, builtins.int], ...]: ...
    @property
    def variable(self) -> Tensor: ...

class OutOfMemoryError(RuntimeError):
    """Raised when a device has no memory left."""

class CaptureError(RuntimeError):
    """A captured function did what a replay could not repeat."""

class _Captured:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def _add(self, entry: Any) -> None: ...
    def _entries(self) -> list[Any]: ...
    def _drop(self, entry: Any, /) -> None: ...
    def _keep(self, n: builtins.int) -> None: ...

_Guard: Any
_CaptureEntry: Any
_CaptureSession: Any
_Written: Any

class ModuleBase:
    """What nn.Module does natively: calls and attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __getattr__(self, name: builtins.str) -> Any: ...
    def _linear_forward(self, input: Tensor) -> Tensor: ...
    def _gelu_forward(self, input: Tensor) -> Tensor: ...
    def _sequential_forward(self, input: Any) -> Any: ...

_dtype: TypeAlias = dtype
_layout: TypeAlias = layout
_memory_format: TypeAlias = memory_format
_device: TypeAlias = device
_device_like: TypeAlias = device | builtins.str | builtins.int
_size: TypeAlias = Sequence[builtins.int]

class Tensor:
    """A multi-dimensional array whose history autograd may follow."""

    __array_priority__: builtins.int
    data: Tensor
    grad: Tensor | None
    _grad: Tensor | None
    requires_grad: builtins.bool
    @property
    def H(self) -> Tensor: ...
    @property
    def T(self) -> Tensor: ...
    def __abs__(self) -> Tensor: ...
    def __add__(self, other: Any) -> Tensor: ...
    def __and__(self, other: Any) -> Tensor: ...
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any: ...
    def __bool__(self) -> builtins.bool: ...
    def __contains__(self, value: Any) -> builtins.bool: ...
    def __copy__(self) -> Tensor: ...
    @property
    def __cuda_array_interface__(self) -> Any: ...
    def __deepcopy__(self, memo: dict[builtins.int, Any]) -> Tensor: ...
    def __divmod__(self, other: Any) -> Any: ...
    def __dlpack__(self, *, stream: Any = -1, max_version: Any = None, dl_device: Any = None, copy: builtins.bool | None = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[builtins.int, builtins.int]: ...
    def __eq__(self, other: Any) -> Tensor: ...
    def __float__(self) -> builtins.float: ...
    def __floordiv__(self, other: Any) -> Tensor: ...
    def __format__(self, spec: builtins.str) -> builtins.str: ...
    def __ge__(self, other: Any) -> Tensor: ...
    def __getitem__(self, index: Any) -> Tensor: ...
    def __gt__(self, other: Any) -> Tensor: ...
    def __hash__(self) -> builtins.int: ...
    def __iadd__(self, other: Any) -> Tensor: ...
    def __iand__(self, other: Any) -> Tensor: ...
    def __ifloordiv__(self, other: Any) -> Tensor: ...
    def __ilshift__(self, other: Any) -> Tensor: ...
    def __imod__(self, other: Any) -> Tensor: ...
    def __imul__(self, other: Any) -> Tensor: ...
    def __index__(self) -> builtins.int: ...
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __int__(self) -> builtins.int: ...
    def __invert__(self) -> Tensor: ...
    def __ior__(self, other: Any) -> Tensor: ...
    def __ipow__(self, other: Any) -> Tensor: ...
    def __irshift__(self, other: Any) -> Tensor: ...
    def __isub__(self, other: Any) -> Tensor: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __itruediv__(self, other: Any) -> Tensor: ...
    def __ixor__(self, other: Any) -> Tensor: ...
    def __le__(self, other: Any) -> Tensor: ...
    def __len__(self) -> builtins.int: ...
    def __lshift__(self, other: Any) -> Tensor: ...
    def __lt__(self, other: Any) -> Tensor: ...
    def __matmul__(self, other: Any) -> Tensor: ...
    def __mod__(self, other: Any) -> Tensor: ...
    def __mul__(self, other: Any) -> Tensor: ...
    def __ne__(self, other: Any) -> Tensor: ...
    def __neg__(self) -> Tensor: ...
    def __or__(self, other: Any) -> Tensor: ...
    def __pos__(self) -> Tensor: ...
    def __pow__(self, other: Any) -> Tensor: ...
    def __radd__(self, other: Any) -> Tensor: ...
    def __rand__(self, other: Any) -> Tensor: ...
    def __rdiv__(self, other: Any) -> Tensor: ...
    def __rdivmod__(self, other: Any) -> Any: ...
    def __reduce_ex__(self, protocol: Any) -> Any: ...
    def __repr__(self) -> builtins.str: ...
    def __reversed__(self) -> Tensor: ...
    def __rfloordiv__(self, other: Any) -> Tensor: ...
    def __rlshift__(self, other: Any) -> Tensor: ...
    def __rmatmul__(self, other: Any) -> Tensor: ...
    def __rmod__(self, other: Any) -> Tensor: ...
    def __rmul__(self, other: Any) -> Tensor: ...
    def __ror__(self, other: Any) -> Tensor: ...
    def __rpow__(self, other: Any) -> Tensor: ...
    def __rrshift__(self, other: Any) -> Tensor: ...
    def __rshift__(self, other: Any) -> Tensor: ...
    def __rsub__(self, other: Any) -> Tensor: ...
    def __rtruediv__(self, other: Any) -> Tensor: ...
    def __rxor__(self, other: Any) -> Tensor: ...
    def __setitem__(self, index: Any, value: Any) -> None: ...
    def __sub__(self, other: Any) -> Tensor: ...
    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any: ...
    def __truediv__(self, other: Any) -> Tensor: ...
    def __xor__(self, other: Any) -> Tensor: ...
    def _addmm_activation(self, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1, use_gelu: builtins.bool = False, out: Tensor | None = None) -> Tensor:
        """relu, or gelu, of beta * input + alpha * (mat1 @ mat2). On a GPU one call, and gelu is the tanh form."""
    @property
    def _base(self) -> Tensor | None: ...
    @staticmethod
    def _make_subclass(*args: Any, **kwargs: Any) -> Any: ...
    @staticmethod
    def _make_wrapper_subclass(*args: Any, **kwargs: Any) -> Any: ...
    @property
    def _version(self) -> builtins.int: ...
    def abs(self, *, out: Tensor | None = None) -> Tensor:
        """The absolute value of each element."""
    def abs_(self) -> Tensor:
        """The in-place form.

        The absolute value of each element.
        """
    def absolute(self, *, out: Tensor | None = None) -> Tensor:
        """The absolute value of each element."""
    def absolute_(self) -> Tensor:
        """The in-place form.

        The absolute value of each element.
        """
    def acos(self, *, out: Tensor | None = None) -> Tensor:
        """The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1]."""
    def acos_(self) -> Tensor:
        """The in-place form.

        The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1].
        """
    def acosh(self, *, out: Tensor | None = None) -> Tensor:
        """The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1."""
    def acosh_(self) -> Tensor:
        """The in-place form.

        The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1.
        """
    @overload
    def add(self, other: Tensor | Number, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """input + alpha * other, elementwise.

        Deprecated order of arguments.
        """
    @overload
    def add(self, alpha: Number, other: Tensor) -> Tensor: ...
    @overload
    def add_(self, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
        """The in-place form.

        Deprecated order of arguments.

        input + alpha * other, elementwise.
        """
    @overload
    def add_(self, alpha: Number, other: Tensor) -> Tensor: ...
    def addbmm(self, batch1: Tensor, batch2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1, out: Tensor | None = None) -> Tensor: ...
    def addbmm_(self, batch1: Tensor, batch2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1) -> Tensor: ...
    def addcdiv(self, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1, out: Tensor | None = None) -> Tensor:
        """input + value * tensor1 / tensor2."""
    def addcdiv_(self, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
        """The in-place form.

        input + value * tensor1 / tensor2.
        """
    def addcmul(self, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1, out: Tensor | None = None) -> Tensor:
        """input + value * tensor1 * tensor2."""
    def addcmul_(self, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
        """The in-place form.

        input + value * tensor1 * tensor2.
        """
    def addmm(self, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """beta * input + alpha * (mat1 @ mat2)."""
    def addmm_(self, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
        """beta * input + alpha * (mat1 @ mat2)."""
    def addmv(self, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """beta * input + alpha * (mat @ vec)."""
    def addmv_(self, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
        """beta * input + alpha * (mat @ vec)."""
    def addr(self, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """beta * input + alpha * outer(vec1, vec2)."""
    def addr_(self, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
        """beta * input + alpha * outer(vec1, vec2)."""
    def adjoint(self) -> Tensor:
        """The last two axes swapped: the conjugate transpose."""
    def all(self, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """True if no element is 0."""
    def allclose(self, other: Tensor, rtol: builtins.float = 1e-05, atol: builtins.float = 1e-08, equal_nan: builtins.bool = False) -> builtins.bool:
        """True if |input - other| <= atol + rtol * |other| everywhere."""
    def amax(self, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """The largest elements along dim; ties share the gradient."""
    def amin(self, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """The smallest elements along dim; ties share the gradient."""
    def aminmax(self, *, dim: builtins.int | None = None, keepdim: builtins.bool = False, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The smallest and the largest element."""
    def angle(self, *, out: Tensor | None = None) -> Tensor: ...
    def any(self, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """True if an element is not 0."""
    def apply_(self, callable: Callable[[Any], Any]) -> Tensor: ...
    def arccos(self, *, out: Tensor | None = None) -> Tensor:
        """The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1]."""
    def arccos_(self) -> Tensor:
        """The in-place form.

        The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1].
        """
    def arccosh(self, *, out: Tensor | None = None) -> Tensor:
        """The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1."""
    def arccosh_(self) -> Tensor:
        """The in-place form.

        The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1.
        """
    def arcsin(self, *, out: Tensor | None = None) -> Tensor:
        """The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1]."""
    def arcsin_(self) -> Tensor:
        """The in-place form.

        The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1].
        """
    def arcsinh(self, *, out: Tensor | None = None) -> Tensor:
        """The inverse of sinh, log(x + sqrt(x^2 + 1))."""
    def arcsinh_(self) -> Tensor:
        """The in-place form.

        The inverse of sinh, log(x + sqrt(x^2 + 1)).
        """
    def arctan(self, *, out: Tensor | None = None) -> Tensor:
        """The arc tangent of each element, in [-pi/2, pi/2] radians."""
    def arctan2(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The angle of the point (other, input), in (-pi, pi]."""
    def arctan2_(self, other: Tensor) -> Tensor:
        """The in-place form.

        The angle of the point (other, input), in (-pi, pi].
        """
    def arctan_(self) -> Tensor:
        """The in-place form.

        The arc tangent of each element, in [-pi/2, pi/2] radians.
        """
    def arctanh(self, *, out: Tensor | None = None) -> Tensor:
        """The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1]."""
    def arctanh_(self) -> Tensor:
        """The in-place form.

        The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1].
        """
    def argmax(self, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """The place of the largest element."""
    def argmin(self, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """The place of the smallest element."""
    def argsort(self, dim: builtins.int = -1, descending: builtins.bool = False, stable: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """The places that sort a tensor along dim. Always stable."""
    def argwhere(self) -> Tensor:
        """The positions of the elements that are not zero."""
    def as_strided(self, size: _size | builtins.int, stride: _size | builtins.int, storage_offset: builtins.int | None = None) -> Tensor:
        """A view of the memory with sizes and strides of its own."""
    def as_strided_(self, size: _size | builtins.int, stride: _size | builtins.int, storage_offset: builtins.int | None = None) -> Tensor:
        """Sizes and strides of its own, over the same memory.

        A view of the memory with sizes and strides of its own.
        """
    def as_strided_scatter(self, src: Tensor, size: Any, stride: Any, storage_offset: builtins.int | None = None) -> Tensor: ...
    def as_subclass(self, cls: Any) -> Tensor:
        """The same data and history as an object of a subclass of Tensor."""
    def asin(self, *, out: Tensor | None = None) -> Tensor:
        """The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1]."""
    def asin_(self) -> Tensor:
        """The in-place form.

        The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1].
        """
    def asinh(self, *, out: Tensor | None = None) -> Tensor:
        """The inverse of sinh, log(x + sqrt(x^2 + 1))."""
    def asinh_(self) -> Tensor:
        """The in-place form.

        The inverse of sinh, log(x + sqrt(x^2 + 1)).
        """
    def atan(self, *, out: Tensor | None = None) -> Tensor:
        """The arc tangent of each element, in [-pi/2, pi/2] radians."""
    def atan2(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The angle of the point (other, input), in (-pi, pi]."""
    def atan2_(self, other: Tensor) -> Tensor:
        """The in-place form.

        The angle of the point (other, input), in (-pi, pi].
        """
    def atan_(self) -> Tensor:
        """The in-place form.

        The arc tangent of each element, in [-pi/2, pi/2] radians.
        """
    def atanh(self, *, out: Tensor | None = None) -> Tensor:
        """The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1]."""
    def atanh_(self) -> Tensor:
        """The in-place form.

        The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1].
        """
    def backward(self, gradient: Any = None, retain_graph: builtins.bool | None = None, create_graph: builtins.bool = False, inputs: Any = None) -> None:
        """Accumulates the gradient of this tensor into the leaves' .grad."""
    def baddbmm(self, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """beta * input + alpha * (batch1 @ batch2)."""
    def baddbmm_(self, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
        """beta * input + alpha * (batch1 @ batch2)."""
    @overload
    def bernoulli(self, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
        """1 with the probability that the element says, else 0.

        1 with probability p, else 0.
        """
    @overload
    def bernoulli(self, p: builtins.float, *, generator: Generator | None = None) -> Tensor: ...
    @overload
    def bernoulli_(self, p: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Fills with 1 with the probabilities of p, else 0.

        Fills with 1 with probability p, else 0.

        1 with the probability that the element says, else 0.

        1 with probability p, else 0.
        """
    @overload
    def bernoulli_(self, p: builtins.float = 0.5, *, generator: Generator | None = None) -> Tensor: ...
    def bfloat16(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as bfloat16."""
    def bincount(self, weights: Tensor | None = None, minlength: builtins.int = 0) -> Tensor:
        """How often each value occurs, or the sum of its weights."""
    def bitwise_and(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input & other, bit by bit."""
    def bitwise_and_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input & other, bit by bit.
        """
    def bitwise_left_shift(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input << other; 0 where other is not in [0, 64)."""
    def bitwise_left_shift_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input << other; 0 where other is not in [0, 64).
        """
    def bitwise_not(self, *, out: Tensor | None = None) -> Tensor:
        """Every bit flipped; of bool, the opposite."""
    def bitwise_not_(self) -> Tensor:
        """The in-place form.

        Every bit flipped; of bool, the opposite.
        """
    def bitwise_or(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input | other, bit by bit."""
    def bitwise_or_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input | other, bit by bit.
        """
    def bitwise_right_shift(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input >> other; the sign where other is not in [0, 64)."""
    def bitwise_right_shift_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input >> other; the sign where other is not in [0, 64).
        """
    def bitwise_xor(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input ^ other, bit by bit."""
    def bitwise_xor_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input ^ other, bit by bit.
        """
    def bmm(self, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
        """(b x n x k) @ (b x k x m)."""
    def bool(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as bool: True where not 0."""
    @overload
    def broadcast_to(self, size: _size | builtins.int) -> Tensor:
        """A view of a larger shape."""
    @overload
    def broadcast_to(self, *size: builtins.int) -> Tensor: ...
    def byte(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as uint8."""
    def cauchy_(self, median: builtins.float = 0, sigma: builtins.float = 1, *, generator: Generator | None = None) -> Tensor:
        """Fills with numbers of the Cauchy distribution."""
    def ceil(self, *, out: Tensor | None = None) -> Tensor:
        """The smallest integer not below each element."""
    def ceil_(self) -> Tensor:
        """The in-place form.

        The smallest integer not below each element.
        """
    def celu_(self, alpha: builtins.float = 1.0) -> Tensor:
        """The in-place form.

        input where positive, alpha * (exp(input / alpha) - 1) elsewhere.
        """
    def char(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as int8."""
    def cholesky(self, upper: builtins.bool = False, *, out: Tensor | None = None) -> Tensor: ...
    def cholesky_inverse(self, upper: builtins.bool = False, *, out: Tensor | None = None) -> Tensor: ...
    def cholesky_solve(self, L: Tensor, upper: builtins.bool = False, *, out: Tensor | None = None) -> Tensor: ...
    def chunk(self, chunks: builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` equal parts along dim."""
    def clamp(self, min: Tensor | Number | None = None, max: Tensor | Number | None = None, *, out: Tensor | None = None) -> Tensor:
        """input limited to [min, max]."""
    def clamp_(self, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
        """The in-place form.

        input limited to [min, max].
        """
    def clamp_max(self, max: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """min(input, max)."""
    def clamp_max_(self, max: Tensor | Number) -> Tensor:
        """The in-place form.

        min(input, max).
        """
    def clamp_min(self, min: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """max(input, min)."""
    def clamp_min_(self, min: Tensor | Number) -> Tensor:
        """The in-place form.

        max(input, min).
        """
    def clip(self, min: Tensor | Number | None = None, max: Tensor | Number | None = None, *, out: Tensor | None = None) -> Tensor:
        """input limited to [min, max]."""
    def clip_(self, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
        """The in-place form.

        input limited to [min, max].
        """
    def clone(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """A copy, with history."""
    def conj(self) -> Tensor:
        """The input itself."""
    def conj_physical(self, *, out: Tensor | None = None) -> Tensor: ...
    def conj_physical_(self) -> Tensor: ...
    def contiguous(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor, copied if its memory has gaps."""
    def copy_(self, other: Tensor, non_blocking: builtins.bool = False) -> Tensor:
        """Overwrites self with other, broadcast and converted."""
    def copysign(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """The magnitude of input with the sign of other."""
    def copysign_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        The magnitude of input with the sign of other.
        """
    def corrcoef(self) -> Tensor: ...
    def cos(self, *, out: Tensor | None = None) -> Tensor:
        """The cosine of each element, in radians."""
    def cos_(self) -> Tensor:
        """The in-place form.

        The cosine of each element, in radians.
        """
    def cosh(self, *, out: Tensor | None = None) -> Tensor:
        """The hyperbolic cosine of each element, (exp(x) + exp(-x)) / 2."""
    def cosh_(self) -> Tensor:
        """The in-place form.

        The hyperbolic cosine of each element, (exp(x) + exp(-x)) / 2.
        """
    @overload
    def count_nonzero(self, dim: _size | builtins.int | None = None) -> Tensor:
        """The number of elements that are not 0."""
    @overload
    def count_nonzero(self, dim: _size | builtins.int) -> Tensor: ...
    @overload
    def count_nonzero(self, *dim: builtins.int) -> Tensor: ...
    def cov(self, *, correction: builtins.int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor: ...
    def cpu(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor in the memory of the CPU; itself if it is there."""
    def cross(self, other: Tensor, dim: builtins.int | None = None, *, out: Tensor | None = None) -> Tensor:
        """The cross product along an axis of size 3, by default the first."""
    def cuda(self, device: _device_like | None = None, non_blocking: builtins.bool = False, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor in the memory of a GPU; itself if it is there."""
    def cummax(self, dim: builtins.int, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Running maxima along dim and their places."""
    def cummin(self, dim: builtins.int, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Running minima along dim and their places."""
    def cumprod(self, dim: builtins.int, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
        """Running products along dim."""
    def cumprod_(self, dim: builtins.int, *, dtype: _dtype | None = None) -> Tensor:
        """cumprod in place.

        Running products along dim.
        """
    def cumsum(self, dim: builtins.int, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
        """Running sums along dim."""
    def cumsum_(self, dim: builtins.int, *, dtype: _dtype | None = None) -> Tensor:
        """cumsum in place.

        Running sums along dim.
        """
    def data_ptr(self) -> builtins.int:
        """The address of the first element, in bytes."""
    def deg2rad(self, *, out: Tensor | None = None) -> Tensor:
        """Degrees to radians: input * pi / 180."""
    def deg2rad_(self) -> Tensor:
        """The in-place form.

        Degrees to radians: input * pi / 180.
        """
    def det(self) -> Tensor: ...
    def detach(self) -> Tensor:
        """The same values without history, sharing memory."""
    def detach_(self) -> Tensor:
        """Drops the history.

        The same values without history, sharing memory.
        """
    @property
    def device(self) -> _device: ...
    def diag(self, diagonal: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
        """A matrix with this diagonal, or the diagonal of a matrix."""
    def diag_embed(self, offset: builtins.int = 0, dim1: builtins.int = -2, dim2: builtins.int = -1) -> Tensor:
        """Matrices with the last axis on their diagonal."""
    def diagflat(self, offset: builtins.int = 0) -> Tensor:
        """A matrix with the flattened input on its diagonal."""
    def diagonal(self, offset: builtins.int = 0, dim1: builtins.int = 0, dim2: builtins.int = 1) -> Tensor:
        """The diagonal of two axes, as the last axis."""
    def diagonal_scatter(self, src: Tensor, offset: builtins.int = 0, dim1: builtins.int = 0, dim2: builtins.int = 1) -> Tensor: ...
    def diff(self, n: builtins.int = 1, dim: builtins.int = -1, prepend: Tensor | None = None, append: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
        """Differences of neighbours along dim, n times."""
    def digamma(self, *, out: Tensor | None = None) -> Tensor:
        """The derivative of lgamma, Gamma'(x) / Gamma(x)."""
    def digamma_(self) -> Tensor:
        """The in-place form.

        The derivative of lgamma, Gamma'(x) / Gamma(x).
        """
    def dim(self) -> builtins.int:
        """The number of axes."""
    def dist(self, other: Tensor, p: Number = 2) -> Tensor:
        """The norm of input - other."""
    def div(self, other: Tensor | Number, *, rounding_mode: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
        """input / other; rounding_mode 'floor' or 'trunc' rounds the quotient."""
    def div_(self, other: Tensor | Number, *, rounding_mode: builtins.str | None = None) -> Tensor:
        """The in-place form.

        input / other; rounding_mode 'floor' or 'trunc' rounds the quotient.
        """
    def divide(self, other: Tensor | Number, *, rounding_mode: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
        """input / other; rounding_mode 'floor' or 'trunc' rounds the quotient."""
    def divide_(self, other: Tensor | Number, *, rounding_mode: builtins.str | None = None) -> Tensor:
        """The in-place form.

        input / other; rounding_mode 'floor' or 'trunc' rounds the quotient.
        """
    def dot(self, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The inner product of two vectors."""
    def double(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as float64."""
    @overload
    def dsplit(self, sections: builtins.int) -> tuple[Tensor, ...]:
        """Split along the third axis."""
    @overload
    def dsplit(self, indices: _size | builtins.int) -> tuple[Tensor, ...]: ...
    @overload
    def dsplit(self, *indices: builtins.int) -> tuple[Tensor, ...]: ...
    @property
    def dtype(self) -> _dtype: ...
    def element_size(self) -> builtins.int:
        """The size of an element in bytes."""
    def elu_(self, alpha: builtins.float = 1.0) -> Tensor:
        """The in-place form.

        input where positive, alpha * (exp(input) - 1) elsewhere.
        """
    def eq(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input == other."""
    def eq_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input == other.
        """
    def equal(self, other: Tensor) -> builtins.bool:
        """True if shapes and all elements are equal."""
    def erf(self, *, out: Tensor | None = None) -> Tensor:
        """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    def erf_(self) -> Tensor:
        """The in-place form.

        The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
        """
    def erfc(self, *, out: Tensor | None = None) -> Tensor:
        """1 - erf(input), exact where erf is near 1."""
    def erfc_(self) -> Tensor:
        """The in-place form.

        1 - erf(input), exact where erf is near 1.
        """
    def erfinv(self, *, out: Tensor | None = None) -> Tensor:
        """The inverse of erf on (-1, 1); infinite at the ends and NaN beyond."""
    def erfinv_(self) -> Tensor:
        """The in-place form.

        The inverse of erf on (-1, 1); infinite at the ends and NaN beyond.
        """
    def exp(self, *, out: Tensor | None = None) -> Tensor:
        """e to the power of each element."""
    def exp2(self, *, out: Tensor | None = None) -> Tensor:
        """2 to the power of each element."""
    def exp2_(self) -> Tensor:
        """The in-place form.

        2 to the power of each element.
        """
    def exp_(self) -> Tensor:
        """The in-place form.

        e to the power of each element.
        """
    @overload
    def expand(self, size: _size | builtins.int, *, implicit: builtins.bool = False) -> Tensor:
        """Axes of size 1 repeated without copying."""
    @overload
    def expand(self, *size: builtins.int, implicit: builtins.bool = False) -> Tensor: ...
    def expand_as(self, other: Tensor) -> Tensor:
        """Axes of size 1 repeated to the shape of other, without copying."""
    def expm1(self, *, out: Tensor | None = None) -> Tensor:
        """exp(input) - 1, exact near 0."""
    def expm1_(self) -> Tensor:
        """The in-place form.

        exp(input) - 1, exact near 0.
        """
    def exponential_(self, lambd: builtins.float = 1, *, generator: Generator | None = None) -> Tensor:
        """Fills with numbers of the exponential distribution with rate lambd."""
    def fill_(self, value: Tensor | Number) -> Tensor:
        """Overwrites every element.

        A copy of the tensor with every element overwritten.
        """
    def fill_diagonal_(self, fill_value: builtins.float, wrap: builtins.bool = False) -> Tensor: ...
    def fix(self, *, out: Tensor | None = None) -> Tensor:
        """Each element without its fraction."""
    def fix_(self) -> Tensor:
        """The in-place form.

        Each element without its fraction.
        """
    def flatten(self, start_dim: builtins.int = 0, end_dim: builtins.int = -1) -> Tensor:
        """Axes start_dim..end_dim merged into one."""
    @overload
    def flip(self, dims: _size | builtins.int) -> Tensor:
        """Axes reversed."""
    @overload
    def flip(self, *dims: builtins.int) -> Tensor: ...
    def fliplr(self) -> Tensor:
        """The second axis reversed."""
    def flipud(self) -> Tensor:
        """The first axis reversed."""
    def float(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as float32."""
    def float_power(self, exponent: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """pow in double precision."""
    def float_power_(self, exponent: Tensor | Number, *, out: Tensor | None = None) -> Tensor: ...
    def floor(self, *, out: Tensor | None = None) -> Tensor:
        """The largest integer not above each element."""
    def floor_(self) -> Tensor:
        """The in-place form.

        The largest integer not above each element.
        """
    def floor_divide(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input / other, rounded down."""
    def floor_divide_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input / other, rounded down.
        """
    def fmax(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The larger of the two; a NaN gives way to a number."""
    def fmin(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The smaller of the two; a NaN gives way to a number."""
    def fmod(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """C's fmod: the result has the sign of input."""
    def fmod_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        C's fmod: the result has the sign of input.
        """
    def frac(self, *, out: Tensor | None = None) -> Tensor:
        """The fraction of each element, with its sign."""
    def frac_(self) -> Tensor:
        """The in-place form.

        The fraction of each element, with its sign.
        """
    def frexp(self, *, out: Any = None) -> Any: ...
    def gather(self, dim: builtins.int, index: Tensor, *, sparse_grad: builtins.bool = False, out: Tensor | None = None) -> Tensor:
        """Values along dim at the places that index names."""
    def gcd(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    def gcd_(self, other: Tensor) -> Tensor: ...
    def ge(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input >= other."""
    def ge_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input >= other.
        """
    def geometric_(self, p: builtins.float, *, generator: Generator | None = None) -> Tensor:
        """Fills with numbers of trials up to the first success."""
    def geqrf(self, *, out: Any = None) -> Any: ...
    def ger(self, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The outer product of two vectors."""
    def get_device(self) -> builtins.int: ...
    @property
    def grad_fn(self) -> Node | None: ...
    def greater(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input > other."""
    def greater_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input > other.
        """
    def greater_equal(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input >= other."""
    def greater_equal_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input >= other.
        """
    def gt(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input > other."""
    def gt_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input > other.
        """
    def half(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as float16."""
    def hardshrink(self, lambd: builtins.float = 0.5, *, out: Tensor | None = None) -> Tensor:
        """0 where |input| <= lambd, input elsewhere."""
    def hardsigmoid_(self) -> Tensor:
        """The in-place form.

        min(max(input + 3, 0), 6) / 6.
        """
    def hardswish_(self) -> Tensor:
        """The in-place form.

        input * hardsigmoid(input).
        """
    def heaviside(self, values: Tensor, *, out: Tensor | None = None) -> Tensor:
        """0 below 0, 1 above, values at 0."""
    def heaviside_(self, values: Tensor) -> Tensor:
        """The in-place form.

        0 below 0, 1 above, values at 0.
        """
    def histc(self, bins: builtins.int = 100, min: Number = 0, max: Number = 0, *, out: Tensor | None = None) -> Tensor:
        """How many elements lie in each of `bins` equal parts of [min, max]."""
    def histogram(self, bins: Any = 100, *, range: Any = None, weight: Tensor | None = None, density: builtins.bool = False, out: Any = None) -> Any: ...
    @overload
    def hsplit(self, sections: builtins.int) -> tuple[Tensor, ...]:
        """Split along the second axis (of a vector, the first)."""
    @overload
    def hsplit(self, indices: _size | builtins.int) -> tuple[Tensor, ...]: ...
    @overload
    def hsplit(self, *indices: builtins.int) -> tuple[Tensor, ...]: ...
    def hypot(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """sqrt(input^2 + other^2) without overflow."""
    def hypot_(self, other: Tensor) -> Tensor:
        """The in-place form.

        sqrt(input^2 + other^2) without overflow.
        """
    def i0(self, *, out: Tensor | None = None) -> Tensor:
        """The modified Bessel function of the first kind, order 0."""
    def i0_(self) -> Tensor:
        """The in-place form.

        The modified Bessel function of the first kind, order 0.
        """
    def igamma(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    def igamma_(self, other: Tensor) -> Tensor: ...
    def igammac(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    def igammac_(self, other: Tensor) -> Tensor: ...
    def index_add(self, dim: builtins.int, index: Tensor, source: Tensor, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """A copy of input with alpha * source added to the slices that index names."""
    def index_add_(self, dim: builtins.int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
        """index_add() into the tensor itself.

        A copy of input with alpha * source added to the slices that index names.
        """
    def index_copy(self, dim: builtins.int, index: Tensor, source: Tensor, *, out: Tensor | None = None) -> Tensor:
        """A copy of input with source in place of the slices that index names."""
    def index_copy_(self, dim: builtins.int, index: Tensor, source: Tensor) -> Tensor:
        """index_copy() into the tensor itself.

        A copy of input with source in place of the slices that index names.
        """
    def index_fill(self, dim: builtins.int, index: Tensor, value: Tensor | Number) -> Tensor:
        """A copy of input with value in the slices that index names."""
    def index_fill_(self, dim: builtins.int, index: Tensor, value: Tensor | Number) -> Tensor:
        """index_fill() into the tensor itself.

        A copy of input with value in the slices that index names.
        """
    def index_put(self, indices: Any, values: Tensor, accumulate: builtins.bool = False) -> Tensor:
        """A copy of input with values at input[indices]."""
    def index_put_(self, indices: Any, values: Tensor, accumulate: builtins.bool = False) -> Tensor:
        """index_put() into the tensor itself.

        A copy of input with values at input[indices].
        """
    def index_reduce(self, dim: builtins.int, index: Tensor, source: Tensor, reduce: builtins.str, *, include_self: builtins.bool = True) -> Tensor: ...
    def index_reduce_(self, dim: builtins.int, index: Tensor, source: Tensor, reduce: builtins.str, *, include_self: builtins.bool = True) -> Tensor: ...
    def index_select(self, dim: builtins.int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The slices along dim that index names."""
    def inner(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Sums products over the last axes."""
    def int(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as int32."""
    def inverse(self) -> Tensor: ...
    def is_complex(self) -> builtins.bool:
        """False: there are no complex dtypes."""
    def is_contiguous(self, memory_format: _memory_format | None = None) -> builtins.bool:
        """True if the elements lie one behind the other in memory, the last axis fastest."""
    @property
    def is_cpu(self) -> builtins.bool: ...
    @property
    def is_cuda(self) -> builtins.bool: ...
    def is_floating_point(self) -> builtins.bool:
        """True if the dtype is a floating one."""
    def is_inference(self) -> builtins.bool:
        """True if the tensor was made in inference mode."""
    @property
    def is_leaf(self) -> builtins.bool: ...
    @property
    def is_meta(self) -> builtins.bool: ...
    @property
    def is_mkldnn(self) -> builtins.bool: ...
    @property
    def is_mps(self) -> builtins.bool: ...
    @property
    def is_nested(self) -> builtins.bool: ...
    def is_nonzero(self) -> builtins.bool:
        """True if the only element is not 0."""
    def is_pinned(self, device: Any = None) -> builtins.bool:
        """True if its memory is pinned."""
    @property
    def is_quantized(self) -> builtins.bool: ...
    def is_set_to(self, tensor: Tensor) -> builtins.bool:
        """True if both tensors are the same memory, with the same shape and strides."""
    def is_shared(self) -> builtins.bool: ...
    def is_signed(self) -> builtins.bool:
        """True if the dtype has negative numbers."""
    @property
    def is_sparse(self) -> builtins.bool: ...
    @property
    def is_sparse_csr(self) -> builtins.bool: ...
    def isclose(self, other: Tensor, rtol: builtins.float = 1e-05, atol: builtins.float = 1e-08, equal_nan: builtins.bool = False) -> Tensor:
        """True where |input - other| <= atol + rtol * |other|."""
    def isfinite(self, *, out: Tensor | None = None) -> Tensor:
        """True where neither infinite nor NaN."""
    def isinf(self, *, out: Tensor | None = None) -> Tensor:
        """True where infinite."""
    def isnan(self, *, out: Tensor | None = None) -> Tensor:
        """True where NaN."""
    def isneginf(self, *, out: Tensor | None = None) -> Tensor:
        """True where negative infinity."""
    def isposinf(self, *, out: Tensor | None = None) -> Tensor:
        """True where positive infinity."""
    def isreal(self) -> Tensor:
        """True everywhere."""
    def item(self) -> Number:
        """The value of a tensor of one element, as a Python number."""
    @property
    def itemsize(self) -> builtins.int: ...
    def kron(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The Kronecker product."""
    def kthvalue(self, k: builtins.int, dim: builtins.int = -1, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The k-th smallest value along dim, k from 1, and where it is."""
    @property
    def layout(self) -> _layout: ...
    def lcm(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    def lcm_(self, other: Tensor) -> Tensor: ...
    def ldexp(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """input * 2^other."""
    def ldexp_(self, other: Tensor) -> Tensor:
        """The in-place form.

        input * 2^other.
        """
    def le(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input <= other."""
    def le_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input <= other.
        """
    def leaky_relu_(self, negative_slope: builtins.float = 0.01) -> Tensor:
        """The in-place form.

        input where positive, negative_slope * input elsewhere.
        """
    def lerp(self, end: Tensor, weight: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input + weight * (end - input)."""
    def lerp_(self, end: Tensor, weight: Tensor | Number) -> Tensor:
        """The in-place form.

        input + weight * (end - input).
        """
    def less(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input < other."""
    def less_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input < other.
        """
    def less_equal(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input <= other."""
    def less_equal_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input <= other.
        """
    def lgamma(self, *, out: Tensor | None = None) -> Tensor:
        """log |Gamma(input)|; infinite at 0, -1, -2, .."""
    def lgamma_(self) -> Tensor:
        """The in-place form.

        log |Gamma(input)|; infinite at 0, -1, -2, ..
        """
    def log(self, *, out: Tensor | None = None) -> Tensor:
        """The natural logarithm of each element; -infinity at 0, NaN below."""
    def log10(self, *, out: Tensor | None = None) -> Tensor:
        """The logarithm to base 10; -infinity at 0, NaN below."""
    def log10_(self) -> Tensor:
        """The in-place form.

        The logarithm to base 10; -infinity at 0, NaN below.
        """
    def log1p(self, *, out: Tensor | None = None) -> Tensor:
        """log(1 + input), exact near 0; -infinity at -1, NaN below."""
    def log1p_(self) -> Tensor:
        """The in-place form.

        log(1 + input), exact near 0; -infinity at -1, NaN below.
        """
    def log2(self, *, out: Tensor | None = None) -> Tensor:
        """The logarithm to base 2; -infinity at 0, NaN below."""
    def log2_(self) -> Tensor:
        """The in-place form.

        The logarithm to base 2; -infinity at 0, NaN below.
        """
    def log_(self) -> Tensor:
        """The in-place form.

        The natural logarithm of each element; -infinity at 0, NaN below.
        """
    def log_normal_(self, mean: builtins.float = 1, std: builtins.float = 2, *, generator: Generator | None = None) -> Tensor:
        """Fills with exp of normal numbers."""
    @overload
    def log_softmax(self, dim: builtins.int, dtype: _dtype | None = None, *, out: Tensor | None = None) -> Tensor:
        """log(softmax(input)) along dim."""
    @overload
    def log_softmax(self, dim: builtins.int | None = None, _stacklevel: builtins.int = 3, dtype: _dtype | None = None) -> Tensor: ...
    def logaddexp(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """log(exp(input) + exp(other)) without overflow."""
    def logaddexp2(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """log2(2^input + 2^other) without overflow."""
    def logcumsumexp(self, dim: builtins.int, *, out: Tensor | None = None) -> Tensor:
        """log(cumsum(exp(input))) along dim."""
    def logdet(self) -> Tensor: ...
    def logical_and(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """True where both are not 0."""
    def logical_and_(self, other: Tensor) -> Tensor:
        """The in-place form.

        True where both are not 0.
        """
    def logical_not(self, *, out: Tensor | None = None) -> Tensor:
        """True where an element is 0."""
    def logical_not_(self) -> Tensor:
        """The in-place form.

        True where an element is 0.
        """
    def logical_or(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """True where either is not 0."""
    def logical_or_(self, other: Tensor) -> Tensor:
        """The in-place form.

        True where either is not 0.
        """
    def logical_xor(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """True where exactly one is not 0."""
    def logical_xor_(self, other: Tensor) -> Tensor:
        """The in-place form.

        True where exactly one is not 0.
        """
    def logit(self, eps: builtins.float | None = None, *, out: Tensor | None = None) -> Tensor:
        """log(input / (1 - input))."""
    def logit_(self, eps: builtins.float | None = None) -> Tensor:
        """The in-place form.

        log(input / (1 - input)).
        """
    def logsumexp(self, dim: _size | builtins.int, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """log(sum(exp(input))) along dim."""
    def long(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as int64."""
    def lt(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input < other."""
    def lt_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input < other.
        """
    def lu(self, pivot: builtins.bool = True, get_infos: builtins.bool = False, out: Any = None) -> Any: ...
    def lu_solve(self, LU_data: Tensor, LU_pivots: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    @property
    def mH(self) -> Tensor: ...
    @property
    def mT(self) -> Tensor: ...
    def masked_fill(self, mask: Tensor, value: Tensor | Number) -> Tensor:
        """A copy of input with value where mask is set."""
    def masked_fill_(self, mask: Tensor, value: Tensor | Number) -> Tensor:
        """masked_fill() into the tensor itself.

        A copy of input with value where mask is set.
        """
    def masked_scatter(self, mask: Tensor, source: Tensor) -> Tensor:
        """A copy of input with source's elements, in order, where mask is set."""
    def masked_scatter_(self, mask: Tensor, source: Tensor) -> Tensor:
        """masked_scatter() into the tensor itself.

        A copy of input with source's elements, in order, where mask is set.
        """
    def masked_select(self, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The elements where mask is set, as a vector."""
    def matmul(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The product of vectors, matrices or batches."""
    def matrix_exp(self) -> Tensor: ...
    def matrix_power(self, n: builtins.int, *, out: Tensor | None = None) -> Tensor: ...
    @overload
    def max(self, *, out: Tensor | None = None) -> Tensor:
        """The largest element.

        The larger of two elements.

        The largest elements along dim and their places.
        """
    @overload
    def max(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    @overload
    def max(self, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
    def maximum(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The larger of the two; NaN if either is."""
    @overload
    def mean(self, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
        """The mean of all elements.

        The mean along dim.
        """
    @overload
    def mean(self, dim: _size | builtins.int | None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor: ...
    @overload
    def median(self, *, out: Tensor | None = None) -> Tensor:
        """The lower median of all elements.

        The lower medians along dim and their places.
        """
    @overload
    def median(self, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
    @overload
    def min(self, *, out: Tensor | None = None) -> Tensor:
        """The smallest element.

        The smaller of two elements.

        The smallest elements along dim and their places.
        """
    @overload
    def min(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    @overload
    def min(self, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
    def minimum(self, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The smaller of the two; NaN if either is."""
    def mish_(self) -> Tensor:
        """The in-place form.

        input * tanh(log(1 + exp(input))).
        """
    def mm(self, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
        """(n x k) @ (k x m)."""
    def mode(self, dim: builtins.int = -1, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The most frequent values and their places."""
    def moveaxis(self, source: _size | builtins.int, destination: _size | builtins.int) -> Tensor:
        """Axes moved to new places."""
    def movedim(self, source: _size | builtins.int, destination: _size | builtins.int) -> Tensor:
        """Axes moved to new places."""
    def msort(self, *, out: Tensor | None = None) -> Tensor:
        """Sorted along the first axis."""
    def mul(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input * other."""
    def mul_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input * other.
        """
    def multinomial(self, num_samples: builtins.int, replacement: builtins.bool = False, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
        """Indices drawn in proportion to the weights of each row."""
    def multiply(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input * other."""
    def multiply_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input * other.
        """
    def mv(self, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Matrix times vector."""
    def mvlgamma(self, p: builtins.int, *, out: Tensor | None = None) -> Tensor: ...
    def mvlgamma_(self, p: builtins.int) -> Tensor: ...
    @property
    def names(self) -> tuple[None, ...]: ...
    def nan_to_num(self, nan: builtins.float | None = None, posinf: builtins.float | None = None, neginf: builtins.float | None = None, *, out: Tensor | None = None) -> Tensor:
        """Replaces NaN and infinities by finite numbers."""
    def nan_to_num_(self, nan: builtins.float | None = None, posinf: builtins.float | None = None, neginf: builtins.float | None = None) -> Tensor:
        """The in-place form.

        Replaces NaN and infinities by finite numbers.
        """
    def nanmean(self, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
        """The mean of the elements that are not NaN."""
    @overload
    def nanmedian(self, *, out: Tensor | None = None) -> Tensor:
        """The lower median of the elements that are not NaN.

        The lower medians of the elements that are not NaN and their places.
        """
    @overload
    def nanmedian(self, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
    def nanquantile(self, q: Tensor | Number, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, interpolation: builtins.str = 'linear', out: Tensor | None = None) -> Tensor:
        """The q-th quantiles of the elements that are not NaN."""
    def nansum(self, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
        """The sum of the elements that are not NaN."""
    def narrow(self, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor:
        """length entries of an axis from start on."""
    def narrow_copy(self, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor: ...
    @property
    def nbytes(self) -> builtins.int: ...
    @property
    def ndim(self) -> builtins.int: ...
    def ndimension(self) -> builtins.int:
        """The number of axes."""
    def ne(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input != other."""
    def ne_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input != other.
        """
    def neg(self, *, out: Tensor | None = None) -> Tensor:
        """The negative of each element."""
    def neg_(self) -> Tensor:
        """The in-place form.

        The negative of each element.
        """
    def negative(self, *, out: Tensor | None = None) -> Tensor:
        """The negative of each element."""
    def negative_(self) -> Tensor:
        """The in-place form.

        The negative of each element.
        """
    def nelement(self) -> builtins.int:
        """The number of elements."""
    def new(self, *args: Any, device: Any = None) -> Tensor: ...
    @overload
    def new_empty(self, size: _size | builtins.int, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
        """Uninitialised memory, of the dtype and on the device of self."""
    @overload
    def new_empty(self, *size: builtins.int, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor: ...
    def new_empty_strided(self, size: Any, stride: Any, *, dtype: Any = None, device: Any = None, requires_grad: builtins.bool = False, **_: Any) -> Tensor: ...
    def new_full(self, size: _size | builtins.int, fill_value: Number, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
        """One value everywhere, of the dtype and on the device of self."""
    @overload
    def new_ones(self, size: _size | builtins.int, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
        """All ones, of the dtype and on the device of self."""
    @overload
    def new_ones(self, *size: builtins.int, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor: ...
    def new_tensor(self, data: Any, *, dtype: _dtype | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor:
        """A copy of the data, of the dtype and on the device of self."""
    @overload
    def new_zeros(self, size: _size | builtins.int, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
        """All zeros, of the dtype and on the device of self."""
    @overload
    def new_zeros(self, *size: builtins.int, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor: ...
    def nextafter(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    def nextafter_(self, other: Tensor) -> Tensor: ...
    def nonzero(self, *, out: Tensor | None = None, as_tuple: builtins.bool = False) -> Any:
        """The positions of the elements that are not zero."""
    def nonzero_static(self, *, size: builtins.int, fill_value: builtins.int = -1, out: Any = None) -> Tensor: ...
    def norm(self, p: Any = 'fro', dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None) -> Tensor:
        """The vector norm of order p: along dim, or of all elements."""
    def normal_(self, mean: builtins.float = 0, std: builtins.float = 1, *, generator: Generator | None = None) -> Tensor:
        """Fills with normal numbers.

        Normal numbers.

        Normal numbers, with a mean and a deviation for each element.
        """
    def not_equal(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """True where input != other."""
    def not_equal_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        True where input != other.
        """
    def numel(self) -> builtins.int:
        """The number of elements."""
    def numpy(self, *, force: builtins.bool = False) -> Any:
        """A numpy array that shares memory with the tensor."""
    def orgqr(self, tau: Tensor) -> Tensor: ...
    def ormqr(self, tau: Tensor, other: Tensor, left: builtins.bool = True, transpose: builtins.bool = False, *, out: Tensor | None = None) -> Tensor: ...
    def outer(self, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The outer product of two vectors."""
    @property
    def output_nr(self) -> builtins.int: ...
    @overload
    def permute(self, dims: _size | builtins.int) -> Tensor:
        """Axes in another order."""
    @overload
    def permute(self, *dims: builtins.int) -> Tensor: ...
    def pin_memory(self, device: Any = None) -> Tensor:
        """The tensor in memory that a GPU copies from and to by itself."""
    def pinverse(self, rcond: builtins.float = 1e-15) -> Tensor: ...
    def polygamma(self, n: builtins.int) -> Tensor: ...
    def polygamma_(self, n: builtins.int) -> Tensor: ...
    def positive(self) -> Tensor:
        """The input itself; not of bool."""
    def pow(self, exponent: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input to the power of exponent."""
    def pow_(self, exponent: Tensor | Number) -> Tensor:
        """The in-place form.

        input to the power of exponent.
        """
    def prelu(self, weight: Tensor) -> Tensor:
        """input where positive, weight * input elsewhere; one weight or one for each channel."""
    @overload
    def prod(self, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
        """The product of all elements.

        The product along dim.
        """
    @overload
    def prod(self, dim: builtins.int, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor: ...
    def psi(self, *, out: Tensor | None = None) -> Tensor:
        """The derivative of lgamma, Gamma'(x) / Gamma(x)."""
    def psi_(self) -> Tensor:
        """The in-place form.

        The derivative of lgamma, Gamma'(x) / Gamma(x).
        """
    def put(self, index: Tensor, source: Tensor, accumulate: builtins.bool = False) -> Tensor:
        """A copy of input with source written or added at places of the flattened input."""
    def put_(self, index: Tensor, source: Tensor, accumulate: builtins.bool = False) -> Tensor:
        """put() into the tensor itself.

        A copy of input with source written or added at places of the flattened input.
        """
    def qr(self, some: builtins.bool = True, *, out: Any = None) -> Any: ...
    def quantile(self, q: Tensor | Number, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, interpolation: builtins.str = 'linear', out: Tensor | None = None) -> Tensor:
        """The q-th quantiles."""
    def rad2deg(self, *, out: Tensor | None = None) -> Tensor:
        """Radians to degrees: input * 180 / pi."""
    def rad2deg_(self) -> Tensor:
        """The in-place form.

        Radians to degrees: input * 180 / pi.
        """
    @overload
    def random_(self, *, generator: Generator | None = None) -> Tensor:
        """Fills with integers of the type's range.

        Fills with integers below to.

        Fills with integers from `from` to `to` - 1.
        """
    @overload
    def random_(self, to: builtins.int, *, generator: Generator | None = None) -> Tensor: ...
    @overload
    def random_(self, from_: builtins.int, to: builtins.int | None, *, generator: Generator | None = None) -> Tensor: ...
    def ravel(self) -> Tensor:
        """All axes merged into one."""
    @property
    def real(self) -> Tensor: ...
    def reciprocal(self, *, out: Tensor | None = None) -> Tensor:
        """1 / input."""
    def reciprocal_(self) -> Tensor:
        """The in-place form.

        1 / input.
        """
    def record_stream(self, s: Any) -> None:
        """Its memory is used on that stream, too, and not given away before that has finished."""
    def register_hook(self, hook: Any) -> Any:
        """Calls hook(grad) when the gradient is known; it may return another."""
    def register_post_accumulate_grad_hook(self, hook: Any) -> Any:
        """Calls hook(tensor) after a gradient has arrived in .grad of a leaf."""
    def relu(self, inplace: builtins.bool = False) -> Tensor:
        """max(input, 0); the gradient at 0 is 0."""
    def relu6_(self) -> Tensor:
        """The in-place form.

        min(max(input, 0), 6).
        """
    def relu_(self) -> Tensor:
        """The in-place form.

        max(input, 0); the gradient at 0 is 0.
        """
    def remainder(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """The remainder of division with the sign of other, as Python's %."""
    def remainder_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        The remainder of division with the sign of other, as Python's %.
        """
    def renorm(self, p: builtins.float, dim: builtins.int, maxnorm: builtins.float, *, out: Tensor | None = None) -> Tensor: ...
    def renorm_(self, p: builtins.float, dim: builtins.int, maxnorm: builtins.float) -> Tensor: ...
    @overload
    def repeat(self, repeats: _size | builtins.int) -> Tensor:
        """Copies of the tensor along each axis."""
    @overload
    def repeat(self, *repeats: builtins.int) -> Tensor: ...
    @overload
    def repeat_interleave(self, repeats: Tensor, dim: builtins.int | None = None, *, output_size: builtins.int | None = None) -> Tensor:
        """Each element (slice along dim) repeated in place."""
    @overload
    def repeat_interleave(self, repeats: builtins.int, dim: builtins.int | None = None, *, output_size: builtins.int | None = None) -> Tensor: ...
    @overload
    def repeat_interleave(self, *, output_size: builtins.int | None = None) -> Tensor: ...
    def requires_grad_(self, requires_grad: builtins.bool = True) -> Tensor:
        """Sets requires_grad of a leaf."""
    @overload
    def reshape(self, shape: _size | builtins.int) -> Tensor:
        """Another shape, copied only where memory demands it."""
    @overload
    def reshape(self, *shape: builtins.int) -> Tensor: ...
    def reshape_as(self, other: Tensor) -> Tensor:
        """The shape of other, copied only where memory demands it."""
    @overload
    def resize_(self, size: _size | builtins.int, *, memory_format: _memory_format | None = None) -> Tensor:
        """Another shape, with new memory where the old is too small."""
    @overload
    def resize_(self, *size: builtins.int, memory_format: _memory_format | None = None) -> Tensor: ...
    def resize_as_(self, the_template: Tensor, *, memory_format: Any = None) -> Tensor: ...
    def resolve_conj(self) -> Tensor: ...
    def resolve_neg(self) -> Tensor: ...
    def retain_grad(self) -> None:
        """Keeps the gradient of a non-leaf in .grad."""
    @property
    def retains_grad(self) -> builtins.bool: ...
    def roll(self, shifts: _size | builtins.int, dims: _size | builtins.int = ...) -> Tensor:
        """Shifted along axes, what falls off comes back at the other end."""
    def rot90(self, k: builtins.int = 1, dims: _size | builtins.int = ...) -> Tensor:
        """Turned by k * 90 degrees."""
    def round(self, *, decimals: builtins.int = 0, out: Tensor | None = None) -> Tensor:
        """The nearest integer, halves to even."""
    def round_(self, *, decimals: builtins.int = 0) -> Tensor:
        """The in-place form.

        The nearest integer, halves to even.
        """
    def rsqrt(self, *, out: Tensor | None = None) -> Tensor:
        """1 / sqrt(input); infinity at 0, NaN below."""
    def rsqrt_(self) -> Tensor:
        """The in-place form.

        1 / sqrt(input); infinity at 0, NaN below.
        """
    @overload
    def scatter(self, dim: builtins.int, index: Tensor, src: Tensor, *, reduce: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
        """A copy of input with src written along dim to the places that index names."""
    @overload
    def scatter(self, dim: builtins.int, index: Tensor, value: Number, *, reduce: builtins.str | None = None, out: Tensor | None = None) -> Tensor: ...
    @overload
    def scatter_(self, dim: builtins.int, index: Tensor, src: Tensor, *, reduce: builtins.str | None = None) -> Tensor:
        """scatter() into the tensor itself.

        A copy of input with src written along dim to the places that index names.
        """
    @overload
    def scatter_(self, dim: builtins.int, index: Tensor, value: Number, *, reduce: builtins.str | None = None) -> Tensor: ...
    def scatter_add(self, dim: builtins.int, index: Tensor, src: Tensor, *, out: Tensor | None = None) -> Tensor:
        """A copy of input with src added along dim at the places that index names."""
    def scatter_add_(self, dim: builtins.int, index: Tensor, src: Tensor) -> Tensor:
        """scatter_add() into the tensor itself.

        A copy of input with src added along dim at the places that index names.
        """
    def scatter_reduce(self, dim: builtins.int, index: Tensor, src: Tensor, reduce: builtins.str, *, include_self: builtins.bool = True, out: Tensor | None = None) -> Tensor:
        """As scatter(), combining by sum, prod, mean, amax or amin."""
    def scatter_reduce_(self, dim: builtins.int, index: Tensor, src: Tensor, reduce: builtins.str, *, include_self: builtins.bool = True) -> Tensor:
        """scatter_reduce() into the tensor itself.

        As scatter(), combining by sum, prod, mean, amax or amin.
        """
    def select(self, dim: builtins.int, index: builtins.int) -> Tensor:
        """One entry of an axis, which disappears."""
    def select_scatter(self, src: Tensor, dim: builtins.int, index: builtins.int) -> Tensor: ...
    def selu_(self) -> Tensor:
        """The in-place form.

        scale * elu(input, alpha) with scale 1.0507009873554805 and alpha 1.6732632423543772.
        """
    def sgn(self, *, out: Tensor | None = None) -> Tensor:
        """-1, 0 or 1, as sign (complex numbers are not supported)."""
    def sgn_(self) -> Tensor:
        """The in-place form.

        -1, 0 or 1, as sign (complex numbers are not supported).
        """
    @property
    def shape(self) -> Size: ...
    def share_memory_(self) -> Tensor: ...
    def short(self, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor as int16."""
    def sigmoid(self, *, out: Tensor | None = None) -> Tensor:
        """The logistic function 1 / (1 + exp(-input))."""
    def sigmoid_(self) -> Tensor:
        """The in-place form.

        The logistic function 1 / (1 + exp(-input)).
        """
    def sign(self, *, out: Tensor | None = None) -> Tensor:
        """-1, 0 or 1: the sign of each element; 0 of NaN."""
    def sign_(self) -> Tensor:
        """The in-place form.

        -1, 0 or 1: the sign of each element; 0 of NaN.
        """
    def signbit(self, *, out: Tensor | None = None) -> Tensor:
        """True where the sign bit is set, -0 included."""
    def silu_(self) -> Tensor:
        """The in-place form.

        input * sigmoid(input).
        """
    def sin(self, *, out: Tensor | None = None) -> Tensor:
        """The sine of each element, in radians."""
    def sin_(self) -> Tensor:
        """The in-place form.

        The sine of each element, in radians.
        """
    def sinc(self, *, out: Tensor | None = None) -> Tensor:
        """sin(pi x) / (pi x), and 1 at 0."""
    def sinc_(self) -> Tensor:
        """The in-place form.

        sin(pi x) / (pi x), and 1 at 0.
        """
    def sinh(self, *, out: Tensor | None = None) -> Tensor:
        """The hyperbolic sine of each element, (exp(x) - exp(-x)) / 2."""
    def sinh_(self) -> Tensor:
        """The in-place form.

        The hyperbolic sine of each element, (exp(x) - exp(-x)) / 2.
        """
    @overload
    def size(self, dim: None = None) -> Size:
        """All sizes, or that of one axis."""
    @overload
    def size(self, dim: builtins.int) -> builtins.int: ...
    def slice_scatter(self, src: Tensor, dim: builtins.int = 0, start: builtins.int | None = None, end: builtins.int | None = None, step: builtins.int = 1) -> Tensor: ...
    def slogdet(self) -> Any: ...
    @overload
    def softmax(self, dim: builtins.int, dtype: _dtype | None = None, *, out: Tensor | None = None) -> Tensor:
        """exp(input) / sum(exp(input)) along dim."""
    @overload
    def softmax(self, dim: builtins.int | None = None, _stacklevel: builtins.int = 3, dtype: _dtype | None = None) -> Tensor: ...
    def sort(self, dim: builtins.int = -1, descending: builtins.bool = False, stable: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Values in order along dim, and where they were. Always stable."""
    @overload
    def split(self, split_size_or_sections: Any, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """Parts of the given sizes along dim."""
    @overload
    def split(self, split_size: Any, dim: builtins.int = 0) -> tuple[Tensor, ...]: ...
    def split_with_sizes(self, split_sizes: Any, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """Parts of the given sizes along dim."""
    def sqrt(self, *, out: Tensor | None = None) -> Tensor:
        """The square root of each element; NaN below 0."""
    def sqrt_(self) -> Tensor:
        """The in-place form.

        The square root of each element; NaN below 0.
        """
    def square(self, *, out: Tensor | None = None) -> Tensor:
        """The square of each element."""
    def square_(self) -> Tensor:
        """The in-place form.

        The square of each element.
        """
    @overload
    def squeeze(self) -> Tensor:
        """Without axes of size 1."""
    @overload
    def squeeze(self, dim: _size | builtins.int) -> Tensor: ...
    @overload
    def squeeze(self, *dim: builtins.int) -> Tensor: ...
    @overload
    def squeeze_(self) -> Tensor:
        """Without axes of size 1."""
    @overload
    def squeeze_(self, dim: _size | builtins.int) -> Tensor: ...
    @overload
    def squeeze_(self, *dim: builtins.int) -> Tensor: ...
    @overload
    def std(self, dim: _size | builtins.int | None, unbiased: builtins.bool, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """The standard deviation along dim.

        The standard deviation of all elements.

        The standard deviation along dim, with the divisor n - correction (1).
        """
    @overload
    def std(self, unbiased: builtins.bool, *, out: Tensor | None = None) -> Tensor: ...
    @overload
    def std(self, dim: _size | builtins.int | None = None, *, correction: Number | None = None, keepdim: builtins.bool = False, out: Tensor | None = None) -> Tensor: ...
    def storage(self) -> Any: ...
    def storage_offset(self) -> builtins.int:
        """Where the first element lies in its storage, in elements."""
    @overload
    def stride(self, dim: None = None) -> tuple[builtins.int, ...]:
        """How far apart neighbours along each axis are, in elements."""
    @overload
    def stride(self, dim: builtins.int) -> builtins.int: ...
    def sub(self, other: Tensor | Number, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """input - alpha * other, elementwise."""
    def sub_(self, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
        """The in-place form.

        input - alpha * other, elementwise.
        """
    def subtract(self, other: Tensor | Number, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
        """input - alpha * other, elementwise."""
    def subtract_(self, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
        """The in-place form.

        input - alpha * other, elementwise.
        """
    @overload
    def sum(self, *, dtype: _dtype | None = None) -> Tensor:
        """The sum of all elements.

        The sum along dim.
        """
    @overload
    def sum(self, dim: _size | builtins.int | None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor: ...
    @overload
    def sum_to_size(self, size: _size | builtins.int) -> Tensor:
        """The sum over the axes along which size was broadcast to the shape."""
    @overload
    def sum_to_size(self, *size: builtins.int) -> Tensor: ...
    def svd(self, some: builtins.bool = True, compute_uv: builtins.bool = True, *, out: Any = None) -> Any: ...
    def swapaxes(self, axis0: builtins.int, axis1: builtins.int) -> Tensor:
        """Two axes swapped."""
    def swapaxes_(self, axis0: builtins.int, axis1: builtins.int) -> Tensor:
        """Two axes swapped."""
    def swapdims(self, dim0: builtins.int, dim1: builtins.int) -> Tensor:
        """Two axes swapped."""
    def swapdims_(self, dim0: builtins.int, dim1: builtins.int) -> Tensor:
        """Two axes swapped."""
    def t(self) -> Tensor:
        """The transpose of a matrix."""
    def t_(self) -> Tensor:
        """The transpose of a matrix."""
    def take(self, index: Tensor, *, out: Tensor | None = None) -> Tensor:
        """Values of the flattened input at index."""
    def take_along_dim(self, indices: Tensor, dim: builtins.int | None = None, *, out: Tensor | None = None) -> Tensor:
        """Values along dim at indices, with broadcasting; without dim, of the flattened input."""
    def tan(self, *, out: Tensor | None = None) -> Tensor:
        """The tangent of each element, in radians."""
    def tan_(self) -> Tensor:
        """The in-place form.

        The tangent of each element, in radians.
        """
    def tanh(self, *, out: Tensor | None = None) -> Tensor:
        """The hyperbolic tangent of each element, (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    def tanh_(self) -> Tensor:
        """The in-place form.

        The hyperbolic tangent of each element, (exp(x) - exp(-x)) / (exp(x) + exp(-x)).
        """
    @overload
    def tensor_split(self, tensor_indices_or_sections: Tensor, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """Split into nearly equal parts, or at indices."""
    @overload
    def tensor_split(self, sections: builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]: ...
    @overload
    def tensor_split(self, indices: _size | builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]: ...
    @overload
    def tile(self, dims: _size | builtins.int) -> Tensor:
        """Copies of the tensor; missing axes count once."""
    @overload
    def tile(self, *dims: builtins.int) -> Tensor: ...
    @overload
    def to(self, dtype: _dtype, non_blocking: builtins.bool = False, copy: builtins.bool = False, *, memory_format: _memory_format | None = None) -> Tensor:
        """The tensor in another dtype or on another device; itself if nothing changes."""
    @overload
    def to(self, device: _device_like | None = None, dtype: _dtype | None = None, non_blocking: builtins.bool = False, copy: builtins.bool = False, *, memory_format: _memory_format | None = None) -> Tensor: ...
    @overload
    def to(self, other: Tensor, non_blocking: builtins.bool = False, copy: builtins.bool = False, *, memory_format: _memory_format | None = None) -> Tensor: ...
    def tolist(self) -> Any:
        """A (nested) list of the elements."""
    def topk(self, k: builtins.int, dim: builtins.int = -1, largest: builtins.bool = True, sorted: builtins.bool = True, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The k largest or smallest values along dim, and where they are."""
    def trace(self) -> Tensor:
        """The sum of the diagonal."""
    def transpose(self, dim0: builtins.int, dim1: builtins.int) -> Tensor:
        """Two axes swapped."""
    def transpose_(self, dim0: builtins.int, dim1: builtins.int) -> Tensor:
        """Two axes swapped."""
    def triangular_solve(self, A: Tensor, upper: builtins.bool = True, transpose: builtins.bool = False, unitriangular: builtins.bool = False) -> Any: ...
    def tril(self, diagonal: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
        """The part on and below a diagonal."""
    def tril_(self, diagonal: builtins.int = 0) -> Tensor:
        """tril() of the tensor itself.

        The part on and below a diagonal.
        """
    def triu(self, diagonal: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
        """The part on and above a diagonal."""
    def triu_(self, diagonal: builtins.int = 0) -> Tensor:
        """triu() of the tensor itself.

        The part on and above a diagonal.
        """
    def true_divide(self, other: Tensor | Number, *, rounding_mode: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
        """input / other; rounding_mode 'floor' or 'trunc' rounds the quotient."""
    def true_divide_(self, other: Tensor | Number, *, rounding_mode: builtins.str | None = None) -> Tensor:
        """The in-place form.

        input / other; rounding_mode 'floor' or 'trunc' rounds the quotient.
        """
    def trunc(self, *, out: Tensor | None = None) -> Tensor:
        """Each element without its fraction."""
    def trunc_(self) -> Tensor:
        """The in-place form.

        Each element without its fraction.
        """
    def type(self, dtype: Any = None, non_blocking: builtins.bool = False, **kwargs: Any) -> Any: ...
    def type_as(self, other: Tensor) -> Tensor:
        """The tensor in the dtype and on the device of other."""
    def unbind(self, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """All entries of an axis."""
    def unflatten(self, dim: builtins.int, sizes: _size | builtins.int) -> Tensor:
        """One axis split into several."""
    def unfold(self, dimension: builtins.int, size: builtins.int, step: builtins.int) -> Tensor:
        """Windows of an axis, as the last axis."""
    def uniform_(self, from_: builtins.float = 0, to: builtins.float = 1, *, generator: Generator | None = None) -> Tensor:
        """Fills with uniform numbers in [from, to)."""
    def unique(self, sorted: builtins.bool = True, return_inverse: builtins.bool = False, return_counts: builtins.bool = False, dim: builtins.int | None = None) -> Any:
        """The different elements, or slices along dim, in order."""
    def unique_consecutive(self, return_inverse: builtins.bool = False, return_counts: builtins.bool = False, dim: builtins.int | None = None) -> Any:
        """One element for each run of equal ones."""
    def unsafe_chunk(self, chunks: builtins.int, dim: builtins.int = 0) -> Tensor: ...
    @overload
    def unsafe_split(self, split_size_or_sections: Any, dim: builtins.int = 0) -> Tensor: ...
    @overload
    def unsafe_split(self, split_size: Any, dim: builtins.int = 0) -> Tensor: ...
    def unsqueeze(self, dim: builtins.int) -> Tensor:
        """With a new axis of size 1."""
    def unsqueeze_(self, dim: builtins.int) -> Tensor:
        """With a new axis of size 1."""
    def untyped_storage(self) -> Any: ...
    @overload
    def var(self, dim: _size | builtins.int | None, unbiased: builtins.bool, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
        """The variance along dim.

        The variance of all elements.

        The variance along dim, with the divisor n - correction (1).
        """
    @overload
    def var(self, unbiased: builtins.bool, *, out: Tensor | None = None) -> Tensor: ...
    @overload
    def var(self, dim: _size | builtins.int | None = None, *, correction: Number | None = None, keepdim: builtins.bool = False, out: Tensor | None = None) -> Tensor: ...
    def vdot(self, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
    @overload
    def view(self, dtype: _dtype) -> Tensor:
        """The same bytes as another dtype.

        Another shape on the same memory; one size may be -1.
        """
    @overload
    def view(self, size: _size | builtins.int) -> Tensor: ...
    @overload
    def view(self, *size: builtins.int) -> Tensor: ...
    def view_as(self, other: Tensor) -> Tensor:
        """The shape of other, on the same memory."""
    @overload
    def vsplit(self, sections: builtins.int) -> tuple[Tensor, ...]:
        """Split along the first axis."""
    @overload
    def vsplit(self, indices: _size | builtins.int) -> tuple[Tensor, ...]: ...
    @overload
    def vsplit(self, *indices: builtins.int) -> tuple[Tensor, ...]: ...
    def where(self, condition: Tensor, other: Tensor | Number) -> Tensor: ...
    def xlogy(self, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
        """input * log(other), 0 where input is 0."""
    def xlogy_(self, other: Tensor | Number) -> Tensor:
        """The in-place form.

        input * log(other), 0 where input is 0.
        """
    def zero_(self) -> Tensor:
        """Overwrites every element with 0."""

def _adafactor_step(*args: Any, **kwargs: Any) -> Any:
    """One step of Adafactor for a parameter group."""
def _addmm_activation(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1, use_gelu: builtins.bool = False, out: Tensor | None = None) -> Tensor:
    """relu, or gelu, of beta * input + alpha * (mat1 @ mat2). On a GPU one call, and gelu is the tanh form."""
def _alias(input: Tensor) -> Tensor:
    """A view without history, for what a custom function returns unchanged."""
def _amp_foreach_non_finite_check_and_unscale_(*args: Any, **kwargs: Any) -> Any:
    """Multiplies all of them; found_inf becomes 1 if an element is infinite or NaN."""
def _amp_update_scale_(*args: Any, **kwargs: Any) -> Any:
    """GradScaler's scale after an iteration."""
def _assert_async(input: Tensor, assert_msg: builtins.str = 'Assertion failed') -> Tensor:
    """RuntimeError with assert_msg unless all of input is true: on a GPU at its next synchronisation, in a captured step at each replay."""
def _attach_function(ctx: Any, name: builtins.str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], dirty: Sequence[Tensor]) -> Any: ...
def _autocast(input: Tensor, dtype: _dtype) -> Tensor:
    """input in that type if it is of another floating type than float64."""
def _backward(tensors: Any, grad_tensors: Any = None, retain_graph: builtins.bool | None = None, create_graph: builtins.bool = False, inputs: Any = None) -> None: ...
def _build_info(*args: Any, **kwargs: Any) -> Any: ...
def _bump_version(input: Tensor) -> None: ...
def _capture_draws(*args: Any, **kwargs: Any) -> Any:
    """How many calls of the recording that runs draw random numbers; -1 if none runs."""
def _capture_setup(*args: Any, **kwargs: Any) -> Any: ...
def _check_inplace(input: Tensor) -> None: ...
def _cuda_begin_capture(device: builtins.int) -> None: ...
def _cuda_build() -> tuple[builtins.str, builtins.str] | None: ...
def _cuda_cudnn_attention_runs() -> builtins.int:
    """How often cuDNN has computed attention or its gradient."""
def _cuda_current_device() -> builtins.int: ...
def _cuda_current_stream(device: builtins.int) -> builtins.int: ...
def _cuda_destroy_event(event: Any) -> None: ...
def _cuda_destroy_graph(graph: Any) -> None: ...
def _cuda_device_count() -> builtins.int: ...
def _cuda_elapsed_time(start: Any, end: Any) -> builtins.float:
    """Milliseconds."""
def _cuda_empty_cache() -> None: ...
def _cuda_end_capture(keep: builtins.bool) -> builtins.int | None: ...
def _cuda_flag(name: builtins.str) -> builtins.bool: ...
def _cuda_generator(index: builtins.int) -> Generator:
    """The default generator of a GPU."""
def _cuda_init() -> None:
    """Loads the CUDA part or says why it can't."""
def _cuda_is_capturing() -> builtins.bool: ...
def _cuda_is_initialized() -> builtins.bool: ...
def _cuda_library_version(name: builtins.str) -> builtins.int:
    """0 if it is missing."""
def _cuda_memory(device: builtins.int) -> dict[builtins.str, Any]: ...
def _cuda_memory_info(device: builtins.int) -> tuple[builtins.int, builtins.int]: ...
def _cuda_new_event(device: builtins.int, timing: builtins.bool, blocking: builtins.bool) -> builtins.int: ...
def _cuda_new_stream(device: builtins.int, priority: builtins.int) -> builtins.int: ...
def _cuda_properties(device: builtins.int) -> dict[builtins.str, Any]: ...
def _cuda_query_event(event: Any) -> builtins.bool: ...
def _cuda_query_stream(device: builtins.int, stream: Any) -> builtins.bool: ...
def _cuda_record_event(event: Any, device: builtins.int, stream: Any) -> None: ...
def _cuda_replay_graph(graph: Any) -> None: ...
def _cuda_reset_peak(device: builtins.int) -> None: ...
def _cuda_set_device(device: builtins.int) -> None: ...
def _cuda_set_flag(name: builtins.str, value: builtins.bool) -> None: ...
def _cuda_set_stream(device: builtins.int, stream: Any) -> None: ...
def _cuda_synchronize(device: builtins.int) -> None: ...
def _cuda_synchronize_event(event: Any) -> None: ...
def _cuda_synchronize_stream(device: builtins.int, stream: Any) -> None: ...
def _cuda_wait_event(device: builtins.int, stream: Any, event: Any) -> None: ...
def _current_graph_task_id() -> Tensor:
    """The number of the backward pass that runs here, or -1."""
def _disabled_torch_function_impl(*args: Any, **kwargs: Any) -> Any: ...
def _flatten(*args: Any, **kwargs: Any) -> Any: ...
def _functional_twin(function: Any) -> Tensor: ...
def _get_function_stack_at(*args: Any, **kwargs: Any) -> Any: ...
def _grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: builtins.bool | None = None, create_graph: builtins.bool = False, allow_unused: builtins.bool | None = None, materialize_grads: builtins.bool = False) -> tuple[Tensor, ...]: ...
def _grads_of(*args: Any, **kwargs: Any) -> Any:
    """The gradients of those that have one, as a list."""
def _has_torch_function(*args: Any, **kwargs: Any) -> Any:
    """True if one of the objects has a __torch_function__ that is not switched off, or a mode is on."""
def _has_torch_function_unary(*args: Any, **kwargs: Any) -> Any:
    """has_torch_function((object,))."""
def _has_torch_function_variadic(*args: Any, **kwargs: Any) -> Any:
    """has_torch_function(objects)."""
def _hooks_of_leaf(*args: Any, **kwargs: Any) -> Any: ...
def _is_capturing(*args: Any, **kwargs: Any) -> Any: ...
def _is_checkpoint_valid() -> Tensor:
    """Whether that pass computes all gradients, as a reentrant checkpoint needs."""
def _is_torch_function_all_disabled(*args: Any, **kwargs: Any) -> Any: ...
def _is_torch_function_enabled(*args: Any, **kwargs: Any) -> Any: ...
def _len_torch_function_stack(*args: Any, **kwargs: Any) -> Any: ...
def _make_subclass(cls: Any, data: Tensor, require_grad: builtins.bool = False) -> Tensor: ...
def _multi_add_(*args: Any, **kwargs: Any) -> Any:
    """x += alpha * y for two lists."""
def _multi_clamp_(*args: Any, **kwargs: Any) -> Any:
    """Limits all elements."""
def _multi_clip_norm_(*args: Any, **kwargs: Any) -> Any:
    """Scales all tensors so that their norm is at most `largest`; the norm before."""
def _multi_lerp_(*args: Any, **kwargs: Any) -> Any:
    """x += weight * (y - x) for two lists."""
def _multi_norm(*args: Any, **kwargs: Any) -> Any:
    """The norm (order 1, 2 or inf) of all tensors as one vector."""
def _multi_scale_to_norm_(*args: Any, **kwargs: Any) -> Any:
    """The same where the norm is known."""
def _multi_zero_(*args: Any, **kwargs: Any) -> Any:
    """Zeros all tensors in one pass."""
def _muon_step(*args: Any, **kwargs: Any) -> Any:
    """One step of Muon for a parameter group."""
def _optim_check(*args: Any, **kwargs: Any) -> Any:
    """Raises for hyperparameters out of range."""
def _optim_step(*args: Any, **kwargs: Any) -> Any:
    """One fused update of a parameter group."""
def _overridable(*args: Any, **kwargs: Any) -> Any: ...
def _pop_saved_tensors_hooks() -> Tensor: ...
def _pop_torch_function_stack(*args: Any, **kwargs: Any) -> Any: ...
def _profiler_begin(*args: Any, **kwargs: Any) -> Any: ...
def _profiler_enabled(*args: Any, **kwargs: Any) -> Any: ...
def _profiler_end(*args: Any, **kwargs: Any) -> Any: ...
def _profiler_start(*args: Any, **kwargs: Any) -> Any: ...
def _profiler_stop(*args: Any, **kwargs: Any) -> Any: ...
def _push_on_torch_function_stack(*args: Any, **kwargs: Any) -> Any: ...
def _push_saved_tensors_hooks(pack: Any, unpack: Any) -> Tensor: ...
def _read_at_first(*args: Any, **kwargs: Any) -> Any: ...
def _refuse_capture(*args: Any, **kwargs: Any) -> Any: ...
def _require(input: Tensor, message: builtins.str) -> Tensor:
    """_assert_async() with ValueError."""
def _saved_tensors_hooks() -> Tensor: ...
def _set_anomaly(on: builtins.bool, check_nan: builtins.bool) -> None: ...
def _set_grad_enabled(mode: builtins.bool) -> None: ...
def _set_inference_mode(mode: builtins.bool) -> None: ...
def _set_winograd_work(*args: Any, **kwargs: Any) -> Any: ...
def _standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Gamma numbers of the shapes in input and rate 1, differentiable in the shapes."""
def _standard_gamma_grad(input: Tensor, output: Tensor) -> Tensor:
    """The derivative of gamma numbers by their shapes at a fixed quantile."""
def _storage(input: Tensor) -> tuple[builtins.int, builtins.int]:
    """Address and bytes of the memory that the tensor is a view of."""
def _take_attribute_slot(cls: builtins.type) -> None:
    """Gives a subclass of ModuleBase its fast attribute search."""
def _team_least(*args: Any, **kwargs: Any) -> Any:
    """From how many nanoseconds on threads share a stretch of steps; the value before."""
def _torch_function_off(*args: Any, **kwargs: Any) -> Any: ...
def _view_of(input: Tensor) -> Tensor: ...
def _will_engine_execute_node(node: Any) -> Tensor:
    """Whether that pass runs the node."""
def _with_history(input: Tensor, node: Any, output_nr: builtins.int) -> Tensor:
    """A kept output as a result of its node again."""
def _zero_grad(*args: Any, **kwargs: Any) -> Any:
    """Gradients to None, or detached and zeroed in place."""
def abs(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The absolute value of each element."""
def abs_(input: Tensor) -> Tensor:
    """The in-place form.

    The absolute value of each element.
    """
def absolute(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The absolute value of each element."""
def absolute_(input: Tensor) -> Tensor:
    """The in-place form.

    The absolute value of each element.
    """
def acos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1]."""
def acos_(input: Tensor) -> Tensor:
    """The in-place form.

    The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1].
    """
def acosh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1."""
def acosh_(input: Tensor) -> Tensor:
    """The in-place form.

    The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1.
    """
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean over output_size windows of the last 1 axes; None keeps a size."""
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The mean over output_size windows of the last 2 axes; None keeps a size."""
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The mean over output_size windows of the last 3 axes; None keeps a size."""
def adaptive_max_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The maximum over output_size windows, and the flat position of each maximum."""
def adaptive_max_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The maximum over output_size windows, and the flat position of each maximum."""
def adaptive_max_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The maximum over output_size windows, and the flat position of each maximum."""
@overload
def add(input: Tensor | Number, other: Tensor | Number, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """input + alpha * other, elementwise.

    Deprecated order of arguments.
    """
@overload
def add(input: Tensor, alpha: Number, other: Tensor) -> Tensor: ...
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1, out: Tensor | None = None) -> Tensor:
    """input + value * tensor1 / tensor2."""
def addcdiv_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """The in-place form.

    input + value * tensor1 / tensor2.
    """
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1, out: Tensor | None = None) -> Tensor:
    """input + value * tensor1 * tensor2."""
def addcmul_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """The in-place form.

    input + value * tensor1 * tensor2.
    """
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
def adjoint(input: Tensor) -> Tensor:
    """The last two axes swapped: the conjugate transpose."""
def all(input: Tensor, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """True if no element is 0."""
def allclose(input: Tensor, other: Tensor, rtol: builtins.float = 1e-05, atol: builtins.float = 1e-08, equal_nan: builtins.bool = False) -> builtins.bool:
    """True if |input - other| <= atol + rtol * |other| everywhere."""
@overload
def alpha_dropout(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = False, inplace: builtins.bool = False) -> Tensor:
    """Dropout that keeps mean and variance of SELU's outputs (Klambauer et al., 2017)."""
@overload
def alpha_dropout(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
@overload
def alpha_dropout_(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = False) -> Tensor:
    """Dropout that keeps mean and variance of SELU's outputs (Klambauer et al., 2017)."""
@overload
def alpha_dropout_(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
def amax(input: Tensor, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """The largest elements along dim; ties share the gradient."""
def amin(input: Tensor, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """The smallest elements along dim; ties share the gradient."""
def aminmax(input: Tensor, *, dim: builtins.int | None = None, keepdim: builtins.bool = False, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """The smallest and the largest element."""
def any(input: Tensor, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """True if an element is not 0."""
@overload
def arange(end: Number, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """0, 1, .. below end.

    start, start + step, .. below end.
    """
@overload
def arange(start: Number, end: Number, step: Number = 1, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor: ...
def arccos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1]."""
def arccos_(input: Tensor) -> Tensor:
    """The in-place form.

    The arc cosine of each element, in [0, pi] radians; NaN outside of [-1, 1].
    """
def arccosh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1."""
def arccosh_(input: Tensor) -> Tensor:
    """The in-place form.

    The inverse of cosh, log(x + sqrt(x^2 - 1)); NaN below 1.
    """
def arcsin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1]."""
def arcsin_(input: Tensor) -> Tensor:
    """The in-place form.

    The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1].
    """
def arcsinh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of sinh, log(x + sqrt(x^2 + 1))."""
def arcsinh_(input: Tensor) -> Tensor:
    """The in-place form.

    The inverse of sinh, log(x + sqrt(x^2 + 1)).
    """
def arctan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The arc tangent of each element, in [-pi/2, pi/2] radians."""
def arctan2(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle of the point (other, input), in (-pi, pi]."""
def arctan2_(input: Tensor, other: Tensor) -> Tensor:
    """The in-place form.

    The angle of the point (other, input), in (-pi, pi].
    """
def arctan_(input: Tensor) -> Tensor:
    """The in-place form.

    The arc tangent of each element, in [-pi/2, pi/2] radians.
    """
def arctanh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1]."""
def arctanh_(input: Tensor) -> Tensor:
    """The in-place form.

    The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1].
    """
def argmax(input: Tensor, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """The place of the largest element."""
def argmin(input: Tensor, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """The place of the smallest element."""
def argsort(input: Tensor, dim: builtins.int = -1, descending: builtins.bool = False, stable: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """The places that sort a tensor along dim. Always stable."""
def argwhere(input: Tensor) -> Tensor:
    """The positions of the elements that are not zero."""
def as_strided(input: Tensor, size: _size | builtins.int, stride: _size | builtins.int, storage_offset: builtins.int | None = None) -> Tensor:
    """A view of the memory with sizes and strides of its own."""
def as_strided_(input: Tensor, size: _size | builtins.int, stride: _size | builtins.int, storage_offset: builtins.int | None = None) -> Tensor:
    """Sizes and strides of its own, over the same memory.

    A view of the memory with sizes and strides of its own.
    """
def as_tensor(data: Any, dtype: _dtype | None = None, device: _device_like | None = None) -> Tensor:
    """The data as a tensor, sharing memory with tensors and numpy arrays where possible."""
def asarray(obj: Any, *, dtype: _dtype | None = None, device: _device_like | None = None, copy: builtins.bool | None = None, requires_grad: builtins.bool = False) -> Tensor:
    """The data as a tensor: shared where possible, copied with copy=True, never copied with copy=False."""
def asin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1]."""
def asin_(input: Tensor) -> Tensor:
    """The in-place form.

    The arc sine of each element, in [-pi/2, pi/2] radians; NaN outside of [-1, 1].
    """
def asinh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of sinh, log(x + sqrt(x^2 + 1))."""
def asinh_(input: Tensor) -> Tensor:
    """The in-place form.

    The inverse of sinh, log(x + sqrt(x^2 + 1)).
    """
def atan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The arc tangent of each element, in [-pi/2, pi/2] radians."""
def atan2(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle of the point (other, input), in (-pi, pi]."""
def atan2_(input: Tensor, other: Tensor) -> Tensor:
    """The in-place form.

    The angle of the point (other, input), in (-pi, pi].
    """
def atan_(input: Tensor) -> Tensor:
    """The in-place form.

    The arc tangent of each element, in [-pi/2, pi/2] radians.
    """
def atanh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1]."""
def atanh_(input: Tensor) -> Tensor:
    """The in-place form.

    The inverse of tanh, log((1 + x) / (1 - x)) / 2; NaN outside of [-1, 1].
    """
@overload
def atleast_1d(tensors: Tensor) -> Any:
    """With at least one axis."""
@overload
def atleast_1d(tensors: Sequence[Tensor]) -> Any: ...
@overload
def atleast_1d(*tensors: Tensor) -> Any: ...
@overload
def atleast_2d(tensors: Tensor) -> Any:
    """With at least two axes."""
@overload
def atleast_2d(tensors: Sequence[Tensor]) -> Any: ...
@overload
def atleast_2d(*tensors: Tensor) -> Any: ...
@overload
def atleast_3d(tensors: Tensor) -> Any:
    """With at least three axes."""
@overload
def atleast_3d(tensors: Sequence[Tensor]) -> Any: ...
@overload
def atleast_3d(*tensors: Tensor) -> Any: ...
def autocast_decrement_nesting() -> builtins.int:
    """Leaves a region of autocast; returns how many are left."""
def autocast_increment_nesting() -> builtins.int:
    """Enters a region of autocast; returns how many there are."""
def avg_pool1d(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, ceil_mode: builtins.bool = False, count_include_pad: builtins.bool = True) -> Tensor:
    """The mean over sliding windows of the last 1 axes."""
def avg_pool2d(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, ceil_mode: builtins.bool = False, count_include_pad: builtins.bool = True, divisor_override: builtins.int | None = None) -> Tensor:
    """The mean over sliding windows of the last 2 axes."""
def avg_pool3d(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, ceil_mode: builtins.bool = False, count_include_pad: builtins.bool = True, divisor_override: builtins.int | None = None) -> Tensor:
    """The mean over sliding windows of the last 3 axes."""
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2)."""
@overload
def batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None, training: builtins.bool, momentum: builtins.float, eps: builtins.float, cudnn_enabled: builtins.bool) -> Tensor:
    """Each channel to mean 0 and variance 1 over the batch, then times weight plus bias."""
@overload
def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None, bias: Tensor | None = None, training: builtins.bool = False, momentum: builtins.float = 0.1, eps: builtins.float = 1e-05) -> Tensor: ...
@overload
def bernoulli(input: Tensor, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """1 with the probability that the element says, else 0.

    1 with probability p, else 0.
    """
@overload
def bernoulli(input: Tensor, p: builtins.float, *, generator: Generator | None = None) -> Tensor: ...
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[o] @ input2 + bias[o]."""
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """The cross entropy of probabilities of two classes."""
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean', pos_weight: Tensor | None = None) -> Tensor:
    """The cross entropy of two classes, from logits."""
def bincount(input: Tensor, weights: Tensor | None = None, minlength: builtins.int = 0) -> Tensor:
    """How often each value occurs, or the sum of its weights."""
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of count trials succeed with probability prob each."""
def bitwise_and(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input & other, bit by bit."""
def bitwise_and_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    input & other, bit by bit.
    """
def bitwise_left_shift(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input << other; 0 where other is not in [0, 64)."""
def bitwise_left_shift_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    input << other; 0 where other is not in [0, 64).
    """
def bitwise_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Every bit flipped; of bool, the opposite."""
def bitwise_or(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input | other, bit by bit."""
def bitwise_or_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    input | other, bit by bit.
    """
def bitwise_right_shift(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input >> other; the sign where other is not in [0, 64)."""
def bitwise_right_shift_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    input >> other; the sign where other is not in [0, 64).
    """
def bitwise_xor(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input ^ other, bit by bit."""
def bitwise_xor_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    input ^ other, bit by bit.
    """
@overload
def block_diag(tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of a larger one."""
@overload
def block_diag(tensors: Sequence[Tensor]) -> Tensor: ...
@overload
def block_diag(*tensors: Tensor) -> Tensor: ...
def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """(b x n x k) @ (b x k x m)."""
@overload
def broadcast_tensors(tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape."""
@overload
def broadcast_tensors(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]: ...
@overload
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]: ...
@overload
def broadcast_to(input: Tensor, size: _size | builtins.int) -> Tensor:
    """A view of a larger shape."""
@overload
def broadcast_to(input: Tensor, *size: builtins.int) -> Tensor: ...
def bucketize(input: Tensor | Number, boundaries: Tensor, *, out_int32: builtins.bool = False, right: builtins.bool = False, out: Tensor | None = None) -> Tensor:
    """The bucket of each value among sorted boundaries."""
def can_cast(from_: _dtype, to: _dtype) -> builtins.bool:
    """True if a result of dtype from_ may be written to dtype to: bool < integers < floating."""
@overload
def cartesian_prod(tensors: Tensor) -> Tensor:
    """All combinations of elements of the vectors, as rows."""
@overload
def cartesian_prod(tensors: Sequence[Tensor]) -> Tensor: ...
@overload
def cartesian_prod(*tensors: Tensor) -> Tensor: ...
def cat(tensors: Sequence[Tensor], dim: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors one behind the other along dim."""
def cdist(x1: Tensor, x2: Tensor, p: builtins.float = 2.0, compute_mode: builtins.str | None = None) -> Tensor:
    """The p-norm distance of each row of x1 to each row of x2."""
def ceil(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smallest integer not below each element."""
def ceil_(input: Tensor) -> Tensor:
    """The in-place form.

    The smallest integer not below each element.
    """
def celu(input: Tensor, alpha: builtins.float = 1.0, inplace: builtins.bool = False) -> Tensor:
    """input where positive, alpha * (exp(input / alpha) - 1) elsewhere."""
def celu_(input: Tensor, alpha: builtins.float = 1.0) -> Tensor:
    """The in-place form.

    input where positive, alpha * (exp(input / alpha) - 1) elsewhere.
    """
@overload
def chain_matmul(matrices: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """The product of matrices in the order that costs least."""
@overload
def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor: ...
@overload
def chain_matmul(matrix: Tensor) -> Tensor: ...
def channel_shuffle(input: Tensor, groups: builtins.int) -> Tensor:
    """Channels (g, C / g) in the order (C / g, g)."""
def chunk(input: Tensor, chunks: builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` equal parts along dim."""
def clamp(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None, *, out: Tensor | None = None) -> Tensor:
    """input limited to [min, max]."""
def clamp_(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
    """The in-place form.

    input limited to [min, max].
    """
def clamp_max(input: Tensor, max: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """min(input, max)."""
def clamp_max_(input: Tensor, max: Tensor | Number) -> Tensor:
    """The in-place form.

    min(input, max).
    """
def clamp_min(input: Tensor, min: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """max(input, min)."""
def clamp_min_(input: Tensor, min: Tensor | Number) -> Tensor:
    """The in-place form.

    max(input, min).
    """
def clear_autocast_cache() -> None:
    """Forgets the casts of leaves."""
def clip(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None, *, out: Tensor | None = None) -> Tensor:
    """input limited to [min, max]."""
def clip_(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
    """The in-place form.

    input limited to [min, max].
    """
def clone(input: Tensor, *, memory_format: _memory_format | None = None) -> Tensor:
    """A copy, with history."""
def col2im(input: Tensor, output_size: _size | builtins.int, kernel_size: _size | builtins.int, dilation: _size | builtins.int = 1, padding: _size | builtins.int = 0, stride: _size | builtins.int = 1) -> Tensor:
    """The adjoint of im2col: sums columns at the places of their windows; torch.nn.functional.fold."""
def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined side by side, vectors as columns."""
def combinations(input: Tensor, r: builtins.int = 2, with_replacement: builtins.bool = False) -> Tensor:
    """All combinations of r elements of a vector, as rows."""
def concat(tensors: Sequence[Tensor], dim: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
    """As cat()."""
def concatenate(tensors: Sequence[Tensor], dim: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
    """As cat()."""
def conj(input: Tensor) -> Tensor:
    """The input itself."""
@overload
def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, groups: builtins.int = 1) -> Tensor:
    """Convolution (cross-correlation) of (N, C, 1 axes) with (C_out, C / groups, kernel).

    padding: 'valid' (none) or 'same' (the output is as large as the input).
    """
@overload
def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: builtins.str = 'valid', dilation: _size | builtins.int = 1, groups: builtins.int = 1) -> Tensor: ...
@overload
def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, groups: builtins.int = 1) -> Tensor:
    """Convolution (cross-correlation) of (N, C, 2 axes) with (C_out, C / groups, kernel).

    padding: 'valid' (none) or 'same' (the output is as large as the input).
    """
@overload
def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: builtins.str = 'valid', dilation: _size | builtins.int = 1, groups: builtins.int = 1) -> Tensor: ...
@overload
def conv3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, groups: builtins.int = 1) -> Tensor:
    """Convolution (cross-correlation) of (N, C, 3 axes) with (C_out, C / groups, kernel).

    padding: 'valid' (none) or 'same' (the output is as large as the input).
    """
@overload
def conv3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: builtins.str = 'valid', dilation: _size | builtins.int = 1, groups: builtins.int = 1) -> Tensor: ...
def conv_transpose1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: _size | builtins.int = 0, output_padding: _size | builtins.int = 0, groups: builtins.int = 1, dilation: _size | builtins.int = 1) -> Tensor:
    """The gradient of convolution with respect to its input, as an operation."""
def conv_transpose2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: _size | builtins.int = 0, output_padding: _size | builtins.int = 0, groups: builtins.int = 1, dilation: _size | builtins.int = 1) -> Tensor:
    """The gradient of convolution with respect to its input, as an operation."""
def conv_transpose3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: _size | builtins.int = 1, padding: _size | builtins.int = 0, output_padding: _size | builtins.int = 0, groups: builtins.int = 1, dilation: _size | builtins.int = 1) -> Tensor:
    """The gradient of convolution with respect to its input, as an operation."""
def convolution(input: Tensor, weight: Tensor, bias: Tensor | None, stride: _size | builtins.int, padding: _size | builtins.int, dilation: _size | builtins.int, transposed: builtins.bool, output_padding: _size | builtins.int, groups: builtins.int) -> Tensor:
    """Convolution or transposed convolution of a batched input, by the rank of weight."""
def copysign(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """The magnitude of input with the sign of other."""
def copysign_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    The magnitude of input with the sign of other.
    """
def cos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The cosine of each element, in radians."""
def cos_(input: Tensor) -> Tensor:
    """The in-place form.

    The cosine of each element, in radians.
    """
def cosh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic cosine of each element, (exp(x) + exp(-x)) / 2."""
def cosh_(input: Tensor) -> Tensor:
    """The in-place form.

    The hyperbolic cosine of each element, (exp(x) + exp(-x)) / 2.
    """
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: builtins.float = 0, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1."""
def cosine_similarity(x1: Tensor, x2: Tensor, dim: builtins.int = 1, eps: builtins.float = 1e-08) -> Tensor:
    """The cosine of the angle between x1 and x2 along dim."""
@overload
def count_nonzero(input: Tensor, dim: _size | builtins.int | None = None) -> Tensor:
    """The number of elements that are not 0."""
@overload
def count_nonzero(input: Tensor, dim: _size | builtins.int) -> Tensor: ...
@overload
def count_nonzero(input: Tensor, *dim: builtins.int) -> Tensor: ...
def cross(input: Tensor, other: Tensor, dim: builtins.int | None = None, *, out: Tensor | None = None) -> Tensor:
    """The cross product along an axis of size 3, by default the first."""
def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: builtins.bool | None = None, ignore_index: builtins.int = -100, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean', label_smoothing: builtins.float = 0.0) -> Tensor:
    """The cross entropy of logits with class indices or class probabilities."""
def cummax(input: Tensor, dim: builtins.int, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Running maxima along dim and their places."""
def cummin(input: Tensor, dim: builtins.int, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Running minima along dim and their places."""
def cumprod(input: Tensor, dim: builtins.int, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
    """Running products along dim."""
def cumsum(input: Tensor, dim: builtins.int, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
    """Running sums along dim."""
def deg2rad(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Degrees to radians: input * pi / 180."""
def deg2rad_(input: Tensor) -> Tensor:
    """The in-place form.

    Degrees to radians: input * pi / 180.
    """
def detach(input: Tensor) -> Tensor:
    """The same values without history, sharing memory."""
def detach_(input: Tensor) -> Tensor:
    """Drops the history.

    The same values without history, sharing memory.
    """
def diag(input: Tensor, diagonal: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
    """A matrix with this diagonal, or the diagonal of a matrix."""
def diag_embed(input: Tensor, offset: builtins.int = 0, dim1: builtins.int = -2, dim2: builtins.int = -1) -> Tensor:
    """Matrices with the last axis on their diagonal."""
def diagflat(input: Tensor, offset: builtins.int = 0) -> Tensor:
    """A matrix with the flattened input on its diagonal."""
def diagonal(input: Tensor, offset: builtins.int = 0, dim1: builtins.int = 0, dim2: builtins.int = 1) -> Tensor:
    """The diagonal of two axes, as the last axis."""
def diff(input: Tensor, n: builtins.int = 1, dim: builtins.int = -1, prepend: Tensor | None = None, append: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
    """Differences of neighbours along dim, n times."""
def digamma(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The derivative of lgamma, Gamma'(x) / Gamma(x)."""
def digamma_(input: Tensor) -> Tensor:
    """The in-place form.

    The derivative of lgamma, Gamma'(x) / Gamma(x).
    """
def dist(input: Tensor, other: Tensor, p: Number = 2) -> Tensor:
    """The norm of input - other."""
def div(input: Tensor | Number, other: Tensor | Number, *, rounding_mode: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
    """input / other; rounding_mode 'floor' or 'trunc' rounds the quotient."""
def divide(input: Tensor | Number, other: Tensor | Number, *, rounding_mode: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
    """input / other; rounding_mode 'floor' or 'trunc' rounds the quotient."""
def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inner product of two vectors."""
@overload
def dropout(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = True, inplace: builtins.bool = False) -> Tensor:
    """Zeros each element with probability p and multiplies the others by 1 / (1 - p)."""
@overload
def dropout(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
@overload
def dropout_(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = True) -> Tensor:
    """Zeros each element with probability p and multiplies the others by 1 / (1 - p)."""
@overload
def dropout_(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
@overload
def dsplit(input: Tensor, sections: builtins.int) -> tuple[Tensor, ...]:
    """Split along the third axis."""
@overload
def dsplit(input: Tensor, indices: _size | builtins.int) -> tuple[Tensor, ...]: ...
@overload
def dsplit(input: Tensor, *indices: builtins.int) -> tuple[Tensor, ...]: ...
def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the third axis."""
@overload
def einsum(equation: builtins.str, operands: Sequence[Tensor]) -> Tensor:
    """Sums of products by Einstein's convention: "ij,jk->ik"."""
@overload
def einsum(equation: builtins.str, *operands: Tensor) -> Tensor: ...
@overload
def einsum(equation: builtins.str, operand: Tensor) -> Tensor: ...
def elu(input: Tensor, alpha: builtins.float = 1.0, inplace: builtins.bool = False) -> Tensor:
    """input where positive, alpha * (exp(input) - 1) elsewhere."""
def elu_(input: Tensor, alpha: builtins.float = 1.0) -> Tensor:
    """The in-place form.

    input where positive, alpha * (exp(input) - 1) elsewhere.
    """
def embedding(input: Tensor, weight: Tensor, padding_idx: builtins.int | None = None, max_norm: builtins.float | None = None, norm_type: builtins.float = 2.0, scale_grad_by_freq: builtins.bool = False, sparse: builtins.bool = False) -> Tensor:
    """The rows of weight that input names."""
@overload
def empty(size: _size | builtins.int, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """Uninitialised memory."""
@overload
def empty(*size: builtins.int, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor: ...
def empty_cache() -> None:
    """Gives free memory back to the system."""
def empty_like(input: Tensor, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """Uninitialised memory in the shape of input."""
def empty_strided(size: _size | builtins.int, stride: _size | builtins.int, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """Uninitialised memory with these sizes and strides."""
def eq(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input == other."""
def eq_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input == other.
    """
def equal(input: Tensor, other: Tensor) -> builtins.bool:
    """True if shapes and all elements are equal."""
def erf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
def erf_(input: Tensor) -> Tensor:
    """The in-place form.

    The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
    """
def erfc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 - erf(input), exact where erf is near 1."""
def erfc_(input: Tensor) -> Tensor:
    """The in-place form.

    1 - erf(input), exact where erf is near 1.
    """
def erfinv(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of erf on (-1, 1); infinite at the ends and NaN beyond."""
def erfinv_(input: Tensor) -> Tensor:
    """The in-place form.

    The inverse of erf on (-1, 1); infinite at the ends and NaN beyond.
    """
def exp(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """e to the power of each element."""
def exp2(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """2 to the power of each element."""
def exp2_(input: Tensor) -> Tensor:
    """The in-place form.

    2 to the power of each element.
    """
def exp_(input: Tensor) -> Tensor:
    """The in-place form.

    e to the power of each element.
    """
def expm1(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """exp(input) - 1, exact near 0."""
def expm1_(input: Tensor) -> Tensor:
    """The in-place form.

    exp(input) - 1, exact near 0.
    """
@overload
def eye(n: builtins.int, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """The identity matrix.

    n x m with ones on the diagonal.
    """
@overload
def eye(n: builtins.int, m: builtins.int, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor: ...
@overload
def feature_alpha_dropout(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = False, inplace: builtins.bool = False) -> Tensor:
    """alpha_dropout of whole channels."""
@overload
def feature_alpha_dropout(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
@overload
def feature_alpha_dropout_(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = False) -> Tensor:
    """alpha_dropout of whole channels."""
@overload
def feature_alpha_dropout_(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
@overload
def feature_dropout(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = True, inplace: builtins.bool = False) -> Tensor:
    """Dropout of whole channels."""
@overload
def feature_dropout(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
@overload
def feature_dropout_(input: Tensor, p: builtins.float = 0.5, training: builtins.bool = True) -> Tensor:
    """Dropout of whole channels."""
@overload
def feature_dropout_(input: Tensor, p: builtins.float, train: builtins.bool) -> Tensor: ...
def fill(input: Tensor, value: Tensor | Number) -> Tensor:
    """A copy of the tensor with every element overwritten."""
def fill_(input: Tensor, value: Tensor | Number) -> Tensor:
    """Overwrites every element.

    A copy of the tensor with every element overwritten.
    """
def fix(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Each element without its fraction."""
def fix_(input: Tensor) -> Tensor:
    """The in-place form.

    Each element without its fraction.
    """
def flatten(input: Tensor, start_dim: builtins.int = 0, end_dim: builtins.int = -1) -> Tensor:
    """Axes start_dim..end_dim merged into one."""
@overload
def flip(input: Tensor, dims: _size | builtins.int) -> Tensor:
    """Axes reversed."""
@overload
def flip(input: Tensor, *dims: builtins.int) -> Tensor: ...
def fliplr(input: Tensor) -> Tensor:
    """The second axis reversed."""
def flipud(input: Tensor) -> Tensor:
    """The first axis reversed."""
def float_power(input: Tensor | Number, exponent: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """pow in double precision."""
def floor(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The largest integer not above each element."""
def floor_(input: Tensor) -> Tensor:
    """The in-place form.

    The largest integer not above each element.
    """
def floor_divide(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input / other, rounded down."""
def fmax(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The larger of the two; a NaN gives way to a number."""
def fmin(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smaller of the two; a NaN gives way to a number."""
def fmod(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """C's fmod: the result has the sign of input."""
def fmod_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    C's fmod: the result has the sign of input.
    """
def frac(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The fraction of each element, with its sign."""
def frac_(input: Tensor) -> Tensor:
    """The in-place form.

    The fraction of each element, with its sign.
    """
def from_dlpack(ext_tensor: Any, *, device: _device_like | None = None, copy: builtins.bool | None = None) -> Tensor:
    """Shares the memory of another library's tensor."""
def from_numpy(ndarray: Any) -> Tensor:
    """A tensor that shares memory with the array."""
def frombuffer(buffer: Any, *, dtype: _dtype, count: builtins.int = -1, offset: builtins.int = 0, requires_grad: builtins.bool = False) -> Tensor:
    """A 1-d tensor that shares memory with a buffer."""
def full(size: _size | builtins.int, fill_value: Number, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """One value everywhere."""
def full_like(input: Tensor, fill_value: Number, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """One value everywhere, in the shape of input."""
def gather(input: Tensor, dim: builtins.int, index: Tensor, *, sparse_grad: builtins.bool = False, out: Tensor | None = None) -> Tensor:
    """Values along dim at the places that index names."""
def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor | Number, full: builtins.bool = False, eps: builtins.float = 1e-06, reduction: builtins.str = 'mean') -> Tensor:
    """The negative log-likelihood of a normal distribution."""
def ge(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input >= other."""
def ge_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input >= other.
    """
@overload
def gelu(input: Tensor, *, approximate: builtins.str = 'none') -> Tensor:
    """x * Phi(x), the Gaussian error linear unit."""
@overload
def gelu(input: Tensor, approximate: builtins.str) -> Tensor: ...
def ger(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The outer product of two vectors."""
def get_autocast_cpu_dtype() -> _dtype:
    """The lower precision of autocast on the CPU."""
def get_autocast_dtype(device_type: builtins.str) -> _dtype:
    """The lower precision of the device type."""
def get_autocast_gpu_dtype() -> _dtype:
    """The lower precision of autocast on CUDA."""
def get_default_device() -> _device:
    """Where new tensors are made: the CPU, or what set_default_device() chose."""
def get_default_dtype() -> _dtype:
    """The dtype of new floating tensors: float32, or what set_default_dtype() chose."""
def get_num_threads() -> builtins.int:
    """How many threads an operation may use."""
def get_rng_state() -> Tensor:
    """The state of the default generator, a uint8 tensor in PyTorch's layout."""
def greater(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input > other."""
def greater_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input > other.
    """
def greater_equal(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input >= other."""
def greater_equal_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input >= other.
    """
def grid_sampler(input: Tensor, grid: Tensor, interpolation_mode: builtins.int, padding_mode: builtins.int, align_corners: builtins.bool) -> Tensor:
    """The values of an image at the places of a grid; torch.nn.functional.grid_sample."""
def group_norm(input: Tensor, num_groups: builtins.int, weight: Tensor | None = None, bias: Tensor | None = None, eps: builtins.float = 1e-05, cudnn_enabled: builtins.bool = True) -> Tensor:
    """Each group of channels to mean 0 and variance 1, then times weight plus bias."""
@overload
def gru(input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool, batch_first: builtins.bool) -> Tensor:
    """Layers of gated recurrent units: nn.GRU."""
@overload
def gru(data: Tensor, batch_sizes: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool) -> Tensor: ...
def gru_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """One step of a GRU: nn.GRUCell."""
def gt(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input > other."""
def gt_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input > other.
    """
def hardshrink(input: Tensor, lambd: builtins.float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """0 where |input| <= lambd, input elsewhere."""
def hardsigmoid(input: Tensor, inplace: builtins.bool = False) -> Tensor:
    """min(max(input + 3, 0), 6) / 6."""
def hardsigmoid_(input: Tensor) -> Tensor:
    """The in-place form.

    min(max(input + 3, 0), 6) / 6.
    """
def hardswish(input: Tensor, inplace: builtins.bool = False) -> Tensor:
    """input * hardsigmoid(input)."""
def hardswish_(input: Tensor) -> Tensor:
    """The in-place form.

    input * hardsigmoid(input).
    """
def hardtanh(input: Tensor, min_val: builtins.float = -1.0, max_val: builtins.float = 1.0, inplace: builtins.bool = False) -> Tensor:
    """input limited to [min_val, max_val]."""
def hardtanh_(input: Tensor, min_val: builtins.float = -1.0, max_val: builtins.float = 1.0) -> Tensor:
    """The in-place form.

    input limited to [min_val, max_val].
    """
def heaviside(input: Tensor, values: Tensor, *, out: Tensor | None = None) -> Tensor:
    """0 below 0, 1 above, values at 0."""
def heaviside_(input: Tensor, values: Tensor) -> Tensor:
    """The in-place form.

    0 below 0, 1 above, values at 0.
    """
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: builtins.float = 1.0, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """input where target is 1, max(0, margin - input) where it is -1."""
def histc(input: Tensor, bins: builtins.int = 100, min: Number = 0, max: Number = 0, *, out: Tensor | None = None) -> Tensor:
    """How many elements lie in each of `bins` equal parts of [min, max]."""
@overload
def hsplit(input: Tensor, sections: builtins.int) -> tuple[Tensor, ...]:
    """Split along the second axis (of a vector, the first)."""
@overload
def hsplit(input: Tensor, indices: _size | builtins.int) -> tuple[Tensor, ...]: ...
@overload
def hsplit(input: Tensor, *indices: builtins.int) -> tuple[Tensor, ...]: ...
def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the second axis, vectors end to end."""
def huber_loss(input: Tensor, target: Tensor, reduction: builtins.str = 'mean', delta: builtins.float = 1.0, weight: Tensor | None = None) -> Tensor:
    """Quadratic up to delta, linear above."""
def hypot(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """sqrt(input^2 + other^2) without overflow."""
def hypot_(input: Tensor, other: Tensor) -> Tensor:
    """The in-place form.

    sqrt(input^2 + other^2) without overflow.
    """
def i0(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The modified Bessel function of the first kind, order 0."""
def i0_(input: Tensor) -> Tensor:
    """The in-place form.

    The modified Bessel function of the first kind, order 0.
    """
def im2col(input: Tensor, kernel_size: _size | builtins.int, dilation: _size | builtins.int = 1, padding: _size | builtins.int = 0, stride: _size | builtins.int = 1) -> Tensor:
    """Windows as columns: (N, C, H, W) to (N, C * kernel, windows); torch.nn.functional.unfold."""
def index_add(input: Tensor, dim: builtins.int, index: Tensor, source: Tensor, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """A copy of input with alpha * source added to the slices that index names."""
def index_copy(input: Tensor, dim: builtins.int, index: Tensor, source: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of input with source in place of the slices that index names."""
def index_fill(input: Tensor, dim: builtins.int, index: Tensor, value: Tensor | Number) -> Tensor:
    """A copy of input with value in the slices that index names."""
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: builtins.bool = False) -> Tensor:
    """A copy of input with values at input[indices]."""
def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: builtins.bool = False) -> Tensor:
    """index_put() into the tensor itself.

    A copy of input with values at input[indices].
    """
def index_select(input: Tensor, dim: builtins.int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices along dim that index names."""
def initial_seed() -> builtins.int:
    """The seed of the default generator."""
def inner(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sums products over the last axes."""
def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: builtins.bool = True, momentum: builtins.float = 0.1, eps: builtins.float = 1e-05) -> Tensor:
    """Each channel of each sample to mean 0 and variance 1, then times weight plus bias."""
def is_anomaly_check_nan_enabled() -> builtins.bool:
    """True if anomaly detection checks gradients for NaN."""
def is_anomaly_enabled() -> builtins.bool:
    """True if backward looks for the cause of errors."""
def is_autocast_cache_enabled() -> builtins.bool:
    """True if casts of leaves are kept within a region."""
def is_autocast_cpu_enabled() -> builtins.bool:
    """True if autocast is on for the CPU."""
def is_autocast_enabled(device_type: builtins.str | None = None) -> builtins.bool:
    """True if autocast is on for the device type ('cuda' by default)."""
def is_complex(input: Tensor) -> builtins.bool:
    """False: there are no complex dtypes."""
def is_floating_point(input: Tensor) -> builtins.bool:
    """True if the dtype is a floating one."""
def is_grad_enabled() -> builtins.bool:
    """True if operations are recorded for backward."""
def is_inference(input: Tensor) -> builtins.bool:
    """True if the tensor was made in inference mode."""
def is_inference_mode_enabled() -> builtins.bool:
    """True in inference mode."""
def is_nonzero(input: Tensor) -> builtins.bool:
    """True if the only element is not 0."""
def is_signed(input: Tensor) -> builtins.bool:
    """True if the dtype has negative numbers."""
def isclose(input: Tensor, other: Tensor, rtol: builtins.float = 1e-05, atol: builtins.float = 1e-08, equal_nan: builtins.bool = False) -> Tensor:
    """True where |input - other| <= atol + rtol * |other|."""
def isfinite(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where neither infinite nor NaN."""
def isin(elements: Tensor | Number, test_elements: Tensor | Number, *, assume_unique: builtins.bool = False, invert: builtins.bool = False, out: Tensor | None = None) -> Tensor:
    """True where an element is one of test_elements."""
def isinf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where infinite."""
def isnan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where NaN."""
def isneginf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where negative infinity."""
def isposinf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where positive infinity."""
def isreal(input: Tensor) -> Tensor:
    """True everywhere."""
def kl_div(input: Tensor, target: Tensor, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean', log_target: builtins.bool = False) -> Tensor:
    """The Kullback-Leibler divergence of log-probabilities from the target."""
def kron(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The Kronecker product."""
def kthvalue(input: Tensor, k: builtins.int, dim: builtins.int = -1, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """The k-th smallest value along dim, k from 1, and where it is."""
def l1_loss(input: Tensor, target: Tensor, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean', weight: Tensor | None = None) -> Tensor:
    """The mean of |input - target|."""
def layer_norm(input: Tensor, normalized_shape: _size | builtins.int, weight: Tensor | None = None, bias: Tensor | None = None, eps: builtins.float = 1e-05, cudnn_enable: builtins.bool = True) -> Tensor:
    """Each row of the last axes to mean 0 and variance 1, then times weight plus bias."""
def ldexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input * 2^other."""
def ldexp_(input: Tensor, other: Tensor) -> Tensor:
    """The in-place form.

    input * 2^other.
    """
def le(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input <= other."""
def le_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input <= other.
    """
def leaky_relu(input: Tensor, negative_slope: builtins.float = 0.01, inplace: builtins.bool = False) -> Tensor:
    """input where positive, negative_slope * input elsewhere."""
def leaky_relu_(input: Tensor, negative_slope: builtins.float = 0.01) -> Tensor:
    """The in-place form.

    input where positive, negative_slope * input elsewhere.
    """
def lerp(input: Tensor, end: Tensor, weight: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input + weight * (end - input)."""
def lerp_(input: Tensor, end: Tensor, weight: Tensor | Number) -> Tensor:
    """The in-place form.

    input + weight * (end - input).
    """
def less(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input < other."""
def less_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input < other.
    """
def less_equal(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input <= other."""
def less_equal_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input <= other.
    """
def lgamma(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log |Gamma(input)|; infinite at 0, -1, -2, .."""
def lgamma_(input: Tensor) -> Tensor:
    """The in-place form.

    log |Gamma(input)|; infinite at 0, -1, -2, ..
    """
def linalg_vector_norm(x: Tensor, ord: Number = 2, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None) -> Tensor:
    """The vector norm of order ord: along dim, or of all elements."""
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias."""
def linspace(start: Number, end: Number, steps: builtins.int, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """steps values from start to end, evenly spaced."""
def log(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The natural logarithm of each element; -infinity at 0, NaN below."""
def log10(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 10; -infinity at 0, NaN below."""
def log10_(input: Tensor) -> Tensor:
    """The in-place form.

    The logarithm to base 10; -infinity at 0, NaN below.
    """
def log1p(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(1 + input), exact near 0; -infinity at -1, NaN below."""
def log1p_(input: Tensor) -> Tensor:
    """The in-place form.

    log(1 + input), exact near 0; -infinity at -1, NaN below.
    """
def log2(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 2; -infinity at 0, NaN below."""
def log2_(input: Tensor) -> Tensor:
    """The in-place form.

    The logarithm to base 2; -infinity at 0, NaN below.
    """
def log_(input: Tensor) -> Tensor:
    """The in-place form.

    The natural logarithm of each element; -infinity at 0, NaN below.
    """
@overload
def log_softmax(input: Tensor, dim: builtins.int, dtype: _dtype | None = None, *, out: Tensor | None = None) -> Tensor:
    """log(softmax(input)) along dim."""
@overload
def log_softmax(input: Tensor, dim: builtins.int | None = None, _stacklevel: builtins.int = 3, dtype: _dtype | None = None) -> Tensor: ...
def logaddexp(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(exp(input) + exp(other)) without overflow."""
def logaddexp2(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log2(2^input + 2^other) without overflow."""
def logcumsumexp(input: Tensor, dim: builtins.int, *, out: Tensor | None = None) -> Tensor:
    """log(cumsum(exp(input))) along dim."""
def logical_and(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where both are not 0."""
def logical_and_(input: Tensor, other: Tensor) -> Tensor:
    """The in-place form.

    True where both are not 0.
    """
def logical_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where an element is 0."""
def logical_not_(input: Tensor) -> Tensor:
    """The in-place form.

    True where an element is 0.
    """
def logical_or(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where either is not 0."""
def logical_or_(input: Tensor, other: Tensor) -> Tensor:
    """The in-place form.

    True where either is not 0.
    """
def logical_xor(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where exactly one is not 0."""
def logical_xor_(input: Tensor, other: Tensor) -> Tensor:
    """The in-place form.

    True where exactly one is not 0.
    """
def logit(input: Tensor, eps: builtins.float | None = None, *, out: Tensor | None = None) -> Tensor:
    """log(input / (1 - input))."""
def logit_(input: Tensor, eps: builtins.float | None = None) -> Tensor:
    """The in-place form.

    log(input / (1 - input)).
    """
def logsigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(sigmoid(input))."""
def logspace(start: Number, end: Number, steps: builtins.int, base: builtins.float = 10.0, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """base to the powers linspace(start, end, steps)."""
def logsumexp(input: Tensor, dim: _size | builtins.int, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """log(sum(exp(input))) along dim."""
@overload
def lstm(input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool, batch_first: builtins.bool) -> Tensor:
    """Layers of an LSTM: nn.LSTM."""
@overload
def lstm(data: Tensor, batch_sizes: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool) -> Tensor: ...
def lstm_cell(input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """One step of an LSTM: nn.LSTMCell."""
def lt(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input < other."""
def lt_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input < other.
    """
def manual_seed(seed: Any) -> Generator:
    """Seeds the default generator; returns it."""
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: builtins.float = 0, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """max(0, -target * (input1 - input2) + margin)."""
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """A copy of input with value where mask is set."""
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy of input with source's elements, in order, where mask is set."""
def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements where mask is set, as a vector."""
def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of vectors, matrices or batches."""
@overload
def max(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The largest element.

    The larger of two elements.

    The largest elements along dim and their places.
    """
@overload
def max(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
@overload
def max(input: Tensor, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
def max_pool1d(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, ceil_mode: builtins.bool = False, return_indices: builtins.bool = False) -> Tensor:
    """The maximum over sliding windows of the last 1 axes."""
def max_pool1d_with_indices(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, ceil_mode: builtins.bool = False) -> tuple[Tensor, Tensor]:
    """max_pool1d and the flat position of each maximum in its plane."""
def max_pool2d(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, ceil_mode: builtins.bool = False, return_indices: builtins.bool = False) -> Tensor:
    """The maximum over sliding windows of the last 2 axes."""
def max_pool2d_with_indices(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, ceil_mode: builtins.bool = False) -> tuple[Tensor, Tensor]:
    """max_pool2d and the flat position of each maximum in its plane."""
def max_pool3d(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, ceil_mode: builtins.bool = False, return_indices: builtins.bool = False) -> Tensor:
    """The maximum over sliding windows of the last 3 axes."""
def max_pool3d_with_indices(input: Tensor, kernel_size: _size | builtins.int, stride: _size | builtins.int | None = None, padding: _size | builtins.int = 0, dilation: _size | builtins.int = 1, ceil_mode: builtins.bool = False) -> tuple[Tensor, Tensor]:
    """max_pool3d and the flat position of each maximum in its plane."""
def maximum(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The larger of the two; NaN if either is."""
@overload
def mean(input: Tensor, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
    """The mean of all elements.

    The mean along dim.
    """
@overload
def mean(input: Tensor, dim: _size | builtins.int | None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor: ...
@overload
def median(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The lower median of all elements.

    The lower medians along dim and their places.
    """
@overload
def median(input: Tensor, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
def memory_stats() -> dict[builtins.str, Any]:
    """Figures of the CPU's allocator, in bytes and numbers of blocks."""
@overload
def meshgrid(tensors: Tensor, *, indexing: builtins.str | None = None) -> tuple[Tensor, ...]:
    """Coordinate grids of vectors."""
@overload
def meshgrid(tensors: Sequence[Tensor], *, indexing: builtins.str | None = None) -> tuple[Tensor, ...]: ...
@overload
def meshgrid(*tensors: Tensor, indexing: builtins.str | None = None) -> tuple[Tensor, ...]: ...
@overload
def min(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smallest element.

    The smaller of two elements.

    The smallest elements along dim and their places.
    """
@overload
def min(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor: ...
@overload
def min(input: Tensor, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
def minimum(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smaller of the two; NaN if either is."""
def mish(input: Tensor, inplace: builtins.bool = False) -> Tensor:
    """input * tanh(log(1 + exp(input)))."""
def mish_(input: Tensor) -> Tensor:
    """The in-place form.

    input * tanh(log(1 + exp(input))).
    """
def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """(n x k) @ (k x m)."""
def mode(input: Tensor, dim: builtins.int = -1, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """The most frequent values and their places."""
def moveaxis(input: Tensor, source: _size | builtins.int, destination: _size | builtins.int) -> Tensor:
    """Axes moved to new places."""
def movedim(input: Tensor, source: _size | builtins.int, destination: _size | builtins.int) -> Tensor:
    """Axes moved to new places."""
def mse_loss(input: Tensor, target: Tensor, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean', weight: Tensor | None = None) -> Tensor:
    """The mean of (input - target)^2."""
def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Sorted along the first axis."""
def mul(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input * other."""
def mul_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    input * other.
    """
def multi_margin_loss(input: Tensor, target: Tensor, p: builtins.int = 1, margin: builtins.float = 1.0, weight: Tensor | None = None, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """The hinge loss of more than two classes."""
def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """The mean over classes of the cross entropy of two classes, from logits."""
def multinomial(input: Tensor, num_samples: builtins.int, replacement: builtins.bool = False, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """Indices drawn in proportion to the weights of each row."""
def multiply(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input * other."""
def multiply_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    input * other.
    """
def mv(input: Tensor, vec: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Matrix times vector."""
def nan_to_num(input: Tensor, nan: builtins.float | None = None, posinf: builtins.float | None = None, neginf: builtins.float | None = None, *, out: Tensor | None = None) -> Tensor:
    """Replaces NaN and infinities by finite numbers."""
def nan_to_num_(input: Tensor, nan: builtins.float | None = None, posinf: builtins.float | None = None, neginf: builtins.float | None = None) -> Tensor:
    """The in-place form.

    Replaces NaN and infinities by finite numbers.
    """
def nanmean(input: Tensor, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
    """The mean of the elements that are not NaN."""
@overload
def nanmedian(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The lower median of the elements that are not NaN.

    The lower medians of the elements that are not NaN and their places.
    """
@overload
def nanmedian(input: Tensor, dim: builtins.int, keepdim: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]: ...
def nanquantile(input: Tensor, q: Tensor | Number, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, interpolation: builtins.str = 'linear', out: Tensor | None = None) -> Tensor:
    """The q-th quantiles of the elements that are not NaN."""
def nansum(input: Tensor, dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
    """The sum of the elements that are not NaN."""
def narrow(input: Tensor, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor:
    """length entries of an axis from start on."""
def ne(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input != other."""
def ne_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input != other.
    """
def neg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The negative of each element."""
def neg_(input: Tensor) -> Tensor:
    """The in-place form.

    The negative of each element.
    """
def negative(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The negative of each element."""
def negative_(input: Tensor) -> Tensor:
    """The in-place form.

    The negative of each element.
    """
def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: builtins.bool | None = None, ignore_index: builtins.int = -100, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """The negative log-likelihood of the target classes."""
def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: builtins.bool = False) -> Any:
    """The positions of the elements that are not zero."""
def norm(input: Tensor, p: Any = 'fro', dim: _size | builtins.int | None = None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None) -> Tensor:
    """The vector norm of order p: along dim, or of all elements."""
@overload
def normal(mean: builtins.float, std: builtins.float, size: _size | builtins.int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor:
    """Normal numbers.

    Normal numbers, with a mean and a deviation for each element.
    """
@overload
def normal(mean: Tensor, std: Tensor, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor: ...
@overload
def normal(mean: Tensor, std: builtins.float = 1, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor: ...
@overload
def normal(mean: builtins.float, std: Tensor, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor: ...
def normalize(input: Tensor, p: builtins.float = 2.0, dim: builtins.int = 1, eps: builtins.float = 1e-12, out: Tensor | None = None) -> Tensor:
    """input / max(norm along dim, eps)."""
def not_equal(input: Tensor, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """True where input != other."""
def not_equal_(input: Tensor, other: Tensor | Number) -> Tensor:
    """The in-place form.

    True where input != other.
    """
def numel(input: Tensor) -> builtins.int:
    """The number of elements."""
def one_hot(tensor: Tensor, num_classes: builtins.int = -1) -> Tensor:
    """1 at the class along a new last axis, else 0."""
@overload
def ones(size: _size | builtins.int, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """All ones."""
@overload
def ones(*size: builtins.int, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor: ...
def ones_like(input: Tensor, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """All ones, in the shape of input."""
def outer(input: Tensor, vec2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The outer product of two vectors."""
def pad(input: Tensor, pad: _size | builtins.int, mode: builtins.str = 'constant', value: Number | None = None) -> Tensor:
    """A border around the last axes: constant, reflect, replicate or circular."""
def pairwise_distance(x1: Tensor, x2: Tensor, p: builtins.float = 2.0, eps: builtins.float = 1e-06, keepdim: builtins.bool = False) -> Tensor:
    """The norm of x1 - x2 + eps along the last axis."""
@overload
def permute(input: Tensor, dims: _size | builtins.int) -> Tensor:
    """Axes in another order."""
@overload
def permute(input: Tensor, *dims: builtins.int) -> Tensor: ...
def pixel_shuffle(input: Tensor, upscale_factor: builtins.int) -> Tensor:
    """(*, C r^2, H, W) to (*, C, H r, W r)."""
def pixel_unshuffle(input: Tensor, downscale_factor: builtins.int) -> Tensor:
    """(*, C, H r, W r) to (*, C r^2, H, W)."""
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts with the rates of input."""
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: builtins.bool = True, full: builtins.bool = False, size_average: builtins.bool | None = None, eps: builtins.float = 1e-08, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """The negative log-likelihood of a Poisson distribution."""
def positive(input: Tensor) -> Tensor:
    """The input itself; not of bool."""
def pow(input: Tensor | Number, exponent: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input to the power of exponent."""
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, weight * input elsewhere; one weight or one for each channel."""
@overload
def prod(input: Tensor, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor:
    """The product of all elements.

    The product along dim.
    """
@overload
def prod(input: Tensor, dim: builtins.int, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor: ...
def promote_types(type1: _dtype, type2: _dtype) -> _dtype:
    """The smallest dtype that holds both, as operations promote."""
def psi(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The derivative of lgamma, Gamma'(x) / Gamma(x)."""
def psi_(input: Tensor) -> Tensor:
    """The in-place form.

    The derivative of lgamma, Gamma'(x) / Gamma(x).
    """
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: builtins.bool = False) -> Tensor:
    """A copy of input with source written or added at places of the flattened input."""
def quantile(input: Tensor, q: Tensor | Number, dim: builtins.int | None = None, keepdim: builtins.bool = False, *, interpolation: builtins.str = 'linear', out: Tensor | None = None) -> Tensor:
    """The q-th quantiles."""
def rad2deg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Radians to degrees: input * 180 / pi."""
def rad2deg_(input: Tensor) -> Tensor:
    """The in-place form.

    Radians to degrees: input * 180 / pi.
    """
@overload
def rand(size: _size | builtins.int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor:
    """Uniform numbers in [0, 1)."""
@overload
def rand(*size: builtins.int, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor: ...
def rand_like(input: Tensor, *, generator: Generator | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """Uniform numbers in the shape of input."""
@overload
def randint(high: builtins.int, size: _size | builtins.int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor:
    """Integers from 0 to high - 1.

    Integers from low to high - 1.
    """
@overload
def randint(low: builtins.int, high: builtins.int, size: _size | builtins.int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor: ...
@overload
def randint_like(input: Tensor, high: builtins.int, *, generator: Generator | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """Integers from 0 to high - 1.

    Integers from low to high - 1.
    """
@overload
def randint_like(input: Tensor, low: builtins.int, high: builtins.int, *, generator: Generator | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor: ...
@overload
def randn(size: _size | builtins.int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor:
    """Normal numbers with mean 0 and standard deviation 1."""
@overload
def randn(*size: builtins.int, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor: ...
def randn_like(input: Tensor, *, generator: Generator | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """Normal numbers in the shape of input."""
def randperm(n: builtins.int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor:
    """A permutation of 0 .. n - 1."""
def range(start: Number, end: Number, step: Number = 1, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """As arange, end included."""
def ravel(input: Tensor) -> Tensor:
    """All axes merged into one."""
def real(input: Tensor) -> Tensor:
    """The input itself."""
def reciprocal(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / input."""
def reciprocal_(input: Tensor) -> Tensor:
    """The in-place form.

    1 / input.
    """
def relu(input: Tensor, inplace: builtins.bool = False) -> Tensor:
    """max(input, 0); the gradient at 0 is 0."""
def relu6(input: Tensor, inplace: builtins.bool = False) -> Tensor:
    """min(max(input, 0), 6)."""
def relu6_(input: Tensor) -> Tensor:
    """The in-place form.

    min(max(input, 0), 6).
    """
def relu_(input: Tensor) -> Tensor:
    """The in-place form.

    max(input, 0); the gradient at 0 is 0.
    """
def remainder(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """The remainder of division with the sign of other, as Python's %."""
@overload
def repeat_interleave(input: Tensor, repeats: Tensor, dim: builtins.int | None = None, *, output_size: builtins.int | None = None) -> Tensor:
    """Each element (slice along dim) repeated in place."""
@overload
def repeat_interleave(input: Tensor, repeats: builtins.int, dim: builtins.int | None = None, *, output_size: builtins.int | None = None) -> Tensor: ...
@overload
def repeat_interleave(repeats: Tensor, *, output_size: builtins.int | None = None) -> Tensor: ...
def reset_peak_memory_stats() -> None:
    """Sets the highest use so far, of the CPU's memory, to the present one."""
@overload
def reshape(input: Tensor, shape: _size | builtins.int) -> Tensor:
    """Another shape, copied only where memory demands it."""
@overload
def reshape(input: Tensor, *shape: builtins.int) -> Tensor: ...
def resize_axes(input: Tensor, size: _size | builtins.int, scales: Any, mode: builtins.str, align_corners: builtins.bool = False, antialias: builtins.bool = False) -> Tensor:
    """The last axes at another size; torch.nn.functional.interpolate."""
@overload
def result_type(tensor: Tensor, other: Tensor) -> _dtype:
    """The dtype that an operation on both has."""
@overload
def result_type(tensor: Tensor, other: Number) -> _dtype: ...
@overload
def result_type(scalar: Number, tensor: Tensor) -> _dtype: ...
@overload
def result_type(scalar1: Number, scalar2: Number) -> _dtype: ...
def rms_norm(input: Tensor, normalized_shape: _size | builtins.int, weight: Tensor | None = None, eps: builtins.float | None = None) -> Tensor:
    """Each row of the last axes divided by its root mean square, then times weight."""
@overload
def rnn_relu(input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool, batch_first: builtins.bool) -> Tensor:
    """Recurrent layers with relu: nn.RNN."""
@overload
def rnn_relu(data: Tensor, batch_sizes: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool) -> Tensor: ...
def rnn_relu_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """One step of a recurrent unit with relu: nn.RNNCell."""
@overload
def rnn_tanh(input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool, batch_first: builtins.bool) -> Tensor:
    """Recurrent layers with tanh: nn.RNN."""
@overload
def rnn_tanh(data: Tensor, batch_sizes: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: builtins.bool, num_layers: builtins.int, dropout: builtins.float, train: builtins.bool, bidirectional: builtins.bool) -> Tensor: ...
def rnn_tanh_cell(input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None) -> Tensor:
    """One step of a recurrent unit with tanh: nn.RNNCell."""
def roll(input: Tensor, shifts: _size | builtins.int, dims: _size | builtins.int = ...) -> Tensor:
    """Shifted along axes, what falls off comes back at the other end."""
def rot90(input: Tensor, k: builtins.int = 1, dims: _size | builtins.int = ...) -> Tensor:
    """Turned by k * 90 degrees."""
def round(input: Tensor, *, decimals: builtins.int = 0, out: Tensor | None = None) -> Tensor:
    """The nearest integer, halves to even."""
def round_(input: Tensor, *, decimals: builtins.int = 0) -> Tensor:
    """The in-place form.

    The nearest integer, halves to even.
    """
def row_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """As vstack()."""
def rsqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """1 / sqrt(input); infinity at 0, NaN below."""
def rsqrt_(input: Tensor) -> Tensor:
    """The in-place form.

    1 / sqrt(input); infinity at 0, NaN below.
    """
def rsub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """other - alpha * input."""
def scalar_tensor(s: Number, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """A number as a 0-d tensor."""
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: builtins.float = 0.0, is_causal: builtins.bool = False, *, scale: builtins.float | None = None, enable_gqa: builtins.bool = False) -> Tensor:
    """softmax(query @ key^T * scale + mask) @ value."""
@overload
def scatter(input: Tensor, dim: builtins.int, index: Tensor, src: Tensor, *, reduce: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
    """A copy of input with src written along dim to the places that index names."""
@overload
def scatter(input: Tensor, dim: builtins.int, index: Tensor, value: Number, *, reduce: builtins.str | None = None, out: Tensor | None = None) -> Tensor: ...
def scatter_add(input: Tensor, dim: builtins.int, index: Tensor, src: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A copy of input with src added along dim at the places that index names."""
def scatter_reduce(input: Tensor, dim: builtins.int, index: Tensor, src: Tensor, reduce: builtins.str, *, include_self: builtins.bool = True, out: Tensor | None = None) -> Tensor:
    """As scatter(), combining by sum, prod, mean, amax or amin."""
def searchsorted(sorted_sequence: Tensor, input: Tensor | Number, *, out_int32: builtins.bool = False, right: builtins.bool = False, side: builtins.str | None = None, sorter: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Where input's values belong in the sorted last axis."""
def seed() -> builtins.int:
    """Seeds the default generator from the system's entropy; returns the seed."""
def select(input: Tensor, dim: builtins.int, index: builtins.int) -> Tensor:
    """One entry of an axis, which disappears."""
def selu(input: Tensor, inplace: builtins.bool = False) -> Tensor:
    """scale * elu(input, alpha) with scale 1.0507009873554805 and alpha 1.6732632423543772."""
def selu_(input: Tensor) -> Tensor:
    """The in-place form.

    scale * elu(input, alpha) with scale 1.0507009873554805 and alpha 1.6732632423543772.
    """
def set_autocast_cache_enabled(enabled: builtins.bool) -> None:
    """Sets whether casts of leaves are kept within a region."""
def set_autocast_cpu_dtype(dtype: _dtype) -> None:
    """Sets the lower precision of autocast on the CPU."""
def set_autocast_cpu_enabled(enabled: builtins.bool) -> None:
    """Turns autocast on the CPU on or off."""
def set_autocast_dtype(device_type: builtins.str, dtype: _dtype) -> None:
    """Sets the lower precision of autocast for a device type."""
@overload
def set_autocast_enabled(device_type: builtins.str, enabled: builtins.bool) -> None:
    """Of CUDA."""
@overload
def set_autocast_enabled(enabled: builtins.bool) -> None: ...
def set_autocast_gpu_dtype(dtype: _dtype) -> Tensor:
    """Sets the lower precision of autocast on CUDA."""
def set_default_device(d: _device_like | None) -> None:
    """Sets where new tensors are made; None is the CPU."""
def set_default_dtype(d: _dtype) -> None:
    """Sets the dtype of new floating tensors."""
def set_num_threads(n: builtins.int) -> None:
    """Sets how many threads an operation may use."""
def set_rng_state(new_state: Tensor) -> None:
    """Sets the state of the default generator."""
def sgn(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-1, 0 or 1, as sign (complex numbers are not supported)."""
def sgn_(input: Tensor) -> Tensor:
    """The in-place form.

    -1, 0 or 1, as sign (complex numbers are not supported).
    """
def sigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logistic function 1 / (1 + exp(-input))."""
def sigmoid_(input: Tensor) -> Tensor:
    """The in-place form.

    The logistic function 1 / (1 + exp(-input)).
    """
def sign(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-1, 0 or 1: the sign of each element; 0 of NaN."""
def sign_(input: Tensor) -> Tensor:
    """The in-place form.

    -1, 0 or 1: the sign of each element; 0 of NaN.
    """
def signbit(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """True where the sign bit is set, -0 included."""
def silu(input: Tensor, inplace: builtins.bool = False) -> Tensor:
    """input * sigmoid(input)."""
def silu_(input: Tensor) -> Tensor:
    """The in-place form.

    input * sigmoid(input).
    """
def sin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The sine of each element, in radians."""
def sin_(input: Tensor) -> Tensor:
    """The in-place form.

    The sine of each element, in radians.
    """
def sinc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0."""
def sinc_(input: Tensor) -> Tensor:
    """The in-place form.

    sin(pi x) / (pi x), and 1 at 0.
    """
def sinh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic sine of each element, (exp(x) - exp(-x)) / 2."""
def sinh_(input: Tensor) -> Tensor:
    """The in-place form.

    The hyperbolic sine of each element, (exp(x) - exp(-x)) / 2.
    """
def smooth_l1_loss(input: Tensor, target: Tensor, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean', beta: builtins.float = 1.0) -> Tensor:
    """Quadratic below beta, linear above."""
def soft_margin_loss(input: Tensor, target: Tensor, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """log(1 + exp(-target * input))."""
@overload
def softmax(input: Tensor, dim: builtins.int, dtype: _dtype | None = None, *, out: Tensor | None = None) -> Tensor:
    """exp(input) / sum(exp(input)) along dim."""
@overload
def softmax(input: Tensor, dim: builtins.int | None = None, _stacklevel: builtins.int = 3, dtype: _dtype | None = None) -> Tensor: ...
def softmin(input: Tensor, dim: builtins.int | None = None, _stacklevel: builtins.int = 3, dtype: _dtype | None = None) -> Tensor:
    """softmax(-input)."""
def softplus(input: Tensor, beta: builtins.float = 1.0, threshold: builtins.float = 20.0) -> Tensor:
    """log(1 + exp(beta * input)) / beta; input itself where beta * input > threshold."""
def softshrink(input: Tensor, lambd: builtins.float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """input moved towards 0 by lambd: sign(input) * max(|input| - lambd, 0)."""
def softsign(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input / (1 + |input|)."""
def sort(input: Tensor, dim: builtins.int = -1, descending: builtins.bool = False, stable: builtins.bool = False, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Values in order along dim, and where they were. Always stable."""
@overload
def split(input: Tensor, split_size_or_sections: Any, dim: builtins.int = 0) -> tuple[Tensor, ...]:
    """Parts of the given sizes along dim."""
@overload
def split(input: Tensor, split_size: Any, dim: builtins.int = 0) -> tuple[Tensor, ...]: ...
def split_with_sizes(input: Tensor, split_sizes: Any, dim: builtins.int = 0) -> tuple[Tensor, ...]:
    """Parts of the given sizes along dim."""
def sqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The square root of each element; NaN below 0."""
def sqrt_(input: Tensor) -> Tensor:
    """The in-place form.

    The square root of each element; NaN below 0.
    """
def square(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The square of each element."""
def square_(input: Tensor) -> Tensor:
    """The in-place form.

    The square of each element.
    """
@overload
def squeeze(input: Tensor) -> Tensor:
    """Without axes of size 1."""
@overload
def squeeze(input: Tensor, dim: _size | builtins.int) -> Tensor: ...
@overload
def squeeze(input: Tensor, *dim: builtins.int) -> Tensor: ...
def stack(tensors: Sequence[Tensor], dim: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape along a new axis."""
@overload
def std(input: Tensor, dim: _size | builtins.int | None, unbiased: builtins.bool, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """The standard deviation along dim.

    The standard deviation of all elements.

    The standard deviation along dim, with the divisor n - correction (1).
    """
@overload
def std(input: Tensor, unbiased: builtins.bool, *, out: Tensor | None = None) -> Tensor: ...
@overload
def std(input: Tensor, dim: _size | builtins.int | None = None, *, correction: Number | None = None, keepdim: builtins.bool = False, out: Tensor | None = None) -> Tensor: ...
@overload
def std_mean(input: Tensor, dim: _size | builtins.int | None, unbiased: builtins.bool, keepdim: builtins.bool = False) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean."""
@overload
def std_mean(input: Tensor, unbiased: builtins.bool) -> tuple[Tensor, Tensor]: ...
@overload
def std_mean(input: Tensor, dim: _size | builtins.int | None = None, *, correction: Number | None = None, keepdim: builtins.bool = False) -> tuple[Tensor, Tensor]: ...
def sub(input: Tensor | Number, other: Tensor | Number, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """input - alpha * other, elementwise."""
def subtract(input: Tensor | Number, other: Tensor | Number, *, alpha: Number = 1, out: Tensor | None = None) -> Tensor:
    """input - alpha * other, elementwise."""
@overload
def sum(input: Tensor, *, dtype: _dtype | None = None) -> Tensor:
    """The sum of all elements.

    The sum along dim.
    """
@overload
def sum(input: Tensor, dim: _size | builtins.int | None, keepdim: builtins.bool = False, *, dtype: _dtype | None = None, out: Tensor | None = None) -> Tensor: ...
def swapaxes(input: Tensor, axis0: builtins.int, axis1: builtins.int) -> Tensor:
    """Two axes swapped."""
def swapdims(input: Tensor, dim0: builtins.int, dim1: builtins.int) -> Tensor:
    """Two axes swapped."""
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix."""
def take(input: Tensor, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Values of the flattened input at index."""
def take_along_dim(input: Tensor, indices: Tensor, dim: builtins.int | None = None, *, out: Tensor | None = None) -> Tensor:
    """Values along dim at indices, with broadcasting; without dim, of the flattened input."""
def tan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The tangent of each element, in radians."""
def tan_(input: Tensor) -> Tensor:
    """The in-place form.

    The tangent of each element, in radians.
    """
def tanh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic tangent of each element, (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
def tanh_(input: Tensor) -> Tensor:
    """The in-place form.

    The hyperbolic tangent of each element, (exp(x) - exp(-x)) / (exp(x) + exp(-x)).
    """
def tanhshrink(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """input - tanh(input)."""
def tensor(data: Any, *, dtype: _dtype | None = None, device: _device_like | None = None, requires_grad: builtins.bool = False, pin_memory: builtins.bool = False) -> Tensor:
    """A new tensor with a copy of the data: numbers, nested lists, arrays or tensors."""
@overload
def tensor_split(input: Tensor, tensor_indices_or_sections: Tensor, dim: builtins.int = 0) -> tuple[Tensor, ...]:
    """Split into nearly equal parts, or at indices."""
@overload
def tensor_split(input: Tensor, sections: builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]: ...
@overload
def tensor_split(input: Tensor, indices: _size | builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]: ...
def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: Tensor | None = None) -> Tensor:
    """Sums products over the last axes of a and the first of b, or over pairs of axes."""
def threshold(input: Tensor, threshold: Number, value: Number, inplace: builtins.bool = False) -> Tensor:
    """input where it is above threshold, else value."""
def threshold_(input: Tensor, threshold: Number, value: Number) -> Tensor:
    """The in-place form.

    input where it is above threshold, else value.
    """
@overload
def tile(input: Tensor, dims: _size | builtins.int) -> Tensor:
    """Copies of the tensor; missing axes count once."""
@overload
def tile(input: Tensor, *dims: builtins.int) -> Tensor: ...
def topk(input: Tensor, k: builtins.int, dim: builtins.int = -1, largest: builtins.bool = True, sorted: builtins.bool = True, *, out: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """The k largest or smallest values along dim, and where they are."""
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal."""
def transpose(input: Tensor, dim0: builtins.int, dim1: builtins.int) -> Tensor:
    """Two axes swapped."""
def tril(input: Tensor, diagonal: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
    """The part on and below a diagonal."""
def tril_indices(row: builtins.int, col: builtins.int, offset: builtins.int = 0, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """The places of a lower triangle, [2, n]."""
def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: builtins.float = 1.0, p: builtins.float = 2, eps: builtins.float = 1e-06, swap: builtins.bool = False, size_average: builtins.bool | None = None, reduce: builtins.bool | None = None, reduction: builtins.str = 'mean') -> Tensor:
    """max(0, |anchor - positive| - |anchor - negative| + margin)."""
def triu(input: Tensor, diagonal: builtins.int = 0, *, out: Tensor | None = None) -> Tensor:
    """The part on and above a diagonal."""
def triu_indices(row: builtins.int, col: builtins.int, offset: builtins.int = 0, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """The places of an upper triangle, [2, n]."""
def true_divide(input: Tensor | Number, other: Tensor | Number, *, rounding_mode: builtins.str | None = None, out: Tensor | None = None) -> Tensor:
    """input / other; rounding_mode 'floor' or 'trunc' rounds the quotient."""
def trunc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Each element without its fraction."""
def trunc_(input: Tensor) -> Tensor:
    """The in-place form.

    Each element without its fraction.
    """
def unbind(input: Tensor, dim: builtins.int = 0) -> tuple[Tensor, ...]:
    """All entries of an axis."""
def unflatten(input: Tensor, dim: builtins.int, sizes: _size | builtins.int) -> Tensor:
    """One axis split into several."""
def unique(input: Tensor, sorted: builtins.bool = True, return_inverse: builtins.bool = False, return_counts: builtins.bool = False, dim: builtins.int | None = None) -> Any:
    """The different elements, or slices along dim, in order."""
def unique_consecutive(input: Tensor, return_inverse: builtins.bool = False, return_counts: builtins.bool = False, dim: builtins.int | None = None) -> Any:
    """One element for each run of equal ones."""
def unsqueeze(input: Tensor, dim: builtins.int) -> Tensor:
    """With a new axis of size 1."""
@overload
def var(input: Tensor, dim: _size | builtins.int | None, unbiased: builtins.bool, keepdim: builtins.bool = False, *, out: Tensor | None = None) -> Tensor:
    """The variance along dim.

    The variance of all elements.

    The variance along dim, with the divisor n - correction (1).
    """
@overload
def var(input: Tensor, unbiased: builtins.bool, *, out: Tensor | None = None) -> Tensor: ...
@overload
def var(input: Tensor, dim: _size | builtins.int | None = None, *, correction: Number | None = None, keepdim: builtins.bool = False, out: Tensor | None = None) -> Tensor: ...
@overload
def var_mean(input: Tensor, dim: _size | builtins.int | None, unbiased: builtins.bool, keepdim: builtins.bool = False) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
@overload
def var_mean(input: Tensor, unbiased: builtins.bool) -> tuple[Tensor, Tensor]: ...
@overload
def var_mean(input: Tensor, dim: _size | builtins.int | None = None, *, correction: Number | None = None, keepdim: builtins.bool = False) -> tuple[Tensor, Tensor]: ...
@overload
def vsplit(input: Tensor, sections: builtins.int) -> tuple[Tensor, ...]:
    """Split along the first axis."""
@overload
def vsplit(input: Tensor, indices: _size | builtins.int) -> tuple[Tensor, ...]: ...
@overload
def vsplit(input: Tensor, *indices: builtins.int) -> tuple[Tensor, ...]: ...
def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the first axis, vectors as rows."""
@overload
def where(condition: Tensor, input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input where condition is true, else other.

    self where condition is true, else other.

    nonzero() of condition, as a tuple.
    """
@overload
def where(input: Tensor, condition: Tensor, other: Tensor | Number) -> Tensor: ...
@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
def xlogy(input: Tensor | Number, other: Tensor | Number, *, out: Tensor | None = None) -> Tensor:
    """input * log(other), 0 where input is 0."""
def zero_(input: Tensor) -> Tensor:
    """Overwrites every element with 0."""
@overload
def zeros(size: _size | builtins.int, *, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor:
    """All zeros."""
@overload
def zeros(*size: builtins.int, out: Tensor | None = None, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False) -> Tensor: ...
def zeros_like(input: Tensor, *, dtype: _dtype | None = None, layout: _layout | None = None, device: _device_like | None = None, pin_memory: builtins.bool = False, requires_grad: builtins.bool = False, memory_format: _memory_format | None = None) -> Tensor:
    """All zeros, in the shape of input."""

DisableTorchFunction: Any
DisableTorchFunctionSubclass: Any
DispatchKey: Any
DispatchKeySet: Any
_ExcludeDispatchKeyGuard: Any
_are_functorch_transforms_active: Any
_disabled_torch_dispatch_impl: Any
_get_tracing_state: Any
_log_api_usage_once: Any
_nn: Any
_optim: ModuleType
bfloat16: _dtype
bool: _dtype
channels_last: _memory_format
channels_last_3d: _memory_format
contiguous_format: _memory_format
default_generator: Generator
double: _dtype
float: _dtype
float16: _dtype
float32: _dtype
float64: _dtype
half: _dtype
int: _dtype
int16: _dtype
int32: _dtype
int64: _dtype
int8: _dtype
long: _dtype
preserve_format: _memory_format
short: _dtype
strided: _layout
uint8: _dtype
