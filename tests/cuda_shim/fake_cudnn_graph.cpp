// SPDX-License-Identifier: Apache-2.0
// Graphs of operations in the stand-in for cuDNN (fake_cudnn.cpp): descriptors take the attributes
// that they have, of their kinds and counts, in the right order; a plan runs its operations one
// after the other on tensors of any strides, in plain loops.
// Heuristics offer two plans, of which the first can't be made. FAKE_CUDNN=none: no plans;
// =refuse: plans refuse when they run; =fail: they fail. The log gets a line for each plan and run.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "cuda/cudnn_graph.h"
#include "fake_cudnn.h"

using namespace fake;

namespace {

enum : int {
  kNullPointer = 2002,
  kMisaligned = 2003,
  kNotFinalized = 2004,
  kOutOfBound = 2005,
  kWrongCount = 2006,
  kWrongShape = 2008,
  kDuplicate = 2009,
  kWrongKind = 2010,
  kWrongDescriptor = 2012,
};
Status bad(int code, const char* why) {
  log("error %d: %s\n", code, why);
  return static_cast<Status>(code);
}

// ---- which attributes there are ----

struct Rule {
  DescriptorType of;
  Attribute name;
  ValueKind kind;
  int64_t least, most;
  bool required;
  int descriptor = -1;  // of which type
};
using D = DescriptorType;
using A = Attribute;
using K = ValueKind;
constexpr int of(D d) { return int(d); }
const Rule kRules[] = {
    {D::Tensor, A::TensorType, K::Type, 1, 1, true},
    {D::Tensor, A::TensorSizes, K::Int64, 1, 8, true},
    {D::Tensor, A::TensorStrides, K::Int64, 1, 8, true},
    {D::Tensor, A::TensorId, K::Int64, 1, 1, true},
    {D::Tensor, A::TensorAlignment, K::Int64, 1, 1, true},
    {D::Tensor, A::TensorIsVirtual, K::Boolean, 1, 1, false},
    {D::Tensor, A::TensorIsByValue, K::Boolean, 1, 1, false},
    {D::Pointwise, A::PointwiseMode, K::Pointwise, 1, 1, true},
    {D::Pointwise, A::PointwiseCompute, K::Type, 1, 1, true},
    {D::Pointwise, A::PointwiseAxis, K::Int64, 1, 1, false},
    {D::Matmul, A::MatmulCompute, K::Type, 1, 1, true},
    {D::Reduction, A::ReductionCompute, K::Type, 1, 1, true},
    {D::Reduction, A::ReductionOperator, K::Reduction, 1, 1, true},
    {D::OperationPointwise, A::OpPointwise, K::Descriptor, 1, 1, true, of(D::Pointwise)},
    {D::OperationPointwise, A::OpPointwiseX, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationPointwise, A::OpPointwiseB, K::Descriptor, 1, 1, false, of(D::Tensor)},
    {D::OperationPointwise, A::OpPointwiseT, K::Descriptor, 1, 1, false, of(D::Tensor)},
    {D::OperationPointwise, A::OpPointwiseY, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationMatmul, A::OpMatmul, K::Descriptor, 1, 1, true, of(D::Matmul)},
    {D::OperationMatmul, A::OpMatmulA, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationMatmul, A::OpMatmulB, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationMatmul, A::OpMatmulC, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationReduction, A::OpReduction, K::Descriptor, 1, 1, true, of(D::Reduction)},
    {D::OperationReduction, A::OpReductionX, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationReduction, A::OpReductionY, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationReshape, A::OpReshapeX, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationReshape, A::OpReshapeY, K::Descriptor, 1, 1, true, of(D::Tensor)},
    {D::OperationGraph, A::GraphHandle, K::Handle, 1, 1, true},
    {D::OperationGraph, A::GraphOperations, K::Descriptor, 1, 100, true},
    {D::EngineHeuristics, A::HeuristicsGraph, K::Descriptor, 1, 1, true, of(D::OperationGraph)},
    {D::EngineHeuristics, A::HeuristicsMode, K::Heuristic, 1, 1, true},
    {D::ExecutionPlan, A::PlanHandle, K::Handle, 1, 1, true},
    {D::ExecutionPlan, A::PlanEngineConfig, K::Descriptor, 1, 1, true, of(D::EngineConfig)},
    {D::VariantPack, A::PackIds, K::Int64, 1, 100, true},
    {D::VariantPack, A::PackPointers, K::Pointer, 1, 100, true},
    {D::VariantPack, A::PackWorkspace, K::Pointer, 1, 1, true},
};
const Rule* rule_of(D type, A name) {
  for (const Rule& r : kRules) {
    if (r.of == type && r.name == name) return &r;
  }
  return nullptr;
}
size_t size_of(K kind) {
  return kind == K::Boolean || kind == K::Char                                                  ? 1
         : kind == K::Handle || kind == K::Int64 || kind == K::Pointer || kind == K::Descriptor ? 8
                                                                                                : 4;
}

// ---- descriptors ----

struct Thing {
  D type;
  bool final = false;
  std::map<A, std::vector<char>> values;
  // Of engine configurations and plans: whose.
  const Thing* graph = nullptr;
  bool good = true;

