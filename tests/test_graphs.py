"""Graphs that are changed, against the graphs that they were."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from featx.backbone.graphs.attention import fuse_attention
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.int8 import measured, quantize, quantized_columns, smoothing
from featx.backbone.graphs.neighbours import depends_on_neighbours
from featx.backbone.graphs.pooling import EMBEDDING, append_embedding
from featx.backbone.graphs.probing import made_up_feeds, run_graph
from featx.backbone.graphs.rows import largest_weight
from featx.backbone.pooling import normalize, pool_tokens
from featx.backbone.variants import variant
from featx.errors import InputError
from featx.types import Vectors
from featx.zoo import catalog
from featx.zoo.manifest import FileEntry, ImageOptions, Manifest, Pooling

Arrays = dict[str, NDArray[Any]]

Inputs = Mapping[str, tuple[int, Sequence[str | int]]]
"""Name → ONNX element type and axes."""


def save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    arrays: Arrays,
    *,
    inputs: Inputs,
    output: str,
) -> Path:
    """Write a graph of opset 18 with one float output."""
    infos = [helper.make_tensor_value_info(name, *how) for name, how in inputs.items()]
    result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "test", infos, [result], tensors)
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def manifest_of(path: Path, *, modality: str = "array", **facts: object) -> Manifest:
    entry = FileEntry(path=path.name, sha256=f"{hash(path)}", size_bytes=1)
    table: dict[str, object] = {
        "schema": 1,
        "name": "small",
        "modality": modality,
        "summary": "for a test",
        "license": "none",
        "source": "a test",
        "weights": "small",
        "dim": 8,
        "pooling": "none",
        "normalize": False,
        "files": {"graph": entry},
        "outputs": {"embedding": "y", "tokens": "y"},
        "folder": path.parent,
    }
    return Manifest(**(table | facts))  # type: ignore[arg-type]


def int8_oracle(X: Vectors, W: Vectors, factors: Vectors, zero_point: int) -> Vectors:
    """Quantise each row of X and each column of W, multiply whole numbers, and scale back."""
    X, W = X / factors, W * factors[:, None]
    below, above = -X.min(axis=1) / zero_point, X.max(axis=1) / (255 - zero_point)
    row = np.maximum(below, above)[:, None]
    column = np.abs(W).max(axis=0) / 127
    whole: Vectors = np.rint(X / row) @ np.rint(W / column)
    scaled: Vectors = whole * row * column
    return scaled


def product(path: Path, W: Vectors, axes: Sequence[str]) -> Graph:
    """Return a graph of one matrix product, ``x @ W``."""
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    inputs: Inputs = {"x": (TensorProto.FLOAT, [*axes, len(W)])}
    return Graph.load(save_graph(path, [node], {"W": W}, inputs=inputs, output="y"))


@pytest.mark.skipif(largest_weight() < 127, reason="weights have 7 bits on this processor")
@pytest.mark.parametrize("shift", [0.0, 2.0], ids=["both-sides", "one-side"])
def test_an_int8_product_is_the_one_of_whole_numbers(tmp_path: Path, shift: float) -> None:
    rng = np.random.default_rng(3)
    W = rng.standard_normal((96, 48)).astype(np.float32)
    X = np.maximum(rng.standard_normal((2, 5, 96)) + shift, -0.2 if shift else -9)
    X = X.astype(np.float32)
    X[..., 7] *= 20
    graph, seen = product(tmp_path / "g.onnx", W, ["a", "b"]), measured(X)

    assert quantize(graph, {"x": seen}, largest=127) == 1
    ((found,),) = run_graph(graph, ["y"], [{"x": X}])

    rows = X.reshape(10, 96)
    expected = int8_oracle(rows, W, smoothing(seen, W), seen.zero_point)
    np.testing.assert_allclose(found.reshape(10, 48), expected, rtol=1e-3, atol=0.05)
    largest = float(np.abs(rows @ W).max())
    np.testing.assert_allclose(expected, rows @ W, atol=0.03 * largest)


def test_a_row_of_an_int8_product_has_the_same_bits_beside_any_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    W = rng.standard_normal((96, 48)).astype(np.float32)
    X = rng.standard_normal((7, 96)).astype(np.float32)
    graph = product(tmp_path / "g.onnx", W, ["n"])
    quantize(graph, {"x": measured(X)}, largest=largest_weight())
    large = X.copy()
    large[1:] *= 1000

    alone, among, beside = (
        arrays[0] for arrays in run_graph(graph, ["y"], [{"x": X[:1]}, {"x": X}, {"x": large}])
    )

    np.testing.assert_array_equal(alone[0], among[0])
    np.testing.assert_array_equal(alone[0], beside[0])


def test_weights_have_seven_bits_where_eight_overflow() -> None:
    W = np.array([[2.0], [-0.5]], dtype=np.float32)

    whole, scales = quantized_columns(W, 63)

    assert whole.ravel().tolist() == [63, -16]
    assert scales.tolist() == pytest.approx([2 / 63])


def dynamic(path: Path) -> Path:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    inputs: Inputs = {"x": (TensorProto.FLOAT, ["n", 4])}
    return save_graph(path, nodes, {}, inputs=inputs, output="y")


def inside_a_branch(path: Path) -> Path:
    inner = onnx.load(dynamic(path)).graph
    del inner.input[:]
    node = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    inputs: Inputs = {"x": (TensorProto.FLOAT, ["n", 4])}
    return save_graph(path, [node], {"yes": np.array(True)}, inputs=inputs, output="y")


def test_one_scale_for_a_batch_is_seen(tmp_path: Path) -> None:
    assert depends_on_neighbours(dynamic(tmp_path / "plain.onnx"))
    assert depends_on_neighbours(inside_a_branch(tmp_path / "branch.onnx"))


def test_a_file_that_is_no_graph_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 10)

    with pytest.raises(InputError, match=r"x\.onnx: not an ONNX graph"):
        depends_on_neighbours(tmp_path / "x.onnx")


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
def test_pooling_in_the_graph_is_pooling_outside_of_it(
    tmp_path: Path, pooling: Pooling, normalized: bool
) -> None:
    rng = np.random.default_rng(5)
    tokens = rng.standard_normal((4, 6, 8)).astype(np.float32)
    tokens[2] = 0
    mask = (np.arange(6) < np.array([6, 1, 3, 4])[:, None]).astype(np.int64)
    inputs: Inputs = {
        "x": (TensorProto.FLOAT, ["n", "t", 8]),
        "mask": (TensorProto.INT64, ["n", "t"]),
    }
    node = helper.make_node("Identity", ["x"], ["y"])
    path = save_graph(tmp_path / "g.onnx", [node], {}, inputs=inputs, output="y")
    expected = pool_tokens(tokens, mask, pooling)

    graph = Graph.load(path)
    append_embedding(graph, "y", pooling=pooling, mask="mask", normalize=normalized)
    graph.prune()
    feeds: Arrays = {"x": tokens, "mask": mask}
    ((found,),) = run_graph(graph, [EMBEDDING], [feeds])

    expected = normalize(expected) if normalized else expected
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found[2].tolist() == [0] * 8


HIDDEN, HEADS, WIDTH = 16, 4, 4

FORMS = ["plain", "scaled-before", "turned-later", "joint-split", "joint-gather"]


def three_layers(form: str, arrays: Arrays) -> tuple[list[onnx.NodeProto], list[str]]:
    """Return nodes that make queries, turned keys and values, and the names of these."""
    rng = np.random.default_rng(6)
    make = helper.make_node
    nodes = []
    for name in "qkv":
        arrays[f"W{name}"] = rng.standard_normal((HIDDEN, HIDDEN)).astype(np.float32)
        arrays[f"b{name}"] = rng.standard_normal(HIDDEN).astype(np.float32)
        perm = [0, 2, 3, 1] if name == "k" and form != "turned-later" else [0, 2, 1, 3]
        nodes += [
            make("MatMul", ["h", f"W{name}"], [f"{name}0"]),
            make("Add", [f"{name}0", f"b{name}"], [f"{name}1"]),
            make("Reshape", [f"{name}1", "shape"], [f"{name}2"]),
            make("Transpose", [f"{name}2"], [f"{name}3"], perm=perm),
        ]
    if form == "scaled-before":
        nodes += [make("Mul", ["q3", "root"], ["q4"]), make("Mul", ["k3", "root"], ["k4"])]
        return nodes, ["q4", "k4", "v3"]
    if form == "turned-later":
        nodes.append(make("Transpose", ["k3"], ["k4"], perm=[0, 1, 3, 2]))
        return nodes, ["q3", "k4", "v3"]
    return nodes, ["q3", "k3", "v3"]


def one_layer(form: str, arrays: Arrays) -> tuple[list[onnx.NodeProto], list[str]]:
    """Do what `three_layers` does with one linear layer for all three."""
    rng = np.random.default_rng(6)
    make = helper.make_node
    arrays |= {
        "W": rng.standard_normal((HIDDEN, 3 * HIDDEN)).astype(np.float32),
        "b": rng.standard_normal(3 * HIDDEN).astype(np.float32),
        "five": np.array([0, -1, 3, HEADS, WIDTH], dtype=np.int64),
        "ones": np.ones(3, dtype=np.int64),
        "axis": np.array([0], dtype=np.int64),
    }
    nodes = [
        make("MatMul", ["h", "W"], ["j0"]),
        make("Add", ["b", "j0"], ["j1"]),
        make("Reshape", ["j1", "five"], ["j2"]),
        make("Transpose", ["j2"], ["j3"], perm=[2, 0, 3, 1, 4]),
    ]
    if form == "joint-split":
        nodes.append(make("Split", ["j3", "ones"], ["q0", "k0", "v0"], axis=0))
        nodes += [make("Squeeze", [f"{name}0", "axis"], [f"{name}1"]) for name in "qkv"]
    else:
        for place, name in enumerate("qkv"):
            arrays[f"at{place}"] = np.array(place, dtype=np.int64)
            nodes.append(make("Gather", ["j3", f"at{place}"], [f"{name}1"], axis=0))
    nodes.append(make("Transpose", ["k1"], ["k2"], perm=[0, 1, 3, 2]))
    return nodes, ["q1", "k2", "v1"]


def attention(form: str) -> tuple[list[onnx.NodeProto], Arrays]:
    """Return one attention over ``h``, (B, T, 16), that makes ``attended``."""
    make = helper.make_node
    arrays: Arrays = {
        "shape": np.array([0, -1, HEADS, WIDTH], dtype=np.int64),
        "joined": np.array([0, -1, HIDDEN], dtype=np.int64),
        "two": np.array(2, dtype=np.float32),
        "root": np.array(WIDTH**-0.25, dtype=np.float32),
        "bias": np.linspace(-2, 2, 16, dtype=np.float32).reshape(1, 1, 1, 16),
    }
    layers = one_layer if form.startswith("joint") else three_layers
    nodes, (query, key, value) = layers(form, arrays)
    similarities = "s0" if form == "scaled-before" else "s1"
    nodes.append(make("MatMul", [query, key], ["s0"]))
    if similarities == "s1":
        nodes.append(make("Div", ["s0", "two"], ["s1"]))
    if form == "biased":
        nodes.append(make("Add", ["s1", "bias"], ["s2"]))
        similarities = "s2"
    nodes += [
        make("Softmax", [similarities], ["p"], axis=-1),
        make("MatMul", ["p", value], ["a0"]),
        make("Transpose", ["a0"], ["a1"], perm=[0, 2, 1, 3]),
        make("Reshape", ["a1", "joined"], ["attended"]),
    ]
    return nodes, arrays


def vision_transformer(path: Path, form: str) -> Path:
    """Write a small image model: patches, one attention with its skip connection, a norm."""
    rng = np.random.default_rng(8)
    inner, arrays = attention(form)
    arrays |= {
        "patch": rng.standard_normal((HIDDEN, 3, 4, 4)).astype(np.float32),
        "flat": np.array([0, HIDDEN, -1], dtype=np.int64),
        "one": np.ones(HIDDEN, dtype=np.float32),
    }
    make = helper.make_node
    nodes = [
        make("Conv", ["image", "patch"], ["c"], strides=[4, 4]),
        make("Reshape", ["c", "flat"], ["f"]),
        make("Transpose", ["f"], ["h"], perm=[0, 2, 1]),
        *inner,
        make("Add", ["h", "attended"], ["r"]),
        make("LayerNormalization", ["r", "one"], ["y"], axis=-1),
    ]
    inputs: Inputs = {"image": (TensorProto.FLOAT, ["n", 3, 16, 16])}
    return save_graph(path, nodes, arrays, inputs=inputs, output="y")


def vit_manifest(path: Path) -> Manifest:
    image = ImageOptions(size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1))
    return manifest_of(
        path, modality="image", dim=HIDDEN, pooling="cls", inputs={"image": "image"}, image=image
    )


@pytest.mark.parametrize("form", FORMS)
def test_attention_of_an_image_model_becomes_one_node_that_does_the_same(
    tmp_path: Path, form: str
) -> None:
    path = vision_transformer(tmp_path / "vit.onnx", form)
    plain, fused = Graph.load(path), Graph.load(path)
    feeds = made_up_feeds(plain, vit_manifest(path))

    assert fuse_attention(fused) == 1

    kinds = [node.op_type for node in fused.nodes]
    assert kinds.count("MultiHeadAttention") == 1
    assert "Softmax" not in kinds
    for wanted, found in zip(
        run_graph(plain, ["y"], feeds), run_graph(fused, ["y"], feeds), strict=True
    ):
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-5)


def test_a_softmax_that_is_no_attention_stays(tmp_path: Path) -> None:
    node = helper.make_node("Softmax", ["x"], ["y"])
    inputs: Inputs = {"x": (TensorProto.FLOAT, ["n", 4])}
    graph = Graph.load(save_graph(tmp_path / "g.onnx", [node], {}, inputs=inputs, output="y"))

    assert fuse_attention(graph) == 0
    assert [node.op_type for node in graph.nodes] == ["Softmax"]


@pytest.mark.parametrize(("form", "fused"), [("plain", 1), ("joint-split", 1), ("biased", 0)])
def test_an_image_model_in_fp16_for_cuda_is_near_and_fused_where_it_can_be(
    tmp_path: Path, form: str, fused: int
) -> None:
    manifest = vit_manifest(vision_transformer(tmp_path / "vit.onnx", form))
    graph = Graph.load(manifest.file("graph"))
    feeds = made_up_feeds(graph, manifest)
    ((tokens,), _) = run_graph(graph, ["y"], feeds)

    found = variant(manifest, precision="fp16", device="cuda:0", folder=tmp_path)
    rows = run_graph(Graph.load(found.path), [found.output], feeds)[0][0]

    assert (found.is_pooled, found.is_normalized) == (True, False)
    kinds = [node.op_type for node in onnx.load(found.path).graph.node]
    assert kinds.count("MultiHeadAttention") == fused
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, tokens[:, 0], atol=0.05)


def test_all_attention_of_minilm_is_fused_and_gives_the_same_tokens() -> None:
    manifest = catalog.find("minilm-l6")
    plain = Graph.load(manifest.file("graph"))
    feeds = made_up_feeds(plain, manifest)
    fused = Graph.load(manifest.file("graph"))
    fused.fold()

    assert fuse_attention(fused, mask="attention_mask") == 6

    wanted = run_graph(plain, ["token_embeddings"], feeds)
    found = run_graph(fused, ["token_embeddings"], feeds)
    for X, Y, feed in zip(wanted, found, feeds, strict=True):
        kept = feed["attention_mask"] > 0
        a, b = normalize(X[0][kept]), normalize(Y[0][kept])
        assert float(np.einsum("nd,nd->n", a, b).min()) >= 0.99999
