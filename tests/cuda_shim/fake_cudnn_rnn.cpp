// SPDX-License-Identifier: Apache-2.0
// Recurrent layers of the stand-in for cuDNN; see fake_cudnn.cpp. One layer a call, in doubles.
// FAKE_CUDNN=none knows no layer, =standard refuses the persistent algorithm when it runs. The
// weights of the second direction lie apart from each other. The reserve says which call it has
// been through: a gradient of the weights needs one of the data, which needs a fresh forward
// call's.
#include <algorithm>
#include <cmath>

#include "fake_cudnn.h"

namespace gradstep::cuda::cudnn {
struct DropoutObject {
  bool is_set = false;
};
struct RnnDataObject {
  Data type{};
  RnnLayout layout{};
  int steps = 0, batch = 0, width = 0;
  std::vector<int> lengths;

  /// The row of step t of sequence r.
  int64_t row(int t, int r) const {
    if (layout == RnnLayout::Steps) return int64_t(t) * batch + r;
    if (layout == RnnLayout::Batch) return int64_t(r) * steps + t;
    int64_t start = 0;
    for (int s = 0; s < t; ++s)
      start += std::count_if(lengths.begin(), lengths.end(), [&](int n) { return n > s; });
    return start + r;
  }
  int64_t rows() const {
    int64_t n = 0;
    for (const int length : lengths) n += length;
    return layout == RnnLayout::Packed ? n : int64_t(steps) * batch;
  }
  bool operator==(const RnnDataObject&) const = default;
};
struct RnnObject {
  RnnAlgorithm algorithm{};
  RnnCell cell{};
  int directions = 1, in = 0, hidden = 0, out = 0;
  Data type{};
  Math math{};
  unsigned flags = 0;

  int gates() const { return cell == RnnCell::Lstm ? 4 : cell == RnnCell::Gru ? 3 : 1; }
  bool projects() const { return out != hidden; }
  int matrices() const { return 2 * gates() + (projects() ? 1 : 0); }
  int rows_of(int id) const { return id == 2 * gates() ? out : hidden; }
  int columns_of(int id) const { return id == 2 * gates() ? hidden : id < gates() ? in : out; }
  /// Where a matrix or, from id = matrices() on, a bias begins; the end of all for directions.
  int64_t place(int direction, int id) const {
    int64_t at = 0;
    for (int d = 0; d < directions; ++d) {
      for (int m = 0; m < matrices(); ++m) {
        if (d == direction && m == id) return at;
        at += int64_t(rows_of(m)) * columns_of(m) + (d == 1 ? 4 : 0);
      }
    }
    for (int d = 0; d < directions; ++d) {
      for (int b = 0; b < 2 * gates(); ++b) {
        if (d == direction && b == id - matrices()) return at;
        at += hidden;
      }
    }
    return at;
  }
  int64_t weights() const { return place(directions, 0); }
};
}  // namespace gradstep::cuda::cudnn

namespace {

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "the stand-in for cuDNN: %s\n", what);
  std::abort();
}

// ---- blocks ----

enum Stage : uint64_t { kFresh = 0x5eed1, kWithGradients = 0x5eed2 };

/// What the reserve keeps of a row and direction: gates, U h + b of a GRU's last, cell and output
/// before the projection, `hidden` values each; then the gradient of the projected state.
struct Reserve {
  const RnnObject& rnn;
  char* p;
  uint64_t& stage() const { return *reinterpret_cast<uint64_t*>(p); }
  int64_t width() const { return int64_t(rnn.gates() + 3) * rnn.hidden + rnn.out; }
  double* at(const RnnDataObject& x, int direction, int64_t row) const {
    return reinterpret_cast<double*>(p + 64) + (direction * x.rows() + row) * width();
  }
  size_t bytes(const RnnDataObject& x) const {
    const size_t extra = rnn.algorithm == RnnAlgorithm::Standard ? 256 : 0;
    return 64 + extra + size_t(rnn.directions * x.rows() * width()) * 8;
  }
};

size_t workspace_of(const RnnObject& r, RnnUse use, bool backward) {
  return (use == RnnUse::Inference ? 512
          : backward               ? 2048
                                   : 1024) +
         (r.algorithm == RnnAlgorithm::Standard ? 0 : 64);
}

