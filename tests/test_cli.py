# SPDX-License-Identifier: Apache-2.0
"""`gradstep train` as a user runs it: in processes of its own, with files on disk."""

import contextlib
import fcntl
import gzip
import io
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import gradstep
from gradstep import datasets
from gradstep.cli import main

pytestmark = pytest.mark.cpu_only  # programs of their own

COMMAND = [sys.executable, "-m", "gradstep"]
SMALL = ["--model", "mlp", "--epochs", "4", "--batch-size", "64"]


def gs(*arguments, cwd=None, **env):
    """Runs the command; returns exit code, stdout, stderr."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


def fails(*arguments):
    """The one line on stderr of a run that must fail; in this process, which is faster."""
    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
    err = text.getvalue()
    assert code in (1, 2)
    assert err.count("\n") == 1 and "Traceback" not in err
    return err


def write_idx(folder, name, array, *, shape=None, zipped=True, cut=0):
    header = bytes((0, 0, 8, array.ndim))
    header += b"".join(n.to_bytes(4, "big") for n in shape or array.shape)
    data = header + array.tobytes()
    data = gzip.compress(data, 1) if zipped else data
    path = folder / (name + (".gz" if zipped else ""))
    path.write_bytes(data[: len(data) - cut])


@pytest.fixture
def idx_folder(tmp_path):
    """A small data set in MNIST's format: bright rows whose place is the label."""
    folder = tmp_path / "idx"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 400), ("t10k", 100)):
        labels = np.arange(n, dtype=np.uint8) % 10
        images = rng.integers(0, 60, (n, 12, 12), dtype=np.uint8)
        images[np.arange(n), labels + 1] += 180
        write_idx(folder, f"{part}-images-idx3-ubyte", images)
        write_idx(folder, f"{part}-labels-idx1-ubyte", labels, zipped=part == "train")
    return folder


# ---- a whole run ----


def test_the_default_run_reaches_97_percent_in_seconds_and_writes_everything(tmp_path):
    start = time.monotonic()
    code, out, err = gs("train", cwd=tmp_path)
    took = time.monotonic() - start
    assert (code, err) == (0, "")
    accuracy = float(re.search(r"test accuracy ([\d.]+)% after 15 epochs", out)[1])
    assert accuracy >= 97.0
    assert took < 30  # 10 s on an idle machine; this one may be busy
    assert len(re.findall(r"^epoch .* loss .* accuracy .* samples/s$", out, re.M)) == 15
    folder = tmp_path / "gradstep-digits-cnn"
    weights = gradstep.load_safetensors(folder / "model.safetensors")
    assert sum(w.numel() for w in weights.values()) == 13706
    picture = folder / "curve.png"
    if "pip install matplotlib" not in out:
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_one_line_says_how_to_get_the_curve(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not installed')")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    code, out, err = gs("train", *SMALL[:2], "--epochs", 1, cwd=tmp_path, PYTHONPATH=paths)
    assert (code, err) == (0, "")
    assert len(re.findall(r"^curve: .*pip install matplotlib.*$", out, re.M)) == 1


def test_mnist_files_are_read_packed_and_unpacked(idx_folder, tmp_path):
    code, out, err = gs(
        "train",
        "--data",
        "mnist",
        "--data-dir",
        idx_folder,
        "--epochs",
        2,
        "--batch-size",
        20,
        "--accumulate",
        2,
        "--nesterov",
        "--threads",
        1,
        "--seed",
        5,
        "--save",
        tmp_path / "w.safetensors",
        cwd=tmp_path,
    )
    assert (code, err) == (0, "")
    assert "400 training and 100 test images, seed 5" in out
    assert (tmp_path / "w.safetensors").exists()


# ---- resuming ----


def run_and_kill(folder, how):
    """Starts a run of 40 epochs and ends it after some of them.

    However late the signal comes, the run has not finished: after a few epochs the pipe that it prints to is full.
    """
    read, write = os.pipe()
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"." * (size - 600) + b"\n")
    process = subprocess.Popen(
        [*COMMAND, "train", *SMALL, "--epochs", "40", "--out", str(folder)],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background jobs ignore it
    )
    os.close(write)
    while not (folder / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(0.03)
    process.send_signal(how)
    while os.read(read, 65536):
        pass
    os.close(read)
    err = process.stderr.read()
    return process.wait(), err


def test_a_killed_run_resumes_to_bit_identical_weights(tmp_path):
    code, _, err = gs("train", *SMALL, "--epochs", 40, "--out", tmp_path / "whole")
    assert (code, err) == (0, "")
    folder = tmp_path / "killed"
    code, _ = run_and_kill(folder, signal.SIGKILL)
    assert code == -signal.SIGKILL
    for _ in range(2):
        code, out, err = gs("train", "--resume", folder / "checkpoint.pt")
        assert (code, err) == (0, "")
    whole = (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == whole


def test_ctrl_c_says_how_to_go_on(tmp_path):
    code, err = run_and_kill(tmp_path / "run", signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err
    assert f"--resume {tmp_path / 'run' / 'checkpoint.pt'}" in err


def test_accumulated_batches_give_the_update_of_the_big_batch(tmp_path):
    losses = []
    for options in (["--batch-size", 64], ["--batch-size", 16, "--accumulate", 4]):
        code, out, _ = gs("train", "--model", "mlp", "--epochs", 3, *options, "--out", tmp_path)
        assert code == 0
        losses.append([float(x) for x in re.findall(r"test loss ([\d.]+)", out)])
    assert losses[0] == pytest.approx(losses[1], abs=2e-4)


# ---- mistakes ----


@pytest.mark.parametrize(
    "option, value",
    [
        ("--epochs", "0"),
        ("--epochs", "x"),
        ("--batch-size", "-3"),
        ("--lr", "-0.1"),
        ("--lr", "nan"),
        ("--momentum", "1"),
        ("--weight-decay", "-1"),
        ("--accumulate", "0"),
        ("--seed", "-1"),
        ("--threads", "0"),
        ("--device", "tpu"),
        ("--device", "cuda:99"),
        ("--model", "transformer"),
        ("--data", "imagenet"),
        ("--nonsense", "1"),
    ],
)
def test_impossible_values_are_one_line(option, value):
    text = fails("train", "--epochs", 1, option, value)
    assert option in text or value in text


def test_a_failing_process_has_a_code_and_one_line(tmp_path):
    code, out, err = gs("train", "--resume", tmp_path / "none.pt")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_missing_things_are_named(tmp_path):
    assert "--data-dir" in fails("train", "--data", "mnist")
    assert "no such folder" in fails("train", "--data", "mnist", "--data-dir", tmp_path / "none")
    assert "train-images" in fails("train", "--data", "mnist", "--data-dir", tmp_path)
    assert "none.pt" in fails("train", "--resume", tmp_path / "none.pt")
    assert "none" in fails("train", *SMALL, "--out", tmp_path, "--save", tmp_path / "none" / "x")
    (tmp_path / "file").write_text("")
    assert "file" in fails("train", *SMALL, "--out", tmp_path / "file")


def test_other_files_and_other_models_are_refused_as_checkpoints(tmp_path):
    folder = tmp_path / "run"
    assert gs("train", *SMALL, "--epochs", 1, "--out", folder)[0] == 0
    checkpoint = folder / "checkpoint.pt"
    assert "--model mlp, not cnn" in fails("train", "--resume", checkpoint, "--model", "cnn")
    assert "--seed 0, not 3" in fails("train", "--resume", checkpoint, "--seed", 3)
    assert "no checkpoint" in fails("train", "--resume", folder / "model.safetensors")
    state = gradstep.load(checkpoint)
    state["settings"]["model"] = "cnn"
    gradstep.save(state, checkpoint)
    assert "does not fit this model" in fails("train", "--resume", checkpoint)
    gradstep.save({"epoch": 3}, checkpoint)
    assert "no checkpoint of gradstep train" in fails("train", "--resume", checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200])
    assert "damaged" in fails("train", "--resume", checkpoint)


def test_a_truncated_archive_is_one_line(idx_folder):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-500])
    text = fails("train", "--data", "mnist", "--data-dir", idx_folder)
    assert "train-images-idx3-ubyte.gz: truncated" in text


