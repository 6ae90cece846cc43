"""``featx serve`` as a process: from the line that it is ready to the signal that ends it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from command_line import call, done, refused
from featx.errors import FeatxError, InputError
from featx.serve.settings import ServeSettings
from featx.serve.thing import open_thing
from serving import Served, cache_folder, copy_of, process, serving, vectors

SOON_S = 30.0
ASKED = {"input": vectors(1)[0].tolist()}

MODULES = """
import sys, threading, urllib.request
from featx.serve.processes import run
from featx.serve.settings import ServeSettings
from featx.backbone.settings import Settings
from pathlib import Path

def ask(what, port):
    threading.Thread(target=asked, args=[port]).start()

def asked(port):
    url = f"http://127.0.0.1:{port}/v1/classify"
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, b'{"input": "free money"}', headers)
    print(urllib.request.urlopen(request).read().decode())
    print("LOADED", *sorted(sys.modules))
    import os, signal
    os.kill(os.getpid(), signal.SIGINT)

settings = Settings(device="cpu", threads=1, cache=Path(sys.argv[2]))
run(ServeSettings(thing=sys.argv[1], port=0, backbone=settings), ask)
"""


def until(is_so: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def answers(served: Served) -> bool:
    try:
        return served.json("POST", "/v1/classify", ASKED)[0] == 200
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the workers of a service: the children that are no helper of multiprocessing."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(each)
        for each in found
        if b"resource_tracker" not in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


def sample(served: Served, name: str) -> float:
    _, _, page = served.request("GET", "/metrics")
    for family in text_string_to_metric_families(page.decode()):
        for each in family.samples:
            if each.name == name:
                return each.value
    return 0.0


def test_it_says_what_it_serves_and_ctrl_c_ends_it_at_once(vector_gallery: Path) -> None:
    with process(vector_gallery) as served:
        port = served.address[1]
        assert served.line == (
            f"vectors.knn: 60 items of identity, at http://127.0.0.1:{port} (page), /docs, "
            "/metrics; Ctrl-C ends it"
        )
        assert answers(served)
        started_s = time.monotonic()
        os.kill(served.pid, signal.SIGINT)
        assert served.process is not None
        assert served.process.wait(SOON_S) == 0
        assert time.monotonic() - started_s < 5
    assert len(served.lines) == 1


def test_scikit_learn_is_never_imported(text_head: Path) -> None:
    command = [sys.executable, "-c", MODULES, str(text_head), str(cache_folder())]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    answer, loaded = output.split("LOADED")
    assert json.loads(answer)["results"][0]["label"] in {"spam", "ham"}
    names = {name.partition(".")[0] for name in loaded.split()}
    assert names & {"sklearn", "pandas", "scipy", "tqdm"} == set()
    assert {"starlette", "uvicorn", "onnxruntime", "msgspec"} <= names


def test_sigterm_lets_requests_end_and_is_not_ready_meanwhile(text_head: Path) -> None:
    many = {"input": ["free money now " * 20] * 60}
    found: list[int] = []
    with process(text_head) as served:
        thread = Thread(target=lambda: found.append(served.json("POST", "/v1/classify", many)[0]))
        thread.start()
        until(lambda: sample(served, "featx_items_waiting") > 0)
        os.kill(served.pid, signal.SIGTERM)
        until(lambda: served.json("GET", "/health/ready")[0] == 503)
        status, ready = served.json("GET", "/health/ready")
        assert (status, ready["why"]) == (503, "it is about to end")
        assert served.process is not None
        assert served.process.wait(SOON_S) == 0
        thread.join()
    assert found == [200]
    assert len(served.lines) == 1


def test_sighup_takes_up_what_is_new_and_keys_are_asked_for(
    vector_head: Path, text_head: Path, tmp_path: Path
) -> None:
    place = copy_of(vector_head, tmp_path)
    keys = tmp_path / "keys"
    keys.write_text("one # the first\n# of the team\n  #two\nno#comment\n\n", encoding="utf-8-sig")
    keys.chmod(0o600)
    options = ("--keys-file", keys)
    with process(place, *options, env={"FEATX_API_KEYS": "two, three"}) as served:
        for key in ("one", "two", "three", "no#comment"):
            assert served.json("GET", "/v1/models", headers={"api-key": key})[0] == 200
        for key in ("", "# of the team", "two, three", "four"):
            assert served.json("GET", "/v1/models", headers={"api-key": key})[0] == 401

        copy_of(text_head, tmp_path).replace(place)
        os.kill(served.pid, signal.SIGHUP)
        until(lambda: modality(served, {"api-key": "one"}) == "text")
    told = "a head of 2 classes on minilm-l6 (was a head of 3 classes on identity)"
    assert served.lines[1:] == [f"{place}: opened anew: {told}\n"]


def modality(served: Served, headers: dict[str, str] | None = None) -> str:
    _, found = served.json("GET", "/v1/models", headers=headers)
    return str(found["data"][0]["modality"])


def test_a_worker_that_is_killed_as_soon_as_it_is_ready_is_replaced(vector_head: Path) -> None:
    with process(vector_head, "--workers", 2) as served:
        for pid in children(served.pid):
            os.kill(pid, signal.SIGKILL)

        until(lambda: answers(served))

        assert served.process is not None
        assert served.process.poll() is None


def test_workers_are_looked_after(vector_head: Path, text_head: Path, tmp_path: Path) -> None:
    place = copy_of(vector_head, tmp_path)
    with process(place, "--workers", 2) as served:
        # They share the port and the metrics.
        until(lambda: len(children(served.pid)) == 2)
        before = children(served.pid)
        for _ in range(20):
            assert answers(served)
        until(lambda: sample(served, "featx_requests_total") >= 20)

        # One that is killed is replaced.
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(set(children(served.pid)) - set(before)) == 1)
        for _ in range(10):
            until(lambda: answers(served))
        assert before[1] in children(served.pid)
        assert served.lines[1:] == [f"worker {before[0]} has ended (SIGKILL); another one starts\n"]

        # All take up what is new.
        workers = children(served.pid)
        copy_of(text_head, tmp_path).replace(place)
        os.kill(served.pid, signal.SIGHUP)
        until(lambda: {modality(served) for _ in range(10)} == {"text"})
        assert children(served.pid) == workers

        # They end together.
        os.kill(served.pid, signal.SIGTERM)
        assert served.process is not None
        assert served.process.wait(SOON_S) == 0


@pytest.mark.slow
def test_workers_end_with_their_parent(vector_head: Path) -> None:
    with process(vector_head, "--workers", 2) as served:
        until(lambda: len(children(served.pid)) == 2)
        workers = children(served.pid)
        until(lambda: answers(served))
        os.kill(served.pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def said(*options: object, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Return the exit code and what is said of a service that does not start."""
    command = [sys.executable, "-m", "featx", "serve", *map(str, options)]
    own = {"FEATX_CACHE_DIR": str(cache_folder()), **(env or {})}
    environment = {**os.environ, **own}
    ended = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_opened_is_one_line(tmp_path: Path, workers: int) -> None:
    code, line = said(tmp_path / "none.head", "--port", 0, "--workers", workers)

    assert code == 1
    assert line.startswith(f"error: {tmp_path}/none.head")
    assert line.count("\n") == 1


