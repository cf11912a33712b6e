"""Doctors and insurers: every message names them again, and nearly always says the same.

A process remembers for a minute what it applied of them, so that a message which repeats it loads and locks nothing. What
another process changed in that minute is heard again after it.
"""

from __future__ import annotations

import time
from typing import Any

from hub.domain.facts import AnyFact, Fact, Key

SHARED = frozenset({"Practitioner", "Organization"})
SECONDS = 60.0
MOST = 20_000


class Shared:
    """What this process knows to be stored: (system, kind, key) -> values, resource id, until when."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, Key], tuple[dict[str, Any], str, float]] = {}

    def news(self, system: str, facts: list[AnyFact]) -> list[AnyFact]:
        """The facts without those that only repeat what is stored."""
        return [f for f in facts if not (isinstance(f, Fact) and f.kind in SHARED and self._repeats(system, f))]

    def _repeats(self, system: str, fact: Fact) -> bool:
        known = self._known.get((system, fact.kind, fact.key))
        return known is not None and known[0] == fact.values and known[2] > time.monotonic()

    def resource_id(self, kind: str, key: Key, system: str) -> str | None:
        """The resource behind a key that was applied lately."""
        known = self._known.get((system, kind, key))
        return known[1] if known is not None and known[2] > time.monotonic() else None

    def remember(self, system: str, fact: Fact, resource_id: str) -> None:
        """After the commit only."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[system, fact.kind, fact.key] = (fact.values, resource_id, time.monotonic() + SECONDS)
