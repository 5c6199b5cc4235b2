# SPDX-License-Identifier: Apache-2.0
"""Scripts about views, writes, gradients and memory, run eagerly and captured: the same is seen, or it is refused."""

import numpy as np

import gradstep as torch
from capture_scripts import Scripts, net, xs
from capture_worlds import bytes_of, random_state
from gradstep.utils.checkpoint import checkpoint

# ruff: noqa: B007, B018, B020, B023, UP034, B026, B028, C408, E731, E741, F841, PLW0603
SCRIPTS = Scripts()
case, refused = SCRIPTS.case, SCRIPTS.refused


@case
def numpy_global(wrap):
    s = np.array([2.0, 3.0])
    f = wrap(lambda x: x * float(s[0]))
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            s[0] = 7.0
        out.append(bytes_of(f(x)))
    return out


@case
def gradient_penalty_at_a_leaf_made_inside(wrap):
    """The graph of the result is spent, but it still holds the leaf and its gradient."""
    torch.manual_seed(0)
    critic = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Softplus(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(critic.parameters())

    @wrap
    def step(real):
        fake = torch.randn(real.shape)
        t = torch.rand(real.shape[0], 1)
        between = (t * real + (1 - t) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = (slope.norm(2, dim=1) - 1).square().mean()
        loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, penalty

    out = []
    for x in xs(7, 4, 3):
        out.append([bytes_of(t) for t in step(x)])
    return [*out, [bytes_of(p) for p in critic.parameters()], random_state()]


def checkpointed(wrap, dropout, reentrant):
    torch.manual_seed(0)
    block = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(dropout), torch.nn.Tanh())
    head = torch.nn.Linear(3, 2)
    weights = [*block.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(weights, lr=0.1)

    @wrap
    def step(x):
        noise = torch.rand(x.shape)  # drawn outside of the checkpoint
        h = checkpoint(block, x.requires_grad_(), use_reentrant=reentrant) + noise
        loss = head(checkpoint(block, h, use_reentrant=reentrant)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    out = [bytes_of(step(x)) for x in xs(6, 4, 3)]
    return [*out, [bytes_of(p) for p in weights], random_state()]


@case
def checkpointed_without_random_numbers(wrap):
    return checkpointed(wrap, 0.0, False)


@case
def checkpointed_reentrant(wrap):
    return checkpointed(wrap, 0.0, True)


@refused
def checkpointed_dropout(wrap):
    return checkpointed(wrap, 0.5, False)


@refused
def checkpointed_dropout_reentrant(wrap):
    return checkpointed(wrap, 0.5, True)


@refused
def numpy_generator(wrap):
    r = np.random.default_rng(0)
    f = wrap(lambda x: x * float(r.random()))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@refused
def numpy_randomstate(wrap):
    r = np.random.RandomState(0)
    f = wrap(lambda x: x * float(r.rand()))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@case
def dict_access(wrap):

    class M:
        def __init__(s):
            s.scale0 = 2.0

        def __call__(s, x):
            return x * s.__dict__["sc" + "ale0"]

    m = M()
    f = wrap(lambda x: m(x))
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            m.scale0 = 9.0
        out.append(bytes_of(f(x)))
    return out


@case
def slice_of_global_inplace(wrap):
    data = torch.arange(40.0).reshape(10, 4)

    def g(x):
        x.mul_(2)
        return data.sum()

    f = wrap(g)
    return [bytes_of(f(data[k : k + 2])) for k in range(0, 8)] + [bytes_of(data)]


@case
def grad_as_input(wrap):
    m = net()
    m(xs(1, 2, 4)[0]).sum().backward()

    def g(x):
        return (x * m[0].weight.grad).sum(1)

    f = wrap(g)
    return [bytes_of(f(x)) for x in [m[0].weight.grad] * 2 + [q + 1 for q in xs(3, 5, 4)]]


@case
def graph_outside_nothing_saved(wrap):
    w = torch.ones(3, requires_grad=True)
    f = wrap(lambda x: (w + x).sum())
    out = []
    for x in xs(5, 3):
        w.grad = None
        l = f(x)
        l.backward()
        out.append(bytes_of([l, w.grad]))
    return out


@case
def graph_outside_twice(wrap):
    w = torch.ones(3, requires_grad=True)
    f = wrap(lambda x: (w + x).sum())
    out = []
    for x in xs(5, 3):
        l = f(x)
        l.backward()
        try:
            l.backward()
            out.append("ok")
        except RuntimeError:
            out.append("err")
    return out + [bytes_of(w.grad)]


@refused
def input_with_history(wrap):
    w = torch.ones(3, requires_grad=True)

    def g(x):
        l = (x * x).sum()
        l.backward()
        return l.detach()

    f = wrap(g)
    out = []
    for x in xs(5, 3):
        w.grad = None
        out.append(bytes_of(f(w * x)))
        out.append(bytes_of(w.grad))
    return out


@case
def input_leaf_grad(wrap):

    def g(x):
        l = (x * x).sum()
        l.backward()
        return l.detach()

    f = wrap(g)
    out = []
    for x in xs(5, 3):
        x.requires_grad_()
        out.append(bytes_of(f(x)))
        out.append(bytes_of(x.grad))
    f(x)
    out.append(bytes_of(x.grad))
    f(x)
    out.append(bytes_of(x.grad))
    return out


@refused
def tensor_hook_added(wrap):

    def go():
        m = net()

        def step(x):
            m.zero_grad()
            m(x).sum().backward()

        f = wrap(step)
        out = []
        for k, x in enumerate(xs(6, 3, 4)):
            if k == 3:
                m[0].weight.register_hook(lambda g: g * 2)
            f(x)
            out.append(bytes_of([p.grad for p in m.parameters()]))
        return out

    return go()


@case
def inplace_random(wrap):
    torch.manual_seed(0)

    def g(x):
        y = torch.empty_like(x)
        y.normal_()
        y2 = torch.empty_like(x).uniform_(1, 2)
        y3 = torch.empty_like(x).exponential_()
        return (
            x
            + y * y2
            + y3
            + torch.empty(3).random_(5).float()
            + torch.empty(3).log_normal_()
            + torch.empty(3).cauchy_()
            + torch.empty(3).geometric_(0.4)
            + torch.poisson(x.abs())
        )

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 3)] + random_state()


@case
def returns_leaf_with_grad(wrap):

    def g(x):
        z = x.detach().clone().requires_grad_()
        (z * z).sum().backward()
        return z

    f = wrap(g)
    return [bytes_of([r, r.grad]) for r in map(f, xs(5, 3))]


@case
def returns_leaf_detached_with_grad(wrap):

    def g(x):
        z = x.detach().requires_grad_()
        (z * z).sum().backward()
        return z

    f = wrap(g)
    return [bytes_of([r, r.grad]) for r in map(f, xs(5, 3))]


@case
def input_returned(wrap):
    f = wrap(lambda x: (x, x.view(-1), x.mul_(2)))
    out = []
    for x in xs(5, 3):
        r = f(x)
        out.append([r[0] is x, r[2] is x, r[1].data_ptr() == x.data_ptr(), bytes_of(x)])
    return out


@case
def inputs_versions(wrap):
    f = wrap(lambda x: x.mul_(2))
    out = []
    for x in xs(6, 3):
        w = torch.ones(3, requires_grad=True)
        y = (w * x).sum()
        f(x)
        try:
            y.backward()
            out.append("ok")
        except RuntimeError as e:
            out.append("err")
    return out


@case
def result_versions(wrap):
    f = wrap(lambda x: x * 2)
    out = []
    for x in xs(6, 3):
        r = f(x)
        w = torch.ones(3, requires_grad=True)
        y = (w * r).sum()
        f(x)
        y.backward()
        out.append(bytes_of(w.grad))
    return out


@case
def feed_back_inplace(wrap):
    f = wrap(lambda h, x: h.add_(x))
    h = torch.zeros(3)
    out = []
    for x in xs(8, 3):
        h = f(h, x)
        out.append(bytes_of(h))
    return out


@case
def aliased_inputs(wrap):

    def g(a, b):
        a.mul_(2)
        return a + b

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(12, 6)):
        if k % 3 == 0:
            out.append(bytes_of(f(x[:3], x[3:])))
        if k % 3 == 1:
            out.append(bytes_of(f(x[:3], x[:3])))
        if k % 3 == 2:
            out.append(bytes_of(f(x[:3], x[1:4])))
        out.append(bytes_of(x))
    return out


