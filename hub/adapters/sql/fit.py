"""What a table's columns can hold, and values as the bytes that they hold: what does not fit is refused before it is sent.

Lengths and charsets come from the catalogue (INFORMATION_SCHEMA, as ISO/IEC 9075-11 has it; SQLite: pragma_table_info), or
from the map (`size`). A channel's `encoding` other than utf-8 says that text columns hold those bytes whatever they declare:
lengths are bytes then.
"""

from __future__ import annotations

import codecs
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.domain.errors import Misconfigured, Refused
from hub.mapping.row_compose import OutRow, Value
from hub.mapping.row_out import Write
from hub.transport.odbc import PROFILES, Kind
from hub.transport.odbc_write import WRITING, Session

_STANDARD = (
    "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, {charset} FROM INFORMATION_SCHEMA.COLUMNS "
    "WHERE LOWER(TABLE_NAME) = LOWER(?) AND {schema}"
)
_PARAMETERS = (
    "SELECT PARAMETER_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_SET_NAME FROM INFORMATION_SCHEMA.PARAMETERS "
    "WHERE LOWER(SPECIFIC_NAME) = LOWER(?) AND LOWER(SPECIFIC_SCHEMA) = LOWER(COALESCE(?, {schema}))"
)
COLUMNS = {
    "mariadb": _STANDARD.format(charset="CHARACTER_SET_NAME", schema="LOWER(TABLE_SCHEMA) = LOWER(COALESCE(?, DATABASE()))"),
    "postgresql": _STANDARD.format(
        charset="GETDATABASEENCODING()",
        schema="(LOWER(TABLE_SCHEMA) = LOWER(?) OR (CAST(? AS TEXT) IS NULL AND TABLE_SCHEMA = ANY (CURRENT_SCHEMAS(FALSE))))",
    ),
    "sqlserver": _STANDARD.format(charset="CHARACTER_SET_NAME", schema="LOWER(TABLE_SCHEMA) = LOWER(COALESCE(?, SCHEMA_NAME()))"),
    "sqlite": "SELECT name, type, NULL, NULL FROM pragma_table_info(?)",
}
PARAMETERS = {
    "mariadb": _PARAMETERS.format(schema="DATABASE()"),
    "sqlserver": _PARAMETERS.format(schema="SCHEMA_NAME()"),
}
_SIZE = re.compile(r"CHAR\w*\s*\((\d+)\)", re.I)
_TEXT = re.compile(r"char|text|clob|string", re.I)
# What a declared charset can hold, by Python's name; those not named here hold all of Unicode
CHARSETS = {
    "latin1": "cp1252", "iso_1": "cp1252", "ascii": "ascii", "us7ascii": "ascii", "euckr": "cp949", "cp949": "cp949",
    "uhc": "cp949", "euc_kr": "ks_x_1001", "utf8": "bmp", "utf8mb3": "bmp", "ucs2": "bmp", "sjis": "cp932", "big5": "big5",
}  # fmt: skip
WHOLE = {"postgresql": {"utf8": ""}, "sqlserver": {"unicode": "", "utf8": ""}}  # the same names mean more there


@dataclass(frozen=True, slots=True)
class Held:
    """What one column holds. `length` None: as much as may come. `charset`: as CHARSETS has it, "" for all of Unicode."""

    name: str  # as the catalogue writes it
    text: bool
    length: int | None
    charset: str


