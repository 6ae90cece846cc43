"""What a page or a map may replace: one of its own kind, and nothing in an embedding set."""

from pathlib import Path

from featx.data.files import explained
from featx.data.outside import require_outside_sets
from featx.errors import InputError, StoreError

PAGE_MARK = '<meta name="generator" content="featx">'
"""Stands near the top of each page."""

MAP_MARK = {b"featx": b"map"}
"""Stands in the metadata of the schema of each map."""

PAGE_SUFFIXES = (".html", ".htm")

MAP_SUFFIX = ".parquet"

# As much of a file as a browser looks through for its encoding (HTML, "prescan a byte stream").
_TOP_BYTES = 1024


def require_page(out: Path) -> None:
    """Raise before a file would be replaced that is no page of ours.

    Raises
    ------
    InputError
        If its name does not end as that of a page.
    StoreError
        Also if `out` lies in an embedding set.
    """
    _require_suffix(out, PAGE_SUFFIXES, "a page")
    require_outside_sets(out)
    if _is_new(out):
        return
    with explained(out), out.open("rb") as file:
        top = file.read(_TOP_BYTES)
    if PAGE_MARK.encode() not in top:
        message = f"{out}: a file that is not a page of featx is in the way; choose another name"
        raise StoreError(message)


def require_map(out: Path) -> None:
    """Raise before a file would be replaced that is no map of ours.

    Raises
    ------
    InputError
        If its name does not end as that of a map.
    StoreError
        Also if `out` lies in an embedding set.
    """
    _require_suffix(out, (MAP_SUFFIX,), "a map")
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_outside_sets(out)
    if _is_new(out):
        return
    try:
        with explained(out):
            found = pq.read_schema(out).metadata or {}
    except pa.ArrowInvalid:  # no Parquet file, or a damaged one
        found = {}
    if not MAP_MARK.items() <= found.items():
        message = f"{out}: a file that is not a map of featx is in the way; choose another name"
        raise StoreError(message)


def _require_suffix(out: Path, known: tuple[str, ...], what: str) -> None:
    if out.suffix.lower() not in known:
        message = f"{out}: unknown suffix {out.suffix!r}; {what} ends in {' or '.join(known)}"
        raise InputError(message)


def _is_new(out: Path) -> bool:
    """Return whether there is nothing to lose."""
    return not out.is_file() or not out.stat().st_size
