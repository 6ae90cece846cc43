"""``featx finetune``."""

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from featx.cli import options as o
from featx.cli.bars import Bars
from featx.cli.localpath import LocalPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featx.finetune.recipe import Kept, Tune
    from featx.finetune.run import Outcome, Watch


MOST_EPOCHS = 1000


@click.command()
@click.argument("source", nargs=-1, required=True)
@click.option("-m", "--model", required=True, help="Backbone to tune; see: featx models list.")
@click.option(
    "-o", "--out", required=True, type=LocalPath(path_type=Path), help="Graph to write: X.onnx."
)
@click.option(
    "--blocks",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Blocks at the end that are trained.",
)
@click.option("--cut", default="", help="Train all after this value; see: featx models cuts.")
@click.option(
    "--epochs",
    type=o.NumberOr("auto", "epochs", most=MOST_EPOCHS),
    default="auto",
    show_default=True,
    help="Passes over the items; auto stops when more do not help.",
)
@click.option(
    "--val",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.2,
    show_default=True,
    help="Share of the items that judges, where the source has no split val.",
)
@click.option(
    "--tune",
    "what",
    type=click.Choice(["all", "norm"]),
    default="all",
    show_default=True,
    help="All weights after the cut, or norms and biases only.",
)
@click.option(
    "--views",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Views of each image, flipped and cropped; each takes as much of the cache.",
)
@click.option(
    "--activations",
    type=click.Choice(["fp16", "fp32"]),
    default="fp16",
    show_default=True,
    help="How the values at the cut are kept in the cache.",
)
@click.option("--lr", type=float, help="Largest learning rate.  [default: 1e-4, norm: 1e-3]")
@click.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    default=32,
    show_default=True,
    help="Items a step.",
)
@click.option(
    "--label-smoothing",
    type=click.FloatRange(0, 0.5),
    default=0.0,
    show_default=True,
    help="Share of a label that all classes get.",
)
@click.option(
    "--mixup",
    type=click.FloatRange(0, 10),
    default=0.0,
    show_default=True,
    help="Mix items in pairs at the cut, by shares from Beta(mixup, mixup).",
)
@click.option("--prompt", default="", help="Name of a prompt of the model, put before each text.")
@click.option("--no-folder-labels", is_flag=True, help="Folders are not classes.")
@o.column_options
@o.device_option
@o.threads_option
@o.cache_options
@o.seed_option
@o.json_option
@o.quiet_option
@click.pass_context
def finetune(
    ctx: click.Context,
    /,
    source: tuple[str, ...],
    model: str,
    out: Path,
    blocks: int,
    cut: str,
    epochs: int | None,
    val: float,
    what: str,
    views: int,
    activations: str,
    lr: float | None,
    batch_size: int,
    label_smoothing: float,
    mixup: float,
    prompt: str,
    no_folder_labels: bool,
    device: str,
    threads: int | None,
    cache_dir: Path | None,
    no_cache: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
    **columns: str | None,
) -> None:
    """Train the last layers of a backbone on a labelled source.

    SOURCE is what `featx embed` takes.  A head is solved on the frozen embeddings first, then
    trained on together with the last layers; whichever is better on items held out is kept, the
    frozen one if they are equal.  Writes X.onnx, its manifest X.toml and X.head, or X.head
    alone.  What is trained, and what it costs: docs/finetune.md.
    """
    from featx.data.sources import open_source
    from featx.finetune.files import require_place
    from featx.zoo import catalog

    require_place(out)
    opened = open_source(
        list(source),
        modality="array" if model == "identity" else catalog.find(model).modality,
        columns=o.columns(columns),
        labels_from_folders=not no_folder_labels,
    )
    # A misspelt path is told before scikit-learn is imported, which takes seconds.
    from featx.finetune.recipe import Recipe
    from featx.finetune.run import tune

    recipe = Recipe(
        blocks=blocks,
        cut=cut,
        epochs=epochs,
        val=val,
        tune=cast("Tune", what),
        views=views,
        activations=cast("Kept", activations),
        lr=lr,
        batch_size=batch_size,
        label_smoothing=label_smoothing,
        mixup=mixup,
        seed=seed,
        command=o.command_line(),
    )
    cache = o.cache_place(cache_dir, no_cache)
    settings = o.settings(cache, device=device, threads=threads).in_bulk()
    backbone = o.open_backbone(model, settings, prompt=prompt)
    with _watching(quiet=quiet) as watch:
        outcome = tune(opened, backbone, out, recipe, cache=cache, watch=watch)
    _say_problems(outcome)
    if as_json:
        o.print_json(outcome.report)
    else:
        _show(outcome)
    if outcome.interrupt is not None:
        raise outcome.interrupt
    ctx.exit(3 if outcome.report["skipped"] else 0)


@contextmanager
def _watching(*, quiet: bool) -> "Iterator[Watch]":
    from featx.finetune.run import Watch

    if quiet:
        yield Watch()
        return
    with ExitStack() as stack:
        yield Watch(progress=Bars(stack).progress, say=o.say)


def _say_problems(outcome: "Outcome") -> None:
    for item_id, problem in outcome.problems:
        o.say(f"skipped {item_id}: {problem}")
    if (more := outcome.report["skipped"] - len(outcome.problems)) > 0:
        o.say(f"... {more:,} more")


def _show(outcome: "Outcome") -> None:
    """Print what was written, and how frozen and tuned did."""
    report, files = outcome.report, outcome.files
    items = report["items"]
    used = f"{items['train']:,} items of {items['classes']} classes"
    if outcome.is_tuned:
        what = f"{report['parent']} after {report['cut']['tensor']}, {report['epochs']} epochs"
        click.echo(f"{files.graph}: {what} of {used}; manifest {files.manifest}, head {files.head}")
    else:
        click.echo(f"{files.head}: a head on {report['parent']} as it is; no {files.graph}")
    _table("validation", report)
    if report["test"]:
        _table("test", report["test"])
    click.echo(report["reason"])
    if outcome.is_tuned:
        click.echo(f"use it as -m {files.manifest}, or by its name after:")
        click.echo(f"  featx models add {files.graph} --manifest {files.manifest}")


def _table(name: str, both: dict[str, Any]) -> None:
    rows = []
    for who in ("frozen", "finetuned"):
        if both[who]:
            low, high = both[who]["interval"]
            interval = f"[{low:.3f}, {high:.3f}]"
            figures = f"{both[who]['accuracy']:.3f}", interval, f"{both[who]['log_loss']:.3f}"
            rows.append([who, *figures, f"{both[who]['n']:,}"])
    o.print_table([name, "accuracy", "interval", "log loss", "n"], rows)
