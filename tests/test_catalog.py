"""Backbones are found by name, and a wrong file is never used."""

import hashlib
from pathlib import Path

import pytest

from featx.errors import InputError, ManifestError, UnknownNameError
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

RAW = b"a graph"


def model(folder: Path, name: str = "mine", *, summary: str = "a test") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "model.onnx").write_bytes(RAW)
    path = folder / f"{name}.toml"
    path.write_text(f"""
schema = 1
name = "{name}"
modality = "array"
summary = "{summary}"
license = "CC0-1.0"
source = "a test"
weights = "test/mine"
dim = 2
pooling = "none"
normalize = false
[files.graph]
path = "{name}/model.onnx"
sha256 = "{hashlib.sha256(RAW).hexdigest()}"
size_bytes = {len(RAW)}
[outputs]
embedding = "y"
""")
    return path


@pytest.fixture(autouse=True)
def user_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("FEATX_ZOO", raising=False)
    return tmp_path / "data" / "featx" / "zoo"


def test_the_users_zoo_follows_xdg_data_home(user_zoo: Path) -> None:
    model(user_zoo)

    assert catalog.user_zoo() == user_zoo
    assert catalog.names() == ["efficientnet-lite0", "ge2e", "mine", "minilm-l6"]
    assert catalog.find("mine").folder == user_zoo


def test_a_folder_of_featx_zoo_comes_first(
    tmp_path: Path, user_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(user_zoo, summary="second")
    model(tmp_path / "b", summary="first")
    monkeypatch.setenv("FEATX_ZOO", f"{tmp_path / 'a'}:{tmp_path / 'b'}")

    assert catalog.find("mine").summary == "first"


def test_a_misspelt_name_is_suggested() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'minilm-l6'"):
        catalog.find("minilm-16")


def test_a_name_that_is_not_the_files_stem_is_refused(user_zoo: Path) -> None:
    model(user_zoo).rename(user_zoo / "other.toml")

    with pytest.raises(ManifestError, match="expected the file's stem 'other'"):
        catalog.find("other")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (RAW[::-1], f"sha256 {hashlib.sha256(RAW[::-1]).hexdigest()}; the manifest says "),
        (b"", "0 bytes; the manifest says 7"),
        (None, "missing"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, raw: bytes | None, problem: str) -> None:
    manifest = Manifest.read(model(tmp_path))
    graph = manifest.file("graph")
    graph.unlink()
    if raw is not None:
        graph.write_bytes(raw)

    with pytest.raises(InputError) as caught:
        catalog.require_files(manifest)
    assert str(caught.value).startswith(f"mine: {graph}: {problem}")


def test_an_added_backbone_is_found(tmp_path: Path, user_zoo: Path) -> None:
    added = catalog.add(model(tmp_path))

    assert added == catalog.find("mine")
    assert added.file("graph") == user_zoo / "mine" / "model.onnx"
    assert added.file("graph").read_bytes() == RAW


def test_a_taken_name_is_not_added(tmp_path: Path, user_zoo: Path) -> None:
    with pytest.raises(InputError, match="ge2e: a model of this name exists"):
        catalog.add(model(tmp_path, "ge2e"))

    assert not user_zoo.exists()


def test_a_missing_file_is_not_added(tmp_path: Path, user_zoo: Path) -> None:
    path = model(tmp_path)
    (tmp_path / "mine" / "model.onnx").unlink()

    with pytest.raises(InputError, match="sha256 missing; the manifest says"):
        catalog.add(path)
    assert not user_zoo.exists()