  bool has(A a) const { return values.count(a) != 0; }
  template <class T>
  std::vector<T> all(A a) const {
    const auto at = values.find(a);
    if (at == values.end()) return {};
    std::vector<T> v(at->second.size() / sizeof(T));
    std::memcpy(v.data(), at->second.data(), v.size() * sizeof(T));
    return v;
  }
  template <class T>
  T one(A a, T value = {}) const {
    const auto at = values.find(a);
    if (at != values.end()) std::memcpy(&value, at->second.data(), sizeof(T));
    return value;
  }
  const Thing* at(A a) const { return static_cast<const Thing*>(one<void*>(a)); }
};

using Index = std::vector<int64_t>;

int64_t count(const Index& sizes) {
  int64_t n = 1;
  for (const int64_t s : sizes) n *= s;
  return n;
}
/// Calls f(index) for each place of a tensor, in the order of its sizes.
void each(const Index& sizes, const std::function<void(const Index&)>& f) {
  Index at(sizes.size(), 0);
  for (int64_t n = count(sizes); n > 0; --n) {
    f(at);
    for (size_t d = sizes.size(); d-- > 0;) {
      if (++at[d] < sizes[d]) break;
      at[d] = 0;
    }
  }
}
int64_t offset(const Index& at, const Index& strides) {
  int64_t o = 0;
  for (size_t d = 0; d < at.size(); ++d) o += at[d] * strides[d];
  return o;
}

/// What an operation says of a tensor.
struct TensorView {
  const Thing* thing;
  Index sizes, strides;
  Data type;
  int64_t id, alignment;
  bool passing, by_value;
  explicit TensorView(const Thing* t)
      : thing(t),
        sizes(t->all<int64_t>(A::TensorSizes)),
        strides(t->all<int64_t>(A::TensorStrides)),
        type(t->one<Data>(A::TensorType)),
        id(t->one<int64_t>(A::TensorId)),
        alignment(t->one<int64_t>(A::TensorAlignment)),
        passing(t->one<bool>(A::TensorIsVirtual)),
        by_value(t->one<bool>(A::TensorIsByValue)) {}
};

Status finalize_tensor(const Thing& t) {
  const TensorView v(&t);
  if (v.sizes.size() != v.strides.size()) return bad(kWrongShape, "sizes and strides");
  for (size_t d = 0; d < v.sizes.size(); ++d) {
    if (v.sizes[d] < 1 || v.strides[d] < 1) return bad(kOutOfBound, "a size or stride");
  }
  if (v.alignment < 1 || (v.alignment & (v.alignment - 1)) != 0) return bad(2000, "an alignment");
  if (v.passing && v.by_value) return bad(2000, "a virtual tensor by value");
  if (v.by_value && count(v.sizes) != 1) return bad(kWrongShape, "a number has one element");
  return Status::Success;
}

// ---- operations ----

struct Mode {
  Pointwise mode;
  const char* name;
  int inputs;
  double (*compute)(double, double, double);
};
const Mode kModes[] = {
    {Pointwise::Add, "add", 2, [](double x, double b, double) { return x + b; }},
    {Pointwise::Mul, "mul", 2, [](double x, double b, double) { return x * b; }},
    {Pointwise::Div, "div", 2, [](double x, double b, double) { return x / b; }},
    {Pointwise::Sub, "sub", 2, [](double x, double b, double) { return x - b; }},
    {Pointwise::Exp, "exp", 1, [](double x, double, double) { return std::exp(x); }},
    {Pointwise::Log, "log", 1, [](double x, double, double) { return std::log(x); }},
    {Pointwise::Identity, "identity", 1, [](double x, double, double) { return x; }},
    {Pointwise::Index, "index", 1, nullptr},
    {Pointwise::IsGreaterOrEqual, "ge", 2,
     [](double x, double b, double) { return double(x >= b); }},
    {Pointwise::Select, "select", 3, [](double x, double b, double t) { return t != 0 ? x : b; }},
};
const Mode* mode_of(const Thing& op) {
  const auto wanted = op.at(A::OpPointwise)->one<Pointwise>(A::PointwiseMode);
  for (const Mode& m : kModes) {
    if (m.mode == wanted) return &m;
  }
  return nullptr;
}

/// x can be read where y is: each axis has the same size, or one element.
bool broadcasts(const Index& x, const Index& y) {
  if (x.size() != y.size()) return false;
  for (size_t d = 0; d < x.size(); ++d) {
    if (x[d] != y[d] && x[d] != 1) return false;
  }
  return true;
}
bool divides(const Index& small, const Index& large) {
  if (small.size() != large.size()) return false;
  for (size_t d = 0; d < small.size(); ++d) {
    if (large[d] % small[d] != 0) return false;
  }
  return true;
}

struct Operation {
  std::string name;
  std::vector<const Thing*> reads;
  const Thing* writes;
  explicit Operation(const Thing& op) {
    switch (op.type) {
      case D::OperationPointwise:
        name = mode_of(op)->name;
        reads = {op.at(A::OpPointwiseX)};
        if (op.has(A::OpPointwiseB)) reads.push_back(op.at(A::OpPointwiseB));
        if (op.has(A::OpPointwiseT)) reads.push_back(op.at(A::OpPointwiseT));
        writes = op.at(A::OpPointwiseY);
        break;
      case D::OperationMatmul:
        name = "matmul";
        reads = {op.at(A::OpMatmulA), op.at(A::OpMatmulB)};
        writes = op.at(A::OpMatmulC);
        break;
      case D::OperationReduction:
        name = "reduce";
        reads = {op.at(A::OpReductionX)};
        writes = op.at(A::OpReductionY);
        break;
      default:
        name = "reshape";
        reads = {op.at(A::OpReshapeX)};
        writes = op.at(A::OpReshapeY);
    }
  }
};

bool is_operation(D type) {
  return type == D::OperationPointwise || type == D::OperationMatmul ||
         type == D::OperationReduction || type == D::OperationReshape;
}

Status finalize_operation(const Thing& t) {
  if (t.type == D::OperationPointwise) {
    const Mode* m = mode_of(t);
    if (!m) return bad(2000, "no such mode");
    const bool index = m->mode == Pointwise::Index;
    if (t.at(A::OpPointwise)->has(A::PointwiseAxis) != index) return bad(2000, "an axis");
    if (t.has(A::OpPointwiseB) != (m->inputs > 1) || t.has(A::OpPointwiseT) != (m->inputs > 2)) {
      return bad(2000, "operands of a mode");
    }
  }
  const Operation op(t);
  const TensorView y(op.writes);
  if (y.by_value) return bad(2000, "a number is written");
  std::vector<TensorView> x;
  for (const Thing* r : op.reads) x.emplace_back(r);
  switch (t.type) {
    case D::OperationPointwise:
      for (const TensorView& v : x) {
        if (!broadcasts(v.sizes, y.sizes)) return bad(kWrongShape, "operands don't broadcast");
      }
      return Status::Success;
    case D::OperationMatmul: {
      if (x[0].sizes.size() < 3 || x[0].sizes.size() != x[1].sizes.size() ||
          x[0].sizes.size() != y.sizes.size()) {
        return bad(kWrongShape, "axes of a product");
      }
      const size_t n = y.sizes.size();
      const Index batch(y.sizes.begin(), y.sizes.end() - 2);
      const Index of_a(x[0].sizes.begin(), x[0].sizes.end() - 2);
      const Index of_b(x[1].sizes.begin(), x[1].sizes.end() - 2);
      const bool fits =
          of_a == batch && divides(of_b, batch) && x[0].sizes[n - 2] == y.sizes[n - 2] &&
          x[1].sizes[n - 1] == y.sizes[n - 1] && x[0].sizes[n - 1] == x[1].sizes[n - 2];
      return fits ? Status::Success : bad(kWrongShape, "sizes of a product");
    }
    case D::OperationReduction:
      return divides(y.sizes, x[0].sizes) ? Status::Success : bad(kWrongShape, "a reduction");
    default:
      return count(x[0].sizes) == count(y.sizes) ? Status::Success : bad(kWrongShape, "a reshape");
  }
}

/// Tensors that pass are written once, before they are read, and read; ids are no tensor's twice.
Status finalize_graph(const Thing& g) {
  std::map<int64_t, const Thing*> known;
  std::map<const Thing*, int> written, read;
  const auto meet = [&](const Thing* t) {
    const auto [at, fresh] = known.emplace(TensorView(t).id, t);
    return fresh || at->second == t;
  };
  for (void* p : g.all<void*>(A::GraphOperations)) {
    const auto* t = static_cast<const Thing*>(p);
    if (!is_operation(t->type)) return bad(kWrongDescriptor, "a graph is of operations");
    const Operation op(*t);
    for (const Thing* r : op.reads) {
      if (!meet(r)) return bad(kDuplicate, "an id of two tensors");
      if (TensorView(r).passing && !written[r]) return bad(2000, "read before it is written");
      ++read[r];
    }
    if (!meet(op.writes)) return bad(kDuplicate, "an id of two tensors");
    if (written[op.writes]++) return bad(2000, "written twice");
  }
  for (const auto& [t, n] : written) {
    if (TensorView(t).passing && !read[t]) return bad(2000, "a virtual tensor is not read");
  }
  return Status::Success;
}

// ---- running ----

class Run {
 public:
  explicit Run(const Thing& graph) : graph_(graph) {}

