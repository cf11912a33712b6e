"""What the demo expects, checked one by one, and the summary that comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

HURRY_SECONDS = 5.0


@dataclass(slots=True)
class Verdict:
    """Expectations as they were met or not. `facts` becomes the summary."""

    facts: dict[str, Any] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def expect(self, what: str, holds: object, detail: object = "") -> bool:
        """Notes whether `what` holds; `detail` says what stood there instead (counts and codes, no patient)."""
        if holds:
            self.held.append(what)
        else:
            self.failed.append(f"{what} ({detail})" if detail not in ("", None) else what)
        return bool(holds)

    def equal(self, what: str, found: object, wanted: object) -> bool:
        """`found` is `wanted`. Only for what may be printed: counts, codes, states."""
        return self.expect(what, found == wanted, f"{found!r}, not {wanted!r}")

    def until(self, what: str, holds: Callable[[], object], seconds: float = 20.0) -> bool:
        """Waits until it holds. Once something has failed, nothing is waited for long: a broken hub shall be told of soon."""
        seconds = min(seconds, HURRY_SECONDS) if self.failed else seconds
        return self.expect(what, wait(holds, seconds), f"not within {seconds:.0f} s")

    def summary(self) -> dict[str, Any]:
        """One JSON object: facts, then how it ended."""
        return {
            **self.facts,
            "checks": len(self.held) + len(self.failed),
            "failed": self.failed,
            "seconds": round(time.monotonic() - self.began, 1),
            "ok": not self.failed,
        }


def wait(holds: Callable[[], object], seconds: float, pause: float = 0.1) -> bool:
    """Asks until it holds; False when it did not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
