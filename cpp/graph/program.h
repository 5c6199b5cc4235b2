// SPDX-License-Identifier: Apache-2.0
// A captured step: the calls that one run of a Python function launched, in their order, ready to
// be launched again without Python, autograd or allocation.
//   Recorder recorder(inputs, leaves);          // from here on launch() is written down as it runs
//   .. run the function ..
//   std::unique_ptr<Program> p = recorder.finish(outputs);      // or recorder.roll_back()
//   std::vector<Tensor> results = p->replay(inputs);
// See Note [What a program knows] here and Note [Recording] in recorder.cpp. May include core, fn.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/generator.h"
#include "core/tensor.h"
#include "graph/call.h"
#include "graph/fused_map.h"

namespace gradstep {

// Note [What a program knows]
// Memory is known by its place: one storage of the recorded run. Where it lies when the program
// runs again depends on its home.
//   Outside    it was there before the run and is pinned: weights, buffers, optimizer state
//   Input      argument `slot` of the run
//   Gradient   the gradient that leaf `slot` had before the run
//   Inside     made and dropped during the run: a part of the arena
//   Escapes    made during the run and still held after it: results and new gradients
// An operand is a view of a place. A step is a call whose operands are those; the same kernels run
// on the same values in the same order as in eager mode, so the results have the same bits.
enum class Home : uint8_t { Outside, Input, Gradient, Inside, Escapes };

struct Place {
  Home home = Home::Outside;
  bool written = false;
  int32_t slot = -1;
  int32_t first = -1, last = -1;  // the steps that use it
  uint32_t versions = 0;          // by how much a run raises the version
  size_t bytes = 0;
  Device device;
  size_t offset = 0;      // Inside: in the arena
  bool in_graph = false;  // a CUDA graph has its address
  Ref<Storage> storage;   // where it lies now
  char* base = nullptr;   // .. and the address that its views count from
  std::vector<int32_t> operands;
};

/// A tensor of the same geometry that only a program uses: without storage or history.
Ref<TensorImpl> geometry_of(const TensorImpl& t);

struct OperandView {
  Ref<TensorImpl> tensor;  // geometry, and the address of now
  int32_t place;
  ptrdiff_t from_base;  // bytes
};

struct Step {
  const Op* op;
  Kernel kernel;
  Compute compute;
  uint8_t n_out;
  uint16_t n_in;
  int32_t live = -1;      // the group of parameters whose numbers params are
  uint32_t line = 0;      // who called: an index that the layer above understands
  int32_t recorded = -1;  // its number in the recording (of several fused ones the last)
  Params params;
  std::vector<int32_t> operands;    // -1: none
  std::vector<const Op*> replaces;  // the calls that a pass put together
};

/// A tensor whose .grad the run used or changed.
struct Leaf {
  enum class End : uint8_t { Same, None, New };
  Ref<TensorImpl> tensor;  // null: input `input`
  int32_t input = -1;
  bool had = false;          // a gradient before the run
  int32_t start = -1;        // the place of that gradient if a step uses it
  Ref<TensorImpl> expected;  // its geometry
  char* pinned = nullptr;    // it must lie here, since its memory is known otherwise
  End end = End::Same;
  int32_t result = -1;   // New: its place
  Ref<TensorImpl> like;  // .. its geometry
  ptrdiff_t from_base = 0;
  Ref<TensorImpl> made;                   // .. the tensor of the last replay
  bool free_start = false;                // what the gradient was before makes no difference
  int32_t dropped_at = -1, made_at = -1;  // the steps before which it first and last changed
};

/// Memory that an input is copied to (graph/segments.h), as its views see it from byte `from` on.
struct Slot {
  int32_t input, place;
  ptrdiff_t from;
};
constexpr ptrdiff_t kSlotAlignment = 16;  // kernels look at addresses no closer

class Segments;
class Team;
class RecordedGraph;
struct Edge;  // graph/node.h

/// A tensor that the function returns, or what one of those is a view of.
struct Result {
  int32_t input = -1;     // it is that input itself
  int32_t same = -1;      // it is that earlier result itself
  int32_t gradient = -1;  // it is the gradient of that leaf
  int32_t place = -1;     // a view of it
  ptrdiff_t from_base = 0;
  Ref<TensorImpl> like;     // geometry and history; where place < 0 the tensor itself
  int32_t base = -1;        // it is a view of that result
  int32_t base_input = -1;  // .. of that input
  Ref<TensorImpl> base_outside;
  bool view_no_grad = false;
  int32_t root = -1;  // which result of `graph` it is
};

class Program {
 public:
  Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Whether the gradients that the leaves have now are those that the program expects.
  bool gradients_fit(std::span<const Tensor> inputs) const;
  /// Whether inputs are apart from the memory outside where one of them is written: ops choose
  /// their way by it (a source in the target's own memory is copied first), and the recording has
  /// one way.
  bool inputs_apart(std::span<const Tensor> inputs) const;
  /// Runs all steps. The inputs have the geometry of the recorded ones.
  std::vector<Tensor> replay(std::span<const Tensor> inputs) { return run(inputs, nullptr); }
  /// The same, and what each step wrote, as a hash by its number in the recording.
  std::vector<Tensor> replay(std::span<const Tensor> inputs, std::vector<uint64_t>& written) {
    return run(inputs, &written);
  }
  /// New numbers for the params of the steps of a live group.
  void set_numbers(int32_t live, std::span<const double> numbers);

