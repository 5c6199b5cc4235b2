# SPDX-License-Identifier: Apache-2.0
"""DataLoader(pin_memory=True): nested batches, a user's own types, in a thread where there are workers; nothing hangs."""

import collections
import gc
import os
import signal
import threading
import time

import pytest

import gradstep
from gradstep.utils import data as gdata

pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore:This DataLoader will create")]


class Squares(gdata.Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {"i": i, "square": gradstep.tensor(float(i * i), device="cpu")}


class Slow(Squares):
    def __getitem__(self, i):
        if i == 3:
            time.sleep(30)
        return i


def pids(iterator):
    return [w.process.pid for w in iterator._workers]


class Custom:
    """A batch of a user's own type that knows how to pin itself."""

    def __init__(self, samples):
        self.x = gradstep.stack([s[0] for s in samples])

    def pin_memory(self):
        self.x = self.x.pin_memory()
        self.thread = threading.current_thread().name
        return self


Point = collections.namedtuple("Point", "x y")


class Nested(gdata.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        x = gradstep.full((2,), float(i), device="cpu")
        return {"point": Point(x, [x, (x, "text")]), "n": gradstep.tensor(i, device="cpu")}


@pytest.mark.parametrize("workers", [0, 2])
def test_tensors_in_nested_batches_are_pinned(workers):
    seen = 0
    for batch in gdata.DataLoader(Nested(), batch_size=4, num_workers=workers, pin_memory=True):
        point = batch["point"]
        assert isinstance(point, Point) and isinstance(point.y, list)
        for t in (point.x, point.y[0], point.y[1][0], batch["n"]):
            assert t.is_pinned() and not t.is_cuda
        assert point.y[1][1][0] == "text"
        assert point.x[:, 0].tolist() == [float(i) for i in batch["n"].tolist()]
        seen += len(batch["n"])
    assert seen == 6


@pytest.mark.parametrize("in_order", [True, False])
def test_a_batch_of_ones_own_type_pins_itself_in_the_background(in_order):
    with gradstep.device("cpu"):
        data = gdata.TensorDataset(gradstep.arange(24.0).reshape(12, 2))
    options = {"batch_size": 3, "collate_fn": Custom, "pin_memory": True}
    for workers in (0, 2):
        loader = gdata.DataLoader(data, num_workers=workers, in_order=in_order, **options)
        batches = list(loader)
        assert sorted(b.x[0, 0].item() for b in batches) == [0.0, 6.0, 12.0, 18.0]
        assert all(b.x.is_pinned() for b in batches)
        assert {b.thread for b in batches} == {"gradstep-pin" if workers else "MainThread"}
    assert not [t for t in threading.enumerate() if t.name == "gradstep-pin"]


class Unpinnable:
    def __init__(self, samples):
        pass

    def pin_memory(self):
        raise KeyError("no such memory")


def test_errors_while_pinning_and_of_workers_arrive():
    loader = gdata.DataLoader(Nested(), num_workers=1, collate_fn=Unpinnable, pin_memory=True)
    with pytest.raises(KeyError, match="in pin memory thread for device 0"):
        list(loader)
    with pytest.raises(RuntimeError, match="timed out after 0.5 seconds"):
        list(gdata.DataLoader(Slow(5), num_workers=1, timeout=0.5, pin_memory=True))
    iterator = iter(gdata.DataLoader(Squares(1000), num_workers=2, pin_memory=True))
    next(iterator)
    for pid in pids(iterator):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="exited unexpectedly .killed by signal 9"):
        for _ in range(1000):
            next(iterator)


def test_persistent_workers_with_pinning_and_iterators_that_are_dropped():
    loader = gdata.DataLoader(
        Squares(8), batch_size=2, num_workers=2, pin_memory=True, persistent_workers=True
    )
    iterator = iter(loader)
    next(iterator)  # the rest of this pass is dropped
    for _ in range(2):
        assert [batch["i"].tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    workers = [w.process for w in iterator._workers]
    del iterator, loader
    gc.collect()
    assert all(w._closed for w in workers)
    assert not [t for t in threading.enumerate() if t.name == "gradstep-pin"]
