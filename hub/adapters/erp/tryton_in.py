"""ERP, inbound: customers' invoices and what was paid of them, asked of Tryton 8.2 by the time of their last change (JSON-RPC).

Tryton's `write_date` is empty until a record is written for the first time, so what was made since is asked for beside what was
written since. A transaction that ends late leaves records with an earlier time: the last `overlap_seconds` are read again with
each poll, and what is known as it stands makes no message (hub/sync/polled.py). A row names a record as Tryton's own references
do: `account.invoice,7`; whose it is says the patient number among the party's identifiers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.adapters.erp.tryton_rpc import PEER, TrytonRpc, TrytonSettings
from hub.adapters.settings import read_table, wrong
from hub.codecs.tryton import Record
from hub.config import option
from hub.domain.errors import Misconfigured
from hub.domain.ports import Condition, Feed, Found, Loaded, Manifest

MANIFEST = Manifest(
    name="erp.tryton_in", title="ERP: Tryton's invoices and payments", direction="in", system="erp", protocol="Tryton JSON-RPC",
    polled=True, form="row",
)  # fmt: skip
PAGE = 200  # records of one question
BEGINNING = "1970-01-01"
TIMES = ("create_date", "write_date")
# What is asked for by time, each with a place of its own: the place's suffix, the time, what else holds
_TIMES: tuple[tuple[str, str, list[Any]], ...] = (
    ("", "write_date", []), (".created", "create_date", [["write_date", "=", None]]),
)  # fmt: skip
_AMOUNTS = ("total_amount", "amount_to_pay", "debit", "credit")
_PARTY = ("party.identifiers.code", "party.identifiers.type")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(TrytonSettings):
    """A channel's own keys; see docs/erp-tryton.md."""

    since: str = option("", doc='from which day of a last change on the first poll reads: "2026-01-01"; default: all')
    poll_seconds: float = option(30.0, doc="pause between two polls", low=0.05, high=86400)
    overlap_seconds: float = option(60.0, doc="read again each time: as long as Tryton's longest transaction", low=0, high=86400)

    def __post_init__(self) -> None:
        TrytonSettings.__post_init__(self)
        try:
            dt.date.fromisoformat(self.since or BEGINNING)
        except ValueError:
            raise wrong('"since" is no date', 'write one, "2026-01-01"') from None

    @property
    def row_events(self) -> tuple[str, ...]:
        """The map's events of its rows."""
        return INVOICE.event, PAYMENT.event

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings, name: str = "") -> TrytonSource:  # noqa: ARG001 - the port's shape
    """The source of a channel. Nothing is asked yet."""
    return TrytonSource(settings)


@dataclass(frozen=True, slots=True)
class Kind:
    """One of Tryton's models, and the rows that its records become."""

    event: str
    kind: str  # canonical
    model: str
    domain: list[Any]
    fields: tuple[str, ...]
    row: Callable[[Record], Row]


