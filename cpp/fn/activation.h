// SPDX-License-Identifier: Apache-2.0
// Activation functions and the elementwise parts of losses, as functors: F.relu, F.gelu, mse..
// Attributes such as negative_slope are trailing operands that are always scalars. Values and
// gradients at kinks are PyTorch's. To add one see pointwise.h.
#pragma once
#include "fn/dual.h"
#include "fn/traits.h"

namespace gradstep {
inline namespace GS_ISA {

// ---- rectifiers ----

struct Relu : UnaryMap {
  static constexpr auto name = "relu";
  static constexpr auto doc = "max(input, 0); the gradient at 0 is 0.";
  static constexpr Types types = Arithmetic;
  static constexpr Saves saves = Output;
  static constexpr unsigned as = Fn | Method | InPlace | NnFunctional;
  template <class T> GS_FN T operator()(T x) const { return select(x < T(0), T(0), x); }
  template <class T> GS_FN T grad(T dy, T y) const { return select(y <= T(0), T(0), dy); }
};
struct Relu6 : UnaryMap {
  static constexpr auto name = "relu6";
  static constexpr auto doc = "min(max(input, 0), 6).";
  static constexpr Types types = Arithmetic;
  static constexpr Saves saves = Output;
  static constexpr unsigned as = InPlace | NnFunctional;
  template <class T> GS_FN T operator()(T x) const {
    return select(x < T(0), T(0), select(x > T(6), T(6), x));
  }
  template <class T> GS_FN T grad(T dy, T y) const {
    return select((y <= T(0)) | (y >= T(6)), T(0), dy);
  }
};
struct LeakyRelu : BinaryMap {
  static constexpr auto name = "leaky_relu";
  static constexpr auto doc = "input where positive, negative_slope * input elsewhere.";
  static constexpr unsigned as = InPlace | NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float negative_slope=0.01";
  template <class T> GS_FN T operator()(T x, T slope) const {
    return select(x > T(0), x, slope * x);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T slope) const {
    return select(x > T(0), dy, dy * slope);
  }
};
/// The core of F.prelu: the weight has been broadcast along the channels.
struct Prelu : BinaryMap {
  static constexpr auto name = "prelu";
  static constexpr auto doc = "input where positive, weight * input elsewhere.";
  static constexpr unsigned as = Internal;
  static constexpr const char* params = "Tensor weight";
  template <class T> GS_FN T operator()(T x, T w) const { return select(x > T(0), x, w * x); }
  template <int K, class T> GS_FN T grad(T dy, T x, T w) const {
    if constexpr (K == 0)
      return select(x > T(0), dy, dy * w);
    else
      return select(x > T(0), T(0), dy * x);
  }
};
struct Hardtanh : TernaryMap {
  static constexpr auto name = "hardtanh";
  static constexpr auto doc = "input clamped to [min_val, max_val].";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = InPlace | NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float min_val=-1.0, float max_val=1.0";
  template <class T> GS_FN T operator()(T x, T lo, T hi) const {
    return select(x < lo, lo, select(x > hi, hi, x));
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T lo, T hi) const {
    return select((x <= lo) | (x >= hi), T(0), dy);
  }
};
struct Threshold : TernaryMap {
  static constexpr auto name = "threshold";
  static constexpr auto doc = "input where above threshold, value elsewhere.";
  static constexpr Types types = Arithmetic;
  static constexpr unsigned as = Fn | InPlace | NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float threshold, float value";
  template <class T> GS_FN T operator()(T x, T limit, T value) const {
    return select(x <= limit, value, x);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T limit, T) const {
    return select(x <= limit, T(0), dy);
  }
};
struct Hardshrink : BinaryMap {
  static constexpr auto name = "hardshrink";
  static constexpr auto doc = "0 where |input| <= lambd, input elsewhere.";
  static constexpr unsigned as = Fn | Method | NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float lambd=0.5";
  template <class T> GS_FN T operator()(T x, T l) const {
    return select((x >= -l) & (x <= l), T(0), x);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T l) const {
    return select((x >= -l) & (x <= l), T(0), dy);
  }
};
struct Softshrink : BinaryMap {
  static constexpr auto name = "softshrink";
  static constexpr auto doc =
      "input moved towards 0 by lambd: sign(input) * max(|input| - lambd, 0).";
  static constexpr unsigned as = NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float lambd=0.5";
  template <class T> GS_FN T operator()(T x, T l) const {
    return select(x > l, x - l, select(x < -l, x + l, select(x == x, T(0), x)));
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T l) const {
    return select((x >= -l) & (x <= l), T(0), dy);
  }
};

// ---- exponential ----

/// min(x, 0), NaN kept: exp of a positive input is not used and must not overflow.
template <class T> GS_FN T negative_part(T x) { return select(x > T(0), T(0), x); }

struct Elu : BinaryMap {
  static constexpr auto name = "elu";
  static constexpr auto doc = "input where positive, alpha * (exp(input) - 1) elsewhere.";
  static constexpr unsigned as = InPlace | NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float alpha=1.0";
  template <class T> GS_FN T operator()(T x, T alpha) const {
    return select(x > T(0), x, alpha * expm1(negative_part(x)));
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T alpha) const {
    return select(x > T(0), dy, dy * alpha * exp(negative_part(x)));
  }
};
struct Celu : BinaryMap {
  static constexpr auto name = "celu";
  static constexpr auto doc = "input where positive, alpha * (exp(input / alpha) - 1) elsewhere.";
  static constexpr unsigned as = Fn | InPlace | NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float alpha=1.0";
  template <class T> GS_FN T operator()(T x, T alpha) const {
    return select(x > T(0), x, alpha * expm1(negative_part(x) / alpha));
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T alpha) const {
    return select(x > T(0), dy, dy * exp(negative_part(x) / alpha));
  }
};
struct SeluConstants : UnaryMap {  // Klambauer et al. 2017
  static constexpr double kScale = 1.0507009873554804934193349852946;
  static constexpr double kAlpha = 1.6732632423543772848170429916717;
};
struct Selu : SeluConstants {
  static constexpr auto name = "selu";
  static constexpr auto doc =
      "scale * elu(input, alpha) with scale 1.0507009873554805 and alpha 1.6732632423543772.";
  static constexpr unsigned as = Fn | InPlace | NnFunctional;
  template <class T> GS_FN T operator()(T x) const {
    return T(kScale) * select(x > T(0), x, T(kAlpha) * expm1(negative_part(x)));
  }
  template <class T> GS_FN T grad(T dy, T x) const {
    return dy * T(kScale) * select(x > T(0), T(1), T(kAlpha) * exp(negative_part(x)));
  }
};
struct Silu : UnaryMap {
  static constexpr auto name = "silu";
  static constexpr auto doc = "input * sigmoid(input).";
  static constexpr unsigned as = InPlace | NnFunctional;
  template <class T> GS_FN T operator()(T x) const { return x * sigmoid(x); }
  template <class T> GS_FN T grad(T dy, T x) const {
    T s = sigmoid(x);
    return dy * (s * (T(1) + x * (T(1) - s)));
  }
};
struct Mish : UnaryMap {
  static constexpr auto name = "mish";
  static constexpr auto doc = "input * tanh(log(1 + exp(input))).";
  static constexpr unsigned as = InPlace | NnFunctional;
  template <class T> GS_FN T operator()(T x) const { return x * tanh_softplus(x); }
  template <class T> GS_FN T grad(T dy, T x) const {
    T t = tanh_softplus(x);
    return dy * (t + x * sigmoid(x) * (T(1) - t * t));
  }
};
struct Softplus : TernaryMap {
  static constexpr auto name = "softplus";
  static constexpr auto doc =
      "log(1 + exp(beta * input)) / beta; input where beta * input > threshold.";
  static constexpr unsigned as = NnFunctional;
  static constexpr unsigned tensor_operands = 1;
  static constexpr const char* params = "float beta=1.0, float threshold=20.0";
  template <class T> GS_FN T operator()(T x, T beta, T limit) const {
    return select(x * beta > limit, x, softplus(x * beta) / beta);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T beta, T limit) const {
    return select(x * beta > limit, dy, dy * sigmoid(x * beta));
  }
};
struct LogSigmoid : UnaryMap {
  static constexpr auto name = "logsigmoid";
  static constexpr auto doc = "log(sigmoid(input)).";
  static constexpr unsigned as = NnFunctional;
  template <class T> GS_FN T operator()(T x) const {
    return negative_part(x) - log1p(exp(-abs(x)));
  }
  template <class T> GS_FN T grad(T dy, T x) const { return dy * sigmoid(-x); }
};

// ---- gaussian error linear unit ----

struct Gelu : UnaryMap {
  static constexpr auto name = "gelu";
  static constexpr auto doc =
      "input times the normal distribution function, x * (1 + erf(x / sqrt(2))) / 2.";
  static constexpr unsigned as = NnFunctional;
  template <class T> GS_FN T operator()(T x) const { return times_normal_cdf(x); }
  template <class T> GS_FN T grad(T dy, T x) const {
    return dy * (normal_cdf(x) + x * normal_pdf(x));
  }
};
struct GeluTanh : UnaryMap {
  static constexpr auto name = "gelu_tanh";
  static constexpr auto doc = "gelu with the tanh approximation.";
  static constexpr unsigned as = Internal;
  static constexpr double kBeta = 0.79788456080286535588;
  static constexpr double kKappa = 0.044715;
  template <class T> GS_FN T operator()(T x) const {
    return T(0.5) * x * (T(1) + tanh(T(kBeta) * (x + T(kKappa) * x * x * x)));
  }
  template <class T> GS_FN T grad(T dy, T x) const {
    T t = tanh(T(kBeta) * (x + T(kKappa) * x * x * x));
    T inner = T(kBeta) * (T(1) + T(3 * kKappa) * x * x);
    return dy * (T(0.5) * (T(1) + t) + T(0.5) * x * ((T(1) - t * t) * inner));
  }
};

// ---- others ----

struct Softsign : UnaryMap {
  static constexpr auto name = "softsign";
  static constexpr auto doc = "input / (1 + |input|).";
  static constexpr unsigned as = NnFunctional;
  template <class T> GS_FN T operator()(T x) const { return x / (T(1) + abs(x)); }
  template <class T> GS_FN T grad(T dy, T x) const {
    T a = T(1) + abs(x);
    return dy / (a * a);
  }
};
struct Tanhshrink : UnaryMap {
  static constexpr auto name = "tanhshrink";
  static constexpr auto doc = "input - tanh(input).";
  static constexpr unsigned as = NnFunctional;
  template <class T> GS_FN T operator()(T x) const { return x - tanh(x); }
  template <class T> GS_FN T grad(T dy, T x) const {
    T t = tanh(x);
    return dy * (t * t);
  }
};
struct Hardsigmoid : UnaryMap {
  static constexpr auto name = "hardsigmoid";
  static constexpr auto doc = "min(max(input + 3, 0), 6) / 6.";
  static constexpr unsigned as = InPlace | NnFunctional;
  template <class T> GS_FN T operator()(T x) const {
    T y = x + T(3);
    return select(y < T(0), T(0), select(y > T(6), T(6), y)) / T(6);
  }
  template <class T> GS_FN T grad(T dy, T x) const {
    return select((x > T(-3)) & (x < T(3)), dy / T(6), T(0));
  }
};
struct Hardswish : UnaryMap {
  static constexpr auto name = "hardswish";
  static constexpr auto doc = "input * hardsigmoid(input).";
  static constexpr unsigned as = InPlace | NnFunctional;
  template <class T> GS_FN T operator()(T x) const {
    T y = x + T(3);
    return x * select(y < T(0), T(0), select(y > T(6), T(6), y)) / T(6);
  }
  template <class T> GS_FN T grad(T dy, T x) const {
    return select(x <= T(-3), T(0), select(x < T(3), dy * (x / T(3) + T(0.5)), dy));
  }
};

// ---- losses, before the reduction ----

struct MseElementwise : BinaryMap {
  static constexpr auto name = "mse_elementwise";
  static constexpr auto doc = "(x - t)^2.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t) const {
    T d = x - t;
    return d * d;
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T t) const {
    if constexpr (K == 0)
      return T(2) * (x - t) * dy;
    else
      return T(2) * (t - x) * dy;
  }
};
struct L1Elementwise : BinaryMap {
  static constexpr auto name = "l1_elementwise";
  static constexpr auto doc = "|x - t|.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t) const { return abs(x - t); }
  template <int K, class T> GS_FN T grad(T dy, T x, T t) const {
    if constexpr (K == 0)
      return dy * sign(x - t);
    else
      return dy * sign(t - x);
  }
};
/// Quadratic within beta, linear outside, slope 1.
struct SmoothL1Elementwise : TernaryMap {
  static constexpr auto name = "smooth_l1_elementwise";
  static constexpr auto doc = "d^2 / (2 beta) for d = |x - t| < beta, else d - beta / 2.";
  static constexpr unsigned as = Internal;
  static constexpr unsigned tensor_operands = 2;
  template <class T> GS_FN T operator()(T x, T t, T beta) const {
    T d = abs(x - t);
    return select(d < beta, T(0.5) * d * d / beta, d - T(0.5) * beta);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T t, T beta) const {
    T d = x - t, s = K == 0 ? dy : -dy;
    return s * select(abs(d) < beta, d / beta, sign(d));
  }
};
/// Quadratic within delta, linear outside, slope delta.
struct HuberElementwise : TernaryMap {
  static constexpr auto name = "huber_elementwise";
  static constexpr auto doc = "d^2 / 2 for d = |x - t| <= delta, else delta (d - delta / 2).";
  static constexpr unsigned as = Internal;
  static constexpr unsigned tensor_operands = 2;
  template <class T> GS_FN T operator()(T x, T t, T delta) const {
    T d = abs(x - t);
    return select(d <= delta, T(0.5) * d * d, delta * (d - T(0.5) * delta));
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T t, T delta) const {
    T d = x - t, s = K == 0 ? dy : -dy;
    return s * select(abs(d) <= delta, d, delta * sign(d));
  }
};
/// The logarithms are clamped at -100, as in PyTorch, so that the loss is finite.
struct BceElementwise : BinaryMap {
  static constexpr auto name = "bce_elementwise";
  static constexpr auto doc = "-(t log p + (1 - t) log(1 - p)).";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T p, T t) const {
    T q = log1p(-p), l = log(p);
    q = select(q < T(-100), T(-100), q);
    l = select(l < T(-100), T(-100), l);
    return (t - T(1)) * q - t * l;
  }
  template <int K, class T> GS_FN T grad(T dy, T p, T t) const {
    T v = (T(1) - p) * p;
    T q = log1p(-p), l = log(p);
    T dt = select(q < T(-100), T(-100), q) - select(l < T(-100), T(-100), l);
    if constexpr (K == 0)
      return dy * (p - t) / select(v < T(1e-12), T(1e-12), v);
    else
      return dy * dt;
  }
};
struct BceWithLogitsElementwise : BinaryMap {
  static constexpr auto name = "bce_with_logits_elementwise";
  static constexpr auto doc = "bce of sigmoid(x), without overflow.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t) const { return softplus(x) - x * t; }
  template <int K, class T> GS_FN T grad(T dy, T x, T t) const {
    if constexpr (K == 0)
      return dy * (sigmoid(x) - t);
    else
      return -dy * x;
  }
};
/// w weighs the positive class.
struct BceWithLogitsPosWeightElementwise : TernaryMap {
  static constexpr auto name = "bce_with_logits_pos_weight_elementwise";
  static constexpr auto doc = "-(w t log sigmoid(x) + (1 - t) log sigmoid(-x)).";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t, T w) const {
    return (T(1) - t) * x + (T(1) + (w - T(1)) * t) * softplus(-x);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T t, T w) const {
    if constexpr (K == 0)
      return dy * ((w * t + T(1) - t) * sigmoid(x) - w * t);
    else if constexpr (K == 1)
      return dy * ((w - T(1)) * softplus(-x) - x);
    else
      return dy * t * softplus(-x);
  }
};
struct KlDivElementwise : BinaryMap {
  static constexpr auto name = "kl_div_elementwise";
  static constexpr auto doc = "t (log t - x), 0 where t is 0; x is a log-probability.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t) const {
    return select(t == T(0), T(0), t * log(t)) - t * x;
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T t) const {
    if constexpr (K == 0)
      return -dy * t;
    else
      return dy * (select(t > T(0), log(t) + T(1), T(0)) - x);
  }
};
struct KlDivLogElementwise : BinaryMap {
  static constexpr auto name = "kl_div_log_elementwise";
  static constexpr auto doc = "exp(t) (t - x); both are log-probabilities.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t) const { return exp(t) * (t - x); }
  template <int K, class T> GS_FN T grad(T dy, T x, T t) const {
    if constexpr (K == 0)
      return -dy * exp(t);
    else
      return dy * exp(t) * (t - x + T(1));
  }
};
struct SoftMarginElementwise : BinaryMap {
  static constexpr auto name = "soft_margin_elementwise";
  static constexpr auto doc = "log(1 + exp(-t x)).";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t) const { return softplus(-t * x); }
  template <int K, class T> GS_FN T grad(T dy, T x, T t) const {
    if constexpr (K == 0)
      return -dy * t * sigmoid(-t * x);
    else
      return -dy * x * sigmoid(-t * x);
  }
};
struct PoissonNllElementwise : TernaryMap {
  static constexpr auto name = "poisson_nll_elementwise";
  static constexpr auto doc = "x - t log(x + eps).";
  static constexpr unsigned as = Internal;
  static constexpr unsigned tensor_operands = 2;
  template <class T> GS_FN T operator()(T x, T t, T eps) const { return x - t * log(x + eps); }
  template <int K, class T> GS_FN T grad(T dy, T x, T t, T eps) const {
    if constexpr (K == 0)
      return dy * (T(1) - t / (x + eps));
    else
      return -dy * log(x + eps);
  }
};
struct PoissonNllLogElementwise : BinaryMap {
  static constexpr auto name = "poisson_nll_log_elementwise";
  static constexpr auto doc = "exp(x) - t x.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t) const { return exp(x) - t * x; }
  template <int K, class T> GS_FN T grad(T dy, T x, T t) const {
    if constexpr (K == 0)
      return dy * (exp(x) - t);
    else
      return -dy * x;
  }
};
struct GaussianNllElementwise : TernaryMap {
  static constexpr auto name = "gaussian_nll_elementwise";
  static constexpr auto doc = "(log var + (x - t)^2 / var) / 2.";
  static constexpr unsigned as = Internal;
  template <class T> GS_FN T operator()(T x, T t, T var) const {
    T d = x - t;
    return T(0.5) * (log(var) + d * d / var);
  }
  template <int K, class T> GS_FN T grad(T dy, T x, T t, T var) const {
    if constexpr (K == 0)
      return dy * (x - t) / var;
    else if constexpr (K == 1)
      return dy * (t - x) / var;
    else
      return T(0.5) * dy * (T(1) - (x - t) * (x - t) / var) / var;
  }
};

// ---- lists ----

using Activations = Ops<Relu, Relu6, LeakyRelu, Prelu, Hardtanh, Threshold, Hardshrink, Softshrink,
                        Elu, Celu, Selu, Silu, Mish, Softplus, LogSigmoid, Gelu, GeluTanh, Softsign,
                        Tanhshrink, Hardsigmoid, Hardswish>;
using Losses = Ops<MseElementwise, L1Elementwise, SmoothL1Elementwise, HuberElementwise,
                   BceElementwise, BceWithLogitsElementwise, BceWithLogitsPosWeightElementwise,
                   KlDivElementwise, KlDivLogElementwise, SoftMarginElementwise,
                   PoissonNllElementwise, PoissonNllLogElementwise, GaussianNllElementwise>;

}  // namespace GS_ISA
}  // namespace gradstep
