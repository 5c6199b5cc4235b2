// SPDX-License-Identifier: Apache-2.0
// Accuracy, special values and derivatives of cpp/fn. Prints a table, returns the number of
// failures.
//   g++ -std=c++20 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Icpp
//   tests/native/test_fn.cpp
// Compile it once per instruction set (-march=x86-64-v3, ..). All 2^32 floats: test_ulp.cpp.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fn/activation.h"
#include "fn/pointwise.h"

using namespace gradstep;

namespace {

#ifdef __FMA__
constexpr bool kFused = true;
#else
constexpr bool kFused = false;  // no multiply-adds: more is rounded
#endif

int failures = 0;
uint64_t stride = 9973;  // between the float patterns that are visited

template <class T>
T from_bits(uint64_t b) {
  if constexpr (sizeof(T) == 4)
    return bit_cast<float>(uint32_t(b));
  else
    return bit_cast<double>(b);
}

uint64_t random_state = 88172645463325252u;
uint64_t random_bits() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}
double uniform(double a, double b) { return a + (b - a) * double(random_bits() >> 11) * 0x1p-53; }

/// Error in units of the last place of T; 0 for equal NaN, infinity and signed zero.
template <class T, class Ref>
double ulp_error(T got, Ref want) {
  T rounded = T(want);
  if (std::isnan(rounded)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(rounded) || std::isinf(got)) {
    if (got == rounded) return 0;
    // One step before overflow is one ulp.
    T a = std::isinf(got) ? std::copysign(std::nextafter(got, T(0)), got) : got;
    T b = std::isinf(rounded) ? std::nextafter(rounded, T(0)) : rounded;
    return std::isinf(got) == std::isinf(rounded) ? INFINITY : a == b ? 1 : INFINITY;
  }
  if (got == 0 && rounded == 0) return std::signbit(got) == std::signbit(rounded) ? 0 : INFINITY;
  int e;
  std::frexp(rounded, &e);
  int smallest = sizeof(T) == 4 ? -149 : -1074, digits = sizeof(T) == 4 ? 24 : 53;
  return double(std::fabs(Ref(got) - want) / std::ldexp(Ref(1), std::max(e - digits, smallest)));
}

template <class T>
const T* special_values(int& n) {
  static const T v[] = {T(0),         T(-0.0),        T(1),         T(-1),        T(INFINITY),
                        T(-INFINITY), T(NAN),         T(0.5),       T(-0.5),      T(2),
                        T(3),         T(-3),          T(1e-40),     T(-1e-40),    T(1e38),
                        T(-1e38),     T(88.72284),    T(89.41599),  T(-103.9),    T(-87.4),
                        T(710.4758),  T(-745.1),      T(3.1415927), T(1.5707964), T(0.99999994),
                        T(1.0000001), T(-0.99999994), T(1e-8),      T(-1e-8),     T(128),
                        T(-149),      T(-150),        T(1e5),       T(1e10)};
  n = int(sizeof(v) / sizeof(T));
  return v;
}

