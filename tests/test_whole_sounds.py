"""Backbones that take sounds of any length: none is padded, so none depends on its company."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from featx.backbone.backbone import Backbone, bucketed
from featx.backbone.settings import Settings
from featx.backbone.window import Limits
from featx.fingerprint import file_sha256
from featx.zoo.manifest import AudioOptions, FileEntry, Manifest

OPTIONS = AudioOptions(
    sample_rate_hz=8000,
    window_frames=10,
    window_step_frames=10,
    features="waveform",
    window_length="fit",
)


def backbone(folder: Path, options: AudioOptions = OPTIONS) -> Backbone:
    """Give mean and largest sample of each window, which padding would change."""
    path = folder / "sums.onnx"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "samples"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("ReduceMax", ["x"], ["max"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["mean", "max"], ["y"], axis=1),
    ]
    graph = helper.make_graph(nodes, "sums", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    entry = FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
    manifest = Manifest(
        schema=1,
        name="sums",
        modality="audio",
        summary="",
        license="",
        source="",
        weights="sums",
        dim=2,
        pooling="none",
        normalize=False,
        files={"graph": entry},
        inputs={"windows": "x"},
        outputs={"embedding": "y"},
        audio=options,
        folder=folder,
    )
    return Backbone(manifest, Settings(device="cpu", threads=1))


def sounds() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    lengths = (700, 1500, 1600, 3201, 900)
    return [rng.uniform(-1, 0.5, length).astype(np.float32) for length in lengths]


def oracle(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    count = -(-len(sound) // 1600)
    length = len(sound) // count
    windows = sound[: count * length].reshape(count, length)
    rows = np.stack([windows.mean(axis=1), windows.max(axis=1)], axis=1)
    return np.asarray(rows.mean(axis=0))


def test_sounds_of_all_lengths_are_encoded_as_they_are(tmp_path: Path) -> None:
    items = sounds()

    X = backbone(tmp_path).encode(items)

    np.testing.assert_allclose(X, [oracle(sound) for sound in items], atol=1e-6)


def test_only_sounds_of_windows_of_one_length_share_a_batch(tmp_path: Path) -> None:
    fixed = replace(OPTIONS, window_length="fixed")

    assert backbone(tmp_path).limits == Limits(budget=1, parts=1)
    assert backbone(tmp_path, fixed).limits == Limits(budget=32, parts=32)


def test_texts_are_padded_for_a_gpu_no_further_than_the_backbone_has_positions() -> None:
    tokens = {"token_ids": np.ones((2, 70), dtype=np.int64)}

    lengths = [bucketed(tokens, longest)["token_ids"].shape[1] for longest in (None, 77, 512, 70)]

    assert lengths == [80, 77, 80, 70]
