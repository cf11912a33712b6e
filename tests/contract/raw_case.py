"""Pass-through: over MLLP, by HTTP and into a folder, each against its simulated receiver."""

from __future__ import annotations

from typing import Any

from hub.adapters.raw import folder_out, http_out, mllp_out
from hub.simulator.faults import Fault
from hub.simulator.ocs import OcsPeer
from hub.simulator.receiver import FolderPeer, Receiver
from hub.testing.case import Case, message_received

TIMEOUT = 0.8


def _mllp(peer: OcsPeer) -> dict[str, Any]:
    where = {"host": peer.host, "port": peer.port, "connections": 4}
    return {**where, "timeout_seconds": TIMEOUT, "connect_timeout_seconds": TIMEOUT}


def _every_connection(peer: Receiver, fault: Fault) -> None:
    """A connection that is reset before anything was sent is tried again within the attempt."""
    peer.misbehave(fault, None if fault is Fault.HANG_UP else 1)


CASES = [
    Case(
        name="raw.mllp_out",
        module=mllp_out,
        peer=lambda tls: OcsPeer(tls=tls),
        table=_mllp,
        message=message_received,
        effects=lambda peer: len(peer.received),
        timeout=TIMEOUT,
    ),
    Case(
        name="raw.http_out",
        module=http_out,
        peer=lambda tls: Receiver(tls=tls),
        table=lambda peer: {"url": peer.url, "timeout_seconds": TIMEOUT, "connect_timeout_seconds": TIMEOUT},
        message=message_received,
        effects=lambda peer: len(peer.received),
        arm=_every_connection,
        timeout=TIMEOUT,
    ),
    Case(
        name="raw.folder_out",
        module=folder_out,
        peer=lambda tls: FolderPeer(),
        table=lambda peer: {"folder": str(peer.folder)},
        message=message_received,
        effects=lambda peer: len(peer.files()),
        faults=(Fault.CLOSED,),
    ),
]
