"""Queries: texts find images by the other half of a pair, and get the prompt that is theirs."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from command_line import call, done, objects, refused
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.data.queries import for_queries, open_partner, query_prompt
from featx.data.store import EmbeddingSet
from featx.errors import InputError, SpaceError
from featx.estimators import Embedder
from featx.gallery.gallery import Gallery
from featx.serve.engine import Answer, Ask, Engine
from featx.serve.settings import ServeSettings
from featx.serve.thing import open_thing
from featx.types import Vectors
from featx.zoo import catalog
from hubfolders import TABLE, WORDS, sentence_files, write_files
from twotowers import add_pair, pictures_in

PROMPTS = {"query": "red ", "passage": "green "}
TEXTS = ("cat", "dog", "blue")


pytestmark = pytest.mark.usefixtures("user_zoo")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a gallery of pictures of one half of a pair."""
    add_pair(tmp_path / "pair")
    done("embed", pictures_in(tmp_path / "photos"), "-m", "clip-image", "-o", tmp_path / "p.emb")
    done("index", tmp_path / "p.emb", "-o", tmp_path / "p.knn")
    return tmp_path / "p.knn"


def asked(gallery: Path, *arguments: object) -> dict[str, dict[str, float]]:
    """Return query → id → similarity of all items."""
    found = objects(done("search", gallery, *arguments, "-k", 10, "--json"))
    return {
        each["id"]: {near["id"]: near["similarity"] for near in each["neighbours"]}
        for each in found
    }


def test_a_text_finds_images_by_the_other_half(tmp_path: Path, photos: Path) -> None:
    vectors = Embedder("clip-text").transform(["a red car"])
    held = EmbeddingSet.open(tmp_path / "p.emb")

    found = asked(photos, "a red car")["a red car"]

    wanted = dict(zip(held.ids, (held.X[:] @ vectors[0]).tolist(), strict=True))
    assert found == pytest.approx(wanted, abs=1e-6)


def test_texts_and_images_are_asked_about_together(tmp_path: Path, photos: Path) -> None:
    picture = tmp_path / "photos" / "red" / "0.png"

    found = asked(photos, picture, "cat")

    assert list(found) == ["cat", str(picture)]
    assert found[str(picture)]["red/0.png"] == pytest.approx(1, abs=1e-5)


def test_a_text_is_never_novel_among_images(tmp_path: Path) -> None:
    add_pair(tmp_path / "pair")
    pictures = pictures_in(tmp_path / "photos", each=60)
    done("embed", pictures, "-m", "clip-image", "-o", tmp_path / "p.emb")
    done("index", tmp_path / "p.emb", "-o", tmp_path / "p.knn")
    picture = pictures / "red" / "0.png"

    found = objects(done("search", tmp_path / "p.knn", picture, "a red car", "--json"))

    assert {each["id"]: each["vote"]["novel"] for each in found} == {
        "a red car": None,
        str(picture): False,
    }


def test_a_page_of_pictures_shows_what_a_text_finds(tmp_path: Path, photos: Path) -> None:
    done("search", photos, "a red car", "--html", tmp_path / "found.html")

    page = (tmp_path / "found.html").read_text()
    assert "a red car" in page
    assert page.count("data:image/jpeg;base64,") == 4


def test_a_gallery_opened_in_python_takes_vectors_of_the_other_half(photos: Path) -> None:
    with Gallery.open(photos) as gallery:
        (found,) = gallery.search(Embedder("clip-text").transform(["cat"]), k=4)

    assert {near.id: near.similarity for near in found} == pytest.approx(
        asked(photos, "cat")["cat"], abs=1e-6
    )


def test_a_picture_finds_texts_by_the_other_half(tmp_path: Path) -> None:
    add_pair(tmp_path / "pair")
    picture = pictures_in(tmp_path / "photos") / "red" / "0.png"
    (tmp_path / "texts.txt").write_text("a cat\na red car\n")
    done("embed", tmp_path / "texts.txt", "-m", "clip-text", "-o", tmp_path / "t.emb")
    done("index", tmp_path / "t.emb", "-o", tmp_path / "t.knn")

    found = asked(tmp_path / "t.knn", picture, "a cat")

    (vector,) = Embedder("clip-image").transform([str(picture)])
    held = EmbeddingSet.open(tmp_path / "t.emb")
    wanted = dict(zip(held.ids, (held.X[:] @ vector).tolist(), strict=True))
    assert found[str(picture)] == pytest.approx(wanted, abs=1e-6)
    assert found["a cat"]["texts.txt:1"] == pytest.approx(1, abs=1e-5)


def test_a_misspelt_picture_is_no_text(photos: Path) -> None:
    assert "nope.png: no such file" in refused("search", photos, "nope.png")


def test_texts_are_not_added_to_a_gallery_of_images(photos: Path) -> None:
    assert "no such file" in refused("index", "add", photos, "a red car")


def test_a_half_that_is_gone_is_told_of(photos: Path) -> None:
    done("models", "remove", "clip-text")

    error = refused("search", photos, "cat")

    assert error.startswith("clip-image: its other half 'clip-text' is not here; add it with: ")


def test_a_backbone_without_another_half_takes_no_texts() -> None:
    backbone = Backbone(catalog.find("efficientnet-lite0"))

    with pytest.raises(InputError, match="is no half of a pair, so that only items of kind"):
        open_partner(backbone)


def test_another_half_of_another_space_is_refused(tmp_path: Path) -> None:
    add_pair(tmp_path / "pair")
    place = tmp_path / "data" / "featx" / "zoo" / "clip-text.toml"
    place.write_text(place.read_text().replace("normalize = true", "normalize = false"))

    with pytest.raises(SpaceError, match="clip-image and its other half clip-text: share no space"):
        open_partner(Backbone(catalog.find("clip-image"), Settings(device="cpu")))


