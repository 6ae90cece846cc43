"""What a client is told of errors."""

import io
import logging

import pytest

from featx.errors import InputError, StoreError, TakenError
from featx.serve.http.problems import LOGGER, problem_of

LINE = "PostgreSQL at me@db.lan:5432/photos: cannot be reached (connection refused)"


def test_a_client_does_not_learn_where_a_gallery_is_kept() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    LOGGER.addHandler(handler)

    told = [problem_of(StoreError(LINE), "input[3]") for _ in range(50)]

    LOGGER.removeHandler(handler)

    assert {(each.status, each.code) for each in told} == {(503, "store")}
    assert {each.message for each in told} == {
        "what is served cannot be read or changed now; stderr of the service says why"
    }
    assert written.getvalue() == f"{LINE}\n"


@pytest.mark.parametrize("kind", [InputError, TakenError])
def test_a_client_is_told_what_is_wrong_with_an_item(kind: type[InputError]) -> None:
    assert problem_of(kind("is empty"), "input[3]").message == "input[3]: is empty"
