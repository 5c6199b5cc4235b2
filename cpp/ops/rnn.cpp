// SPDX-License-Identifier: Apache-2.0
// Recurrent layers. See ops/rnn.h; kernels/rnn.cpp has the operands of the two calls.
#include "ops/rnn.h"

#include <algorithm>

#include "ops/create.h"
#include "ops/linalg.h"
#include "ops/pointwise.h"
#include "ops/random.h"
#include "ops/shape_ops.h"
#include "ops/view.h"

namespace gradstep {

namespace {

/// The weights of one direction; undefined where there is none.
enum Weight { kInput, kHidden, kInputBias, kHiddenBias, kProjection, kWeights };
// The kernels pad what they keep: to whole vectors, and by some rows.
constexpr int kMaxLanes = 16, kMaxRows = 64;
constexpr int kStates = 3;  // inputs of a layer before its weights: x, h0, c0

/// One layer, or one step of a cell.
struct Layer {
  RnnUnit unit;
  int64_t directions, steps, batch;
  bool batch_first;
  Tensor batch_sizes;  // undefined: all sequences have `steps`

  Params params() const {
    return gradstep::params(static_cast<int64_t>(unit), directions, steps, batch,
                            static_cast<int64_t>(batch_first));
  }
};

int64_t gates_of(RnnUnit unit) { return unit == RnnUnit::Lstm ? 4 : unit == RnnUnit::Gru ? 3 : 1; }

// ---- composed ----

/// h', or h' and c', from the sums of input and state.
std::vector<Tensor> composed_step(RnnUnit unit, const Tensor& x, const Tensor& w, const Tensor& h,
                                  const Tensor& c) {
  if (unit == RnnUnit::Tanh) return {tanh(x + w)};
  if (unit == RnnUnit::Relu) return {relu(x + w)};
  const int64_t n = h.size(-1);
  if (unit == RnnUnit::Gru) {
    const std::vector<Tensor> a = split(x, n, 1), b = split(w, n, 1);
    const Tensor z = sigmoid(a[1] + b[1]), y = tanh(a[2] + sigmoid(a[0] + b[0]) * b[2]);
    return {y + z * (h - y)};
  }
  const std::vector<Tensor> g = chunk(x + w, 4, 1);
  const Tensor cell = sigmoid(g[1]) * c + sigmoid(g[0]) * tanh(g[2]);
  return {sigmoid(g[3]) * tanh(cell), cell};
}

/// The layer in differentiable ops: y, the last h and c, in the given shapes.
std::vector<Tensor> composed_layer(const Layer& layer, std::span<const Tensor> inputs,
                                   const Dims& y_sizes) {
  const Tensor& x = inputs[0];
  std::vector<Tensor> outputs, states, cells;
  for (int64_t direction = 0; direction < layer.directions; ++direction) {
    const std::span<const Tensor> w =
        inputs.subspan(static_cast<size_t>(kStates + direction * kWeights), kWeights);
    const int64_t size = w[kHidden].sizes()[1];
    const int64_t hidden = w[kHidden].sizes()[0] / gates_of(layer.unit);
    const auto initial = [&](const Tensor& t, int64_t n) {
      return t.defined() ? select(reshape(t, {layer.directions, layer.batch, n}), 0, direction)
                         : zeros({layer.batch, n}, options_of(x));
    };
    Tensor h = initial(inputs[1], size);
    Tensor c = layer.unit == RnnUnit::Lstm ? initial(inputs[2], hidden) : Tensor();
    Tensor sums = linear(reshape(x, {-1, x.size(-1)}), w[kInput], w[kInputBias]);
    const int time = layer.batch_first ? 1 : 0;
    std::vector<int64_t> count(static_cast<size_t>(layer.steps), layer.batch);
    if (layer.batch_sizes.defined()) {
      std::copy_n(layer.batch_sizes.data<int64_t>(), layer.steps, count.begin());
    } else {
      sums = reshape(sums, layer.batch_first ? Dims{layer.batch, layer.steps, sums.size(-1)}
                                             : Dims{layer.steps, layer.batch, sums.size(-1)});
    }
    std::vector<Tensor> steps(count.size());
    int64_t start = direction == 0 ? 0 : x.sizes()[0];
    for (int64_t i = 0; i < layer.steps; ++i) {
      const int64_t t = direction == 0 ? i : layer.steps - 1 - i;
      const int64_t n = count[static_cast<size_t>(t)];
      if (direction == 1) start -= n;
      const Tensor now =
          layer.batch_sizes.defined() ? narrow(sums, 0, start, n) : select(sums, time, t);
      if (direction == 0) start += n;
      const auto alive = [&](const Tensor& s) { return s.defined() ? narrow(s, 0, 0, n) : s; };
      const Tensor before = alive(h);
      std::vector<Tensor> next =
          composed_step(layer.unit, now, linear(before, w[kHidden], w[kHiddenBias]),
                        layer.unit == RnnUnit::Gru ? before : narrow(now, 1, 0, hidden), alive(c));
      if (w[kProjection].defined()) next[0] = linear(next[0], w[kProjection], {});
      steps[static_cast<size_t>(t)] = next[0];
      const auto joined = [&](const Tensor& fresh, const Tensor& old) {
        return n == layer.batch ? fresh : cat({fresh, narrow(old, 0, n, layer.batch - n)});
      };
      h = joined(next[0], h);
      if (c.defined()) c = joined(next[1], c);
    }
    outputs.push_back(layer.batch_sizes.defined() ? cat(steps) : stack(steps, time));
    states.push_back(h);
    if (c.defined()) cells.push_back(c);
  }
  return {reshape(cat(outputs, -1), y_sizes), stack(states),
          cells.empty() ? Tensor() : stack(cells)};
}

// ---- one layer ----

/// Runs a kernel as run() does, but the sizes of the batches stay in the CPU's memory on any
/// device.
void run_layer_kernel(const Op& op, const Params& params, const std::vector<const Tensor*>& outputs,
                      const std::vector<const Tensor*>& inputs, DType dtype) {
  std::vector<TensorImpl*> operands;
  for (const Tensor* t : outputs) operands.push_back(t->get());
  for (const Tensor* t : inputs) operands.push_back(t->get());
  launch({&op, compute_type(dtype), static_cast<uint8_t>(outputs.size()),
          static_cast<uint16_t>(inputs.size()), operands.data(), params});
}

/// How many bytes the device's kernel wants kept for the gradient, in the place of the first
/// direction's `kept`; 0: it keeps what the CPU's does. The device is not asked, its library is.
int64_t block_to_keep(const Layer& layer, const std::vector<const Tensor*>& outputs,
                      const std::vector<const Tensor*>& inputs, const Options& options) {
  static const Op& op = Op::get("rnn_reserve");
  const Kernel kernel = op.kernel[static_cast<int>(options.device.type)];
  if (!kernel) return 0;
  const Tensor bytes = empty({1}, {DType::Int64, Device{}});
  std::vector<TensorImpl*> operands;
  for (const Tensor* t : outputs) operands.push_back(t->get());
  operands.push_back(bytes.get());
  for (const Tensor* t : inputs) operands.push_back(t->get());
  kernel({&op, compute_type(options.dtype), static_cast<uint8_t>(outputs.size() + 1),
          static_cast<uint16_t>(inputs.size()), operands.data(), layer.params()});
  return *bytes.data<int64_t>();
}

// Kept: y, batch sizes, the inputs, then for each direction what the kernel kept.
constexpr int kKeptInputs = 2;

/// The gradients of the composed layer, run again: differentiable to any order.
void composed_backward(Backward& b, const Layer& layer) {
  const int n_inputs = b.node.n_edges;
  std::vector<Tensor> inputs, wanted;
  std::vector<int> places;
  for (int k = 0; k < n_inputs; ++k) {
    Tensor t = b.saved(kKeptInputs + k);
    if (b.needs(k)) {
      t = view(t, t.sizes());  // a point in the graph that only this layer reads
      wanted.push_back(t);
      places.push_back(k);
    }
    inputs.push_back(t);
  }
  const std::vector<Tensor> outputs = composed_layer(layer, inputs, b.node.saved[0].tensor->sizes);
  std::vector<Tensor> roots, grads;
  for (int k = 0; k < b.node.n_outputs; ++k) {
    const Tensor& output = outputs[static_cast<size_t>(k)];
    if (!b.grad(k).defined() || !output.wants_grad()) continue;
    roots.push_back(reshape(output, b.grad(k).sizes()));
    grads.push_back(b.grad(k));
  }
  const std::vector<Tensor> found = gradients(roots, grads, wanted, true, true, true);
  for (size_t i = 0; i < places.size(); ++i) b.set(places[i], found[i]);
}

void rnn_backward(Backward& b) {
  static const Op& kernel = Op::get("rnn_backward");
  const Layer layer{static_cast<RnnUnit>(b.i(0)), b.i(1), b.i(2), b.i(3), b.i(4) != 0, b.saved(1)};
  if (grad_enabled()) return composed_backward(b, layer);
  const int n_inputs = b.node.n_edges;
  const auto input = [&](int k) { return b.saved(kKeptInputs + k); };
  const auto gradient = [&](int k) {
    const Tensor& g = b.grad(k);
    return g.defined() ? contiguous(g) : g;
  };
  const Tensor x = input(0), h0 = input(1), c0 = input(2), y = b.saved(0);
  const Tensor dy = gradient(0), dh = gradient(1), dc = gradient(2);
  const Tensor w_hh = input(kStates + kHidden);
  std::vector<Tensor> results(static_cast<size_t>(n_inputs));
  for (int k = 0; k < n_inputs; ++k) {
    if (b.needs(k)) results[static_cast<size_t>(k)] = empty_like(input(k));
  }
  Tensor& carry = results[2];  // what goes from step to step beside h: at the end dc0
  if (!carry.defined()) {
    carry = empty({layer.directions, layer.batch, w_hh.sizes()[0] / gates_of(layer.unit)},
                  options_of(x));
  }
  std::vector<Tensor> kept;
  std::vector<const Tensor*> outputs{&carry, &results[0], &results[1]};
  std::vector<const Tensor*> inputs{&dy, &dh, &dc, &y, &x, &h0, &c0, &layer.batch_sizes};
  kept.reserve(static_cast<size_t>(6 * layer.directions));
  for (int64_t i = 0; i < layer.directions; ++i) {
    const int first = kStates + static_cast<int>(i) * kWeights;
    for (int k = 0; k < kWeights; ++k) outputs.push_back(&results[static_cast<size_t>(first + k)]);
    for (int k = 0; k < 3; ++k) {
      kept.push_back(b.saved(kKeptInputs + n_inputs + static_cast<int>(i) * 3 + k));
    }
    for (const int k : {kInput, kHidden, kProjection}) kept.push_back(input(first + k));
  }
  for (const Tensor& t : kept) inputs.push_back(&t);
  run_layer_kernel(kernel, b.node.params, outputs, inputs, x.dtype());
  for (int k = 0; k < n_inputs; ++k) {
    if (b.needs(k)) b.set(k, std::move(results[static_cast<size_t>(k)]));
  }
}

/// inputs: x, h0, c0 and kWeights for each direction, all of one dtype. Gives y, the last h (unless
/// y is that) and the last c (of an LSTM).
std::vector<Tensor> run_layer(const Layer& layer, std::vector<Tensor> inputs, const Dims& y_sizes,
                              const Dims& h_sizes, const Dims& c_sizes) {
  static const Op& op = define("rnn", &rnn_backward);
  for (Tensor& t : inputs) {
    if (t.defined()) t = contiguous(t);
  }
  const Options options = options_of(inputs[0]);
  const Tensor y = empty(y_sizes, options);
  const Tensor h = h_sizes.empty() ? Tensor() : empty(h_sizes, options);
  const bool is_lstm = layer.unit == RnnUnit::Lstm;
  const Tensor c = is_lstm ? empty(c_sizes, options) : Tensor();
  const bool recorded = needs_grad(inputs);
  const int64_t rows = y.numel() == 0 ? 0 : y.numel() / y.size(-1);
  std::vector<Tensor> kept(static_cast<size_t>(3 * layer.directions));
  std::vector<const Tensor*> outputs{&y, &h, &c}, operands;
  for (const Tensor& t : inputs) operands.push_back(&t);
  std::vector<const Tensor*> call_inputs = operands;
  call_inputs.insert(call_inputs.begin() + kStates, &layer.batch_sizes);
  const int64_t block = recorded ? block_to_keep(layer, outputs, call_inputs, options) : 0;
  if (block > 0) kept[0] = empty({block}, {DType::UInt8, options.device});
  for (size_t i = 0; i < kept.size(); ++i) {
    const std::span<const Tensor> w(&inputs[kStates + i / 3 * kWeights], kWeights);
    const int64_t hidden = w[kHidden].sizes()[0] / gates_of(layer.unit);
    const bool wanted[] = {gates_of(layer.unit) > 1, is_lstm, w[kProjection].defined()};
    if (recorded && block == 0 && wanted[i % 3]) {
      const int64_t columns = (hidden + kMaxLanes - 1) / kMaxLanes * kMaxLanes;
      kept[i] = empty({rows + kMaxRows, i % 3 == 0 ? 4 * columns : columns}, options);
    }
    outputs.push_back(&kept[i]);
  }
  run_layer_kernel(op, layer.params(), outputs, call_inputs, options.dtype);
  if (recorded) {
    std::vector<Save> saves{keep_output(y), keep(layer.batch_sizes)};
    for (const Tensor& t : inputs) saves.push_back(keep(t));
    for (const Tensor& t : kept) saves.push_back(keep(t));
    const Tensor* results[] = {&y, &h, &c};
    record(op, layer.params(), std::span<const Tensor* const>(results, is_lstm ? 3u : 2u), operands,
           saves);
  }
  return {y, h, c};
}

// ---- checks ----

/// The number of time steps' sequences, checked: it must not grow and sum up to the rows.
void check_batch_sizes(const Tensor& sizes, int64_t rows) {
  GS_CHECK(sizes.ndim() == 1 && sizes.dtype() == DType::Int64 && sizes.device() == Device{},
           "batch_sizes should be a 1-D int64 tensor on the CPU, got {} of shape {}", sizes.dtype(),
           sizes.sizes());
  refuse_capture("the lengths of packed sequences are read");
  const int64_t* n = sizes.data<int64_t>();
  int64_t total = 0;
  for (int64_t t = 0; t < sizes.numel(); ++t) {
    GS_CHECK(n[t] > 0 && n[t] <= n[0] && (t == 0 || n[t] <= n[t - 1]) && n[t] <= rows - total,
             "batch_sizes must be positive, not growing and sum up to the {} rows of the data",
             rows);
    total += n[t];
  }
  GS_CHECK(total == rows, "batch_sizes sum up to {}, but the data has {} rows", total, rows);
}

void check_sizes(const char* what, const Tensor& t, const Dims& sizes) {
  GS_CHECK(t.sizes() == sizes, "Expected {} size {}, got {}", what, sizes, t.sizes());
}

/// Converts where it must: the dtype that a layer computes in.
void to_compute_dtype(std::vector<Tensor>& tensors) {
  for (Tensor& t : tensors) {
    if (t.defined()) t = to(t, DType::Float32);
  }
}

void check_dtypes(const Tensor& input, std::initializer_list<const std::vector<Tensor>*> lists) {
  GS_CHECK(is_floating(input.dtype()), "rnn: expected a floating point input, got {}",
           scalar_name(input.dtype()));
  for (const std::vector<Tensor>* list : lists) {
    for (const Tensor& t : *list) {
      if (!t.defined()) continue;
      GS_CHECK(t.dtype() == input.dtype(),
               "mat1 and mat2 must have the same dtype, but got {} and {}",
               scalar_name(input.dtype()), scalar_name(t.dtype()));
      common_device({&input, &t}, "rnn");
    }
  }
}

void check_weights(RnnUnit unit, const Tensor* w, int64_t in_size, int64_t hidden, int64_t out) {
  const int64_t n = gates_of(unit) * hidden;
  check_sizes("weight_ih", w[kInput], {n, in_size});
  check_sizes("weight_hh", w[kHidden], {n, out});
  if (w[kInputBias].defined()) check_sizes("bias_ih", w[kInputBias], {n});
  if (w[kHiddenBias].defined()) check_sizes("bias_hh", w[kHiddenBias], {n});
  if (w[kProjection].defined()) check_sizes("weight_hr", w[kProjection], {out, hidden});
}

}  // namespace

// ---- stacks ----

std::vector<Tensor> rnn(const Tensor& input, const Tensor& batch_sizes,
                        const std::vector<Tensor>& states, const std::vector<Tensor>& weights,
                        const RnnOptions& o) {
  const bool is_lstm = o.unit == RnnUnit::Lstm, packed = batch_sizes.defined();
  GS_CHECK(!is_lstm || states.size() == 2, "lstm expects two hidden states");
  const int64_t n_directions = o.bidirectional ? 2 : 1;
  GS_CHECK(o.layers > 0, "num_layers must be greater than zero");
  check_dtypes(input, {&states, &weights});
  if (is_half(input.dtype())) {
    std::vector<Tensor> s = states, w = weights;
    to_compute_dtype(s);
    to_compute_dtype(w);
    std::vector<Tensor> results = rnn(to(input, DType::Float32), batch_sizes, s, w, o);
    for (Tensor& t : results) t = to(t, input.dtype());
    return results;
  }
  const int dims = packed ? 2 : 3;
  GS_CHECK(input.ndim() == dims, "input must have {} dimensions, got {}", dims, input.ndim());
  for (const Tensor& s : states) {
    GS_CHECK(s.ndim() == 3, "hidden states must have 3 dimensions, got {}", s.ndim());
  }
  const int64_t hidden = states.back().sizes()[2], out = states[0].sizes()[2];
  const int per_direction = 2 + (o.has_biases ? 2 : 0) + (out != hidden ? 1 : 0);
  GS_CHECK(static_cast<int64_t>(weights.size()) == o.layers * n_directions * per_direction,
           "rnn: expected {} weights for {} layers and {} directions, got {}",
           o.layers * n_directions * per_direction, o.layers, n_directions, weights.size());

  // Masks of dropout are drawn in the order (steps, batch, features), as PyTorch's.
  const bool drops = o.dropout > 0 && o.train && o.layers > 1;
  const bool turned = o.batch_first && !packed && drops;
  Tensor x = turned ? transpose(input, 0, 1) : input;
  Layer layer{o.unit, n_directions, 0, 0, o.batch_first && !packed && !turned, {}};
  if (packed) {
    layer.batch_sizes = contiguous(batch_sizes);
    check_batch_sizes(layer.batch_sizes, x.sizes()[0]);
    layer.steps = batch_sizes.numel();
    layer.batch = layer.steps > 0 ? layer.batch_sizes.data<int64_t>()[0] : 0;
  } else {
    layer.steps = x.sizes()[layer.batch_first ? 1 : 0];
    layer.batch = x.sizes()[layer.batch_first ? 0 : 1];
  }
  GS_CHECK(layer.steps > 0, "Expected sequence length to be larger than 0 in RNN");
  const Dims h_sizes{o.layers * n_directions, layer.batch, out};
  const Dims c_sizes{o.layers * n_directions, layer.batch, hidden};
  check_sizes(is_lstm ? "hidden[0]" : "hidden", states[0], h_sizes);
  if (is_lstm) check_sizes("hidden[1]", states[1], c_sizes);

  std::vector<Tensor> last_h, last_c;
  for (int64_t i = 0; i < o.layers; ++i) {
    const auto part = [&](const Tensor& t) {
      return o.layers == 1 ? t : narrow(t, 0, i * n_directions, n_directions);
    };
    std::vector<Tensor> inputs{x, part(states[0]), is_lstm ? part(states[1]) : Tensor()};
    for (int64_t direction = 0; direction < n_directions; ++direction) {
      const Tensor* given =
          &weights[static_cast<size_t>((i * n_directions + direction) * per_direction)];
      Tensor w[kWeights];
      w[kInput] = *given++;
      w[kHidden] = *given++;
      if (o.has_biases) {
        w[kInputBias] = *given++;
        w[kHiddenBias] = *given++;
      }
      if (out != hidden) w[kProjection] = *given++;
      check_weights(o.unit, w, x.size(-1), hidden, out);
      inputs.insert(inputs.end(), w, w + kWeights);
    }
    Dims y_sizes = x.sizes();
    y_sizes[x.ndim() - 1] = n_directions * out;
    std::vector<Tensor> results =
        run_layer(layer, std::move(inputs), y_sizes, {n_directions, layer.batch, out},
                  {n_directions, layer.batch, hidden});
    x = results[0];
    last_h.push_back(results[1]);
    last_c.push_back(results[2]);
    if (drops && i < o.layers - 1) x = dropout(x, o.dropout, true, false, default_generator());
  }
  std::vector<Tensor> results{turned ? transpose(x, 0, 1) : x,
                              o.layers == 1 ? last_h[0] : cat(last_h)};
  if (is_lstm) results.push_back(o.layers == 1 ? last_c[0] : cat(last_c));
  return results;
}

// ---- cells ----

std::vector<Tensor> rnn_cell(RnnUnit unit, const Tensor& input, const std::vector<Tensor>& states,
                             const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih,
                             const Tensor& b_hh) {
  const bool is_lstm = unit == RnnUnit::Lstm;
  GS_CHECK(!is_lstm || states.size() == 2, "lstm_cell expects two hidden states");
  std::vector<Tensor> inputs{input, states[0], is_lstm ? states[1] : Tensor(), w_ih, w_hh, b_ih,
                             b_hh,  Tensor()};
  check_dtypes(input, {&inputs});
  if (is_half(input.dtype())) {
    to_compute_dtype(inputs);
    std::vector<Tensor> s{inputs[1]};
    if (is_lstm) s.push_back(inputs[2]);
    std::vector<Tensor> results =
        rnn_cell(unit, inputs[0], s, inputs[3], inputs[4], inputs[5], inputs[6]);
    for (Tensor& t : results) t = to(t, input.dtype());
    return results;
  }
  const int dims = input.ndim();
  GS_CHECK(dims == 1 || dims == 2, "Expected input to be 1D or 2D, got {}D instead", dims);
  GS_CHECK(w_ih.ndim() == 2 && w_hh.ndim() == 2, "weight_ih and weight_hh must be matrices");
  const int64_t hidden = w_hh.sizes()[1], batch = dims == 2 ? input.sizes()[0] : 1;
  GS_CHECK(input.size(-1) == w_ih.sizes()[1],
           "input has inconsistent input_size: got {} expected {}", input.size(-1),
           w_ih.sizes()[1]);
  for (size_t i = 0; i < states.size(); ++i) {
    const Tensor& s = states[i];
    GS_CHECK(s.ndim() == dims, "hidden{} must have {} dimensions as the input, got {}", i, dims,
             s.ndim());
    GS_CHECK(dims == 1 || s.sizes()[0] == batch,
             "Input batch size {} doesn't match hidden{} batch size {}", batch, i,
             dims == 2 ? s.sizes()[0] : 1);
    GS_CHECK(s.size(-1) == hidden, "hidden{} has inconsistent hidden_size: got {}, expected {}", i,
             s.size(-1), hidden);
  }
  GS_CHECK(w_ih.sizes()[0] == gates_of(unit) * hidden,
           "weight_ih first dim must be {} * hidden_size = {}, but got {}", gates_of(unit),
           gates_of(unit) * hidden, w_ih.sizes()[0]);
  // The kernel takes both biases or none.
  for (const int k : {kInputBias, kHiddenBias}) {
    Tensor& bias = inputs[static_cast<size_t>(kStates + k)];
    if (!bias.defined() && (b_ih.defined() || b_hh.defined())) {
      bias = zeros({w_ih.sizes()[0]}, options_of(input));
    }
  }
  check_weights(unit, &inputs[kStates], w_ih.sizes()[1], hidden, hidden);
  const Layer layer{unit, 1, 1, batch, false, {}};
  Dims sizes = input.sizes();
  sizes[dims - 1] = hidden;
  const std::vector<Tensor> results = run_layer(layer, std::move(inputs), sizes, {}, sizes);
  if (is_lstm) return {results[0], results[2]};
  return {results[0]};
}

}  // namespace gradstep
