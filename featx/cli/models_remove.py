"""``featx models remove``."""

from pathlib import Path

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--zoo",
    type=LocalPath(path_type=Path, exists=True, file_okay=False),
    help="The folder that they lie in.  [default: your own zoo]",
)
@o.json_option
def remove(names: tuple[str, ...], zoo: Path | None, as_json: bool) -> None:
    """Delete backbones of a zoo, with those files that no other one uses.

    Vectors that were made with them stay where they are, and in the cache.
    """
    from featx.onboard.fetch.files import readable
    from featx.onboard.placing import remove as remove_one
    from featx.zoo import catalog

    removed = []
    for name in names:
        freed = remove_one(name, zoo or catalog.user_zoo())
        removed.append({"name": name, "freed_bytes": freed})
        if not as_json:
            click.echo(f"{name}: removed, {readable(freed)} freed")
    if as_json:
        o.print_json({"models": removed})
