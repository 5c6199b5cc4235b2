// SPDX-License-Identifier: Apache-2.0
// Compares the matrix product and the convolution with plain loops in double on small random
// shapes, with every implementation that the build has. Prints what differs and exits with 1; takes
// a few seconds. GRADSTEP_ISA=v2 or v3 checks the copies for older machines.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/threads.h"
#include "graph/build_info.h"
#include "kernels/conv.h"
#include "kernels/gemm.h"
#include "kernels/instruction_set.h"

using namespace gradstep;

namespace {

std::mt19937 rng(1);
int failures = 0;
int checks = 0;

int64_t between(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(rng);
}

template <class T>
std::vector<T> random_values(int64_t n) {
  std::normal_distribution<double> normal;
  std::vector<T> v(n);
  for (T& x : v) x = static_cast<T>(normal(rng));
  return v;
}

template <class T>
std::vector<double> doubles(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

/// Absolute and relative difference up to `tolerance` times the type's precision; NaN equals NaN.
template <class T>
void check_close(const std::string& what, const std::vector<T>& got,
                 const std::vector<double>& want, double tolerance) {
  ++checks;
  const double limit = tolerance * std::numeric_limits<T>::epsilon();
  if (got.size() != want.size()) {
    std::printf("FAIL %s: %zu values, expected %zu\n", what.c_str(), got.size(), want.size());
    ++failures;
    return;
  }
  for (size_t i = 0; i < got.size(); ++i) {
    const double x = static_cast<double>(got[i]), y = want[i];
    if (std::isnan(x) && std::isnan(y)) continue;
    if (x == y || std::abs(x - y) <= limit * (1 + std::abs(y))) continue;
    std::printf("FAIL %s: [%zu] is %.9g, expected %.9g\n", what.c_str(), i, x, y);
    ++failures;
    return;
  }
}

// ---- matrix product ----

template <class T>
void check_gemm(int64_t m, int64_t n, int64_t k, bool trans_a, bool trans_b, T alpha, T beta,
                int64_t batch) {
  const int64_t lda = (trans_a ? m : k) + between(0, 3), ldb = (trans_b ? k : n) + between(0, 3);
  const int64_t ldc = n + between(0, 3);
  const int64_t a_size = (trans_a ? k : m) * lda, b_size = (trans_b ? n : k) * ldb,
                c_size = m * ldc;
  const bool shared = batch > 1 && between(0, 1);
  std::vector<T> a = random_values<T>(a_size * batch),
                 b = random_values<T>(b_size * (shared ? 1 : batch));
  // What lies between the rows must not be used.
  const auto spoil = [](std::vector<T>& x, int64_t ld, int64_t cols) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (static_cast<int64_t>(i) % ld >= cols) x[i] = std::numeric_limits<T>::quiet_NaN();
    }
  };
  spoil(a, lda, trans_a ? m : k);
  spoil(b, ldb, trans_b ? k : n);
  std::vector<T> c = random_values<T>(c_size * batch);
  std::vector<double> want = doubles(c);
  if (beta == T(0)) std::fill(c.begin(), c.end(), std::numeric_limits<T>::quiet_NaN());
  std::vector<T> plain = c;
  for (int64_t q = 0; q < batch; ++q) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < ldc; ++j) {
        double& out = want[q * c_size + i * ldc + j];
        if (j >= n) {
          if (beta == T(0)) out = std::numeric_limits<double>::quiet_NaN();
          continue;
        }
        double sum = 0;
        for (int64_t p = 0; p < k; ++p) {
          const T x = a[q * a_size + (trans_a ? p * lda + i : i * lda + p)];
          const T y = b[(shared ? 0 : q) * b_size + (trans_b ? j * ldb + p : p * ldb + j)];
          sum += double(x) * double(y);
        }
        out = alpha * sum + (beta == T(0) ? 0 : beta * out);
      }
    }
  }
  gemm_batched<T>(batch, trans_a, trans_b, m, n, k, alpha, a.data(), lda, a_size, b.data(), ldb,
                  shared ? 0 : b_size, beta, c.data(), ldc, c_size);
  const std::string what = std::string("gemm") + (sizeof(T) == 4 ? " f32 " : " f64 ") +
                           std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) +
                           (trans_a ? " ta" : "") + (trans_b ? " tb" : "") + " batch " +
                           std::to_string(batch);
  const double tolerance = double(k) + 16;
  check_close(what, c, want, tolerance);
  for (int64_t q = 0; q < batch; ++q) {
    gemm_plain<T, T>(trans_a, trans_b, m, n, k, alpha, a.data() + q * a_size, lda,
                     b.data() + (shared ? 0 : q) * b_size, ldb, beta, plain.data() + q * c_size,
                     ldc);
  }
  check_close(what + " plain", plain, want, 2 * tolerance);
  if (batch > 1 || beta != T(0)) return;
  const int64_t step = between(0, 2);
  const std::vector<T> bias = random_values<T>(n * step + 1);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) want[i * ldc + j] += bias[j * step];
  }
  gemm_bias<T>(trans_a, trans_b, m, n, k, alpha, a.data(), lda, b.data(), ldb, c.data(), ldc,
               bias.data(), step);
  check_close(what + " bias", c, want, tolerance);
}

