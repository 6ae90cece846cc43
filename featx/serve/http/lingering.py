"""Lingering: reading on for a moment after the last word, so that it is heard.

A socket that is closed while more has come than was read is reset, and the client loses the
answer that it was sent.
"""

import asyncio
from contextlib import suppress

from starlette.types import Receive

LINGER_S = 2.0


async def linger(receive: Receive) -> None:
    """Throw away what comes of a request, for two seconds at most.

    Parameters
    ----------
    receive : ASGI receive
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False):
                pass
