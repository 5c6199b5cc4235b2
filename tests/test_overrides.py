# SPDX-License-Identifier: Apache-2.0
"""Subclasses of Tensor, __torch_function__ and modes: one script runs under PyTorch and under gradstep."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gradstep
import gradstep.nn.functional
import gradstep.overrides
from gradstep import _C

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.cpu_only


def plain(value: Any) -> Any:
    """A value without its library: numbers, lists and names of types."""
    if isinstance(value, (torch.Tensor, gradstep.Tensor)):
        with torch._C.DisableTorchFunction(), _C.DisableTorchFunction():
            return type(value).__name__, str(value.dtype), plain(value.detach().tolist())
    if isinstance(value, (torch.Size, gradstep.Size)):
        return "Size", *value
    if isinstance(value, (tuple, list)):
        return type(value).__name__, *(plain(v) for v in value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


def outcome(call: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(call())
        except Exception as e:
            return type(e).__name__, str(e).replace("gradstep.", "torch.")


def kit(t: Any) -> SimpleNamespace:
    """The classes of the tests, made of either library."""
    log: list[Any] = []

    class Logged(t.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            log.append((t.overrides.resolve_name(func), [k.__name__ for k in types], len(args)))
            return super().__torch_function__(func, types, args, kwargs or {})

    class Plain(t.Tensor):
        extra = 3

        def doubled(self) -> Any:
            return self * 2

    class Deeper(Plain):
        pass

    class Other(t.Tensor):
        pass

    class Unit(t.Tensor):
        """With metadata, as in PyTorch's notes on extending it."""

        @staticmethod
        def __new__(cls, data, unit="m", *args, **kwargs):  # type: ignore[no-untyped-def]
            return super().__new__(cls, data, *args, **kwargs)

        def __init__(self, data, unit="m"):  # type: ignore[no-untyped-def]
            self.unit = unit

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            units = [a.unit for a in args if isinstance(a, Unit)]
            if func in (t.add, t.Tensor.add) and len(set(units)) > 1:
                raise ValueError(f"units differ: {units}")
            out = super().__torch_function__(func, types, args, kwargs)
            if isinstance(out, Unit) and not hasattr(out, "unit"):
                out.unit = "*".join(units) if func in (t.mul, t.Tensor.mul) else units[0]
            return out

    handled: dict[Any, Any] = {}

    class Diagonal:
        """A duck type: N rows of one value on the diagonal."""

        def __init__(self, n: int, value: float) -> None:
            self.n, self.value = n, value

        def tensor(self) -> Any:
            return self.value * t.eye(self.n)

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func not in handled or not all(issubclass(k, (t.Tensor, Diagonal)) for k in types):
                return NotImplemented
            return handled[func](*args, **(kwargs or {}))

    def as_tensor(x: Any) -> Any:
        return x.tensor() if isinstance(x, Diagonal) else x

    handled[t.mean] = lambda x: float(x.value) / x.n
    handled[t.add] = lambda x, y: t.add(as_tensor(x), as_tensor(y))
    handled[t.Tensor.add] = handled[t.add]
    handled[t.Tensor.mul] = lambda x, y: t.mul(as_tensor(x), as_tensor(y))
    handled[t.stack] = lambda xs: t.stack([as_tensor(x) for x in xs])
    handled[t.nn.functional.relu] = lambda x, inplace=False: Diagonal(x.n, max(x.value, 0)).tensor()
    handled[t.nn.functional.softmin] = lambda x, *args, **kwargs: "softmin"
    handled[t.linalg.det] = lambda x: x.value**x.n

    class Refuses:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            return NotImplemented

        def __repr__(self) -> str:
            return "Refuses()"

    class Counts(t.overrides.TorchFunctionMode):
        def __init__(self, label: str = "") -> None:
            self.label = label

        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            log.append(self.label + str(t.overrides.resolve_name(func)))
            return func(*args, **(kwargs or {}))

        def __repr__(self) -> str:
            return "Counts()"

    return SimpleNamespace(**{k: v for k, v in locals().items()}, F=t.nn.functional)