template <class T>
void check_gemms() {
  for (const int64_t side : {0, 1, 2, 3, 5, 8, 13, 16, 17, 31, 32, 33, 47, 64, 65}) {
    for (int trans = 0; trans < 4; ++trans) {
      const int64_t n = between(0, 2) ? between(1, 70) : side,
                    k = between(0, 2) ? between(1, 70) : side;
      check_gemm<T>(side, n, k, trans & 1, trans & 2, T(1), T(0), 1);
      check_gemm<T>(n, side, k, trans & 1, trans & 2, T(0.5), T(2), 1);
      check_gemm<T>(n, k, side, trans & 1, trans & 2, T(1), T(1), between(1, 5));
    }
  }
  for (int trans = 0; trans < 4; ++trans) {
    check_gemm<T>(1, 300, 200, trans & 1, trans & 2, T(1), T(0), 1);
    check_gemm<T>(300, 1, 600, trans & 1, trans & 2, T(1), T(1), 1);
    check_gemm<T>(200, 170, 600, trans & 1, trans & 2, T(1), T(0),
                  1);  // several blocks of k, tiles
    check_gemm<T>(13, 1100, 300, trans & 1, trans & 2, T(2), T(0.5), 2);
    check_gemm<T>(130, 40, 257, trans & 1, trans & 2, T(1), T(0), 9);
    // Cut along the rows, along k.
    check_gemm<T>(256, 50, 50, trans & 1, trans & 2, T(1), T(1), 1);
    check_gemm<T>(50, 50, 256, trans & 1, trans & 2, T(0.5), T(2), 1);
    check_gemm<T>(7, 18, 7003, trans & 1, trans & 2, T(2), T(0), 1);
    // Few rows or columns, one more than whole tiles and vectors, several blocks of k.
    for (const int64_t few : {2, 4, 6, 9, 10, 25, 33, 65}) {
      const T beta = few % 2 ? T(1) : T(0);
      check_gemm<T>(few, 131, 530, trans & 1, trans & 2, T(1), beta, 1);
      check_gemm<T>(139, few, 270, trans & 1, trans & 2, T(1), beta, 1);
      check_gemm<T>(257, 97, few, trans & 1, trans & 2, T(1), beta, 1);
    }
  }
}

void check_integer_gemm() {
  const std::vector<int64_t> a{1, 2, 3, 5}, b{4, 5, 6, 7};
  std::vector<int64_t> c(4);
  gemm_plain<int64_t>(false, true, 2, 2, 2, 1, a.data(), 2, b.data(), 2, 0, c.data(), 2);
  const std::vector<int64_t> want{14, 20, 37, 53};
  ++checks;
  if (c != want) {
    std::printf("FAIL integer gemm\n");
    ++failures;
  }
}

// ---- convolution ----

int64_t volume(const int64_t* x, int n) {
  int64_t p = 1;
  for (int i = 0; i < n; ++i) p *= x[i];
  return p;
}

