# SPDX-License-Identifier: Apache-2.0
"""utils.data against PyTorch: the same batches for the same seed; workers never hang."""

import collections
import os
import signal
import time

import numpy as np
import pytest

import gradstep
from gradstep.utils import data as gdata

torch = pytest.importorskip("torch")
tdata = torch.utils.data

LIBS = {gradstep: gdata, torch: tdata}
pytestmark = [
    pytest.mark.cpu_only,  # samples are put together in the host's memory
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]


def plain(value):
    """Tensors of either library as lists with their dtype, containers kept."""
    if hasattr(value, "data_ptr"):
        return str(value.dtype).rpartition(".")[2], tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(plain, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value


def pair(lib, n=23):
    return LIBS[lib].TensorDataset(
        lib.arange(n * 6, dtype=lib.float32).view(n, 2, 3), lib.arange(n)
    )


def both(make):
    """make(lib, data) for both libraries from one seed, and what the generator gives after it."""
    results = []
    for lib, data in LIBS.items():
        lib.manual_seed(7)
        results.append((plain(make(lib, data)), lib.rand(3).tolist()))
    return results


def check(make):
    ours, theirs = both(make)
    assert ours == theirs


class Squares(gdata.Dataset):
    """A map data set without any library in it."""

    def __init__(self, n=20):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return {"i": i, "x": np.full((2,), i, dtype=np.float32), "s": str(i)}


class Stream(gdata.IterableDataset):
    def __init__(self, n=17):
        self.n = n

    def __iter__(self):
        info = gdata.get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(start, self.n, step))


class TorchStream(tdata.IterableDataset):
    def __init__(self, n=17):
        self.n = n

    def __iter__(self):
        info = tdata.get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(start, self.n, step))


# ---- loaders in this process ----


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 4},
        {"batch_size": 4, "drop_last": True},
        {"batch_size": 5, "shuffle": True},
        {"batch_size": 23, "shuffle": True},
        {"batch_size": 50, "shuffle": True},
        {"batch_size": None},
        {"batch_size": None, "shuffle": True},
        {"batch_size": 5, "sampler": [3, -1, 2, 2, 0, 22, 7]},
        {"batch_sampler": [[0, 3], [-2], [5, 5, 5]]},
    ],
)
def test_batches_and_random_numbers_equal_pytorch(options):
    check(lambda lib, data: [list(data.DataLoader(pair(lib), **options)) for _ in range(3)])


def test_a_generator_given_to_the_loader_is_used_like_pytorch():
    def make(lib, data):
        generator = lib.Generator()
        generator.manual_seed(5)
        loader = data.DataLoader(pair(lib), batch_size=4, shuffle=True, generator=generator)
        first = [next(iter(loader)) for _ in range(2)]  # left half-way
        return first, list(loader), generator.initial_seed(), lib.rand(2, generator=generator)

    check(make)


@pytest.mark.parametrize(
    "sampler",
    [
        lambda d, s, g: d.RandomSampler(s, generator=g),
        lambda d, s, g: d.RandomSampler(s),
        lambda d, s, g: d.RandomSampler(s, num_samples=57, generator=g),
        lambda d, s, g: d.RandomSampler(s, replacement=True, num_samples=70),
        lambda d, s, g: d.SubsetRandomSampler([4, 2, 9, 11], generator=g),
        lambda d, s, g: d.WeightedRandomSampler([0.1, 0.0, 2.0, 0.5], 10, generator=g),
        lambda d, s, g: d.WeightedRandomSampler([0.1, 1.0, 2.0, 0.5], 3, replacement=False),
        lambda d, s, g: d.SequentialSampler(s),
        lambda d, s, g: d.BatchSampler(d.SequentialSampler(s), 5, True),
        lambda d, s, g: d.BatchSampler(d.SequentialSampler(s), 5, False),
    ],
)
def test_samplers_give_pytorchs_order(sampler):
    def make(lib, data):
        generator = lib.Generator()
        generator.manual_seed(9)
        made = sampler(data, pair(lib), generator)
        return [list(made) for _ in range(2)], len(made)

    check(make)


def test_a_loader_over_a_random_sampler_draws_like_pytorch():
    def make(lib, data):
        out = []
        for options in ({"num_samples": 50}, {"replacement": True, "num_samples": 70}):
            sampler = data.RandomSampler(pair(lib), **options)
            out.append(list(data.DataLoader(pair(lib), batch_size=8, sampler=sampler)))
        return out

    check(make)


