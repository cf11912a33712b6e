"""Verifying without a database: whatever is done to the entries of a signed log is named by id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.audit.checkpoint import Signer
from hub.audit.entry import EntryRow
from hub.audit.report import Finding, Kind, merged
from hub.audit.sequencer import make_batch, resume
from hub.audit.tree import Tree
from hub.audit.verify import Stored, Tile, verify

SIGNER = Signer("log", b"s" * 32)
Row = tuple[object, ...]


def rows(count: int) -> list[Row]:
    return [tuple(EntryRow(10 * n + 10, n, "patient.read", "token:crm", "", n, f"r{n}", "{}")) for n in range(count)]


def signed(entries: list[Row], sizes: list[int]) -> tuple[list[Tile], list[Stored]]:
    tiles, stored, tree, at = [], [], Tree(), 0
    for size in sizes:
        batch = make_batch(tree, entries[at : at + size], SIGNER, "log")
        tiles.append(Tile(batch.first, batch.count, batch.ids, batch.hashes))
        stored.append(Stored(batch.size, batch.root, batch.frontier, batch.note))
        tree = resume(batch.size, batch.root, batch.frontier, batch.note, SIGNER.verifier)
        at += size
    return tiles, stored


def check(entries: list[Row], tiles: list[Tile], stored: list[Stored]) -> dict[tuple[Kind, int | None], Finding]:
    groups, left = [], list(entries)
    for tile in tiles:
        last = int.from_bytes(tile.ids[-8:], "big")
        groups.append((tile, [row for row in left if int(str(row[0])) <= last]))
        left = [row for row in left if int(str(row[0])) > last]
    groups.append((None, left))
    report = verify(groups, [s.note for s in stored], stored, SIGNER.verifier)
    assert report.covered == sum(tile.count for tile in tiles)
    return {(f.kind, f.entry_id): f for f in report.findings}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 5), st.data())
def test_each_tamper_is_named_by_id(sizes: list[int], tail: int, data: st.DataObject) -> None:
    covered = sum(sizes)
    entries = rows(covered + tail)
    tiles, stored = signed(entries, sizes)
    assert check(entries, tiles, stored) == {}
    at = data.draw(st.integers(0, covered - 1))
    act = data.draw(st.sampled_from(["edit", "delete", "insert", "swap"]))
    key = 10 * at + 10
    if act == "edit":
        entries[at] = (*entries[at][:3], "nobody", *entries[at][4:])
        assert set(check(entries, tiles, stored)) == {(Kind.EDITED, key)}
    elif act == "delete":
        del entries[at]
        assert set(check(entries, tiles, stored)) == {(Kind.TRUNCATED if at == covered - 1 else Kind.DELETED, key)}
    elif act == "insert":
        entries.insert(at, (key - 5, *entries[at][1:]))
        assert set(check(entries, tiles, stored)) == {(Kind.INSERTED, key - 5)}
    elif covered > 1:
        other = data.draw(st.integers(0, covered - 1).filter(lambda n: n != at))
        one, two = entries[at], entries[other]
        entries[at], entries[other] = (one[0], *two[1:]), (two[0], *one[1:])
        assert set(check(entries, tiles, stored)) == {(Kind.REORDERED, key), (Kind.REORDERED, 10 * other + 10)}


def test_the_first_entries_may_go_and_a_thousand_deletions_are_one_line() -> None:
    entries = rows(2000)
    tiles, stored = signed(entries, [500] * 4)
    found = check(entries[1000:], tiles, stored)
    assert [str(f) for f in found.values()] == ["deleted: a signed entry is gone, entry 10 to 10000, leaf 0 to 999"]


def test_neighbours_of_one_kind_are_merged_and_others_are_not() -> None:
    def finding(kind: Kind, leaf: int) -> Finding:
        return Finding(kind, "text", leaf, leaf, leaf * 10, leaf * 10)

    out = merged([finding(Kind.DELETED, 3), finding(Kind.DELETED, 2), finding(Kind.EDITED, 4), finding(Kind.DELETED, 6)])
    assert [(f.kind, f.leaf, f.last_leaf) for f in out] == [
        (Kind.DELETED, 2, 3), (Kind.EDITED, 4, 4), (Kind.DELETED, 6, 6),
    ]  # fmt: skip
