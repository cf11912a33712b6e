"""Structural facts: merges, moves, changed numbers, links. They move pointers, never data, so each can be taken back.

A merge lets every number of the prior patient stand for the survivor and leaves each at its home; messages for the prior
number keep feeding its own source record, which now speaks for the survivor; an unmerge sends the numbers home. Rare and
wide, they run in a transaction of their own (hub/sync/apply.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.domain.facts import AnyFact, ChangeIdentifier, Key, Link, Merge, Move
from hub.domain.model import CLINICAL, OWNED, VISITS
from hub.domain.rows import Row
from hub.sync.canon import Applied, Canon, Origin
from hub.sync.rejoin import rejoin
from hub.sync.unite import give, remembered, settle_all, unite
from hub.sync.workspace import Resource, Source

STRUCTURAL = (Merge, Move, ChangeIdentifier, Link)
KIND_OF = {"patient": "Patient", "visit": "Encounter"}
ON_ACCOUNT = ("Encounter", "ChargeItem", "Invoice", "Payment")


def is_structural(facts: list[AnyFact]) -> bool:
    """Whether the message needs a transaction of its own."""
    return any(isinstance(f, STRUCTURAL) for f in facts)


class Structure:
    """Applies structural facts through a Canon; `history` is what to write to link_history."""

    def __init__(self, canon: Canon) -> None:
        self.canon = canon
        self.work = canon.work
        self.history: list[Row] = []

    def apply(self, facts: list[AnyFact], origin: Origin) -> Applied:
        """All facts of one message, in order, plain ones too."""
        total = Applied()
        for fact in facts:
            if isinstance(fact, Merge):
                self._merge(fact, origin, total)
            elif isinstance(fact, Move):
                self._move(fact, origin, total)
            elif isinstance(fact, ChangeIdentifier):
                self._change_identifier(fact, origin, total)
            elif isinstance(fact, Link):
                self._link(fact, origin, total)
            else:
                self.canon.load([fact])
                one = self.canon.apply([fact], origin)
                total.changes += one.changes
                total.stale += one.stale
                total.notes += one.notes
            total.facts += 1
        return total

    # -- merge ----------------------------------------------------------------------------------------------------

    def _merge(self, fact: Merge, origin: Origin, applied: Applied) -> None:
        if fact.scope == "account":
            self._merge_accounts(fact, origin, applied)
            return
        kind = KIND_OF[fact.scope]
        self.work.load_keys([(kind, *fact.survivor), (kind, *fact.prior)])
        survivor, prior = self._known(kind, fact.survivor, origin, applied), self._known(kind, fact.prior, origin, applied)
        if survivor is None or prior is None:
            applied.notes.append("unknown_visit")
            return
        if survivor.id == prior.id:
            applied.notes.append("already_one")
            return
        self._unite(kind, survivor, prior, "merge", origin, applied)

    def _known(self, kind: str, key: Key, origin: Origin, applied: Applied) -> Resource | None:
        """Patients are made where nobody told of them yet, so that a later message for the number finds its survivor."""
        if kind == "Patient":
            return self.canon.patient_for(key, origin, applied)
        return self.work.find(kind, key)

    def _unite(self, kind: str, survivor: Resource, prior: Resource, act: str, origin: Origin, applied: Applied) -> None:
        self.history += unite(self.canon, kind, survivor, prior, act, origin, applied)
        if kind == "Patient":
            self.history += rejoin(self.canon, [survivor.id], origin, applied)

    def _merge_accounts(self, fact: Merge, origin: Origin, applied: Applied) -> None:
        """An account is a number on visits and bills, all of which go to the surviving one, and may be known itself."""
        self._rewrite_account(fact.prior, fact.survivor, "merge", origin, applied)

    def _rewrite_account(self, old: Key, new: Key, act: str, origin: Origin, applied: Applied) -> None:
        self.work.load_keys([("Account", *old), ("Account", *new)])
        prior, survivor = self.work.find("Account", old), self.work.find("Account", new)
        visits = self._visits_on(old)
        if not visits and prior is None:
            applied.notes.append("unknown_account")
        if prior is not None and survivor is None:
            self._renumber("Account", prior, ChangeIdentifier("account", new, old), origin, applied)
        elif prior is not None and survivor is not None and survivor.id != prior.id:
            self._unite("Account", survivor, prior, act, origin, applied)
        for visit in visits:
            account = {**visit.data.get("account", {}), "assigner": new.assigner, "value": new.value}
            self.work.load_resources([visit.id])
            for source in self.work.sources_of(visit.id, visit.kind):
                if (source.data.get("account") or {}).get("value") == old.value:
                    source.data["account"], source.message_id, source.dirty = account, origin.message_id, True
                    source.lineage["account"] = self._lineage(origin)
            self.canon.revise(visit, {**visit.data, "account": account}, origin, applied)
            self._remember("change_identifier", "Account", old, visit.id, visit.id, origin)

    def _visits_on(self, account: Key) -> list[Resource]:
        """Visits (and their bills) on this account of the patients that the message names (its PID came first)."""
        patients = [r.id for r in self.work.resources.values() if r.kind == "Patient"]
        visits = [v for patient in patients for v in self.work.children(patient, ON_ACCOUNT)]
        return [v for v in visits if (v.data.get("account") or {}).get("value") == account.value]

    # -- unmerge, link --------------------------------------------------------------------------------------------

    def _link(self, fact: Link, origin: Origin, applied: Applied) -> None:
        self.work.load_keys([("Patient", *fact.first), ("Patient", *fact.second)])
        first, second = self.canon.patient_for(fact.first, origin, applied), self.canon.patient_for(fact.second, origin, applied)
        if fact.linked and first.id != second.id:
            self._unite("Patient", first, second, "link", origin, applied)
        elif not fact.linked and first.id == second.id:
            self.separate(fact.second if self._is_away(fact.second) else fact.first, origin, applied, act="unlink")

    def _is_away(self, key: Key) -> bool:
        pointer = self.work.pointers.get(("Patient", *key))
        return pointer is not None and pointer.resource_id != pointer.home_id

    def separate(self, key: Key, origin: Origin, applied: Applied, *, act: str = "unmerge") -> None:
        """Sends home the number and whatever came with it: the opposite of a merge. Nothing to do where it is at home.

        Whoever had been merged into that patient before goes with him.
        """
        if not self._is_away(key):
            applied.notes.append("already_apart")
            return
        pointer = self.work.pointers["Patient", *key]
        self.work.load_resources([pointer.home_id])
        home, current = self.work.resources[pointer.home_id], self.work.resources[pointer.resource_id]
        self.work.load_pointers_of([home.id, current.id])
        homes = self._came_with(home, current)
        back: set[str] = set()
        for (kind, assigner, value), p in list(self.work.pointers.items()):
            if kind == "Patient" and p.home_id in homes and p.resource_id == current.id:
                self.work.point("Patient", Key(assigner, value), home.id)
                self._remember(act, "Patient", Key(assigner, value), current.id, home.id, origin)
                back.add(f"{assigner}|{value}")
        for source in list(self.work.by_resource.get(current.id, ())):
            if _patient_number(source) in back:
                self.work.repoint_source(source, home.id)
        home.status, home.moved, home.other_owner = "active", True, current.id
        document = {n: v for n, v in home.data.items() if n not in ("replacedBy", "active")}
        self.canon.revise(home, document, origin, applied, type_="patient.unmerged")
        for child in self.work.children(current.id, OWNED):
            if child.patient_key in back:
                give(self.canon, child, home, origin, applied)
        settle_all(self.canon, home, origin, applied)
        version = current.version
        settle_all(self.canon, current, origin, applied)
        if current.version == version:  # who has read it meanwhile must learn that numbers and visits have left it
            self.canon.revise(current, current.data, origin, applied, type_="patient.updated")
        self.history += rejoin(self.canon, [home.id, current.id], origin, applied)

    def _came_with(self, home: Resource, current: Resource) -> set[str]:
        """`home`, and whoever was merged into it before it was merged itself: their `replacedBy` leads to it."""
        away = {
            p.home_id
            for (kind, _, _), p in self.work.pointers.items()
            if kind == "Patient" and p.resource_id == current.id and p.home_id != current.id
        }
        self.work.load_resources(away)
        found = {home.id}
        for start in away:
            at, seen = start, set[str]()
            while at in self.work.resources and at not in seen:
                if at in found:
                    found |= seen
                    break
                seen.add(at)
                at = self.work.resources[at].data.get("replacedBy", "")
        return found

    # -- moves, changed numbers -----------------------------------------------------------------------------------

    def _move(self, fact: Move, origin: Origin, applied: Applied) -> None:
        self.work.load_keys([("Patient", *fact.to_patient), ("Patient", *fact.from_patient)])
        target = self.canon.patient_for(fact.to_patient, origin, applied)
        before = self.canon.patient_for(fact.from_patient, origin, applied)
        if target.id == before.id:
            applied.notes.append("already_one")
            return
        gone = {f"{c.kind}/{c.id}" for c in self.work.children(before.id, VISITS) if _concerns(c, fact)}
        for child in self.work.children(before.id, CLINICAL):
            if not _concerns(child, fact) and (child.data.get("encounter") or {}).get("reference") not in gone:
                continue
            self.work.owned_by(child, target.id)
            child.patient_key = str(fact.to_patient)
            self.work.load_resources([child.id])
            for source in self.work.sources_of(child.id, child.kind):
                if source.system == origin.system:  # what another system repeats under the old number is no news of it
                    source.patient_key, source.dirty = str(fact.to_patient), True
                    source.event_at = max(source.event_at, origin.event_at)
            self.canon.revise(child, child.data, origin, applied, type_=f"{child.kind.lower()}.updated")
            self._remember("move", child.kind, fact.what or fact.from_patient, before.id, target.id, origin)
        self.history += rejoin(self.canon, [before.id, target.id], origin, applied)

    def _change_identifier(self, fact: ChangeIdentifier, origin: Origin, applied: Applied) -> None:
        if fact.scope == "account":
            self._rewrite_account(fact.old, fact.new, "change_identifier", origin, applied)
            return
        kind = KIND_OF[fact.scope]
        self.work.load_keys([(kind, *fact.new), (kind, *fact.old)])
        old, new = self._known(kind, fact.old, origin, applied), self.work.find(kind, fact.new)
        if old is None:
            applied.notes.append("unknown_visit")
            return
        if new is not None and new.id != old.id:
            self._unite(kind, new, old, "change_identifier", origin, applied)
            return
        self._renumber(kind, old, fact, origin, applied)

    def _renumber(self, kind: str, resource: Resource, fact: ChangeIdentifier, origin: Origin, applied: Applied) -> None:
        """The thing goes on under its new number."""
        self.work.point(kind, fact.new, resource.id, home=self.work.pointers[kind, *fact.old].home_id)
        for source in list(self.work.sources_of(resource.id, kind)):
            self._rename(source, fact, origin)
        self.canon.settle(resource, origin, applied, ["identifier"])
        self._remember("change_identifier", kind, fact.new, resource.id, resource.id, origin)

    def _rename(self, source: Source, fact: ChangeIdentifier, origin: Origin) -> None:
        """The source record goes on under the new number; its list of numbers keeps the old one, marked so."""
        known = source.data.get("identifier") or []
        if not any(_names(i, fact.old) for i in known) and source.key != str(fact.old):
            return
        old = [{**i, "use": "old"} if _names(i, fact.old) else i for i in known if not _names(i, fact.new)]
        type_ = next((i["type"] for i in known if _names(i, fact.old) and "type" in i), "")
        new = {"assigner": fact.new.assigner, "value": fact.new.value} | ({"type": type_} if type_ else {})
        source.data["identifier"], source.dirty = [new, *old], True
        source.message_id = origin.message_id  # whoever remembers what stood here before sees that it does no longer
        source.lineage["identifier"] = self._lineage(origin)
        target = (source.kind, source.system, str(fact.new))
        if source.key == str(fact.old) and target not in self.work.sources:
            for table in ("source_record", "source_heard"):
                self.work.tx.execute(
                    f"DELETE FROM {table} WHERE kind = ? AND system = ? AND key = ?",  # noqa: S608 - two constants
                    source.kind, source.system, source.key,
                )  # fmt: skip
            self.work.sources.pop((source.kind, source.system, source.key), None)
            source.key = str(fact.new)
            self.work.sources[target] = source

    def _lineage(self, origin: Origin) -> list[object]:
        return ["MRG-1", origin.message_id, origin.map_version, origin.event_at]

    def _remember(self, act: str, kind: str, key: Key, from_id: str, to_id: str, origin: Origin) -> None:
        self.history.append(remembered(self.canon, act, kind, key, from_id, to_id, origin))


def _patient_number(source: Source) -> str:
    """The patient number a source record was told under."""
    return source.key if source.kind == "Patient" else (source.patient_key or "")


def _names(identifier: Mapping[str, Any], key: Key) -> bool:
    return bool(identifier.get("value") == key.value and identifier.get("assigner", "") == key.assigner)


def _concerns(child: Resource, fact: Move) -> bool:
    if fact.what is None:
        return True
    if fact.scope == "account" and child.kind != "Account":
        return bool((child.data.get("account") or {}).get("value") == fact.what.value)
    if child.kind in VISITS or (child.kind == "Account" and fact.scope == "account"):
        return any(i.get("value") == fact.what.value for i in child.data.get("identifier") or ())
    visit = (child.data.get("encounter") or {}).get("identifier") or {}  # told of a visit that nobody has told us of
    return bool(visit.get("value") == fact.what.value)
