// SPDX-License-Identifier: Apache-2.0
// Recurrent layers by cuDNN: descriptors and the layout of the weights are kept for each layer and
// size. See Note [Recurrent layers by cuDNN].
#include "cuda/rnn.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cuda/cudnn.h"
#include "cuda/launch.h"

namespace gradstep::cuda {

namespace {

using namespace cudnn;

// Note [Recurrent layers by cuDNN]
// A call is one layer of one or two directions, all steps; dropout lies between calls. cuDNN wants
// all weights in one block, whose layout it tells: one launch packs them, one unpacks their
// gradients. For the gradient it keeps a block of its own, whose size the op asks for by a call of
// rnn_reserve (host only, operands as of rnn): the first direction's `kept` is then these bytes,
// the reserve and behind it the packed weights, and no other kept tensor exists. The gradient of a
// kept block is always cuDNN's. It writes to the reserve, so it gets a copy: there may be a second
// backward pass. Algorithms are chosen as PyTorch does: one for small layers where all sequences
// are of one length, else the standard one, which is also taken where cuDNN refuses the other.
// Cells (one step) are ours, and all layers with cudnn.deterministic, since cuDNN promises nothing
// then. The lengths of sequences come with the descriptors; on the device cuDNN 9 needs no copy.

constexpr int kThreads = 256;
constexpr int kMostParts = 34;  // of two directions: 16 matrices and biases and a projection each
constexpr int64_t kAlign = 256;
enum Weight { kInput, kHidden, kInputBias, kHiddenBias, kProjection, kWeights };
enum Pass { kForward, kBackward };

// ---- what a call says ----

/// Integers only: plans are found by its bytes. `out` is less than hidden with a projection.
struct Layer {
  int device, unit, type, tf32, directions, steps, batch, layout, in, hidden, out;

  bool operator==(const Layer& o) const { return std::memcmp(this, &o, sizeof(*this)) == 0; }
  int gates() const { return unit == 2 ? 4 : unit == 3 ? 3 : 1; }
  bool is_lstm() const { return unit == 2; }
  size_t item() const { return type == int(Data::Double) ? 8 : 4; }
  int64_t states() const { return int64_t(directions) * batch * out; }
  int64_t cells() const { return int64_t(directions) * batch * hidden; }
};

/// Slots as of cpp/kernels/rnn.cpp; w_hh is that of the first direction.
Layer layer_of(const Call& call, const TensorImpl& x, const TensorImpl& w_hh, bool is_packed) {
  Layer l{};
  l.device = x.device.index;
  l.unit = int(call.i(0));
  l.type = int(data_type(x.dtype));
  l.tf32 = x.dtype == DType::Float32 && flags().cudnn_tf32;
  l.directions = int(call.i(1));
  l.steps = int(call.i(2));
  l.batch = int(call.i(3));
  l.layout = int(is_packed ? RnnLayout::Packed : call.i(4) ? RnnLayout::Batch : RnnLayout::Steps);
  l.in = int(x.sizes[x.ndim() - 1]);
  l.hidden = int(w_hh.sizes[0]) / l.gates();
  l.out = int(w_hh.sizes[1]);
  return l;
}

char* data_of(const TensorImpl* t) { return t ? t->data : nullptr; }

/// The operands of a forward call. Outputs: y, h_last, c_last, {kept, cells, inner}..
struct Forward {
  Layer layer;
  const TensorImpl *x, *h0, *c0, *batch_sizes, *kept;
  TensorImpl* const* weights;
  explicit Forward(const Call& call)
      : x(call.maybe_in(0)),
        h0(call.maybe_in(1)),
        c0(call.maybe_in(2)),
        batch_sizes(call.maybe_in(3)),
        kept(call.operands[3]),
        weights(call.operands + call.n_out + 4) {
    layer = layer_of(call, *x, *weights[kHidden], batch_sizes);
  }
};

/// cuDNN computes this layer: a whole one, counted in ints.
bool fits(const Call& call, const Forward& f) {
  constexpr int64_t kLimit = INT32_MAX;
  const TensorImpl* const h_last = call.operands[1];
  if (!h_last || flags().deterministic || !available()) return false;
  const TensorImpl& w_ih = *f.weights[kInput];
  const int64_t rows = f.x->numel / std::max<int64_t>(f.layer.in, 1);
  const int64_t gates = w_ih.sizes[0] * f.layer.directions;
  return f.x->numel > 0 && h_last->numel > 0 && f.x->numel <= kLimit && w_ih.numel <= kLimit &&
         (gates == 0 || rows <= kLimit / gates);
}

// ---- plans ----

/// A run of values that lie together in a weight and in cuDNN's block.
struct Part {
  int weight;  // direction * kWeights + which
  int64_t from, to, count;
};

struct Plan {
  Layer layer;
  DropoutDesc dropout = nullptr;
  TensorDesc h = nullptr, c = nullptr;
  RnnDataDesc x = nullptr, y = nullptr;
  RnnDesc rnn[2] = {};  // by pass
  RnnAlgorithm wanted[2], algorithm[2];
  std::vector<int> lengths;
  bool supported = true;
  size_t inference = 0, training[2] = {}, reserve = 0;  // bytes; workspaces of passes
  size_t weight_bytes = 0;
  bool has_gaps = false;
  std::vector<Part> parts;

