"""Who may come in: bearer tokens, browser sessions, and the answers kept for repeated writes (Idempotency-Key).

A token is 256 random bits behind `hub_`; only its SHA-256 is stored: a hash without salt or work factor is enough for a
secret that cannot be guessed. A session belongs to a token and dies with it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from sqlalchemy import CursorResult, Engine, RowMapping, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from hub.db.tables import idempotency, session, token
from hub.domain.errors import NotFound, Refused
from hub.domain.ids import new_id

Role = Literal["crm", "operator", "auditor", "admin", "sender"]
ROLES: tuple[Role, ...] = get_args(Role)
PREFIX = "hub_"
SESSION_LIFE = 12 * 3600 * 1_000_000  # µs: a working day; then the browser logs in again
IDEMPOTENCY_LIFE = 24 * 3600 * 1_000_000  # µs for which an answer is kept
_IN_PROGRESS = 0  # status of a write that has begun and has no answer yet


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token without its secret."""

    id: str
    name: str
    role: Role
    created_at: int
    expires_at: int | None
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser's session: the token it was opened with, and the word that its forms carry (CSRF)."""

    token: TokenRow
    csrf: str


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What an earlier write under the same key got; `status` 0 while it has not ended. `body` is sealed."""

    request: bytes
    status: int
    body: bytes
    headers: str


def hash_of(secret: str) -> bytes:
    """What is stored of a token or of a session's cookie."""
    return hashlib.sha256(secret.encode()).digest()


class AccessStore:
    """Tokens, sessions and stored answers. `engine` reads, `writer` commits (one process owns writing on SQLite)."""

    def __init__(self, engine: Engine, writer: Engine | None = None) -> None:
        self._engine = engine
        self._writer = writer or engine

    # Tokens

    def create_token(self, name: str, role: Role, *, now: int, expires_at: int | None = None) -> tuple[TokenRow, str]:
        """A new token and its secret, which is shown this once. Raises Refused (name_taken): names stand in the
        audit log, so none is ever given twice."""
        if role not in ROLES:
            raise ValueError(f"no role {role!r}; there are {', '.join(ROLES)}")
        secret = PREFIX + secrets.token_urlsafe(32)
        row = TokenRow(new_id(), name, role, now, expires_at, None)
        try:
            with self._writer.begin() as conn:
                conn.execute(
                    insert(token).values(
                        id=row.id, name=name, role=role, hash=hash_of(secret), created_at=now, expires_at=expires_at
                    )
                )
        except IntegrityError:
            raise Refused("there is a token of that name already, in use or revoked", code="name_taken") from None
        return row, secret

    def tokens(self) -> list[TokenRow]:
        """All tokens, also revoked ones, the oldest first."""
        with self._engine.connect() as conn:
            return [_token(row) for row in conn.execute(select(*_TOKEN).order_by(token.c.created_at, token.c.id)).mappings()]

    def revoke_token(self, id_or_name: str, *, now: int) -> TokenRow:
        """No request with this token passes from now on, its sessions included. Raises NotFound."""
        with self._writer.begin() as conn:
            row = (
                conn.execute(select(*_TOKEN).where(or_(token.c.id == id_or_name, token.c.name == id_or_name))).mappings().first()
            )
            if row is None:
                raise NotFound("no such token")
            conn.execute(update(token).where(token.c.id == row["id"], token.c.revoked_at.is_(None)).values(revoked_at=now))
            conn.execute(delete(session).where(session.c.token_id == row["id"]))
        return _token(row)

    def authenticate(self, secret: str, *, now: int) -> TokenRow | None:
        """The token of this secret, if it stands today."""
        if not secret.startswith(PREFIX):
            return None
        with self._engine.connect() as conn:
            row = conn.execute(select(*_TOKEN).where(token.c.hash == hash_of(secret), *_stands(now))).mappings().first()
        return None if row is None else _token(row)

    # Sessions

    def open_session(self, one: TokenRow, *, now: int) -> tuple[str, SessionRow]:
        """A new session: the cookie's value, and what is kept of it. Sessions whose time is over go with it."""
        cookie, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self._writer.begin() as conn:
            conn.execute(delete(session).where(session.c.expires_at <= now))
            conn.execute(
                insert(session).values(
                    hash=hash_of(cookie), token_id=one.id, csrf=csrf, created_at=now, expires_at=now + SESSION_LIFE
                )
            )
        return cookie, SessionRow(one, csrf)

    def session(self, cookie: str, *, now: int) -> SessionRow | None:
        """The session of this cookie, if it and its token stand today."""
        with self._engine.connect() as conn:
            row = (
                conn.execute(
                    select(*_TOKEN, session.c.csrf)
                    .join(session, session.c.token_id == token.c.id)
                    .where(session.c.hash == hash_of(cookie), session.c.expires_at > now, *_stands(now))
                )
                .mappings()
                .first()
            )
        return None if row is None else SessionRow(_token(row), row["csrf"])

    def close_session(self, cookie: str) -> None:
        """Log out."""
        with self._writer.begin() as conn:
            conn.execute(delete(session).where(session.c.hash == hash_of(cookie)))

    # Idempotency-Key

    def begin_write(self, token_id: str, key: str, request: bytes, *, now: int) -> StoredAnswer | None:
        """None: the key is new and now taken for `request` (a digest). Else what an earlier write under it got."""
        with self._writer.begin() as conn:
            conn.execute(delete(idempotency).where(idempotency.c.at < now - IDEMPOTENCY_LIFE))
        try:
            with self._writer.begin() as conn:
                conn.execute(
                    insert(idempotency).values(
                        token_id=token_id, key=key, request=request, status=_IN_PROGRESS, body=b"", headers="{}", at=now
                    )
                )
        except IntegrityError:
            with self._writer.connect() as conn:
                row = conn.execute(select(idempotency).where(*_key(token_id, key))).first()
            if row is None:  # forgotten between the two statements
                return StoredAnswer(request, _IN_PROGRESS, b"", "{}")
            return StoredAnswer(bytes(row.request), row.status, bytes(row.body), row.headers)
        return None

    def end_write(self, token_id: str, key: str, *, status: int, body: bytes, headers: str) -> None:
        """Keep the answer; `body` sealed."""
        with self._writer.begin() as conn:
            conn.execute(update(idempotency).where(*_key(token_id, key)).values(status=status, body=body, headers=headers))

    def forget_write(self, token_id: str, key: str) -> bool:
        """The write did nothing (it was refused): the key is free again."""
        with self._writer.begin() as conn:
            done = cast("CursorResult[Any]", conn.execute(delete(idempotency).where(*_key(token_id, key))))
        return done.rowcount > 0


_TOKEN = (token.c.id, token.c.name, token.c.role, token.c.created_at, token.c.expires_at, token.c.revoked_at)


def _token(row: RowMapping) -> TokenRow:
    return TokenRow(row["id"], row["name"], row["role"], row["created_at"], row["expires_at"], row["revoked_at"])


def _stands(now: int) -> tuple[Any, ...]:
    """Neither revoked nor expired."""
    return token.c.revoked_at.is_(None), or_(token.c.expires_at.is_(None), token.c.expires_at > now)


def _key(token_id: str, key: str) -> tuple[Any, ...]:
    return idempotency.c.token_id == token_id, idempotency.c.key == key
