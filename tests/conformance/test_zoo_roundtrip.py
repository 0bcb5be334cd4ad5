"""The zoo's networks keep every field through load and save."""

import onnx

from onnxq.graph import Model
from tests.zoo import ZOO, needs_zoo


@needs_zoo
def test_every_network_of_the_zoo(tmp_path):
    paths = sorted((ZOO / "models").glob("*.onnx"))
    assert paths
    for path in paths:
        original = onnx.load(path, load_external_data=False)
        model = Model.load(path)
        assert model.to_proto(embed=False) == original, path.name
        model.save(tmp_path / path.name)
        assert onnx.load(tmp_path / path.name) == model.clone().to_proto(), path.name
