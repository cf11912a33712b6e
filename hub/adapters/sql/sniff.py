"""A look into a table that nobody here has seen: which encoding, key and cursor it seems to have, and a draft of its map.

It reads a sample and says what it concludes, never a value: what is printed may be shown to anybody. All of it is a
proposal, by the names that old Korean systems give their columns and by what stands in them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Any

from hub.adapters.sql.select import name
from hub.domain.errors import HubError, NotDelivered
from hub.transport.odbc import Database

SAMPLE = 500
CODES = 6  # letters that a code of one letter has, at most
KEY_KINDS = ("text", "number", "code", "date as text")
KEY_COLUMNS = 8  # keys stand at the beginning of a table
ENCODINGS = ("utf-8", "cp949")
NO_DATES = ("00000000", "19000101", "99991231", "0000-00-00", "1900-01-01", "9999-12-31")
NO_TIMES = tuple(f"{day}T00:00:00" for day in NO_DATES[3:])
_TIME_NAME = re.compile(r"(UPD|MOD|CHG|LAST|EDIT|UPT|수정|변경)", re.I)
_MADE_NAME = re.compile(r"(REG|INS|ENT|CRE|INPUT|등록|입력)", re.I)
_FETCHED_NAME = re.compile(
    r"(^|_)(IF|EAI|SEND|SND|TRANS|TRNS|LINK|PROC|SYNC|RECV|전송|연계|처리)(_|YN|FLAG|GB|ST|여부|구분|상태|$)", re.I
)
_DELETED_NAME = re.compile(r"(^|_)(DEL|DELETE|DELETED|CANCEL|CNCL|삭제|취소)(_|YN|여부|구분|$)", re.I)
_IN_USE_NAME = re.compile(r"(^|_)(USE|사용)(_|YN|여부|$)", re.I)
_DEAD_NAME = re.compile(r"(^|_)(DEATH|DEAD|DIE|사망)(_|YN|여부|$)", re.I)
_OTHERS_NAME = re.compile(r"DEPT|DR_|DOC|WARD|HOSP|USER|INS|COMP|GUARD|REL|보호자|의사|부서|과명|병원", re.I)  # not the patient's
_PATIENT_NAME = re.compile(
    r"(^|_)(PA?_?NO|PID|PT_?(NO|ID)|PAT_?(NO|ID)|PATIENT_?(NO|ID)|CHART_?NO|CNO|환자번호|등록번호|차트번호)$", re.I
)
_HOSPITAL_NAME = re.compile(r"HOSP|HSP|COMP|SITE|병원|기관", re.I)
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

LASTING = {  # what a row says of the patient as such, by Y and N; NULL says nothing
    "dead": '{ to = "deceased", as = "yn" }',
    "in use": '{ to = "active", as = "yn" }',
    "deleted": """[
  { to = "active", value = false, when = { path = "COLUMN", in = ["Y"] } },
  { to = "active", value = true, when = { path = "COLUMN", in = ["N"] } },
]""",
}


@dataclass(slots=True)
class Column:
    """What is concluded of one column."""

    name: str
    kind: str  # text, number, time, date, date as text, time as text, time of day as text, flag, code, binary, empty
    encoding: str = ""  # where it holds more than ASCII
    sentinels: tuple[str, ...] = ()
    meaning: str = ""
    distinct: int = 0
    unique: bool = False
    nulls: int = 0
    values: tuple[str, ...] = ()  # of a flag or code: letters that are no patient's


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
    flag: Column | None = None  # says which rows were fetched by somebody


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
        found.key = _unique(columns, rows)
    found.cursor = _cursor(columns)
    found.flag = next((c for c in columns if c.kind in ("flag", "code") and _FETCHED_NAME.search(c.name)), None)
    return found


def _unique(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The first column that tells the rows of the sample apart, or the first two."""
    able = [(place, column) for place, column in enumerate(columns) if column.kind in KEY_KINDS and not column.nulls]
    for _, column in able:
        if column.unique:
            return [column.name]
    for (one, first), (other, second) in combinations(able[:KEY_COLUMNS], 2):
        if len(rows) > 1 and len({(row[one], row[other]) for row in rows}) == len(rows):
            return [first.name, second.name]
    return []


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
        if column.kind in ("flag", "code"):
            column.values = tuple(sorted({value.strip() for value in present}))
        column.sentinels = _sentinels(column.kind, present)
    column.meaning = _meaning(title, column.kind)
    return column


def _sentinels(kind: str, present: Sequence[Any]) -> tuple[str, ...]:
    """As a map sees them."""
    if kind in ("date", "date as text"):
        return tuple(one for one in NO_DATES if one in {str(value).strip() for value in present})
    if kind == "time":
        return tuple(one for one in NO_TIMES if one in {value.isoformat() for value in present if isinstance(value, dt.datetime)})
    return ()


def _meaning(title: str, kind: str) -> str:
    if kind in ("flag", "code"):
        marks = ((_DELETED_NAME, "deleted"), (_IN_USE_NAME, "in use"), (_DEAD_NAME, "dead"))
        found = next((meaning for pattern, meaning in marks if pattern.search(title)), "")
        if found:
            return found
    meaning = next((meaning for pattern, meaning in _MEANINGS if re.search(pattern, title, re.I)), "")
    return "" if meaning in ("name", "mobile", "phone", "address") and _OTHERS_NAME.search(title) else meaning


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
    if all(_is_time_of_day(text) for text in texts):
        return "time of day as text"
    letters = {text.upper() for text in texts}
    if letters <= {"Y", "N"}:
        return "flag"
    return "code" if len(letters) <= CODES and len(values) > len(letters) and all(len(text) == 1 for text in letters) else "text"


