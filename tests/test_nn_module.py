# SPDX-License-Identifier: Apache-2.0
"""Module, Parameter, containers, hooks, state dicts, init and utils against torch.nn."""

import copy
import doctest
import importlib
import io
import pickle
import pkgutil
from collections import OrderedDict

import pytest
import torch

import gradstep as gs
from nn_helpers import as_gs, as_torch, both, data, same, same_error, to_numpy


class GsNet(gs.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = gs.nn.Linear(4, 8)
        self.bn = gs.nn.BatchNorm1d(8)
        self.fc2 = gs.nn.Linear(8, 3, bias=False)
        self.register_buffer("offset", gs.ones(3))
        self.register_buffer("scratch", gs.zeros(2), persistent=False)
        self.scale = gs.nn.Parameter(gs.ones(1))

    def forward(self, x):
        return self.fc2(self.bn(self.fc1(x)).relu()) * self.scale + self.offset


class TorchNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(4, 8)
        self.bn = torch.nn.BatchNorm1d(8)
        self.fc2 = torch.nn.Linear(8, 3, bias=False)
        self.register_buffer("offset", torch.ones(3))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.fc2(self.bn(self.fc1(x)).relu()) * self.scale + self.offset


def nets():
    return both(lambda nn: GsNet() if nn is gs.nn else TorchNet())


# ---- Module: names, walking, text ----


def test_module_repr_equals_torch():
    ours, theirs = nets()
    assert repr(ours).replace("GsNet", "TorchNet") == repr(theirs)
    ours, theirs = both(
        lambda nn: nn.ModuleDict(
            {"list": nn.ModuleList([nn.Linear(2, 2)] * 3 + [nn.ReLU()]), "none": nn.Sequential()}
        )
    )
    assert repr(ours) == repr(theirs)


def test_walks_equal_torch():
    ours, theirs = nets()
    for walk in ("named_parameters", "named_buffers", "named_children", "named_modules"):
        assert [n for n, _ in getattr(ours, walk)()] == [n for n, _ in getattr(theirs, walk)()]
    assert [n for n, _ in ours.named_parameters("net", recurse=False)] == ["net.scale"]
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))
    assert {"fc1", "offset", "scale"} <= set(dir(ours))


def test_shared_parameters_are_listed_once():
    layer = gs.nn.Linear(2, 2)
    model = gs.nn.Sequential(layer, layer)
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert len(list(model.named_parameters(remove_duplicate=False))) == 4
    assert len(list(model.modules())) == 2


def test_lookup_by_dotted_name():
    ours, _ = nets()
    model = gs.nn.Sequential(ours)
    assert model.get_submodule("0.fc1") is ours.fc1
    assert model.get_parameter("0.fc1.weight") is ours.fc1.weight
    assert model.get_buffer("0.offset") is ours.offset
    model.set_submodule("0.fc1", gs.nn.Identity())
    assert isinstance(ours.fc1, gs.nn.Identity)


