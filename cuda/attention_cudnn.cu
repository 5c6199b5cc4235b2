// SPDX-License-Identifier: Apache-2.0
// Attention of halves by cuDNN: which calls it is trusted with, the plans, which are kept for each
// shape, and what is left to do around it. See Note [Attention by cuDNN] in cuda/attention_graph.h
// and Note [What cuDNN is trusted with].
#include <cstring>
#include <memory>
#include <type_traits>
#include <unordered_map>

#include "cuda/attention.h"
#include "cuda/attention_graph.h"
#include "cuda/launch.h"

namespace gradstep::cuda {

namespace {

using namespace cudnn;

// Note [What cuDNN is trusted with]
// An engine that takes a graph may still be wrong about it. What is known of cuDNN 9, from its
// front end's checks, PyTorch's and reports to both:
// * before 9.10, hidden scores had to be the lowest finite number, and engines lack much;
// * GPUs above sm_90: wrong results where few heads share keys (pytorch#193893);
// * heads wider than 256 are beyond what is documented;
// * a single key has no engine that is right, a single query no gradient (cudnn-frontend#1072);
// * gradients where the number of keys is no multiple of 128: the last tile's rest was not hidden
//   until 9.15, and isn't to this day where there is a mask (pytorch#196678);
// * gradients of queries are added up by atomics: not with torch.use_deterministic_algorithms().
// Everything else is the engines' own word: no plan, no cuDNN. Kernels of our own do the rest; both
// leave natural log-sums, so that one's gradient can follow the other's forward.
constexpr int64_t kFirstVersion = 91000, kLastWithoutPadding = 91500;
constexpr int64_t kMostHeads = 65535, kMostElements = INT32_MAX;

/// Why the last call did not go to cuDNN, for the error where nothing else is allowed.
const char* g_reason = "";
bool refuse(const char* why) {
  g_reason = why;
  return false;
}

bool is_trusted(const AttentionShape& s, int device) {
  static const auto version = int64_t(api().GetVersion());
  if (version < kFirstVersion) return refuse("its version is below 9.10");
  const int capability = compute_capability(device);
  if (capability < 80 || capability > 90) return refuse("it is used on sm_80 to sm_90");
  if (s.keys < 2) return refuse("it needs two keys");
  if (s.width > 256 || s.v_width > 256) return refuse("heads are wider than 256");
  if (s.batch > kMostHeads || s.heads > kMostHeads) return refuse("too many heads");
  if (!s.backward) return true;
  if (flags().deterministic) return refuse("its gradients are not deterministic");
  if (s.queries < 2) return refuse("its gradients need two queries");
  if (s.keys % 128 != 0 && (s.masked || version <= kLastWithoutPadding)) {
    return refuse("the number of keys is no multiple of 128");
  }
  return true;
}

// ---- shapes ----

/// Strides as cuDNN wants them; those of axes with one element don't matter and are made plain.
/// `multiple`: of all but the last axis. False if they are not to be had.
bool strides_of(const Heads& x, const Four& sizes, int64_t multiple, Four& out) {
  const Four given = {x.batch, x.head, x.row, x.col};
  int64_t span = 1, last = 0;
  for (size_t d = 0; d < 4; ++d) {
    if (sizes[d] == 1) continue;
    if (given[d] <= 0 || (d == 3 ? given[d] != 1 : given[d] % multiple != 0)) return false;
    out[d] = given[d];
    span = given[d] * sizes[d] > span ? given[d] * sizes[d] : span;
    last += given[d] * (sizes[d] - 1);
  }
  for (size_t d = 0; d < 4; ++d) {
    if (sizes[d] == 1) out[d] = d == 3 ? 1 : span;
  }
  return last < kMostElements && reinterpret_cast<uintptr_t>(x.data) % Graph::kAlignment == 0;
}

bool shape_of(const Problem& p, const Heads& out, AttentionShape& s) {
  if (!is_half(p.q.type)) return refuse("it takes float16 and bfloat16");
  if (p.width % 8 != 0 || p.v_width % 8 != 0) return refuse("widths must be multiples of 8");
  if (p.batch * p.heads * p.groups * p.queries * p.keys * p.width * p.v_width == 0) {
    return refuse("there is nothing to compute");
  }
  s = {};
  s.batch = p.batch;
  s.heads = p.heads;
  s.groups = p.groups;
  s.queries = p.queries;
  s.keys = p.keys;
  s.width = p.width;
  s.v_width = p.v_width;
  s.type = data_type(p.q.type);
  s.causal = p.causal;
  s.masked = p.mask.data != nullptr;
  const bool fit = strides_of(p.q, {p.batch, p.heads, p.queries, p.width}, 8, s.q) &&
                   strides_of(p.k, {p.batch, p.groups, p.keys, p.width}, 8, s.k) &&
                   strides_of(p.v, {p.batch, p.groups, p.keys, p.v_width}, 8, s.v) &&
                   strides_of(out, {p.batch, p.heads, p.queries, p.v_width}, 8, s.out);
  if (!fit) return refuse("strides or addresses are no multiples of 16 bytes");
  if (!s.masked) return true;
  const Four steps = {p.mask.batch, p.mask.head, p.mask.row, p.mask.col}, full = s.scores();
  for (size_t d = 0; d < 4; ++d) s.mask_sizes[d] = steps[d] == 0 ? 1 : full[d];
  return (p.mask.type == DType::Float32 && strides_of(p.mask, s.mask_sizes, 1, s.mask)) ||
         refuse("the mask's strides or its address don't fit");
}

// ---- plans ----

struct Key {
  AttentionShape shape;
  int64_t device;
  bool operator==(const Key& o) const { return std::memcmp(this, &o, sizeof(*this)) == 0; }
};
static_assert(std::has_unique_object_representations_v<Key>);  // no padding

struct Compiled {
  Graph graph{api()};
  Plan plan;

