"""Nothing of a patient where it has no business ("Done when" 8): 100 planted canaries, looked for byte by byte afterwards.

34 names, 33 phones and 33 resident registration numbers go through a whole hub, in every place a message has for them and
through everything that goes wrong: refused, dead and repeated messages, peers whose errors quote what they were sent,
searches and writes of the front office. Afterwards

    registration numbers   nowhere in clear: database (rows, and the files' bytes), logs, Redis, URLs, other files, the CRM
    names and phones       not in logs, Redis, URLs (the database must hold them; ERP's $filter has patient numbers)
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.codecs.hl7v2.writer import Fields, Repetition
from hub.simulator.demo.house import House
from hub.simulator.demo.scenes import now, stamp
from hub.simulator.demo.story import Story
from hub.simulator.demo.verdict import Verdict
from hub.simulator.faults import Fault
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.http_peer import HttpPeer, Request
from hub.simulator.journeys import Segments
from hub.transport.mllp_client import MllpClient
from tests import servers

pytestmark = pytest.mark.slow
SYLLABLES = "똠쀍뷁펲쉙뽫괆뙗쭒흁"  # not to be met by chance
NAMES = [f"{SYLLABLES[n // 10]}{SYLLABLES[n % 10]}칸나리아" for n in range(34)]
PHONES = [f"7{n:02d}31{n:02d}9" for n in range(33)]  # the eight digits after 010
NUMBERS = [f"{n + 40:02d}13{n % 28 + 1:02d}-{n % 4 + 1}{n:02d}4271" for n in range(33)]  # month 13: nobody's
assert len({*NAMES, *PHONES, *NUMBERS}) == 100


def forms(text: str) -> Iterator[bytes]:
    """How `text` could stand in a file: UTF-8, UTF-16, cp949, JSON escapes, hexadecimal."""
    for encoding in ("utf-8", "utf-16-le", "cp949"):
        raw = text.encode(encoding)
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
    yield text.encode("unicode_escape")


def phone_forms(digits: str) -> list[str]:
    return [f"010{digits}", f"+8210{digits}", f"{digits[:4]}-{digits[4:]}", digits]


def leaks(texts: list[str], data: bytes) -> list[str]:
    """Which of the canaries stand in `data`."""
    return [text for text in texts if any(form in data for form in forms(text))]


ALL_NUMBERS = [form for one in NUMBERS for form in (one, one.replace("-", ""), one.replace("-", " "))]
EVERYTHING = [*ALL_NUMBERS, *NAMES, *(form for one in PHONES for form in phone_forms(one))]


def message(n: int) -> tuple[str, Segments]:
    """The n-th patient's registration or booking, its canaries in every place that the message has."""
    name, phone, number = NAMES[n], PHONES[n % 33], NUMBERS[n % 33]
    bare = number.replace("-", "")
    ids: list[Repetition] = [(f"7700{n:04d}", "", "", "HOSP", "MR"), (number if n % 2 else bare, "", "", "MOI", "NI")]
    if n % 5 == 0:
        ids.append((bare, "", "", "NHIS", "SS"))
    if n % 7 == 0:
        ids.reverse()  # the registration number first: it is no key and no lane all the same
    pid: Fields = {
        1: "1", 2: bare if n % 6 == 0 else "", 3: ids, 4: (number,) if n % 4 == 0 else "", 5: [(name[:1], name[1:])],
        7: "19800101", 8: "F", 11: [(f"비밀로 {n} ({number})", "", "서울특별시")], 13: [("", "PRN", "CP", "", "82", "10", phone)],
        19: number if n % 2 else bare, 20: bare if n % 3 == 0 else "",
    }  # fmt: skip
    kin: Fields = {
        1: "1", 2: (name[:1], name[1:]), 3: "SPO", 5: [(f"010-{phone[:4]}-{phone[4:]}", "PRN", "CP")],
        33: (bare, "", "", "MOI", "NI"), 37: number,
    }  # fmt: skip
    insurance: Fields = {1: "1", 2: "4", 3: "NHIS", 16: (name[:1], name[1:]), 36: number, 49: (bare, "", "", "MOI", "NI")}
    guarantor: Fields = {1: "1", 2: number, 3: (name[:1], name[1:]), 6: (f"010{phone}",), 12: bare}
    note: Fields = {1: "1", 3: f"{name} {number} {bare}, 전화 010-{phone[:4]}-{phone[4:]}"}
    z: Segments = [("ZPI", {1: number, 2: bare, 3: name, 4: phone}), ("ZZZ", {1: f"{name}/{number}"})]
    if n % 3 == 2:
        at = now()
        sch: Fields = {
            1: (f"P{n}", "OCS"),
            2: (f"A{n}", "HOSP"),
            6: ("", f"상담 {number}"),
            7: ("", f"{bare}"),
            11: ("", "", "", stamp(at)),
        }
        return "SIU^S12", [("SCH", sch), ("NTE", note), ("PID", pid), ("RGS", {1: "1"}), *z]
    visit: Fields = {1: "1", 2: "O", 3: ("OPD", "101"), 19: f"V{n}", 44: stamp(now())}
    reason: Fields = {3: ("", f"{name} {number}")}
    head: Segments = [
        ("EVN", {1: "A04", 2: stamp(now())}),
        ("PID", pid),
        ("NTE", note),
        ("NK1", kin),
        ("PV1", visit),
        ("PV2", reason),
    ]
    return "ADT^A04", [*head, ("GT1", guarantor), ("IN1", insurance), *z]


