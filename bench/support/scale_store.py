"""An object store's server on this machine, and a proxy before it that cuts connections."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BUCKET = "bench"
KEY, SECRET = "bench", "benchsecret"
START_S = 60
WEED = Path(sys.executable).with_name("weed")


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Run SeaweedFS with a bucket, named by the environment; yield its port."""
    s3, master, volume, filer = _ports(4)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}", "AWS_REGION": "us-east-1"}
    keys = [{"accessKey": KEY, "secretKey": SECRET}]
    allowed = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": KEY, "credentials": keys, "actions": allowed}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "weed").mkdir()
    command = [
        str(WEED), "server", f"-dir={folder / 'weed'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0",
        "-s3.port.lance=0", f"-master.port={master}", f"-volume.port={volume}",
        f"-filer.port={filer}", "-master.volumeSizeLimitMB=1024", "-master.telemetry=false",
    ]  # fmt: skip
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait(process, f"http://127.0.0.1:{filer}/buckets/{BUCKET}/first", folder / "weed.log")
        yield s3
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Return once a file can be written."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        request = urllib.request.Request(url, data=b"1", method="PUT")
        with suppress(OSError):
            urllib.request.urlopen(request, timeout=30).close()
            return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-500:]}")


def _ports(count: int) -> list[int]:
    """Return ports that are free, and so those 10,000 above, which the server takes too."""
    found: list[int] = []
    for port in range(11_000, 20_000):
        with suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


class Proxy:
    """A proxy before a server that cuts connections.

    Parameters
    ----------
    target : int
        Port of the server.
    cuts : list of int
        A connection that has passed on so many bytes is cut; each is used once.
    """

    def __init__(self, target: int, cuts: list[int]) -> None:
        self.target = target
        self.left = sorted(cuts)
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no further connection."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
                passed = [0]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(*ends, passed), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, passed: list[int]) -> None:
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                passed[0] += len(chunk)
                if self._is_due(passed[0]):
                    break
                sink.sendall(chunk)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _is_due(self, passed: int) -> bool:
        with self._guard:
            due = next((cut for cut in self.left if cut <= passed), None)
            if due is not None:
                self.left.remove(due)
        return due is not None
