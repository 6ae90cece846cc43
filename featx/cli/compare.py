"""``featx compare``."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.bars import Bars
from featx.cli.localpath import LocalPath

if TYPE_CHECKING:
    from featx.transfer.compare.comparison import Comparison
    from featx.transfer.compare.standing import Standing

_MEGABYTE = 1e6


@click.command()
@click.argument("source", nargs=-1, required=True)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    help="Backbone; name two or more.  See: featx models list.",
)
@click.option("--all", "everything", is_flag=True, help="All backbones that take such items.")
@click.option(
    "--rows",
    type=o.NumberOr("all", "rows", stands_for=0),
    help="Labelled items to look at, or all.  [default: 2000, or 10 a class; with --budget all]",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time for all; what is surely worse drops out, the others embed more and more items.",
)
@click.option("-o", "--out", type=LocalPath(path_type=Path), help="Page to write: X.html.")
@click.option("--no-folder-labels", is_flag=True, help="Folders are not classes.")
@o.column_options
@o.device_option
@o.threads_option
@o.cache_options
@o.seed_option
@o.json_option
@o.quiet_option
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    source: tuple[str, ...],
    models: tuple[str, ...],
    everything: bool,
    rows: int | None,
    budget: float | None,
    out: Path | None,
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
    """Find the backbone that suits labelled items best.

    SOURCE is what `featx embed` takes.  A stratified sample is embedded with each backbone, or
    taken from the cache.  Backbones are ranked by the accuracy of a ridge head, each item left
    out of the fit in turn; those that chance could put in another order are said to be level.
    How it is done, and what it costs: docs/compare.md.

    \b
    --json prints one object:
      {"best", "level": [...], "fastest", "verdict": [...], "modality", "items": {...},
       "backbones": [{"name", "accuracy", "interval", "n", "level", "difference", "dropped",
       "heads", "logme", "items_per_s", "on_front", "dim", "size_bytes"}, ...],
       "mixes": [...], "skipped_backbones": {...}, "notes": [...], "seconds"}
    """  # noqa: D301 - click wants the control character
    if everything == bool(models):
        both = "not both: " if everything else ""
        raise click.UsageError(f"{both}name backbones with -m, or take all that fit with --all")
    from featx.cli.contenders import contenders
    from featx.data.sources import open_source

    _require_page(out, source)
    choice = contenders(models, source, o.columns(columns))
    opened = open_source(
        list(source),
        modality=choice.modality,
        columns=o.columns(columns),
        labels_from_folders=not no_folder_labels,
    )
    cache = o.cache_place(cache_dir, no_cache)
    settings = o.settings(cache, device=device, threads=threads).in_bulk()
    backbones = choice.open(opened, settings)
    if not quiet:
        for name, why in choice.skipped.items():
            o.say(f"skipped {name}: {why}")
    # A misspelt name is told before scikit-learn is imported, which takes seconds.
    from featx.report.comparison import write_comparison
    from featx.transfer.compare.recipe import Recipe, Watch
    from featx.transfer.compare.run import compare as run

    recipe = Recipe(rows=rows or None, is_whole=rows == 0, budget_s=budget, seed=seed)
    with ExitStack() as stack:
        watch = Watch() if quiet else Watch(progress=Bars(stack).progress)
        found = run(opened, backbones, recipe, cache=cache, watch=watch)
    if out is not None:
        write_comparison(found, out, source=" ".join(source))
    _say_problems(found, quiet=quiet)
    if as_json:
        o.print_json(found.facts() | {"skipped_backbones": choice.skipped})
    else:
        _show(found, source, out)
    ctx.exit(3 if found.skipped else 0)


def _require_page(out: Path | None, source: Sequence[str]) -> None:
    """Raise before the work, not after it, if a page cannot be written."""
    from featx.cli.train import require_place
    from featx.report.outputs import require_page

    require_place(out)
    if out is not None:
        o.require_apart(out, *source)
        require_page(out)


def _say_problems(found: "Comparison", *, quiet: bool) -> None:
    for item_id, problem in found.problems.items():
        o.say(f"skipped {item_id}: {problem}")
    if (more := found.skipped - len(found.problems)) > 0:
        o.say(f"... {more:,} more")
    if not quiet:
        for note in found.notes:
            o.say(f"note: {note}")


def _show(found: "Comparison", source: Sequence[str], out: Path | None) -> None:
    """Print how the backbones came out, the best first."""
    kinds = list(dict.fromkeys(kind for each in found.standings for kind in each.heads))
    header = ["", "backbone", "accuracy", "interval", "difference", "its interval", *kinds[1:]]
    click.echo(
        f"{' '.join(source)}: {found.compared:,} of {o.counted(found.labelled, 'labelled item')},"
        f" {found.classes} classes, each item left out in turn"
    )
    o.print_table(
        [*header, "items/s", "dim", "MB", "n"],
        [_row(each, kinds[1:], is_best=each is found.best) for each in found.standings],
    )
    for line in found.verdict():
        click.echo(line)
    if out is not None:
        has_plot = any(each.items_per_s for each in found.standings)
        click.echo(f"{out}: the same as a page{', with a plot' if has_plot else ''}")


def _row(each: "Standing", kinds: Sequence[str], *, is_best: bool) -> list[str]:
    """Return a line of the table: * marks the best, = what is level with it."""
    mark = "*" if is_best else "=" if each.is_level else ""
    beside = ["", ""]
    if not is_best:
        low, high = (100 * end for end in each.beside.bounds(each.level))
        beside = [f"{100 * each.beside.difference:z.1f}", f"[{low:z.1f}, {high:z.1f}]"]
    low, high = each.interval
    heads = [f"{each.heads[kind]:.3f}" if kind in each.heads else "-" for kind in kinds]
    accuracy = [f"{each.accuracy:.3f}", f"[{low:.3f}, {high:.3f}]"]
    size = f"{each.size_bytes / _MEGABYTE:.1f}"
    speed = f"{each.items_per_s:.1f}" if each.items_per_s else "-"
    return [mark, each.name, *accuracy, *beside, *heads, speed, str(each.dim), size, f"{each.n:,}"]
