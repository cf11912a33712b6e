"""Functions that read HL7's composite types into canonical objects: CX, XPN, XAD, XTN, XCN, XON, PL, CWE.

`parts` are the components of one repetition, still escaped; parts[0] is component 1. Rows follow HL7's v2-to-FHIR
tables, with the Korean rules of names and phones where those tables are silent.
"""

from __future__ import annotations

import re
from typing import Any

from hub.mapping.functions import Reader, as_latin1_cp949, function
from hub.mapping.keys import assigner_of, key_place, number_of
from hub.mapping.korean import is_han, is_hangul, is_mobile, normalise_phone, split_name
from hub.mapping.times import BadValue

REPRESENTATION = {"A": "ABC", "I": "IDE", "P": "SYL"}  # table 0465/4000 -> iso21090-EN-representation
NAME_USE = {  # table 0200 -> FHIR name-use
    "L": "official", "R": "official", "D": "usual", "M": "maiden", "N": "nickname", "TEMP": "temp", "NAV": "temp",
    "BAD": "old", "NOUSE": "old", "MSK": "anonymous", "S": "anonymous", "B": "official", "NB": "temp",
}  # fmt: skip
ADDRESS_USE = {"H": "home", "P": "home", "B": "work", "O": "work", "C": "temp", "BA": "old", "BI": "billing"}  # table 0190
TELECOM_USE = {"PRN": "home", "ORN": "home", "VHN": "home", "WPN": "work", "PRS": "mobile"}  # table 0201
TELECOM_SYSTEM = {  # table 0202 -> FHIR contact-point-system
    "PH": "phone", "CP": "phone", "FX": "fax", "BP": "pager", "INTERNET": "email", "X.400": "email", "SAT": "phone",
    "MD": "other", "TDD": "other", "TTY": "other",
}  # fmt: skip
_NO_NAME = frozenset({"?", "-", "."})
_AMOUNT = re.compile(r"[+-]?\d{1,15}(\.\d{1,6})?\Z", re.ASCII)
_COMPARES = frozenset({"<", ">", "<=", ">=", "=", "<>"})


def _identifier(parts: list[str], reader: Reader, assigner_at: int, type_at: int) -> dict[str, Any] | None:
    number = number_of(parts[0], reader)
    if number is None:
        return None
    count = len(parts)
    found: dict[str, Any] = {
        "assigner": (assigner_of(parts[assigner_at], reader) if count > assigner_at else "") or reader.assigner,
        "value": number,
    }
    if count > type_at and parts[type_at]:
        kind = reader.first(parts[type_at])
        if kind:
            found["type"] = kind
    return found


