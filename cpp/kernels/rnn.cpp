// SPDX-License-Identifier: Apache-2.0
// Recurrent layers on the CPU: all steps and both directions of one layer in one call.
//   rnn(y, h_last, c_last, {kept, cells, inner}..; x, h0, c0, batch_sizes, {w_ih, w_hh, b_ih, b_hh,
//   w_hr}..)
//   rnn_backward(carry, dx, dh0, {dw_ih, dw_hh, db_ih, db_hh, dw_hr}..; dy, dh_last, dc_last, y, x,
//   h0, c0, batch_sizes, {kept, cells, inner, w_ih, w_hh, w_hr}..)
// One group {..} for each direction; absent operands are null. Slots: unit (0 tanh, 1 relu, 2 LSTM,
// 3 GRU), directions, steps, batch, batch first. A device's kernel that registers
// "rnn_reserve" may keep a block of bytes of its own (ops/rnn.cpp). Compiled once for each
// instruction set; register_rnn_kernels() is called by register.cpp.
#include <algorithm>
#include <memory>
#include <vector>

#include "core/threads.h"
#include "fn/rnn.h"
#include "graph/call.h"
#include "kernels/rnn_products.h"
#include "kernels/walk.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

// ---- the layer ----

template <class T>
T* data_of(const TensorImpl* t) {
  return t ? reinterpret_cast<T*>(t->data) : nullptr;
}

/// Where the rows of the steps lie: sequence r's row of step t is start[t] + r * stride, for r <
/// count[t]. Longer sequences come first.
struct Rows {
  int64_t steps, batch, stride, total = 0;
  int64_t padded;  // rows of a block, one for each row of all steps
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
    padded = block_rows_of(total);
  }
  int64_t at(int64_t t, int64_t r) const { return start[t] + r * stride; }
  /// How many sequences step t shares with step `other`, which may be out of range.
  int64_t shared(int64_t t, int64_t other) const {
    return other < 0 || other >= steps ? 0 : std::min(count[t], count[other]);
  }
};

/// One direction of the layer, forward and backward.
template <class T>
struct Direction {
  bool reverse;
  int64_t hidden, out;  // out: of the state, less than hidden with a projection
  int64_t n_blocks;     // of a gate
  const T *w_ih, *w_hh, *b_ih, *b_hh, *w_hr;
  const T *h0, *c0;
  Matrix<T> y, kept, cells, inner;  // inner: o tanh(c) before a projection
  T *h_last, *c_last;               // c_last: the running cells
  const T *packed_hh, *packed_hr;
  // backward
  Matrix<T> dy, d, d_inner;  // d: of the sums
  const T* dh_last;
  T *carry, *bias_sums;

  int64_t padded() const { return n_blocks * kWidth<T>; }
  /// The i-th step and the neighbours of step t in this direction's order.
  int64_t step(int64_t i, int64_t steps) const { return reverse ? steps - 1 - i : i; }
  int64_t before(int64_t t) const { return reverse ? t + 1 : t - 1; }
  int64_t after(int64_t t) const { return reverse ? t - 1 : t + 1; }
  /// Vector q of the state that row r of step t is made from; null: zeros.
  const T* state_before(const Rows& rows, int64_t t, int64_t r, int64_t q) const {
    const int64_t s = before(t);
    if (r < rows.shared(t, s)) return y.at(rows.at(s, r), q);
    return h0 ? h0 + r * out + q * kWidth<T> : nullptr;
  }
  const T* cell_before(const Rows& rows, int64_t t, int64_t r, int64_t q) const {
    const int64_t s = before(t);
    if (r < rows.shared(t, s)) return cells.at(rows.at(s, r), q);
    return c0 ? c0 + r * hidden + q * kWidth<T> : nullptr;
  }
};

/// The sequences [begin, middle) of a task go on from or to the neighbour step, [middle, end) do
/// not.
struct Span {
  int64_t begin, middle, end;
  Span(const Rows& rows, int64_t t, int64_t neighbour, int64_t r0, int64_t r1)
      : begin(r0), end(std::max(r0, std::min(r1, rows.count[t]))) {
    middle = std::clamp(rows.shared(t, neighbour), begin, end);
  }
};

