# SPDX-License-Identifier: Apache-2.0
"""Scripts about modules and what hangs on them, run eagerly and captured: the same is seen, or the capture is refused."""

import gradstep as torch
import gradstep.nn as nn
from capture_scripts import Scripts, net, xs
from capture_worlds import bytes_of, random_state

# ruff: noqa: B007, B018, B020, B023, UP034, B026, B028, C408, E731, E741, F841, PLW0603
SCRIPTS = Scripts()
case, refused = SCRIPTS.case, SCRIPTS.refused


@case
def class_attribute(wrap):

    class Net(nn.Module):
        scale = 2.0

        def __init__(s):
            super().__init__()
            s.l = nn.Linear(4, 2)

        def forward(s, x):
            return s.l(x) * s.scale

    torch.manual_seed(0)
    m = Net()
    f = wrap(lambda x: m(x).detach().sum())
    out = []
    for k, x in enumerate(xs(6, 3, 4)):
        if k == 4:
            Net.scale = 5.0
        out.append(bytes_of(f(x)))
    return out


@refused
def method_replaced_on_class(wrap):

    class Net(nn.Module):
        def forward(s, x):
            return x * 2

    m = Net()
    f = wrap(lambda x: m(x))
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            Net.forward = lambda s, x: x * 3
        out.append(bytes_of(f(x)))
    return out


@case
def dynamic_getattr(wrap):

    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.scale0 = 2.0

        def forward(s, x):
            return x * getattr(s, "scale" + str(0))

    m = M()
    f = wrap(lambda x: m(x))
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            m.scale0 = 9.0
        out.append(bytes_of(f(x)))
    return out


@case
def weight_as_input(wrap):
    m = net()
    f = wrap(lambda x: (m[0].weight.detach() * x).sum(1).detach())
    return [
        bytes_of(f(x))
        for x in [
            xs(1, 5, 4)[0],
            m[0].weight.detach(),
            xs(1, 5, 4)[0] + 1,
            xs(1, 5, 4)[0] + 2,
            m[0].weight,
        ]
    ]


@case
def weight_as_input2(wrap):
    m = net()
    f = wrap(lambda x: (m[0].weight.detach() * x).sum(1).detach())
    return [
        bytes_of(f(x))
        for x in [
            m[0].weight.detach(),
            m[0].weight.detach(),
            xs(1, 5, 4)[0] + 1,
            xs(1, 5, 4)[0] + 2,
        ]
    ]


@refused
def module_hook_added(wrap):
    m = net()
    f = wrap(lambda x: m(x).detach().sum())
    out = []
    for k, x in enumerate(xs(6, 3, 4)):
        if k == 3:
            m[0].register_forward_hook(lambda mod, i, o: o * 2)
        out.append(bytes_of(f(x)))
    return out


@refused
def global_module_hook(wrap):
    m = net()
    f = wrap(lambda x: m(x).detach().sum())
    out = []
    h = None
    try:
        for k, x in enumerate(xs(6, 3, 4)):
            if k == 3:
                h = nn.modules.module.register_module_forward_hook(lambda mod, i, o: o * 2)
            out.append(bytes_of(f(x)))
    finally:
        if h:
            h.remove()
    return out


@case
def draws_interleaved(wrap):
    torch.manual_seed(0)
    d = nn.Dropout(0.5)
    out = []
    f = wrap(
        lambda x: (
            d(x)
            + torch.rand(3)
            + torch.randn(3).mul(torch.randperm(3))
            + torch.bernoulli(torch.full((3,), 0.5))
        )
    )
    for x in xs(6, 3):
        out.append(bytes_of(f(x)))
        out.append(bytes_of(torch.randn(5)))
        out.append(bytes_of(torch.rand(1)))
    return out + random_state()


@refused
def returns_parameter_made_inside(wrap):
    f = wrap(lambda x: nn.Parameter(x * 2))
    return [type(r).__name__ + str(r.requires_grad) for r in map(f, xs(5, 3))]


@case
def requires_grad_toggled_in_exception(wrap):
    m = net()

    def g(x):
        m[0].weight.requires_grad_(False)
        raise ValueError("no")

    f = wrap(g)
    try:
        f(xs(1, 3)[0])
    except ValueError:
        pass
    return "x"


@refused
def bn_momentum_none(wrap):
    torch.manual_seed(0)
    m = nn.BatchNorm1d(5, momentum=None)
    t = wrap(lambda x: m(x).detach())
    return [bytes_of(t(x)) for x in xs(8, 4, 5)] + bytes_of(list(m.buffers()))


