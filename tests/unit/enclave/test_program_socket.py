from __future__ import annotations

import base64
import os
import pickle
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from confide.data.key_identifier import identifier
from confide.data.listing import Format, Listing
from confide.data.parquet_kms import TableKms
from confide.enclave.line_socket import ask
from confide.enclave.program_socket import (
    SOCKET,
    ProgramSocket,
    StreamedTable,
    commit_output,
    inside_image,
    show_progress,
    streamed_table,
)
from confide.errors import (
    Conflict,
    FileChanged,
    InvalidFormat,
    Misuse,
    NoGrant,
    Tampered,
    Unavailable,
    UnknownKey,
)
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName, KeyVersion

TABLE, OTHER = "0" * 32, "1" * 32
PATIENTS, IDENTIFIERS = KeyName("clinic", "patients"), KeyName("clinic", "identifiers")
SECRET = b"\x07" * 32
DATA_KEY = b"\x08" * 32


def _held(*names: KeyName) -> Keyset:
    return Keyset({name: NamedKey(name, 1, {1: SECRET}) for name in names})


def _listing() -> Listing:
    return Listing(
        table=TABLE,
        owner="clinic",
        location="data/patients",
        format=Format.TABLE,
        serial=3,
        key=str(PATIENTS),
        columns={"ssn": str(IDENTIFIERS)},
        files=(),
    )


@dataclass
class Served:
    path: Path
    committed: list[str]
    shown: list[tuple[int, int]]


@pytest.fixture
def served() -> Iterator[Served]:
    committed: list[str] = []
    shown: list[tuple[int, int]] = []

    def commit(location: str) -> int:
        if location == "out/late":
            raise Conflict("someone else was first")
        committed.append(location)
        return len(committed)

    with tempfile.TemporaryDirectory(prefix="cf-") as folder:  # short, as Unix sockets need it
        table = StreamedTable(
            Path("/work/data/patients"), _listing(), frozenset({str(PATIENTS)}), _held(PATIENTS)
        )
        program = ProgramSocket(
            Path(folder, "program"), {"data/patients": table}, commit, lambda *steps: shown.append(steps)
        )
        yield Served(Path(folder, "program", SOCKET), committed, shown)
        program.close()


def _wrapped(name: KeyName, table: str) -> tuple[str, str]:
    """Return a data key as a file of a table holds it: identifier, and wrapped key in base64."""
    text = identifier(KeyVersion(name, 1), table)
    return text, TableKms(_held(PATIENTS, IDENTIFIERS), table).wrap_key(DATA_KEY, text)


def _unwrap(path: Path, location: str, text: str, wrapped: str) -> bytes:
    asked = {"op": "unwrap", "location": location, "identifier": text, "wrapped": wrapped}
    return base64.b64decode(ask(path, asked)["key"])


def test_a_declared_table_is_told_and_its_data_keys_are_unwrapped(served: Served) -> None:
    table = streamed_table("data/patients", served.path)
    assert (table.folder, table.listing) == (Path("/work/data/patients"), _listing())
    assert table.readable("age")
    assert not table.readable("ssn")
    text, wrapped = _wrapped(PATIENTS, TABLE)
    assert _unwrap(served.path, "data/patients", text, wrapped) == DATA_KEY
    kms = TableKms(table.keyset, table.listing.table)
    assert kms.unwrap_key(wrapped, text) == DATA_KEY


def test_nothing_that_is_told_holds_a_named_key(served: Served) -> None:
    answer = ask(served.path, {"op": "table", "location": "data/patients"})
    assert base64.b64encode(SECRET).decode() not in str(answer)
    assert SECRET.hex() not in str(answer)


