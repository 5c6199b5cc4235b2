// SPDX-License-Identifier: Apache-2.0
// Matrix products of bfloat16 and float16, threaded over pieces of C that depend on the shape only.
// Two ways:
//   oneDNN  where the machine multiplies bfloat16 faster than float: AMX, or AVX512_BF16 of AMD.
//           Intel's AVX512_BF16 without AMX has half the rate of its float FMA (Emerald Rapids: 87
//           against 165 GFLOP/s of one core; Zen 4: 215 against 110).
//   float   everywhere else: A and B are converted once, tiles of C are multiplied in float and
//           rounded while they are in the cache.
// GRADSTEP_BF16=onednn|float chooses one, for tests and comparisons.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/memory.h"
#include "core/threads.h"
#include "kernels/convert.h"
#include "kernels/gemm.h"
#include "kernels/matmul.h"
#include "kernels/onednn.h"

namespace gradstep {

namespace {

// Counted in multiplications unless said otherwise.
constexpr int64_t kSmallWork = 1 << 18;  // up to here in the calling thread, never by oneDNN
constexpr int64_t kPieceWork = 1 << 20;  // least work of one chunk
constexpr int64_t kEntryWork = 1 << 24;  // from here on entries of a short batch run one by one
constexpr int64_t kSkinny = 8;           // so few rows or columns: pieces convert their own part
constexpr int64_t kMaxTiles = 64;
constexpr int64_t kUnit = 32;              // rows and columns of a tile are multiples of it
constexpr int64_t kConvertFloats = 16384;  // 64 KB that one chunk converts at once
constexpr int64_t kItem = 2;               // bytes of a half

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// C (m x n) = alpha * A B + beta * C + bias for each entry of a batch. Strides count elements; one
/// of A's is 1, so is one of B's, and C's rows are contiguous.
struct Product {
  DType dtype;
  int64_t batch, m, n, k;
  const char* a;
  int64_t a_row, a_col, a_batch;
  const char* b;
  int64_t b_row, b_col, b_batch;
  char* c;
  int64_t ldc, c_batch;
  float alpha, beta;
  const char* bias;
  int64_t bias_step;
};

Product entries(Product p, int64_t begin, int64_t end) {
  p.a += begin * p.a_batch * kItem;
  p.b += begin * p.b_batch * kItem;
  p.c += begin * p.c_batch * kItem;
  p.batch = end - begin;
  return p;
}

/// Rows [i, i + m) and columns [j, j + n) of C.
Product tile(Product p, int64_t i, int64_t j, int64_t m, int64_t n) {
  p.a += i * p.a_row * kItem;
  p.b += j * p.b_col * kItem;
  p.c += (i * p.ldc + j) * kItem;
  if (p.bias) p.bias += j * p.bias_step * kItem;
  p.m = m;
  p.n = n;
  return p;
}

using Floats = Scratch<float>;

// ---- conversions ----

/// `rows` runs of `cols` halves, `ld` apart, to floats without gaps.
void widen(DType from, int64_t rows, int64_t cols, const char* src, int64_t ld, float* dst) {
  const ConvertLoop loop = convert_loop_for(DType::Float32, from);
  if (ld == cols) return loop(dst, src, rows * cols);
  for (int64_t i = 0; i < rows; ++i) loop(dst + i * cols, src + i * ld * kItem, cols);
}

/// What the product is added to, in float: bias and beta * C. False if it is nothing.
bool preload(const Product& p, float* c) {
  if (p.beta != 0) {
    widen(p.dtype, p.m, p.n, p.c, p.ldc, c);
    for (int64_t i = 0; i < p.m * p.n && p.beta != 1; ++i) c[i] *= p.beta;
  }
  if (!p.bias) return p.beta != 0;
  const ConvertLoop loop = convert_loop_for(DType::Float32, p.dtype);
  const Floats bias(p.n);
  if (p.bias_step == 1) {
    loop(bias.data(), p.bias, p.n);
  } else {
    for (int64_t j = 0; j < p.n; ++j) loop(bias.data() + j, p.bias + j * p.bias_step * kItem, 1);
  }
  for (int64_t i = 0; i < p.m; ++i) {
    float* const row = c + i * p.n;
    if (p.beta == 0) {
      std::memcpy(row, bias.data(), static_cast<size_t>(p.n) * sizeof(float));
    } else {
      for (int64_t j = 0; j < p.n; ++j) row[j] += bias.data()[j];
    }
  }
  return true;
}

void round_to(const Product& p, const float* c) {
  const ConvertLoop loop = convert_loop_for(p.dtype, DType::Float32);
  if (p.ldc == p.n) return loop(p.c, c, p.m * p.n);
  for (int64_t i = 0; i < p.m; ++i) loop(p.c + i * p.ldc * kItem, c + i * p.n, p.n);
}

// ---- in float ----

/// Everything converted as a whole, in the calling thread.
void plain(const Product& batch) {
  const Floats a(batch.m * batch.k), b(batch.k * batch.n), c(batch.m * batch.n);
  for (int64_t e = 0; e < batch.batch; ++e) {
    const Product p = entries(batch, e, e + 1);
    const bool trans_a = p.a_col != 1, trans_b = p.b_col != 1;
    if (e == 0 || p.a_batch != 0) {
      widen(p.dtype, trans_a ? p.k : p.m, trans_a ? p.m : p.k, p.a, trans_a ? p.a_col : p.a_row,
            a.data());
    }
    if (e == 0 || p.b_batch != 0) {
      widen(p.dtype, trans_b ? p.n : p.k, trans_b ? p.k : p.n, p.b, trans_b ? p.b_col : p.b_row,
            b.data());
    }
    const float beta = preload(p, c.data()) ? 1.0f : 0.0f;
    gemm_serial(trans_a, trans_b, p.m, p.n, p.k, p.alpha, a.data(), trans_a ? p.m : p.k, b.data(),
                trans_b ? p.k : p.n, beta, c.data(), p.n);
    round_to(p, c.data());
  }
}

/// A matrix as floats without gaps, in the same order as its halves.
struct Widened {
  Floats data;
  int64_t row, col;          // strides in elements
  int64_t runs, length, ld;  // the contiguous runs of halves
  Widened(int64_t rows, int64_t cols, int64_t row_step, int64_t col_step)
      : data(rows * cols),
        row(col_step == 1 ? cols : 1),
        col(col_step == 1 ? 1 : rows),
        runs(col_step == 1 ? rows : cols),
        length(col_step == 1 ? cols : rows),
        ld(col_step == 1 ? row_step : col_step) {}
};

/// Converts A and B in one parallel region, multiplies tiles of C in a second one.
void tiled(const Product& p) {
  const Widened a(p.m, p.k, p.a_row, p.a_col), b(p.k, p.n, p.b_row, p.b_col);
  const int64_t a_step = std::max<int64_t>(1, kConvertFloats / a.length),
                b_step = std::max<int64_t>(1, kConvertFloats / b.length);
  const int64_t a_units = ceil_div(a.runs, a_step);
  parallel_for(a_units + ceil_div(b.runs, b_step), 1, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; ++u) {
      const bool first = u < a_units;
      const Widened& x = first ? a : b;
      const int64_t at = first ? u * a_step : (u - a_units) * b_step;
      widen(p.dtype, std::min(first ? a_step : b_step, x.runs - at), x.length,
            (first ? p.a : p.b) + at * x.ld * kItem, x.ld, x.data.data() + at * x.length);
    }
  });
  int64_t rows = p.m, cols = p.n;
  const int64_t most = std::clamp<int64_t>(p.m * p.n * p.k >> 27, 4, kMaxTiles);
  while (rows * cols * p.k >= 2 * kPieceWork && ceil_div(p.m, rows) * ceil_div(p.n, cols) < most) {
    int64_t& side = rows >= cols ? rows : cols;
    const int64_t half = ceil_div(ceil_div(side, 2), kUnit) * kUnit;
    if (half >= side) break;
    side = half;
  }
  const int64_t across = ceil_div(p.n, cols);
  parallel_for(ceil_div(p.m, rows) * across, 1, [&](int64_t begin, int64_t end) {
    const Floats sum(rows * cols);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t i = t / across * rows, j = t % across * cols;
      const Product part = tile(p, i, j, std::min(rows, p.m - i), std::min(cols, p.n - j));
      const float beta = preload(part, sum.data()) ? 1.0f : 0.0f;
      gemm_serial(a.col != 1, b.col != 1, part.m, part.n, p.k, p.alpha, a.data.data() + i * a.row,
                  a.col != 1 ? a.col : a.row, b.data.data() + j * b.col, b.col != 1 ? b.col : b.row,
                  beta, sum.data(), part.n);
      round_to(part, sum.data());
    }
  });
}

