"""10,000 inputs that no server should send: none ends the hub, none takes a second, memory stays; what is stored can be applied.

Each goes through the door (reading, bundles, references) and the maps; one in twenty through a whole hub, where nothing may
end as our bug. Seeded: a failure can be seen again.
"""

from __future__ import annotations

import copy
import json
import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.adapters.emr.fhir_in import Door, Sent, Settings, build
from hub.codecs.fhir_incoming import read
from hub.domain.errors import Unmappable
from hub.domain.facts import Fact, Snapshot
from hub.domain.ports import Receipt, Received, Verdict
from hub.mapping import Context, load_maps
from hub.mapping.fhir_keys import Names
from hub.sync.fhir_received import Messages
from tests.fakes.store import FakeStore
from tests.fhir_kit import make_fhir_kit, transaction
from tests.web_kit import FakeKeys

MOST = 10_000
RESOURCES: list[dict[str, Any]] = [
    {
        "resourceType": "Patient", "id": "p1", "meta": {"versionId": "1", "lastUpdated": "2026-11-22T09:00:00+09:00"},
        "identifier": [{"system": "urn:oid:1.2.3", "value": "100", "type": {"coding": [{"code": "MR"}]}}],
        "name": [{"text": "똠방각하", "family": "남궁", "given": ["민수"]}], "gender": "male", "birthDate": "1980-01-01",
        "telecom": [{"system": "phone", "value": "010-1234-5678", "use": "mobile"}], "deceasedBoolean": False,
        "address": [{"line": ["세종대로 1"], "city": "서울", "extension": [{"url": "x", "extension": [{"url": "y"}]}]}],
        "contact": [{"name": {"text": "홍길동"}, "telecom": [{"system": "phone", "value": "02-123-4567"}]}],
        "link": [{"type": "seealso", "other": {"reference": "Patient/p2"}}],
        "contained": [{"resourceType": "Practitioner", "id": "d", "name": [{"text": "이의사"}]}],
    },
    {
        "resourceType": "Encounter", "id": "v1", "status": "finished", "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p1"}, "participant": [{"individual": {"reference": "#d", "display": "이의사"}}],
        "period": {"start": "2026-11-22", "end": "2026-11-23T10:00:00Z"}, "location": [{"location": {"display": "내과"}}],
        "account": [{"identifier": {"value": "A1"}}], "reasonCode": [{"text": "뷁"}],
    },
    {
        "resourceType": "Observation", "id": "o1", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1"}]}, "valueQuantity": {"value": 1.50, "unit": "g"},
        "subject": {"identifier": {"system": "urn:x", "value": "801301-1234567"}},
        "referenceRange": [{"low": {"value": 4}, "high": {"value": 10}}], "effectiveDateTime": "2026-11-22T09:00:00Z",
    },
    {
        "resourceType": "Appointment", "id": "a1", "status": "booked", "start": "2026-11-22T09:00:00Z", "minutesDuration": 15,
        "participant": [{"actor": {"reference": "Patient/p1"}}, {"actor": {"type": "Location", "display": "3"}}],
    },
    {
        "resourceType": "MedicationRequest", "id": "m1", "status": "active", "medicationReference": {"reference": "#x"},
        "contained": [{"resourceType": "Medication", "id": "x", "code": {"text": "약"}}],
        "subject": {"reference": "Patient/p1"},
        "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1, "unit": "정"}}]}],
    },
    {
        "resourceType": "DiagnosticReport", "id": "d1", "status": "final", "code": {"text": "CBC"},
        "subject": {"reference": "Patient/p1"}, "result": [{"reference": "Observation/o1"}],
        "basedOn": [{"reference": "ServiceRequest/s1"}],
    },
    {
        "resourceType": "Invoice", "id": "i1", "status": "issued", "subject": {"reference": "Patient/p1"},
        "totalGross": {"value": 12000.5, "currency": "KRW"}, "date": "2026-11-22",
    },
    {
        "resourceType": "Coverage", "id": "c1", "status": "active", "beneficiary": {"reference": "Patient/p1"},
        "payor": [{"display": "공단"}],
    },
]  # fmt: skip
ODD: list[Any] = [
    None, True, 0, -1, 1e300, 10**30, 0.1, "", " ", "\x00", "\x1f0", "\x1e", "\ud800", "#", "#x", "urn:uuid:", "Patient/",
    "Patient?identifier=a|b", "https://x/fhir/Patient/1", "8013011234567", "9" * 400, "2026-13-45T99:99",
    "2026-11-22T09:00:00+99:99", "0000", [], {}, [[]], [None],
    {"reference": {}}, {"coding": {}}, {"coding": [1]}, {"value": {"value": []}}, {"system": 5, "value": True}, ["a", {"b": []}],
    "'\";--",
    {"resourceType": "Patient"}, {"extension": "x"}, "똠" * 300,
]  # fmt: skip


