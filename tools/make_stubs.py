# SPDX-License-Identifier: Apache-2.0
"""Prints python/gradstep/_C.pyi: what editors and mypy know of the native module, read from the module itself.

python tools/make_stubs.py --write     # after a function was added; tests/test_stubs.py checks that it was done
"""

import argparse
import inspect
import keyword
import pathlib
import re
from typing import Any

import gradstep
from gradstep import _C, _ops

STUB = pathlib.Path(__file__).resolve().parent.parent / "python" / "gradstep" / "_C.pyi"

HEADER = '''# SPDX-License-Identifier: Apache-2.0
# Written by tools/make_stubs.py from the native module's signatures: do not edit.
# mypy: disable-error-code="overload-overlap, overload-cannot-match, override, misc"
import builtins
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeAlias, overload

Number: TypeAlias = builtins.int | builtins.float | builtins.bool

class dtype:
    """The type of a tensor's elements."""

    @property
    def itemsize(self) -> builtins.int: ...
    @property
    def is_floating_point(self) -> builtins.bool: ...
    @property
    def is_complex(self) -> builtins.bool: ...
    @property
    def is_signed(self) -> builtins.bool: ...

class _MarkedMeta(builtins.type): ...
class layout: ...
class memory_format: ...

class device:
    """Where a tensor lives: `device("cuda", 0)`, `device("cpu")`."""

    @overload
    def __init__(self, device: _device_like) -> None: ...
    @overload
    def __init__(self, type: builtins.str, index: builtins.int = -1) -> None: ...
    @property
    def type(self) -> builtins.str: ...
    @property
    def index(self) -> builtins.int | None: ...
    def __enter__(self) -> device: ...
    def __exit__(self, *exc: Any) -> None: ...

class Size(tuple[builtins.int, ...]):
    """The shape of a tensor."""

    def numel(self) -> builtins.int:
        """The product of all sizes."""

class Generator:
    """A source of random numbers."""

    def __init__(self, device: _device_like = "cpu") -> None: ...
    def manual_seed(self, seed: builtins.int) -> Generator: ...
    def seed(self) -> builtins.int: ...
    def initial_seed(self) -> builtins.int: ...
    def get_state(self) -> Tensor: ...
    def set_state(self, new_state: Tensor) -> Generator: ...
    @property
    def device(self) -> _device: ...

class Node:
    """A node of the autograd graph, as `grad_fn` shows it."""

    def name(self) -> builtins.str: ...
    def register_hook(self, fn: Callable[..., Any]) -> Any: ...
    def register_prehook(self, fn: Callable[..., Any]) -> Any: ...
    def _sequence_nr(self) -> builtins.int: ...
    @property
    def next_functions(self) -> tuple[tuple[Node | None, builtins.int], ...]: ...
    @property
    def variable(self) -> Tensor: ...

class OutOfMemoryError(RuntimeError):
    """Raised when a device has no memory left."""

class CaptureError(RuntimeError):
    """A captured function did what a replay could not repeat."""

class _Captured:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def _add(self, entry: Any) -> None: ...
    def _entries(self) -> list[Any]: ...
    def _drop(self, entry: Any, /) -> None: ...
    def _keep(self, n: builtins.int) -> None: ...

_Guard: Any
_CaptureEntry: Any
_CaptureSession: Any
_Written: Any

class ModuleBase:
    """What nn.Module does natively: calls and attributes."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __getattr__(self, name: builtins.str) -> Any: ...
    def _linear_forward(self, input: Tensor) -> Tensor: ...
    def _gelu_forward(self, input: Tensor) -> Tensor: ...
    def _sequential_forward(self, input: Any) -> Any: ...

_dtype: TypeAlias = dtype
_layout: TypeAlias = layout
_memory_format: TypeAlias = memory_format
_device: TypeAlias = device
_device_like: TypeAlias = device | builtins.str | builtins.int
_size: TypeAlias = Sequence[builtins.int]
'''

# ---- types of arguments ----