IMAGES = np.zeros((100, 12, 12), np.uint8)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"shape": (101, 12, 12)},
            "its header says 101x12x12, (but there are only 14400 bytes|more than)",
        ),
        ({"shape": (99, 12, 12)}, "its header says 99x12x12, but there are more bytes"),
        ({"shape": (2**32 - 1,) * 3}, "more than the file can hold"),
        ({"shape": (0, 12, 12)}, "empty"),
        ({"array": IMAGES[:, 0]}, "not an IDX file"),
        ({"array": IMAGES[:, :6]}, "expected squares"),
        ({"array": IMAGES[:90]}, "100 labels for 90 images"),
        ({"array": IMAGES[:, :8, :8]}, "differ in size"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_lying_header_is_one_line(idx_folder, change, message, zipped):
    name = "t10k-images-idx3-ubyte"
    (idx_folder / f"{name}.gz").unlink()
    options = {"array": IMAGES, "zipped": zipped, **change}
    write_idx(idx_folder, name, options.pop("array"), **options)
    with pytest.raises(datasets.DataError, match=message):
        datasets.load("mnist", str(idx_folder))


def test_any_damage_of_a_packed_file_is_a_data_error(idx_folder):
    path = idx_folder / "t10k-images-idx3-ubyte.gz"
    data = path.read_bytes()
    for i in range(0, len(data), max(1, len(data) // 60)):
        damaged = bytearray(data)
        damaged[i] ^= 0x55
        path.write_bytes(damaged)
        try:
            datasets.load("mnist", str(idx_folder))
        except datasets.DataError as error:
            assert "\n" not in str(error)


# ---- the rest ----


def test_digits_are_split_into_1438_and_359():
    data = datasets.load("digits")
    assert (len(data.train), len(data.test)) == (1438, 359)
    images, labels = data.train.tensors
    assert tuple(images.shape) == (1438, 1, 8, 8) and images.dtype == gradstep.uint8
    normal = data.normalize(images)
    assert abs(normal.mean().item()) < 1e-3 and abs(normal.std().item() - 1) < 1e-3


def test_version_info_and_help_answer():
    assert gs("--version")[1].startswith("gradstep ")
    assert "threads" in gs("info")[1]
    code, out, _ = gs("train", "--help")
    assert code == 0
    for option in (
        "--data",
        "--data-dir",
        "--model",
        "--epochs",
        "--batch-size",
        "--lr",
        "--momentum",
        "--weight-decay",
        "--nesterov",
        "--accumulate",
        "--seed",
        "--device",
        "--threads",
        "--resume",
    ):
        assert option in out
    assert gs()[0] == 0


def test_the_real_data_sets_load_when_they_are_at_hand():
    root = os.path.join(os.path.dirname(__file__), "..", "..", "shared", "data")
    if not os.path.isdir(root):
        pytest.skip("no ../shared/data here")
    for name in ("mnist", "fashion-mnist"):
        data = datasets.load(name, os.path.join(root, name))
        assert (len(data.train), len(data.test), data.size) == (60000, 10000, 28)
        sample = data.normalize(data.train.tensors[0][:5000])
        assert abs(sample.mean().item()) < 0.05