// ---- the run over the steps ----

/// A part of a step: sequences [r0, r1), blocks [block_begin, block_end) of its phase.
struct Task {
  int64_t t, r0, r1;
  int phase;
  int64_t block_begin, block_end;
};

/// Sequences that one task takes through all steps.
int64_t rows_of_task(int64_t batch) { return batch >= 32 ? 16 : 8; }
int64_t row_tasks(int64_t batch) {
  return std::max<int64_t>(1, (batch + rows_of_task(batch) - 1) / rows_of_task(batch));
}

/// Runs body(direction, task) over all steps; a step has a second phase with a projection. Rows of
/// the batch do not depend on each other: where the recurrent weights fit the L2, a chunk takes
/// some rows through all steps. Otherwise a chunk takes some blocks, and a step is a region.
template <class Unit, class T, class Body>
void for_steps(const Rows& rows, const std::vector<Direction<T>>& directions, bool backward,
               Body&& body) {
  constexpr int64_t kInL2 = 5 << 18;        // bytes: 1.25 MiB, of 2 here
  constexpr int64_t kRegionWork = 1 << 18;  // multiplications worth a region
  constexpr int64_t kStepRegionWork = 1 << 20;
  const Direction<T>& one = directions[0];
  const int phases = one.w_hr ? 2 : 1;
  const int64_t inner = one.n_blocks, outer = blocks_of<T>(one.out);
  const int64_t n_blocks[] = {backward ? outer : inner, backward ? inner : outer};
  const int64_t weights = Unit::gates * one.hidden * one.out;
  const int64_t step_work = rows.batch * (weights + 32 * Unit::gates * one.hidden);
  const auto order = [&](const Direction<T>& d, int64_t i) {
    return d.step(backward ? rows.steps - 1 - i : i, rows.steps);
  };
  const auto n_directions = static_cast<int64_t>(directions.size());
  if (weights * static_cast<int64_t>(sizeof(T)) <= kInL2 || step_work < kStepRegionWork) {
    const int64_t size = rows_of_task(rows.batch), tasks = row_tasks(rows.batch);
    const int64_t grain = step_work * rows.steps < kRegionWork ? n_directions * tasks : 1;
    parallel_for(n_directions * tasks, grain, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        const Direction<T>& d = directions[static_cast<size_t>(k / tasks)];
        const int64_t r = k % tasks * size;
        for (int64_t i = 0; i < rows.steps; ++i) {
          for (int phase = 0; phase < phases; ++phase)
            body(d, Task{order(d, i), r, r + size, phase, 0, n_blocks[phase]});
        }
      }
    });
    return;
  }
  for (int64_t i = 0; i < rows.steps; ++i) {
    for (int phase = 0; phase < phases; ++phase) {
      const int64_t n = n_blocks[phase], size = std::max<int64_t>(kBlocks, (n + 7) / 8);
      const int64_t tasks = (n + size - 1) / size;
      parallel_for(n_directions * tasks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k) {
          const Direction<T>& d = directions[static_cast<size_t>(k / tasks)];
          const int64_t q = k % tasks * size;
          body(d, Task{order(d, i), 0, rows.batch, phase, q, std::min(n, q + size)});
        }
      });
    }
  }
}

// ---- forward ----

/// Memory of one call.
template <class T>
class Arena {
 public:
  T* make(int64_t n) {
    return parts_.emplace_back(std::make_unique<Scratch<T>>(std::max<int64_t>(n, 1)))->data();
  }

 private:
  std::vector<std::unique_ptr<Scratch<T>>> parts_;
};

