"""What is said where vectors of different spaces are about to be compared."""

import pytest

from featx.data.space import Made, space_error

LITE0 = Made(model="efficientnet-lite0", space="1a2b" * 16, dim=1280)
LITE4 = Made(model="efficientnet-lite4", space="3c4d" * 16, dim=1280)
PASSAGES = Made(model="e5", space="5e6f" * 16, dim=384, prompt="passage")


def said(found: Made, wanted: Made) -> str:
    return str(space_error("photos.emb", found, "photos.knn holds", wanted))


def test_both_models_are_named_with_the_command_that_mends_it() -> None:
    assert said(LITE0, LITE4) == (
        "photos.emb: embeddings of efficientnet-lite0 (space 1a2b1a2b1a2b), but photos.knn holds "
        "efficientnet-lite4 (space 3c4d3c4d3c4d); run: featx embed SOURCE -m efficientnet-lite4 "
        "-o OUT.emb"
    )


def test_widths_and_prompts_are_named_where_they_differ() -> None:
    assert said(LITE0, PASSAGES) == (
        "photos.emb: embeddings of efficientnet-lite0, 1280 wide, without a prompt (space "
        "1a2b1a2b1a2b), but photos.knn holds e5, 384 wide, with prompt 'passage' (space "
        "5e6f5e6f5e6f); run: featx embed SOURCE -m e5 --prompt passage -o OUT.emb"
    )


@pytest.mark.parametrize(
    ("model", "options"), [("e5", "-m e5 --dim 128"), ("identity", "-m identity")]
)
def test_a_model_that_was_cut_is_cut_alike(model: str, options: str) -> None:
    whole = Made(model=model, space="a", dim=384)
    cut = Made(model=model, space="b", dim=128)

    assert said(whole, cut) == (
        f"photos.emb: embeddings of {model}, 384 wide (space a), but photos.knn holds {model}, "
        f"128 wide (space b); run: featx embed SOURCE {options} -o OUT.emb"
    )


def test_other_weights_of_one_name_are_told() -> None:
    old, new = Made(model="mine", space="a", dim=4), Made(model="mine", space="b", dim=4)

    assert "; its weights have changed since, so make both again; run: " in said(old, new)


def test_what_is_not_recorded_is_not_made_up() -> None:
    assert said(Made.of({"space": "a"}), Made.of({"name": "m", "space": "b", "dim": 3})) == (
        "photos.emb: embeddings of an unknown model (space a), but photos.knn holds m (space b); "
        "run: featx embed SOURCE -m m -o OUT.emb"
    )
