"""A store restored on another machine by 2 of 3 owners, as they drive it; and everything that must be refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from confide.broker.home import Home
from confide.broker.store import Store
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile
from confide.keys.recovery import recover
from confide.keys.recovery.key import RecoveryKey
from confide.keys.signing import generate_signing_key, raw_private

from .conftest import PASSPHRASE, CommandLine

VECTOR = Path(__file__).parents[1] / "vectors/recovery"
VECTOR_PASSPHRASE = "correct horse battery staple"


class Secrets:
    """Files of secrets, and descriptors of them that are closed in the end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.descriptors = folder, {}

    def __call__(self, text: str) -> int:
        if text not in self.descriptors:
            file = self._folder / f"secret-{len(self.descriptors)}"
            file.write_text(text)
            self.descriptors[text] = os.open(file, os.O_RDONLY)
        return self.descriptors[text]


@pytest.fixture
def secrets(tmp_path):
    made = Secrets(tmp_path)
    yield made
    for each in made.descriptors.values():
        os.close(each)


@pytest.fixture
def machine(tmp_path, monkeypatch, capfd):
    """The command line of another machine: a folder of its own, and a home that is not there yet."""
    (tmp_path / "machine").mkdir()
    line = CommandLine(tmp_path / "machine", monkeypatch, capfd)
    yield line
    os.close(line.descriptor)


@pytest.fixture
def key_fd(secrets):
    """Opens the keys of tests/vectors/recovery."""
    return secrets(VECTOR_PASSPHRASE)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A home whose root key is shared 2 of 3 in `clinic.set`, keys, and every owner's answer to the machine."""
    folder = tmp_path_factory.mktemp("prepared")
    keys = {}
    for name in ("ana", "ben", "cleo", "machine"):
        shutil.copyfile(VECTOR / f"{name}.key", folder / f"{name}.key")
        keys[name] = RecoveryKey.open(folder / f"{name}.key", VECTOR_PASSPHRASE.encode())
        (folder / f"{name}.pem").write_bytes(keys[name].public.pem())
    owners = {name: keys[name].public for name in ("ana", "ben", "cleo")}
    with Home.create(folder / "home", PASSPHRASE.encode(), LEAST_COST) as home:
        home.store.put_owner_signing_key("clinic", raw_private(generate_signing_key()))
        given = home.share_root(2, owners)
    (folder / "clinic.set").write_bytes(given.canonical())
    for name in owners:
        made = recover.answer(given, keys[name], keys["machine"].public)
        (folder / f"{name}.answer").write_bytes(made.canonical())
    return folder


@pytest.fixture
def shared(confide, prepared):
    shutil.copytree(prepared, confide.folder, dirs_exist_ok=True)
    return confide


@pytest.fixture
def lost(shared, machine):
    """The clinic's home is gone. The other machine has a copy of the store, the set and the answers."""
    shutil.copyfile(shared.home / "store.db", machine.folder / "store.db")
    for name in ("clinic.set", "ana.answer", "ben.answer", "cleo.answer", "machine.key"):
        shutil.copyfile(shared.folder / name, machine.folder / name)
    shutil.rmtree(shared.home)
    return machine


def owners(*names: str) -> list[str]:
    return [word for name in names for word in ("--owner", f"{name}={name}.pem")]


def fingerprints() -> dict[str, str]:
    keys = {
        name: RecoveryKey.open(VECTOR / f"{name}.key", VECTOR_PASSPHRASE.encode())
        for name in ("ana", "ben", "cleo", "machine")
    }
    return {name: key.public.fingerprint for name, key in keys.items()}


FINGERPRINTS = fingerprints()


def answer(line, name: str, key_fd: int, to: str = "machine", fingerprint: str | None = None):
    said = FINGERPRINTS[to] if fingerprint is None else fingerprint
    command = ("recovery", "answer", "clinic.set", "--key", f"{name}.key", "--to", f"{to}.pem")
    return line(*command, "--fingerprint", said, descriptor=key_fd)


def restore(line, key_fd: int, *answers: str, **changes):
    given = {"set": "clinic.set", "key": "machine.key", "store": "store.db", "descriptor": None} | changes
    command = [
        "recovery",
        "restore",
        given["set"],
        *answers,
        "--key",
        given["key"],
        "--store",
        given["store"],
    ]
    return line(*command, "--key-passphrase-fd", str(key_fd), descriptor=given["descriptor"])


