"""What is remembered of a patient's part changes nothing but the time it takes: with and without it the store is the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hub.domain.errors import TryAgain
from hub.sync.apply import Ready
from hub.sync.repeats import Repeats
from tests.hub_kit import Kit, adt, hl7, make_kit, pid, pv1

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
KIN = "NK1|1|김^영희|SPO"
UNREADABLE = "NK1|1|김^영희|Q9|||||||||||||20260199"  # an unknown code and no day: warned of, each time
INSURED = "IN1|1|4|NHIS|국민건강보험공단"


class Forgetful(Repeats):
    """Knows nothing, so that everything is mapped and loaded."""

    def told(self, digest: bytes) -> None:  # type: ignore[override]
        return None


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}")
    yield made
    made.close()


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The messages whose patient part was mapped."""
    found: list[int] = []
    unpack = Ready.unpack

    def noted(self: Ready) -> None:
        found.append(self.work.message_id)
        unpack(self)

    monkeypatch.setattr(Ready, "unpack", noted)
    return found


def visit(number: str, of_visit: str, at: str, *more: str, **of_pid: str) -> bytes:
    return adt("A04", number, KIN, INSURED, *more, pv1(of_visit), at=f"202611220{at}00", **of_pid)


def heard(kit: Kit, kind: str, key: str, system: str = "ocs") -> int:
    with kit.hub.store.snapshot() as tx:
        [row] = tx.heard([(kind, system, key)])
    return int(row[5])


def test_the_same_part_is_mapped_once(kit: Kit, unpacked: list[int]) -> None:
    kit.tell(visit("1", "V1", "900"), visit("1", "V2", "901"), visit("1", "V3", "902"))
    assert len(unpacked) == 1
    assert len(kit.owned("1", "Encounter")) == 3
    before = heard(kit, "Patient", "HOSP|1")
    assert before == heard(kit, "RelatedPerson", "HOSP|1#nk1") == heard(kit, "Coverage", "HOSP|1#in1")
    kit.tell(visit("1", "V4", "903"))
    assert heard(kit, "Coverage", "HOSP|1#in1") == before + 60_000_000
    assert kit.rows("SELECT COUNT(*) FROM change WHERE kind IN ('Patient', 'RelatedPerson', 'Coverage')") == [(3,)]


def test_an_older_message_that_says_the_same_was_not_heard_last(kit: Kit, unpacked: list[int]) -> None:
    kit.tell(visit("1", "V1", "900"), visit("1", "V2", "905"))
    before = heard(kit, "Patient", "HOSP|1")
    kit.tell(visit("1", "V3", "903"))
    assert heard(kit, "Patient", "HOSP|1") == before
    kit.receive(visit("1", "V4", "907"), visit("1", "V5", "906"))
    kit.apply()
    assert heard(kit, "Coverage", "HOSP|1#in1") == before + 120_000_000
    assert len(unpacked) == 4


def test_what_was_said_in_between_is_taken_back(kit: Kit) -> None:
    """The same batch, and one after the other: A, B, A."""
    parts = [visit("1", f"V{n}", f"90{n}", phone=phone) for n, phone in enumerate(("010-1111-2222", "010-3333-4444") * 2)]
    kit.tell(parts[0])
    kit.receive(*parts[1:3])
    kit.apply()
    assert kit.patient("1")["telecom"][0]["value"] == "+821011112222"
    kit.tell(parts[3])
    assert kit.patient("1")["telecom"][0]["value"] == "+821033334444"


def test_two_parts_of_one_patient_by_turns(kit: Kit, unpacked: list[int]) -> None:
    """A booking system that sends no NK1 and an admission that does: both are known again."""
    kit.tell(visit("1", "V1", "900"), adt("A31", "1", at="20261122090100"))
    del unpacked[:]
    kit.tell(visit("1", "V2", "902"), adt("A31", "1", at="20261122090300"), visit("1", "V3", "904"))
    assert unpacked == []
    assert heard(kit, "RelatedPerson", "HOSP|1#nk1") < heard(kit, "Patient", "HOSP|1") + 1
    assert len(kit.owned("1", "RelatedPerson")) == 1


def test_another_process_has_said_something_else_meanwhile(kit: Kit, unpacked: list[int]) -> None:
    here, there = kit.applier, kit.hub.applier()
    kit.tell(visit("1", "V1", "900", phone="010-1111-2222"))
    kit.applier = there
    kit.tell(visit("1", "V2", "901", phone="010-3333-4444"))
    kit.applier = here
    kit.tell(visit("1", "V3", "902", phone="010-1111-2222"))
    assert len(unpacked) == 3
    assert kit.patient("1")["telecom"][0]["value"] == "+821011112222"