@pytest.mark.parametrize("n", [10, 11, 2])
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"drop_last": True}, {"seed": 3}])
def test_distributed_sampler_equals_pytorch(n, options):
    def make(lib, data):
        out = []
        for rank in range(3):
            sampler = data.distributed.DistributedSampler(range(n), 3, rank, **options)
            sampler.set_epoch(2)
            out.append((list(sampler), len(sampler)))
        return out

    check(make)


@pytest.mark.parametrize("lengths", [[10, 13], [0.8, 0.2], [0.3, 0.3, 0.4], [1.0]])
def test_random_split_equals_pytorch(lengths):
    def make(lib, data):
        generator = lib.Generator()
        generator.manual_seed(42)
        parts = data.random_split(pair(lib), lengths, generator=generator)
        parts += data.random_split(pair(lib), lengths)
        loaders = [data.DataLoader(p, batch_size=4, shuffle=True) for p in parts]
        return [p.indices for p in parts], [list(loader) for loader in loaders]

    check(make)


def test_subsets_of_subsets_take_the_same_samples_as_pytorch():
    def make(lib, data):
        inner = data.Subset(pair(lib), list(range(20, 2, -2)))
        subset = data.Subset(inner, [0, 3, 3, 8])
        negative = data.Subset(pair(lib), [-1, 2])
        return [list(data.DataLoader(d, batch_size=3)) for d in (inner, subset, negative)]

    check(make)


def test_data_set_combinations_equal_pytorch():
    def make(lib, data):
        a, b = pair(lib, 5), pair(lib, 3)
        stacked = data.StackDataset(image=a, other=data.Subset(a, [4, 3, 2, 1, 0]))
        both_of_them = a + b
        return (
            list(data.DataLoader(stacked, batch_size=2)),
            list(data.DataLoader(data.StackDataset(a, a), batch_size=2)),
            list(data.DataLoader(both_of_them, batch_size=3)),
            len(both_of_them),
            both_of_them[-1],
        )

    check(make)


def test_streams_and_chains_equal_pytorch():
    ours = gdata.DataLoader(Stream(7) + Stream(4), batch_size=3)
    theirs = tdata.DataLoader(TorchStream(7) + TorchStream(4), batch_size=3)
    assert plain(list(ours)) == plain(list(theirs))


def test_the_gather_path_copies_and_keeps_gradients():
    images = gradstep.zeros(6, 2)
    (batch,) = next(iter(gdata.DataLoader(gdata.TensorDataset(images), batch_size=6)))
    batch += 1
    assert images.sum().item() == 0
    weights = gradstep.ones(4, requires_grad=True)
    for (part,) in gdata.DataLoader(gdata.TensorDataset(weights), batch_size=3):
        part.sum().backward()
    assert weights.grad.tolist() == [1, 1, 1, 1]


def test_the_gather_path_is_taken_only_for_plain_tensor_data_sets():
    from gradstep.utils.data._utils.fetch import GatherFetcher, make_fetcher

    class Doubled(gdata.TensorDataset):
        def __getitem__(self, i):
            return tuple(t * 2 for t in super().__getitem__(i))

    def kind(dataset, collate=gdata.default_collate):
        return type(make_fetcher(dataset, True, collate, False))

    plain_set = pair(gradstep)
    assert kind(plain_set) is kind(gdata.Subset(plain_set, [1, 2])) is GatherFetcher
    assert kind(Doubled(*plain_set.tensors)) is not GatherFetcher
    assert kind(plain_set, list) is not GatherFetcher
    (batch,) = next(iter(gdata.DataLoader(Doubled(gradstep.ones(3)), batch_size=3)))
    assert batch.tolist() == [2, 2, 2]


# ---- collate ----

Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "batch",
    [
        lambda lib: [1, 2, 3],
        lambda lib: [1.5, 2.5],
        lambda lib: [True, False],
        lambda lib: ["a", "b"],
        lambda lib: [np.float32(1), np.float32(2)],
        lambda lib: [np.ones((2, 2)), np.zeros((2, 2))],
        lambda lib: [(lib.ones(2), 1), (lib.zeros(2), 2)],
        lambda lib: [[1, "x"], [2, "y"]],
        lambda lib: [{"a": 1, "b": [lib.ones(1)]}, {"a": 2, "b": [lib.zeros(1)]}],
        lambda lib: [Pair(1, 2.0), Pair(3, 4.0)],
    ],
)
def test_default_collate_and_convert_equal_pytorch(batch):
    check(lambda lib, data: (data.default_collate(batch(lib)), data.default_convert(batch(lib))))


