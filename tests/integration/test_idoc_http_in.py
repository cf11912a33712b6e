"""erp.idoc_http_in: what SAP's XML-HTTP port may post to the hub's own address, by whom, and what it is answered."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from hub.bootstrap import open_hub
from hub.codecs.sap import idoc_xml
from hub.codecs.sap.idoc import Idoc
from hub.config import load
from hub.db.crypt import KeyRing
from hub.simulator.idoc import bill, customer
from hub.testing.home import _empty
from hub.web.app import create_app
from hub.web.serve import web_hub

CONFIG = """[hub]
name = "test hub"
assigner = "HOSP"
[database]
url = "sqlite:///hub.db"
[channels.sap]
adapter = "erp.idoc_http_in"
system = "erp"
tokens = ["sap"]
senders = ["LS/SAPCLNT100"]
number_digits = 8
max_body = 20000
[channels.emr]
adapter = "emr.fhir_in"
system = "emr"
tokens = ["emr"]
"""
XML = {"Content-Type": "text/xml; charset=utf-8"}


class Sap:
    def __init__(self, folder: Path) -> None:
        (folder / "hub.toml").write_text(CONFIG, encoding="utf-8")
        KeyRing.create(folder / "secrets")
        (folder / "hub.db").write_bytes(_empty())
        self.hub = open_hub(load(folder / "hub.toml"))
        web = web_hub(self.hub)
        roles: list[tuple[str, Any]] = [("sap", "sender"), ("emr", "sender"), ("nobody", "sender"), ("crm", "crm")]
        self.secrets = {name: web.access.create_token(name, role, now=0)[1] for name, role in roles}
        self.client = TestClient(create_app(web), raise_server_exceptions=False)

    def post(self, body: bytes, name: str = "sap", **headers: str) -> Any:
        bearer = {"Authorization": f"Bearer {self.secrets[name]}"}
        return self.client.post("/sap/idoc?sap-client=100", content=body, headers={**bearer, **XML, **headers})

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.hub.store.snapshot() as tx:
            return tx.many(sql)

    def apply(self) -> None:
        applier = self.hub.applier()
        with self.hub.store.transaction() as tx:
            lease = tx.take("test", "in", range(self.hub.buckets), 99, 600)
        assert lease is not None
        while applier.step(lease):
            continue


@pytest.fixture
def sap(tmp_path: Path) -> Iterator[Sap]:
    made = Sap(tmp_path)
    yield made
    made.hub.close()


def xml(*idocs: Idoc) -> bytes:
    return idoc_xml.write(list(idocs))


def test_200_says_that_it_is_stored_and_the_same_again_is_known(sap: Sap) -> None:
    packet = xml(customer("0000012345", "1", NAME1="홍길동"), customer("0000054321", "2", NAME1="똠방각하"))
    first = sap.post(packet)
    assert (first.status_code, first.text) == (200, "2 stored\n")
    assert sap.post(packet).status_code == 200
    assert sap.rows("SELECT count(*) FROM message") == [(2,)]
    sap.apply()
    names = "".join(data for (data,) in sap.rows("SELECT data FROM resource WHERE kind = 'Patient'"))
    assert "홍길동" in names
    assert "똠방각하" in names
    assert sap.rows("SELECT DISTINCT actor, channel FROM entry WHERE action = 'message.received'") == [("token:sap", "sap")]
    assert sap.client.get("/sap/idoc", headers={"Authorization": f"Bearer {sap.secrets['sap']}"}).status_code == 200


def test_user_and_password_as_sap_has_them(sap: Sap) -> None:
    def basic(user: str, password: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    body = xml(customer("1", "1", NAME1="뷁"))
    assert sap.post(body, Authorization=basic("sap", sap.secrets["sap"])).status_code == 200
    for wrong in (basic("emr", sap.secrets["sap"]), basic("sap", "x"), basic("", sap.secrets["sap"]), "Basic ???", "Basic", ""):
        answer = sap.post(body, Authorization=wrong)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    api = sap.client.get("/api/v1/channels", headers={"Authorization": basic("crm", sap.secrets["crm"])})
    assert api.status_code == 401  # nowhere else


@pytest.mark.parametrize(("name", "status"), [("crm", 403), ("nobody", 403), ("emr", 403)])
def test_only_the_channel_s_own_token_may_send(sap: Sap, name: str, status: int) -> None:
    assert sap.post(xml(customer("1", "1")), name).status_code == status
    assert sap.rows("SELECT count(*) FROM message") == [(0,)]


def test_a_token_of_idocs_opens_no_other_door(sap: Sap) -> None:
    headers = {"Authorization": f"Bearer {sap.secrets['sap']}", "Content-Type": "application/fhir+json"}
    answer = sap.client.post("/fhir/R4", content=b'{"resourceType":"Bundle"}', headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize(("body", "status", "said"), [
    (b"<DEBMAS07><IDOC>", 400, "no well-formed XML"),
    (b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/hostname'>]><x><IDOC>&a;</IDOC></x>", 400, "EntitiesForbidden"),
    (b"{}", 400, "no well-formed XML"), (b"", 400, "no well-formed XML"),
    (xml(bill("9", "3", "1", "120.00")), 422, "E1EDP26-BETRG"),
])  # fmt: skip
def test_what_cannot_be_taken_is_kept_and_told(sap: Sap, body: bytes, status: int, said: str) -> None:
    answer = sap.post(body)
    if not body:
        assert answer.status_code in (400, 415)
        return
    assert answer.status_code == status
    assert said in answer.text or "DTDForbidden" in answer.text
    assert sap.rows("SELECT state FROM outcome") == [("refused",)]


def test_sap_sends_again_what_is_refused(sap: Sap) -> None:
    """RSEOUT00 in a job: each time the same answer, and the body is kept once."""
    for body, status in ((b"<DEBMAS07><broken" + b" " * 1000, 400), (xml(bill("9", "3", "1", "120.00")), 422)):
        answers = [sap.post(body) for _ in range(30)]
        assert {(one.status_code, one.text) for one in answers} == {(status, answers[0].text)}
    assert sap.rows("SELECT count(*) FROM message") == [(2,)]
    assert sap.post(xml(customer("1", "1", NAME1="x"))).status_code == 200


def test_refused_idocs_do_not_fill_the_disk(sap: Sap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.adapters.erp.idoc_http_in.REFUSED_BYTES", 500)
    answers = [sap.post(b"<DEBMAS07><broken" + b" " * n) for n in range(1000, 1100)]
    assert {one.status_code for one in answers} == {400}
    ((count, size),) = sap.rows("SELECT count(*), max(length(body)) FROM message")
    assert 20 <= count <= 40
    assert size < 600


def test_one_wrong_idoc_of_a_packet_is_told_and_the_others_are_taken(sap: Sap) -> None:
    other = customer("0000000002", "2", NAME1="x")
    other.control["SNDPRN"] = "STRANGER"
    answer = sap.post(xml(customer("0000000001", "1", NAME1="펲시콜라"), other))
    assert answer.status_code == 422
    assert answer.text.startswith("1 of 2 refused; the first: EDI_DC40-SNDPRN")
    assert sap.rows("SELECT count(*) FROM work") == [(1,)]


def test_too_much_too_strange_and_while_the_hub_takes_nothing(sap: Sap, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sap.post(b"<x>" + b" " * 30000 + b"</x>").status_code == 413
    assert sap.post(b"{}", **{"Content-Type": "application/json"}).status_code == 415
    monkeypatch.setattr("hub.bootstrap.doors.why_full", lambda _: "the disk is nearly full")
    full = sap.post(xml(customer("1", "1", NAME1="x")))
    assert (full.status_code, full.headers["Retry-After"]) == (503, "5")
    assert sap.rows("SELECT count(*) FROM message") == [(0,)]
