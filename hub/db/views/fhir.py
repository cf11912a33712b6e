"""Searches of the FHIR façade: resources by id, by patient, by number or term, and by when they last changed.

Each begins with an index and pages by keyset. What no index leads to (a status, a practitioner) only narrows what a patient,
a number or a time has found. `_lastUpdated` runs along the change table, whose ids grow with time: the place where a
time begins is found by halving, and a page reads at most `WINDOW` changes, however rare a kind is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, func, or_, select, text, tuple_

from hub.db.tables import change, identifier, resource, term
from hub.db.views.changes import START, ChangeRow, Position, as_change, head
from hub.db.views.patients import ResourceRow, as_resource
from hub.domain import search as forms

WINDOW = 5_000  # changes that one page looks through
SLACK = 600_000_000  # µs: ids are given out before their transaction's clock is read, and by several processes
SHOWN = ("active", "merged")  # a merged patient is shown as inactive, with a link to the survivor
_LAST = "\U0010ffff"


class Span(NamedTuple):
    """From `start` to before `end`, in µs; None: open."""

    start: int | None = None
    end: int | None = None


ALWAYS = Span()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search asks for; everything given must match, in each tuple any one."""

    kind: str
    ids: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    numbers: tuple[tuple[tuple[str, ...], str], ...] = ()  # ((assigners, none meaning any), value)
    terms: tuple[tuple[str, str, str], ...] = ()  # (kind, from, to) of search terms; all must match
    updated: Span = ALWAYS
    begins: Span = ALWAYS
    order: str = ""  # "" by id | sort_at | -sort_at | updated_at | -updated_at

    @property
    def narrow(self) -> bool:
        """Whether an index leads to it without the time of change; a start alone does (resource_by_start)."""
        return bool(self.ids or self.patients or self.numbers or self.terms) or self.by_start

    @property
    def by_start(self) -> bool:
        """Whether nothing but the time when it begins leads to it: then that is its order too."""
        named = self.ids or self.patients or self.numbers or self.terms
        return not named and self.begins != ALWAYS and self.updated.start is None


class Page(NamedTuple):
    """One page: `after` is where the next one begins, None on the last."""

    rows: list[ResourceRow]
    after: tuple[int, str] | None


def name_term(text: str) -> tuple[str, str, str] | None:
    """Names that begin with `text`; None where nothing searchable is left of it."""
    prefix = forms.name_prefix(text)
    return (forms.NAME, prefix, prefix + _LAST) if prefix else None


def phone_term(text: str) -> tuple[str, str, str] | None:
    """The phone with exactly this number, however it is written."""
    digits = forms.national_digits(text)[::-1]
    return (forms.PHONE, digits, digits + "\1") if len(digits) >= forms.MIN_PHONE_DIGITS else None


def birth_term(prefix: str, text: str) -> tuple[str, str, str] | None:
    """Birth dates eq, ge, gt, le or lt a date, month or year; None where `text` is none."""
    day = forms.birth_date(text)
    if not day:
        return None
    low, high = {
        "eq": (day, day + _LAST), "ge": (day, _LAST), "gt": (day + _LAST, _LAST), "le": ("", day + _LAST), "lt": ("", day),
    }[prefix]  # fmt: skip
    return forms.BIRTH_DATE, low, high


def find(conn: Connection, wanted: Wanted, *, after: tuple[int, str] | None, limit: int) -> Page:
    """A page of resources. Without anything that an index leads to, by the time of the last change."""
    if not wanted.narrow:
        return _by_change(conn, wanted, Position(after[0], _number(after[1])) if after else None, limit)
    statement = _narrowed(wanted)
    column, descending = _ordering(wanted.order or ("sort_at" if wanted.by_start else ""))
    if after is not None:
        place, row_id = after
        if column is None:
            statement = statement.where(resource.c.id > row_id)
        else:
            here, there = tuple_(column, resource.c.id), tuple_(place, row_id)
            statement = statement.where(here < there if descending else here > there)
    if column is not None:
        statement = statement.order_by(column.desc() if descending else column)
    statement = statement.order_by(resource.c.id.desc() if descending else resource.c.id)
    rows = [as_resource(row) for row in conn.execute(statement.limit(limit))]
    if len(rows) < limit:
        return Page(rows, None)
    last = rows[-1]
    return Page(rows, (0 if column is None else getattr(last, column.name), last.id))


