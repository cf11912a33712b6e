"""EMR and ERP against their simulated peers, beyond what every target must do: sessions, other writers, URLs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hub.adapters.emr import fhir_patient
from hub.adapters.erp import business_partner
from hub.domain.errors import NotDelivered
from hub.domain.ports import Target
from hub.simulator.emr import EmrPeer
from hub.simulator.erp import ErpPeer
from hub.simulator.http_peer import Request
from tests.contract.case import CANARIES, NUMBER, patient_updated

SYSTEM = "urn:oid:1.2.410.99999.1"


class Watched:
    """Remembers the targets of all requests."""

    def answer(self, request: Request) -> bytes:
        self.targets.append(request.target)  # type: ignore[attr-defined]
        return super().answer(request)  # type: ignore[misc,no-any-return]


class WatchedEmr(Watched, EmrPeer):
    targets: list[str]


class WatchedErp(Watched, ErpPeer):
    targets: list[str]


@pytest.fixture
def emr() -> Iterator[WatchedEmr]:
    peer = WatchedEmr()
    peer.targets = []
    with peer:
        yield peer


@pytest.fixture
def erp() -> Iterator[WatchedErp]:
    peer = WatchedErp()
    peer.targets = []
    with peer:
        yield peer


def emr_target(peer: EmrPeer, **more: Any) -> Target:
    table = {"url": peer.url, "identifier_systems": {"HOSP": SYSTEM}, "create": True, "timeout_seconds": 2.0, **more}
    return fhir_patient.build(fhir_patient.Settings.from_table(table))


def erp_target(peer: ErpPeer, **more: Any) -> Target:
    table = {"url": peer.url, "identification_type": "ZMRN", "create": True, "timeout_seconds": 2.0, **more}
    return business_partner.build(business_partner.Settings.from_table(table))


def test_no_value_of_a_patient_stands_in_an_emr_url(emr: WatchedEmr) -> None:
    target = emr_target(emr)
    for n in range(3):
        target.send(patient_updated(n))
    assert len(emr.targets) >= 6
    assert not [canary for canary in CANARIES for url in emr.targets if canary in url]


def test_only_the_number_stands_in_an_erp_url(emr: WatchedEmr, erp: WatchedErp) -> None:
    target = erp_target(erp)
    target.send(patient_updated(1))
    assert not [canary for canary in CANARIES for url in erp.targets if canary in url and canary != NUMBER]


def test_what_was_created_is_what_was_sent(emr: WatchedEmr, erp: WatchedErp) -> None:
    message = patient_updated(1)
    emr_target(emr).send(message)
    erp_target(erp).send(message)
    (document,) = emr.by_identifier(SYSTEM, f"{NUMBER}-1")
    assert document["name"][0]["text"] == "홍길동"
    assert [one["value"] for one in document["telecom"]] == ["+821099998888", "canary@patient.example"]
    partner = erp.partner(f"{NUMBER}-1")
    assert partner is not None
    assert (partner["LastName"], partner["FirstName"], partner["IsMale"]) == ("홍", "길동", True)
    (address,) = partner["to_BusinessPartnerAddress"]["results"]
    assert (address["StreetName"], address["CityName"]) == ("테헤란로 1", "카나리아시")
    assert [one["PhoneNumber"] for one in address["to_MobilePhoneNumber"]["results"]] == ["010-9999-8888"]


def test_the_learnt_number_is_used_the_next_time(emr: WatchedEmr, erp: WatchedErp) -> None:
    for target, peer in ((emr_target(emr), emr), (erp_target(erp), erp)):
        done = target.send(patient_updated(1))
        peer.targets.clear()
        record = patient_updated(1).resource | {"telecom": [{"system": "phone", "value": "+821077776666", "use": "mobile"}]}
        again = target.send(patient_updated(1, peer_id=done.peer_id, peer_etag=done.peer_etag, resource=record))
        assert again.peer_id == done.peer_id
        assert again.sent
        assert not [url for url in peer.targets if NUMBER in url or "_search" in url]


def test_an_expired_session_costs_nothing(erp: WatchedErp) -> None:
    target = erp_target(erp)
    target.send(patient_updated(1))
    erp.expire_sessions()
    assert target.send(patient_updated(2)).detail == "201"


def test_merge_instead_of_patch(erp: WatchedErp) -> None:
    target = erp_target(erp, update_method="MERGE")
    target.send(patient_updated(1))
    record = patient_updated(1).resource | {"telecom": [{"system": "phone", "value": "+821077776666", "use": "mobile"}]}
    target.send(patient_updated(1, resource=record))
    assert erp.received[-1][:2] == ("MERGE", "A_AddressPhoneNumber")


def test_somebody_writes_in_the_emr_at_the_same_time(emr: WatchedEmr) -> None:
    """Between our read and our write a clinician saves: both changes stand."""
    target = emr_target(emr)
    done = target.send(patient_updated(1))
    peer_id = str(done.peer_id)
    original, raced = emr._one, []

    def one(request: Request, kind: str, which: str) -> bytes:
        if request.method == "PUT" and not raced:
            raced.append(True)
            emr.put({**emr.patients[which], "maritalStatus": {"text": "기혼"}})
        return original(request, kind, which)

    emr._one = one  # type: ignore[method-assign]
    record = patient_updated(1).resource | {"telecom": [{"system": "phone", "value": "+821077776666", "use": "mobile"}]}
    target.send(patient_updated(1, peer_id=peer_id, resource=record))
    assert emr.patients[peer_id]["maritalStatus"] == {"text": "기혼"}
    assert emr.patients[peer_id]["telecom"][0]["value"] == "+821077776666"


def test_two_hubs_create_one_patient(emr: WatchedEmr, erp: WatchedErp) -> None:
    """Two processes that never heard of each other's create: one patient, one partner."""
    for make, peer in ((emr_target, emr), (erp_target, erp)):
        barrier = threading.Barrier(4)
        problems: list[BaseException] = []

        def send(make: Any = make, peer: Any = peer, barrier: Any = barrier, problems: Any = problems) -> None:
            target = make(peer)
            barrier.wait(5)
            try:
                target.send(patient_updated(1))
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert problems == []
        assert sum(method == "POST" for method, *_ in peer.received) == 1


def test_a_dripping_answer_ends_in_time() -> None:
    """Each byte comes in time, the whole never does: httpx alone would wait for ever."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            try:
                for _ in range(100):
                    connection.sendall(b"x")
                    time.sleep(0.05)
            except OSError:  # the client had enough
                return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    table = {
        "url": f"http://127.0.0.1:{listener.getsockname()[1]}",
        "identifier_systems": {"HOSP": SYSTEM},
        "timeout_seconds": 0.4,
    }
    began = time.monotonic()
    with pytest.raises(NotDelivered, match="in time"):
        fhir_patient.build(fhir_patient.Settings.from_table(table)).ping()
    assert time.monotonic() - began < 2
    listener.close()
    thread.join(5)
