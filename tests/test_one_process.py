# SPDX-License-Identifier: Apache-2.0
"""torch.distributed, DataParallel, jit, compiler, multiprocessing, hub and accelerator in one process."""

import os
import pickle
import zipfile

import pytest
import torch
import torch.distributed as their_dist

import gradstep
import gradstep.distributed as dist
import gradstep.multiprocessing as mp

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.cpu_only]


@pytest.fixture
def groups():
    """Both libraries with a default group."""
    for d in (dist, their_dist):
        d.init_process_group("gloo", rank=0, world_size=1, store=d.HashStore())
    yield (gradstep, dist), (torch, their_dist)
    for d in (dist, their_dist):
        if d.is_initialized():
            d.destroy_process_group()


def outcome(run):
    """The value, or the type of the exception."""
    try:
        return run()
    except Exception as error:
        return type(error)


def test_without_a_group_collectives_raise_pytorchs_error():
    for t, d in ((gradstep, dist), (torch, their_dist)):
        assert d.is_available() and not d.is_initialized() and d.group.WORLD is None
        for call in (
            d.get_rank,
            d.get_world_size,
            d.barrier,
            d.get_backend,
            lambda: d.all_reduce(t.ones(1)),
        ):
            with pytest.raises(ValueError, match="Default process group has not been initialized"):
                call()
        with pytest.raises(AssertionError, match="Process group cannot be None"):
            d.destroy_process_group()
        with pytest.raises(ValueError, match="environment variable RANK expected"):
            d.init_process_group("gloo")
        with pytest.raises(ValueError, match="rank parameter missing"):
            d.init_process_group("gloo", "tcp://127.0.0.1:29511")


def test_a_world_of_several_processes_is_refused(monkeypatch):
    for name, value in (
        ("RANK", "1"),
        ("WORLD_SIZE", "4"),
        ("MASTER_ADDR", "x"),
        ("MASTER_PORT", "1"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(NotImplementedError, match="rank 1 of a world of 4 processes"):
        dist.init_process_group("nccl")
    assert not dist.is_initialized()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    dist.init_process_group("nccl")
    assert dist.get_backend() == "nccl"
    dist.destroy_process_group()
    assert not dist.is_initialized()


def test_collectives_of_one_process_are_pytorchs(groups):
    def run(t, d):
        x = t.arange(4.0)
        one, two, three = t.zeros(4), t.zeros(4), t.zeros(2, 2)
        work = d.all_reduce(x, op=d.ReduceOp.SUM, async_op=True)
        seen = [work.wait(), work.is_completed(), d.all_reduce(x, d.ReduceOp.MAX)]
        seen += [d.all_gather([one], x), d.broadcast(x, 0), d.reduce(x, 0), d.barrier()]
        seen += [d.all_gather_into_tensor(two, x), d.scatter(three.view(-1), [x], src=0)]
        out = t.zeros(4)
        seen += [d.reduce_scatter(out, [x]), d.all_to_all_single(t.zeros(4), x)]
        objects, pair = [None], [{"a": 1}, (2, 3)]
        d.all_gather_object(objects, {"k": [1]})
        d.broadcast_object_list(pair, src=0)
        received = [None]
        d.scatter_object_list(received, ["s"], src=0)
        seen += [objects, pair, received, d.get_rank(), d.get_world_size(), d.get_backend()]
        seen += [d.get_default_backend_for_device("cpu"), d.is_initialized(), d.ReduceOp.SUM == 0]
        seen += [d.new_group([0]).size(), d.get_process_group_ranks(d.group.WORLD)]
        seen += [repr(d.ReduceOp.AVG), d.get_rank(d.new_group()), d.is_torchelastic_launched()]
        seen += [y.tolist() for y in (x, one, two, three, out)]
        seen += [
            outcome(call)
            for call in (
                lambda: d.all_gather([], x),
                lambda: d.all_gather([t.zeros(3)], x),
                lambda: d.all_gather([t.zeros(4, dtype=t.float64)], x),
                lambda: d.all_reduce(3),
                lambda: d.broadcast(x, 1),
                lambda: d.send(x, 0),
                lambda: d.gather(x),
                lambda: d.new_group([0, 1]),
                lambda: d.init_process_group("gloo"),
                lambda: d.get_backend(d.GroupMember.NON_GROUP_MEMBER),
            )
        ]
        return seen

    ours, theirs = (run(t, d) for t, d in groups)
    assert ours == theirs


def test_distributed_data_parallel(groups):
    def run(t, d):
        t.manual_seed(0)
        net = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 1))
        ddp = t.nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)
        assert ddp.module is net
        x = t.arange(12.0).reshape(4, 3)
        with ddp.no_sync():
            ddp(x).sum().backward()
        ddp(x).pow(2).sum().backward()
        with pytest.raises(
            RuntimeError, match="doesn't have any parameter that requires a gradient"
        ):
            t.nn.parallel.DistributedDataParallel(t.nn.ReLU())
        grads = [p.grad.tolist() for p in ddp.parameters()]
        return list(ddp.state_dict()), [n for n, _ in ddp.named_parameters()], grads

    ours, theirs = (run(t, d) for t, d in groups)
    assert ours[:2] == theirs[:2]
    for a, b in zip(ours[2], theirs[2], strict=True):
        assert torch.allclose(torch.tensor(a), torch.tensor(b), atol=1e-4)