bool is_block(const void* p, size_t bytes, size_t needed) {
  return bytes >= needed && (needed == 0 || p) && is_aligned(p, 16);
}

// ---- checks ----

bool is_states(const TensorObject& t, const RnnObject& r, const RnnDataObject& x, int width) {
  return t.type == r.type && is_packed(t) &&
         t.sizes == std::vector<int>{r.directions, x.batch, width};
}

bool fits(const RnnObject& r, const RnnDataObject& x) {
  if (r.type != x.type || x.width != r.in || x.batch < 1 || x.steps < 1 ||
      int(x.lengths.size()) != x.batch)
    return false;
  if ((x.layout == RnnLayout::Packed) != (r.flags == kRnnPacked)) return false;
  for (size_t i = 0; i < x.lengths.size(); ++i) {
    const int n = x.lengths[i];
    const bool right =
        x.layout == RnnLayout::Packed
            ? n >= 1 && n <= (i ? x.lengths[i - 1] : x.steps) && x.lengths[0] == x.steps
            : n == x.steps;
    if (!right) return false;
  }
  return true;
}

/// Everything that all three calls are told.
Status check_call(const RnnObject& r, const RnnDataObject& x, const RnnDataObject& y, TensorDesc h,
                  TensorDesc c, const void* lengths, size_t weight_bytes, const void* weights) {
  RnnDataObject like_y = x;
  like_y.width = r.directions * r.out;
  if (!fits(r, x) || !(y == like_y) || lengths) return kBadParam;
  if (!h || !is_states(*h, r, x, r.out)) return kBadParam;
  if (c ? r.cell != RnnCell::Lstm || !is_states(*c, r, x, r.hidden) : false) return kBadParam;
  if (!is_block(weights, weight_bytes, size_t(r.weights()) * size_of(r.type)) ||
      weight_bytes != size_t(r.weights()) * size_of(r.type))
    return kBadParam;
  if (mode_is("fail")) return kExecutionFailed;
  if (mode_is("none")) return Status::NotSupported;
  if (r.algorithm == RnnAlgorithm::PersistentSmall &&
      (mode_is("standard") || x.layout == RnnLayout::Packed || r.type == Data::Double ||
       r.projects() || r.hidden > 384))
    return Status::NotSupported;
  return Status::Success;
}

void log_call(const char* what, const RnnObject& r, const RnnDataObject& x, int use) {
  log("rnn %s cell=%d algorithm=%d math=%d layout=%d directions=%d use=%d\n", what, int(r.cell),
      int(r.algorithm), int(r.math), int(x.layout), r.directions, use);
}

// ---- arithmetic ----

double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }

struct Weights {
  const RnnObject& rnn;
  const void* p;
  double at(int direction, int id, int i, int j) const {
    return load(p, rnn.type, rnn.place(direction, id) + int64_t(i) * rnn.columns_of(id) + j);
  }
  double bias(int direction, int id, int i) const {
    return load(p, rnn.type, rnn.place(direction, rnn.matrices() + id) + i);
  }
};

struct Run {
  const RnnObject& r;
  const RnnDataObject& x;
  int step(int direction, int sequence, int k) const {
    return direction ? x.lengths[size_t(sequence)] - 1 - k : k;
  }
  /// Value j of the state before the k-th step.
  double before(int d, int s, int k, int j, const void* y, const void* hx) const {
    if (k == 0) return hx ? load(hx, r.type, (int64_t(d) * x.batch + s) * r.out + j) : 0;
    const int64_t row = x.row(step(d, s, k - 1), s);
    return load(y, r.type, row * r.directions * r.out + int64_t(d) * r.out + j);
  }
};

