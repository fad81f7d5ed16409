"""Encrypt, decrypt, inspect: the good way, and every bad input with its own exit code and a hint."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import pytest

from confide.broker.home import Home
from confide.broker.identity import listing_key
from confide.broker.listing_signing import sign_listing
from confide.broker.server import EmbeddedBroker
from confide.cli import main
from confide.data.listing import Listing
from confide.data.tables import encrypt_table
from confide.keys.material import Keyset
from confide.keys.names import KeyName
from confide.keys.passphrase_file import Argon2Cost
from confide.keys.signing import generate_signing_key, key_id, raw_public

PASSPHRASE = "correct horse battery"
CHEAP = Argon2Cost(memory_kib=19 * 1024, iterations=2, lanes=1)


def data_file(folder: Path) -> Path:
    return next(folder.glob("*.parquet"))


def refused(said, code: int, *words: str) -> None:
    assert said.code == code, said.err
    assert "hint:" in said.err
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err


def test_a_table_comes_back_as_it_was(clinic):
    clinic.ok("decrypt", "data/patients", "back.csv")
    text = (clinic.folder / "back.csv").read_text().replace('"', "")
    assert text.splitlines()[:2] == ["id,name,value", "0,patient 0,0"]
    assert len(text.splitlines()) == 1001


def test_nothing_readable_lies_in_the_folder(clinic):
    for path in (clinic.folder / "data").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"patient 7" not in content
            assert b"value" not in content


def test_inspect_lists_and_checks(clinic):
    document = json.loads(clinic.ok("inspect", "data/patients", "--json").out)
    assert document["location"] == "data/patients"
    assert document["serial"] == 1


def test_files_and_folders_come_back(clinic):
    tree = clinic.folder / "scans"
    (tree / "größe").mkdir(parents=True)
    (tree / "größe" / "бild.bin").write_bytes(b"x" * 3_000_000)
    (tree / "empty.txt").write_bytes(b"")
    clinic.ok("encrypt", "scans", "data/scans", "--key", "clinic/patients")
    clinic.ok("decrypt", "data/scans", "back")
    assert (clinic.folder / "back" / "größe" / "бild.bin").read_bytes() == b"x" * 3_000_000
    assert (clinic.folder / "back" / "empty.txt").read_bytes() == b""


def test_columns_may_have_keys_of_their_own(clinic):
    clinic.ok("key", "create", "clinic/identifiers")
    clinic.ok(
        "encrypt", "patients.csv", "data/two", "-k", "clinic/patients", "--column", "name=clinic/identifiers"
    )
    clinic.ok("decrypt", "data/two", "two.csv")
    said = clinic(
        "encrypt", "patients.csv", "data/three", "-k", "clinic/patients", "--column", "nope=clinic/patients"
    )
    assert said.code == 64
    assert "nope" in said.err


def test_types_and_delimiters_of_csv(clinic):
    (clinic.folder / "bills.csv").write_text("zip;amount;n\n01234;1.5;\n90210;2;7\n")
    command = ("encrypt", "bills.csv", "data/bills", "-k", "clinic/patients")
    refused(clinic(*command), 67, "delimiter", "';'")
    refused(clinic(*command, "--delimiter", ";", "--type", "n=date"), 67, "row 3", "'n'")
    for wrong in (
        ["--delimiter", ";;"],
        ["--type", "n"],
        ["--type", "n=int"],
        ["--as", "files", "--type", "n=int64"],
    ):
        assert clinic(*command, *wrong).code == 64
    clinic.ok(*command, "--delimiter", ";", "--type", "amount=decimal(12,2)", "--type", "n=string")
    clinic.ok("decrypt", "data/bills", "bills-back.csv")
    assert (clinic.folder / "bills-back.csv").read_text() == (
        '"zip","amount","n"\n"01234",1.50,\n"90210",2.00,"7"\n'
    )


def test_rotation_keeps_old_data_readable(clinic):
    clinic.ok("key", "rotate", "clinic/patients")
    clinic.ok("decrypt", "data/patients", "old.csv")
    clinic.ok("encrypt", "patients.csv", "data/new", "--key", "clinic/patients")
    clinic.ok("decrypt", "data/new", "new.csv")
    clinic.ok("key", "revoke", "clinic/patients", "--version", "1", "--yes")
    refused(clinic("decrypt", "data/patients", "gone.csv"), 83)
    clinic.ok("decrypt", "data/new", "still.csv")


def test_replacing_makes_the_next_serial(clinic):
    said = clinic("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients")
    refused(said, 68)
    clinic.ok("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients", "--replace")
    assert json.loads(clinic.ok("inspect", "data/patients", "--json").out)["serial"] == 2


def test_wrong_passphrase(clinic):
    reader, writer = os.pipe()
    os.write(writer, b"not the passphrase\n")
    os.close(writer)
    refused(clinic("key", "list", descriptor=reader), 96)
    os.close(reader)


def test_unknown_key(clinic):
    refused(clinic("encrypt", "patients.csv", "data/x", "--key", "clinic/nope"), 82, "clinic/nope")
    assert not (clinic.folder / "data" / "x").exists()


def test_a_key_of_somebody_else(clinic):
    assert clinic("key", "create", "bank/accounts").code != 0
    assert clinic("encrypt", "patients.csv", "data/x", "--key", "bank/accounts").code == 82


def test_revoked_key(clinic):
    clinic.ok("key", "revoke", "clinic/patients", "--yes")
    refused(clinic("encrypt", "patients.csv", "data/x", "--key", "clinic/patients"), 83)
    refused(clinic("decrypt", "data/patients", "x.csv"), 83)


@pytest.mark.parametrize("position", [0.0, 0.3, 0.6, 0.99])
def test_a_flipped_bit(clinic, position):
    path = data_file(clinic.folder / "data" / "patients")
    content = bytearray(path.read_bytes())
    content[int(position * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    said = clinic("decrypt", "data/patients", "x.csv")
    assert said.code in (90, 91, 94), said.err
    assert "hint:" in said.err
    assert not (clinic.folder / "x.csv").exists()


def test_a_truncated_file(clinic):
    path = data_file(clinic.folder / "data" / "patients")
    path.write_bytes(path.read_bytes()[:-1])
    refused(clinic("decrypt", "data/patients", "x.csv"), 91, path.name)


def test_a_swapped_file(clinic):
    clinic.ok("encrypt", "patients.csv", "data/other", "--key", "clinic/patients")
    path = data_file(clinic.folder / "data" / "patients")
    shutil.copy(data_file(clinic.folder / "data" / "other"), path)
    refused(clinic("decrypt", "data/patients", "x.csv"), 91, path.name)


def test_a_repeated_file(clinic):
    path = data_file(clinic.folder / "data" / "patients")
    shutil.copy(path, path.with_name("part-again.parquet"))
    refused(clinic("decrypt", "data/patients", "x.csv"), 93, "part-again.parquet")


def test_a_missing_file(clinic):
    path = data_file(clinic.folder / "data" / "patients")
    path.unlink()
    refused(clinic("decrypt", "data/patients", "x.csv"), 92, path.name)


def test_an_older_table_put_back(clinic):
    shutil.copytree(clinic.folder / "data" / "patients", clinic.folder / "older")
    clinic.ok("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients", "--replace")
    shutil.rmtree(clinic.folder / "data" / "patients")
    shutil.move(clinic.folder / "older", clinic.folder / "data" / "patients")
    said = clinic("decrypt", "data/patients", "x.csv")
    assert said.code in (91, 92, 93), said.err


def test_a_plain_table_where_an_encrypted_one_is_expected(clinic):
    import pandas as pd

    path = data_file(clinic.folder / "data" / "patients")
    pd.DataFrame({"id": [1]}).to_parquet(path)
    said = clinic("decrypt", "data/patients", "x.csv")
    assert said.code in (91, 94), said.err
    (clinic.folder / "plain").mkdir()
    refused(clinic("decrypt", "plain", "x.csv"), 94)


def test_an_encrypted_table_is_not_a_source(clinic):
    path = data_file(clinic.folder / "data" / "patients")
    shutil.copy(path, clinic.folder / "copy.parquet")
    said = clinic("encrypt", "copy.parquet", "data/x", "--key", "clinic/patients")
    assert said.code == 67


def test_zero_rows_nested_decimal_and_strange_names(clinic):
    import decimal

    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "prix €": pa.array([decimal.Decimal("1.10")], pa.decimal128(12, 2)),
            "a:b;c,d": [1],
            "nested": [[{"x": 1, "y": ["ü"]}]],
        }
    )
    for name, content in (("full", table), ("empty", table.slice(0, 0))):
        pq.write_table(content, clinic.folder / f"{name}.parquet")
        clinic.ok("encrypt", f"{name}.parquet", f"data/{name}", "--key", "clinic/patients")
        clinic.ok("decrypt", f"data/{name}", f"{name}-back.parquet")
        assert pq.read_table(clinic.folder / f"{name}-back.parquet").to_pylist() == content.to_pylist()


def test_no_home_yet(confide):
    said = confide("key", "list")
    assert said.code == 64
    assert "confide init" in said.err


def test_an_error_as_json(clinic):
    said = clinic("encrypt", "patients.csv", "data/x", "--key", "clinic/nope", "--json")
    assert json.loads(said.out)["exit_code"] == said.code == 82


def test_a_full_disk_leaves_nothing(clinic):
    if not shutil.which("bwrap"):
        pytest.skip("needs bubblewrap for a small disk")
    import subprocess
    import sys

    (clinic.folder / "big.bin").write_bytes(os.urandom(8_000_000))
    small = clinic.folder / "small"
    small.mkdir()
    script = f"{sys.executable} -m confide encrypt big.bin small/big --key clinic/patients; echo code $?; ls -A small"
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", "--size", "4000000", "--tmpfs", str(small), "sh", "-c", script],
        cwd=clinic.folder,
        env={**os.environ, "CONFIDE_HOME": str(clinic.home), "CONFIDE_PASSPHRASE_FD": str(clinic.descriptor)},
        pass_fds=(clinic.descriptor,),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["code", "73"], done.stdout + done.stderr


def test_files_of_another_location_do_not_pass_for_this_one(clinic):
    clinic.ok("encrypt", "patients.csv", "data/old", "--key", "clinic/patients")
    # A folder of which this home has no listing of its own.
    shutil.copytree(clinic.folder / "data" / "old", clinic.folder / "elsewhere")
    said = clinic("decrypt", "elsewhere", "back.csv")
    refused(said, 91, "data/old", "elsewhere")
    clinic.ok("decrypt", "elsewhere", "back.csv", "--location", "data/old")


def test_an_owner_enrolled_here_does_not_speak_for_another(clinic):
    """`aaa` is enrolled here, so its keys and listings are; storage shows its files where clinic's should be."""
    for place in ("out/report", "out/other"):
        clinic.ok("encrypt", "patients.csv", place, "--key", "clinic/patients")
    name = KeyName.parse("aaa/k")
    signing = generate_signing_key()
    with Home.open(clinic.home, PASSPHRASE.encode()) as home:
        home.store.put_owner("aaa", raw_public(signing.public_key()))
        keys = Keyset({name: home.store.create_key(name)})
        (clinic.folder / "false.csv").write_text("id\n666\n")
        for place in ("out/report", "out/new"):
            shutil.rmtree(clinic.folder / place, ignore_errors=True)
            signed = []

            def sign(listing: Listing, signed: list = signed) -> dict[str, str]:
                signed.append(sign_listing(listing, signing, "aaa"))
                return signed[0]

            listing = encrypt_table(
                clinic.folder / "false.csv", clinic.folder / place, keys, name, location=place, sign=sign
            )
            home.store.put_listing(listing, signed[0])
    assert clinic("decrypt", "out/report", "back.csv").code in (91, 92, 93)
    refused(clinic("decrypt", "out/new", "back.csv"), 89, "aaa")
    assert not (clinic.folder / "back.csv").exists()
    assert "aaa/k" in clinic.ok("decrypt", "out/new", "back.csv", "--owner", "aaa").err


