# SPDX-License-Identifier: Apache-2.0
"""Arguments are PyTorch's: names, order, kinds and defaults of every function, method and class, as the stub and
the sources declare them, against those that PyTorch declares. What is not there stands in MISSING, with why."""

import ast
import importlib
import inspect
import pathlib

import pytest
import torch

import gradstep

pytestmark = pytest.mark.cpu_only  # reads declarations

TORCH = pathlib.Path(torch.__file__).resolve().parent
STUB = pathlib.Path(gradstep.__file__).resolve().parent / "_C.pyi"


# ---- declarations ----


class Form:
    """One overload: its arguments in order, each with kind and default."""

    def __init__(self, node):
        a = node.args
        positional = [*a.posonlyargs, *a.args]
        none = [None] * (len(positional) - len(a.defaults))
        self.positional = [x.arg.rstrip("_") for x in positional]
        self.types = {x.arg.rstrip("_"): ast.unparse(x.annotation or ast.Name("Any"))
                      for x in [*positional, *a.kwonlyargs, *([a.vararg] if a.vararg else [])]}  # fmt: skip
        self.default = dict(zip(self.positional, [*none, *a.defaults]))
        self.keywords = [x.arg.rstrip("_") for x in a.kwonlyargs]
        self.default |= dict(zip(self.keywords, a.kw_defaults))
        self.loose = a.vararg.arg if a.vararg else None
        self.any_keyword = a.kwarg is not None
        self.text = ast.unparse(a)


def forms(body):
    found = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(Form(node))
    return found


def declared(path, owner=None):
    body = ast.parse(path.read_text()).body
    if owner:
        (body,) = (n.body for n in body if isinstance(n, ast.ClassDef) and n.name == owner)
    return forms(body)


def of_python(value):
    """The form of a function or class that is written in Python; None where there is no signature."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return None

    def plain(p):
        given = p.default
        known = given is p.empty or isinstance(given, (int, float, str, tuple, type(None)))
        return p.replace(annotation=p.empty, default=given if known else None)

    parameters = [plain(p) for p in signature.parameters.values()]
    text = str(inspect.Signature(parameters)).replace("inf", "1e999").replace("nan", "None")
    return Form(ast.parse(f"def f{text}: ...").body[0])


def value(node):
    """A default that can be compared; Ellipsis where it can't."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ...


def same_default(theirs, ours):
    a, b = value(theirs), value(ours)
    if isinstance(a, (tuple, list)) and not isinstance(b, (tuple, list)):
        return a == () or b in (None, ...) or set(a) == {b}  # padding=0 for (0, 0); dim=() for all
    return a in (b, ...) or b is ... or (a is False and b is None) or (a is None and b is False)


def takes(ours, theirs):
    """None if a call that theirs describes fits ours, else what does not."""
    for i, name in enumerate(theirs.positional):
        if name in ours.positional:
            if ours.positional.index(name) != i:
                return f"{name} is at another place"
        elif ours.loose is None or len(ours.positional) > i:
            return f"no {name}"
    for name in theirs.keywords:
        if name not in ours.default and not ours.any_keyword:
            return f"no {name}="
    if theirs.loose and not ours.loose:
        return f"*{theirs.loose}"
    for name, node in theirs.default.items():
        if name not in ours.default:
            continue
        if node is not None:
            if ours.default[name] is None:
                return f"{name} has no default"
            if not same_default(node, ours.default[name]):
                return f"{name}={ast.unparse(ours.default[name])} is not {ast.unparse(node)}"
    for name, node in ours.default.items():
        if node is None and name not in theirs.default:
            return f"{name} is required"
    return None


# ---- what is compared ----

NATIVE, METHODS = declared(STUB), declared(STUB, "Tensor")


def ours_of(owner, name):
    """Our forms of a name, [] where it is missing or a placeholder."""
    value = getattr(owner, name, None)
    if value is None or getattr(value, "__stub__", False):
        return []
    if hasattr(value, "__signatures__"):
        return NATIVE.get(name, [])
    form = of_python(value)
    return [form] if form else []