def test_a_port_that_is_taken_is_told(vector_head: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused("serve", vector_head, "--port", port)

    assert line == f"127.0.0.1:{port}: Address already in use; choose another --port"


def test_a_host_that_is_none_is_told(vector_head: Path) -> None:
    keys = ("--keys-file", "none")
    assert refused("serve", vector_head, *keys).startswith("none: No such file")
    assert refused("serve", vector_head, "--host", "0.0.0.0").startswith(
        "--host 0.0.0.0: other machines reach it, so it needs an API key"
    )


@pytest.mark.parametrize("content", [b"", b"# none\n\n", b"\xff"])
def test_a_file_without_keys_is_refused(vector_head: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)

    line = refused("serve", vector_head, "--keys-file", tmp_path / "keys")

    assert line.startswith(f"{tmp_path}/keys: ")


def test_a_key_with_white_space_is_refused_by_its_line(vector_head: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\ntwo words # of a team\n")

    line = refused("serve", vector_head, "--keys-file", tmp_path / "keys")

    assert line == f"{tmp_path}/keys:2: white space in a key; expected one a line"


def test_the_key_of_a_client_is_no_key_of_a_service(
    vector_head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_API_KEY", "one")
    result = call("serve", vector_head, "--host", "0.0.0.0", "--port", 0)
    monkeypatch.setenv("FEATX_API_KEYS", "two")
    line = refused("serve", vector_head, "--host", "192.0.2.1", "--port", 0)

    note, error = result.stderr.splitlines()
    assert result.exit_code == 1
    assert note == (
        "note: FEATX_API_KEY is the key of a client; a service has its keys from FEATX_API_KEYS"
    )
    assert error.startswith(
        "error: --host 0.0.0.0: other machines reach it, so it needs an API key"
    )
    assert line.startswith("--host 192.0.2.1: ")  # nothing is noted where there is a key


def test_a_gallery_that_a_service_teaches_is_changed_through_that(
    vector_gallery: Path, tmp_path: Path
) -> None:
    gallery, item = copy_of(vector_gallery, tmp_path), tmp_path / "new.npy"
    np.save(item, vectors(1, seed=5))
    key = {"FEATX_API_KEYS": "secret"}
    with process(gallery, env=key) as served:
        lines = [
            refused("index", "add", gallery, item),
            refused("index", "remove", gallery, "v1"),
            refused("serve", gallery, "--allow-teach", "--port", 0),
        ]
        pid = served.pid
    with process(gallery, "--no-teach", env=key) as served:
        done("index", "add", gallery, item)
        _, found = served.json("GET", "/v1/examples", None, {"authorization": "Bearer secret"})

    assert (
        lines
        == [
            f"{gallery}: another process is writing to it; wait for it to end; where that is featx "
            f"serve (process {pid}), change it through that: POST or DELETE /v1/examples, or "
            "featx.Client(URL).teach"
        ]
        * 3
    )
    assert found["total"] == 61


def test_a_host_of_another_machine_is_told(
    vector_head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_API_KEYS", "one")

    line = refused("serve", vector_head, "--host", "192.0.2.1", "--port", 0)

    assert line == "--host 192.0.2.1: is no address of this machine"


@pytest.mark.parametrize("name", ["http://x:80/", "x:80", "x/", "*.x", "a b", ""])
def test_an_allowed_host_is_a_name(vector_head: Path, name: str) -> None:
    result = call("serve", vector_head, f"--allowed-host={name}", "--keys-file", "none")

    assert result.exit_code == 2
    assert "expected a name, without scheme, port and path" in result.stderr


@pytest.mark.parametrize("name", ["x.example", "*", "[::1]", "10.0.0.1"])
def test_a_name_may_be_allowed(vector_head: Path, name: str) -> None:
    line = refused("serve", vector_head, "--allowed-host", name, "--keys-file", "none")

    assert line.startswith("none: ")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mails.hed", "no such file or backbone; did you mean '{folder}/mails.head'?"),
        ("mails", "no such file or backbone; did you mean '{folder}/mails.head'?"),
        ("photos", "is a folder; embed it, then serve a gallery or a head of that"),
        ("mails.csv", "is neither a head nor a gallery; embed it, then serve"),
        ("mails.joblib", "is an exported head; serve the .head file that it is of"),
        ("mails.skops", "is an exported head; serve the .head file that it is of"),
    ],
)
def test_what_is_no_thing_is_told_with_what_to_do(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "photos").mkdir()
    for suffix in ("csv", "head", "joblib", "skops"):
        (tmp_path / f"mails.{suffix}").write_text("id,text\n")

    with pytest.raises(InputError) as caught:
        open_thing(ServeSettings(thing=str(tmp_path / name)))

    assert str(caught.value).startswith(f"{tmp_path / name}: {told.format(folder=tmp_path)}")


def test_only_a_gallery_can_be_taught(vector_head: Path) -> None:
    with (
        pytest.raises(InputError, match=r"^--allow-teach: .*vectors\.head is a head"),
        serving(vector_head, allow_teach=True),
    ):
        pass


def test_a_service_listens_on_ipv6_too(vector_head: Path) -> None:
    with serving(vector_head, host="::1") as served:
        connection = http.client.HTTPConnection("::1", served.address[1])
        connection.request("GET", "/health/ready")
        assert connection.getresponse().status == 200
        connection.close()


def test_an_error_when_it_starts_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FeatxError, match=r"none\.knn"), serving(tmp_path / "none.knn"):
        pass


@pytest.mark.slow
def test_a_backbone_inside_the_package_is_ready_after_two_seconds_of_work(
    text_backbone: str,
) -> None:
    with process(text_backbone):  # the first use of a backbone checks it
        pass

    with process(text_backbone) as served:
        fields = Path(f"/proc/{served.pid}/stat").read_text().split()
        user, system = (int(fields[at]) / os.sysconf("SC_CLK_TCK") for at in (13, 14))

    # The clock on the wall would tell of what else this machine does.
    assert user + system < 2.5