@pytest.mark.parametrize("batch", [[object()], [[1, 2], [1]], [np.array(["a"])], [None]])
def test_default_collate_raises_like_pytorch(batch):
    with pytest.raises(Exception) as theirs:
        tdata.default_collate(batch)
    with pytest.raises(theirs.type) as ours:
        gdata.default_collate(batch)
    assert str(ours.value) == str(theirs.value)


# ---- mistakes ----


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"persistent_workers": True},
        {"shuffle": True, "sampler": [1]},
        {"batch_sampler": [[1]], "batch_size": 2},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"multiprocessing_context": "fork"},
        {"num_workers": 1, "multiprocessing_context": "thread"},
    ],
)
def test_impossible_options_raise_pytorchs_exceptions(options):
    with pytest.raises(Exception) as theirs:
        tdata.DataLoader(pair(torch), **options)
    with pytest.raises(theirs.type):
        gdata.DataLoader(pair(gradstep), **options)


def test_attributes_are_fixed_after_construction():
    loader = gdata.DataLoader(pair(gradstep))
    with pytest.raises(ValueError, match="should not be set"):
        loader.batch_size = 3
    assert loader.batch_size == 1 and len(loader) == 23


def test_an_index_out_of_range_is_an_index_error():
    with pytest.raises(IndexError):
        list(gdata.DataLoader(pair(gradstep), batch_size=2, sampler=[1, 99]))


# ---- workers ----


