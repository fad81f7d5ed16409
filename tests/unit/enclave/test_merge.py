from __future__ import annotations

from typing import Any

import pytest

from confide.broker.release import Access, Consent, Grant, Release, ReleasedKey
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


BOTH = ["clinic", "lab"]


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


@pytest.mark.parametrize("named", [["clinic"], []], ids=str)
def test_owner_whom_the_image_does_not_name(named: list[str]) -> None:
    """At another broker or at the same: an owner who was not named could put data of its own into the run."""
    with pytest.raises(NoGrant, match="lab, whom the image does not name"):
        merge_releases({"a": _release("clinic"), "b": _release("lab")}, named)
    with pytest.raises(NoGrant, match="lab, whom the image does not name"):
        merge_releases({"a": _release("clinic", owners=("clinic", "lab"))}, named)


def test_nothing_granted() -> None:
    with pytest.raises(NoGrant):
        merge_releases({"a": _release("clinic", grants=())}, [])


def test_two_brokers_for_one_owner() -> None:
    with pytest.raises(PolicyRefused, match="clinic"):
        merge_releases({"a": _release("clinic"), "b": _release("clinic", keys={})}, BOTH)


def test_same_key_twice() -> None:
    stolen = {"clinic/k": ReleasedKey(current=None, versions={})}
    with pytest.raises(KeyRefused, match="clinic/k"):
        merge_releases({"a": _release("clinic"), "b": _release("lab", keys=stolen)}, BOTH)


@pytest.mark.parametrize("change", [{"workload": "other"}, {"logs": "lab/k"}], ids=str)
def test_policies_that_differ(change: dict[str, str]) -> None:
    with pytest.raises(PolicyRefused, match="differ"):
        merge_releases({"a": _release("clinic"), "b": _release("lab", **change)}, BOTH)


WRITE = Grant(
    owner="clinic", location="out/report", access=Access.WRITE, format=Format.TABLE, key="clinic/results"
)
CONSENT = Consent(location="out/report", format=Format.TABLE, key="clinic/results")


def test_a_write_needs_the_consent_of_owners_at_other_brokers() -> None:
    clinic = _release("clinic", grants=(*_release("clinic").grants, WRITE))
    with pytest.raises(NoGrant, match="broker b do not consent to writing out/report"):
        merge_releases({"a": clinic, "b": _release("lab")}, BOTH)
    merged = merge_releases({"a": clinic, "b": _release("lab", consents=(CONSENT,))}, BOTH)
    assert WRITE in merged.grants
    assert merged.consents == ()


@pytest.mark.parametrize(
    "change",
    [
        {"key": "clinic/other"},
        {"location": "out"},
        {"format": Format.FILES},
        {"columns": {"name": "clinic/names"}},
    ],
    ids=str,
)
def test_a_consent_to_something_else_does_not_count(change: dict[str, Any]) -> None:
    clinic = _release("clinic", grants=(WRITE,))
    other = CONSENT.model_copy(update=change)
    with pytest.raises(NoGrant, match="consent"):
        merge_releases({"a": _release("lab", consents=(other,)), "b": clinic}, BOTH)


def test_a_consent_at_its_own_broker_does_not_count_for_another() -> None:
    clinic = _release("clinic", grants=(WRITE,), consents=(CONSENT,))
    with pytest.raises(NoGrant, match="consent"):
        merge_releases({"a": clinic, "b": _release("lab")}, BOTH)


@pytest.mark.parametrize("location", ["data/lab", "data", "data/lab/part"])
def test_locations_of_two_brokers_that_overlap(location: str) -> None:
    grant = _release("clinic").grants[0].model_copy(update={"location": location})
    with pytest.raises(PolicyRefused, match="overlap"):
        merge_releases({"a": _release("clinic", grants=(grant,)), "b": _release("lab")}, BOTH)


KEY = ReleasedKey(current=1, versions={})


def test_logs_key_that_an_owner_at_another_broker_names_and_its_own_releases() -> None:
    clinic = _release("clinic", logs="clinic/logs", keys={"clinic/logs": KEY})
    merged = merge_releases({"a": _release("lab", logs="clinic/logs"), "b": clinic}, BOTH)
    assert merged.logs == "clinic/logs"
    assert set(merged.keys) == {"clinic/logs", "lab/k"}


@pytest.mark.parametrize("logs", [None, "lab/k", "clinic/k"])
def test_logs_key_to_which_an_owner_at_another_broker_does_not_consent(logs: str | None) -> None:
    clinic = _release("clinic", logs="clinic/logs", keys={"clinic/logs": KEY})
    with pytest.raises(PolicyRefused, match="differ"):
        merge_releases({"a": _release("lab", logs=logs), "b": clinic}, BOTH)


@pytest.mark.parametrize("brokers", [("clinic",), ("clinic", "lab")], ids=len)
def test_logs_key_that_nobody_releases(brokers: tuple[str, ...]) -> None:
    with pytest.raises(NoGrant, match="bank/logs"):
        merge_releases({name: _release(name, logs="bank/logs") for name in brokers}, brokers)


@pytest.mark.parametrize(
    "change",
    [{"owners": ("bank",)}, {"keys": {"clinic/logs": KEY}}, {"grants": (WRITE,)}],
    ids=["owners", "keys", "grants"],
)
def test_a_broker_that_speaks_for_an_owner_who_is_not_its_own(change: dict[str, Any]) -> None:
    with pytest.raises(PolicyRefused, match=r"broker b speaks for .*, who take no part there"):
        merge_releases({"a": _release("clinic"), "b": _release("lab", **change)}, BOTH)


@pytest.mark.parametrize("requests", [None, "lab/k", "clinic/k"])
def test_requests_key_to_which_an_owner_at_another_broker_does_not_consent(requests: str | None) -> None:
    clinic = _release("clinic", requests="clinic/pool", keys={"clinic/pool": KEY})
    with pytest.raises(PolicyRefused, match="differ"):
        merge_releases({"a": _release("lab", requests=requests), "b": clinic}, BOTH)


def test_requests_key_that_nobody_releases() -> None:
    with pytest.raises(NoGrant, match="clinic/pool"):
        merge_releases({"a": _release("clinic", requests="clinic/pool", grants=())}, [])


def test_a_requests_key_is_enough() -> None:
    release = _release("clinic", requests="clinic/pool", keys={"clinic/pool": KEY}, grants=())
    assert merge_releases({"a": release}, ["clinic"]) == release
