"""PostgreSQL on the hot path. Round trips and statements are what a transaction costs here: both are counted out.

BEGIN and the clock go out with the first question, what is written goes out with the COMMIT, and nobody waits for the end
of a snapshot. Intake presumes that nothing of a batch came before, and so is one round trip: a guard that ends the
transaction if something did, everything written, COMMIT (ADR 0069).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy.engine import URL

from hub.db.hot import count_statements
from hub.db.pipeline import Answer, Pipeline, Statement
from hub.db.setwise import postgres_statements
from hub.domain.errors import TryAgain
from hub.domain.rows import Row
from hub.domain.store import Conflict

# Every hot statement goes from a set of keys through an index. The planner does not know that of a table that was empty
# when it last looked, and reads it whole (measured: 4 times slower end to end on a fresh database). For the same reason one
# plan a statement is enough: no other would be better for other keys.
OPTIONS = (
    "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000 -c jit=off"
    " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
PASSING = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UniqueViolation)
CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
# Never inconsistent; a crash of the server may lose the last moments (PostgreSQL 15, 30.4).
NOT_DURABLE = "SET LOCAL synchronous_commit = off"
GUARD = "SELECT 1 / CASE WHEN EXISTS ({}) THEN 0 ELSE 1 END"  # an error ends the transaction; nothing else does from within
NEXT_IDS = "SELECT nextval('{}_id_seq') FROM generate_series(1, CAST(? AS BIGINT))"
BLOCK = 64  # ids taken at a time by who presumes
FRESH_SECONDS = 0.25  # how long a block and a reading of the clock are good: ids shall rise as messages come


class PostgresHot:
    """A connection of this thread to PostgreSQL; opened when first needed and anew after it was lost."""

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._pipeline: Pipeline | None = None
        self._waiting: list[Statement] = []  # what goes out with the next question, or with the COMMIT
        self._clock: int | None = None  # where among the first answers of a transaction the clock stands, until it is read
        self._known = False  # whether this transaction has its time
        self._presumes = False  # whether it has a guard
        self._now = 0
        self._read_at = float("-inf")  # when the clock was read last, by ours
        self._read = 0
        self._ids: list[int] = []  # what is left of the block
        self._ids_until = 0.0
        self._block = ""  # of which a block is to come with the COMMIT
        self._presumed_at = float("-inf")

    def sync(self) -> None:
        """COMMIT did."""

    def tidy(self) -> int:
        """The server does it."""
        return 0

    def restart_log(self) -> None:
        """The server does it."""

    def unmoved(self) -> int:
        """The server knows."""
        return 0

    def begin_reading(self) -> None:
        self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def begin(self, *, durable: bool) -> None:
        self._begin("BEGIN", *([] if durable else [NOT_DURABLE]))

    def _begin(self, *opening: str) -> None:
        count_statements(3)  # BEGIN, the clock, and the COMMIT to come
        if self._pipeline is None or not self._pipeline.usable:
            self._drop()
            try:
                self._pipeline = Pipeline(self._dsn, OPTIONS)
            except PASSING as error:
                raise TryAgain(f"the store cannot be reached ({type(error).__name__})") from error
        self._waiting = [(sql, ()) for sql in (*opening, CLOCK)]
        self._clock = len(opening)
        self._known = self._presumes = False

    def now(self) -> int:
        if not self._known:
            self._exchange([])
        return self._now

    def presume(self, unless: str, parameters: Sequence[Any], name: str, count: int) -> list[int] | None:
        """`count` ids and a time without asking; the COMMIT raises Conflict where `unless` finds something.

        None where there is no good block of ids and no good reading of the clock: then it has to be asked. Who presumes
        again within FRESH_SECONDS gets a block with his COMMIT.
        """
        at = time.monotonic()
        in_haste, self._presumed_at = at - self._presumed_at < FRESH_SECONDS, at
        if at > self._ids_until:
            self._ids.clear()
        self._block = name if in_haste and len(self._ids) < BLOCK // 2 + count else ""
        since = at - self._read_at
        if len(self._ids) < count or since > FRESH_SECONDS:
            self._ids.clear()  # what is asked for instead is above them
            return None
        count_statements()
        self._now, self._known = self._read + int(since * 1e6), True
        self._presumes = True
        self._waiting.append((GUARD.format(unless), parameters))
        mine, self._ids = self._ids[:count], self._ids[count:]
        return mine

    def commit(self) -> None:
        if self._clock is not None and len(self._waiting) == self._clock + 1:
            self._clock, self._waiting = None, []  # nothing was asked and nothing written
            return
        block, self._block = self._block, ""
        ids = [(NEXT_IDS.format(block), (BLOCK,))] if block else []
        committed, *fresh = self._exchange([("COMMIT", ()), *ids])
        if committed.command != b"COMMIT":
            raise TryAgain("the store took the transaction back")
        if fresh:
            self._ids = sorted(row[0] for row in fresh[0].rows())
            self._ids_until = time.monotonic() + FRESH_SECONDS

    def rollback(self) -> None:
        self._clock, self._waiting, self._block = None, [], ""
        if self._pipeline is None:
            return
        if not self._pipeline.usable:
            self._drop()
        elif self._pipeline.in_transaction:
            try:
                self._pipeline.leave("ROLLBACK")
            except psycopg.Error:
                self._drop()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        count_statements()
        return self._exchange([(sql, parameters)])[0].rows()

    def ask(self, questions: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        count_statements(len(questions))
        return [answer.rows() for answer in self._exchange(questions)]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        count_statements()
        return self._exchange([(sql, parameters)])[0].count

    def write(self, groups: dict[type, list[Row]]) -> None:
        statements = postgres_statements(groups)
        count_statements(len(statements))
        self._waiting += statements

    def _exchange(self, questions: Sequence[Statement]) -> list[Answer]:
        """What waits and `questions`, in one round trip. After an error the server skips the rest."""
        assert self._pipeline is not None
        waiting, self._waiting = self._waiting, []
        clock, self._clock = self._clock, None
        try:
            answers = self._pipeline.exchange([*waiting, *questions])
        except psycopg.errors.DivisionByZero as error:
            if not self._presumes:
                raise
            self._ids.clear()  # the caller asks now, and gets ids above them
            raise Conflict("what was presumed is not so") from error
        except PASSING as error:
            if self._presumes:
                self._ids.clear()  # as above
            raise _passing(error) from error
        if clock is not None:
            self._read, self._read_at = int(answers[clock].rows()[0][0]), time.monotonic()
            if not self._known:
                self._now, self._known = self._read, True
        return answers[len(waiting) :]

    def _drop(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def close(self) -> None:
        self._clock, self._waiting = None, []
        self._drop()


def _passing(error: psycopg.Error) -> TryAgain:
    """Deadlock, serialization failure, lost connection, full disk, shutdown: tried again (PostgreSQL appendix A).

    A unique violation is a conflict: another worker made the same thing first, and the next try finds it.
    """
    if isinstance(error, psycopg.errors.UniqueViolation):
        return Conflict("another worker made the same thing first")
    return TryAgain(f"the store is busy or was lost ({error.sqlstate or type(error).__name__})")