class TrytonSource:
    """The Source of one channel, which can load and be asked, too; driven by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._s = settings
        self._rpc = TrytonRpc(settings)
        self.pause_seconds = settings.poll_seconds

    def close(self) -> None:
        self._rpc.close()

    def ping(self) -> str:
        count = self._rpc.ask(f"model.{INVOICE.model}.search_count", INVOICE.domain, {})
        return f"Tryton, session given, {count} invoices"

    def poll(self, feed: Feed) -> int:
        """Invoices before the payments that name them."""
        asked = [(kind, *time) for kind in (INVOICE, PAYMENT) for time in _TIMES]
        return sum(self._by_time(feed, *one) for one in asked if not feed.ending())

    def _by_time(self, feed: Feed, kind: Kind, suffix: str, column: str, only: Sequence[Any]) -> int:
        """By time and id, page by page; the place is the last record's time."""
        name = kind.event + suffix
        since = dt.datetime.fromisoformat(feed.place(name) or f"{self._s.since or BEGINNING}T00:00:00")
        begin = max(since, dt.datetime(1970, 1, 2)) - dt.timedelta(seconds=self._s.overlap_seconds)  # noqa: DTZ001 - UTC, as Tryton
        here: list[Any] = [[column, ">=", begin]]
        told = 0
        while True:
            page, news = self._page(kind, feed, [*only, *here], [[column, "ASC"], ["id", "ASC"]])
            told += news
            if not page:
                return told
            at, last = _time(page[-1], column), page[-1]["id"]
            if at > since:
                since = at
                feed.keep(name, at.isoformat())
            if len(page) < PAGE or feed.ending():
                return told
            here = [["OR", [column, ">", at], [[column, "=", at], ["id", ">", last]]]]

    def _page(self, kind: Kind, feed: Feed, domain: Sequence[Any], order: Sequence[Any]) -> tuple[list[Record], int]:
        """Records, handed on; how many of them are news."""
        feed.looking()
        fields = (*kind.fields, *_PARTY, *TIMES)
        page = self._rpc.search_read(kind.model, [*kind.domain, *domain], fields, order=order, limit=PAGE)
        return page, feed.rows(kind.event, [self._found(kind, one) for one in page])

    # -- hub.domain.ports.Loadable --------------------------------------------------------------------------------

    def total(self, kind: str, where: Sequence[Condition]) -> int:
        one = _kind(kind)
        return int(self._rpc.ask(f"model.{one.model}.search_count", [*one.domain, *_domain(one, where)], {}))

    def load(self, feed: Feed, kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        """In the order of ids; a place is the last one."""
        one, last = _kind(kind), int(place or 0)
        while True:
            page, told = self._page(one, feed, [*_domain(one, where), ["id", ">", last]], [["id", "ASC"]])
            if not page:
                return
            last = int(page[-1]["id"])
            yield Loaded(str(last), len(page), told)

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:  # noqa: ARG002 - one key: `record`
        """`account.invoice,7`, or 7 alone."""
        one, id_ = _kind(kind), number.removeprefix(f"{_kind(kind).model},")
        if not (id_.isascii() and id_.isdigit()):
            raise Misconfigured(f"Tryton's records have ids: write 7 or {one.model},7")
        return len(self._page(one, feed, [["id", "=", int(id_)]], [["id", "ASC"]])[0])

    # -- rows -----------------------------------------------------------------------------------------------------

    def _found(self, kind: Kind, record: Record) -> Found:
        """What is empty there is not said, but for texts, which can be emptied."""
        row = {"record": f"{kind.model},{record['id']}", "patient": self._patient(record), **kind.row(record)}
        told = {name: value for name, value in row.items() if value is not None}
        return Found({"record": row["record"]}, told)

    def _patient(self, record: Record) -> str | None:
        wanted = self._s.identifier_type or None
        numbers = (record.get("party.") or {}).get("identifiers.") or ()
        return next((str(one["code"]) for one in numbers if (one.get("type") or None) == wanted), None)


def _kind(name: str) -> Kind:
    for one in (INVOICE, PAYMENT):
        if one.kind == name:
            return one
    raise Misconfigured(f"{PEER} is asked for invoices and payments, not for {name.lower()}s")


def _domain(kind: Kind, where: Sequence[Condition]) -> list[Any]:
    """Conditions of a command line: on a field of the record itself; days as ISO 8601 writes them."""
    known = {name for name in (*kind.fields, *TIMES) if "." not in name}
    for one in where:
        if one.column not in known:
            raise Misconfigured(
                f'"{one.column}" is no field that is read; there are: {", ".join(sorted(known))}', code="no_column"
            )
    return [[one.column, one.operator, _typed(one.column, one.value)] for one in where]


def _typed(name: str, text: str) -> Any:
    try:
        if name in TIMES:
            return dt.datetime.fromisoformat(text)
        if name.endswith("date"):
            return dt.date.fromisoformat(text)
        return Decimal(text) if name in _AMOUNTS else text
    except (ValueError, InvalidOperation):
        raise Misconfigured(f'"{name}" is compared with a date or an amount: 2026-11-22, 45000') from None


def _invoice(record: Record) -> Row:
    return {
        "number": record.get("number"),
        "reference": record.get("reference"),
        "state": record.get("state"),
        "date": _day(record.get("invoice_date")),
        "total": _amount(record.get("total_amount")),
        "due": _amount(record.get("amount_to_pay")),
        "currency": (record.get("currency.") or {}).get("code"),
    }


def _payment(record: Record) -> Row:
    """A line of a journal entry that pays an invoice: what it takes off the customer's debt."""
    paid = (record.get("credit") or Decimal()) - (record.get("debit") or Decimal())
    return {
        "number": (record.get("move.") or {}).get("number"),
        "invoice": f"{INVOICE.model},{record['invoice_payment']}",
        "date": _day(record.get("date")),
        "amount": _amount(paid),
        "currency": (record.get("currency.") or {}).get("code"),
    }


def _day(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, dt.date) else None


def _amount(value: Any) -> str | None:
    return format(value, "f") if isinstance(value, Decimal) else None


def _time(record: Record, column: str) -> dt.datetime:
    at = record.get(column)
    if not isinstance(at, dt.datetime):
        raise Misconfigured(f"{PEER} does not say when a record was changed: it is no Tryton 8.2", code="not_tryton")
    return at


INVOICE = Kind(
    "tryton.invoice", "Invoice", "account.invoice", [["type", "=", "out"]],
    ("number", "reference", "state", "invoice_date", "total_amount", "amount_to_pay", "currency.code"), _invoice,
)  # fmt: skip
PAYMENT = Kind(
    "tryton.payment", "Payment", "account.move.line", [["invoice_payment", "!=", None]],
    ("move.number", "invoice_payment", "date", "debit", "credit", "currency.code"), _payment,
)  # fmt: skip
