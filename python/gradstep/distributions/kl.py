# SPDX-License-Identifier: Apache-2.0
"""Kullback-Leibler divergences: ``kl_divergence(p, q)`` = E_p[log p(x) - log q(x)], in nats.

Most pairs are -entropy(p) - E_p[log q], with the expectation from p's mean, variance, E[log x] and E[exp(-t x)].
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import singledispatch
from typing import Any, TypeVar

from gradstep import _C, autograd, linalg
from gradstep._C import Tensor
from gradstep._numerics import broadcast_shapes
from gradstep.distributions._bases import LocScale
from gradstep.distributions.bernoulli import Bernoulli
from gradstep.distributions.beta import Beta
from gradstep.distributions.binomial import Binomial
from gradstep.distributions.categorical import Categorical
from gradstep.distributions.cauchy import Cauchy
from gradstep.distributions.continuous_bernoulli import ContinuousBernoulli
from gradstep.distributions.dirichlet import Dirichlet
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.exp_family import ExponentialFamily
from gradstep.distributions.exponential import Exponential
from gradstep.distributions.gamma import Gamma
from gradstep.distributions.geometric import Geometric
from gradstep.distributions.gumbel import Gumbel
from gradstep.distributions.half_normal import HalfNormal
from gradstep.distributions.independent import Independent
from gradstep.distributions.laplace import Laplace
from gradstep.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from gradstep.distributions.multivariate_normal import MultivariateNormal, mahalanobis
from gradstep.distributions.normal import Normal
from gradstep.distributions.one_hot_categorical import OneHotCategorical
from gradstep.distributions.pareto import Pareto
from gradstep.distributions.poisson import Poisson
from gradstep.distributions.transformed_distribution import TransformedDistribution
from gradstep.distributions.uniform import Uniform
from gradstep.distributions.utils import LOG_2_PI, _sum_rightmost, euler_constant
from gradstep.nn import functional as F

__all__ = ["kl_divergence", "register_kl"]

Rule = Callable[[Any, Any], Tensor]
R = TypeVar("R", bound=Callable[..., Any])

_p: type
_q: type
_rules: dict[tuple[type, type], Rule] = {}
_found: dict[tuple[type, type], Rule | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[R], R]:
    """A decorator for the rule of two classes of distributions and of what is derived from them."""
    for which, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {which} to be a Distribution subclass but got {kind}")

    def add(rule: R) -> R:
        _rules[type_p, type_q] = rule
        _found.clear()
        return rule

    return add


def _rule_for(type_p: type, type_q: type) -> Rule | None:
    """The rule of the nearest classes, p's first; a warning where q's would give another one."""
    matches = [(p, q) for p, q in _rules if issubclass(type_p, p) and issubclass(type_q, q)]
    if not matches:
        return None
    order_p, order_q = type_p.__mro__.index, type_q.__mro__.index
    left = min(matches, key=lambda m: (order_p(m[0]), order_q(m[1])))
    right = min(matches, key=lambda m: (order_q(m[1]), order_p(m[0])))
    if _rules[left] is not _rules[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). "
            f"Please register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _rules[left]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q) of each distribution of the batch, in nats: sums are taken over events, not over batches.

    NotImplementedError where no rule for the two classes is known.
    """
    key = type(p), type(q)
    if key not in _found:
        _found[key] = _rule_for(*key)
    rule = _found[key]
    if rule is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {key[0].__name__} and q type {key[1].__name__}"
        )
    return rule(p, q)


# ---- expectations under p ----


@singledispatch
def _mean_log(p: Any) -> Tensor:
    """E[log x]."""
    raise NotImplementedError


@_mean_log.register
def _(p: Exponential) -> Tensor:
    return -euler_constant - p.rate.log()


@_mean_log.register
def _(p: Gamma) -> Tensor:
    return p.concentration.digamma() - p.rate.log()


@_mean_log.register
def _(p: Beta) -> Tensor:
    return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()


@_mean_log.register
def _(p: Pareto) -> Tensor:
    return p.scale.log() + p.alpha.reciprocal()


@_mean_log.register
def _(p: Uniform) -> Tensor:
    return (_C.xlogy(p.high, p.high) - _C.xlogy(p.low, p.low)) / (p.high - p.low) - 1


@singledispatch
def _mean_exp(p: Any, t: Tensor) -> Tensor:
    """E[exp(-t x)]."""
    raise NotImplementedError


@_mean_exp.register
def _(p: Normal, t: Tensor) -> Tensor:
    return _C.exp(t * (t * p.variance / 2 - p.loc))


@_mean_exp.register
def _(p: Exponential, t: Tensor) -> Tensor:
    return p.rate / (p.rate + t)


