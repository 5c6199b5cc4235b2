// SPDX-License-Identifier: Apache-2.0
// A program's steps on a GPU, replayed as CUDA graphs: give_slots(program) before it is sealed,
// then
//   Segments segments(program, calls);
//   segments.run(at);        // all steps, `at` being the one that runs
// See Note [Programs on a GPU] in segments.cpp. May include core, fn.
#pragma once
#include <span>
#include <vector>

#include "graph/program.h"

namespace gradstep {

/// Gives inputs and results memory of the program's own, which they are copied to and from, so that
/// the steps between always find it in the same place. Nothing on the CPU.
void give_slots(Program& p);

class Segments {
 public:
  Segments(Program& p, std::span<const Call> calls);
  ~Segments();
  Segments(const Segments&) = delete;
  Segments& operator=(const Segments&) = delete;

  /// Whether there is anything to make a graph of.
  bool empty() const { return segments_.empty(); }
  /// Runs the steps from `at` on; an exception leaves `at` at the step that raised it.
  void run(size_t& at);
  /// The steps ran one by one.
  void ran_alone();

  /// Of the graphs that are ready: their steps as [begin, end).
  std::vector<std::pair<size_t, size_t>> graphs() const;

 private:
  struct Segment {
    size_t begin = 0, end = 0;
    Device device;
    void* graph = nullptr;
    uint64_t moves = 0;           // Program::moves when it was captured
    std::vector<size_t> live;     // steps whose numbers are
    std::vector<double> numbers;  // .. as the graph has them
  };
  bool fits(size_t step) const;
  void find(size_t from, size_t to);
  bool replay(Segment& s);
  bool capture(size_t k);
  void drop(Segment& s);
  std::vector<double> numbers_of(const Segment& s) const;

  Program& p_;
  std::span<const Call> calls_;
  std::vector<bool> alone_;  // steps that can't be part of a graph
  std::vector<Segment> segments_;
  uint64_t moves_ = UINT64_MAX;  // Program::moves when the steps ran last
};

}  // namespace gradstep
