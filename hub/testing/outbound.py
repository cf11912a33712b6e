"""One contract for every outbound adapter (hub/domain/ports, Target), each against its simulated peer, and for the fake.

A test module takes it over with `from hub.testing.outbound import *` beside its CASES (hub.testing).
"""

from __future__ import annotations

import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown
from hub.domain.ports import Delivered, Manifest, Outbound, Target
from hub.simulator.certificates import Authority
from hub.simulator.fake import FakePeer
from hub.simulator.faults import Fault
from hub.testing.case import CANARIES, Case

PATIENT = {"timeout_seconds": 15.0}  # where no time-out is meant to happen, however busy the machine is
SETTLE = 0.05  # seconds for a close to arrive: while it is on its way, no client can know what became of its request
TRIES = 4
FOUR = ("NotDelivered", "OutcomeUnknown", "Refused", "Misconfigured")


def in_the_clear(error: BaseException) -> list[str]:
    """The canaries that a log would show: the error's text, its cause, its trace."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    return [canary for canary in CANARIES if canary in shown]


def deliver(target: Target, message: Outbound) -> None:
    """As the hub does it: again after an error, asked first where a resend is not safe. One try is enough, but where a machine
    is so busy that a time-out of half a second runs out by itself."""
    for _ in range(TRIES):
        try:
            if target.resend_is_safe or target.find(message) is None:
                assert isinstance(target.send(message), Delivered)
            return
        except (NotDelivered, OutcomeUnknown) as error:
            last = error
    raise last


def test_the_manifest_says_what_it_is(case: Case) -> None:
    manifest = case.module.MANIFEST
    assert isinstance(manifest, Manifest)
    assert manifest.direction == "out"
    assert manifest.system in ("ocs", "emr", "erp", "pacs", "crm")
    assert manifest.handles


def test_send_delivers_once_and_says_what_was_sent(case: Case, peer: Any) -> None:
    target = case.build(peer, **PATIENT)
    done = target.send(case.message(1))
    target.close()
    assert isinstance(done, Delivered)
    assert done.sent
    assert done.detail
    assert not any(canary in done.detail for canary in CANARIES)
    assert case.effects(peer) == 1


def test_the_same_message_is_the_same_bytes_and_one_effect(case: Case, peer: Any) -> None:
    target = case.build(peer, **PATIENT)
    first, again = target.send(case.message(1)), target.send(case.message(1))
    other_process = case.build(peer, **PATIENT)
    third = other_process.send(case.message(1))
    target.close()
    other_process.close()
    if case.same_bytes:
        assert first.sent == again.sent == third.sent
    assert case.effects(peer) == 1


def test_ping_says_a_line(case: Case, peer: Any) -> None:
    target = case.build(peer, **PATIENT)
    line = target.ping()
    target.close()
    assert line.strip()
    assert "\n" not in line
    assert case.effects(peer) == 0


def test_ping_of_a_closed_port_is_not_delivered(case: Case, peer: Any) -> None:
    target = case.build(peer)
    peer.stop()
    with pytest.raises(NotDelivered) as caught:
        target.ping()
    target.close()
    assert not caught.value.reached


def test_each_fault_is_exactly_one_of_four(case: Case, fault: Fault, peer: Any) -> None:
    expect = case.expect(fault)
    target = case.build(peer)
    case.arm(peer, fault)
    began = time.monotonic()
    if expect.error is None:
        assert isinstance(target.send(case.message(1)), Delivered)
    else:
        with pytest.raises(expect.error) as caught:
            target.send(case.message(1))
        assert type(caught.value).__name__ in FOUR
        assert in_the_clear(caught.value) == []
        if expect.reached is not None:
            assert isinstance(caught.value, NotDelivered)
            assert caught.value.reached is expect.reached
    assert time.monotonic() - began < case.timeout * 4 + 1
    if expect.acted is not None:
        assert case.effects(peer) == int(expect.acted)

    peer.behave()  # the same target goes on as soon as the peer does
    time.sleep(SETTLE)
    if not target.resend_is_safe and expect.acted is not None and expect.error is not None:
        assert (target.find(case.message(1)) is not None) is expect.acted
    deliver(target, case.message(1))
    deliver(target, case.message(2))
    target.close()
    assert case.effects(peer) == 2


def test_a_fault_at_a_kept_connection_loses_and_doubles_nothing(case: Case, fault: Fault, peer: Any) -> None:
    """The same faults, but the connection is open from an earlier message."""
    if fault in (
        Fault.HANG_UP,
        Fault.HALF_OPEN,
        Fault.CLOSE_AFTER,
    ):  # faults of a new connection; and one that is itself the matter
        peer.misbehave(Fault.CLOSE_AFTER)
    target = case.build(peer)
    target.send(case.message(1))
    time.sleep(SETTLE)
    case.arm(peer, fault)
    expect = case.expect(fault)
    if expect.error is None:
        target.send(case.message(2))
    else:
        with pytest.raises(expect.error) as caught:
            target.send(case.message(2))
        assert in_the_clear(caught.value) == []
    peer.behave()
    time.sleep(SETTLE)
    deliver(target, case.message(2))
    target.close()
    assert case.effects(peer) == 2


def test_an_untrusted_certificate_stops_the_channel(case: Case, authority: Authority, tmp_path: Path) -> None:
    if Fault.TLS_WRONG not in case.faults:
        assert "ca_file" not in {field.name for field in fields(case.module.Settings)}
        return
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.pem)
    peer = case.peer(authority.server_context())
    if isinstance(peer, FakePeer):
        peer.misbehave(Fault.TLS_WRONG)
        with pytest.raises(Misconfigured):
            case.build(peer).send(case.message(1))
        return
    peer.start()
    try:
        target = case.build(peer, ca_file=str(ca_file))
        assert isinstance(target.send(case.message(1)), Delivered)
        target.close()
        target = case.build(peer, ca_file=str(ca_file))
        peer.misbehave(Fault.TLS_WRONG, None)
        with pytest.raises(Misconfigured) as caught:
            target.send(case.message(2))
        assert in_the_clear(caught.value) == []
        peer.behave()
        assert isinstance(target.send(case.message(2)), Delivered)
        target.close()
        assert case.effects(peer) == 2
    finally:
        peer.stop()


def test_it_is_thread_safe(case: Case, peer: Any) -> None:
    target = case.build(peer, **PATIENT)

    def one(n: int) -> bool:
        return isinstance(target.send(case.message(n)), Delivered)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(80), timeout=30))
    target.close()
    assert case.effects(peer) == 80


def test_down_and_up_again_costs_no_message(case: Case, peer: Any) -> None:
    target = case.build(peer, **PATIENT)
    target.send(case.message(1))
    peer.stop()
    for _ in range(3):
        with pytest.raises(NotDelivered) as caught:
            target.send(case.message(2))
        assert caught.value.reached is False
    peer.behave()
    target.send(case.message(2))
    target.close()
    assert case.effects(peer) == 2


def test_close_may_be_called_twice_and_in_any_state(case: Case, peer: Any) -> None:
    unused = case.build(peer, **PATIENT)
    unused.close()
    unused.close()
    used = case.build(peer, **PATIENT)
    used.send(case.message(1))
    used.close()
    used.close()


def test_build_connects_to_nothing(case: Case) -> None:
    peer = case.peer(None)
    peer.start()
    peer.stop()
    case.build(peer).close()


def test_a_wrong_setting_says_what_to_write(case: Case, peer: Any) -> None:
    if case.target is not None:
        assert isinstance(peer, FakePeer)  # only the fake has no settings
        return
    table = case.table(peer)
    with pytest.raises(Misconfigured, match=r"did you mean|known"):
        case.module.Settings.from_table({**table, "tiemout_secnods": 3})
    with pytest.raises(Misconfigured, match=r"write|\{ file"):
        case.module.Settings.from_table({})
    key = next(key for key, value in table.items() if isinstance(value, str))
    with pytest.raises(Misconfigured):
        case.module.Settings.from_table({**table, key: 17})


def test_what_a_peer_says_stays_out_of_the_error(case: Case, peer: Any) -> None:
    """A refusal that repeats the message: kept with the attempt (`answer`), never in the text."""
    target = case.build(peer, **PATIENT)
    case.arm(peer, Fault.REFUSE if Fault.REFUSE in case.faults else next(iter(case.faults)))
    with pytest.raises(HubError) as caught:
        target.send(case.message(1))
    target.close()
    assert in_the_clear(caught.value) == []
    assert caught.value.sent or isinstance(peer, FakePeer)
