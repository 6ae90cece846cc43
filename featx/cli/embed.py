"""``featx embed``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.data.sources.options import DescribedSource
    from featx.embedding import Progress
    from featx.types import Content

SHOWN_ERRORS = 10


@click.command()
@click.argument("source", nargs=-1, required=True)
@click.option("-m", "--model", required=True, help="Backbone; see: featx models list.")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Set to make: X.emb."
)
@click.option("--prompt", default="", help="Name of a prompt of the model, put before each text.")
@click.option("--dim", type=int, help="Cut vectors to this width, if the model allows it.")
@click.option("--no-folder-labels", is_flag=True, help="Folders are not classes.")
@o.column_options
@o.device_option
@o.threads_option
@o.cache_options
@o.json_option
@o.quiet_option
@click.pass_context
def embed(
    ctx: click.Context,
    /,
    source: tuple[str, ...],
    model: str,
    out: Path,
    prompt: str,
    dim: int | None,
    no_folder_labels: bool,
    device: str,
    threads: int | None,
    cache_dir: Path | None,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
    **columns: str | None,
) -> None:
    """Turn images, text, sound or arrays into an embedding set.

    SOURCE is a folder (of classes), a csv, tsv, jsonl or parquet table, a txt file with one text a
    line, npy or npz arrays, files, a glob, or - for standard input.  Running it again continues
    an interrupted run and follows a changed source.  Model `identity` takes arrays as they are.
    """
    import time

    from featx.data.sources import open_source
    from featx.zoo import catalog

    started_s = time.perf_counter()
    modality = "array" if model == "identity" else catalog.find(model).modality
    opened = open_source(
        list(source),
        modality=modality,
        columns=o.columns(columns),
        labels_from_folders=not no_folder_labels,
    )
    cache = o.cache_place(cache_dir, no_cache)
    if model == "identity":
        backbone = _identity(opened)
    else:
        backbone = o.open_backbone(
            model, cache=cache, device=device, threads=threads, prompt=prompt, dim=dim
        )
    progress = run(backbone, opened, out, cache=cache, quiet=quiet)
    seconds = round(time.perf_counter() - started_s, 3)
    report(progress, out, seconds=seconds, as_json=as_json)
    if progress.errors:
        ctx.exit(3)


def _identity(source: "DescribedSource") -> "Backbone":
    """Return the backbone that takes the source's arrays as they are, as wide as the first."""
    from featx.backbone.backbone import Backbone, identity

    widths = (_width(item.content) for item in source if not item.problem)
    return Backbone(identity(next((width for width in widths if width), 0)))


def _width(content: "Content") -> int:
    """Return how many numbers an array holds, 0 if it cannot be read."""
    import numpy as np

    from featx.errors import ItemError
    from featx.modality.content import npy_array, read_bytes

    if isinstance(content, np.ndarray):
        return content.size
    try:
        return npy_array(read_bytes(content)).size
    except ItemError:
        return 0


def run(
    backbone: "Backbone",
    source: "DescribedSource",
    out: Path,
    *,
    cache: Path | None,
    quiet: bool,
) -> "Progress":
    """Embed with a progress bar, drawn only on a terminal."""
    import sys

    from tqdm import tqdm

    from featx.embedding import Progress
    from featx.embedding import embed as embedding

    progress = Progress(total=len(source))
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=progress.total, unit="item", disable=hidden, desc=out.name) as bar:
        for progress in embedding(source, backbone, out, cache=cache, command=o.command_line()):
            bar.update(progress.done - bar.n)
            bar.set_postfix(kept=progress.kept + progress.cached, errors=len(progress.errors))
    return progress


def report(progress: "Progress", out: Path, *, seconds: float, as_json: bool) -> None:
    """Say what was done, on stdout; and what could not be done, on stderr."""
    done = progress.done - len(progress.errors)
    for item_id, _, problem in progress.errors[:SHOWN_ERRORS]:
        o.say(f"skipped {item_id}: {problem}")
    if len(progress.errors) > SHOWN_ERRORS:
        o.say(f"... {len(progress.errors) - SHOWN_ERRORS} more in {out / 'errors.jsonl'}")
    if as_json:
        o.print_json(
            {
                "items": done,
                "embedded": progress.embedded,
                "cached": progress.cached + progress.kept,
                "errors": len(progress.errors),
                "truncated": progress.truncated,
                "seconds": seconds,
                "out": str(out),
            }
        )
        return
    reused = progress.cached + progress.kept
    line = f"{out}: {done:,} items, {progress.embedded:,} embedded, {reused:,} already known"
    click.echo(f"{line}, {len(progress.errors):,} skipped, {seconds:.1f} s")
    if progress.truncated:
        o.say(f"{progress.truncated:,} items were longer than the model takes, and were cut")
