"""Functions that make keys (who gave the number out, and the number) out of HL7 CX, EI and XCN, and of plain columns.

A number without an assigning authority gets the default of its channel. A resident registration number is never a key.
"""

from __future__ import annotations

from hub.codecs.korean import looks_like_rrn, rrn_birth_date, rrn_gender
from hub.domain.facts import Key
from hub.mapping.functions import NULL, Reader, function, registration_number

HUB = "HUB"  # assigner of the hub's own numbers


def assigner_of(raw: str, reader: Reader) -> str:
    """An HD: the namespace id, else the universal id (HL7 v2.5.1 §2.A.33); "" where neither is given."""
    if not raw or raw == NULL:
        return ""
    if reader.subcomponent in raw:
        parts = raw.split(reader.subcomponent)
        return reader.text(parts[0]) or reader.text(parts[1])
    return reader.text(raw)


def number_of(raw: str, reader: Reader) -> str | None:
    """The number itself, or None where there is none or it is a resident registration number."""
    if not raw or raw == NULL:
        return None
    if reader.subcomponent in raw:
        raw = raw.split(reader.subcomponent, 1)[0]
    if len(raw) >= 13 and looks_like_rrn(reader.plain(raw)):
        return None
    return reader.text(raw) or None


@function("cx_key", "parts", "key")
def key_cx(parts: list[str], reader: Reader) -> Key | None:
    """CX.1 with CX.4 (an HD)."""
    number = number_of(parts[0], reader)
    if number is None:
        return None
    return Key((assigner_of(parts[3], reader) if len(parts) > 3 else "") or reader.assigner, number)


@function("other_cx_key", "parts", "key")
def key_other_cx(parts: list[str], reader: Reader) -> Key | None:
    """As `cx_key` for PID-2 and PID-4: without an authority the number is of some other numbering, never of the channel's."""
    key = key_cx(parts, reader)
    if key is None or (len(parts) > 3 and assigner_of(parts[3], reader)):
        return key  # type: ignore[no-any-return]
    return Key(f"{reader.assigner}:other", key.value)


def _ei(parts: list[str], reader: Reader, default: str) -> Key | None:
    number = number_of(parts[0], reader)
    if number is None:
        return None
    assigner = reader.text(parts[1]) if len(parts) > 1 else ""
    if not assigner and len(parts) > 2:
        assigner = reader.text(parts[2])
    return Key(assigner or default, number)


@function("ei_key", "parts", "key")
def key_ei(parts: list[str], reader: Reader) -> Key | None:
    """EI.1 with EI.2, else EI.3."""
    return _ei(parts, reader, reader.assigner)


@function("placer_key", "parts", "key")
def key_ei_placer(parts: list[str], reader: Reader) -> Key | None:
    """As `ei_key`; without a namespace the number counts as the placer's, so that it never meets a filler's equal number."""
    return _ei(parts, reader, f"{reader.assigner}:placer")


@function("xcn_key", "parts", "key")
def key_xcn(parts: list[str], reader: Reader) -> Key | None:
    """XCN.1 with XCN.9 (an HD)."""
    number = number_of(parts[0], reader)
    if number is None:
        return None
    return Key((assigner_of(parts[8], reader) if len(parts) > 8 else "") or reader.assigner, number)


@function("code_key", "parts", "key")
def key_code(parts: list[str], reader: Reader) -> Key | None:
    """The first component as a number of the channel's assigner: a CWE that is a primary key (MFE-4, STF-1)."""
    number = number_of(parts[0], reader)
    return Key(reader.assigner, number) if number else None


@function("department_key", "parts", "key")
def key_department(parts: list[str], reader: Reader) -> Key | None:
    """As `code_key`, in a numbering of its own: a department's code never meets an insurer's equal number."""
    key = key_code(parts, reader)
    return Key(f"{reader.assigner}:department", key.value) if key else None


@function("pl_key", "parts", "key")
def key_place(parts: list[str], reader: Reader) -> Key | None:
    """A PL as it stands, point of care to bed, in a numbering of its own."""
    number = "-".join(filter(None, (reader.first(part) for part in parts[:3])))
    return Key(f"{reader.assigner}:location", number) if number else None


@function("number_key", "parts", "key")
def key_number(parts: list[str], reader: Reader) -> Key | None:
    """A plain number (a column): the channel's assigner. Several parts are joined by `/`."""
    numbers = [number_of(part, reader) for part in parts]
    return Key(reader.assigner, "/".join(filter(None, numbers))) if all(numbers) else None


@function("hub_key", "parts", "key")
def key_hub(parts: list[str], reader: Reader) -> Key | None:
    """A number that the hub itself gave out: the column of an interface table into which it wrote one (ocs.sql_out)."""
    number = number_of(parts[0], reader)
    return Key(HUB, number) if number else None


@function("rrn_birth_date", "field")
def as_rrn_birth_date(raw: str, reader: Reader) -> str | None:
    """The birth date that a resident registration number in the field tells, if there is one."""
    number = registration_number(raw, reader)
    return rrn_birth_date(number) if number else None


@function("rrn_gender", "field")
def as_rrn_gender(raw: str, reader: Reader) -> str | None:
    """The sex that a resident registration number in the field tells, if there is one."""
    number = registration_number(raw, reader)
    return rrn_gender(number) if number else None


@function("rrn_parts_birth_date", "parts")
def as_rrn_parts_birth_date(parts: list[str], reader: Reader) -> str | None:
    """The birth date out of a registration number kept in two columns (JUMIN1, JUMIN2), the second one masked or not."""
    return as_rrn_birth_date("".join(reader.plain(part) for part in parts), reader)  # type: ignore[no-any-return]


@function("rrn_parts_gender", "parts")
def as_rrn_parts_gender(parts: list[str], reader: Reader) -> str | None:
    """The sex out of a registration number kept in two columns."""
    return as_rrn_gender("".join(reader.plain(part) for part in parts), reader)  # type: ignore[no-any-return]
