# SPDX-License-Identifier: Apache-2.0
"""DistributedDataParallel of a group of one process: gradients are those of this process, nothing has to be summed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..modules.module import Module
from .data_parallel import moved
from .scatter_gather import device_of

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """DistributedDataParallel(module, device_ids=None, output_device=None, dim=0, broadcast_buffers=True, ..)

    The module under the name `module`. ValueError without a process group; RuntimeError if nothing in the module wants
    a gradient. What says how gradients travel (buckets, hooks, static_graph, ..) is accepted and changes nothing.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        delay_all_reduce_named_params: Any = None,
        param_to_hook_all_reduce: Any = None,
        mixed_precision: Any = None,
        device_mesh: Any = None,
        skip_all_reduce_unused_params: bool = False,
    ) -> None:
        from gradstep.distributed import distributed_c10d

        super().__init__()
        if mixed_precision is not None or device_mesh is not None:
            raise NotImplementedError(
                "DistributedDataParallel: mixed_precision and device_mesh are not implemented in gradstep"
            )
        if process_group is None:
            process_group = distributed_c10d._get_default_group()
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a gradient."
            )
        if device_ids is not None and len(device_ids) > 1:
            raise ValueError("device_ids can only be None or contain a single element.")
        if not device_ids:
            self.device_ids = None
            self.output_device = None
        else:
            self.device_ids = [device_of(d) for d in device_ids]
            if output_device is None:
                output_device = device_ids[0]
            self.output_device = device_of(output_device)
        self.process_group = process_group
        self.module = module
        self.dim = dim
        self.device = next(p for p in module.parameters() if p.requires_grad).device
        self.device_type = self.device.type
        self.broadcast_buffers = broadcast_buffers
        self.find_unused_parameters = find_unused_parameters
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.static_graph = static_graph
        self.require_backward_grad_sync = True
        self.require_forward_param_sync = True
        self.parameters_to_ignore = set(getattr(module, "_ddp_params_and_buffers_to_ignore", ()))

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if self.device_ids is None:
            return self.module(*inputs, **kwargs)
        device = self.device_ids[0]
        return self.module(*moved(inputs, device), **moved(kwargs, device))

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients add up without being summed over the processes, which is the case anyway."""
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    @contextlib.contextmanager
    def join(
        self,
        divide_by_initial_world_size: bool = True,
        enable: bool = True,
        throw_on_early_termination: bool = False,
    ) -> Iterator[None]:
        """For uneven inputs: nobody has to be waited for."""
        yield

    def register_comm_hook(self, state: Any, hook: Any) -> None:
        """Accepted: nothing is communicated, so no hook is called."""
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")

    def _set_static_graph(self) -> None:
        self.static_graph = True
