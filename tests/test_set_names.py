"""Sets that anyone may have written: what their manifest names, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.backbone.backbone import Backbone, identity
from featx.data.setmanifest import parse_manifest
from featx.data.store import EmbeddingSet
from featx.errors import StoreError
from scaling import DIM, Scaled, names, numbers


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give the manifest of a set of one unit."""
    folder = tmp_path_factory.mktemp("set")
    scaled = Scaled(folder / "x.npz", Backbone(identity(DIM)), folder / "x.emb")
    scaled.save(numbers(3), names(3))
    scaled.run()
    found: dict[str, Any] = json.loads((scaled.out / "manifest.json").read_text())
    return found


def with_segment(manifest: dict[str, Any], **changes: object) -> bytes:
    """Return the manifest with another first segment; what is None is left out."""
    segment = manifest["segments"][0] | changes
    segment = {key: value for key, value in segment.items() if value is not None}
    return json.dumps(manifest | {"segments": [segment]}).encode()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../secret"),
        ("name", "segment-00000-../secret"),
        ("name", "segment"),
        ("name", "segment-x-1"),
        ("items", "/etc/x.parquet"),
        ("items", ".."),
        ("items", ""),
        ("items", "manifest.json"),
        ("items", ".tags.json"),
        ("items", "a\0.parquet"),
        ("errors", "../secret.jsonl"),
        ("errors", 3),
    ],
)
def test_a_name_that_no_file_of_a_set_has_is_refused(
    manifest: dict[str, Any], key: str, value: object
) -> None:
    assert parse_manifest(with_segment(manifest), "x") == manifest

    with pytest.raises(StoreError, match=f"^x: damaged: '{key}' of a segment is .* no name of a"):
        parse_manifest(with_segment(manifest, **{key: value}), "x")


def test_names_of_what_was_replaced_are_looked_at_too(manifest: dict[str, Any]) -> None:
    replaced = [manifest["segments"][0] | {"items": "../secret.parquet"}]

    with pytest.raises(StoreError, match=r"'items' of a segment is .* no name of a file"):
        parse_manifest(json.dumps(manifest | {"replaced": replaced}).encode(), "x")


@pytest.mark.parametrize("key", ["facts", "truncated", "failed"])
def test_a_unit_that_lacks_something_is_refused(manifest: dict[str, Any], key: str) -> None:
    with pytest.raises(StoreError, match=rf"x: damaged: '{key}' of 'segments\[0\]' is missing"):
        parse_manifest(with_segment(manifest, **{key: None}), "x")


def test_a_manifest_without_its_next_number_is_refused(manifest: dict[str, Any]) -> None:
    raw = json.dumps({key: manifest[key] for key in manifest if key != "next_segment"}).encode()

    with pytest.raises(StoreError, match="x: damaged: 'next_segment' of 'manifest' is missing"):
        parse_manifest(raw, "x")


def test_no_file_outside_of_a_set_is_read(manifest: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "x.emb").mkdir()
    np.save(tmp_path / "secret.npy", numbers(3))
    plain = {"unit": None, "name": "../secret"}
    (tmp_path / "x.emb" / "manifest.json").write_bytes(with_segment(manifest, **plain))

    with pytest.raises(StoreError, match=r"'name' of a segment is '\.\./secret', which"):
        EmbeddingSet.open(tmp_path / "x.emb")
