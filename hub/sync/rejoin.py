"""Orders, studies and reports of patients who became one, or two again, or gave one to another: what they name is looked up anew.

Told while their patients were two, a study and its order of one number were kept apart (hub/sync/numbered.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hub.domain.facts import Key
from hub.domain.imaging import ACSN, PARTS, UID, is_shared_by_orders, numbers_of
from hub.domain.model import Kind
from hub.domain.rows import Row
from hub.sync.numbered import of_patient
from hub.sync.references import key_of
from hub.sync.unite import settle_all, unite
from hub.sync.workspace import Resource, Workspace

if TYPE_CHECKING:
    from hub.sync.canon import Applied, Canon, Origin

NUMBERED: tuple[Kind, ...] = ("ServiceRequest", "ImagingStudy")
NAMING: tuple[Kind, ...] = ("ImagingStudy", "DiagnosticReport")  # of references.BY_OWN_NUMBERS


def rejoin(canon: Canon, patients: Iterable[str], origin: Origin, applied: Applied) -> list[Row]:
    """`patients`: their ids. What is to be written to link_history."""
    work, history = canon.work, list[Row]()
    patients = list(dict.fromkeys(patients))
    for order in _children(work, patients, ("ServiceRequest",), "merged"):
        _take_back(canon, order, origin, applied)
    numbered = [(one, key) for one in _children(work, patients, NUMBERED) for key in _shared(one)]
    work.load_keys([(one.kind, *key) for one, key in numbered])
    for one, key in numbered:
        his, mine = of_patient(work, one.kind, key, one.patient_id)
        if his is None and mine != key:
            work.point(one.kind, mine, one.id)
        elif one.kind == "ServiceRequest" and his is not None and his is not one:
            history += _one_order(canon, his, one, origin, applied)
    naming = _children(work, patients, NAMING)
    work.load_keys([key for one in naming for key in canon.references.to_load(one.kind, one.data)])
    for one in [*naming, *work.met()]:
        canon.settle(one, origin, applied, ())
    return history


def _children(work: Workspace, patients: Iterable[str], kinds: tuple[Kind, ...], status: str = "active") -> list[Resource]:
    return [one for patient in patients for one in work.children(patient, kinds) if one.status == status]


def _shared(one: Resource) -> list[Key]:
    """The numbers that it may share; a study's UID is its own."""
    return [key_of(number) for number in numbers_of(one.data, ACSN, *(() if one.kind == "ImagingStudy" else (UID,)))]


def _one_order(canon: Canon, one: Resource, other: Resource, origin: Origin, applied: Applied) -> list[Row]:
    """An order without a number of its own is the one that was ordered; two that have one stay two."""
    if "merged" in (one.status, other.status):
        return []
    canon.work.load_resources([one.id, other.id])
    made = next((order for order in (other, one) if _has_no_own_number(canon.work, order)), None)
    if made is None:
        return []
    return unite(canon, "ServiceRequest", one if made is other else other, made, "merge", origin, applied)


def _has_no_own_number(work: Workspace, order: Resource) -> bool:
    """Whether nobody has told of it but by a step, or by a number that orders share."""
    assigners = {source.key.partition("|")[0].partition("#")[0] for source in work.sources_of(order.id, order.kind)}
    return all(assigner in PARTS or is_shared_by_orders(assigner) for assigner in assigners)


def _take_back(canon: Canon, order: Resource, origin: Origin, applied: Applied) -> None:
    """An order that became part of one that is another patient's now is an order of its own again."""
    work, survivor_id = canon.work, str(order.data.get("replacedBy", ""))
    work.load_resources([order.id, survivor_id])
    survivor = work.resources.get(survivor_id)
    if survivor is None or survivor.patient_id == order.patient_id:
        return
    work.load_pointers_of([order.id, survivor.id])
    for (kind, assigner, value), pointer in list(work.pointers.items()):
        if kind == order.kind and pointer.home_id == order.id:
            work.point(kind, Key(assigner, value), order.id)
            for source in work.sources_of(survivor.id, kind):
                if source.key == f"{assigner}|{value}":
                    work.repoint_source(source, order.id)
    order.status, order.moved = "active", True
    kept = {name: value for name, value in order.data.items() if name not in ("active", "replacedBy")}
    canon.revise(order, kept, origin, applied, type_="servicerequest.updated")
    settle_all(canon, order, origin, applied)
    settle_all(canon, survivor, origin, applied)
