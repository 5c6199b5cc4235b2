// SPDX-License-Identifier: Apache-2.0
// Normalisation with statistics over planes: group norm and batch norm, forward and backward.
// Tensors are contiguous, of type float or double; halves are converted (in_float). Results do not
// depend on the number of threads. Compiled once for each instruction set; register_norm_kernels()
// is called by register.cpp.
#include <algorithm>

#include "kernels/rows.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

// ---- group norm ----
// params: eps, groups. x is [N, C, inner]; a group is a row of C / groups channels.

struct Channels {
  int64_t n, channels, inner;
  explicit Channels(const TensorImpl& x) : n(x.sizes[0]), channels(x.sizes[1]), inner(1) {
    for (int d = 2; d < x.ndim(); ++d) inner *= x.sizes[d];
  }
};

// group_norm(y, mean, scale; x, weight, bias)
void group_norm(const Call& c) {
  const Channels s(c.in(0));
  const int64_t groups = c.i(1), per_group = s.channels / groups, m = per_group * s.inner;
  const double eps = c.f(0);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* w = data_or_null<C>(c.maybe_in(1));
    const C* b = data_or_null<C>(c.maybe_in(2));
    for_rows(s.n * groups, m, [&](int64_t r) {
      const C* x = data_of<C>(c.in(0)) + r * m;
      C* y = data_of<C>(c.out(0)) + r * m;
      const auto moments = row_moments(x, m);
      const C scale = C(1 / sqrt(moments.m2 / double(m) + eps));
      data_of<C>(c.out(1))[r] = C(moments.mean);
      data_of<C>(c.out(2))[r] = scale;
      for (int64_t j = 0; j < per_group; ++j) {
        const int64_t channel = r % groups * per_group + j;
        const V k = V(w ? scale * w[channel] : scale), shift = V(b ? b[channel] : C(0));
        const V centre = V(C(moments.mean));
        const C* from = x + j * s.inner;
        map_row(y + j * s.inner, s.inner,
                [&](auto load) { return (load(from) - centre) * k + shift; });
      }
    });
  });
}

// group_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
void group_norm_backward(const Call& c) {
  const Channels s(c.in(1));
  const int64_t groups = c.i(1), per_group = s.channels / groups, m = per_group * s.inner;
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* pdy = data_of<C>(c.in(0));
    const C* px = data_of<C>(c.in(1));
    const C* w = data_or_null<C>(c.maybe_in(2));
    const C* means = data_of<C>(c.in(3));
    const C* scales = data_of<C>(c.in(4));
    // For each (sample, channel): the sums of dy * normalized x and of dy.
    const Scratch<double> sums(2 * s.n * s.channels);
    for_rows(s.n * groups, 2 * m, [&](int64_t r) {
      const C* x = px + r * m;
      const C* dy = pdy + r * m;
      const V centre = V(means[r]);
      const double scale = scales[r];
      double s1 = 0, s2 = 0;
      for (int64_t j = 0; j < per_group; ++j) {
        const int64_t at = r * per_group + j, channel = at % s.channels;
        const C* xs = x + j * s.inner;
        const C* dys = dy + j * s.inner;
        const double a =
            scale * sum_row<C>(s.inner, [&](auto load) { return load(dys) * (load(xs) - centre); });
        const double b = sum_row<C>(s.inner, [&](auto load) { return load(dys); });
        sums[2 * at] = a;
        sums[2 * at + 1] = b;
        const double weight = w ? double(w[channel]) : 1.0;
        s2 += weight * a;
        s1 += weight * b;
      }
      const V mean1 = V(C(s1 / double(m))), mean2 = V(C(s2 / double(m) * scale)), k = V(C(scale));
      for (int64_t j = 0; j < per_group; ++j) {
        const int64_t channel = (r * per_group + j) % s.channels;
        const V weight = V(w ? w[channel] : C(1));
        const C* xs = x + j * s.inner;
        const C* dys = dy + j * s.inner;
        map_row(data_of<C>(c.out(0)) + r * m + j * s.inner, s.inner, [&](auto load) {
          return k * (load(dys) * weight - mean1 - (load(xs) - centre) * mean2);
        });
      }
    });
    if (!c.operands[1] && !c.operands[2]) return;
    for (int64_t channel = 0; channel < s.channels; ++channel) {
      double a = 0, b = 0;
      for (int64_t i = 0; i < s.n; ++i) {
        a += sums[2 * (i * s.channels + channel)];
        b += sums[2 * (i * s.channels + channel) + 1];
      }
      if (c.operands[1]) data_of<C>(c.out(1))[channel] = C(a);
      if (c.operands[2]) data_of<C>(c.out(2))[channel] = C(b);
    }
  });
}

