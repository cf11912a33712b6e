"""Who is waited for: senders in haste, no longer than HASTE, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from hub.transport import collector as collector_module
from hub.transport.collector import HASTE, Collector


@dataclass(eq=False)
class Sender:
    """What the collector knows of a connection."""

    open: bool = True
    answered: float = 0.0
    in_haste: bool = False


@dataclass
class Item:
    connection: Any
    body: bytes


@dataclass
class Desk:
    batches: list[list[bytes]] = field(default_factory=list)

    def read(self, connection: Any, body: Any) -> list[Item]:
        return [Item(connection, piece) for piece in body.split(b",")]

    def handle(self, items: list[Item]) -> None:
        self.batches.append([item.body for item in items])


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def in_haste(collector: Collector[Item], senders: list[Sender]) -> None:
    """Two rounds, after which all of them are known to be in haste."""
    for _ in range(2):
        for sender in senders:
            collector.add(sender, b"m")  # type: ignore[arg-type]
        await turn()
        collector.flush()


def run(test: Callable[[Desk, Collector[Item]], Coroutine[Any, Any, None]], most: int = 512) -> None:
    async def main() -> None:
        desk = Desk()
        await test(desk, Collector(desk.read, desk.handle, most=most))

    asyncio.run(main())


def test_what_is_ready_in_one_turn_is_one_batch_and_a_stranger_is_waited_for_by_nobody() -> None:
    async def test(desk: Desk, collector: Collector[Item]) -> None:
        a, b = Sender(), Sender()
        collector.add(a, b"1")  # type: ignore[arg-type]
        collector.add(b, b"2,3")  # type: ignore[arg-type]
        await turn()
        assert desk.batches == [[b"1", b"2", b"3"]]

    run(test)


def test_a_lone_sender_in_haste_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "HASTE", 30.0)

    async def test(desk: Desk, collector: Collector[Item]) -> None:
        a = Sender()
        await in_haste(collector, [a])
        desk.batches.clear()
        collector.add(a, b"x")  # type: ignore[arg-type]
        await turn()
        assert desk.batches == [[b"x"]]

    run(test)


def test_senders_in_haste_are_waited_for_and_the_last_of_them_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "HASTE", 30.0)  # however slow this machine is

    async def test(desk: Desk, collector: Collector[Item]) -> None:
        a, b = Sender(), Sender()
        await in_haste(collector, [a, b])
        desk.batches.clear()
        collector.add(a, b"1")  # type: ignore[arg-type]
        await turn()
        assert desk.batches == []
        collector.add(b, b"2")  # type: ignore[arg-type]
        await turn()
        assert desk.batches == [[b"1", b"2"]]

    run(test)


@pytest.mark.parametrize("goes", [True, False], ids=["its connection ends", "it falls silent"])
def test_one_that_does_not_come_is_waited_for_a_moment_only(goes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_module, "HASTE", 30.0 if goes else HASTE)

    async def test(desk: Desk, collector: Collector[Item]) -> None:
        a, b = Sender(), Sender()
        await in_haste(collector, [a, b])
        desk.batches.clear()
        collector.add(a, b"1")  # type: ignore[arg-type]
        if goes:
            collector.forget(b)  # type: ignore[arg-type]
            await turn()
        else:
            await asyncio.sleep(10 * HASTE)
        assert desk.batches == [[b"1"]]
        collector.add(a, b"2")  # type: ignore[arg-type]
        await turn()
        assert desk.batches == [[b"1"], [b"2"]]

    run(test)


def test_more_than_the_most_is_handed_over_in_pieces_in_order() -> None:
    async def test(desk: Desk, collector: Collector[Item]) -> None:
        collector.add(Sender(), b"1,2,3,4,5")  # type: ignore[arg-type]
        await turn()
        await turn()
        assert desk.batches == [[b"1", b"2"], [b"3", b"4"], [b"5"]]

    run(test, most=2)
