// SPDX-License-Identifier: Apache-2.0
// Convolution by oneDNN, single-threaded in each chunk of images. oneDNN chooses its own layouts;
// reorders from and to NCHW cost less than its plain NCHW kernels lose (measured on LeNet and
// ResNet shapes: 1.5 to 4 times), except for the gradient of images with few channels, which im2col
// does better. Images and kernels of bfloat16 are converted by the same reorders, or used as they
// are where the machine multiplies bfloat16 faster than float.
#ifdef GS_WITH_ONEDNN

#include <algorithm>
#include <cstring>

#include "core/threads.h"
#include "kernels/conv.h"
#include "kernels/matmul.h"
#include "kernels/onednn.h"

namespace gradstep {

using namespace onednn;

namespace {

constexpr int64_t kParallelWork =
    1 << 22;                          // multiplications of one chunk of images, with kElementWork
constexpr int64_t kElementWork = 64;  // for each element that is read or written
constexpr int64_t kLargeWeights =
    1 << 15;  // weights that a chunk should read for at least kPixels outputs
constexpr int64_t kPixels = 256;
constexpr int64_t kMaxChunks = 16;
constexpr int64_t kPartialElements =
    1 << 21;  // all partial weight gradients together, unless two need more
constexpr size_t kCachedPlans = 256;
constexpr int kMaxDims = 6;  // groups, c_out, c_in and three of the kernel

// ---- plans ----

enum class Kind : int32_t { Forward, BackwardData, BackwardWeights };

/// What a plan is made for. Compared and hashed as bytes, so it has no padding.
struct Key {
  ConvShape shape;
  Kind kind;
  int16_t bias;
  DType dtype, compute;  // of the caller's images and kernels; of the primitive's
};
static_assert(sizeof(Key) == sizeof(ConvShape) + 8);

/// One operand: how the caller has it, how the primitive wants it, and the way between.
struct Operand {
  MemoryDesc plain, wanted;
  Primitive reorder;  // empty if both are the same
  size_t bytes = 0;   // of the wanted layout, rounded up to a cache line
  size_t reorder_scratch = 0;
};

/// A primitive for one shape and everything that would cost a query later.
struct Plan {
  Operand src, weights, dst;
  MemoryDesc bias, scratch;
  Primitive primitive;
  size_t scratch_bytes = 0;
  bool supported = false;
};

/// Fills in the layout that the primitive wants; `to_plain` for its outputs.
void prepare(Operand& o, MemoryDesc wanted, bool to_plain, const Attributes& attributes) {
  o.wanted = std::move(wanted);
  o.bytes = round_up(dnnl_memory_desc_get_size(o.wanted.get()));
  if (dnnl_memory_desc_equal(o.plain.get(), o.wanted.get())) return;
  const auto &from = to_plain ? o.wanted : o.plain, &to = to_plain ? o.plain : o.wanted;
  dnnl_primitive_desc_t made = nullptr;
  check(dnnl_reorder_primitive_desc_create(&made, from.get(), engine(), to.get(), engine(),
                                           attributes.get()));
  const PrimitiveDesc pd(made);
  o.reorder = make_primitive(pd);
  o.reorder_scratch =
      dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(made, dnnl_query_scratchpad_md, 0));
}

void build(Plan& plan, const Key& key) {
  const ConvShape& s = key.shape;
  const OneThread one;
  const Attributes attributes = user_scratch();
  // One-dimensional convolutions run as two-dimensional ones of height 1.
  const int nd = std::max(s.nd, 2), lift = nd - s.nd;
  dnnl_dims_t x{s.batch, s.c_in}, y{s.batch, s.c_out}, w{}, stride{}, dilation{}, pad{};
  int n_w = 0;
  if (s.groups > 1) w[n_w++] = s.groups;
  w[n_w++] = s.c_out / s.groups;
  w[n_w++] = s.c_in / s.groups;
  for (int d = 0; d < nd; ++d) {
    const int from = d - lift;
    x[2 + d] = from < 0 ? 1 : s.in[from];
    y[2 + d] = from < 0 ? 1 : s.out[from];
    w[n_w++] = from < 0 ? 1 : s.kernel[from];
    stride[d] = from < 0 ? 1 : s.stride[from];
    dilation[d] = from < 0 ? 0 : s.dilation[from] - 1;
    pad[d] = from < 0 ? 0 : s.pad[from];
  }
  // Row-major layouts have the tags abcd, abcde, abcdef.
  constexpr dnnl_format_tag_t kPlain[kMaxDims + 1] = {
      dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde, dnnl_abcdef};
  const auto desc = [](const dnnl_dims_t& dims, int n, DType type, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t d = nullptr;
    const auto data_type = type == DType::BFloat16 ? dnnl_bf16 : dnnl_f32;
    check(dnnl_memory_desc_create_with_tag(&d, n, dims, data_type, tag));
    return MemoryDesc(d);
  };
  const bool forward = key.kind == Kind::Forward, data = key.kind == Kind::BackwardData;
  // Gradients of kernels are summed over chunks: in float.
  const bool sums = key.kind == Kind::BackwardWeights;
  plan.src.plain = desc(x, nd + 2, key.dtype, kPlain[nd + 2]);
  plan.weights.plain = desc(w, n_w, sums ? DType::Float32 : key.dtype, kPlain[n_w]);
  plan.dst.plain = desc(y, nd + 2, key.dtype, kPlain[nd + 2]);
  const dnnl_dims_t channels{s.c_out};
  if (key.bias) plan.bias = desc(channels, 1, DType::Float32, dnnl_a);
  const MemoryDesc src = desc(x, nd + 2, key.compute, dnnl_format_tag_any),
                   weights = desc(w, n_w, key.compute, dnnl_format_tag_any),
                   dst = desc(y, nd + 2, key.compute, dnnl_format_tag_any),
                   weight_sums = desc(w, n_w, DType::Float32, dnnl_format_tag_any);

  dnnl_primitive_desc_t made = nullptr;
  check(dnnl_convolution_forward_primitive_desc_create(
      &made, engine(), dnnl_forward_training, dnnl_convolution_direct, src.get(), weights.get(),
      key.kind == Kind::Forward ? plan.bias.get() : nullptr, dst.get(), stride, dilation, pad, pad,
      attributes.get()));
  PrimitiveDesc pd(made);
  if (key.kind == Kind::BackwardData) {
    check(dnnl_convolution_backward_data_primitive_desc_create(
        &made, engine(), dnnl_convolution_direct, src.get(), weights.get(), dst.get(), stride,
        dilation, pad, pad, pd.get(), attributes.get()));
    pd.reset(made);
  } else if (key.kind == Kind::BackwardWeights) {
    check(dnnl_convolution_backward_weights_primitive_desc_create(
        &made, engine(), dnnl_convolution_direct, src.get(), weight_sums.get(), plan.bias.get(),
        dst.get(), stride, dilation, pad, pad, pd.get(), attributes.get()));
    pd.reset(made);
  }
  prepare(plan.src, query(pd, data ? dnnl_query_diff_src_md : dnnl_query_src_md), data, attributes);
  prepare(plan.weights, query(pd, sums ? dnnl_query_diff_weights_md : dnnl_query_weights_md), sums,
          attributes);
  prepare(plan.dst, query(pd, forward ? dnnl_query_dst_md : dnnl_query_diff_dst_md), forward,
          attributes);
  plan.scratch = query(pd, dnnl_query_scratchpad_md);
  plan.scratch_bytes =
      std::max({dnnl_memory_desc_get_size(plan.scratch.get()), plan.src.reorder_scratch,
                plan.weights.reorder_scratch, plan.dst.reorder_scratch});
  plan.primitive = make_primitive(pd);
}

/// The plan for a shape, from a cache that forgets the least recently used.
std::shared_ptr<const Plan> plan_for(const ConvShape& s, Kind kind, bool bias, DType dtype) {
  static const bool fast_bfloat16 = std::string_view(bfloat16_backend_name()) == "onednn";
  static auto& cache = *new PlanCache<Key, Plan>(kCachedPlans);
  Key key;
  std::memset(static_cast<void*>(&key), 0, sizeof key);
  key.shape.batch = s.batch;
  key.shape.c_in = s.c_in;
  key.shape.c_out = s.c_out;
  key.shape.groups = s.groups;
  key.shape.nd = s.nd;
  for (int d = 0; d < s.nd; ++d) {
    key.shape.in[d] = s.in[d];
    key.shape.kernel[d] = s.kernel[d];
    key.shape.stride[d] = s.stride[d];
    key.shape.pad[d] = s.pad[d];
    key.shape.dilation[d] = s.dilation[d];
    key.shape.out[d] = s.out[d];
  }
  key.kind = kind;
  key.bias = bias;
  key.dtype = dtype;
  key.compute = fast_bfloat16 ? dtype : DType::Float32;
  return cache.get(key, &build);
}

// ---- execution ----

void run_reorder(const Operand& o, const Plan& plan, void* from, void* to, bool to_plain,
                 void* scratch) {
  const Memory src = memory(to_plain ? o.wanted : o.plain, from),
               dst = memory(to_plain ? o.plain : o.wanted, to);
  Memory pad;
  dnnl_exec_arg_t args[3] = {{DNNL_ARG_FROM, src.get()}, {DNNL_ARG_TO, dst.get()}, {}};
  int n = 2;
  if (o.reorder_scratch > 0) {
    pad = memory(plan.scratch, scratch);
    args[n++] = {DNNL_ARG_SCRATCHPAD, pad.get()};
  }
  check(dnnl_primitive_execute(o.reorder.get(), stream(), n, args));
}

/// An input in the wanted layout: the pointer itself or a copy at `room`.
void* bring(const Operand& o, const Plan& plan, const void* data, char* room, void* scratch) {
  void* const plain = const_cast<void*>(data);
  if (!o.reorder) return plain;
  run_reorder(o, plan, plain, room, false, scratch);
  return room;
}

void run(const Plan& plan,
         std::initializer_list<std::pair<int, std::pair<const MemoryDesc*, void*>>> operands,
         void* scratch) {
  Memory memories[5];
  dnnl_exec_arg_t args[5];
  int n = 0;
  for (const auto& [id, operand] : operands) {
    if (!*operand.first) continue;
    memories[n] = memory(*operand.first, operand.second);
    args[n] = {id, memories[n].get()};
    ++n;
  }
  memories[n] = memory(plan.scratch, scratch);
  args[n] = {DNNL_ARG_SCRATCHPAD, memories[n].get()};
  ++n;
  check(dnnl_primitive_execute(plan.primitive.get(), stream(), n, args));
}

int64_t product(const int64_t* x, int n) {
  int64_t p = 1;
  for (int i = 0; i < n; ++i) p *= x[i];
  return p;
}

struct Sizes {
  int64_t x_image, y_image, weights;
  int64_t grain;  // images per chunk
  explicit Sizes(const ConvShape& s) {
    const int64_t taps = product(s.kernel, s.nd), out = product(s.out, s.nd);
    x_image = s.c_in * product(s.in, s.nd);
    y_image = s.c_out * out;
    weights = s.c_out * (s.c_in / s.groups) * taps;
    const int64_t work = weights * out + kElementWork * (x_image + y_image);
    grain = std::max({int64_t{1}, kParallelWork / work, (s.batch + kMaxChunks - 1) / kMaxChunks});
    if (weights >= kLargeWeights)
      grain = std::max(grain, std::min((kPixels + out - 1) / out, (s.batch + 1) / 2));
  }
};

ConvShape with_batch(ConvShape s, int64_t batch) {
  s.batch = batch;
  return s;
}

/// Plans for the whole chunks and the last one; all chunks but the last have the same number of
/// images.
struct Plans {
  std::shared_ptr<const Plan> whole, last;
  int64_t size;
  Plans(const ConvShape& s, int64_t grain, Kind kind, bool bias, DType dtype)
      : size(chunk_size(s.batch, grain)) {
    whole = plan_for(with_batch(s, std::min(size, s.batch)), kind, bias, dtype);
    const int64_t rest = s.batch % size;
    last = rest == 0 || s.batch < size ? whole : plan_for(with_batch(s, rest), kind, bias, dtype);
  }
  bool supported() const {
    // One layout of the weights must fit both.
    return whole->supported && last->supported &&
           (whole == last ||
            dnnl_memory_desc_equal(whole->weights.wanted.get(), last->weights.wanted.get()));
  }
  const Plan& operator()(int64_t images) const { return images == size ? *whole : *last; }
};

char* at_image(const void* p, DType dtype, int64_t offset) {
  return static_cast<char*>(const_cast<void*>(p)) +
         offset * static_cast<int64_t>(element_size(dtype));
}

/// For few input channels oneDNN's gradient of the image pads them to a whole vector.
bool poor_backward_data(const ConvShape& s) { return s.groups == 1 && s.c_in <= 4; }

}  // namespace

