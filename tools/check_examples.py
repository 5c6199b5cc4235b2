# SPDX-License-Identifier: Apache-2.0
"""Runs mypy --strict over the examples with gradstep in PyTorch's place.

python tools/check_examples.py
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        for path in (ROOT / "examples").glob("*.py"):
            text = re.sub(r"^from torch\b", "from gradstep", path.read_text(), flags=re.M)
            text = re.sub(r"^import torch$", "import gradstep as torch", text, flags=re.M)
            pathlib.Path(folder, path.name).write_text(text)
        mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "."]
        return subprocess.run(mypy, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
