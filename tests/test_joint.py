"""Backbones that share most of a graph, run as one: the vectors of each, and the rest alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx import samples
from featx.backbone.backbone import Backbone, identity
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import EMBEDDING
from featx.backbone.joint import Joiner, Joint
from featx.backbone.settings import Settings
from featx.zoo import catalog
from featx.zoo.manifest import Manifest, TextOptions
from tiny_graphs import model_of, node, tiny_manifest

TEXTS = ["one", "a longer text, of which there is more", "", "two words"] * 3
SETTINGS = Settings(device="cpu", threads=1)
W = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
V = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)


def zoo(*names: str, **settings: Any) -> list[Backbone]:  # noqa: ANN401
    chosen = replace(SETTINGS, **settings)
    return [Backbone(catalog.find(name), chosen) for name in names]


def join(backbones: Sequence[Backbone], folder: Path) -> list[Joint]:
    return Joiner(folder).join(backbones)


def names(joints: Sequence[Joint]) -> list[list[str]]:
    return [[each.manifest.name for each in joint.members] for joint in joints]


def wide(folder: Path, name: str = "wide", W: NDArray[np.float32] = W) -> Manifest:
    nodes = [node("MatMul", "x W", "h"), node("Relu", "h", "y")]
    return tiny_manifest(folder, model_of(nodes, {"W": W}), dim=6, name=name)


def deep(folder: Path, name: str = "deep") -> Manifest:
    nodes = [node("MatMul", "x W", "a"), node("Relu", "a", "b"), node("MatMul", "b V", "y")]
    return tiny_manifest(folder, model_of(nodes, {"W": W, "V": V}), dim=3, name=name)


def of(*manifests: Manifest) -> list[Backbone]:
    return [Backbone(each, SETTINGS) for each in manifests]


def test_layers_of_texts_come_from_one_run(tmp_path: Path) -> None:
    found = join(zoo("minilm-l6-layers", "minilm-l6"), tmp_path)

    (joint,) = found
    assert joint.columns == [slice(0, 768), slice(768, 1152)]
    X = joint.backbone.encode([text for text in TEXTS if text])
    for each, columns in zip(joint.members, joint.columns, strict=True):
        alone = each.encode([text for text in TEXTS if text])
        np.testing.assert_allclose(X[:, columns], alone, atol=2e-6)


def test_stages_of_images_come_from_one_run(tmp_path: Path) -> None:
    pictures = sorted(samples.folder().rglob("*.png"))[:5]

    (joint,) = join(zoo("efficientnet-lite0", "efficientnet-lite0-layers"), tmp_path)

    X = joint.backbone.encode(pictures)
    for each, columns in zip(joint.members, joint.columns, strict=True):
        alone = each.encode(pictures)
        np.testing.assert_allclose(X[:, columns], alone, atol=1e-5 * np.abs(alone).max())


def test_a_joint_graph_gives_all_outputs_and_leaves_no_file(tmp_path: Path) -> None:
    (joint,) = join(of(wide(tmp_path), deep(tmp_path)), tmp_path / "made")

    rows = np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32)
    high = np.maximum(rows @ W, 0)
    found = joint.backbone.encode(list(rows))
    np.testing.assert_allclose(found, np.hstack([high, high @ V]), rtol=1e-5)
    assert list((tmp_path / "made").iterdir()) == []


def test_others_run_by_themselves(tmp_path: Path) -> None:
    other = wide(tmp_path, "other", W + 1)
    lone = identity(4)

    found = join(of(other, wide(tmp_path), lone, deep(tmp_path)), tmp_path / "made")

    assert names(found) == [["other"], ["wide", "deep"], ["identity"]]
    assert found[0].backbone is found[0].members[0]


@pytest.mark.parametrize("settings", [{"deterministic": True}, {"precision": "int8"}])
def test_settings_that_a_joint_graph_would_change_keep_backbones_apart(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    found = join(zoo("minilm-l6", "minilm-l6-layers", **settings), tmp_path)

    assert names(found) == [["minilm-l6"], ["minilm-l6-layers"]]


def test_items_that_are_prepared_in_another_way_keep_backbones_apart(tmp_path: Path) -> None:
    own = catalog.find("minilm-l6")
    shorter = replace(own, name="shorter", max_length=32)
    chunks = replace(own, name="chunks", text=TextOptions(overflow="chunk"))
    fast = catalog.find("efficientnet-lite0").adjusted(decode="fast")
    exact = catalog.find("efficientnet-lite0-layers")

    assert names(join(of(own, shorter, chunks), tmp_path)) == [
        ["minilm-l6"],
        ["shorter"],
        ["chunks"],
    ]
    assert len(join(of(fast, exact), tmp_path)) == 2


def test_a_prompt_and_a_cut_keep_backbones_apart(tmp_path: Path) -> None:
    own = replace(catalog.find("minilm-l6"), prompts={"query": "query: "}, dims=(64,))
    members = [
        Backbone(own, SETTINGS), Backbone(own, SETTINGS, prompt="query"),
        Backbone(own, SETTINGS, dim=64),
    ]  # fmt: skip

    assert len(join(members, tmp_path)) == 3


def test_poolings_of_one_graph_come_from_one_run(tmp_path: Path) -> None:
    own = catalog.find("minilm-l6")
    ways = [
        replace(own, name=f"{pooling}-{normalize}", pooling=pooling, normalize=normalize)
        for pooling in ("mean", "cls", "last_token")
        for normalize in (True, False)
    ]
    texts = ["one", "a longer text, of which there is more"]

    (joint,) = join(of(*ways), tmp_path)

    X = joint.backbone.encode(texts)
    for each, columns in zip(joint.members, joint.columns, strict=True):
        np.testing.assert_allclose(X[:, columns], each.encode(texts), atol=5e-6)


def test_a_graph_that_is_wider_than_its_manifest_says_runs_by_itself(tmp_path: Path) -> None:
    whole = wide(tmp_path)
    narrow = replace(whole, name="narrow", dim=4, normalize=True)

    found = join(of(narrow, whole, deep(tmp_path)), tmp_path / "made")

    assert names(found) == [["narrow"], ["wide"], ["deep"]]


def test_rows_of_no_known_shape_keep_backbones_apart(tmp_path: Path) -> None:
    known = wide(tmp_path), deep(tmp_path)
    unknown = [replace(each, array=None) for each in known]

    assert names(join(of(*known), tmp_path / "made")) == [["wide", "deep"]]
    assert names(join(of(*unknown), tmp_path / "made")) == [["wide"], ["deep"]]


def test_a_file_that_is_no_graph_is_left_to_who_opens_it(tmp_path: Path) -> None:
    broken = wide(tmp_path, "broken")
    broken.file("graph").write_bytes(b"no graph")

    found = join(of(broken, wide(tmp_path), deep(tmp_path)), tmp_path / "made")

    assert names(found) == [["broken"], ["wide", "deep"]]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([node("Relu", "h", "another")], id="its output is not there"),
        pytest.param([node("Add", "h nothing", "y")], id="a value that nothing makes"),
        pytest.param([node("ms.NoSuchOperator", "h", "y")], id="an operator that is not there"),
    ],
)
def test_odd_graphs_are_left_to_who_opens_them(nodes: list[Any], tmp_path: Path) -> None:
    model = model_of([node("MatMul", "x W", "h"), *nodes], {"W": W})
    strange = [tiny_manifest(tmp_path, model, dim=6, name=name) for name in "ab"]

    assert names(join(of(*strange), tmp_path / "made")) == [["a"], ["b"]]


def test_a_graph_made_by_featx_is_taken_as_any_other(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x W", "h"), node("Relu", "h", EMBEDDING)]
    model = model_of(nodes, {"W": W}, output=EMBEDDING)
    made = replace(
        tiny_manifest(tmp_path, model, dim=6, name="made"), outputs={"embedding": EMBEDDING}
    )
    rows = list(np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32))

    found = join(of(made, wide(tmp_path)), tmp_path / "joint")

    for joint in found:
        X = joint.backbone.encode(rows)
        for member, columns in zip(joint.members, joint.columns, strict=True):
            np.testing.assert_allclose(X[:, columns], member.encode(rows), atol=1e-6)


def test_backbones_run_by_themselves_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    found = join(of(wide(tmp_path), deep(tmp_path)), tmp_path / "file" / "made")

    assert names(found) == [["wide"], ["deep"]]


def test_those_that_stay_are_joined_anew(tmp_path: Path) -> None:
    more = [node("MatMul", "x W", "a"), node("Relu", "a", "b"), node("Neg", "b", "y")]
    third = tiny_manifest(tmp_path, model_of(more, {"W": W}), dim=6, name="third")
    joiner, backbones = Joiner(tmp_path / "made"), of(wide(tmp_path), deep(tmp_path), third)
    rows = list(np.random.default_rng(3).normal(size=(5, 4)).astype(np.float32))

    (everything,) = joiner.join(backbones)
    (left,) = joiner.join([backbones[0], backbones[2]])

    assert names([everything, left]) == [["wide", "deep", "third"], ["wide", "third"]]
    high = np.maximum(np.stack(rows) @ W, 0)
    np.testing.assert_allclose(left.backbone.encode(rows), np.hstack([high, -high]), rtol=1e-5)
    assert names(joiner.join(backbones[1:2])) == [["deep"]]


def test_a_table_of_tokens_has_the_rows_that_are_stored() -> None:
    graph = Graph(
        model_of(
            [node("DequantizeLinear", "stored scale", "table"), node("Gather", "table ids", "y")],
            {"stored": np.ones((7, 2), np.int8), "scale": np.array(0.5, np.float32)},
        )
    )

    assert (graph.rows("table"), graph.rows("stored"), graph.rows("x")) == (7, 7, None)
