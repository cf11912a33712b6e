"""/api/v1/tokens: who may come in. Admin only; a secret is shown once, when its token is made."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.auth import TokenRow
from hub.web import render
from hub.web.api.bodies import TokenIn
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import hub_of
from hub.web.params import read_time

router = APIRouter(prefix="/api/v1/tokens", tags=["Tokens"], route_class=ApiRoute)


@router.get("", summary="All tokens")
@allow()
def every(request: Request) -> Response:
    """Also revoked ones, without their secrets, which nobody has."""
    return render.page([render.token(row) for row in hub_of(request).access.tokens()], None)


@router.post("", status_code=201, summary="Make a token")
@allow()
def create(request: Request, body: TokenIn) -> Response:
    """`secret` stands in this answer only."""
    hub = hub_of(request)
    expires_at = read_time("expiresAt", body.expiresAt or "", "body")
    row, secret = hub.access.create_token(body.name, body.role, now=hub.clock(), expires_at=expires_at)
    _noted(request, Action.TOKEN_CREATED, row)
    return render.answer({**render.token(row), "secret": secret}, 201)


@router.delete("/{token_id}", summary="Revoke a token")
@allow()
def revoke(request: Request, token_id: str) -> Response:
    """By id or name. It and its browser sessions are refused from now on; the row stays, since the audit log names it."""
    hub = hub_of(request)
    row = hub.access.revoke_token(token_id, now=hub.clock())
    _noted(request, Action.TOKEN_REVOKED, row)
    return render.answer(render.token(next(one for one in hub.access.tokens() if one.id == row.id)))


def _noted(request: Request, action: Action, row: TokenRow) -> None:
    who = principal_of(request)
    hub_of(request).audit.append(action, actor=who.actor, detail={"ip": who.ip, "token": row.id, "role": row.role})
