"""Many messages in one request, as lines: batches grow with the load, what failed twice goes alone, a bug is one message's."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence

from hub.adapters.batches import BatchLines, Came
from hub.domain.errors import HubError, NotDelivered
from hub.domain.ports import Delivered, Outbound
from hub.testing.case import patient_updated


def message(number: int, attempt: int = 1) -> Outbound:
    return patient_updated(number, message_id=number, attempt=attempt)


class Sink:
    """Takes what is sent, a batch at a time, as far as the test lets it."""

    def __init__(self, judge: Callable[[Outbound], Came] = lambda _: Delivered(detail="ok"), *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.judge, self.go = judge, threading.Event()
        if not held:
            self.go.set()

    def __call__(self, messages: Sequence[Outbound]) -> list[Came]:
        self.batches.append([one.message_id for one in messages])
        assert self.go.wait(5)
        return [self.judge(one) for one in messages]


def until(lines: BatchLines, count: int) -> dict[int, Came]:
    came: dict[int, Came] = {}
    ends = time.monotonic() + 5
    while len(came) < count:
        assert time.monotonic() < ends
        came |= {one.message_id: what for one, what in lines.turn()}
        select.select([lines], [], [], 0.02)
    return came


def test_what_waits_goes_together() -> None:
    sink = Sink(held=True)
    lines = BatchLines(sink, size=4, at_once=1, name="t")
    lines.begin(message(1))
    assert lines.turn() == []
    for number in range(2, 8):
        lines.begin(message(number))
    lines.turn()
    sink.go.set()
    assert sorted(until(lines, 7)) == [1, 2, 3, 4, 5, 6, 7]
    assert sink.batches == [[1], [2, 3, 4, 5], [6, 7]]
    lines.close()


def test_two_batches_at_a_time() -> None:
    sink = Sink(held=True)
    lines = BatchLines(sink, size=2, at_once=2, name="t")
    for number in range(6):
        lines.begin(message(number))
    lines.turn()
    ends = time.monotonic() + 5
    while len(sink.batches) < 2:
        assert time.monotonic() < ends
        time.sleep(0.001)
    assert sorted(sink.batches) == [[0, 1], [2, 3]]
    sink.go.set()
    assert len(until(lines, 6)) == 6
    lines.close()


def test_what_failed_twice_goes_alone() -> None:
    sink = Sink()
    lines = BatchLines(sink, size=10, at_once=1, name="t")
    for one in (message(1), message(2), message(3, attempt=3), message(4, attempt=2), message(5)):
        lines.begin(one)
    until(lines, 5)
    assert sink.batches == [[1, 2], [3], [4, 5]]
    lines.close()


def test_a_bug_is_one_messages() -> None:
    def judge(one: Outbound) -> Came:
        if one.message_id == 2:
            raise ZeroDivisionError
        return Delivered() if one.message_id == 1 else NotDelivered("later")

    sink = Sink(judge)
    lines = BatchLines(sink, size=10, at_once=1, name="t")
    for number in (1, 2, 3):
        lines.begin(message(number))
    came = until(lines, 3)
    assert isinstance(came[1], Delivered)
    assert type(came[2]) is HubError
    assert "ZeroDivisionError" in str(came[2])
    assert isinstance(came[3], NotDelivered)
    lines.close()


def test_its_threads_end_with_it() -> None:
    lines = BatchLines(Sink(), size=1, at_once=3, name="ending")
    lines.close()
    ends = time.monotonic() + 5
    while [one for one in threading.enumerate() if one.name.startswith("batches-ending")]:
        assert time.monotonic() < ends
        time.sleep(0.005)
