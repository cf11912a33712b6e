"""What each event's map makes: a table per event, and the hard cases (two merges, swap, move, link, booking)."""

from __future__ import annotations

import pytest

from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import Unmappable
from hub.domain.facts import AnyFact, ChangeIdentifier, Fact, Key, Link, Merge, Move, Snapshot
from hub.mapping import Context, load_maps

MAPS = load_maps()
CONTEXT = Context("HOSP", "ocs", "Asia/Seoul", received_at=1_000_000)
PID = (
    "PID|1||00012345||홍^길동^^^^^L^I~HONG^GILDONG^^^^^L^A||19800131|M|||테헤란로 1^101호^서울^^06236^KOR^H"
    "||010-1234-5678^PRN^CP|02-123-4567^WPN^PH"
)
PV1 = "PV1|1|O|IM^R1^1|||W2^201^2|D001^김^의사|||IM|||||||||V1|11" + "|" * 24 + "20261122090000"
RRN = "801301-1234567"  # month 13: nobody's


def message(event: str, *segments: str) -> Message:
    head = f"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090500||{event}|1|P|2.5|||AL|NE|KOR|UNICODE UTF-8"
    return parse("\r".join([head, f"EVN|{event[4:7]}|20261122090000", *segments]).encode())


def facts(event: str, *segments: str) -> list[AnyFact]:
    return MAPS.map(message(event, *segments), CONTEXT).facts


def one(found: list[AnyFact], kind: str) -> Fact:
    (fact,) = [fact for fact in found if isinstance(fact, Fact) and fact.kind == kind]
    return fact


LISTED = [
    *(
        f"ADT^A{n:02d}"
        for n in [*range(1, 18), 18, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, *range(34, 52), 52, 53, 60]
    ),
    *(f"SIU^S{n}" for n in [*range(12, 25), 26]),
]


def test_every_listed_event_has_a_map() -> None:
    assert [event for event in LISTED if not MAPS.handles(event)] == []
    assert not MAPS.handles("ADT^A20")
    assert all(title for _, title in MAPS.events())


@pytest.mark.parametrize(
    ("event", "status", "state"),
    [
        ("A01", "in-progress", None),
        ("A02", "in-progress", None),
        ("A03", "finished", "treated"),
        ("A04", "arrived", "registered"),
        ("A05", "planned", None),
        ("A06", "in-progress", None),
        ("A07", "in-progress", None),
        ("A08", None, None),
        ("A11", "cancelled", None),
        ("A12", None, None),
        ("A13", "in-progress", None),
        ("A14", "planned", None),
        ("A15", None, None),
        ("A16", None, None),
        ("A21", "onleave", None),
        ("A22", "in-progress", None),
        ("A23", "entered-in-error", None),
        ("A25", None, None),
        ("A26", None, None),
        ("A27", "cancelled", None),
        ("A38", "cancelled", None),
        ("A52", "in-progress", None),
        ("A53", "onleave", None),
    ],
)
def test_the_event_says_how_the_visit_stands(event: str, status: str | None, state: str | None) -> None:
    visit = one(facts(f"ADT^{event}", PID, PV1), "Encounter")
    assert (visit.values.get("status"), visit.values.get("state")) == (status, state)
    assert visit.key == Key("HOSP", "V1")
    assert visit.patient == Key("HOSP", "00012345")


def test_a08_with_a_discharge_time_ends_the_visit() -> None:
    visit = one(facts("ADT^A08", PID, PV1 + "|20261122100000"), "Encounter")
    assert visit.values["status"] == "finished"
    assert visit.values["period"] == {"start": "2026-11-22T09:00:00+09:00", "end": "2026-11-22T10:00:00+09:00"}


