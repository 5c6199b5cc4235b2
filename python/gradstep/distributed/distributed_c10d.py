# SPDX-License-Identifier: Apache-2.0
"""torch.distributed with one process: world size 1, rank 0. Collectives are copies from the process to itself.

    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    dist.all_reduce(x)                     # x stays
    dist.all_gather([out], x)              # out takes x

Return types, work handles and errors are PyTorch's; a world of several processes is refused when it is set up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from gradstep import _C
from gradstep._C import Tensor
from gradstep.distributed._c10d import (
    Backend,
    DistBackendError as DistBackendError,
    DistError as DistError,
    DistNetworkError as DistNetworkError,
    DistStoreError as DistStoreError,
    HashStore as HashStore,
    PrefixStore as PrefixStore,
    QueueEmptyError as QueueEmptyError,
    RedOpType as RedOpType,
    ReduceOp,
    Store as Store,
    Work,
    reduce_op as reduce_op,
)
from gradstep.distributed.constants import (
    default_pg_nccl_timeout as default_pg_nccl_timeout,
    default_pg_timeout as default_pg_timeout,
)

# Their public home is here, as in PyTorch.
for _cls in (
    Backend,
    DistBackendError,
    DistError,
    DistNetworkError,
    DistStoreError,
    HashStore,
    PrefixStore,
    QueueEmptyError,
    RedOpType,
    ReduceOp,
    Store,
    Work,
    reduce_op,
):
    _cls.__module__ = __name__

# ---- groups ----


class ProcessGroup:
    """A group of processes: this one, or (GroupMember.NON_GROUP_MEMBER) none."""

    def __init__(self, backend: str, name: str, desc: str = "") -> None:
        self._backend = Backend(backend)
        self.group_name = name
        self.group_desc = desc or "undefined"

    def rank(self) -> int:
        return 0

    def size(self) -> int:
        return 1

    def name(self) -> str:
        return str(self._backend)

    def barrier(self, *args: Any) -> Work:
        return Work()

    def __repr__(self) -> str:
        return (
            f"<gradstep.distributed.ProcessGroup {self.group_name}: one process, {self._backend}>"
        )


class _Members(type):
    """WORLD follows init_process_group() and destroy_process_group()."""

    @property
    def WORLD(cls) -> ProcessGroup | None:
        return _world

    @WORLD.setter
    def WORLD(cls, group: ProcessGroup | None) -> None:
        global _world
        _world = group


class group(metaclass=_Members):
    """group.WORLD is the default group, None before init_process_group()."""


class GroupMember(metaclass=_Members):
    """GroupMember.WORLD, and what new_group() returns to processes outside of the group."""

    NON_GROUP_MEMBER = -100


_world: ProcessGroup | None = None
_groups: dict[str, ProcessGroup] = {}
_made = 0  # groups, for their names


def _not_initialized() -> ValueError:
    return ValueError(
        "Default process group has not been initialized, please make sure to call init_process_group."
    )


def _get_default_group() -> ProcessGroup:
    if _world is None:
        raise _not_initialized()
    return _world


def _member(group: Any) -> bool:
    """Whether this process takes part; ValueError without a default group."""
    if group is None:
        _get_default_group()
        return True
    return group is not GroupMember.NON_GROUP_MEMBER and group != GroupMember.NON_GROUP_MEMBER


# ---- set-up ----


def is_available() -> bool:
    """True: one process is always there."""
    return True


def is_mpi_available() -> bool:
    return False


def is_nccl_available() -> bool:
    return False


def is_ucc_available() -> bool:
    return False


def is_xccl_available() -> bool:
    return False


def is_gloo_available() -> bool:
    """True, by name: nothing has to be sent, so no library is asked."""
    return True


def is_backend_available(backend: str) -> bool:
    return backend.lower() == "gloo"


def is_torchelastic_launched() -> bool:
    """Whether torchrun started the process."""
    return os.environ.get("TORCHELASTIC_RUN_ID") is not None


def is_initialized() -> bool:
    """Whether there is a default process group."""
    return _world is not None


def _from_url(url: str, rank: int, world_size: int) -> tuple[int, int]:
    from urllib.parse import parse_qs, urlparse

    parts = urlparse(url)
    if parts.scheme not in ("env", "tcp", "file"):
        raise RuntimeError(f"No rendezvous handler for {parts.scheme}://")
    asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
    if parts.scheme == "env":

        def need(name: str) -> str:
            value = os.environ.get(name)
            if value is None:
                raise ValueError(
                    "Error initializing torch.distributed using env:// rendezvous: environment variable "
                    f"{name} expected, but not set"
                )
            return value

        rank = int(asked.get("rank") or need("RANK")) if rank < 0 else rank
        if world_size < 0:
            world_size = int(asked.get("world_size") or need("WORLD_SIZE"))
        need("MASTER_ADDR")
        int(need("MASTER_PORT"))
        return rank, world_size
    rank = int(asked.get("rank", -1)) if rank < 0 else rank
    world_size = int(asked.get("world_size", -1)) if world_size < 0 else world_size
    for name, value in (("rank", rank), ("size", world_size)):
        if value < 0:
            raise ValueError(
                f"Error initializing torch.distributed using {parts.scheme}:// rendezvous: {name} parameter missing"
            )
    return rank, world_size


def init_process_group(
    backend: str | None = None,
    init_method: str | None = None,
    timeout: timedelta | None = None,
    world_size: int = -1,
    rank: int = -1,
    store: Any = None,
    group_name: str = "",
    pg_options: Any = None,
    device_id: Any = None,
) -> None:
    """Makes the default group, of this process alone.

    Where nothing else is said, RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT of the environment say which process this
    is, as torchrun sets them. NotImplementedError for a world of several processes; ValueError if there is a group
    already.
    """
    global _world
    if _world is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if store is not None and init_method is not None:
        raise AssertionError("Cannot specify both init_method and store.")
    if timeout is not None and not isinstance(timeout, timedelta):
        raise TypeError(
            f"Expected timeout argument to be of type datetime.timedelta, got {timeout}"
        )
    if store is not None:
        if world_size <= 0:
            raise AssertionError("world_size must be positive if using store")
        if rank < 0:
            raise AssertionError("rank must be non-negative if using store")
    elif backend is None or backend.lower() != "mpi":
        rank, world_size = _from_url(init_method or "env://", rank, world_size)
    else:
        rank, world_size = 0, 1
    name = "undefined" if backend is None else backend.lower()
    parts = [part.rpartition(":")[2] for part in name.split(",")]
    if any(part not in Backend.backend_list for part in parts):
        raise ValueError(f"Invalid backend: {backend!r}; expected one of {Backend.backend_list}")
    if world_size != 1 or rank != 0:
        raise NotImplementedError(
            f"torch.distributed: rank {rank} of a world of {world_size} processes was asked for, and gradstep trains in "
            "one process. Start the script once, without torchrun, or with --nproc_per_node=1 --nnodes=1."
        )
    _world = ProcessGroup(name if len(parts) == 1 else "undefined", group_name or "0", "default_pg")
    _groups[_world.group_name] = _world


def destroy_process_group(group: Any = None) -> None:
    """Forgets a group; all of them if it is the default one."""
    global _world
    if group == GroupMember.NON_GROUP_MEMBER:
        return
    gone: Any = group or _world
    if gone is None:
        raise AssertionError("Process group cannot be None")
    name = gone.group_name
    if _groups.get(name) is not gone:
        raise ValueError("Invalid process group specified")
    del _groups[name]
    if gone is _world:
        _world = None
        _groups.clear()


def new_group(
    ranks: Iterable[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    use_local_synchronization: bool = False,
    group_desc: str | None = None,
    device_id: Any = None,
    group_name: str | None = None,
) -> Any:
    """Another group; GroupMember.NON_GROUP_MEMBER if `ranks` leaves this process out."""
    global _made
    world = _get_default_group()
    members = [0] if ranks is None else sorted(ranks)
    if len(members) > 1:
        raise ValueError(
            "the new group's world size should be less or equal to the world size set by init_process_group"
        )
    if any(rank != 0 for rank in members):
        raise ValueError(
            "The new group's rank should be within the world_size set by init_process_group"
        )
    if not members:
        return GroupMember.NON_GROUP_MEMBER
    _made += 1
    made = ProcessGroup(backend or world.name(), group_name or str(_made), group_desc or "")
    _groups[made.group_name] = made
    return made


def new_subgroups(
    group_size: int | None = None,
    group: Any = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """Groups of neighbouring ranks: (this process's, all)."""
    if group_size is not None and group_size > get_world_size():
        raise ValueError(
            f"The arg 'group_size' ({group_size}) must not exceed the world size ({get_world_size()})"
        )
    made = new_group(backend=backend, group_desc=group_desc)
    return made, [made]


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: list[list[int]],
    timeout: timedelta | None = None,
    backend: str | None = None,
    pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:
    """Groups of the given ranks: (this process's, all)."""
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    made = [
        new_group(ranks, backend=backend, group_desc=group_desc)
        for ranks in ranks_per_subgroup_list
    ]
    return next((g for g in made if _member(g)), None), made


def get_backend(group: Any = None) -> str:
    """The name of the group's backend."""
    asked = group or _get_default_group()
    if not _member(asked):
        raise ValueError("Invalid process group specified")
    return str(asked.name())


def get_backend_config(group: Any = None) -> str:
    """The backend of each kind of device."""
    name = get_backend(group)
    return "cpu:gloo,cuda:nccl" if name == "undefined" else f"cpu:{name},cuda:{name}"


def get_default_backend_for_device(device: Any) -> str:
    """ "gloo" for the CPU, "nccl" for CUDA."""
    kind = device.split(":")[0] if isinstance(device, str) else _C.device(device).type
    name = Backend.default_device_backend_map.get(kind)
    if name is None:
        raise ValueError(f"Default backend not registered for device : {device}")
    return name


def get_rank(group: Any = None) -> int:
    """0; -1 for a group without this process."""
    return 0 if _member(group) else -1


def get_world_size(group: Any = None) -> int:
    """1; -1 for a group without this process."""
    return 1 if _member(group) else -1


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """LOCAL_RANK of the environment."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return int(fallback_rank)
    raise RuntimeError(
        "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow `get_node_local_rank` to work"
    )


def get_group_rank(group: Any, global_rank: int) -> int:
    """The rank in the group of a rank in the world."""
    if not _member(group) or global_rank != 0:
        raise ValueError(f"Global rank {global_rank} is not part of group {group}")
    return 0


def get_global_rank(group: Any, group_rank: int) -> int:
    """The rank in the world of a rank in the group."""
    if not _member(group) or group_rank != 0:
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return 0


def get_process_group_ranks(group: Any) -> list[int]:
    """[0]"""
    return [0] if _member(group) else []


def get_pg_count() -> int:
    """How many groups there are."""
    return len(_groups)


# ---- collectives ----


def _finish(result: Any, async_op: bool) -> Work | None:
    return Work(result) if async_op else None


def _check_tensor(value: Any, name: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor\n"
            f"             but got {type(value)} instead."
        )


def _check_tensors(value: Any, name: str) -> None:
    if not isinstance(value, (list, tuple)) or not all(isinstance(t, Tensor) for t in value):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor]\n"
            f"             but got {type(value)} instead."
        )


def _check_one(tensors: Any, what: str) -> None:
    if len(tensors) != 1:
        raise RuntimeError(
            f"{what}: invalid tensor list (expected length 1, for the one process, got {len(tensors)})"
        )


def _check_rank(rank: int | None, group_rank: int | None, what: str) -> None:
    for value in (rank, group_rank):
        if value is not None and value != 0:
            raise RuntimeError(
                f"invalid {what} rank: {value}; the world has one process, of rank 0"
            )


def _copy(to: Tensor, source: Tensor, what: str) -> None:
    if to.dtype != source.dtype:
        raise ValueError(
            f"{what}: Invalid usage of tensors with different dtypes: {to.dtype} and {source.dtype}"
        )
    if to.numel() != source.numel():
        raise RuntimeError(
            f"{what}: invalid tensor size: output {tuple(to.shape)} can't take the input {tuple(source.shape)} of one process"
        )
    if to is not source:
        to.detach().copy_(source.detach().reshape(to.shape))


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """The tensor stays: it is the sum, mean, product, .. over one process."""
    _check_tensor(tensor, "tensor")
    return _finish(tensor, async_op) if _member(group) else None


def all_reduce_coalesced(
    tensors: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """The tensors stay."""
    _check_tensors(tensors, "tensor")
    return _finish(tensors, async_op) if _member(group) else None


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """The tensor stays."""
    _check_tensor(tensor, "tensor")
    _check_rank(dst, group_dst, "destination")
    return _finish(tensor, async_op) if _member(group) else None


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """The tensor stays: it is the source's."""
    _check_tensor(tensor, "tensor")
    _check_rank(src, group_src, "source")
    return _finish(tensor, async_op) if _member(group) else None


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """tensor_list[0] takes the tensor."""
    _check_tensors(tensor_list, "tensor_list")
    _check_tensor(tensor, "tensor")
    if not _member(group):
        return None
    _check_one(tensor_list, "all_gather")
    _copy(tensor_list[0], tensor, "all_gather")
    return _finish(tensor_list, async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """The output takes the input."""
    _check_tensor(output_tensor, "output_tensor")
    _check_tensor(input_tensor, "input_tensor")
    if not _member(group):
        return None
    _copy(output_tensor, input_tensor, "all_gather_into_tensor")
    return _finish(output_tensor, async_op)


_all_gather_base = all_gather_into_tensor


def all_gather_coalesced(
    output_tensor_lists: list[list[Tensor]],
    input_tensor_list: list[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """output_tensor_lists[0] takes the inputs."""
    if not _member(group):
        return None
    _check_one(output_tensor_lists, "all_gather_coalesced")
    for out, source in zip(output_tensor_lists[0], input_tensor_list, strict=True):
        _copy(out, source, "all_gather_coalesced")
    return _finish(output_tensor_lists[0], async_op)


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """gather_list[0] takes the tensor."""
    _check_tensor(tensor, "tensor")
    _check_rank(dst, group_dst, "destination")
    if not _member(group):
        return None
    if not gather_list:
        raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
    _check_tensors(gather_list, "gather_list")
    _check_one(gather_list, "gather")
    _copy(gather_list[0], tensor, "gather")
    return _finish(gather_list, async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """The tensor takes scatter_list[0]."""
    _check_tensor(tensor, "tensor")
    _check_rank(src, group_src, "source")
    if not _member(group):
        return None
    if not scatter_list:
        raise ValueError("Argument ``scatter_list`` must be specified on source rank.")
    _check_tensors(scatter_list, "scatter_list")
    _check_one(scatter_list, "scatter")
    _copy(tensor, scatter_list[0], "scatter")
    return _finish(tensor, async_op)


def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """The output takes input_list[0]."""
    _check_tensor(output, "output")
    _check_tensors(input_list, "input_list")
    if not _member(group):
        return None
    _check_one(input_list, "reduce_scatter")
    _copy(output, input_list[0], "reduce_scatter")
    return _finish(output, async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """The output takes the input."""
    _check_tensor(output, "output")
    _check_tensor(input, "input")
    if not _member(group):
        return None
    _copy(output, input, "reduce_scatter_tensor")
    return _finish(output, async_op)


_reduce_scatter_base = reduce_scatter_tensor


def all_to_all(
    output_tensor_list: list[Tensor],
    input_tensor_list: list[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """output_tensor_list[0] takes input_tensor_list[0]."""
    _check_tensors(output_tensor_list, "output_tensor_list")
    _check_tensors(input_tensor_list, "input_tensor_list")
    if not _member(group):
        return None
    _check_one(output_tensor_list, "all_to_all")
    _check_one(input_tensor_list, "all_to_all")
    _copy(output_tensor_list[0], input_tensor_list[0], "all_to_all")
    return _finish(output_tensor_list, async_op)


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: list[int] | None = None,
    input_split_sizes: list[int] | None = None,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """The output takes the input."""
    _check_tensor(output, "output")
    _check_tensor(input, "input")
    if not _member(group):
        return None
    _copy(output, input, "all_to_all_single")
    return _finish(output, async_op)


def barrier(
    group: Any = None, async_op: bool = False, device_ids: list[int] | None = None
) -> Work | None:
    """Everybody is here. device_ids is a list of indices."""
    if not _member(group):
        return None
    if device_ids is not None and not isinstance(device_ids, list):
        raise TypeError("Invalid function argument: device_ids type should be List[int]")
    return _finish(None, async_op)


def monitored_barrier(
    group: Any = None, timeout: timedelta | None = None, wait_all_ranks: bool = False
) -> None:
    """Everybody is here."""
    _member(group)


# ---- objects ----


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """object_list[0] takes a copy of the object, made by pickling as with several processes."""
    if not _member(group):
        return
    _check_one(object_list, "all_gather_object")
    object_list[0] = _pickled(obj)


def gather_object(
    obj: Any,
    object_gather_list: list[Any] | None = None,
    dst: int | None = None,
    group: Any = None,
    group_dst: int | None = None,
) -> None:
    """object_gather_list[0] takes a copy of the object."""
    _check_rank(dst, group_dst, "destination")
    if not _member(group):
        return
    if not object_gather_list:
        raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
    _check_one(object_gather_list, "gather_object")
    object_gather_list[0] = _pickled(obj)


def broadcast_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
    use_batch: bool = False,
) -> None:
    """The objects stay: they are the source's. What can't be pickled is an error, as with several processes."""
    _check_rank(src, group_src, "source")
    if _member(group):
        for obj in object_list:
            _pickled(obj)


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | None = None,
    group: Any = None,
    group_src: int | None = None,
) -> None:
    """The output's first element takes a copy of the input's."""
    _check_rank(src, group_src, "source")
    if not _member(group):
        return
    if not isinstance(scatter_object_output_list, list) or len(scatter_object_output_list) < 1:
        raise ValueError(
            "Expected argument scatter_object_output_list to be a list of size at least 1."
        )
    if scatter_object_input_list is None:
        raise ValueError("source rank must provide non-None scatter_object_input_list")
    _check_one(scatter_object_input_list, "scatter_object_list")
    scatter_object_output_list[0] = _pickled(scatter_object_input_list[0])


def _pickled(obj: Any) -> Any:
    import pickle

    return pickle.loads(pickle.dumps(obj))


# ---- from one to one ----


def _nobody(what: str) -> ValueError:
    return ValueError(
        f"Invalid {what} rank: {what} rank should not be the same as the rank of the current process."
    )


def send(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> None:
    """ValueError: there is nobody to send to."""
    _member(group)
    raise _nobody("destination")


def isend(
    tensor: Tensor,
    dst: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_dst: int | None = None,
) -> Work | None:
    """ValueError: there is nobody to send to."""
    _member(group)
    raise _nobody("destination")


def recv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> int:
    """ValueError: there is nobody to receive from."""
    _member(group)
    raise _nobody("source")


def irecv(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    tag: int = 0,
    group_src: int | None = None,
) -> Work | None:
    """ValueError: there is nobody to receive from."""
    _member(group)
    raise _nobody("source")
