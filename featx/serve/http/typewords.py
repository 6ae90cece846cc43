"""Type words: what values of a type are, said to those who sent another."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from msgspec import inspect

_STEP = re.compile(r"\.(\w+)|\[[^\]]*\]")


@cache
def _type_of(kind: object) -> inspect.Type:
    return inspect.type_info(kind)


def types_at(kind: object, path: str) -> list[inspect.Type]:
    """Return the types that a value may have at a path of a type.

    Examples
    --------
    >>> words_of(types_at(list[int | None], "[3]"))
    'an integer or null'
    """
    types = _options(_type_of(kind))
    for step in _STEP.finditer(path):
        types = [option for each in types for found in _inner(each, step[1]) for option in found]
    return types


def _inner(kind: inspect.Type, name: str | None) -> Iterable[list[inspect.Type]]:
    if name is None:
        item = getattr(kind, "item_type", None)
        return [] if item is None else [_options(item)]
    if not isinstance(kind, inspect.StructType):
        return []
    return [_options(field.type) for field in kind.fields if field.encode_name == name]


def _options(kind: inspect.Type) -> list[inspect.Type]:
    if isinstance(kind, inspect.Metadata):
        return _options(kind.type)
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]


def words_of(types: Iterable[inspect.Type]) -> str:
    """Return what values of some types are, in words.

    Examples
    --------
    >>> words_of([inspect.type_info(int | float), inspect.type_info(str)])
    'a number or a string'
    """
    plain = [option for each in types for option in _options(each)]
    if any(isinstance(each, inspect.FloatType) for each in plain):
        plain = [each for each in plain if not isinstance(each, inspect.IntType)]
    return _listed(dict.fromkeys(_word(each) for each in plain))


def _word(kind: inspect.Type) -> str:
    return next((say(kind) for of, say in _WORDS.items() if isinstance(kind, of)), "another value")


_WORDS: Mapping[type[inspect.Type], Callable[[Any], str]] = {
    inspect.NoneType: lambda _: "null",
    inspect.BoolType: lambda _: "true or false",
    inspect.IntType: lambda kind: f"an integer{_range(kind.ge, kind.le)}",
    inspect.FloatType: lambda kind: f"a number{_range(kind.ge, kind.le)}",
    inspect.StrType: lambda kind: f"a string{_length(kind, 'character')}",
    inspect.LiteralType: lambda kind: _listed(map(repr, kind.values)),
    inspect.CollectionType: lambda kind: f"an array{_length(kind, 'value')}",
    inspect.StructType: lambda _: "an object",
}


def _range(low: float | None, high: float | None) -> str:
    """Return the bounds of a number: `` from 1 to 1,000``."""
    if high is None:
        return "" if low is None else f" of at least {low:,}"
    return f" of at most {high:,}" if low is None else f" from {low:,} to {high:,}"


def _length(kind: Any, unit: str) -> str:  # noqa: ANN401  (any type that has a length)
    """Return the bounds of a length: `` of 1 to 1,024 characters``."""
    low, high, pattern = kind.min_length, kind.max_length, getattr(kind, "pattern", None)
    if pattern is not None:
        return f" like {pattern}"
    if low is None and high is None:
        return ""
    units = unit if (high or low) == 1 else f"{unit}s"
    if low == high:
        return f" of {low:,} {units}"
    return f"{_range(low, high).replace(' from ', ' of ')} {units}"


def _listed(words: Iterable[str]) -> str:
    *others, last = list(words) or [""]
    return f"{', '.join(others)} or {last}" if others else last
