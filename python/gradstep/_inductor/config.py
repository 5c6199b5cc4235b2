# SPDX-License-Identifier: Apache-2.0
"""Settings of PyTorch's code generator, with its defaults; they can be set and change nothing."""

from gradstep._config import patcher

compile_threads = 1
conv_1x1_as_mm = False
coordinate_descent_check_all_directions = False
coordinate_descent_tuning = False
debug = False
emulate_precision_casts = False
epilogue_fusion = True
fallback_random = False
force_fuse_int_mm_with_mul = False
freezing = False
fx_graph_cache = True
max_autotune = False
max_autotune_gemm = False
max_autotune_gemm_backends = "ATEN,TRITON,CPP"
max_autotune_pointwise = False
permute_fusion = False
reorder_for_compute_comm_overlap = False
shape_padding = True
use_mixed_mm = True


class triton:
    """Settings of its GPU kernels."""

    cudagraph_trees = True
    cudagraphs = False
    unique_kernel_names = True
    multi_kernel = 0


class cpp:
    """Settings of its CPU kernels."""

    simdlen = None
    threads = -1


class trace:
    """Settings of its debugging output."""

    enabled = False


patch = patcher(__name__)
