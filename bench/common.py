# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: side-by-side timing of gradstep, PyTorch and JAX in one process, and its tables.

    cases = [Case("a + b", stmt="a + b", setup="a = lib.ones(8); b = lib.ones(8)", target_us=0.15)]
    report = measure(cases, rounds=20)
    show(report, parse_arguments())

The sides take turns, round after round, so that a change of the machine's clock or load hits all of them. A
round of one side lasts some milliseconds; the side starts each round with a few calls that are not timed.
The ratio is PyTorch's time over gradstep's: above 1, gradstep is faster. Everything works without torch;
JAX takes part where a case has a twin for it and it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import statistics
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

# Two pools that spin on the same cores cost more than anything that is measured here.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

LIBRARIES = ("gradstep", "torch")


# ---- what is measured ----


@dataclass
class Case:
    """One line of a table: a statement, or `make(lib)`, which returns the function to time."""

    name: str
    stmt: str = ""
    setup: str = ""
    make: Callable[[Any], Callable[[], Any]] | None = None
    target_us: float | None = None  # of gradstep's fastest round
    group: str = ""
    make_jax: Callable[[], Callable[[], Any]] | None = None
    floor_us: float | None = None  # what the machine allows: see floor.py
    floor_bytes: int = 0  # memory traffic that nothing can avoid

    def timer(self, lib: Any) -> timeit.Timer:
        if lib.__name__ == "jax":
            assert self.make_jax is not None
            return timeit.Timer("call()", globals={"call": self.make_jax()})
        scope: dict[str, Any] = {"lib": lib, "F": lib.nn.functional}
        if self.make is not None:
            return timeit.Timer("call()", globals={"call": self.make(lib)})
        exec(self.setup, scope)
        return timeit.Timer(self.stmt, globals=scope)


@dataclass
class Times:
    """Seconds per call, one number for each round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def min(self) -> float:
        return min(self.rounds)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def quartiles(self) -> tuple[float, float]:
        if len(self.rounds) < 2:
            return self.min, self.min
        low, _, high = statistics.quantiles(self.rounds, n=4)
        return low, high


def load(threads: int) -> dict[str, Any]:
    """gradstep, and torch where it is installed, both set to that many threads.

    The process may use that many cores from here on: JAX takes as many threads as it sees cores.
    """
    found: dict[str, Any] = {}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for name in LIBRARIES:
        try:
            lib = importlib.import_module(name)
        except ImportError:
            if name == "gradstep":
                raise
            continue
        importlib.import_module(f"{name}.nn.functional")
        importlib.import_module(f"{name}.optim")
        lib.set_num_threads(threads)
        found[name] = lib
    return found


def machine(threads: int, libraries: dict[str, Any]) -> dict[str, Any]:
    """Where the numbers come from; a table without it means little."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "threads": threads,
        "python": platform.python_version(),
        "gradstep": libraries["gradstep"].__version__ if "gradstep" in libraries else None,
        "torch": libraries["torch"].__version__ if "torch" in libraries else None,
        "jax": libraries["jax"].__version__ if "jax" in libraries else None,
        "isa": os.environ.get("GRADSTEP_ISA", "best of this machine"),
    }


