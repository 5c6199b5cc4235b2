// SPDX-License-Identifier: Apache-2.0
// Captured CUDA graphs: begin_capture(device); launches..; graph = end_capture(true);
// replay_graph(graph). See Note [CUDA graphs] in cuda/graph.cu.
#pragma once
#include "cuda/runtime.h"

namespace gradstep::cuda {

bool is_capturing();
void begin_capture(int device);
void* end_capture(bool keep);
void replay_graph(void* graph);
void destroy_graph(void* graph);

/// src itself; while capturing a copy that lives as long as the graph, whose replays will read it.
const void* kept_while_capturing(const void* src, size_t bytes);
/// take_random() while capturing.
Philox take_random_while_capturing(uint64_t draws);

}  // namespace gradstep::cuda
