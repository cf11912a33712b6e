"""Every error of the API is problem+json (RFC 9457); the console shows the same as a page.

    {"type": "urn:hospital-hub:problem:stale", "title": "...", "status": 412, "code": "stale", "detail": "...",
     "errors": [{"in": "body", "pointer": "#/birthDate", "detail": "..."}], "current": 4}

No text in here quotes what was sent: it may be a patient's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub import log
from hub.domain.errors import HubError, Misconfigured, NotDelivered, NotFound, OutcomeUnknown, Refused, Stale, TryAgain
from hub.domain.lifecycle import IllegalStep

PROBLEM_JSON = "application/problem+json"
_log = log.get("hub.web")

_STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (Stale, 412),
    (Refused, 422),
    (TryAgain, 503),
    (NotDelivered, 502),
    (OutcomeUnknown, 504),
    (Misconfigured, 503),
    (HubError, 500),
)
_CODE_OF = {
    400: "bad_request", 401: "unauthenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    406: "not_acceptable", 409: "conflict", 412: "stale", 413: "too_large", 415: "unsupported_media_type",
    422: "invalid", 428: "precondition_required", 429: "too_many_requests", 500: "internal_error", 503: "unavailable",
}  # fmt: skip


class ProblemError(Exception):
    """An answer that says no, to be raised anywhere below a route."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        code: str = "",
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        """`errors`: one of `error_at(...)` each; `more`: further members of the problem document."""
        super().__init__(code or str(status))
        self.status = status
        self.detail = detail
        self.code = code or _CODE_OF.get(status, "error")
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.more = more

    def document(self) -> dict[str, Any]:
        """The problem document."""
        found: dict[str, Any] = {
            "type": f"urn:hospital-hub:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            found["detail"] = self.detail
        if self.errors:
            found["errors"] = self.errors
        return found | self.more

    def response(self) -> Response:
        """As it goes out."""
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(orjson.dumps(self.document()), self.status, headers, PROBLEM_JSON)


def error_at(place: str, path: Sequence[str | int], detail: str) -> dict[str, str]:
    """One entry of `errors`: a JSON pointer (RFC 6901, as URI fragment) into the body, query, path or headers."""
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return {"in": place, "pointer": f"#{pointer}", "detail": detail}


def problem_of(error: Exception) -> ProblemError:
    """What an exception is to the caller. Foreign texts are never passed on: a driver's error may quote the row."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return ProblemError(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, IllegalStep):
        return ProblemError(409, str(error), code="illegal_step")
    if isinstance(error, HubError):
        return _ours(error)
    if isinstance(error, DataError):
        return ProblemError(422, "a value that no database can hold, such as a NUL character", code="invalid")
    if isinstance(error, PoolTimeout):  # others write: every connection was taken for as long as the pool waits
        return ProblemError(503, "the database is busy", code="busy", headers={"Retry-After": "2"})
    if isinstance(error, DBAPIError):
        return ProblemError(503, "the database does not answer", code="database_unavailable", headers={"Retry-After": "2"})
    return ProblemError(500, "an error that nobody foresaw; it stands in the log")


def install(app: FastAPI, page: Any) -> None:
    """Every exception becomes a problem document where machines ask, a page elsewhere; `page(request, problem)` renders it."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status >= 500:
            _log.error(
                "request failed", extra={"code": problem.code, "method": request.method, "status": problem.status}, exc_info=error
            )
        if request.url.path.startswith(("/api/", "/sap/", "/dicom-web/", "/metrics", "/healthz", "/readyz")):
            return problem.response()
        response: Response = page(request, problem)
        return response

    for kind in (ProblemError, RequestValidationError, HTTPException, HubError, IllegalStep, DBAPIError, PoolTimeout, Exception):
        app.add_exception_handler(kind, handle)


def _ours(error: HubError) -> ProblemError:
    status = next(status for kind, status in _STATUS_OF if isinstance(error, kind))
    headers = {"Retry-After": "2"} if isinstance(error, TryAgain) else {}
    if isinstance(error, Stale):
        return ProblemError(412, error.reason, code=error.code, headers={"ETag": f'"v{error.current}"'}, current=error.current)
    return ProblemError(status, error.reason, code=error.code, headers=headers)


def _invalid(error: RequestValidationError) -> ProblemError:
    """FastAPI's list, without the values that it quotes."""
    found = []
    for one in error.errors():
        place, *path = one["loc"]
        if one["type"] == "json_invalid":
            found.append(error_at("body", (), f"this is not JSON: {one['ctx']['error']} at character {path[0]}"))
            return ProblemError(400, "the body is not JSON", code="not_json", errors=found)
        found.append(error_at(str(place), [step for step in path if not _is_branch(step)], one["msg"]))
    return ProblemError(422, "the request has fields that are wrong", errors=found)


def _is_branch(step: object) -> bool:
    """pydantic names the branch of a union in the path; a caller has no such field."""
    return isinstance(step, str) and ("[" in step or step.startswith("function-"))
