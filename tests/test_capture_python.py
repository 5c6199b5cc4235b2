# SPDX-License-Identifier: Apache-2.0
"""Scripts about Python's own state, run eagerly and captured: the same is seen, or the capture is refused."""

import collections
import dataclasses
import functools
import itertools
import random

import gradstep as torch
import gradstep.nn.functional as F
from capture_scripts import Scripts, xs
from capture_worlds import bytes_of, random_state

# ruff: noqa: B007, B018, B020, B023, UP034, B026, B028, C408, E731, E741, F841, PLW0603
SCRIPTS = Scripts()
case, refused = SCRIPTS.case, SCRIPTS.refused


class Config:
    alpha = 1.0


@case
def class_as_namespace(wrap):
    Config.alpha = 1.0
    f = wrap(lambda x: x * Config.alpha)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            Config.alpha = 3.0
        out.append(bytes_of(f(x)))
    return out


class Slots:
    __slots__ = ("decay",)


@case
def slots(wrap):
    s = Slots()
    s.decay = 0.5
    f = wrap(lambda x: x * s.decay)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            s.decay = 0.25
        out.append(bytes_of(f(x)))
    return out


@dataclasses.dataclass(slots=True)
class DC:
    w: float = 1.0


@case
def slots_dataclass(wrap):
    s = DC()
    f = wrap(lambda x: x * s.w)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            s.w = 0.25
        out.append(bytes_of(f(x)))
    return out


@refused
def iterator(wrap):
    c = itertools.count(1)
    f = wrap(lambda x: x * next(c))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@refused
def generator_obj(wrap):
    c = (i for i in range(100))
    f = wrap(lambda x: x * next(c))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@refused
def list_iter(wrap):
    c = iter([torch.full((3,), float(i)) for i in range(100)])
    f = wrap(lambda x: x * next(c))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@case
def set_contents(wrap):
    s = {1}
    f = wrap(lambda x: x * 2 if 1 in s else x * 3)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            s.discard(1)
        out.append(bytes_of(f(x)))
    return out


@case
def deque_contents(wrap):
    s = collections.deque([2.0])
    f = wrap(lambda x: x * s[0])
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            s[0] = 7.0
        out.append(bytes_of(f(x)))
    return out


@refused
def deque_append_inside(wrap):
    s = collections.deque([])

    def g(x):
        s.append(1)
        return x * 2

    f = wrap(g)
    [f(x) for x in xs(6, 3)]
    return len(s)


@refused
def set_add_inside(wrap):
    s = set()

    def g(x):
        s.add(len(s))
        return x * 2

    f = wrap(g)
    [f(x) for x in xs(6, 3)]
    return len(s)


@refused
def list_of_lists(wrap):
    s = [[2.0]]
    f = wrap(lambda x: x * s[0][0])
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            s[0][0] = 7.0
        out.append(bytes_of(f(x)))
    return out


@refused
def python_random_instance(wrap):
    r = random.Random(0)
    f = wrap(lambda x: x * r.random())
    return [bytes_of(f(x)) for x in xs(6, 3)]


@case
def late_names(wrap):

    class A:
        pass

    class B:
        def apply(s, x):
            return x * s.a.hidden

    class H:
        pass

    a = A()
    a.hidden = 2.0
    b = B()
    b.a = a
    h = H()
    h.b = b

    def g(x):
        a
        return h.b.apply(x)

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            a.hidden = 9.0
        out.append(bytes_of(f(x)))
    return out


@case
def slice_of_global(wrap):
    data = torch.arange(40.0).reshape(10, 4)
    f = wrap(lambda x: (x - data.mean(0)).sum(1))
    return [bytes_of(f(data[k : k + 2])) for k in range(0, 8)]


@refused
def seed_inside(wrap):

    def g(x):
        torch.manual_seed(0)
        return x + torch.randn(3)

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(5, 3)]


@refused
def generator_inside(wrap):

    def g(x):
        q = torch.Generator()
        q.manual_seed(0)
        return x + torch.randn(3, generator=q)

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(5, 3)]


@refused
def generator_inside_unseeded(wrap):

    def g(x):
        q = torch.Generator()
        return x + torch.randn(3, generator=q)

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(5, 3)]


@refused
def fork_rng(wrap):

    def g(x):
        with torch.random.fork_rng():
            y = torch.randn(3)
        return x + y + torch.randn(3)

    torch.manual_seed(0)
    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(5, 3)]


@case
def generator_argument(wrap):
    q = torch.Generator()
    q.manual_seed(1)
    f = wrap(lambda x, q: x + torch.randn(3, generator=q))
    return [bytes_of(f(x, q)) for x in xs(5, 3)]