def of_patients(conn: Connection, patient_ids: Sequence[str], kinds: Sequence[str], *, limit: int) -> list[ResourceRow]:
    """What belongs to these patients, of these kinds, set-wise."""
    if not patient_ids or not kinds:
        return []
    statement = select(resource).where(
        resource.c.patient_id.in_(list(patient_ids)), resource.c.kind.in_(list(kinds)), resource.c.status == "active"
    )
    return [as_resource(row) for row in conn.execute(statement.order_by(resource.c.id).limit(limit))]


def everything(conn: Connection, patient_id: str, kinds: Sequence[str], *, after: str, limit: int) -> list[ResourceRow]:
    """All that belongs to a patient, himself included, by id."""
    statement = select(resource).where(
        resource.c.patient_id == patient_id, resource.c.kind.in_(list(kinds)), resource.c.status.in_(SHOWN), resource.c.id > after
    )
    return [as_resource(row) for row in conn.execute(statement.order_by(resource.c.id).limit(limit))]


def patients_by_number(conn: Connection, numbers: Sequence[tuple[tuple[str, ...], str]]) -> list[str]:
    """Ids of the patients who bear one of these numbers."""
    found: list[str] = []
    for assigners, value in numbers:
        statement = select(identifier.c.resource_id).where(identifier.c.kind == "Patient", identifier.c.value == value)
        if assigners:
            statement = statement.where(identifier.c.assigner.in_(assigners))
        found += conn.execute(statement.limit(WINDOW)).scalars()
    return list(dict.fromkeys(found))


def version(conn: Connection, resource_id: str, number: int) -> ChangeRow | None:
    """One version of a resource, as the change that made it."""
    statement = select(change).where(change.c.resource_id == resource_id, change.c.version == number)
    row = conn.execute(statement).first()
    return None if row is None else as_change(row)


def versions(conn: Connection, resource_id: str, *, before: int | None, limit: int) -> list[ChangeRow]:
    """The versions of a resource, the newest first."""
    statement = select(change).where(change.c.resource_id == resource_id)
    if before is not None:
        statement = statement.where(change.c.version < before)
    return [as_change(row) for row in conn.execute(statement.order_by(change.c.version.desc()).limit(limit))]


