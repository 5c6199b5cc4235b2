# SPDX-License-Identifier: Apache-2.0
"""Instructions per call of overhead.py's statements under callgrind, against the budget in budget.json.

    python bench/callgrind_budget.py            # exit status 1 if a count is over its budget
    python bench/callgrind_budget.py --update   # writes what was counted as the new budget

Wall time cannot guard some nanoseconds in CI; counts can: they repeat within a fraction of a percent. One
process runs all statements twice, with different numbers of iterations; the difference of the two counts
is what the iterations cost. Counts depend on Python's version and on the instruction set, so a budget
belongs to both; without one for this Python nothing is compared, and the output says so. GRADSTEP_ISA is
v3 here: valgrind knows no AVX-512.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from common import table
from overhead import CASES as ALL_CASES, LOADER

CASES = [case for case in ALL_CASES if case.group != LOADER]
HERE = pathlib.Path(__file__).resolve().parent
BUDGET = HERE / "budget.json"
FEW, MANY = 200, 1200

# Client requests, so that one process can count many loops.
REQUESTS = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void zero(void) { CALLGRIND_ZERO_STATS; }
void dump(const char* name) { CALLGRIND_DUMP_STATS_AT(name); }
"""


def count_here(requests: str) -> None:
    """Runs under callgrind: a dump for each statement and number of iterations."""
    import gradstep

    library = ctypes.CDLL(requests)
    gradstep.set_num_threads(1)
    library.start()
    for case in CASES:
        timer = case.timer(gradstep)
        timer.timeit(50)  # caches and free lists fill
        for number in (FEW, MANY):
            gc.collect()
            gc.disable()
            library.zero()
            timer.timeit(number)
            library.dump(f"{case.name}#{number}".encode())
            gc.enable()


def counted(folder: pathlib.Path) -> dict[str, float]:
    """Instructions per iteration, from the dumps."""
    totals: dict[str, int] = {}
    for path in folder.glob("callgrind.out.*"):
        text = path.read_text(errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
        if name and total:
            totals[name[1]] = int(total[1])
    return {
        c.name: (totals[f"{c.name}#{MANY}"] - totals[f"{c.name}#{FEW}"]) / (MANY - FEW)
        for c in CASES
        if f"{c.name}#{MANY}" in totals
    }


def count() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        source, requests = folder / "requests.c", folder / "requests.so"
        source.write_text(REQUESTS)
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", requests], check=True)
        environment = {
            **os.environ,
            "GRADSTEP_ISA": "v3",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]
        command += [
            f"--callgrind-out-file={folder}/callgrind.out",
            sys.executable,
            __file__,
            "--here",
            str(requests),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        counts = counted(folder)
        if done.returncode != 0 or len(counts) != len(CASES):
            raise SystemExit(
                f"callgrind failed ({done.returncode}):\n{(done.stdout + done.stderr)[-3000:]}"
            )
        return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--update", action="store_true", help="make the counts of this run the budget"
    )
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--here", metavar="LIBRARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        count_here(options.here)
        return
    if not shutil.which("valgrind"):
        raise SystemExit("valgrind is not installed")
    counts = count()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    budgets = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    if options.update:
        budgets[python] = {name: round(value) for name, value in counts.items()}
        BUDGET.write_text(json.dumps(dict(sorted(budgets.items())), indent=2) + "\n")
    budget = budgets.get(python)
    if options.json:
        print(
            json.dumps(
                {"python": python, "isa": "v3", "instructions": counts, "budget": budget}, indent=1
            )
        )
    else:
        body = []
        for name, value in counts.items():
            allowed = (budget or {}).get(name)
            over = f"{value / allowed - 1:+.1%}" if allowed else "none recorded"
            body.append([name, f"{value:.0f}", str(allowed or "-"), over])
        print(
            table(
                ["instructions per call", "counted", "budget", "difference"], body, options.markdown
            )
        )
        print(f"\nPython {python}, GRADSTEP_ISA=v3, one thread, under callgrind")
    if budget is None:
        print(
            f"NOT COMPARED: {BUDGET.name} has no budget for Python {python}; --update records one"
        )
        return
    exceeded = [
        n for n, v in counts.items() if n in budget and v > budget[n] * (1 + options.tolerance)
    ]
    if exceeded:
        raise SystemExit(
            f"over the budget by more than {options.tolerance:.0%}: {', '.join(exceeded)}"
        )


if __name__ == "__main__":
    main()
