"""A toy model of three layers with arrays for it, and short texts for a real one."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from bench import corpora
from bench.support.places import CORPORA, RUNS
from featx.fingerprint import file_sha256
from featx.zoo.manifest import ArrayOptions, FileEntry, Manifest
from featx.zoo.writing import write_manifest

WIDTHS = (256, 1536, 1536, 384)
MOST_WORDS = 12


def model() -> Path:
    """Return the manifest of a backbone of arrays: two hidden layers of 1536."""
    folder = RUNS / "scale" / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / "toy.onnx"
    if not graph.is_file():
        _save(graph)
    entry = FileEntry(path=graph.name, sha256=file_sha256(graph), size_bytes=graph.stat().st_size)
    manifest = Manifest(
        schema=1,
        name="toy",
        modality="array",
        summary="three layers",
        license="CC0-1.0",
        source="a bench",
        weights="bench/toy",
        dim=WIDTHS[-1],
        pooling="none",
        normalize=True,
        files={"graph": entry},
        inputs={"array": "x"},
        outputs={"embedding": "y2"},
        array=ArrayOptions(shape=(WIDTHS[0],)),
    )
    write_manifest(folder / "toy.toml", manifest)
    return folder / "toy.toml"


def _save(path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for number, (rows, columns) in enumerate(pairwise(WIDTHS)):
        W = (rng.standard_normal((rows, columns)) / np.sqrt(rows / 2)).astype(np.float32)
        weights.append(numpy_helper.from_array(W, f"W{number}"))
        nodes.append(helper.make_node("MatMul", [name, f"W{number}"], [f"z{number}"]))
        is_last = number == len(WIDTHS) - 2
        operator = "Identity" if is_last else "Relu"
        nodes.append(helper.make_node(operator, [f"z{number}"], [f"y{number}"]))
        name = f"y{number}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTHS[0]])
    y = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", WIDTHS[-1]])
    graph = helper.make_graph(nodes, "toy", [x], [y], weights)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def arrays(count: int) -> Path:
    """Return a ``.npy`` file of rows for the toy model."""
    path = CORPORA / f"arrays-{count}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(1).standard_normal((count, WIDTHS[0]), np.float32))
    return path


def short_texts(count: int) -> Path:
    """Return a JSONL file of texts of at most 12 words, all different."""
    path = CORPORA / f"short-{count}.jsonl"
    if not path.is_file():
        long = corpora.snippets(count, np.random.default_rng(corpora.SEED))
        rows = (
            {"id": f"s{number:05}", "text": f"{number} {' '.join(text.split()[:MOST_WORDS])}"}
            for number, text in enumerate(long)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
