"""An EMR's FHIR server of npm's is asked for what changed: patients, visits and bookings in the hub, each version once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.adapters.emr import fhir_pull
from hub.bootstrap import channels
from hub.bootstrap.load import asked
from hub.bootstrap.poll import Poller
from hub.cli import checks
from hub.domain.errors import Misconfigured
from hub.domain.ports import Condition
from hub.simulator.emr import EmrPeer
from hub.simulator.faults import Fault
from tests import servers
from tests.hub_kit import Kit, adt, make_kit

SYSTEM = "urn:oid:1.2.410.99999.1"
NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")
CHANNEL = """
[channels.emr-pull]
adapter = "emr.fhir_pull"
system = "emr"
url = "{url}"
kinds = ["Patient", "Encounter", "Appointment"]
identifier_systems = {{ HOSP = "{system}" }}
count = 7
poll_seconds = 0.05
overlap_seconds = 1
[channels.emr-out]
adapter = "emr.fhir_out"
system = "emr"
url = "{url}"
identifier_systems = {{ HOSP = "{system}" }}
create = true
"""


class Emr:
    """The server as a clinician's program sees it."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=10)

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(f"/{document['resourceType']}", json=document)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def all(self, kind: str, number: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"/{kind}", params={"identifier": number})
        return [one["resource"] for one in answer.json().get("entry", [])]

    def update(self, document: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.put(f"/{document['resourceType']}/{document['id']}", json=document)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture
def emr(fhir_server: servers.FhirServer) -> Iterator[Emr]:
    made = Emr(fhir_server.url)
    yield made
    made.http.close()


@pytest.fixture
def mark() -> str:
    """Of this test's numbers: the server is one for all."""
    return secrets.token_hex(4)


@pytest.fixture
def kit(tmp_path: Path, database_url: str, fhir_server: servers.FhirServer) -> Iterator[Kit]:
    made = make_kit(tmp_path, database_url, more=CHANNEL.format(url=fhir_server.url, system=SYSTEM))
    yield made
    made.close()


def poll(kit: Kit, rounds: int = 1) -> None:
    poller = Poller(kit.hub, kit.hub.config.channels["emr-pull"], lambda: None)
    for _ in range(rounds):
        poller.round()
        assert poller._trouble == ""
    poller._close()
    kit.apply()


def patient(number: str, name: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": number}], "name": [{"text": name}], **more}


def messages(kit: Kit) -> int:
    return int(kit.rows("SELECT count(*) FROM message WHERE channel = 'emr-pull'")[0][0])


def test_patients_come_whole_once_and_again_when_they_change(kit: Kit, emr: Emr, mark: str) -> None:
    made = [emr.create(patient(f"{mark}-{n}", NAMES[n % len(NAMES)])) for n in range(30)]
    poll(kit, 3)
    before = messages(kit)
    assert before >= 30
    assert [kit.patient(f"{mark}-{n}")["name"][0]["text"] for n in range(30)] == [NAMES[n % len(NAMES)] for n in range(30)]
    changed = emr.update(made[3] | {"telecom": [{"system": "phone", "value": "010-1234-5678", "use": "mobile"}]})
    poll(kit, 3)
    assert messages(kit) == before + 1
    assert kit.patient(f"{mark}-3")["telecom"][0]["value"] == "+821012345678"
    visit = emr.create({
        "resourceType": "Encounter", "status": "in-progress", "identifier": [{"system": SYSTEM, "value": f"{mark}-visit"}],
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/{changed['id']}"}, "period": {"start": "2026-11-22T09:00:00+09:00"},
    })  # fmt: skip
    poll(kit, 2)
    assert messages(kit) == before + 2
    (found,) = kit.owned(f"{mark}-3", "Encounter")
    assert (found["status"], found["class"]) == ("in-progress", "AMB")
    emr.update(visit | {"status": "finished"})
    poll(kit, 2)
    (found,) = kit.owned(f"{mark}-3", "Encounter")
    assert found["status"] == "finished"
    states = {kit.state(i) for (i,) in kit.rows("SELECT id FROM message WHERE channel = 'emr-pull'")}
    assert states <= {"done/applied", "done/stale"}


def changes(kit: Kit) -> list[tuple[str, str]]:
    return [(str(kind), str(fields)) for kind, fields in kit.rows("SELECT type, fields FROM change ORDER BY id")]


def test_what_we_wrote_and_then_read_is_no_change(kit: Kit, emr: Emr, mark: str) -> None:
    """A booking goes to the EMR, is read back, is moved meanwhile, and the echo of the old time takes nothing back."""
    poll(kit, 2)  # what other tests left there
    built = kit.hub.targets()["emr-out"]
    built.target = channels.build_target(kit.hub.config.channels["emr-out"])
    kit.tell(adt("A04", mark, name="남궁^민수", phone="010-1234-5678"))
    office = kit.hub.front_office
    patient_id = kit.patient_id(mark)
    doctor = {"identifier": {"assigner": "HOSP", "value": "D1"}, "name": "남궁민수", "role": "attending"}
    wanted = {"start": "2026-12-01T09:00:00+09:00", "minutes": 15, "department": "OS", "location": "외래 3", "comment": "뷁"}
    wanted |= {"participant": [doctor], "reason": {"code": "R1", "display": "재진"}, "type": {"display": "외래"}}
    booked = office.book(patient_id, wanted, actor="token:crm")
    kit.deliver()
    before = changes(kit)
    (there,) = emr.all("Appointment", f"urn:hospital-hub:assigner:HUB|{booked.resource_id}")
    assert (there["status"], there["comment"]) == ("pending", "뷁")
    poll(kit, 2)
    assert changes(kit) == before
    moved = office.change_appointment(
        booked.resource_id, {"start": "2026-12-02T09:00:00+09:00"}, expected=booked.version, actor="token:crm"
    )
    emr.update(there)  # the EMR touches it: a new version that says what we sent first
    poll(kit, 2)
    assert kit.resource(booked.resource_id)["start"] == "2026-12-02T09:00:00+09:00"
    kit.deliver()
    (there,) = emr.all("Appointment", f"urn:hospital-hub:assigner:HUB|{booked.resource_id}")
    assert there["start"] == "2026-12-02T09:00:00+09:00"
    poll(kit, 2)
    assert len(changes(kit)) == len(before) + 1
    assert moved.version == booked.version + 1
    emr.update(there | {"status": "booked"})  # and this is the EMR's own word
    poll(kit, 2)
    assert kit.resource(booked.resource_id)["status"] == "booked"
    assert len(kit.owned(mark, "Appointment")) == 1
    built.target.close()


def test_ping_tells_what_this_server_can(kit: Kit, emr: Emr) -> None:
    emr.create(patient("pull-ping", "홍길동"))
    table = {"url": str(emr.http.base_url).rstrip("/"), "kinds": ["Patient"]}
    source = fhir_pull.build(fhir_pull.Settings.from_table(table))
    assert "deletions are not seen of Patient" in source.ping()
    source.close()


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[tuple[Kit, EmrPeer]]:
    """The simulated EMR, for what the real one cannot be made to do."""
    with EmrPeer() as peer:
        made = make_kit(tmp_path, "sqlite:///hub.db", more=CHANNEL.format(url=peer.url, system=SYSTEM))
        yield made, peer
        made.close()


def test_what_is_deleted_there_is_withdrawn_and_may_come_back(simulated: tuple[Kit, EmrPeer]) -> None:
    kit, peer = simulated
    owner = peer.put(patient("7", "홍길동"))
    booking = {
        "resourceType": "Appointment", "id": "a1", "status": "booked", "start": "2026-12-01T09:00:00+09:00",
        "participant": [{"actor": {"reference": f"Patient/{owner}"}, "status": "accepted"}],
    }  # fmt: skip
    peer.put(booking)
    poll(kit, 2)
    assert len(kit.owned("7", "Appointment")) == 1
    peer.delete("Appointment", "a1")
    poll(kit, 2)
    told = [str(kind) for (kind,) in kit.rows("SELECT type FROM message WHERE channel = 'emr-pull' ORDER BY id")]
    assert told[-1] == "Appointment.deleted"
    assert kit.owned("7", "Appointment") == []
    peer.put(booking)
    poll(kit, 2)
    assert [one["status"] for one in kit.owned("7", "Appointment")] == ["booked"]


def test_what_nobody_can_read_is_kept_as_refused_and_its_neighbours_come(simulated: tuple[Kit, EmrPeer]) -> None:
    kit, peer = simulated
    peer.keeps_history = False
    for n, name in enumerate(NAMES):
        peer.put(patient(str(n), name))
    half = peer.put(patient("half", "뷁"))
    peer.patients[half]["name"] = [{"text": "\ud800"}]  # half a surrogate pair, which JSON can say
    nameless = peer.put(patient("nameless", "뷁"))
    del peer.patients[nameless]["id"]
    poll(kit, 3)
    refused = kit.rows("SELECT reason FROM outcome WHERE state = 'refused' ORDER BY message_id")
    assert len(refused) == 2
    assert {reason for (reason,) in refused} == {"a text holds half a surrogate pair", "a resource without an id"}
    assert [kit.patient(str(n))["name"][0]["text"] for n in range(len(NAMES))] == list(NAMES)


def test_a_server_that_asks_us_to_wait_is_waited_for(simulated: tuple[Kit, EmrPeer]) -> None:
    kit, peer = simulated
    poller = Poller(kit.hub, kit.hub.config.channels["emr-pull"], lambda: None)
    peer.misbehave(Fault.BUSY, None)  # Retry-After: 7
    assert poller.round() == 7
    peer.behave()
    assert poller.round() < 1


def test_hub_channel_ping_and_hub_check_ask_a_polled_source(simulated: tuple[Kit, EmrPeer]) -> None:
    kit, peer = simulated

    def checked() -> tuple[bool, str]:
        (found,) = [finding for finding in checks.targets(kit.hub.config) if finding.what == "source emr-pull"]
        return found.good, found.text

    assert checked()[0]
    assert kit.hub.operations.ping("emr-pull", actor="cli:test").startswith("FHIR 4.0.1: Patient, Encounter, Appointment")
    peer.searches_by_time = False
    peer.put(patient("1", "홍길동"))
    with pytest.raises(Misconfigured, match="Patient cannot be searched by _lastUpdated: write it into whole"):
        kit.hub.operations.ping("emr-pull", actor="cli:test")
    assert checked() == (False, "Patient cannot be searched by _lastUpdated: write it into whole")
    with pytest.raises(Misconfigured, match="listener"):
        kit.hub.operations.ping("ocs-in", actor="cli:test")


def test_a_load_and_a_request_beside_the_polls_make_no_second_message(kit: Kit, emr: Emr, mark: str) -> None:
    made = [emr.create(patient(f"{mark}-{n}", NAMES[n % len(NAMES)])) for n in range(15)]
    visit = {
        "resourceType": "Encounter", "status": "finished", "identifier": [{"system": SYSTEM, "value": f"{mark}-v"}],
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": f"Patient/{made[2]['id']}"},
    }  # fmt: skip
    emr.create(visit)
    with asked(kit.hub, "emr-pull", "Patient") as one:
        assert one.request(f"{SYSTEM}|{mark}-2") == 2  # with his visit
        kit.apply()
        assert [found["class"] for found in kit.owned(f"{mark}-2", "Encounter")] == ["IMP"]
        last = list(one.load([]).run())[-1]
        only = list(one.load([Condition("identifier", "=", f"{SYSTEM}|{mark}-3")]).run())[-1]  # POST _search
    assert (only.ended, only.read) == (True, 1)
    assert last.ended
    assert last.read >= 15
    kit.apply()
    assert {kit.patient(f"{mark}-{n}")["name"][0]["text"] for n in range(15)} == set(NAMES)
    with asked(kit.hub, "emr-pull", "Encounter") as other:
        assert list(other.load([]).run())[-1].ended
    both = "SELECT count(*) FROM message WHERE channel = 'emr-pull' AND type IN ('Patient', 'Encounter')"
    before = kit.rows(both)
    poll(kit, 3)
    assert kit.rows(both) == before
