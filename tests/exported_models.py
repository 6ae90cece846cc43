"""The small networks of ``tests/data/exported`` as backbones."""

from pathlib import Path

from featx.fingerprint import file_sha256
from featx.zoo.manifest import FileEntry, ImageOptions, Manifest

FOLDER = Path(__file__).parent / "data" / "exported"

NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))

DIMS = {
    "bert": 32,
    "bottleneck": 32,
    "convnext": 32,
    "efficientnet": 320,
    "mobilenet": 32,
    "resnet": 24,
    "vit": 32,
}

TEXT_INPUTS = {
    "token_ids": "input_ids",
    "attention_mask": "attention_mask",
    "token_type_ids": "token_type_ids",
}


def exported_manifest(name: str, *, folder: Path = FOLDER, graph: str = "") -> Manifest:
    """Return a manifest for one of the files, or for a graph made from it in another folder."""
    network = name.partition("_")[0]
    path = folder / (graph or f"{name}.onnx")
    is_text, is_tokens = network == "bert", network in {"bert", "vit"}
    return Manifest(
        schema=1,
        name=name,
        modality="text" if is_text else "image",
        summary="a small network",
        license="none",
        source="a test",
        weights=f"test/{network}",
        dim=DIMS[network],
        pooling="mean" if is_text else "cls" if is_tokens else "none",
        normalize=is_text,
        max_length=32 if is_text else None,
        files={
            "graph": FileEntry(
                path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size
            )
        },
        inputs=TEXT_INPUTS if is_text else {"image": "pixels"},
        outputs={"tokens" if is_tokens else "embedding": "output"},
        image=None if is_text else ImageOptions(size=(32, 32), mean=(0.0,), std=(1.0,)),
        folder=folder,
    )
