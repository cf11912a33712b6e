"""Bookings, visits and orders in the EMR: booked, moved, cancelled; what the EMR wrote itself stays; nothing comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hub.adapters.emr import fhir_out
from hub.codecs import fhir_resource
from hub.domain.errors import NotDelivered, Refused
from hub.domain.ports import Outbound
from hub.simulator.emr import EmrPeer
from hub.simulator.http_peer import Request
from tests.contract.emr_case import SYSTEM
from tests.contract.emr_out_case import booking

VISIT: dict[str, Any] = {
    "identifier": [{"assigner": "HOSP", "value": "V1", "type": "VN"}], "status": "in-progress", "class": "AMB",
    "department": "OS", "state": "registered", "insuranceType": "NHI", "location": "OPD 3",
    "period": {"start": "2026-12-01T09:00:00+09:00"},
    "participant": [{"identifier": {"assigner": "HOSP", "value": "D1"}, "name": "남궁민수", "role": "attending"}],
}  # fmt: skip
ORDER: dict[str, Any] = {
    "identifier": [{"assigner": "HOSP", "value": "O1", "type": "PLAC"}], "status": "active", "priority": "routine",
    "code": {"code": "B1", "system": "L", "display": "펲시콜라 검사"}, "authoredOn": "2026-12-01T09:10:00+09:00",
    "encounter": {"identifier": {"assigner": "HOSP", "value": "V1"}, "reference": "Encounter/ours"},
}  # fmt: skip


@pytest.fixture
def emr() -> Iterator[EmrPeer]:
    with EmrPeer() as peer:
        yield peer


@pytest.fixture
def target(emr: EmrPeer) -> Iterator[fhir_out.FhirOut]:
    made = build(emr)
    yield made
    made.close()


def build(emr: EmrPeer, **more: Any) -> fhir_out.FhirOut:
    table = {"url": emr.url, "identifier_systems": {"HOSP": SYSTEM}, "create": True, "timeout_seconds": 2.0, **more}
    made = fhir_out.build(fhir_out.Settings.from_table(table))
    assert isinstance(made, fhir_out.FhirOut)
    return made


def told(kind: str, verb: str, resource: dict[str, Any], **more: Any) -> Outbound:
    fields = {"kind": kind, "type": f"{kind.lower()}.{verb}", "resource": resource, "changed": sorted(resource)}
    return booking(1, **{**fields, **more})


def the(emr: EmrPeer, kind: str) -> dict[str, Any]:
    (found,) = emr.resources[kind].values()
    return found


def test_a_booking_is_made_moved_and_cancelled(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    made = target.send(booking(1))
    there, patient = the(emr, "Appointment"), the(emr, "Patient")
    assert (there["status"], there["start"], there["minutesDuration"]) == ("pending", "2026-12-01T09:00:00+09:00", 15)
    assert there["participant"][0]["actor"]["reference"] == f"Patient/{patient['id']}"  # who was created before it
    moved = booking(1).resource | {"start": "2026-12-01T10:30:00+09:00", "status": "booked"}
    target.send(booking(1, type="appointment.updated", resource=moved, changed=["start", "status"], peer_id=made.peer_id))
    assert (the(emr, "Appointment")["status"], the(emr, "Appointment")["end"]) == ("booked", "2026-12-01T10:45:00+09:00")
    gone = moved | {"status": "cancelled", "comment": "환자 요청"}
    last = target.send(booking(1, type="appointment.cancelled", resource=gone, changed=["comment", "status"]))
    assert (the(emr, "Appointment")["status"], the(emr, "Appointment")["comment"]) == ("cancelled", "환자 요청")
    assert (last.peer_id, last.sent_fields) == (made.peer_id, {"status": "cancelled", "comment": "환자 요청"})
    fhir_resource.check(the(emr, "Appointment"))


def test_what_the_emr_wrote_itself_stays(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    target.send(booking(1))
    there = the(emr, "Appointment")
    room = {"actor": {"reference": "Location/room-7", "display": "진료실"}, "status": "accepted"}
    emr.put(there | {
        "status": "booked", "participant": [*there["participant"], room], "priority": 5,
        "extension": [{"url": "urn:emr:color", "valueString": "뷁"}],
        "identifier": [*there["identifier"], {"system": "urn:emr:appointments", "value": "77"}],
    })  # fmt: skip
    moved = booking(1).resource | {"location": "외래 9"}
    target.send(booking(1, type="appointment.updated", resource=moved, changed=["location"]))
    now = the(emr, "Appointment")
    assert room in now["participant"]
    assert [one["actor"]["display"] for one in now["participant"] if "display" in one["actor"]] == ["진료실", "외래 9"]
    assert (now["status"], now["priority"], now["extension"][0]["valueString"]) == ("booked", 5, "뷁")
    assert {one["value"] for one in now["identifier"]} >= {"77"}


def test_a_place_that_is_no_longer_said_goes_and_leaves_nobody_absent(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    target.send(booking(1))
    nowhere = {name: value for name, value in booking(1).resource.items() if name != "location"}
    target.send(booking(1, type="appointment.updated", resource=nowhere, changed=["location"]))
    (only,) = the(emr, "Appointment")["participant"]
    assert only["actor"]["reference"].startswith("Patient/")


def test_the_same_moment_in_another_zone_is_no_change(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    target.send(booking(1))
    there = the(emr, "Appointment")
    emr.put(there | {"start": "2026-12-01T00:00:00Z", "end": "2026-12-01T00:15:00Z"})
    assert target.send(booking(1)).detail == "unchanged"


def test_somebody_writes_at_the_same_time(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    """412: read and changed again; both changes stand."""
    target.send(booking(1))
    original = emr._one
    raced: list[bool] = []

    def one(request: Request, kind: str, which: str) -> bytes:
        if request.method == "PUT" and not raced:
            raced.append(True)
            emr.put(emr.resources[kind][which] | {"status": "booked"})
        return original(request, kind, which)

    emr._one = one  # type: ignore[method-assign, assignment]
    moved = booking(1).resource | {"start": "2026-12-02T09:00:00+09:00"}
    target.send(booking(1, type="appointment.updated", resource=moved, changed=["start"]))
    assert (the(emr, "Appointment")["status"], the(emr, "Appointment")["start"]) == ("booked", "2026-12-02T09:00:00+09:00")
    emr._one = lambda request, kind, which: (  # type: ignore[method-assign, assignment]
        emr.put(emr.resources[kind][which] | {"comment": str(len(emr.past[kind]))}) if request.method == "PUT" else None,
        original(request, kind, which),
    )[1]
    with pytest.raises(NotDelivered) as caught:
        target.send(booking(1, type="appointment.updated", changed=["start"]))
    assert caught.value.code == "conflict"


def test_visits_and_orders(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    target.send(told("Encounter", "created", VISIT))
    target.send(told("ServiceRequest", "created", ORDER))
    visit, order = the(emr, "Encounter"), the(emr, "ServiceRequest")
    assert visit["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "4"  # KR Core: insurance sits on the visit
    assert visit["participant"][0]["individual"] == {"identifier": {"system": SYSTEM, "value": "D1"}, "display": "남궁민수"}
    assert order["encounter"] == {"identifier": {"system": SYSTEM, "value": "V1"}}  # our ids mean nothing there
    assert "ours" not in str(order)
    done = VISIT | {
        "status": "finished",
        "insuranceType": "MED_AID_1",
        "period": VISIT["period"] | {"end": "2026-12-01T09:40:00+09:00"},
    }
    said = target.send(told("Encounter", "updated", done, changed=["status", "period.end", "insuranceType"]))
    now = the(emr, "Encounter")
    assert (now["status"], now["period"]["end"]) == ("finished", "2026-12-01T09:40:00+09:00")
    assert [one["valueCodeableConcept"]["coding"][0]["code"] for one in now["extension"] if "Concept" in str(one)] == ["5"]
    assert said.sent_fields["period.end"] == "2026-12-01T09:40:00+09:00"
    target.send(told("ServiceRequest", "cancelled", ORDER | {"status": "revoked"}, changed=["status"]))
    assert the(emr, "ServiceRequest")["status"] == "revoked"
    assert len(emr.patients) == 1
    for kind in ("Encounter", "ServiceRequest"):
        fhir_resource.check(the(emr, kind))


def test_a_booking_follows_its_patient_after_a_merge(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    made = target.send(booking(1))
    target.send(booking(1, type="appointment.updated", changed=[], peer_id=made.peer_id, patient_peer_id="survivor-1"))
    assert the(emr, "Appointment")["participant"][0]["actor"]["reference"] == "Patient/survivor-1"


def test_what_is_cancelled_or_a_prospects_is_not_created(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    gone = booking(1).resource | {"status": "cancelled"}
    assert "nothing to do" in target.send(booking(1, type="appointment.cancelled", resource=gone)).detail
    prospect = {"prospect": True, "identifier": [{"assigner": "HUB", "value": "x"}], "name": [{"text": "洪吉洞"}]}
    assert "nothing to do" in target.send(booking(1, patient=prospect)).detail
    assert emr.received == []
    numbered = prospect | {"prospect": False, "identifier": [{"assigner": "HOSP", "value": "9"}]}
    target.send(booking(1, type="appointment.updated", patient=numbered, changed=["status"]))  # whole, now that it can be
    assert the(emr, "Appointment")["start"] == "2026-12-01T09:00:00+09:00"


@pytest.mark.parametrize(
    ("more", "message", "code"),
    [
        ({"create": False}, {}, "unknown_there"),
        ({}, {"resource": {"identifier": [{"assigner": "OTHER", "value": "1"}], "status": "booked"}}, "no_identifier"),
        ({}, {"patient": {}}, "no_patient"),
    ],
)
def test_what_cannot_be_written_is_refused(emr: EmrPeer, more: dict[str, Any], message: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        build(emr, **more).send(booking(1, **message))
    assert caught.value.code == code


def test_two_with_one_number_are_for_a_person(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    target.send(booking(1))
    emr.put({name: value for name, value in the(emr, "Appointment").items() if name != "id"})
    with pytest.raises(Refused, match="ambiguous"):
        target.send(booking(1))


def test_an_operation_outcome_is_kept_with_the_attempt_and_its_codes_are_told(emr: EmrPeer, target: fhir_out.FhirOut) -> None:
    target.send(booking(1))
    original = emr._one
    emr._one = lambda request, kind, which: (  # type: ignore[method-assign, assignment]
        emr.refusal(request) if request.method == "PUT" else original(request, kind, which)
    )
    with pytest.raises(Refused, match=r"422 \(business-rule\)") as caught:
        target.send(
            booking(1, type="appointment.cancelled", resource=booking(1).resource | {"status": "cancelled"}, changed=["status"])
        )
    assert b"OperationOutcome" in caught.value.answer
    assert b'"status":"cancelled"' in caught.value.sent


def test_a_profile_is_claimed_where_the_emr_wants_it(emr: EmrPeer) -> None:
    profile = "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/krcore-encounter"
    build(emr, profiles={"Encounter": profile}).send(told("Encounter", "created", VISIT))
    assert the(emr, "Encounter")["meta"]["profile"] == [profile]


@pytest.mark.parametrize("name", ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"])
def test_korean_text_arrives_byte_for_byte(emr: EmrPeer, target: fhir_out.FhirOut, name: str) -> None:
    done = target.send(booking(1, resource=booking(1).resource | {"comment": name, "location": name}))
    assert name.encode() in done.sent
    assert (the(emr, "Appointment")["comment"], the(emr, "Appointment")["participant"][-1]["actor"]["display"]) == (name, name)