@case
def generator_global_reseeded(wrap):
    q = torch.Generator()
    q.manual_seed(1)
    out = []
    f = wrap(lambda x: x + torch.randn(3, generator=q))
    for k, x in enumerate(xs(6, 3)):
        if k in (3, 5):
            q.manual_seed(7)
        out.append(bytes_of(f(x)))
    return out + [bytes_of(q.get_state())]


@case
def multinomial(wrap):
    torch.manual_seed(0)
    f = wrap(lambda x: torch.multinomial(x.abs(), 2))
    return [bytes_of(f(x)) for x in xs(6, 3)] + random_state()


@case
def gumbel(wrap):
    torch.manual_seed(0)
    f = wrap(
        lambda x: (
            F.gumbel_softmax(x)
            + F.rrelu(x, training=True)
            + F.dropout1d(x[None, :, None], 0.5, True).sum()
        )
    )
    return [bytes_of(f(x)) for x in xs(6, 3)] + random_state()


@case
def mode_left(wrap):

    def g(x):
        torch.set_grad_enabled(False)
        return x * 2

    f = wrap(g)
    out = []
    for x in xs(5, 3):
        f(x)
        out.append(torch.is_grad_enabled())
        torch.set_grad_enabled(True)
    return out


@case
def default_dtype_left(wrap):

    def g(x):
        torch.set_default_dtype(torch.float64)
        return x * 2

    f = wrap(g)
    out = []
    try:
        for x in xs(5, 3):
            f(x)
            out.append(torch.get_default_dtype() == torch.float64)
            torch.set_default_dtype(torch.float32)
    finally:
        torch.set_default_dtype(torch.float32)
    return out


@case
def kwargs_like_dict(wrap):

    def g(x, d=None, y=None):
        return x + (d["y"] * 2 if d else y)

    f = wrap(g)
    a, b = xs(2, 3)
    out = []
    for k in range(4):
        out.append(bytes_of(f(a, y=b)))
    for k in range(4):
        out.append(bytes_of(f(a, {"y": b})))
    return out


@case
def returns_shape(wrap):
    f = wrap(lambda x: (x * 2, x.shape))
    return [(bytes_of(r[0]), r[1], type(r[1]).__name__) for r in map(f, xs(5, 3))]


@case
def returns_same_twice(wrap):

    def g(x):
        y = x * 2
        return (y, y)

    f = wrap(g)
    return [r[0] is r[1] for r in map(f, xs(5, 3))]


@case
def returns_namedtuple(wrap):
    P = collections.namedtuple("P", "a b")
    f = wrap(lambda x: {"p": P(x * 2, [x + 1, (x,)]), 3: None})
    return [
        (type(r["p"]).__name__, bytes_of(r["p"].a), bytes_of(r["p"].b)) for r in map(f, xs(5, 3))
    ]


@refused
def returns_ordereddict(wrap):
    f = wrap(lambda x: collections.OrderedDict(a=x * 2))
    return [(type(r).__name__, bytes_of(r["a"])) for r in map(f, xs(5, 3))]


@case
def returns_sorted_tuple(wrap):
    f = wrap(lambda x: torch.max(x, 0))
    return [(type(r).__name__, bytes_of(r.values), bytes_of(r.indices)) for r in map(f, xs(5, 3))]


@refused
def returns_mutable_constant(wrap):
    f = wrap(lambda x: (x, bytearray(2)))
    r = [f(x)[1] for x in xs(5, 3)]
    r[3][0] = 9
    return [bytes(q) for q in r]


@case
def returns_meta(wrap):
    f = wrap(lambda x: {"n": 3, "l": [1, 2]})
    r = [f(x) for x in xs(5, 3)]
    r[3]["l"].append(4)
    return r


@case
def feed_back(wrap):
    f = wrap(lambda h, x: (torch.tanh(h + x), h))
    h = torch.zeros(3)
    out = []
    for x in xs(8, 3):
        h, old = f(h, x)
        out.append(bytes_of([h, old]))
    return out


@refused
def bool_of_python_flag(wrap):
    flag = [True]
    f = wrap(lambda x: x * 2 if flag[0] else x * 3)
    out = []
    for k, x in enumerate(xs(8, 3)):
        if k > 3:
            flag[0] = k % 2 == 0
        try:
            out.append(bytes_of(f(x)))
        except torch.CaptureError:
            raise
    return out


FLAG = True


@case
def global_flag(wrap):
    global FLAG
    FLAG = True
    f = wrap(lambda x: x * 2 if FLAG else x * 3)
    out = []
    for k, x in enumerate(xs(8, 3)):
        if k > 3:
            FLAG = k % 2 == 0
        out.append(bytes_of(f(x)))
    return out


