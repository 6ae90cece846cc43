"""``featx models pull``."""

import click

from featx.cli import options as o


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@o.max_size_option
@o.json_option
def pull(names: tuple[str, ...], max_size: int, as_json: bool) -> None:
    """Fetch the files of backbones that are not on this machine yet.

    NAME is one of `featx models list`, or of a zoo at a URL of FEATX_ZOO.  Each file is checked
    by its size and sha256; a download that was cut off goes on where it ended.
    """
    from featx.onboard.fetch.pulling import pull as pull_one

    pulled = []
    for name in names:
        manifest, is_new = pull_one(name, limit_bytes=max_size, say=o.say)
        pulled.append({"name": name, "folder": str(manifest.folder), "fetched": is_new})
        if not as_json:
            what = "fetched to" if is_new else "is here, in"
            click.echo(f"{name}: {what} {manifest.folder}")
    if as_json:
        o.print_json({"models": pulled})
