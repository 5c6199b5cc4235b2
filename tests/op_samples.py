# SPDX-License-Identifier: Apache-2.0
"""The table of all ops: one row each, with the samples that every generic test of test_ops.py uses. Here stand
elementwise maths, reductions and products; op_samples_nn.py, op_samples_tensors.py and op_samples_composed.py
have the others, op_rows.py what rows are made with.

A new elementwise op is one line: `unary("softsign")`, `binary("hypot")`. A row is
    Row("name", samples)        torch.name, nn.functional.name or Tensor.name, whatever exists
    Row("F.unfold", samples)    where a name stands for two things: torch., F. or Tensor. in front
and `samples(m)` yields the argument lists, written with the maker m, which makes torch tensors of the dtype
under test: m(2, 3), m.ints(5, 2, 3), m.mask(2, 3). Non-contiguous copies, in-place twins, methods, dtypes,
first and second derivatives follow from the row; what PyTorch refuses for a dtype is left out.
"""

import torch

from op_rows import (
    PAIRS,
    SHAPES,
    SINGLES,
    a,
    binary,
    call,
    calls,
    loose,
    predicate,
    reduction,
    scan,
    ternary,
    unary,
    with_args,
)
from op_samples_composed import COMPOSED
from op_samples_nn import ACTIVATIONS, CONVOLUTIONS, LOSSES, NORMS
from op_samples_tensors import CONVERSIONS, CREATION, INDEXING, RANDOM, SHAPING, VIEWS

ELEMENTWISE = [
    unary("abs", aliases=("absolute",)),
    unary("neg", aliases=("negative",)),
    unary("sign"),
    unary("sgn"),
    unary("positive"),
    *[predicate(n) for n in "isreal".split()],
    *[unary(n) for n in "real conj".split()],
    unary("ceil"),
    unary("floor"),
    unary("trunc", aliases=("fix",)),
    unary("frac"),
    unary("square"),
    unary("sqrt", 0.1, 4),
    unary("rsqrt", 0.2, 4),
    unary("reciprocal", 0.3, 4),
    unary("exp"),
    unary("exp2"),
    unary("expm1"),
    unary("log", 0.1, 4),
    unary("log2", 0.1, 4),
    unary("log10", 0.1, 4),
    unary("log1p", -0.8, 4),
    unary("sin"),
    unary("cos"),
    unary("tan", -1.3, 1.3),
    unary("asin", -0.9, 0.9, aliases=("arcsin",)),
    unary("acos", -0.9, 0.9, aliases=("arccos",)),
    unary("atan", aliases=("arctan",)),
    unary("sinh"),
    unary("cosh"),
    unary("tanh"),
    unary("asinh", aliases=("arcsinh",)),
    unary("acosh", 1.1, 4, aliases=("arccosh",)),
    unary("atanh", -0.9, 0.9, aliases=("arctanh",)),
    unary("deg2rad"),
    unary("rad2deg"),
    unary("sinc"),
    unary("erf"),
    unary("erfc"),
    unary("erfinv", -0.9, 0.9, aliases=("special.erfinv",)),
    unary("lgamma", 0.3, 5, gradgrad=False),
    unary("digamma", 0.3, 5, aliases=("psi",), grad=False),
    unary("i0", grad=False),
    unary("sigmoid"),
    with_args("logit", a(), a(1e-3), a(eps=0.2), shapes=((2, 3), (), (0,)), low=0.05, high=0.95),
    with_args("nan_to_num", a(), a(0.5), a(nan=1.0, posinf=2.0, neginf=-2.0), shapes=SHAPES),
    with_args("round", a(), a(decimals=1), a(decimals=-1), shapes=SHAPES),
    *[predicate(n) for n in "isnan isinf isfinite isposinf isneginf signbit logical_not".split()],
    unary("bitwise_not", grad=False),
    binary("add", numbers=(2, 1.5, True), aliases=()),
    binary("sub", numbers=(2, 1.5), aliases=("subtract",)),
    with_args("rsub", a(2), a(1.5), a(2, alpha=3)),
    binary("mul", numbers=(2, 1.5, True), aliases=("multiply",)),
    binary("div", 0.5, 3, numbers=(2, 1.5), aliases=("divide", "true_divide")),
    binary("floor_divide", 0.5, 3, numbers=(2, 1.5), grad=False),
    binary("remainder", 0.5, 3, numbers=(2, 1.5, -2)),
    binary("fmod", 0.5, 3, numbers=(2, 1.5, -2)),
    binary("pow", 0.5, 3, numbers=(2, 1.5, 0, 1, 3, -1, -2, 0.5, -0.5, 4)),
    binary("float_power", 0.5, 3, numbers=(2, 1.5), inplace=False),
    binary("maximum"),
    binary("minimum"),
    binary("fmax"),
    binary("fmin"),
    binary("clamp_min", numbers=(0, 0.5)),
    binary("clamp_max", numbers=(0, 0.5)),
    with_args(
        "clamp",
        a(-1, 1),
        a(min=-0.5),
        a(max=0.5),
        a(1, -1),
        a(-1.5, 2),
        shapes=SHAPES,
        aliases=("clip",),
    ),
    binary("heaviside", grad=False),
    binary("atan2", aliases=("arctan2",)),
    binary("hypot"),
    binary("copysign", numbers=(-1.0, 2)),
    binary("logaddexp"),
    binary("logaddexp2", gradgrad=False),
    binary("xlogy", 0.2, 3, numbers=(2, 1.5)),
    binary("ldexp"),
    *[
        binary(n, numbers=(1, 0.5), grad=False, aliases=also)
        for n, also in (
            ("eq", ()),
            ("ne", ("not_equal",)),
            ("lt", ("less",)),
            ("le", ("less_equal",)),
            ("gt", ("greater",)),
            ("ge", ("greater_equal",)),
        )
    ],
    *[binary(n, grad=False) for n in "logical_and logical_or logical_xor".split()],
    *[
        binary(n, numbers=(3, True), grad=False)
        for n in "bitwise_and bitwise_or bitwise_xor".split()
    ],
    *[
        binary(n, 0, 5, numbers=(2,), grad=False)
        for n in "bitwise_left_shift bitwise_right_shift".split()
    ],
    ternary("addcmul", {"value": 2}, {"value": 0.5}),
    ternary("addcdiv", {"value": 2.0}, low=0.5, high=3.0),
    ternary("lerp"),
    calls("where", lambda m: (call(m.mask(*s), m(*s), m(*t)) for s, t in PAIRS), strided=True),
    binary("isclose", grad=False),
    binary("allclose", grad=False),
    binary("equal", grad=False),
]

