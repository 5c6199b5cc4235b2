// SPDX-License-Identifier: Apache-2.0
// The optimizers' update rules, one functor each, in PyTorch's order of operations.
//   auto f = AdamUpdate<float>::make(h, &step, true);   // once for each step count
//   f(p, g, exp_avg, exp_avg_sq);                       // for each element, T = Vec or scalar
// make() gets the hyperparameters `h` (lr first) and the parameter's own counters, which it
// advances; `single` says that they are stored as float. Bit i of kWrites is set if tensor i is
// written. A branch on a hyperparameter takes all lanes the same way. Includes fn/math.h.
#pragma once
#include "fn/math.h"

namespace gradstep {
inline namespace GS_ISA {

// ---- arithmetic ----

/// A product that stays rounded: without this the compiler may fuse it into the addition that
/// follows.
template <Real T>
GS_FN T rounded(T x) {
#if !GS_CUDA && defined(__FMA__)
  if constexpr (kIsVec<T>)
    asm("" : "+v"(x.v));
  else
    asm("" : "+v"(x));
#endif
  return x;
}

/// a * b + c, rounded once where the machine can. A product as c must be rounded(), or either may
/// be fused.
template <Real T>
GS_FN T mul_add(T a, T b, T c) {
  return a * b + c;
}

/// a moved towards b by the fraction w, as lerp_ does it.
template <class T, class S>
GS_FN T lerp(T a, T b, S w) {
  if (w < S(0.5)) return mul_add(T(w), b - a, a);
  return mul_add(T(w - S(1)), b - a, b);
}

/// b to the power e, as Python computes it: once for each step, so that libm's accuracy costs
/// nothing.
GS_FN double power(double b, double e) {
#if GS_CUDA
  return ::pow(b, e);
#else
  return __builtin_pow(b, e);
#endif
}

/// A new value of a counter, as it will be read back.
GS_FN double stored(double value, bool single) { return single ? double(float(value)) : value; }

/// What every rule does first: the sign of the objective and L2 weight decay.
template <class S>
struct GradientPrep {
  S weight_decay;
  bool maximize;
  template <class T>
  GS_FN T operator()(T p, T g) const {
    if (maximize) g = -g;
    if (weight_decay != S(0)) g = mul_add(p, T(weight_decay), g);
    return g;
  }
};

// ---- SGD ----

/// h: lr, momentum, dampening, weight_decay, nesterov, maximize.
template <class S>
struct SgdUpdate {
  static constexpr int kTensors = 2, kCounters = 0;
  static constexpr unsigned kWrites = 0b01;
  S minus_lr;
  GradientPrep<S> prep;
  GS_FN static SgdUpdate make(const double* h, double*, bool) {
    return {S(-h[0]), {S(h[3]), h[5] != 0}};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g) const {
    p = mul_add(prep(p, g), T(minus_lr), p);
  }
};

/// The first buffer is the gradient itself, without dampening.
template <class S, bool kFirst>
struct SgdMomentumUpdate {
  static constexpr int kTensors = 3, kCounters = 0;
  static constexpr unsigned kWrites = 0b101;
  S minus_lr, momentum, keep;
  GradientPrep<S> prep;
  bool nesterov;
  GS_FN static SgdMomentumUpdate make(const double* h, double*, bool) {
    return {S(-h[0]), S(h[1]), S(1 - h[2]), {S(h[3]), h[5] != 0}, h[4] != 0};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& buf) const {
    const T d = prep(p, g);
    if constexpr (kFirst)
      buf = d;
    else
      buf = mul_add(d, T(keep), rounded(buf * T(momentum)));
    const T step = nesterov ? mul_add(buf, T(momentum), d) : buf;
    p = mul_add(step, T(minus_lr), p);
  }
};

// ---- the Adam family ----

/// h: lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay. Counter:
/// step.
template <class S>
struct AdamUpdateBase {
  static constexpr int kCounters = 1;
  // Step size and eps are multiplied by root2, the square root of the second correction, so that
  // sqrt(v) / root2 + eps costs no division.
  S minus_step_size, beta2, one_minus_beta1, one_minus_beta2, eps, shrink;
  GradientPrep<S> prep;
  bool decoupled;
  GS_FN static AdamUpdateBase make(const double* h, double* counter, bool single) {
    const double step = counter[0] = stored(counter[0] + 1, single);
    const double correction1 = 1 - power(h[1], step), correction2 = 1 - power(h[2], step);
    const double root2 = sqrt(correction2);
    const bool decoupled = h[7] != 0 && h[4] != 0;
    return {S(-(h[0] / correction1) * root2),
            S(h[2]),
            S(1 - h[1]),
            S(1 - h[2]),
            S(h[3] * root2),
            S(1 - h[0] * h[4]),
            {decoupled ? S(0) : S(h[4]), h[6] != 0},
            decoupled};
  }
  /// Decays p, updates both averages and returns nothing; finish() takes the step.
  template <class T>
  GS_FN void moments(T& p, T g, T& m, T& v) const {
    if (decoupled) p = rounded(p * T(shrink));
    g = prep(p, g);
    m = lerp(m, g, one_minus_beta1);
    v = mul_add(T(one_minus_beta2) * g, g, rounded(v * T(beta2)));
  }
  template <class T>
  GS_FN void finish(T& p, T m, T v) const {
    p = p + T(minus_step_size) * m / (sqrt(v) + T(eps));
  }
};

template <class S>
struct AdamUpdate : AdamUpdateBase<S> {
  static constexpr int kTensors = 4;
  static constexpr unsigned kWrites = 0b1101;
  GS_FN static AdamUpdate make(const double* h, double* c, bool single) {
    return {AdamUpdateBase<S>::make(h, c, single)};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& m, T& v) const {
    this->moments(p, g, m, v);
    this->finish(p, m, v);
  }
};

template <class S>
struct AdamAmsgradUpdate : AdamUpdateBase<S> {
  static constexpr int kTensors = 5;
  static constexpr unsigned kWrites = 0b11101;
  GS_FN static AdamAmsgradUpdate make(const double* h, double* c, bool single) {
    return {AdamUpdateBase<S>::make(h, c, single)};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& m, T& v, T& largest) const {
    this->moments(p, g, m, v);
    largest = select(v <= largest, largest, v);  // a NaN in v wins
    this->finish(p, m, largest);
  }
};

/// h: lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize.
/// Counters: step, mu_product.
template <class S>
struct NAdamUpdate {
  static constexpr int kTensors = 4, kCounters = 2;
  static constexpr unsigned kWrites = 0b1101;
  S beta2, one_minus_beta1, one_minus_beta2, eps, correction2, shrink, of_grad, of_average;
  GradientPrep<S> prep;
  bool decoupled;
  GS_FN static NAdamUpdate make(const double* h, double* counter, bool single) {
    const double step = counter[0] = stored(counter[0] + 1, single);
    const double mu = h[1] * (1.0 - 0.5 * power(0.96, step * h[5]));
    const double next_mu = h[1] * (1.0 - 0.5 * power(0.96, (step + 1) * h[5]));
    const double product = counter[1] = stored(counter[1] * stored(mu, single), single);
    const bool decoupled = h[6] != 0 && h[4] != 0;
    return {S(h[2]),
            S(1 - h[1]),
            S(1 - h[2]),
            S(h[3]),
            S(1 - power(h[2], step)),
            S(1 - h[0] * h[4]),
            S(-h[0] * (1.0 - mu) / (1.0 - product)),
            S(-h[0] * next_mu / (1.0 - product * next_mu)),
            {decoupled ? S(0) : S(h[4]), h[7] != 0},
            decoupled};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& m, T& v) const {
    if (decoupled) p = rounded(p * T(shrink));
    const T d = prep(p, g);
    m = lerp(m, d, one_minus_beta1);
    v = mul_add(T(one_minus_beta2) * d, d, rounded(v * T(beta2)));
    const T denom = sqrt(v / T(correction2)) + T(eps);
    p = p + T(of_grad) * d / denom;
    p = p + T(of_average) * m / denom;
  }
};

/// h: lr, beta1, beta2, eps, weight_decay, decoupled_weight_decay, maximize. Counter: step.
template <class S>
struct RAdamUpdate {
  static constexpr int kTensors = 4, kCounters = 1;
  static constexpr unsigned kWrites = 0b1101;
  S lr, beta2, one_minus_beta1, one_minus_beta2, eps, correction1, root_correction2, rectification,
      shrink;
  GradientPrep<S> prep;
  bool decoupled, rectify;
  GS_FN static RAdamUpdate make(const double* h, double* counter, bool single) {
    const double step = counter[0] = stored(counter[0] + 1, single);
    const double power2 = power(h[2], step), correction2 = 1 - power2;
    const double most = 2 / (1 - h[2]) - 1;
    const double length = most - 2 * step * power2 / correction2;
    const bool rectify = length > 5.0;
    const double variance = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length);
    const bool decoupled = h[5] != 0 && h[4] != 0;
    return {S(h[0]),
            S(h[2]),
            S(1 - h[1]),
            S(1 - h[2]),
            S(h[3]),
            S(1 - power(h[1], step)),
            S(sqrt(correction2)),
            rectify ? S(sqrt(variance)) : S(1),
            S(1 - h[0] * h[4]),
            {decoupled ? S(0) : S(h[4]), h[6] != 0},
            decoupled,
            rectify};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& m, T& v) const {
    if (decoupled) p = rounded(p * T(shrink));
    const T d = prep(p, g);
    m = lerp(m, d, one_minus_beta1);
    v = mul_add(T(one_minus_beta2) * d, d, rounded(v * T(beta2)));
    T update = m / T(correction1) * T(lr);
    if (rectify) update = update * (T(root_correction2) / (sqrt(v) + T(eps))) * T(rectification);
    p = p - rounded(update);
  }
};

/// h: lr, beta1, beta2, eps, weight_decay, maximize. Counter: step. States: exp_avg, exp_inf.
template <class S>
struct AdamaxUpdate {
  static constexpr int kTensors = 4, kCounters = 1;
  static constexpr unsigned kWrites = 0b1101;
  S minus_lr, beta2, one_minus_beta1, eps;
  GradientPrep<S> prep;
  GS_FN static AdamaxUpdate make(const double* h, double* counter, bool single) {
    const double step = counter[0] = stored(counter[0] + 1, single);
    return {
        S(-(h[0] / (1 - power(h[1], step)))), S(h[2]), S(1 - h[1]), S(h[3]), {S(h[4]), h[5] != 0}};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& m, T& largest) const {
    const T d = prep(p, g);
    m = lerp(m, d, one_minus_beta1);
    const T size = abs(d) + T(eps), decayed = largest * T(beta2);
    largest = select(size <= decayed, decayed, size);  // a NaN in either wins
    largest = select(isnan(decayed), decayed, largest);
    p = p + T(minus_lr) * m / largest;
  }
};

// ---- adaptive step sizes ----

/// h: lr, alpha, eps, weight_decay, momentum, centered, maximize. Counter: step.
/// States: square_avg, then grad_avg if centered, then momentum_buffer.
template <class S>
struct RmspropUpdateBase {
  static constexpr int kCounters = 1;
  S minus_lr, alpha, one_minus_alpha, eps, momentum;
  GradientPrep<S> prep;
  GS_FN static RmspropUpdateBase make(const double* h, double* counter, bool single) {
    counter[0] = stored(counter[0] + 1, single);
    return {S(-h[0]), S(h[1]), S(1 - h[1]), S(h[2]), S(h[4]), {S(h[3]), h[6] != 0}};
  }
  template <class T>
  GS_FN void square(T g, T& avg) const {
    avg = mul_add(T(one_minus_alpha) * g, g, rounded(avg * T(alpha)));
  }
  /// The denominator's square once the mean is taken off.
  template <class T>
  GS_FN T variance(T g, T square_avg, T& grad_avg) const {
    grad_avg = lerp(grad_avg, g, one_minus_alpha);
    return mul_add(-grad_avg, grad_avg, square_avg);
  }
  template <class T>
  GS_FN void plain_step(T& p, T g, T variance) const {
    p = p + T(minus_lr) * g / (sqrt(variance) + T(eps));
  }
  template <class T>
  GS_FN void momentum_step(T& p, T g, T variance, T& buf) const {
    buf = rounded(buf * T(momentum)) + g / (sqrt(variance) + T(eps));
    p = mul_add(buf, T(minus_lr), p);
  }
};

template <class S, bool kCentered, bool kMomentum>
struct RmspropUpdate : RmspropUpdateBase<S> {
  static constexpr int kTensors = 3 + kCentered + kMomentum;
  static constexpr unsigned kWrites = ((1u << kTensors) - 1) & ~2u;
  GS_FN static RmspropUpdate make(const double* h, double* c, bool single) {
    return {RmspropUpdateBase<S>::make(h, c, single)};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& square_avg) const {
    const T d = this->prep(p, g);
    this->square(d, square_avg);
    this->plain_step(p, d, square_avg);
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& square_avg, T& extra) const {
    const T d = this->prep(p, g);
    this->square(d, square_avg);
    if constexpr (kCentered)
      this->plain_step(p, d, this->variance(d, square_avg, extra));
    else
      this->momentum_step(p, d, square_avg, extra);
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& square_avg, T& grad_avg, T& buf) const {
    const T d = this->prep(p, g);
    this->square(d, square_avg);
    this->momentum_step(p, d, this->variance(d, square_avg, grad_avg), buf);
  }
};

/// h: lr, lr_decay, eps, weight_decay, initial_accumulator_value, maximize. Counter: step. State:
/// sum.
template <class S>
struct AdagradUpdate {
  static constexpr int kTensors = 3, kCounters = 1;
  static constexpr unsigned kWrites = 0b101;
  S minus_lr, eps;
  GradientPrep<S> prep;
  GS_FN static AdagradUpdate make(const double* h, double* counter, bool single) {
    const double step = counter[0] = stored(counter[0] + 1, single);
    return {S(-(h[0] / (1 + (step - 1) * h[1]))), S(h[2]), {S(h[3]), h[5] != 0}};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& sum) const {
    const T d = prep(p, g);
    sum = mul_add(d, d, sum);
    p = p + T(minus_lr) * d / (sqrt(sum) + T(eps));
  }
};

/// h: lr, rho, eps, weight_decay, maximize. Counter: step. States: square_avg, acc_delta.
template <class S>
struct AdadeltaUpdate {
  static constexpr int kTensors = 4, kCounters = 1;
  static constexpr unsigned kWrites = 0b1101;
  S minus_lr, rho, one_minus_rho, eps;
  GradientPrep<S> prep;
  GS_FN static AdadeltaUpdate make(const double* h, double* counter, bool single) {
    counter[0] = stored(counter[0] + 1, single);
    return {S(-h[0]), S(h[1]), S(1 - h[1]), S(h[2]), {S(h[3]), h[4] != 0}};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& square_avg, T& acc_delta) const {
    const T d = prep(p, g);
    square_avg = mul_add(T(one_minus_rho) * d, d, rounded(square_avg * T(rho)));
    const T delta = sqrt(acc_delta + T(eps)) / sqrt(square_avg + T(eps)) * d;
    acc_delta = mul_add(T(one_minus_rho) * delta, delta, rounded(acc_delta * T(rho)));
    p = mul_add(delta, T(minus_lr), p);
  }
};

// ---- others ----

/// h: lr, eta_minus, eta_plus, smallest step, largest step, maximize. Counter: step. States: prev,
/// step_size.
template <class S>
struct RpropUpdate {
  static constexpr int kTensors = 4, kCounters = 1;
  static constexpr unsigned kWrites = 0b1101;
  S eta_minus, eta_plus, smallest, largest;
  bool maximize;
  GS_FN static RpropUpdate make(const double* h, double* counter, bool single) {
    counter[0] = stored(counter[0] + 1, single);
    return {S(h[1]), S(h[2]), S(h[3]), S(h[4]), h[5] != 0};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& prev, T& step_size) const {
    T d = maximize ? -g : g;
    const T agreement = d * prev;
    const auto turned = agreement < T(0);
    const T factor = select(turned, T(eta_minus), select(agreement > T(0), T(eta_plus), T(1)));
    step_size = min(max(step_size * factor, T(smallest)), T(largest));
    d = select(turned, T(0), d);
    p = p - sign(d) * step_size;
    prev = d;
  }
};

/// h: lr, lambd, alpha, t0, weight_decay, maximize. Counters: step, eta, mu. State: ax.
template <class S>
struct AsgdUpdate {
  static constexpr int kTensors = 3, kCounters = 3;
  static constexpr unsigned kWrites = 0b101;
  S shrink, minus_eta, mu;
  GradientPrep<S> prep;
  bool averages;
  GS_FN static AsgdUpdate make(const double* h, double* counter, bool single) {
    const double step = counter[0] = stored(counter[0] + 1, single);
    const double eta = counter[1], mu = counter[2];
    counter[1] = stored(h[0] / power(1 + h[1] * h[0] * step, h[2]), single);
    counter[2] = stored(1 / (step - h[3] > 1 ? step - h[3] : 1), single);
    return {S(1 - h[1] * eta), S(-eta), S(mu), {S(h[4]), h[5] != 0}, mu != 1};
  }
  template <class T>
  GS_FN void operator()(T& p, T& g, T& ax) const {
    const T d = prep(p, g);
    p = mul_add(d, T(minus_eta), rounded(p * T(shrink)));
    ax = averages ? mul_add(p - ax, T(mu), ax) : p;
  }
};

// ---- plain arithmetic on lists ----

/// h: factor. x *= factor
template <class S>
struct ScaleInPlace {
  static constexpr int kTensors = 1, kCounters = 0;
  static constexpr unsigned kWrites = 0b1;
  S factor;
  GS_FN static ScaleInPlace make(const double* h, double*, bool) { return {S(h[0])}; }
  template <class T>
  GS_FN void operator()(T& x) const {
    x = x * T(factor);
  }
};

/// h: the total norm of some tensors, the largest that it may be. x *= min(1, largest / (total +
/// 1e-6)), computed as PyTorch computes it: a NaN total makes everything NaN.
template <class S>
struct ScaleToNorm {
  static constexpr int kTensors = 1, kCounters = 0;
  static constexpr unsigned kWrites = 0b1;
  S factor;
  GS_FN static ScaleToNorm make(const double* h, double*, bool) {
    const S wanted = S(1) / (S(h[0]) + S(1e-6)) * S(h[1]);
    return {wanted > S(1) ? S(1) : wanted};
  }
  template <class T>
  GS_FN void operator()(T& x) const {
    x = x * T(factor);
  }
};

// ---- optimizers with matrices: the parts that are elementwise, see optim/matrix.h ----

/// h: lr, beta2_decay, weight_decay, maximize. Counter: step. Three numbers of each parameter: what
/// weight decay leaves of it, the weight of the new squares, and the relative step, negative.
template <class S>
struct AdafactorNumbers {
  static constexpr int kTensors = 3, kCounters = 1;
  static constexpr unsigned kWrites = 0b111;
  S shrink, weight, step;
  GS_FN static AdafactorNumbers make(const double* h, double* counter, bool single) {
    const double t = counter[0] = stored(counter[0] + 1, single);
    const double most = 1 / sqrt(t);
    const double rho = h[0] < most ? h[0] : most;
    return {S(1 - h[0] * h[2]), S(power(t, h[1])), S(h[3] != 0 ? rho : -rho)};
  }
  template <class T>
  GS_FN void operator()(T& shrunk, T& of_squares, T& relative) const {
    shrunk = T(shrink);
    of_squares = T(weight);
    relative = T(step);
  }
};

/// h: lr, weight_decay, momentum, nesterov. The direction to make orthogonal.
template <class S>
struct MuonMomentum {
  static constexpr int kTensors = 3, kCounters = 0;
  static constexpr unsigned kWrites = 0b101;
  S momentum, rest;
  bool nesterov;
  GS_FN static MuonMomentum make(const double* h, double*, bool) {
    return {S(h[2]), S(1 - h[2]), h[3] != 0};
  }
  template <class T>
  GS_FN void operator()(T& direction, T& g, T& buf) const {
    buf = lerp(buf, g, rest);
    direction = nesterov ? lerp(g, buf, momentum) : buf;
  }
};

/// The same h. Weight decay and the step along an orthogonal direction.
template <class S>
struct MuonUpdate {
  static constexpr int kTensors = 2, kCounters = 0;
  static constexpr unsigned kWrites = 0b01;
  S minus_lr, shrink;
  GS_FN static MuonUpdate make(const double* h, double*, bool) {
    return {S(-h[0]), S(1 - h[0] * h[1])};
  }
  template <class T>
  GS_FN void operator()(T& p, T& direction) const {
    p = mul_add(direction, T(minus_lr), rounded(p * T(shrink)));
  }
};

/// h: low, high. x = min(max(x, low), high); NaN stays.
template <class S>
struct ClampInPlace {
  static constexpr int kTensors = 1, kCounters = 0;
  static constexpr unsigned kWrites = 0b1;
  S low, high;
  GS_FN static ClampInPlace make(const double* h, double*, bool) { return {S(h[0]), S(h[1])}; }
  template <class T>
  GS_FN void operator()(T& x) const {
    x = select(x < T(low), T(low), x);
    x = select(x > T(high), T(high), x);
  }
};

/// h: alpha. x += alpha * y
template <class S>
struct AddScaled {
  static constexpr int kTensors = 2, kCounters = 0;
  static constexpr unsigned kWrites = 0b01;
  S alpha;
  GS_FN static AddScaled make(const double* h, double*, bool) { return {S(h[0])}; }
  template <class T>
  GS_FN void operator()(T& x, T& y) const {
    x = mul_add(y, T(alpha), x);
  }
};

/// h: weight. x moves towards y by that fraction.
template <class S>
struct LerpInPlace {
  static constexpr int kTensors = 2, kCounters = 0;
  static constexpr unsigned kWrites = 0b01;
  S weight;
  GS_FN static LerpInPlace make(const double* h, double*, bool) { return {S(h[0])}; }
  template <class T>
  GS_FN void operator()(T& x, T& y) const {
    x = lerp(x, y, weight);
  }
};

// ---- the scale of a loss ----

/// After the steps of one iteration: a scale that made a gradient infinite shrinks, one that did
/// not for `interval` iterations in a row, counted by `tracker`, grows, but never to infinity.
GS_FN void update_loss_scale(float& scale, int32_t& tracker, bool found_inf, double growth,
                             double backoff, int64_t interval) {
  if (found_inf) {
    scale = float(scale * backoff);
    tracker = 0;
    return;
  }
  if (++tracker != interval) return;
  const float grown = float(scale * growth);
  if (grown - grown == 0) scale = grown;
  tracker = 0;
}

}  // namespace GS_ISA
}  // namespace gradstep
