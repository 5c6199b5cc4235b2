// SPDX-License-Identifier: Apache-2.0
// The index skeleton on the CPU: elements are read from or written to places that an int64 tensor
// names.
//   index(out; self, i0, ..)              self = [indexed axes, rest], out = [B, rest], each i of
//   shape B index_put(self; self, values, i0, ..) the same geometry; duplicates are written or
//   added in order gather, scatter                       index of the full rank, along one axis
// Work is split so that each destination belongs to one chunk: the result does not depend on the
// number of threads. All indices are checked before anything is written. May include core,
// graph/call.h.
#include <vector>

#include "core/index_rule.h"
#include "graph/call.h"
#include "kernels/walk.h"

namespace gradstep {

namespace {

// ---- advanced indexing ----

/// Byte offsets of the places that the index tensors name, one for each element of B.
void fill_offsets(const Call& c, int first, const TensorImpl& self, int64_t* offsets) {
  const auto rule = static_cast<IndexRule>(c.i(0));
  const int64_t names = c.i(1);  // the axes' numbers in messages, 4 bits each
  for (int k = 0; first + k < c.n_in; ++k) {
    TensorImpl& index = c.in(first + k);
    const int64_t size = self.sizes[k];
    const int64_t step = byte_stride(self, k);
    const int64_t dim = names >> (4 * k) & 15;
    Walk<1> walk;
    for (int d = 0; d < index.ndim(); ++d) walk.add(index.sizes[d], {byte_stride(index, d)});
    parallel_for(walk.numel, kGrain, [&](int64_t begin, int64_t end) {
      int64_t* to = offsets + begin;
      walk.run(begin, end, {index.data}, [&](const auto& p, int64_t n) {
        const int64_t step_index = walk.step(0);
        for (int64_t j = 0; j < n; ++j) {
          const int64_t i = *reinterpret_cast<const int64_t*>(p[0] + j * step_index);
          const int64_t offset = checked_index(rule, i, dim, size) * step;
          to[j] = k == 0 ? offset : to[j] + offset;
        }
        to += n;
      });
    });
  }
}

/// The loops of index and index_put: outer axes, then B, then inner axes. `flat` is out or values.
struct Transfer {
  Walk<2> outer, inner;  // {self, flat}
  int64_t n_index = 1;
  int64_t flat_step = 0;                  // between elements of B in flat
  const int64_t* flat_offsets = nullptr;  // where B is not one axis there

  Transfer(const TensorImpl& self, const TensorImpl& flat, int n_axes, int n_b,
           Scratch<int64_t>& buffer) {
    Walk<1> b;
    int64_t largest = 0;
    for (int d = 0; d < n_b; ++d) {
      b.add(flat.sizes[d], {byte_stride(flat, d)});
      if (flat.sizes[d] > 1) largest = std::max(largest, byte_stride(flat, d));
    }
    n_index = b.numel;
    if (n_index <= 1) largest = INT64_MAX;
    if (b.n == 1) flat_step = b.step(0);
    if (b.n > 1) {
      int64_t at = 0;
      b.run({nullptr}, [&](const auto& p, int64_t n) {
        for (int64_t j = 0; j < n; ++j)
          buffer[at++] = (p[0] - static_cast<char*>(nullptr)) + j * b.step(0);
      });
      flat_offsets = buffer.data();
    }
    for (int d = n_b; d < flat.ndim(); ++d) {
      const int64_t flat_stride = byte_stride(flat, d);
      (flat_stride > largest ? outer : inner)
          .add(flat.sizes[d], {byte_stride(self, d - n_b + n_axes), flat_stride});
    }
  }
  int64_t flat_at(int64_t b) const { return flat_offsets ? flat_offsets[b] : b * flat_step; }

