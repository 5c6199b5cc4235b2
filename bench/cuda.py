# SPDX-License-Identifier: Apache-2.0
"""The targets on a GPU, line by line, beside PyTorch on the same GPU in one run.

    python bench/cuda.py [--only gemm] [--rounds 7] [--markdown | --json] [--out FILE]
    python bench/cuda.py --tiny          # small sizes, to see that it runs: on an emulated GPU, too
    python bench/cuda.py --tiny --torch-on-cpu    # PyTorch's side on its CPU where it has no GPU

Both sides take turns. A round is some calls of one side between two synchronisations, so the time of a call is that
of the GPU where it is the slower part, and that of the host where it is not; "no wait" lines count the host's time
alone. The rate is the traffic that nothing can avoid over the time, as a part of the rate of a kernel that reads two
arrays and writes one, the faster library's, measured in the same run. With --out the file is written anew after
every line, so what was measured survives a limit of time.

The lines run in a process of their own. Where a line breaks it (an error of CUDA stays with its process) or hangs, the
next one starts with the line after, so one line costs no other.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import optim as optimizers
from common import LIBRARIES, Times, table, us
from workloads import WORKLOADS, Workload, gpt, language

Call = Callable[[], Any]


@dataclass
class Line:
    """A target: `make(lib)` returns the function to time."""

    group: str
    name: str
    make: Callable[[Any], Call]
    least_ratio: float | None = None  # PyTorch's time over gradstep's
    n_bytes: float = 0.0  # traffic that nothing can avoid
    least_rate: float | None = None  # of the rate of 2 reads and 1 write
    most_us: float | None = None
    wait: bool = True  # False: the host's time alone
    options: dict[str, bool] | None = None  # the switches below


@dataclass
class Sizes:
    elements: tuple[int, int] = (100_000, 1_000)
    gemm: tuple[int, ...] = (4096, 8192)
    linear: tuple[int, int, int] = (16384, 1024, 4096)
    images: int = 64
    channels: int = 256
    gpt: tuple[int, int, int, int, int] = (
        6,
        384,
        6,
        256,
        64,
    )  # layers, n_embd, heads, block, batch
    shapes: tuple[str, ...] = ("161 tiny", "ResNet-50", "GPT-2")
    batch: int = 64


TINY = Sizes((8, 40), (16,), (8, 16, 8), 1, 4, (1, 16, 2, 8, 2), ("tiny",), 4)


def gpt2_shapes() -> optimizers.Shapes:
    """The 148 parameters of GPT-2 (Radford et al., 2019), 124 million floats."""
    shapes: optimizers.Shapes = [(50257, 768), (1024, 768)]
    for _ in range(12):
        shapes += [(768,), (768,), (768, 2304), (2304,), (768, 768), (768,), (768,), (768,)]
        shapes += [(768, 3072), (3072,), (3072, 768), (768,)]
    return [*shapes, (768,), (768,)]


# ---- the lines ----


def optimizer_lines(sizes: Sizes) -> Iterator[Line]:
    all_shapes = {
        "161 tiny": optimizers.tiny_shapes(),
        "ResNet-50": optimizers.resnet50_shapes(),
        "GPT-2": gpt2_shapes(),
        "tiny": [(3,), (2, 2)],
    }
    # Parameter, gradient and state are read, all but the gradient are written.
    algorithms: list[tuple[str, dict[str, float], int]] = [
        ("SGD", {"momentum": 0.9, "weight_decay": 1e-4}, 5),
        ("AdamW", {"weight_decay": 0.1}, 7),
    ]
    for which in sizes.shapes:
        shapes = all_shapes[which]
        n = sum(math.prod(s) for s in shapes)
        for algorithm, options, passes in algorithms:
            make = optimizers.step_of(shapes, algorithm, True, **options)
            if "tiny" in which:
                yield Line("optimizer", f"{algorithm} {which}", make, least_ratio=3.0)
            else:
                yield Line(
                    "optimizer", f"{algorithm} {which}", make, 1.0, passes * 4.0 * n, least_rate=0.9
                )


def differentiated(
    shape: tuple[int, ...], call: Callable[[Any, Any], Any]
) -> tuple[Callable[[Any], Call], Callable[[Any], Call]]:
    """Forward alone, and forward with backward from a ready-made gradient."""

    def forward(lib: Any) -> Call:
        x = lib.rand(*shape)
        return lambda: call(lib, x)

    def both(lib: Any) -> Call:
        x = lib.rand(*shape).requires_grad_()
        grad = lib.ones_like(call(lib, x).detach())

        def run() -> None:
            x.grad = None
            call(lib, x).backward(grad)

        return run

    return forward, both


def element_lines(sizes: Sizes) -> Iterator[Line]:
    rows, width = sizes.elements
    n = 4.0 * rows * width

    targets: dict[str, Any] = {}

    def cross_entropy(lib: Any, x: Any) -> Any:
        if lib.__name__ not in targets:
            targets[lib.__name__] = lib.zeros(rows, dtype=lib.int64, device=x.device)
        return lib.nn.functional.cross_entropy(x, targets[lib.__name__])

    # The passes over the array: forward, and forward with backward.
    calls: list[tuple[str, str, Callable[[Any, Any], Any], float, float]] = [
        ("map", "x * 2", lambda lib, x: x * 2.0, 2, 4),
        ("map", "exp", lambda lib, x: x.exp(), 2, 5),
        ("map", "gelu", lambda lib, x: lib.nn.functional.gelu(x), 2, 5),
        ("map", "to bfloat16", lambda lib, x: x.bfloat16(), 1.5, 3),
        ("map", "x + row", lambda lib, x: x + x[0], 2, 4),
        ("reduce", "sum", lambda lib, x: x.sum(), 1, 2),
        ("reduce", "sum of rows", lambda lib, x: x.sum(1), 1, 2),
        ("reduce", "sum of columns", lambda lib, x: x.sum(0), 1, 2),
        ("reduce", "amax of rows", lambda lib, x: x.amax(1), 1, 3),
        ("row", "softmax", lambda lib, x: x.softmax(1), 2, 5),
        ("row", "log_softmax", lambda lib, x: x.log_softmax(1), 2, 5),
        ("row", "layer_norm", lambda lib, x: lib.nn.functional.layer_norm(x, (width,)), 2, 5),
        ("row", "rms_norm", lambda lib, x: lib.nn.functional.rms_norm(x, (width,)), 2, 5),
        ("row", "cross_entropy", cross_entropy, 1, 3),
    ]
    for group, name, call, forward_passes, both_passes in calls:
        forward, both = differentiated((rows, width), call)
        yield Line(group, f"{name}, fwd", forward, 1.0, forward_passes * n, 0.9)
        yield Line(group, f"{name}, fwd+bwd", both, 1.0, both_passes * n, 0.9)


PRECISIONS = {"fp32": ("float32", False), "TF32": ("float32", True), "bf16": ("bfloat16", True)}


def product_lines(sizes: Sizes) -> Iterator[Line]:
    for precision, (dtype, tf32) in PRECISIONS.items():
        switches = {"tf32": tf32}
        for n in sizes.gemm:

            def gemm(lib: Any, n: int = n, dtype: str = dtype) -> Call:
                a, b = (lib.rand(n, n).to(getattr(lib, dtype)) for _ in range(2))
                return lambda: a @ b

            yield Line("gemm", f"{n} {precision}", gemm, 0.97, options=switches)
        for kernel, stride in ((3, 1), (1, 1), (3, 2)):
            c = sizes.channels

            def inputs(
                lib: Any, c: int = c, k: int = kernel, dtype: str = dtype
            ) -> tuple[Any, Any]:
                x = lib.rand(sizes.images, c, 28, 28).to(getattr(lib, dtype))
                return x, lib.rand(c, c, k, k).to(getattr(lib, dtype))

            def forward(lib: Any, inputs: Any = inputs, k: int = kernel, s: int = stride) -> Call:
                x, w = inputs(lib)
                return lambda: lib.nn.functional.conv2d(x, w, stride=s, padding=k // 2)

            def both(lib: Any, inputs: Any = inputs, k: int = kernel, s: int = stride) -> Call:
                x, w = (t.requires_grad_() for t in inputs(lib))
                conv = lib.nn.functional.conv2d
                grad = lib.ones_like(conv(x, w, stride=s, padding=k // 2).detach())

                def run() -> None:
                    x.grad = w.grad = None
                    conv(x, w, stride=s, padding=k // 2).backward(grad)

                return run

            name = f"{kernel}x{kernel} stride {stride} {c} channels {precision}"
            yield Line("conv", f"{name}, fwd", forward, 0.97, options=switches)
            yield Line("conv", f"{name}, fwd+bwd", both, 0.97, options=switches)

        def layers(lib: Any, kind: str, dtype: str = dtype) -> Call:
            rows, n_in, n_out = sizes.linear
            nn = lib.nn
            modules = [nn.Linear(n_in, n_out)]
            if "gelu" in kind:
                modules.append(nn.GELU("none" if "exact" in kind else "tanh"))
            if kind.endswith("+linear"):
                modules.append(nn.Linear(n_out, n_in))
            net = nn.Sequential(*modules).to(getattr(lib, dtype))
            x = lib.rand(rows, n_in).to(getattr(lib, dtype)).requires_grad_()
            grad = lib.ones_like(net(x).detach())

            def run() -> None:
                x.grad = None
                net.zero_grad()
                net(x).backward(grad)

            return run

        # Plain layers too: a bias's gradient that comes with a product must not slow it down.
        for kind, least in (
            ("linear", 0.97),
            ("linear+bias+gelu", 1.0),
            ("linear+bias+exact gelu", 1.0),
            ("linear+gelu+linear", 1.0),
            ("linear+exact gelu+linear", 1.0),
        ):
            make = partial(layers, kind=kind)
            yield Line("linear", f"{kind} {precision}, fwd+bwd", make, least, options=switches)


def step_lines(sizes: Sizes) -> Iterator[Line]:
    mlp = next(w for w in WORKLOADS if w.name.startswith("MLP 784") and w.group == "mlp")
    yield Line("step", mlp.name, lambda lib: mlp.make(lib, fused=True), 3.0)
    layers, n_embd, heads, block, batch = sizes.gpt

    def build(lib: Any) -> tuple[Any, Callable[[Any], Any]]:
        model, loss = language(lambda lib: gpt(lib, layers, n_embd, heads, block), batch, block)(
            lib
        )

        def in_bfloat16(net: Any) -> Any:
            with lib.autocast("cuda", dtype=lib.bfloat16):
                return loss(net)

        return model, in_bfloat16

    name = f"GPT {layers}x{n_embd}, block {block}, batch {batch}, bf16"
    step = Workload(name, "step", build, "AdamW", {"lr": 1e-4})
    yield Line("step", name, lambda lib: step.make(lib, fused=True), 1.15)


def captured_lines(sizes: Sizes) -> Iterator[Line]:
    """Captured steps beside PyTorch's eager ones and its torch.compile with CUDA graphs."""

    def beside(make: Callable[[Any], Call], compiled: bool) -> Callable[[Any], Call]:
        def made(lib: Any) -> Call:
            call = make(lib)
            if lib.__name__ == "gradstep":
                return lib.capture(call)
            # A minute of compiling is for a GPU, not for a test of this script.
            on = compiled and lib.cuda.is_available()
            return lib.compile(call, mode="reduce-overhead") if on else call

        return made

    for workload, least in (
        (next(w for w in WORKLOADS if "4-64-64-2" in w.name), 3.0),
        (next(w for w in WORKLOADS if w.name.startswith("MLP 784") and w.group == "mlp"), 3.0),
    ):
        make = partial(workload.make, fused=True)
        yield Line("captured", f"{workload.name}, eager", beside(make, False), least)
        yield Line("captured", f"{workload.name}, torch.compile", beside(make, True), 1.0)
    n = sizes.elements[0] * 100

    def chain(lib: Any) -> Call:
        x, y = lib.rand(n), lib.rand(n)
        return lambda: ((x * y + 1.0).tanh() - x).square()

    name = "chain of five maps"
    yield Line("captured", f"{name}, eager", beside(chain, False), 3.0, 3 * 4.0 * n, 0.8)
    yield Line("captured", f"{name}, torch.compile", beside(chain, True), 1.0, 3 * 4.0 * n, 0.8)


