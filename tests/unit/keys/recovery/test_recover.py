"""k of n owners give a root key back; nobody else does, and nothing changed goes through."""

import itertools
import json

import pytest

from confide.errors import ConfideError, InvalidFormat, Misuse, Refused, Tampered, UnknownKey
from confide.keys.recovery.documents import Answer, RecoverySet, answer_info, decode, encode
from confide.keys.recovery.key import RecoveryPublicKey
from confide.keys.recovery.recover import answer, check, combine_answers, split_root
from confide.keys.recovery.shamir import commit_to_root

from .conftest import ROOT, STORE


@pytest.fixture
def answers(given, keys):
    """By owner, each to the machine that restores."""
    return {name: answer(given, keys[name], keys["machine"].public) for name in ("ana", "ben", "cleo")}


def changed(given: RecoverySet, **fields) -> RecoverySet:
    return given.model_copy(update=fields)


def with_share(given: RecoverySet, place: int, **fields) -> RecoverySet:
    shares = list(given.shares)
    shares[place] = shares[place].model_copy(update=fields)
    return changed(given, shares=shares)


def flipped(sealed: str, place: int) -> str:
    data = bytearray(decode(sealed))
    data[place] ^= 1
    return encode(bytes(data))


def test_any_two_of_three(given, keys, answers):
    for chosen in itertools.permutations(answers.values(), 2):
        assert combine_answers(given, chosen, keys["machine"]).root == ROOT


def test_more_than_it_takes(given, keys, answers):
    for chosen in itertools.permutations(answers.values()):
        assert combine_answers(given, chosen, keys["machine"]).root == ROOT


def test_who_answered_is_told_and_the_root_key_is_not(given, keys, answers):
    recovered = combine_answers(given, [answers["cleo"], answers["ana"]], keys["machine"])
    assert (recovered.given, recovered.owners) == (given, ("cleo", "ana"))
    assert repr(ROOT) not in repr(recovered)
    assert ROOT.hex() not in repr(recovered)


def test_all_of_all(owners, keys):
    given = split_root(ROOT, STORE, 3, owners)
    answers = [answer(given, keys[name], keys["machine"].public) for name in owners]
    assert combine_answers(given, answers, keys["machine"]).root == ROOT
    with pytest.raises(Misuse, match="3 owners, and 2"):
        combine_answers(given, answers[:2], keys["machine"])


def test_through_files(given, keys):
    given = RecoverySet.parse(given.canonical())
    to = RecoveryPublicKey.from_pem(keys["machine"].public.pem())
    answers = [Answer.parse(answer(given, keys[name], to).canonical()) for name in ("ben", "cleo")]
    assert combine_answers(given, answers, keys["machine"]).root == ROOT


def test_an_owner_can_check_his_share(given, keys):
    assert check(given, keys["ben"]).owner == "ben"


def test_an_owner_may_restore_on_his_own_machine(given, keys):
    answers = [answer(given, keys[name], keys["ana"].public) for name in ("ana", "ben")]
    assert combine_answers(given, answers, keys["ana"]).root == ROOT


def test_a_lowered_threshold(owners, keys):
    given = split_root(ROOT, STORE, 3, owners)
    answers = [answer(given, keys[name], keys["machine"].public) for name in ("ana", "ben")]
    lowered = changed(given, threshold=2)
    with pytest.raises(Tampered):
        check(lowered, keys["ana"])
    with pytest.raises(Refused):
        combine_answers(lowered, answers, keys["machine"])
    forged = [each.model_copy(update={"set": lowered.digest()}) for each in answers]
    with pytest.raises(Tampered):
        combine_answers(lowered, forged, keys["machine"])


def test_a_lowered_threshold_gives_nothing_even_to_colluding_owners(owners, keys):
    given = split_root(ROOT, STORE, 3, owners)
    lowered = changed(given, threshold=2)
    shares = {s.index: keys[s.owner].unseal(decode(s.sealed), given.share_info(s)) for s in given.shares[:2]}
    forged = [forge(lowered, keys, index, share) for index, share in shares.items()]
    with pytest.raises(Tampered, match="do not give the root key"):
        combine_answers(lowered, forged, keys["machine"])


