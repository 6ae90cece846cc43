"""The ONNX file of ``featx export``: from what it is made, and what is said of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.export.deploy import Deployed, Form
    from featx.export.exportable import Exportable
    from featx.types import Content

MOST_ITEMS = 32


def deploy(
    source: Path, out: Path, form: "Form", items: Sequence[str], *, script: bool, as_json: bool
) -> None:
    """Write the ONNX file of a head or a gallery, and say what was found.

    Parameters
    ----------
    source, out : Path
    form : Form
    items : sequence of str
        What to compare on, as `featx embed` takes it; the backbone's own items if there are none.
    script : bool
        Whether to print an example script, and all else on stderr.
    as_json : bool
    """
    from featx.data.opening import open_backbone_of
    from featx.export.deploy import deploy as write
    from featx.export.deploy import takes_of
    from featx.export.script import script as script_of

    exported = _opened(source)
    settings = o.settings(o.cache_place(), device="cpu")
    backbone = open_backbone_of(exported.header, exported.dim, settings, beside=source, say=o.say)
    takes = takes_of(exported, backbone, form)
    told = script_of(out, backbone, takes=takes, task=exported.task) if script else ""
    found = write(out, exported, backbone, form, items=_contents(items, backbone))
    for note in found.notes:
        o.say(f"note: {note}")
    if as_json:
        o.print_json(_facts(out, form, found) | ({"script": told} if script else {}))
        return
    for line in _lines(out, exported, form, found):
        click.echo(line, err=script)
    click.echo(told, nl=False)


def _opened(source: Path) -> "Exportable":
    """Return what a head or a gallery says."""
    from featx.errors import InputError
    from featx.export.exportable import of_gallery, of_head
    from featx.heads.headfile import load_head

    if source.suffix == ".onnx":
        message = f"{source}: is exported already; name the head or gallery that it was made of"
        raise InputError(message)
    if source.suffix != ".knn" and not (source / "gallery.json").is_file():
        return of_head(load_head(source), str(source))
    from featx.gallery.gallery import Gallery

    with Gallery.open(source) as gallery:
        return of_gallery(gallery.snapshot, str(source))


def _contents(named: Sequence[str], backbone: "Backbone") -> "list[Content] | None":
    """Return the first items that can be read of those named; None where none is named."""
    from featx.cli.named import NamedItems
    from featx.errors import InputError, ItemError

    if not named:
        return None
    found: list[Content] = []
    for item in NamedItems(named, backbone.manifest.modality):
        if len(found) == MOST_ITEMS:
            break
        try:
            if not item.problem:
                backbone.load(backbone.read(item.content))
                found.append(item.content)
        except ItemError as error:
            o.say(f"skipped {item.id}: {error}")
    if not found:
        message = f"--items {named[0]}: none can be read; name others, or leave it out"
        raise InputError(message)
    return found


def _facts(out: Path, form: "Form", found: "Deployed") -> dict[str, Any]:
    compared = found.comparison
    return {
        "out": str(out),
        "format": "onnx",
        "files": [str(path) for path in found.files],
        "size_bytes": found.size_bytes,
        "precision": form.precision,
        "inputs": list(found.inputs),
        "outputs": list(found.outputs),
        "items": compared.items,
        "difference": compared.difference,
        "embedding_difference": compared.vectors,
        "other_labels": compared.labels,
        "other_novelty": compared.novel,
        "other_levels": compared.levels,
        "notes": list(found.notes),
    }


def _lines(out: Path, exported: "Exportable", form: "Form", found: "Deployed") -> list[str]:
    compared = found.comparison
    names = {"classify": "classes", "multilabel": "tags", "regress": "values"}[exported.task]
    what = "values" if exported.task == "regress" else "probabilities"
    model = exported.header["model"]
    vectors = f", embeddings by {compared.vectors:.1e}" if compared.vectors else ""
    lines = [
        f"{out}: {exported.kind} of {len(exported.classes)} {names} on {model}, {form.precision}, "
        f"{found.size_bytes / 1e6:.1f} MB; takes {', '.join(found.inputs)}, "
        f"gives {', '.join(found.outputs)}",
        f"compared with Python on {compared.items} items: {what} differ by "
        f"{compared.difference:.1e} at most" + vectors,
    ]
    if compared.levels is not None:
        lines.append(f"resized in the graph: pixels differ by {compared.levels:g} of 255 at most")
    if compared.novel:
        lines.append(f"{compared.novel} items at the threshold are novel to one and not the other")
    return lines
