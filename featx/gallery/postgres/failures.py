"""Failures: what PostgreSQL says, as one line that names the server and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Error, OperationalError, errors

from featx.errors import FeatxError, InputError, StoreError


class LostError(StoreError):
    """The connection to a server was lost; another one may be made."""


class GoneError(StoreError):
    """The tables of a gallery are not there."""


_REFUSED = {
    "password authentication failed": "the password is wrong",
    "no password supplied": "it asks for a password",
    "no pg_hba.conf entry": "it does not let this user or this machine in",
    "is not permitted to log in": "the user may not log in",
    "permission denied for database": "the user may not use that database",
    "authentication failed": "it does not let this user in",
}
_PASSWORDS = "set PGPASSWORD, or put it into ~/.pgpass or a service file"

_ADVICE: tuple[tuple[type[Error], str], ...] = (
    (errors.InsufficientPrivilege, "ask who runs the server for that right"),
    (errors.ReadOnlySqlTransaction, "name the primary server, which may be written to"),
    (errors.DiskFull, "free some space on the server and do it again"),
    (errors.QueryCanceled, "raise statement_timeout of the user and do it again"),
    (errors.LockNotAvailable, "do it again when the table is free"),
    (errors.TooManyConnections, "raise max_connections of the server, or close some"),
    (errors.OutOfMemory, "give the server more memory, or ask it for less at once"),
    (errors.DeadlockDetected, "do it again"),
)
_LOST = ("08", "57P")
"""Classes of SQLSTATE after which a connection is gone; none is told where it never was there."""

_VALUES = (
    errors.NumericValueOutOfRange,
    errors.ProgramLimitExceeded,
    errors.DataException,
)


@contextmanager
def explained(server: object) -> Iterator[None]:
    """Turn what PostgreSQL and its client raise into a `FeatxError`.

    Parameters
    ----------
    server : object
        Shown as text.
    """
    try:
        yield
    except FeatxError:
        raise
    except Error as cause:
        raise _told(f"PostgreSQL at {server}", cause) from cause


def _told(where: str, cause: Error) -> FeatxError:
    said = _first_line(cause)
    if isinstance(cause, errors.UndefinedTable | errors.InvalidSchemaName):
        return GoneError(f"{where}: the tables of the gallery are gone ({said})")
    for kind, advice in _ADVICE:
        if isinstance(cause, kind):
            return StoreError(f"{where}: {said}; {advice}")
    if isinstance(cause, _VALUES):
        return InputError(f"a value cannot be stored in PostgreSQL: {said}")
    if isinstance(cause, OperationalError):
        return _refused(where, said) or _lost(where, said, cause.sqlstate)
    return StoreError(f"{where}: {said}")


def _refused(where: str, said: str) -> StoreError | None:
    """Return why a server lets nobody in, if it said so."""
    for text, meaning in _REFUSED.items():
        if text in said:
            return StoreError(f"{where}: {meaning} ({said}); {_PASSWORDS}")
    if "does not exist" in said:
        return StoreError(f"{where}: {said}; create it, or correct --dsn")
    return None


def _lost(where: str, said: str, sqlstate: str | None) -> StoreError:
    """Return a LostError where the connection is; others came over one that still is there."""
    if sqlstate is not None and not sqlstate.startswith(_LOST):
        return StoreError(f"{where}: {said}")
    if "the database system is" in said:  # starting up, shutting down, in recovery
        return LostError(f"{where}: {said}; do it again in a moment")
    return LostError(f"{where}: cannot be reached ({said}); is it running, and is --dsn right?")


def _first_line(cause: Error) -> str:
    """Return what is said in one line; libpq puts each address that it tried on its own."""
    lines = [line.strip().lstrip("- ") for line in str(cause).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Is the server", "Multiple conn"))]
    return (told[0] if told else type(cause).__name__).removeprefix("connection failed: ")