def both(script: Any) -> None:
    """Compares what the script gives under both libraries."""
    ours, theirs = (script(kit(t)) for t in (gradstep, torch))
    assert ours == theirs


def run(k: Any, lines: str, **names: Any) -> list[Any]:
    """(line, its outcome, what was logged meanwhile) of each line."""
    out = []
    space = {**vars(k), **names, "np": np}
    for line in filter(None, map(str.strip, lines.splitlines())):
        k.log.clear()
        result = outcome(lambda: eval(line, space))  # noqa: B023
        out.append((line, result, list(k.log)))
    return out


OPERATORS = """
    x + 1
    1 + x
    x - 1
    1 - x
    y - x
    y + x
    x * 2
    2 * x
    x / 2
    2 / x
    x // 2
    2 // x
    x % 2
    2 % x
    x ** 2
    2 ** x
    x @ m
    m @ x
    -x
    +x
    abs(x)
    ~(x > 0)
    x == 1
    x != 1
    x < 1
    x >= y
    y < x
    x == None
    x.long() & 1
    x.long() | 1
    x.long() ^ 1
    1 & x.long()
    x.long() << 1
    1 << x.long()
    x[0]
    x[0, 1]
    x[x > 0]
    y[x[0].long()]
    x.__setitem__(0, 1)
    y.clone().__setitem__(0, x[0])
    len(x)
    list(x)
    1 in x
    bool(x[0, 0])
    float(x[0, 0])
    int(x[0, 0])
    [7, 8, 9][x[0, 0].long()]
    repr(x)
    str(x)
    format(x[0, 0])
    reversed(x)
    x.__iadd__(1)
    x.__isub__(1)
    x.__imul__(2)
    x.__ifloordiv__(1)
    x.__ipow__(1)
    x.long().__iand__(1)
"""
METHODS = """
    x.shape
    x.T
    x.grad
    x.requires_grad
    x.data
    x.dtype
    x.ndim
    x.is_leaf
    x.is_cuda
    x.itemsize
    x._version
    x.size()
    x.dim()
    x.stride()
    x.sum()
    x.mean(dim=0)
    x.add_(1)
    x.detach()
    x.clone()
    x.to(t.float64)
    x.type()
    x.tolist()
    x.unbind()
    x.view(3, 2)
    x.permute(1, 0)
    x.expand(2, 2, 3)
    x.new_zeros(2)
    x.numel()
    x.max(0)
    x.sort()
    t.sum(x)
    t.add(y, x)
    t.add(x, y, alpha=2)
    t.stack([x, y])
    t.cat((y, x))
    t.max(x, 0)
    t.where(x > 0, x, y)
    t.zeros_like(x)
    t.numel(x)
    t.allclose(x, x)
    t.tensor(x)
    t.as_tensor(x)
    t.is_tensor(x)
    t.einsum("ij->i", x)
    t.norm(x)
    t.split(x, 1)
    t.tensordot(x, m, dims=1)
    t.linalg.det(m2)
    t.special.i0e(x)
    F.relu(x)
    F.linear(x, y)
    F.softmin(x, -1)
    F.dropout(x, 0.0)
    F.mse_loss(x, y)
    F.interpolate(x[None, None], scale_factor=2)
    F.pad(x, (1, 1))
    t.nn.Linear(3, 2).requires_grad_(False)(x).isfinite()
    t.nn.ReLU()(x)
    t.nn.Flatten()(x)
    t.nn.MSELoss()(x, y)
    t.nn.init.zeros_(x)
    x.requires_grad_()
    (x * x).sum().backward()
    x.grad
    x.as_subclass(t.Tensor)
    x.detach().as_subclass(Other)
    t.nn.Parameter(x.detach())
"""


def tensors(k: Any, cls: Any) -> dict[str, Any]:
    x = k.t.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]).as_subclass(cls)
    square = k.t.tensor([[2.0, 1.0], [0.0, 3.0]]).as_subclass(cls)
    return {"x": x, "y": k.t.ones(2, 3), "m": k.t.ones(3, 2), "m2": square}


