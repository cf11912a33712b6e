"""Thousands of billing documents that changed are taken over many pages with flat memory; HUB_DOCUMENTS: how many."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.simulator.http_peer import Request, response
from hub.testing.home import Home
from tests.contract.sap_peer import SapPeer

DOCUMENTS, PAGE = int(os.environ.get("HUB_DOCUMENTS") or 2_500), 250
SET = "A_BillingDocument"


class Billing(SapPeer):
    """As many documents as there are numbers, made when they are asked for, so that the peer's memory is none of the measure."""

    count = 0

    def answer(self, request: Request) -> bytes:
        query = dict(part.split("=", 1) for part in request.target.partition("?")[2].split("&"))
        after = query["%24filter"].rpartition("gt+%27")[2][:10] if "gt+%27" in query.get("%24filter", "") else "9000000000"
        first = int(after) - 9_000_000_000 + 1
        self.requests.append(query)
        numbers = range(first, min(first + int(query["%24top"]), self.count + 1))
        shown: dict[str, Any] = {"results": [_document(n) for n in numbers]}
        return response(200, orjson.dumps({"d": shown}), {"Content-Type": "application/json"})


def _document(n: int) -> dict[str, Any]:
    number = f"{9_000_000_000 + n}"
    line = {
        "BillingDocument": number, "BillingDocumentItem": "10", "Material": "MRI", "NetAmount": "12000",
        "TransactionCurrency": "KRW",
    }  # fmt: skip
    return {
        "BillingDocument": number, "BillingDocumentType": "F2", "SDDocumentCategory": "M", "SoldToParty": f"{500_000 + n % 997}",
        "TotalNetAmount": "12000", "TaxAmount": "0", "TransactionCurrency": "KRW", "BillingDocumentDate": "/Date(1795219200000)/",
        "LastChangeDateTime": f"/Date({1_795_219_200_000 + n}+0000)/", "to_Item": {"results": [line]},
    }  # fmt: skip


@pytest.fixture
def peer() -> Iterator[Billing]:
    made = Billing()
    made.start()
    yield made
    made.stop()


def test_many_documents(tmp_path: Path, peer: Billing) -> None:
    table = {"adapter": "erp.odata_in", "system": "erp", "url": peer.url, "set": SET, "page": PAGE}
    home = Home(tmp_path / "hub", table)
    poller = home.poller()
    peer.count = PAGE * 2  # what every run needs is there before anything is measured
    poller.round()
    tracemalloc.start()  # the database's own pages are not counted: they are mapped
    peer.count, began = DOCUMENTS, time.monotonic()
    while poller.round() == 0.0:
        continue
    seconds, (left, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert home.alerts() == []
    assert len(home.messages()) == DOCUMENTS
    print(f"{DOCUMENTS / seconds:.0f} documents a second, {peak >> 20} MB at most, {left >> 10} KB left")
    assert peak < 20 << 20
    assert left < 4 << 20
    peer.requests.clear()
    poller.round()
    last = DOCUMENTS // 1000  # seconds, of the latest change
    assert f"datetimeoffset%272026-11-21T00%3A00%3A{last:02d}Z%27" in peer.requests[0]["%24filter"]
    poller._close()
    home.hub.close()
