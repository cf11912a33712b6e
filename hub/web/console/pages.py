"""The console's routers in one place, and the page that shows an error."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.web.console import audit, channels, login, messages, patients
from hub.web.console.view import page
from hub.web.errors import ProblemError

ROUTERS: tuple[APIRouter, ...] = (
    login.open_router, login.router, channels.router, messages.router, patients.router, audit.router,
)  # fmt: skip
_TITLES = frozenset({401, 403, 404, 409, 422})


def error_page(request: Request, problem: ProblemError) -> Response:
    """What went wrong, for people, with the same status and headers as the API."""
    title = f"error_{problem.status}" if problem.status in _TITLES else "error_5" if problem.status >= 500 else "error_other"
    response = page(request, "error.html", problem.status, problem=problem, title=title)
    response.headers.update(problem.headers)
    return response
