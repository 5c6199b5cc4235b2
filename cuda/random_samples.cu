// SPDX-License-Identifier: Apache-2.0
// Poisson, gamma and binomial numbers, permutations and indices drawn by weight.
#include "core/random_args.h"
#include "cuda/block.h"
#include "cuda/random.h"
#include "fn/samples.h"

namespace gradstep::cuda {

namespace {

// ---- one number for each parameter, by rejection ----

struct DrawArgs {
  int64_t n;
  char* out;
  const char* x[2];
  DType type;
  Philox state;
  Reporter reporter;
  int64_t message;
};

/// What fn/samples.h draws from: doubles in (0, 1], two of a turn, and normal ones.
class Doubles {
 public:
  GS_DEVICE Doubles(const Philox& p, int64_t subsequence) : draws_(p, subsequence) {}
  GS_DEVICE double uniform() {
    have_ = !have_;
    if (!have_) return uniform_closed(r_.x[2], r_.x[3]);
    r_ = draws_.next();
    return uniform_closed(r_.x[0], r_.x[1]);
  }
  GS_DEVICE double normal() {
    double a, b;
    normal_pair(draws_.next(), a, b);
    return a;
  }

 private:
  Draws draws_;
  Random4 r_ = {};
  bool have_ = false;
};

struct Poisson {
  static constexpr int kInputs = 1;
  static constexpr auto kName = "poisson_cuda";
  static constexpr auto kMessage = "invalid Poisson rate, expected rate to be non-negative";
  GS_DEVICE static bool valid(const double* x) { return !(x[0] < 0); }
  GS_NOINLINE static double draw(Doubles& from, const double* x) {
    // 0, or infinite or NaN as it was.
    return x[0] > 0 && x[0] < 1e300 ? draw_poisson(from, x[0]) : x[0];
  }
};

struct Gamma {
  static constexpr int kInputs = 1;
  static constexpr auto kName = "gamma_cuda";
  static constexpr auto kMessage = "";
  GS_DEVICE static bool valid(const double*) { return true; }
  GS_NOINLINE static double draw(Doubles& from, const double* x) { return draw_gamma(from, x[0]); }
};

struct Binomial {
  static constexpr int kInputs = 2;
  static constexpr auto kName = "binomial_cuda";
  static constexpr auto kMessage = "";
  GS_DEVICE static bool valid(const double*) { return true; }
  GS_NOINLINE static double draw(Doubles& from, const double* x) {
    return draw_binomial(from, x[0], x[1]);
  }
};

/// A subsequence for each element.
template <class D>
__global__ void __launch_bounds__(kRandomThreads) draw_kernel(const __grid_constant__ DrawArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    double x[D::kInputs];
    for (int k = 0; k < D::kInputs; ++k) x[k] = load_as<double>(a.x[k], a.type, i);
    if (!D::valid(x)) report_trouble(a.reporter, Trouble::Message, a.message, 0, 0, 0);
    Doubles from(a.state, i);
    double value = D::draw(from, x);
    if constexpr (std::is_same_v<D, Gamma>) {  // as on the CPU: at least the smallest normal number
      const double least = a.type == DType::Float64   ? 0x1p-1022
                           : a.type == DType::Float16 ? 0x1p-14
                                                      : 0x1p-126;
      if (value < least) value = least;
    }
    store_as<double>(a.out, a.type, i, value);
  }
}

template <class D>
void draw_each(const Call& call) {
  const TensorImpl& out = call.out(0);
  GS_CHECK_KIND(NotImplemented, is_floating(out.dtype), "\"{}\" not implemented for '{}'", D::kName,
                scalar_name(out.dtype));
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  // As many draws as nobody needs: a rejection takes a few, a small rate one for each count.
  DrawArgs a{out.numel,
             out.data,
             {},
             out.dtype,
             take_draws(call, 1024),
             reporter(call),
             message_number(D::kMessage, ErrorKind::Runtime)};
  for (int k = 0; k < D::kInputs; ++k) a.x[k] = call.in(k).data;
  launch_grid(call, &draw_kernel<D>, blocks_for(call, a.n, kRandomThreads), kRandomThreads, a);
}

/// gamma_slope(; shapes, numbers)
__global__ void __launch_bounds__(kRandomThreads) slope_kernel(const __grid_constant__ DrawArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    store_as<double>(
        a.out, a.type, i,
        GammaSlope{}(load_as<double>(a.x[0], a.type, i), load_as<double>(a.x[1], a.type, i)));
  }
}

