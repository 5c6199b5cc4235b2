// SPDX-License-Identifier: Apache-2.0
// Recurrent layers on a GPU: the operands and slots of the two calls stand in cpp/kernels/rnn.cpp.
// Forward, the input's share of all gates is one product; a step is a product with the recurrent
// weights and one kernel for gates and states. Backward, a step is a product and one kernel that
// ends with the gradients of the gates' sums; the gradients of weights and input are products over
// all steps. Kept values lie row by row, the gates of a row one after the other.
// rnn_cudnn.cu does the same with cuDNN.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "cuda/gemm.h"
#include "cuda/rnn.h"
#include "cuda/values.h"
#include "fn/rnn.h"

namespace gradstep::cuda {

namespace {

constexpr int kThreads = 128;

// ---- the layer ----

template <class T>
T* data_of(const TensorImpl* t) {
  return t ? reinterpret_cast<T*>(t->data) : nullptr;
}
template <class T>
T* operand(const Call& call, int i, int64_t offset = 0) {
  T* const p = data_of<T>(call.operands[i]);
  return p ? p + offset : nullptr;
}

/// Where the rows of the steps lie: sequence r's row of step t is start[t] + r * stride, for r <
/// count[t]. Longer sequences come first. The sizes of the batches lie in the host's memory.
struct Rows {
  int64_t steps, batch, stride, total = 0;
  std::vector<int64_t> start, count;

