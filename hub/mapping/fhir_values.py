"""Functions that read FHIR's data types into canonical objects (R4 datatypes.html), and those that make keys of them.

The way back of hub/codecs/fhir_types.py: what that writes, these read. `node` is the JSON that stands at the path.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

from hub.codecs.fhir import (
    ADDRESS_USES,
    CONTACT_SYSTEMS,
    CONTACT_USES,
    IDENTIFIER_TYPE,
    IDENTIFIER_USES,
    NAME_USES,
    REPRESENTATION,
    is_id,
    objects,
)
from hub.codecs.fhir_types import OWN, a_date, strings
from hub.codecs.korean import looks_like_rrn, scrub
from hub.domain.facts import Key
from hub.domain.imaging import ACSN, DICOM, UID, is_uid
from hub.mapping.fhir_paths import at_path, steps
from hub.mapping.fhir_paths import text_of as raw_text
from hub.mapping.fhir_source import FhirReader
from hub.mapping.functions import Reader, function
from hub.mapping.korean import is_hangul, is_mobile, normalise_phone, split_name
from hub.mapping.times import BadValue, iso_time

ROAD_NAME = "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/krcore-roadNameAddress"
PARTICIPATION = {  # v3-ParticipationType -> our roles; the way back of hub/codecs/fhir_visits.py
    "ATND": "attending", "REF": "referring", "CON": "consulting", "ADM": "admitting", "PPRF": "performer", "SPRF": "performer",
}  # fmt: skip
Node = Mapping[str, Any]
Value = dict[str, Any]


def _one(node: object) -> Node:
    """An object, or an empty one."""
    return node if isinstance(node, Mapping) else {}


def text_of(node: object) -> str:
    """A text, number or boolean as text; resident registration numbers are removed wherever they stand."""
    return scrub(raw_text(node))


def _in(node: object, path: str) -> str:
    """The first text that stands there."""
    return next((text for one in at_path(node, steps(path)) if (text := text_of(one))), "")


def _reader(reader: Reader) -> FhirReader:
    return cast("FhirReader", reader)


def _without_empty(parts: Mapping[str, Any]) -> Value:
    return {name: value for name, value in parts.items() if value}


# -- keys ---------------------------------------------------------------------------------------------------------


@function("fhir_key", "json", "key")
def key_of(node: object, reader: Reader) -> Key | None:
    """The resource's own id, an Identifier, or what a Reference names."""
    own = _reader(reader)
    if isinstance(node, str):
        known = is_id(node) and not looks_like_rrn(node)
        return own.names.of_id(str(own.document.get("resourceType", "")), node) if known else None
    one = _one(node)
    if "value" in one:
        return None if _in(one, f"type.coding[system={IDENTIFIER_TYPE}].code") in SHARED_NUMBERS else own.names.of_identifier(one)
    found = own.names.of_reference(one, own.document)
    return found[1] if found else None


SHARED_NUMBERS = frozenset({"SN", "MB"})  # table 0203: subscriber and member numbers, which a family has together


def _reference_to(kind: str) -> None:
    @function(f"{kind.lower()}_reference", "json", "key")
    def reference(node: object, reader: Reader) -> Key | None:
        own = _reader(reader)
        found = own.names.of_reference(node, own.document)
        return found[1] if found and found[0] in (kind, "") else None


for _kind in (
    "Patient", "Encounter", "ServiceRequest", "DiagnosticReport", "ImagingStudy", "Schedule", "Invoice",
):  # fmt: skip
    _reference_to(_kind)


@function("named_value", "json", "key")
def key_of_named(node: object, reader: Reader) -> Key | None:
    """As `fhir_key`, for a record apart: what one resource says of another does not mix with what that says of itself."""
    key = key_of(node, reader)
    return Key(f"{key.assigner}:named", key.value) if key else None


@function("reference_text", "json", "key")
def key_of_text(node: object, reader: Reader) -> Key | None:
    """A Reference by its text alone (`*.reference`)."""
    found = _reader(reader).names.of_reference({"reference": node}, _reader(reader).document)
    return found[1] if found else None


# -- data types ---------------------------------------------------------------------------------------------------


