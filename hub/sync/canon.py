"""Facts become canonical changes: source records, golden records, lineage, one change a new version.

The rules of design.md: equal assigner and number link at once; a source's value competes only when that source changed
it; an older message than the record it is about is stale; lists are snapshots. Nothing here knows a database or a codec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from hub.crm.commands import ASSIGNER
from hub.domain.facts import AnyFact, Fact, Key, Snapshot
from hub.domain.ids import new_id
from hub.domain.imaging import DICOM, PARTS, given_numbers
from hub.domain.model import CLINICAL
from hub.domain.rows import Row
from hub.sync.authority import Authority
from hub.sync.golden import Golden, flat
from hub.sync.lists import relationship, remove, snapshot
from hub.sync.news import confirmed, is_late, news, unheard
from hub.sync.numbered import of_patient
from hub.sync.parts import has_nearer, looked_up, take_part
from hub.sync.references import References
from hub.sync.rejoin import NUMBERED, rejoin
from hub.sync.shared import SHARED
from hub.sync.sharing import SHARING, is_another, type_of
from hub.sync.slots import TELECOM, changed_slots, explode_period, is_echo, same
from hub.sync.unite import unite
from hub.sync.workspace import Resource, Source, Workspace

GONE = frozenset({"cancelled", "revoked", "entered-in-error"})
FHIR_ID = ":fhir|"  # in the key of what a FHIR server told (hub/mapping/fhir_keys.py): such servers are written to in every kind
CROSSING = 20_000_000  # µs in which a delivery and a poll of the same system may cross
# First: what a timeline goes by.
STARTS = ("start", "effective", "authoredOn", "started", "performed", "date", "occurrence", "recorded")
SCHEDULED = ("occurrence", *STARTS)  # of an imaging order: when the patient comes, which a worklist asks for


@dataclass(frozen=True, slots=True)
class Origin:
    """Where facts come from: one message of a channel, or a front-end's write."""

    system: str
    channel: str
    message_id: int | None
    event_at: int  # µs
    map_version: str
    actor: str = "system"


@dataclass(slots=True)
class Changed:
    """One new version of one resource; `document` as it stood then (a batch may change it again)."""

    resource: Resource
    type: str
    fields: list[str]
    origin: Origin
    version: int
    document: dict[str, Any]