/// Calls visit(index of x, index of weight, index of y) for every product of the convolution.
template <class Visit>
void naive_conv(const ConvShape& s, Visit&& visit) {
  const int64_t in = volume(s.in, s.nd), out = volume(s.out, s.nd), taps = volume(s.kernel, s.nd);
  const int64_t c_in = s.c_in / s.groups, c_out = s.c_out / s.groups;
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t o = 0; o < s.c_out; ++o) {
      for (int64_t i = 0; i < c_in; ++i) {
        for (int64_t q = 0; q < out; ++q) {
          for (int64_t t = 0; t < taps; ++t) {
            int64_t rest_out = q, rest_tap = t, at = 0, scale = 1;
            bool inside = true;
            for (int d = s.nd - 1; d >= 0; --d) {
              const int64_t x = rest_out % s.out[d] * s.stride[d] - s.pad[d] +
                                rest_tap % s.kernel[d] * s.dilation[d];
              rest_out /= s.out[d];
              rest_tap /= s.kernel[d];
              inside = inside && x >= 0 && x < s.in[d];
              at += x * scale;
              scale *= s.in[d];
            }
            if (!inside) continue;
            visit(((n * s.c_in) + o / c_out * c_in + i) * in + at, (o * c_in + i) * taps + t,
                  (n * s.c_out + o) * out + q);
          }
        }
      }
    }
  }
}

template <class T>
void check_conv(const ConvShape& s) {
  const int64_t in = volume(s.in, s.nd), out = volume(s.out, s.nd), taps = volume(s.kernel, s.nd);
  const std::vector<T> x = random_values<T>(s.batch * s.c_in * in),
                       bias = random_values<T>(s.c_out),
                       w = random_values<T>(s.c_out * (s.c_in / s.groups) * taps),
                       dy = random_values<T>(s.batch * s.c_out * out);
  std::vector<T> y(dy.size()), dx(x.size()), dw(w.size()), db(s.c_out);
  std::vector<double> y0(y.size()), y1(y.size()), dx0(dx.size()), dw0(dw.size()), db0(db.size());
  naive_conv(s, [&](int64_t i, int64_t t, int64_t o) {
    y0[o] += double(x[i]) * w[t];
    dx0[i] += double(dy[o]) * w[t];
    dw0[t] += double(dy[o]) * x[i];
  });
  for (size_t i = 0; i < dy.size(); ++i) {
    y1[i] = y0[i] + bias[i / out % s.c_out];
    db0[i / out % s.c_out] += dy[i];
  }
  std::string what = std::string("conv") + std::to_string(s.nd) + "d " + conv_backend_name() +
                     (sizeof(T) == 4 ? " f32" : " f64") + " batch " + std::to_string(s.batch) +
                     " " + std::to_string(s.c_in) + "-" + std::to_string(s.c_out) + " groups " +
                     std::to_string(s.groups);
  for (int d = 0; d < s.nd; ++d) {
    what += " | " + std::to_string(s.in[d]) + " k" + std::to_string(s.kernel[d]) + " s" +
            std::to_string(s.stride[d]) + " p" + std::to_string(s.pad[d]) + " d" +
            std::to_string(s.dilation[d]);
  }
  const double tolerance = 400;
  // Winograd's sums over all images, without fused multiply-adds: 410.
  const double sums = conv_backend_name() == std::string("winograd") ? 600 : tolerance;
  conv_forward<T>(s, x.data(), w.data(), nullptr, y.data());
  check_close(what + " forward", y, y0, tolerance);
  conv_forward<T>(s, x.data(), w.data(), bias.data(), y.data());
  check_close(what + " forward with bias", y, y1, tolerance);
  conv_backward_data<T>(s, dy.data(), w.data(), dx.data());
  check_close(what + " backward data", dx, dx0, tolerance);
  conv_backward_weights<T>(s, x.data(), dy.data(), dw.data(), db.data());
  check_close(what + " backward weights", dw, dw0, sums);
  check_close(what + " backward bias", db, db0, tolerance);
  std::fill(dw.begin(), dw.end(), T(-1));
  conv_backward_weights<T>(s, x.data(), dy.data(), dw.data(), nullptr);
  check_close(what + " backward weights only", dw, dw0, sums);
  const std::vector<T> shift = random_values<T>(s.c_in);
  conv_transpose_forward<T>(s, dy.data(), w.data(), shift.data(), dx.data());
  for (size_t i = 0; i < dx.size(); ++i) dx0[i] += shift[i / in % s.c_in];
  check_close(what + " transposed", dx, dx0, tolerance);
}

