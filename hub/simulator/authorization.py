"""A simulated authorization server for SMART Backend Services: verifies assertions, gives out tokens that live for a while.

As strict as client-confidential-asymmetric.html demands: signature by the registered key that `kid` names, RS384 or ES384,
iss = sub = the client, aud = the token endpoint, exp at most five minutes ahead, a jti that was not used before.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import jwt

from hub.simulator.http_peer import HttpPeer, Request, response

LONGEST = 300  # seconds that an assertion may be valid


class AuthorizationPeer(HttpPeer):
    """`clients`: client_id -> its JWKS. `received`: the scopes that were given, in order; `refused`: why others got none."""

    path = "/token"

    def __init__(self, *, lives: float = 300.0, **where: Any) -> None:
        """`lives`: seconds that a token is good for."""
        super().__init__(**where)
        self.clients: dict[str, Mapping[str, Any]] = {}
        self.lives = lives
        self.clock_ahead = 0.0  # seconds
        self.refused: list[str] = []
        self._tokens: dict[str, float] = {}
        self._used: set[str] = set()

    def configuration(self) -> dict[str, Any]:
        """What .well-known/smart-configuration says."""
        return {
            "token_endpoint": self.url,
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        }

    def knows(self, authorization: str) -> bool:
        """Whether this Authorization header holds a token that is good now."""
        scheme, _, token = authorization.partition(" ")
        return scheme == "Bearer" and self._tokens.get(token, 0.0) > time.monotonic()

    def revoke(self) -> None:
        """All tokens, at once."""
        self._tokens.clear()

    def answer(self, request: Request) -> bytes:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        problem = self._problem(form)
        if problem:
            self.refused.append(problem)
            return self._said(400, {"error": "invalid_client", "error_description": problem})
        token = secrets.token_urlsafe(24)
        self._tokens[token] = time.monotonic() + self.lives
        self.received.append(form["scope"])
        said = {"access_token": token, "token_type": "bearer", "expires_in": self.lives, "scope": form["scope"]}
        return self._said(200, said)

    def _problem(self, form: Mapping[str, str]) -> str:
        if form.get("grant_type") != "client_credentials" or not form.get("scope"):
            return "grant_type or scope"
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return "client_assertion_type"
        assertion, now = form.get("client_assertion", ""), time.time() + self.clock_ahead
        try:
            kid = jwt.get_unverified_header(assertion)["kid"]
            issuer = jwt.decode(assertion, options={"verify_signature": False})["iss"]
            (key,) = [one for one in self.clients[issuer]["keys"] if one["kid"] == kid]
            claims = jwt.decode(
                assertion, jwt.PyJWK(key), algorithms=["RS384", "ES384"], audience=self.url,
                options={"require": ["iss", "sub", "aud", "exp", "jti"], "verify_exp": False, "verify_iat": False},
            )  # fmt: skip
        except (jwt.InvalidTokenError, KeyError, ValueError) as error:
            return type(error).__name__
        if claims["sub"] != issuer:
            return "sub"
        if not now < claims["exp"] <= now + LONGEST:
            return "exp"
        if claims["jti"] in self._used:
            return "jti"
        self._used.add(claims["jti"])
        return ""

    def _said(self, status: int, body: Mapping[str, Any]) -> bytes:
        headers = {
            "Content-Type": "application/json", "Cache-Control": "no-store",
            "Date": formatdate(time.time() + self.clock_ahead, usegmt=True),
        }  # fmt: skip
        return response(status, json.dumps(body).encode(), headers)