# The whole way


def test_two_of_three_owners_restore_a_store_on_another_machine(clinic, machine, secrets):
    for name in ("ana", "ben", "cleo"):
        said = clinic("recovery", "key", f"{name}.key", descriptor=secrets(f"{name}'s passphrase"))
        assert (said.code, "fingerprint" in said.err) == (0, True), said.err
        (clinic.folder / f"{name}.pem").write_text(said.out)
        assert (clinic.folder / f"{name}.key").stat().st_mode & 0o777 == 0o600
    clinic.ok("recovery", "split", "--threshold", "2", *owners("ana", "ben", "cleo"), "-o", "clinic.set")
    checked = clinic(
        "recovery", "check", "clinic.set", "--key", "ben.key", descriptor=secrets("ben's passphrase")
    )
    assert (checked.code, "share of ben opens" in checked.err) == (0, True), checked.err
    clinic.ok("audit", "verify")
    for name in ("store.db", "audit.checkpoint"):
        shutil.copyfile(clinic.home / name, machine.folder / name)
    for name in ("clinic.set", "data"):
        (shutil.copytree if name == "data" else shutil.copyfile)(clinic.folder / name, machine.folder / name)
    clinic.ok("decrypt", "data/patients", "plain.csv")
    plain = (clinic.folder / "plain.csv").read_text()
    shutil.rmtree(clinic.home)
    shutil.rmtree(clinic.folder / "data")

    key_fd = secrets("the machine's passphrase")
    said = machine("recovery", "key", "machine.key", "--json", descriptor=key_fd)
    told = json.loads(said.out)
    (clinic.folder / "machine.pem").write_text(told["public"])
    for name in ("ana", "cleo"):
        said = clinic(
            *("recovery", "answer", "clinic.set", "--key", f"{name}.key", "--to", "machine.pem"),
            *("--fingerprint", told["fingerprint"]),
            descriptor=secrets(f"{name}'s passphrase"),
        )
        assert said.code == 0, said.err
        (machine.folder / f"{name}.answer").write_text(said.out)

    said = restore(machine, key_fd, "ana.answer", "cleo.answer", descriptor=secrets("a new passphrase"))
    assert (said.code, "given back by ana, cleo" in said.err) == (0, True), said.err
    new = secrets("a new passphrase")
    said = machine("decrypt", "data/patients", "out.csv", descriptor=new)
    assert said.code == 0, said.err
    assert (machine.folder / "out.csv").read_text() == plain
    shutil.copyfile(machine.folder / "audit.checkpoint", machine.home / "audit.checkpoint")
    said = machine("audit", "verify", "--json", descriptor=new)
    assert (said.code, json.loads(said.out)["extends"]) == (0, 5), said.err
    said = machine("audit", "--json", descriptor=new)
    assert [entry["kind"] for entry in json.loads(said.out)][-2:] == ["recovery-split", "recovery-restore"]
    assert machine("key", "list").code == 96  # the old passphrase
    assert machine("key", "rotate", "clinic/patients", descriptor=new).code == 0  # and it goes on from here


def test_as_json(shared, machine, key_fd):
    given = json.loads(
        shared.ok(
            "recovery", "split", "--threshold", "3", *owners("ana", "ben", "cleo"), "-o", "x", "--json"
        ).out
    )
    assert (given["file"], given["threshold"]) == ("x", 3)
    assert [each["owner"] for each in given["owners"]] == ["ana", "ben", "cleo"]
    assert given["owners"][0]["fingerprint"] == FINGERPRINTS["ana"]
    said = shared("recovery", "check", "x", "--key", "cleo.key", "--json", descriptor=key_fd)
    assert json.loads(said.out) == {
        "store": given["store"],
        "set": given["set"],
        "threshold": 3,
        "owner": "cleo",
    }
    split = json.loads(shared.ok("audit", "--kind", "recovery-split", "--json").out)
    assert split[-1]["set"] == given["set"]
    assert split[-1]["owners"] == ["clinic"]


