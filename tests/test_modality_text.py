from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from featx.errors import ItemError, ManifestError, StoreError
from featx.modality.text import Text
from featx.types import Content
from featx.zoo.manifest import FileEntry, Manifest, TextOptions

WORDS = ["[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e", "[PAD]"]
CLS, SEP, A, B, C, D, E, PAD = range(1, 9)


def build(
    folder: Path,
    *roles: str,
    max_length: int | None = 5,
    truncation: Literal["end", "start"] = "end",
) -> Text:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    tokenizer.enable_truncation(2)
    tokenizer.save(str(folder / "tokenizer.json"))
    return Text(
        Manifest(
            schema=1,
            name="tiny",
            modality="text",
            summary="",
            license="",
            source="",
            weights="tiny",
            dim=4,
            pooling="mean",
            normalize=True,
            max_length=max_length,
            files={"tokenizer": FileEntry(path="tokenizer.json", sha256="", size_bytes=0)},
            inputs={role: role for role in roles or ("token_ids", "attention_mask")},
            text=TextOptions(truncation=truncation),
            folder=folder,
        )
    )


def test_a_text_becomes_ids_and_a_mask(tmp_path: Path) -> None:
    text = build(tmp_path)

    sample = text.load(text.read("a b"))

    np.testing.assert_array_equal(sample.inputs["token_ids"], [[CLS, A, B, SEP]])
    np.testing.assert_array_equal(sample.inputs["attention_mask"], [[1, 1, 1, 1]])
    assert sample.inputs["token_ids"].dtype == np.int64
    assert (sample.cost, sample.n_tokens, sample.truncated) == (4, 4, False)


@pytest.mark.parametrize(
    ("truncation", "kept"), [("end", [CLS, A, B, C, SEP]), ("start", [CLS, C, D, E, SEP])]
)
def test_a_long_text_is_cut_and_keeps_its_special_tokens(
    tmp_path: Path, truncation: Literal["end", "start"], kept: list[int]
) -> None:
    text = build(tmp_path, truncation=truncation)

    sample = text.load(b"a b c d e")

    np.testing.assert_array_equal(sample.inputs["token_ids"], [kept])
    assert (sample.cost, sample.n_tokens, sample.truncated) == (5, 7, True)


def test_a_text_of_exactly_the_longest_length_is_not_cut(tmp_path: Path) -> None:
    sample = build(tmp_path).load(b"a b c")

    assert (sample.cost, sample.n_tokens, sample.truncated) == (5, 5, False)


def test_without_a_longest_length_nothing_is_cut(tmp_path: Path) -> None:
    sample = build(tmp_path, max_length=None).load(b"a b c d e")

    assert (sample.n_tokens, sample.truncated) == (7, False)


def test_a_batch_is_padded_to_the_longest_and_masked(tmp_path: Path) -> None:
    text = build(tmp_path, "token_ids", "attention_mask", "token_type_ids")

    batch = text.collate([text.load(b"a"), text.load(b"b c")])

    np.testing.assert_array_equal(batch["token_ids"], [[CLS, A, SEP, PAD], [CLS, B, C, SEP]])
    np.testing.assert_array_equal(batch["attention_mask"], [[1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(batch["token_type_ids"], np.zeros((2, 4)))


def test_only_the_roles_of_the_graph_are_given(tmp_path: Path) -> None:
    assert list(build(tmp_path, "token_ids").load(b"a").inputs) == ["token_ids"]
    with pytest.raises(ManifestError, match="'image'"):
        build(tmp_path, "image").load(b"a")


def test_a_file_and_a_byte_order_mark_read_as_the_text(tmp_path: Path) -> None:
    text = build(tmp_path)
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfa b")

    sample = text.load(text.read(tmp_path / "x.txt"))

    np.testing.assert_array_equal(sample.inputs["token_ids"], [[CLS, A, B, SEP]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "^is empty$"),
        (b"", r"^is empty \(0 bytes\)$"),
        (" \n\t\u3000", "is empty: it holds only white space"),
        ("a\ud800b", "half of a surrogate pair at character 1"),
        (b"twelve bytes\xff", "is not UTF-8 at byte 12"),
        (b"\xff\xfea\x00", "is not UTF-8 at byte 0"),
        (np.zeros(3), "is an array; expected a text"),
    ],
)
def test_an_unusable_text_is_an_item_error(
    tmp_path: Path,
    content: Content,
    message: str,
) -> None:
    text = build(tmp_path)

    with pytest.raises(ItemError, match=message):
        text.load(text.read(content))


def test_a_missing_or_damaged_tokenizer_is_a_store_error(tmp_path: Path) -> None:
    missing, damaged = build(tmp_path), build(tmp_path)

    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(StoreError, match="not a tokenizer"):
        damaged.load(b"a")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        missing.load(b"a")


def test_the_preview_is_one_line_of_200_characters(tmp_path: Path) -> None:
    text = build(tmp_path)

    assert text.preview(b" one\n\n two\t three ") == "one two three"
    assert text.preview(("é" * 2000).encode()) == "é" * 200
