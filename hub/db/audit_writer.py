"""Audit entries of acts that have no transaction of their own: reads, refused access, operators' commands."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from hub.audit.actions import Action
from hub.db.audit import append


class AuditLog:
    """hub.domain.ports.AuditWriter: one entry, committed before this returns."""

    def __init__(self, write_engine: Engine) -> None:
        self._engine = write_engine

    def append(
        self,
        action: str,
        *,
        actor: str,
        channel: str = "",
        message_id: int | None = None,
        resource_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        with self._engine.begin() as connection:
            append(
                connection,
                Action(action),
                actor=actor,
                channel=channel,
                message_id=message_id,
                resource_id=resource_id,
                detail=detail,
            )