/// Pieces of the longer side of C, each converted on its own.
void skinny(const Product& p) {
  const bool by_rows = p.m >= p.n;
  const int64_t line = std::max<int64_t>(1, (by_rows ? p.n : p.m) * p.k);
  parallel_for(
      by_rows ? p.m : p.n, std::max<int64_t>(1, kPieceWork / line),
      [&](int64_t begin, int64_t end) {
        plain(by_rows ? tile(p, begin, 0, end - begin, p.n) : tile(p, 0, begin, p.m, end - begin));
      });
}

void in_float(const Product& p) {
  const int64_t work = p.m * p.n * p.k;
  if (p.batch == 1 && work > kSmallWork) {
    if (std::min(p.m, p.n) <= kSkinny) return skinny(p);
    tiled(p);
  } else if (p.batch < 8 && work > kEntryWork) {
    for (int64_t e = 0; e < p.batch; ++e) in_float(entries(p, e, e + 1));
  } else {
    parallel_for(p.batch, std::max<int64_t>(1, kPieceWork / std::max<int64_t>(1, work)),
                 [&](int64_t begin, int64_t end) { plain(entries(p, begin, end)); });
  }
}

// ---- oneDNN ----

#ifdef GS_WITH_ONEDNN

using namespace onednn;

constexpr size_t kCachedPlans = 256;

