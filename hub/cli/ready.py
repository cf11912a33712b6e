"""What `hub run` tells whoever waits for it: "ready", with the addresses, once everything of its own that listens answers."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from hub.bootstrap.bound import Bound
from hub.config import Config

LOOK_SECONDS = 0.2
LATE_SECONDS, TAKEN_SECONDS = 60.0, 6.0  # a port that another program holds is told sooner; a process of ours may be ending


class Place(NamedTuple):
    """One address that `hub run` will listen on. `web`: it must also answer /healthz."""

    what: str
    host: str
    port: int
    web: bool = False
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.what} http{'s' * self.tls}://{host}:{self.port}/" if self.web else f"{self.what} on {host}:{self.port}"


LISTENERS = {"ocs.hl7_in": "HL7 v2", "ocs.hl7_query": "look-ups", "pacs.dicom_in": "DICOM", "pacs.worklist": "worklist"}


def places(config: Config, roles: list[str]) -> list[Place]:
    """Where a process with these roles (none: all) will listen; ports that are picked while starting (0) are left out."""
    found = []
    if not roles or "web" in roles:
        found.append(Place("console", config.web.host, config.web.port, web=True, tls=config.web.tls_cert is not None))
    if not roles or "listen" in roles:
        for channel in config.channels.values():
            port = channel.settings.get("port")
            what = LISTENERS.get(channel.adapter)
            if what and channel.enabled and isinstance(port, int):
                found.append(Place(what, str(channel.settings.get("host", "127.0.0.1")), port))
    return [place for place in found if place.port]


def watch(wanted: list[Place], bound: Bound, tell: Callable[[str], None]) -> None:
    """Looks from a thread of its own until all places are in `bound` and answer, then says "ready" with their addresses."""
    if wanted:
        threading.Thread(target=_watch, args=(wanted, bound, tell), name="ready", daemon=True).start()


def _watch(wanted: list[Place], bound: Bound, tell: Callable[[str], None]) -> None:
    began, missing, late = time.monotonic(), list(wanted), False
    while missing:
        missing = [place for place in missing if place.port not in bound or not answers(place)]
        waited = time.monotonic() - began
        taken = (
            {p for p in missing if p.port not in bound and listens(p)}
            if missing and not late and waited > TAKEN_SECONDS
            else set()
        )
        if missing and not late and (taken or waited > LATE_SECONDS):
            late = True
            tell(
                "not up yet: "
                + ", ".join(f"{place}{' (another program holds this port)' * (place in taken)}" for place in missing)
            )
        if missing:
            time.sleep(LOOK_SECONDS)
    tell("ready: " + ", ".join(map(str, wanted)))


def listens(place: Place) -> bool:
    """Whether somebody listens there, whoever it is."""
    try:
        socket.create_connection((_host(place), place.port), 2).close()
    except OSError:
        return False
    return True


def answers(place: Place) -> bool:
    """Whether somebody listens there and, for the console, answers as a hub does."""
    if not place.web:
        return listens(place)
    host = _host(place)
    try:
        if place.tls:  # our own certificate: whom it names is not the question here
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            web: http.client.HTTPConnection = http.client.HTTPSConnection(host, place.port, timeout=2, context=context)
        else:
            web = http.client.HTTPConnection(host, place.port, timeout=2)
        try:
            web.request("GET", "/healthz")
            return web.getresponse().status == 200
        finally:
            web.close()
    except (OSError, http.client.HTTPException):
        return False


def _host(place: Place) -> str:
    """Where to reach what listens on all addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(place.host, place.host)  # noqa: S104 - a key, not an address