// ---- batch norm ----
// params: eps, training, momentum. x is [N, C, inner].

// Note [Channel by channel]
// The planes of one channel are summed, and written right after that, while the cache still holds
// them: the memory is read once. Channels are what threads share; a few large ones are summed one
// by one, and all planes are written after that.
constexpr int64_t kFewChannels = 8;
template <class Sum, class Write>
void by_channel(const Channels& s, Sum sum, Write write) {
  const bool few = s.channels < kFewChannels;
  for_rows(s.channels, 3 * s.n * s.inner, [&](int64_t k) {
    sum(k);
    for (int64_t i = 0; !few && i < s.n; ++i) write(k, (i * s.channels + k) * s.inner);
  });
  if (!few) return;
  for_rows(s.n * s.channels, 2 * s.inner, [&](int64_t r) { write(r % s.channels, r * s.inner); });
}

/// Calls block(first, last) for groups of planes with at most kReduceBlock elements, or one.
template <class F>
GS_FN void for_plane_groups(const Channels& s, F block) {
  const int64_t group = std::max<int64_t>(1, kReduceBlock / s.inner);
  for (int64_t i = 0; i < s.n; i += group) block(i, std::min(s.n, i + group));
}

/// Calls f(load, lanes) for the elements of a channel's planes [begin, end), a vector at a time;
/// load(p) gives 0 behind the last lane.
template <class C, class F>
GS_FN void for_vectors(const Channels& s, int64_t channel, int64_t begin, int64_t end, F f) {
  using V = Native<C>;
  constexpr int N = V::size;
  const int rest = static_cast<int>(s.inner % N);
  for (int64_t k = begin; k < end; ++k) {
    const int64_t at = (k * s.channels + channel) * s.inner;
    int64_t i = at;
    for (; i + N <= at + s.inner; i += N) f([=](const C* p) { return V::load(p + i); }, N);
    if (rest) f([=](const C* p) { return load_some<V>(p + i, rest); }, rest);
  }
}

/// The moments of one channel.
template <class C>
typename Moments<C, false>::State channel_moments(const Channels& s, const C* x, int64_t channel) {
  using V = Native<C>;
  using M = Moments<C, false>;
  auto total = M::init();
  for_plane_groups(s, [&](int64_t begin, int64_t end) {
    if (s.inner >= kReduceBlock) {
      const C* plane = x + (begin * s.channels + channel) * s.inner;
      for (int64_t i = 0; i < s.inner; i += kReduceBlock)
        M::block(total, plane + i, static_cast<int>(std::min<int64_t>(s.inner - i, kReduceBlock)),
                 0);
      return;
    }
    const C count = C((end - begin) * s.inner);
    V sum = V(C(0));
    for_vectors<C>(s, channel, begin, end, [&](auto load, int) { sum += load(x); });
    const C rough = hsum(sum) / count;
    V d1 = V(C(0)), d2 = V(C(0));
    for_vectors<C>(s, channel, begin, end, [&](auto load, int lanes) {
      V d = load(x) - V(rough);
      if (lanes < V::size) d = select(lane_numbers<V>() < V(C(lanes)), d, V(C(0)));
      d1 += d;
      d2 += d * d;
    });
    M::merge(total, M::moments(double(count), rough, hsum(d1), hsum(d2)));
  });
  return total;
}

