"""The servers that other tests stand on: they come up, take a database each, and go again."""

from __future__ import annotations

import socket
from urllib.parse import quote

import httpx
import psycopg
import pytest

from tests import servers


@pytest.mark.postgres
def test_a_fresh_database_is_empty_and_korean_survives(postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        row = connection.execute(
            "SELECT %s, (SELECT count(*) FROM pg_stat_user_tables)", ["똠방각하 펲시콜라 뷁 洪吉洞"]
        ).fetchone()
    assert row == ("똠방각하 펲시콜라 뷁 洪吉洞", 0)


@pytest.mark.redis
def test_redis_answers_and_forgets(redis: servers.Redis) -> None:
    with socket.create_connection(("127.0.0.1", redis.port), 5) as sock:
        sock.sendall(b"SET a 1\r\n")
        assert sock.recv(64) == b"+OK\r\n"
        redis.flush()
        sock.sendall(b"GET a\r\n")
        assert sock.recv(64) == b"$-1\r\n"


@pytest.mark.redis
def test_a_stopped_server_is_gone() -> None:
    server = servers.Redis().start()
    pid = server.process.pid
    server.stop()
    assert server.process.poll() is not None
    assert not server.folder.exists()
    assert pid > 0


def test_the_fhir_server_keeps_versions_and_pages(fhir_server: servers.FhirServer) -> None:
    with httpx.Client(base_url=fhir_server.url, timeout=10) as http:
        patient = {
            "resourceType": "Patient",
            "identifier": [{"system": "urn:t", "value": "펲-1"}],
            "name": [{"text": "똠방각하"}],
        }
        made = http.post("/Patient", json=patient, headers={"If-None-Exist": quote("identifier=urn:t|펲-1", safe="=")})
        assert (made.status_code, made.json()["name"]) == (201, patient["name"])
        assert made.headers["location"].startswith(f"{fhir_server.url}/Patient/{made.json()['id']}/_history/")
        again = http.post("/Patient", json=patient, headers={"If-None-Exist": quote("identifier=urn:t|펲-1", safe="=")})
        assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
        where, changed = f"/Patient/{made.json()['id']}", made.json() | {"active": True}
        assert http.put(where, json=changed, headers={"If-Match": 'W/"another"'}).status_code == 412
        assert http.put(where, json=changed, headers={"If-Match": made.headers["etag"]}).status_code == 200
        assert http.get(where).headers["etag"] != made.headers["etag"]
        found = http.post("/Patient/_search", data={"identifier": "urn:t|펲-1"}).json()
        assert [one["resource"]["active"] for one in found["entry"]] == [True]
        for number in range(5):
            http.post("/Slot", json={"resourceType": "Slot", "comment": str(number)})
        page, seen = http.get("/Slot", params={"_count": 2, "_sort": "_lastUpdated"}).json(), []
        while True:
            seen += [one["resource"]["comment"] for one in page["entry"]]
            links = {one["relation"]: one["url"] for one in page["link"]}
            if "next" not in links:
                break
            page = http.get(links["next"]).json()
        assert seen == ["0", "1", "2", "3", "4"]
