"""Files, and standard input, with an item a line: texts, or paths."""

import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data.sources.located import located, uri_of
from featx.data.sources.options import Options
from featx.data.sources.record import readable
from featx.errors import InputError
from featx.types import Item

STDIN = "-"
BOM = b"\xef\xbb\xbf"


class Lines:
    """Non-empty lines of a text file, or of standard input where the path is ``-``.

    A line is a text if the modality is ``text``, else a path, relative to the folder of the file
    (for standard input: to the working folder).

    Parameters
    ----------
    path : Path
    options : Options
    """

    kind = "lines"
    skipped = 0

    def __init__(self, path: Path, options: Options) -> None:
        self.is_stdin = str(path) == STDIN
        self.path = path if self.is_stdin else path.absolute()
        self.options = options
        self.name = "stdin" if self.is_stdin else path.name
        self.holds_paths = options.modality != "text"

    def __iter__(self) -> Iterator[Item]:
        """Yield a line at a time; of paths, each once."""
        seen: set[str] = set()
        for number, raw in self._raw_lines():
            item = self._item(number, raw)
            if self.holds_paths:
                if item.id in seen:
                    continue
                seen.add(item.id)
            yield item

    def __len__(self) -> int:
        """Return the number of items; reads the file once."""
        return self._count

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        return {"kind": self.kind, "paths": [str(self.path)], **self.options.facts()}

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in (self if self.holds_paths else self._raw_lines()))

    @cached_property
    def _stdin(self) -> list[bytes]:
        return sys.stdin.buffer.readlines()

    def _raw_lines(self) -> Iterator[tuple[int, bytes]]:
        if self.is_stdin:
            yield from _number(iter(self._stdin))
        else:
            with readable(self.path), self.path.open("rb") as file:
                yield from _number(file)

    def _item(self, number: int, raw: bytes) -> Item:
        default = f"{self.name}:{number}"
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            return Item(id=default, content="", problem=f"line {number}: not UTF-8")
        if not self.holds_paths:
            return Item(id=default, content=line)
        folder = (Path() if self.is_stdin else self.path.parent).absolute()
        try:
            content = located(folder, line)
        except InputError as error:  # of a URL, which may hold a password
            return Item(id=default, content="", problem=f"line {number}: {error}")
        return Item(id=line, content=content, uri=uri_of(content))


class PathList(Lines):
    """A file with a path a line, whatever the modality."""

    kind = "list"

    def __init__(self, path: Path, options: Options) -> None:
        super().__init__(path, options)
        self.holds_paths = True


def _number(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their number from 1, without line ends."""
    for number, line in enumerate(lines, start=1):
        text = (line.removeprefix(BOM) if number == 1 else line).rstrip(b"\r\n")
        if text.strip():
            yield number, text
