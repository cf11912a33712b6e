"""The CapabilityStatement of the façade, made from the same tables that the searches are read by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub.codecs.fhir import MEDIA_TYPE, Document
from hub.codecs.fhir_types import present

SINCE = "2026-11-22"  # when what stands here last changed


def statement(
    name: str,
    version: str,
    base: str,
    parameters: Mapping[str, Mapping[str, str]],
    includes: Mapping[str, Sequence[str]],
    revincludes: Mapping[str, Sequence[str]],
) -> Document:
    """`parameters`: kind -> search parameter -> its type; `includes`, `revincludes`: kind -> Source:parameter each."""
    return {
        "resourceType": "CapabilityStatement", "status": "active", "date": SINCE, "kind": "instance", "fhirVersion": "4.0.1",
        "software": {"name": "Hospital Hub", "version": version}, "implementation": {"description": name, "url": base},
        "format": ["json", MEDIA_TYPE],
        "rest": [
            {
                "mode": "server",
                "security": {"description": "Bearer tokens (RFC 6750) of the roles crm, operator, admin; every read is recorded"},
                "resource": [_resource(kind, parameters[kind], includes, revincludes) for kind in parameters],
            }
        ],
    }  # fmt: skip


def _resource(
    kind: str, parameters: Mapping[str, str], includes: Mapping[str, Sequence[str]], revincludes: Mapping[str, Sequence[str]]
) -> Document:
    everything = {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}
    found = {
        "type": kind,
        "interaction": [{"code": code} for code in ("read", "vread", "history-instance", "search-type")],
        "versioning": "versioned",
        "readHistory": True,
        "conditionalRead": "not-match",
        "searchInclude": list(includes.get(kind, ())),
        "searchRevInclude": list(revincludes.get(kind, ())),
        "searchParam": [{"name": name, "type": type_} for name, type_ in parameters.items()],
        "operation": [everything] if kind == "Patient" else None,
    }
    return present(found)
