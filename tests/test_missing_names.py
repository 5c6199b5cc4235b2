# SPDX-License-Identifier: Apache-2.0
"""Names of PyTorch that gradstep does not have, and names that it has under PyTorch's paths."""

import importlib
import pathlib
import pickle
import subprocess
import sys
from typing import List, Optional, Union  # noqa: UP035

import pytest

import gradstep
from gradstep._missing import Missing
from gradstep._names import NAMES

pytestmark = pytest.mark.cpu_only

ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_the_list_of_names_is_up_to_date():
    run = subprocess.run([sys.executable, ROOT / "tools" / "make_names.py"], capture_output=True)
    assert run.returncode == 0, "run tools/make_names.py --write"


def test_a_missing_name_is_importable_and_raises_when_it_is_used():
    from gradstep.fx import Interpreter, symbolic_trace

    assert Interpreter.__stub__ is True and gradstep.package.__stub__ is True
    with pytest.raises(NotImplementedError, match=r"torch\.fx\.symbolic_trace is not implemented"):
        symbolic_trace(None)
    with pytest.raises(NotImplementedError, match=r"torch\.fx\.Interpreter"):

        class Mine(Interpreter):
            pass

    with pytest.raises(NotImplementedError, match=r"torch\.fx\.Interpreter"):
        isinstance(1, Interpreter)
    with pytest.raises(NotImplementedError, match=r"torch\.fx\.Interpreter"):
        issubclass(int, Interpreter)
    with pytest.raises(NotImplementedError, match=r"torch\.onnx\.export "):
        gradstep.onnx.export(None, None, "x")
    with pytest.raises(NotImplementedError, match=r"torch\.onnx\.TrainingMode\.EVAL"):
        gradstep.onnx.TrainingMode.EVAL()


def test_a_missing_method_of_a_tensor():
    x = gradstep.zeros(2)
    with pytest.raises(NotImplementedError, match=r"torch\.Tensor\.sspaddmm is not implemented"):
        x.sspaddmm()
    assert not hasattr(x, "sspaddmm") and getattr(x, "sspaddmm", None) is None
    with pytest.raises(AttributeError):
        x.no_such_method  # noqa: B018


def test_feature_tests_see_what_is_there():
    for module, name in (
        (gradstep, "package"),
        (gradstep, "sparse_bsr"),
        (gradstep.nn, "NLLLoss2d"),
    ):
        gradstep.__dict__.pop("package", None)
        sys.modules.pop("gradstep.package", None)
        assert not hasattr(module, name) and getattr(module, name, 7) == 7
        with pytest.raises(AttributeError, match="PyTorch has it"):
            getattr(module, name)


def test_a_name_that_pytorch_does_not_have_is_an_attribute_error():
    for get in (
        lambda: gradstep.no_such_function,
        lambda: gradstep.nn.NoSuchLayer,
        lambda: gradstep.nn.functional.no_such_function,
        lambda: gradstep.fx.NoSuchClass,
    ):
        with pytest.raises(AttributeError):
            get()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("gradstep.no_such_module")
    with pytest.raises(ImportError):
        from gradstep.nn import NoSuchLayer  # noqa: F401


def test_placeholders_can_be_named_compared_annotated_with_and_pickled():
    from gradstep.fx import Graph

    assert Optional[Graph] and List[Graph] and Union[Graph, int] and Graph | None and int | Graph  # noqa: UP006,UP007,UP045
    assert Graph == gradstep.fx.Graph and Graph != gradstep.fx.Node
    assert gradstep.zeros(1).dtype != gradstep.complex32
    assert gradstep.float32 not in (gradstep.complex32, gradstep.qint8)
    assert pickle.loads(pickle.dumps(Graph)) == Graph
    assert repr(Graph) == "<torch.fx.Graph, not implemented in gradstep>"


def test_nothing_that_is_there_is_hidden():
    """Every name of the list is real, a placeholder or a module."""
    for module in ("", "nn", "nn.functional", "optim", "cuda", "utils.data", "linalg"):
        there = importlib.import_module("gradstep" + (module and "." + module))
        for name in NAMES[module].split():
            value = eval(f"there.{name}", {"there": there})
            assert hasattr(there, name) != (type(value) is Missing), name


def test_legacy_paths():
    from gradstep import nn
    from gradstep.nn.common_types import _size_2_t  # noqa: F401
    from gradstep.nn.modules.activation import MultiheadAttention
    from gradstep.nn.modules.batchnorm import BatchNorm2d, _BatchNorm
    from gradstep.nn.modules.channelshuffle import ChannelShuffle
    from gradstep.nn.modules.fold import Unfold
    from gradstep.nn.modules.instancenorm import InstanceNorm2d, _InstanceNorm
    from gradstep.nn.modules.pixelshuffle import PixelShuffle
    from gradstep.nn.modules.utils import _pair, _triple
    from gradstep.types import Device, Number  # noqa: F401

    assert BatchNorm2d is nn.BatchNorm2d and issubclass(BatchNorm2d, _BatchNorm)
    assert InstanceNorm2d is nn.InstanceNorm2d and issubclass(InstanceNorm2d, _InstanceNorm)
    assert MultiheadAttention is nn.MultiheadAttention and PixelShuffle is nn.PixelShuffle
    assert ChannelShuffle is nn.ChannelShuffle and Unfold is nn.Unfold
    assert _pair(3) == (3, 3) and _triple([1, 2, 3]) == (1, 2, 3)


def test_limits_are_attributes_of_the_classes():
    torch = pytest.importorskip("torch")
    for name in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
        assert hasattr(gradstep.finfo, name) and hasattr(torch.finfo, name)
        for dtype in ("float16", "bfloat16", "float32", "float64"):
            ours, theirs = (getattr(t.finfo(getattr(t, dtype)), name) for t in (gradstep, torch))
            assert ours == theirs, (name, dtype)
    for name in ("bits", "max", "min", "dtype"):
        for dtype in ("int8", "uint8", "int16", "int32", "int64"):
            ours, theirs = (getattr(t.iinfo(getattr(t, dtype)), name) for t in (gradstep, torch))
            assert hasattr(gradstep.iinfo, name) and ours == theirs, (name, dtype)


def test_importing_gradstep_does_not_import_what_it_does_not_need():
    late = (
        "distributed jit compiler multiprocessing hub func futures accelerator profiler _names _texts overrides "
        "nn.parallel nn.utils.parametrize utils.tensorboard _dynamo"
    ).split()
    code = f"import sys, gradstep; print([n for n in {late!r} if 'gradstep.' + n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stdout + out.stderr