  /// row(self, step, flat, step, n) for items of outer x B in [begin, end), inner elements [from,
  /// to).
  template <class Row>
  void run(char* self, char* flat, const int64_t* offsets, int64_t begin, int64_t end, int64_t from,
           int64_t to, Row&& row) const {
    while (begin < end) {
      const int64_t o = begin / n_index;
      const int64_t b0 = begin - o * n_index;
      const int64_t b1 = std::min(n_index, b0 + end - begin);
      char* s = self;
      char* f = flat;
      outer.run(o, o + 1, {self, flat}, [&](const auto& p, int64_t) {
        s = p[0];
        f = p[1];
      });
      if (inner.n == 0) {
        for (int64_t b = b0; b < b1; ++b) row(s + offsets[b], 0, f + flat_at(b), 0, 1);
      } else if (inner.n == 1) {
        s += from * inner.step(0);
        f += from * inner.step(1);
        for (int64_t b = b0; b < b1; ++b) {
          row(s + offsets[b], inner.step(0), f + flat_at(b), inner.step(1), to - from);
        }
      } else {
        for (int64_t b = b0; b < b1; ++b) {
          inner.run(from, to, {s + offsets[b], f + flat_at(b)}, [&](const auto& p, int64_t n) {
            row(p[0], inner.step(0), p[1], inner.step(1), n);
          });
        }
      }
      begin += b1 - b0;
    }
  }
};

template <class U>
inline void move_run(char* dst, int64_t dst_step, const char* src, int64_t src_step, int64_t n) {
  if (n == 1) {
    *reinterpret_cast<U*>(dst) = *reinterpret_cast<const U*>(src);
  } else {
    copy_run<U>(dst, dst_step, src, src_step, n);
  }
}

void index(const Call& c) {
  TensorImpl& out = c.out(0);
  TensorImpl& self = c.in(0);
  const int n_axes = c.n_in - 1;
  const int n_b = static_cast<int>(c.i(2));
  const int64_t n_index = c.in(1).numel;
  Scratch<int64_t> offsets(n_index);
  fill_offsets(c, 1, self, offsets.data());
  if (out.numel == 0) return;
  Scratch<int64_t> flat_offsets(n_b > 1 && !out.contiguous ? n_index : 0);
  const Transfer t(self, out, n_axes, n_b, flat_offsets);
  const int64_t inner = t.inner.numel;
  by_size(element_size(out.dtype), [&](auto unit) {
    using U = decltype(unit);
    parallel_for(t.outer.numel * n_index, std::max<int64_t>(1, kGrain / 2 / inner),
                 [&](int64_t begin, int64_t end) {
                   t.run(self.data, out.data, offsets.data(), begin, end, 0, inner,
                         [](char* s, int64_t s_step, char* f, int64_t f_step, int64_t n) {
                           move_run<U>(f, f_step, s, s_step, n);
                         });
                 });
  });
}

/// Chunks that own their destinations: whole outer items, or columns of the inner axis.
template <class Row>
void run_by_destination(const Transfer& t, char* self, char* flat, const int64_t* offsets,
                        Row&& row) {
  const int64_t inner = t.inner.numel;
  const int64_t outer = t.outer.numel;
  if (outer == 1 && t.inner.n == 1 && inner >= 64) {
    const int64_t grain = std::max<int64_t>(64, (kGrain / t.n_index + 63) / 64 * 64);
    parallel_for(inner, grain, [&](int64_t from, int64_t to) {
      t.run(self, flat, offsets, 0, t.n_index, from, to, row);
    });
    return;
  }
  const int64_t grain = std::max<int64_t>(1, kGrain / (t.n_index * inner));
  parallel_for(outer, grain, [&](int64_t begin, int64_t end) {
    t.run(self, flat, offsets, begin * t.n_index, end * t.n_index, 0, inner, row);
  });
}

template <class T>
struct Accumulate {
  using C = compute_t<T>;
  static void run(char* dst, int64_t dst_step, const char* src, int64_t src_step, int64_t n) {
    // Sums of halves are rounded at each addition, as PyTorch's are.
    auto add = [](T& d, const T& s) {
      if constexpr (std::is_same_v<T, bool>) {
        d = d || s;
      } else if constexpr (std::is_integral_v<T>) {
        d = static_cast<T>(static_cast<uint64_t>(d) + static_cast<uint64_t>(s));
      } else {
        d = convert<T>(convert<C>(d) + convert<C>(s));
      }
    };
    constexpr auto kSize = static_cast<int64_t>(sizeof(T));
    if (dst_step == kSize && src_step == kSize) {
      T* __restrict d = reinterpret_cast<T*>(dst);
      const T* __restrict s = reinterpret_cast<const T*>(src);
      for (int64_t j = 0; j < n; ++j) add(d[j], s[j]);
      return;
    }
    for (int64_t j = 0; j < n; ++j) {
      add(*reinterpret_cast<T*>(dst + j * dst_step),
          *reinterpret_cast<const T*>(src + j * src_step));
    }
  }
};

void index_put(const Call& c) {
  TensorImpl& self = c.out(0);
  TensorImpl& values = c.in(1);
  const int n_axes = c.n_in - 2;
  const int n_b = static_cast<int>(c.i(2));
  const int64_t n_index = c.in(2).numel;
  Scratch<int64_t> offsets(n_index);
  fill_offsets(c, 2, self, offsets.data());
  if (values.numel == 0) return;
  Scratch<int64_t> flat_offsets(n_b > 1 && !values.contiguous ? n_index : 0);
  const Transfer t(self, values, n_axes, n_b, flat_offsets);
  if (c.i(3) != 0) {
    dispatch(self.dtype, [&](auto tag) {
      run_by_destination(t, self.data, values.data, offsets.data(),
                         &Accumulate<decltype(tag)>::run);
    });
    return;
  }
  by_size(element_size(self.dtype), [&](auto unit) {
    run_by_destination(t, self.data, values.data, offsets.data(), &move_run<decltype(unit)>);
  });
}

GS_CPU_KERNEL("index", index);
GS_CPU_KERNEL("index_put", index_put);

// ---- gather and scatter ----

/// Raises unless all indices lie in [0, size).
void check_indices(TensorImpl& index, IndexRule rule, int64_t dim, int64_t size) {
  Walk<1> walk;
  for (int d = 0; d < index.ndim(); ++d) walk.add(index.sizes[d], {byte_stride(index, d)});
  parallel_for(walk.numel, kGrain, [&](int64_t begin, int64_t end) {
    walk.run(begin, end, {index.data}, [&](const auto& p, int64_t n) {
      bool good = true;
      auto at = [&](int64_t j) {
        return *reinterpret_cast<const int64_t*>(p[0] + j * walk.step(0));
      };
      for (int64_t j = 0; j < n; ++j)
        good &= static_cast<uint64_t>(at(j)) < static_cast<uint64_t>(size);
      if (good) return;
      for (int64_t j = 0; j < n; ++j) checked_index(rule, at(j), dim, size);
    });
  });
}

// out[.., j, ..] = self[.., index[.., j, ..], ..]
void gather(const Call& c) {
  TensorImpl& out = c.out(0);
  TensorImpl& self = c.in(0);
  TensorImpl& index = c.in(1);
  const int dim = static_cast<int>(c.i(0));
  const int64_t size = self.ndim() == 0 ? 1 : self.sizes[dim];
  const int64_t step = self.ndim() == 0 ? 0 : byte_stride(self, dim);
  Walk<3> walk;
  for (int d = 0; d < out.ndim(); ++d) {
    walk.add(out.sizes[d],
             {byte_stride(out, d), d == dim || self.ndim() == 0 ? 0 : byte_stride(self, d),
              byte_stride(index, d)});
  }
  if (walk.numel == 0) return;
  by_size(element_size(out.dtype), [&](auto unit) {
    using U = decltype(unit);
    parallel_for(walk.numel, kGrain, [&](int64_t begin, int64_t end) {
      walk.run(begin, end, {out.data, self.data, index.data}, [&](const auto& p, int64_t n) {
        const int64_t step_out = walk.step(0), step_self = walk.step(1), step_index = walk.step(2);
        for (int64_t j = 0; j < n; ++j) {
          const int64_t i =
              checked_index(IndexRule::Gather,
                            *reinterpret_cast<const int64_t*>(p[2] + j * step_index), dim, size);
          *reinterpret_cast<U*>(p[0] + j * step_out) =
              *reinterpret_cast<const U*>(p[1] + j * step_self + i * step);
        }
      });
    });
  });
}

enum ScatterMode { kWrite, kAdd, kMultiply, kMax, kMin };

/// update(self element, src element) for each index; `src` may be broadcast.
template <class U, class Update>
void scatter_loop(TensorImpl& self, TensorImpl& index, TensorImpl& src, int dim, Update&& update) {
  const int64_t step = self.ndim() == 0 ? 0 : byte_stride(self, dim);
  // The widest axis other than dim is split among chunks; each walks its part in the natural order.
  int split = -1;
  for (int d = 0; d < index.ndim(); ++d) {
    if (d != dim && (split < 0 || index.sizes[d] > index.sizes[split])) split = d;
  }
  auto steps_of = [&](int d) {
    return std::array<int64_t, 3>{d == dim || self.ndim() == 0 ? 0 : byte_stride(self, d),
                                  byte_stride(index, d), src.ndim() == 0 ? 0 : byte_stride(src, d)};
  };
  const int64_t n_split = split < 0 ? 1 : index.sizes[split];
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, index.numel / n_split));
  parallel_for(n_split, grain, [&](int64_t begin, int64_t end) {
    Walk<3> walk;
    char* p[3] = {self.data, index.data, src.data};
    for (int d = 0; d < index.ndim(); ++d) {
      const auto steps = steps_of(d);
      walk.add(d == split ? end - begin : index.sizes[d], steps);
      if (d == split) {
        for (int k = 0; k < 3; ++k) p[k] += begin * steps[static_cast<size_t>(k)];
      }
    }
    walk.run({p[0], p[1], p[2]}, [&](const auto& q, int64_t n) {
      const int64_t step_self = walk.step(0), step_index = walk.step(1), step_src = walk.step(2);
      if (step_index == sizeof(int64_t) && step_src == sizeof(U)) {
        const auto* at = reinterpret_cast<const int64_t*>(q[1]);
        const auto* from = reinterpret_cast<const U*>(q[2]);
        for (int64_t j = 0; j < n; ++j) {
          update(*reinterpret_cast<U*>(q[0] + j * step_self + at[j] * step), from[j]);
        }
        return;
      }
      for (int64_t j = 0; j < n; ++j) {
        const int64_t i = *reinterpret_cast<const int64_t*>(q[1] + j * step_index);
        update(*reinterpret_cast<U*>(q[0] + j * step_self + i * step),
               *reinterpret_cast<const U*>(q[2] + j * step_src));
      }
    });
  });
}