/// Gates and new states of blocks [block_begin, block_end) and sequences [r0, r1) at step t.
template <class Unit, class T>
void gates(const Rows& rows, const Direction<T>& d, int64_t t, int64_t r0, int64_t r1,
           int64_t block_begin, int64_t block_end) {
  using V = Native<T>;
  constexpr int width = kWidth<T>, n_gates = Unit::gates, n_kept = Unit::saved;
  const int64_t s = d.before(t), h = d.hidden, k = d.out, block = k * width;
  const Span span(rows, t, s, r0, r1);
  const int64_t at_once = n_gates == 1 ? kBlocks : 1;
  for (int64_t q = block_begin; q < block_end; q += at_once) {
    const int n_here = static_cast<int>(std::min(at_once, block_end - q));
    const auto use = [&](int64_t r, const T* sums) {
      const int64_t row = rows.at(t, r);
      for (int v = 0; v < n_here; ++v) {
        const int64_t at = q + v, unit = at * width;
        const int lanes = lanes_of<T>(h, at);
        V x[n_gates], w[n_gates], keep[n_kept], before(T(0)), c(T(0));
#pragma GCC unroll 4
        for (int g = 0; g < n_gates; ++g) {
          T* const kept = d.kept.at(row, g * d.n_blocks + at);
          x[g] = n_kept == 1 ? load_lanes<V>(kept, lanes) : V::load(kept);
          w[g] = V::load(sums + (g + v) * width);
          if (d.b_ih) {
            x[g] += load_lanes<V>(d.b_ih + g * h + unit, lanes);
            w[g] += load_lanes<V>(d.b_hh + g * h + unit, lanes);
          }
        }
        if constexpr (Unit::has_cell) c = load_lanes<V>(d.c_last + r * h + unit, lanes);
        if constexpr (Unit::reads_state) {
          if (const T* p = d.state_before(rows, t, r, at)) before = load_lanes<V>(p, lanes);
        }
        const V y = Unit::forward(x, w, before, c, keep);
        if constexpr (Unit::has_cell) {
          store_lanes(d.c_last + r * h + unit, c, lanes);
          if (d.cells.p) c.store(d.cells.at(row, at));
        }
        if constexpr (n_kept > 1) {
#pragma GCC unroll 4
          for (int g = 0; g < n_kept; ++g) keep[g].store(d.kept.at(row, g * d.n_blocks + at));
        }
        if (d.inner.p) {
          y.store(d.inner.at(row, at));
        } else {
          store_lanes(d.y.at(row, at), y, lanes);
        }
      }
    };
    const int blocks = n_gates == 1 ? n_here : n_gates;
    const int64_t b_step = n_gates == 1 ? block : d.n_blocks * block;
    const T* const b = d.packed_hh + q * block;
    if (span.middle > r0) {
      const Left<T> left = Left<T>::by_rows(d.y.at(rows.at(s, r0), 0), rows.stride * d.y.row, k);
      for_product_rows(r0, span.middle, blocks, k, left, b, b_step, use);
    }
    const Left<T> left = Left<T>::by_rows(d.h0 ? d.h0 + span.middle * k : nullptr, k, k);
    for_product_rows(span.middle, span.end, blocks, d.h0 ? k : 0, left, b, b_step, use);
  }
}

/// The states of blocks [block_begin, block_end) from the inner ones.
template <class T>
void project(const Rows& rows, const Direction<T>& d, int64_t t, int64_t r0, int64_t r1,
             int64_t block_begin, int64_t block_end) {
  constexpr int width = kWidth<T>;
  const int64_t k = d.padded();
  Matrix<T> to = d.y;
  to.p = d.y.at(rows.start[t], block_begin);
  to.row *= rows.stride;
  multiply<T>(r0, std::min(r1, rows.count[t]),
              std::min(d.out, block_end * width) - block_begin * width, k,
              Left<T>::rows_of(d.inner, rows.at(t, r0), rows.stride),
              d.packed_hr + block_begin * k * width, k, to, false);
}

/// Packs the transposes of the gates of w (gates * hidden x k), each in its own blocks.
template <class T>
const T* pack_gates(const Direction<T>& d, int n_gates, const T* w, int64_t k, Arena<T>& arena) {
  const int64_t size = d.padded() * k;
  T* const packed = arena.make(n_gates * size);
  for (int g = 0; g < n_gates; ++g)
    pack_transposed(w + g * d.hidden * k, d.hidden, k, packed + g * size, k);
  return packed;
}

template <class T>
T* operand(const Call& call, int i, int64_t offset = 0) {
  T* const p = data_of<T>(call.operands[i]);
  return p ? p + offset : nullptr;
}