  /// Plans the arena and binds the calls; after this the steps stay as they are.
  void seal();
  /// The next replay is timed, on the CPU the next few: a thread that is woken up, or another
  /// process, may double the time of one.
  void time_next();

  uint64_t hash_written(const Step& step) const;
  /// The steps that are replayed as CUDA graphs, as [begin, end).
  std::vector<std::pair<size_t, size_t>> graphs() const;

  std::vector<std::pair<int32_t, int32_t>> kept_apart;  // an input's place, an outside one
  std::vector<Place> places;
  std::vector<OperandView> operands;
  std::vector<Step> steps;
  std::vector<Leaf> leaves;
  std::vector<Result> results;
  std::vector<std::pair<int32_t, bool>> requires_grad;  // what it is set to, by input
  size_t n_results = 0;                          // the ones that the function returned come first
  std::shared_ptr<RecordedGraph> graph;          // of results that are differentiated outside
  std::vector<std::unique_ptr<FusedMap>> fused;  // of the steps
  std::vector<Slot> slots;
  std::vector<Ref<Generator>> generators;  // kept alive
  uint64_t moves = 0;                      // of places that graphs know
  size_t n_recorded = 0;                   // steps before any pass
  size_t arena_bytes = 0;                  // of all devices
  std::vector<double> seconds;             // of each step, the least of the replays that were timed
  size_t eager_bytes = 0;  // what the temporaries took at most at one time in the recorded run

 private:
  std::vector<Tensor> run(std::span<const Tensor> inputs, std::vector<uint64_t>* written);
  void run_watched(size_t& at, std::vector<uint64_t>* written);
  std::vector<int32_t> write_over_dying();
  void plan_arena();
  void move(Place& place, Storage* storage, char* base);
  void place_inputs(std::span<const Tensor> inputs);
  void place_gradients(std::span<const Tensor> inputs);
  bool can_reuse(const Place& place, size_t index, std::span<const Tensor> inputs) const;
  void finish_leaves(std::span<const Tensor> inputs, int32_t failed_at);
  TensorImpl* leaf_tensor(const Leaf& leaf, std::span<const Tensor> inputs) const;

  std::vector<Call> calls_;
  std::vector<TensorImpl*> pool_;       // the operands of the calls
  std::vector<int32_t> escaping_;       // places
  std::shared_ptr<Segments> segments_;  // null: nothing runs on a GPU
  std::shared_ptr<Team> team_;          // of as many threads as there were in the last replay
  bool running_ = false;
  int to_time_ = 0;  // so many of the next replays
};

/// A hash of the elements' bytes; waits for a GPU.
uint64_t hash_of(const TensorImpl& t);

/// All that a run has written, to be compared with what another run from the same state writes.
struct Written {
  std::vector<std::pair<Ref<Storage>, uint64_t>> memory;        // from outside
  std::vector<std::pair<Ref<TensorImpl>, uint64_t>> gradients;  // of these leaves; 0: none
  std::vector<uint64_t> results;
  std::vector<std::pair<Ref<Generator>, std::vector<uint8_t>>> draws;

  /// What is not as it was, in words; empty if everything has the same bits.
  std::string difference(std::span<const Tensor> now) const;
};

/// Writes down what runs between its construction and finish() or roll_back(), in this thread.
class Recorder final : public Watcher {
 public:
  /// `leaves`: tensors that the function knows and that may have gradients.
  Recorder(std::span<const Tensor> inputs, std::span<const Tensor> leaves);
  /// One that only looks on: it holds no input, raises nothing before finish(), undoes nothing.
  Recorder(std::span<TensorImpl* const> inputs, std::span<const Tensor> leaves);
  ~Recorder() override;
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void created(Storage& s) override;
  void destroyed(Storage& s) override;
  void launching(const Call& call) override;
  void gradient(TensorImpl& leaf, GradEvent event) override;
  void refuse(const char* what) override;