void scatter(const Call& c) {
  TensorImpl& self = c.out(0);
  TensorImpl& index = c.in(1);
  TensorImpl& src = c.in(2);
  const int dim = static_cast<int>(c.i(0));
  check_indices(index, IndexRule::Gather, dim, self.ndim() == 0 ? 1 : self.sizes[dim]);
  if (index.numel == 0) return;
  const auto mode = static_cast<ScatterMode>(c.i(1));
  if (mode == kWrite) {
    by_size(element_size(self.dtype), [&](auto unit) {
      using U = decltype(unit);
      scatter_loop<U>(self, index, src, dim, [](U& d, const U& s) { d = s; });
    });
    return;
  }
  dispatch(self.dtype, [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    auto run = [&](auto&& combine) {
      scatter_loop<T>(self, index, src, dim, [&](T& d, const T& s) {
        d = convert<T>(combine(convert<C>(d), convert<C>(s)));
      });
    };
    switch (mode) {
      case kAdd: run([](C a, C b) { return a + b; }); break;
      case kMultiply: run([](C a, C b) { return a * b; }); break;
      case kMax: run([](C a, C b) { return a != a || a > b ? a : b; }); break;
      default: run([](C a, C b) { return a != a || a < b ? a : b; }); break;
    }
  });
}

