"""Who is found by a query, and what the asker is told of him: PDQ (IHE ITI-21) and PIX (ITI-9), without sockets.

A number, a name, a birth date, a phone or an account leads to candidates by an index; everything that was asked is then held
against each of them. An answer is bounded; what is more comes with its continuation pointer, which holds all that there is to
know: nothing is kept between two pages.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from hub.adapters.hl7.people import SEX, person_fields
from hub.codecs.hl7v2 import query
from hub.codecs.hl7v2.query import Domain, Fault, Query
from hub.codecs.hl7v2.writer import Fields, Repetition
from hub.domain.facts import Key
from hub.domain.ports import Lookup, Person, Traits
from hub.domain.search import birth_date, national_digits, normal_name

FIRST, BLOCK = 200, 900  # candidates that are fetched at once: mostly the first are enough, and every block costs a look at all
MOST_LOOKED_AT = 2_000  # candidates that one answer looks at
MOST_ASKED = 40  # parameters and domains of one query
UNKNOWN_KEY, MISSING, TOO_MUCH = 204, 101, 207  # HL7 table 0357
GENDER = {letter: gender for gender, letter in SEX.items()}
FIELDS = {  # @PID paths -> what they are
    "PID.3": "number", "PID.3.1": "number", "PID.3.4": "namespace", "PID.3.4.1": "namespace", "PID.3.4.2": "universal",
    "PID.5": "name", "PID.5.1": "family", "PID.5.1.1": "family", "PID.5.2": "given",
    "PID.7": "birth", "PID.7.1": "birth", "PID.8": "sex", "PID.11.1": "line", "PID.11.1.1": "line", "PID.11.3": "city",
    "PID.11.4": "state", "PID.11.5": "postalCode", "PID.11.6": "country", "PID.13": "phone", "PID.13.1": "phone",
    "PID.18": "account", "PID.18.1": "account",
}  # fmt: skip
NO_NAME: list[Repetition] = ["", ("", "", "", "", "", "", "S")]  # PID-5 of a PIX answer (ITI-9, 3.9.4.2.2.5)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: MSA-1, QAK-2 and what follows. `ids`: whom it tells of, `by`: the fields that were asked for."""

    code: str
    status: str
    faults: Sequence[Fault] = ()
    people: Sequence[Fields] = ()
    counts: tuple[int | None, int, int | None] | None = None
    pointer: str = ""
    ids: Sequence[str] = ()
    by: Sequence[str] = ()


