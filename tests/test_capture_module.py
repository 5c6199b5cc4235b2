# SPDX-License-Identifier: Apache-2.0
"""A forward pass that is captured by itself, as torch.compile(model) does, and differentiated outside: the losses,
gradients, weights, buffers and random states of an ordinary loop around it are those of the eager one, bit for bit."""

import copy
import io
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import gradstep as torch
import gradstep.nn as nn
import gradstep.nn.functional as F
from capture_worlds import MODELS, OPTIMIZERS, Block, bytes_of, difference, random_state
from gradstep import _C
from gradstep.utils.checkpoint import checkpoint

pytestmark = pytest.mark.cpu_only


def compiled(module: Any) -> Any:
    return torch.compile(module, fullgraph=True)


def eager(module: Any) -> Any:
    return module


def same(script: Callable[[Callable[[Any], Any]], Any], programs: int = 1) -> Any:
    """Run a script with and without compile; its observations and the random state are the same."""
    made: list[Any] = []

    def wrap(f: Any) -> Any:
        made.append(compiled(f))
        return made[-1]

    results = []
    for kind in (eager, wrap):
        torch.manual_seed(0)
        results.append([bytes_of(script(kind)), random_state()])
    assert difference(*results) == ""
    entries = [e for m in made for e in getattr(m, "_call", m)._entries()]
    assert sum(e.replays for e in entries) >= programs
    return entries


def net() -> Any:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))


def seen(module: Any, *more: Any) -> list[Any]:
    return [
        [p.grad for p in module.parameters()],
        list(module.parameters()),
        list(module.buffers()),
        *more,
    ]


# ---- training loops ----


def plain(model: Any, x: Any, y: Any) -> Any:
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss


def accumulate(model: Any, x: Any, y: Any) -> Any:
    losses = []
    for micro in zip(x.chunk(2), y.chunk(2), strict=True):
        losses.append(F.cross_entropy(model(micro[0]), micro[1]) / 2)
        losses[-1].backward()
    return losses


def twice_before_backward(model: Any, x: Any, y: Any) -> Any:
    loss = F.cross_entropy(model(x), y) + F.cross_entropy(model(x.flip(0)), y)
    loss.backward()
    return loss


def backward_in_any_order(model: Any, x: Any, y: Any) -> Any:
    first, second = F.cross_entropy(model(x), y), F.cross_entropy(model(x.flip(0)), y)
    first.backward()
    second.backward()
    return first, second


def retained(model: Any, x: Any, y: Any) -> Any:
    loss = F.cross_entropy(model(x), y)
    loss.backward(retain_graph=True)
    loss.backward()
    return loss


def clipped(model: Any, x: Any, y: Any) -> Any:
    loss = plain(model, x, y)
    return loss, nn.utils.clip_grad_norm_(list(model.parameters()), 0.3)


LOOPS = (plain, accumulate, twice_before_backward, backward_in_any_order, retained, clipped)
NETS = ("mlp", "cnn", "lstm", "gru", "shared", "frozen", "embedding")
GRID = [
    (name, loop, optimizer)
    for k, (name, loop) in enumerate(itertools.product(NETS, LOOPS))
    for optimizer in ("sgd_momentum", list(OPTIMIZERS)[k % len(OPTIMIZERS)])
]


@pytest.mark.parametrize(("name", "loop", "optimizer"), GRID)
def test_an_ordinary_loop_around_a_compiled_model(name: str, loop: Any, optimizer: str) -> None:
    def script(wrap: Any) -> Any:
        task = MODELS[name]()
        model = wrap(task.module)
        o = OPTIMIZERS[optimizer](list(task.module.parameters()))
        history = []
        for k in range(20):
            o.zero_grad(set_to_none=k % 3 != 0)
            history.append(loop(model, *task.data(4)))
            o.step()
            if k in (0, 1, 2, 3, 19):
                history.append(bytes_of(seen(task.module)))
        return history

    entries = same(script, 18)
    assert sum(b["replays"] for e in entries for b in e.backwards) > 0 or name == "frozen"


