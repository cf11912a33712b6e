"""What `hub send` finds in a file, and what it says of answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hub.cli import send
from hub.domain.errors import NotDelivered, OutcomeUnknown

Run = Any  # tests/unit/cli/conftest.py
ONE = b"MSH|^~\\&|OCS|HOSP|||20261122||ADT^A08|%s|P|2.5\rPID|1||1^^^HOSP\r"


@pytest.mark.parametrize(
    ("data", "ids"),
    [
        (ONE % b"A", [b"A"]),
        ((ONE % b"A") + (ONE % b"B"), [b"A", b"B"]),
        ((ONE % b"A").replace(b"\r", b"\n") + b"\n" + (ONE % b"B").replace(b"\r", b"\r\n"), [b"A", b"B"]),
        (b"\x0b" + (ONE % b"A") + b"\x1c\r\x0b" + (ONE % b"B") + b"\x1c\r", [b"A", b"B"]),
        (b"FHS|^~\\&\rBHS|^~\\&\r" + (ONE % b"A") + (ONE % b"B") + b"BTS|2\rFTS|1\r", [b"A", b"B"]),
        (b"\xef\xbb\xbf" + (ONE % b"A"), [b"A"]),
        (b"\r\n  ", []),
    ],
)
def test_messages_in_a_file(data: bytes, ids: list[bytes]) -> None:
    assert [message.split(b"|")[9] for message in send.messages_in(data)] == ids


class FakeClient:
    """Answers by control id."""

    def __init__(self, host: str, port: int, *, answer_seconds: float) -> None:
        assert (host, port) == ("127.0.0.1", 2575)

    def send(self, body: bytes, control_id: str) -> bytes:
        if control_id == "DOWN":
            raise NotDelivered("no connection (ConnectionRefusedError)", reached=False)
        if control_id == "MUTE":
            raise OutcomeUnknown("no answer in time")
        if control_id == "BAD":
            return b"MSH|^~\\&|HUB\rMSA|AE|BAD|not now\rERR||PID^1^3|101^Required field missing|E||||PID-3 is empty\r"
        return f"MSH|^~\\&|HUB\rMSA|AA|{control_id}\r".encode()

    def close(self) -> None:
        """Nothing is open."""


def test_every_answer_is_told(run: Run, tmp_path: Path, hub_toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "MllpClient", FakeClient)
    monkeypatch.setattr(send, "START_SECONDS", 0.0)
    good, mixed = tmp_path / "good.hl7", tmp_path / "mixed.hl7"
    good.write_bytes((ONE % b"A") * 3)
    mixed.write_bytes(b"".join(ONE % name for name in (b"A", b"BAD", b"MUTE", b"DOWN")))
    ran = run("send", good, "--channel", "ocs-in", "-c", hub_toml)
    assert ran.code == 0
    assert "3 sent: AA 3" in ran.out
    said = run("send", mixed, "--port", 2575).out
    assert "not now; PID^1^3; 101^Required field missing; PID-3 is empty" in " ".join(said.split())
    ran = run("send", mixed, "--port", 2575, "--json")
    assert ran.code == 1
    assert [one["code"] for one in json.loads(ran.out)["messages"]] == [
        "AA",
        "AE",
        "unknown: no answer in time",
        "no connection (ConnectionRefusedError)",
    ]


def test_a_channel_that_does_not_listen(run: Run, hub_toml: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.hl7"
    file.write_bytes(ONE % b"A")
    ran = run("send", file, "--channel", "crm-webhook", "-c", hub_toml)
    assert ran.code == 2
    assert "ocs-in" in ran.err


def test_a_listener_that_is_starting_is_waited_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[bytes] = []

    class Starting(FakeClient):
        def send(self, body: bytes, control_id: str) -> bytes:
            tries.append(body)
            if len(tries) < 3:
                raise NotDelivered("no connection (ConnectionRefusedError)", reached=False)
            return super().send(body, control_id)

    monkeypatch.setattr(send, "MllpClient", Starting)
    file = tmp_path / "x.hl7"
    file.write_bytes(ONE % b"A")
    assert run("send", file, "--port", 2575).code == 0
    assert len(tries) == 3


def test_the_readmes_example_is_there_and_maps(run: Run) -> None:
    root = Path(__file__).resolve().parents[3]
    named = set(re.findall(r"\S+\.hl7", (root / "README.md").read_text().replace("`", " ")))
    assert named == {"examples/admission.hl7"}
    data = (root / "examples/admission.hl7").read_bytes()
    assert len(send.messages_in(data)) == 1
    tried = run("map", "try", root / "examples/admission.hl7")
    assert tried.code == 0, tried.err
    assert "홍길동" in tried.out
    assert "V00012345" in tried.out
