# SPDX-License-Identifier: Apache-2.0
"""DataLoader: batches of a data set, in this process or prefetched by worker processes.

    for images, labels in DataLoader(dataset, batch_size=64, shuffle=True): ...

Draws the same random numbers as PyTorch's, so that the same seed gives the same batches.
Imports of multiprocessing stay inside functions: importing is cheap.
"""

from __future__ import annotations

import copy
import os
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NoReturn, TypeVar

from ._utils.collate import default_collate, default_convert
from ._utils.fetch import GatherFetcher, make_fetcher, tensor_batches
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler, draw_seed

T_co = TypeVar("T_co", covariant=True)

SHUTDOWN_SECONDS = 5.0  # time for a worker to end by itself before it is terminated


class _InfiniteConstantSampler:
    """The sampler of a stream: there is nothing to choose."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class _DatasetKind:
    """What `loader._dataset_kind` says."""

    Map = 0
    Iterable = 1


class DataLoader(Generic[T_co]):
    """Iterates over a data set in batches; arguments and defaults are PyTorch's.

    >>> data = TensorDataset(gradstep.arange(5))
    >>> [batch.tolist() for (batch,) in DataLoader(data, batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    _FIXED = (
        "batch_size",
        "batch_sampler",
        "sampler",
        "drop_last",
        "dataset",
        "persistent_workers",
    )
    _initialized = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError(
                "num_workers option should be non-negative; use num_workers=0 to disable "
                "multiprocessing."
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing. let "
                "num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")

        stream = isinstance(dataset, IterableDataset)
        if stream:
            if shuffle not in (False, None):
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified shuffle option, but got "
                    f"shuffle={shuffle}"
                )
            for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but "
                        f"got {name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            if stream:
                sampler = _InfiniteConstantSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self._is_stream = stream
        self._announced_length: int | None = None
        self._iterator: _MultiProcessingDataLoaderIter | None = None
        self._initialized = True
        self.check_worker_number_rationality()

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in self._FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> Any:
        """The context that starts workers; None takes the platform's default (fork on Linux)."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            import multiprocessing
            from multiprocessing.context import BaseContext

            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading "
                    "(num_workers > 0), but got num_workers=0"
                )
            if isinstance(context, str):
                methods = multiprocessing.get_all_start_methods()
                if context not in methods:
                    raise ValueError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{methods!r}, but got multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string "
                    f"specifying the start method, but got multiprocessing_context={context}"
                )
        self._context = context

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        if not self.persistent_workers:
            return _MultiProcessingDataLoaderIter(self)
        if self._iterator is None:
            self._iterator = _MultiProcessingDataLoaderIter(self)
        else:
            self._iterator.restart(self)
        return self._iterator

    def __len__(self) -> int:
        if not self._is_stream:
            return len(self._index_sampler)
        length = self._announced_length = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    @property
    def _dataset_kind(self) -> int:
        return _DatasetKind.Iterable if self._is_stream else _DatasetKind.Map

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def check_worker_number_rationality(self) -> None:
        """Warns if there are more workers than processors."""
        usable = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
        if self.num_workers > (usable or 1):
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our "
                f"suggested max number of worker in current system is {usable}, which is smaller "
                "than what this DataLoader is going to create. Please be aware that excessive "
                "worker creation might get DataLoader running slow or even freeze, lower the "
                "worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )


# ---- iterators ----


class _BaseDataLoaderIter:
    """What both iterators share: the order of random draws, length checks, pinning."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._pin = loader.pin_memory and self._has_accelerator()
        self._begin()
        self._base_seed = draw_seed(loader.generator)

    def _begin(self) -> None:
        self._indices = iter(self._loader._index_sampler)
        self._yielded = 0

    @staticmethod
    def _has_accelerator() -> bool:
        import gradstep

        if gradstep.cuda.is_available():
            return True
        warnings.warn(
            "'pin_memory' argument is set as true but no accelerator is found, then device pinned "
            "memory won't be used.",
            stacklevel=4,
        )
        return False

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        data = self._next_data()
        self._yielded += 1
        announced = self._loader._announced_length
        if announced is not None and self._yielded > announced:
            self._warn_too_long(announced)
        return data

    def _warn_too_long(self, announced: int) -> None:
        text = (
            f"Length of IterableDataset {self._loader.dataset} was reported to be {announced}"
            f"(when accessing len(dataloader)), but {self._yielded} samples have been fetched. "
        )
        if self._loader.num_workers > 0:
            text += (
                "For multiprocessing data-loading, this could be caused by not properly "
                "configuring the IterableDataset replica at each worker."
            )
        warnings.warn(text, stacklevel=3)

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __getstate__(self) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """Fetches in this process."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        if loader.timeout != 0:
            raise AssertionError("timeout needs num_workers > 0")
        self._fetcher = make_fetcher(
            loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )
        super().__init__(loader)

    def _begin(self) -> None:
        self._yielded = 0
        batches = None
        if isinstance(self._fetcher, GatherFetcher):
            batches = tensor_batches(self._loader.batch_sampler)
        self._indices = iter(self._loader._index_sampler) if batches is None else batches

    def _next_data(self) -> Any:
        data = self._fetcher.fetch(next(self._indices))
        if self._pin:
            from ._utils.pin_memory import pin_memory

            return pin_memory(data)
        return data


# The parent's ends of all pipes to workers; a forked worker closes its copies of them.
_open_ends: weakref.WeakSet[Any] = weakref.WeakSet()


class _Worker:
    """One worker process as the parent sees it."""

    def __init__(self, context: Any, job: Any) -> None:
        from ._utils.worker import run

        task_reader, self.tasks = context.Pipe(duplex=False)
        # A socket, so that descriptors can be sent.
        self.results, result_writer = context.Pipe(duplex=True)
        _open_ends.update((self.tasks, self.results))
        forked = context.get_start_method() == "fork"
        inherited = list(_open_ends) if forked else []
        self.process = context.Process(
            target=run, args=(job, task_reader, result_writer, inherited), daemon=True
        )
        self.process.start()
        task_reader.close()
        result_writer.close()
        self.active = True

    def put(self, task: Any) -> None:
        try:
            self.tasks.send(task)
        except OSError:
            pass  # it died: taking its answer will say so

    def died(self) -> RuntimeError:
        self.process.join(1.0)
        code = self.process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return RuntimeError(
            f"DataLoader worker (pid(s) {self.process.pid}) exited unexpectedly ({how})"
        )


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """Hands batches of indices to the workers in turn and takes the results in that order."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        import multiprocessing

        from ._utils.worker import Job

        self._workers: list[_Worker] = []
        self._pinner: Any = None
        if not loader.prefetch_factor:
            raise AssertionError(
                "prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter"
            )
        super().__init__(self._without_iterator(loader))
        context = loader.multiprocessing_context
        if context is None:
            chosen = multiprocessing.get_start_method(allow_none=True)
            # Fork unless told otherwise: data sets need not be picklable, workers start at once.
            context = multiprocessing.get_context(
                chosen or ("fork" if os.name == "posix" else None)
            )
        for i in range(loader.num_workers):
            job = Job(
                loader.dataset,
                loader._auto_collation,
                loader.collate_fn,
                loader.drop_last,
                self._base_seed,
                loader.worker_init_fn,
                i,
                loader.num_workers,
                os.getpid(),
            )
            self._workers.append(_Worker(context, job))
        if self._pin:
            from ._utils.pin_memory import Pinner

            self._pinner = Pinner(self._workers)
        self._epoch = 0
        self._start_epoch()

    @staticmethod
    def _without_iterator(loader: DataLoader[Any]) -> DataLoader[Any]:
        """A copy to keep: in a cycle with the loader, workers would wait for the collector."""
        kept = copy.copy(loader)
        kept._iterator = None
        return kept

    def restart(self, loader: DataLoader[Any]) -> None:
        """A new pass with the same workers; what they still owe of the last one is dropped."""
        if not self._workers:  # shut down by an error
            self.__init__(loader)  # type: ignore[misc]
            return
        self._loader = self._without_iterator(loader)
        self._begin()
        for worker in self._workers:
            worker.put((self._epoch + 1,))
            worker.active = True
        self._epoch += 1
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._order: deque[_Worker] = deque()  # whose answer comes next
        self._turn = 0
        for _ in range(self._loader.prefetch_factor * len(self._workers)):  # type: ignore[operator]
            self._hand_out()

    def _hand_out(self) -> None:
        """Gives the next indices to the next worker that still has samples."""
        count = len(self._workers)
        for i in range(count):
            worker = self._workers[(self._turn + i) % count]
            if worker.active:
                break
        else:
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        self._turn = (self._turn + i + 1) % count
        worker.put((self._epoch, index))
        self._order.append(worker)

    def _next_data(self) -> Any:
        while True:
            while self._order and not self._order[0].active:
                self._order.popleft()
            if not self._order:
                if not self._loader.persistent_workers:
                    self._shut_down()
                raise StopIteration
            worker = self._pick()
            epoch, kind, data = self._take(worker)
            if epoch != self._epoch:
                continue
            self._order.remove(worker)
            if kind == "end":
                worker.active = False
            self._hand_out()
            if kind == "batch":
                return data
            if kind == "error":
                self._shut_down()
                data.reraise()

    def _pick(self) -> _Worker:
        """The worker whose result is taken next: in order, or whoever is ready."""
        if self._loader.in_order:
            return self._order[0]
        if self._pinner is not None:
            return self._within(self._pinner.first, [w for w in self._order if w.active])
        waiting = {w.results: w for w in self._order if w.active}
        ready = self._wait(list(waiting) + [w.process.sentinel for w in waiting.values()])
        for conn, worker in waiting.items():
            if conn in ready or worker.process.sentinel in ready:
                return worker
        raise AssertionError("unreachable: wait returned nothing that it was given")

    def _wait(self, things: list[Any]) -> list[Any]:
        from multiprocessing.connection import wait

        def wait_for(things: list[Any], timeout: float | None) -> list[Any]:
            ready = wait(things, timeout)
            if not ready:
                raise TimeoutError
            return ready

        return self._within(wait_for, things)

    def _within(self, call: Callable[[Any, float | None], Any], argument: Any) -> Any:
        """call(argument, timeout); its TimeoutError ends everything."""
        timeout = self._loader.timeout or None
        try:
            return call(argument, timeout)
        except TimeoutError:
            self._shut_down(grace=0.0)
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds") from None

    def _take(self, worker: _Worker) -> Any:
        from ._utils.worker import receive

        try:
            if self._pinner is not None:
                return self._within(self._pinner.take, worker)
            ready = self._wait([worker.results, worker.process.sentinel])
            # A worker that has ended may have left its last result in the pipe.
            if worker.results not in ready and not worker.results.poll(0):
                raise EOFError
            message = receive(worker.results)
        except (EOFError, OSError):
            error = worker.died()
            self._shut_down()
            raise error from None
        return message

    def _shut_down(self, grace: float = SHUTDOWN_SECONDS) -> None:
        workers, self._workers = self._workers, []
        self._order = deque()
        pinner, self._pinner = self._pinner, None
        if pinner is not None:
            pinner.close()
        for worker in workers:
            worker.tasks.close()
            worker.results.close()
        deadline = time.monotonic() + grace
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join(1.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()

    def __del__(self) -> None:
        if getattr(self, "_workers", None):
            try:
                self._shut_down()
            except (AttributeError, TypeError, AssertionError, ValueError):
                pass  # the interpreter is going down, or this is a forked copy
