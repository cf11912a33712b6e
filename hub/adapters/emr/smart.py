"""Who we are to an EMR's authorization server: SMART Backend Services (SMART App Launch 2.0, backend-services.html).

A JWT that we sign (RS384 or ES384, client-confidential-asymmetric.html) is exchanged for an access token, which is kept
until shortly before it expires, or until somebody answers 401 to it. Nothing of this ever stands in an error or a log.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import base64
import email.utils
import hashlib
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from hub.config import Secret, option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown
from hub.transport.http import Answer, HttpClient, HttpSettings, failure, wrong

PEER = "the EMR's authorization server"
WELL_KNOWN = "/.well-known/smart-configuration"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2
ASSERTION_SECONDS = 240  # the server takes no assertion that is valid for more than five minutes
DEFAULT_SECONDS = 300.0  # of a token whose server does not say how long it lives: RFC 6749 §5.1 only recommends expires_in
EARLY_SECONDS = 30.0  # a token is renewed so long before its end, or in the last fifth of a short life
CLOCKS_APART = 30.0  # seconds between our clock and the server's from which on the server's counts
_HASH = {rsa.RSAPrivateKey: "RS384", ec.EllipticCurvePrivateKey: "ES384"}
_THUMBPRINT = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y")}  # RFC 7638 §3.2

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartSettings(HttpSettings):
    """Where a FHIR server is and, where it wants SMART Backend Services, as whom we come to it."""

    client_id: str = option("", doc="SMART Backend Services: the id that the EMR gave the hub when its key was registered")
    private_key: Secret | None = option(
        None,
        doc='its private key (PEM; RSA, or EC on P-384): { file = "secrets/emr-key.pem" }; hub channel jwks shows the public one',
    )
    token_url: str = option("", doc="where tokens are given out; default: what the EMR's .well-known/smart-configuration says")
    scope: str = option(
        "system/*.read", doc='what the token is to be good for: "system/*.read", "system/*.rs system/Patient.cruds"'
    )

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        if bool(self.client_id) != bool(self.private_key):
            raise wrong("client_id and private_key go together", 'write both: client_id = "…", private_key = { file = "…" }')
        if self.client_id and (self.user or self.token):
            raise wrong("client_id stands beside user or token", "write one way to show who we are")
        if self.token_url and not self.client_id:
            raise wrong("token_url stands alone", "write client_id and private_key beside it")
        if self.private_key:
            load_key(self.private_key)


def load_key(pem: str) -> PrivateKey:
    """The private key of a PEM text. Raises Misconfigured where SMART has no algorithm for it."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise wrong("private_key is no private key in PEM without a passphrase", "see docs/emr-fhir.md how to make one") from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1):
        return key
    raise wrong("private_key is of a kind that SMART does not know", "make RSA of 2048 bits or more, or EC on P-384 (secp384r1)")


def public_jwk(key: PrivateKey) -> dict[str, Any]:
    """The public half as a JWK, its kid the thumbprint (RFC 7638): the same key has the same name everywhere."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        jwk: dict[str, Any] = RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        jwk = ECAlgorithm.to_jwk(public, as_dict=True)
    members = {name: jwk[name] for name in _THUMBPRINT[jwk["kty"]]}
    digest = hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return {**members, "kid": kid, "use": "sig", "alg": _algorithm(key), "key_ops": ["verify"]}


def jwks(settings: SmartSettings) -> dict[str, Any]:
    """What the EMR's administrator registers. Misconfigured where the channel has no key."""
    if not settings.private_key:
        raise Misconfigured("this channel has no private_key: write client_id and private_key", code="no_key")
    return {"keys": [public_jwk(load_key(settings.private_key))]}


def _algorithm(key: PrivateKey) -> str:
    return next(name for kind, name in _HASH.items() if isinstance(key, kind))


