"""Texts of strangers on a terminal, which some characters give orders to."""

import re

_ORDERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, breaks of lines and directions, and bytes that are no text."""


def harmless(text: str) -> str:
    r"""Return a text on one line, with escapes for what a terminal would act on.

    Examples
    --------
    >>> harmless("query: \x1b]0;owned\x07")
    'query: \\x1b]0;owned\\x07'
    """
    return _ORDERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
