from __future__ import annotations

from typing import Any

import pytest

from confide.broker.release import Access, Grant, Release, ReleasedKey
from confide.data.listing import Format
from confide.enclave.merge import merge_releases
from confide.errors import KeyRefused, NoGrant, PolicyRefused


def _release(owner: str, **changes: Any) -> Release:
    grant = Grant(
        owner=owner, location=f"data/{owner}", access=Access.READ, format=Format.TABLE, key=f"{owner}/k"
    )
    fields: dict[str, Any] = {
        "workload": "study",
        "owners": (owner,),
        "keys": {f"{owner}/k": ReleasedKey(current=None, versions={})},
        "grants": (grant,),
        "expires": 100,
    }
    return Release(**{**fields, **changes})


def test_two_owners_at_two_brokers() -> None:
    merged = merge_releases({"b": _release("lab", expires=50), "a": _release("clinic")}, ["clinic", "lab"])
    assert merged.owners == ("clinic", "lab")
    assert set(merged.keys) == {"clinic/k", "lab/k"}
    assert [grant.location for grant in merged.grants] == ["data/clinic", "data/lab"]
    assert merged.expires == 50


def test_one_broker_is_taken_as_it_is() -> None:
    release = _release("clinic", logs="clinic/k")
    assert merge_releases({"a": release}, []) == release


def test_owner_that_is_missing() -> None:
    with pytest.raises(NoGrant, match="lab"):
        merge_releases({"a": _release("clinic")}, ["clinic", "lab"])


def test_nothing_granted() -> None:
    with pytest.raises(NoGrant):
        merge_releases({"a": _release("clinic", grants=())}, [])


def test_two_brokers_for_one_owner() -> None:
    with pytest.raises(PolicyRefused, match="clinic"):
        merge_releases({"a": _release("clinic"), "b": _release("clinic", keys={})}, [])


def test_same_key_twice() -> None:
    stolen = {"clinic/k": ReleasedKey(current=None, versions={})}
    with pytest.raises(KeyRefused, match="clinic/k"):
        merge_releases({"a": _release("clinic"), "b": _release("lab", keys=stolen)}, [])


@pytest.mark.parametrize("change", [{"workload": "other"}, {"logs": "lab/k"}], ids=str)
def test_policies_that_differ(change: dict[str, str]) -> None:
    with pytest.raises(PolicyRefused, match="differ"):
        merge_releases({"a": _release("clinic"), "b": _release("lab", **change)}, [])
