# SPDX-License-Identifier: Apache-2.0
"""How cuDNN is called for batch norm and recurrent layers. It needs the emulated GPU and its stand-in for cuDNN
(tests/cuda_shim/fake_cudnn*.cpp), in a process of its own; test_cuda_conv.py has convolution."""

from __future__ import annotations

import pytest

import gradstep as torch
import gradstep.nn.functional as F
from test_cuda_conv import with_stand_in

pytestmark = pytest.mark.cuda
PRELUDE = "import gradstep as torch\nimport test_cuda_cudnn as t\n"
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
TYPES = [torch.float64, torch.float32]


def equal(ours, theirs, dtype):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert a.dtype == b.dtype and a.shape == b.shape
        a, b = a.cpu().double(), b.cpu().double()
        assert float((a - b).abs().max()) <= TOLERANCE[dtype] * max(1.0, float(b.abs().max()))


def random(*shape, dtype=torch.float32):
    return torch.randn(*shape, device="cpu").to(dtype)


# ---- batch norm ----

SHAPES = [(5, 3, 7), (2, 4, 5, 6), (2, 3, 4, 3, 5), (2, 2, 3, 2, 2, 3), (1, 6, 9)]


def batch_norm(
    device,
    dtype,
    shape,
    training=True,
    affine=True,
    running=True,
    momentum=0.1,
    wanted=True,
    of=None,
):
    """`of` is the type of the parameters and statistics."""
    torch.manual_seed(0)
    channels = shape[1]
    x = (random(*shape, dtype=dtype) + 1).to(device).requires_grad_()
    of = of or dtype
    parameters = [
        random(channels, dtype=of).to(device).requires_grad_(wanted) if affine else None
        for _ in range(2)
    ]
    statistics = [
        random(channels, dtype=of).abs().to(device) if running else None for _ in range(2)
    ]
    y = F.batch_norm(x, *statistics, *parameters, training, momentum, 1e-3)
    y.backward(random(*y.shape, dtype=dtype).to(device))
    found = [y.detach(), x.grad, *(s for s in statistics if running)]
    return [t.cpu() for t in found + [p.grad for p in parameters if affine and wanted]]


def check_batch_norm(dtype, shape, **options):
    equal(
        batch_norm("cuda", dtype, shape, **options),
        batch_norm("cpu", dtype, shape, **options),
        dtype,
    )


def test_batch_norm_is_cudnns(tmp_path):
    code = PRELUDE + (
        "for d in t.TYPES:\n"
        " for s in t.SHAPES: t.check_batch_norm(d, s)\n"
        " t.check_batch_norm(d, t.SHAPES[1], running=False)\n"
        " t.check_batch_norm(d, t.SHAPES[1], wanted=False)\n"
        " t.check_batch_norm(d, t.SHAPES[1], momentum=1.0)\n"
    )
    _, log = with_stand_in(tmp_path, code)
    assert sum("norm forward" in line for line in log) == len(TYPES) * (len(SHAPES) + 3)
    assert sum("norm backward" in line for line in log) == len(TYPES) * (len(SHAPES) + 3)


def test_batch_norm_of_halves_keeps_float_statistics(tmp_path):
    code = PRELUDE + (
        "t.check_batch_norm(torch.float16, t.SHAPES[1], of=torch.float32)\n"
        "t.check_batch_norm(torch.float16, t.SHAPES[1])\n"
        "t.check_batch_norm(torch.bfloat16, t.SHAPES[1], of=torch.float32)\n"
    )
    _, log = with_stand_in(tmp_path, code)
    assert len(log) == 4 and all(
        "type=2" in line for line in log
    )  # bfloat16 is ours, as in PyTorch


@pytest.mark.parametrize(
    ("call", "environment"),
    [
        ("t.SHAPES[1], training=False", {}),
        ("t.SHAPES[1], affine=False", {}),
        ("(6, 4)", {}),
        ("t.SHAPES[1]", {"FAKE_CUDNN": "none"}),
    ],
    ids=["evaluation", "no weights", "no image", "refused"],
)
def test_batch_norm_is_ours(tmp_path, call, environment):
    code = f"{PRELUDE}t.check_batch_norm(torch.float32, {call})\n"
    _, log = with_stand_in(tmp_path, code, **environment)
    assert len(log) == (2 if environment else 0)


