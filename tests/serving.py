"""Services for tests: in a thread of this process, or as a process of their own.

The fixtures are known to every test (`conftest` imports them); what they give is not to be changed:
a test that teaches a gallery copies it first, by `copy_of`.
"""

import atexit
import csv
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from featx.types import Vectors

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from featx.serve.service import Service
    from featx.serve.settings import ServeSettings

LONGEST_S = 60.0
DIM = 8


@dataclass
class Served:
    """A service that runs.

    Attributes
    ----------
    url : str
        ``http://127.0.0.1:54321``
    line : str
        What it said when it was ready.
    app : Starlette or None
        Of a service in this process.
    process : Popen or None
        Of one that is a process of its own.
    lines : list of str
        What that has said on stderr so far.
    """

    url: str
    line: str = ""
    app: "Starlette | None" = None
    process: "subprocess.Popen[str] | None" = None
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        found = urlsplit(self.url)
        assert found.hostname is not None
        assert found.port is not None
        return found.hostname, found.port

    @property
    def service(self) -> "Service":
        assert self.app is not None
        service: Service = self.app.state.service
        return service

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Message, bytes]:
        """Return status, headers and body of an answer; a connection for each request."""
        connection = http.client.HTTPConnection(*self.address, timeout=LONGEST_S)
        try:
            sent = body.encode() if isinstance(body, str) else body
            connection.request(method, path, sent, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(
        self,
        method: str,
        path: str,
        document: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Send a JSON value, unless it is None; return status and the JSON value of the answer."""
        body = None if document is None else json.dumps(document)
        given = {} if document is None else {"content-type": "application/json"}
        status, _, answer = self.request(method, path, body, {**given, **(headers or {})})
        return status, json.loads(answer) if answer else None


@cache
def cache_folder() -> Path:
    """Return a cache that all services of this test process share."""
    folder = Path(tempfile.mkdtemp(prefix="featx-serving-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def serving(thing: object, **chosen: Any) -> Iterator[Served]:  # noqa: ANN401 (as ServeSettings)
    """Serve something in a thread of this process, on a free port.

    Parameters
    ----------
    thing : str or Path
    **chosen
        Fields of `ServeSettings`.
    """
    from featx.backbone.settings import Settings
    from featx.serve.server import listen
    from featx.serve.settings import ServeSettings

    backbone = Settings(device="cpu", threads=1, cache=cache_folder())
    settings = ServeSettings(thing=str(thing), **{"port": 0, "backbone": backbone, **chosen})
    with listen(settings) as listening:
        running = _Running(settings, listening)
        running.start()
        try:
            assert running.is_up.wait(LONGEST_S)
            if running.failure is None:
                host, port = listening.getsockname()[:2]
                where = f"[{host}]" if ":" in host else host
                yield Served(f"http://{where}:{port}", line=running.line, app=running.server.app)
        finally:
            running.server.should_exit = True
            running.join(LONGEST_S)
            assert not running.is_alive()
    if running.failure is not None:
        raise running.failure


class _Running(Thread):
    """A service in a thread."""

    def __init__(self, settings: "ServeSettings", listening: socket.socket) -> None:
        from featx.serve.server import OneServer, config_of

        super().__init__(name="serving")
        self.server = OneServer(config_of(settings), self._tell)
        self.is_up = Event()
        self.line = ""
        self.failure: BaseException | None = None
        self._listening = listening

    def _tell(self, line: str, _: int) -> None:
        self.line = line
        self.is_up.set()

    def run(self) -> None:
        try:
            self.server.run([self._listening])
        except BaseException as failure:  # noqa: BLE001  (raised where it was asked for)
            self.failure = failure
        finally:
            self.is_up.set()


@contextmanager
def process(
    thing: object, *options: object, env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Serve something by ``python -m featx serve`` on a free port.

    Parameters
    ----------
    thing : str or Path
    *options
        Of the command line.
    env : mapping of str to str, optional
        Added to the environment.
    """
    command = [sys.executable, "-m", "featx", "serve", str(thing), "--port", "0"]
    own = {"FEATX_CACHE_DIR": str(cache_folder()), "FEATX_DEVICE": "cpu", "FEATX_THREADS": "1"}
    started = subprocess.Popen(
        [*command, *map(str, options)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **own, **(env or {})},
    )
    served = Served("", process=started)
    thread = Thread(target=_listen, args=[served], name="listening")
    thread.start()
    try:
        ends_s = time.monotonic() + LONGEST_S
        while not served.url:
            assert started.poll() is None, "".join(served.lines)
            assert time.monotonic() < ends_s, "".join(served.lines)
            time.sleep(0.01)
        yield served
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGTERM)
        try:
            started.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            raise
        finally:
            thread.join()
            assert started.stderr is not None
            started.stderr.close()


def _listen(served: Served) -> None:
    """Keep what a process says, and learn its address from its first line."""
    assert served.process is not None
    assert served.process.stderr is not None
    for line in served.process.stderr:
        served.lines.append(line)
        if not served.url and " at http://" in line:
            served.line = line.rstrip("\n")
            served.url = line.partition(" at ")[2].split()[0]


def copy_of(thing: Path, folder: Path) -> Path:
    """Return a copy that may be changed."""
    place = folder / thing.name
    if thing.is_dir():
        shutil.copytree(thing, place)
    else:
        shutil.copy(thing, place)
    return place


def embed(source: Path, model: str, out: Path, *options: str) -> Path:
    """Embed something by the command line, in a cache of its own."""
    from command_line import done

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATX_CACHE_DIR", str(cache_folder()))
        patch.setenv("FEATX_DEVICE", "cpu")
        done("embed", source, "-m", model, "-o", out, "-q", *options)
    return out


def vectors(n: int = 60, seed: int = 0) -> Vectors:
    """Return vectors (n, 8) of three classes, a, b and c, in turn."""
    X = np.random.default_rng(seed).normal(0, 0.5, (n, DIM)).astype(np.float32)
    X[np.arange(n), np.arange(n) % 3] += 3
    return X


def label_of(row: int) -> str:
    """Return the label of a row of `vectors`."""
    return "abc"[row % 3]


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def vector_set(served_folder: Path) -> Path:
    """Give 60 vectors of 8 numbers of the identity model: items v0 to v59, labels a, b and c."""
    from featx.backbone.backbone import Backbone, identity
    from featx.data.rows import Row
    from featx.data.writer import SetWriter

    path = served_folder / "vectors.emb"
    X = vectors()
    with SetWriter(path, model=Backbone(identity(DIM)).facts) as writer:
        rows = [
            Row(
                id=f"v{row}",
                digest=f"{row:064x}",
                uri="",
                label=label_of(row),
                split="train" if row % 2 else "test",
                preview=f"vector {row}",
            )
            for row in range(len(X))
        ]
        writer.append(rows, X)
        writer.seal()
    return path


@pytest.fixture(scope="session")
def vector_gallery(vector_set: Path) -> Path:
    """Give a gallery of `vector_set`."""
    return _gallery_of(vector_set)


@pytest.fixture(scope="session")
def vector_head(vector_set: Path) -> Path:
    """Give a head of the classes a, b and c on `vector_set`."""
    return _head_of(vector_set)


@pytest.fixture(scope="session")
def text_backbone() -> str:
    return "minilm-l6"


@pytest.fixture(scope="session")
def text_set(served_folder: Path, text_backbone: str) -> Path:
    """Give 40 short mails, half spam, half ham; their ids are those of the samples."""
    from featx import samples

    with (samples.folder() / "mails.csv").open(encoding="utf-8", newline="") as file:
        mails = sorted(csv.DictReader(file), key=lambda mail: len(mail["text"]))
    source = served_folder / "mails.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text", "label"])
        writer.writeheader()
        for label in ("spam", "ham"):
            writer.writerows([mail for mail in mails if mail["label"] == label][:20])
    columns = ("--id-col", "id", "--text-col", "text", "--label-col", "label")
    return embed(source, text_backbone, served_folder / "mails.emb", *columns)


