"""Repetitions: a patient's part (PID, NK1, IN1 …) that says what it said before, and so changes nothing.

Nearly every message of a patient repeats his part byte for byte. A process remembers of a part that it has applied which
source records that left, and by which messages each of them had got its contents. While the rows still say so, the same
part again can only be heard, not change anything: it is neither mapped nor loaded (docs/adr/0064).

Nothing has to be told to forget. What another process, a merge or a person did meanwhile shows in the rows that are looked
at in the snapshot of each plan, and the patient's version is confirmed in its transaction like everything else that it
rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hub.domain.facts import AnyFact, Fact, Key, Part, Snapshot
from hub.domain.rows import SourceTouched
from hub.domain.store import Tx
from hub.sync.workspace import Workspace

MOST = 10_000  # parts in each half: the patients of a day or two of a large hospital

SourceKey = tuple[str, str, str]  # kind, system, key
Who = tuple[str, Key]  # a patient, as a system names him


class Said(NamedTuple):
    """A message's patient part, as it is asked about."""

    system: str
    patient: Key
    digest: bytes
    event_at: int  # µs

    @property
    def who(self) -> Who:
        return self.system, self.patient


class Told(NamedTuple):
    """How a part left the store: whose it is, with version and owner, and the message that each source record is of.

    `warnings`: what its mapping warned of, which it would warn of again.
    """

    patient_id: str
    loaded: tuple[int, str | None]
    sources: dict[SourceKey, int]
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Standing:
    """A patient of whom a run of messages only says again what stands."""

    patient_id: str
    loaded: tuple[int, str | None]
    parts: dict[bytes, Told]  # by digest
    heard: dict[SourceKey, int]  # when each source record was heard last, µs
    again: dict[SourceKey, int] = field(default_factory=dict)  # … and in this run

    def hear(self, said: Said) -> Told:
        """One of the messages is applied: its source records were heard again."""
        told = self.parts[said.digest]
        self.again |= dict.fromkeys(told.sources, said.event_at)
        return told

    def rows(self) -> list[SourceTouched]:
        return [SourceTouched(*key, at) for key, at in self.again.items() if at != self.heard[key]]


class Repeats:
    """What this process knows of the parts that it applied, by digest; the oldest half goes when it is full."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._young: dict[bytes, Told] = {}
        self._old: dict[bytes, Told] = {}

    def told(self, digest: bytes) -> Told | None:
        """How the part was left by whoever applied it here."""
        found = self._young.get(digest)
        if found is None:
            found = self._old.get(digest)
            if found is not None:
                self.remember(digest, found)
        return found

    def remember(self, digest: bytes, told: Told) -> None:
        """After the commit only."""
        if len(self._young) >= self._most:
            self._old, self._young = self._young, {}
        self._young[digest] = told

    def standing(self, tx: Tx, said: Sequence[Said]) -> dict[Who, Standing]:
        """The patients of whom all that is said here, in this order, says again what stands in the store."""
        groups: dict[Who, list[Said]] = {}
        for one in said:
            groups.setdefault((one.system, one.patient), []).append(one)
        asked = {who: parts for who, group in groups.items() if (parts := self._parts(group))}
        keys = {key: None for parts in asked.values() for told in parts.values() for key in told.sources}
        stored = {row[:3]: row[3:] for row in tx.heard(list(keys))}
        found = ((who, _standing(groups[who], parts, stored)) for who, parts in asked.items())
        return {who: standing for who, standing in found if standing is not None}

    def _parts(self, group: Sequence[Said]) -> dict[bytes, Told]:
        """The parts by digest; empty where one of them is not known."""
        parts = {one.digest: told for one in group if (told := self.told(one.digest)) is not None}
        return parts if all(one.digest in parts for one in group) else {}


def _standing(group: Sequence[Said], parts: dict[bytes, Told], stored: dict[SourceKey, tuple[Any, ...]]) -> Standing | None:
    """None where a source record is not as it was left, the patient has changed, or a message is older than what was heard."""
    first = parts[group[0].digest]
    patient_id, loaded = first.patient_id, first.loaded
    heard: dict[SourceKey, int] = {}
    for told in parts.values():
        if (told.patient_id, told.loaded) != (patient_id, loaded):
            return None
        for key, message_id in told.sources.items():
            row = stored.get(key)
            if row is None or row[0] != patient_id or row[1] != message_id or (key[0] == "Patient" and row[3:] != loaded):
                return None
            heard[key] = row[2]
    latest = max(heard.values())
    for one in group:
        if one.event_at < latest:
            return None
        latest = one.event_at
    return Standing(patient_id, loaded, parts, heard)


def told_by(part: Part, facts: Sequence[AnyFact], warnings: tuple[str, ...], system: str, work: Workspace) -> Told | None:
    """How the part that was just applied to the workspace leaves it; None where it cannot be known again."""
    patient = work.find("Patient", part.patient)
    if patient is None:
        return None
    sources: dict[SourceKey, int] = {}
    for fact in facts:
        assert isinstance(fact, Fact | Snapshot)
        key = (fact.kind, system, source_key(fact))
        source = work.sources.get(key)
        if source is None or source.message_id is None or source.resource_id != patient.id:
            return None
        sources[key] = source.message_id
    if ("Patient", system, str(part.patient)) not in sources:
        return None
    return Told(patient.id, (patient.version, patient.patient_id), sources, warnings)


def source_key(fact: Fact | Snapshot) -> str:
    """The key of the source record that a fact speaks of; a list has its own."""
    return str(fact.key) if isinstance(fact, Fact) else f"{fact.patient}#{fact.group}"
