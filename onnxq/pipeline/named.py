"""The recipes that have a name: ``onnxq recipe NAME`` prints them."""

_CANONICAL = (
    "inline-functions,raise-opset,name-nodes,constants-to-initializers,widen-float16,"
    "fold-constants,remove-noops,remove-unused,measure-shapes"
)
# fuse-affine for Conv+Add+BatchNormalization, for Conv+BatchNormalization+Mul, and for the 1/6 that
# hardswish-to-mul leaves
_FUSE = (
    "reducemean-to-gap,fuse-activation-clip,fuse-pad,fuse-focus,fuse-matmul-add,"
    "fuse-affine,fuse-batchnorm,fuse-batchnorm-forward,fuse-affine,unshare-weights,"
    "recognise-hardswish,recognise-silu,recognise-gelu,recognise-layernorm,relu-to-leakyrelu,"
    "hardswish-to-mul,fuse-affine,widen-stem"
)
# for speed: float where integers would be slower
_PLAN_FAST = "keep-output-layers,keep-wide-joins,keep-faster-float,widen-small-weights"
# where floats become integers, and integers floats: before anything is measured for ranges
_BORDERS = "equalize-entries,equalize-exits"
_PLAN = (
    f"keep-output-layers,keep-faster-float{{apply=false}},widen-small-weights,{_BORDERS},"
    "keep-wide-joins"
)
# where equalize-silu has put a product in front of each gate; without it integer gates are faster
_GATED = "keep-gated-depthwise"
_EQUALIZE = "equalize-silu,equalize-activations,equalize-cross-layer"

_EMIT = (
    "insert-qdq,pack-weights,hold-float,hold-products,whole-float-gates,store-rest,narrow-integers,"
    "hold-gates,move-codes"
)
# without a run: no shapes are measured, and the runtime fuses what it fuses in float too
_PREPARE = _CANONICAL.removesuffix(",measure-shapes")
_STORE = "store-weights,narrow-integers"
_PLAN_DYNAMIC = "plan-dynamic,keep-sensitive-weights,plan-weights"
_DYNAMIC = f"insert-dynamic,insert-dynamic-lstm,{_STORE},store-float16{{excluded=false}}"

RECIPES: dict[str, str] = {
    "fast": (
        f"{_CANONICAL},{_FUSE},plan-kernels,{_PLAN_FAST},choose-ranges{{method=minmax}},"
        f"quantize-weights{{method=minmax}},quantize-biases,{_EMIT}"
    ),
    "balanced": (
        f"{_CANONICAL},{_FUSE},{_EQUALIZE},plan-kernels,{_GATED},{_PLAN},"
        "choose-ranges{method=mse},search-ranges{runs=75,samples=6},"
        "quantize-weights{method=mse},round-second-order{bits=6,samples=32},"
        "correct-biases-empirical{samples=24},"
        f"quantize-biases,{_EMIT}"
    ),
    "best": (
        f"{_CANONICAL},{_FUSE},{_EQUALIZE},plan-kernels,{_GATED},{_PLAN},"
        "choose-ranges{method=mse},search-ranges,quantize-weights{method=mse},round-second-order,"
        f"correct-biases-empirical,quantize-biases,{_EMIT}"
    ),
    "dynamic-fast": f"{_PREPARE},{_PLAN_DYNAMIC},round-weights,{_DYNAMIC}",
    "dynamic": f"{_PREPARE},{_PLAN_DYNAMIC},round-weights{{method=mse,bits=6}},{_DYNAMIC}",
    "weights-fast": f"{_PREPARE},plan-weights,round-weights,{_STORE}",
    "dynamic-best": (
        f"{_PREPARE},equalize-activations{{pairs=false}},{_PLAN_DYNAMIC},"
        f"round-weights{{method=mse,bits=6}},round-weights-second-order,{_DYNAMIC}"
    ),
    "weights": f"{_PREPARE},plan-weights,round-weights{{method=mse}},{_STORE}",
    "weights-best": (
        f"{_PREPARE},plan-weights,round-weights{{method=mse}},round-weights-second-order,{_STORE}"
    ),
}
"""By name, the passes in the syntax of ``Recipe.parse``."""

MODES: dict[str, dict[str, str]] = {
    "static": {"fast": "fast", "balanced": "balanced", "best": "best"},
    "dynamic": {"fast": "dynamic-fast", "balanced": "dynamic", "best": "dynamic-best"},
    "weights": {"fast": "weights-fast", "balanced": "weights", "best": "weights-best"},
}
"""By mode, what the three names of recipes stand for."""
