"""``featx evaluate``."""

from pathlib import Path

import click

from featx.cli import options as o


@click.command()
@click.argument("head", type=click.Path(path_type=Path))
@click.argument("target", metavar="SET", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Score this split.")
@o.json_option
def evaluate(
    head: Path,
    target: Path,
    split: str | None,
    as_json: bool,
) -> None:
    """Score a head on an embedding set.

    Scores the `test` rows, else `val`, else all; never rows that the head was trained on.
    """
    from featx.evaluate.evaluate import evaluate_head
    from featx.heads.headfile import load_head

    result = evaluate_head(load_head(head), o.open_set(target), split=split)
    if as_json:
        o.print_json(result)
        return
    for note in result["notes"]:
        o.say(f"note: {note}")
    if result["unknown_labels"]:
        o.say(f"note: the head knows no {', '.join(result['unknown_labels'][:10])}")
    low, high = result["interval"]
    click.echo(f"accuracy   {result['accuracy']:.3f}  [{low:.3f}, {high:.3f}]  n={result['n']}")
    for name, accuracy in result["baselines"].items():
        click.echo(f"{name:<10} {accuracy:.3f}")
    for name in ("balanced_accuracy", "macro_f1", "log_loss", "calibration_error"):
        if name in result:
            click.echo(f"{name.replace('_', ' '):<18} {result[name]:.3f}")
