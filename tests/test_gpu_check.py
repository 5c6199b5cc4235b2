# SPDX-License-Identifier: Apache-2.0
"""bench/gpu_check without a GPU: a stage that fails, hangs or lacks something hides no other, and the report says what
happened. bench/cuda.py runs all of its lines at small sizes where there is a GPU."""

import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys
import time

import pytest

import gradstep

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def check():
    loader = importlib.machinery.SourceFileLoader("gpu_check", str(ROOT / "bench" / "gpu_check"))
    spec = importlib.util.spec_from_loader("gpu_check", loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_check"] = module  # dataclasses look for it
    loader.exec_module(module)
    return module


def python(code):
    return lambda run, result: result.lines.append(run(sys.executable, "-c", code)[1])


@pytest.mark.cpu_only
def test_no_stage_hides_another(check, tmp_path):
    def missing(run, result):
        raise check.Missing("there is no tool")

    def fails(run, result):
        result.status, result.summary = (
            "failed",
            f"status {run(sys.executable, '-c', 'exit(3)')[0]}",
        )

    stages = {
        "hangs": check.Stage(python("import time; print('begun', flush=True); time.sleep(60)"), 6),
        "breaks": check.Stage(lambda run, result: 1 / 0, 60),
        "fails": check.Stage(fails, 60),
        "lacks": check.Stage(missing, 60),
        "works": check.Stage(python("print(6 * 7)"), 60),
    }
    check.run_stages(list(stages), stages, tmp_path, 100)
    report = {r["stage"]: r for r in json.loads((tmp_path / "report.json").read_text())}
    assert [r["status"] for r in report.values()] == [
        "timed out", "failed", "failed", "skipped", "passed",
    ]  # fmt: skip
    assert report["hangs"]["seconds"] < 30 and "begun" in report["hangs"]["lines"]
    assert report["fails"]["summary"] == "status 3"
    assert "ZeroDivisionError" in report["breaks"]["summary"]
    text = (tmp_path / "report.txt").read_text()
    assert text.splitlines()[-5:] == check.summary_of([check.Result(**r) for r in report.values()])
    assert "there is no tool" in text and "42" in text


@pytest.mark.cpu_only
def test_what_is_left_of_the_total_limits_a_stage(check, tmp_path):
    stages = {"works": check.Stage(python("print(1)"), 60)}
    (result,) = check.run_stages(["works"], stages, tmp_path, 3)
    assert result.status == "skipped" and result.summary == "no time was left"


@pytest.mark.cpu_only
def test_failures_of_pytest_are_named(check):
    result = check.Result("pytest")
    one = "..F\nFAILED tests/test_a.py::test_b[cuda] - no\n1 failed, 2 passed, 3 skipped in 0.1s\n"
    check.count_tests([one, "== 5 passed in 1s ==\n"], result)
    assert result.status == "failed"
    assert result.data["counts"] == {"failed": 1, "passed": 7, "skipped": 3}
    assert result.lines == ["tests/test_a.py::test_b[cuda] - no"]
    result = check.Result("pytest")
    check.count_tests(["Segmentation fault", "5 passed in 1s"], result)
    assert result.status == "failed" and "did not come to its end" in result.lines[0]
    result = check.Result("pytest")
    check.count_tests(["5 passed in 1s", "3 passed, 1 skipped in 1s"], result)
    assert result.status == "passed" and result.summary == "8 passed, 1 skipped"


@pytest.mark.cpu_only
def test_several_commands_at_once_leave_one_log(check, tmp_path):
    run = check.Run(tmp_path / "x.log", time.monotonic() + 30)
    commands = [[sys.executable, "-c", f"print({i}); exit({i})"] for i in range(3)]
    assert run.at_once(commands) == [(0, "0\n"), (1, "1\n"), (2, "2\n")]
    run.deadline = time.monotonic() + 4
    slow = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
    with pytest.raises(TimeoutError):
        run.at_once([slow, commands[1]])
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert [x for x in lines if not x.startswith("$")] == ["0", "1", "2", "begun", "1"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.log"]


@pytest.mark.cpu_only
def test_what_fails_on_the_cpu_too_is_told_apart(check, tmp_path, monkeypatch):
    assert check.twin("tests/a.py::test_b[x-cuda] - why") == "tests/a.py::test_b[x]"
    assert check.twin("tests/a.py::test_b[cuda] - why") == "tests/a.py::test_b"
    assert check.twin("tests/a.py::test_b[cuda-x] - why") == "tests/a.py::test_b[cuda-x]"
    (tmp_path / "test_x.py").write_text("def test_a(): assert 0\ndef test_b(): pass\n")
    run = check.Run(tmp_path / "x.log", time.monotonic() + 60)
    names = {c: f"test_x.py::test_{c}" for c in "ab"}
    found = {}
    for which in ("a", "ab"):
        result = check.Result("pytest", "failed")
        result.data = {"failed": [f"{names[c]}[cuda] - no" for c in which]}
        monkeypatch.setattr(check, "ROOT", tmp_path)
        check.compare_with_the_cpu(run, result, {})
        found[which] = result.status, result.lines
    assert found["ab"][0] == "failed" and found["ab"][1][0] == f"{names['b']}[cuda] - no"
    assert found["a"][0] == "passed"


@pytest.mark.cpu_only
def test_every_test_file_is_in_one_share(check):
    files = sorted((ROOT / "tests").glob("test_*.py"))
    parts = check.shares(files, 4)
    assert sorted(name for part in parts for name in part) == [str(f) for f in files]
    assert len(parts) == 4 and min(len(part) for part in parts) > 1
    assert sorted(check.shares(files[:2], 4)) == [[str(f)] for f in files[:2]]


@pytest.mark.cpu_only
@pytest.mark.skipif(gradstep.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_each_stage_says_what_is_missing(tmp_path):
    done = subprocess.run(
        [str(ROOT / "bench" / "gpu_check"), "--out", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.partition("==== summary ====\n")[2].splitlines()
    assert [line.split()[:2] for line in summary] == [
        [name, "passed" if name == "machine" else "skipped"]
        for name in ("machine", "build", "pytest", "bench", "memcheck", "racecheck")
    ]


@pytest.mark.cuda
def test_every_benchmark_line_runs(tmp_path):
    command = [sys.executable, "bench/cuda.py", "--tiny", "--rounds", "1", "--seconds", "0.001"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out.json")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(r["name"], r["errors"]) for r in rows if r["errors"] or "gradstep" not in r] == []
    assert len(rows) > 40