/// What a plan is made for. Compared and hashed as bytes, so it has no padding.
struct Key {
  int64_t batch, m, n, k;
  int64_t a_row, a_col, a_batch;
  int64_t b_row, b_col, b_batch;
  int64_t ldc, c_batch;
  float alpha, beta;
  int64_t bias;
};

struct Plan {
  MemoryDesc src, weights, bias, dst, scratch;
  Primitive primitive;
  size_t scratch_bytes = 0;
  bool supported = false;
};

void build(Plan& plan, const Key& s) {
  const OneThread one;
  const Attributes attributes = user_scratch();
  if (s.alpha != 1 || s.beta != 0) {
    dnnl_post_ops_t made = nullptr;
    check(dnnl_post_ops_create(&made));
    const std::unique_ptr<dnnl_post_ops, Deleter<dnnl_post_ops, dnnl_post_ops_destroy>> ops(made);
    if (s.alpha != 1) check(dnnl_post_ops_append_eltwise(made, dnnl_eltwise_linear, s.alpha, 0));
    if (s.beta != 0) check(dnnl_post_ops_append_sum(made, s.beta, 0, dnnl_bf16));
    check(dnnl_primitive_attr_set_post_ops(attributes.get(), made));
  }
  const bool batched = s.batch > 1;
  const auto desc = [&](int64_t rows, int64_t cols, int64_t row, int64_t col, int64_t entry) {
    const dnnl_dims_t dims3{s.batch, rows, cols}, strides3{entry, row, col};
    const dnnl_dims_t dims2{rows, cols}, strides2{row, col};
    dnnl_memory_desc_t d = nullptr;
    check(dnnl_memory_desc_create_with_strides(&d, batched ? 3 : 2, batched ? dims3 : dims2,
                                               dnnl_bf16, batched ? strides3 : strides2));
    return MemoryDesc(d);
  };
  plan.src = desc(s.m, s.k, s.a_row, s.a_col, s.a_batch);
  plan.weights = desc(s.k, s.n, s.b_row, s.b_col, s.b_batch);
  plan.dst = desc(s.m, s.n, s.ldc, 1, s.c_batch);
  if (s.bias) plan.bias = desc(1, s.n, s.n, 1, s.n);
  dnnl_primitive_desc_t made = nullptr;
  check(dnnl_matmul_primitive_desc_create(&made, engine(), plan.src.get(), plan.weights.get(),
                                          plan.bias.get(), plan.dst.get(), attributes.get()));
  const PrimitiveDesc pd(made);
  plan.scratch = query(pd, dnnl_query_scratchpad_md);
  plan.scratch_bytes = dnnl_memory_desc_get_size(plan.scratch.get());
  plan.primitive = make_primitive(pd);
}

std::shared_ptr<const Plan> plan_for(const Product& p) {
  static auto& cache = *new PlanCache<Key, Plan>(kCachedPlans);
  const Key key{p.batch, p.m,       p.n,     p.k,     p.a_row,
                p.a_col, p.a_batch, p.b_row, p.b_col, p.b_batch,
                p.ldc,   p.c_batch, p.alpha, p.beta,  p.bias ? int64_t{1} : int64_t{0}};
  return cache.get(key, &build);
}

void execute(const Plan& plan, const Product& p) {
  const OneThread one;
  const Scratch<char> room(plan.scratch_bytes);
  const Memory src = memory(plan.src, const_cast<char*>(p.a)),
               weights = memory(plan.weights, const_cast<char*>(p.b)), dst = memory(plan.dst, p.c),
               scratch = memory(plan.scratch, room.data());
  Memory bias;
  dnnl_exec_arg_t args[5] = {{DNNL_ARG_SRC, src.get()},
                             {DNNL_ARG_WEIGHTS, weights.get()},
                             {DNNL_ARG_DST, dst.get()},
                             {DNNL_ARG_SCRATCHPAD, scratch.get()},
                             {}};
  int n = 4;
  if (p.bias) {
    bias = memory(plan.bias, const_cast<char*>(p.bias));
    args[n++] = {DNNL_ARG_BIAS, bias.get()};
  }
  // Others may have written already: too late for another way.
  GS_ASSERT(dnnl_primitive_execute(plan.primitive.get(), stream(), n, args) == dnnl_success);
}

