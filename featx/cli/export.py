"""``featx export``."""

from pathlib import Path

import click

from featx.cli import options as o
from featx.export import FORMATS


@click.command()
@click.argument("head", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), help="[default: by the suffix]")
@o.json_option
def export(head: Path, out: Path, form: str | None, as_json: bool) -> None:
    """Write a head as a plain scikit-learn estimator.

    The estimator gives the same probabilities, and needs scikit-learn alone.  Whoever loads a
    joblib file runs the code that is in it; a skops file runs none.
    """
    from featx.errors import InputError
    from featx.heads.headfile import load_head
    from featx.registry import resolve

    chosen = form or out.suffix[1:]
    if chosen not in FORMATS:
        message = f"{out}: unknown suffix {out.suffix!r}; expected .{' or .'.join(FORMATS)}"
        raise InputError(message)
    if out.exists() and (out.suffix[1:] != chosen or out.samefile(head)):
        message = f"{out}: another file is in the way; choose a name that ends in .{chosen}"
        raise InputError(message)
    loaded = load_head(head)
    exported = resolve("format", FORMATS, chosen)(out, loaded)
    if loaded.novelty is not None:
        o.say("note: what the head knows of novel items has no place in the file")
    facts = {"out": str(out), "format": chosen, "estimator": exported.name}
    if as_json:
        o.print_json(facts | {"difference": exported.difference})
        return
    click.echo(
        f"{out}: {exported.name} of scikit-learn, {loaded.dim} columns, {len(loaded.classes)} "
        f"outputs; differs from the head by {exported.difference:.1e} at most"
    )