void forward(const RnnObject& r, const RnnDataObject& x, const void* px, void* py, const void* hx,
             void* hy, const void* cx, void* cy, const void* weights, char* reserve) {
  const Run run{r, x};
  const Weights w{r, weights};
  const Reserve kept{r, reserve};
  const int G = r.gates(), H = r.hidden, P = r.out;
  for (int d = 0; d < r.directions; ++d) {
    for (int s = 0; s < x.batch; ++s) {
      const int64_t state = int64_t(d) * x.batch + s;
      std::vector<double> c(size_t(H), 0), m(size_t(H), 0), gates(size_t(G * H), 0),
          u(size_t(H), 0);
      for (int j = 0; j < H && cx; ++j) c[size_t(j)] = load(cx, r.type, state * H + j);
      for (int k = 0; k < x.lengths[size_t(s)]; ++k) {
        const int64_t row = x.row(run.step(d, s, k), s);
        for (int j = 0; j < H; ++j) {
          double a[4] = {}, b[4] = {};
          for (int g = 0; g < G; ++g) {
            a[g] = w.bias(d, g, j);
            b[g] = w.bias(d, G + g, j);
            for (int i = 0; i < r.in; ++i)
              a[g] += w.at(d, g, j, i) * load(px, r.type, row * r.in + i);
            for (int i = 0; i < P; ++i)
              b[g] += w.at(d, G + g, j, i) * run.before(d, s, k, i, py, hx);
          }
          double* const g = &gates[size_t(j * G)];
          double& cell = c[size_t(j)];
          if (r.cell == RnnCell::Lstm) {
            g[0] = sigmoid(a[0] + b[0]);
            g[1] = sigmoid(a[1] + b[1]);
            g[2] = std::tanh(a[2] + b[2]);
            g[3] = sigmoid(a[3] + b[3]);
            cell = g[1] * cell + g[0] * g[2];
            m[size_t(j)] = g[3] * std::tanh(cell);
          } else if (r.cell == RnnCell::Gru) {
            g[0] = sigmoid(a[0] + b[0]);
            g[1] = sigmoid(a[1] + b[1]);
            u[size_t(j)] = b[2];
            g[2] = std::tanh(a[2] + g[0] * b[2]);
            m[size_t(j)] = (1 - g[1]) * g[2] + g[1] * run.before(d, s, k, j, py, hx);
          } else {
            const double sum = a[0] + b[0];
            m[size_t(j)] = g[0] = r.cell == RnnCell::Tanh ? std::tanh(sum) : std::max(sum, 0.0);
          }
        }
        for (int i = 0; i < P; ++i) {
          double v = r.projects() ? 0 : m[size_t(i)];
          for (int j = 0; j < H && r.projects(); ++j) v += w.at(d, 2 * G, i, j) * m[size_t(j)];
          store(py, r.type, row * r.directions * P + int64_t(d) * P + i, v);
          if (hy && k + 1 == x.lengths[size_t(s)]) store(hy, r.type, state * P + i, v);
        }
        if (!reserve) continue;
        double* const to = kept.at(x, d, row);
        std::copy(gates.begin(), gates.end(), to);
        std::copy(u.begin(), u.end(), to + G * H);
        std::copy(c.begin(), c.end(), to + (G + 1) * H);
        std::copy(m.begin(), m.end(), to + (G + 2) * H);
      }
      for (int j = 0; j < H && cy; ++j) store(cy, r.type, state * H + j, c[size_t(j)]);
    }
  }
  if (reserve) kept.stage() = kFresh;
}