bool dnnl_forward(const ConvShape& s, DType dtype, const void* x, const void* weight,
                  const float* bias, void* y) try {
  const Sizes sizes(s);
  const Plans plans(s, sizes.grain, Kind::Forward, bias != nullptr, dtype);
  if (!plans.supported()) return false;
  const Plan& first = *plans.whole;
  const OneThread caller;
  const Scratch<char> room(first.weights.reorder ? first.weights.bytes + first.scratch_bytes : 0);
  void* const w =
      bring(first.weights, first, weight, room.data(), room.data() + first.weights.bytes);
  parallel_for(s.batch, sizes.grain, [&](int64_t begin, int64_t end) {
    const Plan& plan = plans(end - begin);
    const OneThread one;
    const Scratch<char> local(round_up(plan.scratch_bytes) +
                              (plan.src.reorder ? plan.src.bytes : 0) +
                              (plan.dst.reorder ? plan.dst.bytes : 0));
    char* at = local.data();
    void* const scratch = at;
    at += round_up(plan.scratch_bytes);
    void* const in = bring(plan.src, plan, at_image(x, dtype, begin * sizes.x_image), at, scratch);
    if (plan.src.reorder) at += plan.src.bytes;
    void* const target = at_image(y, dtype, begin * sizes.y_image);
    void* const out = plan.dst.reorder ? static_cast<void*>(at) : target;
    run(plan,
        {{DNNL_ARG_SRC, {&plan.src.wanted, in}},
         {DNNL_ARG_WEIGHTS, {&plan.weights.wanted, w}},
         {DNNL_ARG_BIAS, {&plan.bias, const_cast<float*>(bias)}},
         {DNNL_ARG_DST, {&plan.dst.wanted, out}}},
        scratch);
    if (plan.dst.reorder) run_reorder(plan.dst, plan, out, target, true, scratch);
  });
  return true;
} catch (const Unsupported&) {
  return false;
}