GS_CPU_KERNEL("gather", gather);
GS_CPU_KERNEL("scatter", scatter);

// ---- embedding ----

// grad_weight[index[n]] += grad[n], for index[n] != padding_idx; divided by how often a row occurs
// if asked
void embedding_backward(const Call& c) {
  TensorImpl& grad_weight = c.out(0);  // [rows, width], contiguous
  TensorImpl& grad = c.in(0);          // [n, width], contiguous
  TensorImpl& index = c.in(1);         // [n], contiguous
  const int64_t padding = c.i(0);
  const bool by_frequency = c.i(1) != 0;
  const int64_t width = grad_weight.sizes[1];
  const int64_t rows = grad_weight.sizes[0];
  const int64_t n = index.numel;
  const auto* at = reinterpret_cast<const int64_t*>(index.data);
  check_indices(index, IndexRule::Select, 0, rows);
  Scratch<int64_t> count(by_frequency ? rows : 0);
  if (by_frequency) {
    std::fill_n(count.data(), rows, 0);
    for (int64_t k = 0; k < n; ++k) ++count[at[k]];
  }
  dispatch_floating(grad_weight.dtype, "embedding_backward", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    T* w = reinterpret_cast<T*>(grad_weight.data);
    const T* g = reinterpret_cast<const T*>(grad.data);
    parallel_for(grad_weight.numel, kGrain * 4,
                 [&](int64_t begin, int64_t end) { std::fill(w + begin, w + end, T{}); });
    const int64_t grain = std::max<int64_t>(64, (kGrain / std::max<int64_t>(n, 1) + 63) / 64 * 64);
    parallel_for(width, grain, [&](int64_t from, int64_t to) {
      for (int64_t k = 0; k < n; ++k) {
        if (at[k] == padding) continue;
        T* dst = w + at[k] * width;
        const T* src = g + k * width;
        if (by_frequency) {
          const C scale = C(1) / static_cast<C>(count[at[k]]);
          for (int64_t j = from; j < to; ++j)
            dst[j] = convert<T>(convert<C>(dst[j]) + convert<C>(src[j]) * scale);
        } else {
          Accumulate<T>::run(reinterpret_cast<char*>(dst + from), sizeof(T),
                             reinterpret_cast<const char*>(src + from), sizeof(T), to - from);
        }
      }
    });
  });
}