def small_model(folder: Path, prompts: dict[str, str], *flags: object) -> None:
    files = sentence_files(**{"config_sentence_transformers.json": {"prompts": prompts}})
    done("models", "add", write_files(folder / "hub", files), "--name", "small", *flags)


def gallery_of(folder: Path, *flags: object) -> Path:
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    done("embed", folder / "texts.txt", "-m", "small", "-o", folder / "t.emb", *flags)
    done("index", folder / "t.emb", "-o", folder / "t.knn")
    return folder / "t.knn"


def encoded(text: str, *, dim: int = 4) -> Vectors:
    """Return the unit mean of the vectors of [CLS], the words and [SEP], cut to a width."""
    ids = [2, *(WORDS.index(word) for word in text.split()), 3]
    mean = TABLE[ids].mean(axis=0)[:dim]
    return np.asarray(mean / np.linalg.norm(mean))


@pytest.mark.parametrize(
    ("held", "said", "before"),
    [
        (("--prompt", "passage"), (), ("green ", "red ")),
        (("--prompt", "passage"), ("--prompt", "passage"), ("green ", "green ")),
        (("--prompt", "passage"), ("--prompt=",), ("green ", "")),
        (("--prompt", "query"), (), ("red ", "red ")),
        ((), ("--prompt", "query"), ("", "red ")),
        ((), (), ("", "")),
    ],
)
def test_queries_of_passages_get_the_prompt_of_queries(
    tmp_path: Path, held: tuple[str, ...], said: tuple[str, ...], before: tuple[str, str]
) -> None:
    small_model(tmp_path, PROMPTS)
    gallery = gallery_of(tmp_path, *held)

    found = asked(gallery, "cat", *said)["cat"]

    of_query = encoded(f"{before[1]}cat")
    wanted = [float(encoded(f"{before[0]}{text}") @ of_query) for text in TEXTS]
    assert sorted(found.values()) == pytest.approx(sorted(wanted), abs=1e-6)


def searched(gallery: Path, *arguments: object) -> Result:
    result = call("search", gallery, *arguments)
    assert result.exit_code == 0, result.stderr
    return result


def test_a_prompt_that_differs_as_it_is_meant_to_is_not_remarked(tmp_path: Path) -> None:
    small_model(tmp_path, PROMPTS)
    gallery = gallery_of(tmp_path, "--prompt", "passage")
    for prompt in ("query", ""):
        done(
            *("embed", tmp_path / "texts.txt", "-m", "small", f"--prompt={prompt}"),
            *("-o", tmp_path / f"of-{prompt}.emb"),
        )

    assert searched(gallery, "cat").stderr == ""
    assert searched(gallery, tmp_path / "of-query.emb").stderr == ""
    assert "other fingerprint" in searched(gallery, tmp_path / "of-.emb").stderr


def test_a_prompt_that_may_be_wanted_is_told_of(tmp_path: Path) -> None:
    small_model(tmp_path, {"query": "red "})
    gallery = gallery_of(tmp_path)

    assert "the model has a prompt for queries" in searched(gallery, "cat").stderr
    assert searched(gallery, "cat", "--prompt=").stderr == ""


def test_vectors_have_had_their_prompt(tmp_path: Path) -> None:
    small_model(tmp_path, PROMPTS)
    gallery = gallery_of(tmp_path)

    error = refused("search", gallery, tmp_path / "t.emb", "--prompt", "query")

    assert error.startswith(f"--prompt: {tmp_path / 't.emb'} holds vectors")


def test_a_prompt_changes_the_fingerprint_and_not_the_space(tmp_path: Path) -> None:
    small_model(tmp_path, PROMPTS)
    passage = Backbone(catalog.find("small"), prompt="passage")

    query = for_queries(passage)

    assert query_prompt(passage) == "query"
    assert query.space == passage.space
    assert query.fingerprint != passage.fingerprint


def test_a_served_gallery_of_passages_is_searched_with_the_prompt_of_queries(
    tmp_path: Path,
) -> None:
    small_model(tmp_path, PROMPTS)
    place = gallery_of(tmp_path, "--prompt", "passage")
    settings = Settings(device="cpu", threads=1)
    engine = Engine(open_thing(ServeSettings(thing=str(place), backbone=settings)))

    async def vectors(*asks: Ask) -> list[Vectors]:
        found = []
        for ask in asks:
            answers = await engine.answer(["cat", "dog"], ask, deadline_s=time.monotonic() + 60)
            found.append(np.array([each.vector for each in answers if isinstance(each, Answer)]))
        return found

    try:
        asks = Ask(task="search", k=1), Ask(task="embed")
        searched, embedded = asyncio.run(vectors(*asks))
    finally:
        engine.close()

    of_queries = [encoded("red cat"), encoded("red dog")]
    of_passages = [encoded("green cat"), encoded("green dog")]
    np.testing.assert_allclose(searched, of_queries, atol=1e-6)
    np.testing.assert_allclose(embedded, of_passages, atol=1e-6)


def test_a_gallery_of_narrow_vectors_is_asked_with_such(tmp_path: Path) -> None:
    small_model(tmp_path, PROMPTS, "--dims", "2")
    gallery = gallery_of(tmp_path, "--dim", "2")

    found = asked(gallery, "cat", "--prompt=")["cat"]

    wanted = [float(encoded(text, dim=2) @ encoded("cat", dim=2)) for text in TEXTS]
    assert sorted(found.values()) == pytest.approx(sorted(wanted), abs=1e-6)
    assert "cannot be cut to 3 dimensions; allowed: 2, 4" in refused(
        *("embed", tmp_path / "texts.txt", "-m", "small", "-o", tmp_path / "x.emb", "--dim", "3")
    )