class Responder:
    """The rules of one query channel. `domains`: assigner -> how CX.4 calls it; where it is empty, all by their own names."""

    def __init__(self, lookup: Lookup, domains: Mapping[str, str], most: int, zone: tzinfo) -> None:
        self._lookup = lookup
        self._domains = {assigner: Domain(*(*said.split("&"), "", "")[:3]) for assigner, said in domains.items()}
        self._most = most
        self._zone = zone

    def told(self, asked: Query) -> Told:
        """Raises TryAgain where the store is not there."""
        if asked.event == query.CANCEL:
            return Told("AA", "OK")  # nothing is kept for a continuation, so there is nothing to throw away
        if len(asked.parameters) + len(asked.domains) > MOST_ASKED:
            return _wrong([Fault(("QPD", "1", "3"), TOO_MUCH, f"at most {MOST_ASKED} parameters and domains")])
        return self._find(asked) if asked.event == query.FIND else self._by_number(asked)

    # -- PDQ ------------------------------------------------------------------------------------------------------

    def _find(self, asked: Query) -> Told:
        visible, faults = self._wanted_domains(asked.domains, "8")
        wanted, unknown = self._wanted(asked)
        digest = _digest(asked)
        mark, _, after = asked.pointer.partition(".")
        if asked.pointer and mark != digest:
            faults.append(Fault(("DSC", "1", "1"), UNKNOWN_KEY, "no continuation of this query"))
        if faults or unknown:
            return _wrong([*unknown, *faults])
        traits = _traits(wanted)
        if traits == Traits():
            return _wrong([Fault(("QPD", "1", "3"), MISSING, "a number, name, birth date, phone or account is needed")])
        limit = min(asked.limit or self._most, self._most)
        found: list[tuple[Person, list[Repetition]]] = []
        more, last = False, after
        for person, cut_here in self._candidates(traits, after):
            if len(found) == limit:
                more = True
                break
            more, last = cut_here, person.id
            known = self._known(person)
            numbers = self._numbers(known, visible)
            if numbers and _matches({**person.data, "identifier": known}, wanted):
                found.append((person, numbers))
        by = sorted({parameter.path for parameter in asked.parameters})
        if not found and not more:
            return Told("AA", "NF", counts=(0, 0, 0) if not after else None, by=by)
        people: list[Fields] = [{3: numbers, **person_fields(person.data, self._zone)} for person, numbers in found]
        total = None if more or after else len(found)
        counts = (total, len(found), None if more else 0)
        ids = [person.id for person, _ in found]
        return Told("AA", "OK", (), people, counts, f"{digest}.{last}" if more else "", ids, by)

    def _candidates(self, traits: Traits, after: str) -> Iterator[tuple[Person, bool]]:
        """Each with whether it is the last one that this answer looks at though there may be more."""
        looked, size = 0, FIRST
        while True:
            block = self._lookup.search(traits, after=after, limit=size)
            for person in block:
                looked += 1
                yield person, looked == MOST_LOOKED_AT
                if looked == MOST_LOOKED_AT:
                    return
            if len(block) < size:
                return
            after, size = block[-1].id, BLOCK

    def _wanted(self, asked: Query) -> tuple[dict[str, str], list[Fault]]:
        """What is looked for, by FIELDS; and of each parameter that is none of them, where it stands."""
        wanted: dict[str, str] = {}
        faults = []
        for parameter in asked.parameters:
            name = FIELDS.get(parameter.path)
            if name is None:
                faults.append(Fault(("QPD", "1", "3", str(parameter.repetition), "1"), UNKNOWN_KEY, "no field to search by"))
            elif parameter.value:
                wanted[name] = parameter.value
        namespace, universal = wanted.pop("namespace", ""), wanted.pop("universal", "")
        if namespace or universal:
            assigner = self._assigner(Domain(namespace, universal))
            if assigner is None:
                at = next(p.repetition for p in asked.parameters if p.path.startswith("PID.3.4"))
                faults.append(Fault(("QPD", "1", "3", str(at), "2"), UNKNOWN_KEY, "no such assigning authority"))
            wanted["assigner"] = assigner or ""
        return wanted, faults

    # -- PIX, and who bears a number ------------------------------------------------------------------------------

    def _by_number(self, asked: Query) -> Told:
        """The cases of ITI-9, 3.9.4.2.2.6; of a Q21 a number that nobody has is no fault (v2.5.1 §3.3.56)."""
        assigner = self._assigner(asked.domain) if asked.domain is not None else None
        if not asked.number:
            return _wrong([Fault(("QPD", "1", "3", "1", "1"), MISSING, "no patient number")])
        if assigner is None:
            return _wrong([Fault(("QPD", "1", "3", "1", "4"), UNKNOWN_KEY, "no such assigning authority")])
        visible, faults = self._wanted_domains(asked.domains, "4")
        if faults:
            return _wrong(faults)
        person = self._lookup.bearer(Key(assigner, asked.number))
        if asked.event == query.DEMOGRAPHICS:
            return self._demographics(person, visible)
        if person is None:
            return _wrong([Fault(("QPD", "1", "3", "1", "1"), UNKNOWN_KEY, "no patient has this number")])
        others = self._numbers(self._known(person), visible, without=Key(assigner, asked.number))
        if not others:
            return Told("AA", "NF", by=["PID.3"])
        return Told("AA", "OK", people=[{3: others, 5: NO_NAME}], ids=[person.id], by=["PID.3"])

    def _demographics(self, person: Person | None, visible: frozenset[str] | None) -> Told:
        numbers = self._numbers(self._known(person), visible) if person is not None else []
        if person is None or not numbers:
            return Told("AA", "NF", by=["PID.3"])
        return Told("AA", "OK", people=[{3: numbers, **person_fields(person.data, self._zone)}], ids=[person.id], by=["PID.3"])

    # -- domains --------------------------------------------------------------------------------------------------

    def _wanted_domains(self, domains: Sequence[Domain], field: str) -> tuple[frozenset[str] | None, list[Fault]]:
        """The assigners whose numbers are told (None: all that may be); and of each domain that nobody knows, where it stands."""
        found, faults = set(), []
        for number, domain in enumerate(domains, 1):
            assigner = self._assigner(domain)
            if assigner is None:
                faults.append(Fault(("QPD", "1", field, str(number)), UNKNOWN_KEY, "no such assigning authority"))
            else:
                found.add(assigner)
        return (frozenset(found) if domains else None), faults

    def _assigner(self, domain: Domain) -> str | None:
        """Our name of an assigning authority; None where it is none that may be asked for."""
        if self._domains:
            return next((assigner for assigner, known in self._domains.items() if _same(known, domain)), None)
        said = (name for name in (domain.namespace, domain.universal) if name)
        return next((name for name in said if self._lookup.gives_numbers(name)), None)

    def _known(self, person: Person) -> list[dict[str, Any]]:
        """His numbers of the domains that may be asked for."""
        told = self._domains
        return [
            one
            for one in person.data.get("identifier") or ()
            if (one.get("assigner") in told if told else ":" not in str(one.get("assigner", "")))
        ]

    def _numbers(
        self, known: Sequence[Mapping[str, Any]], visible: frozenset[str] | None, without: Key | None = None
    ) -> list[Repetition]:
        """PID-3: of these the numbers in force, of the domains that were asked for."""
        found: list[Repetition] = []
        for one in known:
            assigner, value = str(one.get("assigner", "")), str(one["value"])
            if one.get("use") != "old" and (visible is None or assigner in visible) and (assigner, value) != without:
                found.append((value, "", "", tuple(self._domains.get(assigner, Domain(assigner))), str(one.get("type", ""))))
        return found


