"""FHIR R4 datatypes out of canonical values: what the standard does not allow is left out, so that what leaves is valid.

Canonical documents hold what the hospital's systems said; FHIR is stricter (datatypes.html): no empty strings, no control
characters, codes without outer or doubled blanks, times of day with seconds and zone, URIs without blanks. Every function
here gives None, {} or [] where nothing valid is left; `present` drops those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

from hub.codecs.fhir import (
    ADDRESS_USES,
    CONTACT_SYSTEMS,
    CONTACT_USES,
    IDENTIFIER_TYPE,
    IDENTIFIER_USES,
    NAME_USES,
    REPRESENTATION,
    Document,
)
from hub.domain.imaging import DICOM

V2 = "http://terminology.hl7.org/CodeSystem/v2-"
V3 = "http://terminology.hl7.org/CodeSystem/v3-"
ABSENT: Document = {
    "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]
}  # extension-data-absent-reason.html: for an element that must be there and whose value nobody told us
OWN = "urn:hospital-hub:"
DICOM_UIDS = "urn:dicom:uid"  # identifier.system of UIDs, whose values are `urn:oid:…` (imagingstudy.html#notes)
_ASSIGNER = f"{OWN}assigner:"
_CODES = f"{OWN}codes:"
_URI = re.compile(r"(https?://|urn:[A-Za-z0-9][A-Za-z0-9-]{1,31}:)\S+\Z")
_OID = re.compile(r"[0-2](\.(0|[1-9]\d*))+\Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)\Z", re.ASCII)
_PARTIAL = re.compile(r"\d{4}(-\d\d(-\d\d)?)?\Z", re.ASCII)

CODE_SYSTEMS = {  # HL7 table 0396 -> URI (terminologies-systems.html); KR Core 2.0.0 for Korea's
    "LN": "http://loinc.org", "SCT": "http://snomed.info/sct", "SNM3": "http://snomed.info/sct",
    "I10": "http://hl7.org/fhir/sid/icd-10", "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm", "UCUM": "http://unitsofmeasure.org",
    "C4": "http://www.ama-assn.org/go/cpt", "NDC": "http://hl7.org/fhir/sid/ndc", "CVX": "http://hl7.org/fhir/sid/cvx",
    "KCD": "http://www.hl7korea.or.kr/CodeSystem/kostat-kcd-8",
    "KCD8": "http://www.hl7korea.or.kr/CodeSystem/kostat-kcd-8",
    "EDI": "http://www.hl7korea.or.kr/CodeSystem/hira-edi-procedure",
}  # fmt: skip
_CODE_NAMES = {uri: name for name, uri in reversed(CODE_SYSTEMS.items())}  # the first name of each
_ALIASES = {  # names of KR Core's drafts, still met (its NamingSystems list both)
    "http://www.mohw.go.kr/CodeSystem/practitioner-specialty": "http://www.hl7korea.or.kr/CodeSystem/hira-medical-department",
    "https://biz.kpis.or.kr/CodeSystem/kdcode": "http://www.hl7korea.or.kr/CodeSystem/kpis-kdcode",
    "https://hira.or.kr/CodeSystem/organization-type": "http://www.hl7korea.or.kr/CodeSystem/hira-healthcare-organization-types",
    "https://hira.or.kr/knpi": "http://www.hl7korea.or.kr/Identifier/hira-krnpi",
    "https://mohw.go.kr/CodeSystem/practitioner-license-type": "http://www.hl7korea.or.kr/Identifier/mohw-md-license-id",
}


@dataclass(frozen=True, slots=True)
class Systems:
    """How assigning authorities and code systems are called in FHIR: what hub.toml declares, else a URI of our own.

    An assigner that is an OID, a UUID or a URI already says its own name (HL7 v2-to-FHIR, CX.4); any other becomes
    `urn:hospital-hub:assigner:NAME`, which is stable and can be turned back.
    """

    identifiers: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)

    def of(self, assigner: str) -> str:
        """identifier.system of an assigner."""
        if assigner == DICOM:
            return DICOM_UIDS
        return self.identifiers.get(assigner) or _as_uri(assigner) or _ASSIGNER + quote(assigner, safe="")

    def assigners(self, system: str) -> list[str]:
        """The assigners that a caller's identifier.system can mean; a name that is no system of ours is taken as it is."""
        declared = [assigner for assigner, uri in self.identifiers.items() if uri == system]
        if system.startswith(_ASSIGNER):
            declared.append(unquote(system.removeprefix(_ASSIGNER)))
        if system == DICOM_UIDS:
            declared.append(DICOM)
        declared += [system.removeprefix(prefix) for prefix in ("urn:oid:", "urn:uuid:") if system.startswith(prefix)]
        return list(dict.fromkeys([*declared, system]))

    def assigner(self, system: str) -> str:
        """Who gave out the numbers of an identifier.system that came in: the way back of `of`."""
        return self.assigners(_ALIASES.get(system, system))[0]

    def code_name(self, system: str) -> str:
        """The name that messages have for a Coding.system that came in: the way back of `code_system`, else the URI itself."""
        system = _ALIASES.get(system, system)
        declared = next((name for name, uri in self.codes.items() if uri == system), None)
        if declared is not None:
            return declared
        if system.startswith(_CODES):
            return unquote(system.removeprefix(_CODES))
        if system.startswith(f"{V2}0"):
            return f"HL7{system.removeprefix(V2)}"
        return _CODE_NAMES.get(system, system)

    def code_system(self, name: str) -> str | None:
        """Coding.system of a code system's name in a message; None where it names none (L, 99zzz: local codes)."""
        if name in self.codes:
            return self.codes[name]
        if not name or name.upper() in ("L", "LOCAL"):
            return None
        if re.fullmatch(r"HL7\d{4}", name):
            return V2 + name[3:]
        return CODE_SYSTEMS.get(name.upper()) or _as_uri(name) or _CODES + quote(name, safe="")


