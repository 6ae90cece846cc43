"""What a user says of a backbone, for what its files do not state."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from featx.errors import InputError, UnknownNameError
from featx.onboard.read.facts import Fact
from featx.zoo.manifest import ArrayOptions, AudioOptions, ImageOptions, Pooling, TextOptions

FLAGS = {
    "modality": "--modality text|image|audio|array",
    "pooling": "--pooling mean|cls|last_token|none",
    "normalize": "--normalize or --no-normalize",
    "max_length": "--max-length TOKENS",
    "dim": "--dim WIDTH",
    "inputs": "--input ROLE=NAME",
    "outputs": "--output embedding=NAME or --output tokens=NAME",
    "tokenizer.json": "--tokenizer FILE",
}
"""Key of the manifest → the flag that says it."""

TABLES: dict[str, type] = {
    "text": TextOptions,
    "image": ImageOptions,
    "audio": AudioOptions,
    "array": ArrayOptions,
}
"""Modality → what its table holds."""

PIXELS = "[RED,GREEN,BLUE]"
"""A number for each channel, of pixels from 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The flags of ``featx models add``; what is None or empty was not said.

    Attributes
    ----------
    name : str
        What the backbone is to be called.
    modality, pooling, normalize, max_length, dim
        Values of the manifest.
    dims : tuple of int
        Smaller widths that vectors may be cut to.
    license, summary, citation, weights : str
        Values of the manifest.
    inputs, outputs : mapping of str to str
        Role → name in the graph.
    prompts : mapping of str to str
        Name → text put before an item.
    options : mapping of str to mapping
        Modality → values of its table, such as ``{"image": {"size": [224]}}``.
    tokenizer : str
        Where the tokenizer comes from.
    partner : str
        Name of the backbone that it is the other half of.
    logit_scale : float or None
        Of a pair: what cosines are multiplied with.
    is_alone : bool
        Whether one backbone is meant, even where the towers of a pair lie together.
    """

    name: str = ""
    modality: str | None = None
    pooling: Pooling | None = None
    normalize: bool | None = None
    max_length: int | None = None
    dim: int | None = None
    dims: tuple[int, ...] = ()
    license: str = ""
    summary: str = ""
    citation: str = ""
    weights: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokenizer: str = ""
    partner: str = ""
    logit_scale: float | None = None
    is_alone: bool = False

    def facts(self) -> Iterator[Fact]:
        """Yield what was said, with the flag as its source."""
        values = ("modality", "pooling", "normalize", "max_length", "dim", "dims")
        for key in (*values, "license", "summary", "citation", "weights"):
            value = getattr(self, key)
            if value not in (None, "", ()):
                flag = f"--{key.replace('_', '-')}"
                yield Fact(key, value, "--no-normalize" if value is False else flag)
        tables = (("inputs", "--input"), ("outputs", "--output"), ("prompts", "--prompt"))
        for table, flag in tables:
            for key, value in getattr(self, table).items():
                yield Fact(f"{table}.{key}", value, flag)
        for modality, options in self.options.items():
            for key, value in options.items():
                yield Fact(f"{modality}.{key}", value, f"--{modality}")


def flag_of(key: str) -> str:
    """Return the flag that says a key of the manifest.

    Examples
    --------
    >>> flag_of("pooling"), flag_of("image.size")
    ('--pooling mean|cls|last_token|none', '--image size=VALUE')
    >>> flag_of("image.resize"), flag_of("image.std")
    ('--image resize=shortest|stretch|pad|none', '--image std=[RED,GREEN,BLUE]')
    """
    table, _, inner = key.partition(".")
    return FLAGS.get(key, f"--{table} {inner}={_form(table, inner)}")


def _form(table: str, key: str) -> str:
    """Return how a value of a table is written."""
    hint = get_type_hints(TABLES[table])[key] if table in TABLES else None
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    return PIXELS if (table, key) in {("image", "mean"), ("image", "std")} else "VALUE"


def read_option(modality: str, text: str) -> tuple[str, Any]:
    """Return key and value of an option: a TOML value, or else a word.

    Examples
    --------
    >>> read_option("image", "size=224"), read_option("image", "resize=stretch")
    (('size', [224]), ('resize', 'stretch'))

    Raises
    ------
    InputError
        If it has not the form KEY=VALUE, or the table has no such key.
    """
    key, equals, written = text.partition("=")
    if not key or not equals or not written:
        message = f"--{modality} {text!r}: expected KEY=VALUE, such as size=224"
        raise InputError(message)
    try:
        value = tomllib.loads(f"value = {written}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = written
    hints = get_type_hints(TABLES[modality])
    if key not in hints:
        raise UnknownNameError(f"key of --{modality}", key, hints)
    hint = hints[key]
    is_single = get_origin(hint) is tuple and not isinstance(value, list)
    if is_single and isinstance(value, str):
        message = f"--{modality} {text}: expected a number, or several as [1,2,3]"
        raise InputError(message)
    return key, [value] if is_single else value
