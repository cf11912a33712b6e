"""The web role on a port that somebody else holds: said clearly, tried again, and in the end an error that restarts the role."""

from __future__ import annotations

import logging
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hub.bootstrap.bound import Bound
from hub.cli import execute, ready
from hub.config import load
from hub.domain.errors import Misconfigured
from hub.web import serve


def test_a_taken_port_is_named_and_ends_the_role(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with caplog.at_level(logging.ERROR), pytest.raises(Misconfigured, match=f"127.0.0.1:{port} cannot be listened on"):
            serve.bind("127.0.0.1", port, threading.Event(), seconds=0.1)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "another [web] port" in caplog.text


def test_a_port_that_gets_free_is_taken_and_a_stop_ends_the_wait() -> None:
    other = socket.create_server(("127.0.0.1", 0))
    port = other.getsockname()[1]
    threading.Timer(0.3, other.close).start()
    mine = serve.bind("127.0.0.1", port, threading.Event())
    assert mine is not None
    mine.listen()
    stop = threading.Event()
    stop.set()
    assert serve.bind("127.0.0.1", port, stop) is None
    mine.close()


def test_a_web_server_that_ends_by_itself_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hub.bootstrap import open_hub

    assert execute(["init", str(tmp_path), "--web-port", "0", "--json"]) == 0
    monkeypatch.setattr("uvicorn.Server.run", lambda *_: None)
    hub = open_hub(load(tmp_path / "hub.toml"))
    try:
        with pytest.raises(Misconfigured, match="ended by itself"):
            serve.serve(hub, threading.Event())
        serve._ready(hub)
        with hub.store.transaction():  # somebody writes: readiness is a look, and does not wait
            began = time.monotonic()
            looks = threading.Thread(target=serve._ready, args=(hub,))
            looks.start()
            looks.join(3)
            assert not looks.is_alive()
            assert time.monotonic() - began < 1
        monkeypatch.setattr(serve, "why_full", lambda _: "the disk is nearly full")
        assert serve._ready(hub) == "the disk is nearly full"
    finally:
        hub.close()


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def test_ready_is_said_when_console_and_listeners_answer() -> None:
    told: list[str] = []
    mllp, web = socket.socket(), ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    mllp.bind(("127.0.0.1", 0))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    wanted = [
        ready.Place("console", "0.0.0.0", web.server_port, web=True),
        ready.Place("HL7 v2", "127.0.0.1", mllp.getsockname()[1]),
    ]
    bound = Bound()
    ready.watch(wanted, bound, told.append)
    bound.add(wanted[1].port)
    time.sleep(0.5)
    assert told == []
    mllp.listen()
    time.sleep(0.5)
    assert told == []  # a console answers, and it is not ours
    bound.add(wanted[0].port)
    deadline = time.monotonic() + 3
    while not told and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told == [f"ready: console http://0.0.0.0:{web.server_port}/, HL7 v2 on 127.0.0.1:{mllp.getsockname()[1]}"]
    web.shutdown()
    mllp.close()
