"""10,000 answers that no SAP should give, to questions and to changes: none ends the hub, none takes a second, memory stays.

Half are OData JSON bent out of shape inside a sound `$batch` answer, half are `$batch` answers with broken bytes. What comes
of each message is delivered or one of the four errors, and says nothing of a patient. All are read as the adapter reads them,
one in five goes through the adapter itself. Seeded: a failure can be seen again.
"""

from __future__ import annotations

import copy
import random
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from hub.adapters.erp import business_partner
from hub.adapters.erp.partner import Found
from hub.codecs.sap import odata
from hub.codecs.sap import odata_batch as batch
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused, Unreadable
from hub.domain.ports import Delivered
from hub.simulator.erp import ErpPeer
from hub.simulator.http_peer import Request
from hub.transport.http import Answer
from tests.contract.case import CANARIES, NUMBER, patient_updated

MOST = 10_000
TABLE = {
    "url": "http://sap.test/x", "identification_type": "ZMRN", "create": True, "roles": ["FLCU00"],
    "company": {"CompanyCode": "1000"}, "identifications": {"PPN": "FS0002"},
}  # fmt: skip
WEIRD: list[Any] = [
    None, True, 0, -1, 10**18, 1e308, "", "\x00", "뷁" * 500, [], {}, [[]], [None], [{}], {"results": None}, {"results": [1]},
    {"__deferred": {}}, "/Date(99999999999999999)/", "/Date(x)/", {"a": {"b": {"c": {"d": []}}}}, "x" * 20_000,
]  # fmt: skip
SWAPS = [(b"\r\n", b"\n"), (b"HTTP/1.1", b"HTTP/9"), (b"204", b"999"), (b"200", b"404")]
Spoil = Callable[[random.Random, bytes], bytes]


class Bent:
    """In the place of the HTTP client: a simulated SAP in this process, one of whose answers is spoilt."""

    def __init__(self, peer: ErpPeer, chance: random.Random, spoil: Spoil, sound: list[bytes]) -> None:
        self.peer, self.chance, self.spoil = peer, chance, spoil
        self.sound = sound  # gets the first answers as they were
        self.left = chance.randrange(3)  # which answer it is

    def read(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", params: Mapping[str, str] | None = None
    ) -> Answer:
        lower = {name.lower(): value for name, value in headers.items()} | {"cookie": "SAP_SESSIONID=s"}
        raw = self.peer.answer(Request(method, f"{self.peer.path}{path}", lower, body))
        head, _, answered = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if path == "/$batch":
            self.left -= 1
            if len(self.sound) < 60:
                self.sound.append(answered)
            if self.left == -1:
                answered = self.spoil(self.chance, answered)
        return Answer(int(status.split(" ")[1]), found, answered, body)

    def write(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        return self.read(method, path, headers=headers, body=body)


def bend_json(chance: random.Random, body: bytes) -> bytes:
    """Values of the JSON inside are exchanged for what does not belong there; the batch around it stays sound."""
    boundary = body[2 : body.index(b"\r\n")].decode()
    items: list[batch.Answer | list[batch.Answer]] = []
    for item in batch.parse_answers(batch.content_type(boundary), body).items:
        assert item is not None
        bent = [one._replace(body=_bent(chance, one.body)) for one in item]
        items.append(bent[0] if len(bent) == 1 else bent)
    return batch.dump_answers(items, boundary)


def _bent(chance: random.Random, body: bytes) -> bytes:
    if not body:
        return body
    document = orjson.loads(body)
    for _ in range(chance.randint(1, 3)):
        at: Any = document
        while True:
            keys: list[Any] = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(at[key], dict | list) and at[key] and chance.random() < 0.8:
                at = at[key]
                continue
            at[key] = copy.deepcopy(chance.choice(WEIRD))
            break
    return orjson.dumps(document)


def break_bytes(chance: random.Random, body: bytes) -> bytes:
    """Cut, doubled, swapped, flipped; lines lost, boundaries where none belong."""
    made = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        to = min(len(made), at + chance.choice([1, 2, 8, 64, 512]))
        match chance.randrange(6):
            case 0:
                del made[at:]
            case 1:
                del made[at:to]
            case 2:
                made[at:at] = made[at:to] * chance.choice([1, 2, 50])
            case 3:
                made[at:at] = chance.choice([b"\r\n--", b"--\r\n", b"\r\n\r\n", b"\x00\xff", b"Content-Length: 99999999999\r\n"])
            case 4 if at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case _:
                made = made.replace(
                    *chance.choice([(b"\r\n", b"\n"), (b"HTTP/1.1", b"HTTP/9"), (b"204", b"999"), (b"200", b"404")])
                )
    return bytes(made)


@pytest.fixture
def peer() -> ErpPeer:
    """Three partners that the hub's messages are about; one session."""
    made = ErpPeer()
    made._sessions["s"] = "T"
    for n in range(3):
        phone = {"results": [{"PhoneNumber": "010-1111-2222", "PhoneNumberType": "3"}]}
        address = {"results": [{"Country": "KR", "to_MobilePhoneNumber": phone}]}
        made.add_partner(f"{NUMBER}-{n}", LastName="홍", to_BusinessPartnerAddress=address)
    return made


def test_ten_thousand_answers(peer: ErpPeer) -> None:
    chance, kept = random.Random(4), peer.data
    target = business_partner.BusinessPartner(business_partner.Settings.from_table(TABLE))
    target._sap._token = "T"
    sound: list[bytes] = []
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest, came_of = 0.0, {"delivered": 0, "error": 0}
    for number in range(MOST):
        spoil = (bend_json, break_bytes)[number % 2]
        at = time.perf_counter()
        if sound and number % 5:
            read(spoil(chance, chance.choice(sound)))
        else:
            peer.data = _copy(kept)
            target._sap._http = Bent(peer, chance, spoil, sound)  # type: ignore[assignment]
            messages = [patient_updated(n, changed=["telecom.mobile", "name", "address", "identifier"]) for n in (0, 1, 3)]
            for one in target.send_many(messages):
                came_of["delivered" if isinstance(one, Delivered) else "error"] += 1
                assert isinstance(one, Delivered | NotDelivered | OutcomeUnknown | Refused | Misconfigured), repr(one)
                assert not (isinstance(one, HubError) and [canary for canary in CANARIES if canary in str(one)])
        slowest = max(slowest, time.perf_counter() - at)
    assert slowest < 1.0
    assert min(came_of.values()) > 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 200 * 1024


def read(body: bytes) -> None:
    """As the adapter reads it: parts, entities, what is expanded. Unreadable or Misconfigured, and nothing else."""
    try:
        found = batch.parse_answers(batch.content_type(body[2:26].decode("latin-1").partition("\r")[0]), body)
        for reply in [one for item in found.items for one in item or ()]:
            assert odata.error_code(reply.body).isascii()
            for entity in odata.parse_page(reply.body).entities:
                Found.of(entity)
    except (Unreadable, Misconfigured):
        return


def _copy(data: Any) -> Any:
    made = type(data)()
    made.tables = {name: {key: dict(one) for key, one in table.items()} for name, table in data.tables.items()}
    made._numbers = iter(range(2_000_000, 3_000_000))
    return made
