"""One ONNX file of a backbone and a head: what it gives, and what is never written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from conftest import LinearBackbone
from exporting import (
    CLASSES,
    DIM,
    HEADS,
    belonging,
    knn_head,
    linear_head,
    matrix,
    outputs_of,
    tag_head,
    value_head,
    wary,
)
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.errors import InputError, SpaceError, StoreError
from featx.export.deploy import Form, deploy
from featx.export.exportable import of_head
from featx.export.metadata import MOST_DIGESTS
from featx.heads.predict import Head

EXACT = 1e-5  # what the file may differ by at all
ROUNDED = 5e-3

Deploy = Callable[..., Path]


@pytest.fixture
def backbone(linear_backbone: LinearBackbone) -> Backbone:
    """Give a backbone from eight numbers to five."""
    return linear_backbone(matrix(8, 1))


@pytest.fixture
def written(backbone: Backbone, tmp_path: Path) -> Deploy:
    """Give a function that writes the file of a head on `backbone`."""

    def write(head: Head, **form: Any) -> Path:  # noqa: ANN401
        path = tmp_path / "x.onnx"
        deploy(path, of_head(belonging(head, backbone), "x.head"), backbone, Form(**form))
        return path

    return write


def metadata(path: Path) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def answers(head: Head, X: NDArray[Any]) -> NDArray[np.float64]:
    return head.logits(X).astype(np.float64) if head.task == "regress" else head.probabilities(X)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_file_says_what_its_head_says(head: Head, backbone: Backbone, written: Deploy) -> None:
    items = matrix(9, 3, dim=8)
    X = backbone.encode(list(items))

    found = outputs_of(written(head), {"x": items})

    name = "values" if head.task == "regress" else "probabilities"
    np.testing.assert_allclose(found[name], answers(head, X), atol=EXACT)
    np.testing.assert_allclose(found["embedding"], X, atol=1e-6)
    if head.novelty is not None:
        np.testing.assert_array_equal(found["novel"], head.novelty.flags(X))
        assert 0 < found["novel"].sum() < 9


def test_the_label_is_the_most_probable_class(backbone: Backbone, written: Deploy) -> None:
    head, items = linear_head(), matrix(9, 3, dim=8)

    found = outputs_of(written(head), {"x": items})

    assert found["label"].tolist() == [p.label for p in head.predict(backbone.encode(list(items)))]
    assert set(found["label"]) == set(CLASSES)


def test_the_labels_of_tags_are_those_that_are_given(backbone: Backbone, written: Deploy) -> None:
    head, items = tag_head(), matrix(9, 3, dim=8)

    found = outputs_of(written(head), {"x": items})

    given = [tuple(filter(None, row)) for row in found["label"]]
    expected = [tagging.tags for tagging in head.tag(backbone.encode(list(items)))]
    assert list(map(sorted, given)) == list(map(sorted, expected))
    assert found["label"].shape == (9, 3)


def test_values_come_with_their_intervals(backbone: Backbone, written: Deploy) -> None:
    head, items = value_head(2), matrix(4, 3, dim=8)

    found = outputs_of(written(head), {"x": items})

    expected = [each.intervals for each in head.estimate(backbone.encode(list(items)))]
    np.testing.assert_allclose(found["interval"], expected, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 33])
def test_a_batch_has_any_size(n: int, written: Deploy) -> None:
    path, items = written(knn_head()), matrix(33, 3, dim=8)

    found = outputs_of(path, {"x": items[:n]})["probabilities"]

    np.testing.assert_allclose(
        found, outputs_of(path, {"x": items})["probabilities"][:n], atol=1e-6
    )


def test_the_metadata_says_what_the_file_is(backbone: Backbone, written: Deploy) -> None:
    digests = np.arange(64, dtype=np.uint8).reshape(2, 32)
    head = linear_head()
    head = replace(head, arrays={**head.arrays, "trained_digests": digests})

    facts = metadata(written(head))

    assert (facts["format"], facts["version"], facts["task"]) == (
        "featx-deployable",
        "1",
        "classify",
    )
    assert json.loads(facts["classes"]) == list(CLASSES)
    told = json.loads(facts["head"])
    assert told["kind"] == "logreg"
    assert (told["fingerprint"], told["space"]) == (backbone.fingerprint, backbone.space)
    assert told["conformal"] == {"method": "lac", "coverage": 0.9, "quantiles": [0.7]}
    assert told["metrics"] == {"accuracy": 0.75}
    assert json.loads(facts["manifest"])["array"] == {"shape": [8]}
    assert not {"files", "folder"} & json.loads(facts["manifest"]).keys()


def test_a_head_alone_takes_embeddings(written: Deploy) -> None:
    head, X = wary(linear_head()), matrix(6, 4)

    path = written(head, head_only=True)

    found = outputs_of(path, {"embedding": X})
    np.testing.assert_allclose(found["probabilities"], head.probabilities(X), atol=EXACT)
    assert list(found) == ["probabilities", "label", "novel"]
    assert "manifest" not in metadata(path)


def test_equal_heads_give_equal_bytes(written: Deploy) -> None:
    first = written(wary(linear_head())).read_bytes()

    assert written(wary(linear_head())).read_bytes() == first


def test_a_file_that_answers_otherwise_is_not_written(backbone: Backbone, tmp_path: Path) -> None:
    exported = of_head(belonging(linear_head(), backbone), "x.head")
    other = replace(exported, answers=lambda X: exported.answers(X)[:, ::-1])

    with pytest.raises(
        InputError, match=r"x\.head: not written: .* differ by [01].*; at most 1e-05"
    ):
        deploy(tmp_path / "x.onnx", other, backbone)

    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_a_file_replaces_one_of_ours_and_nothing_else(backbone: Backbone, tmp_path: Path) -> None:
    exported = of_head(belonging(linear_head(), backbone), "x.head")
    graph = backbone.manifest.file("graph")
    before = graph.read_bytes()

    deploy(tmp_path / "x.onnx", exported, backbone)
    deploy(tmp_path / "x.onnx", exported, backbone)
    with pytest.raises(StoreError, match=r"linear\.onnx: is there, and not of featx export"):
        deploy(graph, exported, backbone)

    assert graph.read_bytes() == before


def test_fp16_stores_half_and_answers_nearly_the_same(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    wide = linear_backbone(matrix(400, 1) / np.float32(20))
    exported = of_head(belonging(linear_head(), wide), "x.head")
    items = list(matrix(32, 2, dim=400))

    full = deploy(tmp_path / "a.onnx", exported, wide, items=items)
    half = deploy(tmp_path / "b.onnx", exported, wide, Form(precision="fp16"), items=items)

    assert full.comparison.difference < EXACT < half.comparison.difference < ROUNDED
    assert full.size_bytes - half.size_bytes > 400 * DIM * 2 - 500


def test_fp16_that_changes_answers_is_refused(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    wide = linear_backbone(matrix(400, 1) / np.float32(20))
    items = list(100 + matrix(8, 2, dim=400))  # far from the origin, and near each other
    head = linear_head()
    middle = head.arrays["coef"] @ wide.encode(items).mean(axis=0)
    head = replace(head, arrays={"coef": head.arrays["coef"], "intercept": -middle})
    exported = of_head(belonging(head, wide), "x.head")

    with pytest.raises(InputError, match="leave out --precision"):
        deploy(tmp_path / "x.onnx", exported, wide, Form(precision="fp16"), items=items)

    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"precision": "fp16", "head_only": True}, "fp16 is for weights of a backbone"),
        (
            {"with_preprocessing": True},
            "preprocessing in the graph is for images, not for modality",
        ),
        (
            {"with_preprocessing": True, "head_only": True},
            "preprocessing in the graph is for images, not for the head alone",
        ),
    ],
)
def test_forms_that_make_no_sense_are_refused(
    form: dict[str, Any], message: str, written: Deploy
) -> None:
    with pytest.raises(InputError, match=message):
        written(linear_head(), **form)


def test_a_head_of_another_backbone_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    head = belonging(linear_head(), backbone)
    head = replace(head, header={**head.header, "space": "another"})

    with pytest.raises(SpaceError, match=r"but x\.head is of"):
        deploy(tmp_path / "x.onnx", of_head(head, "x.head"), backbone)


def test_large_weights_lie_in_a_file_beside_it(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    wide, items = linear_backbone(matrix(400, 1)), matrix(5, 2, dim=400)
    head = belonging(knn_head(), wide)

    inside = deploy(tmp_path / "a.onnx", of_head(head, "x.head"), wide)
    apart = deploy(tmp_path / "b.onnx", of_head(head, "x.head"), wide, Form(external_above=1000))

    path, weights = apart.files
    assert weights.stat().st_size >= 400 * DIM * 4
    assert path.stat().st_size < inside.size_bytes - 400 * DIM * 4 + 200
    expected = outputs_of(inside.files[0], {"x": items})["probabilities"]
    np.testing.assert_array_equal(outputs_of(path, {"x": items})["probabilities"], expected)
    stored = onnx.load(path, load_external_data=False).graph.initializer
    assert [each.name for each in stored if each.external_data] == ["W"]
    other = linear_backbone(matrix(400, 11))
    again = deploy(
        path, of_head(belonging(knn_head(), other), "y.head"), other, Form(external_above=1000)
    )
    assert again.files[1] != weights
    assert sorted(tmp_path.glob("b.onnx*")) == sorted(again.files)


def test_a_failure_leaves_the_file_that_was_there(backbone: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    exported = of_head(belonging(linear_head(), backbone), "x.head")
    deploy(path, exported, backbone, Form(external_above=10))
    before = {each: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()}

    with pytest.raises(InputError, match="not written"):
        deploy(path, replace(exported, answers=lambda X: 0 * exported.answers(X)), backbone)

    assert {each: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()} == before


def renamed(backbone: Backbone, names: dict[str, str], **changes: Any) -> Backbone:  # noqa: ANN401
    """Return a linear backbone whose graph calls things otherwise."""
    path = backbone.manifest.file("graph")
    model = onnx.load(path)
    for each in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        each.name = names.get(each.name, each.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    onnx.save(model, path)
    table = {
        "inputs": {"array": names.get("x", "x")},
        "outputs": {"embedding": names.get("y", "y")},
    }
    return Backbone(replace(backbone.manifest, **(table | changes)), backbone.settings)


def test_names_of_a_backbone_give_way_to_ours(backbone: Backbone, tmp_path: Path) -> None:
    other = renamed(backbone, {"y": "label", "W": "probabilities"})
    exported = of_head(belonging(linear_head(), other), "x.head")
    items = matrix(4, 3, dim=8)

    deploy(tmp_path / "x.onnx", exported, other)

    found = outputs_of(tmp_path / "x.onnx", {"x": items})
    expected = exported.answers(other.encode(list(items)))
    np.testing.assert_allclose(found["probabilities"], expected, atol=EXACT)


def test_an_input_of_one_of_our_names_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    other = renamed(backbone, {"x": "embedding"})

    with pytest.raises(InputError, match="linear: its input 'embedding' has a name that an export"):
        deploy(tmp_path / "x.onnx", of_head(belonging(linear_head(), other), "x.head"), other)


def test_columns_are_cut_before_rows_are_scaled(
    linear_backbone: LinearBackbone, tmp_path: Path
) -> None:
    manifest = linear_backbone(matrix(8, 1, dim=7)).manifest
    manifest = replace(manifest, normalize=True, dims=(DIM,))
    cut = Backbone(manifest, Settings(device="cpu", threads=1), dim=DIM)
    items = matrix(4, 3, dim=8)

    deploy(tmp_path / "x.onnx", of_head(belonging(linear_head(), cut), "x.head"), cut)

    found = outputs_of(tmp_path / "x.onnx", {"x": items})["embedding"]
    np.testing.assert_allclose(found, cut.encode(list(items)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_another_precision_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    other = Backbone(replace(backbone.manifest, precision="int8"), backbone.settings)

    with pytest.raises(InputError, match="linear: its graph is int8, which is not exported"):
        deploy(tmp_path / "x.onnx", of_head(belonging(linear_head(), other), "x.head"), other)


def test_a_graph_that_is_too_old_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    path = backbone.manifest.file("graph")
    model = onnx.load(path)
    model.opset_import[0].version = 11
    onnx.save(model, path)

    with pytest.raises(InputError, match="linear: its graph is of opset 11; 13 or more is needed"):
        deploy(tmp_path / "x.onnx", of_head(belonging(linear_head(), backbone), "x.head"), backbone)


def test_a_graph_that_lies_about_shapes_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    exported = of_head(belonging(linear_head(), backbone), "x.head")
    path = backbone.manifest.file("graph")
    model = onnx.load(path)
    wrong = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 9])
    model.graph.input[0].CopyFrom(wrong)
    onnx.save(model, path)

    with pytest.raises(InputError, match=r"x\.head: not written: ONNX's checker says"):
        deploy(tmp_path / "x.onnx", exported, backbone)

    assert not (tmp_path / "x.onnx").exists()


def test_a_graph_of_one_item_a_batch_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    path = backbone.manifest.file("graph")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 8]), "shape"))
    model.graph.node.insert(0, helper.make_node("Reshape", ["x", "shape"], ["one"]))
    model.graph.node[1].input[0] = "one"
    onnx.save(model, path)
    alone = Backbone(backbone.manifest, replace(backbone.settings, deterministic=True))
    exported = of_head(belonging(linear_head(), alone), "x.head")

    with pytest.raises(InputError, match=r"x\.onnx: cannot be run on x \(8, 8\): .*reshape"):
        deploy(tmp_path / "x.onnx", exported, alone)

    assert not (tmp_path / "x.onnx").exists()


def test_weights_of_a_backbone_that_lie_apart_come_in(backbone: Backbone, tmp_path: Path) -> None:
    path, items = backbone.manifest.file("graph"), matrix(3, 3, dim=8)
    expected = backbone.encode(list(items))
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    apart = Backbone(backbone.manifest, backbone.settings)
    exported = of_head(belonging(linear_head(), apart), "x.head")

    deploy(tmp_path / "x.onnx", exported, apart)
    path.with_name("w.bin").unlink()

    found = outputs_of(tmp_path / "x.onnx", {"x": items})["embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(InputError, match=r"linear\.onnx: its weights cannot be read: .*w\.bin"):
        deploy(tmp_path / "y.onnx", exported, Backbone(backbone.manifest, backbone.settings))
    assert not (tmp_path / "y.onnx").exists()


def test_many_items_trained_on_are_not_listed(backbone: Backbone, tmp_path: Path) -> None:
    head = belonging(linear_head(), backbone)
    many = np.zeros((MOST_DIGESTS + 1, 32), dtype=np.uint8)
    head = replace(head, arrays={**head.arrays, "trained_digests": many})

    found = deploy(tmp_path / "x.onnx", of_head(head, "x.head"), backbone)

    assert "trained_digests" not in metadata(tmp_path / "x.onnx")
    assert found.notes[0].startswith("the file does not list the 100,001 items trained on")
