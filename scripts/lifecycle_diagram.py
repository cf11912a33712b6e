#!/usr/bin/env python3
"""Draws docs/lifecycle.md from the table in hub/domain/lifecycle.py; `--print` writes it to standard output instead.

A test holds the page against the table: run this after changing it.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hub.domain.lifecycle import FINAL, TRANSITIONS, State, Step  # noqa: E402 - needs the line above
from hub.domain.receivers import CODES  # noqa: E402 - as above

STEPS = {
    Step.CLAIM: "a worker takes it, with all that is due of its lane",
    Step.SUCCEED: "applied, ignored or stale; or the target confirmed it",
    Step.DEFER: "the target provably did not act, or a resend is safe: again later",
    Step.LOSE: "the target may have acted, and cannot be asked",
    Step.REJECT: "it cannot be read or mapped, or the target said no",
    Step.EXHAUST: "as many attempts as are allowed reached the target",
    Step.CONFIRM: "a person found out that the target acted",
    Step.DENY: "a person found out that it did not",
    Step.REPLAY: "a person puts it back into its place in its lane",
    Step.DISCARD: "a person gives it up",
    Step.DECLINE: "the target took it, and said later that it will not act (SAP: 51, 56 …)",
    Step.ACCEPT: "the target that had said so acted after all (SAP: 53 after 51)",
}


def page() -> str:
    """The whole page."""
    arrows = [f"    {state} --> {to}: {step}" for (state, step), to in TRANSITIONS.items()]
    ends = [f"    {state} --> [*]" for state in State if state in FINAL]
    rows = [f"| `{step}` | {meaning} |" for step, meaning in STEPS.items()]
    return "\n".join([
        "# The life of a message", "",
        "Inbound and outbound alike. Drawn by `scripts/lifecycle_diagram.py` from `hub/domain/lifecycle.py`; every"
        " change of a state goes through that table.", "",
        "```mermaid", "stateDiagram-v2",
        "    [*] --> queued: stored", "    [*] --> refused: kept, but unreadable or not for us",
        *arrows, *ends,
        "```", "",
        "| step | when |", "|---|---|", *rows, "",
        "## How a receiver stands, in SAP's words", "",
        "For a change, each system that it goes to has a state of its own, and the change one of all of them: `hub show ID`,"
        " the message's page in the console, `GET /api/v1/changes/{id}/deliveries`. The codes are those of SAP's middleware"
        " (BDoc, domain SMW3ISTATE); the table is `hub/domain/receivers.py`.", "",
        "| code | SAP calls it | here |", "|---|---|---|",
        *[f"| {one.code} | {one.name} | {one.when} |" for one in CODES], "",
    ])  # fmt: skip


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        (ROOT / "docs" / "lifecycle.md").write_text(page(), encoding="utf-8")
