"""Backbones are found by name, and a wrong file is never used."""

import hashlib
from pathlib import Path

import pytest

from featx.errors import InputError, ManifestError, UnknownNameError
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

RAW = b"a graph"

SHIPPED = {
    "efficientnet-lite0",
    "efficientnet-lite0-layers",
    "ge2e",
    "minilm-l6",
    "minilm-l6-int8",
    "minilm-l6-layers",
    "paraphrase-minilm-l3",
}


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


pytestmark = pytest.mark.usefixtures("user_zoo")


def test_the_users_zoo_follows_xdg_data_home(user_zoo: Path) -> None:
    model(user_zoo)

    assert catalog.user_zoo() == user_zoo
    assert catalog.names() == sorted([*SHIPPED, "mine"])
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


def test_a_backbone_whose_files_wait_to_be_fetched_is_known_and_refused(
    tmp_path: Path, user_zoo: Path
) -> None:
    path = model(user_zoo)
    path.write_text(path.read_text().replace("size_bytes = 7", 'size_bytes = 7\nurl = "hf:o/n:f"'))
    (user_zoo / "mine" / "model.onnx").unlink()
    manifest = catalog.find("mine")

    assert (catalog.is_here(manifest), catalog.can_be_pulled(manifest)) == (False, True)
    with pytest.raises(InputError, match="mine: not on this machine; run: featx models pull mine"):
        catalog.require_files(manifest)
