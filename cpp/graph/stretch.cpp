// SPDX-License-Identifier: Apache-2.0
#include "graph/stretch.h"

#include <algorithm>
#include <utility>

#include "graph/uses.h"

namespace gradstep {

namespace {

constexpr double kMostWhole = 12e3;     // nanoseconds of a call that is not cut
constexpr double kWholePerByte = 0.05;  // .. about
constexpr size_t kLeastCuts = 2;

class Finder {
 public:
  Finder(const Program& p, std::span<const Call> calls, int n_threads)
      : p_(p), calls_(calls), n_threads_(n_threads) {}

  /// Whether a step can be part of a stretch; cut.size is 0 if it stays whole.
  bool fits(size_t i, Cut& cut) const {
    const Step& s = p_.steps[i];
    if (s.op->draws || s.operands.empty() || s.operands[0] < 0) return false;
    double bytes = 0;
    uint64_t constant = 0;
    for (size_t k = 0; k < s.operands.size(); ++k) {
      const int32_t o = s.operands[k];
      if (o < 0) continue;
      if (k < 64 && is_constant(o)) constant |= uint64_t{1} << k;
      if (tensor(o).device.type != DeviceType::CPU) return false;
      bytes +=
          static_cast<double>(tensor(o).numel) * static_cast<double>(element_size(tensor(o).dtype));
    }
    if (!overlaps_itself(s) && cut_call(calls_[i], n_threads_, constant, cut)) return true;
    if (s.live >= 0 || s.n_out == 0) return false;
    cut = Cut();
    cut.nanoseconds = 200 + kWholePerByte * bytes;
    if (is_named(s, {"matmul"})) cut.nanoseconds += product_work(s) / 64;
    return is_quiet(s) && cut.nanoseconds <= kMostWhole;
  }

 private:
  const TensorImpl& tensor(int32_t o) const { return *p_.operands[at(o)].tensor; }

  bool is_constant(int32_t o) const {
    const Place& place = p_.places[at(p_.operands[at(o)].place)];
    return !place.written && (place.home == Home::Outside || place.home == Home::Input);
  }

  double product_work(const Step& s) const {
    const TensorImpl& a = tensor(s.operands[1]);
    const TensorImpl& out = tensor(s.operands[0]);
    return static_cast<double>(out.numel) * static_cast<double>(a.sizes[a.ndim() - 1]);
  }

  /// An output that shares memory with an input, other than element by element.
  bool overlaps_itself(const Step& s) const {
    for (size_t k = 0; k < s.n_out; ++k) {
      if (s.operands[k] < 0) continue;
      const Use out = use_of(p_, s.operands[k], true);
      for (size_t j = 0; j < s.operands.size(); ++j) {
        const int32_t o = s.operands[j];
        if (j == k || o < 0 || o == s.operands[k]) continue;
        const Use in = use_of(p_, o, false);
        const TensorImpl &a = tensor(o), &b = tensor(s.operands[k]);
        const bool same = in.begin == out.begin &&
                          p_.places[at(in.place)].base == p_.places[at(out.place)].base &&
                          a.sizes == b.sizes && a.strides == b.strides && a.dtype == b.dtype;
        const bool apart = in.place == out.place && are_interleaved(a, b);
        if (!same && !apart && meet_in_arena(p_, in, out)) return true;
      }
    }
    return false;
  }

  const Program& p_;
  std::span<const Call> calls_;
  int n_threads_;
};

}  // namespace

std::vector<Stretch> find_stretches(const Program& p, std::span<const Call> calls, int n_threads,
                                    double least_nanoseconds) {
  const Finder finder(p, calls, n_threads);
  std::vector<Stretch> found;
  for (size_t i = 0; i < p.steps.size();) {
    Stretch s{i, {}};
    double total = 0;
    size_t n_cut = 0, end = i;
    for (; end < p.steps.size(); ++end) {
      Cut cut;
      if (!finder.fits(end, cut)) break;
      total += cut.nanoseconds;
      n_cut += cut.size > 0;
      s.cuts.push_back(std::move(cut));
    }
    const bool worth = n_cut >= kLeastCuts && total >= least_nanoseconds;
    if (worth || (n_cut > 0 && least_nanoseconds == 0)) found.push_back(std::move(s));
    i = std::max(end, i + 1);
  }
  return found;
}

}  // namespace gradstep
