// SPDX-License-Identifier: Apache-2.0
// The emulated GPU itself: right kernels give right results in every order of the warps, and
// planted mistakes are found: a missing barrier, a barrier that not all threads reach, a write
// behind a block, a host that reads device memory.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cuda/block.h"

namespace {

using namespace gradstep::cuda;

int g_failures = 0;
void expect(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  ++g_failures;
}

template <class Body>
void run(unsigned blocks, unsigned threads, Body body) {
  shim::run_grid(0, blocks, threads, 0, [](void* p) { (*static_cast<Body*>(p))(); }, &body);
}

template <class T>
T* on_device(const std::vector<T>& v) {
  void* p = nullptr;
  cudaMalloc(&p, v.size() * sizeof(T));
  cudaMemcpy(p, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice);
  return static_cast<T*>(p);
}
template <class T>
std::vector<T> on_host(const T* p, size_t n) {
  std::vector<T> v(n);
  cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost);
  return v;
}

/// The reversal of 256 numbers through shared memory.
void reverse(float* x, bool barrier) {
  static float shared[256];
  const unsigned t = threadIdx.x;
  shared[t] = x[t];
  if (barrier) __syncthreads();
  x[t] = shared[255 - t];
}

/// How many of the three orders give the right result.
int right_orders(bool barrier) {
  int right = 0;
  for (int order = 0; order < 3; ++order) {
    std::vector<float> v(256);
    for (int i = 0; i < 256; ++i) v[size_t(i)] = float(i + 1000 * order);
    float* x = on_device(v);
    run(1, 256, [=] { reverse(x, barrier); });
    const std::vector<float> r = on_host(x, 256);
    bool ok = true;
    for (int i = 0; i < 256; ++i) ok = ok && r[size_t(i)] == float(255 - i + 1000 * order);
    right += ok;
    cudaFree(x);
  }
  return right;
}

/// True if the code ends its process by a signal.
template <class Code>
bool dies(Code code) {
  std::fflush(stderr);
  const pid_t child = fork();
  if (child == 0) {
    if (!std::freopen("/dev/null", "w", stderr)) _exit(1);
    code();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status);
}

void test_reductions() {
  for (const unsigned threads : {32u, 64u, 96u, 256u, 1024u}) {
    for (int order = 0; order < 3; ++order) {
      double* out = on_device(std::vector<double>(3));
      run(3, threads, [=] {
        const double sum = block_sum(double(threadIdx.x + 1) * (blockIdx.x + 1));
        const double again = block_sum(1.0);  // the same shared memory once more
        if (threadIdx.x == threads - 1) out[blockIdx.x] = sum + again;
      });
      const auto r = on_host(out, 3);
      for (int b = 0; b < 3; ++b) {
        expect(r[size_t(b)] == (b + 1) * threads * (threads + 1) / 2.0 + threads, "block_sum");
      }
      cudaFree(out);
    }
  }
}

}  // namespace

int main() {
  test_reductions();
  expect(right_orders(true) == 3, "a kernel with its barrier is right in every order");
  expect(right_orders(false) < 3, "a missing barrier shows in one of the orders");
  expect(dies([] {
           run(1, 64, [] {
             if (threadIdx.x < 32) __syncthreads();
           });
         }),
         "a barrier that half of the block reaches ends the process");
  expect(dies([] {
           char* p = on_device(std::vector<char>(100));
           run(1, 32, [=] { p[100] = 1; });
           cudaFree(p);
         }),
         "a write behind a block is found when it is freed");
  expect(dies([] {
           float* p = on_device(std::vector<float>(8));
           std::fprintf(stderr, "%f", double(p[0]));
         }),
         "a host that reads device memory crashes");
  if (g_failures == 0) std::printf("all passed\n");
  return g_failures != 0;
}
