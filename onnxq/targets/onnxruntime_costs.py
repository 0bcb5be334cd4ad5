"""What ONNX Runtime's CPU kernels cost, with VNNI and AVX-512 and with AVX2 alone.

Fitted to profiles of blocks of 16 to 512 channels, onnxruntime 1.31, on one core of a Xeon of
2 GHz; for AVX2 the same core with the later instruction sets hidden, by
``tests/bench/without_vnni.py``. Plans depend on ratios alone.
"""

from __future__ import annotations

from onnxq.targets.costs import Cost, Costs

VNNI = Costs(
    floating={
        "Conv": Cost(3000, 0.05, 0.022),
        "ShallowConv": Cost(3000, 0.05, 0.04),
        "DepthwiseConv": Cost(3000, 0.05, 0.055),
        "Gemm": Cost(3000, 0, 0.3),
        "Sigmoid": Cost(2000, 0.52),
        "Mul": Cost(2000, 0.38),
        "Scale": Cost(2000, 0.39),
        "SiLU": Cost(2000, 0.25),
        "Add": Cost(1000, 0.05),
        "Concat": Cost(3000, 0.3),
        "MaxPool": Cost(3000, 0.2),
        "AveragePool": Cost(3000, 0.2),
        "GlobalAveragePool": Cost(3000, 0.1),
        "Resize": Cost(3000, 0.13),
        "Move": Cost(3000, 0.4),
    },
    integer={
        "Conv": Cost(3000, 0.25, 0.0052),
        "ShallowConv": Cost(3000, 0.25, 0.013),
        "DepthwiseConv": Cost(3000, 0.1, 0.085),
        "Gemm": Cost(3000, 0, 0.15),
        "Sigmoid": Cost(3000, 0.56),
        "Mul": Cost(3000, 0.44),
        "Scale": Cost(3000, 0.85),
        "SiLU": Cost(3000, 0.5),
        "Add": Cost(3000, 0.25),
        "Concat": Cost(3000, 0.2),
        "MaxPool": Cost(3000, 0.8),
        "AveragePool": Cost(3000, 2.5),
        "GlobalAveragePool": Cost(3000, 0.1),
        "Resize": Cost(3000, 2.0),
        "Move": Cost(3000, 0.2),
    },
    quantize=Cost(3000, 0.4),
    dequantize=Cost(3000, 0.4),
    layout=Cost(5000, 0.6),
)

AVX2 = Costs(
    floating={
        **VNNI.floating,
        "Conv": Cost(3000, 0.15, 0.035),
        "ShallowConv": Cost(3000, 0.15, 0.055),
        "DepthwiseConv": Cost(3000, 0.1, 0.1),
        "SiLU": Cost(2000, 0.45),
        "MaxPool": Cost(3000, 0.4),
        "Resize": Cost(3000, 0.2),
    },
    integer={
        **VNNI.integer,
        "Conv": Cost(3000, 0.4, 0.0182),
        "ShallowConv": Cost(3000, 0.4, 0.025),
        "DepthwiseConv": Cost(3000, 0.1, 0.15),
    },
    quantize=Cost(3000, 0.5),
    dequantize=Cost(3000, 0.4),
    layout=Cost(5000, 0.6),
)