def _identifier(key: Key | None, one: Node) -> Value | None:
    if key is None:
        return None
    kind, use = _in(one, f"type.coding[system={IDENTIFIER_TYPE}].code"), text_of(one.get("use"))
    if key.assigner == DICOM:
        kind = UID
    elif not kind and _in(one, "type.coding.code") == ACSN:
        kind = ACSN
    return _without_empty(
        {"assigner": key.assigner, "value": key.value, "type": kind, "use": use if use in IDENTIFIER_USES else ""}
    )


@function("fhir_identifier", "json", "object")
def as_identifier(node: object, reader: Reader) -> Value | None:
    """Identifier; or the Identifier by which a Reference names a thing. A resident registration number gives nothing."""
    own, one = _reader(reader), _one(node)
    if "value" in one:
        return _identifier(own.names.of_identifier(one), one)
    found = own.names.of_reference(one, own.document)
    return _identifier(found[1], _one(one.get("identifier"))) if found else None


@function("fhir_name", "json", "object")
def as_name(node: object, reader: Reader) -> Value | None:
    """HumanName. `text` as it came, else of its parts; family and given derived where a Hangul name came whole."""
    own, one = _reader(reader), _one(node)
    parts: Value = {"family": own.words(one.get("family"))}
    parts |= {name: [own.words(part) for part in strings(one.get(name))] for name in ("given", "prefix", "suffix")}
    text = own.words(one.get("text"))
    squeezed = "".join(text.split())
    text = squeezed if is_hangul(squeezed) else text or _composed(parts)
    if not text:
        return None
    if not parts["family"] and not parts["given"] and (split := split_name(text)):
        parts |= {"family": split[0], "given": [split[1]]}
    representation = _in(one, f"extension[{REPRESENTATION}].valueCode")
    use = text_of(one.get("use"))
    return _without_empty(
        {
            "text": text, **parts, "use": use if use in NAME_USES else "",
            "representation": representation if representation in ("IDE", "ABC", "SYL") else "",
        }
    )  # fmt: skip


def _composed(parts: Value) -> str:
    """Family and given together in Hangul and Han, given first elsewhere."""
    if parts["family"][:1] >= "⺀":  # CJK and Hangul stand above this point
        return str(parts["family"] + "".join(parts["given"]))
    return " ".join(filter(None, [*parts["given"], parts["family"]]))


@function("fhir_telecom", "json", "object")
def as_telecom(node: object, reader: Reader) -> Value | None:
    """ContactPoint, phones in E.164 where they fit the Korean plan, with what came as `raw`. A 010 number is a mobile phone."""
    own, one = _reader(reader), _one(node)
    text, system, use = own.words(one.get("value")), text_of(one.get("system")), text_of(one.get("use"))
    if not text:
        return None
    if system not in CONTACT_SYSTEMS:
        system = "email" if "@" in text else "phone"
    value = text.lower() if system == "email" else text
    if system in ("phone", "fax", "pager", "sms"):
        try:
            value = normalise_phone(text)
        except BadValue:
            value = text  # an extension or a remark beside the number: kept as it came
    if system in ("phone", "sms") and is_mobile(value) and use in ("", "home"):
        use = "mobile"
    return _without_empty(
        {"system": system, "value": value, "use": use if use in CONTACT_USES else "", "raw": text if value != text else ""}
    )


@function("fhir_address", "json", "object")
def as_address(node: object, reader: Reader) -> Value | None:
    """Address; a road-name address of KR Core (도로명주소) is its line, where no line says it."""
    own, one = _reader(reader), _one(node)
    parts: Value = {name: own.words(one.get(name)) for name in ("city", "district", "state", "postalCode", "country")}
    line = [own.words(part) for part in strings(one.get("line"))]
    road = {name: own.words(_in(one, f"extension[{ROAD_NAME}].extension[{name}].valueString")) for name in _ROAD}
    if any(road.values()):
        parts["district"] = parts["district"] or road["district"]
        line = line or list(filter(None, (road["roadName"], road["detailedAddress"], road["complements"])))
    text = own.words(one.get("text"))
    if not text:
        text = ", ".join([*line, *filter(None, (parts["city"], parts["state"], parts["postalCode"], parts["country"]))])
        if road["roadName"]:  # Korean: from the large to the small
            text = " ".join(filter(None, (parts["state"], parts["city"], parts["district"], *line)))
    use = text_of(one.get("use"))
    found = _without_empty({"text": text, "line": line, **parts, "use": use if use in ADDRESS_USES else ""})
    return found if text else None