void gamma_slope(const Call& call) {
  const TensorImpl& out = call.out(0);
  if (out.numel == 0) return;
  const DeviceGuard guard(out.device.index);
  const DrawArgs a{out.numel, out.data, {call.in(0).data, call.in(1).data}, out.dtype, {}, {}, 0};
  launch_grid(call, &slope_kernel, blocks_for(call, a.n, kRandomThreads), kRandomThreads, a);
}

// ---- permutations: the order of random keys of 63 bits ----

constexpr int64_t kRankedKeys = 2048;  // up to here each thread counts the smaller keys

__global__ void rank_kernel(const int64_t* keys, int64_t n, char* out, DType type) {
  const int64_t i = first_index();
  if (i >= n) return;
  const int64_t mine = keys[i];
  int64_t rank = 0;
  for (int64_t j = 0; j < n; ++j) rank += keys[j] < mine || (keys[j] == mine && j < i);
  store_as<int64_t>(out, type, rank, i);
}

void random_permutation(const Call& call) {
  TensorImpl& out = call.out(0);
  const int64_t n = out.numel;
  check_randperm(out.dtype, n, DeviceType::CUDA);
  if (n == 0) return;
  const DeviceGuard guard(out.device.index);
  const Tensor keys = empty({n}, DType::Int64, out.device);
  fill_integers(call, *keys.get(), {0, uint64_t{1} << 63, true});
  if (n <= kRankedKeys) {
    return launch_grid(call, &rank_kernel, unsigned((n + 255) / 256), 256, keys.data<int64_t>(), n,
                       out.data, out.dtype);
  }
  static const Op& sort = Op::get("sort");
  static const Op& copy = Op::get("copy");
  const Tensor sorted = empty({n}, DType::Int64, out.device),
               places = empty({n}, DType::Int64, out.device);
  Params first_axis_ascending;
  first_axis_ascending.push(int64_t{0});
  first_axis_ascending.push(int64_t{0});
  TensorImpl* const to_sort[] = {sorted.get(), places.get(), keys.get()};
  run_here({&sort, Compute::I64, 2, 1, to_sort, first_axis_ascending});
  TensorImpl* const to_copy[] = {&out, places.get()};
  run_here({&copy, Compute::I64, 1, 1, to_copy, Params()});
}

// ---- multinomial ----

struct RowsArgs {
  const char* weights;
  DType type;
  int64_t rows, categories;
  double* cumulative;  // null: check only
  Reporter reporter;
  int64_t negative, not_finite, no_sum;  // messages
};
constexpr int kRowThreads = 256;

/// A block for each row: checks the weights, and sums them up from the left in double, 256 at a
/// time.
__global__ void __launch_bounds__(kRowThreads) rows_kernel(const __grid_constant__ RowsArgs a) {
  __shared__ double sums[kRowThreads];
  const int lane = int(threadIdx.x);
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    double before = 0;
    for (int64_t from = 0; from < a.categories; from += kRowThreads) {
      const int64_t j = from + lane, at = row * a.categories + j;
      const double w = j < a.categories ? load_as<double>(a.weights, a.type, at) : 0;
      if (w < 0) report_trouble(a.reporter, Trouble::Message, a.negative, 0, 0, 0);
      if (!(fabs(w) <= 0x1.fffffffffffffp1023))
        report_trouble(a.reporter, Trouble::Message, a.not_finite, 0, 0, 0);
      sums[lane] = w;
      __syncthreads();
      for (int step = 1; step < kRowThreads; step *= 2) {
        const double left = lane >= step ? sums[lane - step] : 0;
        __syncthreads();
        sums[lane] += left;
        __syncthreads();
      }
      if (a.cumulative && j < a.categories) a.cumulative[at] = before + sums[lane];
      before += sums[kRowThreads - 1];
      __syncthreads();
    }
    if (lane == 0 && !(before > 0)) report_trouble(a.reporter, Trouble::Message, a.no_sum, 0, 0, 0);
  }
}

struct SampleArgs {
  int64_t n, samples, categories;
  const double* cumulative;
  int64_t* out;
  Philox state;
};

