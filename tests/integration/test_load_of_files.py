"""Whole messages that a source hands over by the hundred are a load like rows: in portions, behind what is live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hub.adapters.files import hl7_in
from hub.adapters.files.source import FolderSource
from hub.domain.errors import TryAgain
from hub.domain.ports import Found, Receipt, Received, Verdict
from hub.domain.store import BEHIND
from hub.sync.polled import PORTION, PolledFeed
from tests.hub_kit import Kit, adt, make_kit

MESSAGES = 2 * PORTION + 20
WRONG = b"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122080000||ADT^A28||P|2.5.1\rPID|1||1"  # no MSH-10: nothing to know it again by


@pytest.fixture
def kit(tmp_path: Path, sqlite_url: str) -> Iterator[Kit]:
    made = make_kit(tmp_path, sqlite_url)
    yield made
    made.close()


class Intake:
    """The kit's, which says what it was given and is full where it is told to be."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.commits: list[list[Received]] = []
        self.full_at = -1
        self.rooms = 0
        self.feed = PolledFeed("ocs-in", kit.hub.store, kit.hub.keys, self, lambda event, row: None, room=self.room)

    def room(self) -> None:
        self.rooms += 1

    def store(self, batch: Sequence[Received]) -> list[Receipt]:
        if len(self.commits) == self.full_at:
            self.full_at = -1
            return [Receipt(Verdict.TRY_AGAIN, reason="full") for _ in batch]
        self.commits.append(list(batch))
        return self.kit.intake.store(batch)

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        raise AssertionError("nobody waits for an answer to a file")


def drop(tmp_path: Path, bodies: Sequence[bytes]) -> FolderSource:
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "a.hl7").write_bytes(b"\r".join(bodies))
    return hl7_in.build(hl7_in.Settings.from_table({"folder": str(folder), "ready": "rename"}), "ocs-in")


def file_of(messages: int) -> list[bytes]:
    return [adt("A28", f"1{n:04d}", control=f"C{n}", name="홍^길동") for n in range(messages)]


def waiting(kit: Kit) -> dict[bool, int]:
    """Whether it may wait -> how many."""
    rows = kit.rows("SELECT bucket >= ?, count(*) FROM work WHERE direction = 'in' GROUP BY 1", BEHIND)
    return {bool(later): number for later, number in rows}


def test_a_file_of_many_messages_is_a_load(kit: Kit, tmp_path: Path) -> None:
    intake = Intake(kit)
    assert drop(tmp_path, [WRONG, *file_of(MESSAGES)]).poll(intake.feed) == MESSAGES
    assert [len(commit) for commit in intake.commits] == [PORTION, PORTION, 21]
    assert intake.rooms == 3
    assert [{m.followed for m in commit} for commit in intake.commits] == [{True}, {True}, {False}]
    assert [any(m.mark for m in commit) for commit in intake.commits] == [False, False, True]  # the place, where all is stored
    assert [m.refused is not None for m in intake.commits[-1]] == [False] * 20 + [True]
    assert waiting(kit) == {True: MESSAGES}
    kit.receive(adt("A28", "7", name="남궁^민수"))
    kit.applier.step(kit.leases["in"])
    assert kit.patient_id("7")


def test_a_file_of_few_messages_is_live_and_one_commit(kit: Kit, tmp_path: Path) -> None:
    intake = Intake(kit)
    drop(tmp_path, [WRONG, *file_of(PORTION - 1)]).poll(intake.feed)
    assert [len(commit) for commit in intake.commits] == [PORTION]
    assert waiting(kit) == {False: PORTION - 1}


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_was_stored_before_the_store_was_full_is_not_stored_again(kit: Kit, tmp_path: Path, at: int) -> None:
    intake = Intake(kit)
    source = drop(tmp_path, [*file_of(PORTION), WRONG, *file_of(MESSAGES)[PORTION:], WRONG])
    intake.full_at = at
    with pytest.raises(TryAgain):
        source.poll(intake.feed)
    source.close()
    source.poll(intake.feed)
    assert kit.rows("SELECT count(*) FROM message WHERE direction = 'in'") == [(MESSAGES + 2,)]
    assert kit.rows("SELECT count(*) FROM outcome WHERE state = 'refused'") == [(2,)]
    assert (tmp_path / "drop" / "done" / "a.hl7").exists()


def test_receipts_are_in_the_order_of_the_messages(kit: Kit) -> None:
    batch = [Received("ocs-in", b"%d" % n, "S", f"C{n}", "ADT^A28", None) for n in range(MESSAGES)]
    batch[3].refused = "of no use"
    receipts = Intake(kit).feed.store(batch, ("file", "3"))
    assert [receipt.verdict is Verdict.NEVER for receipt in receipts] == [n == 3 for n in range(MESSAGES)]
    sent = dict(kit.rows("SELECT id, control_id FROM message"))
    assert [sent[receipt.message_id] for receipt in receipts] == [message.control_id for message in batch]


def test_what_could_not_be_known_again_is_stored_with_the_place(kit: Kit) -> None:
    intake = Intake(kit)
    intake.feed.store([Received("ocs-in", b"%d" % n, "S", "", "ADT^A28", None) for n in range(MESSAGES)], ("file", "3"))
    assert [len(commit) for commit in intake.commits] == [MESSAGES]
    assert waiting(kit) == {True: MESSAGES}
    assert intake.feed.store([], ("file", "4")) == []
    assert intake.feed.place("file") == "4"


def test_many_rows_that_are_gone_are_a_load(kit: Kit) -> None:
    intake = Intake(kit)
    intake.feed.rows("PATIENT", [Found({"PANO": n}, {"PANO": n}) for n in range(MESSAGES)])
    intake.commits.clear()
    assert intake.feed.gone("GONE", sorted(intake.feed.known())) == MESSAGES
    assert [len(commit) for commit in intake.commits] == [PORTION, PORTION, 20]
    assert waiting(kit) == {True: 2 * MESSAGES}
