"""The webhook channel and the simulated CRM: what only they have between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from hub.adapters.crm import webhook
from hub.adapters.crm.webhook import Settings, WebhookTarget
from hub.codecs.webhook import new_secret
from hub.config import Secret
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused
from hub.simulator.certificates import Authority
from hub.simulator.crm import CrmPeer
from hub.simulator.faults import Fault
from tests.contract.case import patient_updated


@pytest.fixture
def crm() -> Iterator[CrmPeer]:
    with CrmPeer() as peer:
        yield peer


def target(peer: CrmPeer, *secrets: str) -> WebhookTarget:
    return webhook.build(
        Settings.from_table({"url": peer.url, "secrets": [Secret(s) for s in secrets or peer.secrets], "timeout_seconds": 1})
    )


def test_the_crm_gets_the_whole_resource_and_remembers_it_once(crm: CrmPeer) -> None:
    hub = target(crm)
    event = {"type": "patient.updated", "timestamp": "t", "data": {"id": "p1", "version": 4, "name": [{"text": "뷁"}]}}
    for _ in range(3):
        hub.send(patient_updated(1, event=event))
    assert [one.id for one in crm.received] == ["msg_1001"]
    assert crm.counts["duplicate"] == 2
    assert crm.latest["p1"] == event["data"]


def test_a_ping_is_signed_and_is_no_event(crm: CrmPeer) -> None:
    assert target(crm).ping().startswith("HTTP 204 in ")
    assert crm.counts["ping"] == 1
    assert crm.received == []


def test_rotation_old_receiver_new_receiver_both_secrets_sent() -> None:
    old, new = new_secret(), new_secret()
    for knows in (old, new):
        with CrmPeer([knows]) as peer:
            target(peer, new, old).send(patient_updated(1))
            assert len(peer.received) == 1


def test_a_wrong_secret_stops_the_channel_and_nothing_is_taken(crm: CrmPeer) -> None:
    with pytest.raises(Misconfigured) as caught:
        target(crm, new_secret()).send(patient_updated(1))
    assert caught.value.code == "unauthorized"
    assert crm.counts["unauthentic"] == 1
    assert crm.received == []


@pytest.mark.parametrize(
    ("status", "wait", "error", "code"),
    [
        (410, "", Misconfigured, "gone"),
        (307, "", NotDelivered, "redirect"),
        (301, "", NotDelivered, "redirect"),
        (429, "3", NotDelivered, "http_429"),
        (503, "11", NotDelivered, "http_503"),
        (400, "", Refused, "http_400"),
        (404, "", Refused, "http_404"),
    ],
)
def test_a_status_from_the_wire(crm: CrmPeer, status: int, wait: str, error: type[HubError], code: str) -> None:
    crm.status, crm.retry_after = status, wait
    with pytest.raises(error) as caught:
        target(crm).send(patient_updated(1))
    assert caught.value.code == code
    assert caught.value.answer == b'{"title":"as asked"}'
    assert orjson.loads(caught.value.sent)["type"] == "patient.updated"
    if isinstance(caught.value, NotDelivered):
        assert caught.value.retry_after == (float(wait) if wait else None)


def test_a_kept_connection_that_idled_out_is_replaced_without_a_loss(crm: CrmPeer) -> None:
    hub = target(crm)
    for n in range(20):
        crm.misbehave(Fault.CLOSE_AFTER)
        hub.send(patient_updated(n))
        time.sleep(0.02)  # the close has arrived before the next request
    assert len(crm.received) == 20
    assert crm.counts["duplicate"] == 0


def test_messages_go_over_one_kept_connection(crm: CrmPeer) -> None:
    hub = target(crm)
    for n in range(20):
        hub.send(patient_updated(n))
    assert crm.counts["connections"] == 1


def test_tls_connections_are_kept_too(tmp_path: Path) -> None:
    hospital = Authority()
    (tmp_path / "ca.pem").write_bytes(hospital.pem)
    with CrmPeer(tls=hospital.server_context()) as crm:
        table = {"url": crm.url, "secrets": [Secret(crm.secrets[0])], "ca_file": str(tmp_path / "ca.pem")}
        hub = webhook.build(Settings.from_table(table))
        for n in range(10):
            hub.send(patient_updated(n))
        hub.close()
        assert len(crm.received) == 10
        assert crm.counts["connections"] == 1
