"""The web layer on both databases: the same answers, and on PostgreSQL a feed that skips nothing under concurrent writers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, Insert, create_engine, insert, text
from starlette.testclient import TestClient

from hub.db import tables as t
from hub.db.views import changes
from hub.db.views.changes import START, Position
from hub.web.app import WebHub, create_app
from tests import web_kit
from tests.web_kit import BOOKING, HONG, NAMGUNG, VISIT

As = Callable[[str], TestClient]
PATIENT_SEARCHES: list[tuple[dict[str, str], list[str]]] = [
    ({"name": "홍"}, [HONG]), ({"name": "길동"}, [HONG]), ({"phone": "5678"}, [HONG, NAMGUNG]), ({"birthDate": "1980"}, [HONG]),
    ({"identifier": "HOSP|00012345"}, [HONG]), ({"name": "%"}, []), ({"name": "ㄱ"}, []),
]  # fmt: skip
MESSAGE_SEARCHES: list[tuple[dict[str, str], list[int]]] = [
    ({"patient": "00012345"}, [8, 7, 6, 4, 3, 2, 1]), ({"state": "dead"}, [7, 2]), ({"state": "ignored"}, [4]),
    ({"type": "ORU"}, [4]), ({"since": "2026-11-22T08:44:28+09:00"}, [69, 68]),
]  # fmt: skip
PARAMETERS = {
    "messages": ("patient", "controlId", "type", "channel", "resourceId"),
    "patients": ("name", "phone", "identifier"),
    "audit/entries": ("actor", "action", "resourceId", "channel"),
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = web_kit.engine_for(database_url)
    web_kit.fill(made)
    yield made
    made.dispose()


@pytest.fixture
def hub(engine: Engine) -> WebHub:
    return web_kit.make_hub(engine)


@pytest.fixture
def as_role(hub: WebHub) -> As:
    app = create_app(hub)
    return lambda role: web_kit.api(hub, web_kit.token_for(hub, role, f"{role}-{random.random()}"), app)


def test_searches(as_role: As) -> None:
    crm, operator = as_role("crm"), as_role("operator")
    for query, found in PATIENT_SEARCHES:
        items = crm.post("/api/v1/patients/search", json=query).json()["items"]
        assert [item["id"] for item in items] == found, query
    for wanted, ids in MESSAGE_SEARCHES:
        items = operator.post("/api/v1/messages/search", json=wanted).json()["items"]
        assert [item["id"] for item in items] == ids, wanted


def test_pages_and_writes(as_role: As) -> None:
    crm = as_role("crm")
    seen, cursor = [], ""
    while cursor is not None:
        page = crm.get(f"/api/v1/patients/{HONG}/timeline", params={"limit": 1, "cursor": cursor}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == [BOOKING, VISIT]
    for path in ("relationships", "encounters", "appointments", "history", "lineage", "sync"):
        assert crm.get(f"/api/v1/patients/{HONG}/{path}").status_code == 200
    headers = {"Idempotency-Key": "twice-please"}
    first, second = (crm.post("/api/v1/patients", json={"name": [{"text": "뷁"}]}, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    stale = crm.patch(f"/api/v1/patients/{HONG}", json={"note": "x"}, headers={"If-Match": '"v1"'})
    assert (stale.status_code, stale.json()["current"]) == (412, 3)


def test_status_stories_and_pages_of_the_console(as_role: As, hub: WebHub) -> None:
    channels = {one["name"]: one for one in as_role("operator").get("/api/v1/channels").json()["items"]}
    assert (channels["ocs-in"]["counts"]["done"], channels["ocs-in"]["blockedLanes"]) == (62, 1)
    assert as_role("operator").get("/api/v1/messages/1").json()["answerState"] == "sent"
    browser = web_kit.api(hub)
    browser.post("/login", data={"token": web_kit.token_for(hub, "admin")})
    for path in ("/", "/messages", "/messages/1", f"/patients/{HONG}", "/audit", "/channels/ocs-in", "/metrics", "/readyz"):
        assert browser.get(path).status_code == 200, path


@pytest.mark.parametrize("evil", ["' OR '1'='1", "\x00", "%", "\\", "９"])
def test_evil_text(as_role: As, evil: str) -> None:
    admin = as_role("admin")
    for path, names in PARAMETERS.items():
        for name in names:
            answer = admin.get(f"/api/v1/{path}", params={name: evil})
            assert answer.status_code in (200, 422), (path, name, answer.text)
    assert admin.get(f"/api/v1/patients/{'x' + evil.strip(chr(0))}").status_code == 404


def a_change(number: int, tx: int) -> Insert:
    """A row of the feed."""
    return insert(t.change).values(
        id=number, tx=tx, at=1, type="patient.updated", kind="Patient", resource_id="r", patient_id="r", version=number,
        fields="[]", data="{}", origin="test",
    )  # fmt: skip


def read_all(engine: Engine, after: Position) -> tuple[list[int], Position]:
    """The feed as a front-end reads it, page by page."""
    seen: list[int] = []
    while True:
        with engine.connect() as conn:
            rows = changes.feed(conn, after, limit=7)
        if not rows:
            return seen, after
        seen += [row.id for row in rows]
        after = Position(rows[-1].tx, rows[-1].id)


@pytest.mark.postgres
def test_the_feed_skips_nothing_under_concurrent_writers(postgres_url: str) -> None:
    """Transactions that take their id early and commit late: a reader by id alone would pass them over."""
    engine = web_kit.engine_for(postgres_url)
    with engine.begin() as conn:
        conn.execute(text("CREATE SEQUENCE test_change"))
    writers, each, written, stop = 6, 25, set[int](), threading.Event()

    def write(seed: int) -> None:
        dice = random.Random(seed)
        own = create_engine(postgres_url)
        for _ in range(each):
            with own.begin() as conn:
                numbers = [conn.execute(text("SELECT nextval('test_change')")).scalar_one() for _ in range(dice.randint(1, 3))]
                tx = conn.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one()
                for number in numbers:
                    conn.execute(a_change(number, tx))
                conn.execute(text("SELECT pg_sleep(:s)"), {"s": dice.random() * 0.02})
            written.update(numbers)
        own.dispose()

    seen: list[int] = []

    def read() -> None:
        after = START
        while not stop.is_set():
            more, after = read_all(engine, after)
            seen.extend(more)
        seen.extend(read_all(engine, after)[0])

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(writers)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    stop.set()
    reader.join(timeout=60)
    engine.dispose()
    assert len(seen) == len(set(seen))
    assert set(seen) == written


@pytest.mark.postgres
def test_a_snapshot_taken_beside_an_open_transaction_misses_nothing(postgres_url: str) -> None:
    """What is not committed when the snapshot begins comes in the feed behind its cursor."""
    engine = web_kit.engine_for(postgres_url)
    with engine.connect() as late:
        tx = late.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one()
        late.execute(a_change(1, tx))
        with engine.connect() as conn:
            begin = changes.head(conn)
            assert changes.snapshot(conn, ["Patient"]) == []
        late.commit()
    assert read_all(engine, begin)[0] == [1]
    engine.dispose()
