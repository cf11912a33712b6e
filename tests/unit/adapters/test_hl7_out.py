"""What the OCS is sent: read back by the shipped maps it says what was meant; answers mean what the table says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.adapters.hl7.people import hl7_time
from hub.adapters.mllp import read_answer
from hub.adapters.ocs import hl7_out
from hub.adapters.ocs.hl7_out import Hl7Target, Settings
from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.facts import Fact
from hub.domain.ports import Delivered, Outbound
from hub.mapping import load_maps
from hub.mapping.engine import Context
from hub.sync.slots import explode, is_echo
from tests.contract.case import CANARIES, patient_updated
from tests.contract.ocs_case import booking

KOREAN = ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수"]
MAPS = load_maps()


def target(**more: Any) -> Hl7Target:
    return hl7_out.build(Settings.from_table({"host": "127.0.0.1", "port": 1, "assigner": "HOSP", **more}))


def composed(message: Outbound, **more: Any) -> Message:
    return parse(target(**more).compose(message)[1])


def facts(message: Outbound, **more: Any) -> dict[str, dict[str, Any]]:
    """What the hub itself reads in what it sends: kind -> values."""
    mapped = MAPS.map(composed(message, **more), Context("HOSP", "ocs"))
    return {fact.kind: fact.values for fact in mapped.facts if isinstance(fact, Fact)}


@pytest.mark.parametrize("charset", ["utf-8", "KS X 1001"])
@pytest.mark.parametrize("event", ["A08", "A31"])
@pytest.mark.parametrize("name", KOREAN)
def test_what_is_sent_of_a_patient_reads_back_as_sent(name: str, event: str, charset: str) -> None:
    message = patient_updated(1)
    message.patient["name"] = [{"text": name, "family": name[:1], "given": [name[1:]]}] if len(name) > 1 else [{"text": name}]
    heard = explode(facts(message, charset=charset, patient_event=event)["Patient"], {})
    sent = target().compose(message)[0].sent_fields
    assert {"name", "birthDate", "gender", "address", "telecom.mobile", "telecom.email"} <= set(sent)
    for field, value in sent.items():
        assert is_echo(value, heard[field]), field


@pytest.mark.parametrize(
    ("value", "use"),
    [
        ("+821099998888", "mobile"), ("+82212345678", "home"), ("+82311234567", "work"), ("+8250212345678", "home"),
        ("+8215881234", "home"), ("+14155550100", "home"), ("+821099998888", None),
    ],
)  # fmt: skip
def test_every_kind_of_phone_comes_back_as_it_was(value: str, use: str | None) -> None:
    message = patient_updated(1)
    point = {"system": "phone", "value": value, **({"use": use} if use else {})}
    message.patient["telecom"] = [point]
    heard = facts(message)["Patient"]["telecom"]
    assert [one["value"] for one in heard] == [value]
    assert heard[0].get("use", use) in (use, "mobile")


def test_what_was_taken_away_is_deleted_and_what_is_unknown_is_left_alone() -> None:
    message = patient_updated(1)
    del message.patient["telecom"], message.patient["address"]
    message.changed = ["telecom.mobile"]
    pid = composed(message).segments[2]
    assert pid.raw(13) == '""'
    assert pid.raw(11) == ""
    assert target().compose(message)[0].sent_fields["telecom.mobile"] is None


def test_a_patient_whose_name_nobody_has_said_yet_waits_for_it_and_his_booking_does_not() -> None:
    """PID-5 is required (HL7 v2.5 section 3.4.2): of a booking, whose name it is is not said (table 0200 U)."""
    message = patient_updated(1)
    del message.patient["name"]
    assert target().compose(message)[0].nothing == "a patient without a name"
    about = booking(1)
    about.patient.pop("name", None)
    [who] = [one for one in composed(about).segments if one.name == "PID"]
    assert who.raw(5) == "^^^^^^U"
    assert "name" not in facts(about)["Patient"]


def test_the_number_of_the_ocs_goes_first_and_a_prospect_goes_by_the_hubs() -> None:
    message = patient_updated(1)
    message.patient["identifier"] = [
        {"assigner": "EMR", "value": "E1", "type": "MR"},
        {"assigner": "HOSP", "value": "OLD", "use": "old"},
        {"assigner": "HOSP", "value": "H1", "type": "MR"},
    ]
    assert composed(message).segments[2].raw(3) == "H1^^^HOSP^MR~E1^^^EMR^MR"
    message.patient["identifier"] = [{"assigner": "HUB", "value": "front-office-number", "type": "PI"}]
    assert composed(message).segments[2].raw(3) == "front-office-number^^^HUB^PI"
    del message.patient["identifier"]
    assert composed(message).segments[2].raw(3) == f"{message.patient_id}^^^HUB^PI"


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1"])
def test_a_booking_reads_back_as_booked(version: str) -> None:
    heard = facts(booking(1), version=version)["Appointment"]
    assert heard["start"] == "2026-12-01T09:00:00+09:00"
    assert heard["end"] == "2026-12-01T09:30:00+09:00"
    assert heard["department"] == "OPD"
    assert heard["reason"] == {"display": "정기 검진"}
    assert heard["participant"][0]["identifier"]["value"] == "D001"
    assert {"assigner": "HUB", "value": booking(1).resource_id, "type": "PLAC"} in heard["identifier"]


@pytest.mark.parametrize(
    ("kind", "status", "event"),
    [
        ("appointment.created", "pending", "S12"),
        ("appointment.updated", "booked", "S13"),
        ("appointment.cancelled", "cancelled", "S15"),
        ("appointment.created", "cancelled", "S15"),  # replayed later: it does not take the OCS back
        ("appointment.updated", "entered-in-error", "S15"),
    ],
)
def test_the_state_of_now_decides_what_a_booking_says(kind: str, status: str, event: str) -> None:
    message = booking(1)
    message.type, message.resource["status"] = kind, status
    header = composed(message).segments[0]
    assert (header.value(9), header.value(9, comp=2)) == ("SIU", event)


def test_a_booking_of_the_ocs_goes_back_under_its_own_numbers() -> None:
    message = booking(1)
    message.resource["identifier"] = [
        {"assigner": "OCS", "value": "P9", "type": "PLAC"},
        {"assigner": "OCS", "value": "F9", "type": "FILL"},
    ]
    sch = next(s for s in composed(message).segments if s.name == "SCH")
    assert (sch.raw(1), sch.raw(2)) == ("P9^OCS", "F9^OCS")


def test_the_control_id_is_stable_for_the_same_content_and_new_for_other() -> None:
    one, again, other = patient_updated(1), patient_updated(1, attempt=4), patient_updated(1)
    other.patient["telecom"][0]["value"] = "+821000000000"
    ids = [target().compose(m)[2] for m in (one, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("1001-")
    assert len(target().compose(patient_updated(1, message_id=2**62))[2]) <= 20


@pytest.mark.parametrize("text", ["홍\x0b길동", "🙂"])
def test_what_the_charset_or_the_frame_cannot_hold_is_refused_by_name_of_the_place(text: str) -> None:
    message = patient_updated(1)
    message.patient["name"] = [{"text": text}]
    with pytest.raises(Refused) as caught:
        target(charset="KS X 1001").compose(message)
    assert "PID-5" in str(caught.value)
    assert not any(canary in str(caught.value) for canary in CANARIES)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x0b\x1c"), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_value_makes_a_segment(text: str) -> None:
    message = booking(1)
    message.patient["name"] = [{"text": text}]
    message.resource["comment"] = text
    message.resource["location"] = text
    try:
        names = [s.name for s in composed(message).segments]
    except Refused:
        return
    allowed = ["MSH", "SCH", "TQ1", "NTE", "PID", "PV1", "RGS", "AIL", "AIP"]
    assert names == [name for name in allowed if name in names]


ANSWERS = [
    ("MSA|AA|1", Delivered, True),
    ("MSA|CA|1", Delivered, False),
    ("MSA|AE|1", Refused, None),
    ("MSA|AE|1\rERR||PID^1^3|204^Unknown key identifier^HL70357|E", Refused, None),
    ("MSA|AE|1\rERR|||206|E", NotDelivered, None),
    ("MSA|AR|1", NotDelivered, None),
    ("MSA|AR|1\rERR|||207|E", NotDelivered, None),
    ("MSA|AR|1\rERR|||201|E", Refused, None),
    ("MSA|AR|1\rERR|MSH^1^9^203&Unsupported version", Refused, None),  # before v2.5
    ("MSA|AR|1|text|||202^x", Refused, None),  # MSA-6, before v2.4
    ("MSA|CE|1", Refused, None),
    ("MSA|CE|1\rERR|||207", NotDelivered, None),
    ("MSA|CR|1", NotDelivered, None),
    ("MSA|XX|1", OutcomeUnknown, None),
]


def judged(text: str, message: Outbound | None = None, **more: Any) -> Delivered:
    hub = target(**more)
    message = message or patient_updated(1)
    return hub._judge(hub.compose(message)[0], b"sent", b"MSH|^~\\&|OCS||HUB||||ACK|9|P|2.5\r" + text.encode())


@pytest.mark.parametrize(("text", "outcome", "confirms"), ANSWERS)
def test_an_answer_means_what_the_table_says(text: str, outcome: type, confirms: bool | None) -> None:
    if outcome is Delivered:
        assert judged(text).confirms is confirms
        return
    with pytest.raises(HubError) as caught:
        judged(text)
    assert type(caught.value) is outcome
    assert caught.value.answer


def test_a_channel_may_override_the_table() -> None:
    with pytest.raises(NotDelivered):
        judged("MSA|AE|1\rERR|||102", answers={"AE.102": "retry"})
    with pytest.raises(Refused):
        judged("MSA|AR|1", answers={"AR": "refused"})


def test_a_no_that_says_it_is_so_already_is_a_yes() -> None:
    gone = booking(1)
    gone.resource["status"] = "cancelled"
    assert judged("MSA|AE|1\rERR|||204", gone).detail == "AE 204"
    again = booking(1, attempt=2)
    assert judged("MSA|AE|1\rERR|||205", again).confirms
    with pytest.raises(Refused):
        judged("MSA|AE|1\rERR|||205", booking(1))


def test_an_unreadable_answer_is_no_answer() -> None:
    with pytest.raises(OutcomeUnknown):
        read_answer(b"MSH|^~\\&|OCS\xff\xfe", "utf-8", "the OCS")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"charset": "klingon"}, "utf-8"),
        ({"charset": "euc-jp"}, "KS X 1001, GB 18030"),  # Python has it, HL7 table 0211 has no name for it
        ({"charset": "utf-16"}, "table 0211"),
        ({"timezone": "Asia/Atlantis"}, "Asia/Seoul"),
        ({"answers": {"ZZ": "retry"}}, "AE.207"),
        ({"answers": {"AE": "maybe"}}, "refused"),
        ({"version": "9"}, "2.5"),
        ({"connections": 0}, "1 to 16"),
        ({"hots": "x"}, "host"),
    ],
)
def test_a_wrong_setting_says_what_to_write(more: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        target(**more)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hl7"),
    [
        ("2026-12-01T00:00:00Z", "20261201090000+0900"),
        ("2026-12-01T09:00:00", "20261201090000+0900"),
        ("2026-12-01", "20261201"),
        ("2026-12", "202612"),
        ("", ""),
        ("0001-01-01T00:00:00+14:00", "00010101000000+1400"),  # no such time in the channel's zone
    ],
)
def test_times_go_out_in_the_channels_zone(text: str, hl7: str) -> None:
    assert hl7_time(text, target()._zone) == hl7
