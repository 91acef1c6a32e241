"""Operations by their names in torch, as far as one rule fits many."""

from __future__ import annotations

# Linear in the input, piecewise linear through zero, or only moving numbers about: the plain gradient conserves.
PLAIN = frozenset(
    """
    relu relu_ leaky_relu leaky_relu_ prelu threshold abs abs_ __abs__ max_pool1d max_pool2d max_pool3d
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d
    adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    add add_ __add__ __radd__ __iadd__ sub sub_ __sub__ __rsub__ __isub__ rsub subtract neg neg_ __neg__ positive
    mean sum nansum cumsum amax amin max min maximum minimum cat concat concatenate stack hstack vstack split chunk
    unbind tensor_split view view_as reshape reshape_as flatten unflatten ravel permute transpose transpose_ swapaxes
    movedim moveaxis t squeeze squeeze_ unsqueeze unsqueeze_ expand expand_as repeat repeat_interleave tile
    contiguous clone to type type_as float double half bfloat16 cpu cuda requires_grad_ __getitem__ __setitem__
    narrow select index_select gather take_along_dim masked_fill masked_fill_ masked_select where tril triu roll flip
    pad constant_pad_nd _pad interpolate upsample pixel_shuffle pixel_unshuffle unfold fold im2col col2im diagonal
    scatter scatter_ scatter_add index_add copy_ zero_ fill_ dropout dropout_ dropout1d dropout2d dropout3d
    alpha_dropout feature_dropout channel_shuffle broadcast_to broadcast_tensors as_strided retain_grad
    register_hook __format__ __repr__ __bool__ __iter__ item tolist numpy __contains__ data_ptr
    diff max_unpool1d max_unpool2d max_unpool3d masked_scatter masked_scatter_ index_put index_put_ index_copy
    index_copy_ index_fill index_add_ scatter_add_ unsafe_chunk unsafe_split hsplit vsplit dsplit dstack column_stack
    swapdims adjoint block_diag rot90 trace native_channel_shuffle _pack_padded_sequence _pad_packed_sequence
    """.split()  # noqa: SIM905 - a hundred names read better as words
)

# One number in, one number out, not linear: relevance passes through.
SQUASHING = frozenset(
    """
    gelu silu silu_ mish mish_ tanh tanh_ sigmoid sigmoid_ softplus elu elu_ celu celu_ selu selu_ hardswish
    hardsigmoid hardtanh hardtanh_ relu6 softsign logsigmoid tanhshrink clamp clamp_ clip clamp_min
    clamp_max softshrink erf sqrt log1p
    """.split()  # noqa: SIM905
)
