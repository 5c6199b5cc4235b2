// SPDX-License-Identifier: Apache-2.0
// Several map calls over the same elements as one kernel: `fused_map`, which only captured programs
// have (graph/fused_map.h).
#include <memory>
#include <string>
#include <vector>

#include "core/warning.h"
#include "cuda/fused_kernel.h"
#include "cuda/nvrtc.h"
#include "cuda/values.h"
#include "graph/fused_map.h"

namespace gradstep::cuda {

// Note [Fused maps on a GPU]
// A plan becomes a source that reads its inputs, applies the members' functors one after the other
// in registers and writes the outputs. The functors are those of the separate kernels, from the
// same headers, and values are rounded to their dtype in between, so the bits are the same. The
// source depends on ops and dtypes only: layouts and numbers are arguments, so equal layers of a
// net share one kernel. Where nothing can be compiled the members run by their own kernels.

namespace {

const char* storage_tag(DType t) {
  switch (t) {
    case DType::Float32: return "Float32";
    case DType::Float64: return "Float64";
    case DType::Float16: return "Float16";
    case DType::BFloat16: return "BFloat16Bits";
    case DType::Int64: return "Int64";
    case DType::Int32: return "Int32";
    case DType::Int16: return "Int16";
    case DType::Int8: return "Int8";
    case DType::UInt8: return "UInt8";
    default: return "Bool";
  }
}

const char* compute_name(Compute c) {
  return c == Compute::F32 ? "float" : c == Compute::F64 ? "double" : "int64_t";
}

/// What the copy kernel computes in.
Compute copy_compute(DType to, DType from) {
  if (!is_floating(to) && !is_floating(from)) return Compute::I64;
  return to == DType::Float64 || from == DType::Float64 ? Compute::F64 : Compute::F32;
}

/// "mul" is Functor<"mul">, "silu_grad0" Grad<Functor<"silu">, 0>.
std::string functor_of(std::string name) {
  std::string orders;
  const char* kind = "";
  for (const char* k : {"Grad", "GradGrad"}) {
    const size_t n = name.size();
    if (n < 7 || name.compare(n - 6, 5, "_grad") != 0 || !Op::find(name.substr(0, n - 6))) break;
    orders = format(", {}{}", name[n - 1], orders);
    name.resize(n - 6);
    kind = k;
  }
  const std::string functor = format("Functor<\"{}\">", name);
  return orders.empty() ? functor : format("{}<{}{}>", kind, functor, orders);
}

bool is_named(const Op& op, const char* name) { return std::string_view(op.name) == name; }

struct Compiled {
  std::string source;  // empty: it can't be one
  std::vector<Params::Slot> numbers;
  void* kernel[kMostDevices] = {};

