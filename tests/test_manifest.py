"""Manifests are read strictly: what is wrong is named, never ignored."""

import re
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.errors import ManifestError
from featx.fingerprint import hash_facts
from featx.modality import MODALITIES
from featx.zoo import catalog
from featx.zoo.manifest import Manifest
from featx.zoo.writing import manifest_text

INF = float("inf")
ZOO = sorted(catalog.embedded_zoo().glob("*.toml"))


def table() -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "x",
        "modality": "array",
        "summary": "a test",
        "license": "CC0-1.0",
        "source": "a test",
        "weights": "test/x",
        "dim": 4,
        "pooling": "none",
        "normalize": False,
    }


def read(facts: dict[str, Any]) -> Manifest:
    return Manifest.from_table(facts, folder=Path(), where="x.toml")


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_a_shipped_manifest_is_sound(path: Path) -> None:
    manifest = Manifest.read(path)

    assert manifest.name == path.stem
    assert manifest.modality in MODALITIES
    assert all(re.fullmatch("[0-9a-f]{64}", e.sha256) for e in manifest.files.values())
    here = {role for role, entry in manifest.files.items() if not entry.url}
    assert {c.role: c.problem for c in catalog.check_files(manifest) if c.role in here} == (
        dict.fromkeys(here, "")
    )
    assert catalog.is_here(manifest) or catalog.can_be_pulled(manifest)
    assert catalog.golden_file(manifest).is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poolin": "mean"}, "x.toml: unknown key 'poolin'; did you mean 'pooling'?"),
        ({"dim": "384"}, "x.toml: dim = '384'; expected int"),
        ({"dim": True}, "x.toml: dim = True; expected int"),
        ({"dim": 0}, "x.toml: dim = 0; expected 1 or more"),
        ({"summary": "\udcff"}, "x.toml: summary = '\\udcff' has half a character; expected UTF-8"),
        ({"measured": {"a": float("nan")}}, "x.toml: measured.a = nan; expected a finite number"),
        ({"measured": {"a": [{"b": -INF}]}}, "x.toml: measured.a.b = -inf; expected a finite numb"),
        (
            {"image": {"size": [8], "mean": [0.0], "std": [INF]}},
            "x.toml: image.std = inf; expected a finite number",
        ),
        ({"dims": [8]}, "x.toml: dims holds 8; expected widths from 1 to dim = 4"),
        ({"pooling": "max"}, "x.toml: pooling = 'max'; expected 'none' | 'mean'"),
        ({"schema": 2}, "x.toml: schema 2 is newer than 1; upgrade featx"),
        ({"folder": "/"}, "x.toml: unknown key 'folder'"),
        ({"text": {"truncatio": "end"}}, "x.toml [text]: unknown key 'truncatio'"),
        ({"text": {"padding": "max_length"}}, "x.toml: [text] padding = 'max_length' needs max_l"),
        (
            {"image": {"size": [8], "mean": [0.0], "std": [0.0]}},
            "x.toml: [image] std and crop_fraction must not be 0",
        ),
        (
            {"audio": {"sample_rate_hz": 0, "window_frames": 1, "window_step_frames": 1}},
            "x.toml: [audio] sample_rate_hz = 0; expected 1 or more",
        ),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(table() | change)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("key", sorted(table()))
def test_a_missing_key_is_named(key: str) -> None:
    facts = table()
    del facts[key]

    with pytest.raises(ManifestError, match=f"x.toml: missing '{key}'"):
        read(facts)


@pytest.mark.parametrize("path", ["../model.onnx", "/etc/passwd", "a/../../b"])
def test_a_file_must_lie_below_the_manifest(path: str) -> None:
    files = {"tokenizer": {"path": path, "sha256": "0" * 64, "size_bytes": 1}}

    with pytest.raises(ManifestError, match="must lie below the manifest's folder"):
        read(table() | {"files": files})


@pytest.mark.parametrize("role", ["/home/user/.profile", "../graph", "Graph", ""])
def test_a_role_of_a_file_is_a_word(role: str) -> None:
    files = {role: {"path": "x/model.onnx", "sha256": "0" * 64, "size_bytes": 1}}

    with pytest.raises(ManifestError, match=r"\[files\] has the key .*; expected a role"):
        read(table() | {"files": files})


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("schema = = 1")

    with pytest.raises(ManifestError, match="not a TOML file"):
        Manifest.read(path)


@given(st.permutations(sorted(table())), st.dictionaries(st.text(), st.text()))
def test_the_facts_ignore_the_order_of_keys(keys: list[str], inputs: dict[str, str]) -> None:
    one = table() | {"inputs": inputs}
    other = {"inputs": dict(reversed(inputs.items()))} | {key: table()[key] for key in keys}

    assert hash_facts(read(one).facts()) == hash_facts(read(other).facts())


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_a_shipped_manifest_is_written_as_it_was_read(path: Path) -> None:
    manifest = Manifest.read(path)

    raw = manifest_text(manifest).encode()

    assert Manifest.from_bytes(raw, folder=path.parent, where="again") == manifest


VALUES = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(UTC))
)


WHOLE = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text(), WHOLE, max_size=4),
    st.dictionaries(st.text(), st.text()),
    st.lists(st.integers(1, 9), max_size=3),
)
def test_any_manifest_is_written_as_it_was_read(
    measured: dict[str, Any], prompts: dict[str, str], shape: list[int]
) -> None:
    free = {"measured": measured, "prompts": prompts, "array": {"shape": shape}}
    manifest = read(table() | free)

    raw = manifest_text(manifest).encode()

    assert Manifest.from_bytes(raw, folder=Path(), where="again") == manifest


@pytest.mark.parametrize("change", [{"dim": 5}, {"weights": "b"}, {"normalize": True}])
def test_what_changes_a_vector_changes_facts_and_space(change: dict[str, Any]) -> None:
    one, other = read(table()), read(table() | change)

    assert hash_facts(one.facts()) != hash_facts(other.facts())
    assert one.space() != other.space()


def test_what_is_for_people_changes_no_facts() -> None:
    other = read(table() | {"summary": "b", "license": "MIT", "citation": "c", "name": "y"})

    assert read(table()).facts() == other.facts()