@pytest.mark.parametrize(
    "fault",
    [
        lambda lib, m: setattr(m, "weight", lib.ones(2)),
        lambda lib, m: setattr(m, "weight", 3),
        lambda lib, m: m.register_parameter("a.b", None),
        lambda lib, m: m.register_parameter("", None),
        lambda lib, m: m.register_parameter(3, None),
        lambda lib, m: m.register_parameter("forward", None),
        lambda lib, m: m.register_parameter("p", lib.ones(2)),
        lambda lib, m: m.register_buffer("a.b", None),
        lambda lib, m: m.register_buffer("weight", None),
        lambda lib, m: m.register_buffer("b", 3),
        lambda lib, m: m.add_module("a.b", None),
        lambda lib, m: m.add_module("m", 3),
        lambda lib, m: m.nothing,
        lambda lib, m: m.train(1),
        lambda lib, m: m.to(lib.int64),
        lambda lib, m: m.load_state_dict([]),
        lambda lib, m: lib.nn.Module()(1),
        lambda lib, m: lib.nn.Module(1),
        lambda lib, m: lib.nn.Module(a=1),
        lambda lib, m: m.get_parameter("bogus"),
        lambda lib, m: lib.nn.Sequential(m).get_submodule("0.weight"),
        lambda lib, m: lib.nn.Sequential(m).get_submodule("1.0"),
        lambda lib, m: m.set_submodule("", m),
        lambda lib, m: m.set_submodule("a", m, strict=True),
        lambda lib, m: m.get_buffer("weight"),
        lambda lib, m: lib.nn.Sequential(m)[3],
        lambda lib, m: lib.nn.Sequential(m) + m,
        lambda lib, m: lib.nn.Sequential(m) * 0,
        lambda lib, m: lib.nn.ModuleList([m])[3],
        lambda lib, m: lib.nn.ModuleList(3),
        lambda lib, m: lib.nn.ModuleDict(3),
        lambda lib, m: lib.nn.Conv2d(3, 4, 3, groups=2),
        lambda lib, m: lib.nn.Conv2d(4, 3, 3, groups=2),
        lambda lib, m: lib.nn.Conv2d(4, 4, 3, groups=0),
        lambda lib, m: lib.nn.Conv2d(4, 4, 3, stride=2, padding="same"),
        lambda lib, m: lib.nn.GroupNorm(3, 4),
        lambda lib, m: lib.nn.Dropout(1.5),
        lambda lib, m: lib.nn.Embedding(3, 4, padding_idx=5),
        lambda lib, m: lib.nn.BatchNorm2d(3)(lib.ones(2, 3)),
        lambda lib, m: lib.nn.BatchNorm1d(3)(lib.ones(1, 3)),
        lambda lib, m: lib.nn.InstanceNorm1d(3)(lib.ones(1, 3, 1)),
        lambda lib, m: lib.nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect"),
        lambda lib, m: lib.nn.init.kaiming_uniform_(lib.ones(3)),
        lambda lib, m: lib.nn.init.calculate_gain("tan"),
        lambda lib, m: lib.nn.init.xavier_normal_(lib.ones(2)),
        lambda lib, m: lib.nn.init.kaiming_normal_(lib.ones(2, 2), mode="fan"),
    ],
)
def test_error_equals_torch(fault):
    same_error(lambda lib: fault(lib, lib.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    "make", [lambda lib: lib.nn.Linear(1, 1), lambda lib: lib.nn.Parameter(lib.ones(1))]
)
def test_assignment_before_init_is_an_error(make):
    def fault(lib):
        class Net(lib.nn.Module):
            def __init__(self):
                self.value = make(lib)

        Net()

    same_error(fault)


def test_attributes_move_between_tables():
    m = gs.nn.Module()
    m.x = 3
    m.x = gs.nn.Parameter(gs.ones(2))
    assert "x" not in m.__dict__ and list(m._parameters) == ["x"]
    m.x = None
    assert m.x is None and list(m.parameters()) == []
    m.y = gs.nn.Buffer(gs.ones(1), persistent=False)
    assert list(dict(m.named_buffers())) == ["y"] and "y" not in m.state_dict()
    m.y = gs.zeros(3)
    assert m.y.shape == (3,)
    m.z = gs.nn.Linear(1, 1)
    m.z = gs.nn.ReLU()
    del m.z, m.y, m.x
    assert not (m._parameters or m._buffers or m._modules)


def test_modes_and_freezing():
    net, _ = nets()
    net.eval()
    assert not any(m.training for m in net.modules())
    net.train().requires_grad_(False)
    assert net.bn.training and not any(p.requires_grad for p in net.parameters())
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "BatchNorm1d", "Linear", "GsNet"]