@pytest.mark.parametrize(
    ("name", "table", "error"),
    [(PATIENTS, OTHER, FileChanged), (IDENTIFIERS, TABLE, UnknownKey)],
    ids=["of another table", "of a column that is not granted"],
)
def test_no_other_data_key_is_unwrapped(
    served: Served, name: KeyName, table: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        _unwrap(served.path, "data/patients", *_wrapped(name, table))


def test_a_changed_or_foreign_wrapped_key_is_refused(served: Served) -> None:
    text, wrapped = _wrapped(PATIENTS, TABLE)
    changed = bytearray(base64.b64decode(wrapped))
    changed[-1] ^= 1
    with pytest.raises(Tampered):
        _unwrap(served.path, "data/patients", text, base64.b64encode(changed).decode())
    with pytest.raises(InvalidFormat):
        _unwrap(served.path, "data/patients", "no identifier", wrapped)
    with pytest.raises(InvalidFormat):
        _unwrap(served.path, "data/patients", text, "no base64!")


@pytest.mark.parametrize("location", ["data/other", "data", "data/patients/", "../data/patients"])
def test_a_table_that_was_not_declared_is_refused(served: Served, location: str) -> None:
    with pytest.raises(NoGrant, match="stream"):
        streamed_table(location, served.path)
    with pytest.raises(NoGrant):
        _unwrap(served.path, location, *_wrapped(PATIENTS, TABLE))


def test_outputs_are_committed_and_refusals_keep_their_kind(served: Served) -> None:
    assert commit_output("out/checkpoints", served.path) == 1
    assert served.committed == ["out/checkpoints"]
    with pytest.raises(Conflict, match="someone else"):
        commit_output("out/late", served.path)


@pytest.mark.parametrize(
    "request_",
    [
        {"op": "release"},
        {"op": "secret", "name": "gateway"},
        {"op": "refresh"},
        {"op": "table"},
        {"op": "table", "location": "data/patients", "more": 1},
        {"op": "table", "location": "x" * 1025},
        {"op": "table", "location": "x" * 9000},
        {"op": "wrap", "location": "data/patients"},
    ],
)
def test_nothing_else_can_be_asked(served: Served, request_: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        ask(served.path, request_)


@pytest.mark.parametrize("line", [b"\n", b"{\n", b"[]\n", b'{"op":"table","location":"data/patients"}'])
def test_what_is_no_request_is_refused(served: Served, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(served.path))
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        assert b'"error":"Misuse"' in client.recv(4096)


def test_nobody_but_the_user_reaches_it(served: Served) -> None:
    assert served.path.stat().st_mode & 0o777 == 0o600
    assert served.path.parent.stat().st_mode & 0o777 == 0o700
    assert served.path.parent.stat().st_uid == os.getuid()


def test_an_agent_that_is_gone_is_unavailable(served: Served, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        streamed_table("data/patients", tmp_path / "nobody.sock")


def test_data_keys_do_not_travel_to_other_processes(served: Served) -> None:
    table = streamed_table("data/patients", served.path)
    text, wrapped = _wrapped(PATIENTS, TABLE)
    assert TableKms(table.keyset, TABLE).unwrap_key(wrapped, text) == DATA_KEY
    pickled = pickle.dumps(table.keyset)
    assert DATA_KEY not in pickled
    assert TableKms(pickle.loads(pickled), TABLE).unwrap_key(wrapped, text) == DATA_KEY


def test_this_is_no_image() -> None:
    assert not inside_image()


def test_how_far_a_program_is_is_shown(served: Served) -> None:
    show_progress(0, 3, served.path)
    show_progress(3, 3, served.path)
    assert served.shown == [(0, 3), (3, 3)]


def test_it_is_shown_seldom_whatever_the_program_asks(served: Served) -> None:
    for done in range(100):
        show_progress(done, 1000, served.path)
        show_progress(done, done + 1, served.path)
        show_progress(1000, 1000, served.path)
    assert len(served.shown) < 10


@pytest.mark.parametrize(
    "more",
    [
        {"done": -1},
        {"done": 10**9},
        {"done": 4},
        {"done": True},
        {"done": "patient 7"},
        {"total": 0},
        {"total": 1.5},
        {"text": "patient 7"},
    ],
    ids=str,
)
def test_nothing_but_two_numbers_is_shown(served: Served, more: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        ask(served.path, {"op": "progress", "done": 1, "total": 3, **more})
    assert served.shown == []
