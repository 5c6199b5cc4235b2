// SPDX-License-Identifier: Apache-2.0
// A stand-in for libcudnn.so.9, for tests of how it is called: it computes in plain loops what the
// descriptors say, on the emulated GPU's memory, and refuses what cuDNN would.
//   LD_LIBRARY_PATH=build/tests/cuda_shim/fake python ...    (tests/test_cuda_cudnn.py)
// FAKE_CUDNN=fail makes products fail, =none offers no algorithm; FAKE_CUDNN_LOG is a file that
// gets a line for each product and search. Algorithm 1 comes first, gives other bits each time by
// its word and refuses groups only when it runs; 0 does all; 2 is listed as unsupported.
#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/half.h"
#include "cuda/cudnn.h"

#define GS_EXPORT extern "C" __attribute__((visibility("default")))

namespace gradstep::cuda::cudnn {
struct HandleObject {
  cudaStream_t stream = nullptr;
};
struct TensorObject {
  Data type{};
  std::vector<int> sizes, strides;
};
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

using namespace gradstep::cuda::cudnn;

// What the engine declares is what is defined here.
#define GS_DECLARE(name, result, arguments) GS_EXPORT result cudnn##name arguments;
GS_CUDNN_FUNCTIONS(GS_DECLARE)
#undef GS_DECLARE

namespace {

constexpr auto kBadParam = static_cast<Status>(2000);
constexpr auto kExecutionFailed = static_cast<Status>(5000);

std::string mode() {
  const char* m = std::getenv("FAKE_CUDNN");
  return m ? m : "";
}

void log(const char* format, ...) {
  const char* path = std::getenv("FAKE_CUDNN_LOG");
  FILE* f = path ? std::fopen(path, "a") : nullptr;
  if (!f) return;
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(f, format, arguments);
  va_end(arguments);
  std::fclose(f);
}

/// Opens the emulated GPU's memory while it lives.
class Access {
 public:
  Access() { of_shim()(1); }
  ~Access() { of_shim()(0); }