def test_an_argument_gets_its_gradient_where_it_is_a_leaf_and_in_the_middle_of_a_net() -> None:
    def script(wrap: Any) -> Any:
        before, block, behind = nn.Linear(8, 8), wrap(Block(8, 2)), nn.Linear(8, 3)
        history = []
        for k in range(8):
            x = torch.randn(2, 5, 8, requires_grad=True)
            h = before(x)
            h.retain_grad()
            y = h + block(h) if k % 2 else block(h) * h.sum()
            behind(block(y)).square().mean().backward()
            history.append(bytes_of([x.grad, h.grad, *seen(before), *seen(block), *seen(behind)]))
            again = block(x)
            again.sum().backward()
            history.append(bytes_of(x.grad))
        return history

    entries = same(script, 10)
    assert sum(b["replays"] for e in entries for b in e.backwards) >= 4


def test_a_gan_of_two_compiled_nets() -> None:
    def script(wrap: Any) -> Any:
        g = wrap(nn.Sequential(nn.Linear(2, 6), nn.LeakyReLU(0.2), nn.Linear(6, 3)))
        d = wrap(nn.Sequential(nn.Linear(3, 6), nn.Dropout(0.2), nn.Tanh(), nn.Linear(6, 1)))
        og, od = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
        history = []
        for _ in range(20):
            fake = g(torch.randn(4, 2))
            od.zero_grad()
            (d(torch.randn(4, 3)).square().mean() - d(fake.detach()).mean()).backward()
            od.step()
            og.zero_grad()
            d(fake).mean().backward()
            og.step()
            history.append(bytes_of([*seen(g), *seen(d)]))
        return history

    same(script, 40)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        h = torch.tanh(self.trunk(x))
        return {"a": self.a(h), "rest": (self.b(h), h, h[:, :2])}


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda out: out["a"].sum(),
        lambda out: out["rest"][0].square().sum() + out["rest"][1].sum(),
        lambda out: out["rest"][2].square().sum(),
        lambda out: out["a"].sum() * out["rest"][1].sum() + out["rest"][2].sum(),
        lambda out: out["rest"][1].mul_(2.0).sum() + out["rest"][2].sum(),
        lambda out: out["rest"][2].mul_(2.0).sum() + out["rest"][1].square().sum(),
    ],
)
def test_some_of_several_results_are_differentiated(loss_of: Any) -> None:
    def script(wrap: Any) -> Any:
        model = wrap(TwoHeads())
        history = []
        for x in torch.randn(6, 5, 4):
            out = model(x)
            try:
                loss_of(out).backward()
            except RuntimeError as error:  # h was kept, and written to
                history.append(str(error).partition(":")[0])
            history.append(bytes_of([out, *seen(model)]))
        return history

    same(script, 4)


def test_heads_are_differentiated_one_after_the_other() -> None:
    def script(wrap: Any) -> Any:
        model = wrap(TwoHeads())
        history = []
        for k, x in enumerate(torch.randn(8, 5, 4)):
            out = model(x)
            out["a"].sum().backward(retain_graph=k % 2 == 0)
            try:
                out["rest"][0].sum().backward()
            except RuntimeError as error:
                history.append(str(error))
            history.append(bytes_of(seen(model)))
        return history

    same(script, 6)


def test_backward_a_second_time_is_pytorchs_error() -> None:
    model, x = compiled(net()), torch.randn(3, 4)
    for _ in range(5):
        loss = model(x).sum()
        loss.backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()


def test_a_weight_that_was_written_to_before_backward_is_pytorchs_error() -> None:
    inner, x = net(), torch.randn(3, 4)
    model = compiled(inner)
    for k in range(6):
        loss = model(x).sum()
        if k % 2:
            with torch.no_grad():
                inner[2].weight.mul_(2.0)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                loss.backward()
        else:
            loss.backward()


@pytest.mark.parametrize("create", [False, True])
def test_gradients_with_respect_to_some(create: bool) -> None:
    def script(wrap: Any) -> Any:
        inner = net()
        model = wrap(inner)
        history = []
        for k in range(6):
            x = torch.randn(5, 4, requires_grad=True)
            u = model(x)
            (dx,) = torch.autograd.grad(u.sum(), x, create_graph=create, retain_graph=True)
            history.append(bytes_of(dx))
            if create:
                (u.mean() + dx.square().sum()).backward()
            else:
                u.mean().backward(inputs=[inner[2].weight] if k % 2 else None)
            history.append(bytes_of([x.grad, *seen(inner)]))
        return history

    same(script, 4)


