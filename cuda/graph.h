// SPDX-License-Identifier: Apache-2.0
// Captured CUDA graphs: begin_capture(device); launches..; graph = end_capture(true);
// replay_graph(graph). See Note [CUDA graphs] in cuda/graph.cu.
#pragma once
#include "cuda/runtime.h"

namespace gradstep::cuda {

bool is_capturing();
void begin_capture(int device);
void* end_capture(bool keep);
void replay_graph(void* graph, const double* numbers);
void destroy_graph(void* graph);

void begin_live_call(int n);
bool end_live_call();
/// Where kernels find the numbers of the call that is being captured, if they are live; or null.
const double* live_numbers();

/// src itself; while capturing a copy that lives as long as the graph, whose replays will read it.
const void* kept_while_capturing(const void* src, size_t bytes);
/// take_random() while capturing.
Philox take_random_while_capturing(uint64_t draws);

}  // namespace gradstep::cuda
