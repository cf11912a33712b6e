"""ERP, inbound: customers' invoices and what was paid of them, asked of Tryton 8.2 by the time of their last change (JSON-RPC).

A transaction that ends late leaves records with an earlier time: the last `overlap_seconds` are read again with each poll, and
what is known as it stands makes no message (hub/sync/polled.py). A row names a record as Tryton's own references do:
`account.invoice,7`; whose it is says the patient number among the party's identifiers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hub.adapters.erp.tryton_rpc import PEER, TrytonRpc, TrytonSettings
from hub.adapters.settings import read_table, wrong
from hub.codecs.tryton import Record
from hub.config import option
from hub.domain.errors import Misconfigured
from hub.domain.ports import Feed, Found, Manifest

MANIFEST = Manifest(
    name="erp.tryton_in", title="ERP: Tryton's invoices and payments", direction="in", system="erp", protocol="Tryton JSON-RPC",
    polled=True, form="row",
)  # fmt: skip
PAGE = 200  # records of one question
BEGINNING = "1970-01-01"
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
    model: str
    domain: list[Any]
    fields: tuple[str, ...]
    row: Callable[[Record], Row]


class TrytonSource:
    """The Source of one channel; driven by one thread."""

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
        return sum(self._of_kind(kind, feed) for kind in (INVOICE, PAYMENT) if not feed.ending())

    def _of_kind(self, kind: Kind, feed: Feed) -> int:
        """By time and id, page by page; the place is the last record's time."""
        known = feed.place(kind.event) or f"{self._s.since or BEGINNING}T00:00:00"
        since = dt.datetime.fromisoformat(known)
        begin = max(since, dt.datetime(1970, 1, 2)) - dt.timedelta(seconds=self._s.overlap_seconds)  # noqa: DTZ001 - UTC, as Tryton
        here: list[Any] = [["write_date", ">=", begin]]
        told = 0
        while True:
            feed.looking()
            order = [["write_date", "ASC"], ["id", "ASC"]]
            fields = (*kind.fields, *_PARTY, "write_date")
            page = self._rpc.search_read(kind.model, [*kind.domain, *here], fields, order=order, limit=PAGE)
            if not page:
                return told
            told += feed.rows(kind.event, [self._found(kind, one) for one in page])
            at, last = _written(page[-1]), page[-1]["id"]
            if at > since:
                since = at
                feed.keep(kind.event, at.isoformat())
            if len(page) < PAGE or feed.ending():
                return told
            here = [["OR", ["write_date", ">", at], [["write_date", "=", at], ["id", ">", last]]]]

    def _found(self, kind: Kind, record: Record) -> Found:
        """What is empty there is not said, but for texts, which can be emptied."""
        row = {"record": f"{kind.model},{record['id']}", "patient": self._patient(record), **kind.row(record)}
        told = {name: value for name, value in row.items() if value is not None}
        return Found({"record": row["record"]}, told)

    def _patient(self, record: Record) -> str | None:
        wanted = self._s.identifier_type or None
        numbers = (record.get("party.") or {}).get("identifiers.") or ()
        return next((str(one["code"]) for one in numbers if (one.get("type") or None) == wanted), None)


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


def _written(record: Record) -> dt.datetime:
    at = record.get("write_date")
    if not isinstance(at, dt.datetime):
        raise Misconfigured(f"{PEER} does not say when a record was changed: it is no Tryton 8.2", code="not_tryton")
    return at


INVOICE = Kind(
    "tryton.invoice", "account.invoice", [["type", "=", "out"]],
    ("number", "reference", "state", "invoice_date", "total_amount", "amount_to_pay", "currency.code"), _invoice,
)  # fmt: skip
PAYMENT = Kind(
    "tryton.payment", "account.move.line", [["invoice_payment", "!=", None]],
    ("move.number", "invoice_payment", "date", "debit", "credit", "currency.code"), _payment,
)  # fmt: skip
