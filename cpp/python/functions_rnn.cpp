// SPDX-License-Identifier: Apache-2.0
// Recurrent networks for Python: torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu on padded
// and packed sequences, and their cells. See python/function.h for the rows.
#include "ops/rnn.h"
#include "python/function.h"

namespace gradstep::python {

namespace {

#define GS_STACK                                                                         \
  "TensorList params, bool has_biases, int num_layers, float dropout, bool train, bool " \
  "bidirectional"
#define GS_CELL "Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None)"

std::vector<Tensor> states(const Args& a, int i, RnnUnit unit) {
  return unit == RnnUnit::Lstm ? a.tensors(i) : std::vector<Tensor>{a.tensor(i)};
}

/// The arguments of GS_STACK start at `first`.
RnnOptions options(const Args& a, int first, RnnUnit unit) {
  RnnOptions o;
  o.unit = unit;
  o.has_biases = a.flag(first + 1);
  o.layers = a.i(first + 2);
  o.dropout = a.f(first + 3);
  o.train = a.flag(first + 4);
  o.bidirectional = a.flag(first + 5);
  return o;
}

template <RnnUnit unit>
PyObject* padded(Args& a) {
  RnnOptions o = options(a, 2, unit);
  o.batch_first = a.flag(8);
  return wrap(rnn(a.tensor(0), {}, states(a, 1, unit), a.tensors(2), o));
}

template <RnnUnit unit>
PyObject* packed(Args& a) {
  return wrap(rnn(a.tensor(0), a.tensor(1), states(a, 2, unit), a.tensors(3), options(a, 3, unit)));
}

template <RnnUnit unit>
PyObject* cell(Args& a) {
  const std::vector<Tensor> results = rnn_cell(unit, a.tensor(0), states(a, 1, unit), a.tensor(2),
                                               a.tensor(3), a.tensor(4), a.tensor(5));
  return results.size() == 1 ? wrap(results[0]) : wrap(results);
}

#define GS_RNN(name, unit, hx, doc)                                                           \
  {name, "(Tensor input, " hx ", " GS_STACK ", bool batch_first)", Fn, doc, &padded<unit>}, { \
    name, "(Tensor data, Tensor batch_sizes, " hx ", " GS_STACK ")", Fn, doc, &packed<unit>   \
  }

const FunctionRow kRows[] = {
    GS_RNN("lstm", RnnUnit::Lstm, "TensorList hx", "Layers of an LSTM: nn.LSTM."),
    GS_RNN("gru", RnnUnit::Gru, "Tensor hx", "Layers of gated recurrent units: nn.GRU."),
    GS_RNN("rnn_tanh", RnnUnit::Tanh, "Tensor hx", "Recurrent layers with tanh: nn.RNN."),
    GS_RNN("rnn_relu", RnnUnit::Relu, "Tensor hx", "Recurrent layers with relu: nn.RNN."),
    {"lstm_cell", "(Tensor input, TensorList hx, " GS_CELL, Fn, "One step of an LSTM: nn.LSTMCell.",
     &cell<RnnUnit::Lstm>},
    {"gru_cell", "(Tensor input, Tensor hx, " GS_CELL, Fn, "One step of a GRU: nn.GRUCell.",
     &cell<RnnUnit::Gru>},
    {"rnn_tanh_cell", "(Tensor input, Tensor hx, " GS_CELL, Fn,
     "One step of a recurrent unit with tanh: nn.RNNCell.", &cell<RnnUnit::Tanh>},
    {"rnn_relu_cell", "(Tensor input, Tensor hx, " GS_CELL, Fn,
     "One step of a recurrent unit with relu: nn.RNNCell.", &cell<RnnUnit::Relu>},
};

}  // namespace

void add_rnn_functions() { add_functions(kRows); }

}  // namespace gradstep::python
