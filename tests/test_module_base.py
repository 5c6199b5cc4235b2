# SPDX-License-Identifier: Apache-2.0
"""What nn.Module does natively, calls and attributes, has torch's semantics in every corner."""

import abc
import copy
import gc
import pickle
import weakref
from typing import Generic, TypeVar

import pytest
import torch

import gradstep as gs

pytestmark = pytest.mark.cpu_only  # attributes and calls

LIBRARIES = [gs, torch]
every = pytest.mark.parametrize("lib", LIBRARIES, ids=["gradstep", "torch"])


def make(lib, **members):
    """A module class whose forward adds 1, with these members."""
    body = {"forward": lambda self, x: x + 1, **members}
    return type("Made", (lib.nn.Module,), body)


# ---- attributes ----


@every
def test_tables_edited_by_hand_are_what_attributes_show(lib):
    m = make(lib)()
    m.fc = lib.nn.Linear(1, 1)
    first, second = m.fc, lib.nn.ReLU()
    m._modules["fc"] = second
    assert m.fc is second
    m.__dict__["_modules"] = {"fc": first, "other": second}
    assert m.fc is first and m.other is second
    m.__dict__["_buffers"] = {"b": 3}
    assert m.b == 3
    m.__dict__["fc"] = "shadow"  # the instance's dict comes first
    assert m.fc == "shadow"
    del m.__dict__["fc"]
    del m._modules["fc"]
    with pytest.raises(AttributeError, match="'Made' object has no attribute 'fc'"):
        _ = m.fc
    del m.other
    assert not hasattr(m, "other") and "other" not in m._modules


@every
def test_a_table_may_be_a_mapping_of_its_own(lib):
    class Table:
        def __init__(self, **items):
            self.items_ = items

        def __contains__(self, key):
            return key in self.items_

        def __getitem__(self, key):
            return self.items_[key]

    m = make(lib)()
    m.__dict__["_parameters"] = Table(w=5)
    assert m.w == 5
    with pytest.raises(AttributeError):
        _ = m.v


@every
def test_class_attributes_come_before_the_tables(lib):
    m = make(lib, fc="of the class")()
    m._modules["fc"] = lib.nn.ReLU()
    assert m.fc == "of the class"


@every
def test_a_property_that_raises_attribute_error_falls_to_getattr(lib):
    def broken(self):
        return self.not_there

    m = make(lib, broken=property(broken))()
    with pytest.raises(AttributeError, match="object has no attribute 'broken'"):
        _ = m.broken
    m._buffers["broken"] = "from the table"
    assert m.broken == "from the table"
    other = make(lib, bad=property(lambda self: 1 / 0))()
    with pytest.raises(ZeroDivisionError):
        _ = other.bad


@every
def test_getattr_of_a_subclass_may_ask_super(lib):
    def __getattr__(self, name):
        try:
            return super(Forwarding, self).__getattr__(name)
        except AttributeError:
            return getattr(super(Forwarding, self).__getattr__("inner"), name)

    Forwarding = make(lib, __getattr__=__getattr__)
    m = Forwarding()
    m.inner = lib.nn.Linear(3, 2)
    assert m.in_features == 3 and m.weight is m.inner.weight and m.training is True
    with pytest.raises(AttributeError, match="nowhere"):
        _ = m.nowhere
    child = type("Child", (Forwarding,), {})()
    child.inner = lib.nn.Linear(4, 2)
    assert child.in_features == 4
    assert m(1) == 2


@every
def test_getattr_and_getattribute_assigned_later_count(lib):
    Parent = make(lib)
    Child = type("Child", (Parent,), {})
    m = Child()
    m.fc = lib.nn.ReLU()
    Parent.__getattr__ = lambda self, name: f"parent's {name}"
    assert m.fc == "parent's fc"
    del Parent.__getattr__
    assert isinstance(m.fc, lib.nn.ReLU)
    Child.__getattribute__ = lambda self, name: f"child's {name}"
    assert m.training == "child's training"
    del Child.__getattribute__
    assert m.training is True and isinstance(m.fc, lib.nn.ReLU)


@every
def test_object_getattribute_sees_only_plain_attributes(lib):
    m = make(lib)()
    m.fc = lib.nn.ReLU()
    with pytest.raises(AttributeError):
        object.__getattribute__(m, "fc")
    assert object.__getattribute__(m, "training") is True


def test_attributes_before_init_fail_as_torchs():
    for use in (
        lambda m: m.fc,
        lambda m: m._parameters,
        lambda m: setattr(m, "fc", type(m).layer()),
    ):
        ours, theirs = (
            object.__new__(make(lib, layer=staticmethod(lambda n=lib.nn: n.ReLU())))
            for lib in LIBRARIES
        )
        with pytest.raises(AttributeError) as a:
            use(ours)
        with pytest.raises(AttributeError) as b:
            use(theirs)
        assert str(a.value) == str(b.value)