REDUCTIONS = [
    reduction("sum", extra=(a(dtype=torch.float64),), empty=True),
    reduction("mean", extra=(a(dtype=torch.float64),)),
    reduction("nansum"),
    reduction("nanmean"),
    reduction("prod", lists=False, low=0.5, high=2.0),
    reduction("amax", distinct=True, empty=False),
    reduction("amin", distinct=True, empty=False),
    reduction("any", grad=False),
    reduction("all", grad=False),
    reduction("var", extra=(a(dim=1, correction=0), a(unbiased=False)), tolerance=loose),
    reduction("std", extra=(a(dim=1, correction=0),), tolerance=loose),
    *[
        reduction(n, tolerance=loose, dtypes=SINGLES, extra=(a(dim=1, correction=0),))
        for n in "var_mean std_mean".split()
    ],
    *[
        reduction(n, lists=False, distinct=True, empty=False, gradgrad=n not in ("mode",))
        for n in "max min median nanmedian".split()
    ],
    calls("mode", lambda m: (call(m.ints(3, 4, 5).to(m.dtype), d) for d in (0, 1, -1)), grad=False),
    calls(
        "aminmax",
        lambda m: (
            call(m.distinct(3, 4)),
            call(m.distinct(3, 4), dim=1),
            call(m.distinct(3, 4), dim=0, keepdim=True),
        ),
    ),
    *[
        reduction(n, lists=False, distinct=True, empty=False, grad=False)
        for n in "argmax argmin".split()
    ],
    reduction("logsumexp", whole=False, tolerance=loose),
    reduction("count_nonzero", keepdims=False, grad=False, extra=(a(dim=(0, 1)),)),
    with_args(
        "norm",
        a(),
        a(2, 1),
        a(1, 0),
        a(3.0, -1, True),
        a(float("inf"), 1),
        a(dim=(0, 1)),
        shapes=((3, 4),),
        tolerance=loose,
    ),
    with_args(
        "linalg.vector_norm",
        a(),
        a(1),
        a(3.0, dim=1),
        a(float("inf"), dim=(0, 1)),
        shapes=((3, 4),),
    ),
    with_args("Tensor.sum_to_size", a(3, 1), a(1, 4), a(1), shapes=((3, 4),)),
    with_args("quantile", a(0.3), a(0.5, 1), a(0.7, dim=0, keepdim=True), shapes=((3, 4),)),
    with_args("nanquantile", a(0.3), a(0.5, 1), shapes=((3, 4),)),
    calls(
        "kthvalue",
        lambda m: (
            call(m.distinct(3, 4), 2),
            call(m.distinct(3, 4), 1, 0),
            call(m.distinct(5), 3, keepdim=True),
        ),
    ),
    binary("dist", tolerance=loose),
    *[scan(n) for n in "cumsum cumprod".split()],
    scan("logcumsumexp", tolerance=loose),
    *[scan(n, gradgrad=False) for n in "cummax cummin".split()],
    with_args("diff", a(), a(2), a(1, 0), a(n=1, dim=-1), shapes=((3, 4),)),
    with_args("trace", a(), shapes=((3, 3), (2, 4))),
]

