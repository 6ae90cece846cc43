"""Arguments that may be a path or a URL: sets at URLs are copied to the cache first.

`SetPath`, `ItemOrSet` and `NewSet` take URLs; whatever else is a path is a
`featx.cli.localpath.LocalPath`.
"""

import os
from typing import Any

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.data.places import Address, is_url, require_known
from featx.errors import InputError


class SetPath(click.Path):
    """A path, or the URL of an embedding set; of that the path of a copy in the cache."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Return the path."""
        require_known(str(value))
        if is_url(str(value)):
            value = _copied(str(value))
        return super().convert(value, param, ctx)


class NewSet(click.Path):
    """The path or the URL of an embedding set to make."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Return it as a path; of a URL that has lost a slash."""
        require_known(str(value))
        return super().convert(value, param, ctx)


class OwnSet(LocalPath):
    """The path of an embedding set that is changed where it lies."""

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
            If it is a URL.
        """
        if is_url(str(value)) and (address := Address.parse(str(value))).scheme != "file":
            raise InputError(
                f"{address}: is changed in place, which only a set on this machine is; change "
                "the set that was uploaded and upload it again, or embed again to the URL"
            )
        return super().convert(value, param, ctx)


class ItemOrSet(click.ParamType[str]):
    """A path, a URL or a text; of the URL of an embedding set the path of a copy in the cache."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the path, the URL or the text."""
        from featx.data.places.copies import names_set

        text = str(value)
        return _copied(text) if is_url(text) and names_set(text) else text


def _copied(url: str) -> str:
    from featx.data.places.copies import local_copy

    address = Address.parse(url)
    return address.key if address.scheme == "file" else str(local_copy(url, say=o.say))
