"""How the façade answers: application/fhir+json with ETag and Last-Modified; errors as OperationOutcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hub.codecs import fhir_bundle
from hub.codecs.fhir import MEDIA_TYPE, Document
from hub.web.errors import ProblemError

PREFIX = "/fhir/R4"
_JSON = frozenset({"", "*/*", "application/*", "json", "text/json", "application/json", MEDIA_TYPE})
ErrorPage = Callable[[Request, ProblemError], Response]


def base_of(request: Request) -> str:
    """The façade's own absolute URL, as the caller reached it."""
    return str(request.base_url).rstrip("/") + PREFIX


def answer(document: Document, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A FHIR answer that no cache keeps."""
    return Response(orjson.dumps(document), status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def versioned(request: Request, document: Document, version: int, updated_at: int) -> Response:
    """One resource with its version; 304 where the caller has it (http.html#cread)."""
    when = datetime.fromtimestamp(updated_at // 1_000_000, UTC)
    headers = {"ETag": f'W/"{version}"', "Last-Modified": format_datetime(when, usegmt=True)}
    known = request.headers.get("if-none-match", "")
    if known.strip().removeprefix("W/") == f'"{version}"':
        return Response(status_code=304, headers=headers)
    return answer(document, headers=headers)


def negotiate(request: Request, wanted: str | None = None) -> None:
    """JSON only; `_format` wins over Accept (http.html#mime-type). Raises ProblemError 406."""
    asked = [wanted or request.query_params.get("_format") or ""]
    if not asked[0]:
        asked = request.headers.get("accept", "").split(",")
    if not any(one.partition(";")[0].strip().lower().replace(" ", "+") in _JSON for one in asked):
        raise ProblemError(406, f"this server speaks {MEDIA_TYPE}")


def or_page(page: ErrorPage) -> Callable[[Request, Any], Response]:
    """An error below /fhir as an OperationOutcome, any other as that page."""

    def shown(request: Request, problem: ProblemError) -> Response:
        if not request.url.path.startswith("/fhir/"):
            return page(request, problem)
        text = problem.detail or HTTPStatus(problem.status).phrase
        document = fhir_bundle.outcome(problem.status, text, problem.code, problem.errors)
        return answer(document, problem.status, problem.headers)

    return shown
