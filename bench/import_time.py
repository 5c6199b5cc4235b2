# SPDX-License-Identifier: Apache-2.0
"""What `import gradstep` adds to `import numpy`, in milliseconds: the median of several fresh processes.

python bench/import_time.py [--processes 9] [--strict]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from common import table

TARGET_MS = 60.0
CODE = """
import time
a = time.perf_counter()
import numpy
b = time.perf_counter()
import {name}
c = time.perf_counter()
print((b - a) * 1e3, (c - b) * 1e3)
"""


def sample(name: str, cache: str) -> tuple[float, float]:
    # An installed package has its byte code; here it is kept in a folder of this run.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": cache}
    out = subprocess.run(
        [sys.executable, "-c", CODE.format(name=name)],
        check=True,
        capture_output=True,
        text=True,
        env=env,
    )
    numpy_ms, own_ms = map(float, out.stdout.split())
    return numpy_ms, own_ms


def installed(name: str) -> bool:
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({name!r}) is None)"
    return subprocess.run([sys.executable, "-c", code]).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=9)
    parser.add_argument("--torch-processes", type=int, default=3)
    parser.add_argument(
        "--strict", action="store_true", help=f"exit with 1 above {TARGET_MS:.0f} ms"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        sample("gradstep", cache)  # fills the caches
        ours = [sample("gradstep", cache) for _ in range(options.processes)]
        rows = {"gradstep beyond numpy": [t for _, t in ours], "numpy": [t for t, _ in ours]}
        if options.torch_processes and installed("torch"):
            sample("torch", cache)
            theirs = [sample("torch", cache)[1] for _ in range(options.torch_processes)]
            rows["torch beyond numpy"] = theirs
    summary = {
        k: {"median_ms": statistics.median(v), "min_ms": min(v), "max_ms": max(v)}
        for k, v in rows.items()
    }
    if options.json:
        print(json.dumps(summary, indent=1))
    else:
        body = [
            [k, *(f"{v[x]:.1f}" for x in ("min_ms", "median_ms", "max_ms"))]
            for k, v in summary.items()
        ]
        print(table(["import, ms", "min", "median", "max"], body, options.markdown))
        print(f"\ntarget: gradstep under {TARGET_MS:.0f} ms; {options.processes} processes")
    if options.strict and summary["gradstep beyond numpy"]["median_ms"] > TARGET_MS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
