"""Write the references of ``test_processors.py``: what transformers, timm and torch make of items.

``python tests/data/processors/build.py``, in an environment with this folder's requirements.
"""

# Of another environment:
# mypy: ignore-errors

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


def main() -> None:
    """Write every file."""
    define_operators()
    sys.path.insert(0, str(HERE.parents[1]))
    import images
    import sounds
    import tokens

    np.savez_compressed(HERE / "images.npz", **images.references())
    np.savez_compressed(HERE / "sounds.npz", **sounds.references())
    np.savez_compressed(HERE / "tokens.npz", **tokens.references(HERE / "tokenizers"))


def define_operators() -> None:
    """Let torchvision be imported if its operators need CUDA: no transform uses them."""
    library = Path(importlib.util.find_spec("torchvision").origin).parent / "_C.so"
    try:
        torch.ops.load_library(library)
    except OSError:
        operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(operators)


KEPT: list[torch.library.Library] = []
"""A library that is dropped takes its definitions with it."""


if __name__ == "__main__":
    main()