def gone(pids):
    """Whether these processes end within five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        alive = []
        for pid in pids:
            try:
                with open(f"/proc/{pid}/stat") as f:
                    if f.read().rpartition(")")[2].split()[0] != "Z":
                        alive.append(pid)
            except OSError:
                pass
        if not alive:
            return True
        time.sleep(0.02)
    return False


def pids(iterator):
    return [w.process.pid for w in iterator._workers]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "options", [{"batch_size": 3}, {"batch_size": 4, "shuffle": True}, {"batch_size": None}]
)
def test_workers_give_the_batches_of_one_process(workers, options):
    for dataset in (Squares(), pair(gradstep)):
        results = []
        for n in (0, workers):
            gradstep.manual_seed(3)
            results.append(plain(list(gdata.DataLoader(dataset, num_workers=n, **options))))
        assert results[0] == results[1]


def test_workers_of_a_stream_share_it_like_pytorchs():
    for options in ({"batch_size": 2}, {"batch_size": 2, "drop_last": True}, {"batch_size": None}):
        ours = list(gdata.DataLoader(Stream(), num_workers=2, **options))
        theirs = list(tdata.DataLoader(TorchStream(), num_workers=2, **options))
        assert plain(ours) == plain(theirs)


class Seeds(gdata.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        import random

        return random.random(), np.random.rand(), gradstep.rand(1), gdata.get_worker_info().seed


class TorchSeeds(tdata.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        import random

        return random.random(), np.random.rand(), torch.rand(1), tdata.get_worker_info().seed


def test_workers_are_seeded_like_pytorchs():
    gradstep.manual_seed(1)
    ours = list(gdata.DataLoader(Seeds(), num_workers=2))
    torch.manual_seed(1)
    theirs = list(tdata.DataLoader(TorchSeeds(), num_workers=2))
    assert plain(ours) == plain(theirs)


class Big(gdata.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return gradstep.full((50_000,), float(i)), np.full(3, i), gradstep.empty(0, 2), "text"


def test_large_batches_travel_whole_and_can_be_written_to():
    seen = []
    for big, small, empty, text in gdata.DataLoader(Big(), batch_size=2, num_workers=2):
        assert tuple(empty.shape) == (2, 0, 2) and list(text) == ["text", "text"]
        assert small.dtype == gradstep.int64
        seen.append(big)
    for k, big in enumerate(seen):  # kept after the workers are gone
        assert tuple(big.shape) == (2, 50_000)
        assert (big[0] == 2 * k).all() and (big[1] == 2 * k + 1).all()
        big += 1


def test_huge_index_lists_do_not_block():
    loader = gdata.DataLoader(
        Squares(200_000), batch_size=100_000, num_workers=1, collate_fn=len, prefetch_factor=4
    )
    assert list(loader) == [100_000, 100_000]


def test_persistent_workers_stay_and_start_over():
    loader = gdata.DataLoader(pair(gradstep), 4, num_workers=2, persistent_workers=True)
    first = plain(list(loader))
    before = pids(loader._iterator)
    next(iter(loader))  # left half-way: the rest must not leak into the next pass
    assert plain(list(loader)) == first
    assert pids(loader._iterator) == before
    del loader
    assert gone(before)


def test_leaving_a_loop_early_ends_the_workers():
    iterator = iter(gdata.DataLoader(Squares(1000), batch_size=2, num_workers=2))
    next(iterator)
    workers = pids(iterator)
    start = time.monotonic()
    del iterator
    assert gone(workers) and time.monotonic() - start < 2


class Broken(Squares):
    def __getitem__(self, i):
        if i == 5:
            raise KeyError("five is missing")
        return i


def test_an_exception_in_a_worker_arrives_with_its_traceback():
    loader = gdata.DataLoader(Broken(), batch_size=2, num_workers=2)
    seen = []
    with pytest.raises(KeyError) as caught:
        for batch in loader:
            seen.append(batch.tolist())
    assert seen == [[0, 1], [2, 3]]
    text = str(caught.value)
    assert "in DataLoader worker process 0" in text
    assert "Original Traceback" in text and "five is missing" in text


def fail_to_start(worker_id):
    raise RuntimeError(f"no start for {worker_id}")


class Unpicklable(Squares):
    def __getitem__(self, i):
        return lambda: i


def test_failures_around_the_data_set_arrive_too():
    with pytest.raises(RuntimeError, match="no start for 0"):
        list(gdata.DataLoader(Squares(), num_workers=1, worker_init_fn=fail_to_start))
    with pytest.raises(Exception, match="in DataLoader worker process 0"):
        list(gdata.DataLoader(Unpicklable(), num_workers=1, batch_size=None))


class Deadly(Squares):
    def __getitem__(self, i):
        if i == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        if i == 17:
            os._exit(3)
        return i


@pytest.mark.parametrize("first", [0, 10])
def test_a_worker_that_dies_is_an_error_and_no_hang(first):
    start = time.monotonic()
    loader = gdata.DataLoader(gdata.Subset(Deadly(), range(first, 20)), num_workers=2)
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpected"):
        list(loader)
    assert time.monotonic() - start < 4


class Slow(Squares):
    def __getitem__(self, i):
        if i == 3:
            time.sleep(30)
        return i


def test_a_timeout_is_an_error():
    loader = gdata.DataLoader(Slow(), num_workers=1, timeout=0.5)
    with pytest.raises(RuntimeError, match="timed out after 0.5 seconds"):
        list(loader)


def test_workers_end_when_their_parent_is_killed():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        iterator = iter(gdata.DataLoader(Squares(1000), num_workers=2))
        next(iterator)
        os.write(writer, " ".join(map(str, pids(iterator))).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    workers = [int(pid) for pid in os.read(reader, 100).split()]
    os.close(reader)
    assert len(workers) == 2 and gone(workers)


def test_out_of_order_gives_every_sample_once():
    loader = gdata.DataLoader(Squares(20), batch_size=None, num_workers=2, in_order=False)
    assert sorted(sample["i"] for sample in loader) == list(range(20))


def test_spawned_workers_work():
    loader = gdata.DataLoader(Squares(4), num_workers=1, multiprocessing_context="spawn")
    assert [batch["i"].item() for batch in loader] == [0, 1, 2, 3]


def test_pinned_memory_is_accepted():
    with (
        pytest.warns(UserWarning, match="pin_memory")
        if not gradstep.cuda.is_available()
        else (pytest.MonkeyPatch.context())
    ):
        batches = list(gdata.DataLoader(pair(gradstep), batch_size=20, pin_memory=True))
    assert len(batches) == 2


# ---- what a worker may hold and leave ----


class Refused(gdata.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return gradstep.ones(2, requires_grad=True) * 2


def test_a_tensor_with_a_history_is_not_sent():
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        list(gdata.DataLoader(Refused(), num_workers=1, batch_size=None))
    assert next(iter(gdata.DataLoader(Refused(), batch_size=None))).requires_grad


class Laid(gdata.Dataset):
    """Tensors that are not plain, large enough for shared memory."""

    def __len__(self):
        return 1

    def __getitem__(self, i):
        turned = gradstep.arange(20_000.0).view(100, 200).t()
        leaf = gradstep.ones(3, requires_grad=True)
        return turned, gradstep.ones(1).expand(5), turned[::2, ::3], leaf, gradstep.tensor(3)


@pytest.mark.parametrize("context", ["fork", "forkserver"])
def test_strides_and_leaves_arrive_as_they_were(context):
    loader = gdata.DataLoader(
        Laid(), num_workers=1, batch_size=None, multiprocessing_context=context
    )
    for got, sent in zip(next(iter(loader)), Laid()[0]):
        assert got.tolist() == sent.tolist() and got.dtype == sent.dtype
        assert got.stride() == sent.stride() or sent.numel() == 100 * 34
        assert got.requires_grad == sent.requires_grad


class Parallel(gdata.Dataset):
    """Work that the engine does in threads, which a fork does not copy."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        gradstep.set_num_threads(2)
        x = gradstep.ones(400, 400)
        return gradstep.stack([(x @ x).sum(), gradstep.ones(1 << 20).sum()])


