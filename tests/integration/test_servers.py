"""The servers that other tests stand on: they come up, take a database each, and go again."""

from __future__ import annotations

import socket

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