@pytest.fixture
def notes(clinic):
    (clinic.folder / "notes/deep").mkdir(parents=True)
    (clinic.folder / "notes/deep/a.txt").write_text("a")
    (clinic.folder / "notes/b.txt").write_text("b")
    clinic.ok("encrypt", "notes", "data/notes", "--key", "clinic/patients")
    return clinic


def test_one_sealed_file_comes_back_as_a_file(notes):
    notes.ok("decrypt", "data/notes/deep/a.txt", "out/a.txt")
    assert (notes.folder / "out/a.txt").read_text() == "a"
    said = notes.ok("decrypt", "data/notes/b.txt", "b.txt", "--json")
    assert json.loads(said.out)["files"] == 1


def test_one_sealed_file_that_is_not_the_listed_one(notes):
    shutil.copy(notes.folder / "data/notes/b.txt", notes.folder / "data/notes/deep/a.txt")
    refused(notes("decrypt", "data/notes/deep/a.txt", "a.txt"), 91)
    assert not (notes.folder / "a.txt").exists()


def test_one_file_that_is_no_sealed_file_of_a_location(notes):
    table = data_file(notes.folder / "data/patients").relative_to(notes.folder)
    for source, words in (
        (table, "is a part of the table data/patients"),
        ("notes/b.txt", "lies in no folder with a signed listing"),
        ("nowhere", "no folder or file nowhere"),
        ("data/notes/_confide.listing", "no such file in the listing"),
    ):
        said = notes("decrypt", source, "x.csv")
        assert (said.code, words in said.err) == (64, True), said.err


