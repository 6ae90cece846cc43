"""An example script for an exported file: it needs onnxruntime and numpy, and nothing of featx.

Texts need tokenizers too, pictures Pillow.  What a script does is what the backbone's manifest
says, and no more: nothing is checked, and no file that is hard to read is mended.
"""

from collections.abc import Callable
from pathlib import Path
from string import Template

from featx.backbone.backbone import TAKEN, Backbone
from featx.errors import InputError
from featx.export.facts import Takes
from featx.export.script_images import image_parts, pixel_parts
from featx.export.script_parts import Parts
from featx.export.script_sounds import sound_parts
from featx.modality.text import Text
from featx.types import Task


def script(path: Path, backbone: Backbone, *, takes: Takes, task: Task) -> str:
    """Return the text of a script that asks the file at `path` of what its command line names.

    Parameters
    ----------
    path : Path
    backbone : Backbone
        That of the file.
    takes : {"embedding", "inputs", "pixels"}
    task : {"classify", "multilabel", "regress"}

    Raises
    ------
    InputError
        If what the backbone is fed with takes more than a few lines.
    """
    kind = takes if takes != "inputs" else backbone.manifest.modality
    if kind not in _LOADERS:
        message = f"{backbone.manifest.name}: no example script for modality {kind!r}"
        raise InputError(message)
    parts = _LOADERS[kind](backbone)
    return _FRAME.substitute(
        name=path.name,
        path=repr(str(path)),
        needs=parts.needs,
        items=parts.items,
        standard="\n".join(sorted(["import sys", *filter(None, [parts.standard])])),
        imports=f"{parts.imports}\n" if parts.imports else "",
        load=parts.load.strip("\n"),
        answers=_ANSWERS[task],
    )


_FRAME = Template('''\
"""Ask $name, which `featx export` wrote; needs onnxruntime, numpy$needs.

    python SCRIPT.py $items...
"""

$standard

import numpy as np
import onnxruntime
$imports

$load


session = onnxruntime.InferenceSession($path, providers=["CPUExecutionProvider"])
for name in sys.argv[1:]:
    given = session.run(None, load(name))
    answer = dict(zip([output.name for output in session.get_outputs()], given))
$answers
''')

_ANSWERS: dict[Task, str] = {
    "classify": """\
    probability = answer["probabilities"].max()
    print(name, answer["label"][0], f"{probability:.4f}", sep="\\t")""",
    "multilabel": '    print(name, "|".join(filter(None, answer["label"][0])), sep="\\t")',
    "regress": '    print(name, *(f"{value:.6g}" for value in answer["values"][0]), sep="\\t")',
}


def _vectors(_: Backbone) -> Parts:
    return Parts(items="EMBEDDING.npy", load=_LOAD_ARRAY.format(name="embedding", shape="(1, -1)"))


def _arrays(backbone: Backbone) -> Parts:
    (name,) = backbone.manifest.inputs.values()
    shape = (1, *(backbone.manifest.array.shape if backbone.manifest.array else ()))
    return Parts(items="ARRAY.npy", load=_LOAD_ARRAY.format(name=name, shape=shape))


_LOAD_ARRAY = """
def load(path):
    return {{{name!r}: np.load(path).astype(np.float32).reshape({shape})}}
"""

_VALUES = {
    "token_ids": "found.ids",
    "attention_mask": "found.attention_mask",
    "token_type_ids": "np.zeros_like(found.ids)",
}


def _texts(backbone: Backbone) -> Parts:
    manifest, text = backbone.manifest, backbone.modality
    assert isinstance(text, Text)
    settings = ["no_truncation()", "no_padding()"]
    if manifest.max_length is not None:
        side = "right" if text.options.truncation == "end" else "left"
        settings[0] = f"enable_truncation({manifest.max_length}, direction={side!r})"
    if text.options.padding == "max_length":
        padding = f"length={manifest.max_length}, pad_id={text.tokenizer.pad_id}"
        settings[1] = f"enable_padding({padding})"
    named = str(backbone.facts["prompt"])
    feeds = (
        f"        {name!r}: np.array([{_VALUES[role]}], dtype=np.{_number(backbone, name)}),"
        for role, name in manifest.inputs.items()
    )
    load = _LOAD_TEXT.substitute(
        settings="\n".join(f"    tokenizer.{each}" for each in settings),
        prompt=f"{manifest.prompts[named]!r} + " if named else "",
        feeds="\n".join(feeds),
    )
    imports = "from tokenizers import Tokenizer"
    return Parts(items="TEXT", needs=" and tokenizers", imports=imports, load=load)


def _number(backbone: Backbone, name: str) -> str:
    """Return the type of numbers that an input takes."""
    assert backbone.session is not None
    return TAKEN[backbone.session.inputs[name]].__name__


_LOAD_TEXT = Template("""
def load(text):
    facts = session.get_modelmeta().custom_metadata_map
    tokenizer = Tokenizer.from_str(facts["tokenizer"])
$settings
    found = tokenizer.encode(${prompt}text)
    return {
$feeds
    }
""")

_LOADERS: dict[str, Callable[[Backbone], Parts]] = {
    "embedding": _vectors,
    "pixels": pixel_parts,
    "array": _arrays,
    "audio": sound_parts,
    "image": image_parts,
    "text": _texts,
}