@case
def signatures(wrap):
    f = wrap(lambda x: (x * 2).sum().detach())
    out = []
    for r in range(3):
        for x in [
            torch.ones(3),
            torch.ones(4),
            torch.ones(3, dtype=torch.float64),
            torch.ones(3).requires_grad_(),
            torch.ones(3, 1),
            torch.arange(3),
            torch.ones(6)[::2],
            torch.ones(()),
            torch.ones(0),
            torch.ones(2, 3).t(),
            torch.ones(1, 3).expand(2, 3),
            torch.ones(3, dtype=torch.bool),
        ]:
            for md in (torch.no_grad, torch.enable_grad):
                with md():
                    y = f(x)
                    out.append([bytes_of(y), y.requires_grad])
    return out


@case
def callable_object(wrap):

    class C:
        def __init__(s):
            s.a = 2.0

        def __call__(s, x):
            return x * s.a

    c = C()
    f = wrap(c)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            c.a = 9.0
        out.append(bytes_of(f(x)))
    return out


@case
def tensor_global_inplace(wrap):
    w = torch.ones(3)
    f = wrap(lambda x: x * w)
    out = []
    for k, x in enumerate(xs(8, 3)):
        w.add_(1)
        out.append(bytes_of(f(x)))
    return out


@refused
def tensor_global_metadata(wrap):
    w = torch.ones(2, 3)
    f = wrap(lambda x: x * w.sum(0))
    out = []
    for k, x in enumerate(xs(8, 3)):
        if k == 4:
            w.resize_(1, 3) if hasattr(w, "resize_") else None
        out.append(bytes_of(f(x)))
    return out


