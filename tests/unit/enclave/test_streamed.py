from __future__ import annotations

import base64
from pathlib import Path

import pytest

from confide.broker.release import Access, Grant, Release, ReleasedKey
from confide.data.listing import Format, Listing
from confide.enclave.streamed import granted, state
from confide.errors import FileMissing, Misuse, NoGrant
from confide.keys.names import KeyName

SECRET = base64.b64encode(b"\x07" * 32).decode()
PATIENTS, IDENTIFIERS = "clinic/patients", "clinic/identifiers"


def listing(location: str, serial: int = 1) -> Listing:
    return Listing(
        table="0" * 32,
        owner="clinic",
        location=location,
        format=Format.TABLE,
        serial=serial,
        key=PATIENTS,
        columns={"ssn": IDENTIFIERS},
        files=(),
    )


def grant(
    location: str, access: Access = Access.READ, kind: Format = Format.TABLE, *, committed: bool = True
) -> Grant:
    return Grant(
        owner="clinic",
        location=location,
        access=access,
        format=kind,
        key=PATIENTS,
        columns={"ssn": IDENTIFIERS} if kind is Format.TABLE else {},
        listing=listing(location) if committed and kind is Format.TABLE else None,
    )


def release(*grants: Grant, keys: tuple[str, ...] = (PATIENTS, "clinic/others")) -> Release:
    key = ReleasedKey(current=1, versions={"1": SECRET})
    return Release(workload="w", owners=("clinic",), keys=dict.fromkeys(keys, key), grants=grants, expires=1)


def test_a_table_comes_with_the_keys_that_its_grant_names_and_no_others() -> None:
    tables = granted(release(grant("a"), grant("b")), ["b"])
    assert tables.keys() == {"b"}
    assert tables["b"].folder == Path("/work/b")
    assert tables["b"].keys == {PATIENTS}  # that of `ssn` was not released
    assert [tables["b"].readable(column) for column in ("name", "ssn")] == [True, False]
    assert tables["b"].keyset.key(KeyName.parse(PATIENTS)).name == KeyName.parse(PATIENTS)
    for other in (IDENTIFIERS, "clinic/others"):
        with pytest.raises(Exception, match=other):
            tables["b"].keyset.key(KeyName.parse(other))
    assert granted(release(grant("a")), []) == {}


@pytest.mark.parametrize("grants", [(), (grant("a"),), (grant("b/c"),), (grant("b", kind=Format.FILES),)])
def test_a_table_that_is_not_granted(grants: tuple[Grant, ...]) -> None:
    with pytest.raises(NoGrant, match="reads b itself"):
        granted(release(*grants), ["b"])


@pytest.mark.parametrize("written", ["b", "b/c"])
def test_a_table_that_the_program_may_write(written: str) -> None:
    with pytest.raises(Misuse, match="reads b itself"):
        granted(release(grant("b"), grant(written, Access.WRITE)), ["b"])


def test_a_table_elsewhere() -> None:
    with pytest.raises(Misuse, match="reads s3a://bucket/b itself"):
        granted(release(grant("s3a://bucket/b")), ["s3a://bucket/b"])


def test_a_table_to_which_nothing_was_committed() -> None:
    with pytest.raises(FileMissing):
        granted(release(grant("b", committed=False)), ["b"])


def test_the_state_of_tables_tells_each_commit() -> None:
    def of(**serials: int) -> str:
        grants = [grant(name).model_copy(update={"listing": listing(name, n)}) for name, n in serials.items()]
        return state(granted(release(*grants), list(serials)))

    assert of() == ""
    assert of(a=1, b=2) == of(b=2, a=1)
    assert len({of(a=1), of(a=2), of(b=1), of(a=1, b=1), of(a=2, b=1)}) == 5
