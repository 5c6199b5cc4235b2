# SPDX-License-Identifier: Apache-2.0
"""`gradstep run`: PyTorch scripts as they are, in processes of their own, beside `python` where it can be compared."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import gradstep

pytestmark = pytest.mark.cpu_only  # programs of their own

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(gradstep.__file__)))


def started(*arguments, command=("-m", "gradstep", "run"), cwd=None, path=()):
    paths = [PACKAGE, *map(str, path), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, *command, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, **options):
    """Exit code, stdout, stderr."""
    process = started(*arguments, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def script(folder, text, name="script.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


# ---- scripts that look like real ones ----

TRAIN = """
    import argparse
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    from torch import optim
    from torch.optim.lr_scheduler import StepLR
    from torch.utils.data import DataLoader, TensorDataset

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.fc2 = nn.Linear(16, 3)

        def forward(self, x):
            return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)

    def main():
        parser = argparse.ArgumentParser()
        parser.add_argument("--epochs", type=int, default=1)
        parser.add_argument("--out")
        args = parser.parse_args()
        torch.manual_seed(0)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        x = torch.randn(64, 4)
        loader = DataLoader(TensorDataset(x, x.argmax(1) % 3), batch_size=16, shuffle=True)
        model = Net().to(device)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
        for epoch in range(args.epochs):
            for data, target in loader:
                optimizer.zero_grad()
                loss = F.nll_loss(model(data.to(device)), target.to(device))
                loss.backward()
                optimizer.step()
            scheduler.step()
            print(f"epoch {epoch} loss {loss.item():.3f}")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, args.out)
        state = torch.load(args.out)
        model.load_state_dict(state["model"])

    if __name__ == "__main__":
        main()
