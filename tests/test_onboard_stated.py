"""What files of a model state is read from the right place, and nothing else is."""

import json
from pathlib import Path

import pytest

from featx.errors import InputError
from featx.onboard.read.facts import read_json_object
from featx.onboard.read.roles import input_facts, modality_fact, output_fact
from featx.onboard.read.signature import Port, Signature, read_signature
from featx.onboard.read.stated import stated
from hubfolders import text_graph, write_files

POOLING = "1_Pooling/config.json"


def facts(folder: Path, **files: object) -> dict[str, tuple[object, str]]:
    """Return what files state: key → value and source."""
    raw = {
        name: content if isinstance(content, bytes) else json.dumps(content).encode()
        for name, content in files.items()
    }
    write_files(folder, raw)
    found: dict[str, tuple[object, str]] = {}
    for fact in stated(folder):
        found.setdefault(fact.key, (fact.value, fact.source))
    return found


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last_token"),
        ({"pooling_mode": "mean", "embedding_dimension": 8}, "mean"),
        ({"pooling_mode": ["lasttoken"]}, "last_token"),
    ],
)
def test_pooling_is_read(tmp_path: Path, config: object, pooling: str) -> None:
    assert facts(tmp_path, **{POOLING: config})["pooling"][0] == pooling


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            "pooling_mode_mean_tokens, pooling_mode_cls_token",
        ),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"word_embedding_dimension": 4}, "nothing"),
    ],
)
def test_pooling_that_cannot_be_done_is_refused(tmp_path: Path, config: object, found: str) -> None:
    with pytest.raises(InputError) as caught:
        facts(tmp_path, **{POOLING: config})

    assert str(caught.value) == (
        f"{POOLING}: pools by {found}; can be done: one of mean, cls, lasttoken"
    )


def test_modules_say_where_pooling_lies_and_that_nothing_is_normalised(tmp_path: Path) -> None:
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling.Pooling", "path": "9_Pooling"},
    ]

    found = facts(
        tmp_path,
        **{"modules.json": modules, "9_Pooling/config.json": {"pooling_mode_cls_token": True}},
        **{POOLING: {"pooling_mode_mean_tokens": True}},
    )

    assert found["pooling"] == ("cls", "9_Pooling/config.json: pooling_mode_cls_token")
    assert found["normalize"] == (False, "modules.json: no Normalize")


def test_without_modules_nothing_is_said_of_normalising(tmp_path: Path) -> None:
    found = facts(tmp_path, **{POOLING: {"pooling_mode_mean_tokens": True}})

    assert "normalize" not in found


@pytest.mark.parametrize("place", ["../../etc", "/etc", "a\\b"])
def test_modules_lead_nowhere(tmp_path: Path, place: str) -> None:
    modules = [{"type": "x.Pooling", "path": place}]

    assert "pooling" not in facts(tmp_path / "inner", **{"modules.json": modules})


@pytest.mark.parametrize(
    ("files", "length", "source"),
    [
        (
            {
                "sentence_bert_config.json": {"max_seq_length": 256},
                "tokenizer_config.json": {"model_max_length": 512},
                "config.json": {"max_position_embeddings": 512},
            },
            256,
            "sentence_bert_config.json: max_seq_length",
        ),
        (
            {
                "sentence_xlm-roberta_config.json": {"max_seq_length": 128},
                "tokenizer_config.json": {"model_max_length": 512},
            },
            128,
            "sentence_xlm-roberta_config.json: max_seq_length",
        ),
        (
            {
                "sentence_bert_config.json": {"max_seq_length": None},
                "tokenizer_config.json": {"model_max_length": 512},
            },
            512,
            "tokenizer_config.json: model_max_length",
        ),
        (
            {
                "tokenizer_config.json": {"model_max_length": 1e30},
                "config.json": {"max_position_embeddings": 128},
            },
            128,
            "config.json: max_position_embeddings",
        ),
        (
            {
                "config.json": {
                    "model_type": "xlm-roberta",
                    "max_position_embeddings": 514,
                    "pad_token_id": 1,
                }
            },
            512,
            "config.json: max_position_embeddings - pad_token_id - 1",
        ),
        (
            {
                "sentence_bert_config.json": {"max_seq_length": 8192},
                "config.json": {"max_position_embeddings": 512},
            },
            512,
            "config.json: max_position_embeddings",
        ),
        (
            {"config.json": {"text_config": {"max_position_embeddings": 77}}},
            77,
            "config.json: max_position_embeddings",
        ),
    ],
)
def test_the_length_comes_from_the_right_place(
    tmp_path: Path, files: dict[str, object], length: int, source: str
) -> None:
    assert facts(tmp_path, **files)["max_length"] == (length, source)


def test_a_tokenizer_without_a_limit_states_no_length(tmp_path: Path) -> None:
    assert "max_length" not in facts(
        tmp_path, **{"tokenizer_config.json": {"model_max_length": 10**30}}
    )


def test_prompts_and_the_side_of_truncation_are_read(tmp_path: Path) -> None:
    found = facts(
        tmp_path,
        **{
            "config_sentence_transformers.json": {
                "prompts": {"query": "query: ", "document": "", "odd.name": "x"},
                "default_prompt_name": "query",
            },
            "tokenizer_config.json": {"truncation_side": "left"},
        },
    )

    assert {key: value for key, (value, _) in found.items()} == {
        "prompts.query": "query: ",
        "prompts.odd.name": "x",
        "default_prompt": "query",
        "text.truncation": "start",
    }