# Splitting


@pytest.mark.parametrize("threshold", [-1, 0, 1, 4, 255])
def test_a_threshold_that_cannot_be(owners, threshold):
    with pytest.raises(Misuse, match="threshold"):
        split_root(ROOT, STORE, threshold, owners)


def test_too_few_or_too_many_owners(owners, keys):
    for few in ({}, {"ana": owners["ana"]}):
        with pytest.raises(Misuse, match="2 to 255 owners"):
            split_root(ROOT, STORE, 2, few)
    with pytest.raises(Misuse, match="2 to 255 owners"):
        split_root(ROOT, STORE, 2, {f"owner-{i}": keys["ana"].public for i in range(256)})


def test_one_key_for_two_owners(keys):
    with pytest.raises(Misuse, match="twice"):
        split_root(ROOT, STORE, 2, {"ana": keys["ana"].public, "ben": keys["ana"].public})


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", ".a", "a/b", "a\n", "ä", "a" * 65])
def test_a_name_that_cannot_be(keys, name):
    with pytest.raises(Misuse, match="name"):
        split_root(ROOT, STORE, 2, {name: keys["ana"].public, "ben": keys["ben"].public})


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_not_a_root_key(owners, size):
    with pytest.raises(Misuse, match="32 bytes"):
        split_root(bytes(size), STORE, 2, owners)


# Answering


@pytest.mark.parametrize("name", ["machine", "other"])
def test_a_key_without_a_share(given, keys, name):
    for ask in (lambda: answer(given, keys[name], keys["machine"].public), lambda: check(given, keys[name])):
        with pytest.raises(UnknownKey, match="ana, ben, cleo"):
            ask()


