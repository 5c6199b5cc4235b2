// SPDX-License-Identifier: Apache-2.0
// Graphs of cuDNN's backend API, which it may run as one kernel:
//   Graph g(api());
//   const auto x = g.memory(1, Data::Half, {2, 3, 4, 8}, {96, 32, 8, 1});
//   g.pointwise(Pointwise::Exp, x, g.memory(2, ...));
//   Plan plan;
//   if (plan.find(g, handle, nullptr) == Status::Success) plan.run(handle, ids, pointers, n,
//   space);
// Host code only; nothing is raised: what fails first stays in status() and failed_in(), and what
// follows does nothing.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "cuda/cudnn.h"

namespace gradstep::cuda::cudnn {

using Four = std::array<int64_t, 4>;

/// The strides of a tensor that lies in memory as its sizes say.
inline Four packed(const Four& sizes) {
  return {sizes[1] * sizes[2] * sizes[3], sizes[2] * sizes[3], sizes[3], 1};
}

/// A descriptor and what has gone wrong with it.
class Object {
 public:
  Object(const Api& api, DescriptorType type) : api_(&api) {
    note(api.BackendCreateDescriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
  }
  Object(Object&& o) noexcept
      : api_(o.api_), descriptor_(o.descriptor_), status_(o.status_), failed_in_(o.failed_in_) {
    o.descriptor_ = nullptr;
  }
  Object& operator=(Object&&) = delete;
  ~Object() {
    if (descriptor_) (void)api_->BackendDestroyDescriptor(descriptor_);
  }

  Object& set(Attribute a, ValueKind kind, int64_t n, const void* values) {
    if (status_ == Status::Success) {
      note(api_->BackendSetAttribute(descriptor_, a, kind, n, values), "cudnnBackendSetAttribute");
    }
    return *this;
  }
  Object& set(Attribute a, Data v) { return set(a, ValueKind::Type, 1, &v); }
  Object& set(Attribute a, bool v) { return set(a, ValueKind::Boolean, 1, &v); }
  Object& set(Attribute a, int64_t v) { return set(a, ValueKind::Int64, 1, &v); }
  Object& set(Attribute a, const Four& v) { return set(a, ValueKind::Int64, 4, v.data()); }
  Object& set(Attribute a, Pointwise v) { return set(a, ValueKind::Pointwise, 1, &v); }
  Object& set(Attribute a, Reduce v) { return set(a, ValueKind::Reduction, 1, &v); }
  Object& set(Attribute a, Heuristic v) { return set(a, ValueKind::Heuristic, 1, &v); }
  Object& set(Attribute a, Handle v) { return set(a, ValueKind::Handle, 1, &v); }
  Object& set(Attribute a, const Object& v) {
    return set(a, ValueKind::Descriptor, 1, &v.descriptor_);
  }
  Object& finish() {
    if (status_ == Status::Success)
      note(api_->BackendFinalize(descriptor_), "cudnnBackendFinalize");
    return *this;
  }

  Status status() const { return status_; }
  const char* failed_in() const { return failed_in_; }
  Descriptor get() const { return descriptor_; }
  const Api& api() const { return *api_; }

 private:
  void note(Status s, const char* function) {
    status_ = s;
    failed_in_ = function;
  }

  const Api* api_;
  Descriptor descriptor_ = nullptr;
  Status status_ = Status::Success;
  const char* failed_in_ = "";
};

/// Tensors of four axes and the operations between them. A tensor that is no memory exists only
/// inside of the kernel.
class Graph {
 public:
  using Tensor = int;  // a number of this graph's
  static constexpr int64_t kAlignment = 16;

  explicit Graph(const Api& api) : graph_(api, DescriptorType::OperationGraph) {}

  /// `id` is what its pointer goes by.
  Tensor memory(int64_t id, Data type, const Four& sizes, const Four& strides) {
    return add(id, type, sizes, strides, false, false);
  }
  /// A number that is given when the graph runs, by a pointer to the host's memory.
  Tensor number(int64_t id, Data type) {
    return add(id, type, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true);
  }
  Tensor passing(Data type, const Four& sizes, const Four& strides) {
    return add(kFirstPassing + int64_t(tensors_.size()), type, sizes, strides, true, false);
  }
  Tensor passing(Data type, const Four& sizes) { return passing(type, sizes, packed(sizes)); }

