"""Value maps: CSV files `from,to,text,source,since`. A code that is not in its map is never passed over in silence.

`from` is what a source says; matched as it stands, then regardless of case and surrounding blanks. `to` is the
canonical value, `text` its display, `source` where the pair comes from (a standard's table, a hospital), `since` the
date of that source.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hub.domain.errors import Misconfigured

COLUMNS = ["from", "to", "text", "source", "since"]


class Code(NamedTuple):
    """What a source's code means here."""

    value: str
    text: str


class CodeMap:
    """One value map, ready to be asked."""

    __slots__ = ("_codes", "_folded", "name")

    def __init__(self, name: str, codes: dict[str, Code]) -> None:
        self.name = name
        self._codes = codes
        self._folded = {key.casefold(): code for key, code in codes.items()}

    def get(self, code: str) -> Code | None:
        """The meaning of `code`, or None where the map does not have it."""
        return self._codes.get(code) or self._folded.get(code.strip().casefold())

    def backwards(self) -> dict[str, str]:
        """Canonical value -> the first code of the file that means it."""
        found: dict[str, str] = {}
        for code, meaning in self._codes.items():
            found.setdefault(meaning.value, code)
        return found

    def __len__(self) -> int:
        return len(self._codes)


def read_codes(folders: Iterable[Path]) -> tuple[dict[str, CodeMap], dict[str, str]]:
    """Every `*.csv` of the folders, a later folder adding to and replacing rows of an earlier one; and their texts by name.

    Raises Misconfigured naming the file and the line.
    """
    rows: dict[str, dict[str, Code]] = {}
    texts: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.csv")):
            text = path.read_text(encoding="utf-8-sig")
            rows.setdefault(path.stem, {}).update(_read(path, text))
            texts[path.stem] = texts.get(path.stem, "") + text
    return {name: CodeMap(name, codes) for name, codes in rows.items()}, texts


def _read(path: Path, text: str) -> dict[str, Code]:
    reader = csv.reader(io.StringIO(text))
    header = next(reader, [])
    if header != COLUMNS:
        raise Misconfigured(f"{path.name}:1: the first line of a value map must be `{','.join(COLUMNS)}`")
    codes: dict[str, Code] = {}
    for row in reader:
        if not row:
            continue
        if len(row) != len(COLUMNS) or not row[0] or not row[1] or not row[3]:
            raise Misconfigured(
                f"{path.name}:{reader.line_num}: a row needs `from`, `to`, `source`, in {len(COLUMNS)} columns; it has {len(row)}"
            )
        if row[0] in codes:
            raise Misconfigured(f"{path.name}:{reader.line_num}: this code stands in the file twice; keep one of the two rows")
        codes[row[0]] = Code(row[1], row[2])
    return codes
