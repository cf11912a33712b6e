"""The Merkle tree of RFC 6962 §2.1, kept as its right edge only: appending costs the same however long the log is."""

from __future__ import annotations

from hashlib import sha256

HASH = 32  # bytes


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree of `size` leaves, known by the roots of its complete subtrees: one for each bit set in `size`."""

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, frontier: bytes = b"") -> None:
        """`frontier` as `frontier()` gives it. ValueError where it does not fit `size`."""
        levels = [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]
        if len(frontier) != HASH * len(levels):
            raise ValueError("the right edge of a tree has one hash for each bit set in its size")
        self.size = size
        self._edge = {level: frontier[HASH * i : HASH * (i + 1)] for i, level in enumerate(levels)}

    def frontier(self) -> bytes:
        """The right edge: subtree roots, the largest first, 32 bytes each."""
        return b"".join(self._edge[level] for level in sorted(self._edge, reverse=True))

    def extended(self, leaves: bytes) -> Tree:
        """The tree with leaf hashes appended (32 bytes each); this one stays as it is."""
        if len(leaves) % HASH:
            raise ValueError("leaf hashes have 32 bytes each")
        edge, nodes, level = dict(self._edge), leaves, 0
        while nodes:
            nodes = edge.pop(level, b"") + nodes
            if len(nodes) // HASH & 1:
                edge[level], nodes = nodes[-HASH:], nodes[:-HASH]
            nodes = b"".join([sha256(b"\x01" + nodes[i : i + 64]).digest() for i in range(0, len(nodes), 64)])
            level += 1
        tree = Tree()
        tree.size, tree._edge = self.size + len(leaves) // HASH, edge
        return tree

    def root(self) -> bytes:
        """The tree's hash; SHA-256 of nothing for an empty one."""
        levels = sorted(self._edge)
        if not levels:
            return sha256(b"").digest()
        root = self._edge[levels[0]]
        for level in levels[1:]:
            root = node_hash(self._edge[level], root)
        return root
