"""An object store on this machine that shows what it has and lets nobody read it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_FACTS = "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>1</ETag><Size>3</Size>"
_FILES = (f"<Contents><Key>secret/{n:03}.txt</Key>{_FACTS}</Contents>" for n in range(100))
LISTING = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(_FILES)}</ListBucketResult>"


class Denying(ThreadingHTTPServer):
    """Denies what is named ``secret``, has no ``gone``, and gives three bytes else.

    It lists a hundred secrets.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, raw, range_bytes = 200, b"bad", self.headers["Range"]
        if "list-type" in self.path:
            raw = LISTING.encode()
        elif "secret" in self.path:
            status, raw = 403, b"<Error><Code>AccessDenied</Code></Error>"
        elif "gone" in self.path:
            status, raw = 404, b"<Error><Code>NoSuchKey</Code></Error>"
        elif range_bytes:
            status, raw = 206, b"b"
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Range", "bytes 0-0/3")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def denying_store() -> Iterator[dict[str, str]]:
    """Give what the environment has to say of a store, which ends with the context."""
    with Denying() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_SKIP_SIGNATURE": "true",
            "AWS_REGION": "us-east-1",
        }
        server.shutdown()
        thread.join()