def test_second_derivatives_with_respect_to_a_result_that_is_kept_inside() -> None:
    def script(wrap: Any) -> Any:
        model = wrap(TwoHeads())
        history = []
        for x in torch.randn(5, 5, 4):
            out = model(x)
            h = out["rest"][1]
            (g,) = torch.autograd.grad(out["a"].square().sum(), h, create_graph=True)
            g.square().sum().backward()
            history.append(bytes_of([g, *seen(model)]))
        return history

    same(script, 3)


def test_hooks_run_as_in_eager_mode() -> None:
    def script(wrap: Any) -> Any:
        inner = net()
        model, log = wrap(inner), []
        inner[0].weight.register_hook(lambda g: g * 2)
        inner[2].bias.register_hook(lambda g: log.append(bytes_of(g)))
        inner[4].weight.register_post_accumulate_grad_hook(lambda p: log.append(bytes_of(p.grad)))
        handle = None
        for k, x in enumerate(torch.randn(8, 3, 4)):
            if k == 4:
                handle = inner[4].bias.register_hook(lambda g: log.append(bytes_of(g)))
            if k == 6:
                handle.remove()
            out = model(x)
            out.register_hook(lambda g: log.append(bytes_of(g)))
            out.retain_grad()
            out.square().sum().backward()
            log.append(bytes_of([out.grad, *seen(inner)]))
        return log

    same(script, 6)


@pytest.mark.parametrize("around", ["checkpoint", "save_on_cpu"])
@pytest.mark.parametrize("repeat", [1, 2])
def test_hooks_for_saved_tensors_from_outside_see_what_a_compiled_module_keeps(
    around: str, repeat: int
) -> None:
    """The hooks of a checkpoint are on in the first run and in the one of backward."""

    def script(wrap: Callable[[Any], Any]) -> Any:
        module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))
        model, found = wrap(module), []
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

        def twice(x: Any) -> Any:
            return x + model(x + 0.5 * model(x))

        for k in range(6):
            optimizer.zero_grad()
            y = torch.randn(5, 3)
            for _ in range(repeat):
                if k % 3 == 2:  # without hooks: replays
                    y = twice(y)
                elif around == "checkpoint":
                    y = checkpoint(twice, y, use_reentrant=False)
                else:
                    with torch.autograd.graph.save_on_cpu():
                        y = twice(y)
            loss = y.square().mean()
            loss.backward()
            optimizer.step()
            found += [loss.detach(), *seen(module)]
        return found

    same(script)


def test_hooks_on_results_that_are_used_within() -> None:
    def script(wrap: Any) -> Any:
        model, log = wrap(TwoHeads()), []
        for k, x in enumerate(torch.randn(8, 3, 4)):
            out = model(x)
            h = out["rest"][1]
            if k % 2:
                h.register_hook(lambda g: g * 2)
            h.retain_grad()
            (out["a"].sum() * h.sum()).backward()
            log.append(bytes_of([h.grad, *seen(model)]))
        return log

    same(script, 6)


def test_an_argument_is_made_to_require_a_gradient_inside() -> None:
    def script(wrap: Any) -> Any:
        inner = net()

        def f(x: Any) -> Any:
            return inner(x.requires_grad_()).square().sum()

        f, history = wrap(f), []
        for x in torch.randn(6, 3, 4).unbind():
            x = x.clone()
            f(x).backward()
            history.append(bytes_of([x.requires_grad, x.grad, *seen(inner)]))
        return history

    same(script, 4)


def test_modes_have_programs_of_their_own() -> None:
    def script(wrap: Any) -> Any:
        inner = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.4), nn.Linear(6, 2))
        model, history = wrap(inner), []
        for k, x in enumerate(torch.randn(16, 5, 4)):
            model.train(k % 4 != 3)
            with torch.set_grad_enabled(k % 4 != 2):
                out = model(x)
            if out.requires_grad:
                out.square().sum().backward()
            history.append(bytes_of([out, out.requires_grad, *seen(inner)]))
        return history

    same(script, 8)


