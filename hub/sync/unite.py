"""Two records become one: every number of the prior one stands for the survivor and stays at its home; what it has goes along.

Pointers move, data does not, so it can be taken back (hub/sync/structure.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.domain.facts import Key
from hub.domain.model import OWNED
from hub.domain.rows import LinkHistoryRow, Row
from hub.sync.workspace import Resource

if TYPE_CHECKING:
    from hub.sync.canon import Applied, Canon, Origin


def unite(canon: Canon, kind: str, survivor: Resource, prior: Resource, act: str, origin: Origin, applied: Applied) -> list[Row]:
    """What is to be written to link_history."""
    work, history = canon.work, list[Row]()
    work.load_pointers_of([survivor.id, prior.id])
    for (k, assigner, value), pointer in list(work.pointers.items()):
        if k == kind and pointer.resource_id == prior.id:
            work.point(kind, Key(assigner, value), survivor.id)
            history.append(remembered(canon, act, kind, Key(assigner, value), prior.id, survivor.id, origin))
    for source in list(work.by_resource.get(prior.id, ())):
        work.repoint_source(source, survivor.id)
    prior.status, prior.moved = "merged", True
    document = {**prior.data, "active": False, "replacedBy": survivor.id}
    if kind == "Patient":
        prior.other_owner = survivor.id
    # First of all: whatever the survivor's lane tells from here on waits for what the prior patient's still has to tell.
    canon.revise(prior, document, origin, applied, type_=f"{kind.lower()}.merged")
    if kind == "Patient":
        for child in work.children(prior.id, OWNED):
            give(canon, child, survivor, origin, applied)
    settle_all(canon, survivor, origin, applied)
    return history


def give(canon: Canon, child: Resource, owner: Resource, origin: Origin, applied: Applied) -> None:
    """The child goes to `owner`; a Relationship says in itself whose it is."""
    canon.work.owned_by(child, owner.id)
    if child.kind == "Relationship" and child.status == "active":
        canon.revise(child, {**child.data, "patient": f"Patient/{owner.id}"}, origin, applied)


def settle_all(canon: Canon, resource: Resource, origin: Origin, applied: Applied) -> None:
    """All golden values anew."""
    names = {n for s in canon.work.sources_of(resource.id, resource.kind) for n in s.data} | {"identifier"}
    names |= {n for n in resource.data if n not in ("active", "replacedBy")}
    canon.settle(resource, origin, applied, sorted(names))


def remembered(canon: Canon, act: str, kind: str, key: Key, from_id: str, to_id: str, origin: Origin) -> Row:
    """The row of link_history that says it."""
    return LinkHistoryRow(canon.now, act, kind, key.assigner, key.value, from_id, to_id, origin.message_id, origin.actor)
