"""Where each key of a TOML text stands: tomllib says what is written, this says on which line.

Only for text that tomllib has read without complaint: so the scan may trust its syntax (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import tomllib

Place = tuple[str | int, ...]
BARE = re.compile(r"[A-Za-z0-9_-]+")
BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
SCALAR = re.compile(r"[^,\]\}#\n]*")


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counted_to = 0
        self.line = 1
        self.found: dict[Place, int] = {}

    def here(self) -> int:
        self.line += self.text.count("\n", self.counted_to, self.at)
        self.counted_to = self.at
        return self.line

    def skip(self) -> None:
        found = BLANK.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def string(self) -> str:
        quote = self.text[self.at]
        triple = self.text.startswith(quote * 3, self.at)
        end = quote * 3 if triple else quote
        start = self.at = self.at + len(end)
        while not self.text.startswith(end, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        inside = self.text[start : self.at]
        if quote == '"' and not triple and "\\" in inside:
            inside = str(tomllib.loads(f'x = "{inside}"')["x"])  # a key may be written with escapes
        self.at += len(end)
        while triple and self.text.startswith(quote, self.at):  # '''''' may end in quotes of its own
            self.at += 1
        return inside

    def key(self) -> list[str]:
        """A dotted key; leaves the scan behind it."""
        parts: list[str] = []
        while True:
            self.skip()
            if self.text[self.at] in "\"'":
                parts.append(self.string())
            else:
                bare = BARE.match(self.text, self.at)
                assert bare is not None
                parts.append(bare.group())
                self.at = bare.end()
            self.skip()
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def note(self, base: Place, parts: list[str], line: int) -> Place:
        place = base
        for part in parts:
            place = (*place, part)
            self.found.setdefault(place, line)
        return place

    def pair(self, base: Place) -> None:
        line = self.here()
        place = self.note(base, self.key(), line)
        self.at += 1  # =
        self.skip()
        self.value(place)

    def value(self, place: Place) -> None:
        opening = self.text[self.at]
        if opening in "\"'":
            self.string()
        elif opening in "[{":
            self.at += 1
            index = 0
            self.skip()
            while self.text[self.at] not in "]}":
                if opening == "{":
                    self.pair(place)
                else:
                    self.found.setdefault((*place, index), self.here())
                    self.value((*place, index))
                index += 1
                self.skip()
                if self.text[self.at] == ",":
                    self.at += 1
                self.skip()
            self.at += 1
        else:
            scalar = SCALAR.match(self.text, self.at)
            assert scalar is not None
            self.at = scalar.end()

    def header(self, counts: dict[Place, int]) -> Place:
        line = self.here()
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        base: Place = ()
        for part in self.key():
            base = (*base, part)
            self.found.setdefault(base, line)
            if base in counts:
                base = (*base, counts[base])
        self.at += 2 if many else 1
        if many:
            name = base[:-1] if base and isinstance(base[-1], int) else base
            counts[name] = counts.get(name, -1) + 1
            base = (*name, counts[name])
            self.found[base] = line
        return base


def key_lines(text: str) -> dict[Place, int]:
    """The line (from 1) of every table, key and list item, by its place: `("channels", "ocs-in", "port")` -> 12."""
    scan = _Scan(text)
    base: Place = ()
    counts: dict[Place, int] = {}
    scan.skip()
    while scan.at < len(text):
        if text[scan.at] == "[":
            base = scan.header(counts)
        else:
            scan.pair(base)
        scan.skip()
    return scan.found
