# SPDX-License-Identifier: Apache-2.0
"""What distributed_c10d.py speaks of: errors, operations, backends, work handles and stores."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Any

from gradstep._C import Tensor
from gradstep.distributed.constants import default_pg_timeout

# ---- errors ----


class DistError(RuntimeError):
    """Something failed in torch.distributed."""


class DistBackendError(DistError):
    """.. in a backend."""


class DistNetworkError(DistError):
    """.. in the network."""


class DistStoreError(DistError):
    """.. in a store."""


class QueueEmptyError(DistStoreError):
    """A store's queue has nothing."""


# ---- what collectives are told ----


class RedOpType(enum.IntEnum):
    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8
    UNUSED = 9

    __str__ = enum.Enum.__str__


class ReduceOp:
    """How values of several processes become one: ReduceOp.SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR."""

    RedOpType = RedOpType
    SUM = RedOpType.SUM
    AVG = RedOpType.AVG
    PRODUCT = RedOpType.PRODUCT
    MIN = RedOpType.MIN
    MAX = RedOpType.MAX
    BAND = RedOpType.BAND
    BOR = RedOpType.BOR
    BXOR = RedOpType.BXOR
    PREMUL_SUM = RedOpType.PREMUL_SUM

    def __init__(self, op: Any) -> None:
        self.op = RedOpType(getattr(op, "op", op))

    def __eq__(self, other: object) -> bool:
        return self.op == getattr(other, "op", other)

    def __hash__(self) -> int:
        return hash(self.op)


class reduce_op:
    """The older name of ReduceOp's values."""

    SUM = RedOpType.SUM
    PRODUCT = RedOpType.PRODUCT
    MIN = RedOpType.MIN
    MAX = RedOpType.MAX


class Backend(str):
    """The name of a backend, in lower case."""

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    UCC = "ucc"
    MPI = "mpi"
    XCCL = "xccl"
    FAKE = "fake"
    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI, FAKE]
    default_device_backend_map = {"cpu": GLOO, "cuda": NCCL, "xpu": XCCL, "mps": GLOO}

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError("Backend constructor parameter must be string-ish")
        return super().__new__(cls, name.lower())


class Work:
    """What an asynchronous collective returns: it is done already."""

    def __init__(self, result: Any = None) -> None:
        self._result = result

    def wait(self, timeout: timedelta | None = None) -> bool:
        return True

    def is_completed(self) -> bool:
        return True

    def is_success(self) -> bool:
        return True

    def exception(self) -> None:
        return None

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def source_rank(self) -> int:
        return 0

    def result(self) -> list[Tensor]:
        return _tensors(self._result)

    def get_future(self) -> Any:
        """A torch.futures.Future of the tensors."""
        from gradstep.futures import Future

        future = Future()
        future.set_result(self.result())
        return future


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value or ())


# ---- stores ----


class Store:
    """Keys and values that processes share; here a dict. Values are bytes."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self.timeout = default_pg_timeout

    def set(self, key: str, value: str | bytes) -> None:
        self._values[key] = value.encode() if isinstance(value, str) else bytes(value)

    def get(self, key: str) -> bytes:
        """DistStoreError if nobody has set it: nobody else can."""
        if key not in self._values:
            raise DistStoreError(
                f"wait timeout: key {key!r} was not set, and no other process can set it"
            )
        return self._values[key]

    def add(self, key: str, amount: int) -> int:
        total = int(self._values.get(key, b"0")) + amount
        self._values[key] = str(total).encode()
        return total

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        now = self._values.get(key)
        if now is None and expected_value == "" or now == expected_value.encode():
            self.set(key, desired_value)
        return self._values.get(key, expected_value.encode())

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        for key in keys:
            self.get(key)

    def delete_key(self, key: str) -> bool:
        return self._values.pop(key, None) is not None

    def num_keys(self) -> int:
        return len(self._values)

    def set_timeout(self, timeout: timedelta) -> None:
        self.timeout = timeout


class HashStore(Store):
    """A store of this process."""


class PrefixStore(Store):
    """A store whose keys lie under a prefix in another."""

    def __init__(self, prefix: str, store: Store) -> None:
        super().__init__()
        self.prefix, self.underlying_store = prefix, store

    def set(self, key: str, value: str | bytes) -> None:
        self.underlying_store.set(f"{self.prefix}/{key}", value)

    def get(self, key: str) -> bytes:
        return self.underlying_store.get(f"{self.prefix}/{key}")

    def add(self, key: str, amount: int) -> int:
        return self.underlying_store.add(f"{self.prefix}/{key}", amount)

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        return self.underlying_store.compare_set(
            f"{self.prefix}/{key}", expected_value, desired_value
        )

    def check(self, keys: list[str]) -> bool:
        return self.underlying_store.check([f"{self.prefix}/{key}" for key in keys])

    def delete_key(self, key: str) -> bool:
        return self.underlying_store.delete_key(f"{self.prefix}/{key}")

    def num_keys(self) -> int:
        return self.underlying_store.num_keys()
