# SPDX-License-Identifier: Apache-2.0
"""Samplers: the order in which a loader asks for samples; the same numbers as PyTorch's.

sampler = RandomSampler(dataset, generator=gradstep.Generator().manual_seed(1))
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

from gradstep import _C

T_co = TypeVar("T_co", covariant=True)


def device_of(generator: Any = None) -> Any:
    """Where a generator draws: on the CPU unless it says otherwise, whatever the default device."""
    return "cpu" if generator is None else generator.device


def draw_seed(generator: Any = None) -> int:
    """One int64 from the generator (None: the global one), as PyTorch draws its seeds."""
    seed = _C.empty((), dtype=_C.int64, device=device_of(generator))
    return int(seed.random_(generator=generator).item())


class Sampler(Generic[T_co]):
    """Yields indices (or lists of them: a batch sampler); subclasses write `__iter__`."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """0, 1, 2, .."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A new random order each time, or `num_samples` independent draws with `replacement`.

    Raises: ValueError for num_samples below 1, TypeError for a replacement that is no bool.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(
                "num_samples should be a positive integer value, but got "
                f"num_samples={self.num_samples}"
            )

    @property
    def num_samples(self) -> int:
        """How many indices one pass yields; the data set's length unless given."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def _draws(self) -> Iterator[Any]:
        """The indices as tensors, drawn when they are asked for."""
        n, wanted, generator = len(self.data_source), self.num_samples, self.generator
        if generator is None:
            generator = _C.Generator()
            generator.manual_seed(draw_seed())
        if self.replacement:
            for _ in range(wanted // 32):
                yield _C.randint(
                    high=n, size=(32,), dtype=_C.int64, generator=generator, device=generator.device
                )
            yield _C.randint(
                high=n,
                size=(wanted % 32,),
                dtype=_C.int64,
                generator=generator,
                device=generator.device,
            )
        else:
            for _ in range(wanted // n):
                yield _C.randperm(n, generator=generator, device=generator.device)
            # Drawn even where nothing is left over, as PyTorch does.
            yield _C.randperm(n, generator=generator, device=generator.device)[: wanted % n]

    def __iter__(self) -> Iterator[int]:
        for indices in self._draws():
            yield from indices.tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in a random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        device = device_of(self.generator)
        for i in _C.randperm(len(self.indices), generator=self.generator, device=device).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` indices, index i with a chance in proportion to `weights[i]`.

    Raises: ValueError for num_samples below 1, TypeError for a replacement that is no bool.
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Any = None,
    ) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(
                f"num_samples should be a positive integer value, but got num_samples={num_samples}"
            )
        if not isinstance(replacement, bool):
            raise ValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        self.weights = _C.as_tensor(weights, dtype=_C.float64)
        if len(self.weights.shape) != 1:
            raise ValueError(
                "weights should be a 1d sequence but given weights have shape "
                f"{tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = _C.multinomial(
            self.weights, self.num_samples, self.replacement, generator=self.generator
        )
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices of another sampler; the last is shorter or dropped.

    Raises: ValueError for a batch_size that is no positive integer.
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}"
            )
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        least = self.batch_size if self.drop_last else 1
        while len(batch := list(islice(indices, self.batch_size))) >= least:
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class DistributedSampler(Sampler[int]):
    """Every `num_replicas`-th index from `rank` on; call `set_epoch` before each epoch.

    The order is padded by repeating its beginning (or cut, with `drop_last`) so that every rank
    gets as many samples.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            try:
                distributed: Any = importlib.import_module("gradstep.distributed")
            except ImportError:
                raise RuntimeError("Requires distributed package to be available") from None
            num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
            rank = distributed.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            generator = _C.Generator()
            generator.manual_seed(self.seed + self.epoch)
            indices = _C.randperm(n, generator=generator, device=generator.device).tolist()
        else:
            indices = list(range(n))
        if n:
            indices *= math.ceil(self.total_size / n) or 1
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Makes the next pass use the order of this epoch."""
        self.epoch = epoch
