# SPDX-License-Identifier: Apache-2.0
"""What the texts of native functions say beyond their first sentences: shapes, dtypes, errors, sources.

It is imported when somebody reads a `__doc__`. What functions share is written once, in a family; what follows from a
signature or from the dtype rule of an elementwise op is derived from it. tests/test_docs.py proves that every native
function is here and that the errors are those that are raised.
"""

from typing import Any, NamedTuple


class Family(NamedTuple):
    """Functions with the same shapes, dtypes and errors; an empty text is left out."""

    names: str
    shape: str = ""
    dtype: str = ""
    raises: str = ""


BROADCAST = "RuntimeError where shapes do not broadcast"
SAME = "input (*), result the same."
INPUT_DTYPE = "the input's."
ALL_OR_DIM = "input (*); the result 0-d without dim, else without the axes dim (of size 1 with keepdim=True)."
PAIR_OF_DIM = "input (*); values and indices without the axis dim (of size 1 with keepdim=True)."
LOSS = "with reduction='none' {}, else 0-d ('mean', 'sum')."
POINTS = "input and target (*), broadcast; the result " + LOSS.format("the same")
BATCH = "N: batch, C: channels; a result without N for an input without it."
REDUCTION = "ValueError if reduction is none of 'none', 'mean', 'sum'"
INDEX = "IndexError or RuntimeError if an index is out of range"
SIZES = "RuntimeError for negative sizes"
FLOATING = "floating only."
UP = "integers become the default float dtype."
VIEW = " The result shares memory with the input."

# ---- elementwise ops, by their dtype rule (cpp/fn/traits.h) ----

RULES = {
    "floating": "the promoted one; " + UP,
    "arithmetic": "the promoted one (torch.result_type).",
    "comparison": "bool.",
    "bitwise": "the promoted one, of integers and bool.",
}
RULE_RAISES = {"bitwise": "RuntimeError for floating operands"}
# Elementwise functions whose rows are written by hand.
RULE_OF = {
    "floating": "div divide true_divide logit softplus softshrink xlogy gelu",
    "arithmetic": "abs absolute pow add sub subtract rsub mul multiply neg negative round clamp clamp_max clamp_min clip remainder "
    "floor_divide hardtanh threshold nan_to_num addcmul addcdiv lerp",
    "comparison": "isclose",
    "bitwise": "bitwise_not",
}  # fmt: skip

# ---- all others ----

