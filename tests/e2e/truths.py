"""What must be true of a hospital at the end of a run, whatever was told by whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tests.e2e.doors import SYSTEM, Hospital
from tests.e2e.guests import Guest


def kinds(items: Iterable[dict[str, Any]]) -> Counter[str]:
    return Counter(one["kind"] for one in items)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def etag(house: Hospital, kind: str, id_: str) -> str:
    return house.api.versioned(f"/api/v1/{kind}/{id_}").etag


def nothing_is_stuck(house: Hospital) -> None:
    for name, counts in house.hub.status()["channels"].items():
        stuck = {state: counts[state] for state in ("dead", "uncertain", "refused", "ignored") if counts[state]}
        assert not stuck, (name, stuck, house.hub.ask("messages", "--channel", name, "--limit", "5")[1])


def webhooks_in_order(house: Hospital, guest: Guest) -> None:
    """The CRM that follows webhooks has seen each thing be created, then each version in turn, and knows what stands."""
    envelope = house.patient(guest.number)
    assert envelope is not None
    seen: dict[str, int] = {}
    for event in [one for one in house.crm.received if one.data.get("patientId") == envelope["id"]]:
        id_, version = event.data["id"], event.data["version"]
        assert event.type.endswith(".created") == (id_ not in seen), event.type
        assert version == seen.get(id_, 0) + 1, event.type
        seen[id_] = version
    for one in [envelope, *house.timeline(guest.number)]:
        assert house.crm.latest[one["id"]]["version"] == one["version"]
        assert house.crm.latest[one["id"]]["resource"] == one["resource"]


def fhir_mobile(house: Hospital, guest: Guest) -> str:
    """His mobile number as the EMR has it; "" where it has none."""
    [patient] = house.emr_patients(guest.number)
    return str(next((one["value"] for one in patient.get("telecom", ()) if one.get("use") == "mobile"), ""))


def fhir_booking(house: Hospital, guest: Guest) -> dict[str, Any]:
    """The EMR's one document of his booking, no version of which was written twice."""
    found = house.emr(f"Appointment?identifier={SYSTEM}|{guest.booking}")
    [booking] = [entry["resource"] for entry in found["entry"]]
    versions = [entry["resource"] for entry in house.emr(f"Appointment/{booking['id']}/_history")["entry"]]
    said = [{name: value for name, value in one.items() if name != "meta"} for one in versions]
    assert all(one not in said[:n] for n, one in enumerate(said))
    return dict(booking)


def fhir_versions(house: Hospital, guest: Guest) -> int:
    """How often the EMR's document of him was written."""
    [patient] = house.emr_patients(guest.number)
    return len(house.emr(f"Patient/{patient['id']}/_history")["entry"])
