"""What the core asks of the world outside it, and the world of the core: ports as Protocols, a room each sort.

`adapters` and `db` fulfil them; tests fake them. An adapter, ours or a site's, imports them from here.
"""

from __future__ import annotations

from hub.domain.ports.adapter import KIT, MESSAGE, Described, Difference, Manifest, Pinged
from hub.domain.ports.inbound import Intake, Listener, ListenerHealth, Memory, Recalled, Receipt, Received, Remembering, Verdict
from hub.domain.ports.lookup import Answering, Lookup, Order, Person, Traits, Wanted
from hub.domain.ports.outbound import Delivered, Lines, ManyAtOnce, OfFiles, Outbound, Target
from hub.domain.ports.services import AuditWriter, Clock, FrontOffice, Keys, Operations, Written
from hub.domain.ports.sources import Condition, Feed, Found, Loadable, Loaded, Source

__all__ = [
    "KIT",
    "MESSAGE",
    "Answering",
    "AuditWriter",
    "Clock",
    "Condition",
    "Delivered",
    "Described",
    "Difference",
    "Feed",
    "Found",
    "FrontOffice",
    "Intake",
    "Keys",
    "Lines",
    "Listener",
    "ListenerHealth",
    "Loadable",
    "Loaded",
    "Lookup",
    "Manifest",
    "ManyAtOnce",
    "Memory",
    "OfFiles",
    "Operations",
    "Order",
    "Outbound",
    "Person",
    "Pinged",
    "Recalled",
    "Receipt",
    "Received",
    "Remembering",
    "Source",
    "Target",
    "Traits",
    "Verdict",
    "Wanted",
    "Written",
]
