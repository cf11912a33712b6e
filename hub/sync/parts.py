"""Parts of a study, a series or a performed step: which study each is of, and that it moves no study (docs/adr/0141)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.domain.facts import Fact, Key
from hub.domain.imaging import DICOM, PARTS
from hub.sync.golden import nearness
from hub.sync.lists import remove
from hub.sync.unite import settle_all
from hub.sync.workspace import Resource, Source, Workspace

if TYPE_CHECKING:
    from hub.sync.canon import Applied, Canon, Origin


def looked_up(fact: Fact) -> list[Key]:
    """A fact's numbers, the surest first: which study a part is of, its UID says, and not where the part was before."""
    keys = [fact.key, *fact.other_keys]
    return sorted(keys, key=lambda key: key.assigner != DICOM) if _is_part(fact) else keys


def has_nearer(work: Workspace, resource: Resource, key: Key) -> bool:
    """Whether who tells more of a study than this part of it has said whose it is, and has it still."""
    said = (source.key.partition("|")[0] for source in work.sources_of(resource.id, resource.kind) if source.patient_key)
    return resource.status == "active" and any(nearness(assigner) > nearness(key.assigner) for assigner in said)


def take_part(canon: Canon, study: Resource, fact: Fact, source: Source | None, origin: Origin, applied: Applied) -> bool:
    """A series that was moved to another study is told of in that one only; True where it was told of in another."""
    work = canon.work
    pointer = work.pointers.get((fact.kind, *fact.key))
    if not _is_part(fact) or pointer is None:
        return False
    if (pointer.resource_id, pointer.home_id) != (study.id, study.id):
        pointer.resource_id, pointer.home_id, pointer.dirty = study.id, study.id, True
    if source is None or source.resource_id == study.id:
        return False
    left = work.resources[source.resource_id]
    work.repoint_source(source, study.id)
    if work.sources_of(left.id, left.kind):
        settle_all(canon, left, origin, applied)
    elif left.status == "active":
        remove(canon, left, origin, applied)
    return True


def _is_part(fact: Fact) -> bool:
    return fact.kind == "ImagingStudy" and fact.key.assigner in PARTS
