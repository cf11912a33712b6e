"""A whole hub in a folder, on SQLite and without a process of its own: what a test looks at when it asks what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import orjson

from hub.bootstrap import Hub, open_hub
from hub.bootstrap.poll import Poller
from hub.config import Channel, load
from hub.db import schema
from hub.db.crypt import KeyRing
from hub.db.engine import make_engine, parse_url
from hub.domain.store import Lease

CONFIG = """[hub]
name = "test hub"
assigner = "HOSP"
[database]
url = "sqlite:///hub.db"
"""
CHANNEL = "channel"


class Home:
    """`folder` gets hub.toml with one channel named "channel", secrets and database."""

    def __init__(self, folder: Path, table: Mapping[str, Any], maps: str = "") -> None:
        """`table`: the channel as hub.toml says it, adapter and system among it; `maps`: text of an overlay map."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        lines = [f"{key} = {_toml(value)}" for key, value in table.items()]
        if maps:
            (folder / "maps").mkdir(exist_ok=True)
            (folder / "maps" / "test.toml").write_text(maps, encoding="utf-8")
            lines.append('overlay = "maps"')
        text = "\n".join([CONFIG, f"[channels.{CHANNEL}]", *lines, ""])
        (folder / "hub.toml").write_text(text, encoding="utf-8")
        if not (folder / "secrets" / "data.key").exists():
            KeyRing.create(folder / "secrets")
        config = load(folder / "hub.toml")
        if not (folder / "hub.db").exists():
            (folder / "hub.db").write_bytes(_empty())
        self.hub: Hub = open_hub(config)
        self._applier = self.hub.applier()
        self._lease = self._take()

    @property
    def channel(self) -> Channel:
        return self.hub.config.channels[CHANNEL]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hub.close()

    def _take(self) -> Lease:
        with self.hub.store.transaction() as tx:
            lease = tx.take("test", "in", range(self.hub.buckets), 99, 600)
        assert lease is not None
        return lease

    def poller(self) -> Poller:
        """Of the channel; driven by hand: `round`."""
        return Poller(self.hub, self.channel, lambda: None)

    def apply(self) -> None:
        """Everything that is due."""
        while self._applier.step(self._lease):
            continue

    def messages(self) -> list[tuple[str, str]]:
        """(type, patient number) of each inbound message that was not refused, in order."""
        sql = (
            "SELECT m.type, m.patient_no FROM message m LEFT JOIN outcome o ON o.message_id = m.id AND o.state = 'refused'"
            " WHERE m.direction = 'in' AND o.message_id IS NULL ORDER BY m.id"
        )
        return [(str(kind), str(number)) for kind, number in self._rows(sql)]

    def unapplied(self) -> list[str]:
        """Why messages did not become part of the model: refused, dead, ignored."""
        sql = (
            "SELECT coalesce(nullif(o.reason, ''), o.state || ' ' || o.outcome) FROM outcome o WHERE o.outcome <> 'applied'"
            " UNION ALL SELECT w.reason FROM work w WHERE w.state = 'dead'"
        )
        return [str(reason) for (reason,) in self._rows(sql)]

    def alerts(self) -> list[str]:
        """What is wrong at the moment."""
        return [str(text) for (text,) in self._rows("SELECT text FROM alert WHERE cleared_at IS NULL ORDER BY id")]

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The canonical documents of a kind, in the order of their making."""
        rows = self._rows("SELECT data FROM resource WHERE kind = ? AND status = 'active' ORDER BY id", kind)
        return [orjson.loads(data) for (data,) in rows]

    def known(self, kind: str) -> set[str]:
        """The numbers under which resources of a kind are found."""
        return {str(value) for (value,) in self._rows("SELECT value FROM identifier WHERE kind = ?", kind)}

    def _rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.hub.store.snapshot() as tx:
            return tx.many(sql, *parameters)


@cache
def _empty() -> bytes:
    """A database with the schema and nothing in it: made once a process, as the migrations take their time."""
    with tempfile.TemporaryDirectory(prefix="hub-empty-") as folder:
        engine = make_engine(parse_url("sqlite:///hub.db", Path(folder)))
        schema.upgrade(engine)
        engine.dispose()
        return (Path(folder) / "hub.db").read_bytes()


def _toml(value: Any) -> str:
    """A value as hub.toml takes it: TOML's basic values are written as JSON's are, tables inline."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return orjson.dumps(value if isinstance(value, bool | int | float) else str(value)).decode()
