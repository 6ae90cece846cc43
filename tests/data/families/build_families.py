"""Write small models of each family as the hub lays them out, and the vectors torch makes.

``python tests/data/families/build_families.py [NAME ...]``, in an environment with this folder's
requirements.  For each family it writes a folder with

- ``onnx/model.onnx`` and ``onnx/model_dynamo.onnx``, by both of torch's exporters (of a tower of
  a pair ``text_model`` or ``vision_model``),
- what describes the model: its own configuration, tokenizer and processor,
- ``model.safetensors`` of a model of sentences, for sentence-transformers, and
- ``reference.npz``: items, and their vectors by transformers, timm and torch.
"""

# Of another environment:
# mypy: ignore-errors

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
PROCESSORS = HERE.parent / "processors"

EXPORTERS = {
    "": {"dynamo": False, "opset_version": 17},
    "_dynamo": {"dynamo": True, "opset_version": 20, "external_data": False, "optimize": True},
}
"""What the file's name ends with → how it is exported."""


def main() -> None:
    """Write the folders of the families that are named, or all."""
    define_operators()
    sys.path[:0] = [str(HERE.parents[1]), str(PROCESSORS)]
    from families import FAMILIES

    for name in sys.argv[1:] or FAMILIES:
        build(name)


def define_operators() -> None:
    """Let torchvision be imported if its operators need CUDA; see ``../processors/build.py``."""
    spec = importlib.util.spec_from_file_location("processors_build", PROCESSORS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.define_operators()
    sys.modules[spec.name] = module  # keeps the definitions


def build(name: str) -> None:
    """Write the folder of one family."""
    import references
    import tokens
    from families import FAMILIES, One, network

    family, folder = FAMILIES[name], HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "onnx").mkdir(parents=True)
    tokenizer = None
    if family.tokenizer:
        tokenizer = tokens.FAMILIES[family.tokenizer]()
        tokenizer.save_pretrained(folder)
    model = network(name, len(tokenizer) if tokenizer else 0)
    if "modules.json" in family.files:
        model.save_pretrained(folder)  # with its weights, for sentence-transformers
    elif hasattr(model, "config"):
        model.config.save_pretrained(folder)
    for file, content in family.files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(content, indent=1) + "\n")
    one = One(model, family.takes, family.output).eval()
    arrays = references.write(folder / "reference.npz", family, one, tokenizer)
    for suffix in EXPORTERS:
        export(one, arrays, family, folder / "onnx" / f"{family.graph}{suffix}.onnx", suffix)


def export(
    one: nn.Module, arrays: tuple[Tensor, ...], family: object, path: Path, suffix: str
) -> None:
    """Write an ONNX file with a dynamic batch, and length of texts and sounds."""
    options = dict(EXPORTERS[suffix])
    axes = {0: "batch"} if "pixel_values" in family.takes else {0: "batch", 1: "length"}
    if options["dynamo"]:
        options["dynamic_shapes"] = (
            tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for _ in arrays),
        )
    else:
        given = dict.fromkeys(family.takes, axes)
        options["dynamic_axes"] = given | {
            family.output: axes if family.pooling != "none" else {0: "batch"}
        }
    torch.onnx.export(
        one,
        arrays,
        path,
        input_names=list(family.takes),
        output_names=[family.output],
        verbose=False,
        **options,
    )
    model = onnx.load(path)
    forget_origins(model)
    onnx.save(model, path)


def forget_origins(model: onnx.ModelProto) -> None:
    """Drop the stack traces and paths that the exporter notes at each node."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]


if __name__ == "__main__":
    main()