@pytest.mark.parametrize("lines", [OPERATORS, METHODS], ids=["operators", "methods"])
def test_a_logging_tensor_sees_the_same_calls(lines: str) -> None:
    def script(k: Any) -> Any:
        return run(k, lines.replace("m @ x", "m.T @ x.T"), **tensors(k, k.Logged))

    ours, theirs = (script(kit(t)) for t in (gradstep, torch))
    # PyTorch lists plain tensors among the types of the functions that it writes in Python.
    for mine, reference in zip(ours, theirs):
        logs = [[entry[::2] for entry in row[2]] for row in (mine, reference)]
        if "backward" in mine[0] or mine[0].startswith(
            ("F.", "t.nn.", "t.norm", "x.__iadd", "str")
        ):
            logs = [[name for name, _ in log] for log in logs]
        assert (*mine[:2], logs[0]) == (*reference[:2], logs[1])


@pytest.mark.parametrize("lines", [OPERATORS, METHODS], ids=["operators", "methods"])
def test_results_have_the_subclass(lines: str) -> None:
    both(lambda k: run(k, lines.replace("m @ x", "m.T @ x.T"), **tensors(k, k.Plain)))


def test_results_of_several_classes() -> None:
    def script(k: Any) -> Any:
        x, y, z = (k.t.ones(2).as_subclass(c) for c in (k.Plain, k.Deeper, k.Other))
        return run(
            k,
            """
            x + y
            y + x
            t.stack([x, y, x])
            x + z
            t.add(x, z)
            t.where(x > 0, y, x)
            x.doubled()
            y.doubled().extra
            isinstance(x + 1, Plain)
            isinstance(x, t.nn.Parameter)
            """,
            x=x,
            y=y,
            z=z,
        )

    both(script)


def test_gradients_are_plain_and_in_place_results_the_same_object() -> None:
    def script(k: Any) -> Any:
        x = k.t.ones(3).as_subclass(k.Plain).requires_grad_()
        y = (x * 2).sum()
        y.backward()
        w = k.t.ones(2).as_subclass(k.Plain)
        v = w
        v += 1
        view = w[:1]
        view.mul_(5)
        seen: list[str] = []
        z = x * 3
        z.register_hook(lambda g: seen.append(type(g).__name__))
        z.sum().backward()
        return [
            plain(x.grad),
            plain(y),
            v is w,
            w.add_(1) is w,
            plain(w),
            type(view).__name__,
            plain(k.t.autograd.grad((x * x).sum(), x)),
            x.is_leaf,
            y.is_leaf,
            w.data is w,
        ]

    both(script)


def test_metadata_travels() -> None:
    def script(k: Any) -> Any:
        x, y = k.Unit([1.0, 2.0], "m"), k.Unit([3.0, 4.0], "s")
        rows = run(k, "x * y\n(x * y).unit\n(x + x).unit\nx + y\nt.sum(x).unit\nx.unit", x=x, y=y)
        return rows, plain(copy.copy(x)), copy.copy(x).unit

    both(script)


def test_new_and_make_subclass() -> None:
    both(
        lambda k: run(
            k,
            """
            Plain([1, 2])
            Plain(t.ones(2))
            Plain(2, 3).shape
            Plain().shape
            t.Tensor.__new__(Plain, [1.0])
            t.Tensor._make_subclass(Plain, t.ones(2))
            t.Tensor._make_subclass(Plain, t.ones(2), True).requires_grad
            t.ones(2).as_subclass(Deeper)
            type(t.ones(2, requires_grad=True).as_subclass(Plain).grad_fn).__name__ != ""
            t.ones(2).as_subclass(int)
            """,
        )[:-1]
    )


