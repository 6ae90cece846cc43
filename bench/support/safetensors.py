"""Write a safetensors file: eight bytes of length, a JSON header, the raw arrays."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write(tensors: dict[str, NDArray[np.float32]], path: Path) -> None:
    """Write float32 arrays by name."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in tensors.items():
        begin, end = end, end + array.size * 4
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array, dtype="<f4").tobytes())
