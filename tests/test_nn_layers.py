# SPDX-License-Identifier: Apache-2.0
"""Layers, losses and functions of gradstep.nn against torch.nn: text, state, values, gradients."""

import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch

import gradstep as gs
import gradstep.nn.functional as gs_functional
from nn_helpers import as_gs, as_torch, both, data, same, same_error, to_numpy

# ---- layers: text, state, forward and gradients ----

IMAGE, LINE, CUBE, ROWS = (2, 4, 6, 6), (2, 4, 9), (1, 4, 5, 6, 5), (5, 4)

LAYERS = [
    (lambda nn: nn.Identity(3, a=2), ROWS),
    (lambda nn: nn.Linear(4, 3), ROWS),
    (lambda nn: nn.Linear(4, 3, bias=False), (2, 5, 4)),
    (lambda nn: nn.Conv1d(4, 6, 3, stride=2, padding=1), LINE),
    (lambda nn: nn.Conv1d(4, 2, 3, padding="same", bias=False), LINE),
    (lambda nn: nn.Conv2d(4, 6, 3), IMAGE),
    (lambda nn: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2), IMAGE),
    (lambda nn: nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"), IMAGE),
    (lambda nn: nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"), IMAGE),
    (lambda nn: nn.Conv2d(4, 2, 3, padding="valid"), IMAGE),
    (lambda nn: nn.Conv3d(4, 2, 3, padding=1), CUBE),
    (lambda nn: nn.ConvTranspose1d(4, 2, 3, stride=2, output_padding=1), LINE),
    (lambda nn: nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, dilation=2), IMAGE),
    (lambda nn: nn.ConvTranspose3d(4, 2, 2), CUBE),
    (lambda nn: nn.MaxPool1d(2), LINE),
    (lambda nn: nn.MaxPool2d(3, 2, 1), IMAGE),
    (lambda nn: nn.MaxPool2d((2, 3), ceil_mode=True), IMAGE),
    (lambda nn: nn.MaxPool3d(2), CUBE),
    (lambda nn: nn.AvgPool1d(3, 2, 1), LINE),
    (lambda nn: nn.AvgPool2d(3, padding=1, count_include_pad=False), IMAGE),
    (lambda nn: nn.AvgPool3d(2), CUBE),
    (lambda nn: nn.AdaptiveAvgPool1d(4), LINE),
    (lambda nn: nn.AdaptiveAvgPool2d((3, None)), IMAGE),
    (lambda nn: nn.AdaptiveAvgPool3d(2), CUBE),
    (lambda nn: nn.AdaptiveMaxPool1d(4), LINE),
    (lambda nn: nn.AdaptiveMaxPool2d((3, None)), IMAGE),
    (lambda nn: nn.AdaptiveMaxPool3d(2), CUBE),
    (lambda nn: nn.LPPool1d(2, 3), LINE),
    (lambda nn: nn.LPPool2d(2, 3, stride=2), IMAGE),
    (lambda nn: nn.BatchNorm1d(4), ROWS),
    (lambda nn: nn.BatchNorm1d(4, momentum=None), LINE),
    (lambda nn: nn.BatchNorm2d(4), IMAGE),
    (lambda nn: nn.BatchNorm2d(4, affine=False, track_running_stats=False), IMAGE),
    (lambda nn: nn.BatchNorm2d(4, bias=False).eval(), IMAGE),
    (lambda nn: nn.BatchNorm3d(4), CUBE),
    (lambda nn: nn.InstanceNorm1d(4), LINE),
    (lambda nn: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), IMAGE),
    (lambda nn: nn.InstanceNorm3d(4), CUBE),
    (lambda nn: nn.LayerNorm(6), IMAGE),
    (lambda nn: nn.LayerNorm((6, 6), bias=False), IMAGE),
    (lambda nn: nn.LayerNorm(6, elementwise_affine=False), IMAGE),
    (lambda nn: nn.GroupNorm(2, 4), IMAGE),
    (lambda nn: nn.RMSNorm(6), IMAGE),
    (lambda nn: nn.LocalResponseNorm(3), IMAGE),
    (lambda nn: nn.ReLU(), ROWS),
    (lambda nn: nn.ReLU6(), ROWS),
    (lambda nn: nn.ELU(0.7), ROWS),
    (lambda nn: nn.CELU(1.3), ROWS),
    (lambda nn: nn.SELU(), ROWS),
    (lambda nn: nn.GELU(), ROWS),
    (lambda nn: nn.GELU("tanh"), ROWS),
    (lambda nn: nn.GLU(), ROWS),
    (lambda nn: nn.SiLU(), ROWS),
    (lambda nn: nn.Mish(), ROWS),
    (lambda nn: nn.Sigmoid(), ROWS),
    (lambda nn: nn.Tanh(), ROWS),
    (lambda nn: nn.LogSigmoid(), ROWS),
    (lambda nn: nn.Softplus(), ROWS),
    (lambda nn: nn.Softplus(2, 1), ROWS),
    (lambda nn: nn.Softsign(), ROWS),
    (lambda nn: nn.Tanhshrink(), ROWS),
    (lambda nn: nn.Hardtanh(-0.5, 0.7), ROWS),
    (lambda nn: nn.Hardsigmoid(), ROWS),
    (lambda nn: nn.Hardswish(), ROWS),
    (lambda nn: nn.Hardshrink(), ROWS),
    (lambda nn: nn.Softshrink(0.3), ROWS),
    (lambda nn: nn.LeakyReLU(0.2), ROWS),
    (lambda nn: nn.PReLU(), ROWS),
    (lambda nn: nn.PReLU(4), IMAGE),
    (lambda nn: nn.RReLU().eval(), ROWS),
    (lambda nn: nn.Threshold(0.1, 20), ROWS),
    (lambda nn: nn.Softmax(1), ROWS),
    (lambda nn: nn.Softmin(1), ROWS),
    (lambda nn: nn.LogSoftmax(-1), ROWS),
    (lambda nn: nn.Softmax2d(), IMAGE),
    (lambda nn: nn.Dropout(0.3).eval(), ROWS),
    (lambda nn: nn.Dropout2d(0.3).eval(), IMAGE),
    (lambda nn: nn.AlphaDropout(0.3).eval(), ROWS),
    (lambda nn: nn.Flatten(), IMAGE),
    (lambda nn: nn.Unflatten(1, (2, 2)), ROWS),
    (lambda nn: nn.Unfold(2, dilation=2, padding=1), IMAGE),
    (lambda nn: nn.Fold((4, 5), (2, 2)), (2, 8, 12)),
    (lambda nn: nn.PixelShuffle(2), IMAGE),
    (lambda nn: nn.PixelUnshuffle(2), IMAGE),
    (lambda nn: nn.ChannelShuffle(2), IMAGE),
    (lambda nn: nn.ConstantPad1d(2, 3.5), LINE),
    (lambda nn: nn.ConstantPad2d((1, 0, 2, 1), 3.5), IMAGE),
    (lambda nn: nn.ZeroPad2d(1), IMAGE),
    (lambda nn: nn.ReflectionPad1d(2), LINE),
    (lambda nn: nn.ReflectionPad2d((1, 2, 0, 1)), IMAGE),
    (lambda nn: nn.ReplicationPad2d(2), IMAGE),
    (lambda nn: nn.ReplicationPad3d(1), CUBE),
    (lambda nn: nn.CircularPad2d(1), IMAGE),
    (lambda nn: nn.Upsample(scale_factor=2), IMAGE),
    (lambda nn: nn.Upsample(size=(5, 9), mode="bilinear"), IMAGE),
    (lambda nn: nn.Upsample(scale_factor=1.5, mode="bicubic", align_corners=True), IMAGE),
    (lambda nn: nn.Upsample(scale_factor=2, mode="linear"), LINE),
    (lambda nn: nn.UpsamplingBilinear2d(scale_factor=2), IMAGE),
    (
        lambda nn: nn.Sequential(
            OrderedDict(conv=nn.Conv2d(4, 3, 3), act=nn.ReLU(), flat=nn.Flatten())
        ),
        IMAGE,
    ),
]


