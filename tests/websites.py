"""Small web servers on 127.0.0.1: files with ranges, cut connections, a hub, a package index."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Site:
    """What a server answers with, and what it was asked for.

    Attributes
    ----------
    files : dict of str to bytes
        Path → content.
    headers : dict of str to dict
        Path → headers of its answers.
    statuses : dict of str to int
        Path → status of a refusal.
    moves : dict of str to str
        Path → where a redirection leads.
    cuts : dict of str to list of int
        Path → bytes after which its next answers end too early.
    asked : list of tuple
        Method, path and headers of each request; names of headers as in ``Content-Length``.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    moves: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def ranges(self, path: str) -> list[str]:
        """Return the ranges that a file was asked for, one a GET; nothing for all of it."""
        gets = (asked for asked in self.asked if asked[0] == "GET" and asked[1] == path)
        return [headers.get("Range", "") for _, _, headers in gets]

    def counted(self) -> Counter[str]:
        """Return how often each path was fetched."""
        return Counter(path for method, path, _ in self.asked if method == "GET")


def use_hub(patch: pytest.MonkeyPatch, site: Site, cache: Path) -> None:
    """Make a site the hub of a test, reached though no network may be, with a cache of its own."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        patch.delenv(name, raising=False)
    # The client reads the variables as it is imported, in whichever test is first.
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    patch.setenv("HF_ENDPOINT", site.url)
    patch.setenv("HF_HUB_CACHE", str(cache))


@contextmanager
def served(site: Site) -> Iterator[Site]:
    """Serve a site while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self, site)

        def do_HEAD(self) -> None:
            answer(self, site)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    path = unquote(urlsplit(request.path).path)
    sent = {name.title(): value for name, value in request.headers.items()}
    site.asked.append((request.command, path, sent))
    headers = site.headers.get(path, {})
    if path in site.moves:
        send(request, 302, {"Location": site.moves[path], **headers}, b"")
    elif path in site.statuses or path not in site.files:
        send(request, site.statuses.get(path, 404), headers, b"refused")
    else:
        send_file(request, site.files[path], headers, site.cuts.get(path, []))


def send_file(
    request: BaseHTTPRequestHandler, raw: bytes, headers: dict[str, str], cuts: list[int]
) -> None:
    asked = request.headers.get("Range", "")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    if start >= len(raw) and start:
        send(request, 416, {"Content-Range": f"bytes */{len(raw)}"}, b"")
        return
    status = 206 if asked else 200
    send(request, status, headers, raw[start:], most=cuts.pop(0) if cuts else None)


def send(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    raw: bytes,
    *,
    most: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(raw)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(raw[:most])
    if most is not None:
        request.close_connection = True


def add_repository(
    site: Site, repo: str, files: dict[str, bytes], *, commit: str = COMMIT, branch: str = "main"
) -> None:
    """Serve a repository as the hub does; graphs come from another host, as large files do."""
    listed = [
        {
            "rfilename": name,
            "size": len(raw),
            "lfs": {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), "pointerSize": 1},
        }
        for name, raw in files.items()
    ]
    facts = {"id": repo, "sha": commit, "siblings": listed, "private": False, "tags": []}
    document = json.dumps(facts).encode()
    for revision in (f"/revision/{commit}", f"/revision/{branch}", ""):
        site.files[f"/api/models/{repo}{revision}"] = document
        site.headers[f"/api/models/{repo}{revision}"] = {"Content-Type": "application/json"}
    for name, raw in files.items():
        sha256 = hashlib.sha256(raw).hexdigest()
        for revision in (commit, branch):
            path = f"/{repo}/resolve/{revision}/{name}"
            site.headers[path] = {"X-Repo-Commit": commit, "ETag": f'"{sha256}"'}
            if name.endswith((".onnx", ".onnx_data")):
                other_host = site.url.replace("127.0.0.1", "localhost")
                site.moves[path] = f"{other_host}/large/{sha256}"
                site.headers[path] |= {
                    "X-Linked-Etag": f'"{sha256}"',
                    "X-Linked-Size": str(len(raw)),
                }
                site.files[f"/large/{sha256}"] = raw
            else:
                site.files[path] = raw


def add_package(site: Site, name: str, wheel: str, raw: bytes) -> None:
    """Serve a wheel by a simple index."""
    sha256 = hashlib.sha256(raw).hexdigest()
    page = f'<!DOCTYPE html><html><body><a href="/wheels/{wheel}#sha256={sha256}">{wheel}</a>'
    site.files[f"/simple/{name}/"] = f"{page}</body></html>".encode()
    site.headers[f"/simple/{name}/"] = {"Content-Type": "text/html"}
    site.files[f"/wheels/{wheel}"] = raw
