"""Questions that listeners answer themselves, and peers that they turn away: counted, and named in log and audit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.bootstrap import Hub, open_hub
from hub.bootstrap.bound import Bound
from hub.bootstrap.runtime import Listeners
from hub.bootstrap.tally import UnstoredTally
from hub.bootstrap.watchdog import Beat
from hub.cli import execute
from hub.cli.messages import snapshot
from hub.codecs.dicom import writer
from hub.config import load
from hub.domain.errors import HubError, TryAgain
from hub.domain.unstored import TurnedAway, Unstored
from hub.transport.dicom_scp import Names, shown
from hub.transport.dicom_scu import WORKLIST, Association, ScuSettings
from tests import servers
from tests.integration.test_look_ups import ask, query

MORE = """
[channels.worklist]
adapter = "pacs.worklist"
system = "pacs"
port = {0}
ae_title = "HUBWL"
peers = {{ CT1 = "127.0.0.1", MR1 = "10.1.3.12" }}

[channels.modalities]
adapter = "pacs.dicom_in"
system = "pacs"
port = {1}
peers = {{ CT1 = "" }}

[channels.look-up]
adapter = "ocs.hl7_query"
system = "ocs"
port = {2}
askers = ["CRM"]
"""


class Running:
    """The role `listen` of a hub with these three."""

    def __init__(self, folder: Path) -> None:
        assert execute(["init", str(folder), "--mllp-port", str(servers.free_port()), "--json"]) == 0
        self.worklist, self.modalities, self.look_up = (servers.free_port() for _ in range(3))
        file = folder / "hub.toml"
        file.write_text(file.read_text() + MORE.format(self.worklist, self.modalities, self.look_up))
        self.config = load(file)
        self.hub: Hub = open_hub(self.config)
        self._stop = threading.Event()
        self.listeners = Listeners(self.hub, lambda: None, Bound(), Beat())
        self._thread = threading.Thread(target=self.listeners.run, args=(self._stop,))
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self.listeners.stop()
        self._thread.join(10)
        self.hub.close()

    def counts(self, channel: str) -> tuple[int, int, int]:
        one = snapshot(self.config, self.hub.engine)["channels"][channel]
        return one["received"], one["done"], one["refused"]

    def denials(self, channel: str) -> list[tuple[str, dict[str, Any]]]:
        with self.hub.store.snapshot() as tx:
            found = tx.many("SELECT actor, detail FROM entry WHERE action = 'access.denied' AND channel = ? ORDER BY id", channel)
        return [(actor, orjson.loads(detail)) for actor, detail in found]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path / "hub")
    yield made
    made.close()


def scu(port: int, called: str = "HUBWL", calling: str = "CT1") -> ScuSettings:
    return ScuSettings(host="127.0.0.1", port=port, called_ae=called, calling_ae=calling, timeout_seconds=5)


def until(what: Any, wanted: Any) -> None:
    deadline = time.monotonic() + 8
    while what() != wanted:
        assert time.monotonic() < deadline, f"{what()}, not {wanted}"
        time.sleep(0.05)


def listens(settings: ScuSettings) -> Association:
    """Once it does."""
    deadline = time.monotonic() + 8
    while True:
        try:
            with Association(settings, WORKLIST):  # nothing is reached before this
                return Association(settings, WORKLIST)
        except HubError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_worklist_is_seen_working_and_who_may_not_ask_is_named(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with listens(scu(running.worklist)) as association:
        asked = {"PatientName": "", "ScheduledProcedureStepSequence": [{"Modality": ""}]}
        for _ in range(3):
            assert list(association.find(WORKLIST, writer.data_set(asked, association.syntax(WORKLIST)))) == []
    with caplog.at_level(logging.WARNING):
        for called, calling in (("ORTHANC", "CT1"), ("HUBWL", "CT2"), ("HUBWL", "MR1"), ("HUBWL", "MR1"), ("HUBWL", "1234567")):
            with pytest.raises(HubError):
                Association(scu(running.worklist, called, calling), WORKLIST).__enter__()
        with pytest.raises(HubError):
            Association(scu(running.modalities, "HUB", "US9"), WORKLIST).__enter__()
    until(lambda: running.counts("worklist"), (8, 3, 5))
    assert running.denials("worklist") == [
        ("peer:CT1", {"code": "called_title", "ip": "127.0.0.1"}),
        ("peer:CT2", {"code": "calling_title", "ip": "127.0.0.1"}),
        ("peer:MR1", {"code": "calling_address", "ip": "127.0.0.1"}),  # twice in a minute is told once
        ("peer:unknown", {"code": "calling_title", "ip": "127.0.0.1"}),
    ]
    until(lambda: running.denials("modalities"), [("peer:US9", {"code": "calling_title", "ip": "127.0.0.1"})])
    assert running.counts("modalities") == (0, 0, 0)  # there messages are counted
    said = [record.getMessage().partition("rejected: ")[2] for record in caplog.records if "rejected" in record.getMessage()]
    assert said[:3] == [
        "CT1 calls the AE title ORTHANC; ours is HUBWL",
        "its AE title CT2 is none of the channel's peers",
        "its AE title MR1 is one of the channel's peers, but not from there",
    ]
    assert "1234567" not in caplog.text


def test_look_ups_are_counted(running: Running) -> None:
    until(lambda: running.listeners.intake.full, "")
    deadline = time.monotonic() + 8
    while True:
        try:
            ask(running.look_up, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^뷁"))
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    ask(running.look_up, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^뷁", sender="NOBODY"))
    until(lambda: running.counts("look-up"), (2, 1, 1))


def test_counts_wait_for_a_store_that_is_down(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = UnstoredTally(running.hub.store)
    tally.add("worklist", Unstored(2, 1, (TurnedAway("10.1.2.3", "CT9", "calling_title"),)))

    def down(**_: object) -> Any:
        raise TryAgain("the database is down")

    with monkeypatch.context() as patched:
        patched.setattr(running.hub.store, "transaction", down)
        tally.write()
    tally.add("worklist", Unstored(1))
    tally.write()
    tally.write()
    assert running.counts("worklist") == (4, 3, 1)
    assert [actor for actor, _ in running.denials("worklist")] == ["peer:CT9"]


@pytest.mark.parametrize(
    "title", ["CT 1", "홍길동", "CT\x1b[31m", "", "A" * 17, "CT1\nhub: all is well", "800131", "HONG^GILDONG"]
)
def test_what_comes_from_the_wire_and_is_no_plain_title_is_not_shown(title: str) -> None:
    assert shown(title) == "(one that is not shown)"
    code, said = Names("HUB", {"CT1": ""}).why("HUB", title)
    assert code == "calling_title"
    assert title not in said or not title
