# SPDX-License-Identifier: Apache-2.0
"""What the helpers of tests that run on both devices share: inputs on the default device, and errors, which a GPU
finds when it is waited for. PyTorch, the reference, is always on the CPU."""

import ctypes
import os
import re

import pytest

import gradstep as gs


def wait():
    """Until the default device has done its work: raises what its kernels found."""
    if gs.get_default_device().type == "cuda":
        gs.cuda.synchronize()


def text_of(error):
    """An error's text without what a GPU adds: where it was found, and its types' names."""
    text = re.sub(r" \(found on the GPU by '\w+'\)$", "", str(error))
    return re.sub(r"\btorch\.cuda\.(?=\w+Tensor\b)", "torch.", text)


def on_the_cpu(build):
    """What `build()` makes of random numbers, those of the CPU's generator as in PyTorch, then moved."""
    with gs.device("cpu"):
        made = build()
    return made.to(gs.get_default_device())


def launches(run):
    """How many kernels run() starts on the emulated GPU; others do not count them."""
    plugin = ctypes.CDLL(os.environ.get("GRADSTEP_CUDA_PLUGIN", ""))
    if not hasattr(plugin, "shim_launches"):
        pytest.skip("only the emulated GPU counts its launches")
    plugin.shim_launches.restype = ctypes.c_int64
    gs.cuda.synchronize()
    before = plugin.shim_launches()
    run()
    gs.cuda.synchronize()
    return plugin.shim_launches() - before
