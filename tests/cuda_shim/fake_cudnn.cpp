// SPDX-License-Identifier: Apache-2.0
// A stand-in for libcudnn.so.9, for tests of how it is called: it computes in plain loops what the
// descriptors say, on the emulated GPU's memory, and refuses what cuDNN would.
//   LD_LIBRARY_PATH=build/tests/cuda_shim/fake python ...    (tests/test_cuda_cudnn.py)
// FAKE_CUDNN=fail makes products fail, =none offers no algorithm; FAKE_CUDNN_LOG is a file that
// gets a line for each product and search. Algorithm 1 comes first, gives other bits each time by
// its word and refuses groups only when it runs; 0 does all; 2 is listed as unsupported. This file
// has convolution and what all share (FAKE_CUDNN_VERSION is what it says of itself);
// fake_cudnn_norm.cpp and fake_cudnn_rnn.cpp have the rest.
#include "fake_cudnn.h"

namespace gradstep::cuda::cudnn {
struct FilterObject {
  Data type{};
  std::vector<int> sizes;
};
struct ConvObject {
  std::vector<int> pad, stride, dilation;
  Data compute{};
  Math math = Math::Default;
  int groups = 1;
};
}  // namespace gradstep::cuda::cudnn

namespace {

enum class Kind { Forward, Data, Filter };
const char* const kNames[] = {"forward", "data", "filter"};

/// All that is said of y = conv(x, w) fits together.
bool fits(const TensorObject& x, const FilterObject& w, const ConvObject& c,
          const TensorObject& y) {
  const size_t n = x.sizes.size(), axes = c.pad.size();
  if ((n != 4 && n != 5) || w.sizes.size() != n || y.sizes.size() != n || axes + 2 != n)
    return false;
  if (x.type != w.type || x.type != y.type) return false;
  if (c.compute != (x.type == Data::Double ? Data::Double : Data::Float)) return false;
  if (x.sizes[0] != y.sizes[0] || y.sizes[1] != w.sizes[0] || c.groups < 1 ||
      x.sizes[1] != w.sizes[1] * c.groups || w.sizes[0] % c.groups != 0)
    return false;
  for (size_t d = 0; d < axes; ++d) {
    const int reach = x.sizes[2 + d] + 2 * c.pad[d] - c.dilation[d] * (w.sizes[2 + d] - 1) - 1;
    if (reach < 0 || y.sizes[2 + d] != reach / c.stride[d] + 1) return false;
  }
  return true;
}

size_t space_of(int algorithm, const TensorObject& x) {
  return algorithm == 0 ? 0 : size_t(1000 + 8 * x.sizes[0]);
}

Status list(Kind kind, const char* how, const TensorObject& x, const FilterObject& w,
            const ConvObject& c, const TensorObject& y, int most, int* found, Perf* perf) {
  if (!fits(x, w, c, y) || most < 1) return kBadParam;
  log("%s %s math=%d\n", how, kNames[int(kind)], int(c.math));
  *found = 0;
  if (mode() == "none") return Status::Success;
  const Perf all[] = {{2, Status::NotSupported, -1, 0, Determinism::Yes, c.math, {}},
                      {1, Status::Success, 1, space_of(1, x), Determinism::No, c.math, {}},
                      {0, Status::Success, 2, space_of(0, x), Determinism::Yes, Math::Default, {}}};
  for (const Perf& p : all) {
    if (*found < most) perf[(*found)++] = p;
  }
  return Status::Success;
}

Status workspace_of(const TensorObject& x, const FilterObject& w, const ConvObject& c,
                    const TensorObject& y, int algorithm, size_t* bytes) {
  if (!fits(x, w, c, y)) return kBadParam;
  if (algorithm < 0 || algorithm > 1) return Status::NotSupported;
  *bytes = space_of(algorithm, x);
  return Status::Success;
}

struct Loop {
  const TensorObject &x, &y;
  const FilterObject& w;
  const ConvObject& c;

