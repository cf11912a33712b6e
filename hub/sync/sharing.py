"""Numbers that several things may have together, and when what has such a number is another thing all the same.

A laboratory gives the orders of one sample one filler number (docs/adr/0073); an accession number numbers an order, and what
comes of it (docs/adr/0143).
"""

from __future__ import annotations

from collections.abc import Iterable

from hub.domain.facts import Fact, Key
from hub.domain.imaging import PARTS, UID, is_shared_by_orders, numbers_of
from hub.sync.references import key_of
from hub.sync.workspace import Resource, Source

SHARING = frozenset({"ServiceRequest", "MedicationRequest", "ImagingStudy"})
SERVER = ":fhir"  # the end of the assigner of a FHIR server's own ids (hub/mapping/fhir_keys.py)


def is_another(resource: Resource, fact: Fact, key: Key, sources: Iterable[Source]) -> bool:
    """Whether the thing behind one of the fact's other numbers, `key`, is another one than the fact is of.

    `sources`: who has told of that thing.
    """
    if fact.kind not in SHARING:
        return False
    if fact.kind == "ImagingStudy":
        ours, theirs = ({key_of(one) for one in numbers_of(said, UID)} for said in (fact.values, resource.data))
        return bool(ours and theirs and not ours & theirs)
    if fact.key.assigner in PARTS:  # the number of a performed step is none of an order's
        return False
    if fact.kind == "ServiceRequest" and is_shared_by_orders(key.assigner) and fact.key.assigner.endswith(SERVER):
        server = f"{fact.key.assigner}|"
        if any(source.key.startswith(server) for source in sources):
            return True  # one server, two ids
    type_ = type_of(fact, fact.key)
    return any(i.get("type", "") == type_ and key_of(i) != fact.key for i in resource.data.get("identifier") or ())


def type_of(fact: Fact, key: Key) -> str:
    """Of which sort the fact says that its number is."""
    for identifier in fact.values.get("identifier") or ():
        if identifier.get("value") == key.value and identifier.get("assigner") == key.assigner:
            return str(identifier.get("type", ""))
    return ""
