# SPDX-License-Identifier: Apache-2.0
"""From the indices of a batch to the batch, in this process or in a worker.

`make_fetcher(...)` picks: samples one by one and a collate function; the next samples of a
stream; or, for a TensorDataset (also through Subset) with the default collate function, one
`index_select` for each tensor, which gives the same batch without touching single samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradstep import _C

from ..dataset import IterableDataset, Subset, TensorDataset
from ..sampler import BatchSampler, RandomSampler, SequentialSampler
from .collate import default_collate

# ---- fetchers ----


class MapFetcher:
    """`dataset[i]` for each index of a batch, then the collate function."""

    def __init__(self, dataset: Any, batched: bool, collate_fn: Callable[[Any], Any]) -> None:
        self.dataset = dataset
        self.batched = batched
        self.collate_fn = collate_fn

    def fetch(self, index: Any) -> Any:
        dataset = self.dataset
        if not self.batched:
            data = dataset[index]
        elif callable(getattr(dataset, "__getitems__", None)):
            data = dataset.__getitems__(index)
        else:
            data = [dataset[i] for i in index]
        return self.collate_fn(data)


class StreamFetcher:
    """The next samples of an IterableDataset; `index` only says how many."""

    def __init__(
        self, dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool
    ) -> None:
        self.samples = iter(dataset)
        self.batched = batched
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def fetch(self, index: Any) -> Any:
        if self.ended:
            raise StopIteration
        if not self.batched:
            return self.collate_fn(next(self.samples))
        data = []
        for _ in index:
            try:
                data.append(next(self.samples))
            except StopIteration:
                self.ended = True
                break
        if not data or (self.drop_last and len(data) < len(index)):
            raise StopIteration
        return self.collate_fn(data)


class GatherFetcher:
    """One `index_select` for each tensor of a TensorDataset."""

    def __init__(self, tensors: tuple[Any, ...], order: Any, plain: MapFetcher) -> None:
        self.tensors = tensors
        self.order = order  # what a Subset maps its indices to, or None
        self.plain = plain
        self.length = tensors[0].size(0) if order is None else order.size(0)

    def fetch(self, index: Any) -> list[Any]:
        if isinstance(index, list):
            rows = _as_index(index, self.length)
            if rows is None:  # negative, out of range or no integers: indexing knows what to do
                return self.plain.fetch(index)
            index = rows
        if self.order is not None:
            index = self.order.index_select(0, index.cpu())
        return [t.index_select(0, index.to(t.device)) for t in self.tensors]


def _as_index(indices: Any, length: int) -> Any:
    """The indices as an int64 tensor, or None where index_select would differ from indexing."""
    array = np.asarray(indices)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        return None
    if array.min() < 0 or array.max() >= length:
        return None
    return _C.from_numpy(array.astype(np.int64))


def _gather_fetcher(dataset: Any, plain: MapFetcher) -> GatherFetcher | None:
    """A fetcher by index_select if the data set is made of plain tensors, else None."""
    subsets = []
    while type(dataset) is Subset:
        subsets.append(dataset.indices)
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not all(t.dim() for t in dataset.tensors):
        return None
    order, length = None, len(dataset)
    for indices in reversed(subsets):
        chosen = _as_index(indices, length)
        if chosen is None:
            return None
        order = chosen if order is None else order.index_select(0, chosen)
        length = order.size(0)
    return GatherFetcher(dataset.tensors, order, plain)


def make_fetcher(
    dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool
) -> Any:
    """The fetcher for this data set."""
    if isinstance(dataset, IterableDataset):
        return StreamFetcher(dataset, batched, collate_fn, drop_last)
    plain = MapFetcher(dataset, batched, collate_fn)
    if batched and collate_fn is default_collate:
        return _gather_fetcher(dataset, plain) or plain
    return plain


# ---- batches of indices as tensors ----


def tensor_batches(batch_sampler: Any) -> Iterator[Any] | None:
    """The sampler's batches as slices of the order it draws, without lists of Python ints.

    Random numbers are drawn at the same moments as by `iter(batch_sampler)`. None where the
    sampler is not one of ours.
    """
    if type(batch_sampler) is not BatchSampler:
        return None
    sampler = batch_sampler.sampler
    if type(sampler) is RandomSampler:
        return _cut(sampler._draws(), batch_sampler.batch_size, batch_sampler.drop_last)
    if type(sampler) is SequentialSampler:
        whole = iter([_C.arange(len(sampler), device="cpu")])
        return _cut(whole, batch_sampler.batch_size, batch_sampler.drop_last)
    return None


def _cut(draws: Iterator[Any], size: int, drop_last: bool) -> Iterator[Any]:
    rest: Any = None
    start = length = 0
    for draw in draws:
        left = length - start
        rest = draw if not left else _C.cat([rest.narrow(0, start, left), draw])
        start, length = 0, rest.size(0)
        while length - start >= size:
            yield rest.narrow(0, start, size)
            start += size
    if length > start and not drop_last:
        yield rest.narrow(0, start, length - start)
