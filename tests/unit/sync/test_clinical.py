"""Orders and results on the store in memory: what they refer to, and that they go where their patient and visit go."""

from __future__ import annotations

from typing import Any

import pytest

from hub.domain.facts import ChangeIdentifier, Fact, Key, Merge, Move, Snapshot
from tests.house import House, merge, patient, unlink, visit


@pytest.fixture
def house() -> House:
    return House()


def act(kind: Any, number: str, of: str | None, *others: str, **values: Any) -> Fact:
    typed = [{"assigner": "H", "value": number, "type": "PLAC"}, *({"assigner": "H", "value": n, "type": "FILL"} for n in others)]
    said = {"identifier": typed} | values
    whose = Key("H", of) if of else None
    return Fact(kind, Key("H", number), said, dict.fromkeys(said, "ORC-2"), whose, tuple(Key("H", n) for n in others))


def of(number: str) -> dict[str, Any]:
    return {"identifier": {"assigner": "H", "value": number}}


def test_a_result_refers_to_its_order_and_visit_where_they_are_known(house: House) -> None:
    applied = house.tell(patient("1"), visit("V1", "1"), act("ServiceRequest", "P1", "1", encounter=of("V1"), status="active"))
    assert "servicerequest.created" in [c.type for c in applied.changes]
    house.tell(act("DiagnosticReport", "F1", "1", encounter=of("V1"), basedOn=of("P1"), status="final"))
    report = house.doc("F1", "DiagnosticReport")
    assert report["encounter"]["reference"] == f"Encounter/{house.id('V1', 'Encounter')}"
    assert report["basedOn"]["reference"] == f"ServiceRequest/{house.id('P1', 'ServiceRequest')}"
    house.tell(act("DiagnosticReport", "F2", "1", basedOn=of("P9")))
    assert "reference" not in house.doc("F2", "DiagnosticReport")["basedOn"]


def test_orders_that_share_a_filler_number_stay_two(house: House) -> None:
    house.tell(patient("1"), act("ServiceRequest", "P1", "1", "F1"))
    applied = house.tell(act("ServiceRequest", "P2", "1", "F1"))
    assert house.id("P1", "ServiceRequest") != house.id("P2", "ServiceRequest")
    assert applied.notes == []
    house.tell(Fact("ServiceRequest", Key("H", "F1"), {"status": "completed"}, {"status": "ORC-5"}, Key("H", "1")))
    assert house.doc("P1", "ServiceRequest")["status"] == "completed"  # told by the filler's number alone


def test_what_is_revoked_is_cancelled(house: House) -> None:
    house.tell(patient("1"), act("ServiceRequest", "P1", "1", status="active"))
    [changed] = house.tell(act("ServiceRequest", "P1", "1", status="revoked")).changes
    assert changed.type == "servicerequest.cancelled"


def test_orders_and_results_go_with_a_merge_and_come_back(house: House) -> None:
    house.tell(patient("1"), patient("2"), act("DiagnosticReport", "F1", "2"), act("Observation", "F1/A", "2", report=of("F1")))
    house.tell(merge("1", "2"))
    for number, kind in (("F1", "DiagnosticReport"), ("F1/A", "Observation")):
        assert house.row(number, kind)["patient_id"] == house.id("1")
    house.tell(unlink("1", "2"))
    for number, kind in (("F1", "DiagnosticReport"), ("F1/A", "Observation")):
        assert house.row(number, kind)["patient_id"] == house.id("2")


def test_what_belongs_to_a_visit_moves_with_it_and_the_rest_stays(house: House) -> None:
    house.tell(patient("1"), patient("2"), visit("V1", "1"))
    house.tell(act("DiagnosticReport", "F1", "1", encounter=of("V1")), act("DiagnosticReport", "F2", "1"))
    house.tell(Move("visit", Key("H", "2"), Key("H", "1"), Key("H", "V1")))
    assert house.row("F1", "DiagnosticReport")["patient_id"] == house.id("2")
    assert house.row("F2", "DiagnosticReport")["patient_id"] == house.id("1")


def test_an_answer_about_an_unknown_order_makes_none(house: House) -> None:
    fact = act("ServiceRequest", "P1", None, status="completed")
    fact.create = False
    applied = house.tell(fact)
    assert applied.notes == ["unknown_servicerequest"]
    house.tell(patient("1"), act("ServiceRequest", "P1", "1", status="active"))
    house.tell(fact)
    assert house.doc("P1", "ServiceRequest")["status"] == "completed"
    assert house.row("P1", "ServiceRequest")["patient_id"] == house.id("1")


def test_allergies_are_a_list(house: House) -> None:
    def listed(*codes: str) -> Snapshot:
        return Snapshot("AllergyIntolerance", Key("H", "1"), "al1", [{"code": {"code": c}} for c in codes], "AL1")

    house.tell(patient("1"), listed("PEN", "EGG"))
    applied = house.tell(listed("EGG", "NUT"))
    assert sorted(c.type for c in applied.changes) == ["allergyintolerance.created", "allergyintolerance.removed"]