FAMILIES = [
    # creation
    Family("zeros ones empty rand randn", "result (*size).",
           "floating default, or dtype.", SIZES),
    Family("full", "result size.", "dtype, else that of fill_value: bool, int64 or the default float dtype.", SIZES),
    Family("empty_strided", "result size with these strides, in elements.", "the default float dtype, or dtype.", SIZES),
    Family("zeros_like ones_like empty_like full_like rand_like randn_like randint_like", SAME, "the input's, or dtype."),
    Family("new_zeros new_ones new_empty new_full", "result (*size).", "self's, or dtype.", SIZES),
    Family("tensor as_tensor asarray new_tensor", "that of the nested data; a number gives 0-d.",
           "dtype, else that of the data: bool, int64, the default float dtype, or an array's.",
           "ValueError if nested lists differ in length; TypeError or RuntimeError for what is no number"),
    Family("from_numpy", "the array's.", "the array's.", "TypeError for dtypes that have no counterpart"),
    Family("from_dlpack", "the other tensor's.", "the other tensor's.", "BufferError for what has to be copied with copy=False"),
    Family("scalar_tensor", "result ().", "the default float dtype, or dtype."),
    Family("arange range", "result (n) with n = ceil((end - start) / step); range: floor + 1.",
           "int64 of integers, else the default float dtype; or dtype.",
           "RuntimeError if step is 0 or has the wrong sign"),
    Family("linspace logspace", "result (steps).", "the default float dtype, or dtype.", "RuntimeError if steps is negative"),
    Family("eye", "result (n, n) or (n, m).", "the default float dtype, or dtype.", "RuntimeError for negative sizes"),
    Family("tril_indices triu_indices", "result (2, k): rows and columns of the k elements.", "int64, or dtype."),
    Family("randint", "result size.", "int64, or dtype.", "RuntimeError if low >= high"),
    Family("randperm", "result (n).", "int64, or dtype.", "RuntimeError if n is negative"),
    # random numbers
    Family("bernoulli", SAME, INPUT_DTYPE, "RuntimeError for probabilities outside of [0, 1]"),
    Family("binomial", "count and prob (*), result the same.", "floating only."),
    Family("normal", "size, or mean and std broadcast.", "floating.", "RuntimeError if a standard deviation is negative"),
    Family("multinomial", "input (n) or (rows, n) of weights; result (num_samples) or (rows, num_samples).", "int64.",
           "RuntimeError for negative or infinite weights, or for more samples than weights without replacement"),
    Family("poisson", SAME, INPUT_DTYPE, "RuntimeError for negative rates"),
    Family("bernoulli_ normal_ uniform_ exponential_ cauchy_ geometric_ log_normal_ random_", "self (*), overwritten.", "self's.",
           "RuntimeError for parameters outside of the distribution's range"),
    Family("dropout alpha_dropout feature_dropout feature_alpha_dropout",
           "input (*), result the same; feature_ forms: (N, C, *), a channel at a time.", FLOATING,
           "ValueError if p is outside of [0, 1]"),
    Family("manual_seed seed initial_seed get_rng_state set_rng_state"),
    # reductions
    Family("sum nansum prod", ALL_OR_DIM, "integers and bool give int64; dtype= converts first."),
    Family("mean nanmean", ALL_OR_DIM, "floating; dtype= converts first.", "RuntimeError for integers without dtype"),
    Family("amax amin", ALL_OR_DIM, INPUT_DTYPE, "IndexError if an axis to reduce is empty"),
    Family("aminmax", "input (*); min and max each as with amin.", INPUT_DTYPE, "RuntimeError if the input is empty"),
    Family("all any", ALL_OR_DIM, "bool; uint8 of uint8."),
    Family("count_nonzero", "input (*); the result 0-d without dim, else without the axes dim.", "int64."),
    Family("argmax argmin", ALL_OR_DIM + " Without dim the place in the flattened input.", "int64.",
           "IndexError if the axis to reduce is empty"),
    Family("max min", "input (*): 0-d; with other: both broadcast; with dim: values and indices without that axis.",
           "the input's (promoted with other); indices int64.", "RuntimeError or IndexError if the input is empty"),
    Family("logsumexp", "input (*); the result without the axes dim (of size 1 with keepdim=True).", UP),
    Family("var std", ALL_OR_DIM, FLOATING, "RuntimeError for integers"),
    Family("var_mean std_mean", "input (*); a pair, each as with var.", FLOATING, "RuntimeError for integers"),
    Family("float_power", "input and exponent (*), broadcast; the result their common shape.", "float64.", BROADCAST),
    Family("square", SAME, "the input's; bool gives int64."),
    Family("norm linalg_vector_norm", ALL_OR_DIM, FLOATING, "RuntimeError for integers"),
    Family("dist", "input and other broadcast; result 0-d.", FLOATING, BROADCAST),
    Family("trace", "input (n, m); result 0-d.", "as sum().", "RuntimeError if the input is not a matrix"),
    Family("median nanmedian", "input (*): 0-d; with dim: values and indices without that axis.", INPUT_DTYPE),
    Family("mode kthvalue", PAIR_OF_DIM, "values the input's, indices int64.",
           "RuntimeError or IndexError if k is not in 1..n, or the axis empty"),
    Family("quantile nanquantile", "input (*), q () or (k); the result as with mean(dim), after a first axis k of a vector q.",
           "float32 or float64, that of both.", "RuntimeError if q is outside of [0, 1] or dtypes differ"),
    Family("allclose equal", "input and other; a Python bool.", "",
           "allclose: RuntimeError where shapes do not broadcast or dtypes differ"),
    # scans, order
    Family("cumsum cumprod", SAME, "integers and bool give int64; dtype= converts first."),
    Family("cumsum_ cumprod_", "self (*), overwritten.", "self's."),
    Family("logcumsumexp", SAME, INPUT_DTYPE),
    Family("cummax cummin", "input (*); values and indices the same.", "values the input's, indices int64."),
    Family("diff", "input (*); the result with n entries less along dim.", "the input's.", "RuntimeError if the input is 0-d or n negative"),
    Family("sort", "input (*); values and indices the same.", "values the input's, indices int64."),
    Family("argsort", SAME, "int64."),
    Family("msort", SAME, INPUT_DTYPE),
    Family("topk", "input (.., n, ..); values and indices (.., k, ..).", "values the input's, indices int64.",
           "RuntimeError if k is not in 0..n"),
    Family("unique unique_consecutive",
           "input (*); result (k), or (k, *) along dim; the inverse as the input, counts (k).",
           "the input's; inverse and counts int64."),
    Family("searchsorted", "sorted_sequence (*, n), input (*, m); result as input.", "int64, or int32.",
           "RuntimeError where the leading axes differ"),
    Family("bucketize", "input (*), boundaries (n); result as input.", "int64, or int32.", "RuntimeError if boundaries is not 1-d"),
    Family("bincount", "input (n) of integers >= 0; result (max(input) + 1), at least (minlength).",
           "int64; float64 with weights (float32 of float32).", "RuntimeError for negative values or other ranks"),
    Family("histc", "input (*); result (bins).", INPUT_DTYPE, "RuntimeError if bins < 1 or max < min"),
    Family("isin", "elements (*); result the same.", "bool."),
    # views and shapes
    Family("view reshape", "input with n elements; result shape, one size of which may be -1 (what remains)." + VIEW + " (reshape: where memory allows.)",
           INPUT_DTYPE, "RuntimeError where the number of elements differs, or view would have to copy"),
    Family("view_as reshape_as", "input with n elements; result of other's shape.", INPUT_DTYPE,
           "RuntimeError where the number of elements differs"),
    Family("expand broadcast_to expand_as", "input (*); the result larger: axes of size 1 repeat, new ones come first." + VIEW, INPUT_DTYPE,
           "RuntimeError where an axis of another size than 1 would have to repeat"),
    Family("broadcast_tensors", "tensors that broadcast; each with the common shape." + VIEW, "their own.", BROADCAST),
    Family("squeeze squeeze_", "input (*); the result without its axes of size 1, or those of dim." + VIEW, INPUT_DTYPE),
    Family("unsqueeze unsqueeze_", "input (*); the result with an axis of size 1 at dim." + VIEW, INPUT_DTYPE),
    Family("transpose transpose_ swapaxes swapdims", "input (*); the result with both axes swapped." + VIEW, INPUT_DTYPE),
    Family("t t_", "input (n, m), result (m, n); up to 1-d unchanged." + VIEW, INPUT_DTYPE, "RuntimeError for more than 2 axes"),
    Family("adjoint", "input (*, n, m), result (*, m, n)." + VIEW, INPUT_DTYPE, "RuntimeError for 1-d"),
    Family("permute movedim moveaxis", "input (*); the result with the same axes in another order." + VIEW, INPUT_DTYPE,
           "RuntimeError if an axis is named twice, or not all are"),
    Family("flatten ravel", "input (*); the result with the axes start_dim..end_dim as one (ravel: all).", INPUT_DTYPE,
           "RuntimeError if start_dim comes behind end_dim"),
    Family("unflatten", "input (.., n, ..); result (.., *sizes, ..), where the product of sizes is n." + VIEW, INPUT_DTYPE,
           "RuntimeError if the product of sizes is not n"),
    Family("narrow", "input (.., n, ..), result (.., length, ..)." + VIEW, INPUT_DTYPE, "RuntimeError if start + length exceeds n"),
    Family("select", "input (*); the result without the axis dim." + VIEW, INPUT_DTYPE, "IndexError if index is out of range"),
    Family("split chunk split_with_sizes tensor_split hsplit vsplit dsplit unbind",
           "input (.., n, ..); a tuple of parts (.., n_i, ..); of unbind without that axis." + VIEW, INPUT_DTYPE,
           "RuntimeError where sizes do not add up to n, or sections do not divide it (hsplit, vsplit, dsplit)"),
    Family("unfold", "input (.., n, ..); result (.., (n - size) // step + 1, .., size)." + VIEW, INPUT_DTYPE,
           "RuntimeError if size > n or step < 1"),
    Family("diagonal", "input (*, n, m); result (*, k)." + VIEW, INPUT_DTYPE, "RuntimeError if both axes are the same"),
    Family("as_strided as_strided_", "result size with these strides in elements, over the input's memory.", INPUT_DTYPE,
           "RuntimeError if it would reach beyond that memory"),
    Family("as_subclass", SAME, INPUT_DTYPE, "TypeError if cls is no subclass of Tensor"),
    Family("detach detach_ conj real positive contiguous clone", SAME, INPUT_DTYPE),
    Family("resize_", "self becomes (*size).", "self's.", "RuntimeError if self wants a gradient"),
    Family("flip fliplr flipud roll rot90", "input (*); the result the same (rot90: both axes swapped for odd k).", INPUT_DTYPE,
           "RuntimeError or IndexError for axes that are not there or named twice"),
    Family("repeat tile", "input (n, ..); result (n * repeats[0], ..), one factor for each axis.", INPUT_DTYPE,
           "RuntimeError for fewer factors than axes (repeat) or negative ones"),
    Family("repeat_interleave", "input (.., n, ..); result (.., sum of repeats, ..); without dim of the flattened input.", INPUT_DTYPE,
           "RuntimeError for negative repeats or another number than n"),
    Family("cat concat concatenate", "tensors (.., n_i, ..), result (.., sum of n_i, ..); the other axes equal.", "the promoted one.",
           "RuntimeError where other axes differ, or for no tensor"),
    Family("stack", "k tensors (*); result with a new axis k at dim.", "the promoted one.", "RuntimeError where shapes differ, or for no tensor"),
    Family("hstack vstack row_stack dstack column_stack", "as cat(), after vectors became rows or columns.", "the promoted one.",
           "RuntimeError where other axes differ"),
    Family("atleast_1d atleast_2d atleast_3d", "input (*); the result with axes of size 1 added.", INPUT_DTYPE),
    Family("block_diag", "tensors (n_i, m_i); result (sum of n_i, sum of m_i).", "the promoted one.", "RuntimeError for more than 2 axes"),
    Family("meshgrid", "k vectors (n_i); k results (n_0, .., n_k).", "their own.", "RuntimeError for other ranks than 0 and 1"),
    Family("cartesian_prod", "k vectors (n_i); result (product of n_i, k).", "the promoted one."),
    Family("combinations", "input (n); result (k, r).", INPUT_DTYPE, "RuntimeError if the input is not 1-d or r negative"),
    Family("diag", "input (n), result (n, n); input (n, m), result its diagonal.", INPUT_DTYPE, "RuntimeError for other ranks"),
    Family("diag_embed", "input (*, n); result (*, n, n).", INPUT_DTYPE),
    Family("diagflat", "input of n elements; result (n, n).", INPUT_DTYPE),
    Family("tril triu", "input (*, n, m), result the same.", INPUT_DTYPE, "RuntimeError for less than 2 axes"),
    Family("pixel_shuffle", "input (*, C r^2, H, W), result (*, C, H r, W r).", INPUT_DTYPE, "RuntimeError if r^2 does not divide the channels"),
    Family("pixel_unshuffle", "input (*, C, H r, W r), result (*, C r^2, H, W).", INPUT_DTYPE, "RuntimeError if r does not divide H and W"),
    Family("channel_shuffle", "input (N, C, *), result the same.", INPUT_DTYPE, "RuntimeError if groups does not divide C"),
    Family("pad", "input (.., n); result (.., n + before + after), pairs of the last axis first.", INPUT_DTYPE,
           "RuntimeError where a reflected border is not smaller than its axis; NotImplementedError for other ranks than the mode has"),
    Family("sum_to_size", "input (*); result size.", INPUT_DTYPE, "RuntimeError if size does not broadcast to the input's shape"),
    # conversion
    Family("to type_as", "the input's.", "the new one."),
    Family("bfloat16 bool byte char double float half int long short", "the input's.", "the one that the name says."),
    Family("cpu cuda pin_memory", "the input's.", INPUT_DTYPE, "RuntimeError or AssertionError if there is no such device"),
    Family("numpy tolist item", "of the tensor; item: of one element.", "the one that fits.",
           "RuntimeError for more than one element (item), or for a tensor that wants a gradient or is on a GPU (numpy)"),
    Family("copy_ fill_ zero_ fill", "self (*); what is written broadcasts to it.", "self's.", BROADCAST),
    # indexing
    Family("gather", "input and index of one rank, index not larger but along dim; result as index.", "the input's; index int64.", INDEX),
    Family("take_along_dim", "input and indices broadcast but along dim; result as indices.", "the input's; indices int64.", INDEX),
    Family("take", "input (*), index (k..); result as index.", "the input's; index int64.", INDEX),
    Family("put put_", "input (*), index and source of one size; result as input.", "the input's, which source has too.", INDEX),
    Family("index_select", "input (.., n, ..), index (k); result (.., k, ..).", "the input's; index an integer type.", INDEX),
    Family("index_add index_copy index_add_ index_copy_", "input (.., n, ..), index (k), source (.., k, ..); result as input.",
           "the input's, which source has too.", INDEX + "; RuntimeError if shapes or dtypes differ"),
    Family("index_fill index_fill_", "input (.., n, ..), index (k), value (); result as input.", "the input's.", INDEX),
    Family("index_put index_put_", "input (*), indices that broadcast to the shape of the places, values that broadcast to it.",
           "the input's, which values has too.", INDEX),
    Family("scatter scatter_add scatter_reduce scatter_ scatter_add_ scatter_reduce_",
           "input, index and src of one rank, index not larger than src, nor than input but along dim; result as input.",
           "the input's, which src has too; index int64.", INDEX + " or dtypes differ"),
    Family("masked_fill masked_fill_", "input and mask broadcast (in place: mask to self); value ().", "the input's; mask bool.",
           "RuntimeError if mask is not bool or value can't be cast"),
    Family("masked_scatter masked_scatter_", "input and mask broadcast; source with at least as many elements as mask has set.",
           "the input's, which source has too.", "RuntimeError if source is too short"),
    Family("masked_select", "input and mask broadcast; result (k).", "the input's; mask bool.", BROADCAST),
    Family("nonzero argwhere", "input with n axes; result (k, n), or n tensors (k) with as_tuple=True.", "int64."),
    Family("where", "condition, input and other broadcast; of condition alone as nonzero(as_tuple=True).", "the promoted one.", BROADCAST),
    Family("one_hot", "input (*) of classes; result (*, num_classes).", "int64.", "RuntimeError for classes below 0 or not below num_classes"),
    Family("embedding", "input (*) of indices, weight (n, d); result (*, d).", "the weight's; indices int32 or int64.",
           "IndexError for indices outside of [0, n); AssertionError if padding_idx is"),
    # products
    Family("matmul", "(n) @ (n): 0-d; (n, k) @ (k, m): (n, m); (k) @ (k, m): (m); (n, k) @ (k): (n); leading axes broadcast.",
           "that of both.", "RuntimeError where sizes or dtypes differ, or an operand is 0-d"),
    Family("mm", "(n, k) @ (k, m): (n, m).", "that of both.", "RuntimeError where sizes, ranks or dtypes differ"),
    Family("bmm", "(b, n, k) @ (b, k, m): (b, n, m).", "that of both.", "RuntimeError where sizes, ranks or dtypes differ"),
    Family("mv", "(n, k) @ (k): (n).", "that of both.", "RuntimeError where sizes or ranks differ"),
    Family("dot", "(n) and (n): 0-d.", "that of both.", "RuntimeError where sizes or ranks differ"),
    Family("addmm addmm_", "input broadcasts to (n, m); mat1 (n, k), mat2 (k, m).", "that of all.", "RuntimeError where sizes do not fit"),
    Family("addmv addmv_", "input broadcasts to (n); mat (n, k), vec (k).", "that of all.", "RuntimeError where sizes do not fit"),
    Family("addr addr_", "input broadcasts to (n, m); vec1 (n), vec2 (m).", "the promoted one.", "RuntimeError where sizes do not fit"),
    Family("baddbmm baddbmm_", "input broadcasts to (b, n, m); batch1 (b, n, k), batch2 (b, k, m).", "that of all.",
           "RuntimeError where sizes do not fit"),
    Family("outer ger", "(n) and (m): (n, m).", "the promoted one.", "RuntimeError if one is not 1-d"),
    Family("inner", "(*, k) and (+, k): (*, +).", "that of both.", "RuntimeError where the last axes differ"),
    Family("kron", "(n, ..) and (m, ..): (n m, ..).", "the promoted one."),
    Family("cross", "input and other broadcast, of size 3 along dim; result the same.", "the promoted one.",
           "RuntimeError if the axis is not of size 3"),
    Family("tensordot", "the axes of a and of b that are not summed over.", "that of both.", "RuntimeError where sizes differ"),
    Family("einsum", "as the equation says; `...` stands for axes that broadcast.", "that of the operands.",
           "RuntimeError if a letter has two sizes or the equation does not fit the ranks"),
    Family("chain_matmul", "(n, a) (a, b) .. (z, m): (n, m).", "that of all.", "RuntimeError where sizes do not fit"),
    Family("linear", "input (*, in), weight (out, in) or (in), bias (out); result (*, out).", "that of all.",
           "RuntimeError where sizes or dtypes differ"),
    Family("bilinear", "input1 (*, n), input2 (*, m), weight (out, n, m), bias (out); result (*, out).", "that of all.",
           "RuntimeError where sizes differ"),
    Family("cdist", "x1 (*, n, d), x2 (*, m, d); result (*, n, m).", FLOATING, "RuntimeError where d differs or p is negative"),
    Family("pairwise_distance", "x1 and x2 (*, d), broadcast; result (*), or (*, 1) with keepdim=True.", FLOATING, BROADCAST),
    Family("cosine_similarity", "x1 and x2 broadcast; the result without the axis dim, between -1 and 1.", FLOATING, BROADCAST),
    Family("normalize", SAME, FLOATING),
    # layers
    Family("softmax log_softmax softmin", "input (*), result the same; softmax sums to 1 along dim.", "the input's, or dtype.",
           "RuntimeError for integers without dtype"),
    Family("layer_norm rms_norm", "input (*, *normalized_shape), result the same; weight and bias normalized_shape.", FLOATING,
           "RuntimeError if the input does not end in normalized_shape"),
    Family("group_norm", "input (N, C, *), result the same; weight and bias (C).", FLOATING, "RuntimeError if num_groups does not divide C"),
    Family("batch_norm instance_norm", "input (N, C, *), result the same; weight, bias and running statistics (C).", FLOATING,
           "ValueError for one value per channel while training; RuntimeError if sizes are not C"),
    Family("conv1d conv2d conv3d",
           "input (N, C, L..) or (C, L..), weight (C_out, C / groups, K..), bias (C_out); result (N, C_out, M..) "
           "with M = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1.", "that of all.",
           "RuntimeError if channels do not fit, or the kernel is larger than the padded input"),
    Family("conv_transpose1d conv_transpose2d conv_transpose3d",
           "input (N, C, L..) or (C, L..), weight (C, C_out / groups, K..), bias (C_out); result (N, C_out, M..) "
           "with M = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.", "that of all.",
           "RuntimeError if channels do not fit, or output_padding is not below stride or dilation"),
    Family("convolution", "as conv2d and conv_transpose2d.", "that of all.", "RuntimeError if channels do not fit"),
    Family("avg_pool1d avg_pool2d avg_pool3d",
           "input (N, C, L..) or (C, L..); result (N, C, M..) with M = floor((L + 2 padding - K) / stride) + 1 (ceil with "
           "ceil_mode).", INPUT_DTYPE, "RuntimeError if padding exceeds half a kernel or the result is empty"),
    Family("max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices",
           "input (N, C, L..) or (C, L..); result (N, C, M..) with M = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1 "
           "(ceil with ceil_mode); indices the same.", "the input's; indices int64.",
           "RuntimeError if padding exceeds half a kernel or the result is empty"),
    Family("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
           "input (N, C, L..) or (C, L..); result (N, C, *output_size).", "the input's; indices int64.",
           "RuntimeError for other ranks"),
    Family("im2col", "input (N, C, H, W) or (C, H, W); result (N, C kH kW, windows).", INPUT_DTYPE,
           "RuntimeError if no window fits"),
    Family("col2im", "input (N, C kH kW, windows); result (N, C, *output_size).", INPUT_DTYPE,
           "RuntimeError if sizes do not fit output_size"),
    Family("grid_sampler", "input (N, C, H, W), grid (N, h, w, 2) from -1 to 1; result (N, C, h, w); 3-d images alike.", FLOATING,
           "RuntimeError where batches differ or the grid's last axis does not fit"),
    Family("resize_axes", "input (N, C, L..); result (N, C, *size).", INPUT_DTYPE, "RuntimeError for sizes below 1"),
    Family("prelu", "input (N, C, *), weight (1) or (C); result as input.", FLOATING, "RuntimeError if weight has another size"),
    Family("scaled_dot_product_attention",
           "query (*, L, E), key (*, S, E), value (*, S, V), attn_mask broadcasts to (*, L, S); result (*, L, V).", "that of all.",
           "RuntimeError if both attn_mask and is_causal are given, or sizes differ"),
    Family("lstm gru rnn_tanh rnn_relu",
           "input (T, N, in), or (N, T, in) with batch_first, or packed data (sum of T, in); states (layers * directions, N, hidden); "
           "results the outputs (T, N, directions * hidden) and the last states.", FLOATING,
           "RuntimeError where sizes do not fit"),
    Family("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
           "input (N, in) or (in), states (N, hidden); w_ih (gates * hidden, in), w_hh (gates * hidden, hidden); result the new states.",
           FLOATING, "RuntimeError where sizes do not fit"),
    # losses
    Family("mse_loss l1_loss smooth_l1_loss huber_loss soft_margin_loss poisson_nll_loss kl_div",
           POINTS + " kl_div: 'batchmean' divides the sum by N.", "the promoted one.", REDUCTION + "; " + BROADCAST),
    Family("binary_cross_entropy binary_cross_entropy_with_logits",
           "input and target (*) of one shape, weight and pos_weight broadcast; the result " + LOSS.format("the same"), FLOATING,
           "ValueError if shapes differ; RuntimeError for probabilities outside of [0, 1]; " + REDUCTION),
    Family("cross_entropy nll_loss",
           "input (N, C, *) or (C), target (N, *) or () of classes (cross_entropy: or probabilities as input), weight (C); the result "
           + LOSS.format("(N, *)"), "the input's; classes int64.",
           "IndexError for classes outside of [0, C) other than ignore_index; RuntimeError or ValueError where shapes do not fit; "
           + REDUCTION),
    Family("gaussian_nll_loss", "input, target and var (*), var also (*, 1) or without the last axis; the result " + LOSS.format("the same"),
           FLOATING, "ValueError for negative variances or sizes of var that do not fit; " + REDUCTION),
    Family("hinge_embedding_loss", "input and target (*), of 1 and -1; the result " + LOSS.format("the same"), "the input's.", REDUCTION),
    Family("margin_ranking_loss", "input1, input2 and target (*), of 1 and -1; the result " + LOSS.format("the same"), "the promoted one.",
           REDUCTION),
    Family("cosine_embedding_loss", "input1 and input2 (N, d) or (d), target (N) or (), of 1 and -1; the result " + LOSS.format("(N)"),
           FLOATING, "RuntimeError where ranks do not fit; " + REDUCTION),
    Family("triplet_margin_loss", "anchor, positive and negative (N, d) or (d); the result " + LOSS.format("(N)"), FLOATING,
           "RuntimeError where ranks differ; " + REDUCTION),
    Family("multi_margin_loss", "input (N, C) or (C), target (N) or () of classes, weight (C); the result " + LOSS.format("(N)"), FLOATING,
           "RuntimeError where shapes do not fit; " + REDUCTION),
    Family("multilabel_soft_margin_loss", "input and target (N, C), weight (C); the result " + LOSS.format("(N)"), FLOATING, REDUCTION),
    # autograd, settings, facts
    Family("backward", "gradient as self; it may be left out of a tensor of one element.", "",
           "RuntimeError if there is no graph, if it was freed, or if gradient is missing"),
    Family("register_hook register_post_accumulate_grad_hook retain_grad requires_grad_", "", "",
           "RuntimeError if the tensor does not want a gradient, or is no leaf where a leaf is needed"),
    Family("clear_autocast_cache autocast_decrement_nesting autocast_increment_nesting get_autocast_cpu_dtype get_autocast_dtype "
           "get_autocast_gpu_dtype set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype "
           "set_autocast_enabled set_autocast_gpu_dtype is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled "
           "is_anomaly_check_nan_enabled is_anomaly_enabled is_grad_enabled is_inference_mode_enabled"),
    Family("is_complex is_contiguous is_floating_point is_inference is_pinned is_set_to is_signed data_ptr dim ndimension "
           "element_size nelement numel size stride storage_offset record_stream can_cast promote_types result_type"),
    Family("is_nonzero", "one element; a Python bool.", "", "RuntimeError for more or fewer elements"),
    Family("isreal", SAME, "bool."),
]  # fmt: skip