// Rows of weight that index names are scaled down to a norm of at most max_norm.
void embedding_renorm(const Call& c) {
  TensorImpl& weight = c.out(0);
  TensorImpl& index = c.in(1);
  const double max_norm = c.f(0);
  const double power = c.f(1);
  const auto* at = reinterpret_cast<const int64_t*>(index.data);
  check_indices(index, IndexRule::Select, 0, weight.sizes[0]);
  Scratch<int64_t> rows(index.numel);
  std::copy_n(at, index.numel, rows.data());
  std::sort(rows.data(), rows.data() + index.numel);
  const int64_t n = std::unique(rows.data(), rows.data() + index.numel) - rows.data();
  dispatch_floating(weight.dtype, "embedding_renorm_", [&](auto tag) {
    using T = decltype(tag);
    const int64_t width = weight.sizes[1];
    const int64_t step = byte_stride(weight, 1);
    for (int64_t k = 0; k < n; ++k) {
      char* row = weight.data + rows[k] * byte_stride(weight, 0);
      double norm = 0;
      for (int64_t j = 0; j < width; ++j) {
        const double v = std::abs(convert<double>(*reinterpret_cast<T*>(row + j * step)));
        norm = std::isinf(power) ? std::max(norm, v)
                                 : norm + (power == 2 ? v * v : std::pow(v, power));
      }
      if (!std::isinf(power)) norm = std::pow(norm, 1 / power);
      if (!(norm > max_norm)) continue;
      const double scale = max_norm / (norm + 1e-7);
      for (int64_t j = 0; j < width; ++j) {
        T& v = *reinterpret_cast<T*>(row + j * step);
        v = convert<T>(convert<double>(v) * scale);
      }
    }
  });
}

GS_CPU_KERNEL("embedding_backward", embedding_backward);
GS_CPU_KERNEL("embedding_renorm", embedding_renorm);