def _as_uri(name: str) -> str | None:
    if _URI.match(name):
        return name
    if _OID.match(name):
        return f"urn:oid:{name}"
    return f"urn:uuid:{name.lower()}" if _UUID.match(name) else None


# primitives


def string(value: object) -> str | None:
    """A string without control characters and outer blanks (datatypes.html#string); None where nothing is left."""
    return (_CONTROL.sub("", value).strip() or None) if isinstance(value, str) else None


def strings(values: object) -> list[str]:
    """The strings of a list."""
    return [text for one in values if (text := string(one))] if isinstance(values, list) else []


def code(value: object) -> str | None:
    """A code: single blanks inside at most (datatypes.html#code)."""
    text = string(value)
    return (" ".join(text.split()) or None) if text else None


def one_of(value: object, allowed: Iterable[str]) -> str | None:
    """`value` where its required binding has it."""
    return value if isinstance(value, str) and value in allowed else None


def a_date(value: object) -> str | None:
    """A date: YYYY, YYYY-MM or YYYY-MM-DD of the calendar; a time of day is cut off."""
    text = value[:10] if isinstance(value, str) else ""
    if not _PARTIAL.match(text):
        return None
    try:
        date.fromisoformat(text + "-01-01"[len(text) - 4 :])
    except ValueError:
        return None
    return text


def date_time(value: object) -> str | None:
    """A dateTime: a time of day has seconds and a zone, or it is a date only (datatypes.html#dateTime)."""
    return instant(value) or a_date(value)


def instant(value: object) -> str | None:
    """An instant: date, time of day and zone; None where the value says less."""
    found = _TIME.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    text = f"{found[1]}T{found[2]}{found[3] or ':00'}{(found[4] or '')[:7]}{found[5]}"
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except ValueError:
        return None
    return text if offset is not None and abs(offset) <= timedelta(hours=14) else None


