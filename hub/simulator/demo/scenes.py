"""The scenes of the demo beside the everyday journeys, as data: who, which message, and what is meant to come of it.

Numbers begin with 8, so that they meet none of hub/simulator/journeys.py. Nobody in here exists.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hub.codecs.hl7v2.writer import Fields, Repetition
from hub.simulator.journeys import SEOUL, Person, Segments, Step

DOCTOR = ("D001", "이", "서준")
CLINIC = ("IM", "OPD^101")


def person(number: str, family: str, given: str, *, born: str = "19800229", sex: str = "M", phone: str = "11112222") -> Person:
    """Somebody with a number of the OCS."""
    return Person(number, family, given, born, sex, phone, "세종대로 110", DOCTOR, CLINIC)


HONG = person("80000001", "홍", "길동")  # whom the front office looks for
KANG = person("80000002", "강", "감찬", born="19751231", phone="33334444")  # told of late
NAMGUNG = person("80000003", "남궁", "민수", born="19900510")  # two numbers
NAMGUNG_AGAIN = person("80000013", "남궁", "민수", born="19900510")
HWANGBO = person("80000004", "황보", "인", born="19681101", sex="F")  # two numbers, in the same A40
HWANGBO_AGAIN = person("80000014", "황보", "인", born="19681101", sex="F")
POISONED = person("80000005", "펲시", "콜라", born="20010101", sex="F")  # whose booking has its number in an odd place
DOUBLED = person("80000006", "선우", "뷁", born="19550807")  # whose message is sent twice
NEIGHBOURS = [person(f"8000010{n}", "임", f"꺽정{'일이삼사오육'[n]}", born=f"196{n}0601") for n in range(6)]
LATECOMERS = [
    person(f"8000020{n}", "안", f"중근{'일이삼사오육'[n]}", born=f"197{n}0902") for n in range(6)
]  # while the ERP is down
TRAVELLERS = [  # who go through all four systems
    person(f"8000030{n}", family, given, born=f"198{n}0315", sex="FM"[n % 2], phone=f"4444555{n}")
    for n, (family, given) in enumerate(
        (("홍", "길순"), ("펲시", "콜라"), ("똠방", "각하"), ("남궁", "민지"), ("서", "뷁"), ("洪", "吉洞"))
    )
]
SITE_MAP = """# This OCS's booking desk puts its number into a segment of its own.
source = "hl7v2"

[block.appointment]
key = [{ path = "SCH-2", as = "ei_key" }, { path = "SCH-1", as = "placer_key" }, { path = "ZAP-1", as = "ei_key" }]
"""
BROKEN = (  # says UTF-8 and is not
    b"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000+0900||ADT^A08|BROKEN-1|P|2.5||||||UNICODE UTF-8\r"
    b"PID|1||80000007^^^HOSP^MR||\xc8\xab\xff^\xb1\xe6\r"
)


def visit(who: Person, event: str = "ADT^A04", kind: str = "O", *, number: str = "1", at: datetime | None = None) -> Step:
    """A visit's message. `at`: EVN-2, now where it is left out."""
    when = at or now()
    who.visit = f"V{who.number}-{number}"
    segments: Segments = [("EVN", {1: event[4:], 2: stamp(when)}), ("PID", who.pid()), ("PV1", who.pv1(kind, when))]
    return Step(event, segments, who.number, "a visit")


def details(who: Person, *, phone: str, at: datetime | None = None) -> Step:
    """ADT^A08 of a person's details with this phone."""
    pid = dict(who.pid())
    pid[13] = [("", "PRN", "CP", "", "82", "10", phone)]
    segments: Segments = [("EVN", {1: "A08", 2: stamp(at or now())}), ("PID", pid), ("PV1", {1: "1", 2: "N"})]
    return Step("ADT^A08", segments, who.number, "details told again")


def late() -> Step:
    """What KANG's details were a month ago, arriving today: an older phone that must not win."""
    return details(KANG, phone="99990000", at=now() - timedelta(days=30))


def two_merges() -> Step:
    """One A40 with two PID/MRG pairs: two merges."""
    segments: Segments = [("EVN", {1: "A40", 2: stamp(now())})]
    for survivor, prior in ((NAMGUNG, NAMGUNG_AGAIN), (HWANGBO, HWANGBO_AGAIN)):
        number: list[Repetition] = [(prior.number, "", "", "HOSP", "MR")]
        mrg: Fields = {1: number}
        segments += [("PID", survivor.pid()), ("MRG", mrg)]
    return Step("ADT^A40", segments, NAMGUNG.number, "two pairs are two merges")


def unnumbered_booking() -> Step:
    """A booking whose number stands where no map looks for it (ZAP-1): dead, until hospital IT says so in a map."""
    begin = now() + timedelta(days=5)
    sch: Fields = {
        6: ("", "정기 검진"),
        11: ("", "", "", stamp(begin), stamp(begin + timedelta(minutes=30))),
        16: DOCTOR,
        25: "Booked",
    }
    segments: Segments = [("SCH", sch), ("PID", POISONED.pid()), ("RGS", {1: "1"}), ("ZAP", {1: ("Z-1", "HOSP")})]
    return Step("SIU^S12", segments, POISONED.number, "a booking with its number in a Z segment")


def unmapped() -> Step:
    """A bed's state: an event without a map."""
    segments: Segments = [("EVN", {1: "A20", 2: stamp(now())}), ("NPU", {1: ("W5", "501", "1"), 2: "C"})]
    return Step("ADT^A20", segments, "", "an event without a map: ignored")


def now() -> datetime:
    """Seoul's time."""
    return datetime.now(SEOUL)


def stamp(at: datetime) -> str:
    """As HL7 writes it."""
    return at.strftime("%Y%m%d%H%M%S%z")
