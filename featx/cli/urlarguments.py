"""Arguments that may be a path or a URL: sets at URLs are copied to the cache first.

`SetPath`, `ItemOrSet` and `NewSet` take URLs; whatever else is a path is a
`featx.cli.localpath.LocalPath`.
"""

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath, ReadPath
from featx.data.places import Address, is_url, require_known
from featx.errors import InputError


class SetPath(ReadPath):
    """A path, or the URL of an embedding set; of that the path of a copy in the cache."""

    def read(self, text: str) -> str:
        """Return the path."""
        require_known(text)
        return _copied(text) if is_url(text) else text


class NewSet(ReadPath):
    """The path or the URL of an embedding set to make; as a path, a URL has lost a slash."""

    def read(self, text: str) -> str:
        """Return the text as it is."""
        require_known(text)
        return text


class OwnSet(LocalPath):
    """The path of an embedding set that is changed where it lies."""

    def read(self, text: str) -> str:
        """Return the path; a URL is refused."""
        if is_url(text) and (address := Address.parse(text)).scheme != "file":
            raise InputError(
                f"{address}: is changed in place, which only a set on this machine is; change "
                "the set that was uploaded and upload it again, or embed again to the URL"
            )
        return super().read(text)


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
