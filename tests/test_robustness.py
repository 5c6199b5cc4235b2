# SPDX-License-Identifier: Apache-2.0
"""Whatever Python hands over, the process survives: random calls of every native function, and the bugs that they found."""

import os
import subprocess
import sys

import numpy as np
import pytest

import gradstep as torch
import gradstep.nn.functional as F

pytestmark = pytest.mark.cpu_only  # memory and processes of the CPU

HUGE = 2**62

# Runs in its own process: a crash must not take the test session with it.
FUZZER = """
import faulthandler, random, sys, warnings
faulthandler.enable(); warnings.simplefilter("ignore")
faulthandler.dump_traceback_later(60, exit=True)
import gradstep as torch
from gradstep import _C
rnd = random.Random(7); torch.manual_seed(7)
FLOATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
DTYPES = FLOATS + [torch.int64, torch.int32, torch.uint8, torch.bool]
ANY = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, OverflowError, MemoryError, ZeroDivisionError, KeyError, AssertionError, BufferError)

def tensor():
    dtype = rnd.choice(DTYPES)
    shape = [rnd.choice([0, 1, 2, 3, 5]) for _ in range(rnd.randrange(5))]
    if rnd.random() < 0.03:
        shape = [0, 2**40]
    x = torch.ones(shape, dtype=dtype)
    kind = rnd.randrange(12)
    if kind == 0 and x.dim() > 1: x = x.transpose(0, 1)
    if kind == 1: x = x.expand(2, *shape)
    if kind == 2 and x.dim(): x = x[..., ::2]
    if kind in (3, 4, 5) and dtype.is_floating_point: x = x.requires_grad_()
    if kind == 6: x = torch.tensor(rnd.choice([float("nan"), -1.0, 100.0, 1e30])).to(dtype)
    if kind == 7: x = torch.randint(-10, 10, shape or (2,))
    return x

def integer():
    return rnd.choice([0, 1, -1, 2, 1, 3, -2, 5, 100, 2**40, -2**63, 2**63 - 1])

def value(kind):
    optional, kind = kind.endswith("?"), kind.rstrip("?*")
    if optional and rnd.random() < 0.4: return None
    if kind == "Tensor": return tensor()
    if kind == "Operand": return rnd.choice([tensor(), tensor(), 2, 0, -1, 0.5, 2**63 - 1])
    if kind in ("Scalar", "Number", "float"): return rnd.choice([0, 1, 2, -1, 0.5, float("nan"), 1e30, 3])
    if kind == "int": return integer()
    if kind == "bool": return rnd.choice([True, False])
    if kind == "IntList": return rnd.choice([1, 2, [0], [1], [2, 2], [0, 1], [2**40] * 2, [-5], [1] * 9, [integer(), integer()]])
    if kind == "TensorList": return [tensor() for _ in range(rnd.randrange(4))]
    if kind == "dtype": return rnd.choice(DTYPES)
    if kind == "device": return "cpu"
    if kind == "str": return rnd.choice(["mean", "sum", "none", "reflect", "constant", "same", "valid", "replicate", "amax", "prod", "floor"])
    if kind == "Generator": return torch.Generator()
    return rnd.choice([tensor(), integer(), None, "abc", [1, []], (tensor(),), {}, 1.5])

def arguments(signature):
    parts, depth, part = [], 0, ""
    for c in signature[1 : signature.rindex(")")] + ",":
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append(part.strip()); part = ""
        else:
            part += c
    args, kwargs, by_name = [], {}, False
    same = tensor()
    for p in filter(None, parts):
        if p == "*":
            by_name = True
            continue
        kind, _, rest = p.partition(" ")
        name, _, default = rest.partition("=")
        if name == "out" and rnd.random() < 0.7: continue
        if default and rnd.random() < 0.5:
            by_name = True
            continue
        v = same if kind == "Tensor" and rnd.random() < 0.5 else value(kind)
        if by_name: kwargs[name] = v
        else: args.append(v)
    return args, kwargs

SKIP = {"_with_history", "set_num_threads", "_set_grad_enabled", "_set_inference_mode", "set_default_dtype", "_set_anomaly"}
functions = [
    (n, getattr(owner, n)) for owner in (_C, _C.Tensor) for n in sorted(dir(owner))
    if n not in SKIP and not n.startswith("_cuda_") and hasattr(getattr(owner, n, None), "__signatures__")
]
done = 0
for _ in range(int(sys.argv[1])):
    name, function = rnd.choice(functions)
    args, kwargs = arguments(rnd.choice(function.__signatures__))
    try:
        out = function(*args, **kwargs)
        done += 1
        for x in out if isinstance(out, tuple) else (out,):
            if isinstance(x, _C.Tensor) and x.numel() < 1000:
                x.tolist()
                if x.requires_grad and x.grad_fn is not None: x.sum().backward(create_graph=rnd.random() < 0.3)
    except ANY:
        pass
print("survived", done)
"""


