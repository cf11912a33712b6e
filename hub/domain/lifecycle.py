"""The life of a message: every state, every step, in one table (inbound and outbound alike).

Rule: whatever changes the state of a message goes through `TRANSITIONS`. The picture in docs/ is drawn from it.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a message stands. DONE, DISCARDED and REFUSED are final; but a target that took a message may turn it down later."""

    QUEUED = "queued"
    IN_FLIGHT = "in_flight"
    DONE = "done"
    UNCERTAIN = "uncertain"
    DEAD = "dead"
    DISCARDED = "discarded"
    REFUSED = "refused"


class Step(StrEnum):
    """What can happen to it."""

    CLAIM = "claim"
    SUCCEED = "succeed"
    DEFER = "defer"
    LOSE = "lose"
    REJECT = "reject"
    EXHAUST = "exhaust"
    CONFIRM = "confirm"
    DENY = "deny"
    REPLAY = "replay"
    DISCARD = "discard"
    DECLINE = "decline"
    ACCEPT = "accept"


class Outcome(StrEnum):
    """How a DONE message ended."""

    APPLIED = "applied"  # inbound: it changed the canonical model, or said what was known already
    IGNORED = "ignored"  # inbound: filtered, or no map for it
    STALE = "stale"  # inbound: older than what is known; kept and logged
    DELIVERED = "delivered"  # outbound: the target confirmed it


class Answer(StrEnum):
    """Whether the sender got its answer; a matter of its own, apart from State."""

    NOT_OWED = "not_owed"
    OWED = "owed"
    SENT = "sent"
    UNDELIVERED = "undelivered"


# The reason of a DELIVERED outcome whose target took the message (HL7 CA) but has not said what became of it.
UNCONFIRMED = "taken by the target, not confirmed yet"

TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.QUEUED, Step.CLAIM): State.IN_FLIGHT,
    (State.IN_FLIGHT, Step.SUCCEED): State.DONE,
    (State.IN_FLIGHT, Step.DEFER): State.QUEUED,
    (State.IN_FLIGHT, Step.LOSE): State.UNCERTAIN,
    (State.IN_FLIGHT, Step.REJECT): State.DEAD,
    (State.IN_FLIGHT, Step.EXHAUST): State.DEAD,
    (State.UNCERTAIN, Step.CONFIRM): State.DONE,
    (State.UNCERTAIN, Step.DENY): State.QUEUED,
    (State.UNCERTAIN, Step.REPLAY): State.QUEUED,
    (State.UNCERTAIN, Step.DISCARD): State.DISCARDED,
    (State.DEAD, Step.REPLAY): State.QUEUED,
    (State.DEAD, Step.DISCARD): State.DISCARDED,
    (State.DONE, Step.DECLINE): State.DEAD,
    (State.DEAD, Step.ACCEPT): State.DONE,
}
FINAL = frozenset({State.DONE, State.DISCARDED, State.REFUSED})


class IllegalStep(ValueError):
    """A step that the table does not have: our bug, or two operators at once."""


def after(state: State, step: Step) -> State:
    """The state after `step`; raises IllegalStep where the table has no such pair."""
    try:
        return TRANSITIONS[state, step]
    except KeyError:
        raise IllegalStep(f"a {state} message cannot {step}") from None