/// False, with nothing written, where oneDNN has no such product.
bool in_onednn(const Product& p) try {
  const int64_t work = p.m * p.n * p.k;
  // alpha as a post-op would scale the bias too.
  if (p.batch * work <= kSmallWork || p.k == 0 || (p.bias && (p.bias_step != 1 || p.alpha != 1)) ||
      (p.batch > 1 && (p.a_batch == 0 || p.b_batch == 0))) {
    return false;
  }
  // Entries of a batch, or tiles: halves of the longer side while there are few.
  const int64_t group = std::clamp<int64_t>(4 * kPieceWork / work, 1, p.batch);
  int64_t rows = p.m, cols = p.n;
  const auto n_tiles = [&] { return ceil_div(p.m, rows) * ceil_div(p.n, cols); };
  while (p.batch == 1 && n_tiles() < kMaxTiles && rows * cols * p.k > 4 * kPieceWork) {
    int64_t& side = rows >= cols ? rows : cols;
    const int64_t half = ceil_div(ceil_div(side, 2), 64) * 64;
    if (half >= side) break;
    side = half;
  }
  const int64_t across = ceil_div(p.n, cols), n = p.batch > 1 ? p.batch : n_tiles();
  const auto piece = [&](int64_t begin, int64_t end) {
    if (p.batch > 1) return entries(p, begin, end);
    const int64_t i = begin / across * rows, j = begin % across * cols;
    return tile(p, i, j, std::min(rows, p.m - i), std::min(cols, p.n - j));
  };
  const int64_t step = p.batch > 1 ? chunk_size(n, group) : 1;
  std::vector<std::shared_ptr<const Plan>> plans;  // made before anything is written
  for (int64_t at = 0; at < n; at += step) {
    plans.push_back(plan_for(piece(at, std::min(at + step, n))));
    if (!plans.back()->supported) return false;
  }
  parallel_for(n, p.batch > 1 ? group : 1, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += step) {
      execute(*plans[static_cast<size_t>(at / step)], piece(at, std::min(at + step, end)));
    }
  });
  return true;
} catch (const Unsupported&) {
  return false;
}

/// True where bfloat16 is the faster type.
bool onednn_is_faster() {
  static const bool faster = [] {
    if (const char* choice = std::getenv("GRADSTEP_BF16"))
      return std::strcmp(choice, "onednn") == 0;
    const unsigned isa = dnnl_get_effective_cpu_isa();
    const auto has = [&](unsigned set) { return (isa & set) == set; };
    if (has(dnnl_cpu_isa_avx512_core_amx)) return true;
#ifdef __x86_64__
    return has(dnnl_cpu_isa_avx512_core_bf16) && __builtin_cpu_is("amd") != 0;
#else
    return false;
#endif
  }();
  return faster;
}

#else

bool in_onednn(const Product&) { return false; }
bool onednn_is_faster() { return false; }

#endif

}  // namespace

const char* bfloat16_backend_name() { return onednn_is_faster() ? "onednn" : "float"; }

void matmul_half(const Call& call) {
  const TensorImpl& out = call.out(0);
  const Matrix a = layout(call.in(0)), b = layout(call.in(1));
  const int n = out.ndim();
  Product p{};
  p.dtype = out.dtype;
  p.batch = n == 3 ? out.sizes[0] : 1;
  p.m = out.sizes[n - 2];
  p.n = out.sizes[n - 1];
  p.k = call.in(0).sizes[n - 1];
  p.a = call.in(0).data;
  p.a_row = a.transposed ? 1 : a.ld;
  p.a_col = a.transposed ? a.ld : 1;
  p.a_batch = a.batch_stride;
  p.b = call.in(1).data;
  p.b_row = b.transposed ? 1 : b.ld;
  p.b_col = b.transposed ? b.ld : 1;
  p.b_batch = b.batch_stride;
  p.c = out.data;
  p.ldc = p.n;
  p.c_batch = p.m * p.n;
  p.alpha = static_cast<float>(call.f(0));
  p.beta = static_cast<float>(call.f(1));
  if (call.n_in == 3) {
    p.bias = call.in(2).data;
    p.bias_step = call.in(2).ndim() ? call.in(2).strides[0] : 0;
  }
  if (p.batch > 1 && p.b_batch == 0 && p.a_col == 1 && p.a_batch == p.m * p.a_row) {
    p.m *= p.batch;  // one tall product
    p.batch = 1;
  }
  if (p.dtype == DType::BFloat16 && onednn_is_faster() && in_onednn(p)) return;
  in_float(p);
}

}  // namespace gradstep
