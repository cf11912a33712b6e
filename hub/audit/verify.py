"""Holds entries, tiles and checkpoints against each other and against the checkpoint file: pure, streaming.

The attacker may own the database: entries, tiles and checkpoint rows may all be rewritten so that they agree with each
other. What he cannot change is the checkpoint file, and he cannot sign. So the file's roots decide, one after the other:

1. The tiles' hashes make the file's root: the tiles are as signed. Every entry is held against its own leaf hash, and
   whatever was edited, deleted, inserted or moved is named by its id.
2. They do not, but the entries' do: the entries are as signed, the tile was tampered with.
3. Neither: something between this checkpoint and the one before was altered and its hashes rewritten: that range.
   The right edge stored with the checkpoint, if it makes the file's root, lets the rest be checked all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hub.audit.checkpoint import BadNote, Checkpoint, Verifier, read
from hub.audit.differences import Differences, Leaf
from hub.audit.entry import leaf_hashes
from hub.audit.report import Finding, Kind, Report, merged
from hub.audit.sequencer import pack_ids, unpack_ids
from hub.audit.tree import HASH, Tree

_HIDDEN = "altered between two checkpoints, and its hashes rewritten to hide it"
_FOLLOWS = "cannot be judged apart from what was altered before it"

Rows = Sequence[tuple[Any, ...]]  # plain tuples with the columns of EntryRow


@dataclass(frozen=True, slots=True)
class Tile:
    """A row of the table `tile`, as far as it is checked."""

    first: int
    count: int
    ids: bytes
    hashes: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the table `checkpoint`."""

    size: int
    root: bytes
    frontier: bytes
    note: str


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint of the file, its signature checked, and the database's row of the same size."""

    size: int
    root: bytes
    stored: Stored | None


def verify(
    groups: Iterable[tuple[Tile | None, Rows]], notes: Iterable[str], stored: Iterable[Stored], verifier: Verifier
) -> Report:
    """`groups`: every entry in the log's order, with the tile that its place belongs to (None after the last tile; there a
    group may come in several pieces). `notes`: the checkpoint file. `stored`: the database's checkpoints by size."""
    return _Verification(notes, stored, verifier).run(groups)


