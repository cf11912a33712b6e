"""A load: all that a source holds of a kind, a block at a time, resumable, beside the delta and live traffic.

How far it came is kept after each block, sealed, because a row's key may be a patient's number. A block that was stored when
the loader died is met again and makes no second message: the rows' marks were written in the commit that stored them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from hub import log
from hub.domain.errors import NotDelivered, TryAgain
from hub.domain.ports import Condition, Feed, Keys, Loadable

_log = log.get(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # after a failure; twice as long each time
RATE_SECONDS = 30.0  # over which the rate is told


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load has come. `read` and `told` count from its beginning, interrupted runs included."""

    read: int  # rows or resources
    told: int  # of them, how many made a message
    total: int | None  # rows there are; None: nobody can tell
    rate: float  # rows a second, lately
    trouble: str = ""  # why it waits
    ended: bool = False

    @property
    def seconds_left(self) -> float | None:
        """None where nobody can tell."""
        if self.total is None or not self.rate:
            return None
        return max(0.0, (self.total - self.read) / self.rate)


@dataclass(slots=True)
class _State:
    place: str = ""
    read: int = 0
    told: int = 0
    total: int | None = None
    ended: bool = False


class Load:
    """One load of one channel. Used by one thread. `sleep` waits after failures; how fast it goes is the feed's business."""

    def __init__(
        self,
        source: Loadable,
        feed: Feed,
        keys: Keys,
        kind: str,
        where: Sequence[Condition] = (),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._feed, self._keys = source, feed, keys
        self._kind, self._where = kind, tuple(where)
        self._sleep = sleep
        said = orjson.dumps([kind, [tuple(one) for one in self._where]])
        self._name = f"load:{keys.digest(said).hex()}"  # conditions may hold a patient's number
        self._state = _State()
        self._speed = _Speed()

    def run(self, *, afresh: bool = False) -> Iterator[Progress]:
        """Yields after each block and each trouble; the last one has `ended`. Goes on where an earlier run stopped.

        Misconfigured, and what nobody foresaw, end it; a source or store that is down is waited for.
        """
        self._state = self._kept()
        if afresh or self._state.ended:
            self._state = _State()
        pause = FIRST_PAUSE
        while not self._feed.ending():
            try:
                for progress in self._blocks():
                    pause = FIRST_PAUSE
                    yield progress
                if not self._feed.ending():
                    self._state.ended = True
                    self._keep()
                    yield self._progress()
                return
            except (NotDelivered, TryAgain) as error:
                _log.warning("the load waits", extra={"reason": error.reason})
                self._speed.forget()
                yield self._progress(error.reason)
                self._sleep(pause)
                pause = min(LONGEST_PAUSE, 2 * pause)

    def _blocks(self) -> Iterator[Progress]:
        if self._state.total is None:
            self._state.total = self._source.total(self._kind, self._where)
        self._feed.looking()
        for block in self._source.load(self._feed, self._kind, self._where, self._state.place):
            self._state.place = block.place
            self._state.read += block.read
            self._state.told += block.told
            self._keep()
            self._speed.counted(block.read)
            yield self._progress()
            if self._feed.ending():
                return
            self._feed.looking()

    def _progress(self, trouble: str = "") -> Progress:
        state = self._state
        return Progress(state.read, state.told, state.total, self._speed.rate(), trouble, state.ended)

    def _kept(self) -> _State:
        sealed = self._feed.place(self._name)
        if not sealed:
            return _State()
        return _State(*orjson.loads(self._keys.open_("load", self._name, bytes.fromhex(sealed))))

    def _keep(self) -> None:
        state = self._state
        plain = orjson.dumps([state.place, state.read, state.told, state.total, state.ended])
        self._feed.keep(self._name, self._keys.seal("load", self._name, plain).hex())


class _Speed:
    """Rows a second over the last RATE_SECONDS."""

    def __init__(self) -> None:
        self._counts: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def counted(self, rows: int) -> None:
        now = time.monotonic()
        self._counts.append((now, rows))
        while len(self._counts) > 2 and self._counts[1][0] < now - RATE_SECONDS:
            del self._counts[0]

    def forget(self) -> None:
        """Waiting for something that is down is no speed."""
        self._counts = [(time.monotonic(), 0)]

    def rate(self) -> float:
        seconds = time.monotonic() - self._counts[0][0]
        return sum(rows for _, rows in self._counts[1:]) / seconds if seconds > 0 else 0.0
