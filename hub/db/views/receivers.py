"""Of a change: which systems it went to, who has confirmed it, who has not and why. Read by change ids, as many as asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from hub.db.tables import attempt
from hub.db.views.messages import MessageRow
from hub.domain.receivers import NAMES, code_of, code_of_all

MOST_ATTEMPTS = 2_000  # of all messages asked for: who has more is told of the newest


class Answer(NamedTuple):
    """The last thing that a target said, or did not say. `detail` is free of patient data."""

    at: int
    n: int
    verdict: str
    detail: str


def of_rows(conn: Connection, changes: Sequence[tuple[int, str]], carried: Sequence[MessageRow]) -> list[dict[str, Any]]:
    """A header for each change (id, type) that went anywhere, in their order, with its receivers out of `carried`."""
    answers = last_answers(conn, [row.id for row in carried])
    by_change: dict[int | None, list[dict[str, Any]]] = {}
    for row in carried:
        by_change.setdefault(row.change_id, []).append(_receiver(row, answers))
    found = []
    for id_, type_ in changes:
        if id_ in by_change:
            code = code_of_all([receiver["code"] for receiver in by_change[id_]])
            found.append({"changeId": id_, "type": type_, "code": code, "codeName": NAMES[code], "receivers": by_change[id_]})
    return found


def last_answers(conn: Connection, message_ids: Sequence[int]) -> dict[int, Answer]:
    """By message."""
    if not message_ids:
        return {}
    columns = (attempt.c.message_id, attempt.c.at, attempt.c.n, attempt.c.verdict, attempt.c.detail)
    rows = conn.execute(
        select(*columns).where(attempt.c.message_id.in_(message_ids)).order_by(attempt.c.at.desc(), attempt.c.n.desc())
        .limit(MOST_ATTEMPTS)
    )  # fmt: skip
    found: dict[int, Answer] = {}
    for row in rows:
        found.setdefault(row.message_id, Answer(row.at, row.n, row.verdict, row.detail))
    return found


def _receiver(row: MessageRow, answers: Mapping[int, Answer]) -> dict[str, Any]:
    last = answers.get(row.id)
    code = code_of(row.state, row.reason, row.attempts, last.verdict if last else "")
    return {
        "target": row.channel, "state": row.state, "code": code, "codeName": NAMES[code],
        "attempts": max(row.attempts, last.n if last else 0),
        "messageId": row.id, "reason": row.reason, "lastAnswer": last._asdict() if last else None,
    }  # fmt: skip