bool dnnl_backward_data(const ConvShape& s, DType dtype, const void* dy, const void* weight,
                        void* dx) try {
  if (poor_backward_data(s)) return false;
  const Sizes sizes(s);
  const Plans plans(s, sizes.grain, Kind::BackwardData, false, dtype);
  if (!plans.supported()) return false;
  const Plan& first = *plans.whole;
  const OneThread caller;
  const Scratch<char> room(first.weights.reorder ? first.weights.bytes + first.scratch_bytes : 0);
  void* const w =
      bring(first.weights, first, weight, room.data(), room.data() + first.weights.bytes);
  parallel_for(s.batch, sizes.grain, [&](int64_t begin, int64_t end) {
    const Plan& plan = plans(end - begin);
    const OneThread one;
    const Scratch<char> local(round_up(plan.scratch_bytes) +
                              (plan.src.reorder ? plan.src.bytes : 0) +
                              (plan.dst.reorder ? plan.dst.bytes : 0));
    char* at = local.data();
    void* const scratch = at;
    at += round_up(plan.scratch_bytes);
    void* const grad =
        bring(plan.dst, plan, at_image(dy, dtype, begin * sizes.y_image), at, scratch);
    if (plan.dst.reorder) at += plan.dst.bytes;
    void* const target = at_image(dx, dtype, begin * sizes.x_image);
    void* const out = plan.src.reorder ? static_cast<void*>(at) : target;
    run(plan,
        {{DNNL_ARG_DIFF_SRC, {&plan.src.wanted, out}},
         {DNNL_ARG_WEIGHTS, {&plan.weights.wanted, w}},
         {DNNL_ARG_DIFF_DST, {&plan.dst.wanted, grad}}},
        scratch);
    if (plan.src.reorder) run_reorder(plan.src, plan, out, target, true, scratch);
  });
  return true;
} catch (const Unsupported&) {
  return false;
}