/// running = (1 - momentum) * running + momentum * value, in any floating type.
template <class C>
void update_running(TensorImpl* running, const C* value, double factor, double momentum) {
  if (!running) return;
  dispatch_floating(running->dtype, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    T* p = reinterpret_cast<T*>(running->data);
    const int64_t step = running->strides[0];
    for (int64_t i = 0; i < running->numel; ++i) {
      const double old = convert<double>(p[i * step]);
      p[i * step] = convert<T>((1 - momentum) * old + momentum * factor * double(value[i]));
    }
  });
}

// batch_norm(y, mean, scale; x, weight, bias, running mean, running var)
void batch_norm(const Call& c) {
  const Channels s(c.in(0));
  if (s.channels == 0) return;
  const bool training = c.i(1) != 0, empty = c.in(0).numel == 0;
  const double eps = c.f(0), momentum = c.f(2);
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    C* mean = data_of<C>(c.out(1));
    C* scale = data_of<C>(c.out(2));
    const C* w = data_or_null<C>(c.maybe_in(1));
    const C* b = data_or_null<C>(c.maybe_in(2));
    const C* px = data_of<C>(c.in(0));
    C* py = data_of<C>(c.out(0));
    const bool in_rows = s.inner == 1 || empty;  // [N, C]: a vector holds channels
    const Scratch<C> variances(s.channels);
    C* const var = variances.data();
    if (!training) {
      for (int k : {3, 4}) {
        const TensorImpl& running = c.in(k);
        C* to = k == 3 ? mean : var;
        dispatch_floating(running.dtype, "batch_norm", [&](auto stored) {
          using T = decltype(stored);
          const T* p = reinterpret_cast<const T*>(running.data);
          for (int64_t i = 0; i < s.channels; ++i) to[i] = convert<C>(p[i * running.strides[0]]);
        });
      }
    } else if (in_rows) {
      TensorImpl* operands[] = {c.operands[2], c.operands[1], c.operands[c.n_out]};
      static const Op& var_mean = Op::get("var_mean");
      Call moments{&var_mean, c.compute, 2, 1, operands, {}};
      moments.params.push(int64_t{0xff & ~2});
      moments.params.push(0.0);
      // Not by launch(): a captured step has this call within the outer one.
      var_mean.kernel[static_cast<int>(DeviceType::CPU)](moments);
      std::copy_n(scale, s.channels, var);
    }
    if (in_rows) {
      for (int64_t k = 0; k < s.channels; ++k) scale[k] = C(1 / sqrt(double(var[k]) + eps));
      for_rows(empty ? 0 : s.n, s.channels, [&](int64_t r) {
        const C* x = px + r * s.channels;
        map_row(py + r * s.channels, s.channels, [&](auto load) {
          V y = (load(x) - load(mean)) * load(scale);
          if (w) y = y * load(w);
          return b ? y + load(b) : y;
        });
      });
    } else {
      by_channel(
          s,
          [&](int64_t k) {
            if (training) {
              const auto moments = channel_moments(s, px, k);
              mean[k] = C(moments.mean);
              var[k] = C(moments.m2 / moments.n);
            }
            scale[k] = C(1 / sqrt(double(var[k]) + eps));
          },
          [&](int64_t k, int64_t at) {
            const V m = V(mean[k]), factor = V(w ? scale[k] * w[k] : scale[k]),
                    shift = V(b ? b[k] : C(0));
            map_row(py + at, s.inner,
                    [&](auto load) { return (load(px + at) - m) * factor + shift; });
          });
    }
    if (!training) return;
    const double count = double(s.n * s.inner);
    update_running(c.maybe_in(3), mean, 1, momentum);
    update_running(c.maybe_in(4), var, count / std::max(count - 1, 1.0), momentum);
  });
}

