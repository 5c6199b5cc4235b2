# SPDX-License-Identifier: Apache-2.0
"""One binary runs on every x86-64: no inline function of the standard library may come from an AVX object.

Files that are compiled once for each instruction set keep all of gradstep in a namespace of that set. What is
left are weak copies of std:: templates; the linker keeps the first of several, so the objects of the baseline
come first. This reads the archive of a build tree: GRADSTEP_BUILD_DIR, or the newest under build/.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEVELS = ("v2", "v3", "v4")


def archive():
    given = os.environ.get("GRADSTEP_BUILD_DIR")
    folders = (
        [pathlib.Path(given)]
        if given
        else [p.parent for p in ROOT.glob("build/*/libgradstep_core.a")]
    )
    found = [
        f / "libgradstep_core.a"
        for f in folders
        if (f / "CMakeFiles/gradstep_core_v4.dir").is_dir()
    ]
    found = [p for p in found if p.exists()]
    return max(found, key=lambda p: p.stat().st_mtime, default=None)


def objects(folder):
    return sorted(str(p) for p in folder.rglob("*.o"))


def symbols(paths):
    """(kind, demangled name) of what the objects define."""
    lines = subprocess.run(
        ["nm", "--defined-only", "-C", *paths], check=True, capture_output=True, text=True
    ).stdout
    return [(m[1], m[2]) for m in re.finditer(r"^[0-9a-f]+ ([A-Za-z]) (.*)$", lines, re.M)]


@pytest.fixture(scope="module")
def build():
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    found = archive()
    if found is None:
        pytest.skip(
            "no build tree with the objects of each instruction set; set GRADSTEP_BUILD_DIR"
        )
    return found.parent / "CMakeFiles"


def weak(build, target):
    return {n for kind, n in symbols(objects(build / f"{target}.dir")) if kind in "WVu"}


def test_gradsteps_own_functions_are_named_after_the_instruction_set(build):
    """A weak gradstep:: symbol outside the set's namespace could be the AVX copy of a function all files share."""
    base = weak(build, "gradstep_core") | weak(build, "gradstep_core_v2")
    for level in ("v3", "v4"):
        own = {n for n in weak(build, f"gradstep_core_{level}") if "gradstep::" in n}
        foreign = {n for n in own if f"gradstep::{level}::" not in n and n not in base}
        assert not foreign, f"{level}: {sorted(foreign)[:20]}"


def test_shared_weak_functions_have_a_baseline_copy(build):
    """Of several copies the linker keeps the first: there must be one for every machine, and it must lead."""
    base = weak(build, "gradstep_core") | weak(build, "gradstep_core_v2")
    for level in ("v3", "v4"):
        only = {
            n for n in weak(build, f"gradstep_core_{level}") if f"gradstep::{level}::" not in n
        } - base
        assert not only, f"only compiled for {level}: {sorted(only)[:20]}"


def test_baseline_objects_come_first_in_the_archive(build):
    members = subprocess.run(
        ["ar", "t", str(build.parent / "libgradstep_core.a")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    counts = {level: len(objects(build / f"gradstep_core_{level}.dir")) for level in LEVELS}
    common = len(objects(build / "gradstep_core.dir"))
    names = [pathlib.Path(p).name for p in objects(build / "gradstep_core_v2.dir")]
    # Same file names for each level: their order tells which copy is which.
    first = next(i for i, m in enumerate(members) if m in names)
    assert len(members) == common + sum(counts.values())
    assert set(members[first : first + counts["v2"]]) == set(names)
    assert set(members[:first]) == {
        pathlib.Path(p).name for p in objects(build / "gradstep_core.dir")
    }
