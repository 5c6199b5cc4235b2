# SPDX-License-Identifier: Apache-2.0
"""Operators that are composed of others in Python, by family; each module is imported at the first use of a name.

`FUNCTIONS` says which module has which names of `torch.`, `METHODS` which of them are methods of Tensor too.
"""

import importlib
from typing import Any

from gradstep import _C

FUNCTIONS = {
    "views": "alias_copy as_strided_copy as_strided_scatter conj_physical detach_copy diagonal_copy diagonal_scatter "
    "empty_permuted expand_copy narrow_copy permute_copy resolve_conj resolve_neg select_copy select_scatter "
    "slice_copy slice_scatter split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy "
    "unfold_copy unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze_copy view_copy _chunk_cat "
    "new_empty_strided constant_pad_nd resize_as_",
    "matrices": "addbmm cholesky_inverse cholesky_solve geqrf logdet lu lu_solve lu_unpack matrix_exp ormqr orgqr "
    "pca_lowrank qr svd svd_lowrank triangular_solve vdot cholesky det inverse matrix_power pinverse slogdet",
    "numeric": "corrcoef cov cumulative_trapezoid gradient histogram histogramdd "
    "index_reduce nonzero_static renorm trapezoid trapz unravel_index _segment_reduce segment_reduce "
    "_unsafe_masked_index _unsafe_masked_index_put_accumulate grid_sampler_2d grid_sampler_3d native_layer_norm "
    "native_group_norm native_batch_norm _native_batch_norm_legit _softmax_backward_data "
    "_log_softmax_backward_data _sample_dirichlet",
    "arithmetic": "angle frexp gcd gcd_ igamma igammac lcm lcm_ mvlgamma nextafter polygamma",
    "windows": "bartlett_window blackman_window hamming_window hann_window kaiser_window",
}
METHODS = (
    "addbmm angle as_strided_scatter cholesky_inverse cholesky_solve conj_physical corrcoef cov det diagonal_scatter "
    "frexp gcd geqrf histogram igamma igammac index_reduce inverse lcm logdet lu lu_solve matrix_exp matrix_power "
    "mvlgamma narrow_copy nonzero_static new_empty_strided nextafter ormqr orgqr pinverse polygamma qr renorm resolve_conj "
    "resolve_neg select_scatter slice_scatter slogdet svd triangular_solve unsafe_chunk unsafe_split vdot cholesky"
).split()
IN_PLACE = "gcd igamma igammac index_reduce lcm mvlgamma nextafter polygamma renorm addbmm conj_physical float_power".split()

_HOME = {name: module for module, names in FUNCTIONS.items() for name in names.split()}


def find(name: str) -> Any:
    """The function of that name in `torch.`, None where there is none."""
    if name.startswith("_foreach_"):
        return importlib.import_module("gradstep._ops.foreach").find(name)
    home = _HOME.get(name)
    return getattr(importlib.import_module(f"gradstep._ops.{home}"), name) if home else None


def as_method(name: str) -> Any:
    """The function as a method of Tensor, which loads its module when it is called."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return find(name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"gradstep.{name} of this tensor; shapes and errors are those of the function."
    return method


def as_in_place(name: str) -> Any:
    """The method that writes the function's result over the tensor."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        # The write is an op of its own, so that the history of the old value is kept.
        return self.copy_((find(name) or getattr(_C, name))(self.clone(), *args, **kwargs))

    method.__name__ = name + "_"
    method.__doc__ = f"Writes what gradstep.{name} gives over this tensor."
    return method