@refused
def create_graph_in_grad(wrap):
    m = net()

    def g(x):
        m.zero_grad()
        m(x).square().sum().backward(create_graph=True)
        return m[0].weight.grad.square().sum().detach()

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)]


@case
def intermediate_retain_grad(wrap):
    m = net()

    def g(x):
        m.zero_grad()
        h = m[0](x)
        h.retain_grad()
        m[2](h).sum().backward()
        return h.grad * 2

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)]


@case
def intermediate_grad_returned(wrap):
    m = net()

    def g(x):
        m.zero_grad()
        h = m[0](x)
        h.retain_grad()
        m[2](h).sum().backward()
        return (h.detach(), h.grad)

    f = wrap(g)
    kept = [f(x) for x in xs(6, 2, 4)]
    return bytes_of(kept)


@case
def frozen_inside_left(wrap):
    m = net()

    def g(x):
        m[0].weight.requires_grad_(False)
        m.zero_grad()
        m(x).sum().backward()
        return m[2].bias.grad * 1

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2, 4)]


@case
def view_of_weight_outside(wrap):
    w = torch.ones(4)
    v = w[1:3]

    def g(x):
        v.add_(x)
        return w.sum()

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(6, 2)] + bytes_of([w])


@case
def output_written_by_user(wrap):
    f = wrap(lambda x: x * 2)
    out = []
    for x in xs(6, 3):
        r = f(x)
        r.add_(1)
        out.append(r)
    return bytes_of(out)


@case
def output_strided(wrap):

    def g(x):
        y = x * 2
        return (y.t(), y[1:], y[:, ::2], y.view(-1))

    f = wrap(g)
    r = [f(x) for x in xs(6, 3, 4)]
    r[-1][1].add_(1)
    return [
        (
            bytes_of(list(q)),
            [z.stride() for z in q],
            [z._is_view() if hasattr(z, "_is_view") else 0 for z in q],
        )
        for q in r
    ]


@case
def no_tensor_args(wrap):
    w = torch.ones(3)

    def g():
        w.add_(1)
        return w * 2

    f = wrap(g)
    return [bytes_of(f()) for _ in range(6)]


@case
def only_view(wrap):
    f = wrap(lambda x: x[1:])
    return [bytes_of(f(x)) for x in xs(5, 3)]


@case
def numpy_shared_memory(wrap):
    a = np.ones(3, dtype=np.float32)
    w = torch.from_numpy(a)
    f = wrap(lambda x: x.cpu() * w)
    out = []
    for x in xs(6, 3):
        out.append(bytes_of(f(x)))
        a += 1
    return out


test_a_captured_script_sees_what_the_eager_one_sees = SCRIPTS.test_equal()
test_a_script_that_a_replay_would_not_repeat_is_refused = SCRIPTS.test_refused()