@dataclass(slots=True)
class Applied:
    """What came of one message."""

    facts: int = 0
    stale: int = 0
    changes: list[Changed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # codes for the audit entry


class Canon:
    """Applies facts to a workspace. One a transaction; `apply` once a message, in order."""

    def __init__(self, work: Workspace, authority: Authority, now: int, known: Callable[[Key], str | None] | None = None) -> None:
        """`known`: the id of a Practitioner that needs no loading, by key (hub/sync/shared.py)."""
        self.work = work
        self.authority = authority
        self.golden = Golden(work, authority)
        self.references = References(work, known)
        self.now = now
        self.history: list[Row] = []  # of people who turned out to be one: to be written to link_history
        self._sent: dict[tuple[str, str], dict[str, tuple[Any, int]]] = {}  # (system, resource id) -> field -> value, at

    def load(self, facts: Iterable[AnyFact]) -> None:
        """Loads whatever these facts are about; call once for the whole batch."""
        keys: list[tuple[str, str, str]] = []
        for fact in facts:
            if isinstance(fact, Fact):
                keys += [(fact.kind, k.assigner, k.value) for k in (fact.key, *fact.other_keys)]
                if fact.patient is not None and fact.patient not in self.work.stood:
                    keys.append(("Patient", *fact.patient))
                keys += self.references.to_load(fact.kind, fact.values)
            elif isinstance(fact, Snapshot):
                keys.append(("Patient", *fact.patient))
        self.work.load_keys(keys)

    def apply(self, facts: Iterable[AnyFact], origin: Origin) -> Applied:
        """Plain facts and snapshots of one message (structural ones: hub/sync/structure.py)."""
        applied = Applied()
        for fact in facts:
            applied.facts += 1
            if isinstance(fact, Fact):
                self._fact(fact, origin, applied)
            elif isinstance(fact, Snapshot):
                snapshot(self, fact, origin, applied)
        if self.work.awaited:
            for waiting in self.work.met():  # what named this by its number before it was told of
                self.settle(waiting, origin, applied, ())
        return applied

    # -- one thing ------------------------------------------------------------------------------------------------

    def _fact(self, fact: Fact, origin: Origin, applied: Applied) -> None:
        fact = self._his(fact, origin, applied)
        number = str(fact.key)
        source = self.work.sources.get((fact.kind, origin.system, number))
        if source is not None and fact.key.assigner in PARTS and is_late(origin.event_at, source.event_at):
            self._late(self.work.resources[source.resource_id], fact, source, origin, applied)  # whatever study it names
            return
        resource = self._resolve(fact, applied)
        if resource is None:
            if not fact.create:
                applied.notes.append(f"unknown_{fact.kind.lower()}")
                return
            resource = self._create(fact, self._owner(fact, origin, applied))
        elif fact.kind == "Patient" and fact.other_keys:
            resource = self._one_person(fact, resource, origin, applied)
        if source is not None and is_late(origin.event_at, source.event_at):
            self._late(resource, fact, source, origin, applied)
            return
        if fact.gone:
            self._gone(resource, source, origin, applied)
            return
        moved = resource.version > 0 and self._follow_owner(resource, fact, source, origin, applied)
        back, resource.status = resource.status == "removed", "active" if resource.status == "removed" else resource.status
        for key in (fact.key, *fact.other_keys):
            self._claim_key(fact, key, resource, applied)
        taken = take_part(self, resource, fact, source, origin, applied)
        known = source.data if source else {}
        values = flat(fact.kind, fact.values, known)
        if origin.message_id is not None:  # a front-end says only what is to change (hub/sync/front_office.py)
            values = news(values, source, origin.channel) | confirmed(fact.kind, resource.data, fact.values)
        if source is None:
            source = Source(fact.kind, origin.system, number, resource.id, _text(fact.patient), {}, "{}", 0, None, "")
            self.work.keep(source)
            source.dirty = True
        if values:
            self.heard(source, values, fact.paths, origin)
        if source.event_at < origin.event_at:
            source.event_at, source.touched = origin.event_at, True
        if moved:
            source.patient_key, source.dirty = _text(fact.patient), True
        version = resource.version
        if values or not version or moved or taken:
            self.settle(resource, origin, applied, source.data if taken else values)
        if (moved or back) and resource.version == version:
            self.revise(resource, resource.data, origin, applied, type_=f"{resource.kind.lower()}.updated")
        if resource.kind == "RelatedPerson" and resource.patient_id:
            relationship(self, resource, resource.patient_id, origin, applied)
        if moved and resource.kind in NUMBERED and resource.patient_id:
            owners = [resource.patient_id, *([resource.other_owner] if resource.other_owner else ())]
            self.history += rejoin(self, owners, origin, applied)

    def _one_person(self, fact: Fact, resource: Resource, origin: Origin, applied: Applied) -> Resource:
        """A number under which a visit was told of, and nobody ever told who that is, stands for nobody else: told of together
        with a number that is known, it is his. (Two who are both known are never made one by a list of numbers.)"""
        for key in fact.other_keys:
            other = self.work.find("Patient", key)
            if other is None or other.id == resource.id or "merged" in (other.status, resource.status):
                continue
            if _is_stranger(other):
                self.history += unite(self, "Patient", resource, other, "link", origin, applied)
                self.history += rejoin(self, [resource.id], origin, applied)
            elif _is_stranger(resource):
                self.history += unite(self, "Patient", other, resource, "link", origin, applied)
                self.history += rejoin(self, [other.id], origin, applied)
                resource = other
        return resource

    def _gone(self, resource: Resource, source: Source | None, origin: Origin, applied: Applied) -> None:
        """A system has deleted it: it is withdrawn, unless another system still tells of it; then only this one's word goes."""
        if source is None:
            applied.notes.append(f"unknown_{resource.kind.lower()}")
            return
        source.event_at, source.touched = max(source.event_at, origin.event_at), True
        if any(other.system != origin.system for other in self.work.sources_of(resource.id, resource.kind)):
            said = dict.fromkeys(name for name, value in source.data.items() if value is not None)
            self.heard(source, said, {}, origin)
            self.settle(resource, origin, applied, said)
        elif resource.status == "active":
            remove(self, resource, origin, applied)

    def _late(self, resource: Resource, fact: Fact, source: Source, origin: Origin, applied: Applied) -> None:
        """An older word changes nothing, but for what only it says (hub/sync/news.py)."""
        if fact.kind in SHARED:
            return
        applied.stale += 1
        found = unheard(flat(fact.kind, fact.values, source.data), source, origin.channel)
        if found:
            self.heard(source, found, fact.paths, origin)
            self.settle(resource, origin, applied, found)

    def _resolve(self, fact: Fact, applied: Applied) -> Resource | None:
        for key in looked_up(fact):
            found = self.work.find(fact.kind, key)
            if found is None or ((key != fact.key or key.assigner in PARTS) and self._is_another(found, fact, key)):
                continue
            if key == fact.key or fact.kind not in SHARING or (fact.kind == "ImagingStudy" and key.assigner == DICOM):
                return found  # a study's UID is its own: whose it is then, its sources say
            his, _ = of_patient(self.work, fact.kind, key, self._known_patient(fact.patient))
            if his is None:
                applied.notes.append(f"{fact.kind.lower()}_of_another_patient")
            elif his is found or not self._is_another(his, fact, key):
                return his
        return None

    def _his(self, fact: Fact, origin: Origin, applied: Applied) -> Fact:
        """An order that has none but an accession number, by which another system has told of another patient's."""
        if fact.kind != "ServiceRequest" or (fact.kind, origin.system, str(fact.key)) in self.work.sources:
            return fact
        _, mine = of_patient(self.work, fact.kind, fact.key, self._known_patient(fact.patient))
        if mine == fact.key:
            return fact
        applied.notes.append(f"{fact.kind.lower()}_of_another_patient")
        return replace(fact, key=mine)

    def _is_another(self, resource: Resource, fact: Fact, key: Key) -> bool:
        return is_another(resource, fact, key, self.work.sources_of(resource.id, resource.kind))

    def _known_patient(self, key: Key | None) -> str | None:
        """The id of the patient behind a number; None where nobody has told who that is."""
        if key is None or key in self.work.stood:
            return self.work.stood[key][0] if key else None
        found = self.work.find("Patient", key)
        return found.id if found is not None else None

    def _claim_key(self, fact: Fact, key: Key, resource: Resource, applied: Applied) -> None:
        pointer = self.work.pointers.get((fact.kind, key.assigner, key.value))
        if pointer is None:
            self.work.point(fact.kind, key, resource.id, type_=type_of(fact, key))
        elif pointer.resource_id != resource.id and fact.kind not in SHARING:
            applied.notes.append("identifier_points_elsewhere")  # two known persons in one PID-3: never a silent merge
        elif pointer.resource_id != resource.id:
            his, mine = of_patient(self.work, fact.kind, key, resource.patient_id)
            if his is None and mine != key:
                self.work.point(fact.kind, mine, resource.id, type_=type_of(fact, key))

    def _create(self, fact: Fact, owner: tuple[str | None, str | None]) -> Resource:
        id_ = fact.resource_id or new_id()
        patient_id, patient_key = (id_, str(fact.key)) if fact.kind == "Patient" else owner
        resource = Resource(id_, fact.kind, patient_id, patient_key, 0, "active", 0, {}, self.now, new=True)
        self.work.point(fact.kind, fact.key, id_)
        return self.work.add(resource)

    def patient_for(self, key: Key, origin: Origin, applied: Applied) -> Resource:
        """The patient behind a number; made on the spot if nobody told of him yet, so that nothing has to wait."""
        found = self.work.find("Patient", key)
        if found is not None:
            return found
        is_servers = FHIR_ID in str(key)  # an id of a server's own is no number of the hospital's
        identifier = {} if is_servers else {"identifier": [{"assigner": key.assigner, "value": key.value}]}
        # Not this source's word on him: whatever it says or has said of him, however early, is newer.
        self._fact(Fact("Patient", key, identifier, {"identifier": ""}), replace(origin, event_at=0), applied)
        made = self.work.find("Patient", key)
        assert made is not None
        return made

    def _patient_id(self, key: Key, origin: Origin, applied: Applied) -> str:
        stood = self.work.stood.get(key)
        return stood[0] if stood is not None else self.patient_for(key, origin, applied).id

    def _owner(self, fact: Fact, origin: Origin, applied: Applied) -> tuple[str | None, str | None]:
        if fact.patient is None:
            return None, None
        return self._patient_id(fact.patient, origin, applied), str(fact.patient)

    def _follow_owner(self, resource: Resource, fact: Fact, source: Source | None, origin: Origin, applied: Applied) -> bool:
        """A visit that its source tells under another number than before goes to that patient; True where it went.

        A source that tells of it for the first time is heard where its word counts more than that of those who have.
        While both numbers stand for one patient, it keeps the first: an unmerge takes it back.
        """
        if fact.patient is None or fact.kind not in CLINICAL or (source is not None and source.patient_key == str(fact.patient)):
            return False
        if source is None and resource.patient_id and self._is_unknown(fact.patient):
            applied.notes.append(f"{resource.kind.lower()}_of_an_unknown_patient")  # nobody has told who that is: it stays
            return False
        owner = self._patient_id(fact.patient, origin, applied)
        if resource.patient_id == owner:
            if source is not None and resource.patient_key == str(fact.patient):  # it has learnt what others said: its word again
                source.patient_key, source.dirty = str(fact.patient), True
            return False
        if resource.patient_id and has_nearer(self.work, resource, fact.key):
            applied.notes.append(f"{resource.kind.lower()}_of_another_patient")
            return False
        if source is None and resource.patient_id and not self._outranks(origin.system, resource):
            applied.notes.append(f"{resource.kind.lower()}_of_another_patient")
            return False
        resource.patient_key = str(fact.patient)
        self.work.owned_by(resource, owner)
        return True

    def _is_unknown(self, patient: Key) -> bool:
        return patient not in self.work.stood and self.work.find("Patient", patient) is None

    def _outranks(self, system: str, resource: Resource) -> bool:
        rule = self.authority.rule(resource.kind, "patient")
        ranks = {name: number for number, name in enumerate(rule.systems)}
        mine = ranks.get(system, len(ranks))
        others = (ranks.get(s.system, len(ranks)) for s in self.work.sources_of(resource.id, resource.kind))
        return rule.policy == "newest" or all(mine <= other for other in others)

    # -- a source's word ------------------------------------------------------------------------------------------

    def heard(self, source: Source, changed: Mapping[str, Any], paths: Mapping[str, str], origin: Origin) -> None:
        """An echo is taken for the whole of what we sent: a table that has a name without its parts does not take them away."""
        claim, lineage = as_claim(origin.event_at, self.now), source.lineage
        said = dict(changed)
        written = source.kind == "Patient" or FHIR_ID in source.key or _is_own_row(source)  # what else goes out is messages
        for name, value in changed.items():
            echo = self._echo(source, name, value) if written else None
            since = claim
            if echo is not None and source.kind != "Patient" and not self._stands(source, name):
                del said[name]  # what only the form it was sent in has (an end, of start and minutes), or what is gone by now
                continue
            if echo is not None:
                said[name], since = echo[0], self._older(source, name, echo[1])
            lineage[name] = [
                paths.get(name) or paths.get(name.split(".", 1)[0], ""), origin.message_id, origin.map_version, since,
            ]  # fmt: skip
        source.data |= said
        source.message_id, source.channel, source.dirty = origin.message_id, origin.channel, True

    def _stands(self, source: Source, name: str) -> bool:
        resource = self.work.resources.get(source.resource_id)
        data = resource.data if resource is not None else {}
        return name in (explode_period(data) if source.kind == "Encounter" else data)

    def _older(self, source: Source, name: str, at: int) -> int:
        """An echo is older than every word that it repeats: what the others said was told before we applied and sent it."""
        others = (one for one in self.work.sources_of(source.resource_id, source.kind) if one is not source)
        return min([at, *(int(one.lineage[name][3]) - 1 for one in others if name in one.lineage)])

    def _echo(self, source: Source, name: str, value: Any) -> tuple[Any, int] | None:
        """If this is what we last sent that system: what we sent, and the time of *that* change; an echo is no news."""
        who = (source.system, source.resource_id)
        if who not in self._sent:
            known = self.work.resources.get(source.resource_id)
            rows = self.work.tx.told([who]) if known is not None and not known.new else []
            self._sent[who] = {row[2]: (orjson.loads(row[3]), int(row[4])) for row in rows}
        if name in self._sent[who]:
            sent, at = self._sent[who][name]
            if is_echo(sent, value):
                return sent, at - 1
        return self._crossed(source, name, value)

    def _crossed(self, source: Source, name: str, value: Any) -> tuple[Any, int] | None:
        """What stood a moment ago by others' word: it was read there before the delivery was known to be done, or when the
        next one was on its way (docs/adr/0177)."""
        known = self.work.resources.get(source.resource_id)
        if known is None or known.new or name not in source.lineage:
            return None
        for at, origin, data in self.work.tx.versions(source.resource_id, self.now - CROSSING):
            stood = flat(source.kind, orjson.loads(data), {}).get(name)
            if origin != source.channel and stood is not None and same(stood, value):
                return stood, at - 1
        return None

    # -- golden record --------------------------------------------------------------------------------------------

    def settle(self, resource: Resource, origin: Origin, applied: Applied, names: Iterable[str]) -> None:
        """Computes the golden values of `names` anew; a difference is a new version and a change."""
        document = self.golden.document(resource, names)
        self.references.resolve(resource, document)
        if resource.kind == "ServiceRequest":
            self._give_numbers(resource, document)
        self.revise(resource, document, origin, applied)

    def _give_numbers(self, order: Resource, document: Mapping[str, Any]) -> None:
        """An imaging order that came without accession number or study is known by those that PACS and modalities are told
        (docs/adr/0175)."""
        given = given_numbers(document, order.id)
        fresh = given.keys() - given_numbers(order.data, order.id) if given else ()
        if fresh and order.version:
            self.work.load_keys([(order.kind, *key) for key in fresh])
        for key in fresh:
            if self.work.find(order.kind, key) is None:
                self.work.point(order.kind, key, order.id, type_=given[key])

    def revise(self, resource: Resource, document: dict[str, Any], origin: Origin, applied: Applied, *, type_: str = "") -> None:
        """The document becomes the resource's next version, if it differs."""
        before = resource.data
        names = {*document, *before} if before else document
        fields = sorted(n for n in names if document.get(n) != before.get(n))
        if TELECOM in fields:
            fields += changed_slots(resource.data, document)
        if not fields and resource.version and not type_:
            return
        if resource.before is None:
            resource.before = resource.data
        verb = _verb(resource, document)
        resource.data = document
        resource.version += 1
        resource.sort_at = _sort_at(document) or resource.sort_at
        applied.changes.append(
            Changed(resource, type_ or f"{resource.kind.lower()}.{verb}", fields, origin, resource.version, document)
        )


def _is_own_row(source: Source) -> bool:
    """What a system says under the hub's own number it may have read off what we wrote there (ocs.sql_out)."""
    return source.system != "crm" and source.key.startswith(f"{ASSIGNER}|")


def as_claim(event_at: int, now: int) -> int:
    """When a source changed a value, as it competes with other sources' changes.

    Senders give whole seconds or minutes: such a time stands for its end, or a confirmation would look older than the
    booking of the same second. None is later than now, or a clock that runs ahead would win every time.
    """
    if event_at % 60_000_000 == 0:
        event_at += 59_999_999
    elif event_at % 1_000_000 == 0:
        event_at += 999_999
    return min(event_at, now)


def _is_stranger(patient: Resource) -> bool:
    """Made on the spot (`Canon.patient_for`): of him nothing is known but a number."""
    return not patient.data.keys() - {"identifier"}


def _verb(resource: Resource, document: Mapping[str, Any]) -> str:
    """`created`, `cancelled` when the status becomes so, else `updated`."""
    if resource.version == 0:
        return "created"
    if resource.kind in CLINICAL and document.get("status") in GONE and resource.data.get("status") not in GONE:
        return "cancelled"
    return "updated"


def _sort_at(document: Mapping[str, Any]) -> int:
    """Start of a visit or booking in µs, for the timeline; 0 where there is none that can be read."""
    starts = SCHEDULED if document.get("category") == "imaging" else STARTS
    text = (document.get("period") or {}).get("start") or next((document[name] for name in starts if name in document), None)
    if not isinstance(text, str) or len(text) < 4:
        return 0
    try:
        full = text if len(text) >= 10 else f"{text}-01-01"[:10]
        return int(datetime.fromisoformat(full).timestamp() * 1_000_000)
    except ValueError:
        return 0


def _text(key: Key | None) -> str | None:
    return str(key) if key is not None else None