def test_duck_types() -> None:
    def script(k: Any) -> Any:
        return run(
            k,
            """
            F.relu(d)
            F.softmin(d, 0)
            t.linalg.det(d)
            t.mean(d)
            t.add(d, 1)
            t.add(y, d)
            y + d
            y * d
            t.stack([y, d])
            t.sum(d)
            t.add(d, r)
            t.sum(r)
            y + r
            y == r
            t.overrides.is_tensor_like(d)
            t.overrides.has_torch_function((d,))
            t.overrides.has_torch_function_unary(y)
            t.overrides.has_torch_function_variadic(y, d)
            """,
            d=k.Diagonal(2, 3.0),
            y=k.t.ones(2, 2),
            r=k.Refuses(),
        )

    def comparable(rows: Any) -> Any:
        text = repr(rows)
        return text.replace("test_overrides.kit", "kit")

    assert comparable(script(kit(gradstep))) == comparable(script(kit(torch)))


def test_a_duck_type_before_anything_armed() -> None:
    """The first call in a process, of a function written in Python."""
    program = """
import gradstep as torch, gradstep.nn.functional as F
class D:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func is F.softmin, len(args)
assert F.softmin(D(), 0) == (True, 2)
assert torch.linalg.det(D()) == (False, 1)
assert torch.polygamma(1, D()) == (False, 2)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_pytorch_in_the_same_process_arms_nothing() -> None:
    """Its classes have the attribute; the look at class statements ends when something is armed."""
    code = (
        "import builtins, gradstep; looks = builtins.__build_class__\n"
        "import torch, torch.fx, torch.nn.utils.parametrize\n"
        "class Theirs(torch.Tensor):\n"
        "    @classmethod\n"
        "    def __torch_function__(cls, *args): return NotImplemented\n"
        "assert builtins.__build_class__ is looks\n"
        "class Duck:\n"
        "    def __torch_function__(self): pass\n"
        "assert builtins.__build_class__ is not looks\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_order_of_dispatch() -> None:
    def script(k: Any) -> Any:
        asked: list[str] = []

        def make(name: str, base: Any) -> Any:
            def override(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
                asked.append(name)
                return NotImplemented if name != "C" else [c.__name__ for c in types]

            return type(name, (base,), {"__torch_function__": classmethod(override)})

        A = make("A", object)
        B = make("B", A)
        C = make("C", object)
        return k.t.stack((A(), C(), B(), A())), asked  # type: ignore[arg-type]

    both(script)


MODE = """
    t.zeros(2)
    t.tensor([1.0])
    t.arange(3)
    y + 1
    y[0]
    y.shape
    F.relu(y)
    F.linear(y, y)
    t.nn.ReLU()(y)
    t.nn.Sigmoid()(y)
    t.cat([y, y])
    t.is_tensor(y)
    t.get_default_dtype()
    t.manual_seed(3).initial_seed()
    t.nn.functional.cross_entropy(y, t.tensor([0, 1]))
    t.linalg.det(t.eye(2))
    x + y
