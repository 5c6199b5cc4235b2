# SPDX-License-Identifier: Apache-2.0
"""The examples under both libraries, in turns: what they reach, and the seconds of the whole command, start included.

python examples/table.py DATA [--only vae]

DATA has the folders mnist, fashion-mnist and adult, names/names.txt and tinyshakespeare/input.txt.
"""

import argparse
import datetime
import os
import pathlib
import platform
import re
import subprocess
import sys
import time
from importlib import metadata

HERE = pathlib.Path(__file__).resolve().parent
# Script, arguments, what it reaches and where that stands in what it prints.
ROWS = [
    ("mnist_cnn.py", ["{}/mnist"], "test accuracy, %", r"([\d.]+) % of the test images"),
    ("char_transformer.py", ["{}/tinyshakespeare/input.txt"], "loss", r"loss ([\d.]+)"),
    ("lstm_names.py", ["{}/names/names.txt"], "test loss", r"test loss ([\d.]+)"),
    ("vae.py", ["{}/mnist"], "test loss (-ELBO)", r"test loss ([\d.]+)"),
    ("wgan_gp.py", ["{}/fashion-mnist"], "critic's distance", r"distance: loss ([\d.-]+)"),
    ("burgers.py", [], "loss", r"loss ([\d.e-]+)"),
    ("adult.py", ["{}/adult"], "test accuracy, %", r"([\d.]+) % of the test rows"),
    ("cartpole.py", [], "recent return", r"recent return ([\d.]+)"),
    ("accumulate.py", [], "loss", r"loss ([\d.]+)"),
]


def run(command: list[str], pattern: str) -> tuple[str, float]:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    return re.findall(pattern, done.stdout)[-1], time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ",
        end="",
    )
    print(f"torch {metadata.version('torch')}, {datetime.date.today()}; one run each\n")
    print("| example | reaches | gradstep | PyTorch | gradstep, s | PyTorch, s | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for number, (script, words, what, pattern) in enumerate(ROWS):
        if options.only not in script:
            continue
        command = [str(HERE / script), *(word.format(options.data) for word in words)]
        both = [["-m", "gradstep", "run", *command], command]
        order = (0, 1) if number % 2 == 0 else (1, 0)
        results = {which: run(both[which], pattern) for which in order}
        (ours, our_seconds), (theirs, their_seconds) = results[0], results[1]
        print(
            f"| [{script}]({script}) | {what} | {ours} | {theirs} | {our_seconds:.1f} | "
            f"{their_seconds:.1f} | {their_seconds / our_seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