"""

LOADERS = """
    import sys
    import torch
    from torch.utils.data import DataLoader, Dataset, get_worker_info

    class Images(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            return {"image": torch.full((3, 40, 40), float(i)), "who": get_worker_info().id}

    def init(worker_id):
        torch.manual_seed(worker_id)

    if __name__ == "__main__":
        for context in sys.argv[1:]:
            loader = DataLoader(Images(), batch_size=2, num_workers=2, worker_init_fn=init,
                                multiprocessing_context=context)
            for batch in loader:
                print(context, batch["image"].mean().item(), batch["who"].tolist())
"""

POOL = """
    import multiprocessing as mp
    import pickle
    import queue
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layer = nn.Linear(width, 1)

        def forward(self, x):
            return self.layer(x).sum()

    def job(net, x, results):
        results.put((type(net).__name__, net(x)))

    if __name__ == "__main__":
        torch.manual_seed(0)
        net, x = Net(3), torch.ones(2, 3)
        again = pickle.loads(pickle.dumps(net))
        assert type(again) is Net and torch.equal(again(x), net(x))
        with torch.no_grad():
            for method in ("fork", "spawn"):
                context = mp.get_context(method)
                results = context.Queue()
                process = context.Process(target=job, args=(net, x, results))
                process.start()
                name, value = results.get(timeout=30)
                process.join()
                print(method, name, torch.equal(value, net(x)), process.exitcode)
"""


def test_a_training_script_prints_what_it_prints_under_pytorch(tmp_path, capsys, monkeypatch):
    torch = pytest.importorskip("torch")
    path = script(tmp_path, TRAIN)
    code, out, err = run(path, "--epochs", 2, "--out", tmp_path / "ours.pt")
    assert (code, err) == (0, "")
    monkeypatch.setattr(sys, "argv", ["x", "--epochs", "2", "--out", str(tmp_path / "theirs.pt")])
    exec(path.read_text(), {"__name__": "__main__"})  # in this process: PyTorch is imported already
    assert out == capsys.readouterr().out
    ours, theirs = (torch.load(tmp_path / f"{who}.pt") for who in ("ours", "theirs"))
    assert list(ours["model"]) == list(theirs["model"])
    for name, value in theirs["model"].items():
        assert torch.allclose(ours["model"][name], value, atol=1e-5)
    assert ours["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.0049)


def test_workers_of_a_loader_have_the_hook_too(tmp_path):
    code, out, err = run(script(tmp_path, LOADERS), "fork", "spawn")
    assert (code, err) == (0, "")
    want = [
        f"{context} {2 * i + 0.5} [{i % 2}, {i % 2}]"
        for context in ("fork", "spawn")
        for i in range(4)
    ]
    assert out.splitlines() == want


def test_processes_and_pickles_of_the_scripts_own_classes_work(tmp_path):
    code, out, err = run(script(tmp_path, POOL))
    assert (code, err) == (0, "")
    assert out == "fork Net True 0\nspawn Net True 0\n"


def test_other_programs_that_the_script_starts_have_no_hook(tmp_path):
    path = script(
        tmp_path,
        """
        import subprocess, sys, torch
        code = "import sys, importlib.util as u; print([type(f).__module__ for f in sys.meta_path if 'gradstep' in repr(f)])"
        print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
        """,
    )
    assert run(path)[1].strip() == "[]"


# ---- what Python does around a script ----

ABOUT = """
    import sys
    print(__name__, __package__, __spec__ and __spec__.name, __file__, sys.argv, sys.path[0])
    print(sys.modules["__main__"].__dict__ is globals())
    if "exit" in sys.argv: sys.exit(5)
    if "text" in sys.argv: sys.exit("gone")
    if "raise" in sys.argv:
        def inner(): raise ValueError("no\\ngood")
        try: inner()
        except ValueError as error: raise KeyError("x") from error
"""


@pytest.mark.parametrize(
    "form, how",
    [
        ("script", "plain"),
        ("script", "exit"),
        ("script", "text"),
        ("script", "raise"),
        ("module", "raise"),
        ("package", "exit"),
        ("folder", "plain"),
    ],
)
def test_main_argv_path_exit_code_and_traceback_are_pythons(tmp_path, form, how):
    script(tmp_path, ABOUT)
    (tmp_path / "pack").mkdir()
    script(tmp_path / "pack", "", "__init__.py")
    script(tmp_path / "pack", ABOUT, "__main__.py")
    script(tmp_path / "pack", ABOUT, "part.py")
    what = {
        "script": ["script.py"],
        "module": ["-m", "pack.part"],
        "package": ["-m", "pack"],
        "folder": ["pack"],
    }[form]
    given = [*what, how, "--report", "-m", "x"]
    ours, theirs = run(*given, cwd=tmp_path), run(*given, cwd=tmp_path, command=())
    if form != "script":  # runpy's own frames, which we have not
        theirs = *theirs[:2], re.sub(r'  File "<frozen runpy>".*\n(?:    .*\n)*', "", theirs[2])
    assert ours == theirs


@pytest.mark.parametrize(
    "arguments",
    [["none.py"], ["-m", "nothing.there"], ["-m", "json"], [], ["--what", "x.py"], ["-m"]],
)
def test_nothing_to_run_is_one_line_and_code_2(arguments, tmp_path):
    code, out, err = run(*arguments, cwd=tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("gradstep run: error: ")


def test_a_syntax_error_shows_the_scripts_line(tmp_path):
    path = script(tmp_path, "import torch\nx = (1,\n")
    code, _, err = run(path)
    assert code == 1 and "SyntaxError" in err and "script.py" in err and "gradstep" not in err


def test_ctrl_c_ends_script_and_workers_as_in_python(tmp_path):
    path = script(
        tmp_path,
        """
        import torch, os
        from torch.utils.data import DataLoader, Dataset
        class Slow(Dataset):
            def __len__(self): return 1000
            def __getitem__(self, i):
                import time
                time.sleep(0.05)
                return i
        if __name__ == "__main__":
            iterator = iter(DataLoader(Slow(), num_workers=2))
            print(*(w.process.pid for w in iterator._workers), flush=True)
            for x in iterator: pass
        """,
    )
    process = started(path)
    workers = [int(pid) for pid in process.stdout.readline().split()]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt") and err.count("Traceback") == 1
    deadline = time.monotonic() + 5
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- modules under PyTorch's names ----


def test_torch_is_gradstep_and_its_version_compares(tmp_path):
    path = script(
        tmp_path,
        """
        import importlib, importlib.util, sys
        import torch.nn.functional as F
        import torch, gradstep
        from torch.utils.data.dataloader import DataLoader
        assert torch is gradstep and torch.nn.functional is F is gradstep.nn.functional
        assert gradstep.__spec__.name == "gradstep" and F.__spec__.name == "gradstep.nn.functional"
        assert importlib.util.find_spec("torch") and importlib.util.find_spec("torch.nn.utils.rnn")
        assert torch.__version__ >= "2.2" and torch.__version__ < (2, 20) and torch.__version__ != "2.12"
        assert torch.__version__.startswith("2.13.0+gradstep")
        assert not any("torch/__init__" in (getattr(m, "__file__", "") or "") for m in sys.modules.values())
        for name in ("torch.nothing", "torch.nn.nothing.at_all"):
            try: importlib.import_module(name)
            except ModuleNotFoundError as error: print(error.name, "|", error)
        """,
    )
    code, out, err = run(path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "torch.nothing | No module named 'torch.nothing': gradstep has no gradstep.nothing",
        "torch.nn.nothing | No module named 'torch.nn.nothing': gradstep has no gradstep.nn.nothing",
    ]


def test_versions_compare_as_pytorchs_do():
    torch_version = pytest.importorskip("torch.torch_version")
    from gradstep.torch_version import TorchVersion

    for a in ("2.13.0", "2.13.0+cpu", "1.9"):
        for b in ("2.2", "2.13", "2.13.0", (2, 13), (1, 9, 0), "10.1"):
            ours, theirs = TorchVersion(a), torch_version.TorchVersion(a)
            assert (ours < b, ours <= b) == (theirs < b, theirs <= b) or "+" in a
            assert (ours > b, ours >= b) == (theirs > b, theirs >= b) or "+" in a
            assert ours == a and ours != b or ours == b


# ---- names of classes ----

NAMES = """
    import copy, io, pickle
    import torch
    m = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.MultiheadAttention(2, 1), torch.nn.BatchNorm1d(2), torch.nn.LSTM(2, 2))
    for x in m.modules():
        print(type(x), x.__class__.__module__)
    print(type(torch.ones(1)), type(m[0].weight), torch.Size, torch.dtype, torch.device, torch.Generator)
    print(torch.optim.AdamW, type(torch.distributions.Normal(0.0, 1.0)), torch.utils.data.DataLoader, torch.autograd.Function)
    print(type(pickle.loads(pickle.dumps(m))[1]), type(copy.deepcopy(m)[2]), type(pickle.loads(pickle.dumps(torch.ones(2)))))
    file = io.BytesIO()
    torch.save(m, file)
    open("model.pt", "wb").write(file.getvalue())
    file.seek(0)
    print(type(torch.load(file, weights_only=False)[3]))
    for use in (
        lambda: torch.distributions.Normal(torch.ones(1), -torch.ones(1)),
        lambda: torch.no_such_name,
        lambda: torch.nn.NoSuchLayer,
        lambda: torch.ones(1).no_such_name,
        lambda: setattr(m[0], "weight", 3),
    ):
        try:
            use()
        except Exception as error:
            print(type(error), error)
    torch.linalg.cholesky(torch.zeros(2, 2))
