"""Arguments that are paths of this machine, and no URLs."""

import os
import re
from typing import Any

import click

_ANY_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


class LocalPath(click.Path):
    """A path of this machine; of a ``file://`` URL the path that it names."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Return the path.

        Raises
        ------
        InputError
            If it is another URL: as a path it would be a folder named ``s3:``.
        """
        return super().convert(local_path(os.fspath(value)), param, ctx)


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
