"""From entries to one tile and one signed checkpoint: the sequencer's thinking, without its SQL (hub/db/audit.py)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hub.audit.checkpoint import BadNote, Checkpoint, Signer, Verifier, body, read
from hub.audit.entry import leaf_hashes
from hub.audit.tree import Tree


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step adds to the log: the row of `tile` and the row of `checkpoint`."""

    first: int
    count: int
    ids: bytes  # big-endian int64 each
    hashes: bytes  # 32 bytes each
    last_id: int
    size: int
    root: bytes
    frontier: bytes
    note: str


def make_batch(tree: Tree, rows: Sequence[tuple[Any, ...]], signer: Signer, origin: str) -> Batch:
    """Append `rows` (columns of EntryRow, in the log's order, at least one) to `tree` and sign the new head."""
    hashes = leaf_hashes(rows)
    ids = [row[0] for row in rows]
    grown = tree.extended(hashes)
    root = grown.root()
    note = signer.sign(body(Checkpoint(origin, grown.size, root)))
    return Batch(tree.size, len(ids), pack_ids(ids), hashes, ids[-1], grown.size, root, grown.frontier(), note)


def resume(size: int, root: bytes, frontier: bytes, note: str, verifier: Verifier) -> Tree:
    """The tree to go on from, out of the last row of `checkpoint`. BadNote where it is not what this hub signed: then
    signing on top of it would vouch for an altered log."""
    said = read(verifier.open_(note))
    try:
        tree = Tree(size, frontier)
    except ValueError as error:
        raise BadNote(str(error)) from None
    if (said.size, said.root) != (size, root) or tree.root() != root:
        raise BadNote("size, root hash or right edge differ from what was signed")
    return tree


def pack_ids(ids: Sequence[int]) -> bytes:
    """Entry ids as a tile holds them."""
    return struct.pack(f">{len(ids)}q", *ids)


def unpack_ids(packed: bytes) -> tuple[int, ...]:
    """And back; what is left over of 8 bytes is dropped."""
    n = len(packed) // 8
    return struct.unpack(f">{n}q", packed[: 8 * n])
