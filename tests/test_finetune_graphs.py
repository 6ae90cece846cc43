"""A backbone's graph in plain operators: what changes, what stays, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from exported_models import FOLDER, NAMES, exported_manifest
from featx.backbone.backbone import Backbone
from featx.backbone.golden import load_golden
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import EMBEDDING
from featx.backbone.runtime import open_session, to_float16
from featx.backbone.settings import Settings
from featx.errors import InputError
from featx.finetune.graph.constants import store_constants
from featx.finetune.graph.decompose import FUSED, decompose
from featx.finetune.graph.plain import plain_graph
from featx.finetune.graph.running import run_graph
from featx.zoo import catalog
from featx.zoo.manifest import Manifest
from tiny_graphs import manifest_of, model_of, node, tiny_manifest

ROUNDING = 1e-5
"""Share of the largest number that float32 sums of small networks may differ from float64."""

RNG = np.random.default_rng(3)
X = RNG.standard_normal((3, 4)).astype(np.float32)
W = RNG.standard_normal((4, 4)).astype(np.float32)
B = RNG.standard_normal(4).astype(np.float32)

Weights = dict[str, NDArray[Any]]


def stored(graph: Graph) -> Weights:
    return {each.name: numpy_helper.to_array(each) for each in graph.model.graph.initializer}


def linear() -> ModelProto:
    return model_of([node("MatMul", "x w", "y")], {"w": W})


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_network_gives_what_torch_gave(name: str) -> None:
    golden = np.load(FOLDER / f"{name}.npz")
    feeds = {key.partition("/")[2]: golden[key] for key in golden if key.startswith("feeds/")}

    graph = plain_graph(exported_manifest(name))

    found = run_graph(graph, "output", feeds)
    np.testing.assert_allclose(found, golden["output"], atol=ROUNDING * abs(golden["output"]).max())
    assert not {"Constant", "Identity", "Dropout"} & {n.op_type for n in graph.nodes[:-1]}
    assert {each.domain for each in graph.model.opset_import} == {""}


@pytest.mark.parametrize(
    "name",
    [
        "ge2e",
        pytest.param("efficientnet-lite0", marks=pytest.mark.slow),
        pytest.param("minilm-l6", marks=pytest.mark.slow),
    ],
)
def test_a_backbone_of_the_zoo_gives_the_vectors_that_it_encodes(name: str) -> None:
    backbone = Backbone(catalog.find(name), Settings(device="cpu"))
    samples = [backbone.load(backbone.read(item)) for item in load_golden(backbone)[0]]
    sample = next(each for each in samples if each.parts == 1)
    roles = backbone.modality.collate([sample])

    graph = plain_graph(backbone.manifest)

    feeds = {name: roles[role] for role, name in backbone.manifest.inputs.items()}
    found = run_graph(graph, EMBEDDING, feeds)
    np.testing.assert_allclose(
        found, backbone.encode_samples([sample]), atol=2e-6 * abs(found).max()
    )


def test_weights_stored_as_small_numbers_become_what_they_stand_for(tmp_path: Path) -> None:
    whole = RNG.integers(-100, 100, (4, 4)).astype(np.int16)
    bytes_ = RNG.integers(-100, 100, (4, 2)).astype(np.int8)
    scale = np.array([[0.1, 0.2, 0.3, 0.4]], dtype=np.float32)
    nodes = [
        node("Cast", "w.int16", "w.whole", to=TensorProto.FLOAT),
        node("Mul", "w.whole w.scale", "w"),
        node("MatMul", "x w", "h"),
        node("DequantizeLinear", "v.int8 v.scale v.zero", "v", axis=1),
        node("MatMul", "h v", "y"),
    ]
    weights: Weights = {
        "w.int16": whole,
        "w.scale": scale,
        "v.int8": bytes_,
        "v.scale": np.array([0.5, 0.25], dtype=np.float32),
        "v.zero": np.array([3, -4], dtype=np.int8),
    }

    graph = plain_graph(tiny_manifest(tmp_path, model_of(nodes, weights), dim=2))

    arrays = stored(graph)
    np.testing.assert_allclose(arrays["w"], whole * scale, rtol=1e-6)
    np.testing.assert_array_equal(arrays["v"], (bytes_ - np.array([3.0, -4.0])) * [0.5, 0.25])
    assert [n.op_type for n in graph.nodes[:2]] == ["MatMul", "MatMul"]
    assert set(arrays) == {"w", "v"}


@pytest.mark.parametrize("name", ["bert_dynamo", "resnet_unfolded"])
def test_half_precision_is_widened(tmp_path: Path, name: str) -> None:
    model = onnx.load(FOLDER / f"{name}.onnx")
    to_float16(model)
    onnx.save(model, tmp_path / "half.onnx")
    golden = np.load(FOLDER / f"{name}.npz")
    feeds = {key.partition("/")[2]: golden[key] for key in golden if key.startswith("feeds/")}

    graph = plain_graph(exported_manifest(name, folder=tmp_path, graph="half.onnx"))

    found = run_graph(graph, "output", feeds)
    assert {"float32"} >= {a.dtype.name for a in stored(graph).values() if a.dtype.kind == "f"}
    np.testing.assert_allclose(found, golden["output"], atol=5e-3 * abs(golden["output"]).max())


FUSED_NODES: dict[str, list[NodeProto]] = {
    "BiasGelu": [node("ms.BiasGelu", "x b", "y")],
    "FastGelu": [node("ms.FastGelu", "x b", "y")],
    "FusedConv": [
        node("Reshape", "x square", "picture"),
        node(
            "ms.FusedConv",
            "picture k b1 picture",
            "convolved",
            pads=[1, 1, 1, 1],
            activation="LeakyRelu",
            activation_params=[0.3],
        ),
        node("Reshape", "convolved flat", "y"),
    ],
    "FusedGemm": [
        node("ms.FusedGemm", "x w b", "y", alpha=0.5, transB=1, activation="Relu"),
    ],
    "FusedMatMul": [node("ms.FusedMatMul", "x w", "y", alpha=0.5, transB=1)],
    "Gelu": [node("ms.Gelu", "x", "y")],
    "QuickGelu": [node("ms.QuickGelu", "x", "y", alpha=1.5)],
    "SkipLayerNormalization": [
        node("ms.SkipLayerNormalization", "x x b b b", "n - - s", epsilon=1e-5),
        node("Sub", "n s", "y"),
    ],
    "TransposeMatMul": [node("ms.TransposeMatMul", "w x", "y", transA=1, transB=1)],
}
FUSED_WEIGHTS: Weights = {
    "b": B,
    "b1": B[:1],
    "w": W,
    "k": RNG.standard_normal((1, 1, 3, 3)).astype(np.float32),
    "square": np.array([-1, 1, 2, 2]),
    "flat": np.array([-1, 4]),
}


def test_every_fused_operator_has_a_test() -> None:
    assert FUSED_NODES.keys() == FUSED.keys()


@pytest.mark.parametrize("operator", FUSED_NODES)
def test_a_fused_operator_is_written_as_what_the_runtime_computes(operator: str) -> None:
    model = model_of(FUSED_NODES[operator], FUSED_WEIGHTS)
    x = X if operator != "TransposeMatMul" else np.resize(X, (4, 4))
    wanted = open_session(model.SerializeToString(), device="cpu").run(["y"], {"x": x})[0]
    graph = Graph(model)

    count = decompose(graph, {"x": (4, 4), "w": (4, 4)})

    assert count == 1
    assert {each.domain for each in graph.nodes} == {""}
    np.testing.assert_allclose(run_graph(graph, "y", {"x": x}), wanted, atol=2e-6)


def test_a_fused_operator_of_an_unknown_form_stays_and_is_refused(tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", "x one", "h"),
        node("ms.FusedMatMul", "h w", "product", transBatchA=1),
        node("Squeeze", "product zero", "y"),
    ]
    weights = {"w": W[None], "zero": np.array([0]), "one": np.array([1])}

    with pytest.raises(InputError, match=r"'product' \(com.microsoft:FusedMatMul\) is none of"):
        plain_graph(tiny_manifest(tmp_path, model_of(nodes, weights), dim=4))


def test_nodes_that_only_hand_on_are_gone_and_names_of_weights_and_output_stay(
    tmp_path: Path,
) -> None:
    nodes = [
        node("Identity", "w", "same"),
        node("Dropout", "x", "rested"),
        node("MatMul", "rested same", "h"),
        node("Identity", "h", "h2"),
        node("Identity", "h2", "y"),
    ]

    graph = plain_graph(tiny_manifest(tmp_path, model_of(nodes, {"w": W}), dim=4))

    made = [(each.op_type, list(each.input), list(each.output)) for each in graph.nodes]
    assert made[0] == ("MatMul", ["x", "same"], ["y"])
    np.testing.assert_allclose(run_graph(graph, EMBEDDING, {"x": X}), X @ W, atol=2e-6)


def test_an_input_that_is_handed_on_as_the_output_stays_one(tmp_path: Path) -> None:
    graph = plain_graph(tiny_manifest(tmp_path, model_of([node("Identity", "x", "y")], {}), dim=4))

    np.testing.assert_array_equal(run_graph(graph, EMBEDDING, {"x": X}), X)


def test_a_graph_of_opset_11_is_brought_up(tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", "x", "u", axes=[2]),
        node("ReduceSum", "u", "s", axes=[2], keepdims=0),
        node("Gemm", "s w b", "y"),
    ]

    graph = plain_graph(tiny_manifest(tmp_path, model_of(nodes, {"w": W, "b": B}, opset=11), dim=4))

    assert graph.opset == 17
    np.testing.assert_allclose(run_graph(graph, EMBEDDING, {"x": X}), X @ W + B, atol=2e-6)


def test_functions_are_written_out(tmp_path: Path) -> None:
    model = model_of([], {"w": W})
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    model.functions.append(helper.make_function("own", "Product", ["a", "b"], ["c"], body, opsets))
    model.graph.node.append(helper.make_node("Product", ["x", "w"], ["y"], domain="own"))
    model.opset_import.append(helper.make_opsetid("own", 1))

    graph = plain_graph(tiny_manifest(tmp_path, model, dim=4))

    assert graph.nodes[0].op_type == "MatMul"
    np.testing.assert_allclose(run_graph(graph, EMBEDDING, {"x": X}), X @ W, atol=2e-6)


def test_a_constant_that_would_outgrow_the_file_is_not_computed() -> None:
    row, column = np.zeros((1, 1 << 20), np.float32), np.zeros((1 << 20, 1), np.float32)
    nodes = [node("Add", "row column", "huge"), node("MatMul", "x huge", "y")]
    graph = Graph(model_of(nodes, {"row": row, "column": column}))

    store_constants(graph)

    assert [each.op_type for each in graph.nodes] == ["Add", "MatMul"]


def quantised() -> ModelProto:
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q w z", "whole"),
        node("Cast", "whole", "f", to=TensorProto.FLOAT),
        node("Mul", "f s", "y"),
    ]
    return model_of(nodes, {"w": np.eye(4, dtype=np.int8)})


def test_quantised_computing_is_refused_with_what_to_do(tmp_path: Path) -> None:
    manifest = tiny_manifest(tmp_path, quantised(), dim=4)

    with pytest.raises(InputError) as refused:
        plain_graph(manifest)

    assert str(refused.value) == (
        "tiny: node 'q' (DynamicQuantizeLinear) computes in few bits; only plain float32 graphs"
        " can be trained; export the model in float32, neither quantised nor optimised, and add"
        " it: featx models add"
    )


def test_quantised_computing_is_refused_naming_the_backbone_of_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sibling = tiny_manifest(tmp_path, linear(), dim=4, name="whole")
    write(tmp_path / "whole.toml", sibling)
    (tmp_path / "broken.toml").write_text("schema = 1\n")
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path))

    with pytest.raises(InputError, match=r"use whole, which has the same weights$"):
        plain_graph(tiny_manifest(tmp_path, quantised(), dim=4))


def write(path: Path, manifest: Manifest) -> None:
    entry = manifest.files["graph"]
    path.write_text(f"""