@pytest.fixture
def served(clinic):
    """A broker on another home, to which the clinic has sent everything; and its files for the command line."""
    with Home.create(clinic.folder / "kbs", b"passphrase", CHEAP) as kbs:
        key = base64.b64decode(clinic.ok("broker", "identity").out)
        kbs.store.put_owner("clinic", key)
        with EmbeddedBroker(kbs.store, allow_simulated=True) as server:
            (clinic.folder / "ca.pem").write_bytes(server.ca_pem)
            options = ("--broker", server.url, "--broker-ca", "ca.pem")
            clinic.ok("push", *options)
            yield kbs.store, options


def commit(store, signer=None):
    """Commit a next listing of data/patients, with other files, as the broker does for a workload."""
    listing = store.listing_at("clinic", "data/patients").listing
    files = tuple(file.model_copy(update={"path": "part-new.parquet"}) for file in listing.files)
    newer = listing.model_copy(update={"serial": listing.serial + 1, "files": files})
    key = signer or listing_key(store)
    store.commit_listing(newer, sign_listing(newer, key, key_id(key.public_key())), listing.serial)


def test_files_put_back_show_when_the_broker_is_asked(clinic, served):
    store, options = served
    clinic.ok("decrypt", "data/patients", "same.csv", *options)
    commit(store)
    clinic.ok("decrypt", "data/patients", "old.csv")  # all this home knows
    refused(clinic("decrypt", "data/patients", "new.csv", *options), 92, "part-new.parquet")
    refused(clinic("decrypt", "data/patients", "later.csv"), 92)  # it was told, and does not forget


def test_a_broker_that_knows_less_than_this_home(clinic, served):
    clinic.ok("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients", "--replace")
    refused(clinic("decrypt", "data/patients", "x.csv", *served[1]), 88, "confide push")


def test_a_listing_that_nobody_trusted_signed(clinic, served):
    store, options = served
    commit(store, generate_signing_key())
    refused(clinic("decrypt", "data/patients", "x.csv", *options), 89)


def test_a_broker_without_its_certificate(clinic):
    assert clinic("decrypt", "data/patients", "x.csv", "--broker", "https://localhost:1").code == 64


def test_a_mistyped_passphrase_is_asked_for_again(clinic, monkeypatch):
    answers = ["wrong", "", PASSPHRASE, "wrong", "wrong", "wrong", PASSPHRASE]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: answers.pop(0))
    argv = ["confide", "--home", str(clinic.home), "key", "list"]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 96
    assert answers == [PASSPHRASE]
