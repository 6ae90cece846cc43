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
    overflow: Literal["cut", "chunk"] = "cut",
    template: str = "[CLS] $A [SEP]",
    padding: Literal["longest", "max_length"] = "longest",
    pad_token: str = "",
) -> Text:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9, pad_id=PAD)
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
            text=TextOptions(
                truncation=truncation, overflow=overflow, padding=padding, pad_token=pad_token
            ),
            folder=folder,
        )
    )


def test_a_text_becomes_ids_and_a_mask(tmp_path: Path) -> None:
    text = build(tmp_path)

    sample = text.load(text.read("a b"))
    batch = text.collate([sample])

    np.testing.assert_array_equal(batch["token_ids"], [[CLS, A, B, SEP]])
    np.testing.assert_array_equal(batch["attention_mask"], [[1, 1, 1, 1]])
    assert [array.dtype for array in batch.values()] == [np.int64, np.int64]
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


@pytest.mark.parametrize("template", ["[CLS] $A [SEP]", "[CLS] $A", "$A [SEP] [SEP]", "$A"])
@pytest.mark.parametrize("truncation", ["end", "start"])
def test_a_cut_text_is_what_the_truncating_tokenizer_gives(
    tmp_path: Path, truncation: Literal["end", "start"], template: str
) -> None:
    texts = [" ".join("abcde"[i * i % 5] for i in range(n)) for n in range(1, 40)]
    for longest in (3, 4, 7, 20):
        text = build(tmp_path, max_length=longest, truncation=truncation, template=template)
        oracle = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        oracle.no_padding()
        oracle.enable_truncation(longest, direction={"end": "right", "start": "left"}[truncation])

        found = [text.load(each.encode()).inputs["token_ids"][0].tolist() for each in texts]

        assert found == [oracle.encode(each).ids for each in texts]


def test_a_long_text_is_chunked_into_parts_of_nearly_equal_length(tmp_path: Path) -> None:
    text = build(tmp_path, overflow="chunk")

    sample = text.load(b"a b c d e a b")
    batch = text.collate([text.load(b"a"), sample])

    expected = [[CLS, A, SEP, PAD, PAD], [CLS, A, B, C, SEP]]
    expected += [[CLS, D, E, SEP, PAD], [CLS, A, B, SEP, PAD]]
    np.testing.assert_array_equal(batch["token_ids"], expected)
    np.testing.assert_array_equal(batch["attention_mask"], np.array(expected) != PAD)
    assert (sample.parts, sample.cost, sample.n_tokens, sample.truncated) == (3, 5, 9, False)


def test_chunks_hold_every_token_once_whatever_the_length(tmp_path: Path) -> None:
    for longest in (3, 5, 8):
        text = build(tmp_path, max_length=longest, overflow="chunk")
        for n in range(1, 40):
            words = [(A, B, C, D, E)[i * i % 5] for i in range(n)]

            sample = text.load(" ".join(WORDS[i] for i in words).encode())

            rows = [[int(i) for i in part if i >= 0] for part in sample.inputs["token_ids"]]
            assert [i for row in rows for i in row[1:-1]] == words
            assert {(row[0], row[-1]) for row in rows} == {(CLS, SEP)}
            assert len(rows) == -(-n // (longest - 2))
            assert max(map(len, rows)) - min(map(len, rows)) <= 1
            assert (sample.cost, sample.n_tokens) == (max(map(len, rows)), n + 2)


def test_texts_loaded_together_are_as_loaded_alone(tmp_path: Path) -> None:
    text = build(tmp_path)
    raws = [b"a b", b"\xff", b"c " * 300_000, b" ", b"d", b"e " * 250_000, b"a"]

    found = text.load_many(raws)

    assert [str(each) for each in found if isinstance(each, ItemError)] == [
        "is not UTF-8 at byte 0",
        "is empty: it holds only white space",
    ]
    assert [
        (*each.inputs["token_ids"][0].tolist(), each.n_tokens)
        for each in found
        if not isinstance(each, ItemError)
    ] == [
        (CLS, A, B, SEP, 4),
        (CLS, C, C, C, SEP, 300_002),
        (CLS, D, SEP, 3),
        (CLS, E, E, E, SEP, 250_002),
        (CLS, A, SEP, 3),
    ]


def test_a_text_that_the_tokenizer_fails_on_is_an_item_error_alone(tmp_path: Path) -> None:
    text = build(tmp_path)
    Tokenizer(WordLevel({"a": 7})).save(str(tmp_path / "tokenizer.json"))

    found = text.load_many([b"a", b"strange", b"a"])

    assert str(found[1]).startswith("cannot be tokenized: WordLevel error")
    assert [str(each) for each in found if isinstance(each, ItemError)] == [str(found[1])]


def test_no_room_beside_the_special_tokens_is_a_manifest_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"max_length is 2, of which .* special tokens take 2"):
        build(tmp_path, max_length=2).load(b"a")


def test_without_a_longest_length_nothing_is_cut(tmp_path: Path) -> None:
    sample = build(tmp_path, max_length=None).load(b"a b c d e")

    assert (sample.n_tokens, sample.truncated) == (7, False)


def test_a_batch_is_padded_to_the_longest_and_masked(tmp_path: Path) -> None:
    text = build(tmp_path, "token_ids", "attention_mask", "token_type_ids")

    batch = text.collate([text.load(b"a"), text.load(b"b c")])

    np.testing.assert_array_equal(batch["token_ids"], [[CLS, A, SEP, PAD], [CLS, B, C, SEP]])
    np.testing.assert_array_equal(batch["attention_mask"], [[1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(batch["token_type_ids"], np.zeros((2, 4)))


def test_a_batch_is_padded_to_the_longest_that_is_allowed(tmp_path: Path) -> None:
    text = build(tmp_path, "token_ids", padding="max_length", pad_token="e")
    samples = [text.load(b"a"), text.load(b"a b c d")]

    batch = text.collate(samples)

    np.testing.assert_array_equal(batch["token_ids"], [[CLS, A, SEP, E, E], [CLS, A, B, C, SEP]])
    assert [sample.cost for sample in samples] == [5, 5]


def test_a_padding_token_that_the_tokenizer_lacks_is_a_manifest_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="tiny: pad_token '<pad>' is no token of its token"):
        build(tmp_path, pad_token="<pad>").load(b"a")


def test_only_the_roles_of_the_graph_are_given(tmp_path: Path) -> None:
    only_ids, image = build(tmp_path, "token_ids"), build(tmp_path, "image")

    assert list(only_ids.collate([only_ids.load(b"a")])) == ["token_ids"]
    with pytest.raises(ManifestError, match="'image'"):
        image.collate([image.load(b"a")])


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
        (b"a " * 2_097_153, "is 4194306 bytes of text; at most 4194304 are allowed; split it"),
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
