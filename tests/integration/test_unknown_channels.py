"""What came by a channel that apply does not know waits: hub.toml may have been read by one process and not yet by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.bootstrap import open_hub
from hub.config import load
from tests.hub_kit import Kit, adt, make_kit, received

LATE = '\n[channels.ocs-late]\nadapter = "ocs.hl7_in"\nsystem = "ocs"\nport = 0\n'


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kit(request: pytest.FixtureRequest, tmp_path: Path):
    url = "sqlite:///hub.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = make_kit(tmp_path, url)
    yield made
    made.close()


def test_messages_of_a_channel_that_apply_has_not_read_yet_wait_for_it(kit: Kit, tmp_path: Path) -> None:
    before = (tmp_path / "hub.toml").read_text()
    (tmp_path / "hub.toml").write_text(before + LATE)
    listener = open_hub(load(tmp_path / "hub.toml"))  # has read it; the one that applies has not
    first, second = (listener.intake().store([received(adt("A04", number), "ocs-late")])[0].message_id for number in ("1", "2"))
    (neighbour,) = kit.receive(adt("A04", "3"))
    kit.apply()
    assert [kit.state(n) for n in (first, second, neighbour.message_id)] == ["queued", "queued", "done/applied"]  # type: ignore[arg-type]
    kit.hub.reload(load(tmp_path / "hub.toml"))
    kit.apply()
    assert [kit.state(n) for n in (first, second)] == ["done/applied"] * 2  # type: ignore[arg-type]
    listener.close()


def test_a_channel_that_was_taken_out_may_come_back(kit: Kit, tmp_path: Path) -> None:
    text = (tmp_path / "hub.toml").read_text()
    (tmp_path / "hub.toml").write_text(text + LATE)
    kit.hub.reload(load(tmp_path / "hub.toml"))
    (receipt,) = kit.receive(adt("A04", "1"), channel="ocs-late")
    for written, state in ((text, "queued"), (text + LATE, "done/applied")):
        (tmp_path / "hub.toml").write_text(written)
        kit.hub.reload(load(tmp_path / "hub.toml"))
        kit.apply()
        assert kit.state(receipt.message_id) == state  # type: ignore[arg-type]