def test_restored_as_json(lost, key_fd):
    given = (
        "recovery",
        "restore",
        "clinic.set",
        "ben.answer",
        "ana.answer",
        "--key",
        "machine.key",
        "--json",
    )
    said = lost(*given, "--store", "store.db", "--key-passphrase-fd", str(key_fd))
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert (told["answered"], told["home"]) == (["ben", "ana"], str(lost.home))
    assert told["audit_entries"] == 2


def test_every_command_has_an_example(confide):
    for command in ("key", "split", "check", "answer", "restore"):
        assert "confide recovery " + command in confide.ok("recovery", command, "--help").out.replace(
            "confide --home /srv/broker recovery", "confide recovery"
        )


def test_nothing_secret_is_in_the_files(shared):
    with Home.open(shared.home, PASSPHRASE.encode()) as home:
        root = home.store._root
    for name in ("clinic.set", "ana.answer", "ana.pem"):
        data = (shared.folder / name).read_bytes()
        assert root not in data
        assert root.hex().encode() not in data


# Recovery keys


def test_a_key_that_is_there_is_kept(shared, key_fd):
    before = (shared.folder / "ana.key").read_bytes()
    said = shared("recovery", "key", "ana.key", descriptor=key_fd)
    assert (said.code, said.out) == (68, "")
    assert (shared.folder / "ana.key").read_bytes() == before


def test_a_short_passphrase(confide, secrets):
    said = confide("recovery", "key", "ana.key", descriptor=secrets("short"))
    assert (said.code, said.out) == (64, "")
    assert not (confide.folder / "ana.key").exists()


def test_the_public_part_of_no_key(confide):
    assert confide("recovery", "key", "absent.key", "--public").code == 73
    (confide.folder / "junk").write_text("junk")
    said = confide("recovery", "key", "junk", "--public")
    assert (said.code, "`key`" in said.err) == (67, True), said.err