@every
def test_subclass_hooks_of_other_bases_run(lib):
    class Registered:
        made: list = []

        def __init_subclass__(cls, key=None, **kwargs):
            super().__init_subclass__(**kwargs)
            Registered.made.append(key)

    class Net(lib.nn.Module, Registered, key="net"):
        pass

    assert Registered.made == ["net"]
    net = Net()
    net.fc = lib.nn.ReLU()
    assert isinstance(net.fc, lib.nn.ReLU)


@every
def test_modules_mix_with_other_bases(lib):
    T = TypeVar("T")

    class Abstract(lib.nn.Module, abc.ABC):
        @abc.abstractmethod
        def forward(self, x): ...

    class Mixin:
        def twice(self, x):
            return self(self(x))

    class Net(Mixin, Abstract, Generic[T]):
        def forward(self, x):
            return x + 1

    class Table(dict, lib.nn.Module):
        def __init__(self):
            dict.__init__(self)
            lib.nn.Module.__init__(self)

        def forward(self, x):
            return x + len(self)

    class Slotted(lib.nn.Module):
        __slots__ = ("fast",)

        def forward(self, x):
            return x

    with pytest.raises(TypeError, match="abstract"):
        Abstract()
    assert Net[int]().twice(1) == 3
    table = Table()
    table["a"] = 1
    table.fc = lib.nn.ReLU()
    assert table(1) == 2 and isinstance(table.fc, lib.nn.ReLU)
    slotted = Slotted()
    slotted.fast = 1
    assert slotted.fast == 1 and slotted(3) == 3
    net = Net()
    net.__class__ = type("Other", (Mixin, lib.nn.Module), {"forward": lambda self, x: x - 1})
    assert net(1) == 0


@every
def test_modules_copy_pickle_and_die(lib):
    m = lib.nn.Sequential(lib.nn.Linear(2, 2), lib.nn.Tanh())
    x = lib.ones(1, 2)
    for other in (copy.deepcopy(m), copy.copy(m), pickle.loads(pickle.dumps(m))):
        assert other(x).tolist() == m(x).tolist()
    cycle = make(lib)()
    cycle.fc = lib.nn.ReLU()
    object.__setattr__(cycle, "me", cycle)
    gone = weakref.ref(cycle.fc)
    del cycle
    gc.collect()
    assert gone() is None


# ---- calls ----


@every
def test_call_passes_all_kinds_of_arguments(lib):
    m = make(lib, forward=lambda self, *a, **k: (a, k))()
    assert m() == ((), {})
    assert m(1, x=2) == ((1,), {"x": 2})
    many = tuple(range(20))
    assert m(*many, y=1) == (many, {"y": 1})
    assert m.__call__(1) == ((1,), {}) and m._call_impl(1) == ((1,), {})
    assert lib.nn.Module.__call__(m, 1) == ((1,), {})


@every
def test_forward_may_be_anything_callable(lib):
    m = make(lib)()
    m.forward = lambda x: x * 10  # on the instance: no self
    assert m(2) == 20
    del m.forward
    assert m(2) == 3
    type(m).forward = lambda self, x: x * 5  # on the class, after calls
    assert m(2) == 10
    assert make(lib, forward=staticmethod(lambda x: x - 1))()(2) == 1
    assert make(lib, forward=classmethod(lambda cls, x: cls.__name__))()(2) == "Made"

    class Callable:
        def __call__(self, x):
            return x * 100

    assert make(lib, forward=Callable())()(2) == 200
    bare = type("Bare", (lib.nn.Module,), {})()
    with pytest.raises(NotImplementedError, match='missing the required "forward" function'):
        bare(1)


@every
def test_call_may_be_replaced_on_the_class(lib):
    Parent = make(lib)
    m = type("Child", (Parent,), {})()
    assert m(1) == 2
    Parent.__call__ = lambda self, x: "replaced"
    assert m(1) == "replaced"
    del Parent.__call__
    assert m(1) == 2

    class Wrapping(Parent):
        def __call__(self, x):
            return super().__call__(x) * 10

    assert Wrapping()(1) == 20


def test_call_with_wrong_arguments_fails_as_torchs():
    texts = []
    for lib in LIBRARIES:
        with pytest.raises(TypeError) as e:
            make(lib, forward=lambda self, x: x)(1, 2, 3)
        texts.append(str(e.value))
    assert texts[0] == texts[1]


