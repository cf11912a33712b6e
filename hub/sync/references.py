"""What a document names by its number (a doctor, a visit, an order) gets the id of the resource that the number stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from hub.domain.facts import Key
from hub.domain.model import REFERENCES
from hub.sync.workspace import Resource, Workspace


class References:
    """Resolves them within one transaction. `known`: the id of a Practitioner that need not be loaded (hub/sync/shared.py)."""

    def __init__(self, work: Workspace, known: Callable[[Key], str | None] | None) -> None:
        self._work = work
        self._known = cache(known) if known is not None else (lambda _key: None)  # once: what it knows may run out meanwhile

    def to_load(self, values: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
        """(kind, assigner, value) of what these values name and has to be loaded."""
        for party in values.get("participant") or ():
            if party.get("identifier") and self._known(key_of(party["identifier"])) is None:
                yield ("Practitioner", *key_of(party["identifier"]))
        for name, kind in REFERENCES.items():
            if values.get(name):
                yield (kind, *key_of(values[name]["identifier"]))

    def resolve(self, resource: Resource, document: dict[str, Any]) -> None:
        """Names the Practitioner resources; on copies, because the source record keeps what the source said."""
        if "participant" in document:
            document["participant"] = [self._resolved(party) for party in document["participant"]]
        for name, kind in REFERENCES.items():
            if name in document:
                key = key_of(document[name]["identifier"])
                found = self._work.find(kind, key)
                if found is not None:
                    document[name] = {**document[name], "reference": f"{kind}/{found.id}"}
                elif "reference" not in document[name]:
                    self._work.wait(kind, key, resource.id)

    def _resolved(self, party: dict[str, Any]) -> dict[str, Any]:
        identifier = party.get("identifier")
        if not identifier:
            return party
        key = key_of(identifier)
        found = self._work.find("Practitioner", key)
        id_ = found.id if found is not None else self._known(key)
        return {**party, "reference": f"Practitioner/{id_}"} if id_ else party


def key_of(identifier: Mapping[str, Any]) -> Key:
    return Key(identifier.get("assigner", ""), identifier["value"])