def test_distributed_data_parallel_needs_a_group():
    for t in (gradstep, torch):
        with pytest.raises(ValueError, match="Default process group has not been initialized"):
            t.nn.parallel.DistributedDataParallel(t.nn.Linear(1, 1))


def test_data_parallel_and_sync_batch_norm():
    def run(t):
        t.manual_seed(0)
        net = t.nn.DataParallel(t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4)))
        net = t.nn.SyncBatchNorm.convert_sync_batchnorm(net)
        kind = type(net.module[1]).__name__
        out = net(t.arange(12.0).reshape(4, 3))
        state = net.state_dict()
        t.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
        with pytest.raises(ValueError, match="expected at least 2D input"):
            t.nn.SyncBatchNorm(2)(t.zeros(2))
        again = net(t.zeros(4, 3))
        return (
            kind,
            list(net.state_dict()),
            list(state),
            [x.tolist() for x in (out, again, state["1.running_var"])],
        )

    ours, theirs = run(gradstep), run(torch)
    assert ours[:3] == theirs[:3]
    for a, b in zip(ours[3], theirs[3], strict=True):
        assert torch.allclose(torch.tensor(a), torch.tensor(b), atol=1e-4)


def test_jit_gives_functions_and_modules_back():
    jit = gradstep.jit

    @jit.script
    def double(x):
        return 2 * x

    class Net(jit.ScriptModule):
        __constants__ = ["n"]

        def __init__(self):
            super().__init__()
            self.n: jit.Final[int] = 2
            self.fc = gradstep.nn.Linear(2, 2)

        @jit.script_method
        def forward(self, x):
            return self.helper(self.fc(x))

        @jit.ignore(drop=True)
        def helper(self, x):
            return x

        @jit.ignore
        @jit.unused
        @jit.export
        def other(self):
            return jit.annotate(list, [])

    net = Net()
    x = gradstep.ones(1, 2)
    assert jit.script(net) is net and jit.trace(net, x) is net and jit.freeze(net) is net
    assert double(x).tolist() == [[2.0, 2.0]] and net(x).shape == (1, 2) and net.other() == []
    assert not jit.is_scripting() and not jit.is_tracing()
    assert jit.wait(jit.fork(double, x)).tolist() == [[2.0, 2.0]]
    assert jit.isinstance([1], list[int]) and not jit.isinstance([1.0], list[int])
    with pytest.raises(RuntimeError):
        jit.trace(net, gradstep.ones(3))  # errors of the examples are seen at once
    with pytest.raises(NotImplementedError, match="TorchScript"):
        jit.save(net, "x.pt")
    with pytest.raises(NotImplementedError, match="TorchScript"):
        jit.load("x.pt")


def test_settings_of_the_compiler_are_taken():
    import gradstep._dynamo
    import gradstep._inductor.config

    config = gradstep._dynamo.config
    assert config.recompile_limit == torch._dynamo.config.recompile_limit
    with config.patch(suppress_errors=True):
        assert config.suppress_errors
    assert not config.suppress_errors
    gradstep._inductor.config.triton.unique_kernel_names = True
    gradstep._inductor.config.coordinate_descent_tuning = True

    @gradstep.compiler.disable
    def f(x):
        return x

    assert gradstep._dynamo.disable(recursive=False)(f)(1) == 1
    assert not gradstep.compiler.is_compiling() and not gradstep._dynamo.is_compiling()
    gradstep._dynamo.reset()


def _add(i, q, x, weight):
    x.add_(i + 1)
    weight.data.mul_(2)
    q.put(
        (
            float(x.sum()),
            gradstep.ones(2),
            weight.is_shared(),
            type(weight) is gradstep.nn.Parameter,
        )
    )


def _fail(i):
    raise KeyError("told in the parent")


def _exit(i):
    os._exit(3)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_shared_tensors_are_written_by_other_processes(method):
    x = gradstep.zeros(2, 3).t()
    same = x.share_memory_()
    layer = gradstep.nn.Linear(1, 1).share_memory()
    with gradstep.no_grad():
        layer.weight.fill_(3)
    assert same is x and x.is_shared() and x.stride() == (1, 3) and layer.weight.is_shared()
    assert not gradstep.zeros(1).is_shared()
    q = mp.get_context(method).SimpleQueue()
    mp.start_processes(_add, (q, x, layer.weight), nprocs=1, start_method=method)
    total, sent, shared, is_parameter = q.get()
    assert total == 6 and sent.tolist() == [1, 1] and shared and is_parameter
    assert x.sum().item() == 6 and layer.weight.item() == 6
    assert pickle.loads(pickle.dumps(x)).tolist() == x.tolist()