// ---- nonzero and statistics of index tensors ----

template <class F>
void for_nonzero(TensorImpl& self, int64_t begin, int64_t end, F&& f) {
  dispatch(self.dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* x = reinterpret_cast<const T*>(self.data);
    if constexpr (requires { tag.bits; }) {
      for (int64_t j = begin; j < end; ++j) f(j, (x[j].bits & 0x7fff) != 0);
    } else {
      for (int64_t j = begin; j < end; ++j) f(j, x[j] != T(0));
    }
  });
}

int64_t count_nonzero(TensorImpl& self, int64_t begin, int64_t end) {
  int64_t n = 0;
  for_nonzero(self, begin, end, [&](int64_t, bool set) { n += set; });
  return n;
}

// out[0] = the number of elements that are not zero; self is contiguous
void nonzero_count(const Call& c) {
  TensorImpl& self = c.in(0);
  std::atomic<int64_t> total = 0;
  parallel_for(self.numel, kGrain, [&](int64_t begin, int64_t end) {
    total.fetch_add(count_nonzero(self, begin, end), std::memory_order_relaxed);
  });
  *reinterpret_cast<int64_t*>(c.out(0).data) = total.load();
}

// out [n, ndim]: the positions of the elements that are not zero, in row-major order; self is
// contiguous
void nonzero(const Call& c) {
  TensorImpl& out = c.out(0);
  TensorImpl& self = c.in(0);
  const int ndim = self.ndim();
  if (out.numel == 0) return;
  const int64_t chunks = chunk_count(self.numel, kGrain);
  const int64_t chunk = chunk_size(self.numel, kGrain);
  Scratch<int64_t> start(chunks + 1);
  start[0] = 0;
  parallel_for(self.numel, kGrain, [&](int64_t begin, int64_t end) {
    start[begin / chunk + 1] = count_nonzero(self, begin, end);
  });
  for (int64_t k = 0; k < chunks; ++k) start[k + 1] += start[k];
  parallel_for(self.numel, kGrain, [&](int64_t begin, int64_t end) {
    int64_t* to = reinterpret_cast<int64_t*>(out.data) + start[begin / chunk] * ndim;
    const int64_t row = ndim == 0 ? 1 : self.sizes[ndim - 1];
    int64_t row_begin = -1;  // the row that `at` tells the leading places of
    int64_t at[kMaxDims];
    // Places are collected without branches, a few hundred at a time, and then taken apart by axis.
    constexpr int64_t kBlock = 512;
    int64_t places[kBlock + 1];
    for (int64_t block = begin; block < end; block += kBlock) {
      int64_t n = 0;
      for_nonzero(self, block, std::min(end, block + kBlock), [&](int64_t j, bool set) {
        places[n] = j;
        n += set;
      });
      if (ndim == 1) {
        to = std::copy_n(places, n, to);
        continue;
      }
      for (int64_t k = 0; k < n; ++k) {
        if (row_begin < 0 || places[k] - row_begin >= row) {
          int64_t rest = places[k] / row;
          row_begin = rest * row;
          for (int d = ndim - 2; d >= 0; --d) {
            at[d] = rest % self.sizes[d];
            rest /= self.sizes[d];
          }
        }
        for (int d = 0; d < ndim - 1; ++d) *to++ = at[d];
        if (ndim > 0) *to++ = places[k] - row_begin;
      }
    }
  });
}

// out = {smallest, largest, sum} of a contiguous int64 tensor with at least one element
void index_statistics(const Call& c) {
  auto* out = reinterpret_cast<int64_t*>(c.out(0).data);
  const auto* x = reinterpret_cast<const int64_t*>(c.in(0).data);
  int64_t low = x[0], high = x[0];
  uint64_t sum = 0;
  for (int64_t j = 0; j < c.in(0).numel; ++j) {
    low = std::min(low, x[j]);
    high = std::max(high, x[j]);
    sum += static_cast<uint64_t>(x[j]);
  }
  out[0] = low;
  out[1] = high;
  out[2] = static_cast<int64_t>(sum);
}

