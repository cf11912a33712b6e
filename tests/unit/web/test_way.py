"""A patient's way across the systems and a channel's peer: what the views find, what the pages show, that neither grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert
from starlette.testclient import TestClient

from hub.db import tables as t
from hub.db.views import peer, steps
from hub.web import story
from hub.web.app import WebHub
from hub.web.console import way
from hub.web.context import ChannelInfo
from tests import web_kit
from tests.web_kit import BOOKING, HONG, NAMGUNG, NOW, SECOND

PACS = ChannelInfo("pacs-in", "pacs", "pacs.dicom_in", "in", settings={"port": "11112", "ae_title": "HUB"})
STUDY = "01900000-0000-7000-8000-000000000555"


@pytest.fixture
def imaged(engine: Engine) -> Engine:
    """A study that the PACS told of, of which the CRM heard in 0.25 s and the EMR waits; and a write of the front office."""
    with engine.begin() as conn:
        web_kit.add_message(conn, 800, "pacs-in", "in", "dicom.study", outcome="applied", lane="HOSP|00012345")
        study = {"modality": ["CT"], "status": "available", "started": "2026-11-22T10:00:00+09:00"}
        change = web_kit.add_change(
            conn, "imagingstudy.created", "ImagingStudy", STUDY, HONG, 1, ["status"], study, 800, "pacs-in"
        )
        out = {"change_id": change, "resource_id": STUDY, "cause": 800}
        web_kit.add_message(conn, 801, "crm-out", "out", "imagingstudy.created", state="done", **out)
        conn.execute(t.work.delete().where(t.work.c.message_id == 801))
        at = NOW - 200 * SECOND + 250_000
        conn.execute(insert(t.outcome).values(message_id=801, state="done", outcome="delivered", reason="", at=at))
        web_kit.add_message(conn, 802, "emr-out", "out", "imagingstudy.created", state="queued", **out)
        web_kit.add_change(
            conn, "appointment.updated", "Appointment", BOOKING, HONG, 3, ["start"], {"status": "booked"}, None, "api:desk"
        )
    return engine


def test_a_step_is_a_message_with_all_that_it_changed_and_who_was_told(imaged: Engine) -> None:
    with imaged.connect() as conn:
        booked, study, visit = steps.of_patient(conn, HONG)
    assert (booked.message_id, booked.channel, booked.told) == (None, "api:desk", [])
    assert (study.type, study.channel, study.at) == ("dicom.study", "pacs-in", NOW - 200 * SECOND)
    assert {(one.channel, one.state, one.micros) for one in study.told} == {
        ("crm-out", "confirmed", 250_000),
        ("emr-out", "pending", None),
    }
    assert [one.kind for one in visit.changes] == ["Patient", "Encounter"]
    assert {(one.channel, one.state) for one in visit.told} == {
        ("crm-out", "confirmed"),
        ("erp-out", "refused"),
        ("ocs-out", "sent"),
    }
    with imaged.connect() as conn:
        assert [one.message_id for one in steps.of_patient(conn, HONG, before=study.before)] == [1]
        assert steps.of_patient(conn, NAMGUNG) == []


def test_of_several_deliveries_to_one_channel_the_one_that_needs_a_look_is_shown(imaged: Engine) -> None:
    with imaged.begin() as conn:
        web_kit.add_message(
            conn,
            803,
            "crm-out",
            "out",
            "imagingstudy.updated",
            state="dead",
            reason="410",
            change_id=3,
            resource_id=STUDY,
            cause=800,
        )
    with imaged.connect() as conn:
        told = {one.channel: one for one in steps.of_patient(conn, HONG)[1].told}
    assert (told["crm-out"].state, told["crm-out"].message_id) == ("refused", 803)


def test_columns_are_the_systems_in_the_order_of_a_visit(imaged: Engine) -> None:
    with imaged.connect() as conn:
        found = way.across([*web_kit.CHANNELS, PACS], steps.of_patient(conn, HONG))
    assert found.systems == ["ocs", "pacs", "erp", "crm", "emr-out"]  # a channel that is configured no more
    assert [line.source for line in found.lines] == ["crm", "pacs", "ocs"]
    assert [(what.kind, what.verb, what.detail, what.state) for what in found.lines[1].whats] == [
        ("ImagingStudy", "created", "CT", "available")
    ]
    assert [what.kind for what in found.lines[2].whats] == ["Encounter", "Patient"]


def test_a_page_reads_as_much_with_any_history(imaged: Engine) -> None:
    statements: list[str] = []
    with imaged.begin() as conn:
        for n in range(300):
            web_kit.add_message(conn, 2000 + n, "ocs-in", "in", "ADT^A08", outcome="applied")
            web_kit.add_change(conn, "patient.updated", "Patient", HONG, HONG, 10 + n, ["address"], {}, 2000 + n, "ocs-in")
    event.listen(imaged, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with imaged.connect() as conn:
        page = steps.of_patient(conn, HONG, limit=500)
        pages, before = [page], page[-1].before
        while rest := steps.of_patient(conn, HONG, before=before, limit=500):
            pages.append(rest)
            before = rest[-1].before
    assert len(statements) == 2 * 4 + 1  # two pages, and a look at what is behind them
    ids = [step.message_id for found in pages for step in found if step.message_id]
    assert ids == [*range(2299, 1999, -1), 800, 1]


def test_the_page_of_the_way(hub: WebHub, imaged: Engine, as_role: Callable[[str], TestClient]) -> None:
    assert imaged is hub.engine
    hub.channels = lambda: [*web_kit.CHANNELS, PACS]
    for role, linked in (("operator", True), ("crm", False)):
        html = as_role(role).get(f"/patients/{HONG}/way", headers=_console(hub, as_role, role)).text
        assert "0.25 s" in html
        assert ('href="/messages/800"' in html) is linked
    assert (
        as_role("operator").get(f"/patients/{HONG}/way?before=x", headers=_console(hub, as_role, "operator")).status_code == 422
    )


def test_a_channel_shows_its_peer(hub: WebHub, imaged: Engine, as_role: Callable[[str], TestClient]) -> None:
    with imaged.connect() as conn:
        erp = peer.of_channel(conn, "erp-out", "out")
        assert [(one.verdict, one.detail, one.message_id) for one in erp.last] == [("refused", "422", 7)]
        assert erp.tally == [("refused", "422", 1)]
        ocs = peer.of_channel(conn, "ocs-in", "in")
        assert (len(ocs.last), ocs.tally[0]) == (peer.SHOWN, ("applied", "AA", 62))
        assert peer.of_channel(conn, "nowhere", "in") == peer.Peer()
    hub.channels = lambda: [*web_kit.CHANNELS, PACS]
    html = as_role("operator").get("/channels/pacs-in", headers=_console(hub, as_role, "operator")).text
    assert "<code>ae_title</code></dt><dd>HUB" in html
    assert "dicom.study" in html


def _console(hub: WebHub, as_role: Callable[[str], TestClient], role: str) -> dict[str, Any]:
    """Headers of a browser that is logged in."""
    client = as_role(role)
    if not client.cookies:
        client.post("/login", data={"token": web_kit.token_for(hub, role, f"{role}-way")})
    return {"Accept": "text/html"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("801301-1234567", "801301-*******"),
        ("나 8013011234567 번", "나 801301-******* 번"),
        ("/Date(1710123456789)/", "/Date(1710123456789)/"),
        ("1795380000000-607", "1795380000000-607"),
    ],
)
def test_registration_numbers_are_hidden_and_dates_of_odata_are_not(said: str, shown: str) -> None:
    assert story.mask(said) == shown