class _Verification:
    def __init__(self, notes: Iterable[str], stored: Iterable[Stored], verifier: Verifier) -> None:
        self.report = Report()
        self.differences = Differences()
        self.verifier = verifier
        self.tree: Tree | None = Tree()  # as signed, up to the last head judged; None: nothing to go on from
        self.judged = 0  # leaves up to the last head
        self.tiles: list[tuple[int, bytes]] = []  # since then: first leaf, hashes
        self.rows: list[tuple[int, bytes]] = []
        self.next = 0  # leaves seen, going by tiles
        self.ids: list[tuple[int, int, Rows]] = []  # since the last head: first and last leaf, entries; for naming a range
        self.unequal: list[tuple[Tile, Rows, bytes]] = []  # since the last head: tiles that their entries do not agree with
        self.lost = False  # a range was altered: what follows may only be its consequence
        self.heads = self._heads(notes, iter(stored))
        self.head = next(self.heads, None)

    def run(self, groups: Iterable[tuple[Tile | None, Rows]]) -> Report:
        """The report."""
        end = 0
        for tile, rows in groups:
            hashes = leaf_hashes(rows)
            if tile is not None:
                self._group(tile, rows, hashes)
                end = self.next
            else:
                self._place(end, rows, hashes)
                self.differences.look_for(rows, hashes)
                end += len(rows)
            self._judge()
            if self.head is None:
                self._uncovered(rows, end)
        self._rest(end)
        self.report.findings = merged([*self.report.findings, *self.differences.findings(self.report.covered)])
        return self.report

    def _uncovered(self, rows: Rows, end: int) -> None:
        """All checkpoints are behind us: what comes now is the tail, and nothing of it need be kept."""
        count = min(len(rows), end - self.report.covered)
        if count > 0:
            self.report.tail += count
            if self.report.tail_since is None:
                self.report.tail_since = rows[-count][1]
        for _, late, hashes in self.unequal:
            self.differences.look_for(late, hashes)
        self.tiles, self.rows, self.ids, self.unequal = [], [], [], []

    def _find(self, kind: Kind, text: str, leaf: int | None = None, last_leaf: int | None = None) -> None:
        ids = self._named(leaf, last_leaf) if leaf is not None and last_leaf is not None else []
        first, last = (ids[0], ids[-1]) if ids else (None, None)
        self.report.findings.append(Finding(kind, text, leaf, last_leaf, first, last))

    def _named(self, leaf: int, last_leaf: int) -> list[int]:
        """Ids of the entries that stand there now, as far as they are still at hand."""
        return [
            row[0]
            for first, last, rows in self.ids
            if first <= last_leaf and last >= leaf
            for i, row in enumerate(rows)
            if leaf <= min(first + i, last) <= last_leaf
        ]

    # Entries and tiles

    def _group(self, tile: Tile, rows: Rows, hashes: bytes) -> None:
        want = tile.hashes
        if len(want) != HASH * tile.count or len(tile.ids) != 8 * tile.count or tile.first < self.next or not tile.count:
            self._find(Kind.TILE_ALTERED, "a tile does not fit its own counts", self.next, self.next + max(len(rows) - 1, 0))
            self._place(self.next, rows, hashes)
            self.next += len(rows)
            return
        gap = tile.first - self.next
        if gap and len(rows) == gap + tile.count:  # a tile is gone: its entries came with those of the next one
            self._place(self.next, rows[:gap], hashes[: gap * HASH])
            rows, hashes = rows[gap:], hashes[gap * HASH :]
        if gap:
            self._find(Kind.TILE_ALTERED, "a tile is missing", self.next, tile.first - 1)
        self.tiles.append((tile.first, want))
        self._place(tile.first, rows, hashes, tile.count)
        self.next = tile.first + tile.count
        if hashes != want:
            self.unequal.append((tile, rows, hashes))
        elif tile.ids != pack_ids([row[0] for row in rows]):
            self._find(Kind.TILE_ALTERED, "a tile names other entries than it hashes", tile.first, self.next - 1)

    def _place(self, first: int, rows: Rows, hashes: bytes, most: int | None = None) -> None:
        """Entries from leaf `first` on; what is more than `most` was inserted and has no leaf."""
        if rows:
            count = len(rows) if most is None else min(most, len(rows))
            self.rows.append((first, hashes[: count * HASH]))
            self.ids.append((first, first + (most or count) - 1, rows))

    def _compare(self, end: int) -> None:
        """Name what differs in the tiles that begin before leaf `end`."""
        for tile, rows, hashes in self.unequal:
            if tile.first < end:
                ids = unpack_ids(tile.ids)
                leaves = [Leaf(tile.first + i, ids[i], tile.hashes[i * HASH : (i + 1) * HASH]) for i in range(tile.count)]
                self.differences.compare(leaves, rows, hashes)

    # Checkpoints

    def _judge(self) -> None:
        """Every head that the leaves seen so far reach."""
        while self.head is not None:
            head = self.head
            tiles = _span(self.tiles, self.judged, head.size)
            rows = _span(self.rows, self.judged, head.size)
            if tiles is None and rows is None and max(_end(self.tiles), _end(self.rows)) < head.size:
                return
            if self.tree is None:
                self._find(Kind.ALTERED, _FOLLOWS, self.judged, head.size - 1)
                self.tree = _edge(head)
            else:
                self.tree = self._judged(self.tree, head, tiles, rows)
            self._pass(head)

    def _judged(self, tree: Tree, head: Head, tiles: bytes | None, rows: bytes | None) -> Tree | None:
        """The tree at `head`, or None where it cannot be had."""
        if tiles is not None and (grown := tree.extended(tiles)).root() == head.root:
            self._compare(head.size)
            return grown
        if rows is not None and rows != tiles and (grown := tree.extended(rows)).root() == head.root:
            self._find(
                Kind.TILE_ALTERED, "stored hashes are wrong or gone, the entries are as signed", self.judged, head.size - 1
            )
            return grown
        self._find(Kind.ALTERED, _FOLLOWS if self.lost else _HIDDEN, self.judged, head.size - 1)
        self.lost = True
        self._compare(head.size)
        return _edge(head)

    def _pass(self, head: Head) -> None:
        """Go on behind `head`."""
        self.judged = self.report.covered = head.size
        self.tiles, self.rows = _after(self.tiles, head.size), _after(self.rows, head.size)
        self.ids = [i for i in self.ids if i[1] >= head.size]
        self.unequal = [u for u in self.unequal if u[0].first >= head.size]
        self.head = next(self.heads, None)

    def _rest(self, have: int) -> None:
        """Heads that reach beyond what there is."""
        while self.head is not None:
            self._compare(self.head.size)
            gone = have <= self.judged and not self.lost
            text = "the log's end is gone" if gone else "there are fewer entries than were signed between two checkpoints"
            self._find(Kind.TRUNCATED, text, self.judged, self.head.size - 1)
            self._pass(self.head)

    def _heads(self, notes: Iterable[str], stored: Iterator[Stored]) -> Iterator[Head]:
        """The file's checkpoints in order; says what is wrong with them, and where the database's rows differ."""
        row, last, broken = next(stored, None), None, None
        for note in notes:
            try:
                head = read(self.verifier.open_(note))
            except BadNote:
                self._bad(broken)
                broken = note
                continue
            if broken is not None and _size(broken) != head.size:  # else a write that a crash cut short, and its repetition
                self._bad(broken)
            broken = None
            if last is not None and head.size <= last.size:
                if head != last:
                    self._find(Kind.CHECKPOINT_ALTERED, f"two signed checkpoints contradict each other at size {head.size}")
                continue
            while row is not None and row.size < head.size:
                self._not_in_file(row, "a checkpoint of the database is not in the file")
                row = next(stored, None)
            same = row if row is not None and row.size == head.size else None
            self._same(head, note, same)
            row = next(stored, None) if same else row
            last = head
            self.report.checkpoints += 1
            yield Head(head.size, head.root, same)
        self._bad(broken)
        while row is not None:
            if last is None:
                self._not_in_file(row, "the checkpoint file is empty, the database has checkpoints")
            elif not self._signed(row):
                self._find(
                    Kind.CHECKPOINT_BAD_SIGNATURE, f"the database's checkpoint at size {row.size} is not signed by this log's key"
                )
            row = next(stored, None)

    def _bad(self, note: str | None) -> None:
        if note is not None and _size(note) is not None:
            self._find(
                Kind.CHECKPOINT_BAD_SIGNATURE, f"the file's checkpoint at size {_size(note)} is not signed by this log's key"
            )
        elif note is not None:
            self._find(Kind.CHECKPOINT_BAD_SIGNATURE, "the file holds a note that is no checkpoint")

    def _signed(self, row: Stored) -> bool:
        try:
            said = read(self.verifier.open_(row.note))
        except BadNote:
            return False
        return (said.size, said.root) == (row.size, row.root)

    def _not_in_file(self, row: Stored, text: str) -> None:
        if self._signed(row):
            self._find(Kind.CHECKPOINT_MISSING, text, row.size - 1, row.size - 1)
        else:
            self._find(
                Kind.CHECKPOINT_BAD_SIGNATURE, f"the database's checkpoint at size {row.size} is not signed by this log's key"
            )

    def _same(self, head: Checkpoint, note: str, row: Stored | None) -> None:
        if row is None:
            self._find(Kind.CHECKPOINT_MISSING, "a checkpoint of the file is not in the database", head.size - 1, head.size - 1)
        elif row.root != head.root or row.note != note or _edge(Head(head.size, head.root, row)) is None:
            self._find(Kind.CHECKPOINT_ALTERED, f"the database's checkpoint at size {row.size} differs from the file's")


