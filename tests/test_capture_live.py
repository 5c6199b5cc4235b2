# SPDX-License-Identifier: Apache-2.0
"""Training scripts run twice, eagerly and with their functions captured: what they observe is the same, or the capture is
refused. Each was written to make a capture tell a lie."""

import copy

import pytest

import gradstep as torch
import gradstep.nn as nn
import gradstep.nn.functional as F
from capture_scripts import Scripts, net, train, xs
from capture_worlds import bytes_of, random_state
from gradstep import _C

# ruff: noqa: B007, B018, B020, B023, UP034, B026, B028, C408, E731, E741, F841, PLW0603
SCRIPTS = Scripts()
case, refused = SCRIPTS.case, SCRIPTS.refused


@case
def grad_kept(wrap):
    m = net()
    o = torch.optim.Adam(m.parameters())

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    kept = []
    views = []
    det = []
    nps = []
    for x in xs(8, 2, 4):
        kept.append((f(x), [p.grad for p in m.parameters()]))
    for x in xs(8, 2, 4):
        f(x)
        views.append(m[0].weight.grad.view(-1)[3:])
    for x in xs(8, 2, 4):
        f(x)
        det.append(m[0].weight.grad.detach())
    for x in xs(8, 2, 4):
        f(x)
        det.append(m[0].weight.grad.data)
    for x in xs(8, 2, 4):
        f(x)
        nps.append(m[0].weight.grad.cpu().numpy())
    return bytes_of(kept) + bytes_of(views) + bytes_of(det) + [n.tobytes() for n in nps]


@case
def grad_changed_between(wrap):
    m = net()
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def g(x):
        l = m(x).square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(16, 2, 4)):
        out.append(bytes_of(f(x)))
        if k % 4 == 1:
            o.zero_grad()
        if k % 4 == 2:
            o.zero_grad(set_to_none=False)
        if k % 4 == 3:
            m[0].weight.grad = torch.ones(5, 4)
        if k % 4 == 0:
            m[0].weight.grad.mul_(0.5)
            m[2].bias.grad = None
        out.append(bytes_of([p.grad for p in m.parameters()]))
    return out


@case
def state_dicts_between(wrap):
    m = net()
    o = torch.optim.Adam(m.parameters())

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(12, 2, 4)):
        out.append(bytes_of(f(x)))
        if k == 4:
            sd = copy.deepcopy(m.state_dict())
            mm = copy.deepcopy(m)
        if k == 6:
            m.load_state_dict(sd)
        if k == 8:
            with torch.no_grad():
                [p.zero_() for p in m.parameters()]
        if k == 9:
            out.append(bytes_of(mm.state_dict()))
            out.append(bytes_of(copy.deepcopy(o.state_dict())))
    return out


@refused
def load_optimizer(wrap):
    m = net()
    o = torch.optim.Adam(m.parameters())

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(12, 2, 4)):
        out.append(bytes_of(f(x)))
        if k == 4:
            sd = copy.deepcopy(o.state_dict())
        if k == 6:
            o.load_state_dict(sd)
    return out


@case
def tensor_lr(wrap):
    m = net()
    lr = torch.tensor(0.1)
    o = torch.optim.SGD(m.parameters(), lr=lr)

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(12, 2, 4)):
        out.append(bytes_of(f(x)))
        if k == 5:
            lr.fill_(0.01)
        if k == 8:
            o.param_groups[0]["lr"] = torch.tensor(0.5)
    return out + bytes_of(list(m.parameters()))


@case
def autocast_outside(wrap):
    m = net()
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def fwd(x):
        return m(x).square().sum().detach()

    f = wrap(fwd)
    out = []
    for k, x in enumerate(xs(8, 2, 4)):
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            out.append(bytes_of(f(x)))
            out.append(bytes_of(f(x)))
        with torch.no_grad():
            [p.add_(0.1) for p in m.parameters()]
    return out


@case
def autocast_inside(wrap):
    m = net()
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def g(x):
        o.zero_grad()
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            l = m(x).float().square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(8, 2, 4)] + bytes_of(list(m.parameters()))


@refused
def autocast_around(wrap):
    m = net()
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def g(x):
        o.zero_grad()
        l = m(x).float().square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    out = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for x in xs(8, 2, 4):
            out.append(bytes_of(f(x)))
    return out + bytes_of(list(m.parameters()))


@case
def bn_eval_train(wrap):
    torch.manual_seed(0)
    m = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
    t = wrap(lambda x: m(x).detach())
    e = wrap(lambda x: m(x).detach())
    out = []
    for k, x in enumerate(xs(12, 4, 4)):
        m.train()
        out.append(bytes_of(t(x)))
        m.eval()
        out.append(bytes_of(e(x)))
        if k > 6:
            out.append(bytes_of(t(x)))
    return out + bytes_of(list(m.buffers()))


