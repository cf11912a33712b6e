"""Entities and descriptions that nobody would send, made at random from real shapes, and what becomes of each: read, refused,
or a channel that stops with a reason. Nothing else may come of them, and nothing may take long."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from hub.adapters.erp.odata_in_rows import Rows
from hub.adapters.erp.odata_in_sets import KNOWN
from hub.adapters.erp.odata_in_wants import wants
from hub.codecs.sap import edmx, edmx_wanted, odata, odata_feed
from hub.domain.errors import Misconfigured, Unmappable, Unreadable
from hub.mapping import Context, MapSet, load_maps
from hub.sync.polled import read_row, row_body

SECONDS = 1.0  # the most that one of them may take
CONTEXT = Context("HOSP", "erp", "Asia/Seoul", 1_000)

ODD: tuple[Any, ...] = (
    None, "", " ", "\x00", "\x1e", "뷁" * 40, "\ud7ff\u200b", "'", '"', "<a>", "&amp;", "0" * 40, "9" * 40, "-1", "1e400", "NaN",
    -1, 0, 2**70, 1.5, 1e308, True, False, [], {}, [[]], [{}], [None], {"results": []}, {"results": None}, {"results": [None]},
    {"results": [{}]}, {"__deferred": {"uri": "x"}}, "/Date(1)/", "/Date(-62135769600000)/", "/Date(253402214400000)/",
    "/Date(99999999999999999)/", "/Date(1+9999)/", "/Date()/", "PT9H", "PT99H99M99S", "120.00-", "1,2", "KRW", "S", "H", "N",
)  # fmt: skip


def spoiled(value: Any, dice: random.Random, depth: int = 0) -> Any:
    """A copy in which some things are something else."""
    if dice.random() < 0.06:
        return dice.choice(ODD)
    if depth > 40:
        return value
    if isinstance(value, dict):
        made = {name: spoiled(one, dice, depth + 1) for name, one in value.items() if dice.random() > 0.03}
        if dice.random() < 0.03:
            made[dice.choice(("__metadata", "to_Item", "hub_amounts", "hub_patient", "x" * 200))] = dice.choice(ODD)
        return made
    if isinstance(value, list):
        made_list = [spoiled(one, dice, depth + 1) for one in value]
        return made_list * dice.choice((1, 1, 1, 2, 30)) if dice.random() < 0.1 else made_list
    if isinstance(value, str) and value and dice.random() < 0.1:
        at = dice.randrange(len(value))
        return value[:at] + dice.choice(("", "\x00", "뷁", "'", "9" * 50)) + value[at:]
    return value


def nested(depth: int) -> dict[str, Any]:
    """An entity in an entity, and so on."""
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"to_BusinessPartnerAddress": {"results": [made]}}
    return made


def damaged(data: bytes, dice: random.Random) -> bytes:
    """A document with a piece of it gone, twice, or other bytes."""
    at, size = dice.randrange(len(data)), dice.randrange(1, 200)
    piece = data[at : at + size]
    match dice.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + size :]
        case 2:
            return data[:at] + piece * dice.randrange(2, 50) + data[at:]
        case 3:
            return data[:at] + dice.randbytes(size) + data[at + size :]
        case 4:
            return data.replace(dice.choice((b"Edm.String", b"Type=", b"Name=", b'"', b"<Property ", b"MaxLength=")), b"", size)
    laughs = b"".join(b'<!ENTITY l%d "%s">' % (n + 1, b"&l%d;" % n * 10) for n in range(9))
    entities = dice.choice((b'<!ENTITY l9 SYSTEM "file:///etc/passwd">', b'<!ENTITY l0 "ha">' + laughs))
    head, mark, rest = data.partition(b"?>")
    where = rest.index(b"<EntityType")
    return head + mark + b"<!DOCTYPE a [" + entities + b"]>" + rest[:where] + b"&l9;" + rest[where:]


ADDRESS = {
    "AddressID": "7", "CityName": "서울", "Country": "KR", "to_AddressUsage": {"results": [{"AddressUsage": "XXDEFAULT"}]},
    "to_MobilePhoneNumber": {"results": [{"PhoneNumber": "010-1234-5678", "IsDefaultPhoneNumber": True}]},
    "to_PhoneNumber": {"results": []}, "to_EmailAddress": {"results": [{"EmailAddress": "a@b.kr"}]},
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "A_BusinessPartner": {
        "__metadata": {"etag": "W/1"}, "BusinessPartner": "1000001", "LastName": "남궁", "FirstName": "민수", "IsMale": True,
        "BirthDate": "/Date(547084800000)/", "LastChangeDate": "/Date(1795219200000)/", "LastChangeTime": "PT9H0M0S",
        "to_BusinessPartnerAddress": {"results": [ADDRESS]}, "to_BusinessPartnerRole": {"results": []}, "to_Customer": None,
        "to_BuPaIdentification": {"results": [{"BPIdentificationType": "ZMRN", "BPIdentificationNumber": "00012345"}]},
    },
    "A_BillingDocument": {
        "BillingDocument": "90000001", "SDDocumentCategory": "M", "TotalNetAmount": "12000", "TaxAmount": "0",
        "TransactionCurrency": "KRW", "SoldToParty": "500001", "LastChangeDateTime": "/Date(1795219200000+0000)/",
        "to_Item": {"results": [{"BillingDocument": "90000001", "BillingDocumentItem": "10", "NetAmount": "12000"}]},
    },
    "A_OperationalAcctgDocItemCube": {
        "CompanyCode": "1000", "FiscalYear": "2026", "AccountingDocument": "1400000001", "AccountingDocumentItem": "1",
        "AccountingDocumentType": "DZ", "DebitCreditCode": "H", "AmountInTransactionCurrency": "-12000", "Customer": "500001",
        "TransactionCurrency": "KRW", "PostingDate": "/Date(1795219200000)/", "LastChangeDate": None,
    },
}  # fmt: skip


def entities(count: int, seed: int) -> Counter[str]:
    """As a poll has them: a page, rows, messages, the map. How many ended how."""
    dice, maps, ends = random.Random(seed), load_maps(), Counter[str]()
    for n in range(count):
        name = list(SHAPES)[n % len(SHAPES)]
        entity = nested(dice.randrange(1, 400)) if n % 97 == 0 else spoiled(SHAPES[name], dice)
        began = time.process_time()
        ends[_entity(name, {"d": {"results": [entity]}}, maps, dice)] += 1
        assert time.process_time() - began < SECONDS
    return ends


def _entity(name: str, page: dict[str, Any], maps: MapSet, dice: random.Random) -> str:
    shape = KNOWN[name]
    rows = Rows(shape, "ZMRN", dice.choice(("external", "internal")))
    try:
        body = orjson.dumps(page, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # too deep, or no JSON at all: nobody can send it
        return "no JSON"
    try:
        for entity in odata.parse_page(body).entities:
            found = rows.found(entity)
            odata_feed.changed_at(entity, shape.stamp)
            odata_feed.changed_on(entity, shape.days, shape.clocks)
            if found.refused is not None:
                return "refused"
            event, row = read_row(row_body(name, found.row))
            maps.row_patient(event, row, CONTEXT)
            maps.map_row(event, row, CONTEXT)
    except (Unreadable, Misconfigured, Unmappable) as error:
        return type(error).__name__
    return "mapped"


def descriptions(count: int, seed: int, base: bytes, canary: Path) -> Counter[str]:
    """As hub check has them: read, and compared with what a channel needs. `canary`: a file that no document may show."""
    dice, ends = random.Random(seed), Counter[str]()
    needed = wants("A_BusinessPartner", KNOWN["A_BusinessPartner"])
    secret = canary.read_text()
    for _ in range(count):
        data = damaged(base, dice).replace(b"/etc/passwd", str(canary).encode())
        began = time.process_time()
        try:
            found = edmx_wanted.compare(edmx.read(data), needed, "do without")
            assert secret not in repr(found)
            ends["compared"] += 1
        except Unreadable as error:
            ends[error.code if secret not in str(error) else "told"] += 1
        assert time.process_time() - began < SECONDS
    return ends
