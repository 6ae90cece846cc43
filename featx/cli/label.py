"""``featx label``."""

from pathlib import Path

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import OwnSet

SHOWN_PROBLEMS = 10


@click.command()
@click.argument("target", metavar="SET", type=OwnSet(path_type=Path, exists=True))
@click.argument("labels", type=LocalPath(path_type=Path, exists=True))
@click.option("--id-col", default="id", show_default=True, help="Column of ids.")
@click.option("--label-col", default="label", show_default=True, help="Column of labels.")
@click.option("--split-col", default="split", show_default=True, help="Column of splits.")
@o.json_option
@click.pass_context
def label(
    ctx: click.Context,
    /,
    target: Path,
    labels: Path,
    id_col: str,
    label_col: str,
    split_col: str,
    as_json: bool,
) -> None:
    """Attach or change labels and splits; nothing is encoded again.

    LABELS is a csv, tsv, jsonl or parquet table with a column of ids and one of labels, of splits,
    or both; or a folder of class folders whose files have the set's ids or file names.  An empty
    label takes a label away; ids that are not named keep theirs.
    """
    from featx.data.labels import apply_labels, read_labels

    given = read_labels(labels, id_col=id_col, label_col=label_col, split_col=split_col)
    summary = apply_labels(target, given)
    for problem in given.problems[:SHOWN_PROBLEMS]:
        o.say(f"skipped {problem}")
    for item_id in summary.unknown[:SHOWN_PROBLEMS]:
        o.say(f"skipped {item_id}: names no item of {target}, or several; use the set's ids")
    skipped, unknown = len(given.problems), len(summary.unknown)
    if as_json:
        counts = {"changed": summary.changed, "unknown": unknown, "errors": skipped}
        o.print_json(counts | {"out": str(target)})
    else:
        line = f"{target}: {summary.changed:,} of {summary.rows:,} items changed"
        line += f", {unknown:,} unknown ids" if unknown else ""
        click.echo(line + (f", {skipped:,} rows skipped" if skipped else ""))
    if unknown or skipped:
        ctx.exit(3 if summary.matched else 1)
