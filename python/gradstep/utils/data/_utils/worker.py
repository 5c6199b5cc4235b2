# SPDX-License-Identifier: Apache-2.0
"""Worker processes of a DataLoader: the loop that they run, and how batches travel.

Each worker has two pipes of its own: indices in, batches out. Nothing is shared between workers,
so one that is killed cannot leave a lock behind, and the others go on. Tensors and arrays of a
large batch travel in one block of anonymous shared memory whose descriptor is sent; the parent
maps it without a copy. Imports of multiprocessing stay inside functions: importing is cheap.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from gradstep import _C
from gradstep._tensor import dense

PARENT_CHECK_SECONDS = 5.0  # how soon a worker notices that its parent was killed
SHARED_MIN_BYTES = 1 << 15  # smaller batches go through the pipe: a mapping costs about 20 us
ALIGN = 64


# ---- what user code sees ----


class WorkerInfo(NamedTuple):
    """Who this worker is; see `get_worker_info`."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker: its id, the number of workers, its seed and its copy of the data set.

    None in the main process.
    """
    return _worker_info


class WorkerError:
    """An exception on its way to the parent: its type, if that can be sent, and its traceback."""

    def __init__(self, error: BaseException, where: str) -> None:
        import traceback

        self.type: type[BaseException] | None = type(error)
        self.name = type(error).__name__
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        self.message = f"Caught {self.name} {where}.\nOriginal {''.join(lines)}"
        try:
            pickle.loads(pickle.dumps(self.type))
        except Exception:
            self.type = None

    def reraise(self) -> None:
        """Raises the same type with the worker's traceback as message, else a RuntimeError."""
        message: Any = self.message
        if self.type is not None and issubclass(self.type, KeyError):
            message = _Verbatim(message)
        try:
            error = (self.type or RuntimeError)(message)
        except Exception:
            error = RuntimeError(message)
        raise error


class _Verbatim(str):
    """A message that KeyError prints with its line ends."""

    def __repr__(self) -> str:
        return str(self)


# ---- how a batch travels ----


def _rebuild_tensor(
    buffer: Any,
    dtype: str,
    shape: tuple[int, ...],
    stride: tuple[int, ...] | None,
    requires_grad: bool,
) -> Any:
    import numpy as np

    flat = _C.from_numpy(np.frombuffer(buffer, dtype=np.uint8)).view(getattr(_C, dtype))
    tensor = flat.reshape(shape) if stride is None else flat.as_strided(shape, stride)
    return tensor.requires_grad_() if requires_grad else tensor


def _empty_tensor(dtype: str, shape: tuple[int, ...]) -> Any:
    return _C.empty(shape, dtype=getattr(_C, dtype), device="cpu")


def dump(obj: Any) -> tuple[bytes, list[memoryview]]:
    """Pickles `obj`; the bytes of its tensors and arrays stay outside, uncopied."""
    import io

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if type(value) is not _C.Tensor or value.device.type != "cpu":
                return NotImplemented
            if value.requires_grad and not value.is_leaf:
                raise RuntimeError(
                    "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not "
                    "support crossing process boundaries.  If you just want to transfer the data, call detach() on "
                    "the tensor before serializing (e.g., putting it on the queue)."
                )
            dtype, shape = str(value.dtype).rpartition(".")[2], tuple(value.shape)
            if not value.numel():
                return _empty_tensor, (dtype, shape)
            flat, stride = dense(value)
            buffer = pickle.PickleBuffer(flat.view(_C.uint8).numpy())
            return _rebuild_tensor, (buffer, dtype, shape, stride, value.requires_grad)

    out = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    Pickler(out, protocol=5, buffer_callback=buffers.append).dump(obj)
    return out.getvalue(), [b.raw() for b in buffers]


