"""Lists that a message tells whole (next of kin, insurance): matched with what stood in them before, made and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hub.domain.facts import Snapshot
from hub.domain.ids import new_id
from hub.sync.news import is_late
from hub.sync.slots import same
from hub.sync.workspace import Resource, Source

if TYPE_CHECKING:
    from hub.sync.canon import Applied, Canon, Origin


def snapshot(canon: Canon, snap: Snapshot, origin: Origin, applied: Applied) -> None:
    patient = canon.patient_for(snap.patient, origin, applied)
    key = f"{snap.patient}#{snap.group}"
    source = canon.work.sources.get((snap.kind, origin.system, key))
    if source is not None and is_late(origin.event_at, source.event_at):
        applied.stale += 1
        return
    if source is None:
        source = Source(snap.kind, origin.system, key, patient.id, str(snap.patient), {}, "{}", 0, None, "", dirty=True)
        canon.work.keep(source)
    if source.event_at < origin.event_at:
        source.event_at, source.touched = origin.event_at, True
    if same(source.data.get("items", []), snap.items):
        return
    canon.heard(source, {"items": snap.items}, {"items": snap.path}, origin)
    _list(canon, snap, patient, origin, applied)


def _list(canon: Canon, snap: Snapshot, patient: Resource, origin: Origin, applied: Applied) -> None:
    """Each item is matched with what stood in the list before; new ones are made, missing ones removed."""
    tag = {"system": origin.system, "group": snap.group, "key": str(snap.patient)}
    before = [c for c in canon.work.children(patient.id, (snap.kind,)) if c.status == "active" and c.data.get("source") == tag]
    unmatched = list(before)
    for item in snap.items:
        document = {k: v for k, v in item.items() if v is not None} | {"source": tag}
        match = next((c for c in unmatched if _who(c.data) == _who(document)), None)
        if match is not None:
            unmatched.remove(match)
        else:
            match = canon.work.add(
                Resource(new_id(), snap.kind, patient.id, str(snap.patient), 0, "active", 0, {}, canon.now, new=True)
            )
        canon.revise(match, document, origin, applied)
        if snap.kind == "RelatedPerson":
            relationship(canon, match, patient.id, origin, applied)
    for gone in unmatched:
        remove(canon, gone, origin, applied)


def relationship(canon: Canon, person: Resource, patient_id: str, origin: Origin, applied: Applied) -> None:
    """RelatedPerson says who; Relationship says what they are to the patient."""
    related = f"RelatedPerson/{person.id}"
    known = next((r for r in canon.work.children(patient_id, ("Relationship",)) if r.data.get("related") == related), None)
    if known is None:
        known = canon.work.add(
            Resource(new_id(), "Relationship", patient_id, person.patient_key, 0, "active", 0, {}, canon.now, new=True)
        )
    back, known.status = known.status == "removed", "active"
    document = {"patient": f"Patient/{patient_id}", "related": related}
    code = (person.data.get("relationship") or {}).get("code")
    document |= {k: v for k, v in (("code", code), ("role", person.data.get("role"))) if v}
    canon.revise(known, document, origin, applied, type_="relationship.updated" if back else "")


def remove(canon: Canon, resource: Resource, origin: Origin, applied: Applied) -> None:
    resource.status = "removed"
    canon.revise(resource, resource.data, origin, applied, type_=f"{resource.kind.lower()}.removed")
    related = f"RelatedPerson/{resource.id}"
    for other in canon.work.children(resource.patient_id or "", ("Relationship",)):
        if other.data.get("related") == related and other.status == "active":
            remove(canon, other, origin, applied)


def _who(data: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes two items of a list the same person or policy."""
    names = "".join(str(n.get("text", "")) for n in data.get("name") or ()) if isinstance(data.get("name"), list) else ""
    relation = (data.get("relationship") or {}).get("code", "") if isinstance(data.get("relationship"), Mapping) else ""
    kind = (data.get("type") or {}).get("code", "") if isinstance(data.get("type"), Mapping) else ""
    payor = data.get("payor") or {}
    return (
        "".join(names.split()),
        relation,
        kind,
        str(payor.get("identifier") or payor.get("name") or ""),
        str(data.get("role", "")),
        str(data.get("code") or ""),
    )
