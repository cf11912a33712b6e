"""The hub's API as a front-end, an operator and an auditor use it: a token, JSON, and no surprises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

MERGE_PATCH = "application/merge-patch+json"


class UnexpectedAnswer(Exception):
    """The hub answered with another status than the scenario asks for; holds no body, which may name a patient."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, ETag and JSON of one answer."""

    status: int
    etag: str
    data: Any


class Api:
    """One token at one hub."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=20, trust_env=False)

    def ready(self) -> bool:
        """Whether the hub takes work."""
        try:
            return self._client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON at `path`."""
        return self._send("GET", path, expect=200, params=parameters or None).data

    def versioned(self, path: str) -> Answer:
        """A resource with its ETag."""
        return self._send("GET", path, expect=200)

    def post(self, path: str, body: Any, *, expect: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        return self._send("POST", path, body, expect=expect, headers=headers)

    def patch(self, path: str, body: Any, *, if_match: str, expect: int = 200) -> Answer:
        return self._send("PATCH", path, body, expect=expect, headers={"If-Match": if_match, "Content-Type": MERGE_PATCH})

    def items(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Every item of a paged list."""
        cursor = None
        while True:
            page = self.get(path, **parameters, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return

    def changes(self) -> Iterator[dict[str, Any]]:
        """The whole delta feed so far."""
        after = ""
        while True:
            page = self.get("/api/v1/changes", after=after, limit=500)
            yield from page["items"]
            after = page["next"]
            if not page["more"]:
                return

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: int,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        content = None if body is None else orjson.dumps(body)
        sent = {"Content-Type": "application/json", **(headers or {})} if content is not None else dict(headers or {})
        answer = self._client.request(method, path, content=content, headers=sent, params=params)
        if answer.status_code != expect:
            code = answer.json().get("code", "") if "json" in answer.headers.get("content-type", "") else ""
            raise UnexpectedAnswer(f"{method} {path.split('?')[0]} answered {answer.status_code} {code}, not {expect}")
        return Answer(answer.status_code, answer.headers.get("etag", ""), orjson.loads(answer.content or b"null"))
