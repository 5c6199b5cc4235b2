// SPDX-License-Identifier: Apache-2.0
// The kernels of the optimizers with counters.
#include "cuda/multi.h"

namespace gradstep::cuda {

namespace {

template <class S>
using RmspropPlain = RmspropUpdate<S, false, false>;
template <class S>
using RmspropCentered = RmspropUpdate<S, true, false>;
template <class S>
using RmspropMomentum = RmspropUpdate<S, false, true>;
template <class S>
using RmspropBoth = RmspropUpdate<S, true, true>;

const bool registered = [] {
  register_update<AdamUpdate>("multi_adam");
  register_update<AdamAmsgradUpdate>("multi_adam_amsgrad");
  register_update<NAdamUpdate>("multi_nadam");
  register_update<RAdamUpdate>("multi_radam");
  register_update<AdamaxUpdate>("multi_adamax");
  register_update<RmspropPlain>("multi_rmsprop");
  register_update<RmspropCentered>("multi_rmsprop_centered");
  register_update<RmspropMomentum>("multi_rmsprop_momentum");
  register_update<RmspropBoth>("multi_rmsprop_centered_momentum");
  register_update<AdagradUpdate>("multi_adagrad");
  register_update<AdadeltaUpdate>("multi_adadelta");
  register_update<RpropUpdate>("multi_rprop");
  register_update<AsgdUpdate>("multi_asgd");
  register_update<AdafactorNumbers>("multi_adafactor");
  register_update<MuonMomentum>("multi_muon_momentum");
  register_update<MuonUpdate>("multi_muon");
  return true;
}();

}  // namespace

}  // namespace gradstep::cuda