// out = 0 x[0] times, 1 x[1] times, ..
void repeat_interleave_index(const Call& c) {
  auto* out = reinterpret_cast<int64_t*>(c.out(0).data);
  const auto* x = reinterpret_cast<const int64_t*>(c.in(0).data);
  for (int64_t j = 0; j < c.in(0).numel; ++j) out = std::fill_n(out, x[j], j);
}

GS_CPU_KERNEL("nonzero_count", nonzero_count);
GS_CPU_KERNEL("nonzero", nonzero);
GS_CPU_KERNEL("index_statistics", index_statistics);
GS_CPU_KERNEL("repeat_interleave_index", repeat_interleave_index);

// ---- layout ----

void cat(const Call& c) {
  TensorImpl& out = c.out(0);
  const int dim = static_cast<int>(c.i(0));
  char* to = out.data;
  for (int k = 0; k < c.n_in; ++k) {
    TensorImpl& x = c.in(k);
    Walk<2> walk;
    for (int d = 0; d < x.ndim(); ++d)
      walk.add(x.sizes[d], {byte_stride(out, d), byte_stride(x, d)});
    copy_walk(walk, to, x.data, element_size(out.dtype));
    to += x.sizes[dim] * byte_stride(out, dim);
  }
}

// out[i0, i1, ..] = self[i0 % size0, ..]; out is contiguous, self has its leading axes already
void repeat(const Call& c) {
  TensorImpl& out = c.out(0);
  TensorImpl& self = c.in(0);
  Walk<2> walk;
  for (int d = 0; d < out.ndim(); ++d) {
    const int64_t step = byte_stride(out, d);
    if (self.sizes[d] == 0) return;
    walk.add(out.sizes[d] / self.sizes[d], {step * self.sizes[d], 0});
    walk.add(self.sizes[d], {step, byte_stride(self, d)});
  }
  copy_walk(walk, out.data, self.data, element_size(out.dtype));
}

// the axes of the mask run backwards
void flip(const Call& c) {
  TensorImpl& out = c.out(0);
  TensorImpl& self = c.in(0);
  Walk<2> walk;
  char* from = self.data;
  for (int d = 0; d < out.ndim(); ++d) {
    const int64_t step = byte_stride(self, d);
    const bool back = c.i(0) >> d & 1;
    if (back && self.sizes[d] > 0) from += (self.sizes[d] - 1) * step;
    walk.add(out.sizes[d], {byte_stride(out, d), back ? -step : step});
  }
  copy_walk(walk, out.data, from, element_size(out.dtype));
}

// the last two axes: elements with column - row above (tril) or below (triu) k become 0
void triangle(const Call& c) {
  TensorImpl& out = c.out(0);
  TensorImpl& self = c.in(0);
  const int64_t k = c.i(0);
  const bool upper = c.i(1) != 0;
  const int n = out.ndim();
  const int64_t rows = out.sizes[n - 2];
  const int64_t cols = out.sizes[n - 1];
  if (out.numel == 0) return;
  Walk<2> walk;
  for (int d = 0; d < n - 2; ++d)
    walk.add(out.sizes[d], {byte_stride(out, d), byte_stride(self, d)});
  const int64_t out_row = byte_stride(out, n - 2), self_row = byte_stride(self, n - 2);
  const int64_t out_col = byte_stride(out, n - 1), self_col = byte_stride(self, n - 1);
  by_size(element_size(out.dtype), [&](auto unit) {
    using U = decltype(unit);
    const U zero = 0;
    const char* nothing = reinterpret_cast<const char*>(&zero);
    parallel_for(
        walk.numel * rows, std::max<int64_t>(1, kGrain / cols), [&](int64_t begin, int64_t end) {
          for (int64_t at = begin; at < end; ++at) {
            const int64_t r = at % rows;
            walk.run(at / rows, at / rows + 1, {out.data, self.data}, [&](const auto& p, int64_t) {
              char* o = p[0] + r * out_row;
              const char* s = p[1] + r * self_row;
              const int64_t border = std::clamp<int64_t>(upper ? r + k : r + k + 1, 0, cols);
              const int64_t from = upper ? border : 0;
              const int64_t to = upper ? cols : border;
              copy_run<U>(o + from * out_col, out_col, s + from * self_col, self_col, to - from);
              if (upper) {
                copy_run<U>(o, out_col, nothing, 0, from);
              } else {
                copy_run<U>(o + to * out_col, out_col, nothing, 0, cols - to);
              }
            });
          }
        });
  });
}

