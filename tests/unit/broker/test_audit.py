import json

import pytest

from confide.broker.audit import MAX_ENTRY_BYTES
from confide.broker.checkpoint import Checkpoint, open_checkpoint
from confide.broker.merkle import verify_consistency, verify_inclusion
from confide.broker.store import Store
from confide.canonical import canonical_json
from confide.errors import Misuse, Tampered, UnknownKey
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile

from ...stores import meddle


class Clock:
    now = 1_800_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def provider(tmp_path):
    return PassphraseFile.create(tmp_path / "root.json", b"x", LEAST_COST)


@pytest.fixture
def store(where, provider, clock):
    with_store = Store.create(where, provider, clock)
    yield with_store
    with_store.close()


@pytest.fixture
def log(store):
    return store.audit


def fill(log, count, **fields):
    return [log.append({"kind": "release", "n": n, **fields}) for n in range(count)]


def test_entries_come_back_in_order_with_index_time_and_kind(log, clock):
    assert fill(log, 3, owner="clinic") == [0, 1, 2]
    entry = log.entries(2)[0]
    assert (entry.index, entry.time, entry.kind, entry.fields) == (
        2,
        clock.now,
        "release",
        {"n": 2, "owner": "clinic"},
    )
    assert entry.leaf == canonical_json(
        {"index": 2, "time": clock.now, "kind": "release", "fields": {"n": 2, "owner": "clinic"}}
    )


def test_pages_and_filters(log, clock):
    fill(log, 5, owner="clinic")
    clock.now += 60
    fill(log, 5, owner="lab")
    log.append({"kind": "refused", "owner": "lab", "reason": "it's; DROP TABLE audit_entry"})
    assert [entry.index for entry in log.entries(3, 4)] == [3, 4, 5, 6]
    assert [entry.index for entry in log.entries(kind="refused")] == [10]
    assert [entry.index for entry in log.entries(since=clock.now)] == [5, 6, 7, 8, 9, 10]
    assert [entry.index for entry in log.entries(until=clock.now)] == [0, 1, 2, 3, 4]
    assert [entry.index for entry in log.entries(fields={"owner": "lab", "n": 2})] == [7]
    assert [entry.index for entry in log.entries(fields={"reason": "it's; DROP TABLE audit_entry"})] == [10]
    assert log.entries(kind="nothing") == []
    assert log.entries(11) == []
    assert [entry.index for entry in log.newest(3)] == [8, 9, 10]
    assert [entry.index for entry in log.newest(2, kind="release")] == [8, 9]
    assert log.newest(kind="nothing") == []


def test_filter_sees_past_what_a_database_cannot_hold(log):
    """PostgreSQL's JSON has no NUL: an entry with one must not make the log unreadable."""
    for detail in ("\0", "\\u0000", "\\\\u0000", "plain"):
        log.append({"kind": "refusal", "detail": detail})
    entries = log.entries(kind="refusal")
    assert [entry.index for entry in entries] == [0, 1, 2, 3]
    for entry in entries[1:]:
        assert log.entries(fields={"detail": entry.fields["detail"]}) == [entry]


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_page_of_no_sensible_size(log, limit):
    with pytest.raises(Misuse):
        log.entries(0, limit)
    with pytest.raises(Misuse):
        log.newest(limit)


@pytest.mark.parametrize("name", ["", "a b", "x') = 1 --", "Ä", "a.b"])
def test_filter_on_no_possible_field(log, name):
    with pytest.raises(Misuse):
        log.entries(fields={name: "x"})


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"kind": None},
        {"kind": ""},
        {"kind": "A b"},
        {"kind": "x", "bad name": 1},
        {"kind": "x", "value": b"bytes"},
        {"kind": "x", "value": float("nan")},
        {"kind": "x", "value": 2**60},
        {"kind": "x", "value": "y" * MAX_ENTRY_BYTES},
    ],
)
def test_entry_that_cannot_be_one(log, entry):
    with pytest.raises(Misuse):
        log.append(entry)
    assert log.size() == 0


def test_empty_log(log):
    assert log.verify().size == 0
    assert open_checkpoint(log.checkpoint(), log.verifier_key()) == log.verify()


def test_checkpoint_proves_entries_and_growth(log):
    fill(log, 6)
    old = open_checkpoint(log.checkpoint(), log.verifier_key())
    fill(log, 7)
    new = open_checkpoint(log.checkpoint(), log.verifier_key())
    assert (old.size, new.size) == (6, 13)
    verify_consistency(old.size, old.root, new.size, new.root, log.consistency_proof(6))
    for index in range(13):
        leaf = log.entries(index, 1)[0].leaf
        verify_inclusion(leaf, index, new.size, new.root, log.inclusion_proof(index))
    verify_inclusion(log.entries(3, 1)[0].leaf, 3, old.size, old.root, log.inclusion_proof(3, 6))
    assert log.verify(old) == new


def test_proofs_of_what_is_not_there(log):
    fill(log, 3)
    for call in (
        lambda: log.inclusion_proof(3),
        lambda: log.inclusion_proof(0, 4),
        lambda: log.consistency_proof(4),
    ):
        with pytest.raises(Misuse):
            call()