def survives(code: str, *args: str) -> str:
    env = dict(
        os.environ, OMP_NUM_THREADS="2", PYTHONPATH=os.pathsep.join(p for p in sys.path if p)
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def test_random_calls_of_every_function():
    assert "survived" in survives(FUZZER, "30000")


# ---- sizes that overflow ----


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.pixel_shuffle(torch.ones(1, 4, 2, 2), 2**40),
        lambda x: torch.col2im(torch.ones(1, 4, 4), [3, 3], [2**40, 2**40]),
        lambda x: F.unfold(torch.ones(1, 1, 4, 4), HUGE),
        lambda x: F.max_pool2d(torch.ones(1, 1, 4, 4), 2, HUGE),
        lambda x: F.conv1d(torch.ones(1, 1, 4), torch.ones(1, 1, 2), padding=HUGE),
        lambda x: x.narrow(0, 1, 2**63 - 1),
        lambda x: x.split([2**63 - 1, 2**63 - 1, 6]),
        lambda x: x.as_strided((2,), (1,), 2**63 - 2),
        lambda x: torch.repeat_interleave(torch.ones(5), torch.tensor([HUGE] * 4 + [3])),
        lambda x: x.repeat(HUGE),
        lambda x: x.tensor_split(HUGE),
        lambda x: torch.ones(0).chunk(2**61),
        lambda x: torch.cat([torch.ones(1).expand(2**59)] * 32),
        lambda x: F.pad(x, (2**63 - 1, 2**63 - 1)),
        lambda x: torch.arange(0, -(2**63), -1),
        lambda x: torch.arange(0.5, 3, 0.5, dtype=torch.int64),
        lambda x: F.interpolate(torch.ones(1, 1, 4), HUGE),
        lambda x: F.fold(torch.ones(1, 4, 1), HUGE, 2),
    ],
)
def test_overflowing_sizes_are_errors(call):
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        call(torch.ones(4))


def test_huge_steps():
    x = torch.arange(5)
    assert x[1 :: 2**63 - 1].tolist() == [1]
    assert x.unfold(0, 5, 2**63 - 1).shape == (1, 5)


def test_pooling_mostly_padding():
    y = F.avg_pool2d(torch.ones(1, 1, 3, 3), 2**31 - 1, 1, 2**30 - 1)
    assert y.shape == (1, 1, 3, 3)


@pytest.mark.parametrize("f", [torch.softmax, torch.log_softmax])
def test_softmax_over_an_empty_dim(f):
    x = torch.ones(0, 5, requires_grad=True)
    y = f(x, 0)
    assert y.shape == (0, 5)
    y.sum().backward()
    assert x.grad.shape == (0, 5)


def test_empty_tensors_with_a_huge_axis():
    x = torch.ones(0, 2**40)
    assert x.cumsum(0).shape == x.shape
    assert x.cumprod(1).shape == x.shape
    assert F.batch_norm(torch.ones(2**40, 0), None, None, training=True).shape == (2**40, 0)


