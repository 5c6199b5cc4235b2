# SPDX-License-Identifier: Apache-2.0
"""Random numbers on a GPU: the words are Philox4x32-10's, and the fills take them as PyTorch's CUDA kernels do
(Note [Equal to PyTorch on a GPU] in cuda/random.h), which is computed here with numpy. That nobody runs PyTorch on a
GPU here is why the rule is written down twice."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import gradstep as torch

pytestmark = pytest.mark.cuda
U32, U64 = np.uint32, np.uint64


def philox(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    a, b, c, d = (np.asarray(x, U64) for x in counter)
    k0, k1 = key
    low = U64(0xFFFFFFFF)
    for _ in range(10):
        ab, cd = U64(0xD2511F53) * a, U64(0xCD9E8D57) * c
        a, b, c, d = (
            (cd >> U64(32)) ^ b ^ U64(k0),
            cd & low,
            (ab >> U64(32)) ^ d ^ U64(k1),
            ab & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [a, b, c, d]


# Random123's kat_vectors: counter, key, result.
KNOWN = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize("counter, key, result", KNOWN)
def test_the_reference_gives_the_published_words(counter: str, key: str, result: str) -> None:
    words = [int(w, 16) for w in counter.split()]
    k0, k1 = (int(w, 16) for w in key.split())
    assert [int(w) for w in philox(words, (k0, k1))] == [int(w, 16) for w in result.split()]


class Reference:
    """The words of a call for n elements: `each` numbers a turn."""

    def __init__(self, seed: int, offset: int) -> None:
        self.key = (seed & 0xFFFFFFFF, seed >> 32)
        self.offset = offset
        p = torch.cuda.get_device_properties(0)
        self.most = p.multi_processor_count * (p.max_threads_per_multi_processor // 256)

    def turns(self, n: int, each: int) -> tuple[np.ndarray, int]:
        """[turns, 4, threads] and the number of threads."""
        threads = 256 * min(self.most, -(-n // 256))
        turns = (n - 1) // (threads * each) + 1
        t = np.arange(threads, dtype=U64)
        rows = []
        for k in range(turns):
            at = self.offset // 4 + k
            counter = [np.full(threads, at & 0xFFFFFFFF), np.full(threads, at >> 32), t, t * U64(0)]
            rows.append(philox(counter, self.key))
        self.offset += 4 * turns
        return np.array(rows), threads

    def uniform(self, n: int) -> np.ndarray:
        words, _ = self.turns(n, 4)
        return ((words.astype(np.float32) * np.float32(2**-32)) + np.float32(2**-33)).reshape(-1)[
            :n
        ]

    def uniform64(self, n: int) -> np.ndarray:
        w, _ = self.turns(n, 2)
        bits = np.stack([w[:, 0] ^ (w[:, 1] << U64(21)), w[:, 2] ^ (w[:, 3] << U64(21))], 1)
        return (bits.astype(np.float64) * 2.0**-53 + 2.0**-54).reshape(-1)[:n]

    def normal(self, n: int) -> np.ndarray:
        w, _ = self.turns(n, 4)
        radius = np.sqrt(-2 * np.log(w[:, 0::2].astype(np.float64) * 2.0**-32 + 2.0**-33))
        angle = (w[:, 1::2].astype(np.float64) + 0.5) * (2 * np.pi * 2.0**-32)
        pairs = np.stack([radius * np.sin(angle), radius * np.cos(angle)], 2)
        return pairs.reshape(w.shape[0], 4, -1).reshape(-1)[:n]

    def integers(self, n: int) -> np.ndarray:
        return self.turns(n, 4)[0].reshape(-1)[:n]

    def integers64(self, n: int) -> np.ndarray:
        w, _ = self.turns(n, 2)
        return np.stack([w[:, 0] << U64(32) | w[:, 1], w[:, 2] << U64(32) | w[:, 3]], 1).reshape(
            -1
        )[:n]


SEED, OFFSET = 0x123456789ABCDEF, 40
SIZES = [1, 255, 1000, 40_003]


@pytest.fixture
def reference() -> Reference:
    torch.cuda.manual_seed(SEED)
    state = torch.cuda.get_rng_state()
    state[8] = OFFSET
    torch.cuda.set_rng_state(state)
    return Reference(SEED, OFFSET)


def offset() -> int:
    return int.from_bytes(bytes(torch.cuda.get_rng_state().tolist()[8:]), "little")


def array(t: torch.Tensor) -> np.ndarray:
    return t.cpu().numpy()


@pytest.mark.parametrize("n", SIZES)
def test_uniform_is_as_in_pytorch(reference: Reference, n: int) -> None:
    for _ in range(2):
        u = reference.uniform(n)
        assert np.array_equal(array(torch.rand(n)), np.where(u == 1, 0, u))
    assert offset() == reference.offset
    u = reference.uniform64(n)
    assert np.array_equal(array(torch.rand(n, dtype=torch.float64)), np.where(u == 1, 0, u))
    x = array(torch.empty(n).uniform_(-2, 3))
    assert np.allclose(x, reference.uniform(n) * 5 - 2, atol=1e-6)
    assert x.min() >= -2 and x.max() < 3


@pytest.mark.parametrize("n", SIZES)
def test_normal_is_as_in_pytorch(reference: Reference, n: int) -> None:
    expected = reference.normal(n)
    assert np.allclose(array(torch.randn(n)), expected, atol=1e-5)
    assert np.allclose(
        array(torch.empty(n).log_normal_(0.5, 0.25)),
        np.exp(reference.normal(n) / 4 + 0.5),
        rtol=1e-4,
    )


@pytest.mark.parametrize("n", SIZES)
def test_integers_are_as_in_pytorch(reference: Reference, n: int) -> None:
    assert np.array_equal(
        array(torch.randint(-3, 10, (n,))), (reference.integers(n) % U64(13)).astype(np.int64) - 3
    )
    wide = (reference.integers64(n) % U64(2**40)).astype(np.int64)
    assert np.array_equal(array(torch.randint(0, 2**40, (n,))), wide)
    full = torch.empty(n, dtype=torch.int64).random_(-(2**63), None)
    assert np.array_equal(array(full).view(U64), reference.integers64(n))
    own = torch.empty(n, dtype=torch.uint8).random_()
    assert np.array_equal(array(own), (reference.integers(n) % U64(256)).astype(np.uint8))


@pytest.mark.parametrize("n", SIZES)
def test_other_distributions_are_as_in_pytorch(reference: Reference, n: int) -> None:
    u = reference.uniform(n)
    assert np.allclose(
        array(torch.empty(n).exponential_(2.0)), np.maximum(-np.log(u), 2**-24) / 2, rtol=1e-4
    )
    u = reference.uniform(n).astype(np.float64)
    cauchy = np.tan(np.pi * (np.clip(u, 2**-23, 1 - 2**-23) - 0.5))
    assert np.allclose(array(torch.empty(n).cauchy_()), cauchy, rtol=1e-2, atol=1e-3)
    u = reference.uniform(n)
    assert np.array_equal(array(torch.empty(n).bernoulli_(0.3)), u < np.float32(0.3))
    u = reference.uniform(n).astype(np.float64)
    near = np.abs(array(torch.empty(n).geometric_(0.25)) - np.ceil(np.log(u) / np.log(0.75)))
    assert near.max() <= 1 and near.mean() < 1e-3  # the rounding of a quotient close to an integer


@pytest.mark.parametrize("n", [4, 1000, 2002, 40_001, 40_002, 40_004])
def test_dropout_is_as_in_pytorch(reference: Reference, n: int) -> None:
    y = array(torch.nn.functional.dropout(torch.ones(n), 0.25))
    words, threads = reference.turns(n, 4)
    u = words.astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
    if n % 4 == 0:  # a thread's words go to neighbours
        u = u.transpose(0, 2, 1).reshape(-1)
    elif n % 2 == 0:  # two rounds of two neighbours
        u = u.reshape(-1, 2, 2, threads).transpose(0, 1, 3, 2).reshape(-1)
    keep = u.reshape(-1)[:n] < np.float32(0.75)
    assert np.array_equal(y, np.where(keep, np.float32(1) / np.float32(0.75), 0).astype(np.float32))
    assert offset() == reference.offset


def test_bernoulli_with_probabilities_takes_four_neighbours_of_a_thread(
    reference: Reference,
) -> None:
    p = torch.rand(1001, generator=torch.Generator(device="cuda").manual_seed(1))
    t = np.arange(251, dtype=U64)
    words = philox([t * U64(0) + U64(OFFSET // 4), t * U64(0), t, t * U64(0)], reference.key)
    u = np.stack(words, 1).astype(np.float32).reshape(-1)[:1001] * np.float32(2**-32) + np.float32(
        2**-33
    )
    assert np.array_equal(array(torch.bernoulli(p)), u <= array(p))
    assert offset() == OFFSET + 12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_rounded_and_below_the_bound(dtype: torch.dtype) -> None:
    x = torch.empty(40_000, dtype=dtype).uniform_(0, 1).float()
    assert 0 <= x.min().item() and x.max().item() < 1
    assert abs(x.mean().item() - 0.5) < 0.01
    assert abs(torch.randn(40_000, dtype=dtype).float().std().item() - 1) < 0.02


def test_strided_targets_are_filled_in_the_order_of_memory() -> None:
    torch.manual_seed(3)
    flat = torch.rand(6)
    torch.manual_seed(3)
    assert torch.equal(torch.empty(3, 2).t().uniform_(), flat.reshape(3, 2).t())
    wide = torch.zeros(6, 2)
    torch.manual_seed(3)
    wide[:, 1].uniform_()
    assert torch.equal(wide[:, 1], flat) and not wide[:, 0].any()


@pytest.mark.parametrize("rate", [0.0, 0.5, 7.0, 30.0, 1000.0])
def test_poisson_has_its_mean_and_variance(rate: float) -> None:
    x = torch.poisson(torch.full((20_000,), rate))
    assert abs(x.mean().item() - rate) <= 5 * (rate / 20_000) ** 0.5
    assert abs(x.var().item() - rate) <= 0.1 * rate
    with pytest.raises(RuntimeError, match="invalid Poisson rate"):
        torch.poisson(torch.tensor([-1.0])).cpu()


@pytest.mark.parametrize("shape", [0.1, 0.9, 1.0, 2.5, 400.0])
def test_gamma_has_its_mean_and_variance(shape: float) -> None:
    x = torch._standard_gamma(torch.full((20_000,), shape))
    assert bool((x > 0).all())
    assert abs(x.mean().item() - shape) <= 5 * (shape / 20_000) ** 0.5
    assert abs(x.var().item() - shape) <= 0.15 * shape
    a = torch.full((9,), shape, requires_grad=True)
    torch._standard_gamma(a).sum().backward()
    assert bool((a.grad > 0).all())


@pytest.mark.parametrize("count, p", [(1, 0.3), (7, 0.5), (30, 0.9), (1000, 0.2), (1000, 0.99)])
def test_binomial_has_its_mean_and_variance(count: int, p: float) -> None:
    x = torch.binomial(torch.full((20_000,), float(count)), torch.tensor(p))
    variance = count * p * (1 - p)
    assert bool(((x >= 0) & (x <= count) & (x == x.floor())).all())
    assert abs(x.mean().item() - count * p) <= 5 * (variance / 20_000) ** 0.5
    assert abs(x.var().item() - variance) <= 0.1 * variance


@pytest.mark.parametrize("n", [0, 1, 2, 1000, 5000])
def test_permutations_are_permutations(n: int) -> None:
    for dtype in (torch.int64, torch.int32, torch.float32):
        x = torch.randperm(n, dtype=dtype)
        assert sorted(x.tolist()) == list(range(n))
    if n > 2:
        assert not torch.equal(torch.randperm(1000), torch.randperm(1000))


def test_small_permutations_are_equally_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(600):
        p = tuple(torch.randperm(3).tolist())
        counts[p] = counts.get(p, 0) + 1
    assert len(counts) == 6 and min(counts.values()) > 60


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial_draws_by_weight(replacement: bool) -> None:
    weights = torch.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 2.0]])
    rows = weights.expand(1000, 2, 4).reshape(2000, 4)
    x = torch.multinomial(rows, 2, replacement).reshape(1000, 2, 2)
    assert set(array(x[:, 0]).flat) == {1, 2} and set(array(x[:, 1]).flat) == {0, 3}
    share = (x[:, 0, 0] == 2).float().mean().item()
    assert abs(share - 0.75) < 0.07
    if not replacement:
        assert (x[..., 0] != x[..., 1]).all()
    long = torch.multinomial(torch.linspace(0, 999, 1000, device="cpu").cuda(), 5000, True)
    assert abs(long.float().mean().item() - 666) < 20


def test_multinomial_reports_bad_weights() -> None:
    for weights in ([-1.0, 2.0], [float("nan"), 1.0], [0.0, 0.0]):
        for replacement in (True, False):
            with pytest.raises(RuntimeError, match=r"probability|sum of probabilities"):
                torch.multinomial(torch.tensor(weights), 2, replacement).cpu()
    with pytest.raises(RuntimeError, match="p_in >= 0"):
        torch.bernoulli(torch.tensor([0.5, 2.0])).cpu()


# ---- generators ----


def test_manual_seed_seeds_all_devices() -> None:
    torch.manual_seed(11)
    assert torch.cuda.initial_seed() == 11
    a = torch.rand(5)
    torch.manual_seed(11)
    assert torch.equal(torch.rand(5), a)
    torch.cuda.manual_seed_all(12)
    assert torch.cuda.initial_seed() == 12 and torch.initial_seed() == 11


def test_generators_of_their_own() -> None:
    g = torch.Generator(device="cuda").manual_seed(5)
    assert g.device == torch.device("cuda", 0)
    torch.cuda.manual_seed(5)
    assert torch.equal(torch.rand(7, generator=g), torch.rand(7))
    twin = pickle.loads(pickle.dumps(g))
    assert twin.device == g.device and torch.equal(
        torch.rand(7, generator=twin), torch.rand(7, generator=g)
    )
    with pytest.raises(
        RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"
    ):
        torch.rand(3, generator=g, device="cpu")
    with pytest.raises(
        RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"
    ):
        torch.rand(3, generator=torch.Generator())


def test_states_come_back() -> None:
    torch.rand(3)
    states = torch.cuda.get_rng_state_all()
    assert (
        states[0].dtype == torch.uint8
        and states[0].numel() == 16
        and states[0].device.type == "cpu"
    )
    a = torch.rand(3)
    torch.cuda.set_rng_state_all(states)
    assert torch.equal(torch.rand(3), a)
    saved = copy.copy(torch.cuda.get_rng_state("cuda:0"))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.rand(3)
    assert torch.equal(torch.cuda.get_rng_state(), saved)
    with pytest.raises(RuntimeError, match="RNG state is wrong size"):
        torch.cuda.set_rng_state(torch.zeros(3, dtype=torch.uint8, device="cpu"))
