"""A folder as ``datasets.Dataset.save_to_disk`` writes it, for ``datasets.load_from_disk``."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from featx.data.files import write_json
from featx.export.vectors.choices import Choices
from featx.export.vectors.place import writing_folder
from featx.export.vectors.table import VectorTable, in_files, with_vectors


def write_hf(out: Path, table: VectorTable, choices: Choices) -> dict[str, Any]:
    """Write rows as a dataset of Hugging Face; the library itself is not needed.

    It consists of Arrow streams, ``dataset_info.json`` with the types of the columns, and
    ``state.json`` with the names of the streams.
    """
    features = _features(table.arrow_schema(choices.dtype))
    told = json.dumps({"info": {"features": features}}).encode()
    schema = table.arrow_schema(choices.dtype, {b"huggingface": told})
    files = in_files(choices.blocks(table), choices.file_blocks(table))
    with writing_folder(out, "hf", table.source) as folder:
        made: list[Path] = []
        for blocks in files:
            made.append(folder / f"{len(made)}.arrow")
            with pa.ipc.new_stream(str(made[-1]), schema) as writer:
                for block in blocks:
                    writer.write_batch(with_vectors(block, schema))
                    pa.default_memory_pool().release_unused()
        names = [f"data-{number:05d}-of-{len(made):05d}.arrow" for number in range(len(made))]
        for path, name in zip(made, names, strict=True):
            path.rename(folder / name)
        texts = dict.fromkeys(("citation", "description", "homepage", "license"), "")
        write_json(folder / "dataset_info.json", {**texts, "features": features})
        write_json(folder / "state.json", _state(names))
    return {}


def _features(schema: pa.Schema) -> dict[str, Any]:
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: Any) -> dict[str, Any]:  # noqa: ANN401
    if pa.types.is_fixed_size_list(kind):
        # ``List`` to version 4 and later, which know this name too.
        return {
            "feature": _feature(kind.value_type),
            "length": kind.list_size,
            "_type": "Sequence",
        }
    names = {"halffloat": "float16", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


def _state(names: list[str]) -> dict[str, Any]:
    return {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": uuid4().hex[:16],  # names what is cached of the dataset
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
