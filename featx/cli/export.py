"""``featx export``."""

from pathlib import Path

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath
from featx.export import DEPLOYABLE, FORMATS, TAKES, VECTORS


@click.command()
@click.argument("source", metavar="HEAD|GALLERY|SET", type=SetPath(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=LocalPath(path_type=Path), help="File or folder to write."
)
@click.option("--format", "form", type=click.Choice([*TAKES]), help="[default: by the suffix]")
@click.option("--head-only", is_flag=True, help="onnx: leave the backbone out; takes embeddings.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of vectors; onnx: of the backbone's weights as stored, computed in fp32 either way.",
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
@click.option(
    "--index", metavar="FACTORY", help="faiss: what index_factory makes.  [default: Flat]"
)
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
    index: str | None,
    as_json: bool,
) -> None:
    """Write a head, a gallery or an embedding set for others.

    An .onnx file holds the backbone, the head and the names of the classes; onnxruntime alone runs
    it, and `featx predict`, `evaluate` and `serve` take it back.  It is compared with the head on
    32 real items first, and not written if it answers otherwise.

    A .joblib or .skops file holds the head alone, for scikit-learn.  Whoever loads a joblib file
    runs the code that is in it; a skops file runs none.

    The rows of a set or a gallery, vectors beside their ids and labels, become .parquet (or a
    folder of such files), .arrow, .lance, a dataset of Hugging Face (hf), an index of FAISS with
    its table of items (faiss), or the NumPy and Parquet files of embedding-reader (npy).

    See docs/export.md.
    """
    chosen = _form(source, out, form)
    onnx_options = head_only or with_preprocessing or script or bool(items)
    if chosen != DEPLOYABLE and onnx_options:
        raise click.UsageError(f"--format {chosen} takes none of the options of onnx.")
    if chosen != "faiss" and index is not None:
        raise click.UsageError(f"--format {chosen} takes no --index; faiss alone does.")
    if chosen in FORMATS and precision != "fp32":
        raise click.UsageError(f"--format {chosen} takes no --precision.")
    if chosen in VECTORS:
        from featx.cli.exported_rows import export_rows
        from featx.export.vectors.choices import Choices

        kept = Choices(precision="fp16" if precision == "fp16" else "fp32", index=index or "Flat")
        export_rows(source, out, chosen, kept, as_json=as_json)
        return
    _require_file(source, out, chosen)
    if chosen == DEPLOYABLE:
        from featx.cli.exported import deploy
        from featx.export.deploy import Form

        wanted = Form(
            head_only=head_only,
            precision="fp16" if precision == "fp16" else "fp32",
            with_preprocessing=with_preprocessing,
        )
        deploy(source, out, wanted, items, script=script, as_json=as_json)
        return
    _estimator(source, out, chosen, as_json=as_json)


def _form(source: Path, out: Path, asked: str | None) -> str:
    """Return the form that was asked for, or that the suffix says, if the source can be it."""
    from featx.cli.exported_rows import kind_of
    from featx.errors import InputError

    kind = kind_of(source)
    fitting = [form for form, takes in TAKES.items() if kind in takes]
    chosen = asked or out.suffix[1:]
    if chosen not in TAKES:
        expected = f"{', '.join('.' + each for each in fitting[:-1])} or .{fitting[-1]}"
        message = f"{out}: unknown suffix {out.suffix!r}; expected {expected}, or --format"
        raise InputError(message)
    if chosen not in fitting:
        article = "an" if kind[0] in "aeiou" else "a"
        message = (
            f"{source}: is {article} {kind}, which is not exported as {chosen}; "
            f"choose from {', '.join(fitting)}"
        )
        raise InputError(message)
    return chosen


def _require_file(source: Path, out: Path, form: str) -> None:
    """Raise before a file would be replaced that is not of this form."""
    from featx.errors import InputError

    if out.exists() and (out.suffix[1:] != form or (source.exists() and out.samefile(source))):
        message = f"{out}: another file is in the way; choose a name that ends in .{form}"
        raise InputError(message)
    if form == DEPLOYABLE and out.suffix != f".{DEPLOYABLE}":
        message = f"{out}: is taken back by its suffix alone; choose a name that ends in .onnx"
        raise InputError(message)


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