  Status bind(const Thing& pack) {
    const auto ids = pack.all<int64_t>(A::PackIds);
    const auto pointers = pack.all<void*>(A::PackPointers);
    if (ids.size() != pointers.size()) return bad(kWrongCount, "ids and pointers");
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!pointers[i]) return bad(kNullPointer, "a pointer");
      if (!bound_.emplace(ids[i], static_cast<char*>(pointers[i])).second) {
        return bad(kDuplicate, "an id twice");
      }
    }
    for (void* p : graph_.all<void*>(A::GraphOperations)) {
      const Operation op(*static_cast<const Thing*>(p));
      auto tensors = op.reads;
      tensors.push_back(op.writes);
      for (const Thing* t : tensors) {
        const TensorView v(t);
        if (v.passing) continue;
        const auto at = bound_.find(v.id);
        if (at == bound_.end()) return bad(2000, "a tensor without a pointer");
        used_[v.id] = true;
        if (v.by_value) passing_[v.id] = {load(at->second, v.type, 0)};  // the host's: read now
        if (!v.by_value && reinterpret_cast<uintptr_t>(at->second) % uintptr_t(v.alignment) != 0) {
          return bad(kMisaligned, "a pointer");
        }
      }
    }
    return used_.size() == bound_.size() ? Status::Success : bad(2000, "a pointer of no tensor");
  }

  void compute() {
    for (void* p : graph_.all<void*>(A::GraphOperations)) step(*static_cast<const Thing*>(p));
  }

 private:
  /// Values in the order of the sizes.
  std::vector<double> values_of(const TensorView& v) const {
    if (v.passing || v.by_value) return passing_.at(v.id);
    std::vector<double> values;
    const char* const from = bound_.at(v.id);
    each(v.sizes,
         [&](const Index& at) { values.push_back(load(from, v.type, offset(at, v.strides))); });
    return values;
  }
  void put(const TensorView& v, std::vector<double> values) {
    size_t i = 0;
    if (v.passing) {
      const bool narrow = v.type == Data::Half || v.type == Data::BFloat16;
      double wide;
      for (double& x : values) {
        if (v.type == Data::Float) x = double(float(x));
        if (!narrow) continue;
        store(&wide, v.type, 0, x);
        x = load(&wide, v.type, 0);
      }
      passing_[v.id] = std::move(values);
      return;
    }
    char* const to = bound_.at(v.id);
    each(v.sizes, [&](const Index& at) { store(to, v.type, offset(at, v.strides), values[i++]); });
  }
  static Index strides_of(const Index& sizes) {
    Index s(sizes.size(), 1);
    for (size_t d = sizes.size() - 1; d-- > 0;) s[d] = s[d + 1] * sizes[d + 1];
    return s;
  }

  void step(const Thing& t) {
    const Operation op(t);
    const TensorView y(op.writes);
    std::vector<TensorView> views;
    std::vector<std::vector<double>> x;
    for (const Thing* r : op.reads) {
      views.emplace_back(r);
      x.push_back(values_of(views.back()));
    }
    std::vector<double> out(size_t(count(y.sizes)), 0.0);
    const Index packed = strides_of(y.sizes);
    const auto in = [&](size_t k, Index at) {
      for (size_t d = 0; d < at.size(); ++d) at[d] = at[d] * views[k].sizes[d] / y.sizes[d];
      return x[k][size_t(offset(at, strides_of(views[k].sizes)))];
    };
    switch (t.type) {
      case D::OperationPointwise: {
        const Mode& m = *mode_of(t);
        const auto axis = size_t(t.at(A::OpPointwise)->one<int64_t>(A::PointwiseAxis));
        each(y.sizes, [&](const Index& at) {
          double& to = out[size_t(offset(at, packed))];
          to = m.compute ? m.compute(in(0, at), x.size() > 1 ? in(1, at) : 0,
                                     x.size() > 2 ? in(2, at) : 0)
                         : double(at[axis]);
        });
        break;
      }
      case D::OperationMatmul: {
        const size_t n = y.sizes.size();
        const int64_t depth = views[0].sizes[n - 1];
        const Index of_a = strides_of(views[0].sizes), of_b = strides_of(views[1].sizes);
        each(y.sizes, [&](const Index& at) {
          Index a = at, b = at;
          for (size_t d = 0; d + 2 < n; ++d) b[d] = at[d] * views[1].sizes[d] / y.sizes[d];
          double sum = 0;
          for (int64_t k = 0; k < depth; ++k) {
            a[n - 1] = b[n - 2] = k;
            sum += x[0][size_t(offset(a, of_a))] * x[1][size_t(offset(b, of_b))];
          }
          out[size_t(offset(at, packed))] = sum;
        });
        break;
      }
      case D::OperationReduction: {
        const bool max = t.at(A::OpReduction)->one<Reduce>(A::ReductionOperator) == Reduce::Max;
        if (max) std::fill(out.begin(), out.end(), -INFINITY);
        size_t i = 0;
        each(views[0].sizes, [&](Index at) {
          for (size_t d = 0; d < at.size(); ++d) at[d] = at[d] * y.sizes[d] / views[0].sizes[d];
          double& to = out[size_t(offset(at, packed))];
          const double v = x[0][i++];
          to = max ? (v > to || std::isnan(v) ? v : to) : to + v;
        });
        break;
      }
      default: {  // the same memory seen with other sizes and strides
        std::unordered_map<int64_t, double> memory;
        size_t i = 0;
        each(views[0].sizes,
             [&](const Index& at) { memory[offset(at, views[0].strides)] = x[0][i++]; });
        i = 0;
        each(y.sizes, [&](const Index& at) { out[i++] = memory.at(offset(at, y.strides)); });
      }
    }
    put(y, std::move(out));
  }

  const Thing& graph_;
  std::map<int64_t, char*> bound_;
  std::map<int64_t, bool> used_;
  std::map<int64_t, std::vector<double>> passing_;
};

