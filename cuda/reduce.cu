// SPDX-License-Identifier: Apache-2.0
// All reductions on a GPU: the shape of their launches and the table of ops. See cuda/reduce.h.
#include "cuda/reduce.h"

#include <algorithm>

namespace gradstep::cuda {

// ---- geometry ----

ReduceArgs reduce_args(const Call& call, const TensorImpl& x, uint64_t mask) {
  ReduceArgs a;
  a.in[0] = x.data;
  a.type[0] = x.dtype;
  for (int k = 0; k < 2; ++k) {
    TensorImpl* out = k < call.n_out ? call.operands[k] : nullptr;
    a.out[k] = out ? out->data : nullptr;
    a.out_type[k] = out ? out->dtype : DType::Float32;
  }
  int64_t out_stride[kMaxDims], step = 1;
  for (int d = x.ndim() - 1; d >= 0; --d) {
    out_stride[d] = step;
    if (!(mask >> d & 1)) step *= x.sizes[d];
  }
  int order[kMaxDims];
  order_by_stride(x.strides, order);
  for (int k = x.ndim() - 1; k >= 0; --k) {
    const int d = order[k];
    if (mask >> d & 1)
      a.reduced.add(x.sizes[d], {x.strides[d]});
    else
      a.kept.add(x.sizes[d], {x.strides[d], out_stride[d]});
  }
  a.reduced.finish();
  a.kept.finish();
  a.outputs = a.kept.numel;
  a.count = a.reduced.numel;
  return a;
}

void add_second(ReduceArgs& a, const TensorImpl& dy) {
  a.in[1] = dy.data;
  a.type[1] = dy.dtype;
}

// Note [Shape of a reduction]
// Along the memory: up to 32 threads across read neighbours, so that a short row is shared by few
// threads and a block does many; longer rows are shared by several warps. Down the memory: 32
// outputs side by side (or so many times kFew, 16 bytes a thread), 8 rows at once; short columns
// get more outputs and fewer rows. When the outputs do not fill a device, several blocks share each
// long reduction: their states are merged by a second launch. All of that depends on sizes and
// layout only, so results do not depend on the model of the GPU.
void shape_reduction(ReduceArgs& a, int few) {
  const Layout<1>& r = a.reduced;
  const bool along = a.kept.ndim == 0 || (r.ndim > 0 && r.strides[0][0] < a.kept.strides[0][0]);
  a.few = r.ndim > 0 && r.strides[0][0] == 1 && aligned_few(a.in[0], a.type[0]) &&
          (!a.in[1] || aligned_few(a.in[1], a.type[1]));
  for (int k = 0; k < a.kept.ndim; ++k) a.few = a.few && a.kept.strides[0][k] % few == 0;
  for (int k = 1; k < r.ndim; ++k) a.few = a.few && r.strides[0][k] % few == 0;
  if (r.ndim > 1) a.few = a.few && r.sizes[0] % few == 0;

  const int64_t chunks = a.few ? a.count / few : a.count;
  int64_t outputs = a.outputs;  // of a thread each
  if (along) {
    int threads = 1;  // of an output
    while (threads < 32 && threads * 4 < chunks) threads *= 2;
    while (threads < kReduceThreads && threads * 16 < chunks) threads *= 2;
    while (threads < kReduceThreads && threads * 2 <= chunks &&
           a.outputs * threads < int64_t(kReduceProcessors) * 1024) {
      threads *= 2;
    }
    a.across = std::min(threads, 32);
    a.down = threads / a.across;
    a.side = kReduceThreads / threads;
  } else {
    const auto fits = [&](int64_t step) { return step % few == 0; };
    a.columns = a.kept.strides[0][0] == 1 && fits(a.kept.sizes[0]) &&
                aligned_few(a.in[0], a.type[0]) && (!a.in[1] || aligned_few(a.in[1], a.type[1]));
    for (int k = 1; k < a.kept.ndim; ++k) a.columns = a.columns && fits(a.kept.strides[0][k]);
    for (int k = 0; k < r.ndim; ++k) a.columns = a.columns && fits(r.strides[0][k]);
    if (a.columns) outputs /= few;
    a.across = 1;
    a.side = 1;
    while (a.side < 32 && a.side < outputs) a.side *= 2;
    a.down = kReduceThreads / a.side;
    while (a.down > 1 && a.down * 8 > chunks) {
      a.down /= 2;
      a.side *= 2;
    }
  }
  const int64_t blocks = (outputs + a.side - 1) / a.side;
  const int64_t turns = chunks / (a.across * a.down);  // of a thread
  const int64_t full = int64_t(kReduceProcessors) * kReduceBlocks;
  a.pieces = 1;
  if (blocks * 2 < full && turns >= 16) {
    a.pieces = int(std::min((full + blocks - 1) / blocks, turns / 8));
  }
}

// ---- the kernels ----
// params: 0 = the mask of reduced axes, 1 = the reducer's own parameter, a double.

namespace {

template <class R>
void reduce(const Call& call) {
  const DeviceGuard guard(call.out(0).device.index);
  ReduceArgs a = reduce_args(call, call.in(0), uint64_t(call.i(0)));
  a.param = call.params.count > 1 ? call.f(1) : 0;
  run_reduction<R>(call, a);
}

template <template <class> class Of>
void reduce_any(const Call& call) {
  by_compute(call.compute, [&](auto tag) { reduce<Of<decltype(tag)>>(call); });
}

template <template <class> class Of>
void reduce_real(const Call& call) {
  GS_CHECK(call.compute != Compute::I64, "\"{}\" not implemented for 'Long'", call.op->name);
  return call.compute == Compute::F32 ? reduce<Of<float>>(call) : reduce<Of<double>>(call);
}

template <class F>
struct FoldOf {
  template <class C>
  using type = Fold<F, C>;
};
template <class C>
using MaxDim = ArgReduce<Greater, C, true>;
template <class C>
using MinDim = ArgReduce<Less, C, true>;
template <class C>
using ArgMax = ArgReduce<Greater, C, false>;
template <class C>
using ArgMin = ArgReduce<Less, C, false>;
template <class C>
using Variance = ShiftedMoments<C, false>;
template <class C>
using Deviation = ShiftedMoments<C, true>;
template <class C>
using LogOfSum = LogSumExp<C, C>;

template <class F>
constexpr Kernel kFold = &reduce_any<FoldOf<F>::template type>;
template <class F>
constexpr Kernel kRealFold = &reduce_real<FoldOf<F>::template type>;

const CudaKernel kKernels[] = {
    {"sum", kFold<Sum>},
    {"mean", kRealFold<Mean>},
    {"prod", kFold<Prod>},
    {"nansum", kRealFold<NanSum>},
    {"count_nonzero", kFold<CountNonzero>},
    {"amax", kFold<Max>},
    {"amin", kFold<Min>},
    {"any", kFold<Any>},
    {"all", kFold<All>},
    {"norm_2", kRealFold<RootSumSquares>},
    {"norm_1", kRealFold<AbsSum>},
    {"norm_inf", kRealFold<AbsMax>},
    {"norm_neg_inf", kRealFold<AbsMin>},
    {"max_dim", &reduce_any<MaxDim>},
    {"min_dim", &reduce_any<MinDim>},
    {"argmax", &reduce_any<ArgMax>},
    {"argmin", &reduce_any<ArgMin>},
    {"var", &reduce_real<Variance>},
    {"std", &reduce_real<Deviation>},
    {"var_mean", &reduce_real<Variance>},
    {"std_mean", &reduce_real<Deviation>},
    {"logsumexp", &reduce_real<LogOfSum>},
};

}  // namespace

}  // namespace gradstep::cuda
