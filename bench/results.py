# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmarks and writes RESULTS.md: every table with the command that made it.

    python bench/results.py [--quick] [--only train]

The machine should be idle: each table says which load it saw.
"""

from __future__ import annotations

import argparse
import datetime
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# A cache for PyTorch's large temporaries, where it is installed.
TCMALLOC = "LD_PRELOAD=libtcmalloc_minimal.so.4"
COMMANDS = (
    ["overhead.py"],
    ["train.py"],
    ["train.py", "--threads", "2", "--plot", "bench/train.png"],
    ["train.py", "--fused", "--threads", "2"],
    ["train.py", "--memory", "--threads", "2"],
    ["capture.py", "--threads", "2"],
    ["optim.py"],
    ["optim.py", "--fused", "--only", "ResNet-50"],
    ["ops.py"],
    ["ops.py", "--threads", "2"],
    [TCMALLOC, "ops.py", "--only", "10M", "--threads", "2"],
    ["import_time.py"],
    ["callgrind_budget.py"],
)
HEAD = """# Results

Written by `python bench/results.py`. Each table is one run of one script that measured both sides in turns; the last
column is PyTorch's median time over gradstep's (above 1: gradstep is faster) with the quartiles of the rounds. Ratios
travel between machines, absolute times do not.

![Time of a step as a multiple of the floor, 2 threads](train.png)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="five rounds of each case")
    parser.add_argument("--only", default="", help="commands that contain this text")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "RESULTS.md")
    options = parser.parse_args()
    if options.only and options.output == HERE / "RESULTS.md":
        parser.error("--only needs --output: RESULTS.md would lose the other tables")
    how = " --quick" if options.quick else ""
    parts = [f"{HEAD}\nLast run: {datetime.date.today()}, `python bench/results.py{how}`.\n"]
    for command in COMMANDS:
        environment = dict(os.environ)
        if "=" in command[0]:
            name, _, value = command[0].partition("=")
            environment[name] = value
        prefix, command = [c for c in command if "=" in c], [c for c in command if "=" not in c]
        shown = " ".join([*prefix, "python", f"bench/{command[0]}", *command[1:]])
        if options.only not in shown:
            continue
        print(shown, file=sys.stderr, flush=True)
        quick = (
            ["--rounds", "5"]
            if options.quick and command[0] not in ("import_time.py", "callgrind_budget.py")
            else []
        )
        run = [sys.executable, str(HERE / command[0]), *command[1:], "--markdown", *quick]
        done = subprocess.run(run, capture_output=True, text=True, env=environment, cwd=HERE.parent)
        text = done.stdout.strip() or "no output"
        if done.returncode != 0:
            text += f"\n\nExit status {done.returncode}: {done.stderr.strip().splitlines()[-1] if done.stderr else ''}"
        parts.append(f"## `{shown}`\n\n{text}\n")
    options.output.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
