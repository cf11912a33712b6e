"""Reading a FHIR search: what is asked of the database, what is checked on each resource, what comes along.

Values joined by a comma are alternatives, a repeated parameter must match each time (search.html#combining). What the hub
does not know is ignored and left out of the self link, or refused under `Prefer: handling=strict` (R4 3.1.1.4.1); a
modifier or a prefix that it does not know is always refused, because the answer would not be what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hub.codecs.fhir import Document
from hub.codecs.fhir_types import Systems
from hub.db.views import fhir as views
from hub.db.views.fhir import Span, Wanted
from hub.domain.imaging import DICOM
from hub.domain.search import normal_name
from hub.web.errors import ProblemError, error_at
from hub.web.fhir.parameters import BEGINS, ELEMENTS, INCLUDES, OF_PATIENT, PARAMETERS, WHOSE

Check = Callable[[Document], bool]
Number = tuple[tuple[str, ...], str]
MOST, USUAL = 500, 50
ALTERNATIVES = 200  # values of one parameter; more are another request
QUIET = frozenset({"_format", "_pretty", "_cursor"})  # not part of what is searched for
_PREFIX = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)(?=\d)")
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?)?)?\Z", re.ASCII)
_SORTS = {"_lastUpdated": "updated_at", "date": "sort_at"}


@dataclass(slots=True)
class Asked:
    """A search as understood."""

    wanted: Wanted
    checks: list[Check] = field(default_factory=list)
    includes: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # (element, kinds)
    revincludes: list[str] = field(default_factory=list)
    patient_numbers: list[Number] = field(default_factory=list)  # patient.identifier: whose patient is found first
    nothing: bool = False  # a value that nobody can match: a search never widens
    count: int = USUAL
    used: list[tuple[str, str]] = field(default_factory=list)  # for the self link
    ignored: list[str] = field(default_factory=list)


def read(kind: str, pairs: Sequence[tuple[str, str]], systems: Systems, timezone: str, *, strict: bool) -> Asked:
    """Raises ProblemError 400 for what is asked wrongly, and under `strict` for what is not known."""
    asked = Asked(Wanted(kind))
    reader = _Reader(asked, systems, ZoneInfo(timezone))
    for name, value in pairs:
        if name in QUIET or not value:
            continue
        if reader.take(name, value):
            asked.used.append((name, value))
        else:
            asked.ignored.append(name)
    if asked.wanted.order and not asked.patient_numbers:
        reader.unsorted()
    if strict and asked.ignored:
        raise _wrong(asked.ignored[0], "this server does not know it, and handling=strict was asked for")
    return asked


class _Reader:
    """Takes one parameter after the other into an Asked."""

    def __init__(self, asked: Asked, systems: Systems, zone: ZoneInfo) -> None:
        self.asked, self.systems, self.zone = asked, systems, zone
        self.kind = asked.wanted.kind

    def take(self, name: str, value: str) -> bool:
        """Whether this parameter is one that the hub knows."""
        known = PARAMETERS[self.kind]
        bare, _, modifier = name.partition(":")
        if bare in ("_count", "_sort", "_include", "_revinclude"):
            return not modifier and bool(getattr(self, bare)(value))
        if bare.partition(".")[0] in WHOSE and bare.endswith(".identifier") and bare.partition(".")[0] in known:
            self.asked.patient_numbers += [self.number(one) for one in _split(value)]
            return True
        if bare not in known:
            return False
        if modifier and not (modifier == "Patient" and bare in WHOSE):
            raise _wrong(name, "this server has no such modifier")
        usual = {"token": _Reader.token, "date": _Reader.begins, "reference": _Reader.whom}
        handler = _HANDLERS.get(bare) or usual[known[bare]]
        handler(self, bare, value)
        return True

    def narrow(self, **changes: Any) -> None:
        self.asked.wanted = replace(self.asked.wanted, **changes)

    # results

    def _count(self, value: str) -> bool:
        if not value.isdecimal() or not value.isascii() or not int(value[:9]) > 0:
            raise _wrong("_count", f"a number from 1 to {MOST}")
        self.asked.count = min(int(value[:9]), MOST)
        return True

    def _sort(self, value: str) -> bool:
        column = _SORTS.get(value.removeprefix("-"))
        if column is None or (value.endswith("date") and not any(name in PARAMETERS[self.kind] for name in BEGINS)):
            return False
        self.narrow(order=("-" if value.startswith("-") else "") + column)
        return True

    def unsorted(self) -> None:
        """Leaves out an order that no index has: without a patient, a number or a name, results come by their start or by
        their last change, oldest first."""
        wanted = self.asked.wanted
        if wanted.by_start and wanted.order.endswith("sort_at"):
            return
        if wanted.narrow and not wanted.by_start:
            return
        if wanted.by_start or wanted.order != "updated_at":
            self.asked.used = [pair for pair in self.asked.used if pair[0] != "_sort"]
            self.asked.ignored.append("_sort")
        self.narrow(order="")

    def _include(self, value: str) -> bool:
        source, name, only = (*value.split(":"), "", "")[:3]
        if value == "*" or (source == self.kind and name == "*"):
            self.asked.includes += INCLUDES.get(self.kind, {}).values()
            return True
        found = INCLUDES.get(self.kind, {}).get(name) if source == self.kind else None
        if found is None or (only and only not in found[1]):
            return False
        self.asked.includes.append((found[0], (only,) if only else found[1]))
        return True

    def _revinclude(self, value: str) -> bool:
        source, name, _ = (*value.split(":"), "", "")[:3]
        if self.kind != "Patient" or source not in OF_PATIENT or name not in WHOSE or name not in INCLUDES.get(source, {}):
            return False
        self.asked.revincludes.append(source)
        return True

    # what an index finds

    def ids(self, _name: str, value: str) -> None:
        self.narrow(ids=self._both(self.asked.wanted.ids, tuple(_split(value))))

    def identifier(self, name: str, value: str) -> None:
        if self.asked.wanted.numbers:
            raise _wrong(name, "give it once: values joined by a comma are alternatives")
        self.narrow(numbers=tuple(self.number(one) for one in _split(value)))

    def number(self, text: str) -> Number:
        """system|value, value, |value (without a system: nobody's), system| is refused."""
        parts = _bars(text)
        value = parts[-1]
        if not value:
            raise _wrong("identifier", "a value is needed: system|value")
        assigners = tuple(self.systems.assigners(parts[0])) if len(parts) > 1 and parts[0] else ()
        return assigners, value.removeprefix("urn:oid:") if DICOM in assigners else value

    def whose(self, name: str, value: str) -> None:
        """patient, subject, beneficiary: `Patient/ID` or `ID`; actor may also be somebody else, whom no index finds."""
        ids = tuple(one.removeprefix("Patient/") for one in (_local(part) for part in _split(value)))
        if any("/" in one for one in ids):
            return self.whom(name, value)
        return self.narrow(patients=self._both(self.asked.wanted.patients, ids))

    def text(self, name: str, value: str) -> None:
        """name, family, given: beginning with, whatever the case (search.html#string)."""
        values = _split(value)
        terms = [term for one in values if (term := views.name_term(one))]
        if len(values) == 1 and terms:
            self.narrow(terms=(*self.asked.wanted.terms, terms[0]))
        elif terms:
            raise _wrong(name, "one value only")
        else:
            self.asked.nothing = True
        if name != "name" and terms:
            prefix = normal_name(values[0])
            self.asked.checks.append(lambda one: any(part.startswith(prefix) for part in _parts(one, name)))

    def phone(self, name: str, value: str) -> None:
        system, _, number = value.rpartition("|")
        if system not in ("", "phone", "sms") or "@" in number:
            raise _wrong(name, "this server searches by telephone numbers only")
        self._term(views.phone_term(number))

    def birthdate(self, name: str, value: str) -> None:
        prefix, day = _prefixed(name, value)
        self._term(views.birth_term(prefix, day))

    def _term(self, term: tuple[str, str, str] | None) -> None:
        if term is None:
            self.asked.nothing = True
        else:
            self.narrow(terms=(*self.asked.wanted.terms, term))

    def updated(self, name: str, value: str) -> None:
        self.narrow(updated=self._within(self.asked.wanted.updated, name, value))

    def begins(self, name: str, value: str) -> None:
        """`date`: when it begins; a visit is found by its start, not by its whole period."""
        self.narrow(begins=self._within(self.asked.wanted.begins, name, value))

    def _within(self, span: Span, name: str, value: str) -> Span:
        prefix, text = _prefixed(name, value)
        begin, end = self._span(name, text)
        start, stop = {
            "eq": (begin, end), "ge": (begin, None), "gt": (end, None), "le": (None, end), "lt": (None, begin),
        }[prefix]  # fmt: skip
        if start is not None:
            span = span._replace(start=max(start, span.start or start))
        if stop is not None:
            span = span._replace(end=min(stop, span.end or stop))
        return span

    def _span(self, name: str, text: str) -> tuple[int, int]:
        """The first µs of a date or time, and the first after it; without a zone it is the hub's (search.html#date)."""
        text = text.replace(" ", "+")
        if not _DATE.match(text):
            raise _wrong(name, "a date or a time: 2026-11-22, 2026-11-22T09:00:00+09:00")
        try:
            begin = datetime.fromisoformat(text + "-01-01"[len(text) - 4 :] if len(text) < 10 else text)
            if len(text) == 4:
                end = begin.replace(year=begin.year + 1)
            elif len(text) == 7:
                end = (begin + timedelta(days=31)).replace(day=1)
            else:
                end = begin + (timedelta(days=1) if len(text) == 10 else _precision(text))
            return self._us(begin), self._us(end)
        except (ValueError, OverflowError):
            raise _wrong(name, "no such day or time") from None

    def _us(self, moment: datetime) -> int:
        moment = moment if moment.tzinfo else moment.replace(tzinfo=self.zone)
        return int(moment.timestamp()) * 1_000_000 + moment.microsecond

    def _both(self, before: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
        kept = tuple(one for one in more if one in before) if before else more
        self.asked.nothing = self.asked.nothing or not kept
        return kept

    # what only narrows

    def token(self, name: str, value: str) -> None:
        """status, code, category …: one of these codes; a system before it must be the coding's, where that has one."""
        wanted = [_bars(one) for one in _split(value)]
        element = "medicationCodeableConcept" if (name, self.kind) == ("code", "MedicationRequest") else ELEMENTS.get(name, name)
        self.asked.checks.append(lambda one: any(_bears(coding, wanted) for coding in _codings(one.get(element))))

    def whom(self, name: str, value: str) -> None:
        """practitioner, encounter, requester …: `Kind/ID` or `ID` among what the element refers to."""
        ids = {_local(one).rpartition("/")[2] for one in _split(value)}
        element = ELEMENTS.get(name, name)
        self.asked.checks.append(lambda one: any(ref.rpartition("/")[2] in ids for ref in references(one.get(element))))


_HANDLERS: Mapping[str, Callable[[_Reader, str, str], None]] = {
    "_id": _Reader.ids, "_lastUpdated": _Reader.updated, "identifier": _Reader.identifier, "patient": _Reader.whose,
    "subject": _Reader.whose, "beneficiary": _Reader.whose, "actor": _Reader.whose, "name": _Reader.text,
    "family": _Reader.text, "given": _Reader.text, "phone": _Reader.phone, "telecom": _Reader.phone,
    "birthdate": _Reader.birthdate,
}  # fmt: skip


def references(element: object) -> list[str]:
    """Every literal reference in an element, however deep."""
    if isinstance(element, list):
        return [one for part in element for one in references(part)]
    if not isinstance(element, Mapping):
        return []
    own = element.get("reference")
    rest = [one for value in element.values() if isinstance(value, list | Mapping) for one in references(value)]
    return ([own] if isinstance(own, str) else []) + rest


def _split(value: str) -> list[str]:
    """Alternatives: `,` parts them unless escaped (search.html#escaping)."""
    found = [one for part in re.split(r"(?<!\\),", value) if (one := part.replace("\\,", ",").replace("\\$", "$"))]
    if len(found) > ALTERNATIVES:
        raise ProblemError(400, f"a parameter has at most {ALTERNATIVES} values")
    return found


def _bars(text: str) -> list[str]:
    """system|value, its escapes taken away."""
    parts = re.split(r"(?<!\\)\|", text, maxsplit=1)
    return [part.replace("\\|", "|").replace("\\\\", "\\") for part in parts]


def _local(text: str) -> str:
    """`Patient/ID` out of an absolute URL of ours."""
    return "/".join(text.split("/")[-2:]) if "://" in text else text


def _prefixed(name: str, value: str) -> tuple[str, str]:
    found = _PREFIX.match(value)
    prefix, rest = (found[1], value[2:]) if found else ("eq", value)
    prefix = {"sa": "gt", "eb": "lt"}.get(prefix, prefix)
    if prefix in ("ne", "ap") or "," in rest:
        raise _wrong(name, "one value, with eq, gt, ge, lt, le, sa or eb before it")
    return prefix, rest


def _precision(text: str) -> timedelta:
    clock = re.split(r"[Z+-]", text.partition("T")[2])[0]
    if len(clock) == 5:
        return timedelta(minutes=1)
    return timedelta(seconds=1) if "." not in clock else timedelta(microseconds=max(1, 10 ** (15 - len(clock))))


def _codings(element: object) -> list[tuple[str, str]]:
    """(system, code) of a code, flag, Coding, CodeableConcept or a list of them."""
    if isinstance(element, list):
        return [one for part in element for one in _codings(part)]
    if isinstance(element, Mapping):
        return _codings(element["coding"]) if "coding" in element else [(element.get("system", ""), element.get("code", ""))]
    return [] if element is None else [("", str(element).lower() if isinstance(element, bool) else str(element))]


def _bears(coding: tuple[str, str], wanted: Sequence[Sequence[str]]) -> bool:
    system, code = coding
    return any(one[-1] == code and (len(one) == 1 or not one[0] or not system or one[0] == system) for one in wanted)


def _parts(one: Document, name: str) -> list[str]:
    """What `family` or `given` is compared with; a name that came in one piece counts as family."""
    found: list[str] = []
    for said in one.get("name", ()):
        values = said.get(name) or ([] if name == "given" or said.get("family") else said["text"])
        found += [normal_name(part) for part in ([values] if isinstance(values, str) else values)]
    return found


def _wrong(name: str, detail: str) -> ProblemError:
    return ProblemError(400, "a search parameter is wrong", errors=[error_at("query", (name[:64],), detail)])
