# SPDX-License-Identifier: Apache-2.0
"""Settings of PyTorch's tracer, with its defaults; they can be set and change nothing."""

from gradstep._config import patcher

automatic_dynamic_shapes = True
assume_static_by_default = True
cache_size_limit = 8
accumulated_cache_size_limit = 256
accumulated_recompile_limit = 256
recompile_limit = 8
capture_scalar_outputs = False
capture_dynamic_output_shape_ops = False
compiled_autograd = False
dynamic_shapes = True
force_parameter_static_shapes = True
guard_nn_modules = True
inline_inbuilt_nn_modules = True
log_level = None
numpy_default_float = "float64"
optimize_ddp = True
specialize_int = False
skip_fwd_side_effects_in_bwd_under_checkpoint = False
suppress_errors = False
verbose = False

patch = patcher(__name__)
