"""Many patients in one $batch: each answered for itself, whatever happens to the batch, its parts or its answer."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hub.adapters.erp import business_partner
from hub.adapters.erp.business_partner import BusinessPartner
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Delivered, ManyAtOnce, Outbound
from hub.simulator.erp import ErpPeer
from hub.simulator.faults import Fault
from hub.simulator.http_peer import Request
from tests.contract.case import CANARIES, NUMBER, patient_updated

MANY = 12


class WatchedErp(ErpPeer):
    """Remembers every request, and lets a clerk be faster than a change."""

    asked: list[tuple[str, str]]
    clerk: Any = None

    def answer(self, request: Request) -> bytes:
        self.asked.append((request.method, request.target.removeprefix(self.path)))
        if self.clerk is not None and self.writes(request):
            clerk, self.clerk = self.clerk, None
            clerk()
        return super().answer(request)


@pytest.fixture
def erp() -> Iterator[WatchedErp]:
    peer = WatchedErp()
    peer.asked = []
    with peer:
        yield peer


@pytest.fixture
def targets() -> Iterator[list[BusinessPartner]]:
    built: list[BusinessPartner] = []
    yield built
    for target in built:
        target.close()


@pytest.fixture
def build(erp: WatchedErp, targets: list[BusinessPartner]) -> Any:
    def one(**more: Any) -> BusinessPartner:
        table = {"url": erp.url, "identification_type": "ZMRN", "create": True, "timeout_seconds": 3.0, **more}
        targets.append(BusinessPartner(business_partner.Settings.from_table(table)))
        return targets[-1]

    return one


def knows(erp: ErpPeer, count: int = MANY, **more: Any) -> None:
    phone = {"results": [{"PhoneNumber": "010-1111-2222", "PhoneNumberType": "3"}]}
    address = {"results": [{"Country": "KR", "CityName": "대구", "to_MobilePhoneNumber": phone}]}
    for n in range(count):
        erp.add_partner(f"{NUMBER}-{n}", LastName="홍", FirstName="길동", to_BusinessPartnerAddress=address, **more)


def messages(count: int = MANY, **more: Any) -> list[Outbound]:
    return [patient_updated(n, **more) for n in range(count)]


def phones(erp: ErpPeer) -> list[str]:
    return [one["PhoneNumber"] for one in erp.data.tables["A_AddressPhoneNumber"].values()]


def kinds(came: list[Delivered | HubError]) -> list[str]:
    return [type(one).__name__ for one in came]


def test_many_are_read_in_one_batch_and_written_in_one(erp: WatchedErp, build: Any) -> None:
    knows(erp)
    target = build()
    assert isinstance(build(), ManyAtOnce)
    assert kinds(target.send_many(messages())) == ["Delivered"] * MANY
    assert phones(erp) == ["010-9999-8888"] * MANY
    assert erp.asked == [("GET", "/"), *[("POST", "/$batch")] * 3]  # numbers, partners, changes
    erp.asked.clear()
    assert [one.detail for one in target.send_many(messages())] == ["unchanged"] * MANY
    assert erp.asked == [("POST", "/$batch")] * 2


def test_no_value_of_a_patient_stands_in_a_url(erp: WatchedErp, build: Any) -> None:
    build().send_many(messages())
    assert len(erp.received) == MANY
    assert not [canary for canary in CANARIES for _, url in erp.asked if canary in url]


def test_more_than_one_page_and_more_than_one_question(erp: WatchedErp, build: Any) -> None:
    knows(erp, 60)
    erp.page_size = 7
    assert kinds(build(batch=200).send_many(messages(60))) == ["Delivered"] * 60
    assert phones(erp) == ["010-9999-8888"] * 60


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (400, {}, Refused),
        (422, {}, Refused),
        (428, {}, Misconfigured),
        (429, {"Retry-After": "7"}, NotDelivered),
        (503, {"Retry-After": "7"}, NotDelivered),
        (500, {}, OutcomeUnknown),
        (401, {}, Misconfigured),
    ],
)
def test_a_change_set_that_fails_is_alone(erp: WatchedErp, build: Any, status: int, headers: Any, error: Any) -> None:
    knows(erp)
    erp.change_set_answers = [(status, headers)]
    first, *others = build().send_many(messages())
    assert type(first) is error
    assert getattr(first, "retry_after", 7.0) == 7.0
    assert kinds(others) == ["Delivered"] * (MANY - 1)
    assert len(erp.received) == MANY - 1
    assert isinstance(first, HubError)
    assert b"A_BusinessPartner" not in first.sent  # its own body and nothing of the others
    assert first.sent.count(b"010-9999-8888") == 1


@pytest.mark.parametrize("answer", [(412, {}), (404, {}), (409, {}), (403, {"x-csrf-token": "Required"})])
def test_what_is_stale_is_read_again(erp: WatchedErp, build: Any, answer: tuple[int, dict[str, str]]) -> None:
    knows(erp)
    erp.change_set_answers = [answer] * 2
    assert kinds(build().send_many(messages())) == ["Delivered"] * MANY
    assert len(erp.received) == MANY


def test_always_stale_ends(erp: WatchedErp, build: Any) -> None:
    knows(erp, 1)
    erp.change_set_answers = [(412, {})] * 9
    (came,) = build().send_many(messages(1))
    assert isinstance(came, NotDelivered)
    assert came.code == "conflict"
    assert len(erp.change_set_answers) == 6


def test_what_somebody_else_changed_meanwhile_stays(erp: WatchedErp, build: Any) -> None:
    """A real 412: between our read and our write a clerk moves the patient and takes another phone down."""
    knows(erp, 3)

    def clerk() -> None:
        for address in erp.data.tables["A_BusinessPartnerAddress"].values():
            erp.data.change("A_BusinessPartnerAddress", address, {"CityName": "부산"})
        for phone in erp.data.tables["A_AddressPhoneNumber"].values():
            erp.data.change("A_AddressPhoneNumber", phone, {"PhoneNumber": "010-0000-0000"})

    erp.clerk = clerk
    assert kinds(build().send_many(messages(3))) == ["Delivered"] * 3
    assert sorted(phones(erp)) == ["010-0000-0000"] * 3 + ["010-9999-8888"] * 3
    assert [one["CityName"] for one in erp.data.tables["A_BusinessPartnerAddress"].values()] == ["부산"] * 3


def test_a_session_that_ends_between_reading_and_writing_costs_nothing(erp: WatchedErp, build: Any) -> None:
    knows(erp)
    erp.clerk = erp.expire_sessions
    assert kinds(build().send_many(messages())) == ["Delivered"] * MANY
    assert len(erp.received) == MANY


def test_a_change_set_is_done_whole_or_not_at_all(erp: WatchedErp, build: Any) -> None:
    knows(erp, 2)
    changed = ["name", "telecom.mobile", "address"]
    two = messages(2, changed=changed)
    two[0].resource["name"] = [{"text": "뷁"}]
    two[0].resource["address"] = [{"text": "x", "line": ["x"], "city": "x", "postalCode": "1", "country": "KR"}]
    erp.data.gone.add("PostalCode")  # the second of its three changes fails
    first, second = build().send_many(two)
    assert isinstance(first, Misconfigured)
    assert "PostalCode" in str(first)
    assert isinstance(second, Misconfigured)
    assert [one["LastName"] for one in erp.data.tables["A_BusinessPartner"].values()] == ["홍", "홍"]
    assert phones(erp) == ["010-1111-2222"] * 2


def test_half_an_answer_is_settled_by_reading(erp: WatchedErp, build: Any) -> None:
    knows(erp, 6)
    erp.half_batches = 1
    assert kinds(build().send_many(messages())) == ["Delivered"] * MANY  # six changed, six created
    assert len(erp.received) == MANY
    assert sorted(phones(erp)) == ["010-9999-8888"] * MANY


def test_half_an_answer_of_a_batch_that_was_not_done(erp: WatchedErp, build: Any) -> None:
    knows(erp, 6)
    erp.half_batches = 1
    erp.change_set_answers = [(500, {})] * 6
    assert set(kinds(build().send_many(messages(6)))) == {"OutcomeUnknown"}
    assert erp.received == []


def test_a_batch_that_is_refused_whole_is_sent_one_by_one(erp: WatchedErp, build: Any) -> None:
    knows(erp)
    target = build()
    target.ping()
    erp.faults_at_writes = True
    erp.misbehave(Fault.REFUSE)
    assert kinds(target.send_many(messages())) == ["Delivered"] * MANY
    assert len(erp.received) == MANY


def test_a_property_that_vanished_stops_the_channel_and_is_named(erp: WatchedErp, build: Any) -> None:
    erp.data.gone.add("IsSexUnknown")
    came = build().send_many(messages(2))
    assert kinds(came) == ["Misconfigured"] * 2
    assert all('"IsSexUnknown"' in str(one) and "$metadata" in str(one) for one in came)
    assert not [canary for canary in CANARIES if canary in f"{came}"]


@pytest.mark.parametrize("fault", list(Fault))
def test_whatever_happens_each_is_done_once(erp: WatchedErp, build: Any, fault: Fault) -> None:
    """Over lines, as the courier drives them: the fault at the first change, then again what is to be sent again."""
    if fault is Fault.TLS_WRONG:
        return  # said of certificates by the suite itself
    knows(erp, MANY // 2)
    target = build(timeout_seconds=0.4, batch=5)
    erp.faults_at_writes = True
    erp.misbehave(fault)
    lines = target.lines(target.at_once)
    left = {message.message_id: message for message in messages()}
    for message in left.values():
        lines.begin(message)
    until = time.monotonic() + 20
    while left:
        assert time.monotonic() < until
        select.select([lines], [], [], 0.05)
        for message, came in lines.turn():
            if isinstance(came, Delivered):
                del left[message.message_id]
                continue
            assert isinstance(came, NotDelivered | OutcomeUnknown)
            assert not [canary for canary in CANARIES if canary in str(came)]
            erp.behave()
            lines.begin(message)
    lines.close()
    assert len(erp.received) == MANY
    assert sorted(phones(erp)) == ["010-9999-8888"] * MANY


def test_a_new_partner_is_a_customer_with_all_that_is_configured(erp: WatchedErp, build: Any) -> None:
    target = build(
        roles=["FLCU00", "FLCU01"], company={"CompanyCode": "1000", "PaymentTerms": "0001"}, identifications={"PPN": "FS0002"},
        sales_area={"SalesOrganization": "1000", "DistributionChannel": "10", "Division": "00", "Currency": "KRW"},
    )  # fmt: skip
    (message,) = messages(1)
    message.resource["identifier"].append({"assigner": "KOR", "value": "M12345678", "type": "PPN"})
    (came,) = target.send_many([message])
    assert isinstance(came, Delivered)
    tables = erp.data.tables
    assert [key[1] for key in tables["A_BusinessPartnerRole"]] == ["FLCU00", "FLCU01"]
    assert [key[1:] for key in tables["A_BuPaIdentification"]] == [("ZMRN", f"{NUMBER}-0"), ("FS0002", "M12345678")]
    assert list(tables["A_CustomerCompany"]) == [(came.peer_id, "1000")]
    assert list(tables["A_CustomerSalesArea"]) == [(came.peer_id, "1000", "10", "00")]
    message.peer_id = came.peer_id
    tables["A_BusinessPartnerRole"].clear()  # somebody takes the roles away: that is SAP's business
    (again,) = target.send_many([message])
    assert isinstance(again, Delivered)
    assert again.detail == "unchanged"


def test_a_partner_met_for_the_first_time_becomes_a_customer(erp: WatchedErp, build: Any) -> None:
    """The role goes first, because SAP makes the customer of it; what hangs on the customer goes with the next change set."""
    knows(erp, 2)
    came = build(roles=["FLCU00", "FLCU01"], company={"CompanyCode": "1000"}).send_many(messages(2))
    assert [one.detail for one in came if isinstance(one, Delivered)] == ["204,201,201,201"] * 2
    assert len(erp.data.tables["A_CustomerCompany"]) == 2


def test_further_numbers_follow_the_hub(erp: WatchedErp, build: Any) -> None:
    knows(erp, 1)
    target = build(identifications={"PPN": "FS0002"})
    (message,) = messages(1, changed=["identifier"])
    message.resource["identifier"] += [
        {"assigner": "KOR", "value": "M2", "type": "PPN"}, {"assigner": "KOR", "value": "M1", "type": "PPN", "use": "old"},
    ]  # fmt: skip
    partner = next(iter(erp.data.tables["A_BusinessPartner"].values()))
    number = {"BPIdentificationType": "FS0002", "BPIdentificationNumber": "M1"}
    erp.data.create_below("A_BusinessPartner", partner, "to_BuPaIdentification", number)
    assert kinds(target.send_many([message])) == ["Delivered"]
    assert [key[1:] for key in erp.data.tables["A_BuPaIdentification"]] == [("ZMRN", f"{NUMBER}-0"), ("FS0002", "M2")]


@pytest.mark.parametrize(
    ("how", "flag"), [("tell", ""), ("archive", "IsMarkedForArchiving"), ("block", "BusinessPartnerIsBlocked")]
)
def test_a_merge_is_told_and_taken_back(erp: WatchedErp, build: Any, how: str, flag: str) -> None:
    knows(erp, 2)
    target = build(merged=how)
    gone, survivor = (key[0] for key in erp.data.tables["A_BusinessPartner"])
    (message,) = messages(1, type="patient.merged", peer_id=gone, patient_peer_id=survivor)
    message.resource["replacedBy"] = "S"
    assert kinds(target.send_many([message])) == ["Delivered"]
    there = erp.data.tables["A_BusinessPartner"][gone,]
    assert there["SearchTerm2"] == f"MERGED {survivor}"
    assert not flag or there[flag] is True
    assert "SearchTerm2" not in erp.data.tables["A_BusinessPartner"][survivor,]
    (message,) = messages(1, type="patient.unmerged", peer_id=gone)
    assert kinds(target.send_many([message])) == ["Delivered"]
    assert there["SearchTerm2"] == ""
    assert not flag or there[flag] is False
    assert phones(erp)[0] == "010-9999-8888"  # and what he missed meanwhile


def test_a_search_term_of_somebody_else_stays(erp: WatchedErp, build: Any) -> None:
    knows(erp, 1, SearchTerm2="VIP")
    (message,) = messages(1, type="patient.merged")
    message.resource["replacedBy"] = "S"
    (came,) = build().send_many([message])
    assert isinstance(came, Delivered)
    assert came.detail == "unchanged"
    (came,) = build(merged="nothing").send_many([message])
    assert isinstance(came, Delivered)
    assert came.detail.startswith("nothing to do")
    assert erp.received == []


def test_two_messages_may_ask_for_one_partner(erp: WatchedErp, build: Any) -> None:
    """A patient who was merged away before SAP was told of either, and the survivor, by the same number in one batch."""
    knows(erp, 1)
    gone, survivor = patient_updated(0, type="patient.merged"), patient_updated(0)
    gone.resource = {**gone.resource, "replacedBy": "S"}
    assert kinds(build(merged="nothing").send_many([gone, survivor])) == ["Delivered"] * 2
    other = patient_updated(0, message_id=7)
    assert [one.detail for one in build().send_many([survivor, other])] == ["unchanged"] * 2
    assert len(erp.data.tables["A_BusinessPartner"]) == 1