PRODUCTS = [
    calls("mm", lambda m: (call(m(2, 3), m(3, 4)), call(m(0, 3), m(3, 2)), call(m(2, 0), m(0, 3)))),
    calls("bmm", lambda m: (call(m(2, 2, 3), m(2, 3, 4)), call(m(0, 2, 3), m(0, 3, 4)))),
    calls(
        "matmul",
        lambda m: (
            call(m(*s), m(*t))
            for s, t in (
                ((2, 3), (3, 2)),
                ((3,), (3,)),
                ((3,), (3, 2)),
                ((2, 3), (3,)),
                ((2, 1, 2, 3), (4, 3, 2)),
                ((2, 3, 4), (4,)),
                ((3,), (2, 3, 4)),
            )
        ),
    ),
    calls("mv", lambda m: (call(m(2, 3), m(3)),)),
    calls("dot", lambda m: (call(m(3), m(3)), call(m(0), m(0)))),
    calls("inner", lambda m: (call(m(3), m(3)), call(m(2, 3), m(4, 3)))),
    calls("outer", lambda m: (call(m(3), m(2)),), aliases=("ger",)),
    *[
        calls(
            n,
            lambda m, s=s: (
                call(*(m(*d) for d in s)),
                call(*(m(*d) for d in s), beta=2, alpha=3),
                call(m(1), *(m(*d) for d in s[1:]), beta=0),
            ),
        )
        for n, s in (
            ("addmm", ((2, 4), (2, 3), (3, 4))),
            ("addmv", ((2,), (2, 3), (3,))),
        )
    ],
    calls(  # gelu: test_products.py
        "_addmm_activation",
        lambda m: (
            call(m(4), m(2, 3), m(3, 4)),
            call(m(2, 4), m(2, 3), m(3, 4), beta=2, alpha=3),
            call(m(4), m(0, 3), m(3, 4), alpha=2),
        ),
        grad=False,  # PyTorch has none
        gradgrad=False,
    ),
    calls(
        "addr",
        lambda m: (call(m(2, 3), m(2), m(3)), call(m(2, 3), m(2), m(3), beta=2, alpha=3)),
        dtypes=("float32", "float64", "bfloat16", "int64"),
    ),
    calls(
        "baddbmm",
        lambda m: (
            call(m(2, 2, 4), m(2, 2, 3), m(2, 3, 4)),
            call(m(4), m(2, 2, 3), m(2, 3, 4), beta=2, alpha=3),
        ),
    ),
    calls("chain_matmul", lambda m: (call(m(2, 3), m(3, 4), m(4, 2)),)),
    calls(
        "linear",
        lambda m: (
            call(m(2, 3), m(4, 3)),
            call(m(2, 5, 3), m(4, 3), m(4)),
            call(m(3), m(4, 3), m(4)),
        ),
    ),
    calls(
        "bilinear",
        lambda m: (call(m(2, 3), m(2, 4), m(5, 3, 4), m(5)), call(m(3), m(4), m(2, 3, 4))),
    ),
    calls(
        "einsum",
        lambda m: (
            call("ij,jk->ik", m(2, 3), m(3, 4)),
            call("bij,bjk->bik", m(2, 2, 3), m(2, 3, 2)),
            call("ii", m(3, 3)),
            call("ij->ji", m(2, 3)),
            call("...i,...i->...", m(2, 3), m(2, 3)),
            call("i,j", m(2), m(3)),
        ),
    ),
    calls(
        "tensordot",
        lambda m: (call(m(2, 3), m(3, 4), 1), call(m(2, 3, 4), m(4, 3, 2), dims=([1, 2], [1, 0]))),
    ),
    calls("kron", lambda m: (call(m(2, 3), m(2, 2)), call(m(2), m(3)))),
    calls("cross", lambda m: (call(m(2, 3), m(2, 3), dim=1), call(m(3), m(3), dim=0))),
    calls(
        "cdist",
        lambda m: (call(m(3, 2), m(4, 2)), call(m(2, 3, 2), m(2, 4, 2), 1.0)),
        tolerance=loose,
        gradgrad=False,
    ),
    calls(
        "cosine_similarity",
        lambda m: (call(m(2, 3), m(2, 3)), call(m(2, 3), m(2, 3), dim=0)),
        tolerance=loose,
        dtypes=SINGLES,
    ),
    calls(
        "pairwise_distance",
        lambda m: (
            call(m(2, 3), m(2, 3)),
            call(m(2, 3), m(2, 3), p=1.0),
            call(m(2, 3), m(2, 3), keepdim=True),
        ),
        tolerance=loose,
    ),
    with_args("normalize", a(), a(1.0, 0), a(p=3.0, dim=1), shapes=((3, 4),), tolerance=loose),
]

