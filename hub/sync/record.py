"""Recording: what applying did becomes change rows, outbound work and audit details, all of the same transaction."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from hub.domain.rows import ChangeRow, Row
from hub.domain.store import Tx
from hub.sync.canon import Changed
from hub.sync.routes import Route, count, outbound_rows

_NUMBERS = re.compile(r"\d{2,4}-\d{3,4}-\d{4}|\d{6,}")  # as hub/audit/entry.py sees them
REASON_MAX = 200  # characters, hub/audit/entry.py


def reason_text(text: str) -> str:
    """A reason as an audit entry may hold it: short, and without numbers that could be somebody's."""
    return _NUMBERS.sub("…", text)[:REASON_MAX]


def record(
    tx: Tx, changes: Sequence[Changed], routes: Sequence[Route], buckets: int, later: Collection[int] = ()
) -> tuple[list[Row], dict[int, int]]:
    """Rows of all changes and their outbound messages; and id(change) -> change id, for the audit entries.

    `later`: the messages of a load among those that the changes come from.
    """
    if not changes:
        return [], {}
    numbered = list(zip(tx.ids("change", len(changes)), changes, strict=True))
    rows: list[Row] = [_row(change_id, changed, tx.now) for change_id, changed in numbered]
    rows += outbound_rows(numbered, routes, tx.ids("message", count(changes, routes)), tx.now, buckets, later)
    return rows, {id(changed): change_id for change_id, changed in numbered}


def _row(change_id: int, changed: Changed, now: int) -> ChangeRow:
    resource, origin = changed.resource, changed.origin
    newest = changed.document is resource.data and resource.text  # else the batch changed it again
    return ChangeRow(
        change_id, now, changed.type, resource.kind, resource.id, resource.patient_id, changed.version,
        orjson.dumps(changed.fields).decode(), newest or orjson.dumps(changed.document).decode(),
        origin.message_id, origin.channel,
    )  # fmt: skip


def summary(changes: Sequence[Changed], ids: Mapping[int, int]) -> list[list[Any]]:
    """For the audit entry: [change id, type, fields] each; field names only, never values."""
    return [[ids[id(c)], c.type, c.fields] for c in changes]
