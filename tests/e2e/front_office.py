"""The front office changes a phone and a booking of each patient: to each system that is to have it once, and back from none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.e2e.doors import Hospital
from tests.e2e.travellers import Traveller
from tests.e2e.truths import at, etag, fhir_booking, fhir_mobile, fhir_versions, webhooks_in_order

TAKERS = ("ocs-out", "ocs-tables", "emr-fhir", "emr-tables", "erp", "foundation-customers", "pacs-orders", "crm-webhook")


def every_change_arrives_once(house: Hospital, people: Sequence[Traveller]) -> None:
    """Asserts what this file says."""
    back = people[0].back
    stood = {one.number: fhir_versions(house, one) for one in people[:10]}
    ocs, pacs, crm = len(house.peer.received), len(back.desk.received), len(house.crm.received)
    for one in people:
        _change(house, one)
    for one in people:
        _arrived(house, one)
    house.settle(600)
    for one in people:
        one.told_again(house, new_phone(one))  # as an OCS says by message whatever was changed there
    house.settle(600)
    wanted = Counter({"ADT^A08": len(people), "SIU^S13": len(people)})
    for peer, before in ((house.peer, ocs), (back.desk, pacs)):
        heard = Counter(event for event, _ in peer.received[before:])
        assert heard == wanted, (peer.application, heard, _said(house, crm))
    told = Counter(one.type for one in house.crm.received[crm:])
    assert told["patient.updated"] == len(people), told
    assert set(told) == {"patient.updated", "appointment.updated"}, told
    for one in people[:10]:
        assert fhir_versions(house, one) == stood[one.number] + 1
        webhooks_in_order(house, one)
        _once_in_each_story(house, one)


def new_phone(one: Traveller) -> str:
    return f"010-7{one.at % 1000:03}-{2000 + one.at}"


def new_day(one: Traveller) -> datetime:
    return one.booked + timedelta(days=2)


def _change(house: Hospital, one: Traveller) -> None:
    patient = house.patient(one.number)
    assert patient is not None
    booking = next(item for item in house.timeline(one.number) if item["kind"] == "Appointment")
    mobile = [{"system": "phone", "use": "mobile", "value": new_phone(one)}]
    house.api.patch(f"/api/v1/patients/{patient['id']}", {"telecom": mobile}, if_match=etag(house, "patients", patient["id"]))
    day = new_day(one)
    moved = {"start": day.isoformat(), "end": (day + timedelta(minutes=30)).isoformat()}
    house.api.patch(f"/api/v1/appointments/{booking['id']}", moved, if_match=etag(house, "appointments", booking["id"]))


def _arrived(house: Hospital, one: Traveller) -> None:
    phone, day = _digits(new_phone(one)), new_day(one)
    known = {
        "the OCS": lambda: house.peer.patients.get(one.number, {}).get("phone", ""),
        "the EMR": lambda: fhir_mobile(house, one),
        "SAP": lambda: one.back.mobile(one.number),
        "the foundation's SAP": lambda: one.back.foundation.of(one.number).get("TELF2", ""),
        "the PACS": lambda: one.back.desk.patients[one.number]["phone"],
    }
    for who, says in known.items():
        one.wait(lambda says=says: _digits(says()).endswith(phone[1:]), f"{who} has the phone")  # type: ignore[misc]
    one.wait(lambda: at(fhir_booking(house, one)["start"]) == day, "the EMR has the day")
    one.wait(
        lambda: _rows(house, one) == [[(phone,)], [(f"{day:%Y%m%d}",)], [(phone,)], [(day.replace(tzinfo=None),)]],
        "and the tables",
    )


def _rows(house: Hospital, one: Traveller) -> list[list[tuple[Any, ...]]]:
    """What stands of him in the interface tables of the OCS and of the EMR."""
    return [
        house.maria_rows(f"SELECT REPLACE(HPHONE, '-', '') FROM IF_PHONE WHERE PANO = '{one.number}'"),
        house.maria_rows(f"SELECT RSVDATE FROM IF_RESERVE WHERE RSVNO = '{one.booking}'"),
        house.pg("SELECT mobile FROM emr_if_contact WHERE pt_no = %s", one.number),
        house.pg("SELECT starts_at FROM emr_if_booking WHERE booking_no = %s", one.booking),
    ]


def _once_in_each_story(house: Hospital, one: Traveller) -> None:
    """The messages that carried his new phone: one a taker, delivered by its first attempt."""
    carried = [m for m in one.messages("out") if m["type"] == "patient.updated"]
    newest = max(m["changeId"] for m in carried)
    last = [m for m in carried if m["changeId"] == newest]
    assert Counter(m["channel"] for m in last) == Counter(TAKERS), [m["channel"] for m in last]
    assert all((m["outcome"], m["attempts"]) == ("delivered", 0) for m in last), last  # none failed


def _said(house: Hospital, since: int) -> list[Any]:
    """What the CRM was told, without values."""
    return [(one.type, one.data["version"], one.data["changed"]) for one in house.crm.received[since:]]


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