// batch_norm_backward(dx, dweight, dbias; dy, x, weight, mean, scale)
// dx = factor * (dy - mean(dy) - normalized x * mean(dy * normalized x)); constants in eval mode.
void batch_norm_backward(const Call& c) {
  const Channels s(c.in(1));
  if (s.channels == 0) return;
  const bool training = c.i(1) != 0, empty = c.in(1).numel == 0;
  by_compute(c, [&](auto tag) {
    using C = decltype(tag);
    using V = Native<C>;
    const C* pdy = data_of<C>(c.in(0));
    const C* px = data_of<C>(c.in(1));
    const C* w = data_or_null<C>(c.maybe_in(2));
    const C* mean = data_of<C>(c.in(3));
    const C* scale = data_of<C>(c.in(4));
    C* pdx = data_of<C>(c.out(0));
    // For each channel: the sums of dy * normalized x (= dweight) and of dy (= dbias).
    const Scratch<C> sums(2 * s.channels);
    C* dw = sums.data();
    C* db = sums.data() + s.channels;
    const C share = training ? C(1 / double(s.n * s.inner)) : C(0);
    if (s.inner == 1 || empty) {
      std::fill_n(dw, 2 * s.channels, C(0));
      sum_columns(empty ? 0 : s.n, s.channels, dw, db, [&](int64_t r, C* a, C* b) {
        const C* x = px + r * s.channels;
        const C* dy = pdy + r * s.channels;
        map_row(a, s.channels, [&](auto load) {
          return load(a) + load(dy) * ((load(x) - load(mean)) * load(scale));
        });
        map_row(b, s.channels, [&](auto load) { return load(b) + load(dy); });
      });
    } else {
      by_channel(
          s,
          [&](int64_t k) {
            const V m = V(mean[k]);
            double a = 0, b = 0;
            for_plane_groups(s, [&](int64_t begin, int64_t end) {
              V va = V(C(0)), vb = V(C(0));
              for_vectors<C>(s, k, begin, end, [&](auto load, int) {
                const V dy = load(pdy);
                va += dy * (load(px) - m);
                vb += dy;
              });
              a += hsum(va);
              b += hsum(vb);
            });
            dw[k] = C(a * double(scale[k]));
            db[k] = C(b);
          },
          [&](int64_t k, int64_t at) {
            const V factor = V(w ? scale[k] * w[k] : scale[k]);
            if (!training)
              return map_row(pdx + at, s.inner, [&](auto load) { return factor * load(pdy + at); });
            const V m = V(mean[k]), a = V(dw[k] * share * scale[k]), b = V(db[k] * share);
            map_row(pdx + at, s.inner, [&](auto load) {
              return factor * (load(pdy + at) - b - (load(px + at) - m) * a);
            });
          });
    }
    if (c.operands[1]) std::copy_n(dw, s.channels, data_of<C>(c.out(1)));
    if (c.operands[2]) std::copy_n(db, s.channels, data_of<C>(c.out(2)));
    if (s.inner != 1 || empty) return;
    for (int64_t k = 0; k < s.channels; ++k) {
      dw[k] *= share * scale[k];
      db[k] *= share;
    }
    for_rows(s.n, 2 * s.channels, [&](int64_t r) {
      const C* x = px + r * s.channels;
      const C* dy = pdy + r * s.channels;
      map_row(pdx + r * s.channels, s.channels, [&](auto load) {
        const V factor = w ? load(scale) * load(w) : load(scale);
        return factor * (load(dy) - load(db) - (load(x) - load(mean)) * load(dw));
      });
    });
  });
}

}  // namespace

void register_norm_kernels() {
  add_kernel("group_norm", &in_float<&group_norm>);
  add_kernel("group_norm_backward", &in_float<&group_norm_backward>);
  add_kernel("batch_norm", &in_float<&batch_norm, 3>);
  add_kernel("batch_norm_backward", &in_float<&batch_norm_backward>);
}

}  // namespace GS_ISA
}  // namespace gradstep
