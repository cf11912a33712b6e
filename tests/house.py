"""One hospital in memory: facts told to it one message after the other, and short words for them."""

from __future__ import annotations

from typing import Any

import orjson

from hub.domain.facts import AnyFact, Fact, Key, Link, Merge
from hub.sync.authority import Authority
from hub.sync.canon import Applied, Canon, Origin
from hub.sync.front_office import FrontOfficeService
from hub.sync.record import record
from hub.sync.structure import Structure, is_structural
from hub.sync.workspace import Workspace
from tests.fakes.store import FakeStore

MINUTE = 60_000_000  # µs


class House:
    """One hospital's words, applied one message after the other."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.minute = 0
        self.office = FrontOfficeService(self.store, lambda: (), Authority, 1)

    def tell(self, *facts: AnyFact, at: float | None = None, system: str = "ocs", channel: str = "") -> Applied:
        self.minute += 1
        event_at = int((self.minute if at is None else at) * MINUTE) + (at is None or at == int(at))
        origin = Origin(system, channel or f"{system}-in", self.minute, event_at, "map-1")
        with self.store.transaction() as tx:
            work = Workspace(tx)
            canon = Canon(work, Authority(), tx.now)
            canon.load(facts)
            applied = Structure(canon).apply(list(facts), origin) if is_structural(list(facts)) else canon.apply(facts, origin)
            canonical = work.rows(tx.now)
            rows, _ = record(tx, applied.changes, (), 1)
            tx.write([*canonical, *rows])
        return applied

    def id(self, number: str, kind: str = "Patient") -> str:
        [found] = self.store.rows("identifier", kind=kind, value=number)
        return str(found["resource_id"])

    def row(self, number: str, kind: str = "Patient") -> dict[str, Any]:
        return self.store.rows("resource", id=self.id(number, kind))[0]

    def doc(self, number: str, kind: str = "Patient") -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.row(number, kind)["data"])
        return found

    def source(self, key: str, kind: str = "Patient", system: str = "ocs") -> dict[str, Any]:
        return self.store.rows("source_record", kind=kind, system=system, key=f"H|{key}")[0]

    def owner(self, visit: str) -> str:
        return str(self.row(visit, "Encounter")["patient_id"])


def patient(number: str, *others: str, **values: Any) -> Fact:
    numbers = [{"assigner": "H", "value": n, "type": "MR"} for n in (number, *others)]
    said = {"identifier": numbers, "name": [{"text": f"홍길동{number}"}]} | values
    return Fact("Patient", Key("H", number), said, dict.fromkeys(said, "PID"), other_keys=tuple(Key("H", n) for n in others))


def visit(number: str, of: str, **values: Any) -> Fact:
    said = {"identifier": [{"assigner": "H", "value": number}], "status": "in-progress"} | values
    return Fact("Encounter", Key("H", number), said, dict.fromkeys(said, "PV1"), patient=Key("H", of))


def doctor(number: str, name: str = "이의사") -> Fact:
    said = {"identifier": [{"assigner": "H", "value": number}], "name": [{"text": name}]}
    return Fact("Practitioner", Key("H", number), said, dict.fromkeys(said, "PV1-7"))


def phone(value: str, use: str = "mobile") -> dict[str, Any]:
    return {"system": "phone", "use": use, "value": value}


def merge(survivor: str, prior: str) -> Merge:
    return Merge("patient", Key("H", survivor), Key("H", prior))


def unlink(one: str, other: str) -> Link:
    return Link(Key("H", one), Key("H", other), linked=False)