def plant(house: House) -> list[str]:
    """All canaries through the hub, by every way; the URLs that the peers were asked for."""
    urls = [recorded(peer) for peer in (house.crm, house.emr, house.erp)]
    story = Story(house, Verdict(), lambda _: None, patients=0, seed=0)
    desk = house.desks["UNICODE UTF-8"]
    house.erp.misbehave(Fault.REFUSE, times=2)  # both quote what they were sent
    house.emr.misbehave(Fault.REFUSE, times=2)
    house.ocs.misbehave(Fault.REFUSE, times=1)
    for n in range(34):
        house.desks["KS X 1001" if n % 2 else "UNICODE UTF-8"].put(message(n))
    gone_wrong(house, desk)
    assert desk.join(60)
    assert house.desks["KS X 1001"].join(60)
    assert story.settled(90), story.verdict.failed
    front_office(house)
    assert story.settled(60), story.verdict.failed
    ask_everything(house)
    return [url for seen in urls for url in seen]


def gone_wrong(house: House, desk: Hl7Sender) -> None:
    """Refused at intake, dead, a control id used twice, an event without a map."""
    event, segments = message(3)
    broken = desk.compose(event, segments, "BROKEN").replace("칸나리아".encode(), b"\xb4\xb7")
    client = MllpClient("127.0.0.1", house.mllp_port, connect_seconds=5, answer_seconds=20)
    for control_id, body in (
        ("BROKEN", broken),
        ("TWICE", desk.compose(event, segments, "TWICE")),
        ("TWICE", desk.compose(*message(4), "TWICE")),
        ("UNMAPPED", desk.compose("ORU^R01", segments, "UNMAPPED")),
    ):
        client.send(body, control_id)
    client.close()
    without_number = [(name, {**fields, 3: [(NUMBERS[5], "", "", "MOI", "NI")], 2: "", 4: ""} if name == "PID" else fields)
                      for name, fields in segments]  # fmt: skip
    desk.put((event, without_number))


def front_office(house: House) -> None:
    """Searches, a changed phone, a booking with a note, a prospect; and what the API turns down."""
    crm = house.front_end
    found = [crm.post("/api/v1/patients/search", {"name": name}).data["items"] for name in NAMES[:5]]
    patient = next(one[0] for one in found if one)
    crm.post("/api/v1/patients/search", {"phone": f"010{PHONES[0]}"})
    read = crm.versioned(f"/api/v1/patients/{patient['id']}")
    body = {"telecom": [{"system": "phone", "value": f"010-{PHONES[32][:4]}-{PHONES[32][4:]}", "use": "mobile"}]}
    crm.patch(f"/api/v1/patients/{patient['id']}", body, if_match=read.etag)
    crm.post(f"/api/v1/patients/{patient['id']}/appointments", {"start": now().isoformat(), "comment": NAMES[7]}, expect=201)
    crm.post("/api/v1/patients", {"name": [{"text": NAMES[33]}]}, expect=201)
    for field in ("note", "language"):
        crm.post("/api/v1/patients", {"name": [{"text": NAMES[33]}], field: f"{NAMES[1]} {NUMBERS[1]}"}, expect=422)


