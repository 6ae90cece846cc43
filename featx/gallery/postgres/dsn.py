"""DSN: where a server is, with what is secret kept apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from featx.errors import InputError

SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret"})
"""What is used to connect, and neither stored nor shown."""


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where a server is.

    Attributes
    ----------
    params : mapping of str to str
        Parameters of libpq, without secrets.
    secrets : mapping of str to str
    """

    params: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URI or ``key=value`` pairs; an empty text leaves all to the environment.

        Raises
        ------
        InputError
            If it is neither; the text is not repeated, since a password may be in it.
        """
        try:
            found = {name: str(value) for name, value in conninfo_to_dict(text).items() if value}
        except Error:
            raise InputError(
                "--dsn: is no address of PostgreSQL; expected postgresql://user@host:5432/database "
                "or 'host=... dbname=... user=...'"
            ) from None  # its message repeats the text
        public = {name: value for name, value in found.items() if name not in SECRETS}
        return cls(public, {name: found[name] for name in found.keys() & SECRETS})

    @property
    def conninfo(self) -> str:
        """What libpq takes, secrets included."""
        return make_conninfo("", **self.params, **self.secrets)

    def __str__(self) -> str:
        """Return what can be shown to anyone."""
        return make_conninfo("", **self.params) or "the default server"


def without_secrets(words: Sequence[str], dsns: Sequence[str]) -> list[str]:
    """Return the words of a command line with each DSN as it may be shown.

    Examples
    --------
    >>> text = "postgresql://me:secret@db/photos"
    >>> without_secrets(["--dsn", text], [text])
    ['--dsn', 'user=me dbname=photos host=db']
    """
    for text in filter(None, dsns):
        shown = make_conninfo("", **Dsn.parse(text).params)
        words = [word.replace(text, shown) for word in words]
    return list(words)
