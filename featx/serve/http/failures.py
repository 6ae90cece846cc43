"""Failures: what is answered where a request raised something."""

from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from featx.errors import FeatxError
from featx.serve.http.problems import Problem, problem_of

GONE = 499
"""Status of a request whose client did not wait for an answer."""


def response_of(error: Exception, scope: Scope) -> Response | None:
    """Return what is answered; None for a bug.

    Parameters
    ----------
    error : Exception
    scope : ASGI scope
        Of the request.
    """
    if isinstance(error, ClientDisconnect):
        return Response(status_code=GONE)
    if isinstance(error, FeatxError):
        error = problem_of(error)
    elif isinstance(error, HTTPException):
        error = _of_http(error, scope)
    return error.response_at(scope["path"]) if isinstance(error, Problem) else None


def _of_http(error: HTTPException, scope: Scope) -> Problem:
    """Say in our own form that there is no such path, or that it is asked by another method."""
    path = scope["path"]
    if error.status_code == 405:
        methods = ", ".join(sorted(_methods(path, scope["app"].routes)))
        message = f"{path}: is not asked by {scope['method']}; expected {methods}"
        return Problem(405, "method_not_allowed", message, headers={"allow": methods})
    if error.status_code == 404:
        return Problem(404, "not_found", f"{path}: no such path; see /docs")
    return Problem(error.status_code, "failed", error.detail)


def _methods(path: str, routes: Iterable[BaseRoute]) -> set[str]:
    """Return the methods that a path may be asked by."""
    return {
        method
        for route in routes
        if isinstance(route, Route) and route.path_regex.match(path)
        for method in route.methods or ()
    }