def ask_everything(house: House) -> None:
    """Every list and story that the hub shows is asked for, so that nothing on the way writes it into a log."""
    for kind in ("Patient", "Appointment", "Encounter", "RelatedPerson", "Coverage"):
        list(house.front_end.items("/api/v1/snapshot", kind=kind))
    list(house.front_end.changes())
    for one in house.operator.post("/api/v1/messages/search", {"limit": 30}).data["items"]:
        house.operator.get(f"/api/v1/messages/{one['id']}")
    house.operator.post("/api/v1/messages/search", {"patient": "77000001"})
    for command in (["status"], ["messages", "--state", "dead"], ["audit", "export", "log.jsonl"]):
        done = house.command(*command)
        assert done.returncode == 0, done.stderr.decode()


def recorded(peer: HttpPeer) -> list[str]:
    """The targets of all requests that `peer` gets from now on."""
    seen: list[str] = []
    read = peer.read

    def reading(stream: Any) -> Request | None:
        request = read(stream)
        if request is not None:
            seen.append(request.target)
        return request

    peer.read = reading  # type: ignore[method-assign]
    return seen


def check_outside(house: House, urls: list[str]) -> None:
    """Logs, URLs, what the CRM got, and every file that is neither database nor key."""
    log = house.log.read_bytes()
    assert len(log) > 100
    assert leaks(EVERYTHING, log) == [], "in the log"
    assert len(urls) > 100
    assert leaks(EVERYTHING, "\n".join(urls).encode()) == [], "in URLs"
    told = repr([event.data for event in house.crm.received]).encode()
    assert len(leaks(NAMES, told)) > 30, "the CRM is told names: the canaries did fly"
    assert leaks(ALL_NUMBERS, told) == [], "in webhooks"
    for path in house.folder.rglob("*"):
        if path.is_file() and not path.name.startswith("hub.db") and path.parent.name != "secrets":
            assert leaks(EVERYTHING, path.read_bytes()) == [], path.name


def check_dump(dump: bytes) -> None:
    assert len(leaks(NAMES, dump)) > 30, "the database holds patients: the dump is one"
    assert leaks(ALL_NUMBERS, dump) == [], "registration numbers in the database"


def test_sqlite(tmp_path: Path) -> None:
    import sqlite3

    with House(tmp_path / "house") as house:
        urls = plant(house)
        live = b"".join(path.read_bytes() for path in house.folder.glob("hub.db*"))
        assert leaks(ALL_NUMBERS, live) == [], "registration numbers in the database's files while it runs"
        house.stop_hub()
        check_outside(house, urls)
        database = sqlite3.connect(house.folder / "hub.db")
        check_dump("\n".join(database.iterdump()).encode())
        database.close()
        assert leaks(ALL_NUMBERS, (house.folder / "hub.db").read_bytes()) == []


@pytest.mark.postgres
@pytest.mark.redis
def test_postgresql_with_celery_and_redis(tmp_path: Path, postgres_url: str, redis: servers.Redis) -> None:
    redis.flush()
    with Monitor(redis.port) as traffic, House(tmp_path / "house", database=postgres_url, broker=redis.url) as house:
        urls = plant(house)
        house.stop_hub()
        check_outside(house, urls)
        check_dump(dumped(postgres_url))
    assert len(traffic.seen) > 1000, "Redis was used"
    assert leaks(EVERYTHING, bytes(traffic.seen)) == [], "in Redis traffic"
    kept = b"".join(path.read_bytes() for path in redis.folder.rglob("*") if path.is_file())
    assert leaks(EVERYTHING, kept) == [], "in what Redis keeps"


def dumped(url: str) -> bytes:
    """Every row of every table, as PostgreSQL writes it."""
    import psycopg

    found = bytearray()
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            with connection.cursor().copy(f'COPY "{table}" TO STDOUT') as copy:  # type: ignore[arg-type]
                for row in copy:
                    found += row
    return bytes(found)


class Monitor:
    """Everything that Redis is told (MONITOR), while the block runs."""

    def __init__(self, port: int) -> None:
        self.seen = bytearray()
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Monitor:
        self._socket.sendall(b"MONITOR\r\n")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.2)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _read(self) -> None:
        self._socket.settimeout(None)
        while data := self._socket.recv(65536):
            self.seen += data


@pytest.mark.parametrize("text", [NUMBERS[0], NAMES[0]])
def test_a_leak_would_be_found(text: str) -> None:
    make: list[Callable[[str], bytes]] = [str.encode, lambda t: t.encode().hex().encode(), lambda t: t.encode("cp949")]
    for form in make:
        assert leaks([text], b"before " + form(text) + b" after") == [text]
