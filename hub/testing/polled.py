"""One contract for every adapter that asks (hub/domain/ports, Source), each in a whole hub against its source.

Whatever happens at the source: nothing that was there is lost, nothing comes twice, and what is wrong is said once, without a
value of a patient. A test module takes it over with `from hub.testing.polled import *` beside its CASES.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.bootstrap import channels
from hub.domain.errors import Misconfigured
from hub.domain.ports import Manifest
from hub.simulator.certificates import Authority
from hub.simulator.faults import Fault
from hub.testing.home import Home
from hub.testing.inbound_case import PolledCase
from hub.testing.outbound import FOUR, in_the_clear

PATIENT = 15.0  # seconds, where no time-out is meant to happen, however busy the machine is
SETTLE = 0.05  # seconds for a close to arrive


class Bench:
    """A hub with the case's channel, and its poller, driven by hand."""

    def __init__(self, case: PolledCase, peer: Any, folder: Path, **more: Any) -> None:
        self.case = case
        self.home = Home(folder, case.channel(peer, **more), case.maps)
        self.poller = self.home.poller()

    def poll(self) -> str:
        """One poll; what is wrong with the channel, if anything."""
        self.poller.round()
        return "; ".join(self.home.alerts())

    def numbers(self) -> list[str]:
        return [number for _, number in self.home.messages()]

    def expected(self, *told: int) -> list[str]:
        return [self.case.number(n) for n in told]

    def close(self) -> None:
        self.poller._close()
        self.home.hub.close()


@pytest.fixture
def bench(case: PolledCase, peer: Any, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(case, peer, tmp_path / "hub")
    yield made
    made.close()


def _patient(case: PolledCase) -> dict[str, Any]:
    """Time enough, where the adapter waits for anybody at all."""
    return {"timeout_seconds": PATIENT} if hasattr(case.module.Settings, "timeout_seconds") else {}


def test_the_manifest_says_what_it_is(case: PolledCase) -> None:
    manifest = case.module.MANIFEST
    assert isinstance(manifest, Manifest)
    assert manifest.direction == "in"
    assert manifest.polled
    assert manifest.form in ("hl7v2", "row", "fhir")


def test_what_is_there_comes_once_and_becomes_patients(bench: Bench, peer: Any) -> None:
    for n in (1, 2, 3):
        bench.case.tell(peer, n)
    assert bench.poll() == ""
    assert sorted(bench.numbers()) == bench.expected(1, 2, 3)
    bench.poll()
    assert sorted(bench.numbers()) == bench.expected(1, 2, 3)
    bench.case.tell(peer, 4)
    bench.poll()
    assert sorted(bench.numbers()) == bench.expected(1, 2, 3, 4)
    bench.home.apply()
    assert bench.home.unapplied() == []
    assert bench.home.known("Patient") >= set(bench.expected(1, 2, 3, 4))  # a source may know further numbers of them
    assert len(bench.home.resources("Patient")) == 4


def test_each_fault_loses_nothing_doubles_nothing_and_is_said(case: PolledCase, fault: Fault, bench: Bench, peer: Any) -> None:
    case.tell(peer, 1)
    expect = case.expect(fault)
    case.arm(peer, fault)
    began = time.monotonic()
    wrong = bench.poll()
    assert time.monotonic() - began < case.timeout * 4 + 2
    if expect is None:
        assert wrong == ""
        assert bench.numbers() == bench.expected(1)
    else:
        assert wrong != ""
        assert bench.numbers() in ([], bench.expected(1))
        _is_one_of_four(bench, expect)
    peer.behave()
    time.sleep(SETTLE)
    case.tell(peer, 2)
    assert bench.poll() == ""  # and the alert is over
    bench.poll()
    assert sorted(bench.numbers()) == sorted(bench.expected(1, 2))


def _is_one_of_four(bench: Bench, expect: Any) -> None:
    """The same fault met by a source of its own: its error is that of the table, and says nothing of a patient."""
    source = channels.build_source(bench.home.channel)
    with pytest.raises(expect) as caught:
        source.poll(bench.poller._feed)
    source.close()
    assert type(caught.value).__name__ in FOUR
    assert in_the_clear(caught.value) == []


def test_a_fault_after_a_good_poll_loses_and_doubles_nothing(case: PolledCase, fault: Fault, bench: Bench, peer: Any) -> None:
    """The same faults, but a connection may be open, and a place is kept."""
    case.tell(peer, 1)
    assert bench.poll() == ""
    case.tell(peer, 2)
    case.arm(peer, fault)
    bench.poll()
    peer.behave()
    time.sleep(SETTLE)
    case.tell(peer, 3)
    bench.poll()
    bench.poll()
    assert sorted(bench.numbers()) == sorted(bench.expected(1, 2, 3))


def test_down_and_up_again_costs_nothing_and_is_said_once(bench: Bench, peer: Any) -> None:
    bench.case.tell(peer, 1)
    bench.poll()
    peer.stop()
    bench.poll()  # the connection that was open breaks, or nobody is there
    said = {bench.poll() for _ in range(3)}
    assert len(said) == 1
    assert "" not in said
    peer.behave()
    bench.case.tell(peer, 2)
    assert bench.poll() == ""
    assert bench.numbers() == bench.expected(1, 2)


def test_while_the_hub_takes_nothing_the_source_keeps_it(bench: Bench, peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.bootstrap.poll.why_full", lambda _: "the disk is nearly full")
    bench.case.tell(peer, 1)
    assert "nearly full" in bench.poll()
    assert bench.numbers() == []
    monkeypatch.undo()
    assert bench.poll() == ""
    assert bench.numbers() == bench.expected(1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hub_that_dies_at_the_commit_loses_and_doubles_nothing(case: PolledCase, peer: Any, tmp_path: Path, when: str) -> None:
    """The process ends just before, or just after what it read is stored: the source has heard nothing of that."""
    case.tell(peer, 1)
    case.tell(peer, 2)
    dying = Bench(case, peer, tmp_path / "hub")
    stored = dying.poller.store

    def store(batch: Any) -> Any:
        if when == "after":
            stored(batch)
        raise KeyboardInterrupt

    dying.poller.store = store  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        dying.poller.round()
    dying.close()
    again = Bench(case, peer, tmp_path / "hub")
    again.poll()
    again.poll()
    assert sorted(again.numbers()) == sorted(again.expected(1, 2))
    again.close()


def test_an_untrusted_certificate_is_no_source(case: PolledCase, authority: Authority, tmp_path: Path) -> None:
    if Fault.TLS_WRONG not in case.faults:
        assert "ca_file" not in case.module.Settings.__dataclass_fields__
        return
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.pem)
    peer = case.peer(authority.server_context())
    peer.start()
    try:
        bench = Bench(case, peer, tmp_path / "hub", ca_file=str(ca_file))
        case.tell(peer, 1)
        peer.misbehave(Fault.TLS_WRONG, None)
        assert "certificate" in bench.poll()
        assert bench.numbers() == []
        _is_one_of_four(bench, Misconfigured)
        peer.behave()
        assert bench.poll() == ""
        assert bench.numbers() == bench.expected(1)
        bench.close()
    finally:
        peer.stop()


def test_build_asks_nothing_and_close_may_come_twice(case: PolledCase, tmp_path: Path) -> None:
    peer = case.peer(None)
    peer.start()
    peer.stop()
    bench = Bench(case, peer, tmp_path / "hub")
    source = channels.build_source(bench.home.channel)
    source.close()
    source.close()
    bench.close()
