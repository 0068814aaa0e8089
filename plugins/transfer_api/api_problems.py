"""Errors as problem details (RFC 9457), all of one shape, in the words of the library.

{"type": "about:blank", "title": "Not Found", "status": 404, "code": "UnknownRouteError", "detail": "no route ..."}
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from skyferry.errors import (
    AirflowAccessError,
    AirflowRefusedError,
    AirflowUnreachableError,
    RequestError,
    RouteConfigError,
    RouteExistsError,
    TransferError,
    UnknownRouteError,
    UnknownRunError,
    printable,
)

MEDIA_TYPE = "application/problem+json"
_MAX_PROBLEMS = 20
_RETRY_AFTER_SECONDS = "5"

_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = Field(default="about:blank", description="Always `about:blank`: `status` and `code` say which problem.")
    title: str = Field(description="The meaning of the status.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    code: str = Field(description="Class of the error, the same as in logs.", examples=["UnknownRouteError"])
    detail: str = Field(description="What failed, expected and found, and what to do.")
    problems: list[str] = Field(default=[], description="Each thing that is wrong, where there may be several.")


class ProblemError(Exception):
    """A problem that only this API has; becomes the answer."""

    def __init__(self, status: int, detail: str, *, code: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(status, detail)
        self.status, self.detail, self.code, self.problems = status, detail, code, problems


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what an operation may answer besides its result, for the OpenAPI document."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({400, 401, 403, 413, 422, 503, *statuses})
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of an app a problem."""
    app.add_exception_handler(ProblemError, _problem_error)
    app.add_exception_handler(TransferError, _transfer_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _unforeseen)


def problem_response(
    status: int, detail: str, *, code: str, problems: tuple[str, ...] = (), headers: dict[str, str] | None = None
) -> Response:
    """Return a problem as an answer; texts in it are shown on one line, control characters as escapes."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=printable(detail),
        problems=[printable(each) for each in problems],
    )
    # ASCII: what was asked may hold half a surrogate pair, which has no UTF-8.
    content = json.dumps(problem.model_dump()).encode("ascii")
    return Response(content, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def status_of(error: TransferError) -> int:
    """Return the HTTP status of an error of the library."""
    match error:
        case UnknownRouteError() | UnknownRunError():
            return 404
        case RouteExistsError():
            return 409
        case RequestError() | RouteConfigError():
            return 422
        case AirflowAccessError():
            return 401
        case AirflowRefusedError():
            # What Airflow's own REST said to this caller holds here too.
            status = getattr(error.__cause__, "status", 409)
            return status if status in {400, 403, 404, 409, 422} else 400
        case AirflowUnreachableError():
            return 503
    return 502  # a store refused or did not answer


def _transfer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TransferError)
    status = status_of(error)
    detail = f"{error}; see: GET /transfer/v1/transfers" if isinstance(error, UnknownRunError) else str(error)
    headers = {"Retry-After": _RETRY_AFTER_SECONDS} if status == 503 else None
    return problem_response(status, detail, code=type(error).__name__, headers=headers)


def _problem_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error.status, error.detail, code=error.code, problems=error.problems)


def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    if error.status_code == 401:
        headers = {"WWW-Authenticate": "Bearer", **(headers or {})}
    code = "".join(word.title() for word in HTTPStatus(error.status_code).phrase.split())
    return problem_response(error.status_code, str(error.detail), code=code, headers=headers)


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [_problem_text(each) for each in error.errors()[:_MAX_PROBLEMS]]
    return problem_response(422, "; ".join(found), code="RequestError", problems=tuple(found))


def _problem_text(detail: Mapping[str, Any]) -> str:
    """Return what is wrong with one part of a request; what was found is left out, it may hold a secret."""
    where, *names = detail["loc"]
    name = ".".join(str(part) for part in names)
    match detail["type"]:
        case "json_invalid":
            return f"the body is no JSON: {detail['ctx']['error']} at character {name}"
        case "missing":
            return f"{name} is missing in the {where}" if name else f"the {where} is missing"
        case "extra_forbidden":
            return f"{name} in the {where} is not a known name"
    reason: str = detail["msg"]
    return f"{name} in the {where}: {reason[:1].lower()}{reason[1:]}"


def _unforeseen(request: Request, error: Exception) -> Response:
    _log.error("unforeseen error in %s %s", request.method, request.url.path, exc_info=error)
    return problem_response(500, "an unforeseen error; the log of the API server has it", code=type(error).__name__)
