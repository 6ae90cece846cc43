"""Whole networks, as both exporters of torch write them, against torch's gradients in float64."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from featx.finetune.graph.trace import Traced, trace
from gradient_checks import (
    Arrays,
    add_loss,
    gradients_in_float32,
    gradients_in_float64,
)

FOLDER = Path(__file__).parent / "data" / "exported"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))

IN_FLOAT64 = 1e-7
"""Largest relative error: constants such as the root of 2 are stored in float32."""

IN_FLOAT32 = 5e-6
"""Rounding adds up over all blocks of a network, where a rule alone stays below 2e-6."""

VANISHED = 1e-6
"""Gradients that are this small against the largest are 0, and what is found is rounding."""

IS_ZERO = ("attention.self.key.bias", "attention.k_proj.bias")
"""A bias of keys moves all similarities of a query alike, which a softmax does not see."""


class Exported(NamedTuple):
    """A network with its loss, and what torch found."""

    model: onnx.ModelProto
    traced: Traced
    feeds: Arrays
    output: NDArray[np.float64]
    gradients: Arrays


@cache
def exported(name: str) -> Exported:
    model = onnx.load(FOLDER / f"{name}.onnx")
    with np.load(FOLDER / f"{name}.npz") as stored:
        arrays: dict[str, NDArray[Any]] = dict(stored)
    add_loss(model, "output", arrays["direction"])
    feeds = {key.removeprefix("feeds/"): arrays[key] for key in arrays if key.startswith("feeds/")}
    gradients = {
        key.removeprefix("gradient/"): arrays[key] for key in arrays if key.startswith("gradient/")
    }
    return Exported(model, trace(model, feeds), feeds, arrays["output"], gradients)


def errors(found: Arrays, wanted: Arrays) -> dict[str, float]:
    """Return the largest error of each gradient relative to its own largest element."""
    largest = max(np.abs(array).max() for array in wanted.values())
    result = {}
    for name, array in wanted.items():
        elements = found[name].ravel()[:: _stride(found[name].size, array.size)]
        scale = largest if name.endswith(IS_ZERO) else np.abs(array).max()
        assert scale > VANISHED * largest, name
        result[name] = float(np.abs(elements - array).max() / scale)
    return result


def _stride(size: int, kept: int) -> int:
    """Return the step between elements that were kept; see build_networks.py."""
    return 1 if size == kept else size // 128 | 1


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_all_weights_in_float32_are_those_of_torch(name: str) -> None:
    network = exported(name)

    found = gradients_in_float32(
        network.model, network.traced, network.feeds, list(network.gradients)
    )

    assert max(errors(found, network.gradients).values()) <= IN_FLOAT32


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_all_weights_in_float64_are_those_of_torch(name: str) -> None:
    network = exported(name)

    found = gradients_in_float64(
        network.model, network.traced, network.feeds, list(network.gradients)
    )

    assert max(errors(found, network.gradients).values()) <= IN_FLOAT64


@pytest.mark.parametrize("name", ["bert_dynamo", "bert_legacy", "vit_dynamo", "vit_legacy"])
def test_a_bias_of_keys_has_no_gradient_but_rounding(name: str) -> None:
    network = exported(name)
    zero = [key for key in network.gradients if key.endswith(IS_ZERO)]

    found = gradients_in_float32(network.model, network.traced, network.feeds, zero)

    assert len(zero) == 3
    largest = max(np.abs(array).max() for array in network.gradients.values())
    assert max(np.abs(array).max() for array in found.values()) <= VANISHED * largest
