"""Pictures of a page: only from permitted folders, only what was embedded, and made anew."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.fingerprint import digest
from featx.report.permitted import is_below, known_contents, may_list, open_folders
from featx.report.pictures import LARGE, Pictures, pictures_of
from report_sets import COLOURS, picture, picture_set, source_of, vectors, written

BUDGET = 1_000_000


def opened(raw: bytes) -> Image.Image:
    return Image.open(io.BytesIO(raw))


def shown(held: EmbeddingSet, *roots: Path, budget: int = BUDGET) -> Pictures:
    return pictures_of(held, range(len(held)), [0], roots=roots, budget=budget)


def noisy_set(folder: Path, n: int) -> EmbeddingSet:
    """Write pictures that take much room, and return a set of them."""
    noise = np.random.default_rng(0).integers(0, 255, (n, 150, 150, 3), dtype=np.uint8)
    (folder / "photos").mkdir()
    rows = []
    for at, pixels in enumerate(noise):
        path = folder / "photos" / f"{at}.png"
        Image.fromarray(pixels).save(path)
        rows.append(Row(id=path.name, uri=str(path), digest=digest(path.read_bytes()).hex()))
    source = source_of("folder", folder / "photos", "image")
    return written(folder / "p.emb", rows, vectors([0] * n), "image", source)


def one_picture(folder: Path, path: Path, *, source: Path, kind: str = "folder") -> EmbeddingSet:
    """Return a set of one picture that is recorded to lie at a path."""
    raw = picture(0, 0)
    row = Row(id="a.png", uri=str(path), digest=digest(raw).hex())
    return written(folder / "a.emb", [row], vectors([0]), "image", source_of(kind, source, "image"))


def test_pictures_are_small_webp_files_of_what_was_embedded(tmp_path: Path) -> None:
    held = EmbeddingSet.open(picture_set(tmp_path, each=3))

    found = shown(held)

    assert (sorted(found.small), sorted(found.large)) == (list(range(6)), [0])
    assert (found.missing, found.outside) == (0, 0)
    for row, raw in found.small.items():
        image = opened(raw)
        colour = np.asarray(image.convert("RGB"))[-5, -5].astype(int)
        assert (image.format, image.size) == ("WEBP", (64, 48))
        assert np.abs(colour - COLOURS[row // 3]).max() < 12


def test_a_large_picture_is_shrunk_and_keeps_no_notes_of_its_file(tmp_path: Path) -> None:
    image = Image.new("RGB", (800, 400), "red")
    notes = Image.Exif()
    notes[0x010E] = "a secret"
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "a.jpg"
    image.save(path, exif=notes, icc_profile=b"a profile")
    row = Row(id="a.jpg", uri=str(path), digest=digest(path.read_bytes()).hex())
    source = source_of("folder", tmp_path / "photos", "image")
    held = written(tmp_path / "a.emb", [row], vectors([0]), "image", source)

    raw = shown(held).large[0]

    assert opened(raw).size == (LARGE, LARGE // 2)
    assert b"secret" not in raw
    assert b"profile" not in raw
    assert dict(opened(raw).getexif()) == {}


def test_a_path_outside_of_the_source_is_text_not_permission(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere" / "a.png"
    secret.parent.mkdir()
    secret.write_bytes(picture(0, 0))
    (tmp_path / "photos").mkdir()
    held = one_picture(tmp_path, secret, source=tmp_path / "photos")

    found, allowed = shown(held), shown(held, secret.parent)

    assert (found.small, found.large, found.missing, found.outside) == ({}, {}, 0, 1)
    assert list(allowed.small) == [0]


@pytest.mark.parametrize("hidden", ["link", "dots"])
def test_a_link_or_dots_that_lead_out_of_the_source_are_not_followed(
    tmp_path: Path, hidden: str
) -> None:
    secret = tmp_path / "elsewhere" / "a.png"
    secret.parent.mkdir()
    secret.write_bytes(picture(0, 0))
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "a.png"
    if hidden == "link":
        path.symlink_to(secret)
    else:
        path = tmp_path / "photos" / ".." / "elsewhere" / "a.png"
    held = one_picture(tmp_path, path, source=tmp_path / "photos")

    assert shown(held).small == {}


def test_a_file_that_is_not_what_was_embedded_is_not_shown(tmp_path: Path) -> None:
    held = EmbeddingSet.open(picture_set(tmp_path, each=2))
    (tmp_path / "photos" / "cat" / "1.png").write_bytes(picture(5, 3))
    (tmp_path / "photos" / "dog" / "0.png").unlink()
    (tmp_path / "photos" / "dog" / "1.png").write_bytes(b"no picture")

    found = shown(held)

    assert (list(found.small), found.missing, found.outside) == ([0], 3, 0)


@pytest.mark.parametrize("named", ["disk", "home", "above home"])
def test_a_source_that_names_all_of_a_disk_or_a_home_is_no_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    home = tmp_path / "homes" / "ann"
    monkeypatch.setenv("HOME", str(home))
    path = home / "private" / "a.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(picture(0, 0))  # what the set has the digest of
    source = {"disk": Path("/"), "home": home, "above home": home.parent}[named]
    held = one_picture(tmp_path, path, source=source)

    found, allowed = shown(held), shown(held, path.parent)

    assert (found.small, found.outside) == ({}, 1)
    assert list(allowed.small) == [0]
    with pytest.raises(InputError, match="may not be read; name its folder with --root"):
        known_contents(held, [])


def test_a_source_that_lists_from_elsewhere_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    held = one_picture(tmp_path, tmp_path / "photos" / "a.png", source=tmp_path / "photos")
    arguments = {"base": str(tmp_path / "photos"), "arguments": ["../elsewhere/*.png"]}
    held.manifest["source"] |= {"kind": "paths"} | arguments

    assert not may_list(held.manifest["source"], [tmp_path / "photos"])
    assert may_list(held.manifest["source"], [tmp_path])
    with pytest.raises(InputError, match="may not be read"):
        known_contents(held, [])


def test_an_object_store_is_not_asked_for_what_a_set_names(tmp_path: Path) -> None:
    held = one_picture(tmp_path, tmp_path / "a.png", source=tmp_path)
    held.manifest["source"]["paths"] = ["s3://bucket/photos"]

    assert open_folders(held.manifest["source"], []) == []
    assert not may_list(held.manifest["source"], [Path.cwd()])
    with pytest.raises(InputError, match="may not be read"):
        known_contents(held, [])


def test_contents_are_those_that_were_embedded(tmp_path: Path) -> None:
    held = EmbeddingSet.open(picture_set(tmp_path, each=2))
    photos = tmp_path / "photos"
    fetch = known_contents(held, [])

    assert fetch([3, 0]) == [photos / "dog" / "1.png", photos / "cat" / "0.png"]
    (photos / "cat" / "0.png").write_bytes(picture(5, 3))
    with pytest.raises(InputError, match=r"cat/0.png: is no longer what was embedded"):
        fetch([1, 0])
    (photos / "cat" / "1.png").unlink()
    (tmp_path / "elsewhere.png").write_bytes(picture(1, 0))
    (photos / "cat" / "1.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=r"cat/1.png: lies outside of the source's folders"):
        fetch([1])


def test_files_that_have_moved_are_found_below_a_named_folder(tmp_path: Path) -> None:
    held = EmbeddingSet.open(picture_set(tmp_path, each=2))
    shutil.move(tmp_path / "photos", tmp_path / "moved")

    gone, found = shown(held), shown(held, tmp_path / "moved")

    assert (gone.small, gone.missing) == ({}, 4)
    assert list(found.small) == [0, 1, 2, 3]


def test_members_of_a_tar_are_shown(tmp_path: Path) -> None:
    raws = [picture(at, at) for at in range(3)]
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        for at, raw in enumerate(raws):
            member = tarfile.TarInfo(f"{at}.png")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    rows = [
        Row(id=f"p.tar/{at}.png", uri=f"{tmp_path}/p.tar/{at}.png", digest=digest(raw).hex())
        for at, raw in enumerate(raws)
    ]
    source = source_of("tar", tmp_path / "p.tar", "image")
    held = written(tmp_path / "p.emb", rows, vectors([0, 1, 2]), "image", source)

    assert sorted(shown(held).small) == [0, 1, 2]


def test_where_not_all_fit_pictures_get_smaller_and_the_last_have_none(tmp_path: Path) -> None:
    held = noisy_set(tmp_path, 10)

    wide = shown(held, budget=BUDGET)
    tight = shown(held, budget=1_000)

    assert opened(wide.small[0]).size == (96, 96)
    assert opened(tight.small[0]).size == (32, 32)
    assert 0 < len(tight.small) < 10
    assert list(tight.small) == list(range(len(tight.small)))
    assert sum(map(len, tight.small.values())) <= 1_000


def test_large_pictures_count_as_often_as_they_are_shown(tmp_path: Path) -> None:
    held, twice = noisy_set(tmp_path, 10), [*range(10), *range(10)]

    def weight(found: Pictures) -> int:
        large = sum(2 * len(each) for each in found.large.values())
        return large + sum(map(len, found.small.values()))

    whole = pictures_of(held, range(10), twice, budget=BUDGET)
    tight = pictures_of(held, range(10), twice, budget=weight(whole) // 2)

    sizes = {max(opened(each).size) for each in whole.large.values()}
    assert (len(whole.small), len(whole.large), sizes) == (10, 10, {LARGE})
    assert weight(tight) <= weight(whole) // 2
    assert list(tight.small) == list(range(10))
    assert 0 < len(tight.large) < 10


def test_a_sample_that_cannot_be_read_does_not_make_the_rest_too_large(tmp_path: Path) -> None:
    held = noisy_set(tmp_path, 60)
    for at in np.linspace(0, 59, 48, dtype=int):  # those that tell how large pictures are
        (tmp_path / "photos" / f"{at}.png").unlink()

    found = shown(held, budget=5_000)

    assert found.missing == 48
    assert 0 < sum(map(len, found.small.values())) <= 5_000


def test_a_path_that_no_file_can_have_is_a_text(tmp_path: Path) -> None:
    rows = [Row(id=name, digest="00", uri=name) for name in ("/" + "a" * 5000, "/a\0b")]
    held = written(tmp_path / "t.emb", rows, vectors([0, 1]), "image")

    assert shown(held).small == {}


def test_other_sets_have_no_pictures(tmp_path: Path) -> None:
    held = written(tmp_path / "t.emb", [Row(id="a", digest="00")], vectors([0]), "text")

    assert shown(held) == Pictures()


def test_folders_of_a_source_are_those_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "t.csv").write_text("x")
    paths = [tmp_path / "a" / "b", tmp_path / "a" / "t.csv", tmp_path / "a" / "*" / "*.png", "-"]
    one = {"kind": "paths", "paths": [str(path) for path in paths]}

    found = open_folders({"kind": "merge", "sources": [one, {"paths": ["-", "/a\0b/c"]}]}, [])

    assert found == [tmp_path / "a" / "b", tmp_path / "a", tmp_path / "a"]
    assert open_folders({}, [tmp_path / "a" / ".."]) == [tmp_path]


def test_no_path_that_cannot_be_is_below_a_folder(tmp_path: Path) -> None:
    assert not is_below(Path("a\0b"), [tmp_path])
    assert is_below(tmp_path / "x" / ".." / "y", [tmp_path])
    assert not is_below(tmp_path / "..", [tmp_path])