@pytest.mark.parametrize("case", range(len(LAYERS)))
def test_layer_equals_torch(case):
    build, shape = LAYERS[case]
    ours, theirs = both(build)
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for key in state:
        same(state[key], expected[key], rtol=0, atol=0)
    x = data(*shape)
    a, b = as_gs(x).requires_grad_(), as_torch(x).requires_grad_()
    out, wanted = ours(a), theirs(b)
    same(out, wanted, rtol=1e-4, atol=1e-5)
    seed = data(*to_numpy(wanted).shape, seed=1)
    out.backward(as_gs(seed))
    wanted.backward(as_torch(seed))
    same(a.grad, b.grad, rtol=1e-4, atol=1e-4)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        same(p.grad, q.grad, rtol=1e-3, atol=1e-4)
    for p, q in zip(ours.buffers(), theirs.buffers()):
        same(p, q, rtol=1e-4, atol=1e-5)


def test_bilinear_equals_torch():
    ours, theirs = both(lambda nn: nn.Bilinear(3, 4, 2))
    assert repr(ours) == repr(theirs)
    same(ours.weight, theirs.weight, rtol=0, atol=0)
    x, y = data(5, 3), data(5, 4, seed=1)
    same(ours(as_gs(x), as_gs(y)), theirs(as_torch(x), as_torch(y)))


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": -1}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}],
    ids=str,
)
def test_embedding_equals_torch(options):
    ours, theirs = both(lambda nn: nn.Embedding(6, 3, **options))
    assert repr(ours) == repr(theirs)
    same(ours.weight, theirs.weight, rtol=0, atol=0)
    index = np.array([[0, 5, 2], [2, 2, 1]])
    out, wanted = ours(as_gs(index)), theirs(as_torch(index))
    same(out, wanted)
    out.sum().backward()
    wanted.sum().backward()
    same(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag_equals_torch(mode):
    ours, theirs = both(lambda nn: nn.EmbeddingBag(6, 3, mode=mode))
    assert repr(ours) == repr(theirs)
    flat, offsets, square = (
        np.array([0, 5, 2, 2, 1]),
        np.array([0, 2, 2]),
        np.array([[0, 5], [1, 1]]),
    )
    same(ours(as_gs(flat), as_gs(offsets)), theirs(as_torch(flat), as_torch(offsets)))
    same(ours(as_gs(square)), theirs(as_torch(square)))


def test_max_pool_indices_unpool_like_torch():
    x = data(*IMAGE)
    results = []
    for lib, convert in ((gs, as_gs), (torch, as_torch)):
        out, indices = lib.nn.MaxPool2d(2, return_indices=True)(convert(x))
        results.append((out, indices, lib.nn.MaxUnpool2d(2)(out, indices)))
    same(*results)


@pytest.mark.parametrize(
    "name, shape",
    [("Dropout", ROWS), ("Dropout1d", LINE), ("Dropout2d", IMAGE), ("Dropout3d", CUBE)],
)
def test_dropout_scales_what_it_keeps(name, shape):
    gs.manual_seed(0)
    layer = getattr(gs.nn, name)(0.5)
    assert repr(layer) == repr(getattr(torch.nn, name)(0.5))
    out = to_numpy(layer(gs.ones(shape)))
    assert set(np.unique(out)) <= {0.0, 2.0}
    if name != "Dropout":  # whole channels
        flat = out.reshape(*shape[:2], -1)
        assert (flat == flat[:, :, :1]).all()


# ---- losses ----

LOGITS, PROBS = data(5, 4), 1 / (1 + np.exp(-data(5, 4)))
CLASSES, SIGNS = np.array([0, 3, 1, 1, 2]), np.sign(data(5, 4, seed=3)).astype(np.float32)
WEIGHT = np.array([0.5, 1.0, 2.0, 0.1], dtype=np.float32)

LOSSES = [
    ("CrossEntropyLoss", {}, (LOGITS, CLASSES)),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "ignore_index": 1}, (LOGITS, CLASSES)),
    ("CrossEntropyLoss", {"weight": WEIGHT}, (LOGITS, CLASSES)),
    ("CrossEntropyLoss", {}, (LOGITS, PROBS)),
    ("NLLLoss", {"ignore_index": 1}, (LOGITS, CLASSES)),
    ("NLLLoss", {"weight": WEIGHT}, (LOGITS, CLASSES)),
    ("BCELoss", {}, (PROBS, PROBS[::-1])),
    ("BCEWithLogitsLoss", {}, (LOGITS, PROBS)),
    ("BCEWithLogitsLoss", {"pos_weight": WEIGHT, "weight": WEIGHT}, (LOGITS, PROBS)),
    ("KLDivLoss", {}, (LOGITS, PROBS)),
    ("KLDivLoss", {"log_target": True}, (LOGITS, data(5, 4, seed=2))),
    ("MSELoss", {}, (LOGITS, data(5, 4, seed=2))),
    ("L1Loss", {}, (LOGITS, data(5, 4, seed=2))),
    ("SmoothL1Loss", {"beta": 0.5}, (LOGITS, data(5, 4, seed=2))),
    ("HuberLoss", {"delta": 0.5}, (LOGITS, data(5, 4, seed=2))),
    ("PoissonNLLLoss", {"full": True}, (LOGITS, 3 * PROBS)),
    ("PoissonNLLLoss", {"log_input": False}, (PROBS, 3 * PROBS)),
    ("GaussianNLLLoss", {"full": True}, (LOGITS, data(5, 4, seed=2), PROBS)),
    ("HingeEmbeddingLoss", {}, (LOGITS, SIGNS)),
    ("SoftMarginLoss", {}, (LOGITS, SIGNS)),
    ("MarginRankingLoss", {"margin": 0.3}, (LOGITS, data(5, 4, seed=2), SIGNS)),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (LOGITS, data(5, 4, seed=2), SIGNS[:, 0])),
    ("TripletMarginLoss", {"swap": True}, (LOGITS, data(5, 4, seed=2), data(5, 4, seed=4))),
    ("TripletMarginWithDistanceLoss", {}, (LOGITS, data(5, 4, seed=2), data(5, 4, seed=4))),
    ("MultiMarginLoss", {"p": 2, "weight": WEIGHT}, (LOGITS, CLASSES)),
    ("MultiLabelSoftMarginLoss", {"weight": WEIGHT}, (LOGITS, (SIGNS > 0).astype(np.float32))),
    ("MultiLabelMarginLoss", {}, (LOGITS, np.array([[3, 0, -1, 1]] * 5))),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", range(len(LOSSES)))