/// Gates in the reserve become the gradients of the input's sums; U h that of a GRU's last hidden
/// sum.
void backward(const RnnObject& r, const RnnDataObject& x, const void* py, const void* pdy,
              void* pdx, const void* hx, const void* dhy, void* dhx, const void* cx,
              const void* dcy, void* dcx, const void* weights, char* reserve) {
  const Run run{r, x};
  const Weights w{r, weights};
  const Reserve kept{r, reserve};
  expect(kept.stage() == kFresh, "a gradient of the data without its forward call's reserve");
  const int G = r.gates(), H = r.hidden, P = r.out;
  std::vector<double> dx(size_t(x.rows() * r.in), 0);
  for (int d = 0; d < r.directions; ++d) {
    for (int s = 0; s < x.batch; ++s) {
      const int64_t state = int64_t(d) * x.batch + s;
      std::vector<double> dh(size_t(P), 0), dc(size_t(H), 0);
      for (int i = 0; i < P && dhy; ++i) dh[size_t(i)] = load(dhy, r.type, state * P + i);
      for (int j = 0; j < H && dcy; ++j) dc[size_t(j)] = load(dcy, r.type, state * H + j);
      for (int k = x.lengths[size_t(s)] - 1; k >= 0; --k) {
        const int64_t row = x.row(run.step(d, s, k), s);
        double* const at = kept.at(x, d, row);
        double* const cell = at + (G + 1) * H;
        double* const projected = at + (G + 3) * H;
        for (int i = 0; i < P; ++i) {
          dh[size_t(i)] += load(pdy, r.type, row * r.directions * P + int64_t(d) * P + i);
          projected[i] = dh[size_t(i)];
        }
        std::vector<double> next(size_t(P), 0);
        for (int j = 0; j < H; ++j) {
          double dm = r.projects() ? 0 : dh[size_t(j)];
          for (int i = 0; i < P && r.projects(); ++i) dm += w.at(d, 2 * G, i, j) * dh[size_t(i)];
          double* const g = at + j * G;
          if (r.cell == RnnCell::Lstm) {
            double old = cx ? load(cx, r.type, state * H + j) : 0;
            if (k > 0) old = kept.at(x, d, x.row(run.step(d, s, k - 1), s))[(G + 1) * H + j];
            const double t = std::tanh(cell[j]), of_c = dc[size_t(j)] + dm * g[3] * (1 - t * t);
            const double grads[] = {of_c * g[2] * g[0] * (1 - g[0]), of_c * old * g[1] * (1 - g[1]),
                                    of_c * g[0] * (1 - g[2] * g[2]), dm * t * g[3] * (1 - g[3])};
            dc[size_t(j)] = of_c * g[1];
            std::copy(grads, grads + 4, g);
          } else if (r.cell == RnnCell::Gru) {
            const double old = run.before(d, s, k, j, py, hx), u = at[G * H + j];
            const double of_n = dm * (1 - g[1]) * (1 - g[2] * g[2]);
            const double grads[] = {of_n * u * g[0] * (1 - g[0]),
                                    dm * (old - g[2]) * g[1] * (1 - g[1]), of_n};
            at[G * H + j] = of_n * g[0];
            next[size_t(j)] += dm * g[1];
            std::copy(grads, grads + 3, g);
          } else {
            g[0] = r.cell == RnnCell::Tanh ? dm * (1 - g[0] * g[0]) : g[0] > 0 ? dm : 0;
          }
        }
        for (int j = 0; j < H; ++j) {
          for (int g = 0; g < G; ++g) {
            const double of_x = at[j * G + g];
            const double of_h = r.cell == RnnCell::Gru && g == 2 ? at[G * H + j] : of_x;
            for (int i = 0; i < r.in; ++i) dx[size_t(row * r.in + i)] += of_x * w.at(d, g, j, i);
            for (int i = 0; i < P; ++i) next[size_t(i)] += of_h * w.at(d, G + g, j, i);
          }
        }
        dh = next;
      }
      for (int i = 0; i < P && dhx; ++i) store(dhx, r.type, state * P + i, dh[size_t(i)]);
      for (int j = 0; j < H && dcx; ++j) store(dcx, r.type, state * H + j, dc[size_t(j)]);
    }
  }
  for (size_t i = 0; i < dx.size(); ++i) store(pdx, r.type, int64_t(i), dx[i]);
  kept.stage() = kWithGradients;
}

void backward_weights(const RnnObject& r, const RnnDataObject& x, const void* px, const void* py,
                      const void* hx, void* gradients, char* reserve) {
  const Run run{r, x};
  const Reserve kept{r, reserve};
  expect(kept.stage() == kWithGradients, "a gradient of the weights before that of the data");
  const int G = r.gates(), H = r.hidden, P = r.out;
  const auto add = [&](int64_t at, double v) {
    store(gradients, r.type, at, load(gradients, r.type, at) + v);
  };
  for (int d = 0; d < r.directions; ++d) {
    for (int s = 0; s < x.batch; ++s) {
      for (int k = 0; k < x.lengths[size_t(s)]; ++k) {
        const int64_t row = x.row(run.step(d, s, k), s);
        const double* const at = kept.at(x, d, row);
        for (int j = 0; j < H; ++j) {
          for (int g = 0; g < G; ++g) {
            const double of_x = at[j * G + g];
            const double of_h = r.cell == RnnCell::Gru && g == 2 ? at[G * H + j] : of_x;
            for (int i = 0; i < r.in; ++i)
              add(r.place(d, g) + int64_t(j) * r.in + i, of_x * load(px, r.type, row * r.in + i));
            for (int i = 0; i < P; ++i)
              add(r.place(d, G + g) + int64_t(j) * P + i, of_h * run.before(d, s, k, i, py, hx));
            add(r.place(d, r.matrices() + g) + j, of_x);
            add(r.place(d, r.matrices() + G + g) + j, of_h);
          }
          for (int i = 0; i < P && r.projects(); ++i)
            add(r.place(d, 2 * G) + int64_t(i) * H + j, at[(G + 3) * H + i] * at[(G + 2) * H + j]);
        }
      }
    }
  }
}

}  // namespace

