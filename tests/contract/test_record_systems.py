"""EMR and ERPs against their simulated peers, beyond what every target must do: sessions, other writers, URLs.

What an ERP is to the hub stands at the end: SAP and Tryton share nothing but that.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hub.adapters.emr import fhir_patient
from hub.adapters.erp import business_partner, tryton
from hub.domain.errors import NotDelivered, Refused
from hub.domain.ports import Target
from hub.simulator.emr import EmrPeer
from hub.simulator.erp import ErpPeer
from hub.simulator.http_peer import Request
from hub.simulator.tryton import TrytonPeer
from tests.contract import tryton_case
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
    done = target.send(patient_updated(1))
    record = patient_updated(1).resource | {"telecom": [{"system": "phone", "value": "+821077776666", "use": "mobile"}]}
    target.send(patient_updated(1, resource=record, said=done.sent_fields))
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


# ---- what an ERP is to the hub -----------------------------------------------------------------------------------------


class Sap:
    """A SAP system, and what somebody sees who looks at it."""

    def __init__(self) -> None:
        self.peer: Any = ErpPeer()

    def target(self, **more: Any) -> Target:
        return erp_target(self.peer, **more)

    def add(self, number: str) -> None:
        self.peer.data.unique_types = frozenset()  # nobody told this SAP to keep its numbers unique
        self.peer.add_partner(number, LastName="홍", FirstName="길동")

    def said(self, number: str) -> str:
        return str(self.peer.partner(number))


class Tryton(Sap):
    """A Tryton."""

    def __init__(self) -> None:
        self.peer = TrytonPeer()

    def target(self, **more: Any) -> Target:
        table = {**tryton_case.table(self.peer), "create": True, "timeout_seconds": 2.0, **more}
        return tryton.build(tryton.Settings.from_table(table))

    def add(self, number: str) -> None:
        self.peer.add_party(number, "홍길동")

    def said(self, number: str) -> str:
        return str(self.peer.party(number))


@pytest.fixture(params=[Sap, Tryton], ids=["sap", "tryton"])
def any_erp(request: pytest.FixtureRequest) -> Iterator[Sap]:
    one: Sap = request.param()
    with one.peer:
        yield one


def test_an_erp_gets_to_know_a_patient_and_his_changes(any_erp: Sap) -> None:
    out = any_erp.target()
    done = out.send(patient_updated(1))
    assert done.peer_id
    assert "010-9999-8888" in any_erp.said(f"{NUMBER}-1")
    record = patient_updated(1).resource | {"telecom": [{"system": "phone", "value": "+821077776666", "use": "mobile"}]}
    learnt = {"peer_id": done.peer_id, "peer_etag": done.peer_etag, "said": done.sent_fields}
    changed = out.send(patient_updated(1, **learnt, resource=record))
    assert changed.peer_id == done.peer_id
    assert changed.sent_fields["telecom.mobile"]["value"] == "010-7777-6666"
    assert "010-7777-6666" in any_erp.said(f"{NUMBER}-1")
    assert "010-9999-8888" not in any_erp.said(f"{NUMBER}-1")


def test_what_an_erp_has_already_is_not_written_again(any_erp: Sap) -> None:
    out = any_erp.target()
    out.send(patient_updated(1))
    writes = len(any_erp.peer.received)
    assert out.send(patient_updated(1, message_id=7000)).detail == "unchanged"
    found = out.find(patient_updated(1))
    assert found is not None
    assert found.sent_fields
    assert len(any_erp.peer.received) == writes
    assert out.find(patient_updated(2)) is None


def test_an_erp_that_creates_nobody_says_whom_it_does_not_know(any_erp: Sap) -> None:
    with pytest.raises(Refused) as caught:
        any_erp.target(create=False).send(patient_updated(1))
    assert caught.value.code == "unknown_there"
    assert any_erp.peer.received == []


def test_two_with_one_number_are_nobodys_to_choose_between(any_erp: Sap) -> None:
    for _ in range(2):
        any_erp.add(f"{NUMBER}-1")
    with pytest.raises(Refused) as caught:
        any_erp.target().send(patient_updated(1))
    assert caught.value.code == "ambiguous"


def test_an_erp_hears_of_no_prospect_without_a_number(any_erp: Sap) -> None:
    message = patient_updated(1)
    message.resource |= {"identifier": [{"assigner": "HUB", "value": "p"}], "prospect": True}
    assert any_erp.target().send(message).sent == b""
    assert any_erp.peer.received == []


def test_another_session_is_had_where_one_ended(any_erp: Sap) -> None:
    out = any_erp.target()
    out.send(patient_updated(1))
    any_erp.peer.expire_sessions()
    out.send(patient_updated(2))
    assert "010-9999-8888" in any_erp.said(f"{NUMBER}-2")