def test_a_prompt_that_is_not_pooled_is_refused(tmp_path: Path) -> None:
    pooling = {"pooling_mode_mean_tokens": True, "include_prompt": False}
    prompts = {"prompts": {"query": "query: "}}

    with pytest.raises(InputError, match="include_prompt = false; featx pools the tokens"):
        facts(tmp_path, **{POOLING: pooling, "config_sentence_transformers.json": prompts})


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "Apache-2.0"),
        ("---\ntags:\n- x\nlicense: 'mit'\n---\nlicense: gpl", "MIT"),
        ("---\r\nlicense: other\r\n---\r\n", "other"),
        ("# A title\nlicense: mit\n", None),
        ("---\nlicense_name: x\n---\n", None),
    ],
)
def test_the_licence_is_that_of_the_card(tmp_path: Path, text: str, licence: str | None) -> None:
    found = facts(tmp_path, **{"README.md": text.encode()})

    assert found.get("license", (None,))[0] == licence


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[1]", "config.json: holds a list; expected an object"),
        (b"{", "config.json: not JSON (damaged): "),
        (b"version https://git-lfs", "config.json: not JSON (a pointer of Git LFS; run: git lfs"),
        (b"[" * 100_000, "config.json: not JSON (damaged): "),
        (b"\xff\xfe", "config.json: not JSON (damaged): "),
        (b" " * (8 << 20) + b"{}", "config.json: 8.4 MB; at most 8.4 MB"),
    ],
)
def test_damaged_json_is_one_line(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(raw)

    with pytest.raises(InputError) as caught:
        read_json_object(tmp_path / "config.json")
    assert str(caught.value).startswith(message)


def port(name: str, *shape: int | str, dtype: str = "FLOAT") -> Port:
    return Port(name, dtype, shape)


def signature(inputs: list[Port], *outputs: Port) -> Signature:
    return Signature(tuple(inputs), outputs, "fp32")


@pytest.mark.parametrize(
    ("name", "modality", "role"),
    [
        ("input_ids", "text", "token_ids"),
        ("pixel_values", "image", "image"),
        ("input_values", "audio", "windows"),
        ("input_features", "audio", "windows"),
    ],
)
def test_names_of_exporters_state_modality_and_role(name: str, modality: str, role: str) -> None:
    taken = signature([port(name, "n", "t")])

    (stated_modality,) = modality_fact(taken, "g")
    (stated_role,) = input_facts(taken, modality, "g", {})

    assert (stated_modality.value, stated_role.key) == (modality, f"inputs.{role}")


def test_masks_have_the_role_of_their_modality() -> None:
    ids, mask = port("input_ids", "n", "t"), port("attention_mask", "n", "t")
    values = port("input_values", "n", "t")

    text = {f.key for f in input_facts(signature([ids, mask]), "text", "g", {})}
    audio = {f.key for f in input_facts(signature([values, mask]), "audio", "g", {})}

    assert text == {"inputs.token_ids", "inputs.attention_mask"}
    assert audio == {"inputs.windows", "inputs.sample_mask"}


def test_a_graph_of_two_towers_is_refused() -> None:
    both = signature([port("input_ids", "n", "t"), port("pixel_values", "n", 3, 2, 2)])

    with pytest.raises(InputError, match="takes image and text at once, by the inputs"):
        list(modality_fact(both, "g"))


@pytest.mark.parametrize(
    ("outputs", "pooling", "chosen"),
    [
        ((port("a", "n", 4),), None, "embedding=a"),
        ((port("a", "n", "t", 4),), None, "tokens=a"),
        ((port("a", "n", 4, 7, 7),), None, None),
        ((port("logits", "n", 4),), None, None),
        ((port("last_hidden_state", "n", "t", 4), port("pooler_output", "n", 4)), None, None),
        (
            (port("last_hidden_state", "n", "t", 4), port("pooler_output", "n", 4)),
            "mean",
            "tokens=last_hidden_state",
        ),
        (
            (port("last_hidden_state", "n", "t", 4), port("pooler_output", "n", 4)),
            "none",
            "embedding=pooler_output",
        ),
        (
            (port("token_embeddings", "n", "t", 4), port("sentence_embedding", "n", 4)),
            "mean",
            "embedding=sentence_embedding",
        ),
        ((port("a", "n", "t", 4), port("b", "n", "t", 4)), "mean", None),
        ((Port("a", "FLOAT", None),), None, None),
        ((port("a", "n", 4, dtype="INT64"),), None, None),
    ],
)
def test_an_output_is_taken_where_there_is_no_choice(
    outputs: tuple[Port, ...], pooling: str | None, chosen: str | None
) -> None:
    from featx.onboard.read.facts import Fact

    known = None if pooling is None else Fact("pooling", pooling, "1_Pooling/config.json")

    found = output_fact(signature([], *outputs), known, "g")

    assert (found and f"{found.key.removeprefix('outputs.')}={found.value}") == chosen


def test_a_flag_wants_tokens_although_the_graph_pools() -> None:
    from featx.onboard.read.facts import Fact

    outputs = (port("token_embeddings", "n", "t", 4), port("sentence_embedding", "n", 4))

    found = output_fact(signature([], *outputs), Fact("pooling", "cls", "--pooling"), "g")

    assert found is not None
    assert found.value == "token_embeddings"


def test_a_signature_is_read_without_the_weights(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(text_graph(external="not-there"))

    found = read_signature(tmp_path / "model.onnx")

    assert [str(each) for each in (*found.inputs, *found.outputs)] == [
        "'input_ids' int64 (batch, sequence)",
        "'attention_mask' int64 (batch, sequence)",
        "'last_hidden_state' float (batch, sequence, 4)",
    ]
    assert found.precision == "fp32"