"""


def test_a_mode_counts_calls() -> None:
    def script(k: Any) -> Any:
        names = {"y": k.t.ones(2, 3), "x": k.t.ones(2, 3).as_subclass(k.Plain)}
        with k.Counts():
            rows = run(k, MODE, **names)
        after = len(k.log)
        names["y"] + 1
        assert len(k.log) == after
        kept = [
            (row, [n for n in names if "grad_enabled" not in n and n != "None"])
            for *row, names in rows
        ]
        with k.Counts("outer "), k.Counts("inner "):
            return kept, run(k, "y + 1\nt.add(x, y)", **names)

    both(script)


def test_disabling() -> None:
    def script(k: Any) -> Any:
        x, y = k.t.ones(2).as_subclass(k.Plain), k.t.ones(2)
        c = k.t._C
        with c.DisableTorchFunctionSubclass():
            inner = type(x + 1).__name__, c._is_torch_function_enabled()
            with k.Counts():
                y + 1
        seen = list(k.log)
        with k.Counts(), c.DisableTorchFunction():
            y + 1
            inner += (type(x * 1).__name__,)
        return inner, seen, list(k.log), type(x + 1).__name__

    both(script)


def test_a_mode_that_refuses() -> None:
    def script(k: Any) -> Any:
        class No(k.Counts):
            def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
                return NotImplemented

        names = {"y": k.t.ones(1), "r": k.Refuses()}
        with No():
            return run(k, "t.add(y, 1)\nt.add(r, 1)", **names)

    texts = [repr(script(kit(t))).replace("test_overrides.kit", "kit") for t in (gradstep, torch)]
    assert texts[0] == texts[1]


def test_parameters_stay_what_they_are() -> None:
    def script(k: Any) -> Any:
        nn = k.t.nn
        p = nn.Parameter(k.t.ones(2))
        custom = nn.Parameter(k.t.ones(2).as_subclass(k.Plain))
        module = nn.Module()
        module.weight = custom
        lazy = nn.UninitializedParameter()
        return [
            type(p * 2).__name__,
            type(p.data).__name__,
            type(custom).__name__,
            isinstance(custom, nn.Parameter),
            custom.requires_grad,
            [n for n, _ in module.named_parameters()],
            type(module.weight).__name__,
            isinstance(lazy, nn.Parameter),
            type(lazy).__name__,
            isinstance(k.t.ones(1), nn.Parameter),
            k.t.overrides.has_torch_function((p,)),
            isinstance(nn.Buffer(k.t.ones(1)), nn.Parameter),
        ]

    both(script)


class Pickled(gradstep.Tensor):
    """At module level, where pickle finds it."""


def test_copies_and_pickles_keep_class_and_attributes(tmp_path: Any) -> None:
    x = gradstep.ones(2, 3).as_subclass(Pickled)
    x.note = "kept"
    gradstep.save(x, tmp_path / "x.pt")
    loaded = gradstep.load(tmp_path / "x.pt", weights_only=False)
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), loaded):
        assert type(y) is Pickled and y.note == "kept" and y.tolist() == x.tolist()
        assert y is not x


def test_functions_keep_identity_and_signature() -> None:
    import inspect

    assert gradstep.add is not gradstep.Tensor.add
    for f in (gradstep.add, gradstep.Tensor.add, gradstep.nn.functional.relu, gradstep.linalg.det):
        assert pickle.loads(pickle.dumps(f)) is f
    before = gradstep.nn.functional.softmin
    with kit(gradstep).Counts():
        pass
    assert gradstep.nn.functional.softmin is before
    assert list(inspect.signature(before).parameters) == ["input", "dim", "_stacklevel", "dtype"]
    assert before(gradstep.zeros(2), dim=0).tolist() == [0.5, 0.5]


def test_names_of_overridable_functions() -> None:
    o, reference = gradstep.overrides, torch.overrides
    for name in "add Tensor.add Tensor.__getitem__ nn.functional.relu nn.functional.conv2d linalg.det".split():
        ours, theirs = gradstep, torch
        for part in name.split("."):
            ours, theirs = getattr(ours, part), getattr(theirs, part)
        assert o.resolve_name(ours) == reference.resolve_name(theirs)
        assert o.is_tensor_method_or_property(ours) == reference.is_tensor_method_or_property(
            theirs
        )
    assert o.resolve_name(gradstep.Tensor.shape.__get__) == "torch.Tensor.shape.__get__"
    assert gradstep.Tensor.as_subclass in o.get_ignored_functions()
    assert gradstep.Tensor.grad.__get__ in o.get_default_nowrap_functions()
    assert gradstep.add in o.get_overridable_functions()[gradstep]
    stand_ins = o.get_testing_overrides()
    assert stand_ins[gradstep.add](1, 2) == -1 and len(stand_ins) > 500


def test_wrapped_functions_of_the_user() -> None:
    def script(k: Any) -> Any:
        @k.t.overrides.wrap_torch_function(lambda a, b=None: (a, b))
        def mine(a, b=None):  # type: ignore[no-untyped-def]
            return "plain"

        class Takes:
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
                return func is mine, len(args), list(kwargs)

        return (
            mine(1),
            mine(Takes()),
            mine(k.t.ones(1), b=Takes()),
            outcome(lambda: mine(k.Refuses()))[0],
        )

    both(script)


def test_a_plain_method_warns_as_in_pytorch() -> None:
    class Old:
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            return "old"

    with pytest.warns(UserWarning, match="plain method is deprecated"):
        assert gradstep.add(Old(), 1) == "old"


def test_what_is_not_there_says_so() -> None:
    from gradstep.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass

    class Mode(TorchDispatchMode):
        pass

    class Below(gradstep.Tensor):
        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            return func(*args)

    with pytest.raises(NotImplementedError, match="__torch_dispatch__"):
        Mode()
    with pytest.raises(NotImplementedError, match="__torch_dispatch__"):
        gradstep.ones(2).as_subclass(Below)
    with pytest.raises(NotImplementedError, match="__torch_dispatch__"):
        gradstep.Tensor._make_wrapper_subclass(Below, (2,))
    assert not is_traceable_wrapper_subclass(gradstep.ones(1))


def test_pytorchs_tensors_are_no_overrides() -> None:
    with pytest.raises(TypeError):
        gradstep.add(gradstep.ones(2), torch.ones(2))


def test_capture_refuses_subclasses_and_modes() -> None:
    k = kit(gradstep)

    def step(x: Any) -> Any:
        return (x * 2 + 1).relu(), x.sum()

    captured = gradstep.capture(step)
    y = gradstep.ones(4)
    for _ in range(3):
        assert plain(captured(y)) == plain(step(y))
    for _ in range(2):
        with pytest.raises(gradstep.CaptureError, match="__torch_function__"):
            captured(y.as_subclass(k.Plain))
        with pytest.raises(gradstep.CaptureError, match="a mode is on"), k.Counts():
            captured(y)
        assert plain(captured(y)) == plain(step(y))
    compiled = gradstep.compile(step, options={"fallback": True})
    x = y.as_subclass(k.Plain)
    with pytest.warns(UserWarning, match="runs eagerly"):
        assert plain(compiled(x)) == plain(step(x))
    assert plain(compiled(y)) == plain(step(y))


def test_names_that_libraries_look_for() -> None:
    """torchvision, torch_geometric and Lightning."""
    import gradstep._tensor_str
    from gradstep._missing import Missing

    def draws(t: Any) -> Any:
        t.manual_seed(0)
        return plain(t._sample_dirichlet(t.tensor([[0.5, 1.0, 4.0], [2.0, 2.0, 1e-3]])))

    assert draws(gradstep) == draws(torch)
    for t in (gradstep, torch):
        assert not hasattr(t.ops.aten, "no_such_operator")
    assert type(gradstep.ops.aten._to_copy.default) is Missing
    assert isinstance(gradstep.Tensor, _C._TensorMeta)
    for args in (("cpu", gradstep.float64), (gradstep.float32,), (gradstep.ones(1),)):
        theirs = [getattr(torch, str(a)[6:]) if isinstance(a, gradstep.dtype) else a for a in args]
        theirs = [torch.ones(1) if isinstance(a, gradstep.Tensor) else a for a in theirs]
        assert str(_C._nn._parse_to(*args)) == str(torch._C._nn._parse_to(*theirs))
    assert _C._nn.linear is gradstep.nn.functional.linear
    x = [[1.0, 2.5], [3.0, 4.0]]
    ours = gradstep._tensor_str._tensor_str(gradstep.tensor(x), 0)
    assert ours == torch._tensor_str._tensor_str(torch.tensor(x), 0)
    assert gradstep._tensor_str.PRINT_OPTS.threshold == torch._tensor_str.PRINT_OPTS.threshold
    assert gradstep.backends.cpu.get_cpu_capability() == "DEFAULT"


def test_odd_objects_are_refused_in_words() -> None:
    """A name that is no UTF-8, a list that holds itself: an error, never the end of the process."""

    class Odd:
        __module__ = "\ud800"

        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return NotImplemented

    Odd.__qualname__ = "\ud800"
    with pytest.raises((TypeError, UnicodeEncodeError)):
        gradstep.add(gradstep.ones(1), Odd())

    class Mine(gradstep.Tensor):
        pass

    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        Mine.__torch_function__(lambda: endless, (Mine,))
