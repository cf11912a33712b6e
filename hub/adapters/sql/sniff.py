"""A look into a table that nobody here has seen: which encoding, key and cursor it seems to have, and a draft of its map.

It reads a sample and says what it concludes, never a value: what is printed may be shown to anybody. All of it is a
proposal, by the names that old Korean systems give their columns and by what stands in them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.adapters.sql.select import name
from hub.domain.errors import HubError, NotDelivered
from hub.transport.odbc import Database

SAMPLE = 500
ENCODINGS = ("utf-8", "cp949")
NO_DATES = ("00000000", "19000101", "99991231", "0000-00-00", "1900-01-01", "9999-12-31")
_TIME_NAME = re.compile(r"(UPD|MOD|CHG|LAST|EDIT|UPT|수정|변경)", re.I)
_MADE_NAME = re.compile(r"(REG|INS|ENT|CRE|INPUT|등록|입력)", re.I)
_MEANINGS: tuple[tuple[str, str], ...] = (  # the first that fits the name; {} is told apart by what stands in the column
    (r"JUMIN|RRN|주민", "rrn"),
    (r"(^|_)(SNAME|PT_?NAME|PTNM|PAT_?NM|NAME|NM|이름|성명|환자명|수진자명)$|^성명|환자명", "name"),
    (r"BIRTH|BRTH|생년월일|생일", "birth"),
    (r"(^|_)(SEX|GENDER|성별)", "sex"),
    (r"E_?MAIL|메일", "email"),
    (r"HP(HONE|NO|TEL)?($|_)|HPHONE|MOBILE|CELL|휴대|핸드폰", "mobile"),
    (r"TEL|PHONE|전화", "phone"),
    (r"ADDR|주소", "address"),
)
RULES = {
    "name": '{ to = "name", as = "name_text", each = true }',
    "birth": '{ to = "birthDate", as = "date"%s }',
    "sex": '{ to = "gender", codes = "administrative-sex" }',
    "email": '{ to = "telecom", as = "email", each = true }',
    "mobile": '{ to = "telecom", as = "phone", each = true }',
    "phone": '{ to = "telecom", as = "phone", each = true, with = { use = "home" } }',
    "address": '{ to = "address", as = "xad", each = true }',
}


@dataclass(slots=True)
class Column:
    """What is concluded of one column."""

    name: str
    kind: str  # text, number, time, date, date as text, flag, binary, empty
    encoding: str = ""  # where it holds more than ASCII
    sentinels: tuple[str, ...] = ()
    meaning: str = ""
    distinct: int = 0
    unique: bool = False
    nulls: int = 0


@dataclass(slots=True)
class Findings:
    """What is concluded of a table."""

    table: str
    rows: int
    columns: list[Column]
    encoding: str = "utf-8"
    key: list[str] = field(default_factory=list)
    key_is_declared: bool = False
    cursor: list[str] = field(default_factory=list)


def sniff(connect: Callable[[str], Database], table: str) -> Findings:
    """Reads a sample, with the charset that the database says first, else as the bytes that it holds. `connect`: by encoding."""
    trouble: HubError | None = None
    for encoding in ENCODINGS:
        database = connect(encoding)
        try:
            quoted = name(table, database.profile.quote)
            names, rows = database.select(database.profile.limit.format(what=f"* FROM {quoted}", n=SAMPLE))
            return conclude(table, names, rows, database.primary_key(table), raw=database.profile.raw)
        except NotDelivered as error:  # PostgreSQL checks bytes that it was told nothing about
            trouble = error
        finally:
            database.close()
    assert trouble is not None
    raise trouble


def conclude(table: str, names: Sequence[str], rows: Sequence[Sequence[Any]], key: Sequence[str], *, raw: bool) -> Findings:
    columns = [_column(title, [row[place] for row in rows], raw) for place, title in enumerate(names)]
    found = Findings(table, len(rows), columns)
    others = {column.encoding for column in columns} - {"", "utf-8"}
    found.encoding = others.pop() if len(others) == 1 else "utf-8"
    folded = {title.lower(): title for title in names}
    found.key = [folded[part.lower()] for part in key if part.lower() in folded]
    found.key_is_declared = bool(found.key)
    if not found.key:
        found.key = [column.name for column in columns if column.unique and column.kind in ("text", "number")][:1]
    found.cursor = _cursor(columns)
    return found


def _column(title: str, values: Sequence[Any], raw: bool) -> Column:
    present = [value for value in values if value is not None and str(value).strip() != ""]
    column = Column(title, "empty", nulls=len(values) - len(present))
    if present:
        column.distinct = len({str(value) for value in present})
        column.unique = column.distinct == len(values)
        column.kind = _kind(present)
        if column.kind == "text":
            texts = [value for value in present if isinstance(value, str)]
            column.encoding = _encoding(texts if raw else [text.encode(errors="replace").decode("latin-1") for text in texts])
        if column.kind in ("date", "date as text"):
            column.sentinels = tuple(one for one in NO_DATES if one in {str(value).strip() for value in present})
    column.meaning = next((meaning for pattern, meaning in _MEANINGS if re.search(pattern, title, re.I)), "")
    return column


def _kind(values: Sequence[Any]) -> str:
    first = values[0]
    if isinstance(first, dt.datetime):
        return "time"
    if isinstance(first, dt.date):
        return "date"
    if isinstance(first, bytes | bytearray):
        return "binary"
    if not isinstance(first, str):
        return "number"
    texts = [value.strip() for value in values]
    if all(len(text) == 8 and text.isdigit() for text in texts) and any(_is_date(text) for text in texts):
        return "date as text"
    if all(len(text) in (12, 14) and text.isdigit() and _is_date(text[:8]) for text in texts):
        return "time as text"
    return "flag" if {text.upper() for text in texts} <= {"Y", "N"} else "text"


def _is_date(text: str) -> bool:
    try:
        return 1900 < dt.datetime.strptime(text, "%Y%m%d").year < 2100  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return False


def _encoding(texts: Sequence[str]) -> str:
    """Of bytes that came as latin-1. cp949 that the database took for Latin-1 and made UTF-8 of is cp949 still."""
    strange = [text.encode("latin-1") for text in texts if not text.isascii()]
    if not strange:
        return ""
    decoded = [_decoded(plain, "utf-8") for plain in strange]
    if all(text is not None for text in decoded):
        back = [_mistaken(text) for text in decoded if text is not None]
        return "cp949" if all(plain is not None and _korean(_decoded(plain, "cp949")) for plain in back) else "utf-8"
    return "cp949" if all(_decoded(plain, "cp949") is not None for plain in strange) else "unknown"


def _decoded(plain: bytes, encoding: str) -> str | None:
    try:
        return plain.decode(encoding)
    except UnicodeDecodeError:
        return None


def _mistaken(text: str) -> bytes | None:
    """The bytes that were taken for Latin-1 (which is Windows-1252 for MariaDB), if they were."""
    try:
        return b"".join(mark.encode("latin-1" if ord(mark) < 256 else "cp1252") for mark in text)
    except UnicodeEncodeError:
        return None


def _korean(text: str | None) -> bool:
    return text is not None and any("가" <= mark <= "힣" or "一" <= mark <= "鿿" for mark in text)


def _cursor(columns: Sequence[Column]) -> list[str]:
    """When a row was changed, and when it was made, where those are columns of their own."""
    times = [column for column in columns if column.kind in ("time", "time as text")]
    changed = [column.name for column in times if _TIME_NAME.search(column.name)][:1]
    made = [column.name for column in times if _MADE_NAME.search(column.name)][:1]
    if changed and any(column.name == changed[0] and column.nulls for column in times):
        return changed + made
    return changed


def channel_lines(found: Findings, event: str) -> list[str]:
    """What to write into the channel's table in hub.toml."""

    def listed(names: Sequence[str]) -> str:
        return "[" + ", ".join(f'"{one}"' for one in names) + "]"

    lines = [f'table = "{found.table}"', f'event = "{event}"', f'encoding = "{found.encoding}"']
    odd = [c.name for c in found.columns if c.encoding and c.encoding != found.encoding]
    if odd:
        lines.append(f"# other encodings in {', '.join(odd)}: see docs/odbc.md, Korean text")
    origin = "" if found.key_is_declared else "  # guessed: no two rows of the sample have it alike"
    if found.key:
        lines.append(f"key = {listed(found.key)}{origin}")
    else:
        lines.append("# key = […]: the table declares none, and no column tells rows apart")
    if found.cursor:
        lines.append(f"cursor = {listed(found.cursor)}  # guessed by its name: make sure that every change sets it")
    else:
        lines.append("# no cursor found: every poll reads the whole table")
    return lines