def test_an_account_moves_and_changes_its_number_on_bills_too(house: House) -> None:
    on = {"assigner": "H", "value": "A1"}
    house.tell(
        patient("1"),
        patient("2"),
        act("ChargeItem", "T1", "1", account=on),
        act("ChargeItem", "T2", "1"),
        act("Account", "A1", "1"),
    )
    house.tell(Move("account", Key("H", "2"), Key("H", "1"), Key("H", "A1")))
    owners = {n: house.row(n, k)["patient_id"] for n, k in (("T1", "ChargeItem"), ("T2", "ChargeItem"), ("A1", "Account"))}
    assert owners == {"T1": house.id("2"), "T2": house.id("1"), "A1": house.id("2")}
    house.tell(patient("2"), ChangeIdentifier("account", Key("H", "A9"), Key("H", "A1")))
    assert house.doc("T1", "ChargeItem")["account"]["value"] == "A9"
    assert house.id("A9", "Account") == house.id("A1", "Account")


def test_two_accounts_become_one_and_so_do_their_bills(house: House) -> None:
    for number in ("A1", "A2"):
        house.tell(patient("1"), act("Account", number, "1"))
        on = {"assigner": "H", "value": number}
        house.tell(act("Invoice", f"I{number}", "1", account=on), act("Payment", f"P{number}", "1", account=on))
    both = house.id("A1", "Account"), house.id("A2", "Account")
    applied = house.tell(patient("1"), Merge("account", Key("H", "A2"), Key("H", "A1"), "MRG-3"))
    assert applied.notes == []
    assert {c.type for c in applied.changes} == {"account.merged", "account.updated", "invoice.updated", "payment.updated"}
    assert house.id("A1", "Account") == house.id("A2", "Account") == both[1]
    assert {i["value"] for i in house.doc("A2", "Account")["identifier"]} == {"A1", "A2"}
    assert {house.doc(n, k)["account"]["value"] for n, k in (("IA1", "Invoice"), ("PA2", "Payment"))} == {"A2"}
    house.tell(act("Account", "A1", "1", status="inactive"))  # a late word under the old number is the survivor's
    assert house.doc("A2", "Account")["status"] == "inactive"
    assert house.tell(patient("1"), Merge("account", Key("H", "A8"), Key("H", "A7"), "MRG-3")).notes == ["unknown_account"]


def test_an_account_that_merges_into_one_nobody_knows_goes_on_under_its_number(house: House) -> None:
    house.tell(patient("1"), act("Account", "A1", "1", status="active"))
    house.tell(patient("1"), Merge("account", Key("H", "A5"), Key("H", "A1"), "MRG-3"))
    assert house.id("A5", "Account") == house.id("A1", "Account")
    assert house.doc("A5", "Account")["identifier"][0]["value"] == "A5"


def test_of_two_systems_the_newer_word_on_an_orders_status_stands_and_the_ranked_one_on_what_it_is(house: House) -> None:
    glucose, other = {"code": "L1"}, {"code": "GLU"}
    house.tell(patient("1"), act("ServiceRequest", "P1", "1", status="active", code=glucose))
    house.tell(act("ServiceRequest", "P1", "1", status="completed", code=other), system="emr")
    order = house.doc("P1", "ServiceRequest")
    assert (order["status"], order["code"]) == ("completed", glucose)


def test_of_a_bill_the_erp_says_what_it_comes_to_and_whoever_is_newer_whether_it_is_paid(house: House) -> None:
    told, booked = {"value": "10000"}, {"value": "12000"}
    house.tell(patient("1"), act("Invoice", "B1", "1", status="issued", total=told), act("Payment", "P1", "1", invoice=of("B1")))
    house.tell(act("Invoice", "B1", "1", status="issued", total=booked), system="erp")
    house.tell(act("Invoice", "B1", "1", status="balanced", total=told))
    bill = house.doc("B1", "Invoice")
    assert (bill["status"], bill["total"]) == ("balanced", booked)
    assert house.doc("P1", "Payment")["invoice"]["reference"] == f"Invoice/{house.id('B1', 'Invoice')}"


def test_a_slot_is_in_its_calendar_and_of_no_patient(house: House) -> None:
    house.tell(act("Schedule", "C1", None, name="남궁민수"))
    house.tell(act("Slot", "S1", None, schedule=of("C1"), status="free", start="2026-12-01T09:00:00+09:00"))
    [closed] = house.tell(act("Slot", "S1", None, status="busy-unavailable"), system="emr").changes
    assert (closed.type, closed.document["status"]) == ("slot.updated", "busy-unavailable")
    assert closed.document["schedule"]["reference"] == f"Schedule/{house.id('C1', 'Schedule')}"
    assert house.row("S1", "Slot")["patient_id"] is None