TYPES = {
    "Tensor": "Tensor",
    "Operand": "Tensor | Number",
    "Scalar": "Number",
    "Number": "Number",
    "int": "builtins.int",
    "float": "builtins.float",
    "bool": "builtins.bool",
    "str": "builtins.str",
    "IntList": "_size | builtins.int",
    "TensorList": "Sequence[Tensor]",
    "dtype": "_dtype",
    "device": "_device_like",
    "layout": "_layout",
    "memory_format": "_memory_format",
    "Generator": "Generator",
    "object": "Any",
}
ELEMENT = {"IntList": "builtins.int", "TensorList": "Tensor"}

# ---- types of results: Tensor unless one of these says otherwise ----

PAIR = "tuple[Tensor, Tensor]"
MANY = "tuple[Tensor, ...]"
RETURNS = {
    "None": "clear_autocast_cache set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled "
    "backward retain_grad set_rng_state _backward _bump_version _check_inplace _set_anomaly "
    "_set_grad_enabled _set_inference_mode _cuda_init _cuda_set_device _cuda_synchronize _cuda_reset_peak "
    "_cuda_empty_cache record_stream _cuda_set_stream _cuda_synchronize_stream _cuda_destroy_event _cuda_record_event "
    "_cuda_begin_capture _cuda_replay_graph _cuda_destroy_graph _cuda_wait_event _cuda_synchronize_event _cuda_set_flag",
    "builtins.int": "_cuda_device_count _cuda_current_device _cuda_new_stream _cuda_current_stream _cuda_new_event "
    "_cuda_library_version _cuda_cudnn_attention_runs autocast_decrement_nesting autocast_increment_nesting "
    "data_ptr dim element_size get_device initial_seed ndimension nelement numel seed storage_offset",
    "builtins.bool": "_cuda_is_capturing _cuda_is_initialized _cuda_query_stream _cuda_query_event _cuda_flag is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled "
    "allclose can_cast equal is_anomaly_check_nan_enabled is_anomaly_enabled is_complex is_contiguous "
    "is_floating_point is_grad_enabled is_inference is_inference_mode_enabled is_nonzero is_pinned is_same_size "
    "is_set_to is_shared is_signed is_tensor",
    "builtins.int | None": "_cuda_end_capture",
    "builtins.float": "_cuda_elapsed_time",
    "dict[builtins.str, Any]": "_cuda_properties _cuda_memory",
    "tuple[builtins.str, builtins.str] | None": "_cuda_build",
    "tuple[builtins.int, builtins.int]": "__dlpack_device__ _cuda_memory_info _storage",
    "Number": "item",
    "Generator": "manual_seed _cuda_generator",
    "_dtype": "get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype "
    "promote_types result_type get_default_dtype",
    "Any": "__array__ __dlpack__ numpy register_hook register_post_accumulate_grad_hook tolist unique "
    "unique_consecutive _attach_function storage untyped_storage nonzero atleast_1d atleast_2d atleast_3d",
    PAIR: "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices aminmax "
    "cummax cummin frexp kthvalue max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices mode sort "
    "std_mean topk var_mean",
    MANY: "broadcast_tensors chunk dsplit hsplit meshgrid split split_with_sizes tensor_split unbind vsplit _grad",
}  # fmt: skip
RETURN_OF = {name: result for result, names in RETURNS.items() for name in names.split()}
# A pair where a dimension is given, one tensor otherwise.
PAIR_WITH_DIM = {"max", "min", "median", "nanmedian"}
# With a dimension one number, all of them otherwise.
SIZES = {"size": "Size", "stride": "tuple[builtins.int, ...]"}

# ---- what is not a native function with signatures ----

