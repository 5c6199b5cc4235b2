// SPDX-License-Identifier: Apache-2.0
// The autograd graph of a captured function whose results are differentiated outside, as
// `loss.backward()` does behind a compiled forward pass.
//   program.graph = RecordedGraph::of(roots, surroundings);      // at the end of a recording
//   graph->attach(program, inputs, results);                     // at the end of each replay
// See Note [Graphs of replays] in recorded_graph.cpp. May include core, fn.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/cuda_api.h"
#include "graph/node.h"
#include "graph/program.h"

namespace gradstep {

/// What a graph is recorded in.
struct Surroundings {
  Program& program;
  std::span<const Ref<TensorImpl>> inputs;
  std::span<const Edge> input_edges;
  uint64_t started;                                  // nodes up to this number are not the graph's
  std::function<int32_t(Storage&)> place_of;         // -1: no call has seen it
  std::function<std::string(const Storage*)> maker;  // the line that made it; null: the last line
};

/// The memory that the graph of a tensor keeps, with what the nodes before it keep.
std::vector<const Storage*> kept_by_graph(const Tensor& root, uint64_t started);

class RecordedGraph : public std::enable_shared_from_this<RecordedGraph> {
 public:
  /// The graph between these results and what they were made of; undefined results are skipped.
  /// Raises Error(Capture) where it can't be made again.
  static std::shared_ptr<RecordedGraph> of(std::span<const Tensor> roots, const Surroundings& s);
  RecordedGraph() = default;
  RecordedGraph(const RecordedGraph&) = delete;
  ~RecordedGraph();

  /// Gives the results of a replay one node that stands for the whole graph.
  void attach(const Program& program, std::span<const Tensor> inputs,
              std::span<const Tensor> results);

  struct BackwardProgram {
    const Program* program;
    int64_t replays;
  };
  /// Those that were recorded, the last one used first.
  std::vector<BackwardProgram> backward_programs() const;

  struct EdgeTo {
    enum class End : uint8_t { None, Node, Border } end = End::None;
    int32_t index = -1;
    uint32_t slot = 0;
  };
  struct Kept {              // a tensor that nodes keep
    Ref<TensorImpl> itself;  // from outside: always this one
    char* data = nullptr;    // .. where it lay
    int32_t input = -1;      // .. or that argument; else made anew:
    Ref<TensorImpl> like;    // its geometry; with a storage if that is from outside
    int32_t memory = -1;     // the part of the memory that is kept in which it lies
    ptrdiff_t from_base = 0;
    EdgeTo history;
  };
  bool uses(const EdgeTo& made) const;
  struct SavedAs {
    int32_t tensor = -1;
    uint32_t behind = 0;  // the versions that it was raised by since
    int8_t output = -1;
  };
  struct NodeAs {
    const Op* op;
    uint64_t number;  // from the graph's first on
    Params params;
    Compute compute;
    bool released;
    uint16_t n_outputs;
    std::vector<EdgeTo> edges;
    std::vector<SavedAs> saved;
    std::shared_ptr<CustomBackward> custom;
    int32_t inner = -1;
  };
  struct Border {  // where gradients leave the graph
    Ref<TensorImpl> leaf;
    int32_t input = -1;
  };
  struct RecordedBackward;

  std::vector<Kept> tensors;
  std::vector<NodeAs> nodes;
  std::vector<Border> border;
  std::vector<EdgeTo> roots;      // by result that has a history
  std::vector<bool> used_within;  // .. whether nodes use it, too
  std::vector<int32_t> memory;    // places whose memory is kept
  uint64_t span = 0;              // numbers that the nodes take
  bool stale = false;             // something kept was written to afterwards: eager raises
  std::vector<std::shared_ptr<RecordedBackward>> backwards;  // the last one used first
};

}  // namespace gradstep
