"""A merge and its undoing in the EMR: links go, the patient is active again and gets what he missed; both by If-Match."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub.adapters.emr import fhir_patient
from hub.domain.errors import Refused
from hub.domain.ports import Outbound, Target
from hub.simulator.emr import EmrPeer
from tests.contract.emr_case import SYSTEM

MADE = {"identifier": [{"assigner": "HOSP", "value": "1"}], "name": [{"text": "홍길동"}]}
OTHER = {"identifier": [{"assigner": "HOSP", "value": "2"}], "name": [{"text": "남궁민수"}]}
BOTH = MADE | {"identifier": [*MADE["identifier"], *OTHER["identifier"]]}
GONE = OTHER | {"active": False, "replacedBy": "S"}


@pytest.fixture
def peer() -> Iterator[EmrPeer]:
    made = EmrPeer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def target(peer: EmrPeer) -> Iterator[Target]:
    table = {"url": peer.url, "identifier_systems": {"HOSP": SYSTEM}, "create": True}
    made = fhir_patient.build(fhir_patient.Settings.from_table(table))
    yield made
    made.close()


def message(type_: str, resource: dict[str, Any], patient: dict[str, Any] | None = None, **more: Any) -> Outbound:
    return Outbound(
        message_id=1, channel="emr", type=type_, at=0, attempt=1, kind="Patient", resource_id="P", version=2,
        resource=resource, changed=[], patient_id="P", patient=patient or resource, **more,
    )  # fmt: skip


def document(peer: EmrPeer, peer_id: str | None) -> dict[str, Any]:
    assert peer_id
    return peer.patients[peer_id]


def both_there(target: Target) -> tuple[str, str]:
    """The EMR's ids of survivor and prior."""
    first, second = target.send(message("patient.created", MADE)).peer_id, target.send(message("patient.created", OTHER)).peer_id
    assert first
    assert second
    return first, second


def merge(target: Target, first: str, second: str) -> None:
    target.send(message("patient.merged", GONE, BOTH, peer_id=second, patient_peer_id=first))


def test_an_unmerged_patient_is_active_again_and_gets_what_he_missed(peer: EmrPeer, target: Target) -> None:
    first, second = both_there(target)
    merge(target, first, second)
    assert document(peer, second)["active"] is False
    assert document(peer, second)["link"] == [{"other": {"reference": f"Patient/{first}"}, "type": "replaced-by"}]
    survivor = dict(document(peer, first))
    now = OTHER | {"name": [{"text": "남궁민정"}]}  # changed while the two were one
    delivered = target.send(message("patient.unmerged", now, peer_id=second))
    there = document(peer, second)
    assert (delivered.peer_id, there["active"], "link" in there) == (second, True, False)
    assert there["name"][0]["text"] == "남궁민정"
    assert document(peer, first) == survivor
    written = len(peer.received)
    again = target.send(message("patient.unmerged", now, peer_id=second))
    assert again.detail == "unchanged"
    assert len(peer.received) == written


@pytest.mark.parametrize("base", ["", "http://emr/fhir/"])
def test_the_survivors_link_back_goes_too_and_others_stay(peer: EmrPeer, target: Target, base: str) -> None:
    first, second = both_there(target)
    merge(target, first, second)
    seen = {"other": {"reference": "Patient/another"}, "type": "seealso"}
    mirror = {"other": {"reference": f"{base}Patient/{second}/_history/1"}, "type": "replaces"}
    peer.put(document(peer, first) | {"link": [mirror, seen]})
    peer.put(document(peer, second) | {"link": [*document(peer, second)["link"], seen]})
    target.send(message("patient.unmerged", OTHER, peer_id=second))
    assert document(peer, first)["link"] == [seen]
    assert document(peer, second)["link"] == [seen]
    assert document(peer, second)["active"] is True


def test_a_patient_whom_the_emr_made_inactive_himself_stays_so(peer: EmrPeer, target: Target) -> None:
    _, second = both_there(target)
    peer.put(document(peer, second) | {"active": False})
    assert target.send(message("patient.unmerged", OTHER, peer_id=second)).detail == "unchanged"
    assert document(peer, second)["active"] is False


def test_one_who_was_merged_again_meanwhile_is_left_alone(peer: EmrPeer, target: Target) -> None:
    first, second = both_there(target)
    merge(target, first, second)
    before = dict(document(peer, second))
    assert "nothing to do" in target.send(message("patient.unmerged", GONE, BOTH, peer_id=second)).detail
    assert document(peer, second) == before


def test_one_whom_the_emr_never_had_is_created(peer: EmrPeer, target: Target) -> None:
    target.send(message("patient.created", MADE))
    delivered = target.send(message("patient.unmerged", OTHER))
    assert document(peer, delivered.peer_id)["name"][0]["text"] == "남궁민수"
    assert len(peer.patients) == 2


def test_a_survivors_document_that_carries_his_number_is_not_written_over(peer: EmrPeer, target: Target) -> None:
    survivor = target.send(message("patient.created", BOTH)).peer_id
    with pytest.raises(Refused, match="separate them there"):
        target.send(message("patient.unmerged", OTHER))
    assert document(peer, survivor)["name"][0]["text"] == "홍길동"


def test_a_lost_answer_is_made_good_by_sending_again(peer: EmrPeer, target: Target) -> None:
    first, second = both_there(target)
    merge(target, first, second)
    unmerged = message("patient.unmerged", OTHER, peer_id=second)
    target.send(unmerged)
    version = document(peer, second)["meta"]["versionId"]
    target.send(replace(unmerged, attempt=2))
    assert document(peer, second)["meta"]["versionId"] == version
