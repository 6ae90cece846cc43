"""Pairs of small towers laid out as on the hub, and pictures for them."""

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from command_line import done

FAMILIES = Path(__file__).parent / "data" / "families"

FLAGS = {
    "clip": ("--normalize",),
    "siglip": ("--normalize", "--output", "embedding=pooler_output"),
}
"""Kind of pair → what its files do not state."""

COLOURS = {"red": (250, 20, 20), "blue": (20, 20, 250)}


def pair_folder(folder: Path, kind: str) -> Path:
    """Lay out both towers of a pair in one folder, with one config, as on the hub."""
    (folder / "onnx").mkdir(parents=True)
    for tower in ("text", "vision"):
        graph = f"onnx/{tower}_model.onnx"
        shutil.copyfile(FAMILIES / f"{kind}-{tower}" / graph, folder / graph)
    for path in (FAMILIES / f"{kind}-text").glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    inner = {
        f"{tower}_config": json.loads((FAMILIES / f"{kind}-{tower}" / "config.json").read_text())
        for tower in ("text", "vision")
    }
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **inner}))
    return folder


def add_pair(folder: Path, kind: str = "clip", *flags: object) -> str:
    """Add a pair of this kind, called after it, and return what is printed."""
    return done("models", "add", pair_folder(folder, kind), "--name", kind, *FLAGS[kind], *flags)


def pictures_in(folder: Path, *, each: int = 2) -> Path:
    """Write noisy pictures of each colour into a folder of its name."""
    rng = np.random.default_rng(3)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            noise = rng.integers(-20, 20, (18, 24, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