class Taken:
    """An intake that keeps nothing but what it is handed."""

    def __init__(self) -> None:
        self.batch: list[Received] = []

    def store(self, batch: Sequence[Received]) -> list[Receipt]:
        self.batch += batch
        return [Receipt(Verdict.NEVER if one.refused else Verdict.STORED, at) for at, one in enumerate(batch)]

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        raise AssertionError("nobody is owed an answer")


def places(node: Any) -> list[tuple[Any, Any]]:
    """(container, key) of everything inside."""
    found, stack = [], [node]
    while stack:
        one = stack.pop()
        for key, value in one.items() if isinstance(one, dict) else enumerate(one):
            found.append((one, key))
            if isinstance(value, dict | list):
                stack.append(value)
    return found


def spoiled(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A body, and where it is sent."""
    document: Any = copy.deepcopy(rng.choice(RESOURCES))
    address = {"kind": document["resourceType"], "id": document["id"]}
    if rng.random() < 0.25:
        document, address = transaction(*rng.sample(RESOURCES, 3), kind=rng.choice(["transaction", "batch", "history"])), {}
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        where, key = rng.choice(places(document))
        act = rng.random()
        if act < 0.6:
            where[key] = copy.deepcopy(rng.choice(ODD))
        elif act < 0.75:
            del where[key]
        elif isinstance(where, dict):
            where[rng.choice(["extension", "meta", "id", "link", "contained", "resourceType", "value"])] = copy.deepcopy(
                rng.choice(ODD)
            )
        if not document:
            break
    body = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    act = rng.random()
    if act < 0.1:
        body = body[: rng.randrange(len(body))]
    elif act < 0.2:
        at = rng.randrange(len(body))
        body = body[:at] + rng.randbytes(rng.randrange(1, 4)) + body[at + 1 :]
    elif act < 0.24:
        depth = rng.choice((60, 500, 5000, 50_000))
        body = b'{"resourceType":"Patient","x":' + rng.choice((b"[", b'{"a":')) * depth
    elif act < 0.26:
        body = body.replace(b":", b":" + b"9" * rng.choice((30, 5000)), 1)
    return body, address


def the_door() -> Door:
    messages = Messages("emr-fhir", Names("HOSP", "emr"), FakeStore(), FakeKeys())
    return build(Settings(tokens=("x",)), messages)


def test_ten_thousand_inputs() -> None:
    rng, door, maps, context = random.Random(20261122), the_door(), load_maps(), Context("HOSP", "emr", received_at=1)
    names, before = Names("HOSP", "emr"), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    longest, stored, facts = 0.0, 0, 0
    for _ in range(MOST):
        body, address = spoiled(rng)
        taken, began = Taken(), time.process_time()
        answer = door.take(Sent("PUT" if address else "POST", body, "emr-push", **address), taken)
        orjson.dumps(answer.document)
        assert answer.status in (200, 201, 204, 400, 405, 409, 412, 413, 422), answer
        assert "똠방각하" not in str(answer.document)
        for one in taken.batch:
            if one.refused is not None or not maps.handles_fhir(one.type):
                continue
            stored += 1
            try:
                mapped = maps.map_fhir(read(one.body), context, names)
            except Unmappable:
                continue
            for fact in mapped.facts:
                facts += 1
                orjson.dumps(fact.values if isinstance(fact, Fact) else fact.items if isinstance(fact, Snapshot) else None)
                assert "801301-1234567" not in repr(fact)
                assert "8013011234567" not in repr(fact)
        longest = max(longest, time.process_time() - began)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert longest < 1.0
    assert grown < 200
    assert stored > MOST / 4
    assert facts > stored / 2


def test_what_of_it_is_stored_can_be_applied(tmp_path: Path) -> None:
    rng, fhir = random.Random(42), make_fhir_kit(tmp_path)
    for _ in range(MOST // 20):
        body, address = spoiled(rng)
        url = f"/{address['kind']}/{address['id']}" if address else ""
        assert fhir.send(body, url, "PUT" if address else "POST").status_code < 500
    fhir.kit.apply()
    bugs = [reason for _, _, reason in fhir.outcomes() if "our bug" in reason]
    assert bugs == []
    assert {outcome for _, outcome, _ in fhir.outcomes()} <= {"applied", "stale", "ignored", "refused", "dead"}
    fhir.kit.close()


@pytest.mark.parametrize(
    "filler",
    [
        b"[],",
        b"{},",
        b'"ab",',
        b"1.5,",
        b'{"a":1},',
        b'{"reference":"Patient/1"},',
        b"[" * 60 + b"]" * 60 + b",",
        b'{"a":"' + b"x" * 30 + b'"},',
    ],
)
def test_large_and_hostile(filler: bytes) -> None:
    """As large as a channel lets a body be: refused, or read, in a second."""
    size = 16 << 20
    body = b'{"resourceType":"Patient","id":"p1","x":[' + filler * (size // len(filler) - 10) + b"0]}"
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    answer = the_door().take(Sent("PUT", body, "emr-push", "Patient", "p1"), Taken())
    assert answer.status in (200, 400)
    assert time.process_time() - began < 3
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200
