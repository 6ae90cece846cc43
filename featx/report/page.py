"""The frame of a page: one HTML file with its style inside, light or dark as the reader has it."""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from importlib.resources import files
from pathlib import Path

from featx.data.files import writing
from featx.report.outputs import PAGE_MARK

# The browser itself refuses whatever is not in the file.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{mark}
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

_FOOT = """</body>
</html>
"""


def own_file(name: str) -> str:
    """Return the text of a style or a script of this room."""
    return files("featx.report").joinpath(name).read_text(encoding="utf-8")


@contextmanager
def writing_page(
    path: Path, title: str, summary: str, *, scripts: Sequence[str] = ()
) -> Iterator[Callable[[str], None]]:
    """Give a function that writes sections of HTML; the page is there whole, or not at all.

    Parameters
    ----------
    path : Path
    title, summary : str
        Plain text; they are escaped.  Sections are written as they are.
    scripts : sequence of str, optional
        JavaScript, run in this order once the sections are there.  The browser runs these and no
        other: the page names their hashes (Content Security Policy Level 3, ``script-src``).
        Such a page has the style of reports, too.

    Raises
    ------
    StoreError
        If the disk is full or the place cannot be written; `path` is as it was.
    """
    head = _HEAD.format(
        mark=PAGE_MARK,
        policy=escape(_policy(scripts)),
        title=escape(title),
        summary=escape(summary),
        style=own_file("page.css") + (own_file("report.css") if scripts else ""),
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
        write("</main>\n")
        for script in scripts:
            write(f"<script>{script}</script>\n")
        write(_FOOT)


def _policy(scripts: Sequence[str]) -> str:
    """Return what a browser may load and run, given the scripts of a page."""
    if not scripts:
        return _POLICY
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{b64encode(each).decode()}'" for each in digests)
    return f"{_POLICY}; script-src {hashes}"