COUNT = 0


@refused
def global_count(wrap):
    global COUNT
    COUNT = 0

    def g(x):
        global COUNT
        COUNT += 1
        return x * COUNT

    f = wrap(g)
    return [bytes_of(f(x)) for x in xs(8, 3)]


@case
def scalar_arguments(wrap):
    f = wrap(lambda x, a, b=2, *, c="s": x * a + b)
    out = []
    for k, x in enumerate(xs(30, 3)):
        out.append(
            bytes_of(f(x, [1, 1.0, True, -0.0, 0.0, float("nan"), 2, 3, 4, 5, 6][k % 11], b=k % 2))
        )
    return out


@case
def nested_capture(wrap):
    inner = wrap(lambda x: x * 2)
    outer = wrap(lambda x: inner(x) + 1)
    return [bytes_of([outer(x), inner(x)]) for x in xs(6, 3)]


@case
def nested_capture_inner_first(wrap):
    inner = wrap(lambda x: x * 2)
    [inner(x) for x in xs(4, 3)]
    outer = wrap(lambda x: inner(x) + 1)
    return [bytes_of([outer(x), inner(x)]) for x in xs(6, 3)]


@case
def decorated_helper_partial(wrap):

    def h(a, x):
        return x * a

    f = wrap(functools.partial(h, 3.0))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@refused
def default_argument_changed(wrap):

    def g(x, a=2.0):
        return x * a

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            g.__defaults__ = (9.0,)
        out.append(bytes_of(f(x)))
    return out


@refused
def kwdefault_changed(wrap):
    d = [2.0]

    def g(x, *, a=d):
        return x * a[0]

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            d[0] = 9.0
        out.append(bytes_of(f(x)))
    return out


@refused
def helper_code_replaced(wrap):

    def h(x):
        return x * 2

    def h2(x):
        return x * 3

    f = wrap(lambda x: h(x))
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            h.__code__ = h2.__code__
        out.append(bytes_of(f(x)))
    return out


@case
def function_attribute(wrap):

    def g(x):
        return x * g.a

    g.a = 2.0
    f = wrap(g)
    out = []
    for k, x in enumerate(xs(6, 3)):
        if k == 4:
            g.a = 9.0
        out.append(bytes_of(f(x)))
    return out


@refused
def tensor_global_replaced(wrap):
    t = [torch.ones(3)]
    w = torch.ones(3)

    def g(x):
        return x * w

    f = wrap(g)
    out = []
    for k, x in enumerate(xs(8, 3)):
        if k == 4:
            w = torch.full((3,), 2.0)
        out.append(bytes_of(f(x)))
    return out


@case
def host_written_constant(wrap):

    def g(x, v):
        t = torch.tensor([v, 2.0, 3.0])
        t[0] = v + 1
        return x * t

    f = wrap(g)
    return [bytes_of(f(x, float(k % 2))) for k, x in enumerate(xs(8, 3))]


@refused
def host_tensor_of_list(wrap):
    l = [1.0, 2.0, 3.0]
    f = wrap(lambda x: x * torch.tensor(l))
    out = []
    for k, x in enumerate(xs(8, 3)):
        if k == 4:
            l[0] = 9.0
        out.append(bytes_of(f(x)))
    return out


@case
def lists_of_arguments(wrap):
    f = wrap(lambda *a: sum(a))
    out = []
    for k, x in enumerate(xs(12, 3)):
        out.append(bytes_of(f(*[x] * (k % 3 + 1))))
    return out


@case
def cached_tensor_lru(wrap):

    @functools.lru_cache
    def pos(n):
        return torch.arange(float(n))

    f = wrap(lambda x: x + pos(3))
    return [bytes_of(f(x)) for x in xs(6, 3)]


@case
def deterministic_flag(wrap):
    f = wrap(lambda x: x * 2)
    out = []
    for k, x in enumerate(xs(6, 3)):
        torch.use_deterministic_algorithms(k % 2 == 0)
        out.append(bytes_of(f(x)))
    torch.use_deterministic_algorithms(False)
    return out


@case
def output_expand(wrap):
    f = wrap(lambda x: (x * 2)[:, None].expand(3, 4))
    r = [f(x) for x in xs(6, 3)]
    return [bytes_of(q) + (q.stride(),) for q in r]


@case
def nothing(wrap):
    f = wrap(lambda: None)
    return [f() for _ in range(5)]


test_a_captured_script_sees_what_the_eager_one_sees = SCRIPTS.test_equal()
test_a_script_that_a_replay_would_not_repeat_is_refused = SCRIPTS.test_refused()
