# SPDX-License-Identifier: Apache-2.0
"""gradstep.distributions beside torch.distributions: numbers, gradients, shapes, what is refused."""

import math
import pickle

import numpy as np
import pytest
import torch

import gradstep

pytestmark = pytest.mark.cpu_only  # composed of operators that are tested on each device

LIBRARIES = {"torch": torch, "gradstep": gradstep}


def values(lib, x, **options):
    return lib.tensor(np.asarray(x, dtype=np.float64), dtype=lib.float64, **options)


def spd(n, seed, batch=()):
    a = np.random.RandomState(seed).randn(*batch, n, n)
    return a @ np.swapaxes(a, -1, -2) + n * np.eye(n)


def tril(n, seed):
    return np.linalg.cholesky(spd(n, seed))


P = [0.2, 0.5, 0.9]
ROWS = [[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]]
LOGITS = [-1.5, 0.3, 2.0]
A, B = [0.4, 1.0, 3.5], [[0.7], [2.5]]
LOC, SCALE = [-0.5, 0.3, 2.0], [[0.5], [1.7]]
CASES = {
    "Bernoulli": [dict(probs=P), dict(logits=LOGITS)],
    "Beta": [dict(concentration1=A, concentration0=B)],
    "Binomial": [
        dict(total_count=[7.0, 7.0, 7.0], probs=P),
        dict(total_count=[40.0], logits=LOGITS),
    ],
    "Categorical": [dict(probs=ROWS), dict(logits=LOGITS)],
    "Cauchy": [dict(loc=LOC, scale=SCALE)],
    "Chi2": [dict(df=A)],
    "ContinuousBernoulli": [dict(probs=P), dict(logits=LOGITS)],
    "Dirichlet": [dict(concentration=[A, [2.0, 3.0, 1.5]])],
    "Exponential": [dict(rate=A)],
    "FisherSnedecor": [dict(df1=[3.0, 4.5], df2=[5.0, 7.0])],
    "Gamma": [dict(concentration=A, rate=B)],
    "Geometric": [dict(probs=P), dict(logits=LOGITS)],
    "Gumbel": [dict(loc=LOC, scale=SCALE)],
    "HalfCauchy": [dict(scale=A)],
    "HalfNormal": [dict(scale=A)],
    "InverseGamma": [dict(concentration=[2.5, 3.0, 4.0], rate=B)],
    "Kumaraswamy": [dict(concentration1=[1.5, 2.0, 3.5], concentration0=[[1.7], [2.5]])],
    "LKJCholesky": [dict(dim=4, concentration=[0.5, 1.0, 2.5])],
    "Laplace": [dict(loc=LOC, scale=SCALE)],
    "LogNormal": [dict(loc=LOC, scale=SCALE)],
    "LogisticNormal": [dict(loc=[LOC, LOC], scale=SCALE)],
    "LowRankMultivariateNormal": [
        dict(
            loc=[LOC, [0.0, 1.0, 2.0]],
            cov_factor=np.random.RandomState(0).randn(3, 2),
            cov_diag=[0.5, 1.0, 2.0],
        )
    ],
    "Multinomial": [dict(total_count=6, probs=ROWS), dict(total_count=3, logits=LOGITS)],
    "MultivariateNormal": [
        dict(loc=[LOC, [0.0, 1.0, 2.0]], covariance_matrix=spd(3, 1)),
        dict(loc=LOC, precision_matrix=spd(3, 2, (2,))),
        dict(loc=LOC, scale_tril=tril(3, 3)),
    ],
    "NegativeBinomial": [
        dict(total_count=[3.0, 4.0, 7.5], probs=P),
        dict(total_count=[2.0], logits=LOGITS),
    ],
    "Normal": [dict(loc=LOC, scale=SCALE)],
    "OneHotCategorical": [dict(probs=ROWS), dict(logits=LOGITS)],
    "OneHotCategoricalStraightThrough": [dict(probs=ROWS)],
    "Pareto": [dict(scale=A, alpha=[[0.7], [2.5]])],
    "Poisson": [dict(rate=[0.5, 3.0, 30.0])],
    "RelaxedBernoulli": [dict(temperature=[0.7], probs=P), dict(temperature=[0.7], logits=LOGITS)],
    "RelaxedOneHotCategorical": [dict(temperature=[0.7], probs=ROWS)],
    "StudentT": [dict(df=[0.8, 1.5, 3.5], loc=LOC, scale=SCALE)],
    "Uniform": [dict(low=LOC, high=[[2.5], [4.0]])],
    "VonMises": [dict(loc=LOC, concentration=B)],
    "Weibull": [dict(scale=A, concentration=B)],
    "Wishart": [
        dict(df=[4.0, 5.5], covariance_matrix=spd(3, 4)),
        dict(df=[4.0], scale_tril=tril(3, 3)),
        dict(df=[6.0], precision_matrix=spd(3, 5)),
    ],
}
ALL = [(name, i) for name, found in CASES.items() for i in range(len(found))]
# Not drawn as PyTorch draws them: see docs/differences.md.
OWN_DRAWS = {"VonMises", "Wishart"}


