# SPDX-License-Identifier: Apache-2.0
"""Captured programs on a GPU: what becomes CUDA graphs, and that what may change from replay to replay does."""

import gc

import pytest

import gradstep as torch
from gradstep import nn

pytestmark = pytest.mark.cuda


def bits(x):
    return (
        [bits(v) for v in x] if isinstance(x, (list, tuple)) else x.detach().cpu().numpy().tobytes()
    )


def graphs_of(captured):
    (entry,) = captured._entries()
    return entry.graphs


def ops_in_graphs(captured):
    (entry,) = captured._entries()
    return [[s["op"] for s in entry.steps[begin:end]] for begin, end in entry.graphs]


def small_net(optimizer, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    return model, getattr(torch.optim, optimizer)(model.parameters(), **options)


def run_training(captured, optimizer, keep=None, steps=7, **options):
    model, opt = small_net(optimizer, **options)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(opt, 0.7)

    def step(x, y):
        opt.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        opt.step()
        return loss.detach()

    fn = torch.capture(step) if captured else step
    torch.manual_seed(1)
    losses = []
    for _ in range(steps):
        losses.append(fn(torch.randn(5, 6), torch.randn(5, 3)))
        scheduler.step()
        if keep is not None:
            keep.append([p.grad for p in model.parameters()])
    return bits(losses) + bits(list(model.parameters())), fn


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("Adam", {"lr": 0.1}),
    ],
)
def test_a_training_step_is_one_graph_between_copies(optimizer, options):
    eager, _ = run_training(False, optimizer, **options)
    replayed, fn = run_training(True, optimizer, **options)
    assert replayed == eager  # with a rate that changes at each step, counters, dropout
    (entry,) = fn._entries()
    ((begin, end),) = entry.graphs
    assert [s["op"] for s in entry.steps[:begin]] == ["copy", "copy"]
    assert [s["op"] for s in entry.steps[end:]] == ["copy"]
    assert "CUDA graph" in fn.report()


def test_gradients_that_somebody_keeps_are_not_written_again():
    kept_eager, kept = [], []
    eager, _ = run_training(False, "SGD", kept_eager, lr=0.1)
    replayed, fn = run_training(True, "SGD", kept, lr=0.1)
    assert replayed == eager
    assert bits(kept) == bits(kept_eager)
    assert graphs_of(fn) == []  # they lie elsewhere each time


def test_gradients_dropped_outside_lie_where_they_lay():
    model, opt = small_net("SGD", lr=0.1)

    def step(x):
        model(x).sum().backward()
        opt.step()

    fn = torch.capture(step)
    for _ in range(5):
        fn(torch.randn(5, 6))
        opt.zero_grad()
    assert len(graphs_of(fn)) == 1


def test_results_are_new_tensors_and_inputs_are_written():
    @torch.capture
    def fn(x):
        x.mul_(2)
        y = x + 1
        return y, (y * y).sum() * 2

    results = []
    for k in range(6):
        x = torch.full((5,), float(k))
        results.append(fn(x))
        assert x.tolist() == [2.0 * k] * 5
    assert len(graphs_of(fn)) == 1
    for k, (y, z) in enumerate(results):
        assert y.tolist() == [2.0 * k + 1] * 5
        assert z.item() == 10 * (2 * k + 1) ** 2


def test_views_of_inputs_keep_their_alignment():
    def norm(x, y):
        return (x * y).square().sum().sqrt() + x.t().sum()

    fn = torch.capture(norm)
    base = torch.randn(64)
    for k in (0, 0, 1, 2, 3, 3, 3, 0):
        x = base[k : k + 42].view(6, 7)
        y = base[k + 3 : k + 45].view(6, 7)
        assert bits(fn(x, y)) == bits(norm(x, y))


def test_what_cannot_be_captured_splits_the_program():
    generator = torch.Generator("cuda")

    def fn(x, y):
        z = (x.cuda() * 2).softmax(0).cumsum(0) + y
        noise = torch.empty(5, device="cuda").uniform_(generator=generator)
        return (z * noise).cumsum(0).softmax(0).square().sum()

    captured = torch.capture(fn)
    for step in (fn, captured):
        generator.manual_seed(3)
        torch.manual_seed(2)
        out = [step(torch.randn(5, device="cpu"), torch.randn(5)).item() for _ in range(6)]
        if step is fn:
            expected = out
    assert out == expected
    assert len(graphs_of(captured)) == 2
    inside = sum(ops_in_graphs(captured), [])
    assert "transfer" not in inside and "random_uniform" not in inside


def test_counters_on_the_cpu_stay_right():
    weights = []
    for captured in (False, True):
        model, opt = small_net("Adam", lr=0.1)
        x = torch.randn(5, 6, generator=torch.Generator("cuda").manual_seed(1))

        def step(model=model, opt=opt, x=x):
            opt.zero_grad()
            model(x).square().sum().backward()
            opt.step()

        step()
        for state in opt.state.values():
            state["step"] = state["step"].cpu()
        fn = torch.capture(step) if captured else step
        for _ in range(6):
            fn()
        weights.append(bits(list(model.parameters())))
        if captured:
            assert graphs_of(fn)
            assert "multi_adam" not in sum(ops_in_graphs(fn), [])
    assert weights[0] == weights[1]


def test_a_replay_inside_a_graph_of_the_users():
    fn = torch.capture(lambda x: (x * 2 + 1).exp())
    x = torch.randn(9)
    for _ in range(5):
        fn(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = fn(x)
    x.fill_(0.5)
    graph.replay()
    assert bits(y) == bits((x * 2 + 1).exp())


def test_memory_of_graphs_goes_with_the_program():
    fn = torch.capture(lambda x: (x * 2).softmax(0).sum() + 1)
    x = torch.ones(1000)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    for _ in range(5):
        fn(x)
    assert graphs_of(fn)
    fn.reset()
    gc.collect()
    assert torch.cuda.memory_allocated() == before


def test_verify_looks_at_graphs():
    model, opt = small_net("Adam")

    def step(x):
        opt.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        opt.step()
        return loss

    fn, left = torch.capture(step, verify=1), []
    for _ in range(7):
        fn(torch.ones(5, 6))
        left += [e.verify for e in fn._entries()]
        if left and left[-1] == 0 and len(left) == 4:
            assert graphs_of(fn)  # made by the second replay, launched by the third
    assert left[:5] == [3, 2, 1, 0, 0]
