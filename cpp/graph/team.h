// SPDX-License-Identifier: Apache-2.0
// A program's steps on the CPU, run by several threads that each keep to their part of the data:
//   Team team(program, calls, num_threads());
//   team.run(at);        // all steps, `at` being the one that runs
// See Note [Teams] in team.cpp. May include core, fn.
#pragma once
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "graph/program.h"
#include "graph/waits.h"

namespace gradstep {

class Team {
 public:
  Team(const Program& p, std::span<const Call> calls, int n_threads);

  /// Whether no steps are worth it.
  bool empty() const { return regions_.empty(); }
  int n_threads() const { return n_threads_; }
  /// Runs the steps from `at` on; an exception leaves `at` at the step that raised it.
  void run(size_t& at);

  /// Stretches that take less than this many nanoseconds in one thread are left alone; for tests,
  /// which make teams of everything with 0. Returns the value before.
  static double set_least(double nanoseconds);

 private:
  struct Item {
    Kernel kernel;
    Call call;
    size_t step;
    uint32_t first_wait, n_waits;
  };
  struct alignas(64) Strand {
    std::vector<Item> items;
    std::vector<Wait> waits;
    std::atomic<uint32_t> done{0};
    std::atomic<bool> taken{false};
  };
  struct Region {  // a stretch, as one parallel region
    size_t begin = 0, end = 0;
    std::unique_ptr<Strand[]> strands;
    std::atomic<bool> failed{false};
    std::atomic<size_t> failed_at{0};
  };
  struct MovingView {  // of a place that lies elsewhere in each replay
    TensorImpl* view;
    int32_t place;
    ptrdiff_t from;
  };
  class Items;
  class Builder;

  bool advance(Region& r, int k, uint32_t to);
  void run_item(Region& r, int k, const Item& item);
  void wait(Region& r, int k, const Item& item);
  void run_region(Region& r, size_t& at);

  const Program& p_;
  std::span<const Call> calls_;
  int n_threads_;
  std::vector<std::unique_ptr<Region>> regions_;
  std::vector<Ref<TensorImpl>> views_;
  std::vector<MovingView> moving_;
  std::vector<std::unique_ptr<TensorImpl*[]>> operands_;
  std::vector<std::unique_ptr<FusedMap>> plans_;
  std::vector<Ref<Storage>> sums_;                  // of parts of sums
  std::vector<std::pair<Strand*, uint32_t>> live_;  // items whose numbers change
};

}  // namespace gradstep
