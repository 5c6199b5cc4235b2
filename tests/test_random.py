# SPDX-License-Identifier: Apache-2.0
"""Random numbers: a seed gives PyTorch's values bit for bit and leaves PyTorch's state."""

import numpy as np
import pytest
import torch

import gradstep as gs
from against_torch import same_error

pytestmark = pytest.mark.cpu_only  # PyTorch's numbers for the CPU's generator

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTS = ["uint8", "int8", "int16", "int32", "int64", "bool"]
COUNTS = [0, 1, 5, 15, 16, 17, 100]


def same_draw(fn, seed=7):
    """fn(lib) gives the same numbers, dtype, shape and layout in both libraries, and the same state after."""
    results = []
    for lib in (gs, torch):
        lib.manual_seed(seed)
        t = fn(lib)
        state = np.array(lib.get_rng_state().tolist(), dtype=np.uint8)
        results.append(
            (str(t.dtype).split(".")[-1], tuple(t.shape), t.stride(), str(t.tolist()), state)
        )
    ours, theirs = results
    assert ours[:4] == theirs[:4]
    np.testing.assert_array_equal(ours[4], theirs[4])


REAL = {
    "rand": lambda lib, n, dtype: lib.rand(n, dtype=dtype),
    "randn": lambda lib, n, dtype: lib.randn(n, dtype=dtype),
    "normal": lambda lib, n, dtype: lib.normal(2.0, 3.0, (n,), dtype=dtype),
    "normal of tensors": lambda lib, n, dtype: lib.normal(
        lib.rand(n, dtype=dtype), lib.rand(n, dtype=dtype)
    ),
    "normal, mean": lambda lib, n, dtype: lib.normal(lib.rand(n, dtype=dtype), 2.5),
    "normal, std": lambda lib, n, dtype: lib.normal(1.5, lib.rand(n, dtype=dtype)),
    "uniform_": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).uniform_(-2, 3),
    "normal_": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).normal_(1, 2),
    "exponential_": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).exponential_(2.0),
    "cauchy_": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).cauchy_(1, 2),
    "log_normal_": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).log_normal_(1, 2),
    "bernoulli": lambda lib, n, dtype: lib.bernoulli(lib.rand(n, dtype=dtype)),
    "poisson": lambda lib, n, dtype: lib.poisson(lib.rand(n, dtype=dtype) * 9),
    "dropout": lambda lib, n, dtype: lib.dropout(lib.ones(n, dtype=dtype), 0.3, True),
    "alpha_dropout": lambda lib, n, dtype: lib.alpha_dropout(lib.ones(n, dtype=dtype), 0.3, True),
}
ANY = {
    "randint": lambda lib, n, dtype: lib.randint(
        0, 2 if dtype == lib.bool else 100, (n,), dtype=dtype
    ),
    "random_": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).random_(),
    "random_ to": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).random_(1),
    "random_ from": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).random_(0, None),
    "bernoulli_": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).bernoulli_(0.3),
    "bernoulli_ of a tensor": lambda lib, n, dtype: lib.zeros(n, dtype=dtype).bernoulli_(
        lib.rand(n)
    ),
}


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", REAL)
def test_real_numbers_equal_torchs(name, dtype, n):
    same_draw(lambda lib: REAL[name](lib, n, getattr(lib, dtype)))


@pytest.mark.parametrize("n", [0, 1, 17, 100])
@pytest.mark.parametrize("dtype", FLOATS + INTS)
@pytest.mark.parametrize("name", ANY)
def test_whole_numbers_equal_torchs(name, dtype, n):
    same_draw(lambda lib: ANY[name](lib, n, getattr(lib, dtype)))


@pytest.mark.parametrize("n", [0, 1, 2, 17, 120])
@pytest.mark.parametrize("dtype", FLOATS + INTS[:-1])
def test_permutations_and_trials_equal_torchs(dtype, n):
    same_draw(lambda lib: lib.randperm(n, dtype=getattr(lib, dtype)))
    same_draw(lambda lib: lib.zeros(n, dtype=getattr(lib, dtype)).geometric_(0.3))