  /// Calls f(index in x, in w, in y) for each product of two elements.
  template <class F>
  void each(F f) const {
    const int axes = int(c.pad.size());
    const int per_group = y.sizes[1] / c.groups;
    int64_t places = 1, taps = 1;
    for (int d = 0; d < axes; ++d) {
      places *= y.sizes[size_t(2 + d)];
      taps *= w.sizes[size_t(2 + d)];
    }
    for (int b = 0; b < y.sizes[0]; ++b) {
      for (int co = 0; co < y.sizes[1]; ++co) {
        for (int64_t place = 0; place < places; ++place) {
          for (int ci = 0; ci < w.sizes[1]; ++ci) {
            for (int64_t tap = 0; tap < taps; ++tap) {
              int64_t p = place, t = tap;
              const int from = co / per_group * w.sizes[1] + ci;
              int64_t in_x = int64_t(b) * x.strides[0] + int64_t(from) * x.strides[1];
              int64_t in_y = int64_t(b) * y.strides[0] + int64_t(co) * y.strides[1];
              bool inside = true;
              for (int d = axes - 1; d >= 0; --d) {
                const auto k = size_t(d);
                const int64_t o = p % y.sizes[2 + k], tap_d = t % w.sizes[2 + k];
                p /= y.sizes[2 + k];
                t /= w.sizes[2 + k];
                const int64_t i = o * c.stride[k] - c.pad[k] + tap_d * c.dilation[k];
                inside = inside && i >= 0 && i < x.sizes[2 + k];
                in_x += i * x.strides[2 + k];
                in_y += o * y.strides[2 + k];
              }
              if (inside) f(in_x, (int64_t(co) * w.sizes[1] + ci) * taps + tap, in_y);
            }
          }
        }
      }
    }
  }
};

Status run(Handle h, Kind kind, const void* alpha, const void* beta, const TensorObject& x,
           void* px, const FilterObject& w, void* pw, const ConvObject& c, const TensorObject& y,
           void* py, int algorithm, void* space, size_t bytes) {
  log("%s algorithm=%d math=%d nd=%d\n", kNames[int(kind)], algorithm, int(c.math),
      int(x.sizes.size()) - 2);
  if (mode() == "fail") return kExecutionFailed;
  if (!fits(x, w, c, y) || !px || !pw || !py) return kBadParam;
  if (bytes < space_of(algorithm, x) || (bytes > 0 && !space)) return kBadParam;
  if (algorithm == 1 && c.groups > 1) return Status::NotSupported;
  const bool wide = c.compute == Data::Double;
  const double a = wide ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
  const double b = wide ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
  on_device(h, [=] {
    if (bytes) std::memset(space, 0x11, bytes);
    const Data t = x.type;
    void* const out = kind == Kind::Forward ? py : kind == Kind::Data ? px : pw;
    // The results are packed, so their indices are those of a plain array.
    std::vector<double> sum(size_t(count(kind == Kind::Forward ? y.sizes
                                         : kind == Kind::Data  ? x.sizes
                                                               : w.sizes)));
    Loop{x, y, w, c}.each([&](int64_t i, int64_t k, int64_t o) {
      switch (kind) {
        case Kind::Forward: sum[size_t(o)] += load(px, t, i) * load(pw, t, k); break;
        case Kind::Data: sum[size_t(i)] += load(py, t, o) * load(pw, t, k); break;
        case Kind::Filter: sum[size_t(k)] += load(px, t, i) * load(py, t, o); break;
      }
    });
    for (size_t i = 0; i < sum.size(); ++i) {
      const auto at = int64_t(i);
      store(out, t, at, a * sum[i] + (b == 0 ? 0 : b * load(out, t, at)));
    }
  });
  return Status::Success;
}

/// A search by running: the result is overwritten, as cuDNN does.
Status find(Handle h, Kind kind, const TensorObject& x, const FilterObject& w, const ConvObject& c,
            const TensorObject& y, void* out, const std::vector<int>& out_sizes, int most,
            int* found, Perf* perf, void* space, size_t bytes) {
  if (bytes < space_of(1, x) || !space) return kBadParam;
  const size_t result = size_t(count(out_sizes)) * size_of(x.type);
  on_device(h, [=] {
    std::memset(out, 0x77, result);
    std::memset(space, 0x11, bytes);
  });
  return list(kind, "find", x, w, c, y, most, found, perf);
}

std::vector<int> copy(const int* p, int n) { return {p, p + n}; }
void* plain(const void* p) { return const_cast<void*>(p); }

}  // namespace