  Rows(const Call& call, const TensorImpl* batch_sizes) : steps(call.i(2)), batch(call.i(3)) {
    const bool batch_first = call.i(4) != 0;
    stride = batch_first ? steps : 1;
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t n = batch_sizes ? data_of<int64_t>(batch_sizes)[t] : batch;
      start.push_back(batch_first ? t : total);
      count.push_back(n);
      total += n;
    }
  }
  /// How many sequences step t shares with step `other`, which may be out of range.
  int64_t shared(int64_t t, int64_t other) const {
    return other < 0 || other >= steps ? 0 : std::min(count[t], count[other]);
  }
};

/// One direction of a layer; `out` is the size of the state, less than hidden with a projection.
struct Direction {
  bool reverse;
  int64_t hidden, out;
  int64_t step(int64_t i, int64_t steps) const { return reverse ? steps - 1 - i : i; }
  int64_t before(int64_t t) const { return reverse ? t + 1 : t - 1; }
  int64_t after(int64_t t) const { return reverse ? t - 1 : t + 1; }
};

/// c (m x n, rows c_row apart) = a b + beta c.
template <class T>
void product(const Call& call, int64_t m, int64_t n, int64_t k, Factor a, Factor b, T* c,
             int64_t c_row, double beta = 0) {
  Product p;
  p.type = dtype_of<T>;
  p.m = m;
  p.n = n;
  p.k = k;
  p.a = a;
  p.b = b;
  p.c = c;
  p.c_row = c_row;
  p.beta = beta;
  multiply(call, p);
}

/// Blocks for rows of so many units: a thread has one unit of one row after the other.
dim3 grid_of(int64_t units, int64_t rows) {
  return dim3(unsigned((units + kThreads - 1) / kThreads),
              unsigned(std::min<int64_t>(rows, 65535)));
}

template <class T>
struct CopyArgs {
  T* to;
  const T* from;  // null: zeros
  int64_t n, rows, to_row, from_row;
};
template <class T>
__global__ void copy_rows_kernel(const __grid_constant__ CopyArgs<T> a) {
  const int64_t j = first_index();
  if (j >= a.n) return;
  for (int64_t r = blockIdx.y; r < a.rows; r += gridDim.y) {
    a.to[r * a.to_row + j] = a.from ? a.from[r * a.from_row + j] : T(0);
  }
}
template <class T>
void copy_rows(const Call& call, T* to, int64_t to_row, const T* from, int64_t from_row,
               int64_t rows, int64_t n) {
  if (rows == 0 || n == 0) return;
  launch_grid(call, &copy_rows_kernel<T>, grid_of(n, rows), kThreads,
              CopyArgs<T>{to, from, n, rows, to_row, from_row});
}

// ---- forward ----

/// One step of a direction; pointers are those of sequence 0, `stride` is the rows between
/// sequences.
template <class T>
struct GateArgs {
  int64_t n, hidden, stride;
  const T *x, *w;  // sums of all gates: x by rows of the layer, w by sequences
  int64_t w_rows;  // sequences that have a w; 0 for the others
  const T *b_ih, *b_hh;
  const T* before[2];  // states of the sequences below `shared` and from there on, or null
  int64_t before_row[2];
  int64_t shared;
  T *y, *kept, *cells, *inner, *c_last;  // may be null
  int64_t y_row;
};

template <class T>
GS_DEVICE T state_before(const T* const (&before)[2], const int64_t (&row)[2], int64_t shared,
                         int64_t r, int64_t j) {
  const int k = r < shared ? 0 : 1;
  return before[k] ? before[k][r * row[k] + j] : T(0);
}

template <class Unit, class T>
__global__ void gates_kernel(const __grid_constant__ GateArgs<T> a) {
  constexpr int G = Unit::gates, S = Unit::saved;
  const int64_t j = first_index(), h = a.hidden;
  if (j >= h) return;
  for (int64_t r = blockIdx.y; r < a.n; r += gridDim.y) {
    const int64_t row = r * a.stride;
    T x[G], w[G], keep[S], before = T(0), c = T(0);
    GS_UNROLL
    for (int g = 0; g < G; ++g) {
      x[g] = a.x[(row * G + g) * h + j];
      w[g] = r < a.w_rows ? a.w[(r * G + g) * h + j] : T(0);
      if (a.b_ih) {
        x[g] += a.b_ih[g * h + j];
        w[g] += a.b_hh[g * h + j];
      }
    }
    if constexpr (Unit::has_cell) c = a.c_last[r * h + j];
    if constexpr (Unit::reads_state) before = state_before(a.before, a.before_row, a.shared, r, j);
    const T y = Unit::forward(x, w, before, c, keep);
    if constexpr (Unit::has_cell) {
      a.c_last[r * h + j] = c;
      if (a.cells) a.cells[row * h + j] = c;
    }
    if constexpr (S > 1) {
      if (a.kept) {
        GS_UNROLL
        for (int g = 0; g < S; ++g) a.kept[(row * S + g) * h + j] = keep[g];
      }
    }
    if (a.inner) {
      a.inner[row * h + j] = y;
    } else {
      a.y[r * a.y_row + j] = y;
    }
  }
}

/// The states that step t is made from, as two runs of sequences.
template <class T>
struct Before {
  const T* p[2];
  int64_t row[2];
  int64_t shared;
  Before(const Rows& rows, const Direction& d, int64_t t, const T* y, int64_t y_row, const T* h0,
         int64_t size) {
    const int64_t s = d.before(t);
    shared = std::min(rows.shared(t, s), rows.count[t]);
    p[0] = y && shared > 0 ? y + rows.start[s] * y_row : nullptr;
    row[0] = rows.stride * y_row;
    p[1] = h0;
    row[1] = size;
  }
};

template <class Unit, class T>
void forward(const Call& call) {
  constexpr int G = Unit::gates;
  const int inputs = call.n_out;
  const DeviceGuard guard(call.out(0).device.index);
  const Rows rows(call, call.maybe_in(3));
  const int64_t in_size = call.in(0).sizes.back(), n_directions = call.i(1);
  const T* const x = operand<T>(call, inputs);
  for (int i = 0; i < n_directions; ++i) {
    const int weights = inputs + 4 + 5 * i, outputs = 3 + 3 * i;
    const Direction d{i == 1, call.operands[weights + 1]->sizes[0] / G,
                      call.operands[weights + 1]->sizes[1]};
    const int64_t h = d.hidden, y_row = n_directions * d.out;
    const T* const w_ih = operand<T>(call, weights);
    const T* const w_hh = operand<T>(call, weights + 1);
    const T* const w_hr = operand<T>(call, weights + 4);
    const T* const h0 = operand<T>(call, inputs + 1, i * rows.batch * d.out);
    const T* const c0 = operand<T>(call, inputs + 2, i * rows.batch * h);
    T* const y = operand<T>(call, 0, i * d.out);
    T* const h_last = operand<T>(call, 1, i * rows.batch * d.out);
    T* const c_last = Unit::has_cell ? operand<T>(call, 2, i * rows.batch * h) : nullptr;
    T* const kept = Unit::saved > 1 ? operand<T>(call, outputs) : nullptr;
    T* const cells = operand<T>(call, outputs + 1);
    const bool own_inner = w_hr && !call.operands[outputs + 2];
    const DeviceScratch<T> inner_space(own_inner ? rows.total * h : 0, call);
    T* const inner = own_inner ? inner_space.data()
                     : w_hr    ? operand<T>(call, outputs + 2)
                               : nullptr;
    const DeviceScratch<T> x_sums(rows.total * G * h, call), w_sums(rows.batch * G * h, call);
    product(call, rows.total, G * h, in_size, {x, in_size, 1}, {w_ih, 1, in_size}, x_sums.data(),
            G * h);
    if (c_last) copy_rows(call, c_last, h, c0, h, rows.batch, h);
    for (int64_t k = 0; k < rows.steps; ++k) {
      const int64_t t = d.step(k, rows.steps), n = rows.count[t], row = rows.start[t];
      const Before<T> before(rows, d, t, y, y_row, h0, d.out);
      const Factor w{w_hh, 1, d.out};
      product(call, before.shared, G * h, d.out, {before.p[0], before.row[0], 1}, w, w_sums.data(),
              G * h);
      if (h0) {
        product(call, n - before.shared, G * h, d.out, {h0 + before.shared * d.out, d.out, 1}, w,
                w_sums.data() + before.shared * G * h, G * h);
      }
      GateArgs<T> a{};
      a.n = n;
      a.hidden = h;
      a.stride = rows.stride;
      a.x = x_sums.data() + row * G * h;
      a.w = w_sums.data();
      a.w_rows = h0 ? n : before.shared;
      a.b_ih = operand<T>(call, weights + 2);
      a.b_hh = operand<T>(call, weights + 3);
      for (int q = 0; q < 2; ++q) {
        a.before[q] = before.p[q];
        a.before_row[q] = before.row[q];
      }
      a.shared = before.shared;
      a.y = y + row * y_row;
      a.y_row = rows.stride * y_row;
      a.kept = kept ? kept + row * Unit::saved * h : nullptr;
      a.cells = cells ? cells + row * h : nullptr;
      a.inner = inner ? inner + row * h : nullptr;
      a.c_last = c_last;
      launch_grid(call, &gates_kernel<Unit, T>, grid_of(h, n), kThreads, a);
      if (w_hr) {
        product(call, n, d.out, h, {a.inner, rows.stride * h, 1}, {w_hr, 1, h}, a.y, a.y_row);
      }
      if (h_last) {
        const int64_t r = rows.shared(t, d.after(t));
        copy_rows(call, h_last + r * d.out, d.out, a.y + r * a.y_row, a.y_row, n - r, d.out);
      }
    }
  }
}

// ---- backward ----

/// The first gate of the gradients of hidden sums, see GruUnit::backward.
template <class Unit>
constexpr int kHiddenGate = Unit::saved - Unit::gates;

/// The gradients of the states of one step, and without a projection those of its sums.
template <class T>
struct StateArgs {
  int64_t n, hidden, stride;
  int64_t middle;         // sequences below go on to the step after: they have sums
  const T* sums;          // by sequences
  const T *dh_last, *dy;  // by sequences; by rows, dy_row apart. May be null
  int64_t dy_row;
  // The sums' gradients; with d null, dh goes to `inner`.
  const T *kept, *cells, *cell_before[2], *before[2];
  int64_t kept_row, cell_row[2], before_row[2], shared;
  T *d, *carry, *inner;
  T* states;  // takes the states before, `out` wide, for the gradient of the weights; may be null
  int64_t out;
};

template <class T>
GS_DEVICE T state_gradient(const StateArgs<T>& a, int64_t r, int64_t j, int64_t width) {
  T dh = T(0);
  if (r < a.middle)
    dh = a.sums[r * width + j];
  else if (a.dh_last)
    dh = a.dh_last[r * width + j];
  if (a.dy) dh += a.dy[r * a.dy_row + j];
  return dh;
}

template <class T>
__global__ void inner_kernel(const __grid_constant__ StateArgs<T> a) {
  const int64_t j = first_index();
  if (j >= a.out) return;
  for (int64_t r = blockIdx.y; r < a.n; r += gridDim.y) {
    a.inner[r * a.stride * a.out + j] = state_gradient(a, r, j, a.out);
  }
}

template <class Unit, class T>
__global__ void sums_kernel(const __grid_constant__ StateArgs<T> a) {
  constexpr int S = Unit::saved;
  const int64_t j = first_index(), h = a.hidden;
  if (j >= h) return;
  for (int64_t r = blockIdx.y; r < a.n; r += gridDim.y) {
    const int64_t row = r * a.stride;
    T kept[S], grads[S], before = T(0), c = T(0), c_before = T(0), carry = T(0);
    GS_UNROLL
    for (int g = 0; g < S; ++g) kept[g] = a.kept[r * a.kept_row + g * h + j];
    if constexpr (Unit::has_cell) {
      c = a.cells[row * h + j];
      c_before = state_before(a.cell_before, a.cell_row, a.shared, r, j);
    }
    if (j < a.out) {
      before = state_before(a.before, a.before_row, a.shared, r, j);
      if (a.states) a.states[row * a.out + j] = before;
    }
    const T dh = state_gradient(a, r, j, h);
    if constexpr (Unit::has_carry) carry = a.carry[r * h + j];
    Unit::backward(kept, before, c_before, c, dh, carry, grads);
    if constexpr (Unit::has_carry) a.carry[r * h + j] = carry;
    GS_UNROLL
    for (int g = 0; g < S; ++g) a.d[(row * S + g) * h + j] = grads[g];
  }
}

constexpr int kLines = 8;

/// to[j] = the sum of column j of a matrix of rows of `ld`; a block has 32 columns, its 8 lines of
/// threads every eighth row.
template <class T>
__global__ void column_sums_kernel(const T* from, int64_t ld, int64_t rows, int64_t columns,
                                   T* to) {
  __shared__ T sums[kLines][32];
  const int lane = int(threadIdx.x) % 32, line = int(threadIdx.x) / 32;
  const int64_t j = int64_t(blockIdx.x) * 32 + lane;
  T sum = T(0);
  if (j < columns) {
    for (int64_t r = line; r < rows; r += kLines) sum += from[r * ld + j];
  }
  sums[line][lane] = sum;
  __syncthreads();
  if (line != 0 || j >= columns) return;
  for (int k = 1; k < kLines; ++k) sum += sums[k][lane];
  to[j] = sum;
}
template <class T>
void column_sums(const Call& call, const T* from, int64_t ld, int64_t rows, int64_t columns,
                 T* to) {
  if (columns == 0) return;
  launch_grid(call, &column_sums_kernel<T>, unsigned((columns + 31) / 32), 32 * kLines, from, ld,
              rows, columns, to);
}

template <class Unit, class T>
void backward(const Call& call) {
  constexpr int G = Unit::gates, S = Unit::saved;
  const int inputs = call.n_out;
  const DeviceGuard guard(call.out(0).device.index);
  const Rows rows(call, call.maybe_in(7));
  const int64_t in_size = call.in(4).sizes.back(), n_directions = call.i(1);
  const T* const x = operand<T>(call, inputs + 4);
  T* const dx = operand<T>(call, 1);
  for (int i = 0; i < n_directions; ++i) {
    const int given = inputs + 8 + 6 * i, results = 3 + 5 * i;
    const Direction d{i == 1, call.operands[given + 4]->sizes[0] / G,
                      call.operands[given + 4]->sizes[1]};
    const int64_t h = d.hidden, out = d.out, y_row = n_directions * out;
    const T* const y = operand<T>(call, inputs + 3, i * out);
    const T* const dy = operand<T>(call, inputs, i * out);
    const T* const dh_last = operand<T>(call, inputs + 1, i * rows.batch * out);
    const T* const dc_last =
        Unit::has_cell ? operand<T>(call, inputs + 2, i * rows.batch * h) : nullptr;
    const T* const h0 = operand<T>(call, inputs + 5, i * rows.batch * out);
    const T* const c0 = operand<T>(call, inputs + 6, i * rows.batch * h);
    const T* const kept = operand<T>(call, given);
    const T* const cells = operand<T>(call, given + 1);
    const T* const inner = operand<T>(call, given + 2);
    const T* const w_ih = operand<T>(call, given + 3);
    const T* const w_hh = operand<T>(call, given + 4);
    const T* const w_hr = operand<T>(call, given + 5);
    T* const dw_ih = operand<T>(call, results);
    T* const dw_hh = operand<T>(call, results + 1);
    T* const carry = operand<T>(call, 0, i * rows.batch * h);
    if (Unit::has_carry) copy_rows(call, carry, h, dc_last, h, rows.batch, h);
    const DeviceScratch<T> grads(rows.total * S * h, call), sums(rows.batch * h, call);
    const DeviceScratch<T> states(dw_hh ? rows.total * out : 0, call);
    const DeviceScratch<T> d_inner(w_hr ? rows.total * out : 0, call);
    const T* const hidden = grads.data() + kHiddenGate<Unit> * h;
    for (int64_t k = 0; k < rows.steps; ++k) {
      const int64_t t = d.step(rows.steps - 1 - k, rows.steps), s = d.after(t), row = rows.start[t];
      StateArgs<T> a{};
      a.n = rows.count[t];
      a.hidden = h;
      a.out = out;
      a.stride = rows.stride;
      a.middle = rows.shared(t, s);
      a.sums = sums.data();
      a.dh_last = dh_last;
      a.dy = dy ? dy + row * y_row : nullptr;
      a.dy_row = rows.stride * y_row;
      if (a.middle > 0) {
        product(call, a.middle, out, G * h,
                {hidden + rows.start[s] * S * h, rows.stride * S * h, 1}, {w_hh, out, 1},
                sums.data(), out);
      }
      if (w_hr) {
        a.inner = d_inner.data() + row * out;
        launch_grid(call, &inner_kernel<T>, grid_of(out, a.n), kThreads, a);
        product(call, a.n, h, out, {a.inner, rows.stride * out, 1}, {w_hr, h, 1}, sums.data(), h);
        a.middle = a.n;
        a.dy = nullptr;
      }
      const Before<T> before(rows, d, t, y, y_row, h0, out), cell(rows, d, t, cells, h, c0, h);
      for (int q = 0; q < 2; ++q) {
        a.before[q] = before.p[q];
        a.before_row[q] = before.row[q];
        a.cell_before[q] = cell.p[q];
        a.cell_row[q] = cell.row[q];
      }
      a.shared = before.shared;
      a.kept = S == 1 ? y + row * y_row : kept + row * S * h;
      a.kept_row = rows.stride * (S == 1 ? y_row : S * h);
      a.cells = cells ? cells + row * h : nullptr;
      a.d = grads.data() + row * S * h;
      a.carry = carry;
      a.states = dw_hh ? states.data() + row * out : nullptr;
      launch_grid(call, &sums_kernel<Unit, T>, grid_of(h, a.n), kThreads, a);
    }
    // The gates of the input's sums: in GruUnit's gradients n comes before r and z.
    struct Part {
      int64_t from, gate, gates;
    };
    const std::vector<Part> parts = kHiddenGate<Unit> == 0
                                        ? std::vector<Part>{{0, 0, G}}
                                        : std::vector<Part>{{1, 0, 2}, {0, 2, 1}};
    T* const db_ih = operand<T>(call, results + 2);
    for (size_t k = 0; k < parts.size(); ++k) {
      const Part& p = parts[k];
      const T* const from = grads.data() + p.from * h;
      if (dx) {
        product(call, rows.total, in_size, p.gates * h, {from, S * h, 1},
                {w_ih + p.gate * h * in_size, in_size, 1}, dx, in_size, i > 0 || k > 0 ? 1 : 0);
      }
      if (dw_ih) {
        product(call, p.gates * h, in_size, rows.total, {from, 1, S * h}, {x, in_size, 1},
                dw_ih + p.gate * h * in_size, in_size);
      }
      if (db_ih) column_sums(call, from, S * h, rows.total, p.gates * h, db_ih + p.gate * h);
    }
    if (dw_hh) {
      product(call, G * h, out, rows.total, {hidden, 1, S * h},
              {static_cast<const T*>(states.data()), out, 1}, dw_hh, out);
    }
    if (T* const db_hh = operand<T>(call, results + 3)) {
      column_sums(call, hidden, S * h, rows.total, G * h, db_hh);
    }
    if (T* const dw_hr = operand<T>(call, results + 4)) {
      product(call, out, h, rows.total, {d_inner.data(), 1, out}, {inner, h, 1}, dw_hr, h);
    }
    if (T* const to = operand<T>(call, 2, i * rows.batch * out)) {
      // What passed by the matrix, and each sequence's first sums times w_hh.
      const bool add = Unit::has_carry && !Unit::has_cell;
      if (add) copy_rows(call, to, out, static_cast<const T*>(carry), out, rows.batch, out);
      for (int64_t t = 0; t < rows.steps; ++t) {
        const int64_t first = rows.shared(t, d.before(t)), n = rows.count[t] - first;
        if (n <= 0) continue;
        const T* const from = hidden + (rows.start[t] + first * rows.stride) * S * h;
        product(call, n, out, G * h, {from, rows.stride * S * h, 1}, {w_hh, out, 1},
                to + first * out, out, add ? 1 : 0);
      }
    }
  }
}

// ---- dispatch ----

template <class T>
void forward_of(const Call& call) {
  switch (call.i(0)) {
    case 0: return forward<TanhUnit, T>(call);
    case 1: return forward<ReluUnit, T>(call);
    case 2: return forward<LstmUnit, T>(call);
    default: return forward<GruUnit, T>(call);
  }
}
template <class T>
void backward_of(const Call& call) {
  switch (call.i(0)) {
    case 0: return backward<TanhUnit, T>(call);
    case 1: return backward<ReluUnit, T>(call);
    case 2: return backward<LstmUnit, T>(call);
    default: return backward<GruUnit, T>(call);
  }
}

void rnn(const Call& call) {
  if (cudnn_rnn(call)) return;
  call.compute == Compute::F32 ? forward_of<float>(call) : forward_of<double>(call);
}
void rnn_backward(const Call& call) {
  if (cudnn_rnn_backward(call)) return;
  call.compute == Compute::F32 ? backward_of<float>(call) : backward_of<double>(call);
}
GS_CUDA_KERNEL("rnn", rnn);
GS_CUDA_KERNEL("rnn_backward", rnn_backward);

}  // namespace

}  // namespace gradstep::cuda
