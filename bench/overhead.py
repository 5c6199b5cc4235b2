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

MODULES = (
    "nn = lib.nn\n"
    "class Net(nn.Module):\n"
    "    def __init__(self):\n"
    "        super().__init__()\n"
    "        self.fc = nn.Linear(4, 4)\n"
    "        self.register_buffer('mean', lib.zeros(2))\n"
    "    def forward(self, x): return x\n"
    "net = Net(); x = lib.ones(2, 4); linear = nn.Linear(4, 4); relu = nn.ReLU()\n"
    "four = nn.Sequential(*(nn.Identity() for _ in range(4)))\n"
)
TRAIN = (
    "import random; r = random.Random(0); nn = lib.nn; lib.manual_seed(0)\n"
    "net = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))\n"
    "x = lib.tensor([[r.gauss(0, 1) for _ in range(4)] for _ in range(32)])\n"
    "y = lib.tensor([r.randrange(2) for _ in range(32)])\n"
    "loss = nn.CrossEntropyLoss(); optimizer = lib.optim.Adam(net.parameters(), lr=1e-4)\n"
    "def step():\n"
    "    optimizer.zero_grad()\n"
    "    loss(net(x), y).backward()\n"
    "    optimizer.step()\n"
)
CLIP = (
    "params = [lib.full((64,), 0.5).requires_grad_() for _ in range(161)]\n"
    "for p in params: p.grad = lib.full(p.shape, 0.01)\n"
    "clip = lib.nn.utils.clip_grad_norm_\n"
)


LOADER = "DataLoader:"  # its cost is memory, not instructions: not in callgrind_budget.py


def loader(item: int, batch: int) -> str:
    """An endless iterator over a shuffled TensorDataset of 4096 samples."""
    return (
        "import importlib; data = importlib.import_module(lib.__name__ + '.utils.data')\n"
        f"pairs = data.TensorDataset(lib.ones(4096, {item}), lib.zeros(4096, dtype=lib.int64))\n"
        f"batches = data.DataLoader(pairs, batch_size={batch}, shuffle=True)\n"
        "def endless():\n"
        "    while True: yield from batches\n"
        "stream = endless()\n"
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
    Case("a module's call and forward", "net(x)", MODULES, target_us=0.4),
    Case("self.fc: a submodule", "net.fc", MODULES, target_us=0.1),
    Case("self.mean: a buffer", "net.mean", MODULES, target_us=0.15),
    Case("Linear(4, 4) of 2 rows", "linear(x)", MODULES, target_us=1.0),
    Case("ReLU of 2x4", "relu(x)", MODULES, target_us=0.5),
    Case("Sequential of four identities", "four(x)", MODULES),
    Case("training step of 4-64-64-2, batch 32, Adam", "step()", TRAIN, target_us=30.0),
    Case("clip_grad_norm_, 161 gradients", "clip(params, 1.0)", CLIP),
    Case("tensor([64 ints])", "lib.tensor(numbers)", "numbers = list(range(64))"),
    Case("a batch of 64 x 4 floats", "next(stream)", loader(4, 64), group=LOADER),
    Case("a batch of 512 x 4 floats", "next(stream)", loader(4, 512), group=LOADER),
    Case("a batch of 64 x 784 floats", "next(stream)", loader(784, 64), group=LOADER),
    Case("a batch of 512 x 784 floats", "next(stream)", loader(784, 512), group=LOADER),
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