@_mean_exp.register
def _(p: Gamma, t: Tensor) -> Tensor:
    return _C.exp(-p.concentration * _C.log1p(t / p.rate))


@_mean_exp.register
def _(p: Uniform, t: Tensor) -> Tensor:
    return (_C.exp(-t * p.low) - _C.exp(-t * p.high)) / (t * (p.high - p.low))


@_mean_exp.register
def _(p: Gumbel, t: Tensor) -> Tensor:
    return _C.exp(_C.lgamma(1 + t * p.scale) - t * p.loc)


# ---- E_p[log q] ----


@singledispatch
def _mean_log_prob(q: Any, p: Any) -> Tensor:
    raise NotImplementedError


@_mean_log_prob.register
def _(q: Normal, p: Any) -> Tensor:
    off = (p.mean - q.loc).square() + p.variance
    return -0.5 * LOG_2_PI - q.scale.log() - 0.5 * off / q.variance


@_mean_log_prob.register
def _(q: Exponential, p: Any) -> Tensor:
    return q.rate.log() - q.rate * p.mean


@_mean_log_prob.register
def _(q: Gamma, p: Any) -> Tensor:
    a = q.concentration
    return a * q.rate.log() - a.lgamma() + (a - 1) * _mean_log(p) - q.rate * p.mean


@_mean_log_prob.register
def _(q: Pareto, p: Any) -> Tensor:
    return q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * _mean_log(p)


@_mean_log_prob.register
def _(q: Gumbel, p: Any) -> Tensor:
    t = q.scale.reciprocal()
    return -q.scale.log() - t * (p.mean - q.loc) - _C.exp(t * q.loc) * _mean_exp(p, t)


@_mean_log_prob.register
def _(q: Uniform, p: Any) -> Tensor:
    return -(q.high - q.low).log()


@_mean_log_prob.register
def _(q: ContinuousBernoulli, p: Any) -> Tensor:
    return q.logits * p.mean + _C.log1p(-q.probs) + q._log_constant()


@_mean_log_prob.register
def _(q: Beta, p: Any) -> Tensor:
    a, b = q.concentration1, q.concentration0
    reflected = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    log_beta = a.lgamma() + b.lgamma() - (a + b).lgamma()
    return (a - 1) * _mean_log(p) + (b - 1) * _mean_log(reflected) - log_beta


@_mean_log_prob.register
def _(q: Laplace, p: Any) -> Tensor:
    # E|x - loc| of a normal x: a folded normal number's mean.
    off = p.loc - q.loc
    ratio = off / p.scale
    near = p.scale * math.sqrt(2 / math.pi) * _C.exp(-0.5 * ratio.square())
    distance = near + off * _C.erf(ratio * math.sqrt(0.5))
    return -_C.log(2 * q.scale) - distance / q.scale


def _by_expectation(p: Any, q: Any) -> Tensor:
    return -p.entropy() - _mean_log_prob(q, p)


for _p, _q in (
    (Beta, Exponential),
    (Beta, Gamma),
    (Beta, Normal),
    (ContinuousBernoulli, Exponential),
    (ContinuousBernoulli, Normal),
    (Exponential, Gumbel),
    (Exponential, Normal),
    (Exponential, Gamma),
    (Gamma, Exponential),
    (Gamma, Gumbel),
    (Gamma, Normal),
    (Gumbel, Gumbel),
    (Gumbel, Normal),
    (Laplace, Normal),
    (Normal, Gumbel),
    (Normal, Laplace),
    (Pareto, Exponential),
    (Pareto, Gamma),
    (Pareto, Normal),
    (Uniform, Gumbel),
    (Uniform, Normal),
):
    register_kl(_p, _q)(_by_expectation)


# ---- where q must hold all of p's support ----


def _unless(outside: Callable[[Any, Any], Tensor]) -> Rule:
    """The expectation's result, infinite where p has values outside of q's support."""

    def rule(p: Any, q: Any) -> Tensor:
        return _by_expectation(p, q).masked_fill(outside(p, q), math.inf)

    return rule


for _unit in (Beta, ContinuousBernoulli):
    register_kl(_unit, Uniform)(_unless(lambda p, q: (q.low > 0) | (q.high < 1)))
    register_kl(Uniform, _unit)(_unless(lambda p, q: (p.low < 0) | (p.high > 1)))
for _half in (Exponential, Gamma):
    register_kl(Uniform, _half)(_unless(lambda p, q: p.low < 0))
register_kl(Uniform, Uniform)(_unless(lambda p, q: (q.low > p.low) | (q.high < p.high)))
register_kl(Uniform, Pareto)(_unless(lambda p, q: p.low < q.scale))
register_kl(Pareto, Pareto)(_unless(lambda p, q: p.support.lower_bound < q.scale))
register_kl(Beta, ContinuousBernoulli)(_by_expectation)


