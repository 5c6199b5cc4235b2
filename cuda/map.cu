// SPDX-License-Identifier: Apache-2.0
// The driver of all map ops, copy and fill.
#include "cuda/map.h"

namespace gradstep::cuda {

void map_driver(const Call& call) {
  if (call.out(0).numel == 0) return;
  const DeviceGuard guard(call.out(0).device.index);
  const void* found =
      call.op->loops[static_cast<int>(DeviceType::CUDA)][static_cast<int>(call.compute)];
  GS_CHECK_KIND(NotImplemented, found, "\"{}\" not implemented for '{}'", call.op->name,
                scalar_name(storage_type(call.compute)));
  reinterpret_cast<MapLaunch>(const_cast<void*>(found))(call);
}

// ---- integer division ----

namespace {

struct IsZeroArgs {
  int64_t n;
  const char* data;
  DType type;
  Layout<1> layout;
  Reporter reporter;
  int64_t message;
};

__global__ void report_zero(const __grid_constant__ IsZeroArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    int64_t at[1];
    a.layout.offsets(i, at);
    if (load_as<int64_t>(a.data, a.type, at[0]) == 0) {
      report_trouble(a.reporter, Trouble::Message, a.message, 0, 0, 0);
    }
  }
}

}  // namespace

void division_driver(const Call& call) {
  if (call.compute == Compute::I64 && call.out(0).numel != 0) {
    constexpr const char* kMessage = "ZeroDivisionError";
    if (const TensorImpl* divisor = call.maybe_in(1)) {
      const TensorImpl* operands[] = {divisor};
      const IsZeroArgs a{divisor->numel, divisor->data,
                         divisor->dtype, Layout<1>(divisor->sizes, operands),
                         reporter(call), message_number(kMessage, ErrorKind::Runtime)};
      launch_grid(call, &report_zero, blocks_for(call, a.n, kMapThreads), kMapThreads, a);
    } else {
      GS_CHECK(call.params.s[call.maybe_in(0) ? 0 : 1].i != 0, kMessage);
    }
  }
  map_driver(call);
}

// ---- copy and fill ----

namespace {

struct CopyArgs {
  int64_t n;
  char* out;
  const char* in;
  DType out_type, in_type;
  bool flat;
  Layout<2> layout;
};

template <class C>
__global__ void copy_kernel(const __grid_constant__ CopyArgs a) {
  constexpr int W = kFew<C>;
  if (a.flat) {
    const int64_t whole = a.n / W;
    for (int64_t k = first_index(); k < whole; k += index_stride()) {
      store_few<W, C>(a.out, a.out_type, W * k, load_few<W, C>(a.in, a.in_type, W * k));
    }
    for (int64_t i = whole * W + first_index(); i < a.n; i += index_stride()) {
      store_as<C>(a.out, a.out_type, i, load_as<C>(a.in, a.in_type, i));
    }
    return;
  }
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    int64_t at[2];
    a.layout.offsets(i, at);
    store_as<C>(a.out, a.out_type, at[0], load_as<C>(a.in, a.in_type, at[1]));
  }
}

// An input whose memory runs along another axis than the output's would be read one element from
// each line, so tiles of 32 x 32 go through shared memory: both sides move whole lines.
constexpr int kTile = 32, kTileRows = 8;

struct TransposeArgs {
  char* out;
  const char* in;
  DType out_type, in_type;
  int64_t n_fast, n_slow;     // along the output's memory, along the input's
  int64_t out_step, in_step;  // of the output along `slow`, of the input along `fast`, in elements
  int64_t tiles_fast, tiles_slow;
  Layout<2> rest;  // the other axes
};

template <class C>
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(const __grid_constant__ TransposeArgs a) {
  __shared__ C tile[kTile][kTile + 1];  // one more column: no two rows start in the same bank
  const int64_t block = blockIdx.x;
  const int64_t fast = block % a.tiles_fast * kTile,
                slow = block / a.tiles_fast % a.tiles_slow * kTile;
  int64_t at[2];
  a.rest.offsets(block / a.tiles_fast / a.tiles_slow, at);
  const int lane = int(threadIdx.x) % kTile, first = int(threadIdx.x) / kTile;
  for (int k = first; k < kTile; k += kTileRows) {
    if (fast + k < a.n_fast && slow + lane < a.n_slow) {
      tile[k][lane] = load_as<C>(a.in, a.in_type, at[1] + (fast + k) * a.in_step + slow + lane);
    }
  }
  __syncthreads();
  for (int k = first; k < kTile; k += kTileRows) {
    if (slow + k < a.n_slow && fast + lane < a.n_fast) {
      store_as<C>(a.out, a.out_type, at[0] + (slow + k) * a.out_step + fast + lane, tile[lane][k]);
    }
  }
}

