// SPDX-License-Identifier: Apache-2.0
// Numbers that are drawn by rejection, one by one, in double: the same code on every device. `draw`
// gives uniform() in (0, 1] or [0, 1) and normal() of mean 0 and deviation 1, as its generator
// makes them:
//   double x = draw_gamma(draw, shape);
// Includes fn/dual.h.
#pragma once
#include "fn/dual.h"

namespace gradstep {
inline namespace GS_ISA {

/// A Poisson count; rate > 0 and finite.
template <class Source>
GS_FN double draw_poisson(Source& draw, double rate) {
  if (rate < 10) {  // multiply uniforms until below exp(-rate)
    const double limit = exp(-rate);
    double k = 0;
    for (double product = draw.uniform(); product > limit; product *= draw.uniform()) k += 1;
    return k;
  }
  // Transformed rejection with squeeze: Hoermann, "The transformed rejection method for generating
  // Poisson random variables", 1993, algorithm PTRS.
  const double log_rate = log(rate);
  const double b = 0.931 + 2.53 * sqrt(rate);
  const double a = -0.059 + 0.02483 * b;
  const double log_inverse_alpha = log(1.1239 + 1.1328 / (b - 3.4));
  const double v_accept = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const double u = draw.uniform() - 0.5;
    const double v = draw.uniform();
    const double us = 0.5 - abs(u);
    const double k = floor((2 * a / us + b) * u + rate + 0.43);
    if (us >= 0.07 && v <= v_accept) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (log(v) + log_inverse_alpha - log(a / (us * us) + b) <=
        -rate + k * log_rate - lgamma(k + 1)) {
      return k;
    }
  }
}

/// A number of the gamma distribution of this shape and rate 1: Marsaglia and Tsang, "A simple
/// method for generating gamma variables", 2000; shapes below 1 by their boost.
template <class Source>
GS_FN double draw_gamma(Source& draw, double shape) {
  double scale = 1;
  if (shape < 1) {
    if (shape == 0) return 0;
    scale = pow(1 - draw.uniform(), 1 / shape);
    shape += 1;
  }
  const double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
  for (;;) {
    double x, v;
    do {
      x = draw.normal();
      v = 1 + c * x;
    } while (v <= 0);
    v = v * v * v;
    const double u = 1 - draw.uniform(), square = x * x;
    if (u < 1 - 0.0331 * square * square) return scale * d * v;
    if (log(u) < 0.5 * square + d * (1 - v + log(v))) return scale * d * v;
    if (v != v) return v;
  }
}

/// How many of n trials succeed, each with probability p <= 1/2.
template <class Source>
GS_FN double draw_successes(Source& draw, double n, double p) {
  if (n * p < 10) {  // the trials up to each success are geometric
    const double log_failure = log1p(-p);
    double trials = 0, successes = 0;
    for (;;) {
      trials += ceil(log(draw.uniform()) / log_failure);
      if (!(trials <= n)) return successes;
      successes += 1;
    }
  }
  // Transformed rejection with squeeze: Hoermann, "The generation of binomial random variates",
  // 1993, algorithm BTRS.
  const double deviation = sqrt(n * p * (1 - p));
  const double b = 1.15 + 2.53 * deviation;
  const double a = -0.0873 + 0.0248 * b + 0.01 * p;
  const double center = n * p + 0.5;
  const double v_accept = 0.92 - 4.2 / b;
  const double log_odds = log(p / (1 - p));
  const double alpha = (2.83 + 5.1 / b) * deviation;
  const double mode = floor((n + 1) * p);
  const double at_mode = lgamma(mode + 1) + lgamma(n - mode + 1);
  for (;;) {
    const double u = draw.uniform() - 0.5;
    const double v = draw.uniform();
    const double us = 0.5 - abs(u);
    const double k = floor((2 * a / us + b) * u + center);
    if (us >= 0.07 && v <= v_accept) return k;
    if (k < 0 || k > n) continue;
    if (log(v * alpha / (a / (us * us) + b)) <=
        at_mode - lgamma(k + 1) - lgamma(n - k + 1) + (k - mode) * log_odds) {
      return k;
    }
  }
}

/// A binomial count of n trials with probability p: NaN for a NaN.
template <class Source>
GS_FN double draw_binomial(Source& draw, double n, double p) {
  if (n != n || p != p) return n + p;
  if (n <= 0 || p <= 0) return 0;
  if (p >= 1) return n;
  return p <= 0.5 ? draw_successes(draw, n, p) : n - draw_successes(draw, n, 1 - p);
}

/// How a gamma number x moves with its shape a while its quantile stays: dx/da = -(dP/da) / (dP/dx)
/// with P(a, x) the regularised lower incomplete gamma function (DLMF 8.2.4). Left of the mode by
/// P's power series (DLMF 8.11.4), right of it by the continued fraction of 1 - P (DLMF 8.9.2);
/// large shapes by Wilson and Hilferty's cube (1931), whose error falls as 1/a.
struct GammaSlope {
  GS_FN double operator()(double a, double x) const {
    if (!(x > 0)) return x == 0 ? 0 : x;
    if (a > 1e5) return by_cube(a, x);
    return x <= a + 1 ? by_series(a, x) : by_fraction(a, x);
  }

 private:
  static constexpr int kMost = 100000;

  GS_FN static double by_cube(double a, double x) {
    const double w = exp(log(x / a) / 3);
    return w * w * (w + 1.5 * (1 - w) + 1 / (6 * a));
  }

  GS_FN static double by_series(double a, double x) {
    double term = 1, harmonic = 0, sum = 1, slope = 0;
    for (int k = 1; k < kMost && term > 1e-17 * sum; ++k) {
      term *= x / (a + k);
      harmonic += 1 / (a + k);
      sum += term;
      slope -= term * harmonic;
    }
    return -(x / a) * ((log(x) - digamma(a + 1)) * sum + slope);
  }

  // Lentz's method as Thompson and Barnett (1986) have it, with the derivative by a carried along.
  GS_FN static double by_fraction(double a, double x) {
    using D = Dual<double>;
    D b(x + 1 - a, -1.0), c(1e300), d = D(1.0) / b, h = d;
    for (int i = 1; i < kMost; ++i) {
      const D numerator(i * (a - i), double(i));
      b += D(2.0);
      d = D(1.0) / (numerator * d + b);
      c = b + numerator / c;
      const D factor = c * d;
      h *= factor;
      if (abs(factor.v - 1) < 1e-16 && abs(factor.d) < 1e-16) break;
    }
    return x * ((log(x) - digamma(a)) * h.v + h.d);
  }
};

}  // namespace GS_ISA
}  // namespace gradstep