def build(lib, name, i, grad=False):
    """The distribution, and its parameters by name."""
    given = {}
    for key, value in CASES[name][i].items():
        number = isinstance(value, int)
        wants = grad and not number and key != "total_count"
        given[key] = value if number else values(lib, value, requires_grad=wants)
    return getattr(lib.distributions, name)(**given), given


def close(ours, theirs, rtol=1e-9, atol=1e-11):
    assert tuple(ours.shape) == tuple(theirs.shape)
    ours, theirs = ours.detach().double().numpy(), theirs.detach().double().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# Where PyTorch's own result is wrong: see docs/differences.md.
ROUNDED = {"VonMises": 1e-6}  # PyTorch's Bessel functions are polynomials of 7 digits
OWN_MODES = {"Beta", "Kumaraswamy", "Weibull"}


def outcome(f):
    """The result, or the type of what was raised."""
    try:
        return f()
    except (NotImplementedError, ValueError, AttributeError) as error:
        return type(error)


def same(ours, theirs, **tolerance):
    if isinstance(theirs, type) or isinstance(ours, type):
        assert ours == theirs
    else:
        close(ours, theirs, **tolerance)


@pytest.mark.parametrize("name, i", ALL)
def test_moments_and_shapes(name, i):
    ours, theirs = (build(lib, name, i)[0] for lib in (gradstep, torch))
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    for what in ("mean", "variance", "mode", "stddev"):
        if what != "mode" or name not in OWN_MODES:
            found = [outcome(lambda d=d, w=what: getattr(d, w)) for d in (ours, theirs)]
            same(*found, rtol=ROUNDED.get(name, 1e-9))
    same(outcome(ours.entropy), outcome(theirs.entropy), rtol=1e-7)
    for expand in (True, False):
        same(
            outcome(lambda e=expand: ours.enumerate_support(expand=e)),
            outcome(lambda e=expand: theirs.enumerate_support(expand=e)),
        )
    assert repr(ours.support) == repr(theirs.support)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name, i", ALL)