def one_round(timer: timeit.Timer, number: int) -> float:
    timer.timeit(max(1, number // 20))
    return timer.timeit(number) / number


def calls_per_round(timer: timeit.Timer, seconds: float) -> int:
    number = 1
    while True:
        took = timer.timeit(number)
        if took >= seconds / 4:
            return max(1, round(number * seconds / max(took, 1e-9)))
        number *= 4


def measure(
    cases: Sequence[Case],
    *,
    rounds: int = 15,
    threads: int = 1,
    seconds: float = 0.01,
    pause: float | None = None,
) -> dict[str, Any]:
    """Times every case on both sides, interleaved; `seconds` is the length of one round of one side."""
    libraries = load(threads)
    if any(case.make_jax for case in cases):
        with contextlib.suppress(ImportError):
            libraries["jax"] = importlib.import_module("jax")
    if pause is None:  # idle workers of libgomp spin for some milliseconds
        pause = 0.0 if threads == 1 else 0.01
    rows = []
    for case in cases:
        timers, errors = {}, {}
        for name, lib in libraries.items():
            if name == "jax" and case.make_jax is None:
                continue
            try:
                timers[name] = case.timer(lib)
                timers[name].timeit(1)
            except Exception as error:  # a missing op costs one line, not the run
                timers.pop(name, None)
                errors[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        numbers = {name: calls_per_round(timer, seconds) for name, timer in timers.items()}
        times = {name: Times() for name in timers}
        for _ in range(rounds):
            for name, timer in timers.items():
                time.sleep(pause)
                times[name].rounds.append(one_round(timer, numbers[name]))
        rows.append(row(case, times, errors))
    return {"machine": machine(threads, libraries), "rounds": rounds, "rows": rows}


def row(case: Case, times: dict[str, Times], errors: dict[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {"group": case.group, "name": case.name, "errors": errors}
    for name, t in times.items():
        low, high = t.quartiles()
        out[name] = {
            "min_us": t.min * 1e6,
            "median_us": t.median * 1e6,
            "p25_us": low * 1e6,
            "p75_us": high * 1e6,
        }
    if "gradstep" in times:
        ours = times["gradstep"]
        for name, key in (("torch", "ratio"), ("jax", "jax_ratio")):
            if name not in times:
                continue
            theirs = times[name]
            per_round = Times([b / a for a, b in zip(ours.rounds, theirs.rounds, strict=True)])
            low, high = per_round.quartiles()
            out[key] = {
                "of_medians": theirs.median / ours.median,
                "of_minima": theirs.min / ours.min,
                "p25": low,
                "p75": high,
            }
        if case.floor_us is not None:
            out["floor_us"] = case.floor_us
            out["x_floor"] = {name: t.median * 1e6 / case.floor_us for name, t in times.items()}
    if case.target_us is not None:
        out["target_us"] = case.target_us
        if "gradstep" in times:
            out["met"] = times["gradstep"].min * 1e6 <= case.target_us
    return out


# ---- how it is printed ----


def arguments(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The options of every benchmark; keywords change their defaults."""
    lines = (doc or "").strip().splitlines() or [""]
    parser = argparse.ArgumentParser(description=lines[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="cases whose group or name contains this text")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")
    parser.add_argument("--markdown", action="store_true", help="print a table for RESULTS.md")
    parser.set_defaults(**defaults)
    return parser


def chosen(cases: Sequence[Case], only: str) -> list[Case]:
    found = [c for c in cases if only in f"{c.group} {c.name}"]
    if not found:
        raise SystemExit(f"no case contains {only!r}")
    return found


def us(value: float) -> str:
    for unit, scale in (("us", 1.0), ("ms", 1e3)):
        if value < 1e3 * scale or unit == "ms":
            number = value / scale
            return f"{number:.3f} {unit}" if number < 10 else f"{number:.1f} {unit}"
    raise AssertionError


def machine_line(m: dict[str, Any]) -> str:
    torch = f"torch {m['torch']}" if m["torch"] else "torch not installed"
    return (
        f"{m['cpu']}, {m['cores']} cores, load {m['load']}; {m['threads']} thread(s); Python {m['python']}, "
        f"gradstep {m['gradstep']} (instruction set: {m['isa']}), {torch}"
        + (f", jax {m['jax']}" if m["jax"] else "")
    )


def cells(r: dict[str, Any], columns: set[str]) -> list[str]:
    out = [f"{r['group']} {r['name']}".strip()]
    for name in LIBRARIES:
        if name in r:
            out += [us(r[name]["min_us"]), us(r[name]["median_us"])]
        else:
            out += ["-", r["errors"].get(name, "-")[:60]]
    ratio = r.get("ratio")
    out.append(
        f"{ratio['of_medians']:.2f} ({ratio['p25']:.2f}-{ratio['p75']:.2f})" if ratio else "-"
    )
    if "jax_ratio" in columns:
        ratio = r.get("jax_ratio")
        out += [us(r["jax"]["median_us"]), f"{ratio['of_medians']:.2f}"] if ratio else ["-", "-"]
    if "floor_us" in columns:
        x = r.get("x_floor", {})
        out.append(us(r["floor_us"]) if "floor_us" in r else "-")
        out += [f"{x[name]:.2f}" if name in x else "-" for name in ("gradstep", "torch")]
    if "target_us" in r:
        out.append(f"{us(r['target_us'])} {'met' if r.get('met') else 'missed'}")
    return out


HEADER = ["case", "gradstep min", "median", "torch min", "median", "torch / gradstep (quartiles)"]
MORE = {
    "jax_ratio": ["jax median", "jax / gradstep"],
    "floor_us": ["floor", "gradstep x floor", "torch x floor"],
    "target_us": ["target"],
}


def table(header: list[str], body: list[list[str]], markdown: bool) -> str:
    body = [line + [""] * (len(header) - len(line)) for line in body]
    if markdown:
        lines = ["| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *body]]
        return "\n".join(lines)
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    texts = []
    for line in [header, *body]:
        first = line[0].ljust(widths[0])
        texts.append(
            "  ".join(
                [first, *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
            ).rstrip()
        )
    return "\n".join(texts)


def show(report: dict[str, Any], options: argparse.Namespace, title: str = "") -> None:
    if options.json:
        print(json.dumps(report, indent=1))
        return
    columns = {key for key in MORE if any(key in r for r in report["rows"])}
    header = HEADER + [text for key, texts in MORE.items() if key in columns for text in texts]
    if title:
        print(f"{'### ' if options.markdown else ''}{title}\n")
    print(table(header, [cells(r, columns) for r in report["rows"]], options.markdown))
    note = f"{machine_line(report['machine'])}; {report['rounds']} interleaved rounds"
    print(f"\n{note}" + ("\n" if options.markdown else ""))