  /// y = mode(x), mode(x, b) or, for Select, t ? x : b.
  Tensor pointwise(Pointwise mode, Tensor x, Tensor y, Tensor b = -1, Tensor t = -1,
                   Data compute = Data::Float, int64_t axis = -1) {
    Object& how = keep(DescriptorType::Pointwise);
    if (axis >= 0) how.set(Attribute::PointwiseAxis, axis);
    how.set(Attribute::PointwiseMode, mode).set(Attribute::PointwiseCompute, compute).finish();
    Object op(api(), DescriptorType::OperationPointwise);
    op.set(Attribute::OpPointwise, how).set(Attribute::OpPointwiseX, at(x));
    if (b >= 0) op.set(Attribute::OpPointwiseB, at(b));
    if (t >= 0) op.set(Attribute::OpPointwiseT, at(t));
    operation(op.set(Attribute::OpPointwiseY, at(y)));
    return y;
  }
  /// c = a b for the two last axes; the first two of b may be divisors of those of a.
  Tensor matmul(Tensor a, Tensor b, Tensor c) {
    Object& how = keep(DescriptorType::Matmul);
    how.set(Attribute::MatmulCompute, Data::Float).finish();
    Object op(api(), DescriptorType::OperationMatmul);
    operation(op.set(Attribute::OpMatmulA, at(a))
                  .set(Attribute::OpMatmulB, at(b))
                  .set(Attribute::OpMatmulC, at(c))
                  .set(Attribute::OpMatmul, how));
    return c;
  }
  /// Over the axes in which y is smaller than x.
  Tensor reduce(Reduce how_to, Tensor x, Tensor y) {
    Object& how = keep(DescriptorType::Reduction);
    how.set(Attribute::ReductionCompute, Data::Float)
        .set(Attribute::ReductionOperator, how_to)
        .finish();
    Object op(api(), DescriptorType::OperationReduction);
    operation(op.set(Attribute::OpReduction, how)
                  .set(Attribute::OpReductionX, at(x))
                  .set(Attribute::OpReductionY, at(y)));
    return y;
  }
  /// y is x with other sizes and strides.
  Tensor reshape(Tensor x, Tensor y) {
    Object op(api(), DescriptorType::OperationReshape);
    operation(op.set(Attribute::OpReshapeX, at(x)).set(Attribute::OpReshapeY, at(y)));
    return y;
  }

  /// After the last operation. A null handle makes a graph for a device that is not here.
  void finish(Handle handle) {
    if (handle) graph_.set(Attribute::GraphHandle, handle);
    std::vector<Descriptor> all;
    for (const Object& op : operations_) all.push_back(op.get());
    note(
        graph_
            .set(Attribute::GraphOperations, ValueKind::Descriptor, int64_t(all.size()), all.data())
            .finish());
  }
  const Object& object() const { return graph_; }
  const Api& api() const { return graph_.api(); }
  Status status() const { return status_; }
  const char* failed_in() const { return failed_in_; }

 private:
  static constexpr int64_t kFirstPassing = 1000;

  Tensor add(int64_t id, Data type, const Four& sizes, const Four& strides, bool passing,
             bool by_value) {
    Object t(api(), DescriptorType::Tensor);
    t.set(Attribute::TensorType, type)
        .set(Attribute::TensorSizes, sizes)
        .set(Attribute::TensorStrides, strides)
        .set(Attribute::TensorId, id)
        .set(Attribute::TensorAlignment, kAlignment);
    if (passing) t.set(Attribute::TensorIsVirtual, true);
    if (by_value) t.set(Attribute::TensorIsByValue, true);
    note(t.finish());
    tensors_.push_back(std::move(t));
    return Tensor(tensors_.size()) - 1;
  }
  const Object& at(Tensor t) const { return tensors_[size_t(t)]; }
  /// Valid until the next call.
  Object& keep(DescriptorType type) { return details_.emplace_back(api(), type); }
  void operation(Object& op) {
    note(op.finish());
    operations_.push_back(std::move(op));
  }
  void note(const Object& o) {
    if (status_ != Status::Success) return;
    status_ = o.status();
    failed_in_ = o.failed_in();
  }

