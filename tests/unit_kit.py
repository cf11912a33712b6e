"""Messages out of segments, and the facts that the shipped maps make of them, by kind."""

from __future__ import annotations

from hub.codecs.hl7v2 import Message, parse
from hub.domain.facts import Fact
from hub.mapping import Context, MapSet, load_maps

MAPS = load_maps()
CONTEXT = Context("HOSP", "ocs", "Asia/Seoul", received_at=1_000_000)
PID = "PID|1||00012345||홍^길동||19800131|M"
PV1 = "PV1|1|O|IM^R1^1|||||||IM|||||||||V1"


def message(event: str, *segments: str) -> Message:
    head = f"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090500||{event}|1|P|2.5|||AL|NE|KOR|UNICODE UTF-8"
    return parse("\r".join([head, *segments]).encode())


def made(event: str, *segments: str, maps: MapSet = MAPS) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in maps.map(message(event, *segments), CONTEXT).facts:
        if isinstance(fact, Fact):
            found.setdefault(fact.kind, []).append(fact)
    return found