def test_another_process_has_replaced_a_list_meanwhile(kit: Kit) -> None:
    """A list that is replaced leaves the patient's version as it was: its source record tells."""
    here, there = kit.applier, kit.hub.applier()
    for minute, (applier, kin) in enumerate([(here, "김^영희"), (there, "박^철수"), (here, "김^영희")]):
        kit.applier = applier
        kit.tell(adt("A04", "1", f"NK1|1|{kin}|SPO", pv1(f"V{minute}"), at=f"2026112209{minute:02}00"))
        [person] = kit.owned("1", "RelatedPerson")
        assert person["name"][0]["text"] == kin.replace("^", "")


def test_a_transaction_that_did_not_stand_is_not_remembered(
    kit: Kit, unpacked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks() -> None:
        raise TryAgain("the disk is gone")

    kit.receive(visit("1", "V1", "900"), visit("1", "V2", "901"))
    with monkeypatch.context() as broken:
        broken.setattr(kit.hub.store._hot(), "commit", breaks)
        with pytest.raises(TryAgain):
            kit.apply()
    kit.apply()
    assert len(unpacked) == 4
    assert len(kit.owned("1", "Encounter")) == 2


def test_what_could_not_be_read_is_said_each_time(kit: Kit, unpacked: list[int]) -> None:
    for minute in range(3):
        kit.tell(adt("A04", "1", UNREADABLE, pv1(f"V{minute}"), at=f"2026112209{minute:02}00"))
    assert len(unpacked) == 1
    notes = [orjson.loads(r[0])["notes"] for r in kit.rows("SELECT detail FROM entry WHERE action = 'message.applied'")]
    assert len(notes) == 3
    assert notes[0] == notes[1] == notes[2]
    assert len(notes[0]) == 2
    said = [r[0] for r in kit.rows("SELECT reason FROM outcome WHERE reason <> ''")]
    assert said == ["not read: " + "; ".join(notes[0])] * 3  # beside the state, where hub show, the list and the page have it


def test_what_the_front_office_changes_shows(kit: Kit, unpacked: list[int]) -> None:
    kit.tell(visit("1", "V1", "900"), visit("1", "V2", "901"))
    office, id_ = kit.hub.front_office, kit.patient_id("1")
    values = {"telecom": [{"system": "phone", "use": "mobile", "value": "+821099998888"}]}
    office.change_patient(id_, values, expected=1, actor="token:desk")
    kit.tell(visit("1", "V3", "902"), visit("1", "V4", "903"))
    assert len(unpacked) == 2, "once when it is new, once after the version changed"
    assert kit.patient("1")["telecom"][0]["value"] == "+821099998888"


@pytest.mark.parametrize("undo", [False, True])
def test_after_a_merge_visits_go_to_the_survivor(kit: Kit, undo: bool) -> None:
    kit.tell(visit("1", "V1", "900"), visit("2", "V2", "900", name="홍^길순"))
    kit.tell(hl7("ADT^A40", pid("2", name="홍^길순"), "MRG|1^^^HOSP^MR", at="20261122090100"))
    kit.tell(visit("1", "V3", "902"), visit("1", "V4", "903"))
    assert kit.patient_id("1") == kit.patient_id("2")
    assert len(kit.owned("2", "Encounter")) == 4
    if undo:
        kit.tell(hl7("ADT^A37", pid("2", name="홍^길순"), pid("1"), at="20261122090500"))
        kit.tell(visit("1", "V5", "906"), visit("2", "V6", "906", name="홍^길순"))
        assert (len(kit.owned("1", "Encounter")), len(kit.owned("2", "Encounter"))) == (4, 2)


def test_a_number_that_is_changed_twice(kit: Kit) -> None:
    """The second time the patient's document stays as it is, though his old number's record does not."""
    change = lambda at: hl7("ADT^A47", pid("9"), "MRG|1^^^HOSP^MR", at=at)  # noqa: E731
    kit.tell(visit("1", "V1", "900"), change("20261122090100"), visit("1", "V2", "902"), visit("1", "V3", "903"))
    kit.tell(change("20261122090400"), visit("1", "V4", "905"), visit("1", "V5", "906"))
    [(data,)] = kit.rows("SELECT data FROM source_record WHERE kind = 'Patient' AND key = 'HOSP|1'")
    assert [i["value"] for i in orjson.loads(data)["identifier"]] == ["1"]


# -- the same with and without ------------------------------------------------------------------------------------

NUMBERS = st.sampled_from("12")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("visit"), NUMBERS, st.sampled_from(["", "", "", "010-1111-2222"]), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("visit"), NUMBERS, st.just(""), st.just(0), st.just(True)),
        st.tuples(st.just("person"), NUMBERS, st.sampled_from(["", "2"]), st.integers(0, 9)),
        st.tuples(st.just("other"), NUMBERS, st.sampled_from(["", "010-5555-6666"])),
        st.tuples(st.sampled_from(["A40", "A37", "A24", "A47"]), NUMBERS),
        st.tuples(st.just("desk"), NUMBERS),
        st.tuples(st.just("apply"), st.sampled_from([1, 2, 50]), st.integers(0, 1)),
    ),
    min_size=6,
    max_size=24,
)