  explicit Compiled(const FusedMap& plan, const Call& call) {
    if (call.n_out + call.n_in > kFusedOperands) return;
    std::string body;
    const auto type = [&](int v) { return storage_tag(plan.values[size_t(v)].dtype); };
    for (size_t v = 0; v < plan.values.size(); ++v) {
      const int load = plan.values[v].load;
      if (load < 0) continue;
      body += format("    const auto v{} = load<{}, W>(a, {}, at);\n", v, type(int(v)),
                     call.n_out + load);
    }
    for (const FusedMap::Member& m : plan.members) {
      const bool copies = is_named(*m.op, "copy"), fills = is_named(*m.op, "fill");
      if (!copies && !fills &&
          !m.op->loops[static_cast<int>(DeviceType::CUDA)][static_cast<int>(m.compute)]) {
        return;
      }
      const Compute compute = copies ? copy_compute(plan.values[size_t(m.out)].dtype,
                                                    plan.values[size_t(m.in[0])].dtype)
                                     : m.compute;
      std::string operands;
      int slot = 0;
      for (int k = 0; k < m.n_in || (fills && k == 0); ++k) {
        if (k > 0) operands += ", ";
        if (k < m.n_in && m.in[k] >= 0) {
          operands += format("v{}", m.in[k]);
        } else {
          operands += format("Number<{}>{a.number[{}]}", compute_name(compute), numbers.size());
          numbers.push_back(m.params.s[slot++]);
        }
      }
      const std::string functor = copies || fills ? "" : ", " + functor_of(m.op->name);
      body += format("    const auto v{} = {}<W, {}, {}{}>({});\n", m.out,
                     copies  ? "copy"
                     : fills ? "fill"
                             : "map",
                     type(m.out), compute_name(compute), functor, operands);
    }
    if (numbers.size() > size_t(kFusedNumbers)) return;
    for (size_t v = 0; v < plan.values.size(); ++v) {
      const int to = plan.values[v].store;
      if (to >= 0) body += format("    store<{}, W>(a, {}, at, v{});\n", type(int(v)), to, v);
    }
    source = format(
        "#include \"cuda/fused_kernel.h\"\n"
        "namespace gradstep::cuda {\n"
        "struct Body {\n"
        "  template <int W>\n"
        "  GS_DEVICE static void run(const FusedArgs& a, const int64_t* at) {\n"
        "{}"
        "  }\n"
        "};\n"
        "}\n"
        "GS_FUSED_KERNEL(fused, Body)\n",
        body);
  }
};

bool is_aligned(const TensorImpl& t) {
  const size_t item = element_size(t.dtype), bytes = kFusedWidth * item;
  return reinterpret_cast<uintptr_t>(t.data) % (bytes < 16 ? bytes : 16) == 0;
}

FusedArgs arguments_of(const Call& call, const Compiled& c) {
  FusedArgs a;
  const TensorImpl* operands[kFusedOperands] = {};
  const int n = call.n_out + call.n_in;
  for (int j = 0; j < n; ++j) operands[j] = call.operands[j];
  a.n = call.out(0).numel;
  a.layout = Layout<kFusedOperands>(call.out(0).sizes, operands);
  const auto& l = a.layout;
  a.flat = l.ndim <= 1;
  a.vector = a.flat || l.sizes[0] % kFusedWidth == 0;
  for (int j = 0; j < kFusedOperands; ++j) {
    a.data[j] = j < n ? operands[j]->data : nullptr;
    a.constant[j] = j >= call.n_out && l.is_constant(j);
    bool in_rows = j < n && is_aligned(*operands[j]) && (l.ndim == 0 || l.strides[j][0] == 1);
    for (int k = 1; k < l.ndim; ++k) in_rows = in_rows && l.strides[j][k] % kFusedWidth == 0;
    a.inner[j] = in_rows;
    a.vector = a.vector &&
               (in_rows || a.constant[j] || (j >= call.n_out && !a.flat && l.strides[j][0] == 0));
  }
  for (size_t k = 0; k < c.numbers.size(); ++k) a.number[k].i = c.numbers[k].i;
  return a;
}

/// Each member by its own kernel; what is not kept goes to memory that lives as long as this.
void run_members(const Call& call, const FusedMap& plan) {
  std::vector<Tensor> made;
  std::vector<TensorImpl*> at;
  const TensorImpl& out = call.out(0);
  for (const FusedMap::Value& v : plan.values) {
    if (v.store >= 0) {
      at.push_back(&call.out(v.store));
    } else if (v.load >= 0) {
      at.push_back(&call.in(v.load));
    } else {
      made.push_back(empty(out.sizes, v.dtype, out.device));
      at.push_back(made.back().get());
    }
  }
  for (const FusedMap::Member& m : plan.members) {
    TensorImpl* operands[kMaxMapOperands + 1] = {at[size_t(m.out)]};
    for (int k = 0; k < m.n_in; ++k) operands[k + 1] = m.in[k] < 0 ? nullptr : at[size_t(m.in[k])];
    run_here({m.op, m.compute, 1, m.n_in, operands, m.params});
  }
}

/// Outputs, then inputs, as the plan in slot 0 numbers them.
void fused_map(const Call& call) {
  const auto& plan = *reinterpret_cast<const FusedMap*>(static_cast<intptr_t>(call.i(0)));
  const int device = call.out(0).device.index;
  const DeviceGuard guard(device);
  if (!plan.compiled) plan.compiled = std::make_shared<Compiled>(plan, call);
  auto& c = *static_cast<Compiled*>(plan.compiled.get());
  void*& kernel = c.kernel[device];
  if (!kernel && !c.source.empty()) kernel = compiled_kernel(c.source, "fused", device);
  if (!kernel) {
    if (!c.source.empty()) {
      warn_once("nvrtc", format("{}: elementwise operations of captured programs run by themselves "
                                "on the GPU in place of fused",
                                why_not_compiled()));
    }
    return run_members(call, plan);
  }
  FusedArgs a = arguments_of(call, c);
  launch_compiled(call, kernel, blocks_for(call, a.n, kFusedThreads, kFusedWidth), kFusedThreads,
                  &a);
}

GS_CUDA_KERNEL("fused_map", fused_map);

}  // namespace

static_assert(kFusedOperands == FusedMap::kMaxValues && kMaxDims == 8);

}  // namespace gradstep::cuda
