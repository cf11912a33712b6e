"""The PACS by HL7: what each change becomes and what the order desk then knows; and what comes from it (pacs.hl7_in)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.hl7.target import Hl7Target
from hub.adapters.ocs import hl7_in as ocs_in
from hub.adapters.pacs import hl7_in, hl7_out
from hub.adapters.pacs.order_numbers import order_numbers
from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import Misconfigured, Refused
from hub.domain.facts import Fact
from hub.mapping import load_maps
from hub.mapping.engine import Context
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.pacs_hl7 import PacsHl7Peer
from hub.testing.home import Home
from tests.contract.case import NUMBER, patient_updated
from tests.contract.ocs_case import booking
from tests.contract.pacs_hl7_case import merged, order

SHAPES = ["OMI^O23", "ORM^O01"]
KOREAN = ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"]


def target(peer: PacsHl7Peer | None = None, **more: Any) -> Hl7Target:
    where = {"host": peer.host, "port": peer.port} if peer else {"host": "127.0.0.1", "port": 1}
    return hl7_out.build(hl7_out.Settings.from_table({**where, "assigner": "HOSP", "timeout_seconds": 2, **more}))


def said(message: Any, **more: Any) -> dict[str, Any]:
    """The segments of what would be sent, by name."""
    parsed: Message = parse(target(**more).compose(message)[1])
    return {segment.name: segment for segment in parsed.segments}


@pytest.fixture
def pacs() -> Iterator[PacsHl7Peer]:
    with PacsHl7Peer() as peer:
        yield peer


@pytest.mark.parametrize("shape", SHAPES)
def test_an_order_is_placed_changed_and_cancelled(pacs: PacsHl7Peer, shape: str) -> None:
    out = target(pacs, orders=shape)
    done = out.send(order(1))
    known = pacs.orders["A00000001"]
    assert done.peer_id == "A00000001"
    assert (known.control, known.study_uid, known.placer) == ("NW", "1.2.410.200001.1", "ORD1")
    assert (known.modality, known.start, known.patient) == ("CT", "20261201090000+0900", f"{NUMBER}-1")

    moved = order(1, message_id=2001, type="servicerequest.updated", peer_id=done.peer_id)
    moved.resource["occurrence"] = "2026-12-02T10:30:00+09:00"
    out.send(moved)
    assert (pacs.orders["A00000001"].control, pacs.orders["A00000001"].start) == ("XO", "20261202103000+0900")

    gone = order(1, message_id=2002, type="servicerequest.cancelled", peer_id=done.peer_id)
    gone.resource["status"] = "revoked"
    out.send(gone)
    assert pacs.orders["A00000001"].control == "CA"
    assert [event for event, _ in pacs.received] == [shape] * 3


@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_pacs_never_had_is_called_off_and_then_placed(pacs: PacsHl7Peer, shape: str) -> None:
    out = target(pacs, orders=shape)
    gone = order(1, type="servicerequest.updated")
    gone.resource["status"] = "revoked"
    done = out.send(gone)
    assert (done.detail, done.peer_id) == ("AE 204", None)
    out.send(order(1, message_id=2001, type="servicerequest.updated", peer_id=done.peer_id))
    assert pacs.orders["A00000001"].control == "NW"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kept", "control"), [(True, "XO"), (False, "NW")])
def test_an_order_that_was_called_off_is_taken_up_again(pacs: PacsHl7Peer, shape: str, kept: bool, control: str) -> None:
    out = target(pacs, orders=shape)
    known = out.send(order(1)).peer_id
    gone = order(1, message_id=2001, type="servicerequest.cancelled", peer_id=known)
    gone.resource["status"] = "revoked"
    out.send(gone)
    if not kept:
        del pacs.orders["A00000001"]
    again = out.send(order(1, message_id=2002, type="servicerequest.updated", peer_id=known))
    assert (pacs.orders["A00000001"].control, again.detail, again.peer_id) == (control, "AA", known)


def test_an_order_whose_number_changed_is_not_placed_beside_itself(pacs: PacsHl7Peer) -> None:
    out = target(pacs)
    known = out.send(order(1)).peer_id
    other = order(1, message_id=2001, type="servicerequest.updated", peer_id=known)
    other.resource["identifier"][1]["value"] = "A9"
    with pytest.raises(Refused, match="204"):
        out.send(other)
    assert set(pacs.orders) == {"A00000001"}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_order_reads_back_as_it_was_sent(shape: str) -> None:
    mapped = load_maps().map(parse(target(orders=shape).compose(order(1))[1]), Context("HOSP", "pacs"))
    (heard,) = [fact.values for fact in mapped.facts if isinstance(fact, Fact) and fact.kind == "ServiceRequest"]
    document = order(1).resource
    for field in ("status", "code", "priority", "authoredOn", "occurrence", "department", "reason"):
        assert heard[field] == document[field], field
    assert {"assigner": "OCS", "value": "ORD1", "type": "PLAC"} in heard["identifier"]
    assert heard["participant"][0]["identifier"]["value"] == "D001"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", KOREAN)
@pytest.mark.parametrize("charset", ["utf-8", "KS X 1001"])
def test_korean_arrives_in_either_charset(pacs: PacsHl7Peer, shape: str, name: str, charset: str) -> None:
    message = order(1)
    message.patient["name"] = [{"text": name}]
    message.resource["code"]["display"] = name
    target(pacs, orders=shape, charset=charset).send(message)
    assert pacs.patients[f"{NUMBER}-1"]["name"] == name
    body = pacs.orders["A00000001"].body
    assert next(segment for segment in body.segments if segment.name == "OBR").value(4, comp=2) == name


def test_each_shape_has_the_version_that_ihe_gives_it() -> None:
    assert said(order(1))["MSH"].value(12) == "2.5.1"
    assert said(order(1), orders="ORM^O01")["MSH"].value(12) == "2.3.1"
    assert said(order(1), orders="ORM^O01", version="2.4")["MSH"].value(12) == "2.4"
    with pytest.raises(Misconfigured, match="ORM"):
        target(version="2.4")


def test_an_order_without_numbers_gets_the_same_ones_every_time() -> None:
    message = order(1)
    message.resource["identifier"] = []
    numbers = order_numbers(message.resource, message.resource_id)
    procedure = said(message)["IPC"]
    assert procedure.value(1) == numbers.accession
    assert len(numbers.accession) <= 16
    assert procedure.value(3) == numbers.study_uid == f"2.25.{0x0199B3A000007000A000000000000001}"
    assert said(message, orders="ORM^O01")["ZDS"].raw(1) == f"{numbers.study_uid}^HUB^Application^DICOM"


def test_what_was_done_is_said_with_the_order() -> None:
    message = order(1, peer_id="A00000001", type="servicerequest.updated")
    for state, code in (("in-progress", "IP"), ("completed", "CM"), ("discontinued", "DC")):
        message.resource["state"] = state
        assert said(message)["ORC"].value(5) == code


def test_an_order_of_another_kind_is_none_of_the_pacs(pacs: PacsHl7Peer) -> None:
    blood = order(1)
    blood.resource |= {"category": "laboratory"}
    del blood.resource["modality"]
    assert target(pacs).send(blood).detail == "nothing to do: no imaging order"
    never = order(2)
    never.resource["status"] = "revoked"
    assert target(pacs).send(never).detail == "nothing to do: an order that was never placed"
    assert pacs.received == []


def test_a_no_that_says_it_is_so_already_is_a_yes(pacs: PacsHl7Peer) -> None:
    out = target(pacs)
    gone = order(1, type="servicerequest.cancelled")
    gone.resource["status"] = "revoked"
    assert out.send(gone).detail == "AE 204"  # it never had the order
    out.send(order(2))
    assert out.send(order(2, message_id=3000, attempt=2)).detail == "AE 205"  # its answer had been lost
    with pytest.raises(Refused):
        out.send(order(2, message_id=3001))


def test_a_changed_patient_and_a_merge(pacs: PacsHl7Peer) -> None:
    out = target(pacs)
    out.send(order(1, patient=merged(1).resource))
    assert pacs.orders["A00000001"].patient == "SECOND-1"
    out.send(merged(1, message_id=4000))
    assert pacs.merged == {"SECOND-1": f"{NUMBER}-1"}
    assert pacs.orders["A00000001"].patient == f"{NUMBER}-1"
    out.send(patient_updated(1, message_id=4001))
    assert pacs.patients[f"{NUMBER}-1"] == {"name": "홍길동", "phone": "010-9999-8888"}
    assert [event for event, _ in pacs.received] == ["OMI^O23", "ADT^A40", "ADT^A08"]


def test_a_merge_reads_back_as_one(pacs: PacsHl7Peer) -> None:
    built = target(version="2.3.1", orders="ORM^O01").compose(merged(1))[1]
    mapped = load_maps().map(parse(built), Context("HOSP", "pacs"))
    (merge,) = [fact for fact in mapped.facts if type(fact).__name__ == "Merge"]
    assert (str(merge.survivor), str(merge.prior)) == (f"HOSP|{NUMBER}-1", "HOSP|SECOND-1")


def test_whoever_has_no_number_there_is_not_told_of(pacs: PacsHl7Peer) -> None:
    prospect = merged(1)
    prospect.resource["identifier"] = [{"assigner": "HUB", "value": "p", "type": "PI"}]
    assert target(pacs).send(prospect).sent == b""
    unknown = patient_updated(1)
    unknown.patient["identifier"] = []
    assert target(pacs).send(unknown).sent == b""


def test_a_moved_booking(pacs: PacsHl7Peer) -> None:
    out = target(pacs)
    out.send(booking(1))
    moved = booking(1, message_id=5000, type="appointment.updated")
    moved.resource["start"] = "2026-12-03T11:00:00+09:00"
    out.send(moved)
    assert pacs.bookings == {booking(1).resource_id: ("SIU^S13", "20261203110000+0900")}


def test_a_report_of_the_pacs_is_joined_to_its_order(tmp_path: Path) -> None:
    """pacs.hl7_in is ocs.hl7_in by another name: what is proven of its listener holds here, too."""
    assert (hl7_in.build, hl7_in.Settings) == (ocs_in.build, ocs_in.Settings)
    ordered = ("HA201", "흉부 CT", "EDI")
    request: dict[int, Any] = {1: "1", 2: ("ORD1", "OCS"), 4: ordered}
    report: dict[int, Any] = {**request, 3: ("RPT1", "PACS"), 7: "20261201110000", 22: "20261201115900", 25: "F"}
    finding: dict[int, Any] = {1: "1", 2: "TX", 3: ("59776-5", "판독 소견", "LN"), 5: "이상 없음", 11: "F"}
    messages: list[tuple[str, list[Any]]] = [
        ("ORM^O01", [("ORC", {1: "NW", 2: ("ORD1", "OCS")}), ("OBR", request)]),
        ("ORU^R01", [("ORC", {1: "RE", 2: ("ORD1", "OCS"), 3: ("RPT1", "PACS")}), ("OBR", report), ("OBX", finding)]),
    ]
    person = ("PID", {1: "1", 3: ("P0001", "", "", "HOSP", "MR"), 5: ("남궁", "민수")})
    desk = Hl7Sender("127.0.0.1", 1, application="RIS")  # never started: it only writes messages here
    with Home(tmp_path, {"adapter": "pacs.hl7_in", "system": "pacs", "port": 0, "assigner": "HOSP"}) as home:
        for event, segments in messages:
            body = desk.compose(event, [person, *segments], event)
            home.hub.intake().store([ocs_in.Channel(ocs_in.Settings(port=0), "channel").received(body)])
        home.apply()
        assert home.unapplied() == []
        (asked,) = home.resources("ServiceRequest")
        (answered,) = home.resources("DiagnosticReport")
        assert asked["code"]["display"] == "흉부 CT"
        assert answered["status"] == "final"
        assert answered["basedOn"]["reference"].startswith("ServiceRequest/")
