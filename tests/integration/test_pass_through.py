"""Messages that go on as they came: by filter, to several destinations, in order, stored once; on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hub.config import load
from hub.config.model import RetentionSection
from hub.domain.errors import HubError, NotDelivered, Refused
from hub.domain.ports import Outbound, Received
from hub.domain.store import BEHIND
from hub.sync import passing
from hub.sync.retention import Retention
from tests.hub_kit import Kit, Recorder, adt, hl7, pid, pv1, received

CHANNELS = """
[channels.pacs]
adapter = "raw.mllp_out"
system = "pacs"
host = "127.0.0.1"
port = 9
max_attempts = 3
breaker_failures = 1000
retry = { base_seconds = 0.01, max_seconds = 0.02 }
[channels.archive]
adapter = "raw.mllp_out"
system = "emr"
host = "127.0.0.1"
port = 9
retry = { base_seconds = 0.01, max_seconds = 0.02 }
"""
ROUTES = """
[[routes]]
to = ["pacs", "archive"]
from_channels = ["ocs-in"]
messages = ["ADT^A0?", "MDM"]
senders = ["OCS|HOSP"]
where = { "PV1-2" = ["I", "E"] }

[[routes]]
to = ["archive"]
from_channels = ["ocs-in", "emr-in"]
messages = ["ZZZ"]
"""


def adopt(kit: Kit, text: str = CHANNELS + ROUTES) -> None:
    file = kit.hub.config.path
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
    kit.hub.reload(load(file))
    for name, channel in kit.hub.targets().items():
        channel.target = kit.recorders[name] = kit.recorders.get(name, Recorder())


def bodies(kit: Kit, name: str) -> list[bytes | None]:
    return [message.body for message in kit.target(name).sent]


def test_a_message_goes_on_byte_for_byte_to_each_destination_that_its_filters_say(kit: Kit) -> None:
    adopt(kit)
    inpatient = adt("A01", "100", pv1("V1", patient_class="I"), name="똠방^각하")
    outpatient = adt("A01", "101", pv1("V2", patient_class="O"))
    unknown = hl7("ZZZ^Z01", pid("102"), "ZZ1|남궁민수")
    kit.tell(inpatient, outpatient, unknown)
    kit.tell(adt("A01", "103", pv1("V3", patient_class="I")), channel="emr-in")
    assert bodies(kit, "pacs") == [inpatient]
    assert bodies(kit, "archive") == [inpatient, unknown]
    assert kit.rows("SELECT count(*) FROM message WHERE direction = 'out' AND body IS NOT NULL") == [(0,)]
    assert kit.rows("SELECT count(*) FROM attempt WHERE sent IS NOT NULL") == [(0,)]
    assert {m.type for m in kit.target("ocs-out").sent} <= {"patient.updated"}  # and changes go where they went


def test_what_a_load_passes_on_may_wait_and_a_merge_makes_way_for_itself(kit: Kit) -> None:
    adopt(kit, CHANNELS + '[[routes]]\nto = ["pacs", "archive"]\nfrom_channels = ["ocs-in"]\n')
    loaded = [received_of(adt("A08", f"1{n:02d}")) for n in range(50)]
    for message in loaded:
        message.later = True
    kit.intake.store(loaded)
    assert places(kit) == [("archive", True, 50), ("pacs", True, 50)]
    kit.receive(hl7("ADT^A40", pid("148"), "MRG|149^^^HOSP^MR"))
    assert places(kit) == [("archive", False, 4), ("archive", True, 48), ("pacs", False, 4), ("pacs", True, 48)]
    kit.deliver()
    assert places(kit) == []
    sent = bodies(kit, "pacs")
    assert len(sent) == 51
    assert sent.index(loaded[49].body) < next(at for at, body in enumerate(sent) if b"MRG|" in (body or b""))


def places(kit: Kit) -> list[tuple[str, bool, int]]:
    """Channel, whether it may wait, how many: of what is to go out as it came."""
    sql = "SELECT channel, bucket >= ?, count(*) FROM work WHERE channel IN ('pacs', 'archive') GROUP BY 1, 2 ORDER BY 1, 2"
    return [(channel, bool(later), number) for channel, later, number in kit.rows(sql, BEHIND)]


def test_the_same_message_again_goes_on_once_and_a_refused_one_never(kit: Kit) -> None:
    adopt(kit)
    message = adt("A01", "100", pv1("V1", patient_class="I"), control="ONE")
    first, again = kit.receive(message, message)
    assert again.duplicate_of == first.message_id
    kit.receive(message)
    other = adt("A01", "100", pv1("V1", patient_class="E"), control="ONE")  # other content under a used id, stored with an alert
    kit.receive(other)
    kit.deliver()
    assert bodies(kit, "pacs") == [message, other]
    batch = [received_of(adt("A01", "104", pv1("V4", patient_class="I")), refused="a reason")]
    kit.intake.store(batch)
    kit.deliver()
    assert len(bodies(kit, "pacs")) == 2


def test_what_a_channel_does_not_take_into_the_model_can_go_on(kit: Kit) -> None:
    adopt(kit)
    message = received_of(hl7("MDM^T02", pid("100"), pv1("V1", patient_class="I"), "TXA|1|CN"))
    message.filtered = True  # by the channel's `accept`
    (receipt,) = kit.intake.store([message])
    kit.deliver()
    assert bodies(kit, "pacs") == [message.body]
    assert receipt.message_id is not None
    assert kit.state(receipt.message_id) == "done/ignored"


def test_order_is_kept_per_patient_and_one_destination_holds_up_no_other(kit: Kit) -> None:
    adopt(kit)
    down = {"now": True}
    kit.target("pacs").fail = failing("100", down)
    told = [adt("A01", number, pv1(f"V{n}", patient_class="I")) for n, number in enumerate(["100", "101", "100", "101", "100"])]
    kit.receive(*told)
    kit.deliver(steps=40)
    assert sorted(map(str, bodies(kit, "archive"))) == sorted(map(str, told))
    assert bodies(kit, "pacs") == [told[1], told[3]]
    down["now"] = False
    kit.deliver()
    assert [body for body in bodies(kit, "pacs") if body in (told[0], told[2], told[4])] == [told[0], told[2], told[4]]


def test_a_merge_waits_for_both_and_both_wait_for_it(kit: Kit) -> None:
    adopt(kit, CHANNELS + '[[routes]]\nto = ["pacs"]\nfrom_channels = ["ocs-in"]\n')
    down = {"now": True}
    kit.target("pacs").fail = failing("100", down)
    first, other = adt("A08", "100"), adt("A08", "200")
    merge = hl7("ADT^A40", pid("200"), "MRG|100^^^HOSP^MR")
    later = adt("A08", "200", sex="F")
    kit.receive(first, other, merge, later)
    kit.deliver(steps=40)
    assert bodies(kit, "pacs") == [other]
    down["now"] = False
    kit.deliver()
    assert bodies(kit, "pacs") == [other, first, merge, later]


def test_retention_keeps_a_body_that_is_still_to_be_sent_and_erases_it_then(kit: Kit) -> None:
    adopt(kit)
    kit.target("pacs").fail = lambda m: Refused("no") if m.body else None
    (receipt,) = kit.receive(adt("A01", "100", pv1("V1", patient_class="I")))
    kit.apply()
    kit.deliver()
    (dead,) = kit.rows("SELECT message_id, state FROM work WHERE channel = 'pacs'")
    assert dead[1] == "dead"
    with kit.hub.store.transaction() as tx:
        tx.execute("UPDATE message SET at = at - ?", 400 * 86_400_000_000)
    there = "SELECT count(*) FROM message WHERE id = ? AND body IS NOT NULL"
    Retention(kit.hub.store, RetentionSection()).purge()
    assert kit.rows(there, receipt.message_id) == [(1,)]  # a person may still replay it
    kit.target("pacs").fail = lambda m: None
    kit.hub.operations.replay(dead[0], reason="mended", actor="test")
    kit.deliver()
    assert len(bodies(kit, "pacs")) == 1
    Retention(kit.hub.store, RetentionSection()).purge()
    assert kit.rows(there, receipt.message_id) == [(0,)]


def test_large_bodies_are_claimed_a_few_at_a_time(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(kit)
    monkeypatch.setattr(passing, "BUDGET", 3000)
    told = [adt("A01", "100", pv1("V", patient_class="I"), "NTE|1||" + "x" * 1000) for _ in range(7)]
    told += [adt("A01", "101", pv1("V", patient_class="I"), "NTE|1||" + "x" * 9000)]
    kit.receive(*told)
    most = 0
    claim = kit.courier._claim

    def counted(*arguments: object) -> object:
        nonlocal most
        found = claim(*arguments)  # type: ignore[arg-type]
        most = max(most, len(found))
        return found

    monkeypatch.setattr(kit.courier, "_claim", counted)
    kit.deliver()
    assert 1 <= most <= 3
    assert [body for body in bodies(kit, "pacs") if body != told[7]] == told[:7]
    assert len(bodies(kit, "pacs")) == 8


def test_without_its_body_it_is_dead_and_says_so() -> None:
    message = Outbound(1, "pacs", "ADT^A01", 0, 1, "", "", 0, {}, [], "", {})
    with pytest.raises(Refused, match="erased"):
        message.as_received  # noqa: B018 - it raises


def failing(number: str, down: dict[str, bool]) -> Callable[[Outbound], HubError | None]:
    """For this patient's messages the destination is not there, while it is down."""
    mark = f"||{number}^".encode()
    return lambda m: NotDelivered("down", reached=False) if down["now"] and mark in (m.body or b"") else None


def received_of(body: bytes, refused: str | None = None) -> Received:
    one = received(body, "ocs-in")
    one.refused = refused
    return one
