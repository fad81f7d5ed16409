"""Recovery of a root key by k of n owners: split it, answer for one's share, combine the answers.

A share is never in the clear outside the memory of the process that splits, of its owner's, and of the one that
restores. An answer is sealed to the key of the machine that restores, and to nothing else: its owner must make sure
whose key that is (`RecoveryPublicKey.fingerprint`, over another channel).
"""

from __future__ import annotations

import hmac
import secrets as random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confide.errors import Misuse, Refused, Tampered, UnknownKey
from confide.keys.material import SECRET_BYTES
from confide.keys.recovery.documents import (
    MAX_SHARES,
    SHARE_BYTES,
    Answer,
    RecoverySet,
    SealedShare,
    answer_info,
    decode,
    encode,
)
from confide.keys.recovery.key import OVERHEAD_BYTES, RecoveryKey, RecoveryPublicKey
from confide.keys.recovery.shamir import combine, commit_to_root, commit_to_share, split

_SET_ID_BYTES = 16
_UNSEALED = encode(bytes(OVERHEAD_BYTES + SHARE_BYTES))


@dataclass(frozen=True)
class Recovered:
    """A root key that owners gave back.

    Attributes:
        given: the set of shares that it was split into.
        owners: whose answers gave it back, by name.
        root: 32 bytes.
    """

    given: RecoverySet
    owners: tuple[str, ...]
    root: bytes = field(repr=False)


def split_root(
    root: bytes, store_id: str, threshold: int, owners: Mapping[str, RecoveryPublicKey]
) -> RecoverySet:
    """Share a root key among owners, any `threshold` of whom can give it back.

    Args:
        root: 32 bytes.
        store_id: of the store whose root key it is, 32 hex digits.
        threshold: from 2 to the number of owners.
        owners: their recovery keys, by a name of up to 64 of `A-Z a-z 0-9 . _ -`.

    Raises:
        Misuse: a threshold outside its bounds, fewer than 2 or more than 255 owners, one key twice, or a bad name.
        InvalidFormat: a key that is none.
        MissingDependency: pycryptodome is not installed.
    """
    if not 2 <= len(owners) <= MAX_SHARES:
        raise Misuse(f"a root key is shared among 2 to {MAX_SHARES} owners, not {len(owners)}")
    if not 2 <= threshold <= len(owners):
        raise Misuse(f"the threshold is from 2 to the number of owners ({len(owners)}), not {threshold}")
    if len({key.id for key in owners.values()}) != len(owners):
        raise Misuse("the same recovery key is given twice: each owner needs one of his own")
    if len(root) != SECRET_BYTES:
        raise Misuse(f"a root key has {SECRET_BYTES} bytes")
    set_id = random.token_hex(_SET_ID_BYTES)
    shares = split(root, threshold, len(owners))
    try:
        draft = RecoverySet(
            store=store_id,
            set=set_id,
            threshold=threshold,
            commitment=commit_to_root(set_id, root),
            shares=[
                SealedShare(
                    index=index,
                    owner=owner,
                    key=key.id,
                    commitment=commit_to_share(set_id, index, shares[index]),
                    sealed=_UNSEALED,
                )
                for index, (owner, key) in enumerate(owners.items(), start=1)
            ],
        )
    except ValueError:
        raise Misuse("an owner's name has up to 64 letters, digits, '.', '_', '-'") from None
    sealed = [
        share.model_copy(update={"sealed": encode(key.seal(shares[share.index], draft.share_info(share)))})
        for share, key in zip(draft.shares, owners.values(), strict=True)
    ]
    return draft.model_copy(update={"shares": sealed})


def answer(given: RecoverySet, key: RecoveryKey, to: RecoveryPublicKey) -> Answer:
    """Open one's share and seal it again to the machine that restores.

    Raises:
        UnknownKey, Tampered: as `check`.
        InvalidFormat: `to` is no key.
    """
    mine, share = _open_own(given, key)
    digest = given.digest()
    sealed = to.seal(share, answer_info(digest, mine.index, to.id))
    return Answer(set=digest, index=mine.index, to=to.id, sealed=encode(sealed))


def check(given: RecoverySet, key: RecoveryKey) -> SealedShare:
    """Return the share that is sealed to this recovery key, having opened it.

    1. The set has a share for this recovery key.
    2. The share opens under it, and with it all that the set says but the shares of others.
    3. It is the share that was committed to.

    Raises:
        UnknownKey: step 1 fails.
        Tampered: step 2 or 3 fails.
    """
    return _open_own(given, key)[0]


def _open_own(given: RecoverySet, key: RecoveryKey) -> tuple[SealedShare, bytes]:
    mine = [share for share in given.shares if share.key == key.public.id]
    if not mine:
        owners = ", ".join(share.owner for share in given.shares)
        raise UnknownKey(
            f"this recovery set has no share for this recovery key (it has shares for: {owners})"
        )
    share = _open(decode(mine[0].sealed), key, given.share_info(mine[0]), mine[0])
    _check_share(given, mine[0], share)
    return mine[0], share


def combine_answers(given: RecoverySet, answers: Sequence[Answer], key: RecoveryKey) -> Recovered:
    """Return the root key that the answers give back.

    1. Each answer is for this very set.
    2. Each is sealed to this key.
    3. Each is of another share, and that is in the set.
    4. There are at least as many as the threshold.
    5. Each opens.
    6. Each is the share that was committed to.
    7. Together they give the root key that was committed to.

    Raises:
        Refused: step 1 or 2 fails.
        Misuse: step 3 or 4 fails.
        Tampered: step 5, 6 or 7 fails.
        MissingDependency: pycryptodome is not installed.
    """
    digest = given.digest()
    by_index = {share.index: share for share in given.shares}
    shares: dict[int, bytes] = {}
    for place, each in enumerate(answers, start=1):
        if each.set != digest:
            raise Refused(f"answer {place} is for another recovery set, or for another copy of it")
        if each.to != key.public.id:
            raise Refused(f"answer {place} is sealed to another recovery key than the one given")
        if each.index not in by_index:
            raise Misuse(f"answer {place} is of share {each.index}, which is not in the set")
    if len({each.index for each in answers}) != len(answers):
        raise Misuse("two answers are of the same share")
    if len(answers) < given.threshold:
        raise Misuse(f"it takes the answers of {given.threshold} owners, and {len(answers)} are given")
    for each in answers:
        share = _open(
            decode(each.sealed), key, answer_info(digest, each.index, each.to), by_index[each.index]
        )
        _check_share(given, by_index[each.index], share)
        shares[each.index] = share
    root = combine(dict(list(shares.items())[: given.threshold]))
    if not hmac.compare_digest(commit_to_root(given.set, root), given.commitment):
        raise Tampered("the shares do not give the root key that was split")
    return Recovered(given, tuple(by_index[index].owner for index in shares), root)


def _open(sealed: bytes, key: RecoveryKey, info: bytes, share: SealedShare) -> bytes:
    try:
        return key.unseal(sealed, info)
    except Tampered:
        raise Tampered(f"the share of {share.owner} does not open: it was changed") from None


def _check_share(given: RecoverySet, sealed: SealedShare, share: bytes) -> None:
    if not hmac.compare_digest(commit_to_share(given.set, sealed.index, share), sealed.commitment):
        raise Tampered(f"the share of {sealed.owner} is not the one that was made")