size_t cudnnGetVersion() {
  const char* v = std::getenv("FAKE_CUDNN_VERSION");
  return v ? size_t(std::atol(v)) : 91901;
}
const char* cudnnGetErrorString(Status s) {
  return s == kExecutionFailed ? "CUDNN_STATUS_EXECUTION_FAILED" : "CUDNN_STATUS_BAD_PARAM";
}
void cudnnGetLastErrorString(char* text, size_t size) {
  std::snprintf(text, size, "the stand-in was told to");
}
Status cudnnCreate(Handle* h) {
  *h = new HandleObject;
  return Status::Success;
}
Status cudnnSetStream(Handle h, cudaStream_t s) {
  h->stream = s;
  return Status::Success;
}
Status cudnnCreateTensorDescriptor(TensorDesc* d) {
  *d = new TensorObject;
  return Status::Success;
}
Status cudnnSetTensorNdDescriptor(TensorDesc d, Data type, int n, const int* sizes,
                                  const int* strides) {
  if (n < 3 || n > 8) return Status::NotSupported;
  *d = {type, copy(sizes, n), copy(strides, n)};
  return Status::Success;
}
Status cudnnGetTensorNdDescriptor(TensorDesc d, int most, Data* type, int* n, int* sizes,
                                  int* strides) {
  *type = d->type;
  *n = int(d->sizes.size());
  for (int i = 0; i < *n && i < most; ++i) {
    sizes[i] = d->sizes[size_t(i)];
    strides[i] = d->strides[size_t(i)];
  }
  return Status::Success;
}
Status cudnnDestroyTensorDescriptor(TensorDesc d) {
  delete d;
  return Status::Success;
}
Status cudnnCreateFilterDescriptor(FilterDesc* d) {
  *d = new FilterObject;
  return Status::Success;
}
Status cudnnSetFilterNdDescriptor(FilterDesc d, Data type, Format format, int n, const int* sizes) {
  if (format != Format::NCHW || n < 4 || n > 8) return Status::NotSupported;
  *d = {type, copy(sizes, n)};
  return Status::Success;
}
Status cudnnDestroyFilterDescriptor(FilterDesc d) {
  delete d;
  return Status::Success;
}
Status cudnnCreateConvolutionDescriptor(ConvDesc* d) {
  *d = new ConvObject;
  return Status::Success;
}
Status cudnnSetConvolutionNdDescriptor(ConvDesc d, int n, const int* pad, const int* stride,
                                       const int* dilation, Mode mode, Data compute) {
  if (mode != Mode::CrossCorrelation) return Status::NotSupported;
  d->pad = copy(pad, n);
  d->stride = copy(stride, n);
  d->dilation = copy(dilation, n);
  d->compute = compute;
  return Status::Success;
}
Status cudnnSetConvolutionGroupCount(ConvDesc d, int n) {
  d->groups = n;
  return Status::Success;
}
Status cudnnSetConvolutionMathType(ConvDesc d, Math math) {
  d->math = math;
  return Status::Success;
}
Status cudnnDestroyConvolutionDescriptor(ConvDesc d) {
  delete d;
  return Status::Success;
}

