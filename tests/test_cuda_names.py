# SPDX-License-Identifier: Apache-2.0
"""torch.cuda's smaller names: old constructors, statistics, marks for profilers, switches that are accepted."""

from __future__ import annotations

import pytest

import gradstep as torch

c = torch.cuda


@pytest.mark.cuda
def test_old_constructors_of_the_gpu():
    x = c.FloatTensor(2, 3)
    assert (
        x.is_cuda
        and x.shape == (2, 3)
        and x.dtype == torch.float32
        and x.type() == "torch.cuda.FloatTensor"
    )
    assert c.LongTensor([1, 2]).tolist() == [1, 2] and c.HalfTensor(torch.Size((4,))).shape == (4,)
    assert isinstance(x, c.FloatTensor) and not isinstance(x, (torch.FloatTensor, c.LongTensor))
    assert isinstance(x.cpu(), torch.FloatTensor) and not isinstance(x.cpu(), c.FloatTensor)
    assert x.cpu().type(c.DoubleTensor).type() == "torch.cuda.DoubleTensor"
    assert x.type(torch.FloatTensor).device.type == "cpu" and x.type(c.FloatTensor) is x
    assert repr(c.FloatTensor) == "<class 'torch.cuda.FloatTensor'>" and c.FloatTensor.is_cuda
    before = torch.get_default_device()
    try:
        torch.set_default_tensor_type("torch.cuda.DoubleTensor")
        assert torch.ones(2).type() == "torch.cuda.DoubleTensor"
        torch.set_default_tensor_type(torch.FloatTensor)
        assert torch.ones(2).type() == "torch.FloatTensor"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(before)


@pytest.mark.cuda
def test_statistics_and_streams_by_their_other_names():
    nested = c.memory_stats_as_nested_dict()
    assert nested["allocated_bytes"]["all"]["current"] == c.memory_allocated()
    assert c.device_memory_used() >= 0 and c.get_allocator_backend() == "native"
    s = c.Stream()
    assert c.get_stream_from_external(s.cuda_stream) == s
    free, total = c.cudart().cudaMemGetInfo(0)
    assert 0 <= free <= total
    c.cudart().cudaDeviceSynchronize()


@pytest.mark.cuda
def test_a_profiler_and_its_marks():
    with c.profiler.profile(), c.nvtx.range("step {}", 3):
        assert c.nvtx.range_push("inside") == 1
        c.nvtx.mark("here")
        assert c.nvtx.range_pop() == 1
    c.nvtx.range_end(c.nvtx.range_start("over threads"))


@pytest.mark.cuda
def test_graphs_accept_pools():
    pool = c.graph_pool_handle()
    assert pool != c.graph_pool_handle()
    x = torch.ones(3)
    g = c.CUDAGraph()
    with c.graph(g, pool=pool):
        y = x + 1
    g.replay()
    c.synchronize()
    assert y.tolist() == [2.0] * 3 and len(g.pool()) == 2


@pytest.mark.cpu_only
def test_names_that_need_no_gpu():
    assert c.has_half and isinstance(c.get_gencode_flags(), str)
    assert issubclass(c.CudaError, RuntimeError) and issubclass(c.DeferredCudaCallError, Exception)
    assert len(c.nccl.version()) == 3 and not c.nccl.is_available([])
    b = torch.backends.cuda
    with b.sdp_kernel(enable_flash=False) as chosen:
        assert not b.flash_sdp_enabled() and b.math_sdp_enabled() and not chosen["flash"]
    assert b.flash_sdp_enabled() and b.is_flash_attention_available()
    assert b.preferred_linalg_library() and b.preferred_blas_library()
