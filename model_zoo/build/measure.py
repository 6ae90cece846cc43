"""Speed and fidelity of the graphs on one thread: ``python -m model_zoo.build.measure``.

Also compares ways to store MiniLM's weights (docs/decisions/0002-minilm-storage.md) when
``--work`` names the folder that the build fetched its sources into.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from tokenizers import Tokenizer

from model_zoo.build import items, minilm, reference
from model_zoo.build.fetch import fetch
from model_zoo.build.graph import matrices, prepend, replace, scales, store_int16, write

ZOO = Path(__file__).parents[1]
BATCH = 8
ROUNDS = 5
INT8_LARGEST = 127


def session(path: Path) -> onnxruntime.InferenceSession:
    """Open a graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def items_per_cpu_s(graph: onnxruntime.InferenceSession, feed: dict[str, np.ndarray]) -> float:
    """Return the best of a few rounds."""
    graph.run(None, feed)
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        graph.run(None, feed)
        seconds.append(time.process_time() - start)
    return len(next(iter(feed.values()))) / min(seconds)


def cosines(found: np.ndarray, expected: np.ndarray) -> str:
    """Return the mean and the lowest cosine of rows, as a phrase."""
    rows = (reference.unit(found.astype(float)) * reference.unit(expected.astype(float))).sum(1)
    return f"1 - cosine mean {1 - rows.mean():.2e}, max {1 - rows.min():.2e}"


def embed_texts(graph: onnxruntime.InferenceSession, texts: list[str]) -> np.ndarray:
    """Run one padded batch and pool it."""
    tokenizer = Tokenizer.from_file(str(ZOO / "minilm-l6" / "tokenizer.json"))
    tokenizer.enable_truncation(reference.MAX_TOKENS)
    tokenizer.enable_padding()
    rows = tokenizer.encode_batch(texts)
    mask = np.array([row.attention_mask for row in rows])
    feed = {"input_ids": np.array([row.ids for row in rows]), "attention_mask": mask}
    tokens = graph.run(None, feed)[0]
    return reference.unit((tokens * mask[..., None]).sum(1) / mask.sum(1, keepdims=True))


def text_feed(length: int) -> dict[str, np.ndarray]:
    """Return a batch of random tokens."""
    ids = np.random.default_rng(0).integers(1000, 30000, (BATCH, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def store_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store matrices as float16, each followed by a Cast."""
    nodes = []
    for tensor in matrices(model):
        name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        stored = replace(model, tensor, {"float16": half})
        nodes.append(helper.make_node("Cast", stored, [name], to=onnx.TensorProto.FLOAT))
    return prepend(model, nodes)


def store_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store matrices as int8, each followed by a DequantizeLinear, which is not folded."""
    nodes = []
    for tensor in matrices(model):
        name, scale = tensor.name, scales(tensor, model, INT8_LARGEST)
        whole = np.rint(numpy_helper.to_array(tensor) / scale).astype(np.int8)
        stored = replace(model, tensor, {"int8": whole, "scale": scale.ravel()})
        axis = int(scale.shape[0] == 1)
        nodes.append(helper.make_node("DequantizeLinear", stored, [name], axis=axis))
    return prepend(model, nodes)


STORES = {"float16": store_float16, "int16": store_int16, "int8": store_int8}


def compare_storage(sources: dict[str, Path]) -> None:
    """Print size, load time, speed and fidelity of MiniLM's weights in four forms."""
    expected = np.load(ZOO / "golden" / "minilm-l6.npz")["vectors"]
    texts = [*items.TEXTS, *((items.LONG * 3)[start : start + 200] for start in range(0, 280, 3))]
    whole = minilm.export_fp32(sources["minilm-l6"])
    with tempfile.TemporaryDirectory() as temporary:
        paths = {"float32": write(whole, Path(temporary) / "float32.onnx")}
        for name, store in STORES.items():
            model = store(onnx.load(paths["float32"]))
            paths[name] = write(model, Path(temporary) / f"{name}.onnx")
        exact = embed_texts(session(paths["float32"]), texts)
        for name, path in paths.items():
            start = time.process_time()
            graph = session(path)
            load_s = time.process_time() - start
            vectors = embed_texts(graph, texts)
            print(f"{name}: {path.stat().st_size} bytes, loads in {load_s:.2f} CPU s")
            print("  to float32:", cosines(vectors, exact))
            print("  to golden:", cosines(vectors[: len(expected)], expected))
            for length in (16, 64, 256):
                print(f"  {length} tokens: {items_per_cpu_s(graph, text_feed(length)):.1f} a CPU s")


def measure_texts() -> None:
    """Print fidelity and speed of MiniLM's graphs."""
    names = {"minilm-l6": "model", "minilm-l6-layers": "layers"}
    graphs = {each: session(ZOO / "minilm-l6" / f"{file}.onnx") for each, file in names.items()}
    for name, graph in graphs.items():
        expected = np.load(ZOO / "golden" / f"{name}.npz")["vectors"]
        print(f"{name}:", cosines(embed_texts(graph, items.TEXTS), expected))
    for length in (16, 64, 256):
        for name, graph in graphs.items():
            speed = items_per_cpu_s(graph, text_feed(length))
            print(f"  {name}: {length} tokens: {speed:.1f} a CPU s")


def measure_images() -> None:
    """Print fidelity and speed of EfficientNet's graphs."""
    names = {"efficientnet-lite0": "model", "efficientnet-lite0-layers": "layers"}
    for name, file in names.items():
        graph = session(ZOO / "efficientnet-lite0" / f"{file}.onnx")
        golden = np.load(ZOO / "golden" / f"{name}.npz")
        raws = [golden[f"item_{row}"].tobytes() for row in range(len(golden["vectors"]))]
        pixels = np.stack([reference.crop(reference.to_rgb(raw)) for raw in raws])
        scaled = (pixels.astype(np.float32) - 127) / 128
        feed = {"image": np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))}
        vectors, logits = graph.run(None, feed)
        print(f"{name}:", cosines(vectors, golden["vectors"]))
        print("  classes:", logits.argmax(axis=1).tolist())
        feed = {"image": feed["image"][:BATCH]}
        print(f"  {items_per_cpu_s(graph, feed):.1f} images a CPU s")


def measure_sounds() -> None:
    """Print fidelity and speed of GE2E's graph."""
    voice = session(ZOO / "ge2e" / "model.onnx")
    golden = np.load(ZOO / "golden" / "ge2e.npz")
    rows = []
    for row in range(len(golden["vectors"])):
        mel = reference.windows(golden[f"item_{row}"].tobytes())
        rows.append(reference.unit(voice.run(None, {"mel": mel})[0]).mean(axis=0))
    print("ge2e:", cosines(np.stack(rows), golden["vectors"]))
    feed = {"mel": np.repeat(mel[:1], BATCH, axis=0)}
    print(f"  {items_per_cpu_s(voice, feed):.1f} windows of 1.6 s a CPU s")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    if options.work:
        compare_storage(fetch(options.work))
    measure_texts()
    measure_images()
    measure_sounds()


if __name__ == "__main__":
    main()
