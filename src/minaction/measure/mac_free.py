"""Which torch functions have no multiply-accumulates, by convention.

Element-wise functions, normalisations, pooling, reductions, softmax, look-ups, and whatever moves
elements about. What is neither here nor has a formula is reported, never taken for 0.
"""

from __future__ import annotations

from minaction.energy.functions import NONLINEARITIES
from minaction.energy.scale_rules import (
    HOMOGENEOUS,
    JOINS,
    METADATA,
    MOVES,
    NORMALISATIONS,
    POOLS,
    PRODUCTS,
    REDUCTIONS,
    RESAMPLES,
    SIGNS,
    SUMS,
)

_OTHERS = frozenset(
    """
    acos acosh addcdiv addcmul all allclose alpha_dropout and angle any argmax argmin argsort
    asin asinh atan atan2 atanh bernoulli bitwise_and bitwise_not bitwise_or bitwise_xor bool
    bucketize ceil complex conj copy copysign cos cosh count_nonzero cummax cummin cumprod
    cumsum diag diag_embed diff embedding embedding_bag empty_like equal erf erfc erfinv exp
    exp2 expm1 feature_alpha_dropout fill float_power floor floor_divide floordiv fmod fold frac
    full_like gather gumbel_softmax heaviside hypot iand imag index_add index_copy index_fill
    index_put int invert ior ipow isclose isfinite isinf isnan item iter kthvalue lerp
    local_response_norm log log10 log1p log2 log_softmax logaddexp logcumsumexp logical_and
    logical_not logical_or logical_xor logit logsigmoid logsumexp long lp_pool1d lp_pool2d
    masked_scatter masked_select max max_unpool1d max_unpool2d max_unpool3d median meshgrid min
    mod mode multinomial nan_to_num nanmean nansum new_empty new_full new_ones new_tensor
    new_zeros nonzero norm normalize numpy one_hot ones_like or pad pairwise_distance polar pow
    prod quantile rand_like randint_like randn_like real reciprocal remainder resolve_conj
    rfloordiv round rpow rsqrt scatter scatter_add scatter_reduce setitem signbit sin sinc sinh
    softmax softmin sort sqrt square std std_mean take take_along_dim tan tolist topk tril triu
    trunc unfold unique unsafe_chunk unsafe_split upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d var var_mean vector_norm view_as_complex view_as_real xlogy xor zero
    zeros_like
    """.split()
)

FREE = _OTHERS.union(
    (name.strip("_") for name in NONLINEARITIES),
    *(HOMOGENEOUS, MOVES, JOINS, POOLS, RESAMPLES, REDUCTIONS, SUMS, PRODUCTS),
    *(SIGNS, NORMALISATIONS, METADATA),
)
"""Functions without multiply-accumulates."""