template <class T>
void init(T* to, const T* from, int64_t n) {
  if (from) {
    std::copy_n(from, n, to);
  } else {
    std::fill_n(to, n, T(0));
  }
}

/// A direction's sizes and states; `states` and `weights` are positions of operands: h0, c0 and
/// w_ih, w_hh.
template <class T>
Direction<T> make_direction(const Call& call, const Rows& rows, int i, int n_gates, int y,
                            int states, int weights) {
  Direction<T> d{};
  const int64_t n_directions = call.i(1);
  d.reverse = i == 1;
  d.hidden = call.operands[weights + 1]->sizes[0] / n_gates;
  d.out = call.operands[weights + 1]->sizes[1];
  d.n_blocks = blocks_of<T>(d.hidden);
  d.w_ih = operand<T>(call, weights);
  d.w_hh = operand<T>(call, weights + 1);
  d.h0 = operand<T>(call, states, i * rows.batch * d.out);
  d.c0 = operand<T>(call, states + 1, i * rows.batch * d.hidden);
  d.y = Matrix<T>::by_rows(operand<T>(call, y, i * d.out), n_directions * d.out);
  return d;
}

template <class Unit, class T>
void forward(const Call& call) {
  constexpr int n_gates = Unit::gates;
  const int inputs = call.n_out;
  const Rows rows(call, call.maybe_in(3));
  const T* const x = operand<T>(call, inputs);
  const int64_t in_size = call.in(0).sizes.back();
  std::vector<Direction<T>> directions;
  Arena<T> arena;
  for (int i = 0; i < call.i(1); ++i) {
    const int weights = inputs + 4 + 5 * i, outputs = 3 + 3 * i;
    Direction<T>& d =
        directions.emplace_back(make_direction<T>(call, rows, i, n_gates, 0, inputs + 1, weights));
    d.b_ih = operand<T>(call, weights + 2);
    d.b_hh = operand<T>(call, weights + 3);
    d.w_hr = operand<T>(call, weights + 4);
    d.h_last = operand<T>(call, 1, i * rows.batch * d.out);
    const auto buffer = [&](int at, int64_t columns) {
      T* const p = operand<T>(call, at);
      return Matrix<T>::by_blocks(p ? p : arena.make(rows.padded * columns), rows.padded);
    };
    d.kept = Unit::saved == 1 ? d.y : buffer(outputs, Unit::saved * d.padded());
    if (call.operands[outputs + 1]) d.cells = buffer(outputs + 1, d.padded());
    if (d.w_hr) d.inner = buffer(outputs + 2, d.padded());
    if (Unit::has_cell) {
      d.c_last = operand<T>(call, 2, i * rows.batch * d.hidden);
      init(d.c_last, d.c0, rows.batch * d.hidden);
    }
    {
      Arena<T> packed;
      multiply_rows<T>(
          rows.total, Unit::saved == 1 ? d.hidden : n_gates * d.padded(), in_size,
          [&](int64_t first, int64_t p) {
            return Left<T>::by_rows(x + first * in_size + p, in_size, in_size);
          },
          pack_gates(d, n_gates, d.w_ih, in_size, packed), in_size, d.kept, false);
    }
    d.packed_hh = pack_gates(d, n_gates, d.w_hh, d.out, arena);
    if (d.w_hr) {
      const int64_t k = d.padded();
      T* const transposed = arena.make(blocks_of<T>(d.out) * kWidth<T> * k);
      if (k != d.hidden) std::fill_n(transposed, blocks_of<T>(d.out) * kWidth<T> * k, T(0));
      pack_transposed(d.w_hr, d.out, d.hidden, transposed, k);
      d.packed_hr = transposed;
    }
  }
  for_steps<Unit>(rows, directions, false, [&](const Direction<T>& d, const Task& task) {
    if (task.phase == 0) {
      gates<Unit>(rows, d, task.t, task.r0, task.r1, task.block_begin, task.block_end);
    } else {
      project(rows, d, task.t, task.r0, task.r1, task.block_begin, task.block_end);
    }
  });
  for (const Direction<T>& d : directions) {
    for (int64_t t = 0; d.h_last && t < rows.steps; ++t) {
      for (int64_t r = rows.shared(t, d.after(t)); r < rows.count[t]; ++r)
        std::copy_n(d.y.at(rows.at(t, r), 0), d.out, d.h_last + r * d.out);
    }
  }
}

