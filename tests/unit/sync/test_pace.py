"""The pace of a load: it waits for what moves, and not for what does not."""

from __future__ import annotations

from hub.domain.rows import WorkRow
from hub.domain.store import BEHIND
from hub.sync.pace import AGAIN_SECONDS, MOST, STUCK_SECONDS, Pace
from tests.fakes.store import FakeStore


class House:
    """Loaded messages that wait, and a clock that goes on when somebody sleeps; `work` is done meanwhile."""

    def __init__(self, waiting: int, direction: str = "in", a_second: int = 0) -> None:
        self.store = FakeStore()
        self.now = 0.0
        self.a_second = a_second
        self.done = 0.0
        with self.store.transaction() as tx:
            tx.write([
                WorkRow(direction, BEHIND, n, f"in:{n}", "c", "queued", False, False, 0, 0, "", 1) for n in range(waiting)
            ])  # fmt: skip
        self.flicker = False  # the first of them is tried and goes back
        self.ends_at = float("inf")
        self.pace = Pace(self.store, lambda: self.now >= self.ends_at, self.sleep, lambda: self.now)  # type: ignore[arg-type]

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.05)
        self.done += 0.05 * self.a_second
        while self.done >= 1 and self.store.tables["work"]:
            self.store.tables["work"].pop(next(iter(self.store.tables["work"])))
            self.done -= 1
        if self.flicker:
            first = next(iter(self.store.tables["work"].values()))
            first["state"] = "in_flight" if first["state"] == "queued" else "queued"


def test_there_is_room_while_few_wait() -> None:
    house = House(MOST)
    house.pace.room()
    assert house.now == 0.0


def test_what_moves_is_waited_for() -> None:
    house = House(MOST + 80, a_second=10)  # slowly
    house.pace.room()
    assert len(house.store.tables["work"]) == MOST
    assert house.now > STUCK_SECONDS


def test_what_moves_is_waited_for_however_much_it_is() -> None:
    for direction in ("in", "out"):
        house = House(20 * MOST, direction, a_second=300)
        house.pace.room()
        assert len(house.store.tables["work"]) <= MOST
        assert house.now > 2 * STUCK_SECONDS


def test_a_target_that_fails_again_and_again_is_not_waited_for() -> None:
    house = House(20 * MOST, "out")
    house.flicker = True
    house.pace.room()
    assert STUCK_SECONDS < house.now < STUCK_SECONDS + 1


def test_who_is_to_end_waits_for_nothing() -> None:
    house = House(20 * MOST, a_second=300)
    house.ends_at = 1.0
    house.pace.room()
    assert 1.0 <= house.now < 1.2
    assert len(house.store.tables["work"]) > 10 * MOST


def test_what_does_not_move_is_not_waited_for() -> None:
    for direction in ("in", "out"):
        house = House(MOST + 80, direction)
        house.pace.room()
        assert STUCK_SECONDS < house.now < STUCK_SECONDS + 1
        stopped = house.now
        house.pace.room()
        assert house.now == stopped  # nor is it looked at again before its time
        house.now += AGAIN_SECONDS + 1
        house.pace.room()
        assert house.now > stopped + AGAIN_SECONDS + STUCK_SECONDS


def test_messages_that_are_live_are_nobody_s_load() -> None:
    house = House(0)
    with house.store.transaction() as tx:
        tx.write([WorkRow("in", 0, n, f"in:{n}", "c", "queued", False, False, 0, 0, "", 1) for n in range(3 * MOST)])
    house.pace.room()
    assert house.now == 0.0