  Plan(const Call& call, const Layer& l);
  ~Plan() {
    const Api& a = api();
    if (dropout) (void)a.DestroyDropoutDescriptor(dropout);
    for (TensorDesc d : {h, c}) {
      if (d) (void)a.DestroyTensorDescriptor(d);
    }
    for (RnnDataDesc d : {x, y}) {
      if (d) (void)a.DestroyRNNDataDescriptor(d);
    }
    for (RnnDesc d : rnn) {
      if (d) (void)a.DestroyRNNDescriptor(d);
    }
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  size_t kept_bytes() const { return reserve_space() + weight_bytes; }
  size_t reserve_space() const { return (reserve + kAlign - 1) / kAlign * kAlign; }
  /// For a pass that cuDNN refuses with the algorithm it has.
  void use_standard(const Call& call, Pass pass) {
    wanted[pass] = RnnAlgorithm::Standard;
    measure(call, pass);
  }
  void set_lengths(const Call& call, std::vector<int> to);

 private:
  bool try_algorithm(const Call& call, Pass pass, RnnAlgorithm a);
  void measure(const Call& call, Pass pass);
  void find_parts(const Call& call);
};

void set_states(TensorDesc* d, const Layer& l, int width) {
  const int sizes[] = {l.directions, l.batch, width}, strides[] = {l.batch * width, width, 1};
  check(api().CreateTensorDescriptor(d), "cudnnCreateTensorDescriptor");
  check(api().SetTensorNdDescriptor(*d, Data(l.type), 3, sizes, strides),
        "cudnnSetTensorNdDescriptor");
}

/// PyTorch's choice. Small layers: a kernel whose recurrent weights stay in registers.
RnnAlgorithm algorithm_of(const Layer& l, Pass pass) {
  const int most = (pass == kForward ? 384 : 256) / (l.gates() > 1 ? 2 : 1);
  const bool is_small = l.hidden <= most && l.out == l.hidden && l.type != int(Data::Double) &&
                        l.layout != int(RnnLayout::Packed);
  return is_small ? RnnAlgorithm::PersistentSmall : RnnAlgorithm::Standard;
}

Plan::Plan(const Call& call, const Layer& l) : layer(l) {
  const RelaxedCapture relaxed;
  const Api& a = api();
  check(a.CreateDropoutDescriptor(&dropout), "cudnnCreateDropoutDescriptor");
  check(a.SetDropoutDescriptor(dropout, handle(call), 0, nullptr, 0, 0),
        "cudnnSetDropoutDescriptor");
  set_states(&h, l, l.out);
  if (l.is_lstm()) set_states(&c, l, l.hidden);
  check(a.CreateRNNDataDescriptor(&x), "cudnnCreateRNNDataDescriptor");
  check(a.CreateRNNDataDescriptor(&y), "cudnnCreateRNNDataDescriptor");
  for (const Pass pass : {kForward, kBackward}) {
    check(a.CreateRNNDescriptor(&rnn[pass]), "cudnnCreateRNNDescriptor");
    wanted[pass] = algorithm_of(l, pass);
  }
}

/// The sizes of the blocks with an algorithm, which depend on the sequences; false if cuDNN does
/// not have it. A layer without biases has zeros: the small algorithm wants biases.
bool Plan::try_algorithm(const Call& call, Pass pass, RnnAlgorithm a) {
  constexpr RnnCell kCells[] = {RnnCell::Tanh, RnnCell::Relu, RnnCell::Lstm, RnnCell::Gru};
  const Layer& l = layer;
  const auto type = Data(l.type);
  algorithm[pass] = a;
  Status s = api().SetRNNDescriptor_v8(
      rnn[pass], a, kCells[l.unit], RnnBias::Double,
      l.directions == 2 ? RnnDirections::Two : RnnDirections::One, RnnInput::Linear, type, type,
      type == Data::Float && !l.tf32 ? Math::Fma : Math::Default, l.in, l.hidden, l.out, 1, dropout,
      l.layout == int(RnnLayout::Packed) ? kRnnPacked : kRnnPadded);
  if (is_unsupported(s)) return false;
  check(s, "cudnnSetRNNDescriptor_v8");
  const Handle handle = cudnn::handle(call);
  size_t kept = 0;
  s = api().GetRNNTempSpaceSizes(handle, rnn[pass], RnnUse::Training, x, &training[pass], &kept);
  if (s == Status::Success && pass == kForward)
    s = api().GetRNNTempSpaceSizes(handle, rnn[pass], RnnUse::Inference, x, &inference, nullptr);
  if (is_unsupported(s)) return false;
  check(s, "cudnnGetRNNTempSpaceSizes");
  reserve = std::max(reserve, kept);
  return true;
}

/// The reserve is large enough for the standard algorithm, whichever is taken.
void Plan::measure(const Call& call, Pass pass) {
  supported = try_algorithm(call, pass, RnnAlgorithm::Standard) && supported;
  if (!supported || wanted[pass] == RnnAlgorithm::Standard) return;
  if (!try_algorithm(call, pass, wanted[pass])) use_standard(call, pass);
}

void Plan::set_lengths(const Call& call, std::vector<int> to) {
  if (to == lengths) return;
  const RelaxedCapture relaxed;  // it may load code
  const Api& a = api();
  const Layer& l = layer;
  lengths = std::move(to);
  check(a.SetRNNDataDescriptor(x, Data(l.type), RnnLayout(l.layout), l.steps, l.batch, l.in,
                               lengths.data(), nullptr),
        "cudnnSetRNNDataDescriptor");
  check(a.SetRNNDataDescriptor(y, Data(l.type), RnnLayout(l.layout), l.steps, l.batch,
                               l.directions * l.out, lengths.data(), nullptr),
        "cudnnSetRNNDataDescriptor");
  reserve = 0;
  supported = true;
  for (const Pass pass : {kForward, kBackward}) measure(call, pass);
  if (!supported || !parts.empty()) return;
  const Status s = a.GetRNNWeightSpaceSize(handle(call), rnn[kForward], &weight_bytes);
  if (is_unsupported(s)) {
    supported = false;
    return;
  }
  check(s, "cudnnGetRNNWeightSpaceSize");
  find_parts(call);
}

/// Where the weights lie in cuDNN's block. PyTorch's gates come in cuDNN's order, one after the
/// other in each weight.
void Plan::find_parts(const Call& call) {
  const Api& a = api();
  const DeviceScratch<char> block(int64_t(weight_bytes), call);
  struct Described {
    TensorDesc desc = nullptr;
    Described() { check(api().CreateTensorDescriptor(&desc), "cudnnCreateTensorDescriptor"); }
    ~Described() { (void)api().DestroyTensorDescriptor(desc); }
    int64_t count() const {
      Data type{};
      int n = 0, sizes[8] = {}, strides[8] = {};
      check(api().GetTensorNdDescriptor(desc, 8, &type, &n, sizes, strides),
            "cudnnGetTensorNdDescriptor");
      int64_t count = 1;
      for (int d = 0; d < n; ++d) count *= sizes[d];
      return count;
    }
  };
  const Described matrix, bias;
  const int gates = layer.gates();
  const auto item = int64_t(layer.item());
  int64_t found = 0;
  const auto add = [&](const void* at, const Described& what, int weight, int64_t from,
                       int64_t count) {
    GS_CHECK(at && what.count() == count,
             "cuDNN lays out the weights of a recurrent layer in an unknown way; "
             "torch.backends.cudnn.enabled = False computes without it");
    const Part p{weight, from, (static_cast<const char*>(at) - block.data()) / item, count};
    found += count;
    if (!parts.empty()) {
      Part& last = parts.back();
      if (last.weight == weight && last.from + last.count == from && last.to + last.count == p.to) {
        last.count += count;
        return;
      }
    }
    parts.push_back(p);
  };
  // All parts of one weight after each other, so that they join.
  for (int which = 0; which < kWeights; ++which) {
    const bool is_bias = which == kInputBias || which == kHiddenBias;
    if (which == kProjection && layer.out == layer.hidden) continue;
    const int64_t width = is_bias            ? 1
                          : which == kInput  ? layer.in
                          : which == kHidden ? layer.out
                                             : layer.hidden;
    const int64_t rows = which == kProjection ? layer.out : layer.hidden;
    for (int direction = 0; direction < layer.directions; ++direction) {
      for (int g = 0; g < (which == kProjection ? 1 : gates); ++g) {
        const int id = which == kProjection                       ? 2 * gates
                       : which == kHidden || which == kHiddenBias ? gates + g
                                                                  : g;
        void *m = nullptr, *b = nullptr;
        check(a.GetRNNWeightParams(handle(call), rnn[kForward], direction, weight_bytes,
                                   block.data(), id, matrix.desc, &m, bias.desc, &b),
              "cudnnGetRNNWeightParams");
        add(is_bias ? b : m, is_bias ? bias : matrix, direction * kWeights + which,
            g * rows * width, rows * width);
      }
    }
  }
  GS_CHECK(parts.size() <= kMostParts, "internal error: {} parts of a layer's weights",
           parts.size());
  has_gaps = found * item != int64_t(weight_bytes);
}

/// The lengths of the sequences, longer ones first.
std::vector<int> lengths_of(const Layer& l, const TensorImpl* batch_sizes) {
  std::vector<int> lengths(size_t(l.batch), l.steps);
  if (!batch_sizes) return lengths;
  std::fill(lengths.begin(), lengths.end(), 0);
  const auto* const count = reinterpret_cast<const int64_t*>(batch_sizes->data);
  for (int t = 0; t < l.steps; ++t) {
    for (int64_t r = 0; r < count[t]; ++r) ++lengths[size_t(r)];
  }
  return lengths;
}

Plan& plan_of(const Call& call, const Layer& layer, const TensorImpl* batch_sizes) {
  // Never destroyed: cuDNN may be gone by then.
  static auto& plans = *new std::unordered_map<Layer, std::unique_ptr<Plan>, HashOfBytes<Layer>>;
  constexpr size_t kMost = 1024;  // sizes that change all the time shall not fill the memory
  auto at = plans.find(layer);
  if (at == plans.end()) {
    if (plans.size() >= kMost) plans.clear();
    at = plans.emplace(layer, std::make_unique<Plan>(call, layer)).first;
  }
  at->second->set_lengths(call, lengths_of(layer, batch_sizes));
  return *at->second;
}

// ---- weights ----

template <class T>
struct CopyArgs {
  struct Run {
    T* to;
    const T* from;
    int64_t count;
  };
  Run runs[kMostParts];
};

/// A run for each blockIdx.y. The steps' products read the weights many times, this once.
template <class T>
__global__ void copy_runs(const __grid_constant__ CopyArgs<T> a) {
  const typename CopyArgs<T>::Run& run = a.runs[blockIdx.y];
  for (int64_t i = first_index(); i < run.count; i += index_stride()) run.to[i] = run.from[i];
}

template <class T>
void copy_runs_of(const Call& call, const Plan& p, TensorImpl* const* weights, char* block,
                  bool to_block) {
  CopyArgs<T> a{};
  unsigned n = 0;
  int64_t most = 0;
  for (const Part& part : p.parts) {
    const TensorImpl* const t = weights[part.weight];
    if (!t) continue;
    T* const own = reinterpret_cast<T*>(t->data) + part.from;
    T* const other = reinterpret_cast<T*>(block) + part.to;
    a.runs[n++] = {to_block ? other : own, to_block ? own : other, part.count};
    most = std::max(most, part.count);
  }
  if (n == 0) return;
  launch_grid(call, &copy_runs<T>, dim3(blocks_for(call, most, kThreads, 4, 1), n), kThreads, a);
}

/// Between cuDNN's block and kWeights tensors for each direction, of which some may be absent.
void copy_weights(const Call& call, const Plan& p, TensorImpl* const* weights, char* block,
                  bool to_block) {
  if (p.layer.type == int(Data::Double)) {
    copy_runs_of<double>(call, p, weights, block, to_block);
  } else {
    copy_runs_of<float>(call, p, weights, block, to_block);
  }
}

void clear(const Call& call, void* p, size_t bytes) {
  if (bytes) cuda::check(cudaMemsetAsync(p, 0, bytes, stream_of(call)), call.op->name);
}

/// Runs f(workspace, bytes of it); where cuDNN refuses the algorithm, again with the standard one.
template <class F>
Status run_pass(const Call& call, Plan& p, Pass pass, bool is_training, F f) {
  for (;;) {
    const size_t bytes = is_training ? p.training[pass] : p.inference;
    Status s;
    {
      const DeviceScratch<char> space(int64_t(bytes), call);
      s = f(bytes, space.data());
    }
    if (!is_unsupported(s) || p.algorithm[pass] == RnnAlgorithm::Standard) return s;
    p.use_standard(call, pass);
    if (!p.supported) return s;
  }
}

// ---- calls ----

/// As rnn, but with an int64 of the host's memory in the place of the first direction's `kept`: it
/// gets the bytes to keep, or 0 where the layer is not cuDNN's.
void rnn_reserve(const Call& call) {
  const Forward f(call);
  int64_t& bytes = *reinterpret_cast<int64_t*>(f.kept->data);
  bytes = 0;
  if (!fits(call, f)) return;
  const DeviceGuard guard(f.x->device.index);
  const Plan& p = plan_of(call, f.layer, f.batch_sizes);
  if (p.supported) bytes = int64_t(p.kept_bytes());
}
GS_CUDA_KERNEL("rnn_reserve", rnn_reserve);

}  // namespace

bool cudnn_rnn(const Call& call) {
  const Forward f(call);
  if (f.kept ? f.kept->dtype != DType::UInt8 : !fits(call, f)) return false;
  const DeviceGuard guard(f.x->device.index);
  Plan& p = plan_of(call, f.layer, f.batch_sizes);
  if (!p.supported && !f.kept) return false;
  const DeviceScratch<char> packed(f.kept ? 0 : int64_t(p.weight_bytes), call);
  const size_t reserve_bytes = f.kept ? size_t(f.kept->numel) - p.weight_bytes : 0;
  char* const reserve = data_of(f.kept);
  char* const weights = f.kept ? reserve + reserve_bytes : packed.data();
  if (p.has_gaps || !f.weights[kInputBias]) clear(call, weights, p.weight_bytes);
  copy_weights(call, p, f.weights, weights, true);
  const Status s = run_pass(call, p, kForward, f.kept != nullptr, [&](size_t bytes, char* space) {
    return api().RNNForward(
        handle(call), p.rnn[kForward], f.kept ? RnnUse::Training : RnnUse::Inference, nullptr, p.x,
        f.x->data, p.y, call.out(0).data, p.h, data_of(f.h0), data_of(call.operands[1]), p.c,
        p.c ? data_of(f.c0) : nullptr, p.c ? data_of(call.operands[2]) : nullptr, p.weight_bytes,
        weights, bytes, space, reserve_bytes, reserve);
  });
  if (is_unsupported(s) && !f.kept) return false;
  check(s, "cudnnRNNForward");
  return true;
}

// rnn_backward(carry, dx, dh0, {dw_ih, dw_hh, db_ih, db_hh, dw_hr}..; dy, dh_last, dc_last, y, x,
// h0, c0, batch_sizes, {kept, cells, inner, w_ih, w_hh, w_hr}..)
bool cudnn_rnn_backward(const Call& call) {
  TensorImpl* const* const in = call.operands + call.n_out;
  const TensorImpl* const kept = in[8];
  if (!kept || kept->dtype != DType::UInt8) return false;
  const TensorImpl &y = *in[3], &x = *in[4];
  const DeviceGuard guard(x.device.index);
  const Layer layer = layer_of(call, x, *in[12], in[7]);
  Plan& p = plan_of(call, layer, in[7]);
  const auto reserve_bytes = int64_t(size_t(kept->numel) - p.weight_bytes);
  const DeviceScratch<char> reserve(reserve_bytes, call);
  cuda::check(cudaMemcpyAsync(reserve.data(), kept->data, size_t(reserve_bytes),
                              cudaMemcpyDeviceToDevice, stream_of(call)),
              call.op->name);
  const char* const weights = kept->data + reserve_bytes;

  // Absent gradients are zeros; those that nobody wants are written all the same.
  const auto item = int64_t(layer.item());
  const int64_t states = layer.states() * item, cells = layer.is_lstm() ? layer.cells() * item : 0;
  const int64_t zero_bytes =
      std::max({in[0] ? 0 : y.numel * item, in[1] ? 0 : states, in[2] ? 0 : cells});
  const DeviceScratch<char> zeros(zero_bytes, call);
  clear(call, zeros.data(), size_t(zero_bytes));
  const auto given = [&](int k) { return in[k] ? in[k]->data : zeros.data(); };
  TensorImpl *const dx = call.operands[1], *const dh0 = call.operands[2];
  const DeviceScratch<char> other_dx(dx ? 0 : x.numel * item, call);
  const DeviceScratch<char> other_dh(dh0 ? 0 : states, call);
  Status s = run_pass(call, p, kBackward, true, [&](size_t bytes, char* space) {
    return api().RNNBackwardData_v8(handle(call), p.rnn[kBackward], nullptr, p.y, y.data, given(0),
                                    p.x, dx ? dx->data : other_dx.data(), p.h, data_of(in[5]),
                                    given(1), dh0 ? dh0->data : other_dh.data(), p.c,
                                    p.c ? data_of(in[6]) : nullptr, p.c ? given(2) : nullptr,
                                    p.c ? call.out(0).data : nullptr, p.weight_bytes, weights,
                                    bytes, space, size_t(reserve_bytes), reserve.data());
  });
  check(s, "cudnnRNNBackwardData_v8");

  TensorImpl* const* const results = call.operands + 3;
  if (std::all_of(results, results + layer.directions * kWeights, [](auto* t) { return !t; }))
    return true;
  const DeviceScratch<char> gradients(int64_t(p.weight_bytes), call);
  const DeviceScratch<char> space(int64_t(p.training[kBackward]), call);
  clear(call, gradients.data(), p.weight_bytes);
  s = api().RNNBackwardWeights_v8(handle(call), p.rnn[kBackward], RnnGradient::Add, nullptr, p.x,
                                  x.data, p.h, data_of(in[5]), p.y, y.data, p.weight_bytes,
                                  gradients.data(), p.training[kBackward], space.data(),
                                  size_t(reserve_bytes), reserve.data());
  check(s, "cudnnRNNBackwardWeights_v8");
  copy_weights(call, p, results, gradients.data(), false);
  return true;
}

}  // namespace gradstep::cuda
