"""What strangers wrote gives a terminal no orders."""

import json
import os
from pathlib import Path

import pytest

from command_line import call, done, refused
from featx.cli.terminal import harmless
from hubfolders import sentence_files, write_files

TITLE = "\x1b]0;owned\x07"
"""Sets the title of a terminal's window."""


pytestmark = pytest.mark.usefixtures("user_zoo")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with Ümläuts, 日本\u3000語 and 👩\u200d👧", None),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("\u202egnp.exe\u2069", r"\u202egnp.exe\u2069"),
        ("\udce4.png", r"\udce4.png"),
    ],
)
def test_what_a_terminal_acts_on_is_escaped(text: str, shown: str | None) -> None:
    assert harmless(text) == (text if shown is None else shown)


def test_files_of_a_model_give_no_orders(tmp_path: Path) -> None:
    prompts = {"prompts": {"query": f"{TITLE} red "}}
    files = sentence_files(**{"config_sentence_transformers.json": prompts})
    write_files(tmp_path / "small", {**files, f"onnx/{TITLE}.onnx": files["onnx/model.onnx"]})

    told = call("models", "add", tmp_path / "small", "--summary", f"{TITLE} for people")
    shown = done("models", "info", "small") + done("models", "list")

    assert told.exit_code == 0
    assert "\x1b" not in told.stdout + told.stderr + shown
    assert r"\x1b]0;owned\x07 red" in told.stdout
    assert r"(also there: onnx/\x1b]0;owned\x07.onnx)" in told.stdout
    assert r"query: \x1b]0;owned\x07 red" in shown


def test_an_error_gives_no_orders(tmp_path: Path) -> None:
    write_files(tmp_path / "small", {f"{TITLE}.json": json.dumps({}).encode()})

    assert refused("models", "add", tmp_path / "small") == (
        f"{tmp_path / 'small'}: holds no .onnx file, but \\x1b]0;owned\\x07.json; "
        "export the model to ONNX and give that file"
    )


def test_a_name_that_is_no_text_can_be_told_of(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / os.fsdecode(b"\xe4.json")).write_bytes(b"{}")

    assert r"holds no .onnx file, but \udce4.json; " in refused("models", "add", tmp_path / "m")
