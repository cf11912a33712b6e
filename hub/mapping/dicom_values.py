"""Functions that read DICOM's values: PN (PS3.5 section 6.2.1), DA, TM, UIDs, accession numbers, and a series of several columns.

Which keys they make stands in hub/domain/imaging.py.
"""

from __future__ import annotations

from typing import Any

from hub.domain.facts import Key
from hub.domain.imaging import ACSN, DICOM, SERIES, STEP, UID, accession_key, is_uid
from hub.mapping.composites import person_name
from hub.mapping.functions import Reader, as_number, function
from hub.mapping.keys import number_of
from hub.mapping.korean import is_han, is_hangul
from hub.mapping.times import BadValue, iso_date, iso_time


@function("pn", "text")
def as_pn(text: str, reader: Reader) -> list[dict[str, Any]] | None:
    """PN -> its names, one of each component group (alphabetic=ideographic=phonetic), the Hangul one first, then Hanja.

    Which group is which is seen by its script: in Korea Hangul stands in any of the three. Where there are several, each says
    which it is (SYL, IDE, ABC). Components: family, given, middle, prefix, suffix.
    """
    found: dict[str, dict[str, Any]] = {}
    for group in text.split("=")[:3]:
        parts = [part.strip() for part in group.split("^")] + [""] * 5
        family, given, middle, prefix, suffix = parts[:5]
        if not given and not family.isascii():
            squeezed = "".join(family.split())
            family = squeezed if is_hangul(squeezed) or is_han(squeezed) else family
        name = person_name([family, given, middle, suffix, prefix], reader)
        if name is not None:
            found.setdefault(_script(name["text"]), name)
    if len(found) > 1:
        for script, name in found.items():
            name["representation"] = script
    return [found[script] for script in ("SYL", "IDE", "ABC") if script in found] or None


@function("pn_party", "text", "object")
def as_pn_party(text: str, reader: Reader) -> dict[str, Any] | None:
    """PN -> a Party: the first of its names."""
    names = as_pn(text, reader)
    return {"name": names[0]["text"]} if names else None


def _script(text: str) -> str:
    plain = "".join(text.split())
    return "SYL" if is_hangul(plain) else "IDE" if is_han(plain) else "ABC"


@function("da", "text", pure=True)
def as_da(text: str, _reader: Reader) -> str | None:
    """DA, and the form with points of ACR-NEMA (PS3.5 table 6.2-1, note)."""
    return iso_date(text.replace(".", "")) if text else None


@function("da_tm", "parts")
def as_da_tm(parts: list[str], reader: Reader) -> str | None:
    """[DA, TM, offset from UTC] -> a time, a date where there is no TM; use it with three paths, the first a date's."""
    day, clock, offset = ([reader.text(part) for part in parts] + ["", ""])[:3]
    day, clock = day.replace(".", ""), clock.replace(":", "")
    if not day or not clock:
        return iso_date(day) if day else None
    whole, _, fraction = clock.partition(".")
    fraction = fraction.rstrip("0")
    if len(day) != 8 or (fraction and len(whole) != 6):
        raise BadValue("not a time")
    return iso_time(f"{day}{whole}{'.' if fraction else ''}{fraction}{offset}", reader.zone)


def _uid(raw: str, reader: Reader) -> str | None:
    text = reader.first(raw).rstrip("\0 ")
    return text if is_uid(text) else None


@function("uid_key", "parts", "key")
def key_uid(parts: list[str], reader: Reader) -> Key | None:
    """The first component: a Study Instance UID (a column, ZDS-1, IPC-3)."""
    uid = _uid(parts[0], reader)
    return Key(DICOM, uid) if uid else None


@function("series_key", "parts", "key")
def key_series(parts: list[str], reader: Reader) -> Key | None:
    """A Series Instance UID: of a study, the part that this source tells of."""
    uid = _uid(parts[0], reader)
    return Key(SERIES, uid) if uid else None


@function("mpps_key", "parts", "key")
def key_mpps(parts: list[str], reader: Reader) -> Key | None:
    """The SOP Instance UID of a performed procedure step."""
    uid = _uid(parts[0], reader)
    return Key(STEP, uid) if uid else None


@function("accession_key", "parts", "key")
def key_accession(parts: list[str], reader: Reader) -> Key | None:
    """An accession number, the channel's or the hub's: who gave it out (IPC-1.2) DICOM's objects do not say."""
    number = number_of(parts[0], reader)
    return accession_key(reader.assigner, number) if number else None


@function("issued_key", "columns", "key")
def key_issued(columns: list[str], reader: Reader) -> Key | None:
    """[number, issuer]: a patient's number under whoever gave it out, by default the channel's."""
    text, issuer = [*columns, "", ""][:2]
    number = number_of(text, reader)
    return Key(reader.text(issuer) or reader.assigner, number) if number else None


@function("uid", "parts", "object")
def as_uid(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    key = key_uid(parts, reader)
    return {"assigner": key.assigner, "value": key.value, "type": UID} if key else None


@function("accession", "parts", "object")
def as_accession(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    key = key_accession(parts, reader)
    return {"assigner": key.assigner, "value": key.value, "type": ACSN} if key else None


@function("issued", "parts", "object")
def as_issued(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[number, issuer] -> Identifier."""
    key = key_issued(parts, reader)
    return {"assigner": key.assigner, "value": key.value} if key else None


@function("series", "parts", "object")
def as_series(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[Series Instance UID, number, modality, description, instances, station, body part] -> a series."""
    uid = _uid(parts[0], reader)
    if uid is None:
        return None
    number, modality, description, instances, station, site = ([reader.text(part) for part in parts[1:7]] + [""] * 6)[:6]
    found: dict[str, Any] = {"uid": uid}
    for name, count in (("number", number), ("instances", instances)):
        value = as_number(count, reader)
        if value is not None:
            found[name] = value
    texts = {"modality": modality, "description": description, "station": station, "bodySite": site}
    return found | {name: text for name, text in texts.items() if text}
