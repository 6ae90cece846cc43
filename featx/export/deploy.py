"""One ONNX file of a head or a gallery and its backbone, compared before it is handed over."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from featx.backbone.backbone import Backbone
from featx.backbone.graphs.graph import Graph
from featx.data.space import Made, space_error
from featx.errors import InputError
from featx.export.answers import emit_answers
from featx.export.body import body, empty_body
from featx.export.comparing import compare
from featx.export.comparison import Comparison, require_equal
from featx.export.emitter import Emitter
from featx.export.exportable import Exportable
from featx.export.facts import Takes
from featx.export.metadata import MOST_DIGESTS, written
from featx.export.onnxfile import EXTERNAL_ABOVE, refuse_strangers, staged, weights_of
from featx.export.preprocessing import put_preprocessing
from featx.export.real import real_items
from featx.modality.content import first_line
from featx.modality.image import ROLE
from featx.types import Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a file is to be made.

    Attributes
    ----------
    head_only : bool
        Whether the backbone is left out: the file takes embeddings.
    precision : {"fp32", "fp16"}
        What weights of the backbone are stored in; either is computed in float32.
    with_preprocessing : bool
        Whether the graph resizes and normalises pictures.
    external_above : int
        Bytes of weights above which they lie in a file beside it.
    """

    head_only: bool = False
    precision: Literal["fp32", "fp16"] = "fp32"
    with_preprocessing: bool = False
    external_above: int = EXTERNAL_ABOVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What was written.

    Attributes
    ----------
    files : tuple of Path
        The file, and one of weights if there is one.
    size_bytes : int
        Of all of them.
    inputs, outputs : tuple of str
        Names in the graph; the first input is all that must be given, but for texts.
    comparison : Comparison
    notes : tuple of str
        What a person should know.
    """

    files: tuple[Path, ...]
    size_bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    comparison: Comparison
    notes: tuple[str, ...]


def deploy(
    path: Path,
    exported: Exportable,
    backbone: Backbone,
    form: Form | None = None,
    *,
    items: Sequence[Content] | None = None,
) -> Deployed:
    """Write an ONNX file that answers as `exported` does, or nothing.

    Parameters
    ----------
    path : Path
        Replaced where it is such a file already.
    exported : Exportable
    backbone : Backbone
        That the embeddings trained on were made by; computes in float32 on the CPU.
    form : Form, optional
    items : sequence of Content, optional
        Real items to compare on, instead of the backbone's golden ones and samples.

    Raises
    ------
    InputError
        If it cannot be exported in this form, or the file would give other answers.
    SpaceError
        If the backbone is another one.
    StoreError
        If something else is at `path`, or it cannot be written.
    """
    form = form or Form()
    takes = takes_of(exported, backbone, form)
    refuse_strangers(path)
    _require_space(exported, backbone)
    graph = build(exported, backbone, form)
    found = real_items(backbone) if items is None else items
    if not found:
        message = f"{exported.where}: items: none to compare on; name some, or leave them out"
        raise InputError(message)
    with staged(path, graph.model, external_above=form.external_above) as temporary:
        _check(temporary, exported.where)
        comparison = compare(temporary, exported, backbone, found, takes)
        is_exact = form.precision == "fp32" and takes != "pixels"
        require_equal(comparison, exported.where, is_exact=is_exact)
    files = (path, *map(path.with_name, weights_of(graph.model)))
    return Deployed(
        files=files,
        size_bytes=sum(each.stat().st_size for each in files),
        inputs=tuple(graph.inputs),
        outputs=tuple(item.name for item in graph.model.graph.output),
        comparison=comparison,
        notes=tuple(_notes(exported)),
    )


def build(exported: Exportable, backbone: Backbone, form: Form) -> Graph:
    """Return the graph of a form, with its metadata."""
    takes, manifest = takes_of(exported, backbone, form), backbone.manifest
    if takes == "embedding":
        graph = empty_body(exported.dim)
    else:
        graph = body(manifest, exported.dim, precision=form.precision)
    emitter = Emitter(graph, "featx/head")
    outputs = emit_answers(emitter, exported)
    emitter.finish()
    own = [] if takes == "embedding" else list(graph.model.graph.output)
    del graph.model.graph.output[:]
    graph.model.graph.output.extend([*outputs, *own])
    if takes == "pixels":
        assert manifest.image is not None
        put_preprocessing(graph, manifest.image, manifest.inputs[ROLE])
    graph.prune()
    inside = None if takes == "embedding" else manifest
    facts = written(exported, inside, takes=takes, precision=form.precision)
    onnx.helper.set_model_props(graph.model, facts)
    graph.model.producer_name, graph.model.producer_version = "featx", facts["featx"]
    graph.model.graph.name = "featx"
    return graph


def takes_of(exported: Exportable, backbone: Backbone, form: Form) -> Takes:
    """Return what the file of a form takes.

    Raises
    ------
    InputError
        If the form makes no sense for what is exported.
    """
    manifest = backbone.manifest
    has_graph = "graph" in manifest.files
    if form.with_preprocessing and (manifest.image is None or form.head_only):
        what = "the head alone" if form.head_only else f"modality {manifest.modality!r}"
        message = f"{exported.where}: preprocessing in the graph is for images, not for {what}"
        raise InputError(message)
    if form.precision == "fp16" and (form.head_only or not has_graph):
        message = (
            f"{exported.where}: fp16 is for weights of a backbone, and there is none in the file; "
            "leave out --precision"
        )
        raise InputError(message)
    if form.head_only or not has_graph:
        return "embedding"
    return "pixels" if form.with_preprocessing else "inputs"


def _require_space(exported: Exportable, backbone: Backbone) -> None:
    wanted, found = Made.of(exported.header), Made.of(backbone.facts)
    if found.space != wanted.space:
        raise space_error(backbone.manifest.name, found, f"{exported.where} is of", wanted)


def _check(path: Path, where: str) -> None:
    """Raise if ONNX's own checker finds the file wrong."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as cause:  # the checker is C++, and its errors have no common base
        message = f"{where}: not written: ONNX's checker says: {first_line(cause)}"
        raise InputError(message) from cause


def _notes(exported: Exportable) -> list[str]:
    digests = exported.arrays.get("trained_digests")
    if digests is None or len(digests) <= MOST_DIGESTS:
        return []
    return [
        f"the file does not list the {len(digests):,} items trained on, so featx evaluate cannot "
        "leave them out"
    ]
