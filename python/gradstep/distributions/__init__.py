# SPDX-License-Identifier: Apache-2.0
"""`torch.distributions`: probability distributions of tensors, with their densities, entropies and divergences.

``Normal(loc, scale).log_prob(x)``, ``.rsample()`` with gradients, ``kl_divergence(p, q)``.
"""

from gradstep.distributions import constraints, transforms
from gradstep.distributions.bernoulli import Bernoulli
from gradstep.distributions.beta import Beta
from gradstep.distributions.binomial import Binomial
from gradstep.distributions.categorical import Categorical
from gradstep.distributions.cauchy import Cauchy
from gradstep.distributions.chi2 import Chi2
from gradstep.distributions.constraint_registry import biject_to, transform_to
from gradstep.distributions.continuous_bernoulli import ContinuousBernoulli
from gradstep.distributions.dirichlet import Dirichlet
from gradstep.distributions.distribution import Distribution
from gradstep.distributions.exp_family import ExponentialFamily
from gradstep.distributions.exponential import Exponential
from gradstep.distributions.fishersnedecor import FisherSnedecor
from gradstep.distributions.gamma import Gamma
from gradstep.distributions.generalized_pareto import GeneralizedPareto
from gradstep.distributions.geometric import Geometric
from gradstep.distributions.gumbel import Gumbel
from gradstep.distributions.half_cauchy import HalfCauchy
from gradstep.distributions.half_normal import HalfNormal
from gradstep.distributions.independent import Independent
from gradstep.distributions.inverse_gamma import InverseGamma
from gradstep.distributions.kl import kl_divergence, register_kl
from gradstep.distributions.kumaraswamy import Kumaraswamy
from gradstep.distributions.laplace import Laplace
from gradstep.distributions.lkj_cholesky import LKJCholesky
from gradstep.distributions.log_normal import LogNormal
from gradstep.distributions.logistic_normal import LogisticNormal
from gradstep.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from gradstep.distributions.mixture_same_family import MixtureSameFamily
from gradstep.distributions.multinomial import Multinomial
from gradstep.distributions.multivariate_normal import MultivariateNormal
from gradstep.distributions.negative_binomial import NegativeBinomial
from gradstep.distributions.normal import Normal
from gradstep.distributions.one_hot_categorical import (
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from gradstep.distributions.pareto import Pareto
from gradstep.distributions.poisson import Poisson
from gradstep.distributions.relaxed_bernoulli import RelaxedBernoulli
from gradstep.distributions.relaxed_categorical import RelaxedOneHotCategorical
from gradstep.distributions.studentT import StudentT
from gradstep.distributions.transformed_distribution import TransformedDistribution
from gradstep.distributions.transforms import *  # noqa: F403
from gradstep.distributions.uniform import Uniform
from gradstep.distributions.von_mises import VonMises
from gradstep.distributions.weibull import Weibull
from gradstep.distributions.wishart import Wishart

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ContinuousBernoulli",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "StudentT",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "constraints",
    "kl_divergence",
    "register_kl",
    "transform_to",
    *transforms.__all__,
]