PROPERTIES = {
    "H": "Tensor",
    "T": "Tensor",
    "mH": "Tensor",
    "mT": "Tensor",
    "_base": "Tensor | None",
    "_version": "builtins.int",
    "device": "_device",
    "dtype": "_dtype",
    "grad_fn": "Node | None",
    "itemsize": "builtins.int",
    "layout": "_layout",
    "names": "tuple[None, ...]",
    "nbytes": "builtins.int",
    "ndim": "builtins.int",
    "output_nr": "builtins.int",
    "real": "Tensor",
    "retains_grad": "builtins.bool",
    "shape": "Size",
}
SETTABLE = {
    "data": "Tensor",
    "grad": "Tensor | None",
    "_grad": "Tensor | None",
    "requires_grad": "builtins.bool",
}
SPECIAL = {
    "__bool__": "(self) -> builtins.bool",
    "__contains__": "(self, value: Any) -> builtins.bool",
    "__delitem__": None,
    "__divmod__": "(self, other: Any) -> Any",
    "__rdivmod__": "(self, other: Any) -> Any",
    "__float__": "(self) -> builtins.float",
    "__getitem__": "(self, index: Any) -> Tensor",
    "__hash__": "(self) -> builtins.int",
    "__index__": "(self) -> builtins.int",
    "__init__": "(self, *args: Any, **kwargs: Any) -> None",
    "__int__": "(self) -> builtins.int",
    "__iter__": "(self) -> Iterator[Tensor]",
    "__len__": "(self) -> builtins.int",
    "__repr__": "(self) -> builtins.str",
    "__setitem__": "(self, index: Any, value: Any) -> None",
    "__abs__": "(self) -> Tensor",
    "__invert__": "(self) -> Tensor",
    "__neg__": "(self) -> Tensor",
    "__pos__": "(self) -> Tensor",
}
PYTHON_METHODS = {
    "__array_priority__": None,
    "__copy__": "(self) -> Tensor",
    "__torch_function__": "(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any",
    "__deepcopy__": "(self, memo: dict[builtins.int, Any]) -> Tensor",
    "__format__": "(self, spec: builtins.str) -> builtins.str",
    "__reduce_ex__": "(self, protocol: Any) -> Any",
    "__reversed__": "(self) -> Tensor",
    "_make_wrapper_subclass": "(*args: Any, **kwargs: Any) -> Any",
    "_make_subclass": "(*args: Any, **kwargs: Any) -> Any",
    "apply_": "(self, callable: Callable[[Any], Any]) -> Tensor",
    "polygamma": "(self, n: builtins.int) -> Tensor",
    "polygamma_": "(self, n: builtins.int) -> Tensor",
    "storage": "(self) -> Any",
    "type": "(self, dtype: Any = None, non_blocking: builtins.bool = False, **kwargs: Any) -> Any",
    "untyped_storage": "(self) -> Any",
    "where": "(self, condition: Tensor, other: Tensor | Number) -> Tensor",
}
FUNCTIONS = {
    "_take_attribute_slot": "(cls: builtins.type) -> None",
    "empty_cache": "() -> None",
    "frombuffer": "(buffer: Any, *, dtype: _dtype, count: builtins.int = -1, offset: builtins.int = 0, "
    "requires_grad: builtins.bool = False) -> Tensor",
    "get_default_device": "() -> _device",
    "get_default_dtype": "() -> _dtype",
    "get_num_threads": "() -> builtins.int",
    "memory_stats": "() -> dict[builtins.str, Any]",
    "reset_peak_memory_stats": "() -> None",
    "set_default_device": "(d: _device_like | None) -> None",
    "set_default_dtype": "(d: _dtype) -> None",
    "set_num_threads": "(n: builtins.int) -> None",
}


# ---- signatures ----


def split_arguments(signature: str) -> list[str]:
    """ "(Tensor a, int[] b=(1, 1))" at its commas outside of brackets."""
    parts, depth, start = [], 0, 1
    text = signature[: signature.rindex(")")]
    for i, c in enumerate(text[1:], 1):
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return [p for p in parts if p]


def default_text(text: str) -> str:
    return text if re.fullmatch(r"None|True|False|-?\d+(\.\d+)?(e-?\d+)?|'[^']*'", text) else "..."