def _infinite(p: Any, q: Any) -> Tensor:
    return p.mean.new_full(broadcast_shapes(p.batch_shape, q.batch_shape), math.inf)


_BOUNDED = (Beta, ContinuousBernoulli, Uniform)
_others: tuple[type, ...]
for _p, _others in (
    (Beta, (Pareto,)),
    (ContinuousBernoulli, (Pareto,)),
    (Exponential, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gamma, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gumbel, (*_BOUNDED, Exponential, Gamma, Pareto)),
    (Laplace, (*_BOUNDED, Exponential, Gamma, Pareto)),
    (Normal, (*_BOUNDED, Exponential, Gamma, Pareto)),
    (Pareto, _BOUNDED),
    (Poisson, (Bernoulli, Binomial)),
):
    for _q in _others:
        register_kl(_p, _q)(_infinite)


# ---- of one family ----


@register_kl(Normal, Normal)
def _normal(p: LocScale, q: LocScale) -> Tensor:
    ratio = (p.scale / q.scale).square()
    off = ((p.loc - q.loc) / q.scale).square()
    return 0.5 * (ratio + off - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio = p.scale / q.scale
    off = (p.loc - q.loc).abs()
    return -ratio.log() + off / q.scale + ratio * _C.exp(-off / p.scale) - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    above = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return above.log() - (4 * p.scale * q.scale).log()


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    return (
        q.concentration * (p.rate / q.rate).log()
        + q.concentration.lgamma()
        - p.concentration.lgamma()
        + (p.concentration - q.concentration) * p.concentration.digamma()
        + (q.rate - p.rate) * (p.concentration / p.rate)
    )


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    normalizers = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return normalizers + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    slope = p.mean * (p.logits - q.logits)
    return slope + p._log_constant() + _C.log1p(-p.probs) - q._log_constant() - _C.log1p(-q.probs)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    yes = p.probs * (F.softplus(-q.logits) - F.softplus(-p.logits))
    no = (1 - p.probs) * (F.softplus(q.logits) - F.softplus(p.logits))
    yes = yes.masked_fill(q.probs == 0, math.inf).masked_fill(p.probs == 0, 0)
    no = no.masked_fill(q.probs == 1, math.inf).masked_fill(p.probs == 1, 0)
    return yes + no


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    if (p.total_count < q.total_count).any():
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    failures = (-p.probs).log1p() - (-q.probs).log1p()
    kl = p.total_count * (p.probs * (p.logits - q.logits) + failures)
    return kl.masked_fill(p.total_count > q.total_count, math.inf)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = terms.masked_fill((q.probs == 0).expand_as(terms), math.inf)
    return terms.masked_fill((p.probs == 0).expand_as(terms), 0).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_categorical(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - _C.log1p(-q.probs) / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


# ---- multivariate normals: the covariances' factors are all that counts ----


def _factor(p: MultivariateNormal | LowRankMultivariateNormal) -> Tensor:
    return p._unbroadcasted_scale_tril if isinstance(p, MultivariateNormal) else p.scale_tril


def _multivariate_normal(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two (Low Rank) Multivariate Normals with "
            f"different event shapes cannot be computed: {p.event_shape} vs {q.event_shape}"
        )
    n = p.event_shape[0]
    ours, theirs = _factor(p), _factor(q)
    batch = broadcast_shapes(ours.shape[:-2], theirs.shape[:-2])
    solved = linalg.solve_triangular(
        theirs.expand((*batch, n, n)), ours.expand((*batch, n, n)), upper=False
    )
    logs = theirs.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    logs = logs - ours.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    off = mahalanobis(theirs, q.loc - p.loc)
    return logs + 0.5 * (solved.square().sum((-2, -1)) + off - n)


for _p in (MultivariateNormal, LowRankMultivariateNormal):
    for _q in (MultivariateNormal, LowRankMultivariateNormal):
        register_kl(_p, _q)(_multivariate_normal)


# ---- of other distributions ----


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    # A Bregman divergence of the log normaliser (Nielsen and Nock, 2010).
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot "
            "be computed using Bregman divergences"
        )
    ours = [x.detach().requires_grad_() for x in p._natural_params]
    normalizer = p._log_normalizer(*ours)
    gradients = autograd.grad(normalizer.sum(), ours, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normalizer
    for a, b, gradient in zip(ours, q._natural_params, gradients, strict=True):
        result = result - _sum_rightmost((b - a) * gradient, len(q.event_shape))
    return result


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    n = p.reinterpreted_batch_ndims
    if n != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), n)
