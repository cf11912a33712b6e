"""HTTP to systems of record (EMR, ERP): one blocking client, its errors translated once, here.

What a caller gets is an `Answer` with its status, or one of the domain's errors: `NotDelivered` where the peer cannot
have acted (no connection, or a read that failed), `OutcomeUnknown` where a write went out and no answer came back,
`Misconfigured` where only a person can help (certificate, URL). Redirects are never followed (a moved service is a
change that somebody decides on), the environment's proxies are not used, and no URL is ever logged: httpx logs whole
URLs at INFO, httpcore headers at DEBUG, and both may hold what a patient is found by.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import email.utils
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from hub.config import Secret, option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

LARGEST_ANSWER = 16 * 1024 * 1024  # bytes; a patient is a few KiB, so more than this is not an answer to us
TRIES = 3  # of one connect or one idempotent read, within one attempt of the message


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where a system of record is and how we show who we are: keys that every such channel has."""

    url: str = option(doc="the service's address without trailing slash, https://host:port/path")
    user: str = option("", doc="basic authentication: the user")
    password: Secret | None = option(None, doc='basic authentication: { file = "secrets/name" } or { env = "NAME" }')
    token: Secret | None = option(None, doc='bearer authentication, instead of user and password: { file = "secrets/name" }')
    ca_file: Path | None = option(None, doc="authorities trusted for this URL (PEM); default: the system's")
    cert_file: Path | None = option(None, doc="certificate that we show the peer (PEM), for mutual TLS")
    key_file: Path | None = option(None, doc="its private key (PEM); default: it stands in cert_file")
    connect_timeout_seconds: float = option(5.0, doc="seconds for a connection", low=0.1, high=60)
    timeout_seconds: float = option(30.0, doc="seconds for one request and its answer", low=0.1, high=300)

    def __post_init__(self) -> None:
        if not _is_base(self.url):
            raise wrong('"url" is not the address of a service', "write https://host:port/path, without user, password, ? and #")
        if self.token and (self.user or self.password):
            raise wrong("token stands beside user or password", "write either user and password (basic) or token (bearer)")
        if bool(self.user) != bool(self.password):
            raise wrong("basic authentication needs both user and password", 'write user = "…" and password = { file = "…" }')
        if self.key_file and not self.cert_file:
            raise wrong("key_file stands alone", "write cert_file = … beside it")
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(self, name)
            if path and not path.is_file():
                raise wrong(f'"{name}" names no file', "create the file, or name the right one")


class WrongAddressError(Misconfigured, ValueError):
    """A setting that the types cannot rule out; a ValueError too, so that hub.config finds its line."""