  Compiled(const Call& call, const AttentionShape& s) {
    const RelaxedCapture relaxed;  // it compiles and loads a kernel
    const Handle h = handle(call);
    attention_graph(graph, s);
    graph.finish(h);
    (void)plan.find(graph, h, nullptr);
  }
};

Plan& plan_of(const Call& call, const AttentionShape& shape) {
  // Never destroyed: cuDNN may be gone by then.
  static auto& plans = *new std::unordered_map<Key, std::unique_ptr<Compiled>, HashOfBytes<Key>>;
  constexpr size_t kMost = 4096;  // shapes that change all the time shall not fill the memory
  const Key key{shape, call.operands[0]->device.index};
  const auto at = plans.find(key);
  if (at != plans.end()) return at->second->plan;
  if (plans.size() >= kMost) plans.clear();
  return (plans[key] = std::make_unique<Compiled>(call, shape))->plan;
}

/// A list of pointers by name.
struct Pointers {
  int64_t ids[16];
  void* of[16];
  int64_t n = 0;
  void add(int64_t id, void* p) {
    ids[n] = id;
    of[n++] = p;
  }
};

/// False if there is no plan; `extra` bytes for the pointers that `fill` adds.
template <class Fill>
bool run(const Call& call, const AttentionShape& s, double scale, int64_t extra, Fill fill) {
  Plan& plan = plan_of(call, s);
  if (!plan.exists()) return refuse("it has no plan for this");
  const Workspace space(size_t(extra + plan.workspace()), call);
  if (!space.fits()) return refuse("there is no memory for its workspace");
  float factor = float(scale), hidden = -INFINITY, one = 1;
  Pointers p;
  p.add(kScale, &factor);
  if (s.causal) p.add(kHidden, &hidden);
  if (s.backward) p.add(kOne, &one);
  auto* const bytes = static_cast<char*>(space.data());
  fill(p, bytes);
  const RelaxedCapture relaxed;  // the first run may load its kernel
  const Status status = plan.run(handle(call), p.ids, p.of, p.n, bytes + extra);
  if (is_unsupported(status)) {
    plan.forget();
    return refuse("it refused to run");
  }
  check(status, plan.failed_in());
  ++flags().cudnn_attention_runs;
  return true;
}

// ---- rows that see nothing ----

/// Where a mask hides all keys of a row cuDNN computes 0 / 0. Such rows give zeros and, by a
/// log-sum of +inf, no gradients. A warp for each row; only rows whose log-sum is not finite read
/// the mask.
__global__ void __launch_bounds__(256) blind_rows_kernel(const __grid_constant__ ForwardArgs a) {
  const Problem& p = a.p;
  const int lane = int(threadIdx.x) % 32;
  auto* const log_sums = reinterpret_cast<float*>(a.log_sums);
  for (int64_t i = first_index() / 32; i < p.batch * p.heads * p.queries;
       i += index_stride() / 32) {
    const float log_sum = log_sums[i];
    if (log_sum - log_sum == 0.0f) continue;
    const int64_t row = i % p.queries, h = i / p.queries % p.heads, b = i / p.queries / p.heads;
    const Rows mask = rows_of(p.mask, b, h), out = rows_of(a.out, b, h);
    int seen = 0;
    for (int64_t j = lane; j < p.keys; j += 32) {
      const Rows m = {mask.data, mask.type, mask.start + j * p.mask.col, mask.row};
      seen |= load<float>(m, row, 0) != float(-kInf);
    }
    if (__any_sync(~0u, seen)) continue;
    for (int64_t e = lane; e < p.v_width; e += 32) {
      store_as<float>(out.data, out.type, out.start + row * out.row + e, 0.0f);
    }
    __syncwarp();
    if (lane == 0) log_sums[i] = float(kInf);
  }
}

}  // namespace

bool attention_of_cudnn(const Call& call, const ForwardArgs& a) {
  if (!flags().cudnn_sdp) return refuse("it is switched off");
  if (!available()) return refuse("it is missing or switched off");
  const Problem& p = a.p;
  AttentionShape s;
  if (!shape_of(p, a.out, s) || !is_trusted(s, call.operands[0]->device.index)) return false;
  const bool done = run(call, s, p.scale, 0, [&](Pointers& all, char*) {
    all.add(kQ, p.q.data);
    all.add(kK, p.k.data);
    all.add(kV, p.v.data);
    if (s.masked) all.add(kMask, p.mask.data);
    all.add(kOut, a.out.data);
    all.add(kLogSums, a.log_sums);
  });
  if (!done) return false;
  after_launch(call);
  if (s.masked) {
    launch_grid(call, &blind_rows_kernel, blocks_for(call, 32 * p.batch * p.heads * p.queries, 256),
                256, a);
  }
  return true;
}

bool attention_backward_of_cudnn(const Call& call, const BackwardArgs& a) {
  if (!flags().cudnn_sdp || !available()) return false;
  const Problem& p = a.p;
  AttentionShape s;
  if (!shape_of(p, a.out, s)) return false;
  s.backward = true;
  if (!is_trusted(s, call.operands[0]->device.index)) return false;
  const Four of_q = {p.batch, p.heads, p.queries, p.width};
  const Four of_out = {p.batch, p.heads, p.queries, p.v_width};
  const Four of_k = {p.batch, p.groups, p.keys, p.width};
  const Four of_v = {p.batch, p.groups, p.keys, p.v_width};
  if (!strides_of(a.dout, of_out, 8, s.dout) || !strides_of(a.dq, of_q, 8, s.dq) ||
      !strides_of(a.dk, of_k, 8, s.dk) || !strides_of(a.dv, of_v, 8, s.dv)) {
    return refuse("strides or addresses of gradients are no multiples of 16 bytes");
  }
  const auto rounded = [](int64_t floats) { return (floats * 4 + 255) / 256 * 256; };
  const int64_t delta = rounded(p.batch * p.heads * p.queries),
                sums = rounded(p.batch * p.heads * p.queries * p.width);
  const bool done = run(call, s, p.scale, delta + sums, [&](Pointers& all, char* space) {
    all.add(kQ, p.q.data);
    all.add(kK, p.k.data);
    all.add(kV, p.v.data);
    if (s.masked) all.add(kMask, p.mask.data);
    all.add(kOut, a.out.data);
    all.add(kLogSums, const_cast<char*>(a.log_sums));
    all.add(kDOut, a.dout.data);
    all.add(kDQ, a.dq.data);
    all.add(kDK, a.dk.data);
    all.add(kDV, a.dv.data);
    all.add(kDelta, space);
    all.add(kDQSums, space + delta);
  });
  if (done) after_launch(call);
  return done;
}

const char* why_not_cudnn() { return g_reason; }

}  // namespace gradstep::cuda
