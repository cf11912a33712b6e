"""One Tryton server (8.2): login, sessions, calls, and what its errors mean. No knowledge of parties.

A call that fails is rolled back before it is answered (trytond/protocols/dispatcher.py), and is answered with 200 and an
`error` of name and words: ConcurrencyException (somebody wrote meanwhile), UserError and UserWarning (it says no), anything else
is trouble on its side. Words of the server go to `HubError.answer`, names to its text.
"""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from hub.adapters.settings import wrong
from hub.codecs import tryton
from hub.codecs.tryton import Record
from hub.config import option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused, Unreadable
from hub.transport.http import Answer, HttpClient, HttpSettings, failure, lost

PEER = "the ERP"
NO = ("UserError", "UserWarning", "AccessError")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrytonSettings(HttpSettings):
    """Which database of which server, and as whom."""

    database: str = option(doc="Tryton's database: the first part of its address, https://host:port/<database>/rpc/")
    identifier_type: str = option(
        "", doc="type of the party identifier that holds the patient number; default: one without a type"
    )

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        if not self.database or "/" in self.database:
            raise wrong('"database" cannot be that', 'write the name of the database alone: database = "hospital"')
        if not self.user or not self.password:
            raise wrong("Tryton lets nobody in without a user", 'write user = "…" and password = { file = "…" }')


class Conflict(Exception):
    """Somebody else changed a record since it was read (ConcurrencyException)."""


class TrytonRpc:
    """Thread-safe. Every call ends as hub.domain.ports.Target.send does, or in Conflict."""

    def __init__(self, settings: TrytonSettings) -> None:
        plain = {field.name: getattr(settings, field.name) for field in fields(HttpSettings)}
        self._http = HttpClient(HttpSettings(**{**plain, "user": "", "password": None}), peer=PEER)  # the session says who we are
        self._user, self._password = settings.user, settings.password or ""
        self._path = f"/{settings.database}/rpc/"
        self._numbers = itertools.count(1)
        self._session = ""
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.close()

    def search_read(
        self,
        model: str,
        domain: Sequence[Any],
        names: Sequence[str],
        *,
        order: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> list[Record]:
        """Records that match, with these fields; `party.identifiers.code` reads on through what a field names."""
        found = self.ask(f"model.{model}.search_read", domain, 0, limit, order, names, {})
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise Misconfigured(f"{PEER} answered something else than Tryton: check url", code="not_tryton")
        return found

    def ask(self, method: str, *params: Any) -> Any:
        """What changes nothing, so that it is asked again where it failed."""
        return self._call(method, params, writing=False)[0]

    def tell(self, method: str, *params: Any) -> tuple[Any, Answer]:
        """What changes something: its result, and the answer as it came. Raises Conflict."""
        return self._call(method, params, writing=True)

    def login(self, *, other_than: str = "") -> str:
        """The session that we show; a new one if it is still `other_than`, which was not taken."""
        with self._lock:
            if not self._session or self._session == other_than:
                try:
                    user_id, token = self._logged_in()
                except HubError as error:
                    error.sent = b""  # the password
                    raise
                self._session = base64.b64encode(f"{self._user}:{user_id}:{token}".encode()).decode()
            return self._session

    def _logged_in(self) -> tuple[int, str]:
        answer = self._post("common.db.login", [self._user, {"password": self._password}], "", writing=False)
        if answer.status != 200:
            raise failure(answer, peer=PEER, writing=False)
        result = self._result(answer, writing=False)
        if not isinstance(result, list) or len(result) < 2:
            raise Misconfigured(f"{PEER} answered something else than Tryton: check url", code="not_tryton")
        return result[0], result[1]

    def _call(self, method: str, params: Sequence[Any], *, writing: bool) -> tuple[Any, Answer]:
        session = self.login()
        for _ in range(2):
            answer = self._post(method, params, session, writing=writing)
            if answer.status != 401:
                break
            session = self.login(other_than=session)  # it ended: sessions have an age
        if answer.status != 200:
            raise failure(answer, peer=PEER, writing=writing)
        return self._result(answer, writing=writing), answer

    def _post(self, method: str, params: Sequence[Any], session: str, *, writing: bool) -> Answer:
        body = tryton.dump({"id": next(self._numbers), "method": method, "params": params})
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Session {session}"} if session else {})
        post = self._http.write if writing else self._http.read
        return post("POST", self._path, headers=headers, body=body)

    def _result(self, answer: Answer, *, writing: bool) -> Any:
        """Raises Conflict, or what the server's error means."""
        try:
            found, asked = tryton.load(answer.body), tryton.load(answer.sent)
        except Unreadable as error:
            raise self._told(answer, _odd(error.reason, writing=writing)) from None
        if not isinstance(found, dict) or found.get("id") != asked["id"]:
            raise self._told(answer, lost(f"{PEER} answered another question", writing=writing, code="wrong_answer"))
        if "error" not in found:
            return found.get("result")
        name = str((found["error"] or [""])[0])
        if name == "ConcurrencyException":
            raise Conflict
        if name in NO:
            raise self._told(answer, Refused(f"{PEER} says no ({name})", code="user_error"))
        raise self._told(answer, NotDelivered(f"{PEER} has an error of its own and undid the call: see its log", code="server"))

    @staticmethod
    def _told(answer: Answer, error: HubError) -> HubError:
        error.answer, error.sent = answer.body, answer.sent
        return error


def _odd(reason: str, *, writing: bool) -> HubError:
    text = f"{PEER} answered something else than Tryton ({reason}): check url"
    return OutcomeUnknown(text, code="not_tryton") if writing else Misconfigured(text, code="not_tryton")
