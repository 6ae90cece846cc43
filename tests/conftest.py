"""Fixtures that several files of tests share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.fingerprint import file_sha256
from featx.types import Vectors
from featx.zoo.manifest import ArrayOptions, FileEntry, Manifest
from objectstore import bucket, object_store, proxy
from postgres import keeper, postgres
from serving import (
    image_gallery,
    image_set,
    served_folder,
    sound_gallery,
    text_backbone,
    text_gallery,
    text_head,
    text_set,
    vector_gallery,
    vector_head,
    vector_set,
)
from visiting import chromium, mails, pictures, visit

__all__ = [
    "bucket",
    "chromium",
    "image_gallery",
    "image_set",
    "keeper",
    "mails",
    "object_store",
    "pictures",
    "postgres",
    "proxy",
    "served_folder",
    "sound_gallery",
    "text_backbone",
    "text_gallery",
    "text_head",
    "text_set",
    "vector_gallery",
    "vector_head",
    "vector_set",
    "visit",
]

LinearBackbone = Callable[[Vectors], Backbone]


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give a file of tests a cache of its own, and the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATX_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("FEATX_DEVICE", "cpu")
        yield


@pytest.fixture
def user_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test a zoo of the user and a cache of its own, and the CPU."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FEATX_DEVICE", "cpu")
    monkeypatch.delenv("FEATX_ZOO", raising=False)
    return tmp_path / "data" / "featx" / "zoo"


@pytest.fixture
def linear_backbone(tmp_path: Path) -> LinearBackbone:
    """Give a maker of backbones whose graph is ``x @ W``."""

    def make(W: Vectors) -> Backbone:
        rows, dim = W.shape
        path = tmp_path / "zoo" / "linear.onnx"
        path.parent.mkdir(exist_ok=True)
        _save_linear(path, W)
        entry = FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
        manifest = Manifest(
            schema=1,
            name="linear",
            modality="array",
            summary="a linear map",
            license="none",
            source="a test",
            weights="linear",
            dim=dim,
            pooling="none",
            normalize=False,
            files={"graph": entry},
            inputs={"array": "x"},
            outputs={"embedding": "y"},
            array=ArrayOptions(shape=(rows,)),
            folder=path.parent,
        )
        return Backbone(manifest, Settings(device="cpu", threads=1))

    return make


def _save_linear(path: Path, W: Vectors) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", W.shape[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", W.shape[1]])
    weights = numpy_helper.from_array(np.ascontiguousarray(W), "W")
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    graph = helper.make_graph([node], "linear", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