/// Fills in the arguments if the copy is a transposition that is worth it.
bool is_transposition(const CopyArgs& c, TransposeArgs& a) {
  const Layout<2>& l = c.layout;
  if (l.ndim < 2 || l.strides[0][0] != 1 || l.strides[1][0] == 1 || l.sizes[0] < 8) return false;
  int slow = 1;
  while (slow < l.ndim && (l.strides[1][slow] != 1 || l.sizes[slow] < 8)) ++slow;
  if (slow == l.ndim) return false;
  a = {c.out,
       c.in,
       c.out_type,
       c.in_type,
       l.sizes[0],
       l.sizes[slow],
       l.strides[0][slow],
       l.strides[1][0],
       (l.sizes[0] + kTile - 1) / kTile,
       (l.sizes[slow] + kTile - 1) / kTile,
       {}};
  int64_t blocks = a.tiles_fast * a.tiles_slow;
  for (int k = 1; k < l.ndim; ++k) {
    if (k == slow) continue;
    Layout<2>& r = a.rest;
    r.sizes[r.ndim] = l.sizes[k];
    r.dividers[r.ndim] = l.dividers[k];
    for (int j = 0; j < 2; ++j) r.strides[j][r.ndim] = l.strides[j][k];
    ++r.ndim;
    blocks *= l.sizes[k];
  }
  a.rest.small = l.small;
  return blocks < (int64_t(1) << 31);
}

/// out = in, converted; any strides, in broadcast to out; both on the GPU.
void copy(const Call& call) {
  const TensorImpl& out = call.out(0);
  const TensorImpl& in = call.in(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const TensorImpl* operands[] = {&out, &in};
  CopyArgs a{
      out.numel, out.data, in.data, out.dtype, in.dtype, false, Layout<2>(out.sizes, operands)};
  a.flat = a.layout.is_flat(0) && a.layout.is_flat(1) && aligned_few(out.data, out.dtype) &&
           aligned_few(in.data, in.dtype);
  if (a.layout.is_flat(0) && a.layout.is_flat(1) && out.dtype == in.dtype &&
      out.numel == in.numel) {
    return check(cudaMemcpyAsync(out.data, in.data, size_t(out.numel) * element_size(out.dtype),
                                 cudaMemcpyDeviceToDevice, stream_of(call)),
                 "copy");
  }
  // Halves of one type go as they are: conversions would change what is in a NaN.
  if (out.dtype == in.dtype && element_size(out.dtype) == 2) a.out_type = a.in_type = DType::Int16;
  const bool integers = !is_floating(a.out_type) && !is_floating(a.in_type);
  const bool wide = out.dtype == DType::Float64 || in.dtype == DType::Float64;
  TransposeArgs t;
  if (is_transposition(a, t)) {
    const int64_t tiles = t.tiles_fast * t.tiles_slow;
    const auto blocks = unsigned(a.n / (t.n_fast * t.n_slow) * tiles);
    constexpr unsigned kThreads = kTile * kTileRows;
    if (integers) return launch_grid(call, &transpose_kernel<int64_t>, blocks, kThreads, t);
    if (wide) return launch_grid(call, &transpose_kernel<double>, blocks, kThreads, t);
    return launch_grid(call, &transpose_kernel<float>, blocks, kThreads, t);
  }
  const unsigned blocks = blocks_for(call, a.n, kMapThreads, 4);
  if (integers) return launch_grid(call, &copy_kernel<int64_t>, blocks, kMapThreads, a);
  if (wide) return launch_grid(call, &copy_kernel<double>, blocks, kMapThreads, a);
  launch_grid(call, &copy_kernel<float>, blocks, kMapThreads, a);
}

struct FillArgs {
  int64_t n;
  char* out;
  DType type;
  bool flat;
  Params::Slot number;
  Layout<1> layout;
};

template <class C>
__global__ void fill_kernel(const __grid_constant__ FillArgs a) {
  C v;
  if constexpr (std::is_same_v<C, int64_t>)
    v = a.number.i;
  else
    v = C(a.number.f);
  if (a.flat) {
    constexpr int W = kFew<C>;
    Few<C, W> all;
    GS_UNROLL
    for (int e = 0; e < W; ++e) all.v[e] = v;
    const int64_t whole = a.n / W;
    for (int64_t k = first_index(); k < whole; k += index_stride()) {
      store_few<W, C>(a.out, a.type, W * k, all);
    }
    for (int64_t i = whole * W + first_index(); i < a.n; i += index_stride()) {
      store_as<C>(a.out, a.type, i, v);
    }
    return;
  }
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    int64_t at[1];
    a.layout.offsets(i, at);
    store_as<C>(a.out, a.type, at[0], v);
  }
}

/// out = the number in slot 0, given in the compute type of out.
void fill(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const TensorImpl* operands[] = {&out};
  FillArgs a{out.numel, out.data,         out.dtype,
             false,     call.params.s[0], Layout<1>(out.sizes, operands)};
  a.flat = a.layout.is_flat(0) && aligned_few(out.data, out.dtype);
  const bool zero = call.params.s[0].i == 0;
  if (zero && a.layout.is_flat(0)) {
    return check(
        cudaMemsetAsync(out.data, 0, size_t(out.numel) * element_size(out.dtype), stream_of(call)),
        "fill");
  }
  by_compute(call.compute, [&](auto tag) {
    using C = decltype(tag);
    launch_grid(call, &fill_kernel<C>, blocks_for(call, a.n, kMapThreads, kFew<C>), kMapThreads, a);
  });
}

}  // namespace

GS_CUDA_KERNEL("copy", copy);
GS_CUDA_KERNEL("fill", fill);

}  // namespace gradstep::cuda