def test_failures_of_processes_are_raised():
    with pytest.raises(mp.ProcessRaisedException, match="told in the parent") as told:
        mp.start_processes(_fail, nprocs=2, start_method="fork")
    assert pickle.loads(pickle.dumps(told.value)).error_index == told.value.error_index
    with pytest.raises(mp.ProcessExitedException, match="exit code 3"):
        mp.start_processes(_exit, nprocs=1, start_method="fork")
    assert mp.get_context("fork").Process and mp.Queue and mp.Pipe and mp.get_sharing_strategy()


def test_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    hub = gradstep.hub
    assert hub.get_dir() == str(tmp_path / "home" / "hub")
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "parts.py").write_text("SIZE = 3\n")
    (repo / "hubconf.py").write_text(
        "dependencies = ['numpy']\nfrom parts import SIZE\n\n\ndef net(k=1):\n    'A net.'\n    return SIZE * k\n"
    )
    assert hub.load(str(repo), "net", source="local", k=2) == 6
    with pytest.raises(RuntimeError, match="Cannot find callable nothing in hubconf"):
        hub.load(str(repo), "nothing", source="local")
    with pytest.raises(ValueError, match="Unknown source"):
        hub.load(str(repo), "net", source="elsewhere")
    weights = tmp_path / "weights-0000.pt"
    gradstep.save({"a": gradstep.ones(2)}, weights)
    url = weights.as_uri()
    assert hub.load_state_dict_from_url(url, progress=False)["a"].tolist() == [1, 1]
    assert os.listdir(os.path.join(hub.get_dir(), "checkpoints")) == ["weights-0000.pt"]
    with pytest.raises(RuntimeError, match="invalid hash value"):
        hub.download_url_to_file(url, str(tmp_path / "x"), "ffff", progress=False)
    assert not (tmp_path / "x").exists()


def test_a_repository_is_fetched_once_and_only_if_trusted(tmp_path, monkeypatch):
    hub = gradstep.hub
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("owner-name-1/hubconf.py", "def net():\n    'Doc.'\n    return 5\n")
    fetched = []

    def download(url, dst, *args, **kwargs):
        fetched.append(url)
        with open(archive, "rb") as source, open(dst, "wb") as out:
            out.write(source.read())

    monkeypatch.setattr(hub, "download_url_to_file", download)
    monkeypatch.setattr(hub, "_dir", str(tmp_path / "hub"))
    with pytest.raises(Exception, match="Untrusted repository"):
        hub.load("owner/name:v1", "net", trust_repo=False, verbose=False)
    assert hub.load("owner/name:v1", "net", trust_repo=True, verbose=False) == 5
    assert hub.list("owner/name:v1", verbose=False) == ["net"]
    assert hub.help("owner/name:v1", "net") == "Doc."
    assert fetched == ["https://github.com/owner/name/zipball/v1"]


def test_accelerators_answer_without_a_gpu():
    if gradstep.cuda.is_available():
        pytest.skip("there is a GPU")
    for t in (gradstep, torch):
        assert not t.accelerator.is_available() and t.accelerator.device_count() == 0
        assert t.accelerator.current_accelerator(check_available=True) is None
        assert not t.xpu.is_available() and t.xpu.device_count() == 0
        assert not t.mtia.is_available() and t.mps.device_count() == 0
        with pytest.raises(RuntimeError):
            t.accelerator.set_device_index(0)
    gradstep.mps.empty_cache()
    gradstep.mps.synchronize()


def test_pytree():
    from collections import OrderedDict, namedtuple

    from torch.utils import _pytree as theirs

    from gradstep.utils import _pytree as ours

    Point = namedtuple("Point", "x y")
    tree = {"a": [1, (2, 3)], "b": Point(4, OrderedDict(c=5)), "d": []}
    for p in (ours, theirs):
        leaves, spec = p.tree_flatten(tree)
        assert leaves == [1, 2, 3, 4, 5] and spec.num_leaves == 5
        assert p.tree_unflatten(leaves, spec) == tree
        assert p.tree_map(lambda x: x + 1, tree)["b"] == Point(5, OrderedDict(c=6))
        assert p.tree_map(lambda x, y: x * y, tree, tree)["a"] == [1, (4, 9)]
        assert p.tree_map_only(int, str, [1, 2.0]) == ["1", 2.0]
        assert p.tree_all(lambda x: x > 0, tree) and not p.tree_any(lambda x: x > 9, tree)
        with pytest.raises(ValueError):
            p.tree_unflatten([1], spec)


def test_flat_tensors():
    for t in (gradstep, torch):
        parts = [t.ones(2, 3), t.zeros(4)]
        both = t._utils._flatten_dense_tensors(parts)
        back = t._utils._unflatten_dense_tensors(both, parts)
        assert both.shape == (10,) and [tuple(x.shape) for x in back] == [(2, 3), (4,)]


def test_futures():
    for t in (gradstep, torch):
        first = t.futures.Future()
        second = first.then(lambda f: f.wait() + 1)
        assert not first.done()
        first.set_result(1)
        assert second.wait() == 2 and t.futures.wait_all([first, second]) == [1, 2]
        assert len(t.futures.collect_all([first]).wait()) == 1
        with pytest.raises(RuntimeError):
            first.set_result(2)
