"""Write the golden files: items, and their vectors by the original weights."""

from pathlib import Path

import numpy as np

from model_zoo.build import items, layers, reference


def build(sources: dict[str, Path], out: Path) -> None:
    """Write one file for each backbone."""
    out.mkdir(parents=True, exist_ok=True)
    both = (layers.MIDDLE, layers.LAST)
    for name, of in {"minilm-l6": both[1:], "minilm-l6-layers": both}.items():
        texts = reference.embed_texts(items.TEXTS, sources["minilm-l6"], layers=of)
        np.savez_compressed(out / f"{name}.npz", vectors=texts, items=np.array(items.TEXTS))

    photographs = items.images(sources["photographs"])
    weights = next(sources["efficientnet-lite0"].glob("*.pth"))
    for name, stages in {
        "efficientnet-lite0": (),
        "efficientnet-lite0-layers": layers.STAGES,
    }.items():
        vectors = reference.embed_images(photographs, weights, stages=stages)
        _write_raw(out / f"{name}.npz", photographs, vectors)

    sounds = items.sounds()
    weights = sources["ge2e"] / "pretrained.pt"
    _write_raw(out / "ge2e.npz", sounds, reference.embed_sounds(sounds, weights))


def _write_raw(path: Path, raws: list[bytes], vectors: np.ndarray) -> None:
    arrays = {f"item_{row}": np.frombuffer(raw, np.uint8) for row, raw in enumerate(raws)}
    np.savez(path, vectors=vectors, **arrays)