# Splitting


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--threshold", "1", *owners("ana", "ben")), 64, "threshold"),
        (("--threshold", "3", *owners("ana", "ben")), 64, "threshold"),
        (("--threshold", "-1", *owners("ana", "ben")), 64, "threshold"),
        (("--threshold", "2", *owners("ana")), 64, "2 to 255 owners"),
        (("--threshold", "2", *owners("ana", "ana")), 64, "twice"),
        (("--threshold", "2", *owners("ana"), "--owner", "ben=ana.pem"), 64, "twice"),
        (("--threshold", "2", *owners("ana"), "--owner", "ben"), 64, "NAME=PUBLIC.pem"),
        (("--threshold", "2", *owners("ana"), "--owner", "ben="), 64, "NAME=PUBLIC.pem"),
        (("--threshold", "2", *owners("ana"), "--owner", "=ben.pem"), 64, "name"),
        (("--threshold", "2", *owners("ana"), "--owner", "b e n=ben.pem"), 64, "name"),
        (("--threshold", "2", *owners("ana"), "--owner", "ben=absent.pem"), 64, "cannot read"),
        (("--threshold", "2", *owners("ana"), "--owner", "ben=ben.key"), 67, "not a recovery key"),
        (("--threshold", "2", *owners("ana"), "--owner", "ben=huge.pem"), 67, "at most 4096"),
        (("--threshold", "2", *owners("ana"), "--owner", "ben=ed25519.pem"), 67, "X25519"),
    ],
)
def test_a_split_that_cannot_be(shared, arguments, code, word):
    (shared.folder / "huge.pem").write_text((shared.folder / "ben.pem").read_text() + " " * 5000)
    other = Ed25519PrivateKey.generate().public_key()
    (shared.folder / "ed25519.pem").write_bytes(
        other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    said = shared("recovery", "split", *arguments, "-o", "other.set")
    assert (said.code, word in said.err) == (code, True), said.err
    assert not (shared.folder / "other.set").exists()
    entries = json.loads(shared.ok("audit", "--kind", "recovery-split", "--json").out)
    assert len(entries) == 1


def test_a_set_is_never_replaced(shared):
    before = (shared.folder / "clinic.set").read_bytes()
    said = shared("recovery", "split", "--threshold", "2", *owners("ana", "ben"), "-o", "clinic.set")
    assert said.code == 68
    assert (shared.folder / "clinic.set").read_bytes() == before


def test_without_the_homes_passphrase(shared, secrets):
    command = ("recovery", "split", "--threshold", "2", *owners("ana", "ben"), "-o", "other.set")
    assert shared(*command, descriptor=secrets("another passphrase")).code == 96
    assert not (shared.folder / "other.set").exists()


# Answering


def test_an_answer_needs_the_fingerprint(shared, key_fd):
    command = ("recovery", "answer", "clinic.set", "--key", "ana.key", "--to", "machine.pem")
    said = shared(*command, descriptor=key_fd)
    assert (said.code, said.out) == (64, "")
    assert "--fingerprint" in said.err
    assert FINGERPRINTS["machine"] in said.err


@pytest.mark.parametrize("wrong", ["", "0000", FINGERPRINTS["ana"], FINGERPRINTS["machine"][:-1], "x" * 39])
def test_another_fingerprint(shared, key_fd, wrong):
    said = answer(shared, "ana", key_fd, fingerprint=wrong)
    assert (said.code, said.out) == (80, ""), said.err


def test_a_key_put_in_the_machines_place(shared, key_fd):
    shutil.copyfile(shared.folder / "ben.pem", shared.folder / "machine.pem")
    said = answer(shared, "ana", key_fd)
    assert (said.code, said.out) == (80, "")
    assert FINGERPRINTS["ben"] in said.err


def test_a_key_that_has_no_share(shared, key_fd):
    for command in ("check", "answer"):
        more = ("--to", "ana.pem", "--fingerprint", FINGERPRINTS["ana"]) if command == "answer" else ()
        said = shared("recovery", command, "clinic.set", "--key", "machine.key", *more, descriptor=key_fd)
        assert (said.code, said.out) == (82, ""), said.err
        assert "ana, ben, cleo" in said.err
        assert "hint: each owner opens one share" in said.err


def test_a_wrong_passphrase_of_the_key(shared, secrets):
    said = answer(shared, "ana", secrets("Correct horse battery staple"))
    assert (said.code, said.out) == (96, "")
    assert "confide recovery key" in said.err


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d | {"threshold": 3}, 90),
        (lambda d: d | {"threshold": 1}, 67),
        (lambda d: d | {"commitment": "0" * 64}, 90),
        (lambda d: d | {"store": "0" * 32}, 90),
        (lambda d: d | {"shares": d["shares"][:2]}, 90),
        (lambda d: d | {"shares": d["shares"][::-1]}, 67),
        (
            lambda d: (
                d | {"shares": [d["shares"][0] | {"sealed": d["shares"][1]["sealed"]}, *d["shares"][1:]]}
            ),
            90,
        ),
        (lambda d: [d], 67),
    ],
)
def test_a_changed_set_is_not_answered_for(shared, key_fd, change, code):
    file = shared.folder / "clinic.set"
    file.write_text(json.dumps(change(json.loads(file.read_bytes()))))
    said = answer(shared, "ana", key_fd)
    assert (said.code, said.out) == (code, ""), said.err
    assert "hint:" in said.err


@pytest.mark.parametrize("data", [b"", b"junk", b"\xff" * 100, b" " * 300_000])
def test_not_a_set(shared, key_fd, data):
    (shared.folder / "clinic.set").write_bytes(data)
    said = answer(shared, "ana", key_fd)
    assert (said.code, said.out) == (67, "")
    assert "A set comes from `split`" in said.err


# Restoring


def refused(line, key_fd, code, word, *answers, **changes):
    before = sorted(each.name for each in line.folder.iterdir())
    said = restore(line, key_fd, *answers, **changes)
    assert (said.code, said.out, word in said.err) == (code, "", True), said.err
    assert not line.home.exists()
    assert sorted(each.name for each in line.folder.iterdir()) == before


def test_too_few_answers(lost, key_fd):
    refused(lost, key_fd, 64, "answers of 2 owners, and 1", "ana.answer")
    refused(lost, key_fd, 64, "same share", "ana.answer", "ana.answer")
    assert restore(lost, key_fd).code == 2


def test_an_answer_that_was_changed(lost, key_fd):
    said = json.loads((lost.folder / "ben.answer").read_bytes())
    swap = "B" if said["sealed"][50] == "A" else "A"
    said["sealed"] = said["sealed"][:50] + swap + said["sealed"][51:]
    (lost.folder / "ben.answer").write_text(json.dumps(said))
    refused(lost, key_fd, 90, "share of ben", "ana.answer", "ben.answer")
    refused(lost, key_fd, 90, "share of ben", "ana.answer", "cleo.answer", "ben.answer")