class Fit:
    """For one channel. What the catalogue says is asked once for each table, and again before a refusal."""

    def __init__(self, kind: Kind, encoding: str, encodings: Mapping[str, str]) -> None:
        self._kind = kind
        self._raw = PROFILES[kind].raw
        self._encoding = encoding
        self._encodings = {column.lower(): one for column, one in encodings.items()}
        self._held: dict[str, dict[str, Held]] = {}
        self._names: dict[str, str] = {}

    def learn(self, session: Session, write: Write) -> None:
        """Raises Misconfigured where the table or a column of it is not there."""
        if write.name in self._held:
            return
        schema, _, bare = write.target.rpartition(".")
        sql = (PARAMETERS if write.do == "call" else COLUMNS).get(self._kind)
        rows = session.query(sql, self._of(bare, schema, sql))[1] if sql else []
        held = {str(row[0]).lower(): self._column(*row[:4]) for row in rows if row[0]}
        if write.do != "call":
            if not held:
                raise Misconfigured(f"there is no table {write.target}, or this user may not see it")
            for column in write.columns:
                if column.name.lower() not in held:
                    raise Misconfigured(f"{write.target} has no column {column.name}, or this user may not see it")
        self._names |= {column: one.name for column, one in held.items()}
        self._held[write.name] = held

    def _of(self, bare: str, schema: str, sql: str) -> list[str | None]:
        return [bare, *([schema or None] * (sql.count("?") - 1))]

    def _column(self, column: str, type_: str, length: int | None, charset: str | None) -> Held:
        declared = _SIZE.search(str(type_))
        size = int(length) if length is not None and int(length) > 0 else int(declared.group(1)) if declared else None
        name = str(charset or "").lower()
        known = WHOLE.get(self._kind, {}).get(name, CHARSETS.get(name, ""))
        return Held(str(column), _TEXT.search(str(type_)) is not None, size, known)

    def column(self, name: str) -> str:
        """As the catalogue writes it: PostgreSQL keeps names in lower case."""
        return self._names.get(name.lower(), name)

    # -- checks ---------------------------------------------------------------------------------------------------

    def check(self, session: Session, row: OutRow) -> None:
        """Raises Refused: column, canonical field, and the character's code point or the length.

        What the catalogue said is not taken for ever: before a refusal it is asked again.
        """
        known = row.write.name in self._held
        self.learn(session, row.write)
        try:
            self._check(row)
        except Refused:
            if not known:
                raise
            del self._held[row.write.name]
            self.learn(session, row.write)
            self._check(row)

    def _check(self, row: OutRow) -> None:
        held = self._held[row.write.name]
        for value in row.values:
            if isinstance(value.cell, str):
                self._check_text(value, held.get(value.column.name.lower(), Held("", True, None, "")))

    def _check_text(self, value: Value, held: Held) -> None:
        text, where = str(value.cell), _where(value)
        encoding = self.encoding_of(value.column.name)
        in_bytes = encoding is not None
        codec = encoding or held.charset
        bad = "\0" if "\0" in text else unencodable(text, codec)
        if bad:
            holder = "the table" if not in_bytes else encoding
            raise Refused(f"{where}: {holder} cannot hold U+{ord(bad):04X}", code="unencodable")
        length = value.column.size or (held.length if held.text else None)
        size = len(text.encode(str(encoding))) if in_bytes else len(text)
        if length is not None and size > length:
            unit = "bytes" if in_bytes else "characters"
            raise Refused(f"{where}: {size} {unit}, and the column holds {length}", code="too_long")

    # -- bytes ----------------------------------------------------------------------------------------------------

    def encoding_of(self, column: str) -> str | None:
        """The bytes that a column holds against its declaration; None where the database converts by itself."""
        own = self._encodings.get(column.lower(), self._encoding)
        return None if codecs.lookup(own).name == "utf-8" and column.lower() not in self._encodings else own

    def as_bytes(self, column: str) -> bool:
        """Whether this column goes to and fro as bytes, because it differs from what the connection speaks."""
        return column.lower() in self._encodings and WRITING[self._kind].bytes_in != "?"

    def parameter(self, value: Value) -> Any:
        """As the driver takes it. Where text is bytes (Profile.raw), as latin-1, which is those bytes."""
        cell = value.cell
        if isinstance(cell, dt.date) and PROFILES[self._kind].times_as_text:
            return cell.isoformat(" ") if isinstance(cell, dt.datetime) else cell.isoformat()
        if not isinstance(cell, str):
            return cell
        encoding = self.encoding_of(value.column.name) or "utf-8"
        if self.as_bytes(value.column.name):
            return cell.encode(encoding).hex()
        return cell.encode(encoding).decode("latin-1") if self._raw else cell

    def text(self, column: str, found: Any) -> Any:
        """What a column gives, as text; bytes that are not in its encoding as they are, so that they equal nothing."""
        encoding = self.encoding_of(column) or "utf-8"
        if isinstance(found, bytes | bytearray | memoryview):
            return bytes(found).decode(encoding, "replace")
        if isinstance(found, str) and self._raw and not found.isascii():
            return found.encode("latin-1").decode(encoding, "replace")
        return found


def unencodable(text: str, codec: str) -> str:
    """The first character that a charset has no place for; "" where it has one for each."""
    if codec == "bmp":
        return next((mark for mark in text if ord(mark) > 0xFFFF or 0xD800 <= ord(mark) <= 0xDFFF), "")
    if codec == "ks_x_1001":  # Python's euc_kr writes other syllables as eight bytes of single letters, which no database does
        return next((mark for mark in text if not _in_ks_x_1001(mark)), "")
    try:
        text.encode(codec or "utf-8")
    except UnicodeEncodeError as error:
        return text[error.start]
    return ""


def _in_ks_x_1001(mark: str) -> bool:
    if mark.isascii():
        return True
    try:
        return all(byte >= 0xA1 for byte in mark.encode("cp949"))
    except UnicodeEncodeError:
        return False


def _where(value: Value) -> str:
    return f"column {value.column.name}" + (f" ({value.field})" if value.field else "")