def test_a_registration_field_by_field() -> None:
    mapped = MAPS.map(message("ADT^A04", PID, PV1), CONTEXT)
    patient, visit, doctor = (one(mapped.facts, kind) for kind in ("Patient", "Encounter", "Practitioner"))
    assert patient.values["identifier"] == [{"assigner": "HOSP", "value": "00012345"}]
    assert patient.values["name"] == [
        {"text": "홍길동", "family": "홍", "given": ["길동"], "use": "official", "representation": "IDE"},
        {"text": "GILDONG HONG", "family": "HONG", "given": ["GILDONG"], "use": "official", "representation": "ABC"},
    ]
    assert (patient.values["birthDate"], patient.values["gender"]) == ("1980-01-31", "male")
    assert patient.values["telecom"] == [
        {"system": "phone", "value": "+821012345678", "raw": "010-1234-5678", "use": "mobile"},
        {"system": "phone", "value": "+8221234567", "raw": "02-123-4567", "use": "work"},
    ]
    assert patient.values["address"][0]["line"] == ["테헤란로 1", "101호"]
    assert patient.paths["telecom"] == "PID-13, PID-14"
    assert set(patient.paths) == set(patient.values)
    assert set(visit.paths) == set(visit.values)
    assert visit.values["class"] == "AMB"
    assert visit.values["location"] == "IM R1 1"
    assert visit.values["priorLocation"] == "W2 201 2"
    assert visit.values["insuranceType"] == "NHI"
    assert visit.values["period"] == {"start": "2026-11-22T09:00:00+09:00"}
    assert visit.values["participant"] == [
        {"identifier": {"assigner": "HOSP", "value": "D001"}, "name": "김의사", "role": "attending"}
    ]
    assert doctor.key == Key("HOSP", "D001")
    assert doctor.paths == {"identifier": "PV1-7", "name": "PV1-7"}
    assert mapped.event_at == 1_795_305_600_000_000
    assert mapped.warnings == []


def test_lists_of_relations_and_insurances_are_snapshots() -> None:
    found = facts(
        "ADT^A08",
        PID,
        "NK1|1|김^영희|SPO|서울|010-2222-3333^PRN^CP||C",
        "NK1|2|홍길순|누나",
        PV1,
        "GT1|1||홍^판서",
        "IN1|1|NHI^건강보험|NHIS|국민건강보험공단||||||||20260101|20261231|||홍^길동|본인",
    )
    lists = {fact.group: fact for fact in found if isinstance(fact, Snapshot)}
    assert set(lists) == {"nk1", "gt1", "in1"}
    wife, sister = lists["nk1"].items
    assert wife["relationship"]["code"] == "SPO"
    assert wife["role"] == "emergency_contact"
    assert (sister["relationship"]["code"], sister["role"], sister["name"][0]["family"]) == ("SIS", "next_of_kin", "홍")
    assert lists["gt1"].items[0]["role"] == "guarantor"
    assert lists["in1"].items[0]["period"] == {"start": "2026-01-01", "end": "2026-12-31"}
    assert lists["in1"].items[0]["payor"]["name"] == "국민건강보험공단"
    assert lists["in1"].items[0]["relationship"] == "SEL"
    insurer = one(found, "Organization")
    assert (insurer.key, insurer.values["name"]) == (Key("HOSP", "NHIS"), "국민건강보험공단")
    assert lists["nk1"].patient == Key("HOSP", "00012345")
    assert not [fact for fact in facts("ADT^A08", PID, PV1) if isinstance(fact, Snapshot)]


def test_two_quotes_delete_and_absence_says_nothing() -> None:
    patient = one(facts("ADT^A08", 'PID|1||1||""||""|""|||||""', PV1), "Patient")
    assert patient.values == {
        "identifier": [{"assigner": "HOSP", "value": "1"}],
        "name": None,
        "birthDate": None,
        "gender": None,
        "telecom": None,
    }


def test_a_registration_number_gives_birth_and_sex_and_is_dropped() -> None:
    number = "800131-2******"
    patient = one(facts("ADT^A08", f"PID|1||1||A||||||||||||||{number}"), "Patient")
    assert (patient.values["birthDate"], patient.values["gender"]) == ("1980-01-31", "female")
    planted = f"PID|1|{RRN}|1~{RRN}^^^X^NNKOR|{RRN}|A {RRN}|||M|{RRN}||{RRN}^{RRN}||{RRN}|||||{RRN}^^^B|{RRN}"
    found = MAPS.map(message("ADT^A08", planted, f"NK1|1|{RRN}|{RRN}||{RRN}", PV1.replace("D001", RRN)), CONTEXT)
    assert "1234567" not in repr(found)
    assert one(found.facts, "Patient").key == Key("HOSP", "1")