/// f on vectors and on scalars against a reference of twice the precision.
template <class T, class F, class R>
void check_unary(const char* name, F f, R ref, double limit, double low = -INFINITY,
                 double high = INFINITY) {
  using V = Native<T>;
  using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
  constexpr int L = V::size;
  double worst = 0;
  T worst_x = 0, x[L] = {}, y[L];
  int n = 0;
  auto flush = [&] {
    f(V::load(x)).store(y);
    for (int i = 0; i < n; ++i) {
      T s = f(x[i]);
      if (std::memcmp(&s, &y[i], sizeof(T)) && !(std::isnan(s) && std::isnan(y[i]))) {
        // Multiply-adds may be fused differently.
        if (ulp_error(s, Wide(y[i])) > 3.01)
          std::printf("FAIL %s(%.9g): scalar and vector differ\n", name, double(x[i])), ++failures;
      }
      double e = ulp_error(y[i], Wide(ref(Wide(x[i]))));
      if (e > worst) worst = e, worst_x = x[i];
    }
    n = 0;
  };
  auto visit = [&](T v) {
    if (!std::isnan(v) && (v < low || v > high)) return;
    x[n++] = v;
    if (n == L) flush();
  };
  int specials;
  const T* s = special_values<T>(specials);
  for (int i = 0; i < specials; ++i) visit(s[i]);
  if constexpr (sizeof(T) == 4) {
    for (uint64_t b = 0; b < (1ull << 32); b += stride) visit(from_bits<T>(b));
    for (int i = 0; i < 20000; ++i) visit(T(uniform(std::max(low, -12.), std::min(high, 12.))));
  } else {
    for (int i = 0; i < 10000; ++i) visit(from_bits<T>(random_bits()));
    for (int i = 0; i < 10000; ++i)
      visit(T(std::ldexp(uniform(-1, 1), int(random_bits() % 80) - 60)));
    for (int i = 0; i < 10000; ++i) visit(T(uniform(std::max(low, -20.), std::min(high, 20.))));
    for (int i = 0; i < 5000; ++i) visit(T(uniform(std::max(low, -750.), std::min(high, 750.))));
  }
  if (n) flush();
  bool bad = !(worst <= limit);
  failures += bad;
  std::printf("%s %-10s %s  %7.3f ulp at %.17g\n", bad ? "FAIL" : "ok  ", name,
              sizeof(T) == 4 ? "f32" : "f64", worst, double(worst_x));
}

