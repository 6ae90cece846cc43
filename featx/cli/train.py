"""``featx train``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from featx.cli import options as o


@click.command()
@click.argument("target", metavar="SET", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Head to write: X.head."
)
@click.option("--head", default="auto", show_default=True, help="auto, ridge, logreg or knn.")
@click.option("--no-raw-baseline", is_flag=True, help="Skip the baseline on raw features.")
@o.seed_option
@o.json_option
@o.quiet_option
def train(
    target: Path,
    out: Path,
    head: str,
    no_raw_baseline: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a head on an embedding set.

    Rows without a label are left out.  With splits, only `train` rows are used.  The accuracy is
    cross-validated, and stands beside those of the majority class and of raw features (pixels,
    TF-IDF, log-spectrum) on the same folds.
    """
    from featx.data.origin import contents_of
    from featx.heads.headfile import refuse_strangers, save_head
    from featx.train.train import train as fit

    _require_place(out)
    refuse_strangers(out)
    opened = o.open_set(target)
    contents = None if no_raw_baseline else contents_of(opened)
    trained = fit(opened, head=head, seed=seed, contents=contents, command=o.command_line())
    save_head(out, trained)
    if not quiet:
        for warning in trained.header.get("warnings", []):
            o.say(f"note: {warning}")
        if contents is None and not no_raw_baseline and opened.modality != "array":
            o.say("note: no raw-feature baseline, since the source cannot be read again")
    if as_json:
        o.print_json(trained.header["metrics"])
        return
    show(trained.header, out)


def _require_place(out: Path) -> None:
    """Raise before the training, not after it, if the head cannot be written."""
    from featx.errors import StoreError

    if out.is_dir():
        message = f"{out}: a folder is in the way; choose another name"
        raise StoreError(message)
    if not out.parent.is_dir():
        message = f"{out}: {out.parent} is no folder; make it, or choose another place"
        raise StoreError(message)


def show(header: Mapping[str, Any], out: Path) -> None:
    """Print what was trained and how good it is."""
    metrics, labels = header["metrics"], header["labels"]
    chosen = metrics["chosen"]
    low, high = metrics["interval"]
    details = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in chosen.items()
        if name not in {"head", "compared"}
    )
    click.echo(
        f"{out}: {chosen['head']} ({details}), {metrics['classes']} classes, "
        f"{labels['used']:,} of {labels['rows']:,} rows used"
    )
    click.echo(f"accuracy   {metrics['accuracy']:.3f}  [{low:.3f}, {high:.3f}]  n={metrics['n']}")
    for name, accuracy in metrics["baselines"].items():
        click.echo(f"{name:<10} {accuracy:.3f}")
