"""DICOM's upper layer over TCP and TLS, the accepting end: one listening address, who may speak to it, and how many at once."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from hub.codecs.dicom import pdu
from hub.codecs.dicom.pdu import Rejection
from hub.domain.unstored import TurnedAway
from hub.transport.dicom_association import Asked, Association, Counts, Limits, Service
from hub.transport.tls import peer_allowed

__all__ = ["Asked", "Association", "Counts", "DicomListener", "Limits", "Names", "Service"]
log = logging.getLogger(__name__)
MOST_TOLD, TOLD_SECONDS = 256, 60.0  # entries of the audit log about peers that were turned away, a minute


@dataclass(frozen=True, slots=True)
class Names:
    """Who may speak to whom: our AE title, and each known calling AE title with the networks it may call from ("": any)."""

    title: str
    peers: Mapping[str, str]

    def refusal(self, called: str, calling: str, address: str) -> Rejection | None:
        if called != self.title:
            return pdu.CALLED_UNKNOWN
        networks = self.peers.get(calling, self.peers.get("*"))
        return None if networks is not None and _within(address, networks) else pdu.CALLING_UNKNOWN

    def why(self, called: str, calling: str) -> tuple[str, str]:
        """A code and a sentence for whoever sets up a modality: which of the checks failed, and the AE titles."""
        if called != self.title:
            return "called_title", f"{shown(calling)} calls the AE title {shown(called)}; ours is {self.title}"
        if calling not in self.peers and "*" not in self.peers:
            return "calling_title", f"its AE title {shown(calling)} is none of the channel's peers"
        return "calling_address", f"its AE title {shown(calling)} is one of the channel's peers, but not from there"


_SHOWN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,15}")
_NUMBER = re.compile(r"[0-9]{6}")  # as in the audit log (hub/audit/entry.py): it may be a patient's


def shown(title: str) -> str:
    """An AE title as it may stand in a log: it comes from the wire, from whoever reaches the port."""
    return title if _SHOWN.fullmatch(title) and not _NUMBER.search(title) else HIDDEN


HIDDEN = "(one that is not shown)"


def _within(address: str, networks: str) -> bool:
    if not networks:
        return True
    try:
        here: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(here, ipaddress.IPv6Address):
        here = here.ipv4_mapped or here  # an IPv4 peer at an address of both families
    return any(here in ipaddress.ip_network(one.strip(), strict=False) for one in networks.split(","))


@dataclass(slots=True, eq=False)
class DicomListener:
    """One listening address. `allowed` are normalised tls_peers."""

    name: str
    host: str
    port: int
    names: Names
    service: Service
    limits: Limits = field(default_factory=Limits)
    tls: ssl.SSLContext | None = None
    allowed: frozenset[str] = frozenset()
    counts: Counts = field(default_factory=Counts)
    _turned_away: dict[TurnedAway, float] = field(default_factory=dict)  # loop time of the last time that it was told
    _untold: list[TurnedAway] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _associations: set[Association] = field(default_factory=set)
    _sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen. OSError where the address is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Association(self), self.host, self.port, ssl=self.tls, backlog=256,
            ssl_handshake_timeout=10 if self.tls else None, reuse_address=True,
        )  # fmt: skip
        if self.port == 0:
            self.port = self._server.sockets[0].getsockname()[1]
        self._later(loop)

    async def stop(self) -> None:
        """Stop listening, abort every association; who had no answer sends again."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.close()
        for association in list(self._associations):
            association.abort("the hub stops")
        await asyncio.sleep(0)
        for association in list(self._associations):
            association.kill()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._associations)

    def admit(self, association: Association, tls: ssl.SSLObject | None) -> bool:
        """Whether a new connection may ask for an association; twice as many as may have one, so that those who ask are told."""
        reason = ""
        if tls is not None and not peer_allowed(tls, self.allowed):
            reason = "its certificate is none of this channel's"
        elif len(self._associations) >= 2 * self.limits.associations and not self._evict(established=False):
            reason = "too many connections"
        if reason:
            self.counts.rejected += 1
            log.warning("%s: connection from %s refused: %s", self.name, association.address, reason)
            return False
        self._associations.add(association)
        return True

    def turn_away(self, address: str, calling: str, code: str) -> None:
        """Notes a peer that may not speak here, for the audit log: once a minute, however often it tries."""
        now = asyncio.get_running_loop().time()
        if len(self._turned_away) >= MOST_TOLD:  # many names or many addresses: what is older than a minute is forgotten
            self._turned_away = {one: at for one, at in self._turned_away.items() if now - at < TOLD_SECONDS}
        who = shown(calling)
        one = TurnedAway(address, "" if who == HIDDEN else who, code)
        if len(self._turned_away) < MOST_TOLD and now - self._turned_away.get(one, -TOLD_SECONDS) >= TOLD_SECONDS:
            self._turned_away[one] = now
            self._untold.append(one)

    def take_turned_away(self) -> tuple[TurnedAway, ...]:
        """Those that were noted since the last call."""
        told, self._untold = tuple(self._untold), []
        return told

    def seat(self, association: Association) -> bool:
        """Whether there is room for one more association; whoever has been silent longest makes some."""
        others = sum(one.established for one in self._associations if one is not association)
        return others < self.limits.associations or self._evict(established=True)

    def _evict(self, *, established: bool) -> bool:
        """Ends the one that has been silent longest: silent ones must not keep a sender out. Whether there was one."""
        silent = [
            (s, one) for one in self._associations if (s := one.silent_since()) is not None and one.established is established
        ]
        since, longest = min(silent, key=lambda pair: pair[0], default=(0.0, None))
        if longest is None or asyncio.get_running_loop().time() - since < self.limits.spared_seconds:
            return False
        longest.abort("no place left, and it was silent longest")
        longest.kill()
        self._associations.discard(longest)
        return True

    def forget(self, association: Association) -> None:
        """A connection is gone."""
        self._associations.discard(association)

    def _later(self, loop: asyncio.AbstractEventLoop) -> None:
        limits = self.limits
        pause = min(
            2.0, *(s / 4 for s in (limits.request_seconds, limits.pdu_seconds, limits.message_seconds, limits.idle_seconds))
        )
        self._sweep = loop.call_later(max(0.05, pause), self._close_overdue, loop)

    def _close_overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for association in list(self._associations):
            why = association.overdue(now)
            if why == "did not close":
                association.kill()
            elif why:
                association.abort(why)
        self._later(loop)