def _number(text: str) -> int:
    """An id out of a cursor; a caller may have written anything."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else -1


def _narrowed(wanted: Wanted) -> Select[Any]:
    statement = _common(select(resource), wanted)
    if wanted.by_start:
        statement = statement.where(text("resource.sort_at > 0"))  # literally: what the index has a place for
    if wanted.numbers or wanted.terms:  # who is looked for is found as what he is now
        statement = statement.where(resource.c.status == "active")
    if wanted.ids:
        statement = statement.where(resource.c.id.in_(wanted.ids))
    if wanted.patients:
        statement = statement.where(resource.c.patient_id.in_(wanted.patients))
    if wanted.numbers:
        named = [
            and_(identifier.c.value == value, identifier.c.assigner.in_(assigners)) if assigners else identifier.c.value == value
            for assigners, value in wanted.numbers
        ]
        numbered = select(identifier.c.resource_id).where(identifier.c.kind == wanted.kind, or_(*named))
        statement = statement.where(resource.c.id.in_(numbered))
    for kind, low, high in wanted.terms:
        bearers = select(term.c.patient_id).where(term.c.kind == kind, term.c.value >= low, term.c.value < high)
        statement = statement.where(resource.c.id.in_(bearers))
    if wanted.updated.start is not None:
        statement = statement.where(resource.c.updated_at >= wanted.updated.start)
    if wanted.updated.end is not None:
        statement = statement.where(resource.c.updated_at < wanted.updated.end)
    return statement


def _common(statement: Select[Any], wanted: Wanted) -> Select[Any]:
    statement = statement.where(resource.c.kind == wanted.kind, resource.c.status.in_(SHOWN))
    if wanted.begins.start is not None:
        statement = statement.where(resource.c.sort_at >= wanted.begins.start)
    if wanted.begins.end is not None:
        statement = statement.where(resource.c.sort_at < wanted.begins.end, resource.c.sort_at != 0)
    return statement


def _ordering(order: str) -> tuple[Any, bool]:
    name = order.removeprefix("-")
    return (resource.c[name] if name else None), order.startswith("-")


def _by_change(conn: Connection, wanted: Wanted, after: Position | None, limit: int) -> Page:
    """Resources by the change that made them what they are now, oldest first: each once, at its latest change.

    In the feed's order and only as far as it has got (ADR 0062), so that no page passes over what is being committed.
    """
    start, end = wanted.updated
    if after is None:
        after = START if start is None else _place(conn, start - SLACK)
    spot, order = _spot(conn)
    window = select(change.c.tx, change.c.id, change.c.at).where(spot(after), ~spot(head(conn))).order_by(*order)
    last = conn.execute(window.offset(WINDOW - 1).limit(1)).first()
    full = last is not None
    if last is None:
        last = conn.execute(window.order_by(None).order_by(*(one.desc() for one in order)).limit(1)).first()
    if last is None:
        return Page([], None)
    statement = _common(select(resource, change.c.tx, change.c.id.label("change_id")), wanted).where(
        change.c.resource_id == resource.c.id, change.c.version == resource.c.version,
        change.c.kind == wanted.kind, spot(after), ~spot(Position(last.tx, last.id)),
    )  # fmt: skip
    if start is not None:
        statement = statement.where(resource.c.updated_at >= start)
    if end is not None:
        statement = statement.where(resource.c.updated_at < end)
    found = conn.execute(statement.order_by(*order).limit(limit)).all()
    rows = [as_resource(row) for row in found]
    if len(rows) == limit:
        return Page(rows, (found[-1].tx, str(found[-1].change_id)))
    over = end is not None and last.at > end + SLACK
    return Page(rows, (last.tx, str(last.id)) if full and not over else None)


def _spot(conn: Connection) -> tuple[Callable[[Position], Any], tuple[Any, ...]]:
    """The condition "behind this place of the feed", and the feed's order. On SQLite, where tx is always 0, the id alone: of a
    pair with two bounds it would use the first column only."""
    if conn.dialect.name == "sqlite":
        return (lambda place: change.c.id > place.id), (change.c.id,)
    return (lambda place: tuple_(change.c.tx, change.c.id) > tuple_(*place)), (change.c.tx, change.c.id)


def _place(conn: Connection, at: int) -> Position:
    """A place in the feed before all changes of `at` or later, give or take what SLACK covers."""
    low, high = (conn.execute(select(edge(change.c.id))).scalar_one() for edge in (func.min, func.max))  # two looks, no scan
    if low is None or high is None:
        return START
    high += 1
    while low < high:
        middle = (low + high) // 2
        row = conn.execute(select(change.c.at).where(change.c.id >= middle).order_by(change.c.id).limit(1)).scalar_one()
        if row < at:
            low = middle + 1
        else:
            high = middle
    first = conn.execute(select(change.c.tx, change.c.id).where(change.c.id >= low).order_by(change.c.id).limit(1)).first()
    if first is None:  # all that there is is older
        newest = conn.execute(select(change.c.tx).order_by(change.c.tx.desc()).limit(1)).scalar_one()
        return Position(int(newest), low - 1)
    return Position(int(first.tx), -1) if first.tx else Position(0, int(first.id) - 1)