// Each chunk of images has a partial gradient in the primitive's layout; they are added in order.
bool dnnl_backward_weights(const ConvShape& s, DType dtype, const void* x, const void* dy,
                           float* dweight, float* dbias) try {
  const Sizes sizes(s);
  const int64_t most = std::clamp<int64_t>(kPartialElements / sizes.weights, 2, kMaxChunks);
  const int64_t grain = std::max(sizes.grain, (s.batch + most - 1) / most);
  const Plans plans(s, grain, Kind::BackwardWeights, dbias != nullptr, dtype);
  if (!plans.supported()) return false;
  const Plan& first = *plans.whole;
  const int64_t n_chunks = chunk_count(s.batch, grain),
                weights = first.weights.bytes / sizeof(float);
  const int64_t partial = weights + (dbias ? (s.c_out + 15) / 16 * 16 : 0);
  const Scratch<char> room(sizeof(float) * partial * n_chunks);
  float* const sum = reinterpret_cast<float*>(room.data());
  parallel_for(s.batch, grain, [&](int64_t begin, int64_t end) {
    const Plan& plan = plans(end - begin);
    const OneThread one;
    const Scratch<char> local(round_up(plan.scratch_bytes) +
                              (plan.src.reorder ? plan.src.bytes : 0) +
                              (plan.dst.reorder ? plan.dst.bytes : 0));
    char* at = local.data();
    void* const scratch = at;
    at += round_up(plan.scratch_bytes);
    void* const in = bring(plan.src, plan, at_image(x, dtype, begin * sizes.x_image), at, scratch);
    if (plan.src.reorder) at += plan.src.bytes;
    void* const grad =
        bring(plan.dst, plan, at_image(dy, dtype, begin * sizes.y_image), at, scratch);
    float* const dw = sum + begin / plans.size * partial;
    run(plan,
        {{DNNL_ARG_SRC, {&plan.src.wanted, in}},
         {DNNL_ARG_DIFF_WEIGHTS, {&plan.weights.wanted, dw}},
         {DNNL_ARG_DIFF_BIAS, {&plan.bias, dw + weights}},
         {DNNL_ARG_DIFF_DST, {&plan.dst.wanted, grad}}},
        scratch);
  });
  if (n_chunks > 1) {
    parallel_for(partial, kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t q = 1; q < n_chunks; ++q) {
        const float* const more = sum + q * partial;
        for (int64_t i = begin; i < end; ++i) sum[i] += more[i];
      }
    });
  }
  if (first.weights.reorder) {
    const OneThread one;
    const Scratch<char> scratch(first.scratch_bytes);
    run_reorder(first.weights, first, sum, dweight, true, scratch.data());
  } else {
    std::memcpy(dweight, sum, sizes.weights * sizeof(float));
  }
  if (dbias) std::memcpy(dbias, sum + weights, s.c_out * sizeof(float));
  return true;
} catch (const Unsupported&) {
  return false;
}

}  // namespace gradstep

#endif