FORMS = {
    "sizes": lambda lib: lib.rand(2, 3),
    "a list": lambda lib: lib.rand([2, 3]),
    "0-d": lambda lib: lib.randn(()),
    "generator": lambda lib: lib.rand(3, generator=lib.Generator().manual_seed(3)),
    "out": lambda lib: lib.rand(3, out=lib.zeros(3, dtype=lib.float64)),
    "out that grows": lambda lib: lib.randn(3, out=lib.zeros(0)),
    "randint high": lambda lib: lib.randint(5, (3,)),
    "randint keywords": lambda lib: lib.randint(high=5, size=(3,)),
    "randint low": lambda lib: lib.randint(low=2, high=5, size=(3,)),
    "rand_like of a transposed": lambda lib: lib.rand_like(lib.ones(3, 4).t()),
    "randn_like of a transposed": lambda lib: lib.randn_like(lib.ones(30, 4).t()),
    "randint_like": lambda lib: lib.randint_like(lib.ones(3, 4), 2, 9, dtype=lib.int64),
    "normal broadcast": lambda lib: lib.normal(lib.rand(3, 1), lib.rand(4)),
    "bernoulli with p": lambda lib: lib.bernoulli(lib.zeros(4), 0.5),
    "bernoulli_ broadcast": lambda lib: lib.zeros(3, 4).bernoulli_(lib.rand(4)),
    "multinomial": lambda lib: lib.multinomial(lib.rand(10), 4),
    "multinomial rows": lambda lib: lib.multinomial(lib.rand(3, 10), 4, True),
    "multinomial method": lambda lib: lib.rand(3, 10).double().multinomial(10),
    "feature dropout": lambda lib: lib.feature_dropout(lib.ones(3, 4, 2, 2), 0.5, True),
    "feature alpha dropout": lambda lib: lib.feature_alpha_dropout(lib.ones(3, 4, 2), 0.5, True),
    "dropout of a transposed": lambda lib: lib.dropout(lib.ones(5, 6).t(), 0.3, True),
    "dropout of all": lambda lib: lib.dropout(lib.ones(3), 1.0, True),
    "dropout_": lambda lib: lib.dropout_(lib.ones(30), 0.5, True),
    "a negative seed": lambda lib: (lib.manual_seed(-5), lib.rand(3))[1],
    "a seed of 64 bits": lambda lib: (lib.manual_seed(2**64 - 1), lib.rand(3))[1],
    "halves of a pair": lambda lib: lib.cat([lib.randn(3), lib.randn(5), lib.zeros(1).normal_()]),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_call_draws_torchs_numbers(name):
    same_draw(FORMS[name])


@pytest.mark.parametrize("fill", ["uniform_", "normal_", "bernoulli_", "exponential_"])
@pytest.mark.parametrize("layout", ["transposed", "permuted", "strided"])
def test_filling_a_view_draws_in_torchs_order(fill, layout):
    def draw(lib):
        if layout == "transposed":
            t = lib.zeros(15, 6).t()
        elif layout == "permuted":
            t = lib.zeros(3, 4, 5).permute(1, 2, 0)
        else:
            t = lib.zeros(25, 6)[:, ::2]
        return getattr(t, fill)().contiguous()

    same_draw(draw)


def test_a_state_is_exchanged_with_torch():
    torch.manual_seed(3)
    torch.randn(5)
    gs.set_rng_state(gs.tensor(torch.get_rng_state().tolist(), dtype=gs.uint8))
    assert gs.randn(20).tolist() == torch.randn(20).tolist()
    assert gs.initial_seed() == torch.initial_seed() == 3


def test_a_state_can_be_restored():
    state = gs.get_rng_state()
    first = gs.rand(5).tolist()
    gs.set_rng_state(state)
    assert gs.rand(5).tolist() == first


def test_seed_takes_a_new_one_from_the_system():
    assert gs.seed() != gs.seed()
    assert isinstance(gs.initial_seed(), int)


# ---- derivatives ----


def gradient(lib, fn):
    lib.manual_seed(1)
    x = lib.linspace(0.1, 0.9, 20).requires_grad_()
    fn(lib, x).sum().backward()
    return x.grad.tolist()


@pytest.mark.parametrize(
    "fn",
    [
        lambda lib, x: (x * 2).uniform_() * x,
        lambda lib, x: lib.normal(x, 1.0) * x + lib.bernoulli(x) * x + lib.poisson(x) * x,
        lambda lib, x: lib.dropout(x * 3, 0.4, True) * x,
        lambda lib, x: lib.alpha_dropout(x * 3, 0.4, True) * x,
    ],
    ids=["uniform_", "samples", "dropout", "alpha_dropout"],
)
def test_gradients_around_random_numbers_equal_torchs(fn):
    np.testing.assert_allclose(gradient(gs, fn), gradient(torch, fn), rtol=1e-6)


def test_a_filled_row_cuts_the_gradient_of_that_row_only():
    def fill(lib, x):
        y = (x * 2).reshape(4, 5)
        y[1].normal_()
        return y * x.reshape(4, 5)

    np.testing.assert_allclose(gradient(gs, fill), gradient(torch, fill), rtol=1e-6)


def test_dropout_outside_of_training_returns_its_input():
    x = gs.ones(3)
    assert gs.nn.functional.dropout(x, 0.5, training=False) is x


def test_requires_grad_can_be_asked_for():
    assert gs.rand(3, requires_grad=True).requires_grad
    assert gs.randn(3, requires_grad=True).is_leaf


# ---- errors ----

FAULTS = {
    "negative size": lambda lib: lib.rand(-1),
    "negative n": lambda lib: lib.randperm(-1),
    "n of a half": lambda lib: lib.randperm(3000, dtype=lib.float16),
    "n of a byte": lambda lib: lib.randperm(300, dtype=lib.uint8),
    "an empty range": lambda lib: lib.randint(5, 5, (3,)),
    "a range of more than a byte": lambda lib: lib.randint(0, 300, (3,), dtype=lib.uint8),
    "rand of integers": lambda lib: lib.rand(3, dtype=lib.int64),
    "randn of integers": lambda lib: lib.randn(3, dtype=lib.int64),
    "negative std": lambda lib: lib.normal(lib.zeros(2), -lib.ones(2)),
    "shape of p": lambda lib: lib.ones(2).bernoulli_(lib.ones(3)),
    "multinomial of 3-d": lambda lib: lib.multinomial(lib.ones(2, 2, 2), 1),
    "too many samples": lambda lib: lib.multinomial(lib.ones(2), 3),
    "negative weight": lambda lib: lib.multinomial(lib.tensor([-1.0, 2.0]), 1),
    "weights of zero": lambda lib: lib.multinomial(lib.zeros(2), 1),
    "no samples": lambda lib: lib.multinomial(lib.ones(2), 0),
    "integer weights": lambda lib: lib.multinomial(lib.ones(2).long(), 1),
    "negative rate": lambda lib: lib.poisson(lib.tensor([-1.0])),
    "exponential of integers": lambda lib: lib.ones(2).long().exponential_(),
    "dropout of 150 %": lambda lib: lib.nn.functional.dropout(lib.ones(3), 1.5),
    "a leaf": lambda lib: lib.ones(3, requires_grad=True).uniform_(),
    "an expanded tensor": lambda lib: lib.zeros(1).expand(3).uniform_(),
    "integers with gradient": lambda lib: lib.randint(0, 3, (2,), requires_grad=True),
    "a seed of 65 bits": lambda lib: lib.manual_seed(2**64),
    "a state of floats": lambda lib: lib.set_rng_state(lib.zeros(3)),
    "out of another dtype": lambda lib: lib.rand(
        2, out=lib.zeros(2, dtype=lib.float64), dtype=lib.float32
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_wrong_use_is_torchs_error(name):
    same_error(FAULTS[name])


@pytest.mark.cpu_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binomial_and_gamma_equal_torchs(dtype):
    found = []
    for lib in (torch, gs):
        lib.manual_seed(4)
        p, n = lib.rand(2, 500, dtype=getattr(lib, dtype))
        counts = lib.binomial((n * 300).floor(), p)
        gammas = lib._standard_gamma(p * 5 + 1e-3)
        found.append((counts.numpy(), gammas.numpy(), lib.rand(1).item()))
    np.testing.assert_array_equal(found[1][0], found[0][0])
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)
    assert found[1][2] == found[0][2]


@pytest.mark.cpu_only
def test_slope_of_gamma_numbers_is_that_of_the_quantile():
    """By central differences of PyTorch's incomplete gamma function."""
    rng = np.random.RandomState(0)
    a = torch.tensor(10 ** rng.uniform(-1, 3, 300))
    x = a * torch.tensor(10 ** rng.uniform(-0.3, 0.3, 300))
    h = 1e-5 * a
    upper = x > a  # of the smaller tail, or the difference cancels
    up, down = a + h, a - h
    lower_tail = -(torch.special.gammainc(up, x) - torch.special.gammainc(down, x))
    upper_tail = torch.special.gammaincc(up, x) - torch.special.gammaincc(down, x)
    density = torch.exp((a - 1) * x.log() - x - torch.lgamma(a))
    expected = (torch.where(upper, upper_tail, lower_tail) / (2 * h) / density).numpy()
    ours = gs._standard_gamma_grad(gs.tensor(a.numpy()), gs.tensor(x.numpy()))
    known = np.isfinite(expected) & (density.numpy() > 1e-200)
    assert known.sum() > 200
    np.testing.assert_allclose(ours.numpy()[known], expected[known], rtol=1e-4)