// ---- descriptors ----

Status cudnnCreateDropoutDescriptor(DropoutDesc* d) {
  *d = new DropoutObject;
  return Status::Success;
}
Status cudnnSetDropoutDescriptor(DropoutDesc d, Handle h, float share, void* states, size_t bytes,
                                 Seed) {
  if (!h || share != 0 || states || bytes) return kBadParam;
  d->is_set = true;
  return Status::Success;
}
Status cudnnDestroyDropoutDescriptor(DropoutDesc d) {
  delete d;
  return Status::Success;
}
Status cudnnCreateRNNDescriptor(RnnDesc* d) {
  *d = new RnnObject;
  return Status::Success;
}
Status cudnnSetRNNDescriptor_v8(RnnDesc d, RnnAlgorithm algorithm, RnnCell cell, RnnBias bias,
                                RnnDirections directions, RnnInput input, Data type, Data compute,
                                Math math, int32_t in, int32_t hidden, int32_t out, int32_t layers,
                                DropoutDesc dropout, uint32_t flags) {
  if (input != RnnInput::Linear || bias != RnnBias::Double || layers != 1 || !dropout ||
      !dropout->is_set || in < 1 || hidden < 1 || out < 1 || out > hidden ||
      (out != hidden && cell != RnnCell::Lstm) || compute != type ||
      (type != Data::Float && type != Data::Double) || flags > kRnnPadded ||
      (math == Math::Fma ? type != Data::Float : math != Math::Default))
    return kBadParam;
  if (algorithm == RnnAlgorithm::PersistentSmall && (type == Data::Double || out != hidden))
    return Status::NotSupported;
  *d = {algorithm, cell, directions == RnnDirections::Two ? 2 : 1, in, hidden, out, type,
        math,      flags};
  return Status::Success;
}
Status cudnnDestroyRNNDescriptor(RnnDesc d) {
  delete d;
  return Status::Success;
}
Status cudnnCreateRNNDataDescriptor(RnnDataDesc* d) {
  *d = new RnnDataObject;
  return Status::Success;
}
Status cudnnSetRNNDataDescriptor(RnnDataDesc d, Data type, RnnLayout layout, int steps, int batch,
                                 int width, const int* lengths, void* padding) {
  if (steps < 1 || batch < 1 || width < 1 || padding) return kBadParam;
  *d = {type, layout, steps, batch, width, {lengths, lengths + batch}};
  return Status::Success;
}
Status cudnnDestroyRNNDataDescriptor(RnnDataDesc d) {
  delete d;
  return Status::Success;
}

// ---- sizes ----

Status cudnnGetRNNTempSpaceSizes(Handle, RnnDesc r, RnnUse use, RnnDataDesc x, size_t* space,
                                 size_t* reserve) {
  if (!fits(*r, *x)) return kBadParam;
  if (mode_is("none")) return Status::NotSupported;
  *space = std::max(workspace_of(*r, use, false), workspace_of(*r, use, true));
  if (reserve) *reserve = use == RnnUse::Training ? Reserve{*r, nullptr}.bytes(*x) : 0;
  return Status::Success;
}
Status cudnnGetRNNWeightSpaceSize(Handle, RnnDesc r, size_t* bytes) {
  *bytes = size_t(r->weights()) * size_of(r->type);
  return Status::Success;
}
Status cudnnGetRNNWeightParams(Handle, RnnDesc r, int32_t layer, size_t bytes, const void* block,
                               int32_t id, TensorDesc m, void** pm, TensorDesc b, void** pb) {
  if (layer < 0 || layer >= r->directions || !block || !m || !b || id < 0 ||
      bytes != size_t(r->weights()) * size_of(r->type))
    return kBadParam;
  char* const p = static_cast<char*>(const_cast<void*>(block));
  const auto at = [&](int64_t i) { return p + i * int64_t(size_of(r->type)); };
  *pm = *pb = nullptr;
  if (id < r->matrices()) {
    *m = {r->type, {1, r->rows_of(id), r->columns_of(id)}, {1, r->columns_of(id), 1}};
    *pm = at(r->place(layer, id));
  }
  if (id < 2 * r->gates()) {
    *b = {r->type, {1, r->hidden, 1}, {r->hidden, 1, 1}};
    *pb = at(r->place(layer, r->matrices() + id));
  }
  return Status::Success;
}

