"""The HL7 channel and the simulated OCS: booking and confirmation, numbers for a prospect, mutual TLS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.ocs import hl7_out
from hub.adapters.ocs.hl7_out import Hl7Target, Settings
from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.facts import Fact
from hub.mapping import load_maps
from hub.mapping.engine import Context
from hub.simulator.certificates import Authority
from hub.simulator.faults import Fault
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.ocs import OcsPeer
from tests.contract.case import patient_updated
from tests.contract.ocs_case import booking


class Listening(OcsPeer):
    """A stand-in for the hub's own listener: takes anything and keeps its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[Message] = []

    def do(self, message: Message, control_id: str) -> tuple[str, str]:
        self.bodies.append(message)
        return "AA", ""


def target(peer: OcsPeer, **more: Any) -> Hl7Target:
    table = {"host": peer.host, "port": peer.port, "assigner": "HOSP", "timeout_seconds": 2, **more}
    return hl7_out.build(Settings.from_table(table))


def until(true: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def ocs() -> Iterator[OcsPeer]:
    with OcsPeer() as peer:
        yield peer


def test_a_booking_is_answered_and_confirmed_by_a_message_that_the_hub_can_join_to_it() -> None:
    with Listening() as hub:
        sender = Hl7Sender(hub.host, hub.port).start()
        with OcsPeer(confirm=sender) as ocs:
            out = target(ocs)
            message = booking(1)
            assert out.send(message).confirms
            until(lambda: len(hub.bodies) == 1)
            mapped = load_maps().map(hub.bodies[0], Context("HOSP", "ocs"))
            found = {fact.kind: fact for fact in mapped.facts if isinstance(fact, Fact)}
            appointment = found["Appointment"].values
            assert {"assigner": "HUB", "value": message.resource_id, "type": "PLAC"} in appointment["identifier"]
            assert any(one["type"] == "FILL" and one["assigner"] == "HOSP" for one in appointment["identifier"])
            assert appointment["status"] == "booked"
            assert appointment["start"] == message.resource["start"]
            assert str(found["Patient"].key) == "HOSP|CANARY-00012345-1"

            message.type, message.message_id, message.resource["status"] = "appointment.cancelled", 5000, "cancelled"
            out.send(message)
            until(lambda: len(hub.bodies) == 2)
            mapped = load_maps().map(hub.bodies[1], Context("HOSP", "ocs"))
            assert (
                next(f for f in mapped.facts if isinstance(f, Fact) and f.kind == "Appointment").values["status"] == "cancelled"
            )
        sender.stop()


def test_a_prospect_gets_a_number_of_the_ocs(ocs: OcsPeer) -> None:
    message = booking(1)
    message.patient = {"name": [{"text": "남궁민수", "family": "남궁", "given": ["민수"]}]}
    out = target(ocs)
    out.send(message)
    out.send(booking(1, message_id=9, patient=message.patient, type="appointment.updated"))
    assert [p["name"] for p in ocs.patients.values()] == ["남궁민수"]
    assert [b.patient for b in ocs.bookings.values()] == ["N0000001"]


def test_the_ocs_is_told_nothing_of_a_patient_it_gave_no_number(ocs: OcsPeer) -> None:
    message = patient_updated(1)
    message.patient["identifier"] = [{"assigner": "HUB", "value": message.patient_id, "type": "PI"}]
    for more in ({}, {"assigner": ""}):
        done = target(ocs, **more).send(message)
        assert (done.sent, done.detail) == (b"", "nothing to do: a patient without a number of the OCS")
    assert ocs.received == []
    assert ocs.patients == {}


def test_the_ocs_knows_what_it_was_told(ocs: OcsPeer) -> None:
    target(ocs, charset="KS X 1001").send(patient_updated(1))
    assert ocs.patients["CANARY-00012345-1"]["name"] == "홍길동"
    assert ocs.patients["CANARY-00012345-1"]["phone"] == "010-9999-8888"


def test_cancelling_what_the_ocs_never_had_is_done(ocs: OcsPeer) -> None:
    gone = booking(1, type="appointment.cancelled")
    gone.resource["status"] = "cancelled"
    assert target(ocs).send(gone).detail == "AE 204"
    assert ocs.bookings == {}


def test_an_answer_to_another_message_is_never_credited(ocs: OcsPeer) -> None:
    out = target(ocs)
    ocs.misbehave(Fault.WRONG_ANSWER)
    with pytest.raises(OutcomeUnknown):
        out.send(patient_updated(1))
    assert out.send(patient_updated(1)).detail == "AA"
    assert ocs.counts["duplicate"] == 1


def test_a_refusal_is_refused_and_a_busy_peer_is_not(ocs: OcsPeer) -> None:
    out = target(ocs)
    ocs.misbehave(Fault.REFUSE)
    with pytest.raises(Refused, match="AE 102"):
        out.send(patient_updated(1))
    ocs.misbehave(Fault.BUSY)
    with pytest.raises(NotDelivered, match="AR 207"):
        out.send(patient_updated(1))


def test_enhanced_mode_is_taken_but_not_confirmed(ocs: OcsPeer) -> None:
    done = target(ocs, mode="enhanced").send(booking(1))
    assert (done.detail, done.confirms) == ("CA", False)


def test_a_waiting_thread_gives_up_without_having_reached_the_ocs(ocs: OcsPeer) -> None:
    out = target(ocs, timeout_seconds=0.3)
    with out._pool.client(), pytest.raises(NotDelivered) as caught:
        out.send(patient_updated(1))
    assert not caught.value.reached


def test_mutual_tls_and_a_bound_certificate(tmp_path: Path) -> None:
    hospital = Authority()
    certificate, key = hospital.issue("hub.hospital.example")
    for name, data in (("ca", hospital.pem), ("cert", certificate), ("key", key)):
        (tmp_path / f"{name}.pem").write_bytes(data)
    files = {f"{name}_file": str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key")}
    with OcsPeer(tls=hospital.server_context(clients=True)) as ocs:
        assert target(ocs, **files).send(patient_updated(1)).detail == "AA"
        assert target(ocs, **files, tls_peers=["127.0.0.1"]).send(patient_updated(2)).detail == "AA"
        with pytest.raises(Misconfigured):
            target(ocs, **files, tls_peers=["sha256:" + "0" * 64]).send(patient_updated(3))
        with pytest.raises((Misconfigured, OutcomeUnknown)):  # TLS 1.3: told after the handshake, or simply cut
            target(ocs, ca_file=files["ca_file"]).send(patient_updated(4))
        assert len(ocs.received) == 2


def test_the_sender_sends_again_under_the_same_id_until_it_is_answered() -> None:
    with Listening() as hub:
        sender = Hl7Sender(hub.host, hub.port).start()
        hub.misbehave(Fault.BUSY, 2)
        hub.misbehave(Fault.ANSWER_LOST, 2)
        sender.put(("ADT^A08", [("PID", {3: ("1", "", "", "HOSP")})]))
        assert sender.join(5)
        sender.stop()
        assert len({parsed.segments[0].value(10) for parsed in hub.bodies}) == 1
        assert sender.answers == {"AA": 1}


def test_what_a_message_says_is_parsed_as_it_was_meant(ocs: OcsPeer) -> None:
    sent = target(ocs).send(booking(1)).sent
    assert parse(sent).segments[0].value(9, comp=2) == "S12"
