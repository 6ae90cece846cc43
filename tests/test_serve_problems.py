"""What a client is told of errors."""

import logging

import pytest

from featx.errors import InputError, StoreError, TakenError
from featx.serve.http import problems
from featx.serve.http.problems import problem_of

LINE = "PostgreSQL at me@db.lan:5432/photos: cannot be reached (connection refused)"


def test_a_client_does_not_learn_where_a_gallery_is_kept(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_said", {})
    monkeypatch.setattr(problems.LOGGER, "handlers", [caplog.handler])
    monkeypatch.setattr(problems.LOGGER, "propagate", False)
    caplog.set_level(logging.INFO, logger="featx.serve")

    told = [problem_of(StoreError(LINE), "input[3]") for _ in range(50)]

    assert {(each.status, each.code) for each in told} == {(503, "store")}
    assert {each.message for each in told} == {
        "what is served cannot be read or changed now; stderr of the service says why"
    }
    assert caplog.messages == [LINE]


@pytest.mark.parametrize("kind", [InputError, TakenError])
def test_a_client_is_told_what_is_wrong_with_an_item(kind: type[InputError]) -> None:
    assert problem_of(kind("is empty"), "input[3]").message == "input[3]: is empty"
