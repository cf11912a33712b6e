"""What is wrong with the settings of a channel that listens: said the same way at every door."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hub.codecs.hl7v2 import python_codec
from hub.domain.errors import Misconfigured
from hub.transport.tls import normal_peer


class Guarded(Protocol):
    """Settings with TLS: a certificate of its own, who signs those of its senders, and whose are taken."""

    @property
    def tls_cert(self) -> Path | None: ...
    @property
    def tls_ca(self) -> Path | None: ...
    @property
    def tls_peers(self) -> tuple[str, ...]: ...


def check_tls(settings: Guarded) -> None:
    """Raises Misconfigured where a listener would verify nobody, though its settings look as if it did."""
    for peer in settings.tls_peers:
        normal_peer(peer)
    if (settings.tls_ca or settings.tls_peers) and not settings.tls_cert:
        raise Misconfigured("tls_ca and tls_peers need tls_cert and tls_key")
    if settings.tls_peers and not settings.tls_ca:
        raise Misconfigured("tls_peers needs tls_ca: only a verified certificate can be bound to the channel")


def check_charset(charset: str) -> None:
    """Raises Misconfigured where HL7's `charset` is none that we know."""
    try:
        python_codec(charset)
    except LookupError:
        raise Misconfigured("charset is none that we know; write utf-8 or cp949") from None