# ---- where what is from the literature was described ----

SOURCES = {
    "relu relu6": "Nair & Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines, 2010 (relu6: Krizhevsky, 2010).",
    "leaky_relu": "Maas et al., Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013.",
    "prelu": "He et al., Delving Deep into Rectifiers, 2015.",
    "elu": "Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units, 2016.",
    "celu": "Barron, Continuously Differentiable Exponential Linear Units, 2017.",
    "selu alpha_dropout feature_alpha_dropout": "Klambauer et al., Self-Normalizing Neural Networks, 2017.",
    "gelu": "Hendrycks & Gimpel, Gaussian Error Linear Units, 2016.",
    "silu": "Elfwing et al., Sigmoid-Weighted Linear Units, 2017; Ramachandran et al. (swish), 2017.",
    "mish": "Misra, Mish: A Self Regularized Non-Monotonic Activation Function, 2019.",
    "hardswish hardsigmoid": "Howard et al., Searching for MobileNetV3, 2019.",
    "softplus": "Dugas et al., Incorporating Second-Order Functional Knowledge, 2001.",
    "softsign": "Bergstra et al., Quadratic Polynomials Learn Better Image Features, 2009.",
    "dropout": "Hinton et al., Improving Neural Networks by Preventing Co-Adaptation of Feature Detectors, 2012.",
    "feature_dropout": "Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.",
    "batch_norm": "Ioffe & Szegedy, Batch Normalization, 2015.",
    "instance_norm": "Ulyanov et al., Instance Normalization, 2016.",
    "layer_norm": "Ba et al., Layer Normalization, 2016.",
    "group_norm": "Wu & He, Group Normalization, 2018.",
    "rms_norm": "Zhang & Sennrich, Root Mean Square Layer Normalization, 2019.",
    "scaled_dot_product_attention": "Vaswani et al., Attention Is All You Need, 2017.",
    "lstm lstm_cell": "Hochreiter & Schmidhuber, Long Short-Term Memory, 1997; forget gates: Gers et al., 2000.",
    "gru gru_cell": "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014.",
    "rnn_tanh rnn_relu rnn_tanh_cell rnn_relu_cell": "Elman, Finding Structure in Time, 1990.",
    "pixel_shuffle pixel_unshuffle": "Shi et al., Real-Time Single Image and Video Super-Resolution, 2016.",
    "channel_shuffle": "Zhang et al., ShuffleNet, 2018.",
    "grid_sampler": "Jaderberg et al., Spatial Transformer Networks, 2015.",
    "huber_loss": "Huber, Robust Estimation of a Location Parameter, 1964.",
    "smooth_l1_loss": "Girshick, Fast R-CNN, 2015.",
    "kl_div": "Kullback & Leibler, On Information and Sufficiency, 1951.",
    "gaussian_nll_loss": "Nix & Weigend, Estimating the Mean and Variance of the Target Probability Distribution, 1994.",
    "hinge_embedding_loss": "Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping, 2006.",
    "triplet_margin_loss": "Balntas et al., Learning Local Feature Descriptors with Triplets and Shallow CNNs, 2016.",
    "multi_margin_loss": "Crammer & Singer, On the Algorithmic Implementation of Multiclass Kernel-Based Vector Machines, 2001.",
    "cross_entropy": "label smoothing: Szegedy et al., Rethinking the Inception Architecture, 2016.",
    "bernoulli_ normal_ uniform_ exponential_ cauchy_ geometric_ log_normal_ random_ rand randn randint randperm bernoulli normal":
        "generator: Matsumoto & Nishimura, Mersenne Twister, 1998 (CPU); Salmon et al., Philox, 2011 (GPU).",
    "einsum": "Einstein, Die Grundlage der allgemeinen Relativitätstheorie, 1916 (the convention).",
    "quantile nanquantile": "interpolation='linear': Hyndman & Fan, Sample Quantiles in Statistical Packages, 1996 (type 7).",
    "round": "IEEE 754-2019, roundToIntegralTiesToEven.",
    "maximum minimum": "IEEE 754-2019, maximum and minimum.",
    "fmax fmin": "C's fmax and fmin (ISO C 7.12.12).",
    "fmod": "C's fmod (ISO C 7.12.10).",
    "signbit copysign": "IEEE 754-2019, isSignMinus and copySign.",
    "heaviside": "as numpy.heaviside.",
    "from_dlpack": "DLPack 1.0, Python specification.",
    "chain_matmul": "Cormen et al., Introduction to Algorithms (matrix-chain multiplication).",
}  # fmt: skip


