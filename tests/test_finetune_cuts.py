"""Where a graph can be cut, and that its two parts make the whole."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from exported_models import NAMES, exported_manifest
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import EMBEDDING
from featx.backbone.graphs.probing import Feeds
from featx.backbone.runtime import open_session
from featx.cli import main
from featx.errors import InputError
from featx.finetune.graph.cuts import Cut, cut_for_blocks, cut_named, find_cuts
from featx.finetune.graph.flow import flow_of
from featx.finetune.graph.parameters import trainable
from featx.finetune.graph.plain import plain_graph
from featx.finetune.graph.running import run, run_graph
from featx.finetune.graph.shapes import probe_feeds
from featx.finetune.graph.split import Split, split
from featx.zoo import catalog
from featx.zoo.manifest import Manifest
from tiny_graphs import model_of, node, tiny_manifest

QUICK = {
    "bert_dynamo", "bert_legacy", "bottleneck_legacy", "convnext_dynamo", "efficientnet_dynamo",
    "mobilenet_unfolded", "resnet_legacy", "vit_dynamo",
}  # fmt: skip
"""Each architecture at least once, and all exporters; the others are slow tests."""

EXPORTS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]

ROUNDING = 2e-6
"""Share of the largest number: two sessions may add in another order than one."""

RNG = np.random.default_rng(5)

Weights = dict[str, NDArray[Any]]


def matrix(*shape: int) -> NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def cut_up(manifest: Manifest) -> tuple[Graph, list[Cut]]:
    graph = plain_graph(manifest)
    return graph, find_cuts(graph, probe_feeds(graph, manifest), name=manifest.name)


@cache
def cut_up_export(name: str) -> tuple[Graph, list[Cut]]:
    return cut_up(exported_manifest(name))


def through(parts: Split, feeds: Feeds) -> NDArray[np.float32]:
    """Run the body, then the tail."""
    body = open_session(parts.body.SerializeToString(), device="cpu")
    tail = open_session(parts.tail.SerializeToString(), device="cpu")
    value = run(body, parts.cut.tensor, feeds)
    return run(tail, EMBEDDING, {**feeds, parts.cut.tensor: value})


def whole(graph: Graph, feeds: Feeds) -> NDArray[np.float32]:
    return run(open_session(graph.model.SerializeToString(), device="cpu"), EMBEDDING, feeds)


def assert_parts_make_the_whole(graph: Graph, cut: Cut, feeds: Feeds) -> None:
    wanted = whole(graph, feeds)

    found = through(split(graph, cut), feeds)

    np.testing.assert_allclose(found, wanted, rtol=0, atol=ROUNDING * abs(wanted).max())
    np.testing.assert_array_equal(whole(graph, feeds), wanted)


def unseen_feeds(name: str) -> Feeds:
    """Return a batch of another size than any that the graph was probed with."""
    if not name.startswith("bert"):
        return {"pixels": RNG.standard_normal((7, 3, 32, 32)).astype(np.float32)}
    mask = (np.arange(29) < RNG.integers(1, 30, (7, 1))).astype(np.int64)
    ids = RNG.integers(1, 64, (7, 29)) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


@pytest.mark.parametrize("name", EXPORTS)
def test_body_and_tail_of_an_exported_network_make_the_whole_at_any_size(name: str) -> None:
    graph, cuts = cut_up_export(name)

    assert_parts_make_the_whole(graph, cut_for_blocks(cuts, 1), unseen_feeds(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_body_and_tail_make_the_whole_at_each_cut(name: str) -> None:
    graph, cuts = cut_up_export(name)

    for cut in cuts:
        assert_parts_make_the_whole(graph, cut, unseen_feeds(name))


@pytest.mark.parametrize(
    "name",
    [
        "ge2e",
        pytest.param("efficientnet-lite0", marks=pytest.mark.slow),
        pytest.param("efficientnet-lite0-layers", marks=pytest.mark.slow),
        pytest.param("minilm-l6", marks=pytest.mark.slow),
        pytest.param("minilm-l6-layers", marks=pytest.mark.slow),
    ],
)
def test_body_and_tail_of_a_backbone_of_the_zoo_make_the_whole_at_each_cut(name: str) -> None:
    manifest = catalog.find(name)
    graph, cuts = cut_up(manifest)
    feeds = probe_feeds(graph, manifest)

    for cut in cuts:
        assert_parts_make_the_whole(graph, cut, feeds[1])


BLOCKS: dict[str, list[int | None]] = {
    "bert": [3, None, 2, None, 1, None],
    "bottleneck": [3, 2, 1],
    "convnext": [3, 2, None, 1],
    "efficientnet": [None, None, None, None, None, None, None, 1, None],
    "mobilenet": [None, None, None, None, 3, 2, 1, None],
    "resnet": [4, 3, 2, 1],
    "vit": [3, None, 2, None, 1, None],
}
"""Whole blocks behind each cut: bert and vit have a cut between attention and its two layers."""


@pytest.mark.parametrize("name", EXPORTS)
def test_blocks_are_those_of_the_architecture(name: str) -> None:
    _, cuts = cut_up_export(name)

    assert [cut.blocks for cut in cuts] == BLOCKS[name.partition("_")[0]]


@pytest.mark.parametrize("name", ["bert_dynamo", "bert_legacy"])
def test_the_last_block_of_a_transformer_holds_its_layers_and_reads_the_mask(name: str) -> None:
    graph, cuts = cut_up_export(name)
    hidden, inner = 32, 64
    attention = 4 * (hidden * hidden + hidden)
    feed_forward = hidden * inner + inner + inner * hidden + hidden
    norms = 4 * hidden

    cut = cut_for_blocks(cuts, 1)

    parts = split(graph, cut)
    assert cut.layers_after == 6
    assert cut.parameters_after == attention + feed_forward + norms
    assert cut.shape == ("batch", "length", hidden)
    assert (cut.values_a_sample, cut.bytes_a_sample, cut.grows) == (hidden, 2 * hidden, True)
    assert [each.name for each in parts.tail.graph.input] == [cut.tensor, "attention_mask"]
    assert cut.extra_inputs == ("attention_mask",)


@pytest.mark.parametrize("name", EXPORTS)
def test_what_can_be_trained_is_what_the_cut_counts(name: str) -> None:
    graph, cuts = cut_up_export(name)
    cut = cut_for_blocks(cuts, 1)

    parts = split(graph, cut)

    arrays = {t.name: numpy_helper.to_array(t) for t in parts.tail.graph.initializer}
    names = trainable(parts.tail)
    assert sum(arrays[each].size for each in names) == cut.parameters_after
    assert {arrays[each].dtype.name for each in names} == {"float32"}
    assert set(names) <= {tensor.name for tensor in graph.model.graph.initializer}


def test_only_inputs_are_asked_for_their_shape() -> None:
    graph, _ = cut_up_export("bert_legacy")

    asked = {each.input[0] for each in graph.nodes if each.op_type == "Shape"}

    assert asked <= set(graph.inputs)


def residual_blocks(*, tied: bool = False) -> tuple[ModelProto, Weights]:
    """Return three residual blocks of two layers each and a projection."""
    weights: Weights = {"w.out": matrix(4, 2)}
    nodes, quarter = [], np.float32(0.25)
    value = "x"
    for block in range(3):
        first, second = ("w", "v") if tied else (f"w{block}", f"v{block}")
        weights |= {first: quarter * matrix(4, 4), second: quarter * matrix(4, 4)}
        nodes += [
            node("MatMul", f"{value} {first}", f"a{block}"),
            node("Tanh", f"a{block}", f"t{block}"),
            node("MatMul", f"t{block} {second}", f"b{block}"),
            node("Add", f"{value} b{block}", f"s{block}"),
        ]
        value = f"s{block}"
    nodes.append(node("MatMul", f"{value} w.out", "y"))
    return model_of(nodes, weights), weights


def test_the_sums_of_residual_blocks_are_the_cuts(tmp_path: Path) -> None:
    model, _ = residual_blocks()

    _, cuts = cut_up(tiny_manifest(tmp_path, model, dim=2))

    assert [(c.tensor, c.layers_after, c.blocks) for c in cuts] == [
        ("s0", 5, 2),
        ("s1", 3, 1),
        ("s2", 1, None),
    ]


def test_tied_weights_are_untied_in_the_tail_alone(tmp_path: Path) -> None:
    model, weights = residual_blocks(tied=True)
    manifest = tiny_manifest(tmp_path, model, dim=2)
    x = matrix(5, 4)
    graph, cuts = cut_up(manifest)
    before = run_graph(graph, EMBEDDING, {"x": x})

    parts = split(graph, cut_named(cuts, "s0"))

    names = trainable(parts.tail)
    assert names == ["w/untied/a1", "v/untied/b1", "w/untied/a2", "v/untied/b2", "w.out"]
    assert {t.name for t in parts.body.graph.initializer} == {"w", "v"}
    stored = {t.name: numpy_helper.to_array(t) for t in graph.model.graph.initializer}
    np.testing.assert_array_equal(stored["w/untied/a2"], weights["w"])
    np.testing.assert_array_equal(run_graph(graph, EMBEDDING, {"x": x}), before)
    np.testing.assert_allclose(through(parts, {"x": x}), before, atol=1e-6)
    again = split(graph, cut_named(cuts, "s0"))
    assert trainable(again.tail) == names


def test_norms_and_biases_can_be_asked_for_alone(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x w0", "h"),
        node("LayerNormalization", "h scale shift", "n"),
        node("Gemm", "n w1 b1", "g"),
        node("Mul", "g layer_scale", "m"),
        node("Add", "m b2", "a"),
        node("Add", "a mask", "masked"),
        node("Mul", "masked two", "y"),
    ]
    vectors = {name: matrix(4) for name in ("scale", "shift", "b1", "layer_scale", "b2")}
    mask = np.array([0, 0, 0, -1e9], dtype=np.float32)
    weights = vectors | {"w0": matrix(4, 4), "w1": matrix(4, 4), "mask": mask}
    weights["two"] = np.array(2, dtype=np.float32)
    graph, cuts = cut_up(tiny_manifest(tmp_path, model_of(nodes, weights), dim=4))

    tail = split(graph, cuts[0]).tail

    assert [cut.tensor for cut in cuts] == ["n"]
    assert trainable(tail) == ["w1", "b1", "layer_scale", "b2"]
    assert trainable(tail, tune="norm") == ["b1", "layer_scale", "b2"]


def test_a_table_that_only_positions_go_through_is_computed_on_both_sides(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "sizes"),
        node("Gather", "sizes one", "length"),
        node("Range", "zero length one", "places"),
        node("Gather", "table places", "bias"),
        node("MatMul", "x w0", "h0"),
        node("Add", "h0 bias", "b0"),
        node("MatMul", "b0 w1", "h1"),
        node("Add", "h1 bias", "b1"),
        node("ReduceMean", "b1", "y", axes=[1], keepdims=0),
    ]
    weights: Weights = {"w0": matrix(4, 4), "w1": matrix(4, 4), "table": matrix(32, 4)}
    weights |= {"one": np.array(1), "zero": np.array(0)}
    model = model_of(nodes, weights, shape=("n", "t", 4))
    manifest = tiny_manifest(tmp_path, model, dim=4, shape=(6, 4))
    graph = plain_graph(manifest)
    feeds: list[Feeds] = [{"x": matrix(n, t, 4)} for n, t in ((2, 9), (3, 5))]

    cuts = find_cuts(graph, feeds)

    (cut,) = cuts
    assert (cut.tensor, cut.shape, cut.extra_inputs) == ("b0", ("batch", "length", 4), ())
    parts = split(graph, cut)
    assert trainable(parts.tail) == ["w1"]
    assert_parts_make_the_whole(graph, cut, {"x": matrix(7, 12, 4)})


def two_towers() -> ModelProto:
    nodes = [
        node("MatMul", "x w0", "a"),
        node("MatMul", "x w1", "b"),
        node("Mul", "a b", "y"),
    ]
    return model_of(nodes, {"w0": matrix(4, 4), "w1": matrix(4, 4)})


def test_a_graph_without_a_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        cut_up(tiny_manifest(tmp_path, two_towers(), dim=4))

    assert str(refused.value) == (
        "tiny: cannot be cut: none of its values lies between its layers alone"
        " (2 layers with weights); choose another model"
    )


def test_a_graph_that_runs_at_one_size_only_is_refused_in_one_line(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "h"), node("Reshape", "h sizes", "y")]
    model = model_of(nodes, {"w": matrix(4, 4), "sizes": np.array([2, 4])})

    with pytest.raises(InputError, match=r"^tiny: .*cannot be run at these shapes") as refused:
        cut_up(tiny_manifest(tmp_path, model, dim=4))

    assert "\n" not in str(refused.value)


def test_a_value_of_which_a_node_makes_several_is_no_cut(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x w0", "h"),
        node("Split", "h", "left right", axis=1),
        node("Tanh", "left", "bent"),
        node("Concat", "bent right", "joined", axis=1),
        node("MatMul", "joined w1", "y"),
    ]
    model = model_of(nodes, {"w0": matrix(4, 4), "w1": matrix(4, 2)})

    graph, cuts = cut_up(tiny_manifest(tmp_path, model, dim=2))

    assert [cut.tensor for cut in cuts] == ["joined"]
    assert_parts_make_the_whole(graph, cuts[0], {"x": matrix(3, 4)})


def test_blocks_and_names_that_are_none_are_refused_with_those_that_are() -> None:
    _, cuts = cut_up_export("resnet_dynamo")

    with pytest.raises(InputError, match=r"^blocks = 5; expected 1 to 4; list the cuts: featx"):
        cut_for_blocks(cuts, 5)
    with pytest.raises(InputError, match=r"^no cut 'relu_5'; the nearest is 'relu_\d'; list them"):
        cut_named(cuts, "relu_5")
    assert cut_named(cuts, cuts[1].tensor) is cuts[1]


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=2), min_size=1, max_size=12))
def test_a_layer_belongs_to_the_nodes_that_all_its_ways_lead_through(
    reads: list[list[int]],
) -> None:
    """Against the definition: without the node, the output cannot be reached from the layer."""
    nodes = [node("MatMul", "x w", "v0")]
    for number, read in enumerate(reads, start=1):
        nodes.append(node("Sum", " ".join(f"v{each % number}" for each in read), f"s{number}"))
        nodes.append(node("MatMul", f"s{number} w", f"v{number}"))
    graph = Graph(model_of(nodes, {"w": matrix(4, 4)}, output=f"v{len(reads)}"))
    graph.prune()

    flow = flow_of(graph)

    for i, gone in enumerate(flow.nodes):
        reached = {f"v{len(reads)}"} - set(gone.output)
        for each in reversed(flow.nodes):
            if each is not gone and reached & set(each.output):
                reached |= set(each.input) - set(gone.output)
        lost = [bit for at, bit in flow.layers.items() if not reached & set(flow.nodes[at].output)]
        assert flow.within[i] == sum(lost)


def test_the_command_shows_the_cuts_of_a_backbone() -> None:
    result = CliRunner().invoke(main, ["models", "cuts", "ge2e"])

    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["cut", "blocks", "layers", "parameters", "bytes", "a", "window"],
        ["/Gather_output_0", "1", "1", "65,792", "512"],
    ]


def test_the_command_prints_the_cuts_as_json() -> None:
    result = CliRunner().invoke(main, ["models", "cuts", "ge2e", "--json"])

    assert json.loads(result.stdout) == {
        "name": "ge2e",
        "sample": "window",
        "cuts": [
            {
                "tensor": "/Gather_output_0",
                "shape": ["batch", 256],
                "blocks": 1,
                "layers_after": 1,
                "parameters_after": 256 * 256 + 256,
                "bytes_a_sample": 512,
                "extra_inputs": [],
            }
        ],
    }


@pytest.mark.slow
def test_the_command_says_what_an_image_takes() -> None:
    result = CliRunner().invoke(main, ["models", "cuts", "efficientnet-lite0"])

    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0][-3:] == ["bytes", "an", "image"]
    assert rows[-3] == ["add_728", "1", "4", "1,013,696", "18,816"]


@pytest.mark.slow
def test_the_command_offers_six_blocks_of_minilm_by_the_token() -> None:
    result = CliRunner().invoke(main, ["models", "cuts", "minilm-l6"])

    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0][-3:] == ["bytes", "a", "token"]
    assert rows[-2] == ["layer_norm_10", "1", "6", "1,774,464", "768"]
    assert [row[1] for row in rows[1:]] == [
        "6",
        "-",
        "5",
        "-",
        "4",
        "-",
        "3",
        "-",
        "2",
        "-",
        "1",
        "-",
    ]


def test_the_command_refuses_a_name_that_is_none() -> None:
    result = CliRunner().invoke(main, ["models", "cuts", "minilm-16"])

    assert result.exit_code == 1
    assert result.stderr == "error: unknown model 'minilm-16'; did you mean 'minilm-l6'?\n"