@case
def index_error_in_replay(wrap):
    torch.manual_seed(0)
    m = nn.Embedding(5, 3)
    h = nn.Linear(3, 1)
    o = torch.optim.Adam([*m.parameters(), *h.parameters()])
    d = nn.Dropout(0.5)

    def g(i):
        o.zero_grad()
        l = h(d(m(i))).sum() + torch.rand(1).sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    out = []
    for k in range(8):
        i = torch.tensor([1, k, 2])
        try:
            out.append(bytes_of(f(i)))
        except Exception as e:
            out.append((type(e).__name__, str(e)))
        out.append(
            bytes_of(
                [p.grad for p in [*m.parameters(), *h.parameters()]]
                + [*m.parameters(), o.state_dict()]
            )
        )
    out.append(bytes_of(f(torch.tensor([1, 3, 2]))))
    return out + random_state()


@case
def target_error_in_replay(wrap):
    m = net()
    o = torch.optim.Adam(m.parameters())

    def g(x, y):
        o.zero_grad()
        l = F.cross_entropy(m(x), y)
        l.backward()
        o.step()
        return l

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(8, 2, 4)):
        try:
            out.append(bytes_of(f(x, torch.tensor([0, 9 if k == 5 else 1]))))
        except Exception as e:
            out.append((type(e).__name__, str(e)))
        out.append(bytes_of([[p, p.grad] for p in m.parameters()]))
    return out


@case
def graph_saved_outside_version(wrap):
    m = net()
    o = torch.optim.SGD(m.parameters(), lr=0.1)
    out = []

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        return l

    f = wrap(g)
    X = xs(8, 2, 4)
    for k, x in enumerate(X):
        y = m(x).square().sum()
        f(x)
        try:
            y.backward()
            out.append("ok")
        except RuntimeError as e:
            out.append("err")
    return out


@case
def custom_optimizer(wrap):

    class Mine(torch.optim.Optimizer):
        def __init__(s, p, lr):
            super().__init__(p, dict(lr=lr))

        @torch.no_grad()
        def step(s, closure=None):
            for g in s.param_groups:
                for p in g["params"]:
                    p.add_(p.grad, alpha=-g["lr"])

    def after(k):
        for q in made:
            q.param_groups[0]["lr"] *= 0.5

    made = []

    def mk(p):
        q = Mine(p, 0.1)
        made.append(q)
        return q

    return train(wrap, lambda m, o, l, x: None, n=6, opt=mk, after=after)


@refused
def custom_optimizer_counts(wrap):

    class Mine(torch.optim.Optimizer):
        def __init__(s, p, lr):
            super().__init__(p, dict(lr=lr))
            s.t = 0

        @torch.no_grad()
        def step(s, closure=None):
            s.t += 1
            for g in s.param_groups:
                for p in g["params"]:
                    p.add_(p.grad, alpha=-g["lr"] / s.t)

    return train(wrap, lambda m, o, l, x: None, n=6, opt=lambda p: Mine(p, 0.1))


@case
def custom_function(wrap):

    class Fn(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x

    return train(wrap, lambda m, o, l, x: Fn.apply(m[0].weight).sum().backward(), n=6)


@case
def grad_attribute_math(wrap):

    def extra(m, o, l, x):
        l.backward(retain_graph=True)
        for p in m.parameters():
            p.grad = p.grad * 2
        m[0].weight.grad.data.clamp_(-0.1, 0.1)
        m[2].bias.grad = None

    return train(wrap, extra, n=6)


@case
def grad_norm_logged(wrap):
    return train(
        wrap,
        lambda m, o, l, x: (
            l.backward(retain_graph=True),
            nn.utils.clip_grad_norm_(m.parameters(), 1.0),
        )[1],
        n=6,
    )


@case
def method_captured(wrap):

    class T:
        def __init__(s):
            s.m = net()
            s.o = torch.optim.Adam(s.m.parameters())
            s.k = 2.0

        def step(s, x):
            s.o.zero_grad()
            l = s.m(x).sum() * s.k
            l.backward()
            s.o.step()
            return l

    t = T()
    f = wrap(t.step)
    out = []
    for k, x in enumerate(xs(8, 2, 4)):
        if k == 5:
            t.k = 3.0
        out.append(bytes_of(f(x)))
    return out


@case
def decorated_method(wrap):

    class T:
        def __init__(s, k):
            s.m = net(k)
            s.o = torch.optim.Adam(s.m.parameters())
            s.k = 2.0 + k

        @wrap
        def step(s, x):
            s.o.zero_grad()
            l = s.m(x).sum() * s.k
            l.backward()
            s.o.step()
            return l

    t = T(0)
    u = T(1)
    out = []
    for k, x in enumerate(xs(8, 2, 4)):
        if k == 5:
            t.k = 3.0
        out.append(bytes_of([t.step(x), u.step(x)]))
    return out


@case
def accumulate_outside(wrap):
    m = net()
    o = torch.optim.Adam(m.parameters())

    def g(x):
        l = m(x).square().sum() / 3
        l.backward()
        return l

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(18, 2, 4)):
        out.append(bytes_of(f(x)))
        if k % 3 == 2:
            o.step()
            o.zero_grad()
    return out + bytes_of([[p, p.grad] for p in m.parameters()])


