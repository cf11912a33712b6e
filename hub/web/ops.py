"""/healthz, /readyz and /metrics: for machines that watch the hub. No data of a patient, so no token is asked for."""

from __future__ import annotations

import threading
import time

from fastapi import APIRouter
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response

from hub import metrics
from hub.db.views import channels
from hub.web import render
from hub.web.auth import SecureRoute, public
from hub.web.context import WebHub, hub_of
from hub.web.errors import ProblemError

FRESH_SECONDS = 2.0  # counting costs the database, and nobody has to log in to ask
_guard = threading.Lock()
router = APIRouter(route_class=SecureRoute, include_in_schema=False)


@router.get("/healthz")
@public
def health() -> Response:
    """This process answers."""
    return render.answer({"status": "ok"})


@router.get("/readyz")
@public
def ready(request: Request) -> Response:
    """The database answers and nothing keeps the hub from taking messages; 503 with the reason otherwise.

    A channel that cannot listen makes it "degraded", with 200: to take the hub out would take the other channels out, too.
    """
    hub = hub_of(request)
    try:
        with hub.engine.connect() as conn:
            down = channels.troubled(conn)
    except DBAPIError:
        raise ProblemError(503, "the database does not answer", code="database_unavailable") from None
    reason = hub.ready()
    if reason:
        raise ProblemError(503, reason, code="not_ready")
    if down:
        return render.answer({"status": "degraded", "not_listening": down})
    return render.answer({"status": "ready"})


@router.get("/metrics")
@public
def prometheus(request: Request) -> Response:
    """Prometheus' text format; what stands in the database is looked up every FRESH_SECONDS at most, however many ask."""
    state = request.app.state
    with _guard:
        at, text_ = getattr(state, "metrics", (-FRESH_SECONDS, b""))
        if time.monotonic() - at >= FRESH_SECONDS:
            _look_up(hub_of(request))
            at, text_ = state.metrics = (time.monotonic(), metrics.render())
    return Response(text_, media_type=metrics.CONTENT_TYPE)


def _look_up(hub: WebHub) -> None:
    """Sets the gauges of messages so far and waiting, lag, blocked lanes and breakers."""
    with hub.engine.connect() as conn:
        names = [one.name for one in hub.channels()]
        for row in channels.status(conn, names, skipping=hub.skipping(), now=hub.clock()):
            for total in metrics.TOTALS:
                metrics.TOTAL.labels(row.channel, total).set(getattr(row, total))
            for state in metrics.STATES:
                metrics.WORK.labels(row.channel, state).set(getattr(row, state))
            metrics.LAG.labels(row.channel).set(row.lag / 1_000_000)
            metrics.BLOCKED.labels(row.channel).set(row.blocked)
            metrics.DOWN.labels(row.channel).set(bool(row.trouble))
            metrics.BREAKER.labels(row.channel).set(row.breaker != "closed")