// ---- backward ----

/// The first block of the gradients of hidden sums, and which gate of the weights the j-th gate of
/// the gradients of input sums is: see GruUnit::backward.
template <class Unit>
constexpr int kHiddenGate = Unit::saved - Unit::gates;
template <class Unit>
constexpr int input_gate(int j) {
  return kHiddenGate<Unit> == 0 ? j : (j + 2) % 3;
}

/// The gradients of row r's sums in block q, from that of their state.
template <class Unit, class T>
GS_FN void unit_gradients(const Rows& rows, const Direction<T>& d, int64_t t, int64_t r, int64_t q,
                          Native<T> dh, T* bias_sums) {
  using V = Native<T>;
  constexpr int n_kept = Unit::saved;
  const int64_t row = rows.at(t, r);
  const int lanes = lanes_of<T>(d.hidden, q);
  V kept[n_kept], grads[n_kept], before(T(0)), c(T(0)), c_before(T(0)), carry(T(0));
#pragma GCC unroll 4
  for (int g = 0; g < n_kept; ++g) {
    const T* const p = d.kept.at(row, g * d.n_blocks + q);
    kept[g] = n_kept == 1 ? load_lanes<V>(p, lanes) : V::load(p);
  }
  if constexpr (Unit::has_cell) {
    c = V::load(d.cells.at(row, q));
    if (const T* p = d.cell_before(rows, t, r, q)) c_before = load_lanes<V>(p, lanes);
  }
  if constexpr (Unit::reads_state) {
    if (const T* p = d.state_before(rows, t, r, q)) before = load_lanes<V>(p, lanes);
  }
  T* const carried = d.carry + r * d.hidden + q * kWidth<T>;
  if constexpr (Unit::has_carry) carry = load_lanes<V>(carried, lanes);
  Unit::backward(kept, before, c_before, c, dh, carry, grads);
  if constexpr (Unit::has_carry) store_lanes(carried, carry, lanes);
#pragma GCC unroll 4
  for (int g = 0; g < n_kept; ++g) {
    grads[g].store(d.d.at(row, g * d.n_blocks + q));
    if (bias_sums) {
      T* const sum = bias_sums + (g * d.n_blocks + q) * kWidth<T>;
      (V::load(sum) + grads[g]).store(sum);
    }
  }
}

/// The gradients of the states of step t, blocks [block_begin, block_end), and from there those of
/// the sums; with a projection, of the inner states in a second phase.
template <class Unit, class T>
void state_gradients(const Rows& rows, const Direction<T>& d, const Task& task, T* bias_sums) {
  using V = Native<T>;
  constexpr int width = kWidth<T>;
  const int64_t t = task.t, s = d.after(t), k = Unit::gates * d.padded();
  const Span span(rows, t, s, task.r0, task.r1);
  for (int64_t q = task.block_begin; q < task.block_end; q += kBlocks) {
    const int n_here = static_cast<int>(std::min<int64_t>(kBlocks, task.block_end - q));
    const auto use = [&](int64_t r, const T* sums) {
      const int64_t row = rows.at(t, r);
      const bool last = r >= span.middle;
      for (int v = 0; v < n_here; ++v) {
        const int64_t at = q + v;
        const int lanes = lanes_of<T>(d.out, at);
        V dh = last ? V(T(0)) : V::load(sums + v * width);
        if (last && d.dh_last) dh += load_lanes<V>(d.dh_last + r * d.out + at * width, lanes);
        if (d.dy.p) dh += load_lanes<V>(d.dy.at(row, at), lanes);
        if (d.w_hr) {
          dh.store(d.d_inner.at(row, at));
        } else {
          unit_gradients<Unit>(rows, d, t, r, at, dh, bias_sums);
        }
      }
    };
    if (span.middle > span.begin) {
      Matrix<T> hidden = d.d;
      hidden.p = d.d.at(0, kHiddenGate<Unit> * d.n_blocks);
      const Left<T> left = Left<T>::rows_of(hidden, rows.at(s, span.begin), rows.stride);
      for_product_rows(span.begin, span.middle, n_here, k, left, d.packed_hh + q * k * width,
                       k * width, use);
    }
    const T* const none = nullptr;
    for (int64_t r = span.middle; r < span.end; ++r) use(r, none);
  }
}