def at(us: int) -> str:
    """µs -> an instant in UTC."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % 1_000_000:06d}Z"


# complex datatypes


def present(parts: Mapping[str, Any]) -> Document:
    """Without what is empty: R4 has no nulls, no empty objects and no empty lists (json.html)."""
    return {key: value for key, value in parts.items() if value not in (None, "", [], {})}


def every(make: Any, values: object, *more: Any) -> list[Document]:
    """`make` of each object of a list, without what came out empty."""
    found = values if isinstance(values, list) else []
    return [made for one in found if isinstance(one, Mapping) and (made := make(one, *more))]


def identifier(one: Mapping[str, Any], systems: Systems) -> Document:
    """KR Core wants system and value in every identifier."""
    value = string(one.get("value"))
    if value is None:
        return {}
    kind = code(one.get("type"))
    return present(
        {
            "use": one_of(one.get("use"), IDENTIFIER_USES),
            "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": kind}]} if kind else None,
            "system": systems.of(str(one.get("assigner", ""))),
            "value": f"urn:oid:{value}" if one.get("assigner") == DICOM else value,
        }
    )


def human_name(one: Mapping[str, Any]) -> Document:
    """KR Core demands name.text; the representation (HL7 XPN.8) goes into the extension of ISO 21090."""
    text = string(one.get("text"))
    if text is None:
        return {}
    representation = one_of(one.get("representation"), ("IDE", "ABC", "SYL"))
    return present(
        {
            "extension": [{"url": REPRESENTATION, "valueCode": representation}] if representation else None,
            "use": one_of(one.get("use"), NAME_USES),
            "text": text,
            "family": string(one.get("family")),
            **{part: strings(one.get(part)) for part in ("given", "prefix", "suffix")},
        }
    )


def contact_point(one: Mapping[str, Any]) -> Document:
    """cpt-2: a value has a system."""
    value = string(one.get("value"))
    if value is None:
        return {}
    return present(
        {
            "system": one_of(one.get("system"), CONTACT_SYSTEMS) or "other",
            "value": value,
            "use": one_of(one.get("use"), CONTACT_USES),
        }
    )


def address(one: Mapping[str, Any]) -> Document:
    """An address of words; `use` alone is none."""
    parts = {key: string(one.get(key)) for key in ("text", "city", "district", "state", "postalCode", "country")}
    found = present({**parts, "line": strings(one.get("line"))})
    return present({"use": one_of(one.get("use"), ADDRESS_USES), **found}) if found else {}


def period(one: object) -> Document:
    """per-1: an end before its start is no end."""
    if not isinstance(one, Mapping):
        return {}
    start, end = date_time(one.get("start")), date_time(one.get("end"))
    if start and end and _moment(end, last=True) < _moment(start, last=False):
        end = None
    return present({"start": start, "end": end})


def concept(coding: object, systems: Systems) -> Document:
    """A canonical Coding as CodeableConcept: code with its system's URI, and the words as text."""
    if not isinstance(coding, Mapping):
        return {}
    display = string(coding.get("display"))
    value = code(coding.get("code"))
    made = present({"system": systems.code_system(str(coding.get("system") or "")), "code": value, "display": display})
    return present({"coding": [made] if value else None, "text": display or value})


def coded(value: object, system: str, text: str | None = None) -> Document:
    """A bare code under a known system as CodeableConcept."""
    found = code(value)
    return present({"coding": [{"system": system, "code": found}], "text": text}) if found else {}


def words(value: object) -> Document:
    """A local code or plain words: a CodeableConcept of text."""
    return present({"text": string(value)})


def reference(kind: str, resource_id: object) -> Document:
    """Reference to a resource of ours."""
    return {"reference": f"{kind}/{resource_id}", "type": kind} if resource_id else {}


def party(one: object, systems: Systems, kinds: tuple[str, ...]) -> Document:
    """A Party as Reference: to our resource where it is one of `kinds`, else by its identifier, with the name as display."""
    if not isinstance(one, Mapping):
        return {}
    kind, _, resource_id = str(one.get("reference") or "").partition("/")
    number = one.get("identifier")
    return present(
        {
            **(reference(kind, resource_id) if kind in kinds else {}),
            "identifier": identifier(number, systems) if isinstance(number, Mapping) else None,
            "display": string(one.get("name")),
        }
    )


def extension(url: str, **value: Any) -> list[Document]:
    """One extension, where its value is there."""
    found = present(value)
    return [{"url": url, **found}] if found else []


def _moment(text: str, *, last: bool) -> datetime:
    """The first or last moment that a dateTime can mean, for a comparison: a date alone is any time of that day anywhere."""
    if "T" in text:
        return datetime.fromisoformat(text)
    full = text + ("-12-28" if last else "-01-01")[len(text) - 4 :]
    return datetime.fromisoformat(f"{full}T{'23:59:59' if last else '00:00:00'}{'-12:00' if last else '+14:00'}")
