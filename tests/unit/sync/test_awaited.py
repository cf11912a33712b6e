"""What names a visit, an order or a report by its number before that is told of: it is tied to it as soon as it is."""

from __future__ import annotations

from typing import Any

import pytest

from hub.domain.facts import Fact, Key
from tests.house import House, patient, visit


def order(number: str, of: str, *, seen: str) -> Fact:
    said: dict[str, Any] = {"code": {"code": "L1"}, "encounter": {"identifier": {"assigner": "H", "value": seen}}}
    return Fact("ServiceRequest", Key("H", number), said, dict.fromkeys(said, "ORC"), patient=Key("H", of))


def result(number: str, of: str, *, based_on: str) -> Fact:
    said: dict[str, Any] = {"status": "final", "basedOn": {"identifier": {"assigner": "H", "value": based_on}}}
    return Fact("DiagnosticReport", Key("H", number), said, dict.fromkeys(said, "OBR"), patient=Key("H", of))


@pytest.fixture
def house() -> House:
    made = House()
    made.tell(patient("1"))
    return made


def test_an_order_finds_the_visit_that_is_told_of_later(house: House) -> None:
    house.tell(order("O1", "1", seen="V1"))
    assert house.doc("O1", "ServiceRequest")["encounter"] == {"identifier": {"assigner": "H", "value": "V1"}}
    applied = house.tell(visit("V1", "1"), system="emr")
    assert [c.type for c in applied.changes] == ["encounter.created", "servicerequest.updated"]
    assert house.doc("O1", "ServiceRequest")["encounter"]["reference"] == f"Encounter/{house.id('V1', 'Encounter')}"
    assert house.store.rows("awaited") == []


def test_a_chain_told_from_its_end(house: House) -> None:
    house.tell(result("R1", "1", based_on="O1"))
    house.tell(order("O1", "1", seen="V1"))
    house.tell(visit("V1", "1"))
    assert house.doc("R1", "DiagnosticReport")["basedOn"]["reference"] == f"ServiceRequest/{house.id('O1', 'ServiceRequest')}"
    assert house.doc("O1", "ServiceRequest")["encounter"]["reference"] == f"Encounter/{house.id('V1', 'Encounter')}"
    assert house.store.rows("awaited") == []


def test_both_in_one_message_the_order_first(house: House) -> None:
    applied = house.tell(order("O1", "1", seen="V1"), visit("V1", "1"))
    assert house.doc("O1", "ServiceRequest")["encounter"]["reference"] == f"Encounter/{house.id('V1', 'Encounter')}"
    assert house.store.rows("awaited") == []
    assert applied.changes[-1].version == 2


def test_who_waits_is_written_down_once_and_nothing_else_is(house: House) -> None:
    house.tell(order("O1", "1", seen="V1"))
    house.tell(order("O1", "1", seen="V1"))
    house.tell(order("O2", "1", seen="V1"))
    assert [row["value"] for row in house.store.rows("awaited")] == ["V1", "V1"]
    house.tell(visit("V2", "1"))
    assert len(house.store.rows("awaited")) == 2
    house.tell(visit("V1", "1"))
    visit_id = house.id("V1", "Encounter")
    assert {house.doc(n, "ServiceRequest")["encounter"]["reference"] for n in ("O1", "O2")} == {f"Encounter/{visit_id}"}
    assert house.tell(order("O3", "1", seen="V1")).changes[0].version == 1
    assert house.store.rows("awaited") == []