def _size(note: str) -> int | None:
    """What a note says without regard to its signature."""
    try:
        return read(note[: note.rfind("\n\n") + 1]).size
    except BadNote:
        return None


def _edge(head: Head) -> Tree | None:
    """The tree at `head` from the right edge stored with it, if that makes the file's root."""
    if head.stored is None:
        return None
    try:
        tree = Tree(head.size, head.stored.frontier)
    except ValueError:
        return None
    return tree if tree.root() == head.root else None


def _end(pieces: list[tuple[int, bytes]]) -> int:
    return pieces[-1][0] + len(pieces[-1][1]) // HASH if pieces else 0


def _span(pieces: list[tuple[int, bytes]], first: int, end: int) -> bytes | None:
    """The hashes of leaves first…end-1, or None where the pieces do not hold all of them, each once."""
    out, at = [], first
    for start, hashes in pieces:
        count = len(hashes) // HASH
        if start >= end:
            break
        if start != at or not count:
            return None
        out.append(hashes[: (end - start) * HASH])
        at = min(end, start + count)
    return b"".join(out) if at == end else None


def _after(pieces: list[tuple[int, bytes]], end: int) -> list[tuple[int, bytes]]:
    """What the pieces hold from leaf `end` on."""
    return [
        (max(start, end), hashes[max(0, end - start) * HASH :]) for start, hashes in pieces if start + len(hashes) // HASH > end
    ]