def overhead_lines(sizes: Sizes) -> Iterator[Line]:
    def add(lib: Any) -> Call:
        a, b = lib.ones(8), lib.ones(8)
        return lambda: a + b

    def exp(lib: Any) -> Call:
        a = lib.ones(8)
        return a.exp

    for name, make in (("a + b, 8 floats", add), ("exp, 8 floats", exp)):
        yield Line("launch", f"{name}, no wait", make, most_us=2.5, wait=False)


def all_lines(sizes: Sizes) -> list[Line]:
    parts = (
        overhead_lines,
        step_lines,
        captured_lines,
        optimizer_lines,
        element_lines,
        product_lines,
    )
    return [line for part in parts for line in part(sizes)]


# ---- measuring ----


def load(torch_on_cpu: bool) -> dict[str, Any]:
    """gradstep, and PyTorch where it has a GPU."""
    found: dict[str, Any] = {}
    for name in LIBRARIES:
        try:
            lib = importlib.import_module(name)
            importlib.import_module(f"{name}.nn.functional")
            importlib.import_module(f"{name}.optim")
            if lib.cuda.is_available() or (name == "torch" and torch_on_cpu):
                found[name] = lib
        except ImportError:
            pass
    return found


def on_gpu(lib: Any) -> Any:
    """The GPU as the default device of a `with` block; outside of it PyTorch's calls would pay for having one."""
    return lib.device("cuda") if lib.cuda.is_available() else contextlib.nullcontext()


