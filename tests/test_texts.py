# SPDX-License-Identifier: Apache-2.0
"""What the texts of native functions say is so: every function says its shapes, dtypes and errors, and does and
raises what it says (gradstep/_texts.py)."""

import pytest

torch = pytest.importorskip("torch")

import gradstep as gs  # noqa: E402
from gradstep import _C, _texts  # noqa: E402
from op_samples import ROWS  # noqa: E402
from test_ops import leaves, ours, resolve, samples, walk  # noqa: E402

pytestmark = [pytest.mark.cpu_only, pytest.mark.filterwarnings("ignore")]
NATIVE = {
    name: value
    for owner in (_C, _C.Tensor)
    for name in dir(owner)
    if not name.startswith("_") and hasattr(value := getattr(owner, name, None), "__signatures__")
}
KINDS = ["torch.bool", "torch.uint8", "torch.int64", "torch.float32", "torch.float64"]


def calls(name):
    """The samples of a native function, as arguments of ours: for float, integers and bool."""
    for row in ROWS:
        if (
            name in (row.name.rpartition(".")[2], *row.aliases)
            and resolve(gs, row.name) is NATIVE[name]
        ):
            for dtype in (torch.float32, torch.int64, torch.bool):
                for args, kwargs in samples(row, dtype):
                    yield walk(ours, args), walk(ours, kwargs)


def result(function, args, kwargs):
    try:
        return function(*args, **kwargs)
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        return None  # not for this dtype


def test_every_native_function_says_shapes_dtypes_and_errors():
    assert [name for name, f in NATIVE.items() if _texts.facts(f) is None] == []
    assert [n for n in (*_texts.FAMILY_OF, *_texts.SOURCE_OF) if n not in NATIVE] == []
    assert [n for n, f in NATIVE.items() if f.__rule__ and n in _texts.FAMILY_OF] == []


def test_every_native_function_says_what_it_does():
    silent = []
    for name, function in NATIVE.items():
        first = function.__doc__.split("\n\n")[1]
        if first.startswith(("Shape: ", "Dtype: ", "Raises: ")) or len(first.strip()) < 8:
            silent.append(name)
    assert silent == []


@pytest.mark.parametrize(
    "name", [n for n, f in NATIVE.items() if _texts.rule_of(f) and n[-1] != "_"]
)
def test_elementwise_functions_have_the_shape_and_dtype_that_they_say(name):
    function, rule = NATIVE[name], _texts.rule_of(NATIVE[name])
    if name in _texts.FAMILY_OF:
        return
    text, seen = function.__doc__, 0
    for args, kwargs in calls(name):
        out = result(function, args, kwargs)
        if out is None or "out" in kwargs:
            continue
        seen += 1
        values = [*args, *kwargs.values()]
        tensors = [t for t in values if isinstance(t, gs.Tensor)]
        assert tuple(out.shape) == tuple(gs.broadcast_shapes(*(t.shape for t in tensors)))
        promoted = tensors[0].dtype
        for t in values:
            if isinstance(t, gs.Tensor):
                promoted = gs.promote_types(promoted, t.dtype)
        if "Dtype: bool" in text:
            assert out.dtype is gs.bool
        elif "integers become" in text:
            assert out.dtype.is_floating_point
            assert not promoted.is_floating_point or out.dtype in (promoted, gs.float64)
        elif "Dtype: the input's." in text:
            assert out.dtype is tensors[0].dtype
        elif promoted.is_floating_point:
            assert out.dtype is promoted
        assert rule != "bitwise" or not out.dtype.is_floating_point
    assert seen or not list(calls(name))


AXES = [n for n, f in NATIVE.items() if "IndexError if dim is no axis" in (f.__doc__ or "") and n[-1] != "_"]  # fmt: skip