# ---- geometry that changes behind the graph's back ----


def test_data_of_another_shape_before_backward():
    x, w = torch.ones(1, 1, 4, requires_grad=True), torch.ones(1, 1, 2, requires_grad=True)
    y = F.conv1d(x, w)
    w.data = torch.ones(())
    with pytest.raises(RuntimeError):
        y.sum().backward()


def test_gradient_of_a_leaf_with_new_data():
    x = torch.ones(4, requires_grad=True)
    y = x * 2
    x.data = torch.ones(2)
    with pytest.raises(RuntimeError, match="invalid gradient"):
        y.sum().backward()


def test_accumulating_into_a_gradient_of_the_old_shape():
    x = torch.ones(1, requires_grad=True)
    (x * x).sum().backward()
    x.data = torch.ones(4)
    with pytest.raises(RuntimeError):
        (x * x).sum().backward()


def test_resize_of_an_expanded_tensor():
    x = torch.ones(1).expand(1000)
    x.resize_(2000)
    assert x[0] == 1 and x.shape == (2000,)


def test_kept_tensor_that_was_resized():
    x, w = torch.ones(4), torch.ones(4, requires_grad=True)
    y = (x * w).sum()
    x.resize_(2)
    with pytest.raises(RuntimeError):
        y.backward()


@pytest.mark.parametrize("register", ["tensor", "post", "pre"])
@pytest.mark.parametrize("result", ["none", "shape", "dtype"])
def test_hooks_that_return_something_else(register, result):
    x = torch.ones(3, 2, requires_grad=True)
    y = x.expand(2, 3, 2)
    wrong = {
        "none": None,
        "shape": torch.ones(5),
        "dtype": torch.ones(2, 3, 2, dtype=torch.float64),
    }[result]
    if register == "tensor":
        y.register_hook(lambda g: wrong)
    elif register == "post":
        y.grad_fn.register_hook(lambda inputs, outputs: (wrong,))
    else:
        y.grad_fn.register_prehook(lambda outputs: (wrong,))
    if result == "none":
        y.sum().backward()
    else:
        with pytest.raises(RuntimeError, match="hook has changed"):
            y.sum().backward()


def test_a_start_gradient_of_another_type_is_converted():
    x = torch.ones(4, 2, 17, dtype=torch.float64, requires_grad=True)
    F.group_norm(x, 1).backward(torch.ones(4, 2, 17))
    assert x.grad.dtype == torch.float64 and x.grad.abs().max() < 1e-6


# ---- objects ----


def test_ragged_lists():
    for ragged in ([0, []], [0, np.zeros((0, 12), np.int32), []], [[], 0], [1, [2]]):
        with pytest.raises((TypeError, ValueError)):
            torch.tensor(ragged)


def test_list_that_shrinks_while_it_is_read():
    values = [1, 2, 3]

    class Evil:
        def __float__(self):
            values.clear()
            return 1.0

        def __index__(self):
            values.clear()
            return 1

    values += [Evil()] * 4 + [3] * 100
    with pytest.raises((TypeError, ValueError)):
        torch.tensor(values)


def test_deep_and_cyclic_lists():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    cyclic = []
    cyclic.append(cyclic)
    for nested in (deep, cyclic):
        with pytest.raises((RuntimeError, ValueError, RecursionError)):
            torch.tensor(nested)


def test_dlpack_of_a_reversed_array():
    with pytest.raises((ValueError, BufferError)):
        torch.from_dlpack(np.arange(4.0)[::-1])


def test_more_than_65535_tensors_at_once():
    parts = [torch.ones(1, requires_grad=True) for _ in range(70_000)]
    total = torch.cat(parts).sum()
    assert total.item() == 70_000
    total.backward()
    assert all(p.grad is not None for p in parts)