def switch(lib: Any, options: dict[str, bool] | None) -> None:
    tf32 = (options or {}).get("tf32", False)
    lib.backends.cuda.matmul.allow_tf32 = tf32
    lib.backends.cudnn.allow_tf32 = tf32
    lib.backends.cudnn.benchmark = True


def wait_for(lib: Any) -> None:
    if lib.cuda.is_available():
        lib.cuda.synchronize()


def timed(lib: Any, call: Call, number: int, wait: bool) -> float:
    """Seconds for each of `number` calls."""
    wait_for(lib)
    began = time.perf_counter()
    for _ in range(number):
        call()
    if wait:
        wait_for(lib)
    took = time.perf_counter() - began
    wait_for(lib)
    return took / number


def bandwidth(libraries: dict[str, Any], n: int) -> dict[str, float]:
    """Bytes a second of out = a + b over n floats, and of a copy."""

    def rate(lib: Any, passes: int, call: Call) -> float:
        timed(lib, call, 3, True)
        return passes * 4.0 * n / min(timed(lib, call, 10, True) for _ in range(5))

    def rates(lib: Any) -> tuple[float, float]:
        with on_gpu(lib):
            a, b, out = lib.ones(n), lib.ones(n), lib.ones(n)
        return rate(lib, 3, lambda: lib.add(a, b, out=out)), rate(lib, 2, lambda: out.copy_(a))

    found = [rates(lib) for lib in libraries.values()]
    return {"add": max(add for add, _ in found), "copy": max(copy for _, copy in found)}


