"""Front-office writes: one transaction each, through the same canon as messages, answered with the new version.

`If-Match` is the version; a stale one raises Stale and nothing happens. Every change goes out by the same routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.audit.actions import Action
from hub.audit.entry import detail_text
from hub.crm.commands import ASSIGNER, booking_values, own_fact, own_key, prospect_values
from hub.domain.errors import NotFound, Refused, Stale
from hub.domain.facts import Fact, Key
from hub.domain.ids import new_id
from hub.domain.model import Kind
from hub.domain.ports import Written
from hub.domain.rows import EntryDraft
from hub.domain.store import Store, Tx
from hub.sync.authority import Authority
from hub.sync.canon import Applied, Canon, Origin
from hub.sync.record import record, summary
from hub.sync.routes import Route
from hub.sync.slots import TELECOM, difference, same
from hub.sync.workspace import Resource, Workspace


class FrontOfficeService:
    """hub.domain.ports.FrontOffice."""

    def __init__(
        self, store: Store, routes: Callable[[], Sequence[Route]], authority: Callable[[], Authority], buckets: int
    ) -> None:
        self._store = store
        self._routes = routes
        self._authority = authority
        self._buckets = buckets

    def create_patient(self, values: dict[str, Any], *, actor: str) -> Written:
        with self._store.transaction() as tx:
            write = _Write(self, tx, actor)
            id_ = new_id()
            extra = tuple(Key(i["assigner"], i["value"]) for i in values.get("identifier") or ())
            fact = own_fact("Patient", id_, prospect_values(values, id_))
            fact.other_keys = extra
            write.must_be_free("Patient", extra)
            return write.run([fact], Action.PATIENT_CREATED)

    def change_patient(self, patient_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written:
        with self._store.transaction() as tx:
            write = _Write(self, tx, actor)
            patient = write.load("Patient", patient_id, expected)
            write.must_be_allowed(patient, values)
            return write.change("Patient", patient, values, Action.PATIENT_CHANGED)

    def book(self, patient_id: str, values: dict[str, Any], *, actor: str) -> Written:
        with self._store.transaction() as tx:
            write = _Write(self, tx, actor)
            patient = write.load("Patient", patient_id, None)
            id_ = new_id()
            fact = own_fact("Appointment", id_, booking_values(values, id_), write.number_of(patient))
            return write.run([fact], Action.APPOINTMENT_CREATED)

    def change_appointment(self, appointment_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written:
        with self._store.transaction() as tx:
            write = _Write(self, tx, actor)
            booking = write.load("Appointment", appointment_id, expected)
            write.must_be_open(booking)
            return write.change("Appointment", booking, {**values, "status": "pending"}, Action.APPOINTMENT_CHANGED)

    def cancel_appointment(self, appointment_id: str, *, expected: int, actor: str, reason: str = "") -> Written:
        with self._store.transaction() as tx:
            write = _Write(self, tx, actor)
            booking = write.load("Appointment", appointment_id, expected)
            write.must_be_open(booking)
            values: dict[str, Any] = {"status": "cancelled"}
            if reason:
                values["comment"] = reason
            return write.change("Appointment", booking, values, Action.APPOINTMENT_CANCELLED)


class _Write:
    """One write in one transaction."""

    def __init__(self, service: FrontOfficeService, tx: Tx, actor: str) -> None:
        self._service = service
        self._tx = tx
        self._origin = Origin("crm", f"api:{actor.removeprefix('token:')}", None, tx.now, "api", actor)
        self._work = Workspace(tx)
        self._canon = Canon(self._work, service._authority(), tx.now)

    def load(self, kind: Kind, resource_id: str, expected: int | None) -> Resource:
        """The resource, locked; NotFound, or Stale with the version that stands."""
        self._work.load_resources([resource_id])
        resource = self._work.resources.get(resource_id)
        if resource is None or resource.kind != kind or resource.status == "removed":
            raise NotFound(f"there is no {kind} with this id")
        if resource.status == "merged":
            raise Refused("this patient was merged; write to the one that replacedBy names", code="merged")
        if expected is not None and resource.version != expected:
            raise Stale(f"version {expected} was changed meanwhile, version {resource.version} stands", current=resource.version)
        if resource.patient_id and resource.patient_id != resource.id:
            self._work.load_resources([resource.patient_id])
        return resource

    def must_be_free(self, kind: Kind, keys: Sequence[Key]) -> None:
        self._work.load_keys([(kind, *key) for key in keys])
        if any(self._work.find(kind, key) for key in keys):
            raise Refused("a patient with this identifier is known already: search for it", code="exists")

    def must_be_allowed(self, patient: Resource, values: Mapping[str, Any]) -> None:
        authority = self._service._authority()
        sources = self._work.sources_of(patient.id, "Patient")
        for name in values:
            saying = [s.system for s in sources if s.data.get(name) is not None]
            if not authority.may_front_office_set(name, saying):
                raise Refused(f"{name} is owned by another system; it can only be changed there", code="not_allowed")

    def must_be_open(self, booking: Resource) -> None:
        if booking.data.get("status") in ("cancelled", "entered-in-error", "fulfilled", "noshow"):
            raise Refused(f"this appointment is {booking.data['status']} already", code="not_allowed")

    def number_of(self, patient: Resource) -> Key:
        """The number that facts name him by: one that he did not get by a merge, of a hospital's system rather than ours."""
        self._work.load_pointers_of([patient.id])
        found = [
            (pointer.home_id != patient.id, assigner == ASSIGNER, assigner, value)
            for (kind, assigner, value), pointer in self._work.pointers.items()
            if kind == "Patient" and pointer.resource_id == patient.id
        ]
        if not found:
            raise NotFound("this patient has no number")
        return Key(*min(found)[2:])

    def change(self, kind: Kind, resource: Resource, values: Mapping[str, Any], action: Action) -> Written:
        """The CRM's own record of the resource says so; its key is tied to the resource first."""
        key = own_key(resource.id)
        self._work.load_keys([(kind, *key)])
        if self._work.find(kind, key) is None:
            self._work.point(kind, key, resource.id, home=resource.id)
        fact = own_fact(kind, resource.id, self._news(kind, resource, values))
        fact.patient = None
        return self.run([fact], action, resource)

    def _news(self, kind: Kind, resource: Resource, values: Mapping[str, Any]) -> dict[str, Any]:
        """A front-end sends whole lists and documents back; what it did not change is not its word."""
        news = {n: v for n, v in values.items() if n != TELECOM and not same(resource.data.get(n), v)}
        if kind == "Patient" and TELECOM in values:
            news |= difference(self._canon.golden.slots(resource), values[TELECOM] or ())
        return news

    def run(self, facts: list[Fact], action: Action, resource: Resource | None = None) -> Written:
        """Applies, records, audits and writes, all in this transaction."""
        self._canon.load(facts)
        applied: Applied = self._canon.apply(facts, self._origin)
        rows, ids = record(self._tx, applied.changes, self._service._routes(), self._service._buckets)
        target = resource or self._made(facts[0])
        detail = detail_text({"changes": summary(applied.changes, ids)})
        entry = EntryDraft(self._tx.now, action, self._origin.actor, "", None, target.id, detail)
        self._tx.write([*self._work.rows(self._tx.now), *rows, entry])
        return Written(target.id, target.version, tuple(ids.values()))

    def _made(self, fact: Fact) -> Resource:
        made = self._work.find(fact.kind, fact.key)
        assert made is not None
        return made
