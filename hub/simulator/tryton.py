"""A simulated Tryton 8.2: an ERP that is plainly not SAP. JSON-RPC with sessions, integer ids, time stamps, one write for all.

Held against the real one by hand: addresses, login, session, `search_read` through fields, commands of one2many, what a stale
time stamp, an unknown record, an unknown field and a session that ended are answered with.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import secrets
import ssl
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hub.codecs import tryton
from hub.domain.errors import Unreadable
from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer
from hub.simulator.tryton_data import Record, TrytonData, TrytonError

_JSON = {"Content-Type": "application/json"}
DATABASE, USER, PASSWORD = "hospital", "hub", "quiet-river"
WRITING = ("create", "write")


class TrytonPeer(RestPeer):
    """`data` is what it knows; `received` the (method, model) of every change."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(host=host, port=port, tls=tls)
        self.path = ""
        self.data = TrytonData()
        self._sessions: set[str] = set()
        self.won = self.data.create("currency.currency", {"code": "KRW", "digits": 0})
        self.data.create("country.country", {"code": "KR", "name": "대한민국"})

    def expire_sessions(self) -> None:
        """Every session handed out so far is refused from now on."""
        with self.lock:
            self._sessions.clear()

    # what people do there

    def add_party(self, number: str, name: str, **values: Any) -> int:
        """A clerk writes down a party with this patient number; its id."""
        with self.lock:
            identifiers = [["create", [{"code": number}]]]
            return self.data.create("party.party", {"name": name, "identifiers": identifiers, **values})

    def party(self, number: str) -> Record | None:
        """The party with this patient number, with all that it has."""
        with self.lock:
            found = self.data.search("party.party", [["identifiers", "where", [["code", "=", number]]]], None)
            names = ["name", "identifiers.code", "contact_mechanisms.type", "contact_mechanisms.value", "addresses.street"]
            names += ["addresses.city", "addresses.postal_code", "addresses.country.code"]
            return self.data.read("party.party", found[0], names) if found else None

    def bill(self, party: int, amount: int, *, reference: str = "") -> int:
        """A clerk posts an invoice of so many won; its id."""
        with self.lock:
            number = str(len(self.data.records["account.invoice"]) + 1)
            due = {"total_amount": Decimal(amount), "amount_to_pay": Decimal(amount), "currency": self.won}
            posted = {"state": "posted", "invoice_date": dt.date(2026, 11, 22), "reference": reference}
            return self.data.create("account.invoice", {"party": party, "number": number, **due, **posted})

    def pay(self, invoice: int) -> int:
        """The cash desk takes what is due; the id of the line of the journal entry."""
        with self.lock:
            owed = self.data.records["account.invoice"][invoice]
            move = self.data.create("account.move", {"number": f"M{invoice}"})
            line = self.data.create(
                "account.move.line",
                {
                    "date": dt.date(2026, 11, 22), "credit": owed["amount_to_pay"], "party": owed["party"], "move": move,
                    "invoice_payment": invoice, "currency": owed["currency"],
                },
            )  # fmt: skip
            self.data.write("account.invoice", invoice, {"state": "paid", "amount_to_pay": Decimal()})
            return line

    # what it is asked

    def writes(self, request: Request) -> bool:
        return _asked(request)["method"].rpartition(".")[2] in WRITING

    def answer(self, request: Request) -> bytes:
        if request.target != f"/{DATABASE}/rpc/":
            return response(404, b"not found")
        asked = _asked(request)
        method, params = str(asked["method"]), asked["params"]
        with self.lock:
            if method == "common.db.login":
                return self._login(asked, params)
            if not self._known(request.headers.get("authorization", "")):
                return response(401, b"", {"WWW-Authenticate": 'Basic realm="Tryton"'})
            try:
                return _result(asked, self._do(method, params))
            except TrytonError as error:
                return _error(asked, error)

    def _login(self, asked: Record, params: Sequence[Any]) -> bytes:
        if params[0] != USER or params[1].get("password") != PASSWORD:
            return response(401, b"<!doctype html>\n<title>401 Unauthorized</title>")
        token = secrets.token_hex(32)
        self._sessions.add(token)
        return _result(asked, [1, token, None])

    def _known(self, header: str) -> bool:
        kind, _, text = header.partition(" ")
        try:
            user, number, token = base64.b64decode(text).decode().split(":", 2)
        except (binascii.Error, ValueError):
            return False
        return kind == "Session" and (user, number) == (USER, "1") and token in self._sessions

    def _do(self, method: str, params: Sequence[Any]) -> Any:
        model, _, verb = method.removeprefix("model.").rpartition(".")
        if verb == "search_read":
            domain, offset, limit, order, names, _ = params
            found = self.data.search(model, domain, order)[offset:][:limit]
            return [self.data.read(model, one, names) for one in found]
        if verb == "search_count":
            return len(self.data.search(model, params[0], None))
        if verb == "create":
            made = [self.data.create(model, values) for values in params[0]]
            self.received.append(("create", model))
            return made
        numbers, values, context = params
        self.data.check(context.get("_timestamp", {}))
        for number in numbers:
            self.data.write(model, number, values)
        self.received.append(("write", model))
        return None

    # misbehaving

    def refusal(self, request: Any) -> bytes:
        words = request.body.decode("utf-8", "replace")
        return _error(_asked(request), TrytonError("UserError", f"No: {words}"))

    def wrong(self, _request: Any) -> bytes:
        """The answer to a question that somebody else asked."""
        return _result({"id": 0}, [])


def _asked(request: Request) -> Record:
    try:
        found = tryton.load(request.body)
    except Unreadable:
        found = None
    return found if isinstance(found, dict) else {"id": 0, "method": "", "params": []}


def _result(asked: Mapping[str, Any], result: Any) -> bytes:
    return response(200, tryton.dump({"id": asked["id"], "result": result}), _JSON)


def _error(asked: Mapping[str, Any], error: TrytonError) -> bytes:
    words = [error.words, "", None] if error.name == "UserError" else error.words
    return response(200, tryton.dump({"id": asked["id"], "error": [error.name, words]}), _JSON)