LINALG = [
    with_args("linalg.norm", a(), a(2), a("fro"), a("nuc"), a(1, (0, 1)), a(3.0, 1), shapes=((3, 4),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    with_args(
        "linalg.matrix_norm",
        a(), a("nuc"), a(1), a(-1), a(float("inf")), a(2), a("fro", keepdim=True),
        shapes=((3, 4), (2, 3, 3)), dtypes=SINGLES, tolerance=loose, gradgrad=False,
    ),
    *[
        calls(
            f"linalg.{n}", lambda m: (call(m.spd(3)), call(m.spd(3).expand(2, 3, 3))), dtypes=SINGLES, tolerance=loose,
        )
        for n in "inv det cholesky".split()
    ],
    calls(
        "linalg.solve",
        lambda m: (call(m.spd(3), m(3)), call(m.spd(3), m(3, 2)), call(m.spd(3), m(2, 3, 1)), call(m.spd(3), m(2, 3), left=False)),
        dtypes=SINGLES,
        tolerance=loose,
    ),
    with_args("linalg.qr", a(), shapes=((3, 2), (3, 3), (2, 4)), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    calls("linalg.eigvalsh", lambda m: (call(m.spd(3)),), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    with_args("linalg.svdvals", a(), shapes=((3, 2), (2, 3)), dtypes=SINGLES, tolerance=loose, gradgrad=False),
    with_args("linalg.pinv", a(), shapes=((3, 2),), dtypes=SINGLES, tolerance={"float32": (1e-4, 1e-4)}, gradgrad=False),
    with_args("linalg.matrix_power", a(3), a(0), a(-1), shapes=((3, 3),), dtypes=SINGLES, tolerance={"float32": (1e-3, 1e-3)}),
    calls("linalg.multi_dot", lambda m: (call([m(2, 3), m(3, 4), m(4, 2)]),), dtypes=SINGLES, tolerance=loose),
    calls("linalg.vecdot", lambda m: (call(m(2, 3), m(2, 3)), call(m(2, 3), m(2, 3), dim=0)), dtypes=SINGLES),
]  # fmt: skip

SPECIAL = [
    *[
        unary(f"special.{n}", 0.05, 0.95, dtypes=SINGLES, tolerance=loose)
        for n in "entr ndtr log_ndtr ndtri expit".split()
    ],
    unary("special.gammaln", 0.3, 5, gradgrad=False, dtypes=SINGLES),
    binary("special.xlog1py", 0.2, 3, dtypes=SINGLES),
]

ROWS = [
    *ELEMENTWISE, *ACTIVATIONS, *REDUCTIONS, *PRODUCTS, *LINALG, *SPECIAL, *VIEWS, *SHAPING, *INDEXING, *NORMS, *LOSSES,
    *CONVOLUTIONS, *CREATION, *RANDOM, *CONVERSIONS,
    *COMPOSED,
]  # fmt: skip

# Derivatives that finite differences do not confirm at some sample; PyTorch's fail there as well, which
# test_gradcheck_and_gradgradcheck asserts.
UNCHECKED = {
    name: reason
    for reason, names in {
        "not implemented in PyTorch, random": "binomial",
        "jumps at the sample": "round",
        "one element has no variance": "var var_mean std_mean",
        "kinks: equal elements": "mode scatter_reduce",
        "no second derivative in PyTorch": "cdist",
        "reads one half of a symmetric matrix": "linalg.cholesky linalg.cholesky_ex linalg.eigvalsh",
        "NaN or infinity by definition": "segment_reduce masked.log_softmax",
        "no derivative there either": "heaviside unique unique_consecutive igamma igammac special.gammainc "
        "special.gammaincc special.zeta geqrf histogram histogramdd "
        "linalg.ldl_factor linalg.ldl_factor_ex linalg.ldl_solve",
    }.items()
    for name in names.split()
}

# Exported by the native module, but nothing that a samples row could hold. Names with a leading underscore are
# the package's own and have tests with their callers (test_optim.py, test_autograd*.py).
NOT_OPS = {
    "types": "CaptureError Generator ModuleBase Node OutOfMemoryError Size Tensor device dtype layout memory_format",
    "for library code (_native_names.py)": "DisableTorchFunction DisableTorchFunctionSubclass DispatchKey DispatchKeySet",
    "dtypes and constants": "bool uint8 int8 int16 short int32 int int64 long float16 half bfloat16 float32 float float64 double "
    "strided channels_last channels_last_3d contiguous_format preserve_format default_generator",
    "settings and state": "get_default_device set_default_device get_default_dtype set_default_dtype get_num_threads set_num_threads get_rng_state set_rng_state "
    "initial_seed manual_seed seed is_anomaly_check_nan_enabled is_anomaly_enabled is_grad_enabled is_inference_mode_enabled empty_cache memory_stats "
    "reset_peak_memory_stats",
    "autocast (test_amp.py)": "autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache "
    "get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype set_autocast_gpu_dtype is_autocast_cache_enabled is_autocast_cpu_enabled "
    "is_autocast_enabled set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype "
    "set_autocast_enabled",
    "recurrent layers (test_rnn.py)": "gru gru_cell lstm lstm_cell rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell",
    "facts about tensors and dtypes (test_dtypes.py, test_creation.py)": "can_cast promote_types result_type is_complex "
    "is_floating_point is_inference is_nonzero is_signed numel",
    "the engine's side of F.unfold and F.fold, which have rows": "im2col col2im",
    "the engine's side of F.interpolate": "resize_axes",
    "memory shared with others (test_interop.py)": "from_dlpack from_numpy frombuffer",
}
NOT_OPS_METHODS = {
    "subclasses (test_overrides.py)": "as_subclass",
    "autograd (test_autograd*.py)": "backward detach_ register_hook register_post_accumulate_grad_hook requires_grad_ retain_grad",
    "facts (test_views.py, test_creation.py)": "data_ptr dim element_size is_contiguous is_pinned is_set_to is_shared item "
    "ndimension nelement size storage storage_offset stride tolist type untyped_storage get_device",
    "memory and devices (test_interop.py, test_cuda_api.py)": "apply_ cpu cuda map_ numpy pin_memory record_stream share_memory_ resize_ resize_as_ new",
    "shortcuts to linalg, whose functions have rows": "inverse det slogdet pinverse matrix_power cholesky",
    "writes of functions that have rows": "conj_physical_ float_power_",
}