def map_lines(found: Findings, event: str) -> list[str]:
    """A map to begin with: what is known by name, and the rest as comments."""
    lines = ['source = "row"', "", "[block.patient]", 'kind = "Patient"']
    lines.append(f"key = {_key(found)}  # the patient number: where that is another column, write it")
    lines += ["", "[block.patient.fields]"]
    for column in found.columns:
        quoted = f'"{column.name}"'
        if column.name in found.key and not column.meaning:
            continue
        if column.meaning == "rrn":
            lines.append(f"# {quoted}: a registration number is not kept; docs/mapping.md says how it tells birth date and sex")
        elif column.meaning:
            empty = f", empty = [{', '.join(f'{chr(34)}{one}{chr(34)}' for one in column.sentinels)}]" if column.sentinels else ""
            rule = RULES[column.meaning]
            lines.append(f"{quoted} = {rule % empty if '%s' in rule else rule}")
        else:
            lines.append(f"# {quoted} ({column.kind})")
    return [*lines, "", f"[event.{event}]", f'title = "{found.table}"', 'blocks = ["patient"]']


def _key(found: Findings) -> str:
    """Of a key's columns the one that differs most: a hospital's code is the same in every row."""
    columns = [column for column in found.columns if column.name in found.key]
    return f'"{max(columns, key=lambda column: column.distinct).name}"' if columns else '"…"'
