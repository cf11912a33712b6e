"""What a simulated Tryton keeps: records by model and id, read through what they name, found by domains, written as one."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

Record = dict[str, Any]
# model -> field -> (model, the field there that names the first): what a record has of other records
MANY: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "party.party": {
        "identifiers": ("party.identifier", "party"), "contact_mechanisms": ("party.contact_mechanism", "party"),
        "addresses": ("party.address", "party"),
    },
    "account.invoice": {"payment_lines": ("account.move.line", "invoice_payment")},
}  # fmt: skip
# model -> field -> model that it names
ONE: Mapping[str, Mapping[str, str]] = {
    "party.address": {"country": "country.country"},
    "account.invoice": {"party": "party.party", "currency": "currency.currency"},
    "account.move.line": {
        "party": "party.party", "currency": "currency.currency", "move": "account.move", "invoice_payment": "account.invoice",
    },
}  # fmt: skip
EMPTY: Mapping[str, Record] = {
    "party.party": {"name": "", "active": True},
    "party.identifier": {"party": None, "type": None, "code": ""},
    "party.contact_mechanism": {"party": None, "type": "phone", "value": "", "active": True},
    "party.address": {"party": None, "street": "", "city": "", "postal_code": "", "country": None, "active": True},
    "account.invoice": {
        "type": "out", "number": None, "reference": "", "state": "draft", "invoice_date": None, "party": None,
        "total_amount": Decimal(), "amount_to_pay": Decimal(), "currency": None,
    },
    "account.move": {"number": None},
    "account.move.line": {
        "date": None, "debit": Decimal(), "credit": Decimal(), "party": None, "move": None, "invoice_payment": None,
        "currency": None,
    },
    "currency.currency": {"code": "", "digits": 2},
    "country.country": {"code": "", "name": ""},
}  # fmt: skip


class TrytonError(Exception):
    """What the server answers as its `error`: a name and words."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.name, self.words = name, words


class TrytonData:
    """Not thread-safe: whoever serves it holds a lock."""

    def __init__(self) -> None:
        self.records: dict[str, dict[int, Record]] = {model: {} for model in EMPTY}
        self._ids = {model: itertools.count(1) for model in EMPTY}
        self._last = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - the server's UTC, without a zone

    def create(self, model: str, values: Mapping[str, Any]) -> int:
        number = next(self._ids[model])
        self.records[model][number] = {
            **copy.deepcopy(EMPTY[model]),
            "id": number,
            "create_date": self._now(),
            "write_date": None,
        }
        try:
            self._put(model, number, values)
        except TrytonError:
            del self.records[model][number]
            raise
        return number

    def write(self, model: str, number: int, values: Mapping[str, Any]) -> None:
        if number not in self.records[model]:
            raise TrytonError("UserError", f'You are trying to write to records "{number}" of "{model}" that don\'t exist.')
        self._put(model, number, values)
        self.records[model][number]["write_date"] = self._now()

    def check(self, stamps: Mapping[str, str]) -> None:
        """ConcurrencyException where one of these records is another than it was."""
        for name, stamp in stamps.items():
            model, _, number = name.rpartition(",")
            found = self.records.get(model, {}).get(int(number))
            if found is None or stamp != self._stamp(found):
                raise TrytonError("ConcurrencyException", "Records were modified in the meanwhile")

    def search(self, model: str, domain: Sequence[Any], order: Sequence[Any] | None) -> list[Record]:
        if model not in self.records:
            raise TrytonError(f"'{model}'", "")
        found = [one for one in self.records[model].values() if self._fits(model, one, domain)]
        for name, direction in reversed(order or [["id", "ASC"]]):
            found.sort(key=lambda one, name=name: one[name], reverse=direction == "DESC")  # type: ignore[misc]
        return found

    def read(self, model: str, record: Mapping[str, Any], names: Sequence[str]) -> Record:
        """`party.identifiers.code` comes as `party.`, with `identifiers.` in it, as Tryton nests what is read through."""
        found: Record = {"id": record["id"]}
        through: dict[str, list[str]] = {}
        for name in names:
            head, _, rest = name.partition(".")
            if rest:
                through.setdefault(head, []).append(rest)
            elif head == "_timestamp":
                found[head] = self._stamp(record)
            elif head in MANY.get(model, {}):
                found[head] = [one["id"] for one in self._below(model, record, head)]
            else:
                found[head] = _field(record, head)
        for head, inner in through.items():
            if head in MANY.get(model, {}):
                found[f"{head}."] = [self.read(MANY[model][head][0], one, inner) for one in self._below(model, record, head)]
            else:
                other, number = ONE[model][head], _field(record, head)
                found[f"{head}."] = self.read(other, self.records[other][number], inner) if number else None
        return found

    def _put(self, model: str, number: int, values: Mapping[str, Any]) -> None:
        record = self.records[model][number]
        for name in values:
            if name not in record and name not in MANY.get(model, {}):
                raise TrytonError(f"'{name}'", "")
        for name, value in values.items():
            if name in MANY.get(model, {}):
                self._command(*MANY[model][name], number, value)
            else:
                record[name] = value

    def _now(self) -> dt.datetime:
        """Never one time twice."""
        self._last = max(dt.datetime.now(dt.UTC).replace(tzinfo=None), self._last + dt.timedelta(microseconds=10))
        return self._last

    def _command(self, model: str, back: str, owner: int, commands: Sequence[Any]) -> None:
        for verb, *what in commands:
            if verb == "create":
                for values in what[0]:
                    self.create(model, {**values, back: owner})
            elif verb == "write":
                for number in what[0]:
                    self.write(model, number, what[1])
            else:
                for number in what[0]:
                    self.records[model].pop(number, None)

    def _below(self, model: str, record: Mapping[str, Any], name: str) -> list[Record]:
        other, back = MANY[model][name]
        return [one for one in self.records[other].values() if one.get(back) == record["id"]]

    def _stamp(self, record: Mapping[str, Any]) -> str:
        """As the server: of the last write, which is none until somebody writes what was made."""
        return f"{(record['write_date'] or record['create_date']).replace(tzinfo=dt.UTC).timestamp():.5f}"

    def _fits(self, model: str, record: Mapping[str, Any], domain: Sequence[Any]) -> bool:
        if domain and domain[0] == "OR":
            return any(self._fits(model, record, [one] if isinstance(one[0], str) else one) for one in domain[1:])
        return all(
            self._clause(model, record, *one) if isinstance(one[0], str) and one[0] != "OR" else self._fits(model, record, one)
            for one in domain
        )

    def _clause(self, model: str, record: Mapping[str, Any], name: str, operator: str, wanted: Any) -> bool:
        if operator == "where":
            other = MANY[model][name][0]
            return any(self._fits(other, one, wanted) for one in self._below(model, record, name))
        value = _field(record, name)
        if operator in ("=", "!="):
            return bool(value == wanted) is (operator == "=")
        if value is None:
            return False
        return bool({">=": value >= wanted, ">": value > wanted, "<": value < wanted, "<=": value <= wanted}[operator])


def _field(record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise TrytonError(f"'{name}'", "")  # a KeyError there
    return record[name]
