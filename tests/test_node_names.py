# SPDX-License-Identifier: Apache-2.0
"""What printed tensors say of their history, and how named results are printed, beside PyTorch."""

import pytest
import torch

import gradstep

pytestmark = pytest.mark.cpu_only

EXPRESSIONS = """
x.sum(); x.sum(1); x.sum((0, 1)); x.mean(); x.mean(1, True); x.max(); x.max(1)[0]; x.min(); x.min(0).values
x.median(); x.median(1)[0]; x.norm(); x.norm(dim=1); x @ v; x @ x.t(); b @ v[:2]; b @ w; x.t(); x.transpose(0, 1)
x.squeeze(); x.squeeze(0); x.square(); x ** 2
nn.Linear(3, 2)(x); nn.Linear(3, 2, bias=False)(x); nn.Linear(2, 4)(b); nn.Linear(2, 4, bias=False)(b)
nn.Conv2d(2, 3, 3)(im); nn.ConvTranspose2d(2, 3, 3)(im); nn.BatchNorm2d(2)(im); nn.LayerNorm(3)(x)
nn.GroupNorm(1, 2)(im); F.max_pool2d(im, 2); F.avg_pool2d(im, 2); F.adaptive_avg_pool2d(im, 1); F.max_pool1d(b, 2)
F.adaptive_avg_pool2d(im, 2); F.interpolate(im, scale_factor=2); F.interpolate(im, scale_factor=2, mode="bilinear")
F.relu6(x); F.selu(x); F.logsigmoid(x); F.softsign(x); F.unfold(im, 2)
F.mse_loss(x, y); F.mse_loss(x, y, reduction="sum"); F.mse_loss(x, y, reduction="none"); F.l1_loss(x, y)
F.smooth_l1_loss(x, y); F.huber_loss(x, y); F.cross_entropy(x, i); F.nll_loss(x.log_softmax(1), i)
F.binary_cross_entropy(x.sigmoid(), y); F.binary_cross_entropy_with_logits(x, y); F.kl_div(x, y, reduction="batchmean")
F.cross_entropy(im, torch.zeros(1, 4, 4, dtype=torch.long)); F.soft_margin_loss(x, y); F.pairwise_distance(x, y)
"""


def shown(t, line):
    t.manual_seed(0)
    scope = {"torch": t, "nn": t.nn, "F": t.nn.functional, "i": t.tensor([0, 1])}
    for name, shape in (
        ("x", (2, 3)),
        ("v", (3,)),
        ("b", (2, 3, 2)),
        ("w", (2, 2)),
        ("im", (1, 2, 4, 4)),
    ):
        scope[name] = t.rand(shape).requires_grad_()
    scope["y"] = t.rand(2, 3)
    return eval(line, scope).grad_fn.name()


@pytest.mark.parametrize(
    "line", [e.strip() for e in EXPRESSIONS.replace("\n", ";").split(";") if e.strip()]
)
def test_names_of_nodes(line):
    if line == "b @ v[:2]" or not line:
        assert shown(gradstep, line) == "UnsafeViewBackward0"
    else:
        assert shown(gradstep, line) == shown(torch, line)


def test_the_name_stays_after_backward():
    x = gradstep.rand(2, 3, requires_grad=True)
    loss = gradstep.nn.functional.mse_loss(x * 2, gradstep.zeros(2, 3))
    loss.backward()
    assert repr(loss).endswith("grad_fn=<MseLossBackward0>)")


class Halve(gradstep.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x / 2

    @staticmethod
    def backward(ctx, grad):
        return grad / 2


def test_functions_of_ones_own_say_where_they_are_from():
    y = Halve.apply(gradstep.ones(2, requires_grad=True))
    assert repr(y.grad_fn).startswith("<torch.autograd.function.HalveBackward object at 0x")


@pytest.mark.parametrize(
    "line",
    ["x.max(1)", "x.sort(1)", "x.topk(2)", "torch.linalg.qr(sq)", "torch.linalg.eigh(sq)", "torch.linalg.svd(sq)",
     "torch.linalg.slogdet(sq)", "torch.linalg.cholesky_ex(sq)", "torch.linalg.lu_factor(sq)"],
)  # fmt: skip
def test_named_results_are_printed(line):
    texts = []
    for t in (gradstep, torch):
        scope = {"torch": t, "x": t.arange(6.0).view(2, 3), "sq": t.eye(2) * 2}
        texts.append(repr(eval(line, scope)).replace("-0.", "0.").replace(" ", ""))
    assert texts[0] == texts[1]


def message(run, t):
    try:
        run(t)
    except Exception as error:  # noqa: BLE001
        return type(error).__name__, str(error)
    return None


@pytest.mark.parametrize(
    "run",
    [
        lambda t: t.ones(2, 3)[0, 7],
        lambda t: t.ones(2, 3)[..., 7],
        lambda t: t.ones(2, 3, 4)[:, None, 7],
        lambda t: t.ones(2, 3).foo,
        lambda t: t.ones(2).masked_fill(t.ones(2), 1),
        lambda t: t.ones(2) & t.ones(2),
        lambda t: t.mm(t.ones(2, 2), t.ones(2, 2).double()),
        lambda t: t.nn.functional.linear(t.ones(2, 2), t.ones(2, 2).double()),
        lambda t: t.nn.functional.linear(t.ones(2, 2), t.ones(2, 2).double(), t.ones(2).double()),
        lambda t: t.nn.functional.interpolate(t.ones(2, 3), scale_factor=2),
        lambda t: t.linalg.inv(t.zeros(2, 2)),
        lambda t: t.linalg.inv(t.stack([t.eye(2), t.zeros(2, 2)])),
        lambda t: t.linalg.solve(t.zeros(2, 2), t.ones(2)),
        lambda t: t.linalg.cholesky(t.zeros(2, 2, 2)),
        lambda t: t.ones(2, 3) + t.ones(4, 5),
        lambda t: t.ones(2, 3, 4) * t.ones(3, 1, 5),
        lambda t: t.linalg.cholesky(t.tensor([[1.0, 2.0], [2.0, 1.0]])),
    ],
)
def test_errors_have_pytorchs_text(run):
    assert message(run, gradstep) == message(run, torch)
