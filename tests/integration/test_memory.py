"""What a listening channel remembers (hub/sync/memory.py), on both databases: with the message's commit, and only once."""

from __future__ import annotations

from hub.domain.ports import Memory, Received, Verdict
from hub.domain.store import Conflict
from tests.hub_kit import Kit

CHANNEL = "ocs-in"
NAME = "1.2.410.5"


def step(memory: Memory, n: int, what: dict[str, str], name: str = NAME) -> Received:
    body = f"{name} {n} {what}".encode()
    received = Received(CHANNEL, body, "CT1", f"{name}.{n}", "dicom.mpps", None)
    received.mark, received.mark_before = memory.mark(name, n, what), n - 1
    return received


def test_it_is_there_with_the_commit_and_after_it_in_another_process(kit: Kit) -> None:
    memory, intake = kit.hub.memory(CHANNEL), kit.hub.intake()
    assert memory.recall(NAME).n == 0
    assert intake.store([step(memory, 1, {"state": "홍길동"})])[0].verdict is Verdict.STORED
    assert memory.recall(NAME) == (1, {"state": "홍길동"})
    assert kit.hub.memory(CHANNEL).recall(NAME).n == 1
    assert kit.hub.memory("another").recall(NAME).n == 0
    assert memory.recall("1.2.410.6").n == 0
    assert intake.store([step(memory, 2, {"state": "ended"})])[0].verdict is Verdict.STORED
    assert memory.recall(NAME) == (2, {"state": "ended"})


def test_who_decided_on_what_no_longer_stands_is_told_to_look_again(kit: Kit) -> None:
    memory, first, second = kit.hub.memory(CHANNEL), kit.hub.intake(), kit.hub.intake()
    assert first.store([step(memory, 1, {"by": "first"})])[0].verdict is Verdict.STORED
    receipt = second.store([step(memory, 1, {"by": "second"})])[0]
    assert (receipt.verdict, receipt.code) == (Verdict.TRY_AGAIN, Conflict.code)
    both = [step(memory, 2, {"by": "one"}), step(memory, 2, {"by": "other"})]
    assert [receipt.verdict for receipt in first.store(both)] == [Verdict.STORED, Verdict.TRY_AGAIN]
    assert memory.recall(NAME) == (2, {"by": "one"})


def test_nothing_of_it_stands_in_the_clear(kit: Kit) -> None:
    memory = kit.hub.memory(CHANNEL)
    kit.hub.intake().store([step(memory, 1, {"patient": "CANARY"}, name="1.2.3.99")])
    with kit.hub.store.snapshot() as tx:
        rows = tx.many("SELECT key, value, name FROM mark")
    stored = b"".join(bytes(value) for row in rows for value in row)
    assert b"CANARY" not in stored
    assert b"1.2.3.99" not in stored