def by_name(table: dict[str, str]) -> dict[str, str]:
    return {name: text for names, text in table.items() for name in names.split()}


FAMILY_OF = {name: family for family in FAMILIES for name in family.names.split()}
SOURCE_OF = by_name(SOURCES)
RULES_BY_HAND = {name: rule for rule, names in RULE_OF.items() for name in names.split()}


def plain(name: str) -> str:
    """Of an in-place form, the name of the other one."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def arguments(signature: str) -> dict[str, str]:
    """Names and types of a signature's arguments: {"dim": "IntList?"}."""
    parts = [part.strip().partition(" ") for part in signature[1:-1].split(",")]
    return {rest.partition("=")[0]: kind for kind, _, rest in parts if rest}


def rule_of(function: Any) -> str | None:
    name = plain(function.__name__)
    return function.__rule__ or RULES_BY_HAND.get(name)


def elementwise(function: Any, rule: str) -> Family:
    kinds = arguments(function.__signatures__[0])
    operands = [n for n, kind in kinds.items() if kind.rstrip("?") in ("Tensor", "Operand")]
    operands = [n for n in operands if n != "out"]
    raises = [RULE_RAISES[rule]] if rule in RULE_RAISES else []
    if len(operands) == 1:
        dtype = {"floating": "the input's; " + UP, "arithmetic": INPUT_DTYPE}.get(rule, RULES[rule])
        return Family("", SAME, dtype, "; ".join(raises))
    shape = f"{', '.join(operands[:-1])} and {operands[-1]} (*), broadcast; the result their common shape."
    return Family("", shape, RULES[rule], "; ".join([BROADCAST, *raises]))