@function("cx", "parts", "object")
def as_cx(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """CX -> Identifier. A resident registration number gives nothing."""
    return _identifier(parts, reader, 3, 4)


@function("other_cx", "parts", "object")
def as_other_cx(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """As `cx` for PID-2 and PID-4, with the default assigner of `other_cx_key`."""
    found = _identifier(parts, reader, 3, 4)
    if found and not (len(parts) > 3 and assigner_of(parts[3], reader)):
        found["assigner"] = f"{reader.assigner}:other"
    return found


@function("ei", "parts", "object")
def as_ei(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """EI -> Identifier: EI.1, EI.2 else EI.3."""
    number = number_of(parts[0], reader)
    if number is None:
        return None
    namespace = reader.text(parts[1]) if len(parts) > 1 else ""
    if not namespace and len(parts) > 2:
        namespace = reader.text(parts[2])
    return {"assigner": namespace or reader.assigner, "value": number}


@function("placer_ei", "parts", "object")
def as_placer_ei(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """As `ei`, with the placer's default assigner (see `placer_key`)."""
    found = as_ei(parts, reader)
    if found and found["assigner"] == reader.assigner and not any(parts[1:3]):
        found["assigner"] = f"{reader.assigner}:placer"
    return found  # type: ignore[no-any-return]


@function("xcn_identifier", "parts", "object")
def as_xcn_identifier(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XCN -> the Identifier of a Practitioner: XCN.1, XCN.9, XCN.13."""
    return _identifier(parts, reader, 8, 12)


def _name(parts: list[str], reader: Reader, first: int) -> dict[str, Any] | None:
    """A HumanName out of family, given, further given, suffix, prefix from `first` on."""
    count = len(parts)
    family = reader.first(parts[first]) if count > first else ""
    given = reader.text(parts[first + 1]) if count > first + 1 else ""
    more = reader.text(parts[first + 2]) if count > first + 2 else ""
    name: dict[str, Any] = {"text": ""}
    if given or more:
        korean = not given.isascii() and (is_hangul(given) or is_han(given))
        name["text"] = family + given if korean else " ".join(filter(None, (given, more, family)))
        if family:
            name["family"] = family
        name["given"] = [given, more] if given and more else [given or more]
    elif family:
        name["text"] = family
        split = None if family.isascii() else split_name(family)
        if split:
            name["family"], name["given"] = split[0], [split[1]]
        else:
            name["family"] = family
    if not name["text"] or name["text"] in _NO_NAME:
        return None
    if count > first + 3:
        suffix = reader.text(parts[first + 3])
        if suffix:
            name["suffix"] = [suffix]
        prefix = reader.text(parts[first + 4]) if count > first + 4 else ""
        if prefix:
            name["prefix"] = [prefix]
    return name


def person_name(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """A HumanName out of [family, given, further given, suffix, prefix]; Hangul that came whole as the family name is split."""
    return _name(parts, reader, 0)


@function("xpn", "parts", "object")
def as_xpn(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XPN -> HumanName: XPN.1–6, use by XPN.7 (table 0200), representation by XPN.8 (A ABC, I IDE, P SYL).

    A Hangul name that came whole in XPN.1 (`홍길동`) is split as derived, with the family names of two syllables known.
    """
    name = _name(parts, reader, 0)
    if name is None:
        return None
    count = len(parts)
    if count > 5 and parts[5]:
        degree = reader.text(parts[5])
        if degree:
            name.setdefault("suffix", []).append(degree)
    if count > 6:
        use = NAME_USE.get(reader.text(parts[6]).upper())
        if use:
            name["use"] = use
        if count > 7 and parts[7]:
            representation = REPRESENTATION.get(reader.text(parts[7]).upper())
            if representation:
                name["representation"] = representation
    return name


@function("alias", "parts", "object")
def as_alias(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """PID-9: as `xpn`, use `nickname` where the field says none."""
    name = as_xpn(parts, reader)
    if name is not None:
        name.setdefault("use", "nickname")
    return name  # type: ignore[no-any-return]


@function("name_text", "text", "object")
def as_name_text(text: str, reader: Reader) -> dict[str, Any] | None:
    """A name in one column: text, and family and given derived where it is Hangul. Blanks inside Hangul names are dropped."""
    squeezed = "".join(text.split())
    if is_hangul(squeezed):
        text = squeezed
    return _name([text], reader, 0) if text else None


@function("latin1_name", "text", "object")
def as_latin1_name(text: str, reader: Reader) -> dict[str, Any] | None:
    """As `name_text`, out of cp949 bytes that a driver read as latin-1."""
    return as_name_text(as_latin1_cp949(text, reader) or "", reader)  # type: ignore[no-any-return]


@function("xad", "parts", "object")
def as_xad(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XAD -> Address: street XAD.1 (a SAD: street, or number and street name), XAD.2, city, state, zip, country, use XAD.7."""
    count = len(parts)
    values = [reader.text(part) if index else "" for index, part in enumerate(parts[:9])]
    street = parts[0]
    if reader.subcomponent in street:
        sub = [reader.text(piece) for piece in street.split(reader.subcomponent)[:3]]
        values[0] = sub[0] if not any(sub[1:]) else " ".join(filter(None, (sub[2] if len(sub) > 2 else "", sub[1], sub[0])))
        if any(sub[1:]) and sub[0] and sub[0][0].isdigit():
            values[0] = " ".join(filter(None, sub))
    else:
        values[0] = reader.text(street)
    line = [value for value in values[:2] if value]
    address: dict[str, Any] = {"text": ", ".join([*line, *filter(None, values[2:6])])}
    if not address["text"]:
        return None
    if line:
        address["line"] = line
    for name, at in (("city", 2), ("state", 3), ("postalCode", 4), ("country", 5), ("district", 8)):
        if count > at and values[at]:
            address[name] = values[at]
    if count > 6 and values[6]:
        use = ADDRESS_USE.get(values[6].upper())
        if use:
            address["use"] = use
    return address


def _number_from_pieces(parts: list[str], reader: Reader) -> str:
    """XTN.5–7 (country, area, local) and XTN.8 (extension) as one number."""
    pieces = [reader.text(part) for part in parts[4:8]] + ["", "", "", ""]
    country, area, local, extension = pieces[:4]
    if not local:
        return ""
    number = f"{area}{local}"
    if country:
        number = f"+{country.lstrip('+')}{number.removeprefix('0')}"
    return f"{number}x{extension}" if extension else number


@function("xtn", "parts", "object")
def as_xtn(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XTN -> ContactPoint: e-mail XTN.4, number XTN.12, else the text of XTN.1, else the pieces 5–8; use XTN.2, equipment XTN.3.

    A phone is normalised (E.164 where it fits the Korean plan); `raw` keeps what came where that differs.
    """
    count = len(parts)
    if count == 1:
        return contact_point(reader.text(parts[0]), "", "")
    use = reader.text(parts[1]).upper()
    equipment = reader.text(parts[2]).upper() if count > 2 else ""
    text = reader.text(parts[0])
    mail = reader.text(parts[3]) if count > 3 else ""
    if mail and "@" in mail and (equipment in ("INTERNET", "X.400", "") or use == "NET"):
        text, equipment = mail, "INTERNET"
    elif count > 4:
        whole = reader.text(parts[11]) if count > 11 else ""
        if any(c.isdigit() for c in whole):
            text = whole
        elif not text:
            text = _number_from_pieces(parts, reader)
    return contact_point(text or mail, use, equipment)


def contact_point(text: str, use: str, equipment: str) -> dict[str, Any] | None:
    """A ContactPoint out of a text and the codes of tables 0201 and 0202. Raises BadValue where a phone holds no number."""
    if not text or text == "-":
        return None
    system = TELECOM_SYSTEM.get(equipment) or ("pager" if use == "BPN" else "email" if use == "NET" else "phone")
    if "@" in text:
        system = "email"
    elif system == "email":
        system = "url" if "." in text else "phone"
    point: dict[str, Any] = {"system": system, "value": text}
    if system in ("phone", "fax", "pager"):
        try:
            value = normalise_phone(text)
        except BadValue:
            if not any(c.isdigit() for c in text):
                raise
            value = text  # an extension or a remark beside the number: kept as it came
        if value != text:
            point["value"], point["raw"] = value, text
        if equipment == "CP" or is_mobile(value):
            point["use"] = "mobile"
    elif system == "email" and text != (lower := text.lower()):
        point["value"], point["raw"] = lower, text
    if "use" not in point:
        meant = TELECOM_USE.get(use)
        if meant:
            point["use"] = meant
    return point


@function("phone", "text", "object")
def as_phone(text: str, _reader: Reader) -> dict[str, Any] | None:
    """A phone number in one column -> ContactPoint."""
    return contact_point(text, "", "PH")


@function("email", "text", "object")
def as_email(text: str, _reader: Reader) -> dict[str, Any] | None:
    """An e-mail address in one column -> ContactPoint."""
    if text and "@" not in text:
        raise BadValue("not an e-mail address")
    return contact_point(text, "", "INTERNET")


@function("xcn", "parts", "object")
def as_xcn(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XCN -> Party: identifier XCN.1/9/13, name XCN.2–6. A text alone in XCN.1 that holds a blank or Hangul is a name."""
    identifier = _identifier(parts, reader, 8, 12)
    name = _name(parts, reader, 1) if len(parts) > 1 else None
    party: dict[str, Any] = {}
    if identifier and name is None and (" " in identifier["value"] or is_hangul(identifier["value"])):
        return {"name": identifier["value"]}
    if identifier:
        party["identifier"] = identifier
    if name:
        party["name"] = name["text"]
    return party or None


@function("xcn_name", "parts", "object")
def as_xcn_name(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XCN -> HumanName out of XCN.2–6."""
    return _name(parts, reader, 1)


@function("xon", "parts", "object")
def as_xon(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XON -> Party: name XON.1, identifier XON.10 else XON.3 with XON.6."""
    party: dict[str, Any] = {}
    count = len(parts)
    number = number_of(parts[9], reader) if count > 9 else None
    if number is None and count > 2:
        number = number_of(parts[2], reader)
    if number:
        party["identifier"] = {
            "assigner": (assigner_of(parts[5], reader) if count > 5 else "") or reader.assigner,
            "value": number,
        }
    name = reader.first(parts[0])
    if name:
        party["name"] = name
    return party or None


@function("pl", "parts", pure=True)
def as_pl(parts: list[str], reader: Reader) -> str | None:
    """PL -> one line: point of care, room, bed; else facility, building, floor, else the description of PL.9."""
    place = [text for part in parts[:3] if (text := reader.first(part))]
    if not place and len(parts) > 3:
        rest = [parts[at] for at in (3, 6, 7) if len(parts) > at]
        place = [text for part in rest if (text := reader.first(part))]
    if not place and len(parts) > 8:
        place = [text for part in parts[8:9] if (text := reader.text(part))]
    return " ".join(place) or None


@function("cwe", "parts", "object")
def as_cwe(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """CE/CWE -> Coding: code, display, system; the alternative triplet where the first is empty; CWE.9 as display."""
    count = len(parts)
    code = reader.text(parts[0])
    display = reader.text(parts[1]) if count > 1 else ""
    start = 0
    if not code and not display and count > 3:
        start = 3
        code = reader.text(parts[3])
        display = reader.text(parts[4]) if count > 4 else ""
    coding: dict[str, Any] = {}
    if code:
        coding["code"] = code
    if not display and count > 8:
        display = reader.text(parts[8])
    if display:
        coding["display"] = display
    if code and count > start + 2:
        system = reader.text(parts[start + 2])
        if system:
            coding["system"] = system
    return coding or None


@function("cwe_code", "parts", pure=True)
def as_cwe_code(parts: list[str], reader: Reader) -> str | None:
    """CE/CWE -> its code alone, else its text."""
    return reader.first(parts[0]) or (reader.text(parts[1]) if len(parts) > 1 else "") or None


@function("party_name", "parts", "object")
def as_party_name(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """XPN -> Party by its name alone (PRD-2)."""
    name = _name(parts, reader, 0)
    return {"name": name["text"]} if name else None


@function("provider", "parts", "object")
def as_provider(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[family, given, number, type, whose] -> Party: who refers (`"PRD-2.1,PRD-2.2,PRD-7.1,PRD-7.2,PRD-7.3"`).

    A number that is nobody's is of a numbering of its own: another hospital's number never meets one of ours.
    """
    family, given, number, kind, whose = (*parts, "", "", "", "", "")[:5]
    name = _name([family, given], reader, 0)
    found: dict[str, Any] = {"name": name["text"]} if name else {}
    value = number_of(number, reader)
    if value:
        found["identifier"] = {"assigner": reader.text(whose) or f"{reader.assigner}:provider", "value": value}
        if kind:
            found["identifier"]["type"] = reader.text(kind)
    return found or None


@function("code_identifier", "parts", "object")
def as_code_identifier(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """The Identifier of `code_key`."""
    number = number_of(parts[0], reader)
    return {"assigner": reader.assigner, "value": number} if number else None


@function("department_identifier", "parts", "object")
def as_department_identifier(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """The Identifier of `department_key`."""
    number = number_of(parts[0], reader)
    return {"assigner": f"{reader.assigner}:department", "value": number} if number else None


@function("pl_identifier", "parts", "object")
def as_pl_identifier(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """The Identifier of `pl_key`."""
    key = key_place(parts, reader)
    return {"assigner": key.assigner, "value": key.value} if key else None


@function("money", "parts", "object")
def as_money(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """CP or MO -> Money: amount and currency, the currency beside the amount (CP.1 is an MO) or behind it (MO)."""
    pieces = parts[0].split(reader.subcomponent)
    amount = reader.text(pieces[0]).replace(",", "")
    if not amount:
        return None
    if not _AMOUNT.match(amount):
        raise BadValue("not an amount")
    currency = reader.text(pieces[1]) if len(pieces) > 1 else reader.text(parts[1]) if len(parts) == 2 else ""
    return {"value": amount, "currency": currency} if currency else {"value": amount}


@function("obx_value", "parts")
def as_obx_value(parts: list[str], reader: Reader) -> str | None:
    """OBX-5 as text: a number or words as they stand, a coded value by its words, a structured number (SN) put together."""
    texts = [reader.text(part) for part in parts]
    if texts[0] in _COMPARES or (len(texts) > 1 and not texts[0] and texts[1][:1].isdigit()):
        return "".join(texts) or None
    return (texts[1] if len(texts) > 2 and texts[1] else " ".join(filter(None, texts[:2]))) or None