@every
def test_hooks_added_and_removed_between_calls_count_at_once(lib):
    m = make(lib)()
    seen = []
    assert m(1) == 2
    handle = m.register_forward_hook(lambda module, args, out: seen.append(out) or out * 10)
    assert m(1) == 20 and seen == [2]
    handle.remove()
    assert m(1) == 2 and seen == [2]
    everywhere = lib.nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: (args[0] + 5,)
    )
    assert m(1) == 7
    everywhere.remove()
    assert m(1) == 2


@every
def test_forward_may_add_a_hook_to_itself(lib):
    def forward(self, x):
        self.register_forward_hook(lambda module, args, out: out + 100)
        type(self).forward = lambda self, x: x
        return x

    m = make(lib, forward=forward)()
    assert m(1) in (1, 101)  # torch looks for hooks before forward
    assert m(1) == 101


@every
def test_errors_in_forward_come_through(lib):
    m = make(lib, forward=lambda self: self.deeper())()
    m.deeper = make(lib, forward=lambda self: 1 / 0)()
    with pytest.raises(ZeroDivisionError):
        m()

    def endless(self):
        return self()

    with pytest.raises(RecursionError):
        make(lib, forward=endless)()()


# ---- the native forward of Linear and Sequential ----


def test_linear_takes_its_attributes_wherever_they_are():
    class Twice(gs.nn.Linear):
        @property
        def weight(self):
            return self._parameters["inner"] * 2

    x = gs.ones(2, 3)
    m = Twice.__new__(Twice)
    gs.nn.Module.__init__(m)
    m.inner, m.bias = gs.nn.Parameter(gs.rand(2, 3)), gs.nn.Parameter(gs.rand(2))
    expected = gs.nn.functional.linear(x, m.weight, m.bias)
    assert m(x).tolist() == expected.tolist() and m(input=x).tolist() == expected.tolist()
    m(x).sum().backward()
    assert m.inner.grad.tolist() == [[4.0] * 3] * 2
    plain = gs.nn.Linear(3, 2)
    w = plain.weight.detach() * 3
    del plain.weight
    plain.weight = w  # a plain tensor, not a parameter
    plain.bias = None
    assert plain(x).tolist() == gs.nn.functional.linear(x, w).tolist()

    class Doubled(gs.nn.Linear):
        def forward(self, input):
            return super().forward(input) * 2

    double = Doubled(3, 2)
    assert (
        double(x).tolist() == (gs.nn.functional.linear(x, double.weight, double.bias) * 2).tolist()
    )


@pytest.mark.parametrize(
    "args, kwargs", [((), {}), ((1, 2), {}), ((), {"other": 1}), ((1,), {"input": 2})]
)
@pytest.mark.parametrize("layer", ["Linear", "Sequential"])
def test_native_forwards_refuse_wrong_arguments(layer, args, kwargs):
    for lib in LIBRARIES:
        m = lib.nn.Linear(3, 2) if layer == "Linear" else lib.nn.Sequential(lib.nn.Identity())
        with pytest.raises(TypeError, match="forward"):
            m(*args, **kwargs)


def test_linear_of_something_else_fails_as_the_function_does():
    m = gs.nn.Linear(3, 2)
    for x in ([1.0, 2.0, 3.0], None, 1):
        with pytest.raises(TypeError) as expected:
            gs.nn.functional.linear(x, m.weight, m.bias)
        with pytest.raises(TypeError) as found:
            m(x)
        assert str(found.value) == str(expected.value)


@every
def test_sequential_passes_anything_and_stops_at_errors(lib):
    class Pair(lib.nn.Module):
        def forward(self, x):
            return x, x + 1

    class Sum(lib.nn.Module):
        def forward(self, pair):
            return sum(pair)

    assert lib.nn.Sequential(Pair(), Sum())(1) == 3
    assert lib.nn.Sequential()(5) == 5
    assert lib.nn.Sequential(Pair(), Sum())(input=1) == 3
    with pytest.raises(ZeroDivisionError):
        lib.nn.Sequential(make(lib, forward=lambda self, x: 1 / 0)(), Sum())(1)
    m = lib.nn.Sequential(Pair(), Sum())
    m._modules["1"] = None
    with pytest.raises(TypeError, match="not callable"):
        m(1)
    growing = lib.nn.Sequential(lib.nn.Identity())
    growing[0].forward = lambda x: growing.append(lib.nn.Identity()) and x
    with pytest.raises(RuntimeError, match="mutated|changed size"):
        growing(1)
    seen = []
    m = lib.nn.Sequential(Pair(), Sum())
    m[0].register_forward_hook(lambda module, args, out: seen.append(out))
    assert m(1) == 3 and seen == [(1, 2)]