schema = 1
name = "{manifest.name}"
modality = "array"
summary = "a test"
license = "none"
source = "a test"
weights = "{manifest.weights}"
dim = {manifest.dim}
pooling = "none"
normalize = false
[files.graph]
path = "{entry.path}"
sha256 = "{entry.sha256}"
size_bytes = {entry.size_bytes}
[inputs]
array = "x"
[outputs]
embedding = "y"
""")


def with_fixed_batch() -> ModelProto:
    return model_of([node("MatMul", "x w", "y")], {"w": W}, shape=(1, 4))


def with_wrong_input_size() -> ModelProto:
    return model_of([node("MatMul", "x w", "y")], {"w": W}, shape=("n", 5))


def with_lying_weights() -> ModelProto:
    model = linear()
    model.graph.initializer[0].dims[:] = [4, 400]
    return model


def with_lying_output() -> ModelProto:
    model = model_of([node("MatMul", "x w", "y")], {"w": W[:, :3]})
    info = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    model.graph.output[0].CopyFrom(info)
    return model


def with_another_output() -> ModelProto:
    return model_of([node("MatMul", "x w", "other")], {"w": W}, output="other")


def with_sparse_weights() -> ModelProto:
    model = linear()
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    places = numpy_helper.from_array(np.array([[0, 0]]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 4]))
    model.graph.node[0].input[1] = "sparse"
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (with_fixed_batch(), r"tiny: input 'x' takes 1 rows at a time; expected any number"),
        (with_wrong_input_size(), r"cannot load it|fails on inputs of shape x \(2, 5\)"),
        (with_lying_weights(), r"cannot load it"),
        (with_lying_output(), r"tiny: its graph gives \(2, 3\) for 2 rows; its manifest says"),
        (with_another_output(), r"tiny: its graph has no output 'y'; it has: other"),
        (with_sparse_weights(), r"tiny: has sparse weights|cannot load it"),
    ],
    ids=["fixed batch", "input size", "weights", "output", "name", "sparse"],
)
def test_a_graph_that_is_not_what_it_says_is_refused_in_one_line(
    tmp_path: Path, model: ModelProto, said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        plain_graph(tiny_manifest(tmp_path, model, dim=4))

    assert "\n" not in str(refused.value)


def save_apart(folder: Path, location: str = "weights.bin") -> Path:
    """Save a graph whose weights lie in a file beside it."""
    path = folder / "tiny.onnx"
    onnx.save(linear(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    onnx.save(model, path)
    return path


def test_external_weights_are_read(tmp_path: Path) -> None:
    graph = plain_graph(manifest_of(save_apart(tmp_path), dim=4))

    np.testing.assert_array_equal(stored(graph)["w"], W)


def test_external_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    manifest = manifest_of(save_apart(tmp_path), dim=4)
    (tmp_path / "weights.bin").unlink()

    with pytest.raises(InputError, match=r"weights\.bin") as refused:
        plain_graph(manifest)

    assert "\n" not in str(refused.value)


def test_external_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    manifest = manifest_of(save_apart(tmp_path), dim=4)
    (tmp_path / "weights.bin").write_bytes(b"1234")

    with pytest.raises(InputError, match=r"tiny.onnx: ") as refused:
        plain_graph(manifest)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd"])
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(W.tobytes())

    with pytest.raises(InputError, match=r"(outside its folder|an absolute path); refused$"):
        plain_graph(manifest_of(save_apart(folder, location), dim=4))


def test_weights_of_a_function_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(W, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    model = model_of([], {})
    body = [
        helper.make_node("Constant", [], ["b"], value=tensor),
        helper.make_node("MatMul", ["a", "b"], ["c"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Product", ["a"], ["c"], body, opsets))
    model.graph.node.append(helper.make_node("Product", ["x"], ["y"], domain="own"))
    model.opset_import.append(helper.make_opsetid("own", 1))
    path = tmp_path / "tiny.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(InputError, match=r"'\.\./weights\.bin', outside its folder; refused$"):
        plain_graph(manifest_of(path, dim=4))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    manifest = tiny_manifest(tmp_path, linear(), dim=4)
    manifest.file("graph").unlink()

    with pytest.raises(InputError, match=r"tiny.onnx: not an ONNX graph"):
        plain_graph(manifest)
