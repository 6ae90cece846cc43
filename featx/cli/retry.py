"""``featx retry``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.urlarguments import OwnSet

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.backbone.settings import Settings
    from featx.data.store import EmbeddingSet


@click.command()
@click.argument("path", metavar="SET", type=OwnSet(path_type=Path))
@click.option("-m", "--model", help="Backbone, if the set was made with the path of a manifest.")
@o.device_option
@o.threads_option
@o.cache_options
@o.json_option
@o.quiet_option
@click.pass_context
def retry(
    ctx: click.Context,
    /,
    path: Path,
    model: str | None,
    device: str,
    threads: int | None,
    cache_dir: Path | None,
    no_cache: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Try again to embed the items that the last run of a set skipped.

    What can be embedded now comes after the set's other rows; the next `featx embed` puts it in
    its place.
    """
    from featx.cli.running import run_and_report
    from featx.data.ledger import read_ledger
    from featx.data.sources import open_description
    from featx.data.sources.chosen import Chosen
    from featx.data.store import EmbeddingSet
    from featx.embedding import Policy, Run
    from featx.embedding.policy import REFUSED
    from featx.errors import InputError

    emb = EmbeddingSet.open(path)
    if "source" not in emb.manifest or not emb.finished:
        message = f"{path}: its last run did not come to its end; run its embed command again"
        raise InputError(message)
    problems = {failure.id: failure.problem for failure in read_ledger(path)}
    if not problems:
        _report_nothing(path, as_json=as_json)
        return
    source = Chosen(open_description(emb.manifest["source"]), problems.keys())
    cache = o.cache_place(cache_dir, no_cache)
    settings = o.settings(
        cache,
        device=device,
        threads=threads,
        precision=emb.manifest["model"].get("precision"),
        deterministic=bool(emb.manifest["model"].get("deterministic")),
    ).in_bulk()
    backbone = _backbone(model or emb.model, emb, settings)
    command = emb.manifest["command"]
    refuses = any(REFUSED in problem for problem in problems.values())
    policy = Policy(partial=True, on_truncate="error" if refuses else "warn")
    run = Run(source, backbone, path, cache=cache, command=command, policy=policy)
    ctx.exit(run_and_report(run, as_json=as_json, quiet=quiet))


def _backbone(model: str, emb: "EmbeddingSet", settings: "Settings") -> "Backbone":
    """Return the backbone that made a set, with all that was chosen for it."""
    from featx.backbone.backbone import Backbone, identity

    if model == "identity":
        return Backbone(identity(emb.dim))
    adjusted = emb.manifest["model"].get("adjusted", {})
    return o.open_backbone(model, settings, prompt=emb.prompt, dim=emb.dim, adjusted=adjusted)


def _report_nothing(path: Path, *, as_json: bool) -> None:
    if as_json:
        facts = {"items": 0, "embedded": 0, "cached": 0, "errors": 0, "truncated": 0, "removed": 0}
        o.print_json(facts | {"seconds": 0.0, "out": str(path)})
    else:
        click.echo(f"{path}: the last run skipped nothing")
