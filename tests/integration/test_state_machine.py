"""Whatever happens in whatever order, the promises hold: intake, apply, deliver, crash, merge and people in between."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused, Stale
from hub.domain.lifecycle import IllegalStep
from hub.domain.ports import Receipt, Verdict
from tests.hub_kit import adt, hl7, pid, pv1
from tests.hub_machine import World

NUMBERS = st.sampled_from(["1", "2", "3", "4"])
VISITS = st.sampled_from(["V1", "V2", "V3"])
PHONES = st.sampled_from(["", "010-1111-2222", "010-3333-4444", "010-5555-6666"])
CHANNELS = st.sampled_from(["ocs-in", "ocs-in", "emr-in"])
KIN = st.sampled_from(["", "NK1|1|김^영희|SPO", "NK1|1|박^철수|FTH", "NK1|1|김^영희|SPO\rNK1|2|박^철수|FTH"])
ERRORS: list[Callable[[], HubError | None]] = [
    lambda: None,
    lambda: NotDelivered("503", retry_after=1),
    lambda: NotDelivered("connection refused", reached=False),
    lambda: OutcomeUnknown("no answer came"),
    lambda: Refused("422"),
    lambda: Misconfigured("401"),
]
FAILURES = st.lists(st.sampled_from(ERRORS), max_size=6)
KILL_AT = st.integers(1, 25)
PERSON = {"reason": "looked into it", "actor": "token:test"}


class HubMachine(RuleBasedStateMachine):
    """The world of tests/hub_machine.py, moved by chance."""

    make_url: Callable[[Path], str] = staticmethod(lambda folder: f"sqlite:///{folder / 'hub.db'}")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        self.world = World(folder, type(self).make_url(folder))
        self.minute = 0

    # -- messages come --------------------------------------------------------------------------------------------

    def at(self, back: int = 0) -> str:
        """The next minute of the hospital's clock, or one that has been."""
        self.minute += 1
        minute = max(0, self.minute - back)
        return f"202611{1 + minute // 1440:02}{minute // 60 % 24:02}{minute % 60:02}00"

    def store(self, body: bytes, channel: str = "ocs-in") -> Receipt:
        [receipt] = self.world.kit.receive(body, channel=channel)
        assert receipt.verdict is Verdict.STORED
        assert receipt.message_id
        if receipt.duplicate_of is None:
            assert receipt.message_id not in self.world.stored
            self.world.stored[receipt.message_id] = body
        return receipt

    @rule(number=NUMBERS, visit=VISITS, phone=PHONES, channel=CHANNELS, kin=KIN)
    def told_of_a_visit(self, number: str, visit: str, phone: str, channel: str, kin: str) -> None:
        segments = [*kin.split("\r"), pv1(visit)] if kin else [pv1(visit)]
        self.store(adt("A04", number, *segments, at=self.at(), phone=phone), channel)

    @rule(number=st.sampled_from(["1", "2"]), visits=st.lists(VISITS, min_size=1, max_size=4), back=st.integers(0, 1))
    def told_of_visits_of_one_who_stays_as_he_is(self, number: str, visits: list[str], back: int) -> None:
        """What nearly every message is: the patient's part as it was, and a visit."""
        for visit in visits:
            self.store(adt("A04", number, "NK1|1|김^영희|SPO", pv1(visit), at=self.at(back)))

    @rule(number=NUMBERS, phone=PHONES, back=st.integers(0, 5), channel=CHANNELS)
    def told_of_a_person(self, number: str, phone: str, back: int, channel: str) -> None:
        self.store(adt("A31", number, at=self.at(back), phone=phone, name=f"홍^길{number}"), channel)

    @precondition(lambda self: self.world.stored)
    @rule(data=st.data())
    def told_the_same_again(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(sorted(self.world.stored)))
        channel = self.world.kit.rows("SELECT channel FROM message WHERE id = ?", message_id)[0][0]
        assert self.store(self.world.stored[message_id], channel).duplicate_of == message_id

    @rule(survivor=NUMBERS, prior=NUMBERS, event=st.sampled_from(["A40", "A24", "A37"]))
    def told_who_is_one(self, survivor: str, prior: str, event: str) -> None:
        if survivor == prior:
            return
        second = f"MRG|{prior}^^^HOSP^MR" if event == "A40" else pid(prior, name=f"홍^길{prior}")
        self.store(hl7(f"ADT^{event}", pid(survivor, name=f"홍^길{survivor}"), second, at=self.at()))

    @rule(to=NUMBERS, from_=NUMBERS, visit=VISITS)
    def told_whose_visit_it_is(self, to: str, from_: str, visit: str) -> None:
        if to != from_:
            merge = f"MRG|{from_}^^^HOSP^MR||||{visit}^^^HOSP"
            self.store(hl7("ADT^A45", pid(to, name=f"홍^길{to}"), merge, pv1(visit), at=self.at()))

    @rule(number=NUMBERS)
    def poisoned(self, number: str) -> None:
        self.store(adt("A08", number, at=self.at()).replace("홍".encode(), b"\xff"))

    # -- the hub works --------------------------------------------------------------------------------------------

    @rule(batch=st.integers(1, 6))
    def apply(self, batch: int) -> None:
        self.world.apply(batch)

    @rule()
    def another_process_applies(self) -> None:
        self.world.another_applier()

    @rule()
    def apply_all(self) -> None:
        while self.world.apply(50):
            pass

    @rule(failures=FAILURES)
    def work_for_a_while(self, failures: list[Callable[[], HubError | None]]) -> None:
        self.apply_all()
        self.deliver(6, failures)

    @rule(steps=st.integers(1, 8), failures=FAILURES)
    def deliver(self, steps: int, failures: list[Callable[[], HubError | None]]) -> None:
        self.world.plan = list(failures)
        self.world.deliver(steps)

    @rule(batch=st.integers(1, 6), at=KILL_AT)
    def killed_while_applying(self, batch: int, at: int) -> None:
        with self.world.armed(at):
            self.world.apply(batch)

    @rule(at=KILL_AT, failures=FAILURES)
    def killed_while_delivering(self, at: int, failures: list[Callable[[], HubError | None]]) -> None:
        self.world.plan = list(failures)
        with self.world.armed(at):
            self.world.deliver(3)

    @rule(at=st.integers(1, 6), number=NUMBERS)
    def killed_while_storing(self, at: int, number: str) -> None:
        """The sender got no answer and sends again: once stored, or twice known."""
        body = adt("A31", number, at=self.at(), name=f"홍^길{number}")
        with self.world.armed(at):
            self.world.kit.receive(body)
        [receipt] = self.world.kit.receive(body)
        assert receipt.message_id
        self.world.stored[receipt.message_id] = body

    @rule()
    def crash(self) -> None:
        self.world.crash()

    # -- people act -----------------------------------------------------------------------------------------------

    def _of_state(self, *states: str) -> list[int]:
        marks = ", ".join("?" * len(states))
        sql = f"SELECT message_id FROM work WHERE state IN ({marks}) AND barrier = FALSE ORDER BY message_id"
        return [r[0] for r in self.world.kit.rows(sql, *states)]

    @rule(data=st.data(), act=st.sampled_from(["replay", "discard"]))
    def a_person_looks_at_the_dead(self, data: st.DataObject, act: str) -> None:
        waiting = self._of_state("dead", "uncertain")
        if waiting:
            message_id = data.draw(st.sampled_from(waiting))
            getattr(self.world.kit.hub.operations, act)(message_id, **PERSON)

    @rule(data=st.data(), act=st.sampled_from(["replay", "discard"]))
    def a_person_is_too_late(self, data: st.DataObject, act: str) -> None:
        over = [r[0] for r in self.world.kit.rows("SELECT message_id FROM outcome ORDER BY message_id LIMIT 5")]
        if over:
            with pytest.raises(IllegalStep):
                getattr(self.world.kit.hub.operations, act)(data.draw(st.sampled_from(over)), **PERSON)

    @rule(channel=st.sampled_from(["ocs-in", "crm"]), act=st.sampled_from(["pause", "resume"]))
    def a_person_pauses_or_resumes(self, channel: str, act: str) -> None:
        getattr(self.world.kit.hub.operations, act)(channel, **PERSON)

    @rule(number=NUMBERS, phone=st.sampled_from(["", "+821011112222", "+821099998888"]), late=st.booleans())
    def the_front_office_writes(self, number: str, phone: str, late: bool) -> None:
        kit = self.world.kit
        found = kit.rows(
            "SELECT r.id, r.version FROM identifier i JOIN resource r ON r.id = i.resource_id"
            " WHERE i.kind = 'Patient' AND i.value = ?",
            number,
        )
        if not found:
            return
        id_, version = found[0]
        values = {"telecom": [{"system": "phone", "use": "mobile", "value": phone}] if phone else None}
        office = kit.hub.front_office
        if late:
            with pytest.raises(Stale):
                office.change_patient(id_, values, expected=version + 1, actor="token:desk")
        else:
            office.change_patient(id_, values, expected=version, actor="token:desk")
            points = kit.resource(id_).get("telecom") or []
            assert [p["value"] for p in points] == ([phone] if phone else []), "what the front office wrote does not stand"

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.end()
            finally:
                self.world.close()
                self.folder.cleanup()


def dose(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )


def test_the_promises_hold_on_sqlite() -> None:
    run_state_machine_as_test(HubMachine, settings=dose(25, 30))


@pytest.mark.postgres
def test_the_promises_hold_on_postgresql(postgres: object) -> None:
    class OnPostgres(HubMachine):
        make_url = staticmethod(lambda folder: postgres.create())  # type: ignore[attr-defined]

    run_state_machine_as_test(OnPostgres, settings=dose(4, 20))
