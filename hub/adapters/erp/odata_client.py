"""One SAP Gateway service: CSRF token, `$batch`, paging, errors. No knowledge of business partners.

SAP Gateway wants an `x-csrf-token` on every change, which belongs to the session cookie; it is fetched once and again
when the service says `x-csrf-token: Required` with a 403. Texts of the service go to `HubError.answer`, codes to its text.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import quote

from hub.codecs.sap import odata
from hub.codecs.sap import odata_batch as batch
from hub.codecs.sap.odata import Entity
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused, Unreadable
from hub.transport.http import Answer, HttpClient, HttpSettings, failure, lost

MAX_PAGES = 20  # of a search by number: more than a handful of hits is an error in any case


class ODataClient:
    """Thread-safe. Every call ends as hub.domain.ports.Target.send does: an answer or one of four errors."""

    def __init__(self, settings: HttpSettings, *, peer: str, client: str) -> None:
        """`client`: SAP's client (Mandant), "" for the service's own."""
        self.peer = peer
        self._http = HttpClient(settings, peer=peer)
        # English, so that a message names the property that it is about in words that we know (odata.named_property)
        self._headers = {"Accept": "application/json", "Accept-Language": "en"} | ({"sap-client": client} if client else {})
        self._token = ""
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.close()

    def page(self, entity_set: str, params: Mapping[str, str]) -> odata.Page:
        """One page of a set, as the system options of `params` ask for it ($filter, $orderby, $top …)."""
        answer = self._ok(self._http.read("GET", f"/{entity_set}", headers=self._headers, params=params))
        try:
            return odata.parse_page(answer.body)
        except Unreadable as error:
            raise self._odd(answer, error) from None

    def count(self, entity_set: str, where: str) -> int:
        """How many entities match a `$filter`; "" for all. Raises as the others do."""
        params = {"$filter": where} if where else {}
        headers = self._headers | {"Accept": "text/plain"}
        answer = self._ok(self._http.read("GET", f"/{entity_set}/$count", headers=headers, params=params))
        text = answer.body.removeprefix(b"\xef\xbb\xbf").strip()
        if not (text.isdigit() and len(text) < 16):
            raise self._odd(answer, Unreadable("not a number of entities", code="not_odata"))
        return int(text)

    def metadata(self) -> bytes:
        """The service's description of itself ($metadata), XML as it came."""
        return self._ok(self._http.read("GET", "/$metadata", headers=self._headers | {"Accept": "application/xml"})).body

    def token(self, *, other_than: str = "") -> str:
        """The CSRF token of our session; fetched anew if it is still `other_than`, the one that was refused."""
        with self._lock:
            if not self._token or self._token == other_than:
                answer = self._ok(self._http.read("GET", "/", headers=self._headers | {"X-CSRF-Token": "Fetch"}))
                self._token = answer.headers.get("x-csrf-token", "")
                if not self._token:
                    raise Misconfigured(
                        f"{self.peer} gives no x-csrf-token: url must be the service's root", code="no_csrf_token"
                    )
            return self._token

    def ask(self, queries: Sequence[tuple[str, Mapping[str, str]]]) -> list[list[Entity]]:
        """All entities that each query (entity set, system options) finds, over all pages, in one `$batch` a page.

        What is asked stands in the request's body, so in no access log. Raises NotDelivered or Misconfigured for all of them.
        """
        found: list[list[Entity]] = [[] for _ in queries]
        open_ = {number: dict(options) for number, (_, options) in enumerate(queries)}
        for _ in range(MAX_PAGES):
            if not open_:
                return found
            items = [batch.Request("GET", _target(queries[number][0], options)) for number, options in open_.items()]
            answers = self._batch(items, writing=False, count=len(items)).items
            for number, replies in zip(list(open_), answers, strict=True):
                page = self._page(replies, open_[number])
                found[number] += page.entities
                if page.skiptoken is None:
                    del open_[number]
                else:
                    open_[number]["$skiptoken"] = page.skiptoken
        raise Misconfigured(f"{self.peer} gives ever more pages for one question: check identification_type", code="endless")

    def _page(self, replies: list[batch.Answer] | None, options: Mapping[str, str]) -> odata.Page:
        if not replies or len(replies) != 1:
            raise NotDelivered(f"{self.peer} did not finish its answer", code="answer_lost")
        answer = as_answer(replies[0])
        if answer.status != 200:
            error = self.error(answer, writing=False, known=re.findall(r"\w+", options.get("$expand", "")))
            if isinstance(error, Refused):  # we ask by keys: what is refused is the question, whoever it is about
                error = Misconfigured(f"{error.reason}: it does not take our question, see hub check", code=error.code)
            raise self._told(answer, error)
        try:
            return odata.parse_page(answer.body)
        except Unreadable as error:
            raise self._odd(answer, error) from None

    def write(self, sets: Sequence[Sequence[batch.Request]]) -> list[list[batch.Answer] | None]:
        """Change sets in one `$batch`, each done whole or not at all: what SAP answered to each, in their order.

        None, where no answer that can be trusted came back: SAP may have acted. Raises one of the four errors for all of them.
        """
        answers = self._batch(sets, writing=True, count=len(sets))
        return [*answers.items, *([None] * (len(sets) - len(answers.items)))]

    def _batch(self, items: Sequence[batch.Item], *, writing: bool, count: int) -> batch.Answers:
        boundary = f"hub{secrets.token_hex(12)}"
        try:
            body = batch.dump(items, boundary)
        except ValueError:  # targets are ours and percent-encoded: it is an ETag
            raise Misconfigured(f"{self.peer} gives ETags that no header can carry: check url", code="not_odata") from None
        answer = self._post(body, batch.content_type(boundary), writing=writing)
        if answer.status not in (200, 202):
            raise self.error(answer, writing=writing)
        try:
            answers = batch.parse_answers(answer.headers.get("content-type", ""), answer.body)
        except Unreadable as error:
            odd = self._odd(answer, error)
            raise lost(odd.reason, writing=True, code="wrong_answer") if writing else odd from None
        if len(answers.items) > count or (not writing and len(answers.items) < count):
            raise lost(f"{self.peer} answered to {len(answers.items)} of {count} requests", writing=writing)
        return answers

    def _post(self, body: bytes, kind: str, *, writing: bool) -> Answer:
        token = self.token()
        for _ in range(2):
            headers = self._headers | {"Content-Type": kind, "Accept": "multipart/mixed", "X-CSRF-Token": token}
            send = self._http.write if writing else self._http.read
            answer = send("POST", "/$batch", headers=headers, body=body)
            if not token_is_wanted(answer):
                return answer
            token = self.token(other_than=token)
        raise self.error(answer, writing=writing)

    def renew(self) -> None:
        """The token is fetched anew: a part of a batch was refused for it."""
        self.token(other_than=self.token())

    def error(self, answer: Answer, *, writing: bool = True, known: Collection[str] = ()) -> HubError:
        """What an answer without success means. `known`: properties that were sent, of which one may be gone there."""
        codes = odata.error_code(answer.body)
        if answer.status in (400, 404, 501) and (name := odata.named_property(answer.body, known)):
            said = f"{self.peer} answered {answer.status}" + (f" ({codes})" if codes else "")
            gone = f'{said}: its service has no "{name}" (any more): compare its $metadata, hub check'
            return self._told(answer, Misconfigured(gone, code="no_property"))
        return failure(answer, peer=self.peer, writing=writing, codes=codes)

    def _ok(self, answer: Answer) -> Answer:
        if answer.status != 200:
            raise self.error(answer, writing=False)
        return answer

    def _told(self, answer: Answer, error: HubError) -> HubError:
        error.answer, error.sent = answer.body, answer.sent
        return error

    def _odd(self, answer: Answer, error: Unreadable) -> HubError:
        said = f"{self.peer} answered something else than OData V2 ({error.reason}): check url"
        return self._told(answer, Misconfigured(said, code="not_odata"))


_PLAIN = "'(),/:$"  # in a query as they are; everything else is percent-encoded


def _target(entity_set: str, options: Mapping[str, str]) -> str:
    """A query as it stands in a batch."""
    asked = "&".join(f"{name}={quote(value, safe=_PLAIN)}" for name, value in options.items())
    return f"{entity_set}?$format=json&{asked}"


def as_answer(reply: batch.Answer) -> Answer:
    """An answer inside a batch as one that came alone."""
    return Answer(reply.status, reply.headers, reply.body)


def token_is_wanted(answer: Answer) -> bool:
    """403 with `x-csrf-token: Required`: the token is not that of the session any more; nothing was done."""
    return answer.status == 403 and answer.headers.get("x-csrf-token", "").lower() == "required"
