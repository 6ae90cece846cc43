"""Name → ``"module:attribute"`` tables, imported on first use.

Each room of the house keeps its own table (`featx.modality.MODALITIES`, `featx.heads.HEADS`,
`featx.index.INDEXES`, ...).  A third party adds a line through an entry point of the group
``featx.<kind>``, in the same shape.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from featx.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint


def names(kind: str, table: Mapping[str, str]) -> list[str]:
    """Return every name that `resolve` would accept, the table's own first."""
    added = [entry.name for entry in _entry_points(kind)]
    return [*table, *(name for name in added if name not in table)]


def resolve(kind: str, table: Mapping[str, str], name: str) -> Any:  # noqa: ANN401
    """Import and return the object listed under `name`.

    Parameters
    ----------
    kind : str
        What the table lists, for the message and for the entry-point group ``featx.<kind>``.
    table : mapping of str to str
        Name → ``"module:attribute"``.
    name : str

    Raises
    ------
    UnknownNameError
        Naming the nearest known name.

    Examples
    --------
    >>> resolve("function", {"sqrt": "math:sqrt"}, "sqrt")(9)
    3.0
    """
    if name in table:
        module, _, attribute = table[name].partition(":")
        return getattr(import_module(module), attribute)
    for entry in _entry_points(kind):
        if entry.name == name:
            return entry.load()
    raise UnknownNameError(kind, name, names(kind, table))


def _entry_points(kind: str) -> "Iterable[EntryPoint]":
    from importlib.metadata import entry_points  # 25 ms, rarely needed

    return entry_points(group=f"featx.{kind}")
