import onnxruntime as ort
import pytest

from onnxq.errors import OptionError, UnknownNameError
from onnxq.runtime.providers import CPU, parse_providers, resolve


@pytest.fixture
def with_cuda(monkeypatch):
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: names)


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider", "cpuexecutionprovider"])
def test_short_and_full_names(name):
    assert parse_providers(name) == (CPU,)


def test_order_and_options_are_kept_and_the_cpu_comes_last(with_cuda):
    found = parse_providers("cuda:device_id=1:use_tf32=0")
    assert found == (("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"}), CPU)
    assert parse_providers("cpu,cuda") == (CPU, ("CUDAExecutionProvider", {}))


def test_an_absent_provider_lists_what_is_there(with_cuda):
    with pytest.raises(UnknownNameError, match="tensorrt") as caught:
        parse_providers("tensorrt,cpu")
    assert "CUDAExecutionProvider" in str(caught.value)
    assert "CPUExecutionProvider" in str(caught.value)


def test_an_option_needs_a_value(with_cuda):
    with pytest.raises(OptionError, match="device_id"):
        parse_providers("cuda:device_id")


def test_resolve_mixes_names_and_pairs(with_cuda):
    assert resolve(()) == (CPU,)
    assert resolve(["cuda", CPU]) == (("CUDAExecutionProvider", {}), CPU)