"""


def test_classes_say_that_they_are_pytorchs(tmp_path):
    """Printed, pickled and in tracebacks; a file written so loads in PyTorch."""
    path = script(tmp_path, NAMES)
    ours = run(path, cwd=tmp_path)
    torch = pytest.importorskip("torch")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert [type(m) for m in loaded] == [
        torch.nn.Linear,
        torch.nn.MultiheadAttention,
        torch.nn.BatchNorm1d,
        torch.nn.LSTM,
    ]
    theirs = run(path, command=(), cwd=tmp_path)
    assert ours[0] == theirs[0] == 1 and ours[1] == theirs[1]
    assert ours[2].splitlines()[-1] == theirs[2].splitlines()[-1]


# ---- packages that need the real torch ----


def test_a_compiled_package_is_refused_with_its_reason(tmp_path):
    (tmp_path / "torchaudio").mkdir()
    script(tmp_path / "torchaudio", "raise SystemExit('loaded')", "__init__.py")
    path = script(
        tmp_path,
        """
        import torch
        try:
            import xformers
        except ModuleNotFoundError as error:
            print(error)
        import torchaudio.transforms as T
        """,
    )
    code, out, err = run(path)
    assert code == 1
    assert "torchaudio is compiled against PyTorch's own C++ library" in err.splitlines()[-1]
    if out:  # not installed here
        assert out == "No module named 'xformers'\n"


def test_a_package_that_wants_more_than_there_is_is_named(tmp_path):
    site = tmp_path / "site-packages"
    (site / "lightning").mkdir(parents=True)
    script(site / "lightning", "import torch\nimport torch.no_such_part\n", "__init__.py")
    code, _, err = run(script(tmp_path, "import lightning\n"), path=[site])
    assert code == 1
    assert "the package lightning relies on a part of PyTorch that gradstep does not have" in err
    assert f"{site}/lightning/__init__.py:2" in err and "torch.no_such_part" in err


# ---- the report ----


def test_the_report_lists_used_and_missing_names_with_lines_of_all_processes(tmp_path):
    script(
        tmp_path,
        """\
        import multiprocessing as mp
        import torch
        import torch.nn.functional as F
        from torch.nn import Linear

        def work():
            torch.zeros(2).cumsum(0)

        if __name__ == "__main__":
            torch.backends.cudnn.benchmark = True
            y = F.relu(Linear(2, 2)(torch.ones(1, 2)))
            try:
                torch.no_such_function
            except AttributeError:
                pass
            try:
                from torch.nn import NoSuchLayer
            except ImportError as error:
                print(error)
            try:
                import torch.no_such_module
            except ImportError:
                pass
            y.no_such_method if hasattr(y, "no_such_method") else None
            for method in ("fork", "spawn"):
                process = mp.get_context(method).Process(target=work)
                process.start()
                process.join()
            raise SystemExit(3)
        """,
    )
    code, out, err = run("--report", "script.py", cwd=tmp_path)
    assert code == 3, err
    assert "cannot import name 'NoSuchLayer' from 'torch.nn'" in out
    missing, used = re.split(r"^gradstep run: names of PyTorch used: \d+$", err, flags=re.M)
    assert missing.startswith("gradstep run: names of PyTorch missing in gradstep: 4\n")
    lines = dict(line.split(None, 1) for line in missing.splitlines()[1:])
    assert lines == {
        "torch.Tensor.no_such_method": "script.py:24",
        "torch.nn.NoSuchLayer": "script.py:17",
        "torch.no_such_function": "script.py:13",
        "torch.no_such_module": "script.py:21",
    }
    lines = dict(line.split(None, 1) for line in used.strip().splitlines())
    assert lines["torch.nn.functional.relu"] == "script.py:11"
    assert lines["torch.nn.Linear"] == "script.py:4"
    assert lines["torch.zeros"] == lines["torch.Tensor.cumsum"] == "script.py:7"  # of the workers


PLACEHOLDERS = """
    import torch, torch.fx
    from torch.fx import Interpreter
    from torch import sparse_coo_tensor
    print(hasattr(torch, "vmap_of_nothing"), hasattr(torch.ones(1), "to_sparse"))
    for use in (lambda: Interpreter(), lambda: torch.fx.symbolic_trace("f"), lambda: torch.ones(2).to_sparse()):
        try:
            use()
        except NotImplementedError as error:
            print(error)
"""


def test_names_that_gradstep_lacks_can_be_imported_and_are_reported(tmp_path):
    path = script(tmp_path, PLACEHOLDERS)
    plain, told = run(path, cwd=tmp_path), run("--report", path, cwd=tmp_path)
    assert plain[0] == told[0] == 0, plain[2]
    assert plain[1] == told[1]
    assert plain[1].startswith("False False\n") and "torch.fx.Interpreter" in plain[1]
    missing = told[2].partition("names of PyTorch used")[0]
    for name in ("torch.fx.Interpreter", "torch.fx.symbolic_trace", "torch.Tensor.to_sparse"):
        assert re.search(rf"^  {re.escape(name)} +script.py:\d", missing, re.M), missing


def test_the_report_changes_nothing_for_the_script(tmp_path):
    path = script(tmp_path, TRAIN)
    plain = run(path, "--out", tmp_path / "a.pt")
    told = run("--report", path, "--out", tmp_path / "b.pt")
    assert plain[:2] == told[:2] and plain[0] == 0
    assert "torch.optim.lr_scheduler.StepLR" in told[2] and "missing in gradstep: 0" in told[2]
