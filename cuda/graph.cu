// SPDX-License-Identifier: Apache-2.0
#include "cuda/graph.h"

#include <cstring>
#include <memory>
#include <vector>

#include "cuda/memory.h"

namespace gradstep::cuda {

// Note [CUDA graphs]
// While a stream is captured its launches are recorded and do not run. What a replay must find
// again lives as long as the graph: blocks of a private pool, copies of what was uploaded. What
// must differ from replay to replay is read on the device: step counters and learning rates in
// tensors; the state of the random numbers and, in captured programs, the numbers of live calls in
// `live`. A replay writes there before it starts, in one copy, and only what has changed. Whatever
// would make the host wait is refused.

namespace {

struct Graph {
  int device = 0;
  cudaStream_t stream = nullptr;
  cudaGraphExec_t exec = nullptr;
  MemoryPool* pool = nullptr;
  uint64_t* live = nullptr;  // on the device: seed and offset, then numbers
  uint64_t draws = 0;        // of one replay
  int numbers = 0;
  int at = -1;         // of the live call being captured, its first number; -1: none
  bool asked = false;  // .. its kernels read them
  std::vector<std::unique_ptr<char[]>> kept;
};
thread_local Graph* t_capture = nullptr;  // other threads go on as always

constexpr int kMostNumbers = 1022;  // of a graph: 73 groups of an optimizer with 14 numbers each

}  // namespace

bool is_capturing() { return t_capture != nullptr; }

const void* kept_while_capturing(const void* src, size_t bytes) {
  if (!t_capture) return src;
  t_capture->kept.push_back(std::make_unique<char[]>(bytes));
  std::memcpy(t_capture->kept.back().get(), src, bytes);
  return t_capture->kept.back().get();
}

Philox take_random_while_capturing(uint64_t draws) {
  const Philox now{0, t_capture->draws, t_capture->live};
  t_capture->draws += (draws + 3) / 4 * 4;
  return now;
}

void begin_live_call(int n) {
  Graph& g = *t_capture;
  g.asked = false;
  g.at = g.numbers + n <= kMostNumbers ? g.numbers : -1;
  if (g.at >= 0) g.numbers += n;
}

bool end_live_call() {
  t_capture->at = -1;
  return t_capture->asked;
}

const double* live_numbers() {
  if (!t_capture || t_capture->at < 0) return nullptr;
  t_capture->asked = true;
  return reinterpret_cast<const double*>(t_capture->live + 2) + t_capture->at;
}

void begin_capture(int device) {
  GS_CHECK(!t_capture, "CUDA graphs: another graph is being captured");
  if (device < 0) device = current_device();
  const cudaStream_t stream = current_stream(device);
  GS_CHECK(
      stream,
      "CUDA graphs: the default stream can't be captured; use torch.cuda.graph(g) or a stream of "
      "your own");
  const DeviceGuard guard(device);
  auto graph = std::make_unique<Graph>();
  graph->device = device;
  graph->stream = stream;
  check(cudaMalloc(reinterpret_cast<void**>(&graph->live), (2 + kMostNumbers) * sizeof(uint64_t)),
        "CUDAGraph");
  const cudaError_t e = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (e != cudaSuccess) {
    (void)cudaFree(graph->live);
    check(e, "CUDAGraph");
  }
  graph->pool = open_private_pool(device, stream);
  t_capture = graph.release();
  use_private_pool(t_capture->pool);
}

void* end_capture(bool keep) {
  GS_CHECK(t_capture, "CUDA graphs: no graph is being captured");
  Graph* graph = t_capture;
  t_capture = nullptr;
  use_private_pool(nullptr);
  const DeviceGuard guard(graph->device);
  cudaGraph_t recorded = nullptr;
  cudaError_t e = cudaStreamEndCapture(graph->stream, &recorded);
  if (e == cudaSuccess && keep) e = cudaGraphInstantiate(&graph->exec, recorded, 0);
  if (recorded) (void)cudaGraphDestroy(recorded);
  if (e == cudaSuccess && keep) return graph;
  destroy_graph(graph);
  if (keep) check(e, "CUDAGraph");
  (void)cudaGetLastError();
  return nullptr;
}

void replay_graph(void* graph, const double* numbers) {
  GS_CHECK(!t_capture, "CUDA graphs: a graph can't be replayed while another one is captured");
  Graph& g = *static_cast<Graph*>(graph);
  const DeviceGuard guard(g.device);
  const cudaStream_t stream = current_stream(g.device);
  uint64_t state[2 + kMostNumbers] = {};
  if (g.draws) {
    const Philox now = take_random(g.device, g.draws);
    state[0] = now.seed;
    state[1] = now.offset;
  }
  if (numbers) std::memcpy(state + 2, numbers, size_t(g.numbers) * sizeof(double));
  const size_t bytes = (2 + size_t(numbers ? g.numbers : 0)) * sizeof(uint64_t);
  // From pageable memory: the runtime returns once the bytes are staged.
  if (g.draws || numbers) {
    check(cudaMemcpyAsync(g.live, state, bytes, cudaMemcpyHostToDevice, stream),
          "CUDAGraph.replay");
  }
  check(cudaGraphLaunch(g.exec, stream), "CUDAGraph.replay");
}

void destroy_graph(void* graph) {
  if (is_forked()) return;
  auto* g = static_cast<Graph*>(graph);
  const DeviceGuard guard(g->device);
  (void)cudaDeviceSynchronize();  // a replay may still be under way
  if (g->exec) (void)cudaGraphExecDestroy(g->exec);
  close_private_pool(g->pool);
  (void)cudaFree(g->live);
  delete g;
}

}  // namespace gradstep::cuda
