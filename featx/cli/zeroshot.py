"""``featx zeroshot``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import ItemOrSet

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.backbone.settings import Settings
    from featx.heads.predict import Head

SHOWN_NAMES = 5


@click.command()
@click.argument("target", metavar="SET|GALLERY|MODEL", type=ItemOrSet())
@click.option(
    "-o", "--out", required=True, type=LocalPath(path_type=Path), help="Head to write: X.head."
)
@click.option("--class", "names", multiple=True, metavar="NAME", help="Name of a class.")
@click.option(
    "--classes",
    type=LocalPath(path_type=Path, exists=True, dir_okay=False),
    help="File with the name of a class a line.",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    default=("{}",),
    show_default=True,
    help="Text with {} where the name goes; of several the vectors are averaged.",
)
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    help="What cosines are multiplied with.  [default: what the pair states, else 100]",
)
@o.device_option
@o.threads_option
@o.json_option
@o.quiet_option
def zeroshot(
    target: str,
    out: Path,
    names: tuple[str, ...],
    classes: Path | None,
    templates: tuple[str, ...],
    scale: float | None,
    device: str,
    threads: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a head from the names of classes alone.

    The names become vectors of the space that the items lie in: by the text tower of a pair such
    as CLIP, or, of texts, by the model itself.  Without --class and --classes they are the labels
    of the set or gallery, which nothing else is taken from.

    The head is used as one of `featx train`; how good it is `featx evaluate` says.  Probabilities
    are relative: they add up to 1 over the classes that are named, even where none of them fits.
    """
    from featx.cli.train import require_place
    from featx.heads.headfile import refuse_strangers, save_head
    from featx.heads.zeroshot import zero_shot

    require_place(out)
    refuse_strangers(out)
    settings = o.settings(o.cache_place(), device=device, threads=threads)
    backbone, labels = _opened(target, settings)
    given = [*names, *([] if classes is None else _lines(classes))]
    made = zero_shot(
        backbone, given or _required(labels, target), templates=templates, scale=scale, say=o.say
    )
    save_head(out, made)
    if not quiet:
        for warning in made.header["warnings"]:
            o.say(f"note: {warning}")
    _show(made, out, as_json=as_json)


def _opened(target: str, settings: "Settings") -> "tuple[Backbone, list[str]]":
    """Return the backbone of a set, a gallery or a name, and the labels of what is not empty."""
    from featx.cli.queries import is_set
    from featx.gallery.gallery import Gallery

    path = Path(target)
    if is_set([target]):
        opened = o.open_set(path)
        labels = sorted({str(label) for label in opened.y if label is not None})
        facts = {**opened.manifest["model"], "model": opened.model}
        return _backbone(facts, opened.dim, settings, path), labels
    if (path / "gallery.json").is_file():
        with Gallery.open(path) as gallery:
            facts = gallery.facts
            return _backbone(facts, int(facts["dim"]), settings, path), gallery.classes
    return o.open_backbone(target, settings), []


def _backbone(facts: Mapping[str, Any], dim: int, settings: "Settings", path: Path) -> "Backbone":
    """Return the backbone that made vectors, if it still makes such."""
    from featx.data.opening import open_backbone_of
    from featx.data.space import Made, space_error

    backbone = open_backbone_of(facts, dim, settings, beside=path, say=o.say)
    if backbone.space != facts["space"]:
        made = Made.of(facts)
        raise space_error(str(path), made, "the model makes", Made.of(backbone.facts))
    return backbone


def _required(labels: Sequence[str], target: str) -> Sequence[str]:
    if not labels:
        message = f"{target}: has no labels that classes could be named after; say --class NAME"
        raise click.UsageError(message)
    return labels


def _lines(path: Path) -> list[str]:
    """Return the names that a file holds."""
    from featx.errors import InputError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        message = f"{path}: cannot be read as text: {cause}"
        raise InputError(message) from cause
    return [line.strip() for line in lines if line.strip()]


def _show(made: "Head", out: Path, *, as_json: bool) -> None:
    found, header = made.header["zero_shot"], made.header
    if as_json:
        facts = {key: found[key] for key in ("templates", "scale")}
        named = {"model": header["model"], "named_by": found["model"]}
        o.print_json({"classes": list(made.classes)} | named | facts)
        return
    shown = ", ".join(made.classes[:SHOWN_NAMES])
    more = ", ..." if len(made.classes) > SHOWN_NAMES else ""
    click.echo(
        f"{out}: {len(made.classes):,} classes of {header['model']} ({shown}{more}), "
        f"named by {found['model']}, scale {found['scale']:g}"
    )