def _wrong(faults: Sequence[Fault]) -> Told:
    return Told("AE", "AE", faults)


def _same(known: Domain, asked: Domain) -> bool:
    """One of the two names is enough, and none may be another."""
    pairs = [(k, a) for k, a in ((known.namespace, asked.namespace), (known.universal, asked.universal)) if k and a]
    return bool(pairs) and all(k == a for k, a in pairs)


def _digest(asked: Query) -> str:
    """What a continuation must be of: the same parameters, whatever its tag."""
    fields = asked.qpd.fields if asked.qpd is not None else []
    return hashlib.sha256("\r".join((asked.name, *fields[3:])).encode()).hexdigest()[:16]


def _traits(wanted: Mapping[str, str]) -> Traits:
    """The part of it that an index finds; the most telling first."""
    number = wanted.get("number", "")
    if number and "*" not in number:
        assigner = wanted.get("assigner", "")
        return Traits(identifier=f"{assigner}|{number}" if assigner else number)
    if wanted.get("account"):
        return Traits(account=wanted["account"])
    family, given = wanted.get("family") or wanted.get("name") or "", wanted.get("given", "")
    whole = family if family.endswith("*") else family + given  # what follows a family name cut short is not known
    return Traits(name=whole.rstrip("*"), phone=wanted.get("phone", ""), birth_date=_day(wanted.get("birth", "")))


def _day(text: str) -> str:
    """HL7's YYYYMMDD, YYYYMM or YYYY as YYYY-MM-DD …; a time of day is cut off."""
    text = text[:8]
    return birth_date(f"{text[:4]}-{text[4:]}" if len(text) == 6 else text) or text


def _matches(data: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether a patient has all that is looked for."""
    return all(check(data, wanted) for name, check in CHECKS.items() if wanted.get(name))


def _is(value: object, wanted: str) -> bool:
    """Equal but for case and blanks; up to a `*` at the end."""
    said, asked = normal_name(str(value or "")), normal_name(wanted)
    return said.startswith(asked) if wanted.endswith("*") else said == asked


def _numbered(data: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    number = wanted["number"]
    return any(
        (str(one["value"]).startswith(number[:-1]) if number.endswith("*") else one["value"] == number)
        and wanted.get("assigner", "") in ("", one.get("assigner", ""))
        for one in data.get("identifier") or ()
    )


def _named(data: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Family and given name of one name; a name that was asked for whole, as Korean systems do, may stand in PID.5.1."""
    family, given = wanted.get("family") or wanted.get("name") or "", wanted.get("given", "")
    for one in data.get("name") or ():
        parts = str(one.get("family") or ""), "".join(one.get("given") or ())
        if (not family or _is(parts[0], family)) and (not given or _is(parts[1], given)):
            return True
        if _is(one.get("text"), family + given) or (not given and _is("".join(parts), family)):
            return True
    return False


def _located(key: str) -> Callable[[Mapping[str, Any], Mapping[str, str]], bool]:
    def check(data: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
        found = itertools.chain.from_iterable(
            (one.get("line") or [one.get("text")]) if key == "line" else [one.get(key)] for one in data.get("address") or ()
        )
        return any(_is(value, wanted[key]) for value in found)

    return check


def _phoned(data: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    digits = national_digits(wanted["phone"])
    return any(national_digits(str(one.get("value", ""))) == digits for one in data.get("telecom") or ())


CHECKS: dict[str, Callable[[Mapping[str, Any], Mapping[str, str]], bool]] = {
    "number": _numbered, "family": _named, "given": _named, "name": _named, "phone": _phoned,
    "birth": lambda data, wanted: str(data.get("birthDate", "")).startswith(_day(wanted["birth"])),
    "sex": lambda data, wanted: data.get("gender") == GENDER.get(wanted["sex"].upper(), "?"),
    **{key: _located(key) for key in ("line", "city", "state", "postalCode", "country")},
}  # fmt: skip
