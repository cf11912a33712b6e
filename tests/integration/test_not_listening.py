"""A listener that cannot start: `hub check` says it before, status, API, console, /readyz and metrics while it lasts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.bootstrap import Hub, open_hub
from hub.bootstrap.bound import Bound
from hub.bootstrap.runtime import Listeners
from hub.bootstrap.watchdog import Beat
from hub.cli import checks, execute
from hub.cli.messages import snapshot
from hub.config import load
from hub.domain.errors import Misconfigured
from hub.simulator.certificates import Authority
from hub.transport.tls import server_context
from hub.web.serve import web_hub
from tests import servers, web_kit

DICOM = """
[channels.modalities]
adapter = "pacs.dicom_in"
system = "pacs"
port = {port}
peers = {{ CT1 = "" }}
{more}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ports = ["--mllp-port", str(servers.free_port()), "--web-port", str(servers.free_port())]
    assert execute(["init", str(tmp_path / "hub"), *ports, "--json"]) == 0
    return tmp_path / "hub"


def add(folder: Path, port: int, more: str = "") -> Path:
    file = folder / "hub.toml"
    file.write_text(file.read_text() + DICOM.format(port=port, more=more))
    return file


@contextmanager
def listening(hub: Hub) -> Iterator[Listeners]:
    """The role of that name."""
    listeners, stop = Listeners(hub, lambda: None, Bound(), Beat()), threading.Event()
    thread = threading.Thread(target=listeners.run, args=(stop,))
    thread.start()
    try:
        yield listeners
    finally:
        stop.set()
        listeners.stop()
        thread.join(10)


def until(what: Callable[[], bool], seconds: float = 8) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_a_taken_port_is_an_alert_and_the_channels_trouble_until_it_is_free(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = load(add(folder, port))
        hub = open_hub(config)

        def trouble(name: str = "modalities") -> str:
            return str(snapshot(config, hub.engine)["channels"][name]["trouble"])

        with listening(hub):
            until(lambda: bool(trouble()))
            assert trouble().startswith(f"not listening: cannot listen on 127.0.0.1:{port}")
            assert trouble("ocs-in") == ""  # the others are served
            [alert] = snapshot(config, hub.engine)["alerts"]
            assert (alert["kind"], alert["channel"]) == ("not_listening", "modalities")
            web = web_kit.api(web_hub(hub))
            answer = web.get("/readyz")  # to take the hub out would take the other channels out, too
            assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "not_listening": ["modalities"]})
            assert 'hub_not_listening{channel="modalities"} 1.0' in web.get("/metrics").text
            told = web_kit.api(web_hub(hub), web_kit.token_for(web_hub(hub), "operator"))
            assert told.get("/api/v1/channels/modalities").json()["trouble"] == trouble()
            other.close()
            until(lambda: not trouble())  # tried again every second
            assert snapshot(config, hub.engine)["alerts"] == []
            assert web.get("/readyz").json() == {"status": "ready"}
        hub.close()


def test_what_an_earlier_process_said_is_over_once_it_listens_or_is_wanted_no_more(folder: Path) -> None:
    plain = (folder / "hub.toml").read_text()
    with socket.create_server(("127.0.0.1", 0)) as other:
        config = load(add(folder, other.getsockname()[1]))
        hub = open_hub(config)
        with listening(hub):
            until(lambda: len(snapshot(config, hub.engine)["alerts"]) == 1)
        hub.close()
    (folder / "hub.toml").write_text(plain)
    config = load(folder / "hub.toml")
    hub = open_hub(config)
    with listening(hub):
        until(lambda: snapshot(config, hub.engine)["alerts"] == [])
    hub.close()


def test_check_tries_the_ports_where_no_hub_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        file = add(folder, port)
        assert execute(["check", "-c", str(file)]) == 2
        assert f"NO  channel modalities: cannot listen on 127.0.0.1:{port} (Address already in use)" in capsys.readouterr().out
    assert execute(["check", "-c", str(file)]) == 0
    file.write_text(file.read_text().replace('peers = { CT1 = "" }', 'peers = { CT1 = "" }\nhost = "192.0.2.1"'))
    assert [f.what for f in checks.addresses(load(file))] == ["channel modalities"]  # no address of this machine's


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ('tls_cert = "nope.pem"', "nope.pem"),
        ('tls_cert = "cert.pem"', "cert.pem"),  # and its key is in another file
        ('tls_cert = "cert.pem"\ntls_key = "other.key"', "other.key"),
        ('tls_cert = "cert.pem"\ntls_key = "key.pem"\ntls_ca = "nope.pem"', "nope.pem"),
        ('tls_cert = "cert.pem"\ntls_key = "key.pem"\ntls_ca = "key.pem"', "key.pem"),
    ],
)
def test_check_opens_certificate_key_and_authority_of_a_listener(folder: Path, files: str, said: str) -> None:
    certificate, key = Authority().issue("127.0.0.1")
    _, other = Authority().issue("127.0.0.1")
    for name, content in (("cert.pem", certificate), ("key.pem", key), ("other.key", other)):
        (folder / name).write_bytes(content)
    file = add(folder, 11112, files)
    [bad] = [one for one in checks.offline(load(file)) if not one.good]
    assert bad.what == "channel modalities"
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if text.startswith("tls_cert"))
    assert f"hub.toml:{line}: " in bad.text
    assert said in bad.text


def test_a_key_with_a_password_asks_nobody(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s

    certificate, key = Authority().issue("127.0.0.1")
    (tmp_path / "cert.pem").write_bytes(certificate)
    locked = s.load_pem_private_key(key, None).private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret")
    )
    (tmp_path / "key.pem").write_bytes(locked)
    with pytest.raises(Misconfigured, match="cannot be used"):
        server_context(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