def test_zero_grad_with_and_without_none():
    net, _ = nets()
    net(as_gs(data(5, 4))).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all((to_numpy(p.grad) == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_casts_keep_parameter_objects():
    net, _ = nets()
    net(as_gs(data(5, 4))).sum().backward()
    before = list(net.parameters())
    assert net.double() is net
    assert all(a is b for a, b in zip(before, net.parameters()))
    assert net.scale.dtype == gs.float64 and net.scale.grad.dtype == gs.float64
    assert net.bn.running_mean.dtype == gs.float64
    assert net.bn.num_batches_tracked.dtype == gs.int64
    net.to("cpu", gs.float32).to(gs.float64).to(gs.ones(1)).to(device="cpu")
    assert net.fc1.weight.dtype == gs.float32 and isinstance(net.fc1.weight, gs.nn.Parameter)
    assert net.double().to(other=gs.ones(2, 2)).scale.dtype == gs.float32
    assert net.half().scale.dtype == gs.float16
    assert net.bfloat16().scale.dtype == gs.bfloat16


# ---- state dicts ----


def test_state_dict_equals_torch():
    ours, theirs = nets()
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    assert state._metadata == expected._metadata
    for key in state:
        same(state[key], expected[key], rtol=0, atol=0)
        assert not state[key].requires_grad
    assert ours.state_dict(keep_vars=True)["fc1.weight"] is ours.fc1.weight
    assert list(ours.state_dict(prefix="net.")) == [f"net.{k}" for k in state]
    state["scale"].fill_(5)
    assert ours.scale.item() == 5


def test_load_state_dict_copies_values():
    a, b = GsNet(), GsNet()
    assert repr(b.load_state_dict(a.state_dict())) == "<All keys matched successfully>"
    x = as_gs(data(5, 4))
    same(a(x), b(x), rtol=0, atol=0)
    assert b.fc1.weight is not a.fc1.weight


def test_load_state_dict_errors_equal_torch():
    def load(lib, change, strict=True):
        source = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.BatchNorm1d(3))
        target = lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.BatchNorm1d(3))
        state = source.state_dict()
        change(lib, state)
        return target.load_state_dict(state, strict=strict)

    def lose_and_add(lib, state):
        del state["0.bias"], state["1.running_mean"]
        state["0.extra"] = state["2.weight"] = state["bogus"] = lib.ones(1)

    def reshape(lib, state):
        state["0.weight"] = lib.ones(4, 4)
        state["1.bias"] = lib.ones(3, 3)

    same_error(lambda lib: load(lib, lose_and_add))
    same_error(lambda lib: load(lib, reshape))
    same_error(lambda lib: load(lib, reshape, strict=False))
    same_error(lambda lib: load(lib, lambda lib, state: state.update({"0.weight": "text"})))
    ours, theirs = (load(lib, lose_and_add, strict=False) for lib in (gs, torch))
    assert tuple(ours) == tuple(theirs)
    assert repr(ours) == repr(theirs)


def test_load_state_dict_with_assign_takes_the_tensors():
    target = gs.nn.Linear(2, 2)
    state = {"weight": gs.ones(2, 2), "bias": gs.zeros(2)}
    target.load_state_dict(state, assign=True)
    assert target.weight.data_ptr() == state["weight"].data_ptr()
    assert isinstance(target.weight, gs.nn.Parameter) and target.weight.requires_grad


def test_old_batch_norm_state_loads_without_counter():
    bn = gs.nn.BatchNorm1d(2)
    state = OrderedDict((k, v) for k, v in bn.state_dict().items() if "num" not in k)
    assert not gs.nn.BatchNorm1d(2).load_state_dict(state).missing_keys


def test_extra_state_goes_around():
    class Counter(gs.nn.Module):
        n = 0

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"]

    a, b = Counter(), Counter()
    a.n = 7
    assert list(a.state_dict()) == ["_extra_state"]
    b.load_state_dict(a.state_dict())
    assert b.n == 7
    with pytest.raises(RuntimeError, match='Missing key.*"_extra_state"'):
        b.load_state_dict({})


