"""Business partners in batches against an SAP system that is not ours (CAP), straight, by the hub's own delivery loop, and
through a proxy that spoils answers."""

from __future__ import annotations

import http.client
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hub.adapters.erp import business_partner
from hub.adapters.erp.business_partner import BusinessPartner
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Delivered, Outbound
from hub.simulator.faults import Fault
from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer
from tests import servers
from tests.contract.case import patient_updated
from tests.hub_kit import Kit, adt, make_kit
from tests.sap_kit import Clerk

PARTNERS = "API_BUSINESS_PARTNER"
ROLES = {"roles": ["FLCU00", "FLCU01"], "company": {"CompanyCode": "1000", "PaymentTerms": "0001"}}
_series = itertools.count(1)
_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class CapProxy(RestPeer):
    """In front of CAP. `halves`: so many answers to changes are passed on only by half, as if that were all."""

    path = "/sap/opu/odata/sap/API_BUSINESS_PARTNER"

    def __init__(self, cap: servers.Cap) -> None:
        super().__init__()
        self.cap, self.faults_at_writes, self.halves = cap, True, 0

    def writes(self, request: Request) -> bool:
        return request.method == "POST" and b"multipart/mixed; boundary=" in request.body

    def answer(self, request: Request) -> bytes:
        upstream = urlsplit(self.cap.url)
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=20)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in (*_HOP, "host")}
            connection.request(request.method, request.target, request.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if self.halves and self.writes(request):
            self.halves -= 1
            body = body[: len(body) // 2]
        return response(answer.status, body, {k: v for k, v in answer.getheaders() if k.lower() not in _HOP})

    def busy(self, _request: object) -> bytes:
        return response(503, b"", {"Retry-After": "7"})


@pytest.fixture
def clerk(cap: servers.Cap) -> Iterator[Clerk]:
    one = Clerk(cap)
    yield one
    one.close()


@pytest.fixture
def proxy(cap: servers.Cap) -> Iterator[CapProxy]:
    with CapProxy(cap) as peer:
        yield peer


@pytest.fixture
def series() -> str:
    """A beginning of patient numbers that nobody else uses at this server."""
    return f"B{next(_series)}"


def target(url: str, **more: Any) -> BusinessPartner:
    table = {"url": url, "identification_type": "ZMRN", "create": True, "timeout_seconds": 20.0, **more}
    return BusinessPartner(business_partner.Settings.from_table(table))


def messages(series: str, count: int, **more: Any) -> list[Outbound]:
    made = [patient_updated(n, **more) for n in range(count)]
    for n, message in enumerate(made):
        message.resource["identifier"][0]["value"] = f"{series}-{n}"
    return made


def delivered(came: list[Delivered | HubError]) -> list[Delivered]:
    assert [one for one in came if isinstance(one, HubError)] == []
    return [one for one in came if isinstance(one, Delivered)]


def partners(clerk: Clerk, series: str) -> list[dict[str, Any]]:
    """By patient number; their phones under "phones"."""
    where = f"BPIdentificationType eq 'ZMRN' and startswith(BPIdentificationNumber,'{series}-')"
    found = clerk.get(f"{PARTNERS}/A_BuPaIdentification", filter=where)["results"]
    expand = "to_BusinessPartnerAddress/to_MobilePhoneNumber,to_BusinessPartnerRole,to_Customer/to_CustomerCompany"
    shown = []
    for one in sorted(found, key=lambda one: int(one["BPIdentificationNumber"].rpartition("-")[2])):
        partner = clerk.get(f"{PARTNERS}/A_BusinessPartner('{one['BusinessPartner']}')", expand=expand)
        addresses = partner["to_BusinessPartnerAddress"]["results"]
        partner["phones"] = [p["PhoneNumber"] for a in addresses for p in a["to_MobilePhoneNumber"]["results"]]
        shown.append(partner)
    return shown


def test_created_changed_and_left_alone(cap: servers.Cap, clerk: Clerk, series: str) -> None:
    sap = target(cap.service(), **ROLES)
    new = messages(series, 8)
    assert [one.detail for one in delivered(sap.send_many(new))] == ["201"] * 8
    same = delivered(sap.send_many(new))
    assert {one.detail for one in same} == {"unchanged"}
    for n, message in enumerate(new):
        message.said = same[n].sent_fields
        message.resource["telecom"][0]["value"] = f"+82105555{n:04}"
    done = delivered(sap.send_many(new))
    assert {one.detail for one in done} <= {"200", "204"}
    found = partners(clerk, series)
    assert [one["phones"] for one in found] == [[f"010-5555-{n:04}"] for n in range(8)]
    assert {(one["LastName"], one["FirstName"]) for one in found} == {("홍", "길동")}
    assert all(len(one["to_Customer"]["to_CustomerCompany"]["results"]) == 1 for one in found)
    assert [one["BusinessPartner"] for one in found] == [one.peer_id for one in done]
    sap.close()


def test_one_that_fails_is_alone_and_a_clerks_change_stays(cap: servers.Cap, clerk: Clerk, series: str) -> None:
    sap = target(cap.service())
    new = messages(series, 4)
    done = delivered(sap.send_many(new))
    reading = sap._sap.ask
    raced: list[bool] = []

    def slower(queries: Any) -> Any:
        answer = reading(queries)
        if not raced:  # after our first read a clerk is faster
            raced.append(True)
            clerk.change(f"{PARTNERS}/A_BusinessPartner('{done[0].peer_id}')", {"SearchTerm1": "VIP", "FirstName": "길순"})
        return answer

    sap._sap.ask = slower  # type: ignore[method-assign]
    for message, first in zip(new, done, strict=True):
        message.peer_id, message.changed = first.peer_id, ["name"]
        message.resource["name"] = [{"text": "남궁민수", "family": "남궁", "given": ["민수"]}]
    new[2].resource["name"] = [{"text": "가" * 41}]
    came = sap.send_many(new)
    assert [type(one).__name__ for one in came] == ["Delivered", "Delivered", "Refused", "Delivered"]
    found = partners(clerk, series)
    assert [one["LastName"] for one in found] == ["남궁", "남궁", "홍", "남궁"]
    assert found[0]["SearchTerm1"] == "VIP"
    sap.close()


def test_a_session_that_is_forgotten_costs_nothing(cap: servers.Cap, clerk: Clerk, series: str) -> None:
    sap = target(cap.service())
    delivered(sap.send_many(messages(series, 3)))
    cap.expire()
    delivered(sap.send_many(messages(series, 6)))
    assert len(partners(clerk, series)) == 6
    sap.close()


def test_a_property_that_this_release_lacks_is_named(cap: servers.Cap, series: str) -> None:
    sap = target(cap.service(), **ROLES | {"company": {"CompanyCode": "1000", "NewInRelease2042": "x"}})
    (came,) = sap.send_many(messages(series, 1))
    assert isinstance(came, Misconfigured)
    assert '"NewInRelease2042"' in str(came)
    sap.close()


@pytest.mark.parametrize("fault", [Fault.ANSWER_CUT, Fault.ANSWER_LOST, Fault.GARBAGE, Fault.HANG_UP, Fault.SILENT, Fault.BUSY])
def test_whatever_happens_to_the_answer_each_stands_once(proxy: CapProxy, clerk: Clerk, series: str, fault: Fault) -> None:
    sap = target(proxy.url, timeout_seconds=3.0)
    sap.ping()
    proxy.misbehave(fault)
    left = messages(series, 12)
    for _ in range(4):
        came = sap.send_many(left)
        left = [message for message, one in zip(left, came, strict=True) if not isinstance(one, Delivered)]
        assert all(isinstance(one, Delivered | NotDelivered | OutcomeUnknown) for one in came)
        if not left:
            break
    assert left == []
    assert [one["phones"] for one in partners(clerk, series)] == [["010-9999-8888"]] * 12
    sap.close()


def test_half_an_answer_is_settled_by_reading(proxy: CapProxy, clerk: Clerk, series: str) -> None:
    sap = target(proxy.url)
    proxy.halves = 1
    assert len(delivered(sap.send_many(messages(series, 12)))) == 12
    assert len(partners(clerk, series)) == 12
    sap.close()


ERP = """
[channels.erp]
adapter = "erp.business_partner"
system = "erp"
url = "{url}"
identification_type = "ZMRN"
create = true
timeout_seconds = 20.0
retry = {{ base_seconds = 0.01, max_seconds = 0.02 }}
"""


@pytest.fixture
def kit(tmp_path: Path, sqlite_url: str, proxy: CapProxy) -> Iterator[Kit]:
    one = make_kit(tmp_path, sqlite_url, more=ERP.format(url=proxy.url))
    sap = one.hub.targets()["erp"].target = target(proxy.url)
    yield one
    one.close()
    sap.close()


def test_the_hub_delivers_all_of_them_once_and_each_patients_last_word(
    kit: Kit, proxy: CapProxy, clerk: Clerk, series: str
) -> None:
    assert kit.hub.targets()["erp"].threads == 100  # as many on their way as batches carry
    for n in range(20):
        kit.receive(
            adt("A28", f"{series}-{n}"), *(adt("A31", f"{series}-{n}", phone=f"010-{i}{i}{i}{i}-{n:04}") for i in range(3))
        )
    kit.apply()
    proxy.halves = 1
    until = time.monotonic() + 25
    while kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'erp'") != [(0,)] and time.monotonic() < until:
        kit.courier.step(kit.leases["out"])
    assert kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'erp'") == [(0,)]
    assert [one["phones"] for one in partners(clerk, series)] == [[f"010-2222-{n:04}"] for n in range(20)]
    verdicts = {verdict for (verdict,) in kit.rows("SELECT verdict FROM attempt WHERE verdict <> 'delivered'")}
    assert verdicts <= {"outcome_unknown"}


def test_an_unknown_partner_is_refused_where_nothing_is_created(cap: servers.Cap, series: str) -> None:
    sap = target(cap.service(), create=False)
    came = sap.send_many(messages(series, 3))
    assert [type(one) for one in came] == [Refused] * 3
    sap.close()