def parameters(signature: str, method: bool) -> list[list[str]]:
    """The Python parameters of a signature: two lists where the last positional one also takes loose arguments."""
    forms: list[list[str]] = [[]]
    optional = False
    for position, part in enumerate(split_arguments(signature)):
        if part == "*":
            if not any(p.startswith("*") for p in forms[0]):
                forms[0].append("*")
            for form in forms[1:]:
                if not any(p.startswith("*") for p in form):
                    form.append("*")
            continue
        if method and position == 0:
            forms[0].append("self")
            continue
        kind, _, rest = part.partition(" ")
        name, has_default, value = rest.partition("=")
        name = name + "_" if keyword.iskeyword(name) else name
        plain = kind.rstrip("?*")
        annotation = TYPES[plain]
        if "?" in kind or value == "None":
            annotation = annotation if annotation == "Any" else annotation + " | None"
        required_after_optional = optional and not has_default and "*" not in forms[0]
        optional = optional or bool(has_default)
        text = f"{name}: {annotation}"
        if has_default or required_after_optional:
            text += f" = {default_text(value)}"
        if kind.endswith("*"):
            forms = [[*forms[0], text], [*forms[0], f"*{name}: {ELEMENT[plain]}"]]
            continue
        for form in forms:
            form.append(text)
    return forms


def result(name: str, signature: str) -> str:
    arguments = {p.partition(" ")[2].partition("=")[0]: p for p in split_arguments(signature)}
    if name in PAIR_WITH_DIM:
        return PAIR if "dim" in arguments else "Tensor"
    if name == "where":
        return MANY if list(arguments) == ["condition"] else "Tensor"
    return RETURN_OF.get(name, "Tensor")


def forms_of(name: str, signatures: list[str], method: bool) -> list[str]:
    """The overloads: "(self, dim: builtins.int) -> Tensor"."""
    if method and name in SIZES:
        return [
            f"(self, dim: None = None) -> {SIZES[name]}",
            "(self, dim: builtins.int) -> builtins.int",
        ]
    found: list[str] = []
    for signature in signatures:
        for form in parameters(signature, method):
            text = f"({', '.join(form)}) -> {result(name, signature)}"
            if text not in found:
                found.append(text)
    return found


NAMES = "Tensor Any Number Sequence Callable None Size Generator".split()


def annotation_text(annotation: Any) -> str:
    """An annotation of a Python method with the names that the stub has; Any where it has not."""
    if annotation is inspect.Parameter.empty:
        return "Any"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = text.replace("gradstep._C.", "").replace("gradstep.", "")
    text = re.sub(r"(?:typing|collections\.abc)\.", "", text)
    text = re.sub(r"\b(int|float|bool|str|tuple|list|dict)\b", r"builtins.\1", text)
    text = re.sub(r"\b(dtype|device|layout|memory_format)\b", r"_\1", text)
    words = set(re.findall(r"[A-Za-z_][\w.]*", text))
    known = {w for w in words if w in NAMES or w.startswith("builtins.") or w.startswith("_")}
    return text if words == known else "Any"


def python_form(value: Any, in_place: bool) -> str:
    """The overload of a method that is written in Python; the in-place form of one with out= has none."""
    signature = inspect.signature(value)
    parts: list[str] = []
    for i, p in enumerate(signature.parameters.values()):
        if p.kind is p.KEYWORD_ONLY and not any(x.startswith("*") for x in parts):
            parts.append("*")
        if p.name == "out" and in_place:
            parts = parts[:-1] if parts[-1] == "*" else parts
            continue
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        if i == 0:
            parts.append("self")
            continue
        kind = annotation_text(p.annotation)
        default = "" if p.default is p.empty else f" = {default_text(repr(p.default))}"
        parts.append(f"{stars}{p.name}: {kind}{default}")
    return f"({', '.join(parts)}) -> {annotation_text(signature.return_annotation)}"


def behind(name: str, value: Any) -> Any:
    """The function that a method of Tensor calls, where it is one of gradstep._ops."""
    if name in _ops.METHODS:
        return inspect.unwrap(_ops.find(name))
    if name.endswith("_") and name[:-1] in _ops.IN_PLACE:
        return inspect.unwrap(_ops.find(name[:-1]) or getattr(_C, name[:-1]))
    return value


def summary(value: Any) -> str:
    """The docstring without the signatures that it opens with, nor what its family adds (gradstep/_texts.py)."""
    text = re.split(r"\n\n(?=(?:Shape|Dtype|Raises|Source): )", value.__doc__ or "")[0]
    paragraphs = [p.strip() for p in text.split("\n\n")]
    name = re.escape(getattr(value, "__name__", ""))
    texts = [p for p in paragraphs if p and not re.match(rf"{name}\(.*\)|\w+\(.*\) -> ", p)]
    return "\n\n".join(dict.fromkeys(texts)).replace("\\", "\\\\").replace('"""', "'''")


