"""Every network of the zoo: extremes from inside the run equal those of the arrays."""

from itertools import islice

import numpy as np
import pytest

from onnxq.calibrate.driver import calibrate
from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.calibrate.sources import open_data
from onnxq.graph import Model
from onnxq.quant import RANGE_METHODS, UINT8, QuantSpec, choose_range
from onnxq.runtime.probe import probe
from onnxq.runtime.session import Session
from onnxq.runtime.types import FLOATS
from tests.zoo import model as path_of
from tests.zoo import needs_zoo, zoo

NAMES = [
    "mnist_cntk", "squeezenet1.1", "mobilenetv2", "cifar_resnet20", "yolox_nano", "supres_core",
    "shakespeare_rnn", "gtcrn_simple", "silero_vad_16k_op15", "silero_vad",
    "villes_transformer_d64h8", "names_transformer",
]  # fmt: skip


@needs_zoo
@pytest.mark.parametrize("name", NAMES)
def test_extremes_and_histograms_of_every_float_tensor(name):
    model = Model.load(path_of(name))
    feeds = list(islice(zoo().calibration(name, 2), 2))
    source = open_data(iter(feeds), Session(model, threads=1, optimize=False).inputs)
    facts = probe(model, source.first())
    tensors = [n for n, f in facts.items() if f.dtype in FLOATS]
    assert tensors
    reduced = calibrate(model, dict.fromkeys(tensors, (Extremes(),)), source)
    arrays = calibrate(model, dict.fromkeys(tensors, (Extremes(), Histogram())), source)
    for tensor in tensors:
        a, b = reduced.get(tensor, Extremes()), arrays.get(tensor, Extremes())
        # taps change which operators ONNX Runtime fuses, hence the last bits
        scale = max(1e-6, *map(abs, b.bounds))
        np.testing.assert_allclose(a.bounds, b.bounds, atol=1e-4 * scale, err_msg=tensor)
        histogram = arrays.get(tensor, Histogram())
        assert histogram.bounds == b.bounds
    for tensor in tensors[:: 1 + len(tensors) // 40]:
        b, histogram = arrays.get(tensor, Extremes()), arrays.get(tensor, Histogram())
        scale = max(1e-6, *map(abs, b.bounds))
        for method in RANGE_METHODS:
            low, high = choose_range(method, b, histogram, QuantSpec(dtype=UINT8))
            assert min(b.bounds[0], 0) - 1e-5 * scale <= low <= high
            assert high <= max(b.bounds[1], 0) + 1e-5 * scale
