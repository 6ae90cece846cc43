"""Devices: what is refused everywhere, and what must hold on a live CUDA device."""

import pytest

from featx.backbone.backbone import Backbone
from featx.backbone.golden import golden_cosines
from featx.backbone.runtime import choose_device, cuda_devices, prove
from featx.errors import DeviceError, InputError
from featx.zoo import catalog

EMBEDDED = ("efficientnet-lite0", "ge2e", "minilm-l6")

CUDA_COSINE = 0.9999
"""float32 without TF32 on another device sums in another order; 1e-4 leaves a wide margin."""

without_cuda = pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a CUDA device")


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_is_an_error_where_there_is_none(device: str) -> None:
    with pytest.raises(DeviceError, match=rf"device '{device}' is not available: .*featx doctor"):
        choose_device(device)


@without_cuda
def test_a_backbone_on_absent_cuda_is_an_error_and_not_a_slow_success() -> None:
    backbone = Backbone(catalog.find("minilm-l6"), device="cuda")

    with pytest.raises(DeviceError, match="not available"):
        backbone.encode(["a text"])


@without_cuda
def test_auto_is_the_cpu_without_cuda() -> None:
    assert choose_device("auto") == "cpu"


def test_the_cpu_is_the_cpu() -> None:
    assert choose_device("cpu") == "cpu"
    assert prove("cpu") == "cpu"


@pytest.mark.parametrize("device", ["", "gpu", "cpu:0", "auto:1", "cuda:x", "cuda:-1", "CUDA"])
def test_names_of_no_device_are_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"expected 'auto', 'cpu', 'cuda' or 'cuda:<n>'"):
        choose_device(device)


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_session_is_live_on_cuda(device: str) -> None:
    assert prove(device) == "cuda:0"


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED)
def test_vectors_on_cuda_are_those_of_the_original_weights(name: str) -> None:
    backbone = Backbone(catalog.find(name), device="cuda")

    cosines = golden_cosines(backbone)

    assert backbone.session.device == "cuda:0"
    assert float(cosines.min()) >= CUDA_COSINE


@pytest.mark.gpu
def test_a_cuda_device_beyond_the_last_is_an_error() -> None:
    with pytest.raises(DeviceError, match="CUDA devices found"):
        choose_device(f"cuda:{cuda_devices()}")