def function(name: str, forms: list[str], doc: str, indent: str) -> str:
    lines = []
    for i, form in enumerate(forms):
        if len(forms) > 1:
            lines.append("@overload")
        body = " ..." if i or not doc else ""
        lines.append(f"def {name}{form}:{body}")
        if not body:
            text = doc.split("\n")
            lines += ["    " + line if line else "" for line in [f'"""{text[0]}', *text[1:]]]
            lines[-1] += '"""' if len(text) == 1 else ""
            if len(text) > 1:
                lines.append('    """')
    return "".join(f"{indent}{line}\n" if line else "\n" for line in lines)


# ---- the module ----


def tensor_class() -> str:
    out = '\nclass Tensor:\n    """A multi-dimensional array whose history autograd may follow."""\n\n'
    out += "    __array_priority__: builtins.int\n"
    out += "".join(f"    {name}: {kind}\n" for name, kind in SETTABLE.items())
    for name, value in sorted(vars(_C.Tensor).items()):
        if name in SETTABLE or name in (
            "__dict__",
            "__doc__",
            "__module__",
            "__new__",
            "__weakref__",
        ):
            continue
        if type(value).__module__ == "gradstep._missing":
            continue  # a placeholder of PyTorch's: type checkers should find its use
        if name in PROPERTIES or isinstance(value, property) or inspect.isgetsetdescriptor(value):
            kind = PROPERTIES.get(name, "builtins.bool" if name.startswith("is_") else "Any")
            out += f"    @property\n    def {name}(self) -> {kind}: ...\n"
        elif name in PYTHON_METHODS or name in SPECIAL:
            form = PYTHON_METHODS.get(name, SPECIAL.get(name))
            if form:
                kind = {"_make_subclass": "static", "_make_wrapper_subclass": "static"}.get(name)
                kind = "class" if name == "__torch_function__" else kind
                out += f"    @{kind}method\n" if kind else ""
                out += function(name, [form], "", "    ")
        elif hasattr(value, "__signatures__"):
            out += function(
                name, forms_of(name, value.__signatures__, True), summary(value), "    "
            )
        elif name.startswith("__"):
            out += function(name, ["(self, other: Any) -> Tensor"], "", "    ")
        else:
            method = behind(name, value)
            native = getattr(method, "__signatures__", None)
            forms = (
                forms_of(name, native, True)
                if native
                else [python_form(method, name.endswith("_"))]
            )
            out += function(name, forms, "", "    ")
    return out


def module_members() -> str:
    functions, constants = "\n", ""
    for name in sorted(vars(_C)):
        value = getattr(_C, name)
        if getattr(value, "__module__", "") == "gradstep._native_names":
            constants += f"{name}: Any\n"
            continue
        if isinstance(value, type) or (name.startswith("__") and name.endswith("__")):
            continue
        if hasattr(value, "__signatures__"):
            functions += function(
                name, forms_of(name, value.__signatures__, False), summary(value), ""
            )
        elif inspect.ismodule(value):
            constants += f"{name}: ModuleType\n"
        elif callable(value):
            form = FUNCTIONS.get(name, "(*args: Any, **kwargs: Any) -> Any")
            functions += function(name, [form], summary(value), "")
        else:
            constants += f"{name}: {PLAIN[type(value)]}\n"
    return functions + "\n" + constants


PLAIN = {
    _C.dtype: "_dtype",
    _C.layout: "_layout",
    _C.memory_format: "_memory_format",
    _C.Generator: "Generator",
}


def render() -> str:
    """The text of the stub."""
    assert gradstep.Tensor is _C.Tensor  # the package adds methods to it: they belong to the stub
    return HEADER + tensor_class() + module_members()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--write", action="store_true", help=f"write {STUB.name} instead of printing it"
    )
    if parser.parse_args().write:
        STUB.write_text(render())
    else:
        print(render(), end="")


if __name__ == "__main__":
    main()
