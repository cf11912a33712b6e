"""API and console on uvicorn, in a thread of this process."""

from __future__ import annotations

import threading
from typing import Any

import uvicorn

from hub.bootstrap import Hub, channels
from hub.codecs.hl7v2 import parse
from hub.domain.errors import HubError
from hub.web.app import create_app
from hub.web.context import ChannelInfo, WebHub


def serve(hub: Hub, stop: threading.Event) -> None:
    """Serves until `stop`."""
    web = hub.config.web
    config = uvicorn.Config(
        create_app(web_hub(hub)), host=web.host, port=web.port, log_config=None, access_log=False, server_header=False,
        ssl_certfile=web.tls_cert, ssl_keyfile=web.tls_key, timeout_graceful_shutdown=3,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # signals are the main thread's
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    while not stop.wait(0.2) and thread.is_alive():
        pass
    server.should_exit = True
    thread.join(4)


def web_hub(hub: Hub) -> WebHub:
    """The hub as the web layer sees it."""
    return WebHub(
        name=hub.config.hub.name, engine=hub.engine, write_engine=hub.write_engine, front_office=hub.front_office,
        operations=hub.operations, audit=hub.audit, keys=hub.keys, channels=lambda: _channels(hub), ready=lambda: _ready(hub),
        explain=lambda channel, body: _explain(hub, channel, body), https=hub.config.web.tls_cert is not None,
        timezone=hub.config.hub.timezone,
    )  # fmt: skip


def _channels(hub: Hub) -> list[ChannelInfo]:
    found = []
    for name, channel in hub.config.channels.items():
        manifest = channels.manifest_of(channel)
        found.append(
            ChannelInfo(
                name, channel.system, channel.adapter, manifest.direction, channel.on_dead, manifest.title, channel.enabled
            )
        )
    return found


def _ready(hub: Hub) -> str:
    try:
        with hub.store.transaction() as tx:
            tx.channel_states()
    except HubError as error:
        return error.reason
    return ""


def _explain(hub: Hub, channel: str, body: bytes) -> list[dict[str, Any]]:
    """The message with its channel's map, field by field (rows of MapSet.explain)."""
    known = hub.inbound().get(channel)
    if known is None:
        return []
    mapper = known.mapper
    assert isinstance(mapper, channels.Hl7Mapper)
    return hub.maps.explain(parse(body, mapper.charset), mapper.context(0))
