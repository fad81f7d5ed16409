import hashlib

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confide.broker import merkle
from confide.errors import Misuse, Tampered

MOST = 70


class Tree:
    """A log in memory, for the pure functions; `oracle` is an independent tree of the same leaves."""

    def __init__(self, size: int) -> None:
        self.leaves = [b"leaf %d" % index for index in range(size)]
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.oracle = pymerkle.InmemoryTree(algorithm="sha256")
        for index, leaf in enumerate(self.leaves):
            for level, position, top in merkle.completed(index, merkle.leaf_hash(leaf), self.node):
                assert (level, position) not in self.nodes
                self.nodes[level, position] = top
            self.oracle.append_entry(leaf)

    def node(self, level: int, position: int) -> bytes:
        return self.nodes[level, position]

    def root(self, size: int) -> bytes:
        return merkle.root_hash(size, self.node)


TREE = Tree(MOST)


def test_root_of_nothing_is_the_hash_of_nothing():
    assert merkle.root_hash(0, TREE.node) == hashlib.sha256(b"").digest() == TREE.oracle.get_root(0)


def test_roots_are_those_of_certificate_transparency():
    """Test vectors of Google's certificate-transparency implementation of RFC 6962."""
    inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    nodes = {}
    for index, (leaf, root) in enumerate(zip(inputs, roots, strict=True)):
        for level, position, top in merkle.completed(
            index, merkle.leaf_hash(bytes.fromhex(leaf)), lambda *at: nodes[at]
        ):
            nodes[level, position] = top
        assert merkle.root_hash(index + 1, lambda *at: nodes[at]).hex() == root


def test_every_root_agrees_with_the_oracle():
    for size in range(MOST + 1):
        assert TREE.root(size) == TREE.oracle.get_root(size)


def test_every_inclusion_path_agrees_with_the_oracle_and_verifies():
    for size in range(1, MOST + 1):
        for index in range(size):
            path = merkle.inclusion_path(index, size, TREE.node)
            proof = TREE.oracle.prove_inclusion(index + 1, size)
            assert path == [bytes(step) for step in proof.path[1:]]
            merkle.verify_inclusion(TREE.leaves[index], index, size, TREE.root(size), path)


def test_every_consistency_path_verifies():
    for new in range(1, MOST + 1):
        for old in range(1, new + 1):
            path = merkle.consistency_path(old, new, TREE.node)
            merkle.verify_consistency(old, TREE.root(old), new, TREE.root(new), path)
            pymerkle.verify_consistency(
                TREE.root(old), TREE.root(new), TREE.oracle.prove_consistency(old, new)
            )


def test_every_log_begins_with_the_empty_one():
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 5, TREE.root(5), [])
    with pytest.raises(Tampered):
        merkle.verify_consistency(0, TREE.root(1), 5, TREE.root(5), [])


sizes = st.integers(1, MOST)


@given(st.data())
@settings(max_examples=300)
def test_inclusion_of_anything_else_is_refused(data):
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_path(index, size, TREE.node)
    leaf, root = TREE.leaves[index], TREE.root(size)
    wrong = data.draw(
        st.sampled_from(["leaf", "index", "size", "root", "longer", "shorter", "changed", "short step"])
    )
    if wrong in ("shorter", "changed", "short step") and not path:
        return
    at = data.draw(st.integers(0, len(path) - 1)) if path else 0
    if wrong == "leaf":
        leaf += b"!"
    elif wrong == "index":
        index = data.draw(st.integers(-1, size + 1).filter(lambda other: other != index))
    elif wrong == "size":
        size = data.draw(st.integers(0, MOST).filter(lambda other: TREE.root(other) != root))
        root = TREE.root(size)
    elif wrong == "root":
        root = TREE.root(size - 1)
    elif wrong == "longer":
        path = [*path, bytes(32)]
    elif wrong == "shorter":
        path = path[:at] + path[at + 1 :]
    elif wrong == "changed":
        path[at] = hashlib.sha256(path[at]).digest()
    else:
        path[at] = path[at][:-1]
    with pytest.raises(Tampered):
        merkle.verify_inclusion(leaf, index, size, root, path)


@given(st.data())
@settings(max_examples=300)
def test_inconsistent_logs_are_refused(data):
    new = data.draw(sizes)
    old = data.draw(st.integers(1, new))
    path = merkle.consistency_path(old, new, TREE.node)
    old_root, new_root = TREE.root(old), TREE.root(new)
    wrong = data.draw(
        st.sampled_from(["old root", "new root", "longer", "shorter", "changed", "swapped", "old size"])
    )
    if wrong in ("shorter", "changed") and not path:
        return
    at = data.draw(st.integers(0, len(path) - 1)) if path else 0
    if wrong == "old root":
        old_root = TREE.root(old - 1)
    elif wrong == "new root":
        new_root = TREE.root(new - 1)
    elif wrong == "longer":
        path = [*path, bytes(32)]
    elif wrong == "shorter":
        path = path[:at] + path[at + 1 :]
    elif wrong == "changed":
        path[at] = hashlib.sha256(path[at]).digest()
    elif wrong == "swapped":
        if old == new:
            return
        old, new, old_root, new_root = new, old, new_root, old_root
    else:
        old = data.draw(st.integers(-1, new + 1).filter(lambda other: other != old))
    with pytest.raises(Tampered):
        merkle.verify_consistency(old, old_root, new, new_root, path)


def test_a_leaf_is_no_inner_node():
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.leaf_hash(left + right) != merkle.pair_hash(left, right)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (5, 3)])
def test_no_such_entry(index, size):
    with pytest.raises(Misuse):
        merkle.inclusion_path(index, size, TREE.node)
    with pytest.raises(Tampered):
        merkle.verify_inclusion(b"", index, size, merkle.EMPTY_ROOT, [])


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 3)])
def test_no_such_sizes(old, new):
    with pytest.raises(Misuse):
        merkle.consistency_path(old, new, TREE.node)


def test_reads_grow_with_the_logarithm_only():
    nodes, reads = {}, []

    def node(level, position):
        reads.append((level, position))
        return nodes[level, position]

    def cost(act):
        reads.clear()
        act()
        return len(reads)

    for index in range(5000):
        for level, position, top in merkle.completed(index, index.to_bytes(32), node):
            nodes[level, position] = top
    assert cost(lambda: merkle.root_hash(4095, node)) == 12
    assert cost(lambda: merkle.completed(4095, bytes(32), node)) == 12
    assert cost(lambda: merkle.inclusion_path(1, 4999, node)) < 40
    assert cost(lambda: merkle.consistency_path(1, 4999, node)) < 40
