"""RFC 6962 trees: the vectors of the certificate-transparency project, and batches of any size against the recursion."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.audit.tree import Tree, node_hash

# certificate-transparency/cpp/merkletree/merkle_tree_test.cc: inputs, and the root over the first n of them
INPUTS = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [sha256(b"\x00" + bytes.fromhex(text)).digest() for text in INPUTS]


def naive(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 writes it down."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(naive(leaves[:k]), naive(leaves[k:]))


@pytest.mark.parametrize("n", range(9))
def test_known_roots(n: int) -> None:
    assert Tree().extended(b"".join(LEAVES[:n])).root().hex() == ROOTS[n]
    assert naive(LEAVES[:n]).hex() == ROOTS[n]


@given(st.lists(st.integers(0, 40), max_size=12))
def test_batches_of_any_size_make_the_same_tree(sizes: list[int]) -> None:
    tree, leaves = Tree(), []
    for size in sizes:
        batch = [sha256(b"%d" % (len(leaves) + i)).digest() for i in range(size)]
        before = (tree.size, tree.frontier())
        grown = tree.extended(b"".join(batch))
        assert (tree.size, tree.frontier()) == before
        leaves += batch
        tree = Tree(grown.size, grown.frontier())  # as after a restart
        assert tree.size == len(leaves)
        assert tree.root() == naive(leaves)


def test_an_edge_that_does_not_fit_its_size_is_refused() -> None:
    edge = Tree().extended(b"".join(LEAVES[:5])).frontier()
    for size, frontier in ((5, edge[:-1]), (7, edge), (0, edge), (4, edge)):
        with pytest.raises(ValueError, match="edge"):
            Tree(size, frontier)
    with pytest.raises(ValueError, match="32 bytes"):
        Tree().extended(b"x" * 33)