def wrong(problem: str, instead: str) -> WrongAddressError:
    """The error for such a setting, to be raised in `__post_init__`."""
    return WrongAddressError(f"{problem}; {instead}", code="settings")


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and not (parts.username or parts.password or parts.query or parts.fragment)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` by lower-case name; `sent` is the body that went out."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: bytes = b""

    @property
    def etag(self) -> str | None:
        return self.headers.get("etag") or None

    @property
    def retry_after(self) -> float | None:
        """Retry-After in seconds from now (RFC 9110 §10.2.3: seconds or a date), at least 0."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return float(value)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            return None


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, however often it is tried."""

    method: str
    path: str
    headers: Mapping[str, str] | None
    params: Mapping[str, str] | None = None
    body: bytes | None = None
    form: Mapping[str, str | list[str]] | None = None


class HttpClient:
    """One peer. Thread-safe (httpx.Client is), keeps connections and cookies; every call ends within `timeout` seconds."""

    def __init__(self, settings: HttpSettings, *, peer: str) -> None:
        """`peer` is how errors call it: "the EMR"."""
        self.peer = peer
        self._base = settings.url.rstrip("/")
        self._timeout = settings.timeout_seconds
        self._client = httpx.Client(
            auth=httpx.BasicAuth(settings.user, settings.password or "") if settings.user else None,
            headers={"Authorization": f"Bearer {settings.token}"} if settings.token else None,
            timeout=httpx.Timeout(settings.timeout_seconds, connect=settings.connect_timeout_seconds),
            verify=_tls(settings) if settings.url.startswith("https:") else False,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=16, keepalive_expiry=15),
        )

    def close(self) -> None:
        self._client.close()

    def read(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str | list[str]] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """A request without effect (GET, POST _search, a $batch that only asks): tried up to three times; failures are
        NotDelivered."""
        return self._within_attempt(_Call(method, path, headers, params=params, form=form, body=body), writing=False)

    def write(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """A request that changes something: only its connect is tried again; a lost answer is OutcomeUnknown."""
        return self._within_attempt(_Call(method, path, headers, body=body), writing=True)

    def _within_attempt(self, call: _Call, *, writing: bool) -> Answer:
        def again(error: BaseException) -> bool:
            return isinstance(error, NotDelivered) and not (writing and error.reached)

        for attempt in Retrying(
            retry=retry_if_exception(again),
            stop=stop_after_attempt(TRIES) | stop_after_delay(self._timeout / 2),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        ):
            with attempt:
                try:
                    return self._once(call, writing=writing)
                except HubError as error:
                    error.sent = call.body or b""
                    raise
        raise AssertionError("tenacity ends in a return or a raise")  # pragma: no cover

    def _once(self, call: _Call, *, writing: bool) -> Answer:
        until = time.monotonic() + self._timeout
        try:
            with self._client.stream(
                call.method,
                f"{self._base}{call.path}",
                headers=call.headers,
                params=call.params,
                content=call.body,
                data=call.form,
            ) as response:
                chunks, size = [], 0
                for chunk in response.iter_bytes():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > LARGEST_ANSWER:
                        raise lost(f"{self.peer} answered more than {LARGEST_ANSWER} bytes", writing=writing, code="too_large")
                    if time.monotonic() > until:  # httpx bounds each read, not the whole: a dripping peer would hold us for ever
                        raise lost(f"{self.peer} did not finish its answer in time", writing=writing)
                found = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, found, b"".join(chunks), call.body or b"")
        except httpx.HTTPError as error:
            raise translate(error, peer=self.peer, writing=writing) from None
        except httpx.InvalidURL:
            raise Misconfigured(f"the URL of {self.peer} cannot be used: write https://host:port/path", code="bad_url") from None


def lost(reason: str, *, writing: bool, code: str = "answer_lost") -> HubError:
    """No trustworthy answer: after a write the peer may have acted, after a read it cannot have."""
    return OutcomeUnknown(reason, code=code) if writing else NotDelivered(reason, code=code)


def translate(error: httpx.HTTPError, *, peer: str, writing: bool) -> HubError:
    """httpx's errors into ours, by what may have happened at the peer. Drops the text: it may hold the URL."""
    if isinstance(error, httpx.ConnectError | httpx.ProxyError) and _is_certificate(error):
        return Misconfigured(f"{peer}'s certificate is not accepted: check ca_file and the host name in url", code="tls")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return NotDelivered(f"{peer} cannot be reached", code="unreachable", reached=False)
    if isinstance(error, httpx.UnsupportedProtocol):
        return Misconfigured(f"the URL of {peer} must begin with https:// or http://", code="bad_url")
    if isinstance(error, httpx.TimeoutException):
        return lost(f"{peer} did not answer in time", writing=writing)
    return lost(f"the connection to {peer} broke before its answer", writing=writing)


def failure(answer: Answer, *, peer: str, writing: bool, codes: str = "") -> HubError:
    """The error that an answer without success means (RFC 9110 §15). `codes`: the peer's error codes, free of patient data."""
    status = answer.status
    said = f"{peer} answered {status}" + (f" ({codes})" if codes else "")
    error: HubError
    if status in (401, 403):
        error = Misconfigured(f"{said}: check user, password or token, and what they are allowed", code="unauthorized")
    elif status in (408, 425, 429, 503):
        error = NotDelivered(said, code=f"http_{status}", retry_after=answer.retry_after)
    elif (status >= 500 and status != 501) or status < 200:  # a server that broke while it wrote may have written
        error = lost(said, writing=writing, code=f"http_{status}")
    elif status in (404, 405, 501) or status < 400:
        error = Misconfigured(f"{said}: check url; it must be the service's final address", code=f"http_{status}")
    else:
        error = Refused(said, code=f"http_{status}")
    error.answer = answer.body
    error.sent = answer.sent
    return error


def _is_certificate(error: BaseException) -> bool:
    at: BaseException | None = error
    seen: set[int] = set()  # what raises one error twice makes a ring of them
    while at is not None and id(at) not in seen:
        if isinstance(at, ssl.SSLCertVerificationError):
            return True
        seen.add(id(at))
        at = at.__cause__ or at.__context__
    return False


def _tls(settings: HttpSettings) -> ssl.SSLContext:
    """The peer is verified against `ca_file` (else the system's store); `cert_file` and `key_file` are shown to it."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError):
        raise Misconfigured("ca_file, cert_file or key_file cannot be read as PEM", code="tls") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
