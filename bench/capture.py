# SPDX-License-Identifier: Apache-2.0
"""Captured training steps beside eager ones, PyTorch eager, torch.compile and JAX's jit of the whole step.

    python bench/capture.py [--threads 2] [--only pinn] [--no-compile] [--million] [--markdown | --json]

All sides take turns in one process and train on the same batch; x floor is the median time over what the machine
allows (floor.py), measured in the same run. torch.compile compiles the whole step, optimizer included; where it can't
(it needs a C++ compiler) its column says so. --modules: compiled modules in an ordinary loop alone. Goals: see GOALS. --million also replays the smallest step a million
times, and says whether memory grew and whether the weights are still those of eager training.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import time
import timeit
from collections.abc import Callable
from typing import Any

import floor
from common import (
    Times,
    arguments,
    calls_per_round,
    load,
    machine,
    machine_line,
    one_round,
    table,
    us,
)
from workloads import WORKLOADS, gpt, language

# Seconds: of the first call after another side a part goes to caches that hold the other side's data.
ROUND = 0.2
CHAIN = "5 elementwise ops, 10M elements"
# The captured step: at most so many times the floor, so many times faster than PyTorch eager and than JAX.
GOALS: dict[str, tuple[float, float, float]] = {
    "MLP 4-64-64-2, batch 32, Adam": (4, 25, 2.5),
    "MLP 784-256-128-10, batch 64, SGD": (1.3, 0, 0),
    "MLP 784-256-128-10, batch 512, SGD": (1.15, 0, 0),
    "MLP, 8 micro-batches of 64, SGD": (1.3, 0, 0),
    "transformer 4x128, block 64, batch 12, AdamW": (1.25, 0, 0),
    "PINN 2-50-50-50-1, batch 256, Adam": (2.5, 10, 5),
    CHAIN: (0, 15, 0),
}
SIDES = ("gradstep", "captured", "torch", "compile", "jax")
MODULE_SIDES = ("gradstep", "compiled", "torch", "compile")


# ---- what is measured ----


def chain(x: Any) -> Any:
    return ((x * 2 + 1).sigmoid() - 0.5).square()


def chain_call(lib: Any, wrap: Callable[[Any], Any]) -> Callable[[], Any]:
    x, fn = lib.ones(10_000_000), wrap(chain)

    def call() -> Any:
        with lib.no_grad():
            return fn(x)

    return call


def chain_jax() -> Callable[[], Any]:
    jax = importlib.import_module("jax")
    x = jax.numpy.ones(10_000_000)
    fn = jax.jit(lambda x: jax.numpy.square(jax.nn.sigmoid(x * 2 + 1) - 0.5))
    return lambda: fn(x).block_until_ready()


def makers(
    name: str, libraries: dict[str, Any], compiled: bool
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """For each side, what makes the function to time."""
    workload = next((w for w in WORKLOADS if w.name == name), None)

    def side(lib: Any, wrap: Callable[[Any], Any]) -> Callable[[], Callable[[], Any]]:
        return lambda: wrap(workload.make(lib)) if workload else chain_call(lib, wrap)

    ours = libraries["gradstep"]
    found = {"gradstep": side(ours, lambda f: f), "captured": side(ours, ours.capture)}
    if "torch" in libraries:
        found["torch"] = side(libraries["torch"], lambda f: f)
        if compiled:
            found["compile"] = side(libraries["torch"], libraries["torch"].compile)
    if workload is None:
        found["jax"] = chain_jax
    elif workload.jax:
        found["jax"] = lambda: importlib.import_module("jax_twins").TWINS[workload.jax]()
    return found


def measure(name: str, options: argparse.Namespace, libraries: dict[str, Any]) -> Any:
    timers, errors = {}, {}
    for side, make in makers(name, libraries, not options.no_compile).items():
        try:
            timers[side] = timeit.Timer("call()", globals={"call": make()})
            timers[side].timeit(3)  # captured: eager, recorded, replayed
        except Exception as error:  # a library that is missing, or can't, costs its column
            timers.pop(side, None)
            errors[side] = f"{type(error).__name__}: {error}".splitlines()[0]
    numbers = {side: calls_per_round(timer, ROUND) for side, timer in timers.items()}
    times = {side: Times() for side in timers}
    for _ in range(options.rounds):
        for side, timer in timers.items():
            time.sleep(
                0.0 if options.threads == 1 else 0.01
            )  # idle workers of libgomp spin for a while
            times[side].rounds.append(one_round(timer, numbers[side]))
    row: dict[str, Any] = {"name": name, "errors": errors}
    return row | {side: t.median * 1e6 for side, t in times.items()}


def measure_all(
    names: list[str], options: argparse.Namespace, libraries: dict[str, Any]
) -> list[Any]:
    """Rows; the floor is that of the faster rates, before them or after them."""
    if "torch" not in libraries:
        rows = [measure(name, options, libraries) for name in names]
        return [row | {"goals": goals_of(row)} for row in rows]
    speed = floor.measure_machine(libraries)
    rows = [measure(name, options, libraries) for name in names]
    speed = speed.best_of(floor.measure_machine(libraries))
    for row in rows:
        workload = next((w for w in WORKLOADS if w.name == row["name"]), None)
        work = floor.work_of(workload, libraries["torch"]) if workload else floor.Work(0.0, 80e6)
        row["floor"] = floor.seconds(work, speed) * 1e6
        row["goals"] = goals_of(row)
    return rows


def goals_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    if row["name"] not in GOALS or "captured" not in row:
        return []
    most, torch, jax = GOALS[row["name"]]
    ours = row["captured"]
    found = []
    if most and "floor" in row:
        found.append({"goal": f"{most:g}x floor", "met": ours <= most * row["floor"]})
    for side, least in (("torch", torch), ("jax", jax)):
        if least and side in row:
            found.append({"goal": f"{least:g}x {side}", "met": row[side] >= least * ours})
    return found


# ---- compiled modules: a forward and backward pass in an ordinary loop ----


def module_workloads() -> list[Any]:
    names = ("MLP 4-64-64-2, batch 32", "MLP 784-256-128-10, batch 64", "transformer 4x128")
    return [next(w for w in WORKLOADS if w.name.startswith(n)) for n in names]


def within(seconds: int, work: Callable[[], Any]) -> Any:
    """Raises TimeoutError after so many seconds."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"over {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        return work()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def measure_modules(
    workload: Any, options: argparse.Namespace, libraries: dict[str, Any]
) -> list[dict[str, Any]]:
    """The forward pass alone, without gradients, and one ordinary training step."""
    sides: dict[str, Any] = {}
    for name, lib in libraries.items():
        if name not in ("gradstep", "torch"):
            continue
        sides[name] = (lib, lambda model: model)
        if name == "gradstep" or not options.no_compile:
            sides["compiled" if name == "gradstep" else "compile"] = (lib, lib.compile)
    timers: dict[str, dict[str, timeit.Timer]] = {"forward": {}, "step": {}}
    errors: dict[str, str] = {}
    for side, (lib, wrap) in sides.items():
        lib.manual_seed(0)
        model, loss = workload.build(lib)
        optimizer = getattr(lib.optim, workload.optimizer)(model.parameters(), **workload.options)
        model = wrap(model)

        def forward(lib: Any = lib, model: Any = model, loss: Any = loss) -> None:
            with lib.no_grad():
                loss(model)

        def step(model: Any = model, loss: Any = loss, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()

        calls = {"forward": forward, "step": step}
        try:
            for kind, call in calls.items():
                timer = timeit.Timer("call()", globals={"call": call})
                within(options.compile_limit, lambda timer=timer: timer.timeit(4))
                timers[kind][side] = timer
        except Exception as error:
            errors[side] = f"{type(error).__name__}: {error}".splitlines()[0]
            for kind in timers:
                timers[kind].pop(side, None)
    rows = []
    for kind, found in timers.items():
        numbers = {side: calls_per_round(timer, ROUND) for side, timer in found.items()}
        times = {side: Times() for side in found}
        for _ in range(options.rounds):
            for side, timer in found.items():
                times[side].rounds.append(one_round(timer, numbers[side]))
        row: dict[str, Any] = {"name": f"{workload.name}: {kind}", "errors": errors}
        rows.append(row | {side: t.median * 1e6 for side, t in times.items()})
    return rows


def module_cells(row: dict[str, Any]) -> list[str]:
    def cell(side: str) -> str:
        failed = f"failed: {row['errors'][side][:60]}" if side in row["errors"] else "-"
        return us(row[side]) if side in row else failed

    def ratio(side: str, to: str) -> str:
        return f"{row[side] / row[to]:.2f}" if side in row and to in row else "-"

    pairs = [(side, "compiled") for side in ("gradstep", "torch", "compile")]
    return [row["name"], *map(cell, MODULE_SIDES), *(ratio(*pair) for pair in pairs)]


# ---- memory, recording, many replays ----


def arena(lib: Any) -> list[str]:
    """Memory of the temporaries: the arena of the captured step beside their peak in the eager one."""
    lines = []
    for workload in WORKLOADS:
        if workload.group != "transformer":
            continue
        step = lib.capture(workload.make(lib))
        step()
        step()
        entry = step._entries()[0]
        share = entry.arena_bytes / max(entry.eager_bytes, 1)
        lines.append(
            f"arena, {workload.name}: {entry.arena_bytes / 2**20:.1f} MiB, {share:.0%} of eager's "
            f"{entry.eager_bytes / 2**20:.1f} MiB (goal 70%: {'met' if share <= 0.7 else 'missed'})"
        )
    return lines


def recording(lib: Any) -> str:
    """What the recorded call of a 12-layer transformer costs beyond an eager one."""
    build = language(lambda lib: gpt(lib, 12, 64, 4, 32), 2, 32)
    lib.manual_seed(0)
    model, loss = build(lib)
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> Any:
        optimizer.zero_grad()
        out = loss(model)
        out.backward()
        optimizer.step()
        return out

    step()
    eager = min(timeit.repeat(step, number=1, repeat=5))
    taken = []
    for _ in range(3):
        captured = lib.capture(step)
        captured()
        taken.append(timeit.timeit(captured, number=1))
    extra = (min(taken) - eager) * 1e3
    return f"recording a 12-layer transformer: {extra:.1f} ms beyond the eager call (goal 50: {'met' if extra <= 50 else 'missed'})"


def million(lib: Any, n: int = 1_000_000) -> list[str]:
    """Replays of the smallest step beside as many eager ones: memory, and the bits of the weights."""
    workload = WORKLOADS[0]
    eager = workload.make(lib)
    for _ in range(n):
        eager()
    step = workload.make(lib)
    captured = lib.capture(step)
    for _ in range(1000):
        captured()
    before, start = lib._C.memory_stats(), time.perf_counter()
    for _ in range(n - 1000):
        captured()
    took, after = time.perf_counter() - start, lib._C.memory_stats()
    grown = {k: after[k] - before[k] for k in ("live_blocks", "allocated_bytes")}
    pairs = zip(eager.model.parameters(), step.model.parameters(), strict=True)  # type: ignore[attr-defined]
    equal = all(bool((a == b).all()) for a, b in pairs)
    return [
        f"{n:,} replays of {workload.name}: {took / (n - 1000) * 1e6:.1f} us each, memory grew by {grown}, "
        f"weights {'equal' if equal else 'DIFFER FROM'} those of eager training"
    ]


def cells(row: dict[str, Any], sides: list[str]) -> list[str]:
    out = [row["name"], us(row["floor"]) if "floor" in row else "-"]
    for side in sides:
        if side not in row:
            out.append("no: " + row["errors"][side][:40] if side in row["errors"] else "-")
            continue
        ratio = f" ({row[side] / row['floor']:.2f})" if "floor" in row else ""
        out.append(us(row[side]) + ratio)
    for side in ("gradstep", "torch", "jax"):
        both = side in row and "captured" in row
        out.append(f"{row[side] / row['captured']:.2f}" if both else "-")
    out.append(
        ", ".join(f"{g['goal']} {'met' if g['met'] else 'missed'}" for g in row["goals"]) or "-"
    )
    return out


def main() -> None:
    parser = arguments(__doc__, rounds=15)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument(
        "--million", action="store_true", help="a million replays of the smallest step"
    )
    parser.add_argument("--modules", action="store_true", help="only the compiled modules")
    parser.add_argument(
        "--compile-limit", type=int, default=120, help="seconds that compiling one may take"
    )
    options = parser.parse_args()
    libraries = load(options.threads)
    names = [n for n in (*(w.name for w in WORKLOADS), CHAIN) if options.only in n]
    if options.modules:
        names = []
    rows = measure_all(names, options, libraries) if names else []
    modules = [
        row
        for w in module_workloads()
        if options.only in w.name
        for row in measure_modules(w, options, libraries)
    ]
    lib = libraries["gradstep"]
    lines = [] if options.only or options.modules else [*arena(lib), recording(lib)]
    if options.million:
        lines += million(lib)
    report = {
        "machine": machine(options.threads, libraries),
        "rows": rows,
        "modules": modules,
        "notes": lines,
    }
    if options.json:
        print(json.dumps(report, indent=1))
        return
    sides = [s for s in SIDES if any(s in r or s in r["errors"] for r in rows)]
    print(f"{'### ' if options.markdown else ''}Captured steps, {options.threads} thread(s)\n")
    print(machine_line(report["machine"]) + "; in brackets times the floor\n")
    header = [
        "step",
        "floor",
        *sides,
        "eager / captured",
        "torch / captured",
        "jax / captured",
        "goals",
    ]
    if rows:
        print(table(header, [cells(r, sides) for r in rows], options.markdown))
    print("\nmodel = torch.compile(model) in an ordinary loop\n")
    ratios = [f"{side} / compiled" for side in ("gradstep", "torch", "compile")]
    header = ["model", *MODULE_SIDES, *ratios]
    print(table(header, [module_cells(r) for r in modules], options.markdown))
    print("\n" + "\n".join(f"- {line}" for line in lines))


if __name__ == "__main__":
    main()