def test_an_unreadable_field_is_left_out_with_a_warning_without_its_value() -> None:
    mapped = MAPS.map(message("ADT^A08", "PID|1||1||A||19801399|Q"), CONTEXT)
    values = one(mapped.facts, "Patient").values
    assert "birthDate" not in values
    assert "gender" not in values
    assert mapped.warnings == ["PID-7: not a date", "PID-8: unknown code in administrative-sex"]


@pytest.mark.parametrize(
    ("event", "segments", "where"),
    [
        ("ADT^A08", ("PID|1||||A",), "PID-3"),
        ("ADT^A08", (f"PID|1||{RRN}||A",), "PID-3"),
        ("ADT^A08", (), "PID"),
        ("ADT^A40", (PID,), "MRG-1"),
        ("ADT^A41", (PID, "MRG|1"), "PID-18"),
        ("SIU^S12", ("SCH|P1|F1",), "PID-3"),
        ("SIU^S12", ("SCH|", PID), "SCH-2"),
        ("ADT^A20", (PID,), "MSH-9"),
    ],
)
def test_without_its_number_a_message_is_unmappable_and_the_reason_names_the_field(
    event: str, segments: tuple[str, ...], where: str
) -> None:
    with pytest.raises(Unmappable) as caught:
        facts(event, *segments)
    assert caught.value.where == where
    assert "801301" not in str(caught.value)


def test_two_pairs_in_one_a40_are_two_merges_in_order() -> None:
    found = facts("ADT^A40", "PID|1||A1||X", "MRG|B1", "PID|2||A2||Y", "MRG|B2^^^OTHER")
    assert [type(fact).__name__ for fact in found] == ["Fact", "Merge", "Fact", "Merge"]
    assert found[1] == Merge("patient", Key("HOSP", "A1"), Key("HOSP", "B1"), "MRG-1")
    assert found[3] == Merge("patient", Key("HOSP", "A2"), Key("OTHER", "B2"), "MRG-1")


def test_msh_9_wins_over_evn_1() -> None:
    body = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A34|1|P|2.3\rEVN|A40|20260101000000\rPID|||1\rMRG|2"
    mapped = MAPS.map(parse(body), CONTEXT)
    assert mapped.event == "ADT^A34"
    assert [fact for fact in mapped.facts if isinstance(fact, Merge)]


@pytest.mark.parametrize("event", ["A18", "A30", "A34", "A36", "A39", "A40"])
def test_patient_merges(event: str) -> None:
    merges = [fact for fact in facts(f"ADT^{event}", "PID|1||A1||X", "MRG|B1^^^HOSP") if isinstance(fact, Merge)]
    assert merges == [Merge("patient", Key("HOSP", "A1"), Key("HOSP", "B1"), merges[0].path)]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("A35", Merge("account", Key("HOSP", "ACC1"), Key("HOSP", "ACC2"), "MRG-3")),
        ("A41", Merge("account", Key("HOSP", "ACC1"), Key("HOSP", "ACC2"), "MRG-3")),
        ("A42", Merge("visit", Key("HOSP", "V1"), Key("HOSP", "V2"), "MRG-5")),
        ("A43", Move("patient", Key("HOSP", "A1"), Key("HOSP", "B1"))),
        ("A44", Move("account", Key("HOSP", "A1"), Key("HOSP", "B1"), Key("HOSP", "ACC1"))),
        ("A45", Move("visit", Key("HOSP", "A1"), Key("HOSP", "B1"), Key("HOSP", "V1"))),
        ("A46", ChangeIdentifier("patient", Key("HOSP", "EXT1"), Key("HOSP", "B1"))),
        ("A47", ChangeIdentifier("patient", Key("HOSP", "A1"), Key("HOSP", "B1"))),
        ("A48", ChangeIdentifier("patient", Key("HOSP", "ALT1"), Key("HOSP", "ALT2"))),
        ("A49", ChangeIdentifier("account", Key("HOSP", "ACC1"), Key("HOSP", "ACC2"))),
        ("A50", ChangeIdentifier("visit", Key("HOSP", "V1"), Key("HOSP", "V2"))),
        ("A51", ChangeIdentifier("visit", Key("HOSP", "W1"), Key("HOSP", "W2"))),
    ],
)
def test_accounts_visits_moves_and_changes_of_number(event: str, expected: AnyFact) -> None:
    pid = "PID|1|EXT1|A1|ALT1|X|||||||||||||ACC1"
    pv1 = "PV1|1|I" + "|" * 17 + "V1" + "|" * 31 + "W1"
    found = facts(f"ADT^{event}", pid, "MRG|B1|ALT2|ACC2||V2|W2", pv1)
    assert [fact for fact in found if not isinstance(fact, Fact)] == [expected]