def test_loss_equals_torch(case, reduction):
    name, options, args = LOSSES[case]
    results = []
    for lib, convert in ((gs, as_gs), (torch, as_torch)):
        given = {k: convert(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        loss = getattr(lib.nn, name)(reduction=reduction, **given)
        tensors = [convert(a) for a in args]
        tensors[0].requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = loss(*tensors)
        out.sum().backward()
        results.append((out, tensors[0].grad))
    same(*results, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_loss_equals_torch(reduction):
    log_probs = np.log(np.random.RandomState(0).dirichlet(np.ones(5), (7, 3))).astype(np.float32)
    targets, lengths = np.array([[1, 1, 3], [2, 4, 0], [3, 0, 0]]), ([7, 6, 5], [3, 2, 1])
    results = []
    for lib, convert in ((gs, as_gs), (torch, as_torch)):
        x = convert(log_probs).requires_grad_()
        out = lib.nn.CTCLoss(reduction=reduction)(
            x, convert(targets), convert(np.array(lengths[0])), convert(np.array(lengths[1]))
        )
        out.sum().backward()
        results.append(out)
    same(*results, rtol=1e-4, atol=1e-5)


def test_loss_size_errors_equal_torch():
    same_error(lambda lib: lib.nn.BCELoss()(lib.ones(2), lib.ones(3)))
    same_error(lambda lib: lib.nn.BCEWithLogitsLoss()(lib.ones(2), lib.ones(3)))
    same_error(lambda lib: lib.nn.MultiMarginLoss(p=3))
    with pytest.warns(UserWarning, match="Using a target size"):
        gs.nn.MSELoss()(gs.ones(2, 1), gs.ones(2, 2))


def test_deprecated_reduction_flags_are_understood():
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert gs.nn.MSELoss(size_average=False).reduction == "sum"


# ---- lazy modules ----


@pytest.mark.cpu_only  # random numbers at the first input
@pytest.mark.parametrize(
    "build, shape",
    [
        (lambda nn: nn.LazyLinear(3), ROWS),
        (lambda nn: nn.LazyConv2d(6, 3, padding=1, groups=2), IMAGE),
        (lambda nn: nn.LazyConvTranspose1d(2, 3, bias=False), LINE),
        (lambda nn: nn.LazyBatchNorm2d(), IMAGE),
    ],
)
def test_lazy_module_equals_torch_after_first_input(build, shape):
    ours, theirs = both(build)
    x = data(*shape)
    gs.manual_seed(3)
    out = ours(as_gs(x))
    torch.manual_seed(3)
    same(out, theirs(as_torch(x)), rtol=1e-4, atol=1e-5)
    assert repr(ours) == repr(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


# ---- functional ----


def test_functions_with_the_engines_signature_are_the_engines_objects():
    assert gs_functional.linear is gs._C.linear
    assert gs_functional.conv2d is gs._C.conv2d


def test_softmax_without_dim_warns_like_torch():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        same(gs_functional.softmax(gs.ones(2, 2)), torch.full((2, 2), 0.5))


@pytest.mark.parametrize(
    "call",
    [
        lambda F, t: F.normalize(t(LOGITS)),
        lambda F, t: F.cosine_similarity(t(LOGITS), t(PROBS)),
        lambda F, t: F.pairwise_distance(t(LOGITS), t(PROBS)),
        lambda F, t: F.pdist(t(LOGITS)),
        lambda F, t: F.relu(t(LOGITS), inplace=True),
        lambda F, t: F.one_hot(t(CLASSES)),
        lambda F, t: F.pad(t(data(*IMAGE)), (1, 2, -1, 0), value=1.5),
        lambda F, t: F.interpolate(t(data(*IMAGE)), scale_factor=1.7, mode="nearest-exact"),
        lambda F, t: F.interpolate(t(data(*IMAGE)), size=4, mode="area"),
        lambda F, t: F.interpolate(t(data(*CUBE)), size=(4, 7, 3), mode="trilinear"),
        lambda F, t: F.affine_grid(t(data(2, 2, 3)), (2, 1, 4, 5), align_corners=False),
        lambda F, t: F.grid_sample(t(data(2, 3, 5, 5)), t(data(2, 4, 4, 2)), align_corners=True),
        lambda F, t: F.grid_sample(
            t(data(2, 3, 5, 5)),
            t(data(2, 4, 4, 2)),
            padding_mode="reflection",
            align_corners=False,
        ),
        lambda F, t: F.grid_sample(
            t(data(2, 3, 5, 5)),
            t(data(2, 4, 4, 2)),
            mode="nearest",
            padding_mode="border",
            align_corners=False,
        ),
        lambda F, t: F.scaled_dot_product_attention(
            *(t(data(2, 3, 4, 5, seed=i)) for i in range(3))
        ),
    ],
)
def test_function_equals_torch(call):
    same(call(gs_functional, as_gs), call(torch.nn.functional, as_torch), rtol=1e-4, atol=1e-5)


# ---- sequences and attention ----


@pytest.mark.parametrize(
    "build",
    [
        lambda nn: nn.RNN(3, 5),
        lambda nn: nn.RNN(3, 5, 2, "relu", bidirectional=True),
        lambda nn: nn.LSTM(3, 5, 2, bias=False),
        lambda nn: nn.LSTM(3, 5, bidirectional=True, proj_size=2),
        lambda nn: nn.GRU(3, 5, 2, batch_first=True, bidirectional=True),
    ],
)
def test_recurrent_layer_equals_torch(build):
    ours, theirs = both(build)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = data(4, 2, 3)
    a, b = as_gs(x).requires_grad_(), as_torch(x).requires_grad_()
    (out, state), (wanted, wanted_state) = ours(a), theirs(b)
    same([out, state], [wanted, wanted_state])
    out.sum().backward()
    wanted.sum().backward()
    same(a.grad, b.grad, rtol=1e-4, atol=1e-5)
    same(ours(as_gs(x[:, 0])), theirs(as_torch(x[:, 0])))
    same(ours(as_gs(x), state)[0], theirs(as_torch(x), wanted_state)[0])


def test_packed_sequences_equal_torch():
    ours, theirs = both(lambda nn: nn.GRU(3, 5, 2, bidirectional=True))
    results = []
    for net, lib, convert in ((ours, gs, as_gs), (theirs, torch, as_torch)):
        rnn = lib.nn.utils.rnn
        packed = rnn.pack_padded_sequence(convert(data(4, 3, 3)), [2, 4, 1], enforce_sorted=False)
        out, state = net(packed)
        results.append([packed.data, out.data, state, *rnn.pad_packed_sequence(out)])
    same(*results)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_recurrent_cell_equals_torch(name):
    ours, theirs = both(lambda nn: getattr(nn, name)(3, 5))
    assert repr(ours) == repr(theirs)
    x = data(2, 3)
    state, wanted = ours(as_gs(x)), theirs(as_torch(x))
    same(state, wanted)
    same(ours(as_gs(x), state), theirs(as_torch(x), wanted))


@pytest.mark.parametrize(
    "options",
    [{}, {"kdim": 6, "vdim": 3, "bias": False}, {"add_bias_kv": True, "add_zero_attn": True}],
    ids=str,
)
@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_equals_torch(options, need_weights):
    ours, theirs = both(lambda nn: nn.MultiheadAttention(8, 2, batch_first=True, **options))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    query = data(2, 5, 8)
    key, value = data(2, 4, options.get("kdim", 8)), data(2, 4, options.get("vdim", 8))
    padding = np.array([[False] * 4, [False, False, True, True]])
    mask = np.triu(np.ones((5, 4), dtype=bool), 2)
    results = []
    for net, convert in ((ours, as_gs), (theirs, as_torch)):
        out, weights = net(
            convert(query),
            convert(key),
            convert(value),
            key_padding_mask=convert(padding),
            attn_mask=convert(mask),
            need_weights=need_weights,
        )
        results.append([out, weights])
    same(*results)


def test_transformer_equals_torch():
    ours, theirs = both(lambda nn: nn.Transformer(8, 2, 2, 1, 16, 0.0, norm_first=True))
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    results = []
    for net, lib, convert in ((ours, gs, as_gs), (theirs, torch, as_torch)):
        src, tgt = convert(data(5, 2, 8)).requires_grad_(), convert(data(4, 2, 8, seed=1))
        mask = lib.nn.Transformer.generate_square_subsequent_mask(4)
        out = net(src, tgt, tgt_mask=mask)
        out.pow(2).sum().backward()
        results.append([mask, out, src.grad])
    same(*results, rtol=1e-3, atol=1e-5)
