"""A channel that listens: what is wrong with its settings or its address, and how it is, said the same way at every door."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hub.codecs.hl7v2 import python_codec
from hub.domain.errors import Misconfigured
from hub.domain.ports import ListenerHealth
from hub.transport.tls import normal_peer


class Guarded(Protocol):
    """Settings with TLS: a certificate of its own, who signs those of its senders, and whose are taken."""

    @property
    def tls_cert(self) -> Path | None: ...
    @property
    def tls_ca(self) -> Path | None: ...
    @property
    def tls_peers(self) -> tuple[str, ...]: ...


class Opening(Protocol):
    """What hub.transport has that listens."""

    async def start(self) -> None: ...
    @property
    def port(self) -> int: ...
    @property
    def connections(self) -> int: ...


async def listen(listener: Opening, host: str, port: int) -> None:
    """Starts it. Raises Misconfigured where the address cannot be had."""
    try:
        await listener.start()
    except OSError as error:
        raise Misconfigured(f"cannot listen on {host}:{port} ({error.strerror or error.__class__.__name__})") from None


def health_of(listener: Opening | None, host: str, port: int) -> ListenerHealth:
    """`port`: that of the settings, where nothing listens."""
    if listener is None:
        return ListenerHealth(f"{host}:{port}", 0)
    return ListenerHealth(f"{host}:{listener.port}", listener.connections)


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
