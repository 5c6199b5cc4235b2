# SPDX-License-Identifier: Apache-2.0
"""A pickle reader that builds plain values, containers, and what an allow-list names; it runs nothing else.

    value = Unpickler(data, start, find_class, persistent_load, call, new, build).load()

Written from the description of the protocol in Python's pickletools. Python's own unpickler would do for honest files,
but a crafted one can make it allocate gigabytes (an entry of the memo with a huge index, a string of a huge length)
or overflow the stack (the hash of a deeply nested key). Here lengths are compared with the bytes that are there, the
memo is a dict, and keys are looked at before they are hashed.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

_PLAIN = frozenset((str, int, float, bool, bytes, complex, type(None)))
_MAX_KEY = 1000  # parts of a key: tuples in tuples
_FLOAT = struct.Struct(">d")
_INT = struct.Struct("<i")

_MARK = object()


def damaged(text: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"pickle data is damaged: {text}")


def check_key(key: Any) -> None:
    """Raises for a key that cannot be hashed, or only by a long recursion."""
    if type(key) in _PLAIN:
        return
    left, seen = [key], 0
    while left:
        part = left.pop()
        seen += 1
        if seen > _MAX_KEY:
            raise damaged("a key of a dict or set is nested too deeply")
        if isinstance(part, (tuple, frozenset)):
            left.extend(part)
        elif isinstance(part, (list, dict, set, bytearray)):
            raise damaged(f"a {type(part).__name__} cannot be a key")


class Unpickler:
    """Reads one pickle from `data`, from `start` on; afterwards `end` is where it ended.

    `find_class(module, name)` gives what a global stands for or raises. `call(fn, args)` and `new(cls, args, kwargs)` are
    asked to call it, `build(obj, state)` to give an object its state, `persistent_load(id)` for what lies outside.
    """

    def __init__(
        self,
        data: bytes,
        start: int,
        find_class: Callable[[str, str], Any],
        persistent_load: Callable[[Any], Any],
        call: Callable[[Any, tuple[Any, ...]], Any],
        new: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any],
        build: Callable[[Any, Any], None],
        encoding: str = "utf-8",
    ) -> None:
        self.data, self.at = data, start
        self.find_class, self.persistent_load = find_class, persistent_load
        self.call, self.new, self.build = call, new, build
        self.encoding = encoding
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    @property
    def end(self) -> int:
        return self.at

    def load(self) -> Any:
        """The value; UnpicklingError for anything that is not a whole, allowed pickle."""
        data, actions = self.data, _ACTIONS
        try:
            while True:
                code = data[self.at]
                self.at += 1
                if code == 0x2E:  # STOP
                    return self.stack.pop()
                action = actions.get(code)
                if action is None:
                    raise pickle.UnpicklingError(f"Unsupported operand {code}")
                action(self)
        except IndexError:
            raise damaged("it ends too early") from None
        except KeyError as error:
            raise damaged(f"no entry {error} in the memo") from None

    # ---- bytes ----

    def take(self, n: int) -> bytes:
        end = self.at + n
        if end > len(self.data):
            raise damaged(f"{n} bytes announced, {len(self.data) - self.at} there")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def count(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def counted(self, width: int) -> bytes:
        return self.take(self.count(width))

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise damaged("it ends too early")
        text = self.data[self.at : end]
        self.at = end + 1
        return text.decode("utf-8", "surrogateescape")

    def text(self, width: int) -> None:
        self.stack.append(self.counted(width).decode("utf-8", "surrogatepass"))

    def old_text(self, width: int) -> None:
        """A str of Python 2."""
        raw = self.counted(width)
        self.stack.append(raw if self.encoding == "bytes" else raw.decode(self.encoding))

    # ---- the stack ----

    def to_mark(self) -> list[Any]:
        stack = self.stack
        for i in range(len(stack) - 1, -1, -1):
            if stack[i] is _MARK:
                items = stack[i + 1 :]
                del stack[i:]
                return items
        raise damaged("no mark on the stack")

    def tuple_of(self, n: int) -> None:
        stack = self.stack
        if len(stack) < n:
            raise IndexError
        stack[len(stack) - n :] = [tuple(stack[len(stack) - n :])]

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        extend = getattr(
            type(target), "extend", None
        )  # a list's, or that of a class that was allowed
        if extend is None:
            raise damaged(f"items for a {type(target).__name__}")
        extend(target, items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise damaged(f"keys and values for a {type(target).__name__}")
        for i in range(0, len(items), 2):
            key = items[i]
            if type(key) not in _PLAIN:
                check_key(key)
            target[key] = items[i + 1]

    def add_items(self) -> None:
        items, target = self.to_mark(), self.stack[-1]
        if type(target) is not set:
            raise damaged(f"elements for a {type(target).__name__}")
        for item in items:
            check_key(item)
        target.update(items)

    def frozen(self) -> None:
        items = self.to_mark()
        for item in items:
            check_key(item)
        self.stack.append(frozenset(items))

    def pairs(self) -> None:
        items = self.to_mark()
        self.stack.append({})
        self.set_items(items)

    # ---- globals and calls ----

    def global_(self) -> None:
        module = self.line()
        self.stack.append(self.find_class(module, self.line()))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise damaged("a global whose name is no text")
        self.stack.append(self.find_class(module, name))

    def reduce(self) -> None:
        args = self.stack.pop()
        fn = self.stack.pop()
        if type(args) is not tuple:
            raise damaged("arguments that are no tuple")
        self.stack.append(self.call(fn, args))

    def new_object(self, with_kwargs: bool) -> None:
        kwargs = self.stack.pop() if with_kwargs else {}
        args = self.stack.pop()
        cls = self.stack.pop()
        if type(args) is not tuple or type(kwargs) is not dict:
            raise damaged("arguments that are no tuple")
        self.stack.append(self.new(cls, args, kwargs))

    def set_state(self) -> None:
        state = self.stack.pop()
        self.build(self.stack[-1], state)

    def protocol(self) -> None:
        version = self.data[self.at]
        self.at += 1
        if version > 5:
            raise pickle.UnpicklingError(f"unsupported pickle protocol: {version}")

    def persistent(self) -> None:
        self.stack.append(self.persistent_load(self.stack.pop()))


Action = Callable[[Unpickler], Any]


def _push(value: Any) -> Action:
    return lambda u: u.stack.append(value)


def _push_new(kind: Any) -> Action:
    return lambda u: u.stack.append(kind())


def _put(index: Callable[[Unpickler], int]) -> Action:
    def put(u: Unpickler) -> None:
        u.memo[index(u)] = u.stack[-1]

    return put


def _get(width: int) -> Action:
    return lambda u: u.stack.append(u.memo[u.count(width)])


_ACTIONS: dict[int, Action] = {
    ord(code): action
    for code, action in {
        "\x80": Unpickler.protocol,
        "\x95": lambda u: u.count(8),  # FRAME: a hint
        "(": _push(_MARK),
        "0": lambda u: u.stack.pop(),
        "1": Unpickler.to_mark,
        "2": lambda u: u.stack.append(u.stack[-1]),
        "N": _push(None),
        "\x88": _push(True),
        "\x89": _push(False),
        "J": lambda u: u.stack.append(_INT.unpack(u.take(4))[0]),
        "K": lambda u: u.stack.append(u.count(1)),
        "M": lambda u: u.stack.append(u.count(2)),
        "\x8a": lambda u: u.stack.append(int.from_bytes(u.counted(1), "little", signed=True)),
        "\x8b": lambda u: u.stack.append(int.from_bytes(u.counted(4), "little", signed=True)),
        "G": lambda u: u.stack.append(_FLOAT.unpack(u.take(8))[0]),
        "U": lambda u: u.old_text(1),
        "T": lambda u: u.old_text(4),
        "\x8c": lambda u: u.text(1),
        "X": lambda u: u.text(4),
        "\x8d": lambda u: u.text(8),
        "C": lambda u: u.stack.append(u.counted(1)),
        "B": lambda u: u.stack.append(u.counted(4)),
        "\x8e": lambda u: u.stack.append(u.counted(8)),
        "\x96": lambda u: u.stack.append(bytearray(u.counted(8))),
        "]": _push_new(list),
        "}": _push_new(dict),
        "\x8f": _push_new(set),
        ")": _push(()),
        "t": lambda u: u.stack.append(tuple(u.to_mark())),
        "l": lambda u: u.stack.append(u.to_mark()),
        "d": Unpickler.pairs,
        "\x85": lambda u: u.tuple_of(1),
        "\x86": lambda u: u.tuple_of(2),
        "\x87": lambda u: u.tuple_of(3),
        "a": lambda u: u.append([u.stack.pop()]),
        "e": lambda u: u.append(u.to_mark()),
        "s": lambda u: u.set_items([u.stack.pop(), u.stack.pop()][::-1]),
        "u": lambda u: u.set_items(u.to_mark()),
        "\x90": Unpickler.add_items,
        "\x91": Unpickler.frozen,
        "q": _put(lambda u: u.count(1)),
        "r": _put(lambda u: u.count(4)),
        "\x94": _put(lambda u: len(u.memo)),
        "h": _get(1),
        "j": _get(4),
        "c": Unpickler.global_,
        "\x93": Unpickler.stack_global,
        "R": Unpickler.reduce,
        "\x81": lambda u: u.new_object(False),
        "\x92": lambda u: u.new_object(True),
        "b": Unpickler.set_state,
        "Q": Unpickler.persistent,
    }.items()
}