def test_state_dict_hooks_run():
    m, calls = gs.nn.Linear(1, 1), []
    m.register_state_dict_pre_hook(lambda *a: calls.append("pre"))
    post = m.register_state_dict_post_hook(lambda mod, state, prefix, meta: calls.append(prefix))
    m._register_state_dict_hook(lambda mod, state, prefix, meta: {"only": 1})
    assert m.state_dict() == {"only": 1} and calls == ["pre", ""]
    post.remove()
    m = gs.nn.Linear(1, 1)
    m.register_load_state_dict_pre_hook(lambda mod, state, prefix, *rest: state.pop("junk", None))
    m.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.clear())
    m.load_state_dict({"junk": 1, "weight": gs.ones(1, 1)})
    assert m.weight.item() == 1


# ---- hooks ----


def test_forward_hooks_change_arguments_and_results():
    m = gs.nn.Linear(2, 2)
    x = gs.ones(1, 2)
    plain = m(x)
    first = m.register_forward_pre_hook(lambda mod, args: (args[0] * 2,))
    same(m(x), m.forward(x * 2))
    second = m.register_forward_hook(lambda mod, args, out: out + 1)
    same(m(x), m.forward(x * 2) + 1)
    first.remove()
    with second:
        same(m(x), plain + 1)
    same(m(x), plain)


def test_hook_order_kwargs_and_always_call():
    class Picky(gs.nn.Module):
        def forward(self, x, scale=1):
            if scale == 0:
                raise ValueError("zero")
            return x * scale

    m, calls = Picky(), []
    m.register_forward_hook(lambda *a: calls.append("b"))
    m.register_forward_hook(lambda *a: calls.append("a"), prepend=True)
    m.register_forward_hook(
        lambda mod, args, kwargs, out: calls.append(kwargs["scale"]), with_kwargs=True
    )
    m.register_forward_hook(lambda *a: calls.append("always"), always_call=True)
    m.register_forward_pre_hook(
        lambda mod, args, kwargs: (args, {"scale": kwargs["scale"] + 1}), with_kwargs=True
    )
    assert m(gs.ones(1), scale=2).item() == 3
    assert calls == ["a", "b", 3, "always"]
    calls.clear()
    with pytest.raises(ValueError, match="zero"):
        m(gs.ones(1), scale=-1)
    assert calls == ["always"]


def test_backward_hooks_equal_torch():
    def run(lib, convert):
        lib.manual_seed(0)
        with lib.device("cpu"):  # the same random weights
            m, calls = lib.nn.Linear(3, 2), []
        m.to(lib.get_default_device())
        m.register_full_backward_pre_hook(lambda mod, gout: (gout[0] * 2,))
        m.register_full_backward_hook(
            lambda mod, gin, gout: calls.extend([gin[0].clone(), gout[0].clone()])
        )
        m.register_full_backward_hook(lambda mod, gin, gout: (gin[0] * 10,))
        x = convert(data(4, 3)).requires_grad_()
        m(x).sum().backward()
        return [x.grad, m.weight.grad, *calls]

    same(run(gs, as_gs), run(torch, as_torch))


def test_backward_hook_without_input_gradient_gets_none():
    m, calls = gs.nn.Linear(3, 2), []
    m.register_full_backward_hook(lambda mod, gin, gout: calls.append((gin, gout[0].shape)))
    m(gs.ones(4, 3)).sum().backward()
    assert calls == [((None,), (4, 2))]


def test_global_hooks_see_every_module():
    from gradstep.nn.modules import module

    calls = []
    handle = module.register_module_forward_hook(
        lambda mod, args, out: calls.append(type(mod).__name__)
    )
    gs.nn.Sequential(gs.nn.ReLU(), gs.nn.Tanh())(gs.ones(1))
    handle.remove()
    gs.nn.ReLU()(gs.ones(1))
    assert calls == ["ReLU", "Tanh", "Sequential"]


