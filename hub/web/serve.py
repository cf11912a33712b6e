"""API and console on uvicorn, in a thread of this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn

from hub import log
from hub.bootstrap import Hub, channels
from hub.bootstrap.bound import Bound
from hub.bootstrap.doors import Doors
from hub.bootstrap.limits import why_full
from hub.codecs import fhir_incoming
from hub.codecs.fhir_types import Systems
from hub.codecs.hl7v2 import parse
from hub.config import Secret
from hub.domain.errors import HubError, Misconfigured
from hub.web.app import create_app
from hub.web.context import ChannelInfo, WebHub

_log = log.get(__name__)
BIND_SECONDS = 5.0  # a web process that was killed a moment ago may still hold its port


def serve(hub: Hub, stop: threading.Event, wake: Callable[[str], None] | None = None, bound: Bound | None = None) -> None:
    """Serves until `stop`; `bound` has its port meanwhile. Raises Misconfigured where the address cannot be had, or the server
    ended by itself: the supervisor then starts this role again."""
    web = hub.config.web
    listening = bind(web.host, web.port, stop)
    if listening is None:
        return
    bound, port = bound or Bound(), listening.getsockname()[1]
    config = uvicorn.Config(
        create_app(web_hub(hub, wake)), log_config=None, access_log=False, server_header=False, ssl_certfile=web.tls_cert,
        ssl_keyfile=web.tls_key, timeout_graceful_shutdown=3,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # signals are the main thread's
    thread = threading.Thread(target=server.run, args=([listening],), name="uvicorn", daemon=True)
    thread.start()
    while not stop.wait(0.2) and thread.is_alive():
        if server.started:
            bound.add(port)
    bound.remove(port)
    ended = not stop.is_set()
    server.should_exit = True
    thread.join(4)
    listening.close()
    if ended:
        raise Misconfigured(f"the web server on {web.host}:{web.port} ended by itself")


def bind(host: str, port: int, stop: threading.Event, seconds: float = BIND_SECONDS) -> socket.socket | None:
    """A bound socket that does not listen yet; None where `stop` came first. Tries for `seconds`, then Misconfigured."""
    deadline, said = time.monotonic() + seconds, False
    while True:
        try:
            return _bound(host, port)
        except OSError as error:
            why = f"{host}:{port} cannot be listened on ({error.strerror or type(error).__name__})"
        todo = "no API and no console; end the program that holds the port, or write another [web] port (or host) and start again"
        if not said:
            said = True
            _log.error("%s: %s", why, todo, extra={"role": "web", "port": port})
        if time.monotonic() > deadline:
            raise Misconfigured(f"{why}: {todo}")
        if stop.wait(0.5):
            return None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    made = socket.socket(family, kind, number)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def web_hub(hub: Hub, wake: Callable[[str], None] | None = None) -> WebHub:
    """The hub as the web layer sees it. `wake` tells Celery's workers of new work in a direction."""

    def written() -> None:
        for direction in ("in", "out"):
            if wake is not None:
                wake(direction)

    return WebHub(
        name=hub.config.hub.name, engine=hub.engine, write_engine=hub.write_engine, front_office=hub.front_office,
        operations=hub.operations, audit=hub.audit, keys=hub.keys, channels=lambda: _channels(hub), ready=lambda: _ready(hub),
        explain=lambda channel, body: _explain(hub, channel, body), https=hub.config.web.tls_cert is not None,
        timezone=hub.config.hub.timezone, written=written,
        fhir=Systems(hub.config.fhir.systems, hub.config.fhir.code_systems), doors=Doors(hub),
    )  # fmt: skip


def _channels(hub: Hub) -> list[ChannelInfo]:
    found = []
    for name, channel in hub.config.channels.items():
        manifest = channels.manifest_of(channel)
        found.append(
            ChannelInfo(
                name,
                channel.system,
                channel.adapter,
                manifest.direction,
                channel.on_dead,
                manifest.title,
                channel.enabled,
                _shown(channel.settings),
            )
        )
    return found


def _shown(settings: Mapping[str, Any]) -> dict[str, str]:
    """An adapter's own keys for people: what came from a file or the environment is a secret and stays one."""
    return {key: _text(value) for key, value in settings.items()}


def _text(value: Any) -> str:
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ready(hub: Hub) -> str:
    """A look, never a write: an orchestrator asks every few seconds, and must not queue for the turn to write."""
    try:
        with hub.store.snapshot() as tx:
            tx.channel_states()
    except HubError as error:
        return error.reason
    return why_full(hub)


def _explain(hub: Hub, channel: str, body: bytes) -> list[dict[str, Any]]:
    """The message with its channel's map, field by field (rows of MapSet.explain)."""
    known = hub.inbound().get(channel)
    if known is None:
        return []
    mapper = known.mapper
    if isinstance(mapper, channels.FhirMapper):
        return hub.maps.explain_fhir(fhir_incoming.read(body), mapper.context(0), mapper.names)
    if isinstance(mapper, channels.RowMapper):
        return mapper.explain(body)
    if not isinstance(mapper, channels.Hl7Mapper):
        return []
    return hub.maps.explain(parse(body, mapper.charset), mapper.context(0))
