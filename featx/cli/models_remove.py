"""``featx models remove``."""

import click

from featx.cli import options as o


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@o.json_option
def remove(names: tuple[str, ...], as_json: bool) -> None:
    """Delete backbones from your own zoo, with those files that no other one uses.

    Vectors that were made with them stay where they are, and in the cache.
    """
    from featx.onboard.fetch.files import readable
    from featx.onboard.placing import remove as remove_one
    from featx.zoo import catalog

    removed = []
    for name in names:
        freed = remove_one(name, catalog.user_zoo())
        removed.append({"name": name, "freed_bytes": freed})
        if not as_json:
            click.echo(f"{name}: removed, {readable(freed)} freed")
    if as_json:
        o.print_json({"models": removed})
