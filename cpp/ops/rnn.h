// SPDX-License-Identifier: Apache-2.0
// Recurrent networks: stacks of layers, one call and one node for each layer, and single cells.
//   RnnOptions o{.unit = RnnUnit::Lstm, .layers = 2, .has_biases = true};
//   auto [y, h, c] = rnn(input, {}, {h0, c0}, weights, o);
//   auto [h, c] = rnn_cell(RnnUnit::Lstm, input, {h0, c0}, w_ih, w_hh, b_ih, b_hh);
// May include core, fn, graph.
#pragma once
#include <vector>

#include "ops/op.h"

namespace gradstep {

enum class RnnUnit : uint8_t { Tanh, Relu, Lstm, Gru };  // the kernel's slot 0

struct RnnOptions {
  RnnUnit unit = RnnUnit::Tanh;
  bool has_biases = true;
  int64_t layers = 1;
  double dropout = 0;  // between layers
  bool train = false;
  bool bidirectional = false;
  bool batch_first = false;
};

/// The states of all steps and the last ones: (y, h, c), c of an LSTM only. input is (steps, batch,
/// features), (batch, steps, features) with batch_first, or, with batch_sizes (defined), the packed
/// steps of sequences in descending length. states: (layers * directions, batch, hidden) each.
/// weights, for each layer and direction: w_ih, w_hh[, b_ih, b_hh][, w_hr]. Halves are computed in
/// float.
std::vector<Tensor> rnn(const Tensor& input, const Tensor& batch_sizes,
                        const std::vector<Tensor>& states, const std::vector<Tensor>& weights,
                        const RnnOptions& options);

/// One step: (h) or (h, c). input is (batch, features) or (features).
std::vector<Tensor> rnn_cell(RnnUnit unit, const Tensor& input, const std::vector<Tensor>& states,
                             const Tensor& w_ih, const Tensor& w_hh, const Tensor& b_ih,
                             const Tensor& b_hh);

}  // namespace gradstep