def test_writing_to_the_hook_table_is_enough():
    m, calls = gs.nn.ReLU(), []
    m._forward_hooks[0] = lambda *a: calls.append(1)
    m(gs.ones(1))
    assert calls == [1]


# ---- containers ----


def test_sequential_behaves_like_a_list():
    nn = gs.nn
    seq = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    assert [type(m).__name__ for m in seq[1:]] == ["ReLU", "Linear"]
    assert list(seq[1:]._modules) == ["1", "2"]
    assert seq[-1] is seq[2] and len(seq) == 3
    seq[1] = nn.Tanh()
    seq.append(nn.Sigmoid()).insert(0, nn.Identity())
    seq.extend([nn.ReLU()])
    names = "Identity Linear Tanh Linear Sigmoid ReLU".split()
    assert [type(m).__name__ for m in seq] == names
    del seq[0]
    assert list(seq._modules) == list("01234")
    assert type(seq.pop(-1)).__name__ == "ReLU"
    assert len(seq + seq) == 8 and len(seq * 2) == 8 and len(2 * seq) == 8
    seq *= 2
    seq += nn.Sequential(nn.ReLU())
    assert len(seq) == 9


def test_module_list_and_dict_behave_like_theirs():
    nn = gs.nn
    items = nn.ModuleList([nn.Linear(1, 1)])
    items.append(nn.ReLU()).extend([nn.Tanh()])
    items.insert(0, nn.Identity())
    items += [nn.ReLU()]
    assert [type(m).__name__ for m in items] == "Identity Linear ReLU Tanh ReLU".split()
    assert type(items[1:3]) is nn.ModuleList and len(items + items) == 10
    del items[0:2]
    assert [type(m).__name__ for m in items] == "ReLU Tanh ReLU".split()
    assert type(items.pop(-1)).__name__ == "ReLU" and len(items) == 2
    table = nn.ModuleDict([["a", nn.ReLU()]])
    table.update({"b": nn.Tanh()})
    table["c"] = nn.Identity()
    assert list(table.keys()) == ["a", "b", "c"] and "b" in table
    assert type(table.pop("b")).__name__ == "Tanh" and len(table) == 2
    table.clear()
    assert not len(table)


def test_parameter_list_and_dict_equal_torch():
    def build(nn):
        lib = gs if nn is gs.nn else torch
        return nn.ModuleList(
            [
                nn.ParameterList([lib.ones(2), nn.Parameter(lib.ones(3, 1))]),
                nn.ParameterDict({"a": lib.ones(2), "b": nn.Parameter(lib.ones(1))}),
            ]
        )

    ours, theirs = both(build)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [p.shape for p in ours[0]] == [(2,), (3, 1)] and len(ours[0][1:]) == 1
    assert list(ours[1].keys()) == ["a", "b"] and ours[1].get("z") is None
    ours[1].pop("a")
    assert list(ours[1]) == ["b"]


# ---- Parameter ----


def test_parameter_is_a_leaf_tensor_that_shares_memory():
    t = gs.ones(2, 3)
    p = gs.nn.Parameter(t)
    assert isinstance(p, gs.Tensor) and p.requires_grad and p.is_leaf
    assert p.data_ptr() == t.data_ptr()
    assert type(p * 2) is gs.Tensor and type(p.data) is gs.Tensor
    on_the_cpu = gs.nn.Parameter(gs.ones(2, 3, device="cpu"))
    assert repr(on_the_cpu) == repr(torch.nn.Parameter(torch.ones(2, 3)))
    assert not gs.nn.Parameter(t, requires_grad=False).requires_grad
    assert gs.nn.Parameter().shape == (0,)


def test_parameter_copies_and_pickles():
    p = gs.nn.Parameter(gs.ones(2), requires_grad=False)
    p.tag = "kept"
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(q) is gs.nn.Parameter and q is not p and not q.requires_grad
        same(q, p)
        assert q.data_ptr() != p.data_ptr()