CHANGES = {
    "store": lambda g: changed(g, store="1f" * 16),
    "set": lambda g: changed(g, set="1f" * 16),
    "threshold": lambda g: changed(g, threshold=3),
    "commitment": lambda g: changed(g, commitment="0" * 64),
    "an owner less": lambda g: changed(g, shares=g.shares[:2]),
    "another name": lambda g: with_share(g, 0, owner="anna"),
    "another commitment": lambda g: with_share(g, 0, commitment="0" * 64),
    "commitment of another's share": lambda g: with_share(g, 0, commitment=g.shares[1].commitment),
    "another's sealed share": lambda g: with_share(g, 0, sealed=g.shares[1].sealed),
    "swapped keys": lambda g: with_share(with_share(g, 0, key=g.shares[1].key), 1, key=g.shares[0].key),
    "first byte": lambda g: with_share(g, 0, sealed=flipped(g.shares[0].sealed, 0)),
    "middle byte": lambda g: with_share(g, 0, sealed=flipped(g.shares[0].sealed, 40)),
    "last byte": lambda g: with_share(g, 0, sealed=flipped(g.shares[0].sealed, 79)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_owner_does_not_answer_a_changed_set(given, keys, change):
    meddled = RecoverySet.parse(change(given).canonical())
    for ask in (
        lambda: answer(meddled, keys["ana"], keys["machine"].public),
        lambda: check(meddled, keys["ana"]),
    ):
        with pytest.raises(Tampered):
            ask()


def test_an_owners_share_of_another_set(given, owners, keys):
    other = split_root(ROOT, STORE, 2, owners)
    meddled = with_share(given, 0, sealed=other.shares[0].sealed, commitment=other.shares[0].commitment)
    with pytest.raises(Tampered):
        answer(meddled, keys["ana"], keys["machine"].public)


def test_a_share_that_was_not_committed_to(given, keys):
    """Anyone can seal to a public key: the commitment is what tells."""
    forged = keys["ana"].public.seal(bytes(32), given.share_info(given.shares[0]))
    with pytest.raises(Tampered, match="not the one that was made"):
        answer(with_share(given, 0, sealed=encode(forged)), keys["ana"], keys["machine"].public)


def test_shares_exchanged_between_owners(given, keys):
    """Sealed anew, each to the other's owner, as somebody could who split it."""
    ana, ben = given.shares[:2]
    share = keys["ben"].unseal(decode(ben.sealed), given.share_info(ben))
    forged = keys["ana"].public.seal(share, given.share_info(ana))
    with pytest.raises(Tampered, match="share of ana"):
        answer(with_share(given, 0, sealed=encode(forged)), keys["ana"], keys["machine"].public)


def test_a_share_of_others_may_be_damaged(given, keys, answers):
    meddled = with_share(given, 2, sealed=flipped(given.shares[2].sealed, 0))
    assert check(meddled, keys["ana"]).owner == "ana"
    others = [answer(meddled, keys[name], keys["machine"].public) for name in ("ana", "ben")]
    assert combine_answers(meddled, others, keys["machine"]).root == ROOT
    with pytest.raises(Refused, match="another copy"):  # but all must speak of one and the same copy
        combine_answers(given, others, keys["machine"])
    with pytest.raises(Refused, match="another copy"):
        combine_answers(meddled, [others[0], answers["ben"]], keys["machine"])


# Restoring


def test_too_few(given, keys, answers):
    for few in ([], [answers["ana"]]):
        with pytest.raises(Misuse, match="2 owners"):
            combine_answers(given, few, keys["machine"])


def test_one_answer_twice(given, keys, answers):
    again = answer(given, keys["ana"], keys["machine"].public)
    for chosen in ([answers["ana"]] * 2, [answers["ana"], again], [*answers.values(), again]):
        with pytest.raises(Misuse, match="same share"):
            combine_answers(given, chosen, keys["machine"])


def test_answers_to_another_machine(given, keys, answers):
    with pytest.raises(Refused, match="another recovery key"):
        combine_answers(given, list(answers.values()), keys["other"])
    elsewhere = answer(given, keys["ben"], keys["other"].public)
    with pytest.raises(Refused, match="another recovery key"):
        combine_answers(given, [answers["ana"], elsewhere], keys["machine"])


def test_an_answer_readdressed(given, keys):
    elsewhere = answer(given, keys["ben"], keys["other"].public)
    mine = answer(given, keys["ana"], keys["machine"].public)
    forged = elsewhere.model_copy(update={"to": keys["machine"].public.id})
    with pytest.raises(Tampered, match="share of ben"):
        combine_answers(given, [mine, forged], keys["machine"])


def test_answers_for_another_set_of_the_same_root_key(given, owners, keys, answers):
    other = split_root(ROOT, STORE, 2, owners)
    theirs = answer(other, keys["ben"], keys["machine"].public)
    with pytest.raises(Refused, match="another recovery set"):
        combine_answers(given, [answers["ana"], theirs], keys["machine"])
    forged = theirs.model_copy(update={"set": given.digest()})
    with pytest.raises(Tampered, match="share of ben"):
        combine_answers(given, [answers["ana"], forged], keys["machine"])


def test_a_share_of_another_set_sealed_anew(given, owners, keys, answers):
    """An owner who lies: his share of another set, addressed as it should be."""
    other = split_root(ROOT, STORE, 2, owners)
    share = keys["ben"].unseal(decode(other.shares[1].sealed), other.share_info(other.shares[1]))
    lie = forge(given, keys, 2, share)
    for chosen in ([answers["ana"], lie], [answers["ana"], answers["cleo"], lie]):
        with pytest.raises(Tampered, match="share of ben is not the one"):
            combine_answers(given, chosen, keys["machine"])


def test_swapped_shares(given, keys, answers):
    one, two = answers["ana"], answers["ben"]
    swapped = [one.model_copy(update={"index": 2}), two.model_copy(update={"index": 1})]
    with pytest.raises(Tampered):
        combine_answers(given, swapped, keys["machine"])
    swapped = [one.model_copy(update={"sealed": two.sealed}), two.model_copy(update={"sealed": one.sealed})]
    with pytest.raises(Tampered):
        combine_answers(given, swapped, keys["machine"])


def test_an_index_that_is_not_in_the_set(given, keys, answers):
    stray = answers["ben"].model_copy(update={"index": 4})
    with pytest.raises(Misuse, match="not in the set"):
        combine_answers(given, [answers["ana"], stray], keys["machine"])


@pytest.mark.parametrize("place", [0, 31, 32, 63, 64, 79])
def test_a_flipped_byte_of_an_answer(given, keys, answers, place):
    bad = answers["ben"].model_copy(update={"sealed": flipped(answers["ben"].sealed, place)})
    for chosen in ([answers["ana"], bad], [answers["ana"], answers["cleo"], bad]):
        with pytest.raises(Tampered, match="share of ben does not open"):
            combine_answers(given, chosen, keys["machine"])


def test_every_byte_of_an_answers_file(given, keys, answers):
    whole = answers["ben"].canonical()
    for place in range(len(whole)):
        for bit in (0, 5):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            with pytest.raises(ConfideError):
                combine_answers(given, [answers["ana"], Answer.parse(bytes(data))], keys["machine"])


def test_every_byte_of_a_sets_file(given, keys, answers):
    """A set that was changed after it was answered for is noticed, wherever it was."""
    whole = given.canonical()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1
        with pytest.raises(ConfideError):
            combine_answers(RecoverySet.parse(bytes(data)), list(answers.values()), keys["machine"])


def test_a_sets_share_is_no_answer(given, keys):
    """What is sealed to an owner cannot be passed off as an answer to him."""
    share = given.shares[0]
    passed = Answer(set=given.digest(), index=1, to=share.key, sealed=share.sealed)
    other = answer(given, keys["ben"], keys["ana"].public)
    with pytest.raises(Tampered):
        combine_answers(given, [passed, other], keys["ana"])


def test_owners_who_answer_for_a_set_that_gives_another_root_key(given, owners, keys):
    """Whoever writes a set of his own lies about one thing too many."""
    liar = split_root(bytes(32), STORE, 2, owners)
    meddled = changed(liar, commitment=given.commitment)
    with pytest.raises(Tampered):
        answer(meddled, keys["ana"], keys["machine"].public)
    forged = []
    for share in liar.shares:
        opened = keys[share.owner].unseal(decode(share.sealed), liar.share_info(share))
        sealed = keys[share.owner].public.seal(opened, meddled.share_info(share))
        forged.append(share.model_copy(update={"sealed": encode(sealed)}))
    consistent = changed(meddled, shares=forged)
    answers = [answer(consistent, keys[name], keys["machine"].public) for name in ("ana", "ben")]
    with pytest.raises(Tampered, match="do not give the root key"):
        combine_answers(consistent, answers, keys["machine"])


def test_a_key_of_low_order_gets_no_answer(given, keys):
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    nobody = RecoveryPublicKey(X25519PublicKey.from_public_bytes(bytes(32)))
    with pytest.raises(InvalidFormat):
        answer(given, keys["ana"], nobody)
    with pytest.raises(InvalidFormat):
        split_root(ROOT, STORE, 2, {"ana": keys["ana"].public, "nobody": nobody})


def test_errors_hold_no_share(given, keys, answers):
    share = keys["ben"].unseal(decode(given.shares[1].sealed), given.share_info(given.shares[1]))
    lie = forge(given, keys, 2, bytes(32))
    with pytest.raises(Tampered) as refused:
        combine_answers(given, [answers["ana"], lie], keys["machine"])
    said = f"{refused.value} {refused.value.__cause__} {json.dumps(refused.value.args)}"
    assert share.hex() not in said
    assert commit_to_root(given.set, ROOT) not in said


def forge(given: RecoverySet, keys, index: int, share: bytes) -> Answer:
    """Return an answer that is right in all but its share."""
    to = keys["machine"].public
    sealed = to.seal(share, answer_info(given.digest(), index, to.id))
    return Answer(set=given.digest(), index=index, to=to.id, sealed=encode(sealed))
