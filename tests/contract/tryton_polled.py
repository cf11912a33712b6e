"""Tryton's invoices, asked for against the simulated Tryton."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hub.adapters.erp import tryton_in
from hub.simulator.tryton import DATABASE, PASSWORD, USER, TrytonPeer
from hub.testing.case import NAME, NUMBER
from hub.testing.inbound_case import PolledCase


def number(n: int) -> str:
    return f"{NUMBER}-{n}"


def table(peer: TrytonPeer) -> dict[str, Any]:
    """What hub.toml says of it."""
    secret = Path(tempfile.mkdtemp()) / "password"
    secret.touch(0o600)
    secret.write_text(PASSWORD, encoding="utf-8")
    return {
        "url": peer.url,
        "database": DATABASE,
        "user": USER,
        "password": {"file": str(secret)},
        "poll_seconds": 0.05,
        "timeout_seconds": 0.5,
    }


def _tell(peer: TrytonPeer, n: int) -> None:
    peer.bill(peer.add_party(number(n), NAME), 45_000)


CASE = PolledCase(
    name="erp.tryton_in",
    module=tryton_in,
    peer=lambda tls: TrytonPeer(tls=tls),
    table=table,
    tell=_tell,
    number=number,
    system="erp",
)
