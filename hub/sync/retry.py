"""When a message is tried again: exponential, capped, with jitter; a target's own wish (Retry-After) counts more."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds; `max_attempts` counts attempts that reached the target."""

    base_seconds: float = 0.5
    max_seconds: float = 600.0
    max_attempts: int = 10

    def wait(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds until the attempt after number `attempt` (from 1)."""
        planned = min(self.max_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 30)) * random.uniform(0.8, 1.2)
        return max(planned, min(retry_after, self.max_seconds)) if retry_after else planned
