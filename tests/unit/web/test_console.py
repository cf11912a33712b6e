"""Console pages: they render for every role in both languages, hold what they promise, and load nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from hub.codecs import hl7v2
from hub.mapping import Context, load_maps
from hub.web.app import WebHub
from hub.web.console.texts import _PAIRS, TEXTS
from tests import web_kit
from tests.web_kit import HONG, MERGED

PAGES = (
    *(
        "/",
        "/channels/ocs-in",
        "/channels/crm-out",
        "/messages",
        "/patients",
        "/audit",
        f"/patients/{HONG}",
        f"/patients/{MERGED}",
    ),
    *(f"/messages/{n}" for n in range(1, 9)),
)
SEEN = {
    "admin": set(PAGES),
    "operator": set(PAGES) - {"/audit"},
    "auditor": {page for page in PAGES if not page.startswith("/patients")},
    "crm": {page for page in PAGES if page.startswith("/patients")} | {"/"},
}


@pytest.fixture(scope="session")
def maps() -> Any:
    return load_maps()


@pytest.fixture
def browser(hub: WebHub, maps: Any) -> Callable[..., TestClient]:
    """A client that is logged in."""

    def explain(channel: str, body: bytes) -> list[dict[str, Any]]:
        context = Context(assigner="HOSP", system="ocs")
        return maps.explain(hl7v2.parse(body), context)

    hub.explain = explain

    def log_in(role: str = "admin", lang: str = "en") -> TestClient:
        client = web_kit.api(hub)
        client.headers["Accept"] = "text/html"
        client.headers["Accept-Language"] = lang
        assert client.post("/login", data={"token": web_kit.token_for(hub, role, f"{role}-{lang}")}).status_code == 303
        return client

    return log_in


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found.group(1)


@pytest.mark.parametrize("lang", ["ko", "en"])
@pytest.mark.parametrize("role", sorted(SEEN))
def test_every_page_in_every_role(browser: Callable[..., TestClient], role: str, lang: str) -> None:
    client = browser(role, lang)
    for path in PAGES:
        answer = client.get(path)
        expected = 303 if (role, path) == ("crm", "/") else 200 if path in SEEN[role] else 403
        assert answer.status_code == expected, (path, answer.status_code)
        if expected == 303:
            continue
        html = answer.text
        assert f'<html lang="{lang}">' in html
        for url in re.findall(r"""(?:src|href|action)=["']([^"']*)""", html):
            assert url.startswith(("/", "#")), url
            assert not url.startswith("//")
        assert "<script>" not in html
        assert not re.search(r"<[^>]+ (?:style|on\w+)=", html)
        assert "{{" not in html
        assert "None" not in re.sub(r">None<", "", html)  # a Python value that leaked
        if expected == 403:
            assert "홍길동" not in html


def test_texts_are_whole_in_both_languages() -> None:
    assert TEXTS["ko"].keys() == TEXTS["en"].keys()
    for key, (ko, en) in _PAIRS.items():
        assert ko.strip(), key
        assert en.strip(), key
        assert not re.search("[가-힣]", en), key


def test_the_story_shows_segments_facts_changes_deliveries_and_audit(browser: Callable[..., TestClient]) -> None:
    html = browser("operator").get("/messages/1").text
    for expected in ("PID-5", "홍길동", "PID-7", "1980-02-03", "patient.updated", "encounter.created", "crm-out", "erp-out",
                     "422 from the target", "message.applied", "메모|기타",
                     "partially sent, receivers have errors", '<code title="rejected">F01'):  # fmt: skip
        assert expected in html, expected
    assert "8013011234567" not in html  # the registration number in ZZZ
    assert "801301-*******" in html


def test_an_auditor_sees_the_story_without_its_content(browser: Callable[..., TestClient]) -> None:
    html = browser("auditor").get("/messages/1").text
    assert "홍길동" not in html
    assert "message.applied" in html


def test_what_a_message_says_cannot_become_markup(hub: WebHub, browser: Callable[..., TestClient]) -> None:
    evil = "<script>alert(1)</script>"
    with hub.write_engine.begin() as conn:
        web_kit.add_message(conn, 900, "ocs-in", "in", evil, state="dead", reason=evil, lane=evil, patient_no=evil)
        web_kit.add_resource(conn, "evil", "Patient", "evil", {"name": [{"text": evil}], "note": evil})
    client = browser("admin")
    page = client.get("/messages").text
    for html in (page, client.get("/messages/900").text, client.get("/patients/evil").text, client.get("/channels/ocs-in").text,
                 client.post("/messages", data={"csrf": csrf_of(page), "patient": evil, "type": evil}).text):  # fmt: skip
        assert evil not in html


@pytest.mark.parametrize(("language", "said"), [("ko", "처리했지만 확인이 필요합니다"), ("en", "Applied, but look at this")])
def test_what_was_applied_with_a_remark_shows_it_in_the_list_and_at_the_top(
    hub: WebHub, browser: Callable[..., TestClient], language: str, said: str
) -> None:
    with hub.write_engine.begin() as conn:
        web_kit.add_message(
            conn,
            900,
            "ocs-in",
            "in",
            "idoc.INVOIC",
            state="done",
            outcome="applied",
            reason="not read: TotalNetAmount: internal_form",
        )
    client = browser("operator")
    html = client.get("/messages/900", headers={"accept-language": language}).text
    top = html[: html.index("<section")]
    assert said in top
    assert "internal_form" in top
    assert client.get("/messages").text.count("⚠") == 1


def test_search_by_patient_number_finds_both_ways_and_stays_out_of_the_url(browser: Callable[..., TestClient]) -> None:
    client = browser("operator")
    page = client.get("/messages").text
    found = client.post("/messages", data={"csrf": csrf_of(page), "patient": "00012345"}).text
    ids = re.findall(r'<a href="/messages/(\d+)">', found)
    assert ids == ["8", "7", "6", "4", "3", "2", "1"]
    assert not re.search(r'(?:href|action)="[^"]*00012345', found)


def test_pages_of_messages(browser: Callable[..., TestClient]) -> None:
    client = browser("operator")
    html = client.get("/messages", params={"channel": "ocs-in"}).text
    seen = re.findall(r'<a href="/messages/(\d+)">', html)
    assert len(seen) == 50
    cursor = re.search(r'name="cursor" value="([^"]+)"', html)
    assert cursor
    more = client.post("/messages", data={"csrf": csrf_of(html), "channel": "ocs-in", "cursor": cursor.group(1)}).text
    seen += re.findall(r'<a href="/messages/(\d+)">', more)
    assert seen == [str(n) for n in [*range(69, 8, -1), 5, 4, 3, 2, 1]]


def test_replay_discard_and_settle(browser: Callable[..., TestClient], hub: WebHub) -> None:
    client = browser("operator")
    page = client.get("/messages/2").text
    form = {"csrf": csrf_of(page), "reason": "map corrected"}
    assert client.post("/messages/2/replay", data={**form, "reason": ""}).status_code == 422
    assert client.post("/messages/2/replay", data=form).headers["location"] == "/messages/2?done=1"
    assert client.post("/messages/2/replay", data=form).status_code == 409
    assert client.post("/messages/7/discard", data=form).status_code == 303
    assert client.post("/messages/8/settle", data={**form, "acted": "true"}).status_code == 303
    assert [call[:2] for call in hub.operations.calls] == [("replay", 2), ("replay", 2), ("discard", 7), ("confirm", 8)]  # type: ignore[attr-defined]
    assert "Discarded" in client.get("/messages/7").text


def test_pause_resume_ping(browser: Callable[..., TestClient]) -> None:
    client = browser("operator")
    form = {"csrf": csrf_of(client.get("/channels/crm-out").text), "reason": "maintenance"}
    client.post("/channels/crm-out/pause", data=form)
    assert 'action="/channels/crm-out/resume"' in client.get("/channels/crm-out").text
    client.post("/channels/crm-out/resume", data=form)
    assert 'action="/channels/crm-out/pause"' in client.get("/channels/crm-out").text
    assert "crm-out is there" in client.post("/channels/crm-out/ping", data=form).text
    assert "the connection was refused" in client.post("/channels/erp-out/ping", data=form).text
    assert client.post("/channels/nobody/pause", data=form).status_code == 404


def test_patients_are_found_and_recorded(browser: Callable[..., TestClient], hub: WebHub) -> None:
    client = browser("crm")
    form = {"csrf": csrf_of(client.get("/patients").text)}
    assert f'href="/patients/{HONG}"' in client.post("/patients", data={**form, "name": "홍"}).text
    client.get(f"/patients/{HONG}")
    entries = hub.audit.entries()[-2:]  # type: ignore[attr-defined]
    assert [entry["action"] for entry in entries] == ["patient.searched", "patient.read"]
    assert entries[1]["resource_id"] == HONG


def test_the_page_of_channels_can_ask_for_its_numbers(browser: Callable[..., TestClient]) -> None:
    channels = {one["name"]: one for one in browser("operator").get("/console/status").json()["channels"]}
    assert channels["ocs-in"]["counts"]["received"] == 70
    assert channels["ocs-in"]["blockedLanes"] == 1
    assert channels["erp-out"]["blockedLanes"] == 0  # its policy is to skip


def test_language_is_chosen_and_remembered(browser: Callable[..., TestClient]) -> None:
    client = browser("admin", "de, en;q=0.8")
    assert '<html lang="en">' in client.get("/").text
    assert client.get("/language/ko", params={"next": "/messages"}).headers["location"] == "/messages"
    assert '<html lang="ko">' in client.get("/").text


@pytest.mark.parametrize(
    "path", ["/nowhere", "/messages/999", "/messages/abc", "/messages/99999999999999999999999", "/patients/x", "/channels/x"]
)
def test_errors_are_pages(browser: Callable[..., TestClient], path: str) -> None:
    answer = browser().get(path)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"].startswith("text/html")
    assert "Back to the start" in answer.text


def test_a_story_is_told_even_where_its_map_fails(hub: WebHub, browser: Callable[..., TestClient]) -> None:
    def broken(_channel: str, _body: bytes) -> list[dict[str, Any]]:
        raise RuntimeError("홍길동")

    client = browser()
    hub.explain = broken
    page = client.get("/messages/1")
    assert page.status_code == 200
    assert "nobody foresaw" in page.text
    assert "PID-5" in page.text
