"""Tryton beyond what every target and source must do: sessions, other writers, its own ways; its bills as the hub knows them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.erp import tryton, tryton_in
from hub.bootstrap.load import asked
from hub.config import Secret
from hub.domain.errors import Misconfigured, Refused
from hub.domain.ports import Condition, Target
from hub.simulator.http_peer import Request
from hub.simulator.tryton import DATABASE, TrytonPeer
from hub.testing.home import Home
from tests.contract import tryton_polled
from tests.contract.case import CANARIES, NUMBER, patient_updated
from tests.contract.tryton_case import table

KOREAN = ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"]


@pytest.fixture
def peer() -> Iterator[TrytonPeer]:
    with TrytonPeer() as one:
        yield one


def target(peer: TrytonPeer, **more: Any) -> Target:
    return tryton.build(tryton.Settings.from_table({**table(peer), "create": True, "timeout_seconds": 2.0, **more}))


def moved(n: int, **more: Any) -> Any:
    """A patient who moved and changed his phone."""
    record = patient_updated(n).resource
    record["telecom"][0]["value"] = "+821077776666"
    record["address"][0] |= {"city": "부산", "line": ["해운대로 2", "3층"]}
    return patient_updated(n, resource=record, changed=["telecom.mobile", "address"], **more)


@pytest.mark.parametrize("name", KOREAN)
def test_what_was_created_is_what_was_sent(peer: TrytonPeer, name: str) -> None:
    message = patient_updated(1)
    message.resource["name"] = [{"text": name}]
    done = target(peer).send(message)
    party = peer.party(f"{NUMBER}-1")
    assert party is not None
    assert (done.peer_id, party["name"]) == (str(party["id"]), name)
    assert [(one["type"], one["value"]) for one in party["contact_mechanisms."]] == [
        ("mobile", "010-9999-8888"), ("email", "canary@patient.example"),
    ]  # fmt: skip
    (address,) = party["addresses."]
    assert (address["street"], address["city"], address["postal_code"]) == ("테헤란로 1", "카나리아시", "06236")
    assert address["country."]["code"] == "KR"


def test_all_of_a_change_is_one_write(peer: TrytonPeer) -> None:
    out = target(peer)
    done = out.send(patient_updated(1))
    again = out.send(moved(1, peer_id=done.peer_id))
    assert peer.received == [("create", "party.party"), ("write", "party.party")]
    assert set(again.sent_fields) == {"telecom.mobile", "address"}
    party = peer.party(f"{NUMBER}-1")
    assert party is not None
    assert [one["value"] for one in party["contact_mechanisms."]] == ["010-7777-6666", "canary@patient.example"]
    assert party["addresses."][0]["street"] == "해운대로 2\n3층"
    assert out.send(moved(1, peer_id=done.peer_id)).detail == "unchanged"
    assert out.find(moved(1)) is not None
    assert out.find(patient_updated(1)) is None


def test_what_was_taken_away_is_taken_away(peer: TrytonPeer) -> None:
    out = target(peer)
    out.send(patient_updated(1))
    gone = patient_updated(1, changed=["telecom.email"])
    gone.resource["telecom"].pop()
    assert out.send(gone).sent_fields == {"telecom.email": None}
    party = peer.party(f"{NUMBER}-1")
    assert party is not None
    assert [one["type"] for one in party["contact_mechanisms."]] == ["mobile"]


@pytest.mark.parametrize("model", ["party.party", "party.contact_mechanism"])
def test_somebody_writes_in_tryton_at_the_same_time(peer: TrytonPeer, model: str) -> None:
    """Between our read and our write a clerk saves, the party or only his phone: both changes stand."""
    out = target(peer)
    done = out.send(patient_updated(1))
    raced: list[bool] = []
    do = peer._do

    def race(method: str, params: Any) -> Any:
        if method == "model.party.party.write" and not raced:
            raced.append(True)
            if model == "party.party":
                peer.data.write(model, int(done.peer_id or 0), {"name": "홍길동 (개명)"})
            else:
                peer.data.write(model, 1, {"value": "010-0000-0000"})
        return do(method, params)

    peer._do = race  # type: ignore[method-assign]
    out.send(moved(1, peer_id=done.peer_id))
    party = peer.party(f"{NUMBER}-1")
    assert party is not None
    assert party["name"] == ("홍길동 (개명)" if model == "party.party" else "홍길동")
    assert party["contact_mechanisms."][0]["value"] == "010-7777-6666"
    assert peer.received.count(("write", "party.party")) == 1


def test_two_hubs_create_one_party(peer: TrytonPeer) -> None:
    """Two targets that never heard of each other: whoever comes second finds it. At the very same moment Tryton makes two, as it
    keeps no number unique; then every later write is refused as ambiguous."""
    target(peer).send(patient_updated(1))
    assert target(peer).send(patient_updated(1)).detail == "unchanged"
    peer.add_party(f"{NUMBER}-1", "홍길동")
    with pytest.raises(Refused, match="ambiguous"):
        target(peer).send(moved(1))


def test_many_threads_share_one_session(peer: TrytonPeer) -> None:
    out = target(peer)
    threads = [threading.Thread(target=out.send, args=(patient_updated(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(peer.received) == 8
    assert len(peer._sessions) == 1


def test_no_value_of_a_patient_stands_in_a_url_and_no_password_in_an_attempt(peer: TrytonPeer) -> None:
    urls: list[str] = []
    answer = peer.answer

    def watch(request: Request) -> bytes:
        urls.append(request.target)
        return answer(request)

    peer.answer = watch  # type: ignore[method-assign]
    target(peer).send(patient_updated(1))
    assert set(urls) == {f"/{DATABASE}/rpc/"}
    assert not [canary for canary in CANARIES for url in urls if canary in url]
    with pytest.raises(Misconfigured) as caught:
        target(peer, password=Secret("wrong-password")).send(patient_updated(1))
    assert caught.value.sent == b""
    assert "wrong-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"database": "a/b"}, "database"),
        ({"user": "", "password": Secret("")}, "user"),
        ({"database": "another"}, "404"),
        ({"create": False}, "unknown there"),
    ],
)
def test_what_is_wrong_says_what_to_change(peer: TrytonPeer, more: dict[str, Any], says: str) -> None:
    with pytest.raises((Misconfigured, Refused), match=says):
        target(peer, **more).send(patient_updated(1))


# ---- invoices and payments --------------------------------------------------------------------------------------------


@pytest.fixture
def home(peer: TrytonPeer, tmp_path: Path) -> Iterator[Home]:
    channel = {"adapter": "erp.tryton_in", "system": "erp", "assigner": "HOSP", **tryton_polled.table(peer)}
    with Home(tmp_path, channel) as one:
        yield one


def test_a_bill_is_paid(peer: TrytonPeer, home: Home) -> None:
    party = peer.add_party("P0001", "남궁민수")
    invoice = peer.bill(party, 45_000, reference="B-1")
    poller = home.poller()
    poller.round()
    home.apply()
    (known,) = home.resources("Invoice")
    assert (known["status"], known["total"], known["date"]) == ("issued", {"value": "45000", "currency": "KRW"}, "2026-11-22")
    peer.pay(invoice)
    poller.round()
    poller.round()
    home.apply()
    assert home.unapplied() == []
    (known,), (payment,) = home.resources("Invoice"), home.resources("Payment")
    assert known["status"] == "balanced"
    assert (payment["amount"], payment["status"]) == ({"value": "45000", "currency": "KRW"}, "active")
    assert payment["invoice"]["reference"].startswith("Invoice/")
    assert [kind for kind, _ in home.messages()] == ["tryton.invoice", "tryton.invoice", "tryton.payment"]


def test_many_are_read_page_by_page_and_each_is_told_once(peer: TrytonPeer, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryton_in, "PAGE", 3)
    for n in range(10):
        peer.bill(peer.add_party(f"P{n:04}", "홍길동"), n)
    poller = home.poller()
    poller.round()
    assert sorted(number for _, number in home.messages()) == [f"P{n:04}" for n in range(10)]
    poller.round()
    assert len(home.messages()) == 10


def test_what_was_made_and_never_written_is_told(peer: TrytonPeer, home: Home) -> None:
    """Tryton says no time of a write until there is one; then the bill is told again if it is another."""
    first, second = (peer.bill(peer.add_party(f"P{n}", "홍길동"), 1000) for n in range(2))
    assert [peer.data.records["account.invoice"][one]["write_date"] for one in (first, second)] == [None, None]
    poller = home.poller()
    poller.round()
    assert [number for _, number in home.messages()] == ["P0", "P1"]
    peer.data.write("account.invoice", second, {"reference": "B-2"})
    peer.bill(peer.add_party("P2", "홍길동"), 1000)
    poller.round()
    poller.round()
    assert [number for _, number in home.messages()] == ["P0", "P1", "P1", "P2"]


def test_pages_of_bills_of_one_moment(peer: TrytonPeer, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryton_in, "PAGE", 2)
    bills = [peer.bill(peer.add_party(f"P{n}", "홍길동"), 1000) for n in range(10)]
    at = peer.data.records["account.invoice"][bills[-1]]["create_date"]
    for n, bill in enumerate(bills):  # one transaction, one time; half of them written since, in one again
        peer.data.records["account.invoice"][bill] |= {"create_date": at, "write_date": at if n % 2 else None}
    home.poller().round()
    assert sorted(number for _, number in home.messages()) == [f"P{n}" for n in range(10)]


def test_a_party_without_a_patient_number_makes_no_invoice(peer: TrytonPeer, home: Home) -> None:
    peer.bill(peer.data.create("party.party", {"name": "의료기기상사"}), 1_000_000)
    home.poller().round()
    home.apply()
    assert home.resources("Invoice") == []
    assert home.resources("Patient") == []


def test_all_is_loaded_and_one_is_asked_for(peer: TrytonPeer, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryton_in, "PAGE", 3)
    for n in range(7):
        invoice = peer.bill(peer.add_party(f"P{n:04}", "홍길동"), 1000 * n)
    with asked(home.hub, "channel", "invoice") as one:
        assert one.source.total("Invoice", []) == 7
        assert one.source.total("Invoice", [Condition("total_amount", ">=", "5000")]) == 2
        blocks = list(one.source.load(one.feed, "Invoice", [], ""))
        assert [(block.read, block.told) for block in blocks] == [(3, 3), (3, 3), (1, 1)]
        assert sum(block.told for block in one.source.load(one.feed, "Invoice", [], blocks[0].place)) == 0  # all are known
        peer.pay(invoice)
        assert one.source.request(one.feed, "Invoice", f"account.invoice,{invoice}", ["record"]) == 1
        assert one.source.request(one.feed, "Invoice", "999", ["record"]) == 0
        for wrong in ([Condition("nonsense", "=", "1")], [Condition("invoice_date", "=", "yesterday")]):
            with pytest.raises(Misconfigured):
                one.source.total("Invoice", wrong)
    home.apply()
    assert sorted(bill["status"] for bill in home.resources("Invoice")) == ["balanced", *["issued"] * 6]
