"""Merkle tree of RFC 9162 section 2: hashes, roots, inclusion and consistency proofs. Pure.

A tree is given by a function `node(level, position)` that returns the hash of the complete subtree over the
leaves `[position << level, (position + 1) << level)`. Those never change once they are complete, so a log
that keeps them appends, computes its root and proves in O(log n) reads, also right after a restart.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import TypeAlias

from confide.errors import Misuse, Tampered

Node: TypeAlias = Callable[[int, int], bytes]
"""(level, position) -> hash of a complete subtree."""

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162 section 2.1.1)."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\0" + leaf).digest()


def pair_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def completed(size: int, leaf: bytes, node: Node) -> list[tuple[int, int, bytes]]:
    """Return the subtrees that leaf hash number `size` (from 0) completes: (level, position, hash), itself first."""
    level, position, top = 0, size, leaf
    done = [(level, position, top)]
    while position & 1:
        top = pair_hash(node(level, position - 1), top)
        level, position = level + 1, position >> 1
        done.append((level, position, top))
    return done


def root_hash(size: int, node: Node) -> bytes:
    """Return the root of the first `size` leaves."""
    return _root(0, size, node) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, node: Node) -> list[bytes]:
    """Return the path of leaf `index` (from 0) in the tree of `size` leaves (RFC 9162 section 2.1.3.1).

    Raises:
        Misuse: not 0 <= index < size.
    """
    if not 0 <= index < size:
        raise Misuse(f"no entry {index} in a log of size {size}")
    start, end, path = 0, size, list[bytes]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_root(middle, end, node))
            end = middle
        else:
            path.append(_root(start, middle, node))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of `new` leaves begins with that of `old` (RFC 9162 section 2.1.4.1).

    Raises:
        Misuse: not 0 < old <= new.
    """
    if not 0 < old <= new:
        raise Misuse(f"no consistency proof from size {old} to size {new}")
    start, end, whole, path = 0, new, True, list[bytes]()
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_root(middle, end, node))
            end = middle
        else:
            path.append(_root(start, middle, node))
            start, whole = middle, False
    if not whole:
        path.append(_root(start, end, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Check that the entry `leaf` is number `index` (from 0) of the log with `root` (RFC 9162 section 2.1.3.2).

    Raises:
        Tampered: it is not, or the path is not one of this index and size.
    """
    if not 0 <= index < size or any(len(step) != HASH_BYTES for step in path):
        raise Tampered(f"no inclusion proof of entry {index} in a log of size {size}")
    position, last, top = index, size - 1, leaf_hash(leaf)
    for step in path:
        if last == 0:
            raise Tampered("inclusion proof is too long")
        if position & 1 or position == last:
            top = pair_hash(step, top)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            top = pair_hash(top, step)
        position, last = position >> 1, last >> 1
    if last != 0 or not hmac.compare_digest(top, root):
        raise Tampered(f"entry {index} is not in the log of this checkpoint")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check that the log of size `new` only added to the log of size `old` (RFC 9162 section 2.1.4.2).

    Raises:
        Tampered: it does not, or the path is not one of these sizes.
    """
    if not 0 <= old <= new or any(len(step) != HASH_BYTES for step in path):
        raise Tampered(f"no consistency proof from size {old} to size {new}")
    if old in (0, new):
        expected = EMPTY_ROOT if old == 0 else new_root
        if path or not hmac.compare_digest(old_root, expected):
            raise Tampered("the log was rewritten")
        return
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not steps:
        raise Tampered("consistency proof is too short")
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise Tampered("consistency proof is too long")
        if position & 1 or position == last:
            first, second = pair_hash(step, first), pair_hash(step, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = pair_hash(second, step)
        position, last = position >> 1, last >> 1
    if last != 0 or not hmac.compare_digest(first, old_root) or not hmac.compare_digest(second, new_root):
        raise Tampered("the log was rewritten")


def _split(width: int) -> int:
    """Return the largest power of two below `width` (> 1)."""
    return 1 << (width - 1).bit_length() - 1


def _root(start: int, end: int, node: Node) -> bytes:
    """Return the root of leaves `[start, end)`; `start` is a multiple of the power of two that fills it."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(width)
    return pair_hash(_root(start, middle, node), _root(middle, end, node))