@case
def retain_graph_double(wrap):
    return train(wrap, lambda m, o, l, x: l.backward(retain_graph=True), n=6)


@case
def frozen_inside_gan(wrap):
    m = net()
    d = net(1)
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def g(x):
        for p in d.parameters():
            p.requires_grad_(False)
        o.zero_grad()
        l = d[0](torch.cat([m(x), x[:, :1]], 1)).sum()
        l.backward()
        o.step()
        for p in d.parameters():
            p.requires_grad_(True)
        return l

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)] + bytes_of([[p, p.grad] for p in m.parameters()])


@case
def closure_step(wrap):

    def mk(p):
        return torch.optim.SGD(p, lr=0.1)

    m = net()
    o = mk(m.parameters())

    def g(x):

        def c():
            o.zero_grad()
            l = m(x).sum()
            l.backward()
            return l

        return o.step(c)

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)] + bytes_of(list(m.parameters()))


@case
def post_accumulate_hook(wrap):
    m = net()
    o = {p: torch.optim.SGD([p], lr=0.1) for p in m.parameters()}

    def h(p):
        o[p].step()
        o[p].zero_grad()

    for p in m.parameters():
        p.register_post_accumulate_grad_hook(h)

    def g(x):
        l = m(x).square().sum()
        l.backward()
        return l

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)] + bytes_of([[p, p.grad] for p in m.parameters()])


@case
def ema_lerp(wrap):
    m = net()
    e = copy.deepcopy(m)
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        with torch.no_grad():
            for a, b in zip(e.parameters(), m.parameters()):
                a.lerp_(b, 0.1)
        return l

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)] + bytes_of(list(e.parameters()))


@case
def ema_state_dict(wrap):
    m = net()
    e = {k: v.clone() for k, v in m.state_dict().items()}
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        for k, v in m.state_dict().items():
            e[k].mul_(0.9).add_(v * 0.1)
        return l

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)] + [bytes_of(e)]


@refused
def ema_rebinding(wrap):
    m = net()
    e = {k: v.clone() for k, v in m.state_dict().items()}
    o = torch.optim.SGD(m.parameters(), lr=0.1)

    def g(x):
        o.zero_grad()
        l = m(x).square().sum()
        l.backward()
        o.step()
        for k, v in m.state_dict().items():
            e[k] = e[k] * 0.9 + v * 0.1
        return l

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)] + [bytes_of(e)]


@case
def big_accumulate(wrap):
    m = net()
    o = torch.optim.AdamW(m.parameters())

    def g(b):
        o.zero_grad()
        for x in b:
            (m(x).square().mean() / len(b)).backward()
        o.step()

    f = wrap(g)
    out = []
    for k in range(6):
        f(xs(4, 2, 4, seed=k))
        out.append(bytes_of([[p, p.grad] for p in m.parameters()]))
    return out


test_a_captured_script_sees_what_the_eager_one_sees = SCRIPTS.test_equal()
test_a_script_that_a_replay_would_not_repeat_is_refused = SCRIPTS.test_refused()


@pytest.mark.cpu_only
def test_a_thousand_and_twenty_thousand_replays_take_the_same_memory():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())

    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    captured, x = torch.capture(step), torch.ones(2, 3)
    seen = []
    for n in (1000, 19000):
        for _ in range(n):
            captured(x)
        stats = _C.memory_stats()
        seen.append((stats["live_blocks"], stats["allocated_bytes"]))
    assert seen[0] == seen[1]


@pytest.mark.cpu_only
def test_gradients_are_scaled_as_eager_does():
    def train(wrap):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            return loss

        step, seen = wrap(step), []
        for k in range(12):
            x = torch.randn(8, 4)
            if k in (5, 8):
                x[0, 0] = float("inf")
            loss = step(x, torch.randint(0, 2, (8,)))
            seen.append(bytes_of([loss, scaler._scale, list(model.parameters())]))
        return seen

    assert train(torch.capture) == train(lambda f: f)


@pytest.mark.cpu_only
def test_what_a_tensor_hook_keeps_is_seen():
    log, w = [], torch.ones(3, requires_grad=True)
    w.register_hook(lambda g: log.append(1))

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    captured = torch.capture(step)
    captured(torch.ones(3))
    with pytest.raises(torch.CaptureError, match="inside"):
        captured(torch.ones(3))
    assert len(log) == 1