std::string names_of(const Thing& graph) {
  std::string names;
  for (void* p : graph.all<void*>(A::GraphOperations)) {
    names += " " + Operation(*static_cast<const Thing*>(p)).name;
  }
  return names;
}

constexpr int64_t kWorkspace = 1000;

int64_t offered(const Thing& heuristics) {
  if (mode() == "none") return 0;
  return heuristics.one<Heuristic>(A::HeuristicsMode) == Heuristic::A ? 2 : 1;
}

}  // namespace

// ---- the functions ----

Status cudnnBackendCreateDescriptor(DescriptorType type, Descriptor* d) {
  *d = new Thing{type, false, {}, nullptr, true};
  return Status::Success;
}
Status cudnnBackendDestroyDescriptor(Descriptor d) {
  delete static_cast<Thing*>(d);
  return Status::Success;
}

Status cudnnBackendSetAttribute(Descriptor d, Attribute name, ValueKind kind, int64_t n,
                                const void* values) {
  auto* t = static_cast<Thing*>(d);
  const Rule* rule = rule_of(t->type, name);
  if (t->final) return bad(2000, "it is finalized");
  if (!rule) return bad(2000, "there is no such attribute");
  if (rule->kind != kind) return bad(kWrongKind, "an attribute's kind");
  if (n < rule->least || n > rule->most) return bad(kWrongCount, "an attribute's count");
  if (!values) return bad(kNullPointer, "an attribute");
  if (kind == K::Descriptor) {
    for (int64_t i = 0; i < n; ++i) {
      const auto* v = static_cast<Thing* const*>(values)[i];
      if (!v) return bad(kNullPointer, "a descriptor");
      if (!v->final) return bad(kNotFinalized, "a descriptor");
      if (rule->descriptor >= 0 && int(v->type) != rule->descriptor) {
        return bad(kWrongDescriptor, "a descriptor's type");
      }
    }
  }
  if (kind == K::Handle && !*static_cast<Handle const*>(values))
    return bad(kNullPointer, "a handle");
  const auto* bytes = static_cast<const char*>(values);
  t->values[name].assign(bytes, bytes + size_t(n) * size_of(kind));
  return Status::Success;
}

