// SPDX-License-Identifier: Apache-2.0
// The units of recurrent layers: one step of one hidden value, forward and gradient. A unit takes
// `gates` sums of the input, x[], and of the hidden state, w[]; it gives the new state and keeps
// `saved` values for its gradient, which gives `saved` gradients of sums. Includes only fn/.
//   T h = LstmUnit::forward(x, w, h_before, c, kept);          c: in and out
//   LstmUnit::backward(kept, h_before, c_before, c, dh, carry, d);   carry: of the later step, then
//   of this one
#pragma once
#include "fn/math.h"

namespace gradstep {
inline namespace GS_ISA {

/// h' = tanh(x + w); kept: h'.
struct TanhUnit {
  static constexpr int gates = 1, saved = 1;
  static constexpr bool has_cell = false, has_carry = false, reads_state = false;
  template <class T>
  GS_FN static T forward(const T (&x)[1], const T (&w)[1], T, T&, T (&kept)[1]) {
    return kept[0] = tanh(x[0] + w[0]);
  }
  // d = dh (1 - h^2)
  template <class T>
  GS_FN static void backward(const T (&kept)[1], T, T, T, T dh, T&, T (&d)[1]) {
    d[0] = dh * (T(1) - kept[0] * kept[0]);
  }
};

/// h' = max(x + w, 0); kept: h'.
struct ReluUnit {
  static constexpr int gates = 1, saved = 1;
  static constexpr bool has_cell = false, has_carry = false, reads_state = false;
  template <class T>
  GS_FN static T forward(const T (&x)[1], const T (&w)[1], T, T&, T (&kept)[1]) {
    const T sum = x[0] + w[0];
    return kept[0] = select(sum < T(0), T(0), sum);  // keeps NaN
  }
  template <class T>
  GS_FN static void backward(const T (&kept)[1], T, T, T, T dh, T&, T (&d)[1]) {
    d[0] = select(kept[0] > T(0), dh, T(0));
  }
};

/// c' = f c + i g, h' = o tanh(c'); i, f, o are sigmoids, g is a tanh. Kept: i, f, g, o.
struct LstmUnit {
  static constexpr int gates = 4, saved = 4;
  static constexpr bool has_cell = true, has_carry = true, reads_state = false;
  template <class T>
  GS_FN static T forward(const T (&x)[4], const T (&w)[4], T, T& c, T (&kept)[4]) {
    const T i = sigmoid(x[0] + w[0]), f = sigmoid(x[1] + w[1]);
    const T g = tanh(x[2] + w[2]), o = sigmoid(x[3] + w[3]);
    kept[0] = i;
    kept[1] = f;
    kept[2] = g;
    kept[3] = o;
    c = f * c + i * g;
    return o * tanh(c);
  }
  // The carry is dc. dc += dh o (1 - tanh(c')^2); then dc f goes to the step before.
  template <class T>
  GS_FN static void backward(const T (&kept)[4], T, T c_before, T c, T dh, T& carry, T (&d)[4]) {
    const T i = kept[0], f = kept[1], g = kept[2], o = kept[3], y = tanh(c);
    const T dc = carry + dh * o * (T(1) - y * y);
    d[0] = dc * g * i * (T(1) - i);
    d[1] = dc * c_before * f * (T(1) - f);
    d[2] = dc * i * (T(1) - g * g);
    d[3] = dh * y * o * (T(1) - o);
    carry = dc * f;
  }
};

/// r, z = sigmoid(x + w), n = tanh(x + r w), h' = n + z (h - n). Kept: r, z, n and n's w.
struct GruUnit {
  static constexpr int gates = 3, saved = 4;
  static constexpr bool has_cell = false, has_carry = true, reads_state = true;
  template <class T>
  GS_FN static T forward(const T (&x)[3], const T (&w)[3], T h, T&, T (&kept)[4]) {
    const T r = sigmoid(x[0] + w[0]), z = sigmoid(x[1] + w[1]);
    const T n = tanh(x[2] + r * w[2]);
    kept[0] = r;
    kept[1] = z;
    kept[2] = n;
    kept[3] = w[2];
    return n + z * (h - n);
  }
  // The carry is the part of dh that passes by the matrix. The gradients come in the order n's x,
  // r, z, n's w, so that those of the hidden sums lie side by side.
  template <class T>
  GS_FN static void backward(const T (&kept)[4], T h, T, T, T dh_matrix, T& carry, T (&d)[4]) {
    const T r = kept[0], z = kept[1], n = kept[2], dh = dh_matrix + carry;
    const T dn = dh * (T(1) - z) * (T(1) - n * n);
    d[0] = dn;
    d[1] = dn * kept[3] * r * (T(1) - r);
    d[2] = dh * (h - n) * z * (T(1) - z);
    d[3] = dn * r;
    carry = dh * z;
  }
};

}  // namespace GS_ISA
}  // namespace gradstep
