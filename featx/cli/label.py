"""``featx label``."""

from pathlib import Path

import click

from featx.cli import options as o


@click.command()
@click.argument("target", metavar="SET", type=click.Path(path_type=Path, exists=True))
@click.argument("labels", type=click.Path(path_type=Path, exists=True))
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
    for item_id in summary.unknown[:10]:
        o.say(f"skipped {item_id}: no item of this id in {target}")
    if as_json:
        o.print_json(
            {"changed": summary.changed, "unknown": len(summary.unknown), "out": str(target)}
        )
    else:
        unknown = f", {len(summary.unknown):,} unknown ids" if summary.unknown else ""
        click.echo(f"{target}: {summary.changed:,} of {summary.rows:,} items changed{unknown}")
    if summary.unknown:
        ctx.exit(3 if summary.matched else 1)