def messages(steps: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The steps with their messages made; a time that lies back makes a late one."""
    for minute, step in enumerate(steps):
        at = lambda back: f"2026112210{max(0, minute - back):02d}00"  # noqa: B023, E731
        match step:
            case ("visit", number, phone, back, kin):
                lists = [KIN if number == "1" else UNREADABLE, INSURED] if kin else [INSURED]
                yield "in", "ocs-in", adt("A04", number, *lists, pv1(f"V{minute}"), at=at(0 if back > 2 else back), phone=phone)
            case ("person", number, other, back):
                body = pid(number) if not other else pid(f"{number}^^^HOSP^MR~{other}77")  # a second number of his
                yield "in", "ocs-in", hl7("ADT^A31", body, KIN, at=at(0 if back > 2 else back))
            case ("other", number, phone):
                yield "in", "emr-in", adt("A31", number, at=at(0), phone=phone, name="홍^길동")
            case ("desk" | "apply" as act, *more):
                yield act, *more
            case (event, number):
                second = pid("12".replace(number, "")) if event in ("A24", "A37") else f"MRG|{'12'.replace(number, '')}^^^HOSP^MR"
                yield "in", "ocs-in", hl7(f"ADT^{event}", pid(number), second, at=at(0))


def play(script: list[tuple[Any, ...]], forgetful: bool) -> list[Any]:
    """The store after the script, without what differs from run to run."""
    with TemporaryDirectory() as folder:
        kit = make_kit(Path(folder), f"sqlite:///{folder}/hub.db")
        appliers = [kit.applier, kit.hub.applier()]
        for applier in appliers:
            applier.repeats = Forgetful() if forgetful else applier.repeats
        for act, *more in [*script, ("apply", 50, 0), ("apply", 50, 0)]:
            if act == "in":
                kit.receive(more[1], channel=more[0])
            elif act == "apply":
                appliers[more[1]]._batch = more[0]
                while appliers[more[1]].step(kit.leases["in"]):
                    pass
            else:
                write(kit, more[0])
        found = look(kit)
        kit.close()
        return found


def write(kit: Kit, number: str) -> None:
    found = kit.rows(
        "SELECT r.id, r.version FROM identifier i JOIN resource r ON r.id = i.resource_id"
        " WHERE i.kind = 'Patient' AND i.value = ?",
        number,
    )
    for id_, version in found:
        kit.hub.front_office.change_patient(id_, {"note": f"note {version}"}, expected=version, actor="token:desk")


def look(kit: Kit) -> list[Any]:
    tables = [
        kit.rows("SELECT type, kind, resource_id, patient_id, version, fields, data, message_id FROM change ORDER BY id"),
        kit.rows("SELECT kind, assigner, value, resource_id, home_id FROM identifier ORDER BY kind, assigner, value"),
        kit.rows("SELECT message_id, state, outcome, reason FROM outcome ORDER BY message_id"),
        kit.rows("SELECT message_id, state FROM work WHERE direction = 'in' ORDER BY message_id"),
        kit.rows("SELECT action, message_id, detail FROM entry WHERE action <> 'message.stored' ORDER BY id"),
        kit.rows("SELECT id, kind, version, status, data, patient_id FROM resource ORDER BY kind, version, data"),
        kit.rows(
            "SELECT s.kind, s.system, s.key, s.resource_id, s.patient_key, s.data, s.message_id, s.channel,"
            " CASE s.system WHEN 'crm' THEN 0 ELSE MAX(s.event_at, COALESCE(h.event_at, 0)) END"
            " FROM source_record s LEFT JOIN source_heard h"
            " ON h.kind = s.kind AND h.system = s.system AND h.key = s.key ORDER BY s.kind, s.system, s.key"
        ),
    ]
    names: dict[str, str] = {}
    text = orjson.dumps(tables).decode()
    text = UUID.sub(lambda m: names.setdefault(m[0], f"#{len(names)}"), text)
    tables = orjson.loads(text)
    for unordered in (1, 5, 6):  # ids made in one millisecond have no order
        tables[unordered].sort(key=str)
    return tables


@settings(
    max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
@given(steps=STEPS)
def test_remembering_changes_nothing(steps: list[tuple[Any, ...]]) -> None:
    script = list(messages(steps))
    for one, other in zip(play(script, forgetful=False), play(script, forgetful=True), strict=True):
        assert one == other