  Object graph_;
  std::vector<Object> tensors_, details_, operations_;
  Status status_ = Status::Success;
  const char* failed_in_ = "";
};

/// How a graph is run; the graph should live as long.
class Plan {
 public:
  /// The first plan of the heuristics that can be made. NotSupported if there is none. `device`
  /// stands for a GPU that is not here, where handle is null.
  Status find(const Graph& g, Handle handle, const Object* device) {
    if (g.status() != Status::Success) return failed(g.status(), g.failed_in());
    Status last = Status::NotSupported;
    for (const Heuristic mode : {Heuristic::A, Heuristic::Fallback}) {
      configs_ = configs_of(g, mode, device);
      for (const Object& config : configs_) {
        auto plan = std::make_unique<Object>(g.api(), DescriptorType::ExecutionPlan);
        if (handle) plan->set(Attribute::PlanHandle, handle);
        if (device) plan->set(Attribute::PlanDevice, *device);
        plan->set(Attribute::PlanEngineConfig, config).finish();
        last = plan->status();
        failed_in_ = plan->failed_in();
        if (last != Status::Success) continue;
        int64_t n = 0;
        last = g.api().BackendGetAttribute(plan->get(), Attribute::PlanWorkspaceSize,
                                           ValueKind::Int64, 1, &n, &workspace_);
        failed_in_ = "cudnnBackendGetAttribute";
        if (last != Status::Success) continue;
        plan_ = std::move(plan);
        return last;
      }
    }
    return last;
  }
  bool exists() const { return plan_ != nullptr; }
  void forget() { plan_.reset(); }
  /// Bytes that run() needs.
  int64_t workspace() const { return workspace_; }
  const char* failed_in() const { return failed_in_; }

  Status run(Handle handle, const int64_t* ids, void* const* pointers, int64_t n, void* space) {
    Object pack(plan_->api(), DescriptorType::VariantPack);
    pack.set(Attribute::PackPointers, ValueKind::Pointer, n, pointers)
        .set(Attribute::PackIds, ValueKind::Int64, n, ids)
        .set(Attribute::PackWorkspace, ValueKind::Pointer, 1, &space)
        .finish();
    if (pack.status() != Status::Success) return failed(pack.status(), pack.failed_in());
    return failed(plan_->api().BackendExecute(handle, plan_->get(), pack.get()),
                  "cudnnBackendExecute");
  }

 private:
  Status failed(Status s, const char* function) {
    failed_in_ = function;
    return s;
  }

  std::vector<Object> configs_of(const Graph& g, Heuristic mode, const Object* device) {
    std::vector<Object> configs;
    Object all(g.api(), DescriptorType::EngineHeuristics);
    all.set(Attribute::HeuristicsGraph, g.object()).set(Attribute::HeuristicsMode, mode);
    if (device) all.set(Attribute::HeuristicsDevice, *device);
    all.finish();
    failed_in_ = all.failed_in();
    int64_t n = 0;
    if (all.status() != Status::Success ||
        g.api().BackendGetAttribute(all.get(), Attribute::HeuristicsResults, ValueKind::Descriptor,
                                    0, &n, nullptr) != Status::Success) {
      return configs;
    }
    std::vector<Descriptor> results;
    for (int64_t i = 0; i < n; ++i) {
      configs.emplace_back(g.api(), DescriptorType::EngineConfig);
      results.push_back(configs.back().get());
    }
    int64_t found = 0;
    if (n == 0 ||
        g.api().BackendGetAttribute(all.get(), Attribute::HeuristicsResults, ValueKind::Descriptor,
                                    n, &found, results.data()) != Status::Success) {
      found = 0;
    }
    while (int64_t(configs.size()) > found) configs.pop_back();
    return configs;
  }

  std::vector<Object> configs_;
  std::unique_ptr<Object> plan_;
  int64_t workspace_ = 0;
  const char* failed_in_ = "";
};

}  // namespace gradstep::cuda::cudnn