/// A subsequence for each sample: the first category whose sum reaches u times the whole.
__global__ void __launch_bounds__(kRandomThreads)
    sample_kernel(const __grid_constant__ SampleArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    const Random4 r = Draws(a.state, i).next();
    const double* const c = a.cumulative + i / a.samples * a.categories;
    const double wanted = uniform_closed(r.x[0], r.x[1]) * c[a.categories - 1];
    int64_t low = 0, high = a.categories - 1;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (c[middle] < wanted)
        low = middle + 1;
      else
        high = middle;
    }
    a.out[i] = low;
  }
}

struct RatioArgs {
  int64_t n;
  const char* weights;
  char* q;
  DType type;
};

__global__ void ratio_kernel(const __grid_constant__ RatioArgs a) {
  for (int64_t i = first_index(); i < a.n; i += index_stride()) {
    if (a.type == DType::Float64) {
      double* const q = reinterpret_cast<double*>(a.q) + i;
      *q = reinterpret_cast<const double*>(a.weights)[i] / *q;
    } else {
      store_as<float>(a.q, a.type, i,
                      load_as<float>(a.weights, a.type, i) / load_as<float>(a.q, a.type, i));
    }
  }
}

// in: weights [rows, categories]; out: int64 [rows, samples]. Slot 1: replacement.
void random_multinomial(const Call& call) {
  TensorImpl& out = call.out(0);
  TensorImpl& weights = call.in(0);
  const int64_t rows = weights.sizes[0], categories = weights.sizes[1], samples = out.sizes[1];
  const bool replacement = call.i(1) != 0;
  check_multinomial(weights.dtype, categories, samples, replacement);
  if (rows == 0) return;
  const DeviceGuard guard(out.device.index);
  // Without replacement the largest of weight / exponential draw: Gumbel's trick without
  // logarithms.
  const bool largest = !replacement || samples == 1;
  const DeviceScratch<double> cumulative(largest ? 0 : rows * categories, call);
  const auto message = [](const char* text) { return message_number(text, ErrorKind::Runtime); };
  constexpr const char* kInvalid = "probability tensor contains either `inf`, `nan` or element < 0";
  constexpr const char* kNegative =
      "invalid multinomial distribution (encountering probability entry < 0)";
  constexpr const char* kNotFinite =
      "invalid multinomial distribution (encountering probability entry = infinity or NaN)";
  const RowsArgs a{weights.data,
                   weights.dtype,
                   rows,
                   categories,
                   cumulative.data(),
                   reporter(call),
                   message(largest ? kInvalid : kNegative),
                   message(largest ? kInvalid : kNotFinite),
                   message("invalid multinomial distribution (sum of probabilities <= 0)")};
  const int64_t most = 65536;
  launch_grid(call, &rows_kernel, unsigned(rows < most ? rows : most), kRowThreads, a);
  if (!largest) {
    const SampleArgs s{out.numel,
                       samples,
                       categories,
                       cumulative.data(),
                       reinterpret_cast<int64_t*>(out.data),
                       take_draws(call, 4)};
    return launch_grid(call, &sample_kernel, blocks_for(call, s.n, kRandomThreads), kRandomThreads,
                       s);
  }
  const Tensor q = empty(weights.sizes, weights.dtype, weights.device);
  fill_exponential(call, *q.get(), 1);
  const RatioArgs ratio{weights.numel, weights.data, q.get()->data, weights.dtype};
  launch_grid(call, &ratio_kernel, blocks_for(call, ratio.n, kRandomThreads), kRandomThreads,
              ratio);
  static const Op& topk = Op::get("topk");
  const Tensor values = empty(out.sizes, weights.dtype, weights.device);
  Params p;
  p.push(int64_t{1});  // the axis
  p.push(samples);
  p.push(int64_t{1});  // the largest
  p.push(int64_t{1});  // in order
  TensorImpl* const operands[] = {values.get(), &out, q.get()};
  run_here({&topk, compute_type(weights.dtype), 2, 1, operands, p});
}

void random_poisson(const Call& call) { draw_each<Poisson>(call); }
GS_CUDA_KERNEL("random_poisson", random_poisson);
void random_gamma(const Call& call) { draw_each<Gamma>(call); }
GS_CUDA_KERNEL("random_gamma", random_gamma);
void random_binomial(const Call& call) { draw_each<Binomial>(call); }
GS_CUDA_KERNEL("random_binomial", random_binomial);
GS_CUDA_KERNEL("gamma_slope", gamma_slope);
GS_CUDA_KERNEL("random_permutation", random_permutation);
GS_CUDA_KERNEL("random_multinomial", random_multinomial);

}  // namespace

}  // namespace gradstep::cuda
