"""One thread, many messages on their way: order per lane, what follows a failure, what a stop gives back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hub.domain.errors import HubError, NotDelivered, OutcomeUnknown, Refused
from hub.domain.lifecycle import State
from hub.domain.ports import Delivered, Outbound
from hub.domain.store import OutboundWork
from hub.sync.crews import Back, Convoy, Crew, Lane, OutboundChannel, senders
from hub.sync.results import Result

OK = Delivered(detail="204")


class Wire:
    """A target whose answers come when the test says so."""

    resend_is_safe = True
    at_once = 16

    def __init__(self) -> None:
        self.on_way: dict[int, Outbound] = {}
        self.sent: list[int] = []
        self.came: list[tuple[Outbound, Delivered | HubError]] = []
        self.most = self.closed = 0
        self.broken: Callable[[Outbound], None] = lambda message: None

    def lines(self, most: int) -> Wire:
        self.most = most
        return self

    def fileno(self) -> int:
        return 0

    def begin(self, message: Outbound) -> None:
        self.broken(message)
        self.on_way[message.message_id] = message
        self.sent.append(message.message_id)

    def turn(self) -> list[tuple[Outbound, Delivered | HubError]]:
        came, self.came = self.came, []
        return came

    def answer(self, number: int, came: Delivered | HubError = OK) -> None:
        self.came.append((self.on_way.pop(number), came))

    def send(self, message: Outbound) -> Delivered:
        raise AssertionError(f"{message.message_id} was sent by a thread")

    def find(self, message: Outbound) -> Delivered | None:
        return None

    def ping(self) -> str:
        return ""

    def close(self) -> None:
        self.closed += 1


def lane(*numbers: int, state: State = State.QUEUED, attempts: int = 0) -> Lane:
    name = f"lane{numbers[0]}"
    return [
        (
            OutboundWork(n, "crm", name, 0, attempts, state, "patient.updated", 1, 1, name),
            Outbound(n, "crm", "patient.updated", 1, 1, "Patient", name, 1, {}, [], name, {}),
        )
        for n in numbers
    ]


def convoy(wire: Wire, *, threads: int = 4, on_dead: str = "block", taking: Callable[[], bool] = lambda: True) -> Convoy:
    channel = OutboundChannel("crm", "crm", wire, True, on_dead, threads=threads)  # type: ignore[arg-type]
    made = senders(channel, Back(), taking)
    assert isinstance(made, Convoy)
    return made


def said(results: list[Result]) -> list[tuple[int, str, bool]]:
    return [
        (r.work.message_id, "released" if r.released else type(r.error or r.delivered).__name__, r.last_of_lane) for r in results
    ]


def test_the_next_of_a_lane_goes_when_the_former_is_confirmed() -> None:
    wire = Wire()
    drive = convoy(wire)
    drive.put(lane(1, 2, 3), 7)
    drive.put(lane(11), 7)
    assert drive.turn() == []
    assert wire.sent == [1, 11]
    wire.answer(11)
    assert said(drive.turn()) == [(11, "Delivered", True)]
    wire.answer(1)
    results = drive.turn()
    assert said(results) == [(1, "Delivered", False)]
    assert results[0].token == 7
    assert wire.sent == [1, 11, 2]
    wire.answer(2)
    drive.turn()
    wire.answer(3)
    assert said(drive.turn()) == [(3, "Delivered", True)]
    assert not drive.busy


def test_only_so_many_lanes_are_begun() -> None:
    wire = Wire()
    drive = convoy(wire, threads=2)
    for number in (1, 2, 3):
        drive.put(lane(number), 1)
    drive.turn()
    assert wire.most == 2
    assert wire.sent == [1, 2]
    wire.answer(2)
    drive.turn()
    assert wire.sent == [1, 2, 3]


@pytest.mark.parametrize("error", [NotDelivered("no"), OutcomeUnknown("?"), Refused("no")])
def test_after_a_failure_the_rest_of_its_lane_goes_back_with_it(error: HubError) -> None:
    wire = Wire()
    drive = convoy(wire)
    drive.put(lane(1, 2, 3), 1)
    drive.put(lane(11), 1)
    drive.turn()
    wire.answer(1, error)
    assert said(drive.turn()) == [(1, type(error).__name__, False), (2, "released", False), (3, "released", True)]
    assert wire.sent == [1, 11]
    assert drive.busy


def test_a_refusal_lets_the_next_pass_where_the_channel_skips() -> None:
    wire = Wire()
    drive = convoy(wire, on_dead="skip")
    drive.put(lane(1, 2), 1)
    drive.turn()
    wire.answer(1, Refused("no"))
    assert said(drive.turn()) == [(1, "Refused", False)]
    assert wire.sent == [1, 2]


def test_a_stop_finishes_what_is_on_its_way_and_begins_nothing() -> None:
    wire, taking = Wire(), [True]
    drive = convoy(wire, threads=1, taking=lambda: taking[0])
    drive.put(lane(1, 2), 1)
    drive.put(lane(11, 12), 1)
    drive.turn()
    taking[0] = False
    assert [[w.message_id for w, _ in found] for found, _ in drive.recall()] == [[11, 12]]
    wire.answer(1)
    assert said(drive.turn()) == [(1, "Delivered", False), (2, "released", True)]
    assert wire.sent == [1]
    assert not drive.busy


def test_a_message_that_workers_were_lost_with_too_often_is_not_sent() -> None:
    wire = Wire()
    drive = convoy(wire)
    drive.put(lane(1, 2, state=State.IN_FLIGHT, attempts=9), 1)
    results = drive.turn()
    assert said(results) == [(1, "Refused", False), (2, "released", True)]
    assert results[0].error is not None
    assert results[0].error.code == "lost_workers"
    assert wire.sent == []
    assert not drive.busy


def test_our_own_bug_costs_one_message_and_ends_uncertain() -> None:
    wire = Wire()

    def broken(message: Outbound) -> None:
        if message.message_id == 1:
            raise KeyError("홍길동")

    wire.broken = broken
    drive = convoy(wire)
    drive.put(lane(1, 2), 1)
    drive.put(lane(11), 1)
    results = drive.turn()
    assert said(results) == [(1, "HubError", False), (2, "released", True)]
    assert results[0].error is not None
    assert "홍길동" not in str(results[0].error)
    assert wire.sent == [11]


def test_targets_that_block_keep_their_threads() -> None:
    class Plain(Wire):
        lines = None  # type: ignore[assignment]

    class Unsafe(Wire):
        resend_is_safe = False

    for target in (Plain(), Unsafe()):
        crew = senders(OutboundChannel("erp", "erp", target, False, threads=1), Back(), lambda: True)
        assert isinstance(crew, Crew)
        crew.close()
