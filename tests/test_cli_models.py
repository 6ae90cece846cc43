"""``featx models`` lists, shows, verifies and adds backbones."""

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from onnx import TensorProto, helper

from featx.backbone.golden import LEAST_COSINE
from featx.cli import main
from featx.zoo import catalog

EMBEDDED = {
    "minilm-l6": 384,
    "minilm-l6-layers": 768,
    "efficientnet-lite0": 1280,
    "efficientnet-lite0-layers": 1664,
    "ge2e": 256,
}
FETCHED = {"minilm-l6-int8": 384, "paraphrase-minilm-l3": 384}
SHIPPED = EMBEDDED | FETCHED
WEIGHTS = np.array([[1, 0], [0, 2], [3, -1]], dtype=np.float32)
ITEMS = np.array([[1, 2, 3], [0, 1, 0], [-1, 0, 2]], dtype=np.float32)


def featx(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def save_graph(path: Path) -> None:
    """Write a graph that multiplies rows by `WEIGHTS`."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], WEIGHTS.ravel().tolist())
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "product", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def save_golden(path: Path, vectors: NDArray[np.float32]) -> None:
    arrays: dict[str, NDArray[np.generic]] = {"vectors": vectors}
    for number, item in enumerate(ITEMS):
        file = io.BytesIO()
        np.save(file, item)
        arrays[f"item_{number}"] = np.frombuffer(file.getvalue(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target:
        np.savez(target, allow_pickle=False, **arrays)


def product_model(folder: Path) -> Path:
    """Make a small backbone in `folder` and return its manifest's path."""
    (folder / "product").mkdir(parents=True)
    graph = folder / "product" / "model.onnx"
    save_graph(graph)
    raw = graph.read_bytes()
    manifest = folder / "product.toml"
    manifest.write_text(f"""
schema = 1
name = "product"
modality = "array"
summary = "three numbers to two"
license = "CC0-1.0"
source = "a test"
weights = "test/product"
dim = 2
pooling = "none"
normalize = false
[files.graph]
path = "product/model.onnx"
sha256 = "{hashlib.sha256(raw).hexdigest()}"
size_bytes = {len(raw)}
[inputs]
array = "x"
[outputs]
embedding = "y"
[array]
shape = [3]
""")
    save_golden(catalog.golden_file(catalog.find(str(manifest))), ITEMS @ WEIGHTS)
    return manifest


@pytest.fixture
def user_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("FEATX_ZOO", raising=False)
    return tmp_path / "data" / "featx" / "zoo"


@pytest.mark.usefixtures("user_zoo")
def test_list_names_every_shipped_backbone_with_its_width() -> None:
    listed = json.loads(featx("models", "list", "--json").stdout)["models"]

    assert {entry["name"]: entry["dim"] for entry in listed} == SHIPPED
    assert {entry["name"] for entry in listed if entry["here"]} == set(EMBEDDED)


@pytest.mark.usefixtures("user_zoo")
def test_list_for_people_has_a_row_a_backbone() -> None:
    rows = featx("models", "list").stdout.splitlines()

    assert rows[0].split()[:3] == ["name", "modality", "dim"]
    assert [row.split()[0] for row in rows[1:]] == sorted(SHIPPED)


def test_list_skips_a_wrong_manifest_and_says_so(user_zoo: Path) -> None:
    user_zoo.mkdir(parents=True)
    (user_zoo / "bad.toml").write_text("schema = 1\npoolin = 'mean'\n")

    result = featx("models", "list", "--json")

    assert result.exit_code == 3
    assert [entry["name"] for entry in json.loads(result.stdout)["models"]] == sorted(SHIPPED)
    assert "unknown key 'poolin'; did you mean 'pooling'?" in result.stderr


@pytest.mark.usefixtures("user_zoo")
def test_info_gives_the_manifest_with_its_fingerprint_and_space() -> None:
    facts = json.loads(featx("models", "info", "minilm-l6", "--json").stdout)

    manifest = catalog.find("minilm-l6")
    assert facts["dim"] == manifest.dim
    assert facts["files"]["graph"]["sha256"] == manifest.files["graph"].sha256
    assert facts["space"] == manifest.space()
    assert len(bytes.fromhex(facts["fingerprint"])) == 32


@pytest.mark.usefixtures("user_zoo")
def test_info_for_people_shows_names_in_short_form() -> None:
    lines = featx("models", "info", "minilm-l6").stdout.splitlines()

    space = catalog.find("minilm-l6").space()
    assert "dim:          384" in lines
    assert "normalize:    yes" in lines
    assert f"space:        {space[:12]}..." in lines
    assert all(line == line.rstrip() for line in lines)


def test_info_of_a_number_that_is_none_is_one_line(tmp_path: Path) -> None:
    manifest = product_model(tmp_path)
    manifest.write_text(f"{manifest.read_text()}[measured]\nspeed = nan\n")

    result = featx("models", "info", str(manifest), "--json")

    assert result.exit_code == 1
    assert result.stderr == f"error: {manifest}: measured.speed = nan; expected a finite number\n"


@pytest.mark.usefixtures("user_zoo")
def test_info_of_a_misspelt_name_suggests_the_right_one() -> None:
    result = featx("models", "info", "minilm-16")

    assert result.exit_code == 1
    assert result.stderr == "error: unknown model 'minilm-16'; did you mean 'minilm-l6'?\n"


@pytest.mark.usefixtures("user_zoo")
@pytest.mark.parametrize("name", EMBEDDED)
def test_a_shipped_backbone_verifies(name: str) -> None:
    result = featx("models", "verify", name, "--json", "--device", "cpu")

    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)["models"]
    assert found["ok"]
    assert found["golden_items"] >= 8
    assert LEAST_COSINE <= found["min_cosine"] <= 1 + 1e-6