def test_answers_exchanged(lost, key_fd):
    said = {name: json.loads((lost.folder / f"{name}.answer").read_bytes()) for name in ("ana", "ben")}
    (lost.folder / "ana.answer").write_text(json.dumps(said["ana"] | {"index": 2}))
    (lost.folder / "ben.answer").write_text(json.dumps(said["ben"] | {"index": 1}))
    refused(lost, key_fd, 90, "does not open", "ana.answer", "ben.answer")


def test_an_answer_to_another_machine(shared, lost, key_fd):
    (lost.folder / "ben.answer").write_text(answer(shared, "ben", key_fd, to="cleo").out)
    refused(lost, key_fd, 80, "answer 2 is sealed to another", "ana.answer", "ben.answer")
    refused(lost, key_fd, 80, "answer 1 is sealed to another", "ana.answer", "cleo.answer", key="../cleo.key")


def test_the_set_of_another_store(lost, key_fd):
    given = json.loads((lost.folder / "clinic.set").read_bytes())
    (lost.folder / "clinic.set").write_text(json.dumps(given | {"store": "0" * 32}))
    refused(lost, key_fd, 80, "another recovery set", "ana.answer", "ben.answer")


def test_another_store(lost, key_fd, tmp_path):
    provider = PassphraseFile.create(tmp_path / "other.json", b"x", LEAST_COST)
    Store.create(tmp_path / "other.db", provider).close()
    refused(lost, key_fd, 80, "this is the store", "ana.answer", "ben.answer", store="../other.db")
    refused(lost, key_fd, 73, "no store", "ana.answer", "ben.answer", store="absent.db")
    refused(lost, key_fd, 67, "hint: --store takes", "ana.answer", "ben.answer", store="clinic.set")


def test_a_short_passphrase_for_the_new_home(lost, key_fd, secrets):
    refused(lost, key_fd, 64, "at least 8", "ana.answer", "ben.answer", descriptor=secrets("short"))


def test_a_wrong_passphrase_of_the_machines_key(lost, secrets):
    refused(lost, secrets("x" * 10), 96, "--key-passphrase-fd", "ana.answer", "ben.answer")


def test_what_is_no_answer(lost, key_fd):
    (lost.folder / "huge").write_bytes((lost.folder / "ben.answer").read_bytes() + b" " * 5000)
    for file in ("clinic.set", "machine.key", "store.db", "huge"):
        refused(lost, key_fd, 67, "hint: is this the right file?", "ana.answer", file)
    refused(lost, key_fd, 64, "cannot read", "ana.answer", "absent.answer")


def test_a_home_that_is_there(lost, key_fd):
    lost.ok("init", "clinic")
    before = (lost.home / "store.db").read_bytes()
    said = restore(lost, key_fd, "ana.answer", "ben.answer")
    assert (said.code, "a folder that is not there yet" in said.err) == (68, True), said.err
    assert (lost.home / "store.db").read_bytes() == before
    lost.ok("key", "list")


def test_a_set_and_a_store_put_in_the_place_of_the_true_ones(lost, shared, prepared, key_fd, tmp_path):
    """Whoever writes both knows the root key. A checkpoint kept from before tells."""
    with Home.open(prepared / "home", PASSPHRASE.encode()) as home:
        kept = home.store.audit.checkpoint()
    names = ("ana", "ben", "cleo")
    owners = {
        name: RecoveryKey.open(shared.folder / f"{name}.key", VECTOR_PASSPHRASE.encode()) for name in names
    }
    with Home.create(tmp_path / "false", b"x", LEAST_COST) as home:
        home.store.put_owner_signing_key("clinic", raw_private(generate_signing_key()))
        given = home.share_root(2, {name: key.public for name, key in owners.items()})
    shutil.copyfile(tmp_path / "false/store.db", lost.folder / "store.db")
    for folder in (shared.folder, lost.folder):
        (folder / "clinic.set").write_bytes(given.canonical())
    for name in ("ana", "ben"):
        (lost.folder / f"{name}.answer").write_text(answer(shared, name, key_fd).out)
    assert restore(lost, key_fd, "ana.answer", "ben.answer").code == 0
    (lost.home / "audit.checkpoint").write_text(kept)
    assert lost("audit", "verify").code == 90
