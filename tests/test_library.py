# SPDX-License-Identifier: Apache-2.0
"""torch.library, torch.ops, and the helpers of library code, beside PyTorch."""

import typing

import numpy as np
import pytest
import torch

import gradstep

pytestmark = pytest.mark.cpu_only
BOTH = pytest.mark.parametrize("t", [gradstep, torch], ids=["gradstep", "torch"])


def scale_op(t, name):
    def scale(x, by=2.0):
        return x * by

    scale.__annotations__ = {"x": t.Tensor, "by": float, "return": t.Tensor}
    return t.library.custom_op(f"gradstep_tests::{name}", scale, mutates_args=())


@BOTH
def test_a_custom_op_with_a_derivative(t):
    op = scale_op(t, "scale")
    x = t.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        op(x).sum().backward()
    seen = []

    def setup(ctx, inputs, output):
        seen.append((len(inputs), inputs[1], ctx.needs_input_grad))
        ctx.by = inputs[1]

    op.register_autograd(lambda ctx, g: (g * ctx.by * 10, None), setup_context=setup)
    y = t.ops.gradstep_tests.scale(x)
    y.sum().backward()
    assert x.grad.tolist() == [20.0, 20.0] and seen == [(2, 2.0, (True, False))]
    assert y.grad_fn.name() == "GeneratedBackwardFor_gradstep_tests_scale_defaultBackward"
    op(x.detach(), by=3.0)
    with pytest.raises(RuntimeError, match="Declaration: gradstep_tests::scale"):
        op(x, 1.0, 2.0)
    with pytest.raises(
        AttributeError, match="'_OpNamespace' 'gradstep_tests' object has no attribute 'none'"
    ):
        t.ops.gradstep_tests.none  # noqa: B018


@BOTH
def test_gradients_of_lists(t):
    def join(xs, k):
        return xs[0] * xs[1] * k

    join.__annotations__ = {"xs": list[t.Tensor], "k": int, "return": t.Tensor}
    op = t.library.custom_op("gradstep_tests::join", join, mutates_args=())
    op.register_autograd(
        lambda ctx, g: ([g * ctx.xs[1] * ctx.k, g * ctx.xs[0] * ctx.k], None),
        setup_context=lambda ctx, inputs, output: ctx.__dict__.update(xs=inputs[0], k=inputs[1]),
    )
    a, b = (t.tensor([v], requires_grad=True) for v in (2.0, 3.0))
    op([a, b], 5).backward()
    assert (a.grad.item(), b.grad.item()) == (15.0, 10.0)


@BOTH
def test_an_op_that_writes_or_returns_its_argument(t):
    def write(x, *, k=2.0):
        x.mul_(k)

    write.__annotations__ = {"x": t.Tensor, "k": float, "return": None}
    op = t.library.custom_op("gradstep_tests::write", write, mutates_args={"x"})
    x = t.ones(2)
    assert op(x, k=3.0) is None and x.tolist() == [3.0, 3.0]

    def same(x):
        return x

    same.__annotations__ = {"x": t.Tensor, "return": t.Tensor}
    with pytest.raises(RuntimeError, match="must not also be an input"):
        t.library.custom_op("gradstep_tests::same", same, mutates_args=())(x)


@BOTH
def test_a_library(t):
    lib = t.library.Library("gradstep_tests_lib", "DEF")
    assert lib.define("f(Tensor x, Tensor? w=None, *, float[] a=[1.0, 2.0]) -> Tensor") == "f"
    f = t.ops.gradstep_tests_lib.f
    with pytest.raises(NotImplementedError, match="gradstep_tests_lib::f"):
        f(t.ones(1))
    lib.impl("f", lambda x, w=None, *, a=(1.0, 2.0): x * a[1], "CPU")
    assert f(t.ones(1)).item() == 2.0 and f.default(t.ones(1), a=[0.0, 4.0]).item() == 4.0
    with pytest.raises(RuntimeError, match="same name"):
        lib.define("f(Tensor x) -> Tensor")
    assert t.ops.aten.add.Tensor(t.ones(1), 1).item() == 2.0
    assert str(t.ops.aten.mm.default) == "aten.mm.default"


@BOTH
def test_schemas(t):
    def f(x, y=1.0, n=None, s=None, *, d=None, z=2):
        pass

    f.__annotations__ = {
        "x": t.Tensor,
        "y": float,
        "n": typing.Optional[int],  # noqa: UP045
        "s": typing.Optional[typing.Sequence[int]],  # noqa: UP045
        "d": typing.Optional[t.Tensor],  # noqa: UP045
        "z": typing.Union[int, float, bool],  # noqa: UP007
        "return": tuple[t.Tensor, int],
    }
    assert t.library.infer_schema(f, mutates_args={"x"}) == (
        "(Tensor(a0!) x, float y=1.0, SymInt? n=None, SymInt[]? s=None, *, Tensor? d=None, Scalar z=2) -> (Tensor, SymInt)"
    )
    del f.__annotations__["y"]
    with pytest.raises(ValueError, match="Parameter y must have a type annotation"):
        t.library.infer_schema(f, mutates_args=())


@BOTH
def test_conditions_and_numbers(t):
    for check, error in (
        (t._check, RuntimeError),
        (t._check_index, IndexError),
        (t._check_value, ValueError),
        (t._check_type, TypeError),
        (t._check_not_implemented, NotImplementedError),
    ):
        check(True)
        with pytest.raises(error, match="what"):
            check(False, lambda: "what")
        with pytest.raises(TypeError, match="cond must be a bool"):
            check(t.tensor(True))
    with pytest.raises(RuntimeError):
        t._check_tensor_all(t.tensor([True, False]))
    with pytest.raises(AssertionError, match="no"):
        t._assert(False, "no")
    assert (t.sym_max(1, 2.5), t.sym_min(3, 1.0), t.sym_int(2.7), t.sym_not(True)) == (
        2.5,
        1.0,
        2,
        False,
    )
    assert repr(t.sym_max(3, 2.5)) == "3.0" and not isinstance(3, t.SymInt)
    assert t._shape_as_tensor(t.ones(2, 3)).tolist() == [2, 3]
    assert t.get_device_module("cpu") is t.cpu
    assert t.jit.is_tracing() is False and not t.onnx.is_in_onnx_export()
    assert t._C._get_tracing_state() is None


def test_control_flow_as_functions():
    t = gradstep
    assert t.fx.wrap("len") == "len" and t.fx.wrap(len) is len
    assert t.while_loop(lambda i: i < 3, lambda i: (i + 1,), (t.zeros(()),))[0].item() == 3
    x = t.ones(1, requires_grad=True)
    t.cond(x.sum() > 0, lambda a: a * 2, lambda a: a * 3, (x,)).backward()
    assert x.grad.item() == 2.0
    with pytest.raises(RuntimeError, match="Expected pred to be bool or tensor"):
        t.cond(1, abs, abs, (x,))


@BOTH
def test_arrays_of_numpys_subclasses(t, tmp_path):
    np.arange(6, dtype=np.float32).tofile(tmp_path / "a")
    mapped = np.memmap(tmp_path / "a", dtype=np.float32, mode="r+")
    shared = t.from_numpy(mapped)
    shared[0] = 7
    assert (
        mapped[0] == 7
        and t.as_tensor(mapped).shape == (6,)
        and t.tensor(mapped[1:3]).tolist() == [1, 2]
    )
    with pytest.raises(TypeError, match=r"expected np.ndarray \(got list\)"):
        t.from_numpy([1])
