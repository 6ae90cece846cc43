"""Chains of nodes that become one, on the graphs of both exporters of torch."""

from pathlib import Path

import numpy as np
import pytest

from featx.backbone.graphs.elementwise import fuse_elementwise
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.probing import made_up_feeds, run_graph
from featx.zoo import catalog
from tiny_graphs import model_of, node

W = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
ROW = np.array([1, -2, 0.5, 3], dtype=np.float32)
NUMBERS = {
    "w": W,
    "b": ROW,
    "root": np.array(np.sqrt(2), np.float32),
    "half_root": np.array(np.sqrt(0.5), np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
    "gamma": ROW,
    "beta": ROW[::-1].copy(),
}

GELUS = {
    "legacy": "Div x root z; Erf z e; Add e one a; Mul x a m; Mul m half y",
    "dynamo": "Mul half_root x z; Erf z e; Add one e a; Mul x half h; Mul h a y",
    "biased": "MatMul x w l; Add l b s; "
    "Div s root z; Erf z e; Add e one a; Mul s a m; Mul m half y",
}


def graph_of(text: str, **attributes: float) -> Graph:
    """Return a graph of ``Operator inputs output`` clauses; the last name is what a node makes."""
    nodes = []
    for clause in text.split("; "):
        operator, *names = clause.split()
        made = attributes if operator == "LayerNormalization" else {}
        nodes.append(node(operator, " ".join(names[:-1]), names[-1], **made))
    return Graph(model_of(nodes, NUMBERS, shape=("n", 3, 4)))


def kinds(graph: Graph) -> list[str]:
    return [each.op_type for each in graph.nodes]


def same(graph: Graph, text: str) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    ((wanted,),) = run_graph(graph_of(text), ["y"], [{"x": x}])
    ((found,),) = run_graph(graph, ["y"], [{"x": x}])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", GELUS)
def test_gelu_is_one_node_with_the_bias_before_it(form: str) -> None:
    graph = graph_of(GELUS[form])

    assert fuse_elementwise(graph) == 1

    assert kinds(graph) == (["MatMul", "BiasGelu"] if form == "biased" else ["Gelu"])
    same(graph, GELUS[form])


@pytest.mark.parametrize(
    "text",
    [
        "Div x one z; Erf z e; Add e one a; Mul x a m; Mul m half y",  # another slope
        "Div x root z; Erf z e; Add e half a; Mul x a m; Mul m half y",  # another offset
        "Div x root z; Erf z e; Add e one a; Mul x a m; Mul m root y",  # another factor
        "Div x root z; Erf z e; Add e one a; Mul e a m; Mul m half y",  # of another value
    ],
)
def test_what_is_nearly_gelu_stays(text: str) -> None:
    graph = graph_of(text)

    assert fuse_elementwise(graph) == 0

    same(graph, text)


SUM = "MatMul x w l; Add l b s; Add s x t; LayerNormalization t gamma beta y"


def test_a_normalized_sum_is_one_node_with_its_bias_and_epsilon() -> None:
    graph = graph_of(SUM, epsilon=0.25)
    plain = graph_of(SUM, epsilon=0.25)

    assert fuse_elementwise(graph) == 1

    assert kinds(graph) == ["MatMul", "SkipLayerNormalization"]
    x = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    ((wanted,),) = run_graph(plain, ["y"], [{"x": x}])
    ((found,),) = run_graph(graph, ["y"], [{"x": x}])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_sum_that_others_read_too_is_given_as_well() -> None:
    text = "MatMul x w l; Add x l t; LayerNormalization t gamma beta n; Add n t y"
    graph = graph_of(text)

    assert fuse_elementwise(graph) == 1

    assert kinds(graph) == ["MatMul", "SkipLayerNormalization", "Add"]
    same(graph, text)


def test_a_sum_with_what_may_be_one_row_for_all_items_stays() -> None:
    text = "Add x x t; LayerNormalization t gamma beta y"
    graph = graph_of(text)

    assert fuse_elementwise(graph) == 0

    same(graph, text)


EXPORTED = Path(__file__).parent / "data" / "exported"


@pytest.mark.parametrize(("name", "norms"), [("bert", 6), ("vit", 6), ("convnext", 0)])
@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
def test_every_block_of_an_exported_network_is_fused_and_gives_what_torch_gave(
    name: str, norms: int, exporter: str
) -> None:
    path = EXPORTED / f"{name}_{exporter}.onnx"
    kept = np.load(path.with_suffix(".npz"))
    graph = Graph.load(path)
    graph.fold()

    fuse_elementwise(graph)

    counts = [kinds(graph).count(each) for each in ("SkipLayerNormalization", "Erf")]
    assert counts == [norms, 0]
    feeds = {key.removeprefix("feeds/"): kept[key] for key in kept if key.startswith("feeds/")}
    ((found,),) = run_graph(graph, [graph.model.graph.output[0].name], [feeds])
    np.testing.assert_allclose(found, kept["output"], atol=1e-5)


@pytest.mark.parametrize("name", ["minilm-l6", "minilm-l6-layers"])
def test_all_chains_of_minilm_are_fused_and_give_the_same_tokens(name: str) -> None:
    manifest = catalog.find(name)
    plain, fused = (Graph.load(manifest.file("graph")) for _ in range(2))
    feeds = made_up_feeds(plain, manifest)
    fused.fold()

    assert fuse_elementwise(fused) == 6 + 12

    tokens = [manifest.outputs["tokens"]]
    wanted = run_graph(plain, tokens, feeds)
    found = run_graph(fused, tokens, feeds)
    for X, Y, feed in zip(wanted, found, feeds, strict=True):
        kept = feed["attention_mask"] > 0
        np.testing.assert_allclose(Y[0][kept], X[0][kept], atol=2e-5)
