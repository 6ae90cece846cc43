"""Write the golden files: items, and their vectors by the original weights."""

from pathlib import Path

import numpy as np

from model_zoo.build import items, reference


def build(sources: dict[str, Path], out: Path) -> None:
    """Write one file for each backbone."""
    out.mkdir(parents=True, exist_ok=True)
    texts = reference.embed_texts(items.TEXTS, sources["minilm-l6"])
    np.savez_compressed(out / "minilm-l6.npz", vectors=texts, items=np.array(items.TEXTS))

    photographs = items.images(sources["photographs"])
    weights = next(sources["efficientnet-lite0"].glob("*.pth"))
    _write_raw(
        out / "efficientnet-lite0.npz", photographs, reference.embed_images(photographs, weights)
    )

    sounds = items.sounds()
    weights = sources["ge2e"] / "pretrained.pt"
    _write_raw(out / "ge2e.npz", sounds, reference.embed_sounds(sounds, weights))


def _write_raw(path: Path, raws: list[bytes], vectors: np.ndarray) -> None:
    arrays = {f"item_{row}": np.frombuffer(raw, np.uint8) for row, raw in enumerate(raws)}
    np.savez(path, vectors=vectors, **arrays)
