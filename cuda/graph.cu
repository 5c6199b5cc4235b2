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
// tensors, and the state of the random numbers, which each replay writes to `live` before it
// starts. Whatever would make the host wait is refused.

namespace {

struct Graph {
  int device = 0;
  cudaStream_t stream = nullptr;
  cudaGraphExec_t exec = nullptr;
  MemoryPool* pool = nullptr;
  uint64_t* live = nullptr;  // on the device: seed and offset
  uint64_t draws = 0;        // of one replay
  std::vector<std::unique_ptr<char[]>> kept;
};
Graph* g_capture = nullptr;

}  // namespace

bool is_capturing() { return g_capture != nullptr; }

const void* kept_while_capturing(const void* src, size_t bytes) {
  if (!g_capture) return src;
  g_capture->kept.push_back(std::make_unique<char[]>(bytes));
  std::memcpy(g_capture->kept.back().get(), src, bytes);
  return g_capture->kept.back().get();
}

Philox take_random_while_capturing(uint64_t draws) {
  const Philox now{0, g_capture->draws, g_capture->live};
  g_capture->draws += (draws + 3) / 4 * 4;
  return now;
}

void begin_capture(int device) {
  GS_CHECK(!g_capture, "CUDA graphs: another graph is being captured");
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
  check(cudaMalloc(reinterpret_cast<void**>(&graph->live), 2 * sizeof(uint64_t)), "CUDAGraph");
  const cudaError_t e = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (e != cudaSuccess) {
    (void)cudaFree(graph->live);
    check(e, "CUDAGraph");
  }
  graph->pool = open_private_pool(device, stream);
  g_capture = graph.release();
  use_private_pool(g_capture->pool);
}

void* end_capture(bool keep) {
  GS_CHECK(g_capture, "CUDA graphs: no graph is being captured");
  Graph* graph = g_capture;
  g_capture = nullptr;
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

void replay_graph(void* graph) {
  GS_CHECK(!g_capture, "CUDA graphs: a graph can't be replayed while another one is captured");
  Graph& g = *static_cast<Graph*>(graph);
  const DeviceGuard guard(g.device);
  const cudaStream_t stream = current_stream(g.device);
  if (g.draws) {
    const Philox now = take_random(g.device, g.draws);
    const uint64_t state[] = {now.seed, now.offset};
    check(cudaMemcpyAsync(g.live, state, sizeof(state), cudaMemcpyHostToDevice, stream),
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
