"""Arguments that are paths of this machine, and no URLs."""

import os
import re
from abc import ABC, abstractmethod
from typing import Any

import click

_ANY_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


class ReadPath(click.Path, ABC):
    """A path whose text is read in another way first."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Return the path that `read` makes of a text."""
        return super().convert(self.read(os.fspath(value)), param, ctx)

    @abstractmethod
    def read(self, text: str) -> str:
        """Return the path that is meant.

        Raises
        ------
        InputError
            If there is none.
        """


class LocalPath(ReadPath):
    """A path of this machine; of a ``file://`` URL the path that it names.

    Another URL is refused: as a path it would be a folder named ``s3:``.
    """

    def read(self, text: str) -> str:
        """Return a text that is such a path."""
        return local_path(text)


def local_path(text: str) -> str:
    """Return a text that is a path of this machine; of a ``file://`` URL the path.

    Raises
    ------
    InputError
        If it is another URL.
    """
    from featx.data.places import Address, is_url
    from featx.errors import InputError

    if is_url(text):
        address = Address.parse(text)
        if address.scheme == "file":
            return address.key
        text = str(address)
    if _ANY_URL.match(text):
        raise InputError(f"{text}: is a URL; a path of this machine is needed here")
    return text
