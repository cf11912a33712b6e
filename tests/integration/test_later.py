"""A load beside live traffic: what is live goes first, and nothing of one patient is ever out of order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hub.sync.apply import LATER
from tests.hub_kit import Kit, adt, make_kit, pv1, received

LOADED = 5 * LATER


@pytest.fixture
def kit(tmp_path: Path, database_url: str) -> Iterator[Kit]:
    made = make_kit(tmp_path, database_url)
    yield made
    made.close()


def load(kit: Kit, bodies: Sequence[bytes]) -> None:
    batch = [received(body, "ocs-in") for body in bodies]
    for message in batch:
        message.later = True
    kit.intake.store(batch)


def names(kit: Kit) -> dict[str, str]:
    """Number -> name of all patients."""
    found = kit.rows("SELECT value, resource_id FROM identifier WHERE kind = 'Patient'")
    return {str(value): kit.resource(str(id_))["name"][0]["text"] for value, id_ in found}


def queued(kit: Kit, direction: str = "in") -> int:
    return int(kit.rows("SELECT count(*) FROM work WHERE direction = ?", direction)[0][0])


def test_a_live_message_does_not_wait_for_a_load(kit: Kit) -> None:
    load(kit, [adt("A28", f"1{n:04d}", name="홍^길동") for n in range(LOADED)])
    kit.receive(adt("A28", "7", name="남궁^민수"))
    kit.applier.step(kit.leases["in"])
    assert names(kit)["7"] == "남궁민수"
    assert queued(kit) >= LOADED - LATER
    kit.apply()
    assert len(names(kit)) == LOADED + 1


def test_a_live_message_waits_for_what_was_loaded_of_its_patient_and_for_nothing_else(kit: Kit) -> None:
    load(kit, [adt("A28", f"1{n:04d}", name="홍^길동", at="20261122080000") for n in range(LOADED)])
    last = f"1{LOADED - 1:04d}"
    kit.receive(adt("A08", last, name="펲^시콜라", at="20261122090000"))
    while "펲시콜라" not in names(kit).values():
        assert kit.applier.step(kit.leases["in"])
    assert queued(kit) >= LOADED - 2 * LATER - 1  # it had to wait for two steps at most
    versions = kit.rows("SELECT version, type FROM change WHERE resource_id = ? ORDER BY id", kit.patient_id(last))
    assert [tuple(row) for row in versions] == [(1, "patient.created"), (2, "patient.updated")]
    kit.apply()
    assert kit.rows("SELECT count(*) FROM outcome WHERE outcome = 'stale'") == [(0,)]


def test_what_is_loaded_waits_for_what_is_live_before_it_in_its_lane(kit: Kit) -> None:
    kit.receive(adt("A28", "7", name="홍^길동", at="20261122080000"))
    load(kit, [adt("A08", "7", name="펲^시콜라", at="20261122090000")])
    kit.apply()
    assert names(kit)["7"] == "펲시콜라"
    assert kit.rows("SELECT count(*) FROM outcome WHERE outcome = 'stale'") == [(0,)]


def test_a_merge_makes_way_for_itself_in_both_lanes(kit: Kit) -> None:
    load(kit, [adt("A28", f"1{n:04d}", name="홍^길동") for n in range(LOADED)])
    first, second = f"1{LOADED - 1:04d}", f"1{LOADED - 2:04d}"
    kit.receive(adt("A40", first, f"MRG|{second}^^^HOSP^MR", name="홍^길동"))
    for _ in range(3):
        kit.applier.step(kit.leases["in"])
    assert kit.patient_id(first) == kit.patient_id(second)
    assert queued(kit)
    kit.apply()


def test_webhooks_of_a_load_go_behind_those_of_live_messages(kit: Kit) -> None:
    load(kit, [adt("A28", f"1{n:04d}", name="홍^길동") for n in range(LOADED)])
    kit.apply()
    kit.receive(adt("A04", "7", pv1("V7"), name="남궁^민수"))
    last = f"1{LOADED - 1:04d}"
    kit.receive(adt("A08", last, name="펲^시콜라", at="20261122100000"))
    kit.apply()
    kit.deliver()
    sent = kit.target("crm").sent
    assert len(sent) == len({m.message_id for m in sent}) == len(kit.rows("SELECT id FROM message WHERE channel = 'crm'"))
    places = {(m.type, m.patient_id): at for at, m in enumerate(sent)}
    assert places["encounter.created", kit.patient_id("7")] < LOADED
    mine = kit.patient_id(last)
    assert places["patient.created", mine] < places["patient.updated", mine] < LOADED
    assert queued(kit, "out") == len(kit.rows("SELECT 1 FROM work WHERE direction = 'out' AND channel <> 'crm'"))
