"""``featx export``."""

from pathlib import Path

import click

from featx.cli import options as o
from featx.export import DEPLOYABLE, FORMATS


@click.command()
@click.argument("source", metavar="HEAD|GALLERY", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--format", "form", type=click.Choice([DEPLOYABLE, *FORMATS]), help="[default: by the suffix]"
)
@click.option("--head-only", is_flag=True, help="onnx: leave the backbone out; takes embeddings.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="onnx: of the backbone's weights as stored; either is computed in fp32.",
)
@click.option(
    "--with-preprocessing", is_flag=True, help="onnx: resize and normalise images in the graph."
)
@click.option(
    "--items",
    multiple=True,
    metavar="ITEMS",
    help="onnx: compare on 32 of these, instead of the backbone's own.  Repeat for more.",
)
@click.option("--script", is_flag=True, help="onnx: print an example script that asks the file.")
@o.json_option
def export(
    source: Path,
    out: Path,
    form: str | None,
    head_only: bool,
    precision: str,
    with_preprocessing: bool,
    items: tuple[str, ...],
    script: bool,
    as_json: bool,
) -> None:
    """Write a head or a gallery for others: one ONNX file, or a scikit-learn estimator.

    An .onnx file holds the backbone, the head and the names of the classes; onnxruntime alone runs
    it, and `featx predict`, `evaluate` and `serve` take it back.  It is compared with the head on
    32 real items first, and not written if it answers otherwise.  See docs/export.md.

    A .joblib or .skops file holds the head alone, for scikit-learn.  Whoever loads a joblib file
    runs the code that is in it; a skops file runs none.
    """
    from featx.errors import InputError

    chosen = form or out.suffix[1:]
    known = [DEPLOYABLE, *FORMATS]
    if chosen not in known:
        expected = f"{', '.join('.' + each for each in known[:-1])} or .{known[-1]}"
        message = f"{out}: unknown suffix {out.suffix!r}; expected {expected}"
        raise InputError(message)
    if out.exists() and (out.suffix[1:] != chosen or (source.exists() and out.samefile(source))):
        message = f"{out}: another file is in the way; choose a name that ends in .{chosen}"
        raise InputError(message)
    if chosen == DEPLOYABLE:
        if out.suffix != f".{DEPLOYABLE}":
            message = f"{out}: is taken back by its suffix alone; choose a name that ends in .onnx"
            raise InputError(message)
        from featx.cli.exported import deploy
        from featx.export.deploy import Form

        wanted = Form(
            head_only=head_only,
            precision="fp16" if precision == "fp16" else "fp32",
            with_preprocessing=with_preprocessing,
        )
        deploy(source, out, wanted, items, script=script, as_json=as_json)
        return
    if head_only or with_preprocessing or script or items or precision != "fp32":
        raise click.UsageError(f"--format {chosen} takes none of the options of onnx.")
    _estimator(source, out, chosen, as_json=as_json)


def _estimator(source: Path, out: Path, form: str, *, as_json: bool) -> None:
    """Write a head as an estimator of scikit-learn."""
    from featx.heads.headfile import load_head
    from featx.registry import resolve

    loaded = load_head(source)
    exported = resolve("format", FORMATS, form)(out, loaded)
    if loaded.novelty is not None:
        o.say("note: what the head knows of novel items has no place in the file")
    facts = {"out": str(out), "format": form, "estimator": exported.name}
    if as_json:
        o.print_json(facts | {"difference": exported.difference})
        return
    click.echo(
        f"{out}: {exported.name} of scikit-learn, {loaded.dim} columns, {len(loaded.classes)} "
        f"outputs; differs from the head by {exported.difference:.1e} at most"
    )
