"""TLS contexts for both ends, and the binding of a peer's certificate to its channel. TLS 1.2 is the least we speak."""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

from hub.domain.errors import Misconfigured


def server_context(cert: str, key: str, ca: str = "") -> ssl.SSLContext:
    """For a listener. With `ca` (PEM file) every client must show a certificate that it signed (mutual TLS)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return _filled(context, cert, key, ca, demand=bool(ca))


def client_context(ca: str = "", cert: str = "", key: str = "", *, check_name: bool = True) -> ssl.SSLContext:
    """For a sender. `ca` "" takes the system's; `cert` and `key` are shown to a peer that asks. `check_name` False only where the
    peer is bound by fingerprint or subject instead of by host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_name
    if not ca:
        context.load_default_certs()
    return _filled(context, cert, key, ca, demand=True)


def _filled(context: ssl.SSLContext, cert: str, key: str, ca: str, *, demand: bool) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in filter(None, (cert, key, ca)):
        _check_readable(file)
    try:
        if cert:
            context.load_cert_chain(cert, key or None, password=_no_password)
        if ca:
            context.load_verify_locations(ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        files = ", ".join(filter(None, (cert, key, ca)))
        why = getattr(error, "reason", None) or type(error).__name__
        raise Misconfigured(f"TLS files cannot be used ({why}): {files}") from None
    if demand:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(file: str) -> None:
    """OpenSSL says that a file is missing, not which."""
    try:
        with open(file, "rb"):
            return
    except OSError as error:
        raise Misconfigured(f"TLS file cannot be read ({error.strerror}): {file}") from None


def _no_password() -> str:
    """A hub starts with nobody there: without this OpenSSL would ask at the terminal, and wait."""
    raise ValueError("the key has a password")


def normal_peer(entry: str) -> str:
    """One `tls_peers` entry: `sha256:<64 hex>` (colons allowed) or a name that stands as CN or SAN. Misconfigured otherwise."""
    kind, _, digits = entry.partition(":")
    if kind.lower() != "sha256":
        if not entry.strip():
            raise Misconfigured("an empty entry in tls_peers")
        return entry.strip().lower()
    digits = digits.replace(":", "").lower()
    if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise Misconfigured("a sha256 entry in tls_peers needs 64 hexadecimal digits")
    return f"sha256:{digits}"


def peer_names(tls: ssl.SSLObject | ssl.SSLSocket) -> set[str]:
    """What a verified peer certificate can be called: its fingerprint, its common names, its DNS, IP and URI names."""
    der = tls.getpeercert(binary_form=True)
    if not der:
        return set()
    names = {f"sha256:{hashlib.sha256(der).hexdigest()}"}
    certificate: Any = tls.getpeercert() or {}
    for relative in certificate.get("subject", ()):
        names |= {value.lower() for kind, value in relative if kind == "commonName"}
    return names | {value.lower() for _, value in certificate.get("subjectAltName", ())}


def peer_allowed(tls: ssl.SSLObject | ssl.SSLSocket, allowed: frozenset[str]) -> bool:
    """Whether the peer is one of the channel's; an empty list takes every peer that the CA vouches for."""
    return not allowed or not allowed.isdisjoint(peer_names(tls))
