"""FHIR R4 Patient: bytes <-> documents, canonical <-> FHIR, validation, OperationOutcome.

The only importer of fhir.resources. Its R4B models stand in for R4: Patient, Bundle and OperationOutcome have the same
elements in both (https://hl7.org/fhir/R4B/diff.html). A peer's document stays a plain dict and is never rebuilt from a
model, so that what we do not know of it survives. Numbers keep their literal, because FHIR gives 1.0 and 1.00 different
meanings (https://hl7.org/fhir/R4/datatypes.html#decimal).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from fhir.resources.R4B.patient import Patient as PatientModel
from pydantic import ValidationError

from hub.domain.errors import Unmappable, Unreadable

MEDIA_TYPE = "application/fhir+json"
REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
MARITAL_STATUS = "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"
LANGUAGE = "urn:ietf:bcp:47"
KR_CORE_PATIENT = "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/krcore-patient"

IDENTIFIER_USES = frozenset({"usual", "official", "temp", "secondary", "old"})
NAME_USES = frozenset({"usual", "official", "temp", "nickname", "anonymous", "old", "maiden"})
ADDRESS_USES = frozenset({"home", "work", "temp", "old", "billing"})
CONTACT_USES = frozenset({"home", "work", "temp", "old", "mobile"})
CONTACT_SYSTEMS = frozenset({"phone", "fax", "email", "pager", "url", "sms", "other"})
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")  # datatypes.html#id
_ISSUE_CODE = re.compile(r"[a-z][a-z-]{1,40}\Z")  # the closed set issue-type is all of this shape

Document = dict[str, Any]


def is_id(text: str | None) -> bool:
    """Whether this may be put into a URL as a logical id; "." and ".." would climb out of it."""
    return bool(text) and bool(_ID.match(cast(str, text))) and set(cast(str, text)) != {"."}


def parse(body: bytes, *, resource_type: str | None = None) -> Document:
    """Bytes to a document. Raises Unreadable where it is no JSON object, or not of `resource_type`."""
    try:
        found = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unreadable("not a JSON document", code="not_json") from None
    if not isinstance(found, dict) or not isinstance(found.get("resourceType"), str):
        raise Unreadable("not a FHIR resource: resourceType is missing", code="not_fhir")
    if resource_type and found["resourceType"] != resource_type:
        raise Unreadable(f"not a {resource_type}", code="wrong_resource")
    return found


def dump(document: Mapping[str, Any]) -> bytes:
    """A document to UTF-8 bytes; numbers that `parse` read are written with the digits they came with."""
    mark = f"#{secrets.token_hex(16)}#"  # nobody can have put this into a text of the document

    def literal(value: object) -> str:
        if isinstance(value, Decimal):
            return f"{mark}{value}{mark}"
        raise TypeError(f"{type(value).__name__} is no JSON")

    def written(*, ascii_only: bool) -> bytes:
        text = json.dumps(document, ensure_ascii=ascii_only, separators=(",", ":"), default=literal, allow_nan=False)
        return re.sub(f'"{mark}([^"]*){mark}"', r"\1", text).encode()

    try:
        return written(ascii_only=False)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        return written(ascii_only=True)


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")


def check(document: Mapping[str, Any]) -> None:
    """Validates a Patient against R4B. Raises Unmappable naming the elements that are wrong, never their values."""
    try:
        PatientModel.model_validate(json.loads(json.dumps(document, default=float)))
    except ValidationError as error:
        places = sorted({".".join(str(step) for step in one["loc"]) or "Patient" for one in error.errors()})
        raise Unmappable(f"no valid FHIR Patient: {', '.join(places[:8])}", code="invalid_fhir") from None


def issue_codes(body: bytes) -> str:
    """The issue codes of an OperationOutcome ("duplicate, invalid"), free of patient data; "" where it is none."""
    try:
        issues = parse(body, resource_type="OperationOutcome").get("issue")
    except Unreadable:
        return ""
    codes = [issue.get("code") for issue in issues if isinstance(issue, dict)] if isinstance(issues, list) else []
    return ", ".join(dict.fromkeys(code for code in codes if isinstance(code, str) and _ISSUE_CODE.match(code)))


def search_token(*parts: str) -> str:
    """`system|value`, or a value alone, for a token search, with $ , | and backslash escaped (search.html#escaping)."""
    return "|".join(re.sub(r"([\\$,|])", r"\\\1", part) for part in parts)


def matches(bundle: Mapping[str, Any], kind: str = "Patient") -> list[Document]:
    """The resources of a kind that a searchset matched (not what it included beside them), each once."""
    found: dict[str, Document] = {}
    for entry in objects(bundle.get("entry")):
        resource, search = entry.get("resource"), entry.get("search")
        mode = search.get("mode", "match") if isinstance(search, dict) else "match"
        if isinstance(resource, dict) and resource.get("resourceType") == kind and mode == "match":
            found[str(resource.get("id", ""))] = resource
    return list(found.values())


def is_replaced(document: Mapping[str, Any]) -> bool:
    """Whether this Patient was merged into another one (patient.html: link.type replaced-by)."""
    return any(link.get("type") == "replaced-by" for link in objects(document.get("link")))


def objects(value: object) -> list[Document]:
    """The JSON objects of a list; anything else counts as none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


# canonical -> FHIR


def patient_to_fhir(patient: Mapping[str, Any], systems: Mapping[str, str]) -> Document:
    """A canonical Patient as a FHIR Patient. `systems`: assigner -> identifier.system; other assigners stay at home."""
    document: Document = {"resourceType": "Patient"}
    ours = [one for one in _list(patient, "identifier") if one.get("assigner") in systems]
    parts: dict[str, Any] = {
        "identifier": [identifier_to_fhir(one, systems[one["assigner"]]) for one in ours],
        "name": [name_to_fhir(one) for one in _list(patient, "name")],
        "telecom": [telecom_to_fhir(one) for one in _list(patient, "telecom")],
        "address": [address_to_fhir(one) for one in _list(patient, "address")],
        **{key: patient.get(key) for key in ("active", "gender", "birthDate")},
    }
    document |= {key: value for key, value in parts.items() if value not in (None, [])}
    return document | deceased_to_fhir(patient) | language_to_fhir(patient) | marital_to_fhir(patient)


def identifier_to_fhir(one: Mapping[str, Any], system: str) -> Document:
    made: Document = {"system": system, "value": one["value"]}
    if one.get("use") in IDENTIFIER_USES:
        made = {"use": one["use"]} | made
    if one.get("type"):
        made["type"] = {"coding": [{"system": IDENTIFIER_TYPE, "code": one["type"]}]}
    return made


def name_to_fhir(one: Mapping[str, Any]) -> Document:
    """KR Core demands name.text; the representation (HL7 XPN.8) goes into the extension of ISO 21090."""
    made = {key: one[key] for key in ("text", "family", "given", "prefix", "suffix") if one.get(key)}
    if one.get("use") in NAME_USES:
        made["use"] = one["use"]
    if one.get("representation"):
        made["extension"] = [{"url": REPRESENTATION, "valueCode": one["representation"]}]
    return made


def telecom_to_fhir(one: Mapping[str, Any]) -> Document:
    made: Document = {"system": one["system"] if one.get("system") in CONTACT_SYSTEMS else "other", "value": one["value"]}
    if one.get("use") in CONTACT_USES:
        made["use"] = one["use"]
    return made


def address_to_fhir(one: Mapping[str, Any]) -> Document:
    made = {key: one[key] for key in ("text", "line", "city", "district", "state", "postalCode", "country") if one.get(key)}
    if one.get("use") in ADDRESS_USES:
        made["use"] = one["use"]
    return made


def deceased_to_fhir(patient: Mapping[str, Any]) -> Document:
    """deceased[x]: the time where it is known, else the flag."""
    if patient.get("deceasedAt"):
        return {"deceasedDateTime": patient["deceasedAt"]}
    return {"deceasedBoolean": patient["deceased"]} if "deceased" in patient else {}


def language_to_fhir(patient: Mapping[str, Any]) -> Document:
    if not patient.get("language"):
        return {}
    return {"communication": [{"language": {"coding": [{"system": LANGUAGE, "code": patient["language"]}]}, "preferred": True}]}


def marital_to_fhir(patient: Mapping[str, Any]) -> Document:
    """HL7 table 0002 and v3-MaritalStatus share the codes A D I L M P S T U W."""
    code = patient.get("maritalStatus")
    return {"maritalStatus": {"coding": [{"system": MARITAL_STATUS, "code": code}]}} if code else {}


# FHIR -> canonical


def patient_from_fhir(document: Mapping[str, Any], systems: Mapping[str, str]) -> dict[str, Any]:
    """A FHIR Patient as a canonical Patient document; an identifier's system that `systems` lacks is its own assigner."""
    assigners = {system: assigner for assigner, system in systems.items()}
    patient: dict[str, Any] = {
        "identifier": [identifier_from_fhir(one, assigners) for one in objects(document.get("identifier")) if one.get("value")],
        "name": [name_from_fhir(one) for one in objects(document.get("name")) if name_text(one)],
        "telecom": [_picked(one, ("system", "value", "use")) for one in objects(document.get("telecom")) if one.get("value")],
        "address": [address_from_fhir(one) for one in objects(document.get("address"))],
        **{key: document.get(key) for key in ("birthDate", "gender", "active")},
        "deceasedAt": document.get("deceasedDateTime"),
        "deceased": True if document.get("deceasedDateTime") else document.get("deceasedBoolean"),
        "language": next((_code(one.get("language"), LANGUAGE) for one in objects(document.get("communication"))), None),
        "maritalStatus": _code(document.get("maritalStatus"), MARITAL_STATUS),
    }
    return {key: value for key, value in patient.items() if value is not None and value != []}


def identifier_from_fhir(one: Mapping[str, Any], assigners: Mapping[str, str]) -> dict[str, Any]:
    system = str(one.get("system", ""))
    made = {"assigner": assigners.get(system, system), "value": str(one["value"])}
    code = _code(one.get("type"), IDENTIFIER_TYPE)
    return made | ({"type": code} if code else {}) | ({"use": one["use"]} if one.get("use") in IDENTIFIER_USES else {})


def name_from_fhir(one: Mapping[str, Any]) -> dict[str, Any]:
    made = {"text": name_text(one)} | _picked(one, ("family", "given", "prefix", "suffix", "use"))
    code = representation(one)
    return made | ({"representation": code} if code in ("IDE", "ABC", "SYL") else {})


def name_text(one: Mapping[str, Any]) -> str:
    """`text`, else what its parts make of it: family and given together in Hangul and Han, given first elsewhere."""
    if one.get("text"):
        return str(one["text"])
    family, given = str(one.get("family") or ""), [str(part) for part in one.get("given") or []]
    if family[:1] >= "\u2e80":  # CJK and Hangul stand above this point
        return family + "".join(given)
    return " ".join([*given, *([family] if family else [])])


def representation(one: Mapping[str, Any]) -> str | None:
    """The name's iso21090-EN-representation: ABC, IDE, SYL or None."""
    for extension in objects(one.get("extension")):
        if extension.get("url") == REPRESENTATION:
            return cast("str | None", extension.get("valueCode"))
    return None


def address_from_fhir(one: Mapping[str, Any]) -> dict[str, Any]:
    made = _picked(one, ("text", "line", "city", "district", "state", "postalCode", "country", "use"))
    if not made.get("text"):
        parts = [made.get("state"), made.get("city"), made.get("district"), *made.get("line", [])]
        made["text"] = " ".join(str(part) for part in parts if part)
    return made


def _picked(one: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: one[key] for key in keys if one.get(key)}


def _list(patient: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", patient.get(key) or [])


def _code(concept: object, system: str) -> str | None:
    if not isinstance(concept, Mapping):
        return None
    codings = objects(concept.get("coding"))
    return next((str(one["code"]) for one in codings if one.get("system") == system and one.get("code")), None)
