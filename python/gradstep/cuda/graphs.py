# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: the launches of a block of code, recorded once and replayed without Python.

>>> g = torch.cuda.CUDAGraph()  # doctest: +SKIP
>>> with torch.cuda.graph(g):
...     y = model(x)
>>> x.copy_(batch); g.replay()  # y holds the new result
"""

from __future__ import annotations

import itertools
from types import TracebackType
from typing import Any

from .. import _C


class CUDAGraph:
    """A recorded graph. Its tensors stay where they are: write inputs with copy_, read outputs after replay()."""

    def __init__(self, keep_graph: bool = False) -> None:
        self._graph: int | None = None

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        """Starts to record what is launched on the current stream, which is not the default one."""
        if self._graph is not None:
            raise RuntimeError(
                "This CUDAGraph instance already owns a captured graph: call reset() first"
            )
        _C._cuda_begin_capture(-1)

    def capture_end(self) -> None:
        """Ends the recording and makes the graph ready to run."""
        self._graph = _C._cuda_end_capture(True)

    def _abandon(self) -> None:
        _C._cuda_end_capture(False)

    def replay(self) -> None:
        """Runs the graph on the current stream; random numbers go on, as eager code's do."""
        if self._graph is None:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        _C._cuda_replay_graph(self._graph)

    def pool(self) -> tuple[int, int]:
        """Accepted where a pool is asked for: each graph has memory of its own."""
        return graph_pool_handle()

    def reset(self) -> None:
        """Drops the graph and its memory, but for what tensors still use."""
        if self._graph is not None:
            graph, self._graph = self._graph, None
            _C._cuda_destroy_graph(graph)

    def __del__(self) -> None:
        self.reset()


class graph:
    """Records the body of a with statement into a CUDAGraph, on a stream of its own."""

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: Any = None,
        capture_error_mode: str = "global",
    ) -> None:
        self.cuda_graph = cuda_graph
        self.stream = stream
        self._context: Any = None

    def __enter__(self) -> None:
        from . import Stream, stream, synchronize

        synchronize()
        if self.stream is None:
            self.stream = Stream()
        self._context = stream(self.stream)
        self._context.__enter__()
        try:
            self.cuda_graph.capture_begin()
        except BaseException:
            self._context.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.cuda_graph.capture_end()
            else:
                self.cuda_graph._abandon()
        finally:
            self._context.__exit__(None, None, None)


_handles = itertools.count(1)


def graph_pool_handle() -> tuple[int, int]:
    """Accepted as `pool`: each graph has memory of its own."""
    return 0, next(_handles)


def is_current_stream_capturing() -> bool:
    """True while a graph is being recorded."""
    return bool(_C._cuda_is_capturing())