ConvShape random_conv(int nd) {
  ConvShape s{};
  s.nd = nd;
  s.batch = between(1, 5);
  s.groups = between(0, 3) ? 1 : between(2, 3);
  s.c_in = s.groups * between(1, 7);
  s.c_out = s.groups * between(1, 18);
  for (int d = 0; d < nd; ++d) {
    s.kernel[d] = between(1, 4);
    s.stride[d] = between(1, 3);
    s.pad[d] = between(0, s.kernel[d] - 1);
    s.dilation[d] = between(1, 2);
    s.in[d] = s.dilation[d] * (s.kernel[d] - 1) + 1 + between(0, nd == 1 ? 40 : nd == 2 ? 9 : 4);
    s.out[d] = conv_output_size(s.in[d], s.kernel[d], s.stride[d], s.pad[d], s.dilation[d]);
  }
  return s;
}

ConvShape square_conv(int64_t batch, int64_t c_in, int64_t c_out, int64_t side, int64_t kernel,
                      int64_t pad) {
  ConvShape s{};
  s.nd = 2;
  s.batch = batch;
  s.groups = 1;
  s.c_in = c_in;
  s.c_out = c_out;
  for (int d = 0; d < 2; ++d) {
    s.in[d] = side;
    s.kernel[d] = kernel;
    s.stride[d] = s.dilation[d] = 1;
    s.pad[d] = pad;
    s.out[d] = conv_output_size(side, kernel, 1, pad, 1);
  }
  return s;
}

/// Forward and gradients must have the same bits with any number of threads.
void check_thread_independence() {
  const ConvShape s = square_conv(37, 8, 16, 20, 3, 1);
  const std::vector<float> a = random_values<float>(300 * 500), b = random_values<float>(500 * 290);
  const std::vector<float> x = random_values<float>(37 * 8 * 400),
                           w = random_values<float>(16 * 8 * 9);
  const int before = num_threads();
  std::vector<float> results[2];
  for (const int threads : {1, 3}) {
    std::vector<float>& all = results[threads / 3];
    all.resize(2 * 300 * 290 + 37 * 16 * 400 + x.size() + w.size() + 16);
    float *c = all.data(), *small = c + 300 * 290, *y = small + 300 * 290, *dx = y + 37 * 16 * 400,
          *dw = dx + x.size();
    set_num_threads(threads);
    gemm<float>(false, true, 300, 290, 500, 1, a.data(), 500, b.data(), 500, 0, c, 290);
    gemm<float>(true, false, 300, 290, 470, 1, a.data(), 300, b.data(), 290, 1, c, 290);
    gemm<float>(false, true, 250, 50, 50, 1, a.data(), 50, b.data(), 50, 0, small, 50);
    gemm<float>(true, false, 50, 50, 700, 1, a.data(), 50, b.data(), 50, 0, small + 250 * 50, 50);
    conv_forward<float>(s, x.data(), w.data(), nullptr, y);
    conv_backward_data<float>(s, y, w.data(), dx);
    conv_backward_weights<float>(s, x.data(), y, dw, dw + w.size());
  }
  set_num_threads(before);
  ++checks;
  if (std::memcmp(results[0].data(), results[1].data(), results[0].size() * sizeof(float)) != 0) {
    std::printf("FAIL results depend on the number of threads (%s)\n", conv_backend_name());
    ++failures;
  }
}

template <class T>
void check_convs() {
  for (int i = 0; i < 60; ++i) check_conv<T>(random_conv(1 + i % 3));
  check_conv<T>(square_conv(7, 6, 16, 14, 5, 0));  // LeNet; a last chunk that is shorter
  check_conv<T>(square_conv(2, 24, 20, 9, 1, 0));  // a plain matrix product
  check_conv<T>(square_conv(19, 16, 32, 8, 3, 1));
  check_conv<T>(square_conv(3, 48, 20, 7, 3, 2));
}

}  // namespace

int main() {
  check_gemms<float>();
  check_gemms<double>();
  check_integer_gemm();
  struct Way {
    ConvBackend backend;
    int64_t winograd_work;
  };
  for (const Way way : {Way{ConvBackend::Auto, 0}, Way{ConvBackend::Auto, INT64_MAX},
                        Way{ConvBackend::Im2col, INT64_MAX}}) {
    set_conv_backend(way.backend);
    set_winograd_work(way.winograd_work);
    check_convs<float>();
    check_thread_independence();
  }
  set_conv_backend(ConvBackend::Auto);
  check_convs<double>();
  std::printf("%d checks, %d failures; instruction set %d, conv %s\n", checks, failures,
              instruction_set(), conv_backend_name());
  return failures == 0 ? 0 : 1;
}
