# SPDX-License-Identifier: Apache-2.0
"""The passes over captured programs: fewer steps, the same bits."""

import numpy as np
import pytest

import gradstep as torch
from gradstep import capture

pytestmark = pytest.mark.cpu_only  # on a GPU: test_cuda_capture.py and test_cuda_fuse.py


def bits(value):
    if isinstance(value, (tuple, list)):
        return [bits(v) for v in value]
    if value is None:
        return None
    value = value.detach().contiguous()
    if value.dtype in (torch.bfloat16, torch.float16):
        value = value.view(torch.int16)
    return value.numpy().tobytes()


def steps_of(fn):
    (entry,) = fn._entries()
    return entry.steps


def ops_of(fn):
    return [s["op"] for s in steps_of(fn)]


def detached(x):
    return x.detach() if isinstance(x, torch.Tensor) else type(x)(map(detached, x))


def check(differentiated, *args):
    """A function captured gives its bits, on inputs that change; returns the captured function."""

    def fn(*tensors):
        return detached(differentiated(*tensors))

    captured = capture(fn)
    for k in range(4):
        shifted = [a.detach() + k if a.is_floating_point() else a for a in args]
        mine, theirs = [[a.clone() for a in shifted] for _ in range(2)]
        for a, b, c in zip(mine, theirs, args, strict=True):
            a.requires_grad_(c.requires_grad)
            b.requires_grad_(c.requires_grad)
        expected, result = fn(*mine), captured(*theirs)
        assert bits(result) == bits(expected)
        assert bits(theirs) == bits(mine)  # what was written in place
        assert bits([b.grad for b in theirs]) == bits([a.grad for a in mine])
    return captured


def randn(*shape, dtype=torch.float32, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.tensor(values, dtype=dtype)


# ---- dead calls ----


def test_a_result_that_nobody_reads_is_not_computed():
    def fn(x):
        (x * 3).exp()
        x.sum()
        return x + 1

    assert ops_of(check(fn, randn(5, 7))) == ["add"]


def test_random_numbers_are_drawn_even_if_nobody_reads_them():
    def fn(x):
        torch.rand(3)
        return x + torch.rand(5)

    captured = capture(fn)
    torch.manual_seed(3)
    expected = [bits(fn(torch.zeros(5))) for _ in range(5)]
    torch.manual_seed(3)
    assert [bits(captured(torch.zeros(5))) for _ in range(5)] == expected
    assert sum("random" in op for op in ops_of(captured)) == 2


def test_an_index_out_of_range_raises_even_if_nobody_reads_the_result():
    def fn(x, i):
        x[i]
        return x + 1

    captured = capture(fn)
    for _ in range(3):
        captured(randn(5), torch.tensor([1, 2]))
    with pytest.raises(IndexError):
        captured(randn(5), torch.tensor([1, 9]))


def test_integer_division_by_zero_raises_even_if_nobody_reads_the_result():
    def fn(x):
        10 // x
        return x + 1

    captured = capture(fn)
    for _ in range(3):
        captured(torch.tensor([1, 2]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        captured(torch.tensor([1, 0]))


# ---- maps ----


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 700), (50, 33, 31), (1100, 64)], ids=str)
def test_a_chain_is_one_step(dtype, shape):
    def fn(x):
        return ((x * 2 + 1).tanh() - x).exp().clamp(0, 3)

    captured = check(fn, randn(*shape, dtype=dtype))
    (step,) = steps_of(captured)
    assert step["op"] == "fused_map"
    assert step["replaces"] == ["mul", "add", "tanh", "sub", "exp", "clamp"]


def test_a_chain_on_much_memory_is_streamed_past_the_caches():
    def fn(x):
        return (x * 2 + 1).relu() - x

    captured = check(fn, randn(9_000_000))
    assert ops_of(captured) == ["fused_map"]


def test_operands_are_broadcast_strided_and_converted():
    def fn(a, b, c, d, e):
        return ((a + b) * c.t()[:, ::2] - d).double() + e * 0.5

    args = [
        randn(20, 1),
        randn(70, seed=1),
        randn(140, 20, seed=2),
        randn(20, 70, dtype=torch.bfloat16, seed=3),
        torch.arange(70),
    ]
    assert "fused_map" in ops_of(check(fn, *args))


@pytest.mark.parametrize("columns", [3, 64, 513])
def test_rows_columns_and_scalars(columns):
    def fn(x, row, column, scalar):
        return ((x + row) * column - scalar).sigmoid() * x

    captured = check(
        fn, randn(65, columns), randn(columns, seed=1), randn(65, 1, seed=2), randn(seed=3)
    )
    assert ops_of(captured) == ["fused_map"]


def test_comparisons_casts_and_choices():
    def fn(x, y):
        mask = (x > y) & (x < 2)
        return torch.where(x > 0, x.half(), y.half()).float() * 3, mask, (x >= 1).float() + y

    captured = check(fn, randn(600), randn(600, seed=1))
    assert len(ops_of(captured)) < 6


def test_several_results_of_one_group():
    def fn(x):
        a = x * 2
        b = a.exp()
        return a, b, b - a

    assert ops_of(check(fn, randn(40, 40))) == ["fused_map"]


def test_writes_in_place():
    def fn(x):
        y = x + 3
        x.mul_(2)
        z = x + y
        x.add_(1)
        y.copy_(x)
        y.exp_()
        return z - x, y

    assert ops_of(check(fn, randn(33, 20))) == ["fused_map"]


