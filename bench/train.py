# SPDX-License-Identifier: Apache-2.0
"""Training steps beside PyTorch eager and JAX's jit of the whole step: the nets of workloads.py.

    python bench/train.py [--threads 2] [--only cnn] [--fused] [--plot bars.png] [--markdown | --json]
    python bench/train.py --memory             # peak memory of each step, each in its own process

All sides train on the same batch; gradstep and PyTorch run the same Python with the same seed. PyTorch's
optimizers run as they do by default; --fused asks PyTorch for its fused ones. The floor (floor.py) is what
the machine allows: FLOPs over the measured rate plus bytes over the measured bandwidth, taken in the same run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import floor
from common import Case, arguments, chosen, load, measure, show, table
from workloads import WORKLOADS, Workload


def twin(workload: Workload) -> Any:
    if not workload.jax:
        return None

    def make() -> Any:
        return importlib.import_module("jax_twins").TWINS[workload.jax]()

    return make


def cases(fused: bool) -> list[Case]:
    return [
        Case(w.name, group=w.group, make=lambda lib, w=w: w.make(lib, fused), make_jax=twin(w))
        for w in WORKLOADS
    ]


def add_floors(found: Sequence[Case], threads: int) -> floor.Machine | None:
    libraries = load(threads)
    if "torch" not in libraries:
        return None  # its counter says what a step computes
    machine = floor.measure_machine(libraries)
    for case in found:
        workload = next(w for w in WORKLOADS if w.name == case.name)
        case.floor_us = floor.seconds(floor.work_of(workload, libraries["torch"]), machine) * 1e6
    return machine


def plot(report: dict[str, Any], path: str) -> None:
    """Bars: each library's time as a multiple of the floor."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [r for r in report["rows"] if "x_floor" in r]
    figure, axes = plt.subplots(figsize=(10, 0.7 * len(rows) + 1.5))
    names = ("gradstep", "torch", "jax")
    for k, name in enumerate(names):
        at = [i + 0.25 * (k - 1) for i, r in enumerate(rows) if name in r["x_floor"]]
        values = [r["x_floor"][name] for r in rows if name in r["x_floor"]]
        for y, value, bar in zip(at, values, axes.barh(at, values, 0.25, label=name), strict=True):
            axes.text(value, y, f" {value:.2g}", va="center", fontsize=7)
            bar.set_alpha(0.9)
    axes.set_yticks(range(len(rows)), [r["name"] for r in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(left=0.8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel(f"time of a step / floor, {report['machine']['threads']} thread(s)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=130)


# ---- peak memory ----


def peak_of_child(library: str, name: str, threads: int) -> None:
    """Prints the growth of the resident set, in bytes, from before the model to the peak of 3 steps: 0 where the
    pages that the process holds already are enough."""
    lib = load(threads)[library]
    workload = next(w for w in WORKLOADS if w.name == name)
    lib.ones(8).sum()

    def resident(field: str) -> int:
        with open("/proc/self/status", encoding="ascii") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))

    WORKLOADS[0].make(lib)()  # what is loaded or compiled at first use is no memory of the step
    with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
        f.write("5")  # VmHWM starts anew
    before = resident("VmRSS")
    step = workload.make(lib)
    for _ in range(3):
        step()
    print(resident("VmHWM") - before)


def memory(found: Sequence[Case], options: argparse.Namespace) -> None:
    names = [name for name in ("gradstep", "torch") if name in load(options.threads)]
    rows: list[dict[str, Any]] = []
    for case in found:
        row: dict[str, Any] = {"name": case.name}
        for name in names:
            command = [sys.executable, __file__, "--threads", str(options.threads)]
            done = subprocess.run(
                [*command, "--peak-of", name, case.name], capture_output=True, text=True, check=True
            )
            row[name] = int(done.stdout)
        rows.append(row)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'### ' if options.markdown else ''}Peak memory of three steps, beyond the import\n")
    body = [
        [
            r["name"],
            *(f"{r[name] / 2**20:.1f} MiB" for name in names),
            f"{r['torch'] / r['gradstep']:.2f}" if r["gradstep"] and "torch" in r else "-",
        ]
        for r in rows
    ]
    print(table(["case", *names, "torch / gradstep"], body, options.markdown))


def main() -> None:
    parser = arguments(__doc__, rounds=15)
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused optimizers")
    parser.add_argument("--plot", default="", metavar="FILE", help="draw bars of x floor")
    parser.add_argument("--memory", action="store_true", help="peak memory in place of time")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_of:
        peak_of_child(*options.peak_of, options.threads)
        return
    found = chosen(cases(options.fused), options.only)
    if options.memory:
        memory(found, options)
        return
    machine = add_floors(found, options.threads)
    report = measure(found, rounds=options.rounds, threads=options.threads, seconds=0.06)
    optimizer = "PyTorch's fused optimizers" if options.fused else "PyTorch's default optimizers"
    show(report, options, f"Training step, {options.threads} thread(s), {optimizer}")
    if machine is not None and not options.json:
        print(
            f"floor: {machine.flops / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.0f} GB/s measured in this run"
        )
    if options.plot:
        plot(report, options.plot)


if __name__ == "__main__":
    main()
