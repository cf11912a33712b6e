"""A clerk at the SAP system of tests (tests.servers.Cap): creates, changes, deletes and looks, past the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from tests.servers import Cap


class Clerk:
    """Works in a session of its own. A `path` begins with the service: "API_BUSINESS_PARTNER/A_BusinessPartner('1')"."""

    def __init__(self, cap: Cap) -> None:
        self._root = cap.service("")
        self._http = httpx.Client(headers={"Accept": "application/json"}, timeout=30, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST, deep where `body` is; the entity as it was made."""
        return dict(self._change("POST", path, body).json()["d"])

    def change(self, path: str, body: Mapping[str, Any]) -> None:
        """PATCH of one entity, whatever its version."""
        self._change("PATCH", path, body)

    def delete(self, path: str) -> None:
        self._change("DELETE", path, None)

    def get(self, path: str, **query: str) -> Any:
        """What is behind `d` of an answer: an entity, or {"results": […]}; `query`: filter="…" for $filter."""
        found = self._http.get(f"{self._root}{path}", params={f"${name}": value for name, value in query.items()})
        found.raise_for_status()
        return found.json()["d"]

    def _change(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        asked = self._http.get(f"{self._root}{path.partition('/')[0]}/", headers={"X-CSRF-Token": "Fetch"})
        headers = {"X-CSRF-Token": asked.headers["x-csrf-token"]} | ({"If-Match": "*"} if method != "POST" else {})
        answer = self._http.request(method, f"{self._root}{path}", json=body, headers=headers)
        answer.raise_for_status()
        return answer
