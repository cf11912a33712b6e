"""How far the polling of an entity set has come: kept as text. Times are SAP's own, as texts that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from hub.adapters.sql.watermark import Watermark
from hub.domain.ids import now_us


@dataclass(slots=True)
class Progress:
    """A pass reads all that changed at `mark.low` or later, in the order of the keys; `after` is where it is."""

    mark: Watermark
    what: str  # of which set and filter: a place of another question is no place
    after: dict[str, str] | None = None
    began: int = 0  # of the pass, µs of our clock; 0: none is under way
    greatest: str | None = None  # the latest change seen in this pass

    @classmethod
    def new(cls, overlap_us: int, what: str, since: str | None) -> Progress:
        return cls(Watermark(overlap_us, since), what)

    def begins(self) -> None:
        """A pass, unless one is under way."""
        if not self.began:
            self.began, self.after, self.greatest = now_us(), None, None

    def came_to(self, key: Mapping[str, str], latest: str | None) -> None:
        """A page was handed on: its last key, and the latest change in it."""
        self.after = dict(key)
        self.greatest = max((one for one in (self.greatest, latest) if one is not None), default=None)

    def ended(self, settled: str) -> None:
        """All that changed since `low` was read. What was seen an overlap before this pass began is read for good, and so is what
        was older than `settled`, by SAP's clock: nobody wrote that any more. A change of since then may be of a key that the
        pass had behind it."""
        bounds = [self.mark.low]
        self.mark.polled(self.began)
        bounds.append(self.mark.low)
        self.mark.seen(self.greatest, now_us())
        if self.greatest is not None:
            bounds.append(min(self.greatest, settled[: len(self.greatest)]))
        self.mark.low = max((one for one in bounds if one is not None), default=None)
        self.began, self.after, self.greatest = 0, None, None

    def dumps(self) -> str:
        saved = {"mark": self.mark.dump(), "what": self.what, "after": self.after, "began": self.began, "greatest": self.greatest}
        return orjson.dumps(saved).decode()

    @classmethod
    def loads(cls, text: str, overlap_us: int, what: str) -> Progress | None:
        """As kept; None where nothing was, or of another question."""
        saved = orjson.loads(text) if text else {}
        if saved.get("what") != what:
            return None
        return cls(Watermark.load(overlap_us, saved["mark"]), what, saved["after"], saved["began"], saved["greatest"])
