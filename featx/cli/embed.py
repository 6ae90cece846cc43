"""``featx embed``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.scaled import Workers, opened, workers_options
from featx.cli.urlarguments import NewSet

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.cli.running import Embedding
    from featx.data.sources.options import DescribedSource
    from featx.embedding import Policy
    from featx.types import Content
    from featx.zoo.manifest import Adjustments


@click.command()
@click.argument("source", nargs=-1, required=True)
@click.option("-m", "--model", required=True, help="Backbone; see: featx models list.")
@click.option("-o", "--out", type=NewSet(path_type=Path), help="Set to make: X.emb.")
@click.option("--prompt", default="", help="Name of a prompt of the model, put before each text.")
@click.option("--dim", type=int, help="Cut vectors to this width, if the model allows it.")
@click.option("--no-folder-labels", is_flag=True, help="Folders are not classes.")
@click.option(
    "--preprocess",
    type=click.Choice(["exact", "fast"]),
    default="exact",
    show_default=True,
    help="fast: decode JPEGs at a fraction of their size where that is enough.",
)
@click.option(
    "--on-truncate",
    type=click.Choice(["warn", "error", "chunk"]),
    default="warn",
    show_default=True,
    help="Texts that are too long: cut and count them, refuse them, or average their chunks.",
)
@click.option(
    "--on-error",
    type=click.Choice(["skip", "fail"]),
    default="skip",
    show_default=True,
    help="Items that cannot be embedded: list them and go on, or stop at the first.",
)
@click.option("--max-errors", metavar="N|P%", help="Stop once more items than that have failed.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many items.")
@click.option("--shard", metavar="I/N", help="Only part I of N, from 1/N to N/N; see: featx merge.")
@click.option("--dry-run", is_flag=True, help="Say what would be embedded, and stop.")
@click.option("--verify", is_flag=True, help="Read every file again, unchanged or not.")
@workers_options
@o.engine_options
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
    out: Path | None,
    prompt: str,
    dim: int | None,
    no_folder_labels: bool,
    preprocess: str,
    on_truncate: str,
    on_error: str,
    max_errors: str | None,
    limit: int | None,
    shard: str | None,
    dry_run: bool,
    verify: bool,
    engine: str,
    address: str | None,
    workers: int | None,
    gpus_per_worker: float,
    stats: bool,
    loaders: int | None,
    batch_size: int | None,
    precision: str | None,
    deterministic: bool,
    device: str,
    threads: int | None,
    cache_dir: Path | None,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
    **columns: str | None,
) -> None:
    """Turn images, text, sound or arrays into an embedding set.

    SOURCE is a folder (of classes), a csv, tsv, jsonl or parquet table, webdataset tars
    (shards-{000..012}.tar), a txt file with one text a line, npy or npz arrays, files, a glob, or
    - for standard input; a path, or a URL such as s3://BUCKET/NAME.  Running it again continues
    an interrupted run and follows a changed source.  Model `identity` takes arrays as they are.
    """
    if out is None and not dry_run:
        raise click.MissingParameter(ctx=ctx, param_hint="'-o' / '--out'", param_type="option")
    from featx.cli.running import run_and_report, show_preview
    from featx.data.sources import open_source
    from featx.data.sources.part import parse_shard, part
    from featx.embedding import Run
    from featx.scale import Recipe
    from featx.zoo import catalog

    modality = "array" if model == "identity" else catalog.find(model).modality
    listed = open_source(
        list(source),
        modality=modality,
        columns=o.columns(columns),
        labels_from_folders=not no_folder_labels,
        names_contents=engine == "ray",
    )
    if limit is not None or shard is not None:
        listed = part(listed, limit=limit, shard=parse_shard(shard) if shard else None)
    if dry_run or out is None:
        show_preview(listed, as_json=as_json)
        return
    crew = Workers(engine, address, workers, gpus_per_worker)
    if crew.is_ray and loaders is None:
        loaders = max(2, threads or 1)
    policy = _policy(on_error, max_errors, on_truncate, verify=verify, loaders=loaders)
    cache = o.cache_place(cache_dir, no_cache)
    settings = o.settings(
        cache,
        device=device,
        threads=threads,
        precision=precision,
        deterministic=deterministic,
        budget=batch_size,
    )
    recipe = Recipe(
        model=model,
        settings=settings if crew.is_ray else settings.in_bulk(),
        prompt=prompt,
        dim=identity_of(listed).dim if model == "identity" else dim,
        adjusted=_adjusted(preprocess, on_truncate),
    )
    run: Embedding
    if crew.are_asked_for(out):
        asked = None if no_cache else cache_dir
        run = crew.run(listed, recipe, out, cache_dir=asked, policy=policy, quiet=quiet)
    else:
        command = o.command_line()
        run = Run(listed, opened(recipe), out, cache=cache, command=command, policy=policy)
    ctx.exit(run_and_report(run, as_json=as_json, quiet=quiet, stats=stats))


def _adjusted(preprocess: str, on_truncate: str) -> "Adjustments":
    """Return what changes in the manifest; see `Manifest.adjusted`."""
    found: Adjustments = {}
    if preprocess == "fast":
        found["decode"] = "fast"
    if on_truncate == "chunk":
        found["overflow"] = "chunk"
    return found


def _policy(
    on_error: str, max_errors: str | None, on_truncate: str, *, verify: bool, loaders: int | None
) -> "Policy":
    from featx.embedding import Policy
    from featx.embedding.policy import LOADERS, MaxErrors

    allowed = MaxErrors.parse(max_errors) if max_errors else None
    return Policy(
        max_errors=MaxErrors(0) if on_error == "fail" else allowed,
        on_truncate="error" if on_truncate == "error" else "warn",
        verify=verify,
        loaders=loaders or LOADERS,
    )


def identity_of(source: "DescribedSource") -> "Backbone":
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
