"""The recipes that have a name: ``onnxq recipe NAME`` prints them."""

_CANONICAL = (
    "inline-functions,name-nodes,constants-to-initializers,raise-opset,fold-constants,"
    "remove-noops,remove-unused,measure-shapes"
)
_FUSE = (
    "fuse-activation-clip,fuse-pad,fuse-batchnorm,fuse-batchnorm-forward,"
    "fuse-affine,fuse-matmul-add,unshare-weights"
)

RECIPES: dict[str, str] = {
    "fast": (
        f"{_CANONICAL},{_FUSE},plan-kernels,keep-wide-joins,choose-ranges{{method=minmax}},"
        "quantize-weights{method=minmax},quantize-biases,insert-qdq"
    ),
    "balanced": (
        f"{_CANONICAL},{_FUSE},equalize-silu,plan-kernels,keep-wide-joins,choose-ranges{{method=mse}},"
        "quantize-weights{method=mse},quantize-biases,insert-qdq"
    ),
}
"""By name, the passes in the syntax of ``Recipe.parse``."""