def test_a45_moves_each_visit_that_it_lists() -> None:
    found = facts(
        "ADT^A45", "PID|1||A1||X", "MRG|B1||||V1", "PV1|1|I" + "|" * 17 + "V1", "MRG|B2||||V2", "PV1|1|I" + "|" * 17 + "V2"
    )
    assert [fact for fact in found if isinstance(fact, Move)] == [
        Move("visit", Key("HOSP", "A1"), Key("HOSP", "B1"), Key("HOSP", "V1")),
        Move("visit", Key("HOSP", "A1"), Key("HOSP", "B2"), Key("HOSP", "V2")),
    ]


def test_a17_is_two_patients_with_their_own_beds() -> None:
    found = facts("ADT^A17", "PID|1||A1", "PV1|1|I|W1^1^1" + "|" * 16 + "V1", "PID|2||A2", "PV1|1|I|W1^1^2" + "|" * 16 + "V2")
    visits = [(f.patient, f.key.value, f.values["location"]) for f in found if isinstance(f, Fact) and f.kind == "Encounter"]
    assert visits == [(Key("HOSP", "A1"), "V1", "W1 1 1"), (Key("HOSP", "A2"), "V2", "W1 1 2")]


@pytest.mark.parametrize(("event", "linked"), [("A24", True), ("A37", False)])
def test_link_and_unlink(event: str, linked: bool) -> None:
    found = facts(f"ADT^{event}", "PID|1||A1||X", "PV1|1|O", "PID|2||A2||Y")
    assert found[-1] == Link(Key("HOSP", "A1"), Key("HOSP", "A2"), linked)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("fields", "deceased"), [("|20261122|Y", True), ("|20261122", True), ("||N", False), ("||", None), ('|""|N', False)]
)
def test_death(fields: str, deceased: bool | None) -> None:
    values = one(facts("ADT^A08", "PID|1||1" + "|" * 25 + fields), "Patient").values
    assert values.get("deceased") is deceased


def test_a29_makes_the_person_inactive() -> None:
    assert one(facts("ADT^A29", PID), "Patient").values["active"] is False


def test_a_visit_without_a_number_is_known_by_patient_and_admission() -> None:
    visit = one(facts("ADT^A01", PID, PV1.replace("|V1|", "||")), "Encounter")
    assert visit.key == Key("HOSP", "00012345/20261122090000")
    mapped = MAPS.map(message("ADT^A01", PID, "PV1|1|I"), CONTEXT)
    assert not [fact for fact in mapped.facts if isinstance(fact, Fact) and fact.kind == "Encounter"]
    assert mapped.warnings == ["PV1-19: no number, so no Encounter"]
    assert MAPS.map(message("ADT^A31", PID, "PV1|1|N"), CONTEXT).warnings == []


def test_numbers_of_other_numberings_never_meet_the_channels_own() -> None:
    patient = one(facts("ADT^A08", "PID|1|77|1^^^HOSP~2^^^LAB|88^^^CARD|X"), "Patient")
    assert patient.key == Key("HOSP", "1")
    assert patient.other_keys == (Key("LAB", "2"), Key("HOSP:other", "77"), Key("CARD", "88"))
    assert one(facts("ADT^A08", "PID|1|77||ALT|X"), "Patient").key == Key("HOSP", "77")


