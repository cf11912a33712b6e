"""Look-ups without a socket or database: who is found, how the answer looks, what is recorded before it goes out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.adapters.ocs.hl7_query import Desk, Settings
from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import Misconfigured, TryAgain
from hub.domain.facts import Key
from hub.domain.ports import Person, Traits
from hub.domain.search import terms

QPD22 = "QPD|Q22^Find Candidates^HL7|T1|{asked}|||||{domains}"
QPD23 = "QPD|IHE PIX Query|T2|{number}|{domains}"


def patient(number: int, name: str, birth: str = "1980-01-31", **more: Any) -> Person:
    identifier = [{"assigner": "HOSP", "value": f"{number:08}", "type": "MR"}, {"assigner": "HOSP:other", "value": f"x{number}"}]
    document = {
        "identifier": identifier + more.pop("identifier", []), "birthDate": birth, "gender": "male",
        "name": [{"text": name, "family": name[0], "given": [name[1:]], "representation": "SYL"}],
        "telecom": [{"system": "phone", "value": "+821012345678", "use": "mobile"}],
        "address": [{"text": "테헤란로 1, 서울", "line": ["테헤란로 1"], "city": "서울", "postalCode": "06236"}],
    }  # fmt: skip
    return Person(f"p{number:04}", {**document, **more})


class FakeLookup:
    """Patients in memory, found as the database finds them: by what their terms begin with."""

    def __init__(self, *people: Person) -> None:
        self.people = people
        self.records: list[tuple[Any, ...]] = []
        self.down = False
        self.calls = 0

    def search(self, traits: Traits, *, after: str, limit: int) -> list[Person]:
        self.calls += 1
        if self.down:
            raise TryAgain("the database cannot be asked now")
        return [one for one in self.people if one.id > after and self._fits(one, traits)][:limit]

    def _fits(self, one: Person, traits: Traits) -> bool:
        number = traits.identifier.rpartition("|")[2]
        numbers = [i["value"] for i in one.data["identifier"]]
        found = [value for kind, value in terms(one.data) if kind == "name"]
        return (
            (not number or number in numbers)
            and (not traits.name or any(name.startswith(traits.name) for name in found))
            and str(one.data["birthDate"]).startswith(traits.birth_date)
            and (not traits.account or traits.account == f"A{numbers[0]}")
        )

    def bearer(self, number: Key) -> Person | None:
        known = ((one, Key(i["assigner"], i["value"])) for one in self.people for i in one.data["identifier"])
        return next((one for one, key in known if key == number), None)

    def gives_numbers(self, assigner: str) -> bool:
        return any(i["assigner"] == assigner for one in self.people for i in one.data["identifier"])

    def told(self, channel: str, asker: str, address: str, what: str, by: Sequence[str], ids: Sequence[str]) -> None:
        if self.down:
            raise TryAgain("the database cannot be asked now")
        self.records.append((channel, asker, address, what, list(by), list(ids)))

    def denied(self, channel: str, asker: str, address: str) -> None:
        self.records.append((channel, asker, address, "denied"))


PEOPLE = (
    patient(1, "홍길동", identifier=[{"assigner": "EMR", "value": "E-1"}, {"assigner": "EMR", "value": "E-0", "use": "old"}]),
    patient(2, "홍길순", "1990-05-05", gender="female"), patient(3, "남궁민수"), patient(4, "뷁"),
    patient(5, "홍길동", "2001-01-01"),
)  # fmt: skip


def body(event: str, *segments: str, sender: str = "CRM|FRONT", charset: str = "UNICODE UTF-8") -> bytes:
    kind = "QCN" if event == "J01" else "QBP"
    head = f"MSH|^~\\&|{sender}|HUB|HOSP|20261122090000||{kind}^{event}^QBP_Q21|C1|P|2.5||||||{charset}"
    return "\r".join([head, *segments]).encode()


def ask(lookup: FakeLookup, sent: bytes, **more: Any) -> Message:
    made = {"port": 0, "askers": ("CRM", "PACS|HOSP"), **more}
    answer = parse(Desk(Settings(**made), "look-up", lookup).answer(sent, "10.0.0.7"))
    assert answer.segments[1].value(2) in ("C1", None)
    return answer


def find(lookup: FakeLookup, *asked: str, domains: str = "", rest: Sequence[str] = ("RCP|I",), **more: Any) -> Message:
    return ask(lookup, body("Q22", QPD22.format(asked="~".join(asked), domains=domains), *rest), **more)


def cross(lookup: FakeLookup, number: str, domains: str = "", **more: Any) -> Message:
    return ask(lookup, body("Q23", QPD23.format(number=number, domains=domains), "RCP|I"), **more)


def said(answer: Message) -> tuple[str, str]:
    """MSA-1 and QAK-2."""
    qak = answer.first("QAK")
    return answer.segments[1].value(1) or "", (qak.value(2) or "") if qak else ""


def numbers(answer: Message) -> list[str]:
    return [pid.raw(3).split("^")[0] for pid in answer.all("PID")]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["@PID.3.1^00000001"], [1]), (["@PID.3.1^00000001", "@PID.3.4.1^HOSP"], [1]), (["@PID.3.1^E-1", "@PID.3.4^EMR"], [1]),
        (["@PID.3.1^00000001", "@PID.3.4^EMR"], []), (["@PID.5.1^홍", "@PID.5.2^길동"], [1, 5]), (["@PID.5.1^홍길동"], [1, 5]),
        (["@PID.5.1^홍*"], [1, 2, 5]), (["@PID.5.2^길*"], [1, 2, 5]), (["@PID.5.1^홍", "@PID.8^F"], [2]), (["@PID.5.1^뷁"], [4]),
        (["@PID.5.1^남궁민수"], [3]), (["@PID.5.1^홍", "@PID.5.2^길동", "@PID.7^20010101"], [5]), (["@PID.7.1^1990"], [2]),
        (["@PID.5.1^홍", "@PID.8^X"], []), (["@PID.5.1^홍길동", "@PID.11.3^부산"], []),
        (["@PID.5.1^홍길동", "@PID.11.5^06236"], [1, 5]),
        (["@PID.18.1^A00000003"], [3]), (["@PID.5.1^없는이"], []), (["@PID.3.1^x1"], []),
    ],
)  # fmt: skip
def test_who_is_found(asked: list[str], found: list[int]) -> None:
    lookup = FakeLookup(*PEOPLE)
    answer = find(lookup, *asked)
    assert numbers(answer) == [f"{number:08}" for number in found]
    assert said(answer) == ("AA", "OK" if found else "NF")
    [(channel, asker, address, what, by, ids)] = lookup.records
    assert (channel, asker, address, what) == ("look-up", "CRM", "10.0.0.7", "hl7.pdq")
    assert ids == [f"p{number:04}" for number in found]
    assert all(path.startswith("PID.") for path in by)


def test_an_answer_gives_the_query_back_and_tells_who_he_is() -> None:
    answer = find(FakeLookup(*PEOPLE), "@PID.5.1^홍", "@PID.5.2^길동", "@PID.7^19800131")
    assert [segment.name for segment in answer.segments] == ["MSH", "MSA", "QAK", "QPD", "PID"]
    msh, _, qak, qpd, pid = answer.segments
    assert (msh.raw(3), msh.raw(5), msh.raw(9), msh.raw(18)) == ("HUB", "CRM", "RSP^K22^RSP_K21", "UNICODE UTF-8")
    assert qpd.fields[1:4] == ["Q22^Find Candidates^HL7", "T1", "@PID.5.1^홍~@PID.5.2^길동~@PID.7^19800131"]
    assert [qak.raw(n) for n in range(1, 7)] == ["T1", "OK", "Q22^Find Candidates^HL7", "1", "1", "0"]
    assert (pid.raw(3), pid.raw(5), pid.raw(7), pid.raw(8)) == (
        "00000001^^^HOSP^MR~E-1^^^EMR",
        "홍^길동^^^^^L^P",
        "19800131",
        "M",
    )
    assert "010-1234-5678" in pid.raw(13)


def test_only_the_numbers_of_the_domains_that_were_asked_for() -> None:
    answer = find(FakeLookup(*PEOPLE), "@PID.5.1^홍*", domains="^^^EMR")
    assert [pid.raw(3) for pid in answer.all("PID")] == ["E-1^^^EMR"]  # whoever has none there is not told of


def test_a_long_answer_comes_in_pages_by_its_pointer() -> None:
    lookup = FakeLookup(*(patient(number, "홍길동") for number in range(1, 8)))
    found, pointer, rest = [], "", ("RCP|I|3^RD",)
    for _ in range(3):
        answer = find(lookup, "@PID.5.1^홍", rest=(*rest, *([f"DSC|{pointer}|I"] if pointer else [])))
        found += numbers(answer)
        dsc = answer.first("DSC")
        pointer = (dsc.value(1) or "") if dsc else ""
    assert (len(found), len(set(found)), pointer) == (7, 7, "")
    assert sum(len(record[5]) for record in lookup.records) == 7  # each page is a disclosure of its own
    first = find(lookup, "@PID.5.1^홍", rest=rest).first("DSC")
    assert first is not None
    other = find(lookup, "@PID.5.1^홍길동", rest=(*rest, f"DSC|{first.value(1)}|I"))
    assert (said(other), other.segments[2].raw(2)) == (("AE", "AE"), "DSC^1^1")


def test_an_answer_is_bounded_whatever_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.adapters.ocs.hl7_lookup.FIRST", 4)
    monkeypatch.setattr("hub.adapters.ocs.hl7_lookup.BLOCK", 6)
    monkeypatch.setattr("hub.adapters.ocs.hl7_lookup.MOST_LOOKED_AT", 10)
    lookup = FakeLookup(*(patient(number, "홍길동") for number in range(1, 31)))
    assert len(numbers(find(lookup, "@PID.5.1^홍", rest=("RCP|I|1000^RD",), most=8))) == 8
    lookup.calls = 0
    nobody = find(lookup, "@PID.5.1^홍", "@PID.8^F", rest=("RCP|I",))
    assert (numbers(nobody), said(nobody)) == ([], ("AA", "OK"))  # not "no data found": more may follow
    assert nobody.first("DSC") is not None
    assert lookup.calls == 2


@pytest.mark.parametrize(
    ("asked", "domains", "places"),
    [
        (["@PID.99.1^1"], "", ["QPD^1^3^1^1"]), (["@PID.5.1^홍", "@NK1.2^뷁"], "", ["QPD^1^3^2^1"]),
        (["@PID.3.1^1", "@PID.3.4^NOWHERE"], "", ["QPD^1^3^2^2"]), (["@PID.8^M"], "", ["QPD^1^3"]),
        (["@PID.5.1^홍"], "^^^HOSP~^^^NOWHERE~^^^&9.9&ISO", ["QPD^1^8^2", "QPD^1^8^3"]),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said_with_its_place_and_nobody_is_told_of(
    asked: list[str], domains: str, places: list[str]
) -> None:
    lookup = FakeLookup(*PEOPLE)
    answer = find(lookup, *asked, domains=domains)
    assert said(answer) == ("AE", "AE")
    assert [err.raw(2) for err in answer.all("ERR")] == places
    assert all(err.value(3) in ("204", "101") for err in answer.all("ERR"))
    assert answer.all("PID") == []


@pytest.mark.parametrize(
    ("number", "domains", "status", "place", "others"),
    [
        ("00000001^^^HOSP", "", ("AA", "OK"), "", ["E-1"]), ("E-1^^^EMR", "^^^HOSP", ("AA", "OK"), "", ["00000001"]),
        ("00000002^^^HOSP", "^^^EMR", ("AA", "NF"), "", []), ("00000002^^^HOSP", "", ("AA", "NF"), "", []),
        ("77777777^^^HOSP", "", ("AE", "AE"), "QPD^1^3^1^1", []), ("1^^^NOWHERE", "", ("AE", "AE"), "QPD^1^3^1^4", []),
        ("00000001^^^HOSP", "^^^EMR~^^^NOWHERE", ("AE", "AE"), "QPD^1^4^2", []), ("^^^HOSP", "", ("AE", "AE"), "QPD^1^3^1^1", []),
    ],
)  # fmt: skip
def test_the_cases_of_pix(number: str, domains: str, status: tuple[str, str], place: str, others: list[str]) -> None:
    lookup = FakeLookup(*PEOPLE)
    answer = cross(lookup, number, domains)
    assert (said(answer), numbers(answer)) == (status, others)
    assert [err.raw(2) for err in answer.all("ERR")] == ([place] if place else [])
    assert answer.segments[0].raw(9) == "RSP^K23^RSP_K23"
    assert [pid.raw(5) for pid in answer.all("PID")] == ["~^^^^^^S"] * bool(others)
    assert lookup.records[0][3:] == ("hl7.pix", ["PID.3"] if status[0] == "AA" else [], ["p0001"] if others else [])


@pytest.mark.parametrize(
    ("number", "domains", "status", "told"),
    [
        ("E-1^^^EMR", "", ("AA", "OK"), "00000001^^^HOSP^MR~E-1^^^EMR"),
        ("E-1^^^EMR", "^^^HOSP", ("AA", "OK"), "00000001^^^HOSP^MR"),
        ("7^^^HOSP", "", ("AA", "NF"), ""), ("00000002^^^HOSP", "^^^EMR", ("AA", "NF"), ""),
        ("7^^^NOWHERE", "", ("AE", "AE"), ""),
    ],
)  # fmt: skip
def test_who_bears_a_number(number: str, domains: str, status: tuple[str, str], told: str) -> None:
    lookup = FakeLookup(*PEOPLE)
    answer = ask(lookup, body("Q21", f"QPD|Q21^Get Person Demographics^HL7|T3|{number}|{domains}", "RCP|I"))
    assert (said(answer), answer.segments[0].raw(9)) == (status, "RSP^K21^RSP_K21")
    assert [pid.raw(3) for pid in answer.all("PID")] == [told] * bool(told)
    assert lookup.records[0][3:] == ("hl7.person", ["PID.3"] if status[0] == "AA" else [], ["p0001"] if told else [])


def test_domains_are_told_as_the_channel_calls_them_and_others_not_at_all() -> None:
    sent = body("Q22", QPD22.format(asked="@PID.3.1^00000001~@PID.3.4.2^1.2.410.1", domains=""), "RCP|I")
    answer = ask(FakeLookup(*PEOPLE), sent, domains={"HOSP": "HOSP&1.2.410.1&ISO"})
    assert [pid.raw(3) for pid in answer.all("PID")] == ["00000001^^^HOSP&1.2.410.1&ISO^MR"]


def test_numbers_of_other_domains_are_not_even_searched() -> None:
    sent = body("Q22", QPD22.format(asked="@PID.3.1^E-1", domains=""), "RCP|I")
    assert said(ask(FakeLookup(*PEOPLE), sent, domains={"HOSP": "HOSP"})) == ("AA", "NF")
    sent = body("Q23", QPD23.format(number="E-1^^^EMR", domains=""), "RCP|I")
    assert said(ask(FakeLookup(*PEOPLE), sent, domains={"HOSP": "HOSP"})) == ("AE", "AE")


def test_who_may_not_ask_learns_nothing_and_is_written_down_once_a_minute() -> None:
    lookup = FakeLookup(*PEOPLE)
    desk = Desk(Settings(port=0, askers=("PACS|HOSP",)), "look-up", lookup)
    sent = body("Q22", QPD22.format(asked="@PID.5.1^홍", domains=""), "RCP|I", sender="PACS|ELSEWHERE")
    for _ in range(3):
        answer = parse(desk.answer(sent, "10.0.0.9"))
        assert (answer.segments[1].value(1), answer.all("PID"), answer.all("QPD")) == ("AR", [], [])
        err = answer.all("ERR")[0]
        assert (err.raw(2), err.value(3)) == ("MSH^1^3", "103")  # not 207, which says that the same question may be asked again
    assert lookup.records == [("look-up", "unknown", "10.0.0.9", "denied")]


@pytest.mark.parametrize(("zone", "offset"), [("Asia/Seoul", "+0900"), ("Etc/UTC", "+0000")])
def test_the_answers_own_time_is_of_the_channels_zone(zone: str, offset: str) -> None:
    for sender in ("CRM|HOSP", "NOBODY|HOSP"):
        sent = body("Q22", QPD22.format(asked="@PID.5.1^홍", domains=""), "RCP|I", sender=sender)
        desk = Desk(Settings(port=0, askers=("CRM",), timezone=zone), "look-up", FakeLookup(*PEOPLE))
        at = parse(desk.answer(sent, "10.0.0.9")).segments[0].raw(7)
        assert at.endswith(offset)
        assert abs(datetime.strptime(at, "%Y%m%d%H%M%S%z").timestamp() - time.time()) < 60


def test_no_answer_without_its_access_record() -> None:
    lookup = FakeLookup(*PEOPLE)
    desk = Desk(Settings(port=0, askers=("CRM",)), "look-up", lookup)
    lookup.search = lambda traits, *, after, limit: list(PEOPLE)  # type: ignore[method-assign]
    lookup.down = True
    answer = parse(desk.answer(body("Q22", QPD22.format(asked="@PID.5.1^홍", domains=""), "RCP|I"), "10.0.0.7"))
    assert (answer.segments[1].value(1), answer.all("PID")) == ("AR", [])


def test_what_the_askers_charset_cannot_hold_does_not_go_out() -> None:
    lookup = FakeLookup(*PEOPLE)
    sent = body("Q22", QPD22.format(asked="@PID.3.1^00000001", domains=""), "RCP|I", charset="8859/1")
    answer = ask(lookup, sent)
    assert (answer.segments[1].value(1), answer.all("PID"), lookup.records) == ("AE", [], [])
    assert answer.segments[1].value(3) == "the charset of MSH-18 cannot hold PID-5 of the answer"  # and no letter of it
    korean = body("Q22", QPD22.format(asked="@PID.5.1^뷁", domains=""), "RCP|I", charset="KS X 1001").decode().encode("cp949")
    assert b"\x94\xee" in Desk(Settings(port=0, askers=("CRM",)), "look-up", lookup).answer(korean, "10.0.0.7")  # 뷁 in cp949


@pytest.mark.parametrize(
    ("sent", "code", "place"),
    [
        (b"hello", "AE", "MSH^1"), (body("Q22"), "AE", "QPD^1"), (body("Q22", "QPD|Q22"), "AE", "QPD^1^2"),
        (body("Q99", "QPD|x|y"), "AR", "MSH^1^9"), (body("Q22", "QPD|x|y").replace(b"|C1|", b"||"), "AR", "MSH^1^10"),
    ],
)  # fmt: skip
def test_what_is_no_query_is_answered_all_the_same(sent: bytes, code: str, place: str) -> None:
    answer = ask(FakeLookup(), sent)
    assert (answer.segments[1].value(1), answer.all("ERR")[0].raw(2)) == (code, place)


def test_a_continuation_may_be_cancelled() -> None:
    answer = ask(FakeLookup(), body("J01", "QID|T1|Q22^Find Candidates^HL7"))
    assert [segment.name for segment in answer.segments] == ["MSH", "MSA"]
    assert (answer.segments[0].raw(9), answer.segments[1].value(1)) == ("ACK^J01^ACK", "AA")


def test_who_may_ask_must_be_said() -> None:
    with pytest.raises(Misconfigured, match="askers"):
        Settings(port=0)


WORDS = st.sampled_from(
    ["|", "^", "~", "&", "\\", "\r", "\n", "@PID.5.1^", "@PID.3.4^", "*", "홍", "뷁", "DSC|1.2|I", "RCP|I|3", "QPD|", '""']
)


@settings(max_examples=80, deadline=None)
@given(
    event=st.sampled_from(["Q21", "Q22", "Q23", "J01", "Q99"]),
    parts=st.lists(st.one_of(WORDS, st.text(max_size=6)), max_size=12),
    spoilt=st.binary(max_size=8),
    at=st.integers(0, 200),
)
def test_whatever_is_asked_gets_one_answer_that_can_be_read(event: str, parts: list[str], spoilt: bytes, at: int) -> None:
    sent = body(event, "QPD|Q22^Find|T|" + "".join(parts)).replace(b"\x0b", b"").replace(b"\x1c", b"")
    lookup = FakeLookup(*PEOPLE)
    for one in (sent, sent[:at] + spoilt + sent[at:]):
        answer = parse(Desk(Settings(port=0, askers=("CRM",)), "look-up", lookup).answer(one, "10.0.0.7"))
        assert [segment.name for segment in answer.segments[:2]] == ["MSH", "MSA"]
        assert answer.segments[1].value(1) in ("AA", "AE", "AR")
        told = len(answer.all("PID"))
        assert told == 0 or len(lookup.records[-1][5]) == told
