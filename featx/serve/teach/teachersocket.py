"""Teaching from one process to another: a call is a connection, one frame there and one back.

A frame is its length, four bytes, and msgpack.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from featx.errors import FeatxError, InputError, ItemError, StoreError, TakenError
from featx.gallery.items import ItemFacts
from featx.serve.batcher import BrokenError, BusyError, TimedOutError
from featx.serve.teach.teacher import Example, Teacher

PATIENCE_S = 5.0
"""How long the process that may write is waited for: it may have died, and another one starts."""

ANSWER_S = 30.0
"""How long its answer is waited for."""

_PAUSE_S = 0.05
_LENGTH_BYTES = 4
_LONGEST_FRAME = 1 << 28


class _Sent(msgspec.Struct, array_like=True):
    id: str
    vector: bytes
    space: str
    replace: bool
    label: str | None
    split: str | None
    uri: str
    preview: str
    thumbnail: bytes | None
    over: int | None


class _Add(msgspec.Struct, tag="add", array_like=True):
    examples: list[_Sent]
    left_s: float


class _Remove(msgspec.Struct, tag="remove", array_like=True):
    ids: list[str]
    left_s: float


class _Failure(msgspec.Struct, array_like=True):
    kind: str
    message: str


class _Reply(msgspec.Struct, array_like=True):
    outcomes: list[_Failure | None] = []
    failure: _Failure | None = None


_to_frame = msgspec.msgpack.Encoder()
_asked = msgspec.msgpack.Decoder(_Add | _Remove)
_answered = msgspec.msgpack.Decoder(_Reply)

_KINDS: dict[str, type[FeatxError]] = {
    each.__name__: each
    for each in (
        InputError,
        ItemError,
        TakenError,
        StoreError,
        BusyError,
        TimedOutError,
        BrokenError,
    )
}
"""Errors that cross from one process to another as themselves."""


async def listen(teacher: Teacher, place: Path) -> asyncio.Server:
    """Answer calls at a place, whoever has listened there before.

    Parameters
    ----------
    teacher : Teacher
        That may write.
    place : Path
        Of the socket, which only this user may open.
    """
    place.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(_Calls(teacher).answer, str(place))
    place.chmod(0o600)
    return server


class _Calls:
    """Answers calls of other processes."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one call; a caller that has gone gets none."""
        try:
            with suppress(OSError, asyncio.IncompleteReadError, msgspec.MsgspecError):
                asked = _asked.decode(await _read(reader))
                _write(writer, await self._reply(asked))
                await writer.drain()
        finally:
            writer.close()

    async def _reply(self, asked: _Add | _Remove) -> _Reply:
        try:
            deadline_s = time.monotonic() + asked.left_s
            if isinstance(asked, _Remove):
                await self._teacher.remove(asked.ids, deadline_s=deadline_s)
                return _Reply()
            examples = [_example(each) for each in asked.examples]
            found = await self._teacher.add(examples, deadline_s=deadline_s)
        except FeatxError as error:
            return _Reply(failure=_failure(error))
        return _Reply([None if error is None else _failure(error) for error in found])


class RemoteTeacher:
    """Hands over to the process that may write to the gallery.

    Parameters
    ----------
    place : Path
        Of its socket.
    """

    def __init__(self, place: Path) -> None:
        self._place = place

    async def add(
        self, examples: Sequence[Example], *, deadline_s: float
    ) -> list[FeatxError | None]:
        """Add examples; see `Teacher.add`.

        Raises
        ------
        BusyError
            If the process that may write does not start again in time, or has too much to do.
        BrokenError
            If it ends before it answers: the examples may be there or not.
        """
        left_s = deadline_s - time.monotonic()
        found = await self._call(_Add([_sent(each) for each in examples], left_s))
        return [None if failure is None else _error(failure) for failure in found]

    async def remove(self, ids: Sequence[str], *, deadline_s: float) -> None:
        """Remove items; see `Teacher.remove`, and `add` for what may go wrong on the way."""
        await self._call(_Remove(list(ids), deadline_s - time.monotonic()))

    def close(self) -> None:
        """Do nothing: a connection ends with its call."""

    async def _call(self, asked: _Add | _Remove) -> list[_Failure | None]:
        reader, writer = await self._connected()
        try:
            async with asyncio.timeout(ANSWER_S):
                _write(writer, asked)
                reply = _answered.decode(await _read(reader))
        # TimeoutError is an OSError.
        except (OSError, asyncio.IncompleteReadError, msgspec.MsgspecError) as cause:
            raise BrokenError(
                "the process that writes to the gallery did not answer; "
                "see whether it was done before you ask again"
            ) from cause
        finally:
            writer.close()
        if reply.failure is not None:
            raise _error(reply.failure)
        return reply.outcomes

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await asyncio.open_unix_connection(str(self._place))
            except OSError as cause:
                if time.monotonic() > end_s:
                    raise BusyError(
                        "the process that writes to the gallery is starting again, or another "
                        "program writes to it; ask again later"
                    ) from cause
            await asyncio.sleep(_PAUSE_S)


async def _read(reader: asyncio.StreamReader) -> bytes:
    size = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    if size > _LONGEST_FRAME:
        message = f"a frame of {size} bytes"
        raise OSError(message)
    return await reader.readexactly(size)


def _write(writer: asyncio.StreamWriter, value: _Add | _Remove | _Reply) -> None:
    frame = _to_frame.encode(value)
    writer.write(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)


def _sent(example: Example) -> _Sent:
    facts = example.facts
    return _Sent(
        id=example.id,
        vector=example.vector.astype("<f4", copy=False).tobytes(),
        space=example.space,
        replace=example.replace,
        label=facts.label,
        split=facts.split,
        uri=facts.uri,
        preview=facts.preview,
        thumbnail=facts.thumbnail,
        over=example.over,
    )


def _example(sent: _Sent) -> Example:
    facts = ItemFacts(
        label=sent.label,
        split=sent.split,
        uri=sent.uri,
        preview=sent.preview,
        thumbnail=sent.thumbnail,
    )
    vector = np.frombuffer(sent.vector, "<f4").astype(np.float32)
    return Example(
        id=sent.id,
        vector=vector,
        space=sent.space,
        facts=facts,
        replace=sent.replace,
        over=sent.over,
    )


def _failure(error: FeatxError) -> _Failure:
    names = (kind.__name__ for kind in type(error).__mro__)
    return _Failure(next((name for name in names if name in _KINDS), "StoreError"), str(error))


def _error(failure: _Failure) -> FeatxError:
    return _KINDS[failure.kind](failure.message)
