"""How a change stands with each receiver, in the words of SAP's middleware (BDoc states, domain SMW3ISTATE) for who knows those.

One table from a message's life-cycle to a receiver's code, one rule from the receivers' codes to that of the whole.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from hub.domain.lifecycle import UNCONFIRMED, State

REFUSED = "refused"  # the verdict of an attempt that the target turned down


class Code(NamedTuple):
    """`when`: what that is here."""

    code: str
    name: str
    when: str


CODES = (
    Code("I02", "written to queue", "`queued`, never tried"),
    Code("R01", "retry after temporary error", "`queued`, tried before"),
    Code("I04", "stored before update", "`in_flight`"),
    Code("O01", "sent, not all receivers confirmed", "`done`, taken by the target and not confirmed yet"),
    Code("F02", "confirmed", "`done`"),
    Code("F01", "rejected", "`dead`, and the target had said no"),
    Code("E06", "outbound processing failed", "`dead`, after as many attempts as are allowed"),
    Code("E01", "technical error, incomplete", "`uncertain`"),
    Code("F03", "set to processed", "`discarded` by a person"),
    Code("F04", "confirmed by all receivers", "of the whole: every receiver F02 or F03"),
    Code("E02", "partially sent, receivers have errors", "of the whole: one receiver has an error, another not"),
    Code("F05", "information", "of the whole: it has no receiver"),
)
NAMES = {one.code: one.name for one in CODES}
FAILED = frozenset({"F01", "E06", "E01"})
_OPEN = {State.QUEUED: "I02", State.IN_FLIGHT: "I04", State.UNCERTAIN: "E01", State.DISCARDED: "F03", State.REFUSED: "F01"}


def code_of(state: str, reason: str, attempts: int, last_verdict: str = "") -> str:
    """Of one receiver: where its message stands, why, how often it was tried, and how the last attempt ended."""
    if state == State.DONE:
        return "O01" if reason == UNCONFIRMED else "F02"
    if state == State.DEAD:
        return "F01" if last_verdict == REFUSED else "E06"
    if state == State.QUEUED and (attempts or reason):
        return "R01"
    return _OPEN[State(state)] if state else "I02"


def code_of_all(codes: Collection[str]) -> str:
    """Of the change: from its receivers'."""
    if not codes:
        return "F05"
    if all(code in ("F02", "F03") for code in codes):
        return "F04"
    failed = [code for code in codes if code in FAILED]
    if not failed:
        return "O01"
    return failed[0] if len(set(codes)) == 1 else "E02"
