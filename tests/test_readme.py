# SPDX-License-Identifier: Apache-2.0
"""The promises of the front page: its example runs, its files and scripts exist."""

import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.cpu_only  # programs of their own

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.smoke
def test_the_examples_run_as_written(tmp_path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, re.S))  # one after the other
    assert "@torch.compile" in code
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"accuracy ([\d.]+)%", done.stdout)[1]) > 95


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_scripts_of_the_figures_exist():
    for script in re.findall(r"python (bench/\w+\.py)", README):
        assert (ROOT / script).exists(), script


def test_the_two_commands_are_there():
    assert "\npip install . && gradstep train\n" in README
    assert "\npip install '.[test]' && pytest\n" in README