@case
def inference_mode(wrap):
    m = net()
    f = wrap(lambda x: m(x))
    out = []
    for k, x in enumerate(xs(8, 2, 4)):
        with torch.inference_mode() if k % 2 else torch.no_grad():
            r = f(x)
            out.append([bytes_of(r), r.is_inference(), r.requires_grad])
    return out


@refused
def module_replaced_in_list(wrap):
    ms = [nn.Tanh()]
    f = wrap(lambda x: ms[0](x))
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            ms[0] = nn.ReLU()
        out.append(bytes_of(f(x)))
    return out


@case
def activation_attr(wrap):
    m = nn.LeakyReLU(0.1)
    f = wrap(lambda x: m(x))
    out = []
    for k, x in enumerate(xs(8, 3)):
        if k == 4:
            m.negative_slope = 0.5
        if k == 6:
            m.negative_slope = 0.1
        out.append(bytes_of(f(x)))
    return out


@case
def lstm_state_carried(wrap):
    torch.manual_seed(0)
    m = nn.LSTM(3, 4)
    f = wrap(
        lambda x, h: [
            q for q in (lambda r: (r[0].detach(), tuple((s.detach() for s in r[1]))))(m(x, h))
        ]
    )
    h = (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
    out = []
    for x in xs(6, 5, 2, 3):
        y, h = f(x, h)
        out.append(bytes_of([y, list(h)]))
    return out


@case
def dict_batch(wrap):
    m = net()
    f = wrap(lambda b, **k: {"loss": m(b["x"]).sum().detach() * b["w"][0], **k})
    out = []
    for x in xs(6, 2, 4):
        out.append(bytes_of(f({"x": x, "w": [torch.ones(1) * 2, 3]}, extra=x + 1)))
    return out


@case
def many_programs(wrap):
    m = net()
    f = wrap(lambda x: m(x).sum().detach())
    out = []
    for r in range(3):
        for n in range(1, 13):
            out.append(bytes_of(f(torch.ones(n, 4) * r)))
    return out


@case
def grad_mode_inside(wrap):
    m = net()

    def g(x):
        with torch.no_grad():
            a = m(x).sum()
        return a + m(x).sum().detach()

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)]


@refused
def buffer_replaced_inside(wrap):

    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("h", torch.zeros(3))

        def forward(s, x):
            s.h = s.h * 0.5 + x
            return s.h * 1

    m = M()
    f = wrap(lambda x: m(x))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@case
def buffer_inplace_inside(wrap):

    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("h", torch.zeros(3))
            s.register_buffer("i", torch.zeros((), dtype=torch.int64))

        def forward(s, x):
            s.h.mul_(0.5).add_(x)
            s.i += 1
            s.h[0] = 1.0
            return s.h * s.i

    m = M()
    f = wrap(lambda x: m(x))
    return [bytes_of(f(x)) for x in xs(6, 3)] + bytes_of(list(m.buffers()))


@refused
def lazy_cache_attribute(wrap):

    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.c = None

        def forward(s, x):
            if s.c is None or s.c.shape != x.shape:
                s.c = torch.ones_like(x) * 2
            return x * s.c

    m = M()
    f = wrap(lambda x: m(x))
    return [bytes_of(f(x)) for x in xs(3, 3) + xs(3, 4) + xs(3, 3)]


@case
def weights_norm_param(wrap):
    w = nn.Parameter(torch.ones(3))
    v = w.view(3, 1)
    f = wrap(lambda x: (v.detach().squeeze(1) * x).sum())
    out = []
    for x in xs(6, 3):
        out.append(bytes_of(f(x)))
        with torch.no_grad():
            w.add_(1)
    return out


@case
def weight_written_via_data(wrap):
    m = net()
    f = wrap(lambda x: m(x).detach())
    out = []
    for x in xs(6, 2, 4):
        out.append(bytes_of(f(x)))
        m[0].weight.data.mul_(1.1)
        m[0].bias.data[0] = 3.0
    return out


@refused
def weight_data_replaced(wrap):
    m = net()
    f = wrap(lambda x: m(x).detach())
    out = []
    for k, x in enumerate(xs(6, 2, 4)):
        out.append(bytes_of(f(x)))
        if k == 3:
            m[0].weight.data = torch.ones(5, 4)
    return out


test_a_captured_script_sees_what_the_eager_one_sees = SCRIPTS.test_equal()
test_a_script_that_a_replay_would_not_repeat_is_refused = SCRIPTS.test_refused()
