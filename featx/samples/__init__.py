"""Small real data for first steps: clip art, mails and short sounds.

::

    clipart/<class>/<name>.png    pictures with alpha, longest side at most 192 px
    mails.csv                     columns id, text, label; half spam, half ham
    sounds/<class>/<name>.flac    mono, 16 kHz, at most two seconds

`LICENSES.md` says where each comes from; all of it is public domain or CC0.
"""

from pathlib import Path


def folder() -> Path:
    """Return the folder that holds the samples.

    Examples
    --------
    >>> (folder() / "mails.csv").is_file()
    True
    """
    return Path(__file__).parent