def test_strided_statistics_are_ours(tmp_path):
    code = PRELUDE + (
        "x = t.random(4, 3, 5)\n"
        "s = torch.ones(3, 2)\n"
        "def run(device):\n"
        " both = s.to(device)\n"
        " m, v = both[:, 0], both[:, 1]\n"
        " one = torch.ones(3, device=device)\n"
        " y = t.F.batch_norm(x.to(device), m, v, one, one, True)\n"
        " return [y.cpu(), both.cpu()]\n"
        "t.equal(run('cuda'), run('cpu'), torch.float32)\n"
    )
    _, log = with_stand_in(tmp_path, code)
    assert log == []


# ---- recurrent layers ----

LAYERS = {
    "RNN": {},
    "relu": {"nonlinearity": "relu"},
    "LSTM": {},
    "GRU": {},
    "two directions": {"bidirectional": True, "kind": "LSTM"},
    "two directions of GRU": {"bidirectional": True, "kind": "GRU", "bias": False},
    "two layers": {"num_layers": 2, "bidirectional": True, "kind": "GRU", "batch_first": True},
    "no biases": {"bias": False, "kind": "LSTM", "batch_first": True},
    "projection": {"proj_size": 3, "kind": "LSTM", "bidirectional": True},
}
LENGTHS = [4, 2, 3]


def layer(device, dtype, name, packed=False, use="all", times=1):
    """Results and gradients of a layer; `use` names the outputs that are differentiated."""
    torch.manual_seed(0)
    options = dict(LAYERS[name])
    kind = options.pop("kind", "RNN" if name == "relu" else name)
    net = getattr(torch.nn, kind)(5, 6, device="cpu", dtype=dtype, **options)
    batch, steps, directions = len(LENGTHS), max(LENGTHS), 2 if net.bidirectional else 1
    x = random(*((batch, steps) if net.batch_first else (steps, batch)), 5, dtype=dtype)
    states = [random(net.num_layers * directions, batch, net.proj_size or 6, dtype=dtype)]
    if kind == "LSTM":
        states.append(random(net.num_layers * directions, batch, 6, dtype=dtype))
    net = net.to(device)
    x = x.to(device).requires_grad_(use != "weights")
    states = [s.to(device).requires_grad_(use == "all") for s in states]
    given = x
    if packed:
        given = torch.nn.utils.rnn.pack_padded_sequence(
            x, LENGTHS, net.batch_first, enforce_sorted=False
        )
    y, last = net(given, tuple(states) if kind == "LSTM" else states[0])
    outputs = [y.data if packed else y, *(last if kind == "LSTM" else [last])]
    weights = [random(*o.shape, dtype=dtype).to(device) for o in outputs]
    roots = range(len(outputs)) if use != "states" else range(1, len(outputs))
    loss = sum((outputs[i] * weights[i]).sum() for i in roots)
    for k in range(times):
        loss.backward(retain_graph=k + 1 < times)
    found = [o.detach() for o in outputs] + [t.grad for t in [x, *states] if t.requires_grad]
    return [t.cpu() for t in found + [p.grad for p in net.parameters()]]


def check_layer(dtype, name, **options):
    equal(layer("cuda", dtype, name, **options), layer("cpu", dtype, name, **options), dtype)


def calls(log, what):
    return sum(line.startswith(f"rnn {what}") for line in log)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_cudnns(tmp_path, name):
    code = PRELUDE + (
        "for d in t.TYPES:\n"
        f" t.check_layer(d, {name!r})\n"
        f" t.check_layer(d, {name!r}, packed=True)\n"
        f"t.check_layer(torch.float32, {name!r}, use='states')\n"
        f"t.check_layer(torch.float32, {name!r}, use='weights', times=2)\n"
    )
    _, log = with_stand_in(tmp_path, code)
    layers = LAYERS[name].get("num_layers", 1)
    assert calls(log, "forward") == 6 * layers
    assert calls(log, "data") == calls(log, "weights") == 7 * layers
    # One algorithm is for small layers of float32 with sequences of one length.
    small = {line.split()[3] == "algorithm=3" for line in log if "layout=1" in line}
    assert small == {False}
    assert any("algorithm=3" in line for line in log) == (name != "projection")


def test_layer_without_gradients_keeps_nothing(tmp_path):
    code = PRELUDE + (
        "net = torch.nn.LSTM(5, 6, 2).cuda()\n"
        "x = t.random(4, 3, 5)\n"
        "with torch.no_grad(): y, (h, c) = net(x.cuda())\n"
        "net = net.cpu()\n"
        "with torch.no_grad(): z, (g, d) = net(x)\n"
        "t.equal([y, h, c], [z, g, d], torch.float32)\n"
    )
    _, log = with_stand_in(tmp_path, code)
    assert calls(log, "forward") == 2 and all("use=0" in line for line in log)