@pytest.fixture(scope="session")
def text_head(text_set: Path) -> Path:
    """Give a head that tells spam from ham."""
    return _head_of(text_set)


@pytest.fixture(scope="session")
def text_gallery(text_set: Path) -> Path:
    """Give a gallery of `text_set`."""
    return _gallery_of(text_set)


@pytest.fixture(scope="session")
def image_set(served_folder: Path) -> Path:
    """Give 18 pictures of birds, drinks and fruit; their ids are ``birds/<name>.png`` and so on."""
    from featx import samples

    source = served_folder / "clipart"
    for label in ("birds", "drinks", "fruit"):
        (source / label).mkdir(parents=True)
        for path in sorted((samples.folder() / "clipart" / label).iterdir())[:6]:
            shutil.copy(path, source / label)
    return embed(source, "efficientnet-lite0", served_folder / "clipart.emb")


@pytest.fixture(scope="session")
def image_gallery(image_set: Path) -> Path:
    """Give a gallery of `image_set`, with thumbnails."""
    return _gallery_of(image_set)


@pytest.fixture(scope="session")
def sound_gallery(served_folder: Path) -> Path:
    """Give a gallery of eight short sounds of two classes."""
    from featx import samples

    source = served_folder / "sounds"
    for folder in sorted((samples.folder() / "sounds").iterdir())[:2]:
        (source / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:4]:
            shutil.copy(path, source / folder.name)
    return _gallery_of(embed(source, "ge2e", served_folder / "sounds.emb"))


def _gallery_of(path: Path) -> Path:
    """Build a gallery that holds its own vectors, so that it can be copied."""
    from command_line import done

    out = path.with_suffix(".knn")
    done("index", path, "-o", out, "--kind", "exact", "--standalone")
    return out


def _head_of(path: Path) -> Path:
    from command_line import done

    out = path.with_suffix(".head")
    done("train", path, "-o", out, "--head", "ridge")
    return out
