"""An origin is read from what a user writes, and written as a manifest holds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import InputError
from featx.onboard.fetch.origin import Origin, parse_origin, safe_name

SHA256 = "0a" * 32


@pytest.mark.parametrize(
    ("what", "origin"),
    [
        ("models/a.onnx", Origin(kind="path", place="models/a.onnx")),
        ("C:\\a.onnx", Origin(kind="path", place="C:\\a.onnx")),
        ("hf:gpt2", Origin(kind="hub", place="gpt2")),
        ("hf:org/name", Origin(kind="hub", place="org/name")),
        ("hf:org/name@refs/pr/1", Origin(kind="hub", place="org/name", revision="refs/pr/1")),
        (
            "hf:org/name@v1.0:onnx/model.onnx",
            Origin(kind="hub", place="org/name", revision="v1.0", file="onnx/model.onnx"),
        ),
        (
            "pypi:some-package==1.0.post1:pkg/model.onnx",
            Origin(
                kind="package", place="some-package", revision="1.0.post1", file="pkg/model.onnx"
            ),
        ),
        (
            f"https://host/a%20b.onnx#sha256={SHA256.upper()}",
            Origin(kind="url", place="https://host/a%20b.onnx", sha256=SHA256),
        ),
    ],
)
def test_an_origin_is_read(what: str, origin: Origin) -> None:
    assert parse_origin(what) == origin
    assert parse_origin(str(origin)) == origin


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("hf:", "expected hf:org/name[@revision][:file]"),
        ("hf:../etc", "expected hf:org/name[@revision][:file]"),
        ("hf:org/name@", "expected hf:org/name[@revision][:file]"),
        ("hf:org/name:../x.onnx", "file '../x.onnx' must lie inside"),
        ("hf:org/name:/etc/passwd", "file '/etc/passwd' must lie inside"),
        ("pypi:package", "expected pypi:package==version:path"),
        ("pypi:package>=1:x", "expected pypi:package==version:path"),
        ("pypi:--index-url=x==1:x", "expected pypi:package==version:path"),
        ("pypi:package==1.0:../x", "file '../x' must lie inside"),
        ("https://host/a.onnx", "expected https://host/file#sha256=HEX, 64 digits"),
        ("https://host/a.onnx#sha256=12", "expected https://host/file#sha256=HEX, 64 digits"),
        ("s3://bucket/a.onnx", "expected s3://bucket/file#sha256=HEX, 64 digits"),
        ("ftp://host/a.onnx", "unknown scheme 'ftp'; expected FILE.onnx | FOLDER"),
        ("file:///etc/passwd", "unknown scheme 'file'; expected FILE.onnx | FOLDER"),
    ],
)
def test_a_wrong_origin_is_refused(what: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_origin(what)

    assert str(caught.value).startswith(f"{what}: {message}")


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_safe_name_stays_below_any_folder(name: str) -> None:
    from pathlib import Path

    folder = Path("/a/folder")

    if safe_name(name):
        assert (folder / name).resolve().is_relative_to(folder)
        assert (folder / name) != folder
