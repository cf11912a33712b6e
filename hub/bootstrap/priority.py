"""Intake goes first: what is stored can wait a moment, a sender that waits for its answer cannot.

Workers that apply and deliver give way to the listeners (nice(2)): they take all the processor that nobody else wants.
Not further back than this, because a worker that holds SQLite's write turn must come to its end.
"""

from __future__ import annotations

import os

BEHIND = frozenset({"apply", "deliver"})
STEPS = 10


def step_back() -> None:
    """Puts this process behind the listeners."""
    os.nice(STEPS)