def facts(function: Any) -> Family | None:
    """Shapes, dtypes and errors of a native function; None if nothing is known."""
    name = function.__name__
    family = FAMILY_OF.get(name) or FAMILY_OF.get(plain(name))
    rule = None if name in FAMILY_OF else rule_of(function)
    if rule is not None and (family is None or not family.shape):
        family = elementwise(function, rule)
    if family is None:
        return None
    names = {n for signature in function.__signatures__ for n in arguments(signature)}
    dims = sorted(names & {"dim", "dim0", "dim1", "dim2", "dims", "axis0", "axis1"})
    errors = [family.raises.rstrip(".")] if family.raises else []
    if dims:
        errors.append(f"IndexError if {' or '.join(dims)} is no axis")
    if "out" in names:
        errors.append("RuntimeError if out has a lower kind of dtype than the result")
    if plain(name) != name and name not in FAMILY_OF:
        errors.append(
            "RuntimeError if the result does not fit self's shape or kind of dtype, or if self is a leaf that wants a gradient"
        )
    return family._replace(raises="; ".join(errors))


def complete(function: Any, text: str) -> str:
    """The text of a native function with what its family says."""
    known = facts(function)
    if known is None:
        return text
    name = function.__name__
    lines = [
        f"{title}: {line}"
        for title, line in (
            ("Shape", known.shape),
            ("Dtype", known.dtype),
            ("Raises", known.raises + "." if known.raises else ""),
            ("Source", SOURCE_OF.get(name) or SOURCE_OF.get(plain(name), "")),
        )
        if line
    ]
    return text + "".join(f"\n{line}\n" for line in lines)