SCH = "SCH|P1^OCS|F1|||||R^재진|NORMAL|30|min|^^30^20261201100000^20261201103000||||||||||||||{status}"


def test_a_booking() -> None:
    mapped = MAPS.map(
        message(
            "SIU^S12",
            SCH.format(status="Pending"),
            PID,
            "PV1|1|O||||||||IM",
            "RGS|1",
            "AIS|1||US^초음파|20261201100000|||30|min",
            "AIL|1||IM^R1^1",
            "AIP|1||D001^김^의사",
        ),
        CONTEXT,
    )
    booking = one(mapped.facts, "Appointment")
    assert booking.key == Key("HOSP", "F1")
    assert booking.other_keys == (Key("OCS", "P1"),)
    assert booking.patient == Key("HOSP", "00012345")
    assert booking.values == {
        "identifier": [{"assigner": "OCS", "value": "P1", "type": "PLAC"}, {"assigner": "HOSP", "value": "F1", "type": "FILL"}],
        "status": "pending",
        "start": "2026-12-01T10:00:00+09:00",
        "end": "2026-12-01T10:30:00+09:00",
        "minutes": 30,
        "reason": {"code": "R", "display": "재진"},
        "type": {"code": "US", "display": "초음파"},
        "location": "IM R1 1",
        "department": "IM",
        "participant": [{"identifier": {"assigner": "HOSP", "value": "D001"}, "name": "김의사", "role": "performer"}],
    }
    assert not [fact for fact in mapped.facts if isinstance(fact, Fact) and fact.kind == "Encounter"]


@pytest.mark.parametrize(
    ("event", "said", "status"),
    [
        ("S12", "", "booked"),
        ("S12", "Pending", "pending"),
        ("S13", "", "booked"),
        ("S14", "", None),
        ("S14", "Complete", "fulfilled"),
        ("S15", "Booked", "cancelled"),
        ("S16", "", "cancelled"),
        ("S17", "", "entered-in-error"),
        ("S26", "Booked", "noshow"),
        ("S12", "no such", "booked"),
    ],
)
def test_status_of_a_booking(event: str, said: str, status: str | None) -> None:
    assert one(facts(f"SIU^{event}", SCH.format(status=said), PID), "Appointment").values.get("status") == status


def test_a_placers_number_never_meets_a_fillers() -> None:
    assert one(facts("SIU^S12", "SCH|1|2", PID), "Appointment").other_keys == (Key("HOSP:placer", "1"),)
    assert one(facts("SIU^S12", "SCH|1", PID), "Appointment").key == Key("HOSP:placer", "1")


def test_slots_are_closed_and_opened_again_without_a_patient() -> None:
    said = ("SCH|1|2|||||||30|MIN|^^^20261201100000", "RGS|1", "AIL|1||^3^^H", "AIP|1||D001^김^의사")
    closed, opened = (one(facts(f"SIU^{event}", *said), "Slot") for event in ("S23", "S24"))
    assert closed.patient is None
    assert closed.key == opened.key == Key("HOSP", "2")
    assert (closed.values["status"], opened.values["status"]) == ("busy-unavailable", "free")
    assert closed.values["end"] == "2026-12-01T10:30:00+09:00"
    assert closed.values["participant"][0]["identifier"]["value"] == "D001"


@pytest.mark.parametrize(
    ("segments", "start", "end", "minutes"),
    [
        ("SCH|1|2|||||||60|s|^^^20261201100000^20261201103000", "2026-12-01T10:00:00+09:00", "2026-12-01T10:30:00+09:00", 1),
        ("SCH|1|2|||||||20|MIN|^^^20261201100000", "2026-12-01T10:00:00+09:00", "2026-12-01T10:20:00+09:00", 20),
        ("SCH|1|2\rTQ1|||||||20261201110000|20261201113000", "2026-12-01T11:00:00+09:00", "2026-12-01T11:30:00+09:00", None),
        ("SCH|1|2\rRGS|1\rAIS|1||A|20261201120000|||45|min", "2026-12-01T12:00:00+09:00", "2026-12-01T12:45:00+09:00", 45),
        ("SCH|1|2\rRGS|1\rAIP|1||D|||20261201130000|||1|h", "2026-12-01T13:00:00+09:00", "2026-12-01T14:00:00+09:00", 60),
    ],
)
def test_when_a_booking_is(segments: str, start: str, end: str, minutes: int | None) -> None:
    head, *rest = segments.split("\r")
    values = one(facts("SIU^S12", head, PID, *rest), "Appointment").values
    assert (values.get("start"), values.get("end"), values.get("minutes")) == (start, end, minutes)