def test_log_goes_on_after_reopening(store, log, where, provider, clock):
    fill(log, 5)
    old = open_checkpoint(log.checkpoint(), log.verifier_key())
    store.close()
    again = Store.open(where, provider, clock)
    try:
        fill(again.audit, 4)
        assert again.audit.verifier_key() == log.verifier_key()
        assert again.audit.verify(old).size == 9
    finally:
        again.close()


def test_entry_of_a_failed_transaction_is_gone(store, log):
    fill(log, 2)
    with pytest.raises(Misuse), store.transaction():  # noqa: PT012 - the block is what is tested
        log.append({"kind": "release"})
        store.put_secret("x", "y", b"z")
        log.append({"no": "kind"})
    with pytest.raises(UnknownKey):
        store.secret("x", "y")
    assert log.size() == 2
    assert log.append({"kind": "release"}) == 2
    assert log.verify().size == 3


def test_altered_entry_is_found(log, where):
    fill(log, 9)
    meddle(where, "UPDATE audit_entry SET leaf = replace(leaf, '\"n\":4', '\"n\":5') WHERE position = 4")
    with pytest.raises(Tampered, match="entry 4"):
        log.verify()
    with pytest.raises(Tampered, match="entry 4"):
        log.entries(4, 1)


def test_reordered_entries_are_found(log, where):
    fill(log, 9)
    meddle(where, "UPDATE audit_entry SET position = -1 WHERE position = 3")
    meddle(where, "UPDATE audit_entry SET position = 3 WHERE position = 4")
    meddle(where, "UPDATE audit_entry SET position = 4 WHERE position = -1")
    with pytest.raises(Tampered):
        log.verify()


def test_reordered_entries_with_their_hashes_are_found(log, where):
    fill(log, 9)
    for table in ("audit_entry", "audit_node"):
        leaves = " AND level = 0" if table == "audit_node" else ""
        for old, new in ((3, 100), (4, 3), (100, 4)):
            meddle(where, f"UPDATE {table} SET position = {new} WHERE position = {old}{leaves}")
    with pytest.raises(Tampered, match="moved"):
        log.verify()


@pytest.mark.parametrize("position", [0, 4, 8])
def test_missing_entry_is_found(log, where, position):
    fill(log, 9)
    old = open_checkpoint(log.checkpoint(), log.verifier_key())
    meddle(where, "DELETE FROM audit_entry WHERE position = ?", position)
    with pytest.raises(Tampered):
        log.verify(old)


def rewrite(where, log, fields):
    """Write a whole other log, hashes and all, as the operator of the disk could."""
    leaves = [json.loads(entry.leaf) for entry in log.entries()]
    meddle(where, "DELETE FROM audit_entry")
    meddle(where, "DELETE FROM audit_node")
    clock, log._clock = log._clock, lambda: leaves[0]["time"]
    for each in fields:
        log.append({"kind": "release", **each})
    log._clock = clock


def test_removed_tail_is_found_with_a_kept_checkpoint_only(log, where):
    fill(log, 9)
    kept = open_checkpoint(log.checkpoint(), log.verifier_key())
    rewrite(where, log, [{"n": n} for n in range(6)])
    assert log.verify().size == 6
    with pytest.raises(Tampered, match="6 entries"):
        log.verify(kept)
    with pytest.raises(Misuse):
        log.consistency_proof(kept.size)


def test_removed_tail_that_grew_again_is_found(log, where):
    fill(log, 9)
    kept = open_checkpoint(log.checkpoint(), log.verifier_key())
    rewrite(where, log, [{"n": n} for n in (0, 1, 2, 3, 4, 5, 6, 7, 7, 8)])
    with pytest.raises(Tampered, match="first 9 entries"):
        log.verify(kept)
    new = open_checkpoint(log.checkpoint(), log.verifier_key())
    with pytest.raises(Tampered):
        verify_consistency(kept.size, kept.root, new.size, new.root, log.consistency_proof(kept.size))


def test_changed_tree_is_found(log, where):
    fill(log, 9)
    meddle(where, "UPDATE audit_node SET hash = zeroblob(32) WHERE level = 3")
    with pytest.raises(Tampered, match="hash to its tree"):
        log.verify()


def test_missing_node_is_found(log, where):
    fill(log, 8)
    meddle(where, "DELETE FROM audit_node WHERE level = 3")
    with pytest.raises(Tampered, match="lacks a node"):
        log.checkpoint()


def test_checkpoint_of_another_log(log):
    with pytest.raises(Tampered, match="another log"):
        log.verify(Checkpoint("confide-audit/" + "0" * 32, 0, bytes(32)))


def test_forged_checkpoint_is_refused(log):
    fill(log, 3)
    with pytest.raises(Tampered):
        open_checkpoint(log.checkpoint().replace("\n3\n", "\n2\n"), log.verifier_key())


def test_appending_reads_and_writes_as_little_at_any_size(log, store, monkeypatch):
    """Statements run for one entry must not grow with the log, other than by the carry's log2(n)."""
    statements = []
    database = store._database
    for name in ("_execute", "_execute_many"):
        real = getattr(database, name)
        monkeypatch.setattr(
            database, name, lambda text, values, real=real: (statements.append(text), real(text, values))[1]
        )
    fill(log, 200)
    most = 0
    for _ in range(100):
        statements.clear()
        log.append({"kind": "release"})
        most = max(most, len(statements))
    assert 3 <= most < 9 + 6
