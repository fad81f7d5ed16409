"""Whatever a store acknowledged is there after its process was killed, and nothing is there by halves."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from confide.broker.checkpoint import open_checkpoint
from confide.broker.store import Store
from confide.keys.names import KeyName
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile

WRITER = Path(__file__).with_name("writer.py")
KILLS = 12


@pytest.fixture
def provider(tmp_path):
    return PassphraseFile.create(tmp_path / "root.json", b"x", LEAST_COST)


def write_until_killed(folder: Path, chance: random.Random) -> list[tuple[int, int]]:
    """Start the writer, kill -9 it at some moment, and return every (serial, index) that it acknowledged."""
    writer = subprocess.Popen([sys.executable, str(WRITER), str(folder)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(chance.randint(1, 30))]
        time.sleep(chance.random() * 0.02)
    finally:
        writer.kill()
    rest, _ = writer.communicate()
    assert writer.returncode == -9
    acknowledged = b"".join(lines) + rest
    return [(int(a), int(b)) for a, b in (line.split() for line in acknowledged.splitlines())]


def test_acknowledged_is_durable_and_nothing_is_half_done(tmp_path, provider):
    chance = random.Random(20260101)
    Store.create(tmp_path / "store.db", provider).close()
    acknowledged, kept = [], None
    for _ in range(KILLS):
        acknowledged += write_until_killed(tmp_path, chance)
        store = Store.open(tmp_path / "store.db", provider)
        try:
            last_serial, last_index = acknowledged[-1]
            serial = store.policy("clinic").serial
            assert last_serial <= serial <= last_serial + 1  # the next may be committed, its word not yet out
            assert store.audit.verify(kept).size == serial > last_index
            assert len(store.keys("clinic")) == serial
            for number in range(1, serial + 1):
                assert store.key(KeyName("clinic", f"key-{number}")).current == (1 if number == serial else 2)
            kept = open_checkpoint(store.audit.checkpoint(), store.audit.verifier_key())
        finally:
            store.close()
    assert acknowledged == [(serial, serial - 1) for serial, _ in acknowledged]


def test_sqlite_is_set_to_reach_the_disk(tmp_path, provider):
    """What a kill cannot show: a power cut spares what was acknowledged only with these settings."""
    Store.create(tmp_path / "store.db", provider).close()
    store = Store.open(tmp_path / "store.db", provider)
    try:
        assert store._database.row("PRAGMA journal_mode") == ("wal",)
        assert store._database.row("PRAGMA synchronous") == (2,)
        assert store._database.row("PRAGMA foreign_keys") == (1,)
        assert store._database.row("PRAGMA secure_delete") == (1,)
    finally:
        store.close()