  /// Ends the recording. Raises Error(Capture) where the run can't be repeated.
  std::unique_ptr<Program> finish(std::span<const Tensor> outputs);
  /// Ends the recording and gives all memory from outside, gradients and generators the values
  /// that they had before it.
  void roll_back();
  /// Whether memory that was made in the run is still held by something else than these results and
  /// the gradients.
  bool holds(std::span<const Tensor> outputs) const { return held_place(outputs) >= 0; }
  /// Whether an input lies in memory from outside, since a tensor that the function knows does.
  bool pinned(const Tensor& input) const;
  /// What was refused, empty if nothing was.
  const std::string& refused() const { return refused_; }

  Written written(std::span<const Tensor> outputs) const;
  /// What each step wrote, as Program::replay gives it; 0 where it was dropped before it could be
  /// looked at. Only if `hashes` was set.
  const std::vector<uint64_t>& hashes_of_steps() const { return written_; }
  bool hashes = false;
  /// Where a kernel has written an operand that its op does not declare as written (for tests; only
  /// if `audits` was set).
  const std::string& undeclared() const { return undeclared_; }
  bool audits = false;
  bool differentiates = false;  // backward() ran
  bool unrecorded = false;      // an eager first call: gradstep itself may read values
  std::span<const Step> steps() const { return program_->steps; }
  void look_back();  // at what the last step did

  int32_t live = -1;             // what launches belong to now
  uint32_t (*line)() = nullptr;  // who launches
  std::string (*describe)(uint32_t line) = nullptr;

 private:
  struct Seen {                  // of a place, while recording
    Storage* storage = nullptr;  // null: dropped
    bool initialised = false;
    uint32_t version = 0;  // at first sight
  };
  struct Undo {
    Ref<Storage> storage, copy;
  };
  struct Draws {
    Ref<Generator> generator;
    std::vector<uint8_t> state;
    std::optional<double> next_double;
    std::optional<float> next_float;
  };
  void note_start(std::span<const Tensor> leaves);
  int32_t place_of(Storage& s, char* base);
  int32_t new_place(Storage& s, Home home, char* base);
  void stays(Place& gradient);
  int32_t operand_of(const TensorImpl& t);
  void keep_for_undo(int32_t place);
  void keep_generator(const Op& op, const Params& params, Device device);
  void keep_host_data(int32_t place);
  template <class F>
  void for_read_operands(const F& f) const;
  void note_inputs();
  int32_t leaf_of(TensorImpl& t);
  void stop();
  bool is_shared(Node* root) const;
  void drop_spent_leaves(std::span<const Tensor> outputs) const;
  bool has_own_graph(const Tensor& t) const;
  std::vector<Tensor> with_bases(std::span<const Tensor> outputs) const;
  void record_graph(std::span<const Tensor> outputs);
  Result base_of(const Tensor& t, std::span<const Tensor> outputs, Result r) const;
  void classify_results(std::span<const Tensor> outputs);
  void classify_gradients(std::span<const Tensor> outputs);
  void classify_leaves();
  int32_t held_place(std::span<const Tensor> outputs) const;
  void check_held(std::span<const Tensor> outputs) const;
  std::string maker_of(const Storage* s) const;
  int32_t input_of(const TensorImpl* t) const;

  std::unique_ptr<Program> program_;
  std::vector<Seen> seen_;
  std::vector<Undo> undo_;
  std::vector<Draws> draws_;
  const bool looks_on_ = false;
  std::vector<TensorImpl*> inputs_;
  std::vector<Ref<TensorImpl>> inputs_like_;  // themselves, or only their geometry
  std::vector<Edge> input_edges_;             // where their gradients went before the run
  std::vector<bool> input_wants_;             // .. whether they required one
  std::unordered_set<const TensorImpl*> known_;
  std::vector<Ref<TensorImpl>> start_gradients_;  // by leaf
  std::vector<TensorImpl*> leaf_tensors_;         // by leaf; null: gone
  std::vector<bool> leaf_seen_;                   // .. an event
  std::string refused_;
  std::vector<uint64_t> written_, inputs_before_;
  std::string undeclared_;
  size_t live_bytes_ = 0;
  bool paused_ = false;  // what the recorder does itself
  const void* thread_;
};

}  // namespace gradstep