# ---- copying whole modules ----


def test_deepcopy_is_independent_and_keeps_sharing():
    net = GsNet()
    net.tied = net.fc1
    twin = copy.deepcopy(net)
    assert twin.tied is twin.fc1 and twin.fc1 is not net.fc1
    x = as_gs(data(5, 4))
    same(net(x), twin(x), rtol=0, atol=0)
    with gs.no_grad():
        twin.scale.fill_(9)
    assert net.scale.item() == 1


def test_pickled_module_computes_the_same():
    net = GsNet().eval()
    net.register_buffer("late", gs.ones(1))
    twin = pickle.load(io.BytesIO(pickle.dumps(net)))
    x = as_gs(data(5, 4))
    same(net(x), twin(x), rtol=0, atol=0)
    assert list(twin.state_dict()) == list(net.state_dict()) and not twin.training


# ---- init and utils ----


@pytest.mark.cpu_only  # random numbers
@pytest.mark.parametrize(
    "fill",
    [
        lambda init, t: init.uniform_(t, -1, 2),
        lambda init, t: init.normal_(t, 1, 2),
        lambda init, t: init.trunc_normal_(t, 0.1, 0.5, -0.4, 0.6),
        lambda init, t: init.trunc_normal_(t, 0, 1, 2, 3),
        lambda init, t: init.constant_(t, 3),
        lambda init, t: init.ones_(t),
        lambda init, t: init.zeros_(t),
        lambda init, t: init.eye_(t),
        lambda init, t: init.xavier_uniform_(t, 2),
        lambda init, t: init.xavier_normal_(t),
        lambda init, t: init.kaiming_uniform_(t, 1, "fan_out", "relu"),
        lambda init, t: init.kaiming_normal_(t, nonlinearity="tanh"),
        lambda init, t: init.orthogonal_(t, 2),
        lambda init, t: init.orthogonal_(t.t()),
        lambda init, t: init.sparse_(t, 0.3),
        lambda init, t: init.dirac_(t.view(6, 4, 3), 2),
    ],
)
def test_init_equals_torch(fill):
    gs.manual_seed(5)
    ours = gs.nn.Parameter(gs.empty(12, 6))
    fill(gs.nn.init, ours)
    torch.manual_seed(5)
    theirs = torch.empty(12, 6)
    fill(torch.nn.init, theirs)
    same(ours, theirs, rtol=1e-5, atol=1e-5)


def test_gains_equal_torch():
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert gs.nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert gs.nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain(
        "leaky_relu", 0.2
    )


def test_clip_and_vector_utils_equal_torch():
    ours, theirs = nets()
    results = []
    for net, lib, convert in ((ours, gs, as_gs), (theirs, torch, as_torch)):
        utils = lib.nn.utils
        net(convert(data(5, 4))).pow(2).sum().backward()
        total = utils.clip_grad_norm_(net.parameters(), 0.5)
        utils.clip_grad_value_(net.parameters(), 0.05)
        grads = [p.grad for p in net.parameters()]
        vector = utils.parameters_to_vector(net.parameters())
        utils.vector_to_parameters(vector.detach() * 2, net.parameters())
        results.append([total, *grads, vector, *net.parameters()])
    same(*results, rtol=1e-4, atol=1e-5)


# ---- documentation ----


@pytest.mark.cpu_only
def test_docstring_examples_run():
    names = [m.name for m in pkgutil.walk_packages(gs.nn.__path__, "gradstep.nn.")]
    assert "gradstep.nn.modules.linear" in names
    for name in names:
        module = importlib.import_module(name)
        scope = {**vars(gs.nn), "gs": gs, "nn": gs.nn}
        failed, _ = doctest.testmod(module, extraglobs=scope, verbose=False)
        assert failed == 0, name