def test_switches_of_layers(tmp_path):
    once = "t.check_layer(torch.float32, 'LSTM')\n"
    _, log = with_stand_in(tmp_path, PRELUDE + once)
    assert len(log) == 3 and all("algorithm=3 math=0" in line for line in log)
    _, log = with_stand_in(tmp_path, f"{PRELUDE}torch.backends.cudnn.allow_tf32 = False\n{once}")
    assert len(log) == 3 and all("math=3" in line for line in log)
    for switch in ("enabled = False", "deterministic = True"):
        _, log = with_stand_in(tmp_path, f"{PRELUDE}torch.backends.cudnn.{switch}\n{once}")
        assert log == []
    # Refused when it runs: the standard algorithm, from then on.
    _, log = with_stand_in(tmp_path, PRELUDE + once * 2, FAKE_CUDNN="standard")
    assert sum("algorithm=0" in line for line in log) == 6
    assert sum("algorithm=3" in line for line in log) == 2
    _, log = with_stand_in(tmp_path, PRELUDE + once, FAKE_CUDNN="none")
    assert log == []


def test_switched_off_between_the_passes(tmp_path):
    code = PRELUDE + (
        "net = torch.nn.GRU(5, 6).cuda()\n"
        "for first in (True, False):\n"
        " torch.backends.cudnn.enabled = first\n"
        " y, _ = net(t.random(4, 3, 5).cuda())\n"
        " torch.backends.cudnn.enabled = not first\n"
        " y.sum().backward()\n"
    )
    _, log = with_stand_in(tmp_path, code)
    assert len(log) == 3  # each gradient is that of its forward pass


def test_failing_layer_says_so(tmp_path):
    code = (
        PRELUDE + "try: t.check_layer(torch.float32, 'LSTM')\nexcept RuntimeError as e: print(e)\n"
    )
    out, _ = with_stand_in(tmp_path, code, FAKE_CUDNN="fail")
    assert "CUDNN_STATUS_EXECUTION_FAILED (5000) in cudnnRNNForward of cuDNN 91901" in out


# ---- captured graphs ----


def test_captured_training_step_equals_an_eager_one(tmp_path):
    code = PRELUDE + (
        "def step(net, norm, x, packed):\n"
        " y, _ = net(packed)\n"
        " z = norm(torch.nn.functional.conv1d(net(x)[0], w, padding=1))\n"
        " return (z * z).sum() + (y.data * 2).sum()\n"
        "torch.manual_seed(0)\n"
        "nets = [torch.nn.LSTM(5, 6, 2, bidirectional=True, batch_first=True).cuda() for _ in range(2)]\n"
        "nets[1].load_state_dict(nets[0].state_dict())\n"
        "norms = [torch.nn.BatchNorm1d(4).cuda() for _ in range(2)]\n"
        "w = t.random(4, 4, 3).cuda()\n"
        "x = torch.zeros(3, 4, 5, device='cuda')\n"
        "pack = lambda x: torch.nn.utils.rnn.pack_padded_sequence(x, [4, 3, 1], batch_first=True)\n"
        "s = torch.cuda.Stream()\n"
        "with torch.cuda.stream(s): step(nets[0], norms[0], x, pack(x)).backward()\n"
        "norms[0].load_state_dict(norms[1].state_dict())\n"
        "nets[0].zero_grad(set_to_none=True)\n"
        "norms[0].zero_grad(set_to_none=True)\n"
        "g = torch.cuda.CUDAGraph()\n"
        "with torch.cuda.graph(g):\n"
        " loss = step(nets[0], norms[0], x, pack(x))\n"
        " loss.backward()\n"
        "for i in range(2):\n"
        " data = t.random(3, 4, 5).cuda()\n"
        " x.copy_(data)\n"
        " g.replay()\n"
        " nets[1].zero_grad()\n"
        " norms[1].zero_grad()\n"
        " other = step(nets[1], norms[1], data, pack(data))\n"
        " other.backward()\n"
        " ours = [loss, norms[0].running_var, *(p.grad for p in nets[0].parameters())]\n"
        " theirs = [other, norms[1].running_var, *(p.grad for p in nets[1].parameters())]\n"
        " t.equal([o.detach() for o in ours], [o.detach().cpu() for o in theirs], torch.float32)\n"
    )
    _, log = with_stand_in(tmp_path, code)
    assert calls(log, "forward") > 0