@pytest.mark.parametrize("name", AXES)
def test_an_axis_that_is_not_there_is_an_index_error(name):
    for args, kwargs in calls(name):
        if result(NATIVE[name], args, kwargs) is None:
            continue
        for signature in NATIVE[name].__signatures__:
            names = [n for n in _texts.arguments(signature)]
            at = names.index("dim") if "dim" in names else len(args)
            if at < len(args):
                args[at] = 99
            elif "dim" in names:
                kwargs = kwargs | {"dim": 99}
            else:
                continue
            try:
                NATIVE[name](*args, **kwargs)
            except TypeError:  # not the overload of this sample
                break
            except IndexError:
                return
            raise AssertionError("no IndexError")
    assert not list(calls(name))


OUTS = [n for n, f in NATIVE.items() if "if out has a lower kind" in (f.__doc__ or "")]


@pytest.mark.parametrize("name", OUTS)
def test_out_takes_the_result_and_refuses_a_lower_dtype(name):
    for args, kwargs in calls(name):
        out = result(NATIVE[name], args, kwargs)
        if out is None or "out" in kwargs or not all(isinstance(t, gs.Tensor) for t in leaves(out)):
            continue
        random = gs.get_rng_state()
        given = [gs.empty(0, dtype=t.dtype) for t in leaves(out)]
        to = given[0] if isinstance(out, gs.Tensor) else tuple(given)
        gs.manual_seed(1)
        got = result(NATIVE[name], args, kwargs | {"out": to})
        if got is None:  # an overload without out=
            continue
        gs.set_rng_state(random)
        for mine, place, want in zip(leaves(got), given, leaves(out)):
            assert place.shape == want.shape and mine.data_ptr() == place.data_ptr()
        kind = leaves(out)[0].dtype
        if kind is not gs.bool:
            low = [gs.empty(0, dtype=gs.bool) for _ in given]
            with pytest.raises((RuntimeError, TypeError)):
                NATIVE[name](*args, **kwargs, out=low[0] if len(low) == 1 else tuple(low))
        return


# ---- errors: each call raises what the text of the function names ----