_ROAD = ("district", "roadName", "detailedAddress", "complements")


@function("fhir_date", "text", pure=True)
def as_fhir_date(text: str, _reader: Reader) -> str | None:
    """date: as much of it as there is; a time of day is cut off."""
    if not text:
        return None
    found = a_date(text)
    if found is None:
        raise BadValue("not a date")
    return found


@function("fhir_time", "text")
def as_fhir_time(text: str, reader: Reader) -> str | None:
    """dateTime or instant; a date alone stays one, a time without zone is in the channel's."""
    if not text:
        return None
    if "T" in text:
        return iso_time(text, reader.zone)
    return as_fhir_date(text, reader)  # type: ignore[no-any-return]


def _coding(one: Node, reader: FhirReader) -> Value:
    code, display = " ".join(text_of(one.get("code")).split()), reader.words(one.get("display"))
    system = text_of(one.get("system"))
    return _without_empty(
        {"code": code, "system": reader.names.systems.code_name(system) if code and system else "", "display": display}
    )


@function("fhir_concept", "json", "object")
def as_concept(node: object, reader: Reader) -> Value | None:
    """CodeableConcept or Coding -> Coding: the one that a user chose, else the first; the words of `text` where it has none."""
    own, one = _reader(reader), _one(node)
    if "coding" not in one and "code" in one:
        return _coding(one, own) or None
    codings = objects(one.get("coding"))
    chosen = [coding for coding in codings if coding.get("userSelected") is True] or codings
    found = next((made for coding in chosen if (made := _coding(coding, own)).get("code")), {})
    words = own.words(one.get("text")) or next((own.words(coding.get("display")) for coding in codings), "")
    return ({"display": words} if words and words != found.get("code") else {}) | found or None


@function("fhir_code", "json")
def as_code(node: object, reader: Reader) -> str | None:
    """CodeableConcept or Coding -> its code, else its words."""
    found = as_concept(node, reader) or {}
    return found.get("code") or found.get("display")


@function("fhir_words", "json")
def as_words(node: object, reader: Reader) -> str | None:
    """CodeableConcept -> its words, else its code; a Reference -> its display."""
    own, one = _reader(reader), _one(node)
    if isinstance(node, str):
        return own.words(node) or None
    found = as_concept(one, reader) or {}
    return own.words(one.get("text")) or own.words(one.get("display")) or found.get("display") or found.get("code")


@function("fhir_money", "json", "object")
def as_money(node: object, _reader: Reader) -> Value | None:
    """Money, the decimal with the digits that it came with."""
    one = _one(node)
    value, currency = one.get("value"), text_of(one.get("currency"))
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    text = str(value) if isinstance(value, int) else format(value, "f")
    if len(text) > 40:
        return None
    return _without_empty({"value": text, "currency": currency})


@function("fhir_series", "json", "object")
def as_series(node: object, reader: Reader) -> Value | None:
    """ImagingStudy.series -> a series; None where it has no UID."""
    own, one = _reader(reader), _one(node)
    uid = text_of(one.get("uid"))
    if not is_uid(uid):
        return None
    counts = {"number": one.get("number"), "instances": one.get("numberOfInstances")}
    found: Value = {"uid": uid}
    found |= {name: count for name, count in counts.items() if isinstance(count, int) and not isinstance(count, bool)}
    site = _one(one.get("bodySite"))
    return found | _without_empty(
        {
            "modality": _in(one, "modality.code"), "description": own.words(one.get("description")),
            "station": _in(one, f"extension[{OWN}extension:station].valueString"),
            "bodySite": own.words(site.get("display")) or text_of(site.get("code")),
        }
    )  # fmt: skip


