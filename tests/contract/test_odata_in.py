"""How SAP's entities are asked for: pages by key, the bound of changes, restarts, what is gone, and services that are odd."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from hub.adapters.erp import odata_in
from hub.bootstrap import channels
from hub.domain.errors import Misconfigured
from hub.domain.ports import Condition
from hub.testing.home import Home
from tests.contract.erp_in_cases import CASE, KEY, SET, day, number, partner
from tests.contract.sap_peer import SapPeer

CUBE = "A_OperationalAcctgDocItemCube"
ITEM = ("CompanyCode", "FiscalYear", "AccountingDocument", "AccountingDocumentItem")


@pytest.fixture
def peer() -> Iterator[SapPeer]:
    made = SapPeer()
    made.keys[SET], made.sets[SET] = KEY, {}
    made.start()
    yield made
    made.stop()


class Bench:
    """A hub with the channel, polled by hand."""

    def __init__(self, folder: Path, peer: SapPeer, **more: Any) -> None:
        self.home = Home(folder, CASE.channel(peer, **more))
        self.poller = self.home.poller()

    def poll(self) -> str:
        self.poller.round()
        return "; ".join(self.home.alerts())

    def numbers(self) -> list[str]:
        return [patient for _, patient in self.home.messages()]

    def close(self) -> None:
        self.poller._close()
        self.home.hub.close()


def filters(peer: SapPeer) -> list[str]:
    return [one.get("$filter", "") for one in peer.requests]


def test_pages_go_by_key_and_a_pass_that_was_interrupted_goes_on(peer: SapPeer, tmp_path: Path) -> None:
    for n in range(1, 8):
        peer.put(SET, KEY, partner(n))
    bench = Bench(tmp_path / "hub", peer)
    stop = iter([False, True])
    bench.poller._feed.ending = lambda: next(stop, False)
    assert bench.poll() == ""
    assert bench.numbers() == [number(n) for n in range(1, 7)]  # two pages of three
    bench.close()
    peer.requests.clear()
    again = Bench(tmp_path / "hub", peer)
    assert again.poll() == ""
    assert again.numbers() == [number(n) for n in range(1, 8)]
    assert filters(peer) == ["BusinessPartnerCategory eq '1' and BusinessPartner gt '1000006'"]
    again.close()


def test_only_what_changed_is_asked_for_and_what_did_not_change_is_no_message(peer: SapPeer, tmp_path: Path) -> None:
    for n in range(1, 4):
        peer.put(SET, KEY, partner(n))
    bench = Bench(tmp_path / "hub", peer, overlap_seconds=0)
    bench.poll()
    peer.put(SET, KEY, partner(2, "2026-11-21", "PT09H00M01S", LastName="남궁"))
    peer.requests.clear()
    bench.poll()
    bench.poll()
    assert bench.numbers() == [number(1), number(2), number(3), number(2)]
    midnight = "datetime'2026-11-21T00:00:00'"
    for asked, second in ((filters(peer)[0], "00S"), (filters(peer)[-1], "01S")):
        clock = f"time'PT09H00M{second}'"
        either = [
            f"({n}Date gt {midnight} or ({n}Date eq {midnight} and {n}Time ge {clock}))" for n in ("LastChange", "Creation")
        ]
        assert asked == f"BusinessPartnerCategory eq '1' and ({' or '.join(either)})"
    bench.close()


def test_a_site_keeps_out_who_is_no_patient_by_the_range_of_his_number(peer: SapPeer, tmp_path: Path) -> None:
    """As docs/erp-sap-in.md shows it: what the channel does not ask for makes nobody."""
    for n in range(1, 8):
        peer.put(SET, KEY, partner(n))
    bench = Bench(tmp_path / "hub", peer, where="BusinessPartner ge '1000003' and BusinessPartner lt '1000005'")
    assert bench.poll() == ""
    assert bench.numbers() == [number(3), number(4)]
    bench.close()


def test_a_change_that_commits_late_is_within_the_overlap(peer: SapPeer, tmp_path: Path) -> None:
    def minutes_ago(minutes: int) -> tuple[str, str]:
        at = datetime.now(ZoneInfo("Asia/Seoul")) - timedelta(minutes=minutes)
        return at.strftime("%Y-%m-%d"), at.strftime("PT%HH%MM%SS")

    peer.put(SET, KEY, partner(1, *minutes_ago(1)))
    bench = Bench(tmp_path / "hub", peer, overlap_seconds=600)
    bench.poll()
    bench.poll()
    peer.put(SET, KEY, partner(2, *minutes_ago(4)))
    bench.poll()
    assert bench.numbers() == [number(1), number(2)]
    bench.close()


def test_what_changes_behind_a_pass_that_takes_days_belongs_to_the_next(peer: SapPeer, tmp_path: Path) -> None:
    """A first pass over all partners that stood still for a long weekend, in its middle."""

    def days_ago(days: int) -> str:
        return (datetime.now(ZoneInfo("Asia/Seoul")) - timedelta(days=days)).strftime("%Y-%m-%d")

    for n in range(1, 8):
        peer.put(SET, KEY, partner(n, days_ago(9)))
    bench = Bench(tmp_path / "hub", peer, overlap_seconds=0)
    bench.poller._feed.ending = lambda: True
    bench.poll()
    assert bench.numbers() == [number(1), number(2), number(3)]
    place = orjson.loads(bench.poller._feed.place("changes"))
    place["began"] -= 5 * 86_400_000_000
    bench.poller._feed.keep("changes", orjson.dumps(place).decode())
    bench.close()
    peer.put(SET, KEY, partner(1, days_ago(3), LastName="남궁"))
    peer.put(SET, KEY, partner(6, days_ago(2)))
    again = Bench(tmp_path / "hub", peer, overlap_seconds=0)
    again.poll()
    assert again.numbers()[3:] == [number(n) for n in range(4, 8)]
    again.poll()
    assert again.numbers()[7:] == [number(1)]
    again.close()


def test_a_date_that_never_comes_hides_nothing(peer: SapPeer, tmp_path: Path) -> None:
    peer.put(SET, KEY, partner(1, "2026-11-21") | {"LastChangeDate": "/Date(253402214400000)/"})
    peer.put(SET, KEY, partner(2, "2026-11-21") | {"LastChangeDate": day("2400-01-01")})
    peer.put(SET, KEY, partner(3) | {"LastChangeDate": None, "LastChangeTime": None})
    bench = Bench(tmp_path / "hub", peer, overlap_seconds=0)
    bench.poll()
    bench.poll()
    place = bench.poller._feed.place("changes")
    assert '"low":"2400' not in place
    assert '"low":"9999' not in place
    assert sorted(bench.numbers()) == [number(1), number(2), number(3)]
    bench.close()


def test_the_standard_address_and_the_default_phone_come_first(peer: SapPeer, tmp_path: Path) -> None:
    def phone(value: str, default: bool) -> dict[str, Any]:
        return {"PhoneNumber": value, "IsDefaultPhoneNumber": default, "DestinationLocationCountry": "KR"}

    def address(n: str, city: str, usage: str) -> dict[str, Any]:
        mobiles = [phone(f"010-0000-000{n}", False), phone(f"010-9999-999{n}", True)]
        return {
            "AddressID": n, "CityName": city, "Country": "KR", "to_MobilePhoneNumber": {"results": mobiles},
            "to_AddressUsage": {"results": [{"AddressUsage": usage}]},
        }  # fmt: skip

    peer.put(SET, KEY, partner(1, to_BusinessPartnerAddress=[address("1", "부산", "SHIP"), address("2", "서울", "XXDEFAULT")]))
    bench = Bench(tmp_path / "hub", peer)
    bench.poll()
    bench.home.apply()
    [patient] = bench.home.resources("Patient")
    assert patient["address"][0]["city"] == "서울"
    assert [one["value"] for one in patient["telecom"]] == ["+821099999992"]
    bench.close()


def test_two_patient_numbers_of_one_partner_are_refused_and_hold_nobody_up(peer: SapPeer, tmp_path: Path) -> None:
    two = [{"BPIdentificationType": "ZMRN", "BPIdentificationNumber": one} for one in ("1", "2")]
    peer.put(SET, KEY, partner(1, to_BuPaIdentification=two))
    peer.put(SET, KEY, partner(2))
    bench = Bench(tmp_path / "hub", peer)
    assert bench.poll() == ""
    assert bench.numbers() == [number(2)]
    assert bench.home.unapplied() == ["2 identification numbers of type ZMRN: which is the patient's?"]
    bench.close()


@pytest.mark.parametrize(
    ("forgets", "says"),
    [({"$filter"}, "does not filter by BusinessPartner"), ({"$orderby"}, "does not sort A_BusinessPartner")],
)
def test_a_service_that_ignores_what_it_is_asked_is_not_read_for_ever(
    peer: SapPeer, tmp_path: Path, forgets: set[str], says: str
) -> None:
    peer.forgets = frozenset(forgets)
    for n in (3, 2, 1, 5, 4):
        peer.put(SET, KEY, partner(n))
    bench = Bench(tmp_path / "hub", peer)
    assert says in bench.poll()
    assert len(peer.requests) <= 3
    bench.close()


def test_a_service_that_does_not_expand_or_has_other_keys_stops_the_channel(peer: SapPeer, tmp_path: Path) -> None:
    peer.put(SET, KEY, partner(1))
    bench = Bench(tmp_path / "hub", peer, expand=["to_BusinessPartnerAddress", "to_Nothing"])
    assert "does not expand to_Nothing" in bench.poll()
    bench.close()
    peer.forgets = frozenset({"$orderby"})
    other = Bench(tmp_path / "other", peer, key=["Number"])
    assert "without its key Number" in other.poll()
    other.close()


def test_a_changed_metadata_is_said_clearly(peer: SapPeer, tmp_path: Path) -> None:
    peer.put(SET, KEY, partner(1))
    peer.properties = {SET: {"BusinessPartner", "LastName"}}
    bench = Bench(tmp_path / "hub", peer, select=["BusinessPartner", "LastName", "NoMore"])
    said = bench.poll()
    assert "hub check --ping names what is missing" in said
    assert bench.numbers() == []
    bench.close()


def test_an_answer_that_is_too_large_is_asked_for_in_smaller_pages(
    peer: SapPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(1, 13):
        peer.put(SET, KEY, partner(n))
    monkeypatch.setattr("hub.transport.http.LARGEST_ANSWER", 3_000)
    bench = Bench(tmp_path / "hub", peer, page=10)
    assert bench.poll() == ""
    assert bench.numbers() == [number(n) for n in range(1, 13)]
    assert {one["$top"] for one in peer.requests} == {"10", "2"}
    bench.close()


def test_what_is_gone_is_remembered_and_comes_again_when_it_is_back(peer: SapPeer, tmp_path: Path) -> None:
    for n in range(1, 4):
        peer.put(SET, KEY, partner(n))
    bench = Bench(tmp_path / "hub", peer, compare_seconds=1)
    bench.poll()
    assert any(one.get("$select") == "BusinessPartner" for one in peer.requests)
    del peer.sets[SET]["1000002",]
    bench.poller._feed.keep("compared", "1")
    bench.poll()
    peer.put(SET, KEY, partner(2))
    bench.poll()
    assert bench.numbers() == [number(1), number(2), number(3), number(2)]
    bench.close()


def test_a_set_that_is_nearly_empty_at_once_is_taken_for_a_mistake(peer: SapPeer, tmp_path: Path) -> None:
    for n in range(1, 31):
        peer.put(SET, KEY, partner(n))
    bench = Bench(tmp_path / "hub", peer, compare_seconds=1)
    bench.poll()
    peer.sets[SET].clear()
    bench.poller._feed.keep("compared", "1")
    assert "30 of 30 entities are gone at once" in bench.poll()
    bench.close()


def line(n: int, **more: Any) -> dict[str, Any]:
    entity = {
        "CompanyCode": "1000", "FiscalYear": "2026", "AccountingDocument": f"14{n:08d}", "AccountingDocumentItem": "1",
        "AccountingDocumentType": "DZ", "FinancialAccountType": "D", "Customer": "500001", "DebitCreditCode": "H",
        "AmountInTransactionCurrency": "-12000", "TransactionCurrency": "KRW", "PostingDate": day("2026-11-20"),
        "LastChangeDate": None, "AccountingDocumentCreationDate": day("2026-11-20"), "ClearingCreationDate": None,
    }  # fmt: skip
    return entity | more


def test_keys_of_several_parts_and_the_latest_of_several_days(peer: SapPeer, tmp_path: Path) -> None:
    for n in range(1, 6):
        peer.put(CUBE, ITEM, line(n))
    bench = Bench(tmp_path / "hub", peer, set=CUBE, overlap_seconds=0)
    assert bench.poll() == ""
    bench.poll()
    peer.requests.clear()
    peer.put(CUBE, ITEM, line(2, ClearingCreationDate=day("2026-11-21"), ClearingAccountingDocument="1400000002"))
    bench.poll()
    assert len(bench.home.messages()) == 6
    columns = ("LastChangeDate", "AccountingDocumentCreationDate", "ClearingCreationDate")
    days = [f"{name} ge datetime'2026-11-20T00:00:00'" for name in columns]
    assert filters(peer)[0] == f"FinancialAccountType eq 'D' and ({' or '.join(days)})"
    year, document = "CompanyCode eq '1000' and FiscalYear", "AccountingDocument"
    assert filters(peer)[1].endswith(
        f" and (CompanyCode gt '1000' or ({year} gt '2026') or ({year} eq '2026' and {document} gt '1400000003') or "
        f"({year} eq '2026' and {document} eq '1400000003' and {document}Item gt '1'))"
    )
    assert "ClearingDate" in peer.requests[0]["$select"]
    bench.home.apply()
    assert {one["amount"]["value"] for one in bench.home.resources("Payment")} == {"12000"}
    bench.close()


def test_the_internal_form_is_a_setting_of_the_channel(peer: SapPeer, tmp_path: Path) -> None:
    peer.put(CUBE, ITEM, line(1, AmountInTransactionCurrency="-120.00"))
    bench = Bench(tmp_path / "hub", peer, set=CUBE, amounts="internal")
    bench.poll()
    bench.home.apply()
    [payment] = bench.home.resources("Payment")
    assert payment["amount"] == {"value": "12000", "currency": "KRW"}
    bench.close()


def test_a_load_reads_all_from_where_another_stopped_and_says_nothing_twice(peer: SapPeer, tmp_path: Path) -> None:
    for n in range(1, 8):
        peer.put(SET, KEY, partner(n))
    bench = Bench(tmp_path / "hub", peer)
    source = channels.build_source(bench.home.channel)
    assert isinstance(source, odata_in.ODataIn)
    assert source.total("Patient", [Condition("BusinessPartner", ">", "1000002")]) == 5
    feed = bench.poller._feed
    feed.looking()
    first = next(iter(source.load(feed, "Patient", [], "")))
    assert (first.read, first.told) == (3, 3)
    rest = list(source.load(feed, "Patient", [Condition("LastChangeDate", ">=", "2026-11-01")], first.place))
    assert sum(one.read for one in rest) == 4
    assert bench.numbers() == [number(n) for n in range(1, 8)]
    assert source.request(feed, "Patient", "1000003", ("BusinessPartner",)) == 1
    assert source.request(feed, "Patient", "1000099", ("BusinessPartner",)) == 0
    for wrong in (Condition("Last Name", "=", "x"), Condition("LastName' or 1 eq 1", "=", "x"), Condition("LastName", "~", "x")):
        with pytest.raises(Misconfigured):
            source.total("Patient", [wrong])
    source.total("Patient", [Condition("LastName", "=", "O'Brien")])
    assert peer.requests[-1]["$filter"] == "BusinessPartnerCategory eq '1' and LastName eq 'O''Brien'"
    source.close()
    bench.close()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"set": "no set"}, "entity set"),
        ({"set": "Z_OWN"}, '"key" is missing'),
        ({"identification_type": ""}, "identification_type"),
        ({"identification_type": "TOOLONG"}, "identification_type"),
        ({"changed_at": "A", "changed_on": ["B"]}, "beside"),
        ({"changed_time": ["A"]}, "changed_time"),
        ({"since": "yesterday"}, '"since" is no day'),
        ({"select": ["a b"]}, '"select" names no properties'),
        ({"sap_client": "1"}, "sap_client"),
    ],
)
def test_settings_that_cannot_be_are_said_at_once(more: dict[str, Any], says: str) -> None:
    table = {"url": "https://sap.example", "set": SET, "identification_type": "ZMRN", **more}
    with pytest.raises(Misconfigured, match=says):
        odata_in.Settings.from_table(table)