Status cudnnGetConvolutionForwardAlgorithm_v7(Handle, TensorDesc x, FilterDesc w, ConvDesc c,
                                              TensorDesc y, int most, int* found, Perf* perf) {
  return list(Kind::Forward, "get", *x, *w, *c, *y, most, found, perf);
}
Status cudnnFindConvolutionForwardAlgorithmEx(Handle h, TensorDesc x, const void*, FilterDesc w,
                                              const void*, ConvDesc c, TensorDesc y, void* py,
                                              int most, int* found, Perf* perf, void* space,
                                              size_t bytes) {
  return find(h, Kind::Forward, *x, *w, *c, *y, py, y->sizes, most, found, perf, space, bytes);
}
Status cudnnGetConvolutionForwardWorkspaceSize(Handle, TensorDesc x, FilterDesc w, ConvDesc c,
                                               TensorDesc y, int algorithm, size_t* bytes) {
  return workspace_of(*x, *w, *c, *y, algorithm, bytes);
}
Status cudnnConvolutionForward(Handle h, const void* alpha, TensorDesc x, const void* px,
                               FilterDesc w, const void* pw, ConvDesc c, int algorithm, void* space,
                               size_t bytes, const void* beta, TensorDesc y, void* py) {
  return run(h, Kind::Forward, alpha, beta, *x, plain(px), *w, plain(pw), *c, *y, py, algorithm,
             space, bytes);
}
Status cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle, FilterDesc w, TensorDesc y, ConvDesc c,
                                                   TensorDesc x, int most, int* found, Perf* perf) {
  return list(Kind::Data, "get", *x, *w, *c, *y, most, found, perf);
}
Status cudnnFindConvolutionBackwardDataAlgorithmEx(Handle h, FilterDesc w, const void*,
                                                   TensorDesc y, const void*, ConvDesc c,
                                                   TensorDesc x, void* px, int most, int* found,
                                                   Perf* perf, void* space, size_t bytes) {
  return find(h, Kind::Data, *x, *w, *c, *y, px, x->sizes, most, found, perf, space, bytes);
}
Status cudnnGetConvolutionBackwardDataWorkspaceSize(Handle, FilterDesc w, TensorDesc y, ConvDesc c,
                                                    TensorDesc x, int algorithm, size_t* bytes) {
  return workspace_of(*x, *w, *c, *y, algorithm, bytes);
}
Status cudnnConvolutionBackwardData(Handle h, const void* alpha, FilterDesc w, const void* pw,
                                    TensorDesc y, const void* py, ConvDesc c, int algorithm,
                                    void* space, size_t bytes, const void* beta, TensorDesc x,
                                    void* px) {
  return run(h, Kind::Data, alpha, beta, *x, px, *w, plain(pw), *c, *y, plain(py), algorithm, space,
             bytes);
}
Status cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle, TensorDesc x, TensorDesc y, ConvDesc c,
                                                     FilterDesc w, int most, int* found,
                                                     Perf* perf) {
  return list(Kind::Filter, "get", *x, *w, *c, *y, most, found, perf);
}
Status cudnnFindConvolutionBackwardFilterAlgorithmEx(Handle h, TensorDesc x, const void*,
                                                     TensorDesc y, const void*, ConvDesc c,
                                                     FilterDesc w, void* pw, int most, int* found,
                                                     Perf* perf, void* space, size_t bytes) {
  return find(h, Kind::Filter, *x, *w, *c, *y, pw, w->sizes, most, found, perf, space, bytes);
}
Status cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle, TensorDesc x, TensorDesc y,
                                                      ConvDesc c, FilterDesc w, int algorithm,
                                                      size_t* bytes) {
  return workspace_of(*x, *w, *c, *y, algorithm, bytes);
}
Status cudnnConvolutionBackwardFilter(Handle h, const void* alpha, TensorDesc x, const void* px,
                                      TensorDesc y, const void* py, ConvDesc c, int algorithm,
                                      void* space, size_t bytes, const void* beta, FilterDesc w,
                                      void* pw) {
  return run(h, Kind::Filter, alpha, beta, *x, plain(px), *w, pw, *c, *y, plain(py), algorithm,
             space, bytes);
}