def test_draws_are_those_of_the_same_seed(name, i):
    drawn = {}
    for key, lib in LIBRARIES.items():
        d, _ = build(lib, name, i)
        lib.manual_seed(5)
        drawn[key] = [d.sample((4,)), d.sample()]
        assert not drawn[key][0].requires_grad
    for ours, theirs in zip(drawn["gradstep"], drawn["torch"], strict=True):
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert str(ours.dtype) == str(theirs.dtype)
        if name not in OWN_DRAWS:
            close(ours, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name, i", ALL)
def test_log_prob_and_its_gradients(name, i):
    torch.manual_seed(3)
    x = build(torch, name, i)[0].sample((5,))
    results = {}
    for key, lib in LIBRARIES.items():
        d, given = build(lib, name, i, grad=True)
        log_prob = d.log_prob(lib.tensor(x.numpy()))
        log_prob.sum().backward()
        results[key] = log_prob, {k: v.grad for k, v in given.items() if hasattr(v, "grad")}
    close(results["gradstep"][0], results["torch"][0], rtol=ROUNDED.get(name, 1e-8))
    for k, gradient in results["torch"][1].items():
        ours = results["gradstep"][1][k]
        assert (ours is None) == (gradient is None), k
        if gradient is not None:
            if k == "scale_tril":  # the other triangle is not read
                ours, gradient = ours.tril(), gradient.tril()
            close(ours, gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name, i", ALL)
def test_cdf_and_icdf(name, i):
    torch.manual_seed(3)
    theirs, ours = (build(lib, name, i)[0] for lib in (torch, gradstep))
    x = theirs.sample((5,))
    same(
        outcome(lambda: ours.cdf(gradstep.tensor(x.numpy()))),
        outcome(lambda: theirs.cdf(x)),
        rtol=1e-7,
    )
    u = np.random.RandomState(0).uniform(0.05, 0.95, x.shape)
    same(
        outcome(lambda: ours.icdf(values(gradstep, u))),
        outcome(lambda: theirs.icdf(values(torch, u))),
        rtol=1e-7,
    )


@pytest.mark.parametrize("name, i", ALL)
def test_expanded(name, i):
    results = []
    torch.manual_seed(3)
    x = build(torch, name, i)[0].sample((5,))
    for lib in LIBRARIES.values():
        d, _ = build(lib, name, i)
        wide = d.expand((5, *d.batch_shape))
        assert type(wide) is type(d)
        results.append((wide.batch_shape, wide.event_shape, wide.log_prob(lib.tensor(x.numpy()))))
    assert tuple(results[0][0]) == tuple(results[1][0])
    assert tuple(results[0][1]) == tuple(results[1][1])
    close(results[1][2], results[0][2], rtol=ROUNDED.get(name, 1e-8))


# Gradients of draws: the same as PyTorch's where a draw is a formula of the parameters.
OWN_GRADIENTS = {"Beta", "Dirichlet", "Wishart", "LKJCholesky", "VonMises"}


@pytest.mark.parametrize("name, i", [c for c in ALL if c[0] not in OWN_GRADIENTS])
def test_gradients_of_rsample(name, i):
    results = {}
    for key, lib in LIBRARIES.items():
        d, given = build(lib, name, i, grad=True)
        if not d.has_rsample:
            pytest.skip("no rsample")
        lib.manual_seed(7)
        x = d.rsample((4,))
        (x * values(lib, np.arange(x.numel()).reshape(x.shape))).sum().backward()
        results[key] = {k: v.grad for k, v in given.items() if hasattr(v, "grad")}
    for k, theirs in results["torch"].items():
        ours = results["gradstep"][k]
        assert (ours is None) == (theirs is None), k
        if theirs is not None:  # PyTorch's slopes of gamma numbers are good to 3 digits
            gamma = name in {"Gamma", "Chi2", "StudentT", "FisherSnedecor", "InverseGamma"}
            close(ours, theirs, rtol=2e-2 if gamma else 1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["Beta", "Dirichlet", "Wishart"])
def test_mean_of_gradients_is_the_gradient_of_the_mean(name):
    gradstep.manual_seed(0)
    d, given = build(gradstep, name, 0, grad=True)
    x = d.rsample((20000,))
    w = values(gradstep, np.random.RandomState(1).randn(*x.shape[1:]))
    (x * w).sum(tuple(range(1, x.dim()))).mean().backward()
    found = {k: v.grad.clone() for k, v in given.items()}
    d, given = build(gradstep, name, 0, grad=True)
    (d.mean * w).sum().backward()
    for k, v in given.items():
        pair = [found[k], v.grad]
        if (
            v.dim() > 1 and name == "Wishart"
        ):  # of a symmetric matrix: how the halves share it is free
            pair = [g + g.mT for g in pair]
        ours, expected = (g.numpy() for g in pair)
        np.testing.assert_allclose(ours, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["VonMises", "Wishart", "LKJCholesky"])
def test_own_draws_have_the_moments(name):
    gradstep.manual_seed(0)
    d, _ = build(gradstep, name, 0)
    x = d.sample((20000,))
    assert bool(d.support.check(x).all())
    if name == "VonMises":
        spread = 1 - gradstep.cos(x - d.loc).mean(0)
        np.testing.assert_allclose(spread.numpy(), d.variance.numpy(), atol=0.02)
        return
    if name == "LKJCholesky":
        return
    np.testing.assert_allclose(x.mean(0).numpy(), d.mean.numpy(), rtol=0.1, atol=0.5)


def test_generalized_pareto():
    """PyTorch's own computes in float32 only; here by its formulas in one another."""
    k = [-0.3, 0.0, 0.4]
    d = gradstep.distributions.GeneralizedPareto(*(values(gradstep, v) for v in (LOC, SCALE, k)))
    theirs = torch.distributions.GeneralizedPareto(*map(torch.tensor, (LOC, SCALE, k)))
    for what in ("mean", "variance", "mode"):
        close(getattr(d, what), getattr(theirs, what), rtol=1e-5)
    close(d.entropy(), theirs.entropy(), rtol=1e-5)
    u = values(gradstep, np.random.RandomState(0).uniform(0.05, 0.95, (5, 2, 3)))
    x = d.icdf(u).detach().requires_grad_()
    assert bool(d.support.check(x).all())
    cdf = d.cdf(x)
    np.testing.assert_allclose(cdf.detach().numpy(), u.numpy(), rtol=1e-9)
    cdf.sum().backward()
    np.testing.assert_allclose(d.log_prob(x).detach().exp().numpy(), x.grad.numpy(), rtol=1e-9)
    assert (
        d.rsample((4,)).shape == (4, 2, 3)
        and str(d.expand((7, 2, 3)).batch_shape) == "torch.Size([7, 2, 3])"
    )


def test_modes_where_pytorchs_are_not():
    d = gradstep.distributions
    for a, b in ((1.5, 1.7), (3.5, 2.5), (2.0, 4.0)):
        grid = gradstep.linspace(0.001, 0.999, 9999, dtype=gradstep.float64)
        for kind in (d.Kumaraswamy, d.Beta):
            p = kind(values(gradstep, a), values(gradstep, b))
            assert abs(p.mode.item() - grid[p.log_prob(grid).argmax()].item()) < 2e-4
    assert d.Weibull(2.0, 0.7).mode.item() == 0.0
    # Without a mode inside: the end where the density is the larger.
    assert d.Beta(0.4, 0.7).mode.item() == 0.0 and d.Beta(0.7, 0.4).mode.item() == 1.0


def test_numbers_give_a_batch_of_one():
    for lib in LIBRARIES.values():
        d = lib.distributions.Normal(0.0, 1)
        assert tuple(d.batch_shape) == () and d.sample().shape == ()
        assert d.loc.dtype == lib.get_default_dtype()
        assert tuple(lib.distributions.Normal(lib.zeros(3), 2.0).sample((2,)).shape) == (2, 3)
        assert (
            str(lib.distributions.Normal(lib.zeros(3), 2.0))
            == "Normal(loc: torch.Size([3]), scale: torch.Size([3]))"
        )


# ---- divergences ----

KL = {
    "Bernoulli": dict(probs=[0.3, 0.6]),
    "Beta": dict(concentration1=[0.9, 2.0], concentration0=[1.4, 0.8]),
    "Binomial": dict(total_count=[5.0, 5.0], probs=[0.3, 0.6]),
    "Categorical": dict(probs=ROWS),
    "Cauchy": dict(loc=[0.3, -0.6], scale=[1.0, 2.0]),
    "ContinuousBernoulli": dict(probs=[0.3, 0.6]),
    "Dirichlet": dict(concentration=ROWS),
    "Exponential": dict(rate=[0.3, 1.6]),
    "Gamma": dict(concentration=[0.7, 2.0], rate=[1.5, 0.4]),
    "Geometric": dict(probs=[0.3, 0.6]),
    "Gumbel": dict(loc=[0.3, -0.6], scale=[1.0, 2.0]),
    "HalfNormal": dict(scale=[0.4, 1.5]),
    "Laplace": dict(loc=[0.3, -0.6], scale=[1.0, 2.0]),
    "LogNormal": dict(loc=[0.3, -0.6], scale=[1.0, 2.0]),
    "LowRankMultivariateNormal": dict(
        loc=[0.5, 0.1, -0.3],
        cov_factor=np.random.RandomState(0).randn(3, 2),
        cov_diag=[0.5, 1.0, 2.0],
    ),
    "MultivariateNormal": dict(loc=[0.3, 0.2, 0.4], covariance_matrix=spd(3, 7)),
    "Normal": dict(loc=[0.3, -0.6], scale=[1.0, 2.0]),
    "OneHotCategorical": dict(probs=ROWS),
    "Pareto": dict(scale=[0.4, 1.0], alpha=[0.6, 3.0]),
    "Poisson": dict(rate=[0.3, 4.0]),
    "Uniform": dict(low=[0.0, 0.1], high=[1.0, 0.9]),
}


def shifted(given, factor):
    return {
        k: [[v * factor for v in row] if isinstance(row, list) else row * factor for row in x]
        if k not in ("total_count", "covariance_matrix", "probs") and isinstance(x, list)
        else x
        for k, x in given.items()
    }


def divergence(lib, p, q, factor):
    def make(name, given):
        return getattr(lib.distributions, name)(**{k: values(lib, v) for k, v in given.items()})

    return lib.distributions.kl_divergence(make(p, KL[p]), make(q, shifted(KL[q], factor)))


@pytest.mark.parametrize("p", KL)
def test_divergences(p):
    for q in KL:
        for factor in (1.0, 1.3):
            if {p, q} == {"Uniform", "ContinuousBernoulli"}:
                continue  # finite; PyTorch has it infinite where p reaches an end of [0, 1]
            theirs = outcome(lambda: divergence(torch, p, q, factor))  # noqa: B023
            ours = outcome(lambda: divergence(gradstep, p, q, factor))  # noqa: B023
            try:
                same(ours, theirs, rtol=1e-7, atol=1e-9)
            except AssertionError as error:
                raise AssertionError(f"KL({p}, {q}), {factor}: {error}") from error


def test_divergence_of_independent_and_own_rules():
    d = gradstep.distributions
    p, q = d.Normal(gradstep.zeros(2, 3), 1.0), d.Normal(gradstep.ones(2, 3), 2.0)
    whole = d.kl_divergence(d.Independent(p, 1), d.Independent(q, 1))
    np.testing.assert_allclose(whole.numpy(), d.kl_divergence(p, q).sum(-1).numpy(), rtol=1e-6)

    class Mine(d.Normal):
        pass

    np.testing.assert_allclose(
        d.kl_divergence(Mine(0.0, 1.0), d.Normal(1.0, 1.0)).item(), 0.5, rtol=1e-6
    )

    @d.register_kl(Mine, d.Normal)
    def rule(p, q):
        return gradstep.tensor(7.0)

    assert d.kl_divergence(Mine(0.0, 1.0), d.Normal(1.0, 1.0)).item() == 7.0
    with pytest.raises(
        NotImplementedError, match=r"No KL\(p \|\| q\) is implemented for p type Cauchy"
    ):
        d.kl_divergence(d.Cauchy(0.0, 1.0), d.Normal(0.0, 1.0))


# ---- distributions of distributions ----


def mixture(lib):
    d = lib.distributions
    weights = d.Categorical(logits=values(lib, [0.1, 0.5, -0.2]))
    return d.MixtureSameFamily(weights, d.Normal(values(lib, LOC), values(lib, [1.0, 0.5, 2.0])))


def mixture_of_vectors(lib):
    d = lib.distributions
    weights = d.Categorical(probs=values(lib, [0.3, 0.7]))
    base = d.Independent(d.Normal(values(lib, np.arange(6.0).reshape(2, 3)), 1.0), 1)
    return d.MixtureSameFamily(weights, base)


def chain(lib):
    d = lib.distributions
    base = d.Normal(values(lib, LOC), values(lib, [1.0, 0.5, 2.0]))
    parts = [
        d.AffineTransform(values(lib, [1.0, 0.0, -1.0]), -0.5),
        d.TanhTransform(),
        d.SigmoidTransform(),
    ]
    return d.TransformedDistribution(base, parts)


def squashed(lib):
    """The policy of soft actor-critic."""
    d = lib.distributions
    base = d.Independent(d.Normal(values(lib, LOC), 0.5), 1)
    return d.TransformedDistribution(base, [d.TanhTransform(cache_size=1)])


def sticks(lib):
    d = lib.distributions
    return d.TransformedDistribution(
        d.Normal(values(lib, [LOC, LOC]), 1.0), d.StickBreakingTransform()
    )


def reshaped(lib):
    d = lib.distributions
    base = d.Independent(d.Normal(values(lib, np.zeros((2, 6))), 1.0), 1)
    return d.TransformedDistribution(base, [d.ReshapeTransform((6,), (2, 3)), d.ExpTransform()])


@pytest.mark.parametrize("make", [mixture, mixture_of_vectors, chain, squashed, sticks, reshaped])
def test_composed(make):
    theirs, ours = make(torch), make(gradstep)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(ours.event_shape) == tuple(theirs.event_shape)
    torch.manual_seed(2)
    gradstep.manual_seed(2)
    x, y = theirs.sample((6,)), ours.sample((6,))
    close(y, x, rtol=1e-6)
    close(ours.log_prob(gradstep.tensor(x.numpy())), theirs.log_prob(x), rtol=1e-8)
    for what in ("mean", "variance"):
        same(outcome(lambda w=what: getattr(ours, w)), outcome(lambda w=what: getattr(theirs, w)))
    same(outcome(lambda: ours.cdf(gradstep.tensor(x.numpy()))), outcome(lambda: theirs.cdf(x)))
    close(
        ours.expand((2, *ours.batch_shape)).sample(),
        theirs.expand((2, *theirs.batch_shape)).sample(),
        rtol=1e-6,
    )


def test_cached_inverse_is_exact():
    for lib in LIBRARIES.values():
        d = squashed(lib)
        x = d.rsample((3,)) if lib is torch else d.rsample((3,))
        transform = d.transforms[0]
        assert transform.inv(x) is transform._inv_call(x)


# ---- transforms and constraints ----

TRANSFORMS = {
    "exp": lambda lib, t: t.ExpTransform(),
    "power": lambda lib, t: t.PowerTransform(values(lib, [2.0, 0.5, -1.0])),
    "sigmoid": lambda lib, t: t.SigmoidTransform(),
    "softplus": lambda lib, t: t.SoftplusTransform(),
    "tanh": lambda lib, t: t.TanhTransform(),
    "affine": lambda lib, t: t.AffineTransform(1.0, values(lib, [2.0, -0.5, 1.0])),
    "affine, of vectors": lambda lib, t: t.AffineTransform(1.0, -2.0, event_dim=1),
    "sticks": lambda lib, t: t.StickBreakingTransform(),
    "correlations": lambda lib, t: t.CorrCholeskyTransform(),
    "stack": lambda lib, t: t.StackTransform(
        [t.ExpTransform(), t.TanhTransform(), t.ExpTransform()], -1
    ),
    "cat": lambda lib, t: t.CatTransform(
        [t.ExpTransform(), t.AffineTransform(0.0, 3.0)], -1, [1, 2]
    ),
    "independent": lambda lib, t: t.IndependentTransform(t.ExpTransform(), 1),
    "composed": lambda lib, t: t.ComposeTransform([t.TanhTransform(), t.AffineTransform(0.0, 2.0)]),
    "cdf": lambda lib, t: t.CumulativeDistributionTransform(lib.distributions.Normal(0.0, 1.0)),
    "inverse": lambda lib, t: t.SigmoidTransform().inv.inv,
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    x = np.random.RandomState(3).uniform(0.2, 1.5, (4, 3))
    found = []
    for lib in LIBRARIES.values():
        t = lib.distributions.transforms
        f = TRANSFORMS[name](lib, t)
        y = f(values(lib, x))
        back = f.inv(y)
        np.testing.assert_allclose(back.numpy(), x, rtol=1e-6)
        slope = f.log_abs_det_jacobian(values(lib, x), y)
        shapes = tuple(f.forward_shape((4, 3))), tuple(f.inverse_shape(tuple(y.shape)))
        sign = outcome(lambda f=f: f.sign)
        found.append(
            (y, slope, shapes, f.bijective, f.domain.event_dim, f.codomain.event_dim, sign)
        )
    close(found[1][0], found[0][0], rtol=1e-8)
    close(found[1][1], found[0][1], rtol=1e-8)
    assert found[1][2:6] == found[0][2:6]
    if isinstance(found[0][6], torch.Tensor):
        close(found[1][6], found[0][6])
    else:
        assert found[1][6] == found[0][6]


CONSTRAINTS = {
    "real": None,
    "boolean": None,
    "positive": None,
    "nonnegative": None,
    "unit_interval": None,
    "nonnegative_integer": None,
    "positive_integer": None,
    "simplex": None,
    "one_hot": None,
    "real_vector": None,
    "greater_than": (0.5,),
    "greater_than_eq": (0.5,),
    "less_than": (0.5,),
    "interval": (0.0, 0.7),
    "half_open_interval": (0.0, 0.7),
    "integer_interval": (0, 2),
    "multinomial": (2,),
}
MATRICES = ["lower_triangular", "lower_cholesky", "corr_cholesky", "square", "symmetric", "positive_definite",
            "positive_semidefinite"]  # fmt: skip


@pytest.mark.parametrize("name", [*CONSTRAINTS, *MATRICES])
def test_constraints(name):
    x = np.array([[0.2, 0.3, 0.5], [0, 1, 0], [1, 2, 3], [-1, 0.5, 0.7], [math.nan, 1, 0]])
    if name in MATRICES:
        x = np.stack([np.eye(3), spd(3, 0), tril(3, 1), -np.eye(3), np.arange(9.0).reshape(3, 3)])
    found = []
    for lib in LIBRARIES.values():
        c = getattr(lib.distributions.constraints, name)
        c = c if CONSTRAINTS.get(name) is None else c(*CONSTRAINTS[name])
        found.append((c.check(values(lib, x)), repr(c), c.event_dim, c.is_discrete))
    np.testing.assert_array_equal(found[1][0].numpy(), found[0][0].numpy())
    assert found[1][1:] == found[0][1:]


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_every_constraint_has_a_transform_into_it(registry):
    for name in ("real", "positive", "nonnegative", "unit_interval", "simplex", "real_vector", "lower_cholesky",
                 "positive_definite", "corr_cholesky"):  # fmt: skip
        found = []
        for lib in LIBRARIES.values():
            if registry == "biject_to" and name in ("lower_cholesky", "positive_definite"):
                continue
            c = getattr(lib.distributions.constraints, name)
            f = getattr(lib.distributions, registry)(c)
            shape = (2, 3, 3) if name in ("lower_cholesky", "positive_definite") else (2, 3)
            x = np.random.RandomState(0).randn(*shape)
            y = f(values(lib, x))
            assert bool(c.check(y).all())
            found.append(y)
        if found:
            close(found[1], found[0], rtol=1e-8)
    with pytest.raises(NotImplementedError):
        getattr(gradstep.distributions, registry)(gradstep.distributions.constraints.boolean)


# ---- what is refused ----

REFUSED = {
    "scale": lambda lib, d: d.Normal(0.0, -1.0),
    "nan": lambda lib, d: d.Normal(math.nan, 1.0),
    "low above high": lambda lib, d: d.Uniform(1.0, 0.0),
    "probability": lambda lib, d: d.Bernoulli(1.5),
    "both": lambda lib, d: d.Bernoulli(probs=0.5, logits=0.0),
    "neither": lambda lib, d: d.Categorical(),
    "no axis": lambda lib, d: d.Categorical(lib.tensor(0.5)),
    "off the simplex": lambda lib, d: d.Categorical(probs=lib.tensor([-0.5, 1.5])),
    "a string": lambda lib, d: d.Normal("0", 1.0),
    "value": lambda lib, d: d.Bernoulli(0.5).log_prob(lib.tensor(0.5)),
    "no tensor": lambda lib, d: d.Normal(0.0, 1.0).log_prob(0.5),
    "event shape": lambda lib, d: d.Dirichlet(lib.ones(3)).log_prob(lib.ones(4) / 4),
    "shapes": lambda lib, d: d.Normal(lib.zeros(3), 1.0).log_prob(lib.zeros(4)),
    "matrix": lambda lib, d: d.MultivariateNormal(
        lib.zeros(2), lib.tensor([[1.0, 2.0], [2.0, 1.0]])
    ),
    "two matrices": lambda lib, d: d.MultivariateNormal(lib.zeros(2), lib.eye(2), lib.eye(2)),
    "too many axes": lambda lib, d: d.Independent(d.Normal(lib.zeros(2), 1.0), 2),
    "no rsample": lambda lib, d: d.Poisson(1.0).rsample(),
    "no cdf": lambda lib, d: d.Poisson(1.0).cdf(lib.tensor(1.0)),
    "expanded": lambda lib, d: d.Normal(lib.zeros(3), 1.0).expand((2,)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    raised = []
    for lib in LIBRARIES.values():
        with pytest.raises(Exception) as caught:
            REFUSED[name](lib, lib.distributions)
        raised.append((type(caught.value), str(caught.value)))
    assert raised[1][0] is raised[0][0]
    if name in (
        "scale",
        "nan",
        "probability",
        "value",
        "event shape",
        "shapes",
        "no tensor",
        "off the simplex",
    ):
        assert raised[1][1] == raised[0][1]


def test_checks_can_be_turned_off():
    d = gradstep.distributions
    d.Normal(0.0, -1.0, validate_args=False)
    d.Distribution.set_default_validate_args(False)
    try:
        d.Normal(0.0, -1.0)
    finally:
        d.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="Expected parameter scale"):
        d.Normal(0.0, -1.0)


def test_own_subclass_must_expand_itself():
    class Own(gradstep.distributions.Normal):
        def __init__(self, loc):
            super().__init__(loc, 1.0)

    with pytest.raises(NotImplementedError, match="must also define a custom .expand"):
        Own(gradstep.zeros(2)).expand((3, 2))


def test_pickled():
    d = pickle.loads(pickle.dumps(squashed(gradstep)))
    assert d.sample((2,)).shape == (2, 3)


def test_modules_have_pytorchs_names():
    import importlib

    for name in ("normal.Normal", "categorical.Categorical", "studentT.StudentT", "kl.kl_divergence",
                 "transforms.TanhTransform", "constraints.positive", "utils.broadcast_all",
                 "transformed_distribution.TransformedDistribution", "relaxed_bernoulli.LogitRelaxedBernoulli",
                 "relaxed_categorical.ExpRelaxedCategorical"):  # fmt: skip
        module, attribute = name.split(".")
        assert hasattr(importlib.import_module(f"gradstep.distributions.{module}"), attribute)
        assert hasattr(importlib.import_module(f"torch.distributions.{module}"), attribute)
    assert set(torch.distributions.__all__) <= set(dir(gradstep.distributions))


# ---- in a captured step ----


def policy_step(lib):
    """Of an actor-critic: categorical and normal policies, their entropies, a divergence."""
    d = lib.distributions
    gradstep.manual_seed(0)
    layer = lib.nn.Linear(4, 3)
    optimizer = lib.optim.Adam(layer.parameters(), 1e-2)

    def step(x, action):
        optimizer.zero_grad()
        out = layer(x)
        p, n = (
            d.Categorical(logits=out),
            d.Normal(out.sum(-1), lib.nn.functional.softplus(out[:, 0])),
        )
        score = p.log_prob(action).mean() + 0.01 * p.entropy().mean() + n.log_prob(x[:, 0]).mean()
        inside = d.Uniform(-9.0, 9.0).log_prob(x[:, 0]).mean() + d.Gamma(2.0, 1.0).rsample()
        loss = d.kl_divergence(n, d.Normal(0.0, 1.0)).mean() + inside - score
        loss.backward()
        optimizer.step()
        return loss, n.rsample().detach()

    return layer, step


def test_a_captured_policy_step_equals_the_eager_one():
    results = []
    for captured in (False, True):
        layer, step = policy_step(gradstep)
        step = gradstep.capture(step, verify=2) if captured else step
        gradstep.manual_seed(1)
        outcomes = []
        for _ in range(5):
            loss, drawn = step(gradstep.randn(8, 4), gradstep.randint(0, 3, (8,)))
            outcomes += [loss.detach().numpy().tobytes(), drawn.detach().numpy().tobytes()]
        results.append((outcomes, [p.detach().numpy().tobytes() for p in layer.parameters()]))
    assert results[0] == results[1]


def test_a_captured_step_still_checks():
    _, step = policy_step(gradstep)
    step = gradstep.capture(step)
    for _ in range(3):
        step(gradstep.randn(8, 4), gradstep.randint(0, 3, (8,)))
    with pytest.raises(
        ValueError, match="Expected parameter logits .* of distribution Categorical"
    ):
        step(gradstep.full((8, 4), math.nan), gradstep.randint(0, 3, (8,)))
    with pytest.raises(ValueError, match="Expected value argument .* of the distribution Uniform"):
        step(gradstep.full((8, 4), 10.0), gradstep.randint(0, 3, (8,)))
