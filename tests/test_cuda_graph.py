# SPDX-License-Identifier: Apache-2.0
"""CUDA graphs: what is recorded is replayed on new inputs, with live random numbers and optimizer state."""

import gc

import pytest

import gradstep as torch
from gradstep import nn

pytestmark = pytest.mark.cuda


def test_replay_reads_new_inputs_and_equals_eager():
    x, w = torch.randn(33, 8), torch.randn(8, requires_grad=True)

    def step():
        loss = (x * w).sigmoid().sum()
        return loss.detach(), torch.autograd.grad(loss, w)[0]

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss, gradient = step()
    for seed in range(3):
        torch.manual_seed(seed)
        x.copy_(torch.randn(33, 8))
        graph.replay()
        for replayed, eager in zip((loss, gradient), step()):
            assert replayed.cpu().numpy().tobytes() == eager.cpu().numpy().tobytes()


def test_random_numbers_go_on_from_replay_to_replay():
    x = torch.ones(500)
    torch.manual_seed(5)
    eager = [torch.nn.functional.dropout(x, 0.5).tolist() for _ in range(3)]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = torch.nn.functional.dropout(x, 0.5)
    torch.manual_seed(5)
    replayed = []
    for _ in range(3):
        graph.replay()
        replayed.append(y.tolist())
    assert replayed == eager
    assert replayed[0] != replayed[1]


def test_optimizer_counts_on_in_a_graph():
    weights = []
    for captured in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(6, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, capturable=True)
        x, y = torch.randn(16, 6), torch.randn(16, 3)

        def step(model=model, optimizer=optimizer, x=x, y=y):
            optimizer.zero_grad(set_to_none=False)
            ((model(x) - y) ** 2).mean().backward()
            optimizer.step()

        for _ in range(2):
            step()
        graph = torch.cuda.CUDAGraph()
        if captured:
            with torch.cuda.graph(graph):
                step()
        for _ in range(4):
            graph.replay() if captured else step()
        weights.append([p.detach().cpu().numpy().tobytes() for p in model.parameters()])
    assert weights[0] == weights[1]


def test_a_host_read_is_refused_and_leaves_the_process_usable():
    x = torch.ones(8)
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="CUDA graphs: a copy between the host and the GPU"):
        with torch.cuda.graph(graph):
            (x * 2).sum().item()
    assert not torch.cuda.is_current_stream_capturing()
    assert (x * 2).sum().item() == 16
    with pytest.raises(RuntimeError, match="without a preceding successful capture"):
        graph.replay()


def test_a_graph_needs_a_stream_of_its_own():
    with pytest.raises(RuntimeError, match="the default stream can't be captured"):
        torch.cuda.CUDAGraph().capture_begin()


def test_memory_of_a_graph_goes_with_it():
    x = torch.ones(1000)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
        z = y + 1
    assert torch.cuda.memory_allocated() > before[0]
    graph.reset()
    del y, z
    gc.collect()
    assert (torch.cuda.memory_allocated(), torch.cuda.memory_reserved()) == before