/// The second phase with a projection: inner states and sums.
template <class Unit, class T>
void inner_gradients(const Rows& rows, const Direction<T>& d, const Task& task, T* bias_sums) {
  constexpr int width = kWidth<T>;
  const int64_t t = task.t, k = blocks_of<T>(d.out) * width;
  for (int64_t q = task.block_begin; q < task.block_end; q += kBlocks) {
    const int n_here = static_cast<int>(std::min<int64_t>(kBlocks, task.block_end - q));
    for_product_rows(task.r0, std::min(task.r1, rows.count[t]), n_here, k,
                     Left<T>::rows_of(d.d_inner, rows.at(t, task.r0), rows.stride),
                     d.packed_hr + q * k * width, k * width, [&](int64_t r, const T* sums) {
                       for (int v = 0; v < n_here; ++v) {
                         unit_gradients<Unit>(rows, d, t, r, q + v,
                                              Native<T>::load(sums + v * width), bias_sums);
                       }
                     });
  }
}

/// dh0 = the gradients of each sequence's first sums times w_hh, plus what passed by it.
template <class Unit, class T>
void initial_gradient(const Rows& rows, const Direction<T>& d, T* dh0) {
  const int64_t k = Unit::gates * d.padded();
  Matrix<T> hidden = d.d;
  hidden.p = d.d.at(0, kHiddenGate<Unit> * d.n_blocks);
  const bool add = Unit::has_carry && !Unit::has_cell;
  if (add) std::copy_n(d.carry, rows.batch * d.out, dh0);
  for (int64_t t = 0; t < rows.steps; ++t) {
    const int64_t first = rows.shared(t, d.before(t));
    multiply<T>(first, rows.count[t], d.out, k,
                Left<T>::rows_of(hidden, rows.at(t, first), rows.stride), d.packed_hh, k,
                Matrix<T>::by_rows(dh0, d.out), add);
  }
}

/// dw (rows x columns): gate j's rows, from block first + j * n_blocks of d on, belong at gate
/// gate_of(j). b is packed, one row for each row of d.
template <class T, class GateOf>
void weight_gradient(const Rows& rows, const Matrix<T>& d, int64_t first, int n_gates,
                     int64_t hidden, const T* b, int64_t columns, T* dw, GateOf gate_of) {
  constexpr int width = kWidth<T>;
  constexpr int64_t kRowsAtOnce = 512;  // of d and b: a block and 256 columns stay in the L2
  const int64_t n_blocks = blocks_of<T>(hidden), n = n_gates * n_blocks;
  // 8 blocks share the packed rows that the L2 holds.
  const int64_t size = std::clamp<int64_t>(n / 4, 1, 8);
  const int64_t work = std::max<int64_t>(1, rows.total * columns * width * size);
  const int64_t tasks = (n + size - 1) / size;
  parallel_for(tasks, std::max<int64_t>(1, (int64_t{1} << 18) / work),
               [&](int64_t task_begin, int64_t task_end) {
                 for (int64_t task = task_begin; task < task_end; ++task) {
                   for (int64_t p = 0; p == 0 || p < rows.total; p += kRowsAtOnce) {
                     const int64_t k = std::min(kRowsAtOnce, rows.total - p);
                     for (int64_t q = task * size; q < std::min(n, (task + 1) * size); ++q) {
                       const int64_t unit = q % n_blocks * width;
                       T* const to =
                           dw + (gate_of(static_cast<int>(q / n_blocks)) * hidden + unit) * columns;
                       const Left<T> left{d.at(p, first + q), 0, k, 0};
                       multiply<T, true>(0, lanes_of<T>(hidden, q % n_blocks), columns, k, left,
                                         b + p * width, rows.padded,
                                         Matrix<T>::by_rows(to, columns), p > 0);
                     }
                   }
                 }
               });
}