@pytest.mark.parametrize("times", [1, 2])
def test_autocast_around_a_compiled_model(times: int) -> None:
    def script(wrap: Any) -> Any:
        inner = net()
        model, history = wrap(inner), []
        optimizer = torch.optim.SGD(inner.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for x in torch.randn(10, 5, 4):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                outs = [model(x * (k + 1)) for k in range(times)]
                extra = F.linear(x, inner[0].weight)  # takes the cast that is kept
                loss = sum(out.float().square().mean() for out in outs) + extra.float().sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            history.append(bytes_of([loss, outs, *seen(inner)]))
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            for x in torch.randn(4, 5, 4):
                history.append(bytes_of([model(x), F.linear(x, inner[0].weight)]))
        return history

    same(script, 8 * times)


# ---- functions ----


def test_a_loss_function_and_an_inner_function() -> None:
    def script(wrap: Any) -> Any:
        inner = net()

        def loss_fn(x: Any, y: Any, scale: float = 1.0) -> Any:
            return F.cross_entropy(inner(x) * scale, y), x.square().sum()

        loss_fn, history = wrap(loss_fn), []
        optimizer = torch.optim.AdamW(inner.parameters())
        for k in range(10):
            x = torch.randn(5, 4, requires_grad=True)
            optimizer.zero_grad()
            loss, penalty = loss_fn(x, torch.randint(0, 3, (5,)), scale=2.0 if k > 5 else 1.0)
            (loss + 0.1 * penalty).backward()
            optimizer.step()
            history.append(bytes_of([loss, penalty, x.grad, *seen(inner)]))
        return history

    same(script, 6)


@pytest.mark.parametrize(
    "f",
    [
        lambda w, x: x.view(-1),
        lambda w, x: (x[0], x * w),
        lambda w, x: w.t() @ x,
        lambda w, x: (w[0], w * 2),
        lambda w, x: torch.cat([w, x]).mul_(2.0)[1:],
        lambda w, x: (x + w,) * 2,
        lambda w, x: (x, x + 1, x.detach() * w),
        lambda w, x: (w * x).clamp_(min=0.0).unsqueeze(0).expand(3, -1, -1),
        lambda w, x: torch.zeros(3, 3).copy_(x * w),
        lambda w, x: torch.stack([row * w[0] for row in x.unbind()]),
    ],
)
def test_results_of_all_kinds(f: Any) -> None:
    def script(wrap: Any) -> Any:
        w = torch.randn(3, 3, requires_grad=True)
        g, history = wrap(lambda x: f(w, x)), []
        for k in range(6):
            leaf = torch.randn(3, 3, requires_grad=True)
            out = g(leaf * 1.5 if k % 2 else leaf)
            outs = out if isinstance(out, tuple) else (out,)
            sum((o * (i + 1)).square().sum() for i, o in enumerate(outs)).backward()
            history.append(bytes_of([outs, leaf.grad, w.grad]))
            history.append([o._base is not None and o._base is leaf for o in outs])
        return history

    same(script, 2)


def test_a_result_that_is_a_view_is_written_to_in_place() -> None:
    def script(wrap: Any) -> Any:
        w = torch.randn(3, requires_grad=True)
        history = []
        for f in (lambda x: (x * w).view(3, 1), lambda x: x.view(3, 1), lambda x: (x * w)[1:]):
            g = wrap(f)
            for _ in range(5):
                leaf = torch.randn(3, requires_grad=True)
                h = leaf * 1.0
                out = g(h)
                out.mul_(3.0)
                (out.sum() + h.square().sum()).backward()
                history.append(bytes_of([out, h, leaf.grad, w.grad]))
        return history

    same(script, 6)


def test_the_same_tensor_twice_is_not_two_tensors() -> None:
    def script(wrap: Any) -> Any:
        f, history = wrap(lambda a, b: (a * b).sum()), []
        for k in range(12):
            x = torch.randn(3, requires_grad=True)
            y = (x, x.detach().requires_grad_(), torch.randn(3, requires_grad=True))[k % 3]
            f(x, y).backward()
            history.append(bytes_of([x.grad, y.grad]))
        return history

    same(script, 6)


def test_a_gradient_that_is_returned_is_the_gradient() -> None:
    w = torch.randn(3, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        (w * x).sum().backward()
        return w.grad

    step = torch.capture(step)
    for _ in range(5):
        x = torch.randn(3)
        assert step(x) is w.grad
        assert bytes_of(w.grad) == bytes_of(x)


# ---- refused, or run as they are ----


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 2


@pytest.mark.parametrize(
    ("f", "why"),
    [
        (lambda w, x: Doubled.apply(w * x), "DoubledBackward"),
        (lambda w, x: w * torch.ones(3, requires_grad=True), "leaf that was made inside"),
        (lambda w, x: x.mul_(w).sum(), "written to in place"),
    ],
)
def test_what_a_replay_could_not_differentiate_is_refused(f: Any, why: Any) -> None:
    w = torch.ones(3, requires_grad=True)
    captured = torch.capture(lambda x: f(w, x))
    captured(torch.ones(3))
    with pytest.raises(torch.CaptureError, match=why) as error:
        captured(torch.ones(3))
    assert __file__ in str(error.value)


def test_a_module_that_cannot_be_captured_runs_eagerly_with_one_warning() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return Doubled.apply(self.l(x))

    def train(wrap: Any) -> Any:
        torch.manual_seed(0)
        model, history = wrap(Net()), []
        for x in torch.randn(6, 3, 4):
            model(x).sum().backward()
            history.append(bytes_of(seen(model)))
        return history

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert train(torch.compile) == train(eager)
    assert len(caught) == 1 and "runs eagerly" in str(caught[0].message)


def test_backward_inside_does_not_go_on_outside() -> None:
    captured = torch.capture(lambda x: (x * x).sum().backward())
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(torch.CaptureError, match=r"history.*outside"):
        captured(x * 2)


# ---- the wrapper ----


def test_a_compiled_module_is_a_module() -> None:
    inner = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    model = torch.compile(inner)
    assert list(model.state_dict()) == [f"_orig_mod.{k}" for k in inner.state_dict()]
    assert [n for n, _ in model.named_parameters()] == [
        f"_orig_mod.{n}" for n, _ in inner.named_parameters()
    ]
    assert model._orig_mod is inner and next(model.children()) is inner
    model.eval()
    assert not inner.training and not inner[1].training and not model.training
    inner.train()
    assert model.training
    model.note = 3
    assert inner.note == 3 and model.note == 3
    del model.note
    assert not hasattr(inner, "note")
    model.load_state_dict({k: torch.zeros_like(v) for k, v in model.state_dict().items()})
    assert not inner[0].weight.any()
    assert model.to(torch.float64) is model and inner[0].weight.dtype == torch.float64
    assert torch.compile(inner, disable=True) is inner


def test_copies_and_files_of_compiled_modules() -> None:
    model, x = torch.compile(net()), torch.randn(3, 4)
    for _ in range(3):
        model(x).sum().backward()
    twin = copy.deepcopy(model)
    assert twin._orig_mod is not model._orig_mod and next(twin.parameters()) is not next(
        model.parameters()
    )
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (twin, torch.load(file, weights_only=False)):
        for _ in range(4):
            assert bytes_of(other(x)) == bytes_of(model(x))
        with torch.no_grad():
            next(other.parameters()).add_(1.0)
        assert bytes_of(other(x)) != bytes_of(model(x))


def test_a_loop_takes_no_more_memory() -> None:
    model = compiled(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)))
    optimizer, x = torch.optim.SGD(model.parameters(), lr=0.01), torch.randn(5, 4)
    levels = []
    for n in (300, 3000):
        for _ in range(n):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        stats = _C.memory_stats()
        levels.append((stats["live_blocks"], stats["allocated_bytes"]))
    assert levels[0] == levels[1]


# ---- numbers of parameter groups ----


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_numbers_that_are_changed_by_hand_are_live(optimizer: str) -> None:
    def train(wrap: Any) -> Any:
        torch.manual_seed(0)
        model = net()
        o = OPTIMIZERS[optimizer](list(model.parameters()))

        def step(x: Any) -> Any:
            o.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            o.step()
            return loss

        step, history = wrap(step), []
        for k, x in enumerate(torch.randn(16, 5, 4)):
            for group in o.param_groups:
                for name, value in group.items():
                    if k < 4 or name in ("params", "step_sizes"):
                        continue
                    if type(value) is float and k % 2 == 0:
                        group[name] = value * 0.9
                    elif name in ("betas", "etas") and k % 3 == 0:
                        group[name] = tuple(v * 0.95 for v in value)
            history.append(bytes_of(step(x)))
        return [*history, bytes_of(list(model.parameters())), bytes_of(o.state_dict())]

    assert difference(train(eager), train(torch.capture)) == ""
