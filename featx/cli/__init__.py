"""The ``featx`` command; the module of a subcommand is imported when it is called."""

import os
import sys
import warnings

import click

from featx import __version__
from featx.cli.terminal import harmless
from featx.errors import FeatxError
from featx.registry import resolve

COMMANDS = {
    "quickstart": "Embed, train, evaluate and explain on the data inside the package.",
    "embed": "Turn images, text, sound or arrays into an embedding set.",
    "retry": "Try again to embed the items that the last run of a set skipped.",
    "merge": "Join embedding sets, such as the shards of a run, into one.",
    "label": "Attach or change labels and splits; nothing is encoded again.",
    "label-next": "Say which items are most worth a label.",
    "train": "Train a head on an embedding set.",
    "zeroshot": "Make a head from the names of classes alone.",
    "compare": "Find the backbone that suits labelled items best.",
    "adapt": "Adapt a head to items of another domain, or refuse to.",
    "finetune": "Train the last layers of a backbone on a labelled source.",
    "predict": "Predict labels of files or of an embedding set.",
    "export": "Write a head, a gallery or an embedding set for others.",
    "evaluate": "Score a head on an embedding set, or a gallery.",
    "inspect": "Find wrong labels, duplicates, leaks between splits and outliers in a set.",
    "report": "Write one page on an embedding set or a head, which opens without a network.",
    "map": "Write where the items of a set lie on a map.",
    "index": "Build a nearest-neighbour gallery from an embedding set, or change one.",
    "search": "Find the nearest examples in a gallery.",
    "serve": "Serve a head, a gallery or a backbone over HTTP, with a page to try it.",
    "models": "List, add, fetch, verify and remove backbones.",
    "cache": "Show or clear the user-wide cache.",
    "cat": "Print the rows of an embedding set, or the items of a gallery.",
    "doctor": "Say what works on this machine and what does not.",
}

WHOLE = frozenset({"adapt", "compare", "inspect", "label-next", "map", "report", "train"})
"""Commands that write one file at the end, whole or not at all, and commit nothing before."""

TERMINATED = 143
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that lists its commands from a table and imports them on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        place = {cmd_name: f"featx.cli.{name}:{name}"}
        command: click.Command = resolve("command", place, cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an empty argument: as a path it would mean the folder that we are in."""
        if "" in args:
            ctx.fail("an argument is empty; is a variable of the shell not set?")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for a misspelt one."""
        from difflib import get_close_matches

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"no such command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command list without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a `FeatxError` is one line and exit code 1."""
        _interrupt_on_sigterm()
        # Pillow warns of damaged notes in good pictures.
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        try:
            return super().invoke(ctx)
        except FeatxError as error:
            click.echo(f"error: {harmless(str(error))}", err=True)
            ctx.exit(1)
        except _TerminatedError:
            click.echo(f"terminated; {_left(ctx)}", err=True)
            ctx.exit(TERMINATED)
        except KeyboardInterrupt:
            click.echo(f"interrupted; {_left(ctx)}", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader has seen enough, as in `featx cat X.emb | head`.
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            ctx.exit(0)


def _left(ctx: click.Context) -> str:
    """Return what an interrupted command leaves behind."""
    if ctx.invoked_subcommand in WHOLE:
        return "no file is half written"
    return "everything committed so far is kept"


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM arrived."""


def _interrupt_on_sigterm() -> None:
    import signal

    def terminate(*_: object) -> None:
        raise _TerminatedError

    signal.signal(signal.SIGTERM, terminate)


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "FEATX"})
@click.version_option(__version__, prog_name="featx")
def main() -> None:
    """Turn frozen backbones into embeddings, light heads and nearest-neighbour classifiers.

    Start with `featx quickstart`.  Shell completion: eval "$(_FEATX_COMPLETE=bash_source featx)".
    """