/// The states that the rows were made from, packed.
template <class T>
void pack_states(const Rows& rows, const Direction<T>& d, T* out) {
  using V = Native<T>;
  const Matrix<T> to = Matrix<T>::by_blocks(out, rows.padded);
  parallel_for(rows.steps, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, rows.batch * d.out)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t t = begin; t < end; ++t) {
                   for (int64_t q = 0; q < blocks_of<T>(d.out); ++q) {
                     const int lanes = lanes_of<T>(d.out, q);
                     for (int64_t r = 0; r < rows.count[t]; ++r) {
                       const T* const p = d.state_before(rows, t, r, q);
                       (p ? load_lanes<V>(p, lanes) : V(T(0))).store(to.at(rows.at(t, r), q));
                     }
                   }
                 }
               });
}

template <class Unit, class T>
void backward(const Call& call) {
  constexpr int n_gates = Unit::gates, n_kept = Unit::saved, width = kWidth<T>;
  const int inputs = call.n_out;
  const Rows rows(call, call.maybe_in(7));
  const T* const x = operand<T>(call, inputs + 4);
  const int64_t in_size = call.in(4).sizes.back();
  const int64_t n_tasks = row_tasks(rows.batch);
  const auto n_directions = static_cast<int>(call.i(1));
  T* const dx = operand<T>(call, 1);
  T* const dh0 = operand<T>(call, 2);
  std::vector<Direction<T>> directions;
  Arena<T> arena;
  for (int i = 0; i < n_directions; ++i) {
    const int given = inputs + 8 + 6 * i, results = 3 + 5 * i;
    Direction<T>& d = directions.emplace_back(
        make_direction<T>(call, rows, i, n_gates, inputs + 3, inputs + 5, given + 3));
    const int64_t hidden = i * rows.batch * d.hidden;
    d.w_hr = operand<T>(call, given + 5);
    d.kept = n_kept == 1 ? d.y : Matrix<T>::by_blocks(operand<T>(call, given), rows.padded);
    d.cells = Matrix<T>::by_blocks(operand<T>(call, given + 1), rows.padded);
    d.inner = Matrix<T>::by_blocks(operand<T>(call, given + 2), rows.padded);
    d.dy = Matrix<T>::by_rows(operand<T>(call, inputs, i * d.out), d.y.row);
    d.dh_last = operand<T>(call, inputs + 1, i * rows.batch * d.out);
    d.carry = operand<T>(call, 0, hidden);
    init(d.carry, Unit::has_cell ? operand<T>(call, inputs + 2, hidden) : nullptr,
         rows.batch * d.hidden);
    d.d = Matrix<T>::by_blocks(arena.make(rows.padded * n_kept * d.padded()), rows.padded);
    if (call.operands[results + 2] || call.operands[results + 3]) {
      d.bias_sums = arena.make(n_tasks * n_kept * d.padded());
      std::fill_n(d.bias_sums, n_tasks * n_kept * d.padded(), T(0));
    }
    const int64_t k = n_gates * d.padded();
    T* const packed = arena.make(blocks_of<T>(d.out) * width * k);
    for (int g = 0; g < n_gates; ++g) {
      pack(d.w_hh + g * d.hidden * d.out, d.out, d.hidden, d.out, packed, k, g * d.padded(),
           d.padded());
    }
    d.packed_hh = packed;
    if (d.w_hr) {
      const int64_t out = blocks_of<T>(d.out) * width;
      T* const packed_hr = arena.make(d.padded() * out);
      pack(d.w_hr, d.hidden, d.out, d.hidden, packed_hr, out, int64_t{0}, out);
      d.packed_hr = packed_hr;
      d.d_inner = Matrix<T>::by_blocks(arena.make(rows.padded * out), rows.padded);
    }
  }
  for_steps<Unit>(rows, directions, true, [&](const Direction<T>& d, const Task& task) {
    T* const sums = d.bias_sums
                        ? d.bias_sums + task.r0 / rows_of_task(rows.batch) * n_kept * d.padded()
                        : nullptr;
    if (task.phase == 0) {
      state_gradients<Unit>(rows, d, task, sums);
    } else {
      inner_gradients<Unit>(rows, d, task, sums);
    }
  });
  const T* packed_x = nullptr;
  for (int i = 0; i < n_directions; ++i) {
    const int results = 3 + 5 * i;
    const Direction<T>& d = directions[static_cast<size_t>(i)];
    const auto same = [](int g) { return g; };
    if (dx) {
      const int64_t k = n_gates * d.padded();
      Arena<T> buffer;
      T* const packed = buffer.make(blocks_of<T>(in_size) * width * k);
      for (int g = 0; g < n_gates; ++g) {
        pack(d.w_ih + input_gate<Unit>(g) * d.hidden * in_size, in_size, d.hidden, in_size, packed,
             k, g * d.padded(), d.padded());
      }
      multiply_rows<T>(
          rows.total, in_size, k,
          [&](int64_t first, int64_t p) {
            Matrix<T> m = d.d;
            m.p = d.d.at(0, p / width);
            return Left<T>::rows_of(m, first);
          },
          packed, k, Matrix<T>::by_rows(dx, in_size), i > 0);
    }
    if (T* const dw = operand<T>(call, results)) {
      if (!packed_x) {
        T* const to = arena.make(blocks_of<T>(in_size) * width * rows.padded);
        pack(x, in_size, rows.total, in_size, to, rows.padded, int64_t{0}, rows.total);
        packed_x = to;
      }
      weight_gradient(rows, d.d, 0, n_gates, d.hidden, packed_x, in_size, dw, input_gate<Unit>);
    }
    if (T* const dw = operand<T>(call, results + 1)) {
      Arena<T> buffer;
      T* const states = buffer.make(blocks_of<T>(d.out) * width * rows.padded);
      pack_states(rows, d, states);
      weight_gradient(rows, d.d, kHiddenGate<Unit> * d.n_blocks, n_gates, d.hidden,
                      static_cast<const T*>(states), d.out, dw, same);
    }
    if (d.bias_sums) {
      const int64_t n = n_kept * d.padded();
      for (int64_t task = 1; task < n_tasks; ++task) {
        for (int64_t j = 0; j < n; ++j) d.bias_sums[j] += d.bias_sums[task * n + j];
      }
      T *const db_ih = operand<T>(call, results + 2), *const db_hh = operand<T>(call, results + 3);
      for (int g = 0; g < n_gates; ++g) {
        const T* const from = d.bias_sums + g * d.padded();
        if (db_ih) std::copy_n(from, d.hidden, db_ih + input_gate<Unit>(g) * d.hidden);
        if (db_hh) {
          std::copy_n(from + kHiddenGate<Unit> * d.padded(), d.hidden, db_hh + g * d.hidden);
        }
      }
    }
    if (T* const dw = operand<T>(call, results + 4)) {
      weight_gradient(rows, d.d_inner, 0, 1, d.out, static_cast<const T*>(d.inner.p), d.hidden, dw,
                      same);
    }
    if (dh0) initial_gradient<Unit>(rows, d, dh0 + i * rows.batch * d.out);
  }
}

// ---- dispatch ----

template <template <class, class> class Run>
void by_unit(const Call& call) {
  const auto with = [&](auto value) {
    using T = decltype(value);
    switch (call.i(0)) {
      case 0: return Run<TanhUnit, T>::run(call);
      case 1: return Run<ReluUnit, T>::run(call);
      case 2: return Run<LstmUnit, T>::run(call);
      default: return Run<GruUnit, T>::run(call);
    }
  };
  if (call.compute == Compute::F32) {
    with(float{});
  } else {
    with(double{});
  }
}

template <class Unit, class T>
struct Forward {
  static void run(const Call& call) { forward<Unit, T>(call); }
};
template <class Unit, class T>
struct BackwardPass {
  static void run(const Call& call) { backward<Unit, T>(call); }
};

void add_kernel(const char* name, Kernel kernel) {
  Op::get(name).kernel[static_cast<int>(DeviceType::CPU)] = kernel;
}

}  // namespace

void register_rnn_kernels() {
  add_kernel("rnn", &by_unit<Forward>);
  add_kernel("rnn_backward", &by_unit<BackwardPass>);
}

}  // namespace GS_ISA
}  // namespace gradstep