 private:
  using Function = void (*)(int);
  static Function of_shim() {
    static const auto f = [] {
      void* shim = dlopen(std::getenv("GRADSTEP_CUDA_PLUGIN"), RTLD_NOW | RTLD_NOLOAD);
      return reinterpret_cast<Function>(shim ? dlsym(shim, "shim_access") : nullptr);
    }();
    if (!f) std::abort();
    return f;
  }
};

template <class T>
float widen(const void* p, int64_t i) {
  T h;
  std::memcpy(&h, static_cast<const char*>(p) + i * 2, 2);
  return float(h);
}
double load(const void* p, Data t, int64_t i) {
  switch (t) {
    case Data::Double: return static_cast<const double*>(p)[i];
    case Data::Half: return double(widen<gradstep::Half>(p, i));
    case Data::BFloat16: return double(widen<gradstep::BFloat16>(p, i));
    default: return double(static_cast<const float*>(p)[i]);
  }
}
template <class T>
void narrow(void* p, int64_t i, double v) {
  const T h(static_cast<float>(v));
  std::memcpy(static_cast<char*>(p) + i * 2, &h, 2);
}
void store(void* p, Data t, int64_t i, double v) {
  switch (t) {
    case Data::Double: static_cast<double*>(p)[i] = v; break;
    case Data::Half: narrow<gradstep::Half>(p, i, v); break;
    case Data::BFloat16: narrow<gradstep::BFloat16>(p, i, v); break;
    default: static_cast<float*>(p)[i] = float(v);
  }
}

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

Status size_of(const TensorObject& x, const FilterObject& w, const ConvObject& c,
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

int64_t count(const std::vector<int>& sizes) {
  int64_t n = 1;
  for (const int s : sizes) n *= s;
  return n;
}

Status run(Kind kind, const void* alpha, const void* beta, const TensorObject& x, void* px,
           const FilterObject& w, void* pw, const ConvObject& c, const TensorObject& y, void* py,
           int algorithm, void* space, size_t bytes) {
  log("%s algorithm=%d math=%d nd=%d\n", kNames[int(kind)], algorithm, int(c.math),
      int(x.sizes.size()) - 2);
  if (mode() == "fail") return kExecutionFailed;
  if (!fits(x, w, c, y) || !px || !pw || !py) return kBadParam;
  if (bytes < space_of(algorithm, x) || (bytes > 0 && !space)) return kBadParam;
  if (algorithm == 1 && c.groups > 1) return Status::NotSupported;
  const Access access;
  if (bytes) std::memset(space, 0x11, bytes);
  const bool wide = c.compute == Data::Double;
  const double a = wide ? *static_cast<const double*>(alpha) : *static_cast<const float*>(alpha);
  const double b = wide ? *static_cast<const double*>(beta) : *static_cast<const float*>(beta);
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
  return Status::Success;
}

/// A search by running: the result is overwritten, as cuDNN does.
Status find(Kind kind, const TensorObject& x, const FilterObject& w, const ConvObject& c,
            const TensorObject& y, void* out, const std::vector<int>& out_sizes, int most,
            int* found, Perf* perf, void* space, size_t bytes) {
  if (bytes < space_of(1, x) || !space) return kBadParam;
  const Access access;
  const size_t item = x.type == Data::Double ? 8 : x.type == Data::Float ? 4 : 2;
  std::memset(out, 0x77, size_t(count(out_sizes)) * item);
  std::memset(space, 0x11, bytes);
  return list(kind, "find", x, w, c, y, most, found, perf);
}

std::vector<int> copy(const int* p, int n) { return {p, p + n}; }
void* plain(const void* p) { return const_cast<void*>(p); }

}  // namespace

size_t cudnnGetVersion() { return 91901; }
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
  if (n < 4 || n > 8) return Status::NotSupported;
  *d = {type, copy(sizes, n), copy(strides, n)};
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
Status cudnnFindConvolutionForwardAlgorithmEx(Handle, TensorDesc x, const void*, FilterDesc w,
                                              const void*, ConvDesc c, TensorDesc y, void* py,
                                              int most, int* found, Perf* perf, void* space,
                                              size_t bytes) {
  return find(Kind::Forward, *x, *w, *c, *y, py, y->sizes, most, found, perf, space, bytes);
}
Status cudnnGetConvolutionForwardWorkspaceSize(Handle, TensorDesc x, FilterDesc w, ConvDesc c,
                                               TensorDesc y, int algorithm, size_t* bytes) {
  return size_of(*x, *w, *c, *y, algorithm, bytes);
}
Status cudnnConvolutionForward(Handle, const void* alpha, TensorDesc x, const void* px,
                               FilterDesc w, const void* pw, ConvDesc c, int algorithm, void* space,
                               size_t bytes, const void* beta, TensorDesc y, void* py) {
  return run(Kind::Forward, alpha, beta, *x, plain(px), *w, plain(pw), *c, *y, py, algorithm, space,
             bytes);
}
Status cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle, FilterDesc w, TensorDesc y, ConvDesc c,
                                                   TensorDesc x, int most, int* found, Perf* perf) {
  return list(Kind::Data, "get", *x, *w, *c, *y, most, found, perf);
}
Status cudnnFindConvolutionBackwardDataAlgorithmEx(Handle, FilterDesc w, const void*, TensorDesc y,
                                                   const void*, ConvDesc c, TensorDesc x, void* px,
                                                   int most, int* found, Perf* perf, void* space,
                                                   size_t bytes) {
  return find(Kind::Data, *x, *w, *c, *y, px, x->sizes, most, found, perf, space, bytes);
}
Status cudnnGetConvolutionBackwardDataWorkspaceSize(Handle, FilterDesc w, TensorDesc y, ConvDesc c,
                                                    TensorDesc x, int algorithm, size_t* bytes) {
  return size_of(*x, *w, *c, *y, algorithm, bytes);
}
Status cudnnConvolutionBackwardData(Handle, const void* alpha, FilterDesc w, const void* pw,
                                    TensorDesc y, const void* py, ConvDesc c, int algorithm,
                                    void* space, size_t bytes, const void* beta, TensorDesc x,
                                    void* px) {
  return run(Kind::Data, alpha, beta, *x, px, *w, plain(pw), *c, *y, plain(py), algorithm, space,
             bytes);
}
Status cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle, TensorDesc x, TensorDesc y, ConvDesc c,
                                                     FilterDesc w, int most, int* found,
                                                     Perf* perf) {
  return list(Kind::Filter, "get", *x, *w, *c, *y, most, found, perf);
}
Status cudnnFindConvolutionBackwardFilterAlgorithmEx(Handle, TensorDesc x, const void*,
                                                     TensorDesc y, const void*, ConvDesc c,
                                                     FilterDesc w, void* pw, int most, int* found,
                                                     Perf* perf, void* space, size_t bytes) {
  return find(Kind::Filter, *x, *w, *c, *y, pw, w->sizes, most, found, perf, space, bytes);
}
Status cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle, TensorDesc x, TensorDesc y,
                                                      ConvDesc c, FilterDesc w, int algorithm,
                                                      size_t* bytes) {
  return size_of(*x, *w, *c, *y, algorithm, bytes);
}
Status cudnnConvolutionBackwardFilter(Handle, const void* alpha, TensorDesc x, const void* px,
                                      TensorDesc y, const void* py, ConvDesc c, int algorithm,
                                      void* space, size_t bytes, const void* beta, FilterDesc w,
                                      void* pw) {
  return run(Kind::Filter, alpha, beta, *x, plain(px), *w, pw, *c, *y, plain(py), algorithm, space,
             bytes);
}
