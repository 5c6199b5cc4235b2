# SPDX-License-Identifier: Apache-2.0
"""Every test runs on the CPU and on a GPU: `device` is gradstep's default device for as long as a test runs, and
PyTorch, the reference, always computes on the CPU. What is marked `cpu_only` has nothing to do with a device and
runs once. The GPU's half has the marker `cuda` and [cuda] in its names; without a GPU it is skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gradstep

HIDDEN = getattr(pytest, "HIDDEN_PARAM", "cpu")  # the CPU's tests keep their plain names
CPU = pytest.param("cpu", id=HIDDEN)
CUDA = pytest.param("cuda", id="cuda", marks=pytest.mark.cuda)


@pytest.hookimpl(trylast=True)  # the device comes last in a test's name
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = {mark.name for mark in metafunc.definition.iter_markers()}
    # A test with the marker `cuda` of its own is about the GPU only.
    devices = [CPU] if "cpu_only" in marked else [CUDA] if "cuda" in marked else [CPU, CUDA]
    metafunc.parametrize("device", devices, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("cuda")]
    if on_gpu and not gradstep.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no GPU"))


@pytest.fixture(autouse=True)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the default device: "cpu" or "cuda"."""
    if request.param == "cpu":
        yield "cpu"
        return
    gradstep.set_default_device(request.param)
    yield request.param
    gradstep.set_default_device("cpu")
    gradstep.cuda.synchronize()  # what a kernel reported belongs to the test that launched it
    if gradstep.cuda.memory_reserved() > 4 << 20:
        gradstep.cuda.empty_cache()  # the emulated GPU's launches cost the more, the more memory it has


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = gradstep.get_num_threads()
    yield
    gradstep.set_num_threads(before)
