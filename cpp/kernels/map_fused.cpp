// SPDX-License-Identifier: Apache-2.0
// Several map calls over the same elements as one call: `fused_map`, which only captured programs
// have. A plan (graph/fused_map.h) becomes a list of instructions over chunks that stay in L1; the
// arithmetic is that of the ops' own loops, so the results have the bits of the separate calls.
// Compiled once for each instruction set.
#include "graph/fused_map.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "core/layout.h"
#include "core/threads.h"
#include "kernels/map.h"
#include "kernels/stream.h"

namespace gradstep {
inline namespace GS_ISA {
namespace {

constexpr int64_t kRegisterBytes = 65536;  // of all registers: more than a plan can need
constexpr int64_t kRegistersInL1 = 32768;
constexpr int64_t kFusedGrain = 16384;  // as for a single map

/// Where a chunk lies: in an operand's memory, in a register or among the constants.
struct Spot {
  int16_t operand = -1;
  int16_t reg = -1;
  const char* constant = nullptr;
  DType dtype = DType::Float32;
};

struct Instruction {
  enum Kind : uint8_t { Loop, Convert, Move, Gather, Scatter, Stream } kind = Loop;
  uint8_t n_in = 0;
  MapLoop loop = nullptr;
  ConvertLoop convert = nullptr;
  Spot in[kMaxMapOperands];
  Spot out;
};

struct alignas(64) Constant {
  char data[kChunk * 8];
};

struct Compiled {
  std::vector<Instruction> once;  // what is the same for all chunks
  std::vector<Instruction> body;
  std::vector<Walker> walkers;  // of the operands
  std::vector<std::unique_ptr<Constant>> constants;
  int64_t chunk = kChunk;
  int64_t spacing = 0;  // of the registers; not a power of two, or they would meet in few sets
  bool streamed = false;
};

class Compiler {
 public:
  Compiler(const Call& call, const FusedMap& plan) : call_(call), plan_(plan) {
    const TensorImpl& first = call.out(0);
    int order[kMaxDims];
    order_by_stride(first.strides, order);
    int64_t bytes = 0;
    for (int k = 0; k < call.n_out + call.n_in; ++k) {
      out_.walkers.emplace_back(*call.operands[k], first.sizes, order);
      if (k < call.n_out) bytes = std::max<int64_t>(bytes, first.numel * out_.walkers.back().item);
    }
    out_.streamed = is_streamed(bytes);
    for (int k = 0; k < call.n_out; ++k) {
      for (int j = 0; j < call.n_in; ++j) {
        if (call.in(j).data == call.out(k).data) out_.streamed = false;
      }
    }
    last_use_.assign(plan.values.size(), -1);
    for (size_t m = 0; m < plan.members.size(); ++m) {
      const FusedMap::Member& member = plan.members[m];
      for (int k = 0; k < member.n_in; ++k) {
        if (member.in[k] >= 0) last_use_[at(member.in[k])] = static_cast<int>(m);
      }
    }
    spots_.resize(plan.values.size());
  }

  Compiled compile() {
    // What does not vary goes first: its registers are never free again.
    for (size_t v = 0; v < plan_.values.size(); ++v) {
      const int load = plan_.values[v].load;
      if (load >= 0 && out_.walkers[at(call_.n_out + load)].is_constant()) load_constant(v);
    }
    for (size_t m = 0; m < plan_.members.size(); ++m) member(static_cast<int>(m));
    int64_t wide = 4;
    for (const Instruction& i : out_.body) wide = std::max<int64_t>(wide, width(i));
    for (const Instruction& i : out_.once) wide = std::max<int64_t>(wide, width(i));
    const auto resident = n_registers_ + static_cast<int64_t>(out_.constants.size());
    while (out_.chunk > 64 && out_.chunk * wide * resident > kRegistersInL1) out_.chunk /= 2;
    out_.spacing = out_.chunk * wide + 64;
    GS_ASSERT(n_registers_ * out_.spacing <= kRegisterBytes);
    return std::move(out_);
  }

 private:
  static MapLoop loop_of(const FusedMap::Member& m) {
    return reinterpret_cast<MapLoop>(const_cast<void*>(
        m.op->loops[static_cast<int>(DeviceType::CPU)][static_cast<int>(m.compute)]));
  }
  static size_t at(int k) { return static_cast<size_t>(k); }
  static int64_t width(const Instruction& i) {
    int64_t w = static_cast<int64_t>(element_size(i.out.dtype));
    for (int k = 0; k < i.n_in; ++k)
      w = std::max<int64_t>(w, static_cast<int64_t>(element_size(i.in[k].dtype)));
    return w;
  }

  Spot new_register(DType dtype) {
    Spot s;
    s.dtype = dtype;
    if (free_.empty()) {
      s.reg = static_cast<int16_t>(n_registers_++);
    } else {
      s.reg = free_.back();
      free_.pop_back();
    }
    return s;
  }
  void release(const Spot& s) {
    if (s.reg >= 0) free_.push_back(s.reg);
  }
  static Instruction unary(Instruction::Kind kind, const Spot& in, const Spot& out) {
    Instruction i;
    i.kind = kind;
    i.n_in = 1;
    i.in[0] = in;
    i.out = out;
    return i;
  }
  static Instruction conversion(const Spot& in, const Spot& out) {
    Instruction i = unary(Instruction::Convert, in, out);
    i.convert = convert_loop(out.dtype, in.dtype);
    return i;
  }

  void load_constant(size_t v) {
    Spot source;
    source.operand = static_cast<int16_t>(call_.n_out + plan_.values[v].load);
    source.dtype = plan_.values[v].dtype;
    const Spot raw = new_register(source.dtype);
    out_.once.push_back(unary(Instruction::Gather, source, raw));
    spots_[v].push_back(raw);
    for (const FusedMap::Member& m : plan_.members) {
      if (!loop_of(m)) continue;
      for (int k = 0; k < m.n_in; ++k) {
        if (m.in[k] == static_cast<int>(v)) wanted_once(v, storage_type(m.compute));
      }
    }
    pinned_.push_back(static_cast<int>(v));
  }
  void wanted_once(size_t v, DType type) {
    for (const Spot& s : spots_[v]) {
      if (s.dtype == type) return;
    }
    const Spot wide = new_register(type);
    out_.once.push_back(conversion(spots_[v][0], wide));
    spots_[v].push_back(wide);
  }

  /// The value in its own type.
  Spot raw(size_t v) {
    if (!spots_[v].empty()) return spots_[v][0];
    Spot s;
    s.operand = static_cast<int16_t>(call_.n_out + plan_.values[v].load);
    s.dtype = plan_.values[v].dtype;
    if (!out_.walkers[at(s.operand)].is_flat()) {
      const Spot packed = new_register(s.dtype);
      out_.body.push_back(unary(Instruction::Gather, s, packed));
      s = packed;
    }
    spots_[v].push_back(s);
    return s;
  }
  Spot as(size_t v, DType type) {
    const Spot first = raw(v);
    for (const Spot& s : spots_[v]) {
      if (s.dtype == type) return s;
    }
    const Spot wide = new_register(type);
    out_.body.push_back(conversion(first, wide));
    spots_[v].push_back(wide);
    return wide;
  }
  Spot number(DType type, DType compute, Params::Slot value) {
    Spot s;
    s.dtype = type;
    Constant wide;
    fill_number(wide.data, compute, value, kChunk);
    out_.constants.push_back(std::make_unique<Constant>());
    s.constant = out_.constants.back()->data;
    convert_loop(type, compute)(out_.constants.back()->data, wide.data, kChunk);
    return s;
  }

  void member(int m) {
    const FusedMap::Member& member = plan_.members[at(m)];
    const auto v = at(member.out);
    const FusedMap::Value& value = plan_.values[v];
    const DType type = storage_type(member.compute);
    const MapLoop loop = loop_of(member);
    Instruction i;
    i.kind = loop ? Instruction::Loop : Instruction::Move;
    i.n_in = member.n_in;
    i.loop = loop;
    int slot = 0;
    for (int k = 0; k < member.n_in; ++k) {
      if (!loop) {
        i.in[k] = raw(at(member.in[k]));
      } else if (member.in[k] < 0) {
        i.in[k] = number(type, type, member.params.s[slot++]);
      } else {
        i.in[k] = as(at(member.in[k]), type);
      }
    }
    if (member.n_in == 0) {  // fill
      i.n_in = 1;
      i.in[0] = number(value.dtype, type, member.params.s[0]);
    }
    DType result = loop ? type : value.dtype;
    if (i.kind == Instruction::Move && i.in[0].dtype != result) {
      i.kind = Instruction::Convert;
      i.convert = convert_loop(result, i.in[0].dtype);
    }
    // The inputs' registers may be the output's: loops read an element before they write it, but
    // conversions between sizes do not.
    const bool in_place = i.kind == Instruction::Loop;
    if (in_place) release_inputs(m);
    const Spot kept = store_spot(value);
    const bool direct = kept.operand >= 0;
    i.out = direct && result == value.dtype ? kept : new_register(result);
    out_.body.push_back(i);
    Spot last = i.out;
    if (result != value.dtype) {
      const Spot narrow = direct ? kept : new_register(value.dtype);
      out_.body.push_back(conversion(i.out, narrow));
      release(i.out);
      last = narrow;
    }
    if (value.store >= 0 && !direct) {
      Spot to;
      to.operand = value.store;
      to.dtype = value.dtype;
      const bool flat = out_.walkers[at(value.store)].is_flat();
      out_.body.push_back(unary(flat ? Instruction::Stream : Instruction::Scatter, last, to));
    }
    if (!in_place) release_inputs(m);
    spots_[v].push_back(last);
    if (last_use_[v] < 0) drop(v);
  }

  /// Where the result can be written at once: memory that is flat and not streamed.
  Spot store_spot(const FusedMap::Value& value) const {
    Spot s;
    if (value.store >= 0 && !out_.streamed && out_.walkers[at(value.store)].is_flat()) {
      s.operand = value.store;
      s.dtype = value.dtype;
    }
    return s;
  }
  void release_inputs(int m) {
    for (size_t v = 0; v < last_use_.size(); ++v) {
      if (last_use_[v] == m) drop(v);
    }
  }
  void drop(size_t v) {
    if (std::find(pinned_.begin(), pinned_.end(), static_cast<int>(v)) != pinned_.end()) return;
    for (const Spot& s : spots_[v]) release(s);
    spots_[v].clear();
  }

  const Call& call_;
  const FusedMap& plan_;
  Compiled out_;
  std::vector<std::vector<Spot>> spots_;  // of each value: in its own type first
  std::vector<int> last_use_, pinned_;
  std::vector<int16_t> free_;
  int n_registers_ = 0;
};

struct Run {
  const Compiled& c;
  char* const* data;
  char* registers;

  char* address(const Spot& s, int64_t at) const {
    if (s.operand >= 0) return data[s.operand] + at * static_cast<int64_t>(element_size(s.dtype));
    if (s.reg >= 0) return registers + s.reg * c.spacing;
    return const_cast<char*>(s.constant);
  }
  void operator()(const std::vector<Instruction>& list, int64_t at, int64_t n) const {
    for (const Instruction& i : list) {
      const auto bytes = n * static_cast<int64_t>(element_size(i.out.dtype));
      switch (i.kind) {
        case Instruction::Loop: {
          const void* in[kMaxMapOperands];
          for (int k = 0; k < i.n_in; ++k) in[k] = address(i.in[k], at);
          i.loop(address(i.out, at), in, n);
          break;
        }
        case Instruction::Convert: i.convert(address(i.out, at), address(i.in[0], at), n); break;
        case Instruction::Move:
          std::memmove(address(i.out, at), address(i.in[0], at), static_cast<size_t>(bytes));
          break;
        case Instruction::Gather:
          c.walkers[static_cast<size_t>(i.in[0].operand)].gather(at, n, address(i.out, at));
          break;
        case Instruction::Scatter:
          c.walkers[static_cast<size_t>(i.out.operand)].scatter(at, n, address(i.in[0], at));
          break;
        case Instruction::Stream:
          stream_out(address(i.out, at), address(i.in[0], at), bytes);
          break;
      }
    }
  }
};

/// Outputs, then inputs, as the plan numbers them.
void fused_map(const Call& call) {
  const auto& plan = *reinterpret_cast<const FusedMap*>(static_cast<intptr_t>(call.i(0)));
  if (!plan.compiled) plan.compiled = std::make_shared<Compiled>(Compiler(call, plan).compile());
  auto& c = *static_cast<Compiled*>(plan.compiled.get());
  char* data[2 * FusedMap::kMaxValues];
  for (size_t k = 0; k < c.walkers.size(); ++k) {
    data[k] = call.operands[k]->data;
    c.walkers[k].data = data[k];
  }
  parallel_for(call.out(0).numel, kFusedGrain, [&](int64_t begin, int64_t end) {
    alignas(64) char registers[kRegisterBytes];
    const Run run{c, data, registers};
    run(c.once, begin, std::min(c.chunk, end - begin));
    for (int64_t at = begin; at < end; at += c.chunk) run(c.body, at, std::min(c.chunk, end - at));
    if (c.streamed) stream_end();
  });
}

}  // namespace

void register_fused_map() {
  Op::get("fused_map").kernel[static_cast<int>(DeviceType::CPU)] = &fused_map;
}

}  // namespace GS_ISA
}  // namespace gradstep