@pytest.mark.usefixtures("user_zoo")
def test_an_added_backbone_verifies_without_its_origin(tmp_path: Path) -> None:
    manifest = product_model(tmp_path / "origin")
    graph = tmp_path / "elsewhere.onnx"
    shutil.move(tmp_path / "origin" / "product" / "model.onnx", graph)

    added = featx("models", "add", str(graph), "--manifest", str(manifest), "--json")
    shutil.rmtree(tmp_path / "origin")
    verified = featx("models", "verify", "product", "--device", "cpu")

    assert [each["name"] for each in json.loads(added.stdout)["models"]] == ["product"]
    assert verified.exit_code == 0
    assert verified.stdout == "product: ok, 1 file right, 3 golden items, least cosine 1.0000000\n"


def test_a_backbone_is_not_added_twice(tmp_path: Path, user_zoo: Path) -> None:
    manifest = product_model(tmp_path)
    argv = ("models", "add", str(tmp_path / "product" / "model.onnx"), "--manifest", str(manifest))

    first, second = featx(*argv), featx(*argv)

    assert first.stdout == f"product: added to {user_zoo}\n"
    assert second.exit_code == 1
    assert "product: a model of this name exists" in second.stderr


def test_a_graph_of_another_sha256_is_not_added(tmp_path: Path, user_zoo: Path) -> None:
    manifest = product_model(tmp_path)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"another graph")

    result = featx("models", "add", str(other), "--manifest", str(manifest))

    assert result.exit_code == 1
    assert f"sha256 {hashlib.sha256(b'another graph').hexdigest()}" in result.stderr
    assert list(user_zoo.iterdir()) == []


def test_verify_says_which_file_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = product_model(tmp_path).with_suffix("") / "model.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path))

    result = featx("models", "verify", "product")

    assert result.exit_code == 1
    assert result.stdout.startswith(f"product: WRONG: {graph}: sha256 ")


def test_verify_says_which_vector_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = product_model(tmp_path)
    wrong = (ITEMS @ WEIGHTS).copy()
    wrong[1] = [1, 0]
    save_golden(tmp_path / "golden" / "product.npz", wrong)
    monkeypatch.setenv("FEATX_ZOO", str(manifest.parent))

    result = featx("models", "verify", "product", "--device", "cpu")

    assert result.exit_code == 1
    expected = "golden item 1: cosine 0.0000000; expected at least 0.99999"
    assert result.stdout == f"product: WRONG: {expected}\n"


def test_verify_without_golden_vectors_compares_files_only(tmp_path: Path) -> None:
    manifest = product_model(tmp_path)
    catalog.golden_file(catalog.find(str(manifest))).unlink()

    result = featx("models", "verify", str(manifest))

    assert result.exit_code == 0
    assert result.stdout == "product: ok, 1 file right, no vectors compared\n"


@pytest.mark.usefixtures("user_zoo")
def test_verify_of_a_backbone_that_was_not_fetched_says_how_to() -> None:
    result = featx("models", "verify", "minilm-l6-int8")

    assert result.exit_code == 1
    expected = "not on this machine; run: featx models pull minilm-l6-int8"
    assert result.stdout == f"minilm-l6-int8: WRONG: {expected}\n"


@pytest.mark.slow
@pytest.mark.usefixtures("user_zoo")
def test_verify_of_all_leaves_out_what_was_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product_model(tmp_path)
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path))

    result = featx("models", "verify", "--all", "--json", "--device", "cpu")

    assert result.exit_code == 0
    found = {each["name"] for each in json.loads(result.stdout)["models"]}
    assert found == {*EMBEDDED, "product"}
    assert result.stderr.splitlines() == [
        f"{name}: not fetched yet; run: featx models pull {name}" for name in sorted(FETCHED)
    ]


def test_verify_takes_a_name_or_all() -> None:
    assert featx("models", "verify", "ge2e", "--all").exit_code == 2