X, V, N, B = gs.ones(2, 3), gs.ones(3), gs.arange(3), gs.tensor([True, False, True])
EMPTY = gs.empty(0, 3)
ERRORS = {
    "add": lambda: gs.add(X, gs.ones(4)),
    "addcmul": lambda: gs.addcmul(X, X, gs.ones(4)),
    "bitwise_and": lambda: gs.bitwise_and(X, X),
    "add_": lambda: V.clone().add_(gs.ones(2, 3)),
    "mul_": lambda: N.clone().mul_(1.5),
    "zeros": lambda: gs.zeros(-1),
    "full": lambda: gs.full((-1,), 1),
    "tensor": lambda: gs.tensor([[1, 2], [3]]),
    "arange": lambda: gs.arange(0, 3, -1),
    "linspace": lambda: gs.linspace(0, 1, -1),
    "eye": lambda: gs.eye(-1),
    "randint": lambda: gs.randint(3, 3, (2,)),
    "randperm": lambda: gs.randperm(-1),
    "bernoulli": lambda: gs.bernoulli(V * 2),
    "normal": lambda: gs.normal(V, -V),
    "multinomial": lambda: gs.multinomial(V, 5),
    "poisson": lambda: gs.poisson(-V),
    "normal_": lambda: V.clone().normal_(0, -1),
    "uniform_": lambda: V.clone().uniform_(1, 0),
    "dropout": lambda: gs.nn.functional.dropout(V, 2.0),
    "mean": lambda: N.mean(),
    "amax": lambda: EMPTY.amax(0),
    "aminmax": lambda: EMPTY.aminmax(),
    "argmax": lambda: EMPTY.argmax(0),
    "max": lambda: EMPTY.max(),
    "var": lambda: N.var(),
    "var_mean": lambda: gs.var_mean(N),
    "norm": lambda: N.norm(),
    "dist": lambda: gs.dist(X, gs.ones(4)),
    "trace": lambda: V.trace(),
    "kthvalue": lambda: V.kthvalue(4),
    "mode": lambda: EMPTY.mode(0),
    "quantile": lambda: V.quantile(2.0),
    "allclose": lambda: gs.allclose(V, V.double()),
    "diff": lambda: gs.tensor(1.0).diff(),
    "topk": lambda: V.topk(4),
    "searchsorted": lambda: gs.searchsorted(X, gs.ones(4, 3)),
    "bucketize": lambda: gs.bucketize(V, X),
    "bincount": lambda: gs.bincount(-N),
    "histc": lambda: V.histc(0),
    "view": lambda: X.view(4),
    "view_as": lambda: X.view_as(V),
    "as_subclass": lambda: X.as_subclass(int),
    "expand": lambda: X.expand(4, 3),
    "broadcast_tensors": lambda: gs.broadcast_tensors(X, gs.ones(4)),
    "t": lambda: gs.ones(2, 2, 2).t(),
    "adjoint": lambda: V.adjoint(),
    "permute": lambda: X.permute(0, 0),
    "flatten": lambda: X.flatten(1, 0),
    "unflatten": lambda: X.unflatten(0, (3, 2)),
    "narrow": lambda: X.narrow(0, 1, 2),
    "select": lambda: X.select(0, 5),
    "split": lambda: X.split([1, 3]),
    "hsplit": lambda: X.hsplit(2),
    "unfold": lambda: V.unfold(0, 4, 1),
    "diagonal": lambda: X.diagonal(0, 1, 1),
    "as_strided": lambda: V.as_strided((9,), (1,)),
    "resize_": lambda: gs.ones(3, requires_grad=True).resize_(4),
    "flip": lambda: X.flip(0, 0),
    "repeat": lambda: X.repeat(2),
    "repeat_interleave": lambda: V.repeat_interleave(gs.tensor([1, 2])),
    "cat": lambda: gs.cat([X, gs.ones(2, 4)]),
    "stack": lambda: gs.stack([X, V]),
    "hstack": lambda: gs.hstack([X, gs.ones(3, 3)]),
    "block_diag": lambda: gs.block_diag(gs.ones(2, 2, 2)),
    "meshgrid": lambda: gs.meshgrid(X, indexing="ij"),
    "combinations": lambda: gs.combinations(X),
    "diag": lambda: gs.diag(gs.ones(2, 2, 2)),
    "tril": lambda: V.tril(),
    "pixel_shuffle": lambda: gs.pixel_shuffle(gs.ones(3, 2, 2), 2),
    "pixel_unshuffle": lambda: gs.pixel_unshuffle(gs.ones(1, 3, 3), 2),
    "channel_shuffle": lambda: gs.channel_shuffle(gs.ones(1, 3, 2), 2),
    "pad": lambda: gs.nn.functional.pad(gs.ones(1, 1, 3), (3, 3), "reflect"),
    "sum_to_size": lambda: X.sum_to_size(4),
    "cuda": lambda: V.cuda(99),
    "item": lambda: V.item(),
    "numpy": lambda: gs.ones(3, requires_grad=True).numpy(),
    "copy_": lambda: V.clone().copy_(gs.ones(4)),
    "gather": lambda: X.gather(0, gs.tensor([[5]])),
    "take": lambda: V.take(gs.tensor([7])),
    "put": lambda: gs.put(V, gs.tensor([7]), gs.ones(1)),
    "index_select": lambda: V.index_select(0, gs.tensor([7])),
    "index_add": lambda: V.index_add(0, gs.tensor([7]), gs.ones(1)),
    "index_fill": lambda: V.index_fill(0, gs.tensor([7]), 1.0),
    "index_put": lambda: V.index_put((gs.tensor([7]),), gs.ones(1)),
    "scatter": lambda: V.scatter(0, gs.tensor([7]), gs.ones(1)),
    "scatter_reduce": lambda: V.scatter_reduce(0, gs.tensor([0]), gs.ones(1, dtype=gs.float64), "sum"),
    "masked_fill": lambda: V.masked_fill(N, 1.0),
    "masked_scatter": lambda: V.masked_scatter(B, gs.ones(1)),
    "masked_select": lambda: X.masked_select(gs.ones(4, dtype=gs.bool)),
    "where": lambda: gs.where(B, X, gs.ones(4)),
    "one_hot": lambda: gs.nn.functional.one_hot(N, 2),
    "embedding": lambda: gs.nn.functional.embedding(gs.tensor([3]), X),
    "matmul": lambda: X @ X,
    "mm": lambda: X.mm(V),
    "bmm": lambda: X.bmm(X),
    "mv": lambda: X.mv(gs.ones(2)),
    "dot": lambda: V.dot(gs.ones(2)),
    "addmm": lambda: gs.addmm(X, X, X),
    "addmv": lambda: gs.addmv(V, X, gs.ones(2)),
    "addr": lambda: gs.addr(X, V, V),
    "baddbmm": lambda: gs.baddbmm(X, X, X),
    "outer": lambda: gs.outer(X, V),
    "inner": lambda: gs.inner(X, gs.ones(2)),
    "cross": lambda: gs.cross(gs.ones(2), gs.ones(2), dim=0),
    "tensordot": lambda: gs.tensordot(X, X, 1),
    "einsum": lambda: gs.einsum("ij,jk->ik", X, X),
    "linear": lambda: gs.nn.functional.linear(X, gs.ones(2, 2)),
    "bilinear": lambda: gs.nn.functional.bilinear(X, X, gs.ones(1, 2, 2)),
    "cdist": lambda: gs.cdist(X, gs.ones(2, 2)),
    "pairwise_distance": lambda: gs.pairwise_distance(X, gs.ones(4)),
    "softmax": lambda: N.softmax(0),
    "layer_norm": lambda: gs.nn.functional.layer_norm(X, (2,)),
    "group_norm": lambda: gs.nn.functional.group_norm(gs.ones(1, 3, 2), 2),
    "batch_norm": lambda: gs.nn.functional.batch_norm(gs.ones(1, 3), None, None, training=True),
    "conv2d": lambda: gs.conv2d(gs.ones(1, 1, 2, 2), gs.ones(1, 1, 3, 3)),
    "conv_transpose2d": lambda: gs.conv_transpose2d(gs.ones(1, 2, 2, 2), gs.ones(1, 1, 3, 3)),
    "avg_pool2d": lambda: gs.nn.functional.avg_pool2d(gs.ones(1, 1, 4, 4), 2, padding=2),
    "max_pool2d": lambda: gs.nn.functional.max_pool2d(gs.ones(1, 1, 1, 1), 2),
    "adaptive_avg_pool2d": lambda: gs.nn.functional.adaptive_avg_pool2d(V, 2),
    "prelu": lambda: gs.nn.functional.prelu(gs.ones(1, 3), gs.ones(2)),
    "scaled_dot_product_attention": lambda: gs.nn.functional.scaled_dot_product_attention(
        *[gs.ones(1, 2, 2)] * 3, attn_mask=gs.ones(2, 2), is_causal=True
    ),
    "gru_cell": lambda: gs.gru_cell(X, gs.ones(2, 4), gs.ones(9, 3), gs.ones(9, 3)),
    "mse_loss": lambda: gs.nn.functional.mse_loss(X, X, reduction="no"),
    "kl_div": lambda: gs.nn.functional.kl_div(X, gs.ones(4)),
    "binary_cross_entropy": lambda: gs.nn.functional.binary_cross_entropy(X, V),
    "cross_entropy": lambda: gs.nn.functional.cross_entropy(X, gs.tensor([0, 3])),
    "nll_loss": lambda: gs.nn.functional.nll_loss(X, N),
    "gaussian_nll_loss": lambda: gs.nn.functional.gaussian_nll_loss(X, X, -X),
    "cosine_embedding_loss": lambda: gs.nn.functional.cosine_embedding_loss(X, X, X),
    "triplet_margin_loss": lambda: gs.nn.functional.triplet_margin_loss(X, X, V),
    "multi_margin_loss": lambda: gs.nn.functional.multi_margin_loss(X, N),
    "backward": lambda: V.backward(),
    "register_hook": lambda: V.register_hook(print),
    "is_nonzero": lambda: V.is_nonzero(),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_is_one_that_the_text_names(name):
    text = NATIVE[name].__doc__.partition("\n\nRaises: ")[2]
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError, AssertionError)) as error:
        ERRORS[name]()
    assert any(kind.__name__ in text for kind in type(error.value).__mro__[:-2]), repr(error.value)