def measure(line: Line, libraries: dict[str, Any], rounds: int, seconds: float) -> dict[str, Any]:
    calls: dict[str, Call] = {}
    numbers: dict[str, int] = {}
    errors: dict[str, str] = {}
    for name, lib in libraries.items():
        try:
            switch(lib, line.options)
            with on_gpu(lib):
                calls[name] = line.make(lib)
            timed(lib, calls[name], 2, True)
            once = timed(lib, calls[name], 2, line.wait)
            # No more calls than the driver queues: behind them the host would wait after all.
            numbers[name] = max(1, min(2000 if line.wait else 400, round(seconds / once)))
        except Exception as error:  # a missing op costs one line, not the run
            calls.pop(name, None)
            errors[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    times = {name: Times() for name in calls}
    for _ in range(rounds):
        for name in list(calls):
            lib = libraries[name]
            try:
                switch(lib, line.options)
                times[name].rounds.append(timed(lib, calls[name], numbers[name], line.wait))
            except Exception as error:
                errors[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                del calls[name], times[name]
    calls.clear()
    gc.collect()
    for lib in libraries.values():
        lib.cuda.empty_cache()
    row: dict[str, Any] = {"group": line.group, "name": line.name, "errors": errors}
    for name, t in times.items():
        low, high = t.quartiles()
        row[name] = {
            "median_us": t.median * 1e6,
            "min_us": t.min * 1e6,
            "p25_us": low * 1e6,
            "p75_us": high * 1e6,
        }
    return row


def judged(row: dict[str, Any], line: Line, rate: float) -> dict[str, Any]:
    """The row with ratio, rate, targets and whether all of them were met (None: could not be told)."""
    ours, theirs = row.get("gradstep"), row.get("torch")
    checks: list[tuple[str, bool | None]] = []
    if ours and theirs:
        row["ratio"] = theirs["median_us"] / ours["median_us"]
    if ours and line.n_bytes and rate:
        row["rate"] = line.n_bytes / (ours["median_us"] * 1e-6) / rate
    if line.least_ratio is not None:
        ok = row["ratio"] >= line.least_ratio if "ratio" in row else None
        checks.append((f"ratio {line.least_ratio:g}", ok))
    if line.least_rate is not None:
        ok = row["rate"] >= line.least_rate if "rate" in row else None
        checks.append((f"rate {line.least_rate:g}", ok))
    if line.most_us is not None:
        checks.append((f"{line.most_us:g} us", ours["median_us"] <= line.most_us if ours else None))
    row["target"] = ", ".join(text for text, _ in checks)
    results = [ok for _, ok in checks]
    row["met"] = False if False in results else None if None in results else True
    return row


# ---- printing ----

HEADER = ["line", "gradstep", "torch", "torch / gradstep", "rate", "target", ""]
VERDICTS = {True: "met", False: "MISSED", None: "-"}


def cells(row: dict[str, Any]) -> list[str]:
    sides = [
        us(row[name]["median_us"]) if name in row else row["errors"].get(name, "-")[:60]
        for name in LIBRARIES
    ]
    return [
        f"{row['group']} {row['name']}",
        *sides,
        f"{row['ratio']:.2f}" if "ratio" in row else "-",
        f"{row['rate']:.2f}" if "rate" in row else "-",
        row["target"],
        VERDICTS[row["met"]],
    ]


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each group, with what was missed."""
    lines = []
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == group]
        met = [row["met"] for row in mine]
        text = (
            f"{group}: {met.count(True)} met, {met.count(False)} missed, {met.count(None)} not told"
        )
        missed = [f"{row['name']} ({shortfall(row)})" for row in mine if row["met"] is False]
        lines.append(f"{text}; missed: {', '.join(missed)}" if missed else text)
    return lines


def shortfall(row: dict[str, Any]) -> str:
    parts = [f"{key} {row[key]:.2f}" for key in ("ratio", "rate") if key in row]
    if "us" in row["target"]:
        parts.append(us(row["gradstep"]["median_us"]))
    return ", ".join(parts) + f" of {row['target']}"


# ---- processes ----


def write(path: str, report: dict[str, Any]) -> None:
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1)
    os.replace(path + ".new", path)


def read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as f:
        report: dict[str, Any] = json.load(f)
    return report


def run_lines(options: argparse.Namespace, sizes: Sizes, lines: list[Line]) -> None:
    """The lines behind those that options.out has; each is named there before it runs."""
    libraries = load(options.torch_on_cpu)
    if "gradstep" not in libraries:
        raise SystemExit("gradstep finds no GPU")
    report = read(options.out)
    if not report["bandwidth"]:
        report["gpu"] = libraries["gradstep"].cuda.get_device_name()
        report["versions"] = {name: lib.__version__ for name, lib in libraries.items()}
        report["bandwidth"] = bandwidth(libraries, math.prod(sizes.elements))
    for line in lines[len(report["rows"]) :]:
        report["running"] = f"{line.group} {line.name}"
        write(options.out, report)
        row = measure(line, libraries, options.rounds, options.seconds)
        report["rows"].append(judged(row, line, report["bandwidth"]["add"]))
        write(options.out, report)
        if any("CUDA" in text or "cuda" in text.lower() for text in row["errors"].values()):
            raise SystemExit(3)  # this process may be of no more use


def supervise(options: argparse.Namespace, lines: list[Line]) -> dict[str, Any]:
    """Runs the lines in as many processes as they break."""
    write(
        options.out,
        {"rounds": options.rounds, "tiny": options.tiny, "bandwidth": {}, "rows": []},
    )
    while len(read(options.out)["rows"]) < len(lines):
        before = len(read(options.out)["rows"])
        child = subprocess.Popen(
            [sys.executable, __file__, "--child", *sys.argv[1:], "--out", options.out]
        )
        seen, since, why = before, time.monotonic(), ""
        while child.poll() is None:
            time.sleep(0.05)
            now = len(read(options.out)["rows"])
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > options.line_limit:
                child.kill()
                why = f"nothing came for {options.line_limit:.0f} s"
        report = read(options.out)
        done = len(report["rows"])
        if done == before and not report["bandwidth"]:
            raise SystemExit("nothing could be measured")  # the child has said why
        if child.returncode not in (0, 3) and done < len(lines):
            line = lines[done]
            row = {"group": line.group, "name": line.name}
            row["errors"] = {"gradstep": why or f"the process ended with {child.returncode}"}
            report["rows"].append(judged(row, line, 0.0))
            write(options.out, report)
    report = read(options.out)
    report.pop("running", None)
    write(options.out, report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--seconds", type=float, default=0.02, help="length of one round of one side"
    )
    parser.add_argument("--only", default="", help="lines whose group or name contains this text")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument(
        "--torch-on-cpu", action="store_true", help="PyTorch on its CPU where it has no GPU"
    )
    parser.add_argument(
        "--line-limit", type=float, default=60, help="seconds after which a line counts as hanging"
    )
    parser.add_argument(
        "--out", default="", metavar="FILE", help="write the measurements as JSON, too"
    )
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")
    parser.add_argument("--markdown", action="store_true", help="print a table for RESULTS.md")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = TINY if options.tiny else Sizes()
    lines = [x for x in all_lines(sizes) if options.only in f"{x.group} {x.name}"]
    if not lines:
        raise SystemExit(f"no line contains {options.only!r}")
    if options.child:
        run_lines(options, sizes, lines)
        return
    with tempfile.TemporaryDirectory() as folder:
        options.out = options.out or os.path.join(folder, "rows.json")
        report = supervise(options, lines)
    if options.json:
        print(json.dumps(report, indent=1))
        return
    print(table(HEADER, [cells(row) for row in report["rows"]], options.markdown))
    rates = report["bandwidth"]
    print(
        f"\n{report['gpu']}; {', '.join(f'{n} {v}' for n, v in report['versions'].items())}; 2 reads and 1 write "
        f"{rates['add'] / 1e9:.0f} GB/s, copy {rates['copy'] / 1e9:.0f} GB/s; {options.rounds} rounds in turns\n"
    )
    print("\n".join(summary(report["rows"])))


if __name__ == "__main__":
    main()