def differences(pairs):
    """{"name: why"} of all (name, our forms, PyTorch's forms)."""
    found = {}
    for name, ours, theirs in pairs:
        for form in theirs if ours else ():
            if any("EllipsisType" in t or "complex" in t for t in form.types.values()):
                continue  # named axes and complex numbers are not there
            if form.loose and form.text.endswith("**kwargs"):
                continue  # says nothing
            why = [takes(mine, form) for mine in ours]
            if None not in why:
                found.setdefault(name, []).append(f"{why[0]} in ({form.text})")
    return found


# Where a call that PyTorch declares is not taken, or not by one form alone, and why.
MISSING = {
    "out_dtype": "mm bmm",  # a GPU's products in another dtype than their operands
    "two of our forms together take it": "std std_mean var var_mean",
    "PyTorch's stub says what PyTorch refuses": "linspace logspace numel tensor contiguous cpu cuda new_tensor "
    "requires_grad_ set_num_threads",
    "ours is the function of nn.functional": "binary_cross_entropy_with_logits cosine_embedding_loss "
    "hinge_embedding_loss kl_div margin_ranking_loss poisson_nll_loss triplet_margin_loss instance_norm",
    "self is called cls": "new",
    "the signature that Python shows is that of the view": "alias_copy expand_copy slice_copy",
    "one argument is called as in linalg": "cholesky_inverse cholesky_solve det inverse lu_solve matrix_exp matrix_power "
    "orgqr ormqr slogdet triangular_solve",
    "no out=": "index_reduce lu_unpack native_batch_norm slice_scatter",
    "ours takes (input, weight), as nn.functional's": "embedding",
    "ours has another name for a number": "set_num_interop_threads",
}  # fmt: skip
KNOWN = {name for names in MISSING.values() for name in names.split()}


def test_functions_take_pytorchs_arguments():
    theirs = declared(TORCH / "_C" / "_VariableFunctions.pyi")
    pairs = [(n, ours_of(gradstep, n), f) for n, f in theirs.items() if not n.startswith("_")]
    assert {n: w for n, w in differences(pairs).items() if n not in KNOWN} == {}
    assert sum(bool(ours) for _, ours, _ in pairs) > 450


def test_methods_take_pytorchs_arguments():
    theirs = declared(TORCH / "_C" / "__init__.pyi", "TensorBase")
    pairs = [(n, METHODS.get(n, []), f) for n, f in theirs.items() if not n.startswith("_")]
    assert {n: w for n, w in differences(pairs).items() if n not in KNOWN} == {}


MODULES = """nn nn.functional nn.init nn.utils nn.utils.rnn nn.utils.parametrize optim optim.lr_scheduler optim.swa_utils
autograd autograd.functional func amp utils.data utils.checkpoint distributions linalg special fft cuda profiler
serialization random""".split()


@pytest.mark.parametrize("module", ["", *MODULES])
def test_python_names_take_pytorchs_arguments(module):
    mine, theirs = importlib.import_module(f"gradstep.{module}".rstrip(".")), None
    theirs = importlib.import_module(f"torch.{module}".rstrip("."))
    pairs = []
    for name in getattr(theirs, "__all__", None) or dir(theirs):
        value = getattr(theirs, name, None)
        if name.startswith("_") or not callable(value) or not name[0].isalpha():
            continue
        if not (getattr(value, "__module__", None) or "").startswith("torch"):
            continue
        form = of_python(value)
        if form:
            pairs.append((name, ours_of(mine, name), [form]))
    known = OTHER.get(module, "").split()
    assert {n: w for n, w in differences(pairs).items() if n not in known} == {}


OTHER = {
    "": "compile enable_grad split cdist einsum norm SymBool SymFloat SymInt sym_sum",  # compile: see docs/capture.md; the others are native
    "nn": "LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d",
    "autograd": "enable_grad",
    "cuda": "Event graph",  # arguments of captured graphs' annotations and of external events
    "profiler": "tensorboard_trace_handler",
    "random": "fork_rng",  # names for messages only
}