@function("fhir_quantity", "json")
def as_quantity(node: object, reader: Reader) -> str | None:
    """Quantity -> number and unit as text; its number alone stands at `….value`."""
    one = _one(node)
    parts = (
        text_of(one.get("comparator")) + text_of(one.get("value")),
        _reader(reader).words(one.get("unit")) or text_of(one.get("code")),
    )
    return " ".join(filter(None, parts)) or None


@function("fhir_range", "parts")
def as_range(parts: list[str], reader: Reader) -> str | None:
    """[low, high] of a reference range -> `4-10`, `>= 4`, `<= 10`."""
    low, high = (reader.text(part) for part in (*parts, "")[:2])
    if low and high:
        return f"{low}-{high}"
    return f">= {low}" if low else f"<= {high}" if high else None


# -- people and places --------------------------------------------------------------------------------------------


def _party(reference: object, reader: FhirReader, role: str = "") -> Value | None:
    """Who a Reference names: by number, and by name where it says one (a contained resource's own)."""
    one = _one(reference)
    found = reader.names.of_reference(one, reader.document)
    inner = _contained(one, reader)
    name = reader.words(one.get("display")) or reader.words(inner.get("name")) or _name_in(inner, reader)
    party = {"identifier": {"assigner": found[1].assigner, "value": found[1].value} if found else None, "name": name}
    return _without_empty({**party, "role": role}) if found or name else None


def _contained(reference: Node, reader: FhirReader) -> Node:
    local = text_of(reference.get("reference"))
    inside = objects(reader.document.get("contained"))
    return next((one for one in inside if local.startswith("#") and one.get("id") == local[1:]), {})


def _name_in(document: Node, reader: FhirReader) -> str:
    names = objects(document.get("name"))
    made = as_name(names[0], reader) if names else None
    return str(made["text"]) if made else ""


@function("fhir_party", "json", "object")
def as_party(node: object, reader: Reader) -> Value | None:
    """Reference -> Party."""
    return _party(node, _reader(reader))


@function("fhir_participant", "json", "object")
def as_participant(node: object, reader: Reader) -> Value | None:
    """Who takes part (Encounter.participant, Appointment.participant, a performer) -> Party. Not the patient, and no place."""
    one = _one(node)
    who = next((one[name] for name in ("individual", "actor") if isinstance(one.get(name), Mapping)), None)
    found = _reader(reader).names.of_reference(who, _reader(reader).document)
    if who is None or (found and found[0] in ("Patient", "Location")) or who.get("type") in ("Patient", "Location"):
        return None
    kinds = objects(one.get("type")) or objects([one.get("function")])
    code = next((text for kind in kinds if (text := as_code(kind, reader))), "")
    return _party(who, _reader(reader), PARTICIPATION.get(code, code))


@function("fhir_actor", "json", "object")
def as_actor(node: object, reader: Reader) -> Value | None:
    """Whose calendar it is (Reference) -> Party; not a place."""
    return as_participant({"actor": node}, reader)  # type: ignore[no-any-return]


@function("fhir_place", "nodes")
def as_place(nodes: list[object], reader: Reader) -> str | None:
    """The first place among the participants (or References) -> its name."""
    own = _reader(reader)
    for one in nodes:
        who = _one(_one(one).get("actor", one))
        found = own.names.of_reference(who, own.document)
        is_place = who.get("type") == "Location" or (found is not None and found[0] == "Location")
        if is_place and (name := own.words(who.get("display"))):
            return name
    return None


@function("fhir_contained_name", "json", "object")
def as_contained_name(node: object, reader: Reader) -> Value | None:
    """The HumanName of who is referred to: a contained person's, else the reference's words."""
    one = _one(node)
    names = objects(_contained(one, _reader(reader)).get("name"))
    return as_name(names[0] if names else {"text": one.get("display")}, reader)  # type: ignore[no-any-return]


@function("fhir_contained_code", "json", "object")
def as_contained_code(node: object, reader: Reader) -> Value | None:
    """What a reference to a Medication means: the contained one's code, else the reference's words."""
    one = _one(node)
    made = as_concept(_contained(one, _reader(reader)).get("code"), reader)
    words = _reader(reader).words(one.get("display"))
    return made or ({"display": words} if words else None)