// ---- calls ----

Status cudnnRNNForward(Handle handle, RnnDesc r, RnnUse use, const int32_t* lengths, RnnDataDesc x,
                       const void* px, RnnDataDesc y, void* py, TensorDesc h, const void* hx,
                       void* hy, TensorDesc c, const void* cx, void* cy, size_t weight_bytes,
                       const void* weights, size_t bytes, void* space, size_t reserve_bytes,
                       void* reserve) {
  log_call("forward", *r, *x, int(use));
  const Status s = check_call(*r, *x, *y, h, c, lengths, weight_bytes, weights);
  if (s != Status::Success) return s;
  const bool trains = use == RnnUse::Training;
  if (!px || !py || !is_block(space, bytes, workspace_of(*r, use, false)) ||
      !is_block(reserve, reserve_bytes, trains ? Reserve{*r, nullptr}.bytes(*x) : 0) ||
      (!trains && reserve) || ((cx || cy) && !c))
    return kBadParam;
  on_device(handle, [=, r = *r, x = *x] {
    std::memset(space, 0x11, bytes);
    if (trains) std::memset(reserve, 0x22, reserve_bytes);
    forward(r, x, px, py, hx, hy, cx, cy, weights, static_cast<char*>(reserve));
  });
  return Status::Success;
}

Status cudnnRNNBackwardData_v8(Handle handle, RnnDesc r, const int32_t* lengths, RnnDataDesc y,
                               const void* py, const void* dy, RnnDataDesc x, void* dx,
                               TensorDesc h, const void* hx, const void* dhy, void* dhx,
                               TensorDesc c, const void* cx, const void* dcy, void* dcx,
                               size_t weight_bytes, const void* weights, size_t bytes, void* space,
                               size_t reserve_bytes, void* reserve) {
  log_call("data", *r, *x, int(RnnUse::Training));
  const Status s = check_call(*r, *x, *y, h, c, lengths, weight_bytes, weights);
  if (s != Status::Success) return s;
  if (!py || !dy || !dx || !is_block(space, bytes, workspace_of(*r, RnnUse::Training, true)) ||
      !is_block(reserve, reserve_bytes, Reserve{*r, nullptr}.bytes(*x)) ||
      ((cx || dcy || dcx) && !c))
    return kBadParam;
  on_device(handle, [=, r = *r, x = *x] {
    std::memset(space, 0x11, bytes);
    backward(r, x, py, dy, dx, hx, dhy, dhx, cx, dcy, dcx, weights, static_cast<char*>(reserve));
  });
  return Status::Success;
}

Status cudnnRNNBackwardWeights_v8(Handle handle, RnnDesc r, RnnGradient mode,
                                  const int32_t* lengths, RnnDataDesc x, const void* px,
                                  TensorDesc h, const void* hx, RnnDataDesc y, const void* py,
                                  size_t weight_bytes, void* gradients, size_t bytes, void* space,
                                  size_t reserve_bytes, void* reserve) {
  log_call("weights", *r, *x, int(RnnUse::Training));
  const Status s = check_call(*r, *x, *y, h, nullptr, lengths, weight_bytes, gradients);
  if (s != Status::Success) return s;
  if (mode != RnnGradient::Add || !px || !py ||
      !is_block(space, bytes, workspace_of(*r, RnnUse::Training, true)) ||
      !is_block(reserve, reserve_bytes, Reserve{*r, nullptr}.bytes(*x)))
    return kBadParam;
  on_device(handle, [=, r = *r, x = *x] {
    std::memset(space, 0x11, bytes);
    backward_weights(r, x, px, py, hx, gradients, static_cast<char*>(reserve));
  });
  return Status::Success;
}