/// out [2, n] = rows and columns of the places of a triangle, row by row. Slots: rows, cols, the
/// last diagonal of the lower triangle, 1 for the places above it.
void triangle_indices(const Call& c) {
  const int64_t rows = c.i(0), cols = c.i(1), reach = c.i(2), n = c.out(0).numel / 2;
  const bool upper = c.i(3) != 0;
  by_size(element_size(c.out(0).dtype), [&](auto unit) {
    using U = decltype(unit);
    U* row = reinterpret_cast<U*>(c.out(0).data);
    U* col = row + n;
    // Only rows that have places: the others may be very many.
    const int64_t begin = upper ? 0 : std::clamp<int64_t>(-reach, 0, rows);
    const int64_t end = n == 0 ? 0 : upper ? std::clamp<int64_t>(cols - reach, 0, rows) : rows;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t border = std::clamp<int64_t>(r + reach + 1, 0, cols);
      for (int64_t j = upper ? border : 0; j < (upper ? cols : border); ++j) {
        *row++ = static_cast<U>(r);
        *col++ = static_cast<U>(j);
      }
    }
  });
}

/// out[v] = how many of x are v, for int64 x that are known to lie inside. Threads count apart
/// where the counters are few.
void bincount(const Call& c) {
  const auto* x = reinterpret_cast<const int64_t*>(c.in(0).data);
  auto* out = reinterpret_cast<int64_t*>(c.out(0).data);
  const int64_t n = c.in(0).numel, bins = c.out(0).numel;
  const int64_t grain = std::max<int64_t>(kGrain, 4 * bins);
  const int64_t chunk = chunk_size(n, grain);
  std::vector<int64_t> counts(static_cast<size_t>(chunk_count(n, grain) * bins), 0);
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    int64_t* own = counts.data() + begin / chunk * bins;
    for (int64_t i = begin; i < end; ++i) ++own[x[i]];
  });
  std::fill(out, out + bins, 0);
  for (size_t k = 0; k < counts.size(); ++k) out[static_cast<int64_t>(k) % bins] += counts[k];
}

GS_CPU_KERNEL("triangle_indices", triangle_indices);
/// out[k] = how many of x lie in the k-th of equal parts of [low, high], with high itself in the
/// last.
void histc(const Call& c) {
  auto* out = reinterpret_cast<int64_t*>(c.out(0).data);
  const int64_t bins = c.out(0).numel;
  std::fill(out, out + bins, 0);
  dispatch_floating(c.in(0).dtype, "histogram_cpu", [&](auto tag) {
    using T = decltype(tag);
    using C = compute_t<T>;
    const auto* x = reinterpret_cast<const T*>(c.in(0).data);
    const C low = static_cast<C>(c.f(0)), high = static_cast<C>(c.f(1));
    const C width = high - low, count = static_cast<C>(bins);
    for (int64_t i = 0; i < c.in(0).numel; ++i) {
      const C v = convert<C>(x[i]);
      if (!(v >= low && v <= high)) continue;
      const auto at = static_cast<int64_t>((v - low) * count / width);
      ++out[std::clamp<int64_t>(at, 0, bins - 1)];  // of NaN and infinity: INT64_MIN
    }
  });
}

GS_CPU_KERNEL("histc", histc);
GS_CPU_KERNEL("bincount", bincount);
GS_CPU_KERNEL("cat", cat);
GS_CPU_KERNEL("repeat", repeat);
GS_CPU_KERNEL("flip", flip);
GS_CPU_KERNEL("triangle", triangle);

}  // namespace
}  // namespace gradstep
