"""The frame of a page: one HTML file with its style inside, light or dark as the reader has it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib.resources import files
from pathlib import Path

from featx.data.files import writing

# The browser itself refuses whatever is not in the file.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{summary}</p>
</header>
<main>
"""

_FOOT = """</main>
</body>
</html>
"""


@contextmanager
def writing_page(path: Path, title: str, summary: str) -> Iterator[Callable[[str], None]]:
    """Give a function that writes sections of HTML; the page is there whole, or not at all.

    Parameters
    ----------
    path : Path
    title, summary : str
        Plain text; they are escaped.  Sections are written as they are.

    Raises
    ------
    StoreError
        If the disk is full or the place cannot be written; `path` is as it was.
    """
    style = files("featx.report").joinpath("page.css").read_text(encoding="utf-8")
    head = _HEAD.format(
        policy=escape(_POLICY), title=escape(title), summary=escape(summary), style=style
    )
    # Half of a surrogate pair, as in a file name that is not UTF-8, becomes a readable escape.
    with (
        writing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):

        def write(section: str) -> None:
            file.write(section)

        write(head)
        yield write
        write(_FOOT)
