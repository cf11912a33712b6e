"""A merge may be applied before a record system was told of either patient: their messages are sent as they stand then."""

from hub.adapters.emr import fhir_patient
from hub.domain.ports import Outbound
from hub.simulator.emr import EmrPeer
from tests.contract.emr_case import SYSTEM


def message(number: int, type_: str, resource_id: str, resource: dict[str, object], survivor: dict[str, object]) -> Outbound:
    return Outbound(
        message_id=number, channel="emr", type=type_, at=0, attempt=1, kind="Patient", resource_id=resource_id, version=2,
        resource=resource, changed=["name"], patient_id="S", patient=survivor,
    )  # fmt: skip


def test_the_survivor_keeps_its_document() -> None:
    survivor = {
        "identifier": [{"assigner": "HOSP", "value": "1"}, {"assigner": "HOSP", "value": "2"}],
        "name": [{"text": "홍길동"}],
    }
    prior = {
        "identifier": [{"assigner": "HOSP", "value": "2"}], "name": [{"text": "홍길순"}], "active": False, "replacedBy": "S",
    }  # fmt: skip
    peer = EmrPeer()
    peer.start()
    try:
        table = {"url": peer.url, "identifier_systems": {"HOSP": SYSTEM}, "create": True}
        target = fhir_patient.build(fhir_patient.Settings.from_table(table))
        told = target.send(message(1, "patient.created", "S", survivor, survivor))
        other = target.send(message(2, "patient.created", "P", prior, survivor))
        merged = message(3, "patient.merged", "P", prior, survivor)
        merged.peer_id, merged.patient_peer_id = other.peer_id, told.peer_id
        target.send(merged)
        target.close()
        documents = [p for n in ("1", "2") for p in peer.by_identifier(SYSTEM, n) if p.get("active") is not False]
    finally:
        peer.stop()
    assert documents
    assert all(d["name"][0]["text"] == "홍길동" for d in documents)
