"""Idempotency-Key: the same write sent twice is done once, and both times gets the same answer.

The key is taken before the write and freed again where the write was refused. A process that dies in between leaves it
taken without an answer: the next one with that key is told that the outcome is not known, and reads before it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import orjson
from fastapi import Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from hub.domain.errors import NotFound, Refused, Stale
from hub.web.auth import principal_of
from hub.web.context import hub_of
from hub.web.errors import ProblemError

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=8, max_length=200, pattern=r"^[\x21-\x7e]+$",
        description="A random text of your own, e.g. a UUID: a repeated write with the same key gets the first answer (24 h)",
    ),
]  # fmt: skip
_KEPT_HEADERS = ("etag", "location", "link")
NOT_DONE = (ProblemError, NotFound, Refused, Stale)  # what says that nothing was written


async def _raw(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_raw)]


def once(request: Request, key: str | None, raw: bytes, act: Callable[[], Response]) -> Response:
    """`act()`, or what it answered when it ran under this key before. Raises ProblemError 422 for another request, 409
    where the first one has not ended."""
    if key is None:
        return act()
    hub, who = hub_of(request), principal_of(request)
    wanted = hub.keys.digest(b"\0".join(
        (request.method.encode(), request.url.path.encode(), request.headers.get("if-match", "").encode(), raw)
    ))  # fmt: skip
    earlier = hub.access.begin_write(who.token_id, key, wanted, now=hub.clock())
    row = f"{who.token_id}/{key}"
    if earlier is not None:
        if earlier.request != wanted:
            raise ProblemError(422, "this Idempotency-Key was used for another request", code="idempotency_key_reused")
        if not earlier.status:
            raise ProblemError(409, "the first request with this key has not ended, or its end is not known", code="in_progress")
        headers = {"Cache-Control": "no-store", "Idempotency-Replayed": "true", **orjson.loads(earlier.headers)}
        return Response(hub.keys.open_("idempotency", row, earlier.body), earlier.status, headers, "application/json")
    try:
        response = act()
    except NOT_DONE:
        hub.access.forget_write(who.token_id, key)
        raise  # any other error may have come after the write: the key stays taken, its end unknown
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    sealed = hub.keys.seal("idempotency", row, bytes(response.body))
    hub.access.end_write(who.token_id, key, status=response.status_code, body=sealed, headers=orjson.dumps(kept).decode())
    return response