def _is_time_of_day(text: str) -> bool:
    """HHMM or HHMMSS; 2400 is midnight."""
    return text.isdigit() and len(text) in (4, 6) and text[:2] <= "24" and all(text[i] < "6" for i in range(2, len(text), 2))


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
    days = [column.name for column in columns if column.kind in ("date", "date as text") and _TIME_NAME.search(column.name)]
    return changed or days[:1]


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
    if found.flag is not None:
        values = ", ".join(found.flag.values)
        lines.append(
            f"# {found.flag.name} ({values}) seems to say which rows were fetched. Instead of cursor, if the hub may write it:"
        )
        lines.append(f'# flag = {{ column = "{found.flag.name}", new = "N", claimed = "P", done = "Y" }}')
    return lines


def map_lines(found: Findings, event: str) -> list[str]:
    """A map to begin with: what is known by name, and the rest as comments."""
    patient = patient_of(found)
    return _visit_lines(found, event, patient) if patient else _patient_lines(found, event)


def patient_of(found: Findings) -> str:
    """The column with the patient's number where a row is one of several things of a patient; "" where it is the patient."""
    named = [column for column in found.columns if _PATIENT_NAME.search(column.name)]
    mine = next((c.name for c in named if c.name in found.key), "") or next((c.name for c in named if not c.unique), "")
    more = [
        c
        for c in found.columns
        if c.name in found.key and c.name != mine and c.distinct > 1 and not _HOSPITAL_NAME.search(c.name)
    ]
    return mine if more else ""


def _visit_lines(found: Findings, event: str, patient: str) -> list[str]:
    """Of a table whose key says more than the patient's number."""
    key = ", ".join(f'"{one}"' for one in found.key)
    lines = [
        'source = "row"', "",
        "# The key has more than the patient's number: a row is one of several things of a patient.",
        "[block.visit]", 'kind = "Encounter"  # guessed: a visit. Else Appointment, ServiceRequest, Condition: docs/mapping.md',
        f"key = {f'[[{key}]]' if len(found.key) > 1 else key}", f'patient = "{patient}"  # guessed by its name',
        "", "[block.visit.fields]",
    ]  # fmt: skip
    began = next(
        (c for c in found.columns if c.name in found.key and c.kind in ("date", "date as text", "time", "time as text")), None
    )
    for column in found.columns:
        if column is began:
            lines.append(f'"{column.name}" = {{ to = "period.start", as = "date_time"{_empty(column)} }}')
        elif column.meaning in ("name", "birth", "sex", "email", "mobile", "phone", "address", "rrn", "dead"):
            lines.append(
                f'# "{column.name}" is the patient\'s ({column.meaning}): for a block of kind Patient, key = "{patient}"'
            )
        elif column.name not in found.key:
            lines.append(_remark(column))
    return [*lines, *_pairs(found), *_event(found, event, "visit")]


def _patient_lines(found: Findings, event: str) -> list[str]:
    lines = ['source = "row"', "", "[block.patient]", 'kind = "Patient"']
    lines.append(f"key = {_key(found)}  # the patient number: where that is another column, write it")
    lines += ["", "[block.patient.fields]"]
    for column in found.columns:
        quoted = f'"{column.name}"'
        if column.name in found.key and not column.meaning:
            continue
        if column.meaning == "rrn":
            lines.append(f"# {quoted}: a registration number is not kept; docs/mapping.md says how it tells birth date and sex")
        elif column.meaning in LASTING:
            lines += [f"{quoted} = {LASTING[column.meaning].replace('COLUMN', column.name)}"]
        elif column.meaning:
            rule = RULES[column.meaning]
            lines.append(f"{quoted} = {rule % _empty(column) if '%s' in rule else rule}")
        else:
            lines.append(_remark(column))
    return [*lines, *_pairs(found), *_event(found, event, "patient")]


def _empty(column: Column) -> str:
    """What means nothing in it, as a rule has it."""
    return f", empty = [{', '.join(f'{chr(34)}{one}{chr(34)}' for one in column.sentinels)}]" if column.sentinels else ""


def _remark(column: Column) -> str:
    """A column that cannot be placed."""
    sentinels = f"; {', '.join(column.sentinels)} mean nothing" if column.sentinels else ""
    return f'# "{column.name}" ({column.kind}{sentinels})'


def _pairs(found: Findings) -> list[str]:
    """A day and a time of day beside each other."""
    return [
        f'# "{day.name},{hour.name}" is a time: as = "date_time"'
        for day, hour in pairwise(found.columns)
        if day.kind == "date as text" and hour.kind == "time of day as text"
    ]


def _event(found: Findings, event: str, block: str) -> list[str]:
    return ["", f"[event.{event}]", f'title = "{found.table}"', f'blocks = ["{block}"]']


def _key(found: Findings) -> str:
    """Of a key's columns the one that differs most: a hospital's code is the same in every row."""
    columns = [column for column in found.columns if column.name in found.key]
    return f'"{max(columns, key=lambda column: column.distinct).name}"' if columns else '"…"'
