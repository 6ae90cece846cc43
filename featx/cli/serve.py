"""``featx serve``."""

import os
import re
from functools import partial
from pathlib import Path

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath, local_path

KEYS = "FEATX_API_KEYS"
"""Environment variable with API keys, separated by commas."""

CLIENT_KEY = "FEATX_API_KEY"
"""Environment variable with the key that `featx.Client` sends."""

_COMMENT = re.compile(r"(^|\s)#.*")


def _names(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no ``Host`` header has as its name."""
    from featx.serve.http.hosts import ANY, is_name

    for name in given:
        if name != ANY and not is_name(name):
            message = f"{name!r}: expected a name, without scheme, port and path"
            raise click.BadParameter(message, ctx, param)
    return given


@click.command()
@click.argument("thing")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 for a free one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that answer; each opens the backbone.",
)
@click.option(
    "--allow-teach/--no-teach",
    default=None,
    help="Whether examples may be added to a gallery, relabelled and removed.  [default: only where"
    " a key is asked for]",
)
@click.option(
    "--keys-file",
    type=LocalPath(path_type=Path, dir_okay=False),
    help=f"File of API keys, one a line, # before comments; {KEYS} holds them too, with commas"
    " between.",
)
@click.option(
    "--allowed-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    callback=_names,
    help="Another name that it is reached by; * for any.  Repeat for more.",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds that a request may take.",
)
@click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(min=1),
    default=20.0,
    show_default=True,
    help="Seconds that requests under way are waited for at the end.",
)
@click.option("--access-log", is_flag=True, help="Write a line of JSON a request on stderr.")
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Of the computation.  [default: the model's own, fp32 in the zoo]",
)
@o.device_option
@o.threads_option
def serve(
    thing: str,
    host: str,
    port: int,
    workers: int,
    allow_teach: bool | None,
    keys_file: Path | None,
    hosts: tuple[str, ...],
    deadline_s: float,
    drain_s: float,
    access_log: bool,
    opens: bool,
    precision: str | None,
    device: str,
    threads: int | None,
) -> None:
    """Serve a head, a gallery or a backbone over HTTP, with a page to try it.

    THING is a head, an .onnx file of `featx export`, a gallery, or the name of a backbone.  A new
    head or gallery at its place is taken up without a failed request.  SIGTERM and Ctrl-C end it
    once requests under way are answered.

    Beyond this machine (--host 0.0.0.0) it wants an API key.  See docs/serve.md.
    """
    from featx.serve.processes import run
    from featx.serve.settings import ServeSettings

    keys = _keys(keys_file)
    if not keys and os.environ.get(CLIENT_KEY):
        o.say(f"note: {CLIENT_KEY} is the key of a client; a service has its keys from {KEYS}")
    settings = ServeSettings(
        thing=local_path(thing),
        host=host,
        port=port,
        backbone=o.settings(o.cache_place(), device=device, threads=threads, precision=precision),
        keys=keys,
        allow_teach=allow_teach,
        hosts=hosts,
        deadline_s=deadline_s,
        drain_s=drain_s,
        workers=workers,
        access_log=access_log,
    )
    run(settings, partial(_tell, host, opens))


def _tell(host: str, opens: bool, what: str, port: int) -> None:
    """Say that it is ready, and where."""
    url = f"http://{_shown(host)}:{port}"
    o.say(f"{what}, at {url} (page), /docs, /metrics; Ctrl-C ends it")
    if opens:
        import webbrowser

        webbrowser.open(url)


def _shown(host: str) -> str:
    """Return a host as a URL has it; one that stands for every address as this machine."""
    if host in {"0.0.0.0", "::", "[::]"}:  # noqa: S104  (told, not listened on)
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"  # noqa: S104
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _keys(path: Path | None) -> tuple[str, ...]:
    """Return the API keys of a file and of the environment."""
    from featx.errors import InputError

    found = [key.strip() for key in os.environ.get(KEYS, "").split(",")]
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as cause:
            reason = getattr(cause, "strerror", None) or "is not UTF-8"
            raise InputError(f"{path}: {reason}; expected a file of API keys") from cause
        keys = [_COMMENT.sub("", line).strip() for line in lines]
        for number, key in enumerate(keys, 1):
            if len(key.split()) > 1:
                raise InputError(f"{path}:{number}: white space in a key; expected one a line")
        if not any(keys):
            raise InputError(f"{path}: holds no API key; expected one a line")
        if path.stat().st_mode & 0o044:
            o.say(f"note: {path}: others can read it; run: chmod 600 {path}")
        found += keys
    return tuple(key for key in found if key)