#define CHECK_UNARY(name, limit32, limit64, ...)                                                   \
  check_unary<float>(                                                                              \
      #name, [](auto x) { return gradstep::name(x); }, [](double x) { return std::name(x); },      \
      limit32, ##__VA_ARGS__);                                                                     \
  check_unary<double>(                                                                             \
      #name, [](auto x) { return gradstep::name(x); }, [](long double x) { return std::name(x); }, \
      limit64, ##__VA_ARGS__)

void check_functions() {
  CHECK_UNARY(exp, kFused ? 1.0 : 1.2, 1.2);
  CHECK_UNARY(exp2, 1.4, 1.4);
  CHECK_UNARY(expm1, 1.9, 1.9);
  CHECK_UNARY(log, 1.1, 1.1);
  CHECK_UNARY(log2, 2, 2);
  CHECK_UNARY(log10, 2, 2);
  CHECK_UNARY(log1p, 1.6, 1.6);
  CHECK_UNARY(sqrt, 0.501, 0.501);
  CHECK_UNARY(sin, 1.9, 1.9);
  CHECK_UNARY(cos, 1.9, 1.9);
  CHECK_UNARY(tan, 3, 3);
  CHECK_UNARY(asin, 2.5, 2.5);
  CHECK_UNARY(acos, 2, 2);
  CHECK_UNARY(atan, 1.8, 1.8);
  CHECK_UNARY(sinh, 2, 2);
  CHECK_UNARY(cosh, 1.6, 1.6);
  CHECK_UNARY(tanh, kFused ? 1.75 : 2.5, 2.5);
  CHECK_UNARY(asinh, 2.6, 2.6);
  CHECK_UNARY(acosh, 2.6, 2.6);
  CHECK_UNARY(atanh, 2.6, 2.6);
  CHECK_UNARY(erf, 1.5, 1.5);
  CHECK_UNARY(erfc, kFused ? 5.3 : 6.5, 6);
  CHECK_UNARY(floor, 0, 0);
  CHECK_UNARY(ceil, 0, 0);
  CHECK_UNARY(trunc, 0, 0);
  CHECK_UNARY(lgamma, 8, 8, 0.);
  auto half_even = [](auto x) { return std::nearbyint(x); };
  check_unary<float>("round", [](auto x) { return gradstep::round(x); }, half_even, 0);
  check_unary<double>("round", [](auto x) { return gradstep::round(x); }, half_even, 0);
  auto bessel0 = [](auto x) { return std::cyl_bessel_i(0, std::fabs((long double)x)); };
  check_unary<float>("i0", [](auto x) { return gradstep::i0(x); }, bessel0, 1, -85, 85);
  check_unary<double>("i0", [](auto x) { return gradstep::i0(x); }, bessel0, 12, -100, 100);
  auto inverse = [](auto y) -> long double {
    long double x = gradstep::erfinv(double(y));
    if (!std::isfinite(x)) return x;
    long double a = std::fabs((long double)y), g = x < 0 ? -x : x;
    g -= (a > 0.5L ? (1 - a) - std::erfc(g) : std::erf(g) - a) /
         ((long double)kTwoOverSqrtPi * std::exp(-g * g));
    return std::copysign(g, (long double)y);
  };
  check_unary<float>("erfinv", [](auto x) { return gradstep::erfinv(x); }, inverse, 4);
  check_unary<double>("erfinv", [](auto x) { return gradstep::erfinv(x); }, inverse, 6);
}

template <class T, class F, class R>
void check_binary(const char* name, F f, R ref, double limit, double scale) {
  using V = Native<T>;
  using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
  constexpr int L = V::size;
  double worst = 0;
  T at_a = 0, at_b = 0, a[L] = {}, b[L] = {}, y[L];
  int n = 0;
  auto flush = [&] {
    f(V::load(a), V::load(b)).store(y);
    for (int i = 0; i < n; ++i) {
      double e = ulp_error(y[i], Wide(ref(Wide(a[i]), Wide(b[i]))));
      if (e > worst) worst = e, at_a = a[i], at_b = b[i];
    }
    n = 0;
  };
  auto visit = [&](T p, T q) {
    a[n] = p, b[n] = q;
    if (++n == L) flush();
  };
  int specials;
  const T* s = special_values<T>(specials);
  for (int i = 0; i < specials; ++i)
    for (int j = 0; j < specials; ++j) visit(s[i], s[j]);
  for (int i = 0; i < 20000; ++i) {
    visit(T(std::exp(uniform(-scale, scale))), T(uniform(-scale, scale)));
    visit(T(uniform(-10, 10)), T(int(random_bits() % 40) - 20));
    visit(from_bits<T>(random_bits()), from_bits<T>(random_bits()));
    visit(T(uniform(0.9, 1.1)), T(uniform(-500, 500)));
  }
  if (n) flush();
  bool bad = !(worst <= limit);
  failures += bad;
  std::printf("%s %-10s %s  %7.3f ulp at %.17g, %.17g\n", bad ? "FAIL" : "ok  ", name,
              sizeof(T) == 4 ? "f32" : "f64", worst, double(at_a), double(at_b));
}

#define CHECK_BINARY(name, limit32, limit64, scale)                        \
  check_binary<float>(                                                     \
      #name, [](auto a, auto b) { return gradstep::name(a, b); },          \
      [](double a, double b) { return std::name(a, b); }, limit32, scale); \
  check_binary<double>(                                                    \
      #name, [](auto a, auto b) { return gradstep::name(a, b); },          \
      [](long double a, long double b) { return std::name(a, b); }, limit64, scale)

void check_functions_of_two() {
  CHECK_BINARY(pow, 1.1, 1.1, 10);
  CHECK_BINARY(atan2, 2, 2, 10);
  CHECK_BINARY(hypot, 2, 2, 10);
  CHECK_BINARY(fmod, 0, 0, 10);
  CHECK_BINARY(copysign, 0, 0, 10);
  int64_t a[] = {7, -7, 7, -7, 0, INT64_MIN, 5, INT64_MAX}, b[] = {3, 3, -3, -3, 5, -1, 0, 2};
  int64_t floors[] = {2, -3, -3, 2, 0, INT64_MIN, 0, INT64_MAX / 2};
  int64_t rests[] = {1, 2, -2, -1, 0, 0, 5, 1};
  for (int i = 0; i < 8; i += Native<int64_t>::size) {
    using V = Native<int64_t>;
    V q = floor_div(V::load(a + i), V::load(b + i)), r = remainder(V::load(a + i), V::load(b + i));
    for (int k = 0; k < V::size; ++k) {
      bool skip = b[i + k] == 0;
      if (!skip && (q[k] != floors[i + k] || r[k] != rests[i + k] ||
                    floor_div(a[i + k], b[i + k]) != floors[i + k])) {
        std::printf("FAIL integer division of %ld by %ld: %ld, %ld\n", long(a[i + k]),
                    long(b[i + k]), long(q[k]), long(r[k]));
        ++failures;
      }
    }
  }
  struct {
    int64_t base, exponent, want;
  } powers[] = {{2, 10, 1024}, {-3, 3, -27}, {0, 0, 1}, {2, -1, 0}, {-1, -3, -1}, {1, -5, 1}};
  for (auto p : powers)
    if (gradstep::pow(p.base, p.exponent) != p.want) std::printf("FAIL integer pow\n"), ++failures;
}

// ---- derivatives ----

template <class F, class T>
T apply(const T* x) {
  F f;
  if constexpr (F::arity == 1)
    return f(x[0]);
  else if constexpr (F::arity == 2)
    return f(x[0], x[1]);
  else if constexpr (F::arity == 3)
    return f(x[0], x[1], x[2]);
  else
    return f(x[0], x[1], x[2], x[3]);
}
template <class F, int K, class T>
concept HasGrad = requires(F f, T x) {
  requires(F::arity == 1);
  f.grad(x, x);
} || requires(F f, T x) {
  requires(F::arity == 2);
  f.template grad<K>(x, x, x);
} || requires(F f, T x) {
  requires(F::arity == 3);
  f.template grad<K>(x, x, x, x);
} || requires(F f, T x) {
  requires(F::arity == 4);
  f.template grad<K>(x, x, x, x, x);
};
template <class F, int K, class T>
T written_grad(T dy, const T* x) {
  F f;
  if constexpr (F::arity == 1)
    return f.grad(dy, F::saves == Output ? f(x[0]) : x[0]);
  else if constexpr (F::arity == 2)
    return f.template grad<K>(dy, x[0], x[1]);
  else if constexpr (F::arity == 3)
    return f.template grad<K>(dy, x[0], x[1], x[2]);
  else
    return f.template grad<K>(dy, x[0], x[1], x[2], x[3]);
}

/// d F / d operand K, by the hand-written gradient or by Dual; T is double or Dual<double>.
template <class F, int K, class T>
T gradient(const T* x) {
  if constexpr (HasGrad<F, K, T>) {
    return written_grad<F, K>(T(1), x);
  } else {
    Dual<T> d[4];
    for (int i = 0; i < F::arity; ++i) d[i] = Dual<T>(x[i], T(i == K ? 1 : 0));
    return apply<F>(d).d;
  }
}

bool close(double a, double b, double tolerance) {
  if (!std::isfinite(a) || !std::isfinite(b)) return std::isnan(a) == std::isnan(b);
  return std::fabs(a - b) <= tolerance * (1 + std::fabs(a) + std::fabs(b));
}

template <class F, int K>
void check_gradient() {
  for (int trial = 0; trial < 60; ++trial) {
    double x[4];
    for (int i = 0; i < 4; ++i) x[i] = i == 0 ? uniform(-4, 4) : uniform(0.05, 0.95);
    if (std::strstr(F::name, "acosh")) x[0] = uniform(1.1, 4);
    if (std::strstr(F::name, "bce_el") || std::strstr(F::name, "erfinv") ||
        std::strstr(F::name, "logit") || std::strstr(F::name, "asin") ||
        std::strstr(F::name, "acos") || std::strstr(F::name, "atanh"))
      if (!std::strstr(F::name, "h") || std::strstr(F::name, "atanh")) x[0] = uniform(0.1, 0.9);
    if (std::strstr(F::name, "logit") == F::name) x[1] = 0.01;
    if (std::strstr(F::name, "log") == F::name || std::strstr(F::name, "sqrt") ||
        std::strstr(F::name, "pow"))
      x[0] = std::strstr(F::name, "logit") ? x[0] : uniform(0.2, 4);
    if (std::strstr(F::name, "poisson_nll_el")) x[0] = uniform(0.2, 3);
    if (std::strstr(F::name, "clamp") == F::name) x[2] += 1;
    double h = 1e-5, up[4], down[4];
    std::memcpy(up, x, sizeof(x));
    std::memcpy(down, x, sizeof(x));
    up[K] += h, down[K] -= h;
    double fu = apply<F>(up), fd = apply<F>(down), fx = apply<F>(x);
    double want = (fu - fd) / (2 * h), got = gradient<F, K>(x);
    // Near a kink the two one-sided differences disagree; such points say nothing.
    if (std::fabs((fu - fx) - (fx - fd)) / h > 0.02 * (1 + std::fabs(want))) continue;
    if (!close(want, got, 2e-5)) {
      std::printf("FAIL %s: gradient %d at %g, %g, %g is %.9g, differences give %.9g\n", F::name, K,
                  x[0], x[1], x[2], got, want);
      ++failures;
      return;
    }
    // Second derivatives: the Dual of the gradient in each direction.
    for (int j = 0; j < int(F::tensor_operands); ++j) {
      Dual<double> d[4];
      for (int i = 0; i < 4; ++i) d[i] = Dual<double>(x[i], i == j ? 1. : 0.);
      double second = gradient<F, K>(d).d;
      if constexpr (F::arity == 1 && HasGrad<F, K, double>) {  // the form that saves the output
        Dual<Dual<double>> n(d[0], Dual<double>(1.));
        double nested = apply<F>(&n).d.d;
        if (!close(nested, second, 1e-8)) {
          std::printf("FAIL %s: second derivative at %g: %.12g from grad, %.12g from Dual\n",
                      F::name, x[0], second, nested);
          ++failures;
          return;
        }
      }
      double u2[4], d2[4];
      std::memcpy(u2, x, sizeof(x));
      std::memcpy(d2, x, sizeof(x));
      u2[j] += h, d2[j] -= h;
      double gu = gradient<F, K>(u2), gd = gradient<F, K>(d2), g0 = gradient<F, K>(x);
      double w2 = (gu - gd) / (2 * h);
      if (std::fabs((gu - g0) - (g0 - gd)) / h > 0.02 * (1 + std::fabs(w2))) continue;
      if (!close(w2, second, 5e-5)) {
        std::printf(
            "FAIL %s: second derivative %d %d at %g, %g, %g is %.9g, differences give %.9g\n",
            F::name, K, j, x[0], x[1], x[2], second, w2);
        ++failures;
        return;
      }
    }
  }
}

template <class F>
void check_functor() {
  if constexpr (F::differentiable) {
    if constexpr (F::tensor_operands > 0) check_gradient<F, 0>();
    if constexpr (F::tensor_operands > 1) check_gradient<F, 1>();
    if constexpr (F::tensor_operands > 2) check_gradient<F, 2>();
  }
}
template <class... F>
void check_derivatives(Ops<F...>) {
  (check_functor<F>(), ...);
}

void expect(const char* claim, double got, double want) {
  bool good =
      std::isnan(want) ? std::isnan(got) : got == want && std::signbit(got) == std::signbit(want);
  if (!good) std::printf("FAIL %s: %.9g, expected %.9g\n", claim, got, want), ++failures;
}

void check_conventions() {
  expect("relu'(0) is 0", Relu().grad(1.f, 0.f), 0);
  expect("relu(nan) is nan", Relu()(NAN), NAN);
  expect("relu(-0) is -0", Relu()(-0.f), -0.0);
  expect("elu(nan) is nan", Elu()(float(NAN), 1.f), NAN);
  expect("selu(nan) is nan", Selu()(float(NAN)), NAN);
  expect("mish(nan) is nan", Mish()(float(NAN)), NAN);
  expect("logit'(-1) is nan", Logit().grad<0>(1.f, -1.f, -1.f), NAN);
  expect("abs'(0) is 0", Abs().grad(1.f, 0.f), 0);
  expect("a tie of maximum gives half", Maximum().grad<0>(1.f, 2.f, 2.f), 0.5);
  expect("maximum(1, nan)", Maximum()(1.f, float(NAN)), NAN);
  expect("maximum(nan, 1)", Maximum()(float(NAN), 1.f), NAN);
  expect("fmax(nan, 1)", Fmax()(float(NAN), 1.f), 1);
  expect("clamp'(border) is 1", Clamp().grad<0>(1.f, 2.f, 0.f, 2.f), 1);
  expect("clamp(nan)", Clamp()(float(NAN), 0.f, 1.f), NAN);
  expect("hardtanh'(border) is 0", Hardtanh().grad<0>(1.f, 1.f, -1.f, 1.f), 0);
  expect("pow'(x, 0) is 0", Pow().grad<0>(1.f, 0.f, 0.f), 0);
  expect("d 0^2 / d exponent is 0", Pow().grad<1>(1.f, 0.f, 2.f), 0);
  expect("xlogy(0, 0) is 0", Xlogy()(0.f, 0.f), 0);
  expect("xlogy(0, nan) is nan", Xlogy()(0.f, float(NAN)), NAN);
  expect("logaddexp(-inf, -inf)", Logaddexp()(-INFINITY, -INFINITY), -INFINITY);
  expect("logaddexp(inf, 1)", Logaddexp()(INFINITY, 1.f), INFINITY);
  expect("silu'(-200) is finite", std::isfinite(Silu().grad(1.f, -200.f)), 1);
  expect("softplus(200)", Softplus()(200.f, 1.f, 20.f), 200);
  expect("logsigmoid(-200)", LogSigmoid()(-200.f), -200);
  expect("bce(0, 1) is clamped at 100", BceElementwise()(0.f, 1.f), 100);
  expect("bce_with_logits(-200, 1)", BceWithLogitsElementwise()(-200.f, 1.f), 200);
  expect("lerp is exact at the end", Lerp()(1e8f, 1.f, 1.f), 1);
  expect("sinc(0) is 1", Sinc()(0.f), 1);
  expect("copysign(1, -0)", Copysign()(1.f, -0.f), -1);
  expect("floor_divide(-7, 2)", FloorDivide()(-7.f, 2.f), -4);
  expect("remainder(-7, 3)", Remainder()(-7.f, 3.f), 2);
  expect("1 // 0 is inf", FloorDivide()(1.f, 0.f), INFINITY);
  expect("isinf", IsInf()(float(-INFINITY)), 1);
  expect("isinf(nan)", IsInf()(float(NAN)), 0);
  expect("isfinite", IsFinite()(1.f), 1);
  expect("isfinite(inf)", IsFinite()(INFINITY), 0);
  expect("nan_to_num", NanToNum()(float(NAN), 1.f, 2.f, 3.f), 1);
  expect("1 << 64", double(LeftShift()(int64_t(1), int64_t(64))), 0);
  expect("-1 >> 100", double(RightShift()(int64_t(-1), int64_t(100))), -1);
  expect("digamma(0)", Digamma()(0.), -INFINITY);
  expect("digamma(-1)", Digamma()(-1.), NAN);
  if (!close(digamma(1.), -0.57721566490153286, 1e-15))
    std::printf("FAIL digamma(1) = %.17g\n", digamma(1.)), ++failures;
  if (!close(digamma(-1.5), 0.70315664064524319, 1e-14))
    std::printf("FAIL digamma(-1.5) = %.17g\n", digamma(-1.5)), ++failures;
  if (!close(polygamma<1>(1.), 1.6449340668482264, 1e-15))
    std::printf("FAIL trigamma(1)\n"), ++failures;
  if (!close(polygamma<1>(-1.5), 9.37924664498912, 1e-13))
    std::printf("FAIL trigamma(-1.5) %.15g\n", polygamma<1>(-1.5)), ++failures;
  if (!close(polygamma<2>(1.), -2.4041138063191886, 1e-14))
    std::printf("FAIL polygamma(2, 1)\n"), ++failures;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) stride = std::strtoull(argv[1], nullptr, 10);
  std::printf("%d-byte vectors\n", kVectorBytes);
  check_functions();
  check_functions_of_two();
  check_derivatives(UnaryOps{} + BinaryOps{} + TernaryOps{} + Activations{} + Losses{});
  check_conventions();
  std::printf("%d failures\n", failures);
  return failures != 0;
}
