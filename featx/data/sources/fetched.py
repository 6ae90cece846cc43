"""Tables, tars, texts and arrays at a URL: copied to the cache, and opened from there."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data.places.address import Address
from featx.data.places.fetched import fetch_version
from featx.data.places.spans import StoredSpan
from featx.data.places.stored import StoredFile
from featx.data.sources.options import DescribedSource, Options, SkipsFiles
from featx.errors import InputError
from featx.types import Content, Item, Span

Opener = Callable[[Path, Options], DescribedSource]


class Fetched:
    """A file at a URL; copied when it is first looked into, and then once for each version.

    Ids, uris and messages are those of the URL.  Files that a table or list names lie beside it.

    Parameters
    ----------
    url : str
    options : Options
    opener : callable
        The source that a local file would be.
    """

    def __init__(self, url: str, options: Options, opener: Opener) -> None:
        self.url = url
        self.options = options
        self._opener = opener
        self._address = Address.parse(url)

    @cached_property
    def inner(self) -> DescribedSource:
        """The source of the local copy."""
        with self._told():
            # Whoever reads elsewhere does not see this machine's copy: cells are read here, and
            # parts of a tar are named as those of the object.
            return self._opener(self._path, replace(self.options, names_contents=False))

    def __iter__(self) -> Iterator[Item]:
        """Yield the items as if they lay at the URL."""
        with self._told():
            for item in self.inner:
                yield self._there(item)

    def __len__(self) -> int:
        """Return the number of items."""
        with self._told():
            return len(self.inner)

    @property
    def skipped(self) -> int:
        """Files that were passed over because of their suffix."""
        return self.inner.skipped

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → files passed over because of it."""
        return self.inner.skipped_suffixes if isinstance(self.inner, SkipsFiles) else Counter()

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        with self._told():
            return {**self.inner.describe(), "paths": [self.url]}

    @cached_property
    def _copy(self) -> tuple[Path, str]:
        """The local copy, and the tag of its version."""
        return fetch_version(self.url)

    @property
    def _path(self) -> Path:
        return self._copy[0]

    @cached_property
    def _origin(self) -> str:
        """What tells this version of the file from others, wherever its copy lies."""
        return f"{self.url} {self._copy[1]}"

    def _there(self, item: Item) -> Item:
        here = str(self._path)
        if item.uri.startswith(here):
            item = replace(item, uri=self.url + item.uri[len(here) :])
        if isinstance(item.content, Span):
            return replace(item, content=self._part(item.content))
        if not isinstance(item.content, Path):
            return item
        relative = os.path.relpath(item.content, self._path.parent)
        key = os.path.normpath(os.path.join(self._address.parent.key, relative))  # noqa: PTH118
        if key.startswith(".."):
            problem = f"names {str(item.content)!r}, which does not lie in the bucket of {self.url}"
            return replace(item, content="", uri="", problem=item.problem or problem)
        stored = StoredFile.unseen(str(replace(self._address, key=key)))
        return replace(item, content=stored, uri=stored.url)

    def _part(self, span: Span) -> Content:
        """Return a part of the copy, or of the object where it is to be read elsewhere."""
        tag = self._copy[1]
        if not self.options.names_contents or not tag:
            return replace(span, origin=self._origin)
        return StoredSpan(self.url, span.size_bytes, tag, span.offset, self._size_bytes)

    @cached_property
    def _size_bytes(self) -> int:
        return self._path.stat().st_size

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say the URL in place of the copy's path."""
        try:
            yield
        except InputError as cause:
            raise InputError(str(cause).replace(str(self._path), self.url)) from cause
