"""`hub replay` and `hub discard` on all dead messages of a channel: which ones, in which order, asked for, audited each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select

from hub.db import tables as t
from tests import web_kit
from tests.unit.cli.conftest import Run

WHY = ("--reason", "department codes added")


@pytest.fixture
def dead(hub_toml: Path) -> Iterator[Engine]:
    """Three dead ORU and one dead ADT of ocs-in, one dead delivery, one that is done."""
    engine = create_engine(f"sqlite:///{hub_toml.parent / 'hub.db'}")
    with engine.begin() as conn:
        for number, kind, reason in (
            (11, "ORU^R01", "OBX-3: no code"),
            (12, "ADT^A08", "PID-7: not a date"),
            (13, "ORU^R01", ""),
        ):
            web_kit.add_message(conn, number, "ocs-in", "in", kind, state="dead", reason=reason, lane=f"HOSP|{number}")
        web_kit.add_message(conn, 14, "crm-webhook", "out", "patient.updated", state="dead", reason="422", lane="x")
        web_kit.add_message(conn, 15, "ocs-in", "in", "ORU^R01", outcome="applied", lane="HOSP|15")
    yield engine
    engine.dispose()


def states(engine: Engine) -> dict[int, str]:
    with engine.connect() as conn:
        return {row.message_id: row.state for row in conn.execute(select(t.work))}


def test_all_of_a_channel_by_type(run: Run, hub_toml: Path, dead: Engine) -> None:
    ran = run("replay", "--channel", "ocs-in", "--type", "ORU", "--yes", *WHY, "-c", hub_toml)
    assert ran.code == 0
    assert ran.out.splitlines() == ["11 is queued again", "13 is queued again"]
    assert states(dead) == {11: "queued", 12: "dead", 13: "queued", 14: "dead"}
    with dead.connect() as conn:
        assert [row.message_id for row in conn.execute(select(t.entry).where(t.entry.c.action == "message.replayed"))] == [11, 13]


def test_by_a_word_of_the_reason(run: Run, hub_toml: Path, dead: Engine) -> None:
    assert run("discard", "--channel", "ocs-in", "--because", "PID-7", "-y", *WHY, "-c", hub_toml).code == 0
    assert states(dead) == {11: "dead", 13: "dead", 14: "dead"}


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_it_asks_first(run: Run, hub_toml: Path, dead: Engine, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    ran = run("replay", "--channel", "ocs-in", *WHY, "-c", hub_toml)
    assert ran.code == 1
    assert "replay 3 dead messages of ocs-in?" in ran.err
    assert set(states(dead).values()) == {"dead"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "write ids, or --channel"),
        ((11, "--channel", "ocs-in"), 2, "write ids, or --channel"),
        ((11, "--type", "ORU"), 2, "narrow --channel"),
        (("--channel", "osc-in"), 1, 'no channel "osc-in"'),
        (("--channel", "ocs-in", "--type", "SIU"), 0, "no dead message of ocs-in is like that"),
    ],
)
def test_what_is_not_meant(run: Run, hub_toml: Path, dead: Engine, arguments: tuple[object, ...], code: int, text: str) -> None:
    ran = run("replay", *arguments, "--yes", *WHY, "-c", hub_toml)
    assert ran.code == code
    assert text in " ".join((ran.out + ran.err).replace("│", " ").split())
    assert states(dead)[11] == "dead"