def send(conn: Any, obj: Any) -> None:
    """Sends `obj` to `receive(conn)` at the other end of a pipe."""
    import mmap
    from multiprocessing import reduction

    data, buffers = dump(obj)
    sizes = [b.nbytes for b in buffers]
    total = sum(-(-n // ALIGN) * ALIGN for n in sizes)
    fd = -1
    if total >= SHARED_MIN_BYTES and hasattr(os, "memfd_create"):
        try:
            fd = os.memfd_create("gradstep-batch", os.MFD_CLOEXEC)
            os.ftruncate(fd, total)
        except OSError:  # not allowed here: the pipe does it too
            if fd >= 0:
                os.close(fd)
            fd = -1
    conn.send_bytes(pickle.dumps((data, sizes, fd >= 0)))
    if fd < 0:
        for buffer in buffers:
            if buffer.nbytes:
                conn.send_bytes(buffer)
        return
    try:
        with mmap.mmap(fd, total) as block:
            start = 0
            for buffer in buffers:
                block[start : start + buffer.nbytes] = buffer
                start += -(-buffer.nbytes // ALIGN) * ALIGN
        reduction.send_handle(conn, fd, None)
    finally:
        os.close(fd)


def receive(conn: Any) -> Any:
    """What `send` sent; raises EOFError or OSError if the other end is gone."""
    import mmap
    from multiprocessing import reduction

    data, sizes, shared = pickle.loads(conn.recv_bytes())
    if not shared:
        return pickle.loads(
            data, buffers=[bytearray(conn.recv_bytes()) if n else b"" for n in sizes]
        )
    fd = reduction.recv_handle(conn)
    try:
        # Closed by the garbage collector, when the last tensor that views it goes.
        block = memoryview(mmap.mmap(fd, 0))
    finally:
        os.close(fd)
    buffers, start = [], 0
    for n in sizes:
        buffers.append(block[start : start + n])
        start += -(-n // ALIGN) * ALIGN
    return pickle.loads(data, buffers=buffers)


# ---- the loop ----


class Job(NamedTuple):
    """All that a worker has to know; sent once, when it starts."""

    dataset: Any
    batched: bool
    collate_fn: Callable[[Any], Any]
    drop_last: bool
    base_seed: int
    init_fn: Callable[[int], None] | None
    worker_id: int
    num_workers: int
    parent_pid: int


def _seed(job: Job) -> int:
    """Seeds all generators differently in each worker, with PyTorch's seeds."""
    import random

    import numpy as np

    import gradstep

    seed = job.base_seed + job.worker_id
    random.seed(seed)
    gradstep.manual_seed(seed)
    low, high = job.base_seed & 0xFFFFFFFF, job.base_seed >> 32
    np.random.seed(np.random.SeedSequence([job.worker_id, low, high, 0]).generate_state(4))
    return seed


def run(job: Job, tasks: Any, results: Any, inherited: list[Any]) -> None:
    """The whole life of a worker process; ends when the parent closes the pipe or dies."""
    import queue
    import signal
    import threading

    from .fetch import make_fetcher

    # A forked process has no CUDA: batches are made on the CPU, whatever the default device is.
    _C.device("cpu").__enter__()
    # Ends of other workers' pipes that fork copied: held open, they would hide a closed pipe.
    for conn in inherited:
        conn.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        """Keeps the pipe of indices empty, so that the parent never blocks on sending."""
        try:
            while True:
                while not tasks.poll(PARENT_CHECK_SECONDS):
                    if os.getppid() != job.parent_pid:
                        os._exit(1)
                inbox.put(tasks.recv())
        except (EOFError, OSError):
            inbox.put(None)

    threading.Thread(target=listen, daemon=True).start()
    where = f"in DataLoader worker process {job.worker_id}"
    failure: WorkerError | None = None
    fetcher: Any = None

    def start() -> Any:
        return make_fetcher(job.dataset, job.batched, job.collate_fn, job.drop_last)

    try:
        _C.set_num_threads(1)
        global _worker_info
        _worker_info = WorkerInfo(job.worker_id, job.num_workers, _seed(job), job.dataset)
        if job.init_fn is not None:
            job.init_fn(job.worker_id)
        fetcher = start()
    except Exception as error:
        failure = WorkerError(error, where)

    while (task := inbox.get()) is not None:
        epoch = task[0]
        message: tuple[int, str, Any]
        try:
            if failure is not None:
                message = (epoch, "error", failure)
            elif len(task) == 1:  # a new pass of persistent workers; not answered
                fetcher = start()
                continue
            else:
                message = (epoch, "batch", fetcher.fetch(task[1]))
        except StopIteration as error:
            if fetcher is not None and hasattr(fetcher, "samples"):
                message = (epoch, "end", None)
            else:
                message = (epoch, "error", WorkerError(error, where))
        except Exception as error:
            message = (epoch, "error", WorkerError(error, where))
        try:
            try:
                send(results, message)
            except (BrokenPipeError, ConnectionError):
                break  # the parent has no more use for it
            except Exception as error:  # the batch cannot be pickled
                send(results, (epoch, "error", WorkerError(error, where)))
        except OSError:
            break
        del task, message
    sys.stdout.flush()
    sys.stderr.flush()
