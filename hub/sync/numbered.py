"""What a number that several patients may have stands for, as one of them means it (docs/adr/0179).

Accession numbers are typed, reused and given out by several houses; a number alone never ties one patient's study to another's
order. The first who has it has the number itself; another patient's thing has it together with the id of its patient.
"""

from __future__ import annotations

from hub.domain.facts import Key
from hub.domain.imaging import is_shared_by_orders
from hub.sync.workspace import Resource, Workspace


def of_patient(work: Workspace, kind: str, key: Key, patient_id: str | None) -> tuple[Resource | None, Key]:
    """What that patient has under a number, and the number under which it is found or to be awaited.

    Whose it is counts where both are known only. What has to be looked up is loaded.
    """
    found = work.find(kind, key)
    if found is None or found.patient_id == patient_id or not is_shared_by_orders(key.assigner):
        return found, key
    if _is_nobody(work, patient_id) or _is_nobody(work, found.patient_id):
        return found, key
    his = Key(f"{key.assigner}#{patient_id}", key.value)
    work.load_keys([(kind, *his)])
    return work.find(kind, his), his


def _is_nobody(work: Workspace, patient_id: str | None) -> bool:
    """Whether not even a number of his is known: nobody, or a FHIR server's patient of whom it has not told."""
    if patient_id is None:
        return True
    if any(patient_id == stood for stood, _ in work.stood.values()):
        return False
    work.load_resources([patient_id])
    patient = work.resources.get(patient_id)
    return patient is None or not patient.data
