"""`hub map try` of FHIR: a resource, or each resource of a bundle, with what the maps make of it."""

from __future__ import annotations

from typing import Any

from hub.codecs.fhir_bundle_in import Entry, entries
from hub.codecs.fhir_incoming import read, type_of
from hub.domain.errors import HubError
from hub.mapping import Context, MapSet
from hub.mapping.fhir_keys import Names

MOST = 1000  # entries of a bundle


def is_json(data: bytes) -> bool:
    """Whether a file is JSON: no HL7 message begins so."""
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def explained(maps: MapSet, context: Context, names: Names, data: bytes) -> list[dict[str, Any]]:
    """Of each resource: event, map version, rows of the rules, facts, warnings, and the error where it cannot be mapped."""
    try:
        document = read(data)
    except HubError as error:
        return [_result(maps, "FHIR", error.reason)]
    if document["resourceType"] != "Bundle":
        return [_of(maps, context, names, document)]
    found = []
    for one in entries(document, lambda _: "new", MOST):
        if isinstance(one, Entry):
            found.append(_of(maps, context, names, one.document))
        else:
            found.append(_result(maps, "Bundle", f"{one.where}: {one.text}"))
    return found


def _of(maps: MapSet, context: Context, names: Names, document: dict[str, Any]) -> dict[str, Any]:
    result = _result(maps, type_of(document))
    try:
        if not maps.handles_fhir(result["event"]):
            result["error"] = f"there is no map for {result['event']}: the hub would end it ignored"
            return result
        result["rows"] = maps.explain_fhir(document, context, names)
        mapped = maps.map_fhir(document, context, names)
        result["warnings"] = mapped.warnings
        result["facts"] = [f"{type(fact).__name__} {getattr(fact, 'kind', '')}".strip() for fact in mapped.facts]
    except HubError as error:
        result["error"] = error.reason
    return result


def _result(maps: MapSet, event: str, error: str = "") -> dict[str, Any]:
    return {"event": event, "version": maps.version, "error": error, "rows": [], "facts": [], "warnings": []}
