"""Read nested tables into frozen dataclasses; a wrong key or type is named, never ignored."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from featx.errors import ManifestError

T = TypeVar("T")


def read_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Build `cls` from `table`, checking every key and type.

    Parameters
    ----------
    cls : type
        A dataclass; its annotations are the schema.
    table : mapping
        Parsed TOML or JSON.
    where : str
        Starts each message: a file, then a table of it.

    Raises
    ------
    ManifestError
        Naming the place, the key, what was found and what is allowed.
    """
    hints = get_type_hints(cls)
    known: dict[str, Field[Any]] = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise _unknown_key(where, key, list(known))
    required = {
        name
        for name, item in known.items()
        if item.default is MISSING and item.default_factory is MISSING
    }
    if missing := sorted(required - table.keys()):
        message = f"{where}: missing {', '.join(map(repr, missing))}"
        raise ManifestError(message)
    return cls(**{key: _value(hints[key], value, where, key) for key, value in table.items()})


def require_plain(value: object, where: str, key: str = "") -> None:
    """Raise unless a value, with all that is in it, can be written and compared.

    Parameters
    ----------
    value : object
        As TOML or JSON has it.
    where : str
        Starts the message.
    key : str, optional
        Of the value, with those of the tables that it lies in.

    Raises
    ------
    ManifestError
        If a number is not finite, or a text has half a character, as JSON and file names may.
    """
    if isinstance(value, float) and not isfinite(value):
        message = f"{where}: {key} = {value}; expected a finite number"
        raise ManifestError(message)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as cause:
            message = f"{where}: {key} = {value!a} has half a character; expected UTF-8"
            raise ManifestError(message) from cause
    if isinstance(value, Mapping):
        for name, inner in value.items():
            require_plain(name, where, key)
            require_plain(inner, where, f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for inner in value:
            require_plain(inner, where, key)


def _value(kind: Any, value: Any, where: str, key: str) -> Any:  # noqa: ANN401
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        inner = next(argument for argument in arguments if argument is not NoneType)
        return _value(inner, value, where, key)
    if is_dataclass(kind):
        table = _typed(value, dict, where, key)
        return read_table(kind, table, f"{where} [{key}]")  # type: ignore[arg-type]
    if origin is Literal:
        if value in arguments:
            return value
        allowed = " | ".join(map(repr, arguments))
        message = f"{where}: {key} = {value!r}; expected {allowed}"
        raise ManifestError(message)
    if origin is tuple:
        values = _typed(value, list, where, key)
        return tuple(_value(arguments[0], item, where, key) for item in values)
    if origin is dict:
        table = _typed(value, dict, where, key)
        return {
            name: _value(arguments[1], item, f"{where} [{key}]", name)
            for name, item in table.items()
        }
    return _typed(value, kind, where, key)


def _typed(value: Any, kind: Any, where: str, key: str) -> Any:  # noqa: ANN401
    if kind is float and type(value) is int:
        return _float(value, where, key)
    if kind is not Any and type(value) is not kind:
        message = f"{where}: {key} = {value!r}; expected {kind.__name__}"
        raise ManifestError(message)
    return value


def _float(value: int, where: str, key: str) -> float:
    try:
        return float(value)
    except OverflowError as cause:
        message = f"{where}: {key} is too large for a number"
        raise ManifestError(message) from cause


def _unknown_key(where: str, key: str, known: list[str]) -> ManifestError:
    near = get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
    return ManifestError(f"{where}: unknown key {key!r}; {hint}")