def test_the_engines_threads_work_in_forked_workers():
    gradstep.set_num_threads(2)
    for _ in range(3):  # the parent's threads are awake when it forks
        want = Parallel()[0].tolist()
        for batch in gdata.DataLoader(Parallel(), batch_size=1, num_workers=2):
            assert batch[0].tolist() == want


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_no_file_memory_or_process_is_left_behind():
    import multiprocessing

    def use(loader, batches):
        for i, _ in enumerate(loader):
            if i + 1 == batches:
                break

    use(gdata.DataLoader(Big(), num_workers=1), 1)
    before, shared = open_files(), set(os.listdir("/dev/shm"))
    for batches in (1, 2, 99):
        use(gdata.DataLoader(Big(), batch_size=2, num_workers=2), batches)
    with pytest.raises(KeyError):
        list(gdata.DataLoader(Broken(), num_workers=2))
    with pytest.raises(RuntimeError):
        list(gdata.DataLoader(Deadly(), num_workers=2))
    assert open_files() == before and set(os.listdir("/dev/shm")) == shared
    assert multiprocessing.active_children() == []


def test_prefetching_nothing_is_refused():
    with pytest.raises(AssertionError, match="prefetch_factor must be greater than 0"):
        iter(gdata.DataLoader(Squares(), num_workers=1, prefetch_factor=0))


class Picky(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


class Fails:
    def __init__(self, kind):
        self.kind = kind

    def __len__(self):
        return 1

    def __getitem__(self, i):
        raise Picky(1, 2) if self.kind is Picky else self.kind("no\ngood")


@pytest.mark.parametrize("kind", [ValueError, KeyError, Picky, OSError])
def test_exceptions_of_workers_are_wrapped_like_pytorchs(kind):
    caught = []
    for data in (gdata, tdata):
        with pytest.raises(Exception) as info:
            list(data.DataLoader(Fails(kind), num_workers=1))
        lines = str(info.value).splitlines()
        caught.append((info.type, lines[:2], lines[-2:]))
    assert caught[0] == caught[1]


class Long(gdata.IterableDataset):
    def __len__(self):
        return 3

    def __iter__(self):
        return iter(range(5))


class TorchLong(tdata.IterableDataset):
    __len__, __iter__ = Long.__len__, Long.__iter__


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_that_is_longer_than_it_says_warns_like_pytorchs(workers):
    told = []
    for data, dataset in ((gdata, Long()), (tdata, TorchLong())):
        loader = data.DataLoader(dataset, num_workers=workers)
        assert len(loader) == 3
        with pytest.warns(UserWarning, match="Length of IterableDataset") as caught:
            assert len(list(loader)) == 5
        told.append([str(w.message).partition(" was ")[2] for w in caught])
    assert [b.startswith(a) for a, b in zip(*told)] == [True, True]


def test_the_parts_have_pytorchs_places():
    from gradstep.utils.data import _utils, dataloader
    from gradstep.utils.data._utils.collate import default_collate_fn_map
    from gradstep.utils.data._utils.pin_memory import pin_memory

    assert gradstep.Tensor in default_collate_fn_map and pin_memory("x") == "x"
    assert _utils.worker.WorkerInfo and _utils.MP_STATUS_CHECK_INTERVAL == 5.0
    loader = gdata.DataLoader(Squares())
    assert loader._dataset_kind == dataloader._DatasetKind.Map == 0
    assert isinstance(iter(loader), dataloader._SingleProcessDataLoaderIter)


class Custom(gdata.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return {"a": [i, (i, Pair(np.float32(i), "s"))], "b": np.arange(3) + i, "c": b"x"}


def test_nested_samples_travel_like_they_are_collated():
    alone = plain(list(gdata.DataLoader(Custom(), batch_size=2)))
    assert plain(list(gdata.DataLoader(Custom(), batch_size=2, num_workers=2))) == alone
    assert alone == plain(list(tdata.DataLoader(Custom(), batch_size=2)))
