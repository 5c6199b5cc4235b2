// SPDX-License-Identifier: Apache-2.0
// What the CPU's map loops look like, and how strided operands reach them. A loop is contiguous and
// in the compute type; convert_chunk and Walker bring 512 elements of anything else to it. See
// map.cpp.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/tensor.h"
#include "fn/config.h"
#include "graph/call.h"

namespace gradstep {
inline namespace GS_ISA {

constexpr int kChunk = 512;  // elements that are gathered at once: 2-4 KB an operand stays in L1

using MapLoop = void (*)(void* out, const void* const* in, int64_t n);
using ConvertLoop = void (*)(void* dst, const void* src, int64_t n);

/// Contiguous conversion between any two storage types.
ConvertLoop convert_loop(DType to, DType from);

/// n times the number, given in the compute type of `type`.
void fill_number(void* dst, DType type, Params::Slot value, int64_t n);

/// An operand seen as the elements of the output in order: its axes, merged where that is possible.
/// Strides are in bytes; an axis along which the operand is broadcast has stride 0.
struct Walker {
  char* data = nullptr;
  int ndim = 0;  // axes left after merging; 0 for a single element
  int64_t sizes[kMaxDims];
  int64_t strides[kMaxDims];
  DType dtype = DType::Float32;
  uint8_t item = 4;

  /// `order` lists the output's axes from the outermost to the innermost.
  Walker(const TensorImpl& t, const Dims& out_sizes, const int* order);
  Walker() = default;

  bool is_flat() const { return ndim == 0 || (ndim == 1 && strides[0] == item); }
  bool is_constant() const { return ndim == 0 || (ndim == 1 && strides[0] == 0); }
  /// Where element `index` of the iteration lies.
  char* address(int64_t index) const;
  /// Copies elements [begin, begin + n) of the iteration to dst, packed, without conversion.
  void gather(int64_t begin, int64_t n, void* dst) const;
  /// The reverse.
  void scatter(int64_t begin, int64_t n, const void* src) const;
};

}  // namespace GS_ISA
}  // namespace gradstep
