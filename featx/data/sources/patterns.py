"""Arguments that stand for several paths: globs, and braces as shells and webdataset have them."""

import re
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path

NUMBERS = re.compile(r"(-?[0-9]+)\.\.(-?[0-9]+)(?:\.\.(-?[0-9]+))?")
LETTERS = re.compile(r"([a-zA-Z])\.\.([a-zA-Z])")


def is_pattern(argument: str, base: Path) -> bool:
    """Return whether an argument is a pattern and not the name of something that exists."""
    if not (has_magic(argument) or has_braces(argument)):
        return False
    return not (base / argument).exists()


def has_braces(argument: str) -> bool:
    """Return whether an argument has braces that stand for several texts.

    Examples
    --------
    >>> has_braces("{00..12}.tar"), has_braces("{a,b}.tar"), has_braces("{a}.tar")
    (True, True, False)
    """
    return any(_alternatives(body) is not None for _, body, _ in _groups(argument))


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield what braces stand for, in the order they are written; nothing is kept in memory.

    A range keeps its zeros: ``{08..10}`` is 08, 09, 10.  Braces may hold others.  Braces with
    neither a comma nor a range stand for themselves.

    Examples
    --------
    >>> list(expand_braces("{train,val}/{8..10}.tar"))[2:4]
    ['train/10.tar', 'val/8.tar']
    """
    for head, body, tail in _groups(pattern):
        alternatives = _alternatives(body)
        if alternatives is not None:
            for middle in alternatives:
                for end in expand_braces(tail):
                    yield head + middle + end
            return
    yield pattern


def _groups(pattern: str) -> Iterator[tuple[str, str, str]]:
    """Yield each outermost pair of braces: what is before, inside and after it."""
    depth = start = 0
    for at, character in enumerate(pattern):
        if character == "{":
            start = at if depth == 0 else start
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                yield pattern[:start], pattern[start + 1 : at], pattern[at + 1 :]


def _alternatives(body: str) -> Iterator[str] | None:
    """Return what the inside of a pair of braces stands for; None if it is no list or range."""
    parts = _split(body)
    if len(parts) > 1:
        return (text for part in parts for text in expand_braces(part))
    if found := NUMBERS.fullmatch(body):
        return _numbers(found)
    if found := LETTERS.fullmatch(body):
        first, last = map(ord, found.groups())
        step = 1 if first <= last else -1
        return map(chr, range(first, last + step, step))
    if has_braces(body):
        return ("{" + text + "}" for text in expand_braces(body))
    return None


def _split(body: str) -> list[str]:
    """Return the parts between commas that lie in no inner braces."""
    parts, depth = [""], 0
    for character in body:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _numbers(found: re.Match[str]) -> Iterator[str]:
    first, last = int(found[1]), int(found[2])
    step = abs(int(found[3] or 1)) or 1
    is_padded = any(re.match(r"-?0[0-9]", text) for text in found.groups()[:2])
    width = max(len(found[1]), len(found[2])) if is_padded else 0
    stop, step = (last + 1, step) if first <= last else (last - 1, -step)
    return (f"{number:0{width}d}" for number in range(first, stop, step))