def test_the_time_of_an_event_is_evn_2_else_msh_7_else_the_arrival() -> None:
    def at(evn: str, msh: str) -> int:
        body = f"MSH|^~\\&|A|B|C|D|{msh}||ADT^A08|1|P|2.3\rEVN|A08|{evn}\rPID|||1".encode()
        return MAPS.map(parse(body), CONTEXT).event_at

    nine = 1_795_305_600_000_000
    assert at("20261122090000", "20250101000000") == nine
    assert at("", "20261122090000") == nine
    assert at("20261122000000+0000", "") == nine
    assert at("20261122", "202611220900") == nine
    assert at("nonsense", "") == 1_000_000


def test_explain_shows_every_rule_field_by_field() -> None:
    rows = MAPS.explain(message("ADT^A04", PID, PV1), CONTEXT)
    assert {"path", "present", "to", "result", "function", "fact"} <= set(rows[0])
    birth = next(row for row in rows if row["path"] == "PID-7" and row["fact"] == "Patient")
    assert (birth["present"], birth["to"], birth["result"], birth["function"]) == (True, "birthDate", "1980-01-31", "date")
    assert any(row["path"] == "PID-29" and not row["present"] for row in rows)
    status = next(row for row in rows if row["to"] == "status" and row["function"] == "event")
    assert status["result"] == "arrived"


def test_what_is_remembered_of_one_message_never_reaches_into_another() -> None:
    first, second, third = (MAPS.map(message("ADT^A04", PID, PV1), CONTEXT).facts for _ in range(3))
    one(second, "Patient").values["name"][0]["given"].append("changed")
    one(second, "Encounter").values["participant"][0]["identifier"]["value"] = "changed"
    assert first == third == MAPS.map(message("ADT^A04", PID, PV1), CONTEXT).facts


def test_what_is_remembered_hangs_on_the_channel_and_the_delimiters() -> None:
    def number(assigner: str, pid: str, marks: str = "^~\\&") -> Key:
        body = f"MSH|{marks}|A|B|C|D|20260101||ADT{marks[0]}A08|1|P|2.5\r{pid}\rPV1|1|I|||||D9{marks[0]}Kim".encode()
        fact = one(MAPS.map(parse(body), Context(assigner, "ocs")).facts, "Practitioner")
        identifiers = fact.values["identifier"]
        assert identifiers == [{"assigner": assigner, "value": fact.key.value}]
        return fact.key

    for _ in range(3):
        assert number("H1", "PID|||1").assigner == "H1"
        assert number("H2", "PID|||1").assigner == "H2"
        assert number("H1", "PID|||1", "#~\\&").value == "D9"


def test_other_delimiters_and_escapes_are_read_as_declared() -> None:
    body = b"MSH#*!%$#A#B#C#D#20260101##ADT*A08#1#P#2.5\rPID###7***H$1$ISO##Kim%T%Lee*Gil%S%dong"
    patient = one(MAPS.map(parse(body), CONTEXT).facts, "Patient")
    assert patient.key == Key("H", "7")
    assert patient.values["name"][0]["family"] == "Kim$Lee"
    assert patient.values["name"][0]["given"] == ["Gil*dong"]


def test_a_masked_registration_number_is_nobodys_number() -> None:
    """Many share one: as a key it would make one patient of them."""
    patient = one(facts("ADT^A04", PID.replace("00012345", "00012345^^^HOSP^MR~800131-2******^^^HOSP^NI"), PV1), "Patient")
    assert [key.value for key in (patient.key, *patient.other_keys)] == ["00012345"]