class Grant:
    """The access token of one channel. Thread-safe: whoever comes first fetches it, the others wait for that."""

    def __init__(self, settings: SmartSettings) -> None:
        self._settings = settings
        self._key = load_key(settings.private_key or "")
        self._kid = public_jwk(self._key)["kid"]
        self._lock = threading.Lock()
        self._client: HttpClient | None = None
        self._token_url = settings.token_url
        self._token = ""
        self._good_until = 0.0  # of time.monotonic
        self._clock = 0.0  # seconds that the server's clock is ahead of ours

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def token(self, *, other_than: str = "") -> str:
        """A token that is good now; a fresh one if it is still `other_than`, which was refused."""
        with self._lock:
            if not self._token or self._token == other_than or time.monotonic() >= self._good_until:
                self._fetch()
            return self._token

    # asking

    def _fetch(self) -> None:
        self._token = ""
        asked = time.monotonic()
        answer = self._ask()
        if answer.status in (400, 401) and self._clocks_differ(answer):
            answer = self._ask()
        said = self._read(answer)
        token, kind, lives = said.get("access_token"), str(said.get("token_type", "")), said.get("expires_in", DEFAULT_SECONDS)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or kind.lower() != "bearer":
            raise _kept(answer, Misconfigured(f"{PEER} gives no bearer token: check token_url", code="no_token"))
        seconds = float(lives) if isinstance(lives, int | float) and lives > 0 else DEFAULT_SECONDS
        self._good_until = asked + seconds - min(EARLY_SECONDS, seconds / 5)
        self._token = token

    def _ask(self) -> Answer:
        server = self._server()  # first, because the assertion names it
        form = {
            "grant_type": "client_credentials",
            "scope": self._settings.scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        try:  # as a write: sent again by itself, it would carry an assertion that the server has seen (jti)
            return server.write("POST", "", headers=headers, body=urlencode(form).encode())
        except OutcomeUnknown as error:  # a token that got lost does nothing
            raise NotDelivered(error.reason, code=error.code) from None
        except HubError as error:
            error.sent = b""  # the assertion is a secret for as long as it is valid
            raise

    def _assertion(self) -> str:
        now = int(time.time() + self._clock)
        claims = {
            "iss": self._settings.client_id,
            "sub": self._settings.client_id,
            "aud": self._token_url,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": secrets.token_urlsafe(24),
        }
        return jwt.encode(claims, self._key, algorithm=_algorithm(self._key), headers={"kid": self._kid})

    def _clocks_differ(self, answer: Answer) -> bool:
        """Whether the server's Date says that our assertion was of another time; then the next one is of the server's."""
        try:
            theirs = email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return False
        before, self._clock = self._clock, theirs - time.time()
        return abs(self._clock - before) > CLOCKS_APART

    def _read(self, answer: Answer) -> Mapping[str, Any]:
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            said = None
        said = said if isinstance(said, dict) else {}
        if answer.status == 200 and said:
            return said
        code = str(said.get("error", ""))
        code = code if code.isascii() and code.replace("_", "").isalpha() and len(code) < 40 else ""  # RFC 6749 §5.2
        if answer.status in (400, 401, 403):
            problem = f"{PEER} gives us no token" + (f" ({code})" if code else "")
            hint = "is the key of hub channel jwks registered there, with this client_id and scope?"
            raise _kept(answer, Misconfigured(f"{problem}: {hint}", code="unauthorized"))
        if answer.status == 200:
            raise _kept(answer, Misconfigured(f"{PEER} answers no JSON: check token_url", code="no_token"))
        raise _kept(answer, failure(answer, peer=PEER, writing=False, codes=code))

    def _server(self) -> HttpClient:
        if self._client is None:
            self._token_url = self._token_url or self._discovered()
            self._client = HttpClient(self._plain(self._token_url), peer=PEER)
        return self._client

    def _discovered(self) -> str:
        """token_endpoint of the server's SMART configuration (SMART App Launch 2.0, conformance.html)."""
        client = HttpClient(self._plain(self._settings.url), peer="the EMR")
        try:
            answer = client.read("GET", WELL_KNOWN, headers={"Accept": "application/json"})
        finally:
            client.close()
        if answer.status != 200:
            raise failure(answer, peer="the EMR's SMART configuration", writing=False)
        try:
            url = orjson.loads(answer.body)["token_endpoint"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            url = None
        if not isinstance(url, str) or urlsplit(url).scheme not in ("https", urlsplit(self._settings.url).scheme):
            raise Misconfigured("the EMR's SMART configuration names no token endpoint: write token_url", code="no_token_url")
        return url

    def _plain(self, url: str) -> HttpSettings:
        """The channel's settings for TLS and time-outs, for another address, without credentials."""
        s = self._settings
        try:
            return HttpSettings(
                url=url, ca_file=s.ca_file, cert_file=s.cert_file, key_file=s.key_file,
                connect_timeout_seconds=s.connect_timeout_seconds, timeout_seconds=s.timeout_seconds,
            )  # fmt: skip
        except Misconfigured:
            raise Misconfigured("the token endpoint's address cannot be used: write token_url", code="no_token_url") from None


def _kept(answer: Answer, error: HubError) -> HubError:
    """The server's words go with the error, ours (the assertion) do not."""
    error.answer, error.sent = answer.body, b""
    return error
