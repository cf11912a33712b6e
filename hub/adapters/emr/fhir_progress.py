"""How far the polling of one kind of FHIR resources has come: kept as text, in ms of the server's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from hub.adapters.sql.watermark import Watermark
from hub.domain.ids import now_us

DAY = 86_400_000  # ms: what is older than that by the server's own clock is being written by nobody
EARLY = 3_600_000  # ms before our first look from which on deletions are asked for


@dataclass(slots=True)
class Progress:
    """`mark`: from where each pass begins. A pass goes from there to the end; while it is under way, `at` is where it is."""

    mark: Watermark
    deleted: Watermark  # of the history
    at: int | None = None
    began: int = 0  # of the pass, µs of our clock; 0: none is under way
    greatest: int | None = None  # the latest change seen, no later than the server's clock
    first_seen: int | None = None  # the server's clock at our first look, less an hour
    before: int | None = None  # `greatest` when this pass began
    missed: bool = False  # this pass found what an earlier one should have

    @classmethod
    def new(cls, overlap_us: int, since: int | None) -> Progress:
        return cls(Watermark(overlap_us, since), Watermark(overlap_us))

    def begins(self) -> None:
        """A pass, unless one is under way."""
        if not self.began:
            self.began, self.at, self.missed, self.before = now_us(), self.mark.low, False, self.greatest

    def saw(self, moments: Sequence[int], date: int | None) -> None:
        """What a page holds; one time in the future must not hide all that comes."""
        if self.first_seen is None:
            self.first_seen = (date if date is not None else now_us() // 1000) - EARLY
        limit = date if date is not None else now_us() // 1000
        self.greatest = max([*(min(when, limit) for when in moments), *([self.greatest] if self.greatest is not None else [])],
                            default=None)  # fmt: skip

    def capped(self, moment: int | None) -> int | None:
        """Of a history: no later than what the searches have seen, or a deletion in the future would hide the others."""
        return moment if moment is None else min(moment, max(self.greatest or 0, now_us() // 1000))

    def came_to(self, at: int, date: int | None) -> None:
        """All up to `at` was read. What is a day old need not be read again by later passes, long before this one ends."""
        self.at = at
        if date is not None:
            settled = min(at, date - DAY)
            self.mark.low = settled if self.mark.low is None else max(self.mark.low, settled)

    def ended(self) -> None:
        """The pass has come to the end. What was seen an overlap before it began is read for good, its very moment too: a bulk
        import of one moment would else be read again with every poll."""
        low = self.mark.low
        if not self.missed and self.mark.polled(self.began):
            self.mark.low = max(self.mark.low + 1, low or 0)
        self.mark.seen(self.greatest, now_us())
        self.began, self.at = 0, None

    def dumps(self) -> str:
        return orjson.dumps(
            {
                "mark": self.mark.dump(), "deleted": self.deleted.dump(), "at": self.at, "began": self.began,
                "greatest": self.greatest, "first_seen": self.first_seen,
            }
        ).decode()  # fmt: skip

    @classmethod
    def loads(cls, text: str, overlap_us: int) -> Progress:
        saved = orjson.loads(text)
        return cls(
            Watermark.load(overlap_us, saved["mark"]), Watermark.load(overlap_us, saved["deleted"]), saved["at"], saved["began"],
            saved["greatest"], saved["first_seen"],
        )  # fmt: skip
