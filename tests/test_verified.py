"""What is found of a backbone on a machine is measured once and remembered."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.backbone.backbone import Backbone
from featx.backbone.golden import golden_cosines
from featx.backbone.settings import Settings
from featx.data.verified import LEAST_FIDELITY, Fidelity, fidelity, verify_once
from featx.errors import DeviceError, InputError
from featx.types import Vectors
from featx.zoo import catalog

LinearBackbone = Callable[[Vectors], Backbone]


def int8(cache: Path | None) -> Backbone:
    settings = Settings(device="cpu", threads=2, precision="int8", cache=cache)
    return Backbone(catalog.find("minilm-l6"), settings)


def is_open(backbone: Backbone) -> bool:
    return "session" in vars(backbone)


def give_golden(backbone: Backbone, items: Vectors, vectors: Vectors) -> None:
    """Store golden vectors beside the manifest of a backbone of arrays."""
    path = backbone.manifest.folder / "golden" / f"{backbone.manifest.name}.npz"
    path.parent.mkdir()
    blobs = {f"item_{i}": np.frombuffer(_npy(row), dtype=np.uint8) for i, row in enumerate(items)}
    np.savez(path, allow_pickle=False, vectors=vectors, **blobs)


def _npy(row: Vectors) -> bytes:
    from io import BytesIO

    file = BytesIO()
    np.save(file, row, allow_pickle=False)
    return file.getvalue()


def test_a_backbone_that_was_found_good_is_not_opened_again(tmp_path: Path) -> None:
    settings = Settings(device="cpu", threads=2)
    first, second = (Backbone(catalog.find("minilm-l6"), settings) for _ in range(2))

    verify_once(first, tmp_path)
    verify_once(second, tmp_path)

    assert (is_open(first), is_open(second)) == (True, False)
    (key,) = json.loads((tmp_path / "verified.json").read_text())
    assert key.split()[:2] == [first.fingerprint, "cpu"]


def test_other_vectors_than_the_golden_ones_are_an_error(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    backbone = linear_backbone(np.eye(3, dtype=np.float32))
    X = np.array([[1, 2, 3], [3, 1, 1]], dtype=np.float32)
    give_golden(backbone, X, X[:, ::-1])

    with pytest.raises(DeviceError, match=r"^linear: on cpu its golden vectors .* cosine 0\.63"):
        verify_once(backbone, tmp_path)

    assert not (tmp_path / "verified.json").exists()


def test_the_fidelity_of_int8_is_measured_on_all_golden_items_and_remembered(
    tmp_path: Path,
) -> None:
    first, second = int8(tmp_path), int8(tmp_path)

    found = fidelity(first, tmp_path)
    again = fidelity(second, tmp_path)

    cosines = golden_cosines(first)
    assert found is not None
    assert (found.precision, found.items) == ("int8", len(cosines))
    assert found.mean == pytest.approx(float(cosines.mean()), abs=1e-6)
    assert found.least == pytest.approx(float(cosines.min()), abs=1e-6)
    assert found.least >= LEAST_FIDELITY
    assert found.mean >= 0.995
    assert again == found
    assert (is_open(first), is_open(second)) == (True, False)


def test_fidelity_is_said_in_one_line_and_never_rounded_up() -> None:
    said = str(Fidelity("int8", 0.99909, 0.99669, 14))

    assert said == ("int8: cosine to fp32 0.9990 on average, 0.9966 at least, 14 golden items")


def test_a_precision_that_loses_too_much_is_refused(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    made = linear_backbone(np.eye(3, dtype=np.float32))
    X = np.array([[1, 2, 3], [3, 1, 1]], dtype=np.float32)
    give_golden(made, X, X[:, ::-1])
    settings = Settings(device="cpu", threads=1, precision="fp16", cache=tmp_path)
    backbone = Backbone(made.manifest, settings)

    expected = re.escape("linear: fp16: cosine to fp32 0.67")
    with pytest.raises(InputError, match=expected + r".* at least 0\.98 is needed"):
        fidelity(backbone, tmp_path)

    assert not (tmp_path / "verified.json").exists()


def test_without_golden_vectors_another_precision_is_refused(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    backbone = linear_backbone(np.eye(3, dtype=np.float32))

    with pytest.raises(InputError, match="no golden vectors to measure"):
        fidelity(backbone, tmp_path)
    verify_once(backbone, tmp_path)
    assert not is_open(backbone)


@pytest.mark.parametrize("text", ["", "[]", "{broken", '{"a": 1}'])
def test_a_damaged_memory_is_measured_again(
    text: str, linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    backbone = linear_backbone(np.eye(3, dtype=np.float32))
    X = np.array([[1, 2, 3], [3, 1, 1]], dtype=np.float32)
    give_golden(backbone, X, X)
    (tmp_path / "verified.json").write_text(text)

    verify_once(backbone, tmp_path)

    assert is_open(backbone)
    remembered = json.loads((tmp_path / "verified.json").read_text())
    assert list(remembered.values())[-1] == pytest.approx(1)


def test_a_cache_that_cannot_be_written_forgets(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    backbone = linear_backbone(np.eye(3, dtype=np.float32))
    X = np.array([[1, 2, 3]], dtype=np.float32)
    give_golden(backbone, X, X)
    (tmp_path / "file").write_text("in the way")

    verify_once(backbone, tmp_path / "file")

    assert (tmp_path / "file").read_text() == "in the way"
