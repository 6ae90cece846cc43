"""``GET /v1/map``: a map of the gallery, laid out by a process of its own.

::

    first request ──► python -m featx.evaluate.projection X.knn, at the lowest priority
    later ones        the newest map there is, without what was removed since and with the labels
                      of now; a newer one is begun where the gallery has changed
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.data.claim import lock
from featx.data.files import writing
from featx.errors import StoreError
from featx.evaluate.projection import MOST_ROWS, PROGRAM, Method, mark_of
from featx.gallery.held import Held
from featx.gallery.listing import labels_of
from featx.serve.http.bodies import reply
from featx.serve.http.problems import Problem
from featx.serve.routes.browsing import gallery_of
from featx.serve.service import service_of
from featx.serve.thing import Thing

LONGEST_S = 300.0
"""What a map may take; mostly it is seconds."""

AGAIN_S = 30.0
"""A newer map is begun no sooner than this after the last one was."""


class Drawn(msgspec.Struct):
    """A map, as the program prints it.

    Attributes
    ----------
    mark : str
        Of what the gallery held; see `mark_of`.
    method : str
    points : list of (id, x, y)
    """

    mark: str
    method: Method
    points: list[tuple[str, float, float]]


_DECODER = msgspec.json.Decoder(Drawn)


class Cartographer:
    """Has maps of a gallery drawn, one at a time; processes of one service share them.

    Parameters
    ----------
    folder : Path or None
        Where processes of one service find each other.

    Attributes
    ----------
    problem : str
        Why the last map could not be drawn, else empty.
    """

    def __init__(self, folder: Path | None) -> None:
        self.problem = ""
        self._folder = folder
        self._asking = Lock()
        self._drawing: Thread | None = None
        self._not_before_s = 0.0
        self._newest: Drawn | None = None
        self._read_ns = 0

    def newest(self, path: Path, held: Held) -> Drawn | None:
        """Return the newest map, None if there is none yet; one that is newer may be begun.

        Parameters
        ----------
        path : Path
            Of the gallery.
        held : Held
            What it holds.
        """
        with self._asking:
            self._read_shared()
            drawn = self._newest
            if drawn is None or drawn.mark != mark_of(held):
                self._begin(path)
            return drawn

    def _read_shared(self) -> None:
        """Read what another process has had drawn."""
        if self._folder is None:
            return
        file = self._folder / "map.json"
        try:
            changed_ns = file.stat().st_mtime_ns
            if changed_ns != self._read_ns:
                self._newest, self._read_ns = _DECODER.decode(file.read_bytes()), changed_ns
        except OSError:  # there is none yet
            return

    def _begin(self, path: Path) -> None:
        is_drawing = self._drawing is not None and self._drawing.is_alive()
        if is_drawing or time.monotonic() < self._not_before_s:
            return
        claim = None
        if self._folder is not None:
            try:
                claim = lock(self._folder / "map.lock")
            except StoreError:  # another process has one drawn
                return
        self._not_before_s = time.monotonic() + AGAIN_S
        self._drawing = Thread(target=self._draw, args=(path, claim), name="featx-map", daemon=True)
        self._drawing.start()

    def _draw(self, path: Path, claim: int | None) -> None:
        try:
            printed = _run(path)
            drawn = _DECODER.decode(printed)
            if self._folder is not None:
                with writing(self._folder / "map.json") as temporary:
                    temporary.write_bytes(printed)
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
            self.problem = str(error)
        else:
            self._newest, self.problem = drawn, ""
        finally:
            if claim is not None:
                os.close(claim)


def _run(path: Path) -> bytes:
    """Return what the program prints.

    Raises
    ------
    OSError
        With the last line of what it says where it fails.
    """
    options = ["--rows", str(MOST_ROWS), "--parent", str(os.getpid())]
    command = [sys.executable, "-P", "-m", PROGRAM, *options, "--", str(path)]
    # A program of our own, and a path that is no option.
    done = subprocess.run(command, capture_output=True, timeout=LONGEST_S, check=False)  # noqa: S603
    if done.returncode:
        lines = done.stderr.decode(errors="replace").splitlines()
        raise OSError(lines[-1] if lines else f"{PROGRAM} ended with {done.returncode}")
    return done.stdout


async def map_of_items(request: Request) -> Response:
    """Give the places of the items on the map, as soon as it is drawn."""
    thing, state = gallery_of(request), request.app.state
    if not hasattr(state, "cartographer"):
        state.cartographer = Cartographer(service_of(request).settings.folder)
    said = await asyncio.to_thread(_said, state.cartographer, thing)
    return reply(said)


def _said(cartographer: Cartographer, thing: Thing) -> dict[str, Any]:
    assert thing.path is not None
    held = thing.held
    drawn = cartographer.newest(thing.path, held)
    if drawn is None and cartographer.problem:
        message = f"the map could not be drawn: {cartographer.problem}"
        raise Problem(503, "no_map", message, headers={"retry-after": str(int(AGAIN_S))})
    points = [] if drawn is None else _points(drawn, held)
    return {
        "points": points,
        "items": len(held),
        "shown": len(points),
        "method": "t-SNE" if drawn is None else drawn.method,
        "ready": drawn is not None,
    }


def _points(drawn: Drawn, held: Held) -> list[dict[str, Any]]:
    """Return what of a map is still there, labelled as it is now."""
    rows = held.find_all([item_id for item_id, _, _ in drawn.points])
    there = [(rows[item_id], item_id, x, y) for item_id, x, y in drawn.points if item_id in rows]
    labels = labels_of(held, np.array([row for row, *_ in there], np.int64))
    return [
        {"id": item_id, "label": label, "x": x, "y": y}
        for (_, item_id, x, y), label in zip(there, labels, strict=True)
    ]


ROUTES = [Route("/v1/map", map_of_items, methods=["GET"])]
