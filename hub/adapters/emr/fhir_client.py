"""One FHIR R4 server, asked and written to: reads, searches, pages, conditional writes, what its refusals mean.

Every write carries the version it was made for (If-Match) or what must not be there yet (If-None-Exist), so that sending
again after a lost answer is safe (FHIR R4 http.html#concurrency, #ccreate). Identifiers go in bodies and headers, never
in a URL (POST _search). An OperationOutcome's codes stand in the error, all of it goes with `error.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

from hub.adapters.emr.smart import Grant, SmartSettings
from hub.codecs import fhir
from hub.domain.errors import HubError, Misconfigured, OutcomeUnknown, Refused, Unreadable
from hub.domain.ports import Delivered
from hub.transport.http import Answer, HttpClient, failure

PEER = "the EMR"
_ACCEPT = {"Accept": fhir.MEDIA_TYPE}


class Found(NamedTuple):
    """A resource there and the version it has (an ETag as it came, weak or not; UUIDs too)."""

    id: str
    document: fhir.Document
    etag: str
    body: bytes


class FhirClient:
    """Thread-safe. Every call ends as hub.domain.ports.Target.send does: an answer or one of four errors."""

    def __init__(self, settings: SmartSettings) -> None:
        self._http = HttpClient(settings, peer=PEER)
        self._grant = Grant(settings) if settings.client_id else None
        base = urlsplit(settings.url)
        self._base = settings.url.rstrip("/")
        self._origin, self._path = _origin(settings.url), base.path.rstrip("/")

    def close(self) -> None:
        self._http.close()
        if self._grant is not None:
            self._grant.close()

    def _authorised(self, ask: Callable[[dict[str, str]], Answer]) -> Answer:
        """401 to a token of ours: once more with a fresh one. Nothing was done by what was refused."""
        if self._grant is None:
            return ask({})
        token = self._grant.token()
        answer = ask({"Authorization": f"Bearer {token}"})
        if answer.status == 401:
            answer = ask({"Authorization": f"Bearer {self._grant.token(other_than=token)}"})
        return answer

    # reading

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """Any status. `path` begins with / or, of a link of the server's own, with ?. Never what a cache has of it: some servers
        answer a search again as they did a minute ago."""
        headers = _ACCEPT | {"Cache-Control": "no-cache"}
        return self._authorised(lambda more: self._http.read("GET", path, headers=headers | more, params=params))

    def capability(self) -> fhir.Document:
        """The CapabilityStatement of an R4 server (GET [base]/metadata)."""
        answer = self.get("/metadata")
        if answer.status != 200:
            raise self.failure(answer, writing=False)
        statement = self.document(answer, "CapabilityStatement")
        version = statement.get("fhirVersion")
        if not isinstance(version, str) or not version.startswith("4."):
            raise Misconfigured("the EMR does not speak FHIR R4: point url at its R4 base", code="wrong_version")
        return statement

    def read(self, kind: str, peer_id: str) -> Found | None:
        """A resource by its id; None where there is none any more."""
        if not fhir.is_id(peer_id):
            raise Refused(f"the EMR named a {kind} in a way that FHIR does not allow", code="bad_id")
        answer = self.get(f"/{kind}/{peer_id}")
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise self.failure(answer, writing=False)
        document = self.document(answer, kind)
        etag = answer.etag or _weak(document)
        if not etag:
            raise Misconfigured("the EMR gives no version (ETag) to write against: switch versioning on there", code="no_version")
        return Found(peer_id, document, etag, answer.body)

    def post_search(self, kind: str, form: Mapping[str, str | list[str]]) -> Answer:
        """Any status. A search whose conditions stand in no URL, and so in nobody's access log (http.html#search)."""
        headers = _ACCEPT | {"Cache-Control": "no-cache"}
        return self._authorised(lambda more: self._http.read("POST", f"/{kind}/_search", headers=headers | more, form=form))

    def search(self, kind: str, system: str | None, value: str) -> list[fhir.Document]:
        """Those of a kind that carry an identifier; `system` None: whoever gave it out."""
        form = {"identifier": fhir.search_token(value) if system is None else fhir.search_token(system, value)}
        answer = self.post_search(kind, form)
        if answer.status != 200:
            raise self.failure(answer, writing=False)
        return fhir.matches(self.document(answer, "Bundle"), kind)

    def linked(self, link: str, at: str) -> str:
        """What `get` wants for a link that the answer to `at` holds (a path as given to `get`).

        Misconfigured where it leads anywhere else than below the base that we were given: no credentials go there.
        """
        try:
            url = urljoin(f"{self._base}{at}", link)
            parts, same = urlsplit(url), _origin(url) == self._origin
        except ValueError:
            same = False
        below = same and (parts.path == self._path or parts.path.startswith(f"{self._path}/"))
        if not below or "/." in parts.path:
            text = (
                "a page of the EMR's answer is at another address than url: let the EMR give links to the address it is asked at"
            )
            raise Misconfigured(text, code="foreign_link")
        return parts.path.removeprefix(self._path) + (f"?{parts.query}" if parts.query else "")

    # writing

    def put(self, kind: str, found: Found, document: fhir.Document) -> Answer:
        headers = _ACCEPT | {"Content-Type": fhir.MEDIA_TYPE, "If-Match": found.etag}
        body = fhir.dump(document)
        return self._authorised(lambda more: self._http.write("PUT", f"/{kind}/{found.id}", headers=headers | more, body=body))

    def create(self, kind: str, document: fhir.Document, system: str, value: str) -> Answer:
        """POST, unless one of the kind carries this identifier (http.html#ccreate)."""
        condition = urlencode({"identifier": fhir.search_token(system, value)})
        headers = _ACCEPT | {"Content-Type": fhir.MEDIA_TYPE, "If-None-Exist": condition}
        body = fhir.dump(document)
        return self._authorised(lambda more: self._http.write("POST", f"/{kind}", headers=headers | more, body=body))

    def delivered(self, kind: str, answer: Answer, peer_id: str | None, sent_fields: Mapping[str, object]) -> Delivered:
        """What a write did; `peer_id` None: it made one. Raises what an answer without success means."""
        if answer.status not in (200, 201, 204):
            raise self.failure(answer, writing=True)
        document = self.body(answer, kind)
        if peer_id and document.get("id", peer_id) != peer_id:
            raise self.about_another(answer, kind)
        peer_id = peer_id or _id_of(answer, document, kind)
        return Delivered(peer_id, answer.etag or _weak(document), answer.sent, answer.body, str(answer.status), sent_fields)

    # answers

    def document(self, answer: Answer, kind: str) -> fhir.Document:
        try:
            return fhir.parse(answer.body, resource_type=kind)
        except Unreadable:
            raise kept(answer, Misconfigured(f"the EMR answered no {kind}: check url", code="not_fhir")) from None

    def body(self, answer: Answer, kind: str) -> fhir.Document:
        """The resource in an answer to a write; {} where the EMR answered nothing readable (Prefer is not obeyed everywhere)."""
        try:
            return fhir.parse(answer.body, resource_type=kind)
        except Unreadable:
            return {}

    def failure(self, answer: Answer, *, writing: bool, asked_for: str = "") -> HubError:
        """What an answer without success means; `asked_for`: words of ours."""
        peer = f"{PEER}, asked for {asked_for}," if asked_for else PEER
        return failure(answer, peer=peer, writing=writing, codes=fhir.issue_codes(answer.body))

    def about_another(self, answer: Answer, kind: str) -> HubError:
        return kept(answer, OutcomeUnknown(f"the EMR answered about another {kind}", code="wrong_answer"))


def kept(answer: Answer, error: HubError) -> HubError:
    """What was sent and answered goes with the error, to be kept with the attempt."""
    error.answer, error.sent = answer.body, answer.sent
    return error


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454 §4)."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _weak(document: fhir.Document) -> str | None:
    """An ETag from meta.versionId (http.html#versioning) for servers that leave the header out."""
    meta = document.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return f'W/"{version}"' if isinstance(version, str) and fhir.is_id(version) else None


def _id_of(answer: Answer, document: fhir.Document, kind: str) -> str | None:
    """The new id: from the body, else from Location `[base]/Patient/[id]/_history/[vid]`."""
    if isinstance(document.get("id"), str):
        return str(document["id"])
    _, _, after = answer.headers.get("location", "").rpartition(f"{kind}/")
    new = after.partition("/")[0]
    return new if fhir.is_id(new) else None
