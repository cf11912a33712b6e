"""Tells an edit from a deletion, an insertion and a move, once entries and leaf hashes do not agree."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hub.audit.entry import leaf_hashes
from hub.audit.report import Finding, Kind
from hub.audit.tree import HASH

_PAIRS = 40_000  # of missing leaf and strange entry, tried for "the same content under another id"


class Leaf(NamedTuple):
    """What a tile says of one place in the log."""

    place: int
    entry_id: int
    hash: bytes


class Differences:
    """Collects over the whole log, because an entry that is missing here may have been moved to there."""

    def __init__(self) -> None:
        self._missing: dict[bytes, Leaf] = {}  # leaves without an entry in their place
        self._extra: list[tuple[tuple[Any, ...], bytes]] = []  # entries that no leaf of their place knows
        self._moved: list[Leaf] = []
        self._after: set[bytes] = set()  # hashes seen among entries that are not covered yet

    def compare(self, leaves: Sequence[Leaf], rows: Sequence[tuple[Any, ...]], hashes: bytes) -> None:
        """The leaves of one tile and the entries found in its place."""
        by_hash = {leaf.hash: leaf for leaf in leaves}
        found: list[Leaf] = []
        seen: set[bytes] = set()
        for i, row in enumerate(rows):
            digest = hashes[i * HASH : (i + 1) * HASH]
            leaf = by_hash.get(digest)
            if leaf is None or digest in seen:
                self._extra.append((row, digest))
            else:
                seen.add(digest)
                found.append(leaf)
        self._missing.update((leaf.hash, leaf) for leaf in leaves if leaf.hash not in seen)
        self._moved += _out_of_order(found)

    def look_for(self, rows: Sequence[tuple[Any, ...]], hashes: bytes) -> None:
        """Entries behind the last tile: signed ones may have been moved there."""
        for i in range(len(rows)) if self._missing else ():
            digest = hashes[i * HASH : (i + 1) * HASH]
            if digest in self._missing:
                self._after.add(digest)

    def findings(self, covered: int) -> Iterator[Finding]:
        """What it comes to. `covered`: leaves up to the last checkpoint of the file; beyond it nothing is judged."""
        missing = {digest: leaf for digest, leaf in self._missing.items() if leaf.place < covered}
        extra = []
        for leaf in self._moved:
            yield _finding(Kind.REORDERED, leaf, "a signed entry stands in another place")
        for digest in self._after & missing.keys():
            yield _finding(Kind.REORDERED, missing.pop(digest), "a signed entry was moved behind the last checkpoint")
        for row, digest in self._extra:
            if digest in missing:
                yield _finding(Kind.REORDERED, missing.pop(digest), "a signed entry stands in another place")
            else:
                extra.append(row)
        by_id = {leaf.entry_id: leaf for leaf in missing.values()}
        yield from _swapped(by_id, extra)
        for row in extra:
            if row[0] in by_id:
                yield _finding(Kind.EDITED, by_id.pop(row[0]), "an entry differs from what was signed")
            else:
                yield Finding(Kind.INSERTED, "an entry was not there when its place was signed", None, None, row[0], row[0])
        gone = sorted(by_id.values())
        end = covered
        for leaf in reversed(gone):
            if leaf.place != end - 1:
                break
            end = leaf.place
        for leaf in gone:
            if leaf.place >= end:
                yield _finding(Kind.TRUNCATED, leaf, "the log's end is gone")
            else:
                yield _finding(Kind.DELETED, leaf, "a signed entry is gone")


def _out_of_order(leaves: list[Leaf]) -> list[Leaf]:
    """The fewest leaves without which the rest is in order: those outside a longest increasing subsequence."""
    tails: list[int] = []  # tails[n]: index of the smallest leaf that ends an increasing run of n + 1
    before: list[int] = []  # the index that comes before each in its run
    for i, leaf in enumerate(leaves):
        n = bisect_left(tails, leaf, key=leaves.__getitem__)
        before.append(tails[n - 1] if n else -1)
        tails[n : n + 1] = [i]
    kept, i = set(), tails[-1] if tails else -1
    while i >= 0:
        kept.add(i)
        i = before[i]
    return [leaf for i, leaf in enumerate(leaves) if i not in kept]


def _swapped(by_id: dict[int, Leaf], extra: list[tuple[Any, ...]]) -> Iterator[Finding]:
    """Entries that are as signed but for their id: given another's, so as to stand elsewhere. Taken out of both lists."""
    if len(by_id) * len(extra) > _PAIRS:
        return
    for row in list(extra):
        for entry_id, leaf in by_id.items():
            if leaf_hashes([(entry_id, *row[1:])]) == leaf.hash:
                yield _finding(Kind.REORDERED, leaf, f"a signed entry stands in the place of entry {row[0]}")
                del by_id[entry_id]
                extra.remove(row)
                break


def _finding(kind: Kind, leaf: Leaf, text: str) -> Finding:
    return Finding(kind, text, leaf.place, leaf.place, leaf.entry_id, leaf.entry_id)