def test_every_family_with_errors_has_a_call_that_raises():
    def raising(family):
        return family.raises and not set(family.names.split()) & set(ERRORS)

    untried = [family.names for family in _texts.FAMILIES if raising(family)]
    assert len(untried) <= 17, untried


# ---- the same of what is written in Python ----

nn, F, optim = gs.nn, gs.nn.functional, gs.optim
P = nn.Parameter(gs.ones(2))
SGD = optim.SGD([P], lr=0.1)
PYTHON_ERRORS = {
    "nn.GLU": lambda: nn.GLU()(V),
    "nn.Softmax": lambda: nn.Softmax(5)(X),
    "nn.Softmax2d": lambda: nn.Softmax2d()(X),
    "nn.Dropout": lambda: nn.Dropout(2.0),
    "nn.Dropout2d": lambda: nn.Dropout2d(-1.0),
    "nn.AvgPool2d": lambda: nn.AvgPool2d(2, padding=2)(gs.ones(1, 1, 4, 4)),
    "nn.MaxPool1d": lambda: nn.MaxPool1d(9)(gs.ones(1, 1, 4)),
    "nn.MaxUnpool1d": lambda: nn.MaxUnpool1d(2)(
        gs.ones(1, 1, 2), gs.tensor([[[0, 3]]]), output_size=(1, 1, 9)
    ),
    "nn.ReflectionPad1d": lambda: nn.ReflectionPad1d(3)(gs.ones(1, 1, 3)),
    "nn.CircularPad1d": lambda: nn.CircularPad1d(4)(gs.ones(1, 1, 3)),
    "nn.Conv2d": lambda: nn.Conv2d(3, 4, 3, groups=2),
    "nn.ConvTranspose1d": lambda: nn.ConvTranspose1d(2, 4, 3)(gs.ones(1, 3, 9)),
    "nn.BatchNorm1d": lambda: nn.BatchNorm1d(3)(gs.ones(1, 3)),
    "nn.InstanceNorm1d": lambda: nn.InstanceNorm1d(3)(gs.ones(1, 3, 1)),
    "nn.SmoothL1Loss": lambda: nn.SmoothL1Loss()(X, gs.ones(4)),
    "nn.BCELoss": lambda: nn.BCELoss()(X, V),
    "nn.CrossEntropyLoss": lambda: nn.CrossEntropyLoss()(X, gs.tensor([0, 3])),
    "nn.GaussianNLLLoss": lambda: nn.GaussianNLLLoss()(X, X, -X),
    "nn.CosineEmbeddingLoss": lambda: nn.CosineEmbeddingLoss()(X, X, X),
    "nn.TripletMarginLoss": lambda: nn.TripletMarginLoss()(X, X, V),
    "nn.MultiMarginLoss": lambda: nn.MultiMarginLoss()(X, N),
    "nn.MultiLabelMarginLoss": lambda: nn.MultiLabelMarginLoss()(X, N),
    "nn.CTCLoss": lambda: nn.CTCLoss()(gs.zeros(4, 1, 3), gs.ones(1, 2), gs.tensor([9]), gs.tensor([2])),
    "nn.PixelShuffle": lambda: nn.PixelShuffle(2)(gs.ones(3, 2, 2)),
    "nn.ChannelShuffle": lambda: nn.ChannelShuffle(2)(gs.ones(1, 3, 2)),
    "nn.Linear": lambda: nn.Linear(2, 3)(X),
    "nn.Embedding": lambda: nn.Embedding(2, 3)(gs.tensor([2])),
    "nn.EmbeddingBag": lambda: nn.EmbeddingBag(2, 3)(gs.tensor([[2]])),
    "nn.Fold": lambda: nn.Fold((4, 4), 2)(gs.ones(1, 12, 8)),
    "nn.Unfold": lambda: nn.Unfold(5)(gs.ones(1, 1, 3, 3)),
    "nn.LayerNorm": lambda: nn.LayerNorm(4)(X),
    "nn.GroupNorm": lambda: nn.GroupNorm(2, 3),
    "nn.LSTM": lambda: nn.LSTM(2, 0),
    "nn.GRU": lambda: nn.GRU(2, 3)(gs.ones(4, 1, 3)),
    "nn.RNNCell": lambda: nn.RNNCell(2, 3)(X),
    "nn.Upsample": lambda: nn.Upsample()(gs.ones(1, 1, 2)),
    "nn.init.eye_": lambda: nn.init.eye_(gs.ones(2)),
    "nn.init.dirac_": lambda: nn.init.dirac_(X),
    "nn.init.orthogonal_": lambda: nn.init.orthogonal_(gs.ones(2)),
    "nn.init.xavier_uniform_": lambda: nn.init.xavier_uniform_(gs.ones(2)),
    "nn.init.kaiming_normal_": lambda: nn.init.kaiming_normal_(X.clone(), mode="no"),
    "nn.init.calculate_gain": lambda: nn.init.calculate_gain("no"),
    **{
        f"optim.{name}": lambda name=name: getattr(optim, name)([P], lr=-1.0)
        for name in "SGD Adam AdamW Adamax NAdam RAdam RMSprop Rprop ASGD Adadelta Adagrad Adafactor Muon".split()
    },
    "optim.lr_scheduler.LambdaLR": lambda: optim.lr_scheduler.LambdaLR(SGD, [abs, abs]),
    "optim.lr_scheduler.ConstantLR": lambda: optim.lr_scheduler.ConstantLR(SGD, 2.0),
    "optim.lr_scheduler.LinearLR": lambda: optim.lr_scheduler.LinearLR(SGD, 2.0),
    "optim.lr_scheduler.OneCycleLR": lambda: optim.lr_scheduler.OneCycleLR(SGD, 1.0),
    "optim.lr_scheduler.CyclicLR": lambda: optim.lr_scheduler.CyclicLR(SGD, 0.1, 1.0, mode="no"),
    "optim.lr_scheduler.ChainedScheduler": lambda: optim.lr_scheduler.ChainedScheduler([]),
    "optim.lr_scheduler.ReduceLROnPlateau": lambda: optim.lr_scheduler.ReduceLROnPlateau(SGD, factor=1.0),
    "optim.lr_scheduler.CosineAnnealingWarmRestarts": lambda: (
        optim.lr_scheduler.CosineAnnealingWarmRestarts(SGD, 0)
    ),
    "nn.functional.glu": lambda: F.glu(V),
    "nn.functional.interpolate": lambda: F.interpolate(gs.ones(1, 1, 2)),
    "nn.functional.local_response_norm": lambda: F.local_response_norm(X, 2),
    "nn.functional.pdist": lambda: F.pdist(V),
    "nn.functional.multilabel_margin_loss": lambda: F.multilabel_margin_loss(X, N),
    "nn.functional.triplet_margin_with_distance_loss": lambda: (
        F.triplet_margin_with_distance_loss(X, X, X, margin=-1.0)
    ),
    "nn.functional.grid_sample": lambda: F.grid_sample(gs.ones(1, 1, 2, 2), gs.ones(1, 2, 2, 3)),
    "linalg.det": lambda: gs.linalg.det(X),
    "linalg.inv": lambda: gs.linalg.inv(gs.zeros(2, 2)),
    "linalg.cholesky": lambda: gs.linalg.cholesky(-gs.eye(2)),
    "linalg.eigh": lambda: gs.linalg.eigh(X),
    "linalg.solve": lambda: gs.linalg.solve(gs.zeros(2, 2), gs.ones(2)),
    "linalg.solve_triangular": lambda: gs.linalg.solve_triangular(gs.eye(2), gs.ones(3, 1), upper=True),
    "linalg.lstsq": lambda: gs.linalg.lstsq(X, gs.ones(3, 1)),
    "linalg.matrix_power": lambda: gs.linalg.matrix_power(X, 2),
    "linalg.matrix_exp": lambda: gs.linalg.matrix_exp(X),
    "linalg.multi_dot": lambda: gs.linalg.multi_dot([X]),
    "linalg.vecdot": lambda: gs.linalg.vecdot(X, gs.ones(4)),
    "linalg.tensorinv": lambda: gs.linalg.tensorinv(gs.ones(2, 3), ind=1),
    "nn.utils.vector_to_parameters": lambda: nn.utils.vector_to_parameters(gs.ones(1), [P]),
    "nn.utils.rnn.pack_padded_sequence": lambda: nn.utils.rnn.pack_padded_sequence(X, [0, 1, 1]),
    "autograd.backward": lambda: gs.autograd.backward([V]),
    "autograd.grad": lambda: gs.autograd.grad(V.sum(), V),
    "autograd.gradcheck": lambda: gs.autograd.gradcheck(gs.sin, (V,)),
    "autograd.functional.hessian": lambda: gs.autograd.functional.hessian(gs.sin, V),
    "autograd.functional.vjp": lambda: gs.autograd.functional.vjp(gs.sin, V, X),
    "utils.data.random_split": lambda: gs.utils.data.random_split([1, 2], [1, 3]),
    "utils.data.TensorDataset": lambda: gs.utils.data.TensorDataset(X, V),
    "utils.data.BatchSampler": lambda: gs.utils.data.BatchSampler([1], 0, False),
    "utils.data.RandomSampler": lambda: gs.utils.data.RandomSampler([1], num_samples=0),
    "set_default_dtype": lambda: gs.set_default_dtype(gs.int64),
    "set_default_device": lambda: gs.set_default_device("nowhere"),
    "set_num_threads": lambda: gs.set_num_threads(0),
    "addbmm": lambda: gs.addbmm(X, gs.ones(2, 2, 3), gs.ones(2, 2, 3)),
    "logdet": lambda: gs.logdet(X),
    "cov": lambda: gs.cov(gs.ones(2, 2, 2)),
    "histogram": lambda: gs.histogram(V, 2, weight=gs.ones(2)),
    "index_reduce": lambda: gs.index_reduce(V, 0, N, V, "no"),
    "gcd": lambda: gs.gcd(N, gs.arange(2)),
    "vdot": lambda: gs.vdot(V, gs.ones(2)),
    "cholesky": lambda: gs.cholesky(-gs.eye(2)),
    "triangular_solve": lambda: gs.triangular_solve(V, gs.eye(3)),
    "slice_scatter": lambda: gs.slice_scatter(V, gs.ones(2)),
    "hann_window": lambda: gs.hann_window(-1),
    "nn.functional.softmax": lambda: F.softmax(V, 4),
    "nn.functional.mse_loss": lambda: F.mse_loss(X, gs.ones(4)),
    "nn.functional.dropout2d": lambda: F.dropout2d(gs.ones(1, 1, 1, 1), 2.0),
    "nn.functional.fractional_max_pool2d": lambda: F.fractional_max_pool2d(gs.ones(1, 1, 4, 4), 2),
    "optim.lr_scheduler.LRScheduler": lambda: optim.lr_scheduler.StepLR(
        optim.SGD([P], lr=0.1), 1, last_epoch=3
    ),
    "distributions.Distribution": lambda: gs.distributions.Normal(0.0, -1.0),
    "utils.data.ConcatDataset": lambda: gs.utils.data.ConcatDataset([]),
    "utils.data.Subset": lambda: gs.utils.data.Subset([1, 2], [0])[3],
    "utils.data.default_collate": lambda: gs.utils.data.default_collate([X, V]),
}  # fmt: skip


@pytest.mark.parametrize("path", PYTHON_ERRORS)
def test_the_error_of_a_python_name_is_one_that_its_text_names(path):
    value = gs
    for part in path.split("."):
        value = getattr(value, part)
    text = value.__doc__.partition("Raises: ")[2]
    with pytest.raises(Exception) as error:  # noqa: PT011  (the text says which)
        PYTHON_ERRORS[path]()
    kinds = [k.__name__ for k in type(error.value).__mro__[:-2] if k is not Exception]
    assert any(kind in text for kind in kinds), repr(error.value)