Status cudnnBackendGetAttribute(Descriptor d, Attribute name, ValueKind kind, int64_t most,
                                int64_t* n, void* values) {
  auto* t = static_cast<Thing*>(d);
  if (!t->final) return bad(kNotFinalized, "a descriptor");
  if (t->type == D::ExecutionPlan && name == A::PlanWorkspaceSize) {
    if (kind != K::Int64 || most != 1) return bad(kWrongKind, "the size of a workspace");
    *n = 1;
    *static_cast<int64_t*>(values) = kWorkspace;
    return Status::Success;
  }
  if (t->type != D::EngineHeuristics || name != A::HeuristicsResults || kind != K::Descriptor) {
    return bad(2000, "there is nothing of that name to get");
  }
  *n = offered(*t);
  for (int64_t i = 0; i < most && i < *n; ++i) {
    auto* config = static_cast<Thing**>(values)[i];
    if (!config || config->type != D::EngineConfig)
      return bad(kWrongDescriptor, "a result's place");
    config->graph = t->at(A::HeuristicsGraph);
    config->good = i > 0 || t->one<Heuristic>(A::HeuristicsMode) == Heuristic::Fallback;
    config->final = true;
  }
  return Status::Success;
}

Status cudnnBackendFinalize(Descriptor d) {
  auto* t = static_cast<Thing*>(d);
  if (t->final) return bad(2000, "it is finalized");
  for (const Rule& r : kRules) {
    if (r.of == t->type && r.required && !t->has(r.name))
      return bad(2000, "an attribute is missing");
  }
  Status s = Status::Success;
  if (t->type == D::Tensor) s = finalize_tensor(*t);
  if (is_operation(t->type)) s = finalize_operation(*t);
  if (t->type == D::OperationGraph) s = finalize_graph(*t);
  if (t->type == D::ExecutionPlan) {
    const Thing* config = t->at(A::PlanEngineConfig);
    t->graph = config->graph;
    if (!config->good) return static_cast<Status>(3001);
    log("plan%s\n", names_of(*t->graph).c_str());
  }
  t->final = s == Status::Success;
  return s;
}

Status cudnnBackendExecute(Handle h, Descriptor plan, Descriptor pack) {
  const auto* p = static_cast<const Thing*>(plan);
  const auto* v = static_cast<const Thing*>(pack);
  if (!h || !p || !v || !p->final || !v->final) return bad(kNotFinalized, "a plan or its pack");
  if (p->type != D::ExecutionPlan || v->type != D::VariantPack)
    return bad(kWrongDescriptor, "a plan");
  if (mode() == "fail") return kExecutionFailed;
  if (mode() == "refuse") return Status::NotSupported;
  const auto run = std::make_shared<Run>(*p->graph);
  const Status s = run->bind(*v);
  if (s != Status::Success) return s;
  void* const space = v->one<void*>(A::PackWorkspace);
  if (!space) return bad(kNullPointer, "the workspace");
  log("run%s\n", names_of(*p->graph).c_str());
  on_device(h, [run, space] {
    std::memset(space, 0x11, kWorkspace);
    run->compute();
  });
  return Status::Success;
}
