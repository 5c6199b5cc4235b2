# SPDX-License-Identifier: Apache-2.0
"""One binary runs on every x86-64: no inline function that all files share may come from an AVX object.

Files that are compiled once for each instruction set keep all of gradstep in a namespace of that set. What is
left are weak copies of std:: templates, of which the linker keeps the first: that must be a baseline one. This
reads the archive of a build tree: GRADSTEP_BUILD_DIR, or the newest under build/.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.cpu_only  # reads objects

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEVELS = ("v2", "v3", "v4")
BASELINE = ("common", "v2")


def archive():
    given = os.environ.get("GRADSTEP_BUILD_DIR")
    folders = [pathlib.Path(given)] if given else list(ROOT.glob("build/*"))
    found = [
        f / "libgradstep_core.a"
        for f in folders
        if (f / "CMakeFiles/gradstep_core_v4.dir").is_dir()
    ]
    return max((p for p in found if p.exists()), key=lambda p: p.stat().st_mtime, default=None)


def level_of(text):
    """The instruction set that an object's symbols name; "common" if none."""
    found = [v for v in LEVELS if re.search(rf"^[0-9a-f]+ [A-Za-z] .*gradstep::{v}::", text, re.M)]
    return found[0] if len(found) == 1 else "common"


@pytest.fixture(scope="module")
def members():
    """(object, level, its weak functions), in the linker's order."""
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    path = archive()
    if path is None:
        pytest.skip(
            "no build tree with the objects of each instruction set; set GRADSTEP_BUILD_DIR"
        )
    command = ["nm", "--defined-only", "-C", str(path)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    out = []
    for part in text.split("\n\n"):
        name = re.match(r"\s*(\S+\.o):", part)
        if name:
            weak = set(re.findall(r"^[0-9a-f]+ [WVu] (.*)$", part, re.M))
            out.append((name[1], level_of(part), weak))
    return out


def test_every_instruction_set_has_the_same_objects(members):
    names = {v: sorted(name for name, level, _ in members if level == v) for v in LEVELS}
    assert names["v2"] and names["v2"] == names["v3"] == names["v4"]


def test_the_first_copy_of_a_shared_function_is_a_baseline_one(members):
    """What baseline objects do not define they do not call: then any copy will do."""
    needed = set().union(*(weak for _, level, weak in members if level in BASELINE))
    seen, faults = set(), []
    for name, level, weak in members:
        fresh = weak - seen
        if level not in BASELINE:
            faults += [f"{level} {name}: {f}" for f in sorted(fresh & needed)]
        seen |= fresh
    assert needed
    assert not faults, "\n".join(faults[:40])
