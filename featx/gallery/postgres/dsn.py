"""DSN: where a server is, with what is secret kept apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from featx.errors import InputError, StoreError

_KNOWN = {each.keyword.decode(): each.dispchar for each in Conninfo.get_defaults()}

_NOT_KEPT = {
    "password",
    "sslpassword",
    "oauth_client_secret",
    "scram_client_key",  # logs in as the password does, which libpq does not say of it
    "scram_server_key",
    "sslkeylogfile",  # a file that libpq writes the keys of the connection to
}

SECRETS = frozenset({name for name, shown in _KNOWN.items() if shown == b"*"} | _NOT_KEPT)
"""What is used to connect, and neither stored nor shown: what libpq hides, and more."""


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

    @classmethod
    def kept(cls, where: str, params: Mapping[str, str], secrets: Mapping[str, str]) -> Self:
        """Return an address as ``gallery.json`` has it, with the secrets of this process.

        Raises
        ------
        StoreError
            If it has a secret, or what libpq does not know; the values are not repeated.
        """
        for name in params:
            if name in SECRETS:
                raise StoreError(
                    f"{where}: holds {name!r}, which is never stored; take it out, and set "
                    "PGPASSWORD or use ~/.pgpass or a service file"
                )
            if name not in _KNOWN:
                raise StoreError(f"{where}: holds {name!r}, which is no parameter of libpq here")
        return cls(params, secrets)

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
    shown = {text: make_conninfo("", **Dsn.parse(text).params) for text in filter(None, dsns)}
    shown |= {f"--dsn={text}": f"--dsn={public}" for text, public in shown.items()}
    return [shown.get(word, word) for word in words]  # whole: one may be the beginning of another