def test_two_arguments_may_be_one_buffer():
    def fn(x, y):
        x.mul_(2)
        z = x + y
        y.add_(1)
        return z - x

    check(fn, randn(33, 20), randn(33, 20, seed=1))
    values = [np.zeros(300, np.float32) for _ in range(2)]
    results = []
    for buffer, step in zip(values, (fn, capture(fn)), strict=True):
        buffer[:] = np.arange(300)
        results.append([])
        for shift in (0, 0, 0, 5, 60):
            x, y = torch.from_numpy(buffer[:200]), torch.from_numpy(buffer[shift : 200 + shift])
            results[-1].append((bits(step(x, y)), buffer.tobytes()))
    assert results[0] == results[1]


def test_views_of_the_same_memory_stay_in_order():
    def fn(x):
        x[1:] += x[:-1] * 2
        x[:-1].mul_(x[1:] * 1.5)
        y = x.t() + 1
        x.add_(y[:, :].t())
        x.view(-1)[::2].mul_(3)
        return x[0] * x

    check(fn, randn(40, 40))


def test_a_row_that_is_written_is_not_read_before():
    def fn(x):
        y = x * 2
        y[0] += 1
        z = y + y[0]
        y[3] = z[2] * y[5]
        return z * y

    check(fn, randn(30, 50))


def test_two_names_of_one_buffer():
    buffer = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    first, second = torch.from_numpy(buffer), torch.from_numpy(buffer[50:150])
    start = buffer.copy()

    def fn(x):
        y = second * 2
        first.mul_(x)
        z = second + y
        first[50:150].sub_(z)
        return y * second - z

    def run(step):
        buffer[:] = start
        return [bits(step(torch.tensor(0.5 + k))) for k in range(5)] + [buffer.tobytes()]

    assert run(capture(fn)) == run(fn)


def test_calls_move_over_what_they_do_not_touch():
    def fn(x, w):
        a = x.tanh()
        b = a @ w
        c = a * a  # up, to the first
        d = b.relu()
        e = d @ w
        return c + 1, e, d * 2

    captured = check(fn, randn(30, 40), randn(40, 40, seed=1))
    assert ops_of(captured) == ["fused_map", "matmul", "fused_map", "matmul"]


def test_backward_of_activations():
    def fn(x):
        y = (x.sigmoid() * x.tanh()).exp().relu()
        (y * y).sum().backward()
        return y

    x = randn(30, 70).requires_grad_()
    captured = check(fn, x)
    (entry,) = captured._entries()
    assert entry.n_steps <= 6 and entry.n_recorded >= 14


def test_an_error_leaves_what_the_eager_run_leaves():
    def fn(x, buffer, i):
        y = x * 2
        z = y[i]
        buffer.add_(y)
        return z.sum() + buffer.sum()

    def run(step):
        buffer = torch.zeros(10)
        for _ in range(3):
            step(torch.ones(10), buffer, torch.tensor([0]))
        with pytest.raises(IndexError):
            step(torch.ones(10), buffer, torch.tensor([99]))
        return bits(buffer)

    assert run(capture(fn)) == run(fn)


UNARY = ["exp", "tanh", "sigmoid", "relu", "neg", "abs", "sin", "square", "sqrt", "round"]


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    """Elementwise calls, writes in place and views at random, a third of them with gradients."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(1, 40)), int(rng.integers(1, 70))
    dtypes = [torch.float32, torch.float64, torch.bfloat16]
    plan = [rng.integers(0, 1 << 30, 4).tolist() for _ in range(int(rng.integers(3, 40)))]
    gradients = seed % 3 == 0

    def fn(x, y, row):
        live = [x * 1, y * 1, row * 2, x + row]
        for kind, i, j, k in plan:
            a, b = live[i % len(live)], live[j % len(live)]
            choice = kind % 12
            if choice < 3:
                live.append(getattr(a, UNARY[k % len(UNARY)])())
            elif choice < 6:
                live.append([a + b, a * b, a - b, torch.maximum(a, b)][k % 4])
            elif choice == 6:
                live.append(a.to(dtypes[k % 3]))
            elif choice == 7 and not gradients:
                a.mul_(0.5).add_(k % 5)
            elif choice == 8 and not gradients and a.shape[0] > 1:
                a[: a.shape[0] // 2].sub_(a[a.shape[0] - a.shape[0] // 2 :])
            elif choice == 9:
                live.append(torch.where(a > 0.1, a, b))
            elif choice == 10:
                live.append(a @ a.t() @ a if a.ndim == 2 else a * 2)
            elif choice == 11 and len(live) > 5:
                del live[k % len(live)]
        if gradients:
            sum(v.float().sum() for v in live).backward()
        return live

    x, y, row = randn(rows, columns), randn(rows, columns, seed=1), randn(columns, seed=2)
    if gradients:
        x.requires_grad_()
        row.requires_grad_()
    check(fn, x, y, row)


# ---- memory ----


def test_cheap_results_are_computed_again_where_that_saves_memory():
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        *[nn.Sequential(nn.LayerNorm(256), nn.Linear(256, 256), nn.GELU()) for _ in range(6)]
    )

    def fn(x):
        for p in model.parameters():
            p.grad = None
        loss = model(x).square().mean()
        loss.backward()
        return loss, [p.grad for p in model.parameters()]

    captured = check(fn, randn(512, 256))
    (entry,) = captured._entries()
    assert ops_of(captured).count("layer_norm") > 6
    assert entry.arena_bytes < 0.7 * entry.eager_bytes
