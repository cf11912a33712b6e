"""Who may speak to a DICOM listener: AE titles, and the networks that each may come from (hub/transport/dicom_scp.py, Names)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from hub.adapters.settings import wrong
from hub.transport.dicom_scu import is_title


def check(ae_title: str, peers: Mapping[str, str]) -> None:
    """For `__post_init__` of settings with these two keys. `peers`: AE title -> networks, "" any; "*" is every title."""
    if not peers:
        raise wrong("peers is empty: nobody could ask or send", 'write peers = { CT1 = "10.1.2.3" }')
    for title in (ae_title, *peers):
        if title != "*" and not is_title(title):
            raise wrong(f'"{title}" is no AE title', "write 1 to 16 ASCII characters without backslash")
    for title, networks in peers.items():
        _check_networks(title, networks)


def _check_networks(title: str, networks: str) -> None:
    for one in networks.split(",") if networks else ():
        try:
            ipaddress.ip_network(one.strip(), strict=False)
        except ValueError:
            raise wrong(f"the address of {title} in peers is none", 'write "10.1.2.3", "10.1.2.0/24", or "" for any') from None
