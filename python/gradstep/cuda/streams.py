# SPDX-License-Identifier: Apache-2.0
"""Streams, in which a GPU works in order, and events, which mark a place in them.

>>> s = torch.cuda.Stream()  # doctest: +SKIP
>>> with torch.cuda.stream(s):  # doctest: +SKIP
...     y = x @ x
>>> torch.cuda.current_stream().wait_stream(s)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from gradstep import _C

from ._devices import index_of


class Stream:
    """A stream of a device; PyTorch's 32 of each priority are handed out in turn.

    A lower `priority` comes first: 0 is the usual one, -1 is above it.
    """

    def __init__(self, device: Any = None, priority: int = 0, **handle: int) -> None:
        self.device_index = index_of(device, optional=True)
        self.priority = priority
        self.cuda_stream: int = (
            handle["cuda_stream"] if handle else _C._cuda_new_stream(self.device_index, priority)
        )
        self._contexts: list[StreamContext] = []

    @property
    def device(self) -> _C.device:
        return _C.device("cuda", self.device_index)

    @property
    def stream_id(self) -> int:
        return self.cuda_stream

    def query(self) -> bool:
        """True if all work that was given to the stream is done."""
        return bool(_C._cuda_query_stream(self.device_index, self.cuda_stream))

    def synchronize(self) -> None:
        """Waits for all work that was given to the stream."""
        _C._cuda_synchronize_stream(self.device_index, self.cuda_stream)

    def record_event(self, event: Event | None = None) -> Event:
        """Records the event (a new one by default) behind the work so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What is given to the stream from now on starts after the event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What is given to the stream from now on starts after the other one's work so far."""
        self.wait_event(stream.record_event())

    def __enter__(self) -> Stream:
        self._contexts.append(StreamContext(self))
        self._contexts[-1].__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._contexts.pop().__exit__(*exc)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stream):
            return NotImplemented
        return (self.device_index, self.cuda_stream) == (other.device_index, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self.device_index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


class ExternalStream(Stream):
    """A stream that another library made, by its address; it must outlive this object."""

    def __init__(self, stream_ptr: int, device: Any = None) -> None:
        super().__init__(device, cuda_stream=stream_ptr)


def get_stream_from_external(data_ptr: int, device: Any = None) -> Stream:
    """A stream that another library made, by its address."""
    return ExternalStream(data_ptr, device)


class Event:
    """A place in a stream. With `enable_timing`, the time between two of them can be asked for."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        _C._cuda_init()
        if interprocess:
            raise NotImplementedError("events cannot be shared between processes")
        self.enable_timing = enable_timing
        self.blocking = blocking
        self._device = -1
        self.cuda_event = 0  # made when it is first recorded

    @property
    def device(self) -> _C.device | None:
        return _C.device("cuda", self._device) if self.cuda_event else None

    def record(self, stream: Stream | None = None) -> None:
        """Marks the place behind all work that the stream (the current one) has so far."""
        stream = current_stream() if stream is None else stream
        if not self.cuda_event:
            self._device = stream.device_index
            self.cuda_event = _C._cuda_new_event(self._device, self.enable_timing, self.blocking)
        elif self._device != stream.device_index:
            raise RuntimeError(
                f"Event device {self._device} does not match recording stream's device "
                f"{stream.device_index}."
            )
        _C._cuda_record_event(self.cuda_event, self._device, stream.cuda_stream)

    def wait(self, stream: Stream | None = None) -> None:
        """What the stream (the current one) is given from now on starts after the event."""
        if self.cuda_event:
            stream = current_stream() if stream is None else stream
            _C._cuda_wait_event(stream.device_index, stream.cuda_stream, self.cuda_event)

    def query(self) -> bool:
        """True if everything before the event is done."""
        return not self.cuda_event or bool(_C._cuda_query_event(self.cuda_event))

    def synchronize(self) -> None:
        """Waits for everything before the event."""
        if self.cuda_event:
            _C._cuda_synchronize_event(self.cuda_event)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to the other one."""
        both = (self, end_event)
        if not all(e.cuda_event for e in both):
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not all(e.enable_timing for e in both):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if not all(e.query() for e in both):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return float(_C._cuda_elapsed_time(self.cuda_event, end_event.cuda_event))

    def __del__(self) -> None:
        if getattr(self, "cuda_event", 0):
            _C._cuda_destroy_event(self.cuda_event)

    def __repr__(self) -> str:
        what = f"{self.cuda_event:#x}" if self.cuda_event else "uninitialized"
        return f"<torch.cuda.Event {what}>"


# ---- the current stream ----


def current_stream(device: Any = None) -> Stream:
    """The stream that this thread's work on the device goes to."""
    index = index_of(device, optional=True)
    return Stream(index, cuda_stream=_C._cuda_current_stream(index))


def default_stream(device: Any = None) -> Stream:
    """The stream that work goes to unless another one was chosen."""
    return Stream(device, cuda_stream=0)


def set_stream(stream: Stream | None) -> None:
    """Makes a stream the current one of its device, and the device the current one."""
    if stream is not None:
        _C._cuda_set_device(stream.device_index)
        _C._cuda_set_stream(stream.device_index, stream.cuda_stream)


class StreamContext:
    """Makes a stream (None: no change) and its device current in a `with` block."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._device = -1
        self._before = 0

    def __enter__(self) -> None:
        if self.stream is not None:
            self._device = _C._cuda_current_device()
            self._before = _C._cuda_current_stream(self.stream.device_index)
            set_stream(self.stream)

    def __exit__(self, *exc: Any) -> None:
        if self.stream is not None:
            _C._cuda_set_stream(self.stream.device_index, self._before)
            _C._cuda_set_device(self._device)


def stream(stream: Stream | None) -> StreamContext:
    """`with torch.cuda.stream(s):` the body's work goes to s."""
    return StreamContext(stream)
