# SPDX-License-Identifier: Apache-2.0
"""Per-op overhead: what a call costs when there is almost nothing to compute, beside PyTorch.

    python bench/overhead.py [--only view] [--markdown | --json]

The same statements are counted in instructions by callgrind_budget.py. Exit status 1 with --strict when
gradstep's fastest round misses a target.
"""

from __future__ import annotations

from common import Case, arguments, chosen, measure, show

EIGHT = "a = lib.ones(8); b = lib.ones(8)"
GRAD = "a = lib.ones(8, requires_grad=True); b = lib.ones(8, requires_grad=True)"
SQUARE = (
    "import random; r = random.Random(0)\n"
    "def m(): return lib.tensor([[r.gauss(0, 1) for _ in range(16)] for _ in range(16)], requires_grad=True)\n"
    "w = m(); x = m().detach()\n"
    "def step():\n"
    "    w.grad = None\n"
    "    lib.mm(x, w).relu().sum().backward()\n"
)

CASES = [
    Case("a + b, 8 floats", "a + b", EIGHT, target_us=0.15),
    Case("a + b, 8 floats, with grad", "a + b", GRAD, target_us=0.25),
    Case("x * 2.0", "a * 2.0", EIGHT, target_us=0.3),
    Case("x * 2.0, with grad", "a * 2.0", GRAD),
    Case("a + b, broadcast", "a + b", "a = lib.ones(4, 8); b = lib.ones(8)", target_us=0.5),
    Case(
        "a + b, int64 + float32",
        "a + b",
        "a = lib.ones(8, dtype=lib.int64); b = lib.ones(8)",
        target_us=0.5,
    ),
    Case("lib.add(a, b, alpha=2)", "lib.add(a, b, alpha=2)", EIGHT, target_us=0.5),
    Case("x.exp()", "a.exp()", EIGHT),
    Case("x[0]", "a[0]", "a = lib.ones(4, 8)", target_us=0.3),
    Case("x.view(8, 4)", "a.view(8, 4)", "a = lib.ones(4, 8)", target_us=0.3),
    Case("x.sum()", "a.sum()", EIGHT),
    Case("mm + relu + sum, forward and backward, 16x16", "step()", SQUARE, target_us=5.0),
]


def main() -> None:
    parser = arguments(__doc__, rounds=25)
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    report = measure(chosen(CASES, options.only), rounds=options.rounds, threads=options.threads)
    show(report, options, "Overhead per call")
    if options.strict and not all(r.get("met", True) for r in report["rows"]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
