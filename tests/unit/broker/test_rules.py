"""The decision, step by step, and one property: no owner's key leaves without that owner's policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confide.attestation.claims import Claims, Platform, Tcb, Tee
from confide.attestation.requirements import PlatformRequirements
from confide.broker.policy import Policy, PolicyGrant, Workload
from confide.broker.release import Access
from confide.broker.rules import RELEASE_TTL_S, decide, owners_concerned
from confide.data.listing import Format, Listing
from confide.errors import (
    AttestationRefused,
    LaunchRefused,
    MeasurementRefused,
    NoGrant,
    PlatformRefused,
    PolicyRefused,
    Refused,
    RevokedKey,
    UnknownKey,
)
from confide.keys.material import NamedKey
from confide.keys.names import KeyName

NOW = 1_800_000_000
M1, M2, M3 = "a" * 64, "b" * 64, "c" * 64
T1, T2 = "1" * 32, "2" * 32


OWNERS = ("bank", "clinic", "lab")


def claims(measurement=M1, tee=Tee.SIMULATED, role="driver", svn=5, debug=False, owners=OWNERS, **launch):
    return Claims(tee, measurement, role, svn, debug, "host", {}, launch, owners=owners)


def workload(**changed):
    return Workload(**{"name": "study", "tee": "simulated", "measurements": (M1,), **changed})


def grant(location="in", access="read", key="clinic/in", **changed):
    fields = {"workload": "study", "location": location, "access": access, "format": "table", "key": key}
    return PolicyGrant(**{**fields, **changed})


def policy(owner="clinic", workloads=None, grants=None, start=2020, end=2999):
    return Policy(
        version=1,
        owner=owner,
        serial=1,
        not_before=datetime(start, 1, 1, tzinfo=UTC),
        not_after=datetime(end, 1, 1, tzinfo=UTC),
        workload=tuple(workloads or [workload()]),
        grant=tuple([grant()] if grants is None else grants),
    )


def listing(owner="clinic", location="in", key="clinic/in", table=T1, columns=None, kind=Format.TABLE):
    return Listing(
        table=table,
        owner=owner,
        location=location,
        format=kind,
        serial=1,
        key=key,
        columns=columns or {},
        files=(),
    )


def key_of(name):
    return NamedKey(name, 2, {1: b"1" * 32, 2: b"2" * 32})


def run(who=None, policies=None, keys=key_of, listings=None, now=NOW):
    known = {
        (found.owner, found.location): found for found in (listings if listings is not None else [listing()])
    }
    return decide(
        who or claims(), policies or [policy()], keys, lambda owner, place: known.get((owner, place)), now
    )


BANK_READ = policy("bank", grants=[grant("bank-in", key="bank/in")])
BANK_LISTING = listing("bank", "bank-in", "bank/in", T2)
OUT = grant("out", "write", "clinic/out")


def test_a_read_gets_every_live_version_and_cannot_wrap():
    release = run()
    assert release.keys["clinic/in"].versions.keys() == {"1", "2"}
    assert release.keys["clinic/in"].current is None
    assert release.grants[0].listing == listing()
    assert release.expires == NOW + RELEASE_TTL_S


def test_step_5_an_image_that_names_nobody_is_of_one_owner():
    alone = claims(owners=())
    assert run(alone).owners == ("clinic",)
    with pytest.raises(NoGrant, match="step 5: bank, clinic all grant"):
        run(alone, [policy(), BANK_READ], listings=[listing(), BANK_LISTING])


def test_whom_the_image_does_not_name_is_not_heard():
    """Neither lends a hand, nor stands in the way: whatever a stranger's policy says, the release is the same."""
    undisturbed = run(claims(owners=("clinic",)))
    for stranger in (
        BANK_READ,
        policy("bank", grants=[grant(key="bank/in")]),
        policy("bank", [workload(minimum_svn=9)]),
        policy("bank", [workload(launch={"year": "2020"})]),
        policy("bank", [workload(logs="bank/logs", requests="clinic/pool")], [grant("more", key="bank/in")]),
        policy("bank", [workload(name="other")], []),
        policy("bank", end=2021),
    ):
        decided = run(claims(owners=("clinic",)), [policy(), stranger], listings=[listing(), BANK_LISTING])
        assert decided == undisturbed


def test_only_owners_whom_the_image_names_earn_anything():
    with pytest.raises(MeasurementRefused, match="step 2"):
        run(claims(owners=("bank",)))


def test_a_write_can_wrap_and_needs_no_listing():
    release = run(policies=[policy(grants=[OUT])], listings=[])
    assert release.keys["clinic/out"].current == 2
    assert release.grants[0].table is None


def test_a_key_read_here_and_written_there_can_wrap():
    grants = [grant(), grant("out", "write", "clinic/in")]
    assert run(policies=[policy(grants=grants)]).keys["clinic/in"].current == 2


def test_release_ends_with_the_first_policy_to_end():
    soon = policy(end=2027)
    assert (
        run(policies=[soon], now=int(soon.not_after.timestamp()) - 10).expires == soon.not_after.timestamp()
    )


def test_step_1_debug():
    with pytest.raises(AttestationRefused, match="step 1"):
        run(claims(debug=True))


@pytest.mark.parametrize(
    "who", [claims(M2), claims(tee=Tee.SGX), claims(tee=Tee.SNP), claims(role="executor"), claims("")]
)
def test_step_2_not_named(who):
    with pytest.raises(MeasurementRefused, match="step 2"):
        run(who)


def test_step_2_no_policy_at_all():
    with pytest.raises(MeasurementRefused):
        decide(claims(), [], key_of, lambda *_: None, NOW)


@pytest.mark.parametrize("validity", [(2998, 2999), (2000, 2001)])
def test_step_2_outside_its_validity(validity):
    with pytest.raises(PolicyRefused, match="step 2"):
        run(policies=[policy(start=validity[0], end=validity[1])])


def test_step_2_validity_includes_its_begin_and_excludes_its_end():
    one = policy(start=2027, end=2028)
    run(policies=[one], now=int(one.not_before.timestamp()))
    for moment in (int(one.not_before.timestamp()) - 1, int(one.not_after.timestamp())):
        with pytest.raises(PolicyRefused):
            run(policies=[one], now=moment)


def test_step_3_security_version():
    run(policies=[policy(workloads=[workload(minimum_svn=5)])])
    with pytest.raises(MeasurementRefused, match="step 3"):
        run(policies=[policy(workloads=[workload(minimum_svn=6)])])


@pytest.mark.parametrize(
    "launch", [{}, {"args": "x2024"}, {"args": "2024x"}, {"args": "2024\n"}, {"other": "2024"}]
)
def test_step_4_launch_parameters(launch):
    strict = policy(workloads=[workload(launch={"args": "20[0-9]{2}"})])
    run(claims(args="2024", other="free"), [strict])
    with pytest.raises(LaunchRefused, match="step 4"):
        run(claims(**launch), [strict])


def test_step_5_named_but_nothing_granted():
    other = workload(name="other", measurements=(M2,))
    lonely = policy(workloads=[workload(), other], grants=[grant(workload="other")])
    with pytest.raises(NoGrant, match="step 5"):
        run(policies=[lonely])


def test_step_5_only_consents():
    with pytest.raises(NoGrant, match="step 5"):
        run(policies=[policy("bank", grants=[OUT])])


def test_step_5_two_names_for_one_workload():
    bank = policy("bank", [workload(name="audit")], [grant("bank-in", key="bank/in", workload="audit")])
    with pytest.raises(PolicyRefused, match="step 5"):
        run(policies=[policy(), bank], listings=[listing(), BANK_LISTING])


def test_step_5_an_owner_who_grants_nothing_takes_no_part():
    other = workload(name="other", measurements=(M2,))
    silent = policy("bank", [workload(logs="bank/logs"), other], [grant("x", key="bank/x", workload="other")])
    assert run(policies=[policy(), silent]).owners == ("clinic",)


@pytest.mark.parametrize("place", ["in", "in/deeper"])
def test_step_6_overlapping_locations_of_two_owners(place):
    bank = policy("bank", grants=[grant(place, key="bank/in")])
    with pytest.raises(PolicyRefused, match="step 6"):
        run(policies=[policy(), bank], listings=[listing(), listing("bank", place, "bank/in", T2)])


def test_step_7_two_owners_read_together():
    release = run(policies=[policy(), BANK_READ], listings=[listing(), BANK_LISTING])
    assert release.owners == ("bank", "clinic")
    assert set(release.keys) == {"clinic/in", "bank/in"}


def test_step_7_a_write_needs_everyones_consent():
    clinic = policy(grants=[grant(), OUT])
    with pytest.raises(NoGrant, match="step 7: bank does not consent"):
        run(policies=[clinic, BANK_READ], listings=[listing(), BANK_LISTING])
    consenting = policy("bank", grants=[grant("bank-in", key="bank/in"), OUT])
    release = run(policies=[clinic, consenting], listings=[listing(), BANK_LISTING])
    assert [g.location for g in release.grants if g.access is Access.WRITE] == ["out"]
    assert release.grants[-1].owner in ("clinic", "bank")


@pytest.mark.parametrize(
    "consent",
    [
        grant("out", "write", "clinic/in"),
        grant("out2", "write", "clinic/out"),
        grant("out", "write", "clinic/out", format="files"),
        grant("out", "write", "clinic/out", columns={"a": "clinic/a"}),
        grant("out", "read", "clinic/out"),
    ],
)
def test_step_7_consent_to_something_else(consent):
    clinic, bank = (
        policy(grants=[grant(), OUT]),
        policy("bank", grants=[grant("bank-in", key="bank/in"), consent]),
    )
    with pytest.raises(NoGrant, match="step 7"):
        run(policies=[clinic, bank], listings=[listing(), BANK_LISTING])


def test_step_7_consent_gives_no_key_that_its_owner_does_not_grant():
    bank = policy("bank", grants=[grant("bank-in", key="bank/in"), OUT])
    release = run(policies=[policy(), bank], listings=[listing(), BANK_LISTING])
    assert "clinic/out" not in release.keys


def test_step_7_consents_to_owners_elsewhere_are_for_the_agent_to_see():
    both = [
        policy("bank", grants=[grant("bank-in", key="bank/in"), OUT]),
        policy("lab", grants=[grant("lab-in", key="lab/in"), OUT]),
    ]
    there = [BANK_LISTING, listing("lab", "lab-in", "lab/in", T1)]
    consents = run(policies=both, listings=there).consents
    assert [(c.location, c.key) for c in consents] == [("out", "clinic/out")]
    silent = policy("lab", grants=[grant("lab-in", key="lab/in")])
    assert run(policies=[both[0], silent], listings=there).consents == ()
    clinic = policy(grants=[grant(), OUT])
    assert run(policies=[clinic, both[0]], listings=[listing(), BANK_LISTING]).consents == ()


@pytest.mark.parametrize("other", [None, "bank/logs", "clinic/other"])
def test_step_7_logs_key_needs_everyones_consent(other):
    clinic = policy(workloads=[workload(logs="clinic/logs")])
    bank = policy("bank", [workload(logs=other)], [grant("bank-in", key="bank/in")])
    with pytest.raises(NoGrant, match="step 7"):
        run(policies=[clinic, bank], listings=[listing(), BANK_LISTING])


def test_step_7_logs_key_of_an_owner_who_takes_no_part():
    bank = policy("bank", [workload(measurements=(M2,))], [grant("bank-in", key="bank/in")])
    with pytest.raises(NoGrant, match="step 7"):
        run(policies=[policy(workloads=[workload(logs="bank/logs")]), bank])


def test_step_7_logs_key_of_an_owner_elsewhere_is_named_and_not_released():
    release = run(policies=[policy(workloads=[workload(logs="bank/logs")])])
    assert release.logs == "bank/logs"
    assert set(release.keys) == {"clinic/in"}


def test_step_7_agreed_logs_key():
    bank = policy("bank", [workload(logs="clinic/logs")], [grant("bank-in", key="bank/in")])
    clinic = policy(workloads=[workload(logs="clinic/logs")])
    release = run(policies=[clinic, bank], listings=[listing(), BANK_LISTING])
    assert release.logs == "clinic/logs"
    assert release.keys["clinic/logs"].current == 2


@pytest.mark.parametrize("other", [None, "bank/pool", "clinic/other"])
def test_step_7_requests_key_needs_everyones_consent(other):
    clinic = policy(workloads=[workload(requests="clinic/pool")])
    bank = policy("bank", [workload(requests=other)], [grant("bank-in", key="bank/in")])
    with pytest.raises(NoGrant, match=r"step 7.*requests"):
        run(policies=[clinic, bank], listings=[listing(), BANK_LISTING])


def test_a_key_for_requests_is_enough_to_take_part():
    release = run(policies=[policy(workloads=[workload(requests="clinic/pool")], grants=[])])
    assert (release.requests, release.grants, set(release.keys)) == ("clinic/pool", (), {"clinic/pool"})
    assert release.keys["clinic/pool"].current == 2


def test_step_5_a_key_for_requests_of_another_owner_alone():
    with pytest.raises(NoGrant, match="step 5"):
        run(policies=[policy(workloads=[workload(requests="lab/pool")], grants=[])])


@pytest.mark.parametrize(
    ("granted", "there"),
    [
        (grant(), None),
        (grant(table=T2), listing()),
        (grant(key="clinic/other"), listing()),
        (grant(format="files"), listing()),
        (grant(columns={"ssn": "clinic/ids"}), listing()),
        (grant(columns={"ssn": "clinic/ids"}), listing(columns={"ssn": "clinic/in"})),
        (grant("in", "write", "clinic/in"), listing(columns={"ssn": "clinic/ids"})),
        (grant("in", "write", "clinic/other"), listing()),
    ],
)
def test_step_8_listing_is_not_what_is_granted(granted, there):
    with pytest.raises(NoGrant, match="step 8"):
        run(policies=[policy(grants=[granted])], listings=[there] if there else [])


@pytest.mark.parametrize(("access", "wraps"), [("read", None), ("write", 2)])
def test_step_8_a_stream_has_no_listing(access, wraps):
    granted = grant("rediss://redis.example:6380/pulses", access, format="stream")
    release = run(policies=[policy(grants=[granted])], listings=[])
    assert release.grants[0].listing is release.grants[0].table is None
    assert release.keys["clinic/in"].current == wraps


def test_no_listing_is_of_a_stream():
    with pytest.raises(ValueError, match="a stream has no listing"):
        listing("clinic", "rediss://redis.example:6380/pulses", kind=Format.STREAM)


def test_step_8_a_reader_may_be_kept_from_a_column():
    release = run(listings=[listing(columns={"ssn": "clinic/ids"})])
    assert set(release.keys) == {"clinic/in"}


def test_step_8_pinned_table():
    assert run(policies=[policy(grants=[grant(table=T1)])]).grants[0].table == T1


@pytest.mark.parametrize(
    ("key", "granted"),
    [
        (NamedKey(KeyName("clinic", "in"), None, {}, frozenset({1, 2})), grant()),
        (NamedKey(KeyName("clinic", "in"), 2, {1: b"1" * 32}, frozenset({2})), grant("out", "write")),
        (NamedKey(KeyName("clinic", "in"), None, {1: b"1" * 32}), grant("out", "write")),
    ],
)
def test_step_9_revoked(key, granted):
    with pytest.raises(RevokedKey):
        run(policies=[policy(grants=[granted])], keys=lambda _: key)


def test_step_9_a_revoked_version_is_not_released():
    key = NamedKey(KeyName("clinic", "in"), 2, {2: b"2" * 32}, frozenset({1}))
    released = run(keys=lambda _: key).keys["clinic/in"]
    assert (released.versions.keys(), released.revoked) == ({"2"}, (1,))


def test_step_9_unknown_key():
    def missing(name):
        raise UnknownKey(str(name))

    with pytest.raises(UnknownKey):
        run(keys=missing)


def test_owners_concerned_are_those_who_name_the_measurement():
    other = policy("bank", [workload(measurements=(M2,))])
    assert owners_concerned(claims(role="executor"), [policy(), other]) == ["clinic"]


# Any policies, any claims: what is released was granted by the key's own owner, for exactly this evidence.

_OWNERS = ["clinic", "bank", "lab"]
_KEYS = st.sampled_from([f"{owner}/{name}" for owner in _OWNERS for name in ("k", "l")])
_MEASUREMENTS = st.sampled_from([M1, M2, M3])
_TEES = st.sampled_from(list(Tee))
_ROLES = st.sampled_from(["driver", "executor"])


@st.composite
def _policies(draw):
    owner = draw(st.sampled_from(_OWNERS))
    loads = draw(
        st.lists(
            st.builds(
                workload,
                name=st.sampled_from(["study", "other"]),
                measurements=st.sets(_MEASUREMENTS, min_size=1).map(tuple),
                tee=_TEES,
                role=_ROLES,
                minimum_svn=st.integers(0, 3),
                logs=st.none() | _KEYS,
                requests=st.none() | _KEYS,
                launch=st.sampled_from([{}, {"args": "a+"}]),
            ),
            min_size=1,
            max_size=2,
        )
    )
    grants = draw(
        st.lists(
            st.builds(
                grant,
                location=st.sampled_from(["x", "y", "x/z", "w"]),
                access=st.sampled_from(["read", "write"]),
                key=_KEYS,
                workload=st.sampled_from(["study", "other"]),
            ),
            max_size=3,
        )
    )
    start = draw(st.sampled_from([2020, 2998]))
    return policy(owner, loads, grants, start=start)


@st.composite
def _claims(draw):
    launch = draw(st.sampled_from([{}, {"args": "aa"}, {"args": "b"}]))
    return claims(
        draw(_MEASUREMENTS), draw(_TEES), draw(_ROLES), draw(st.integers(0, 3)), draw(st.booleans()), **launch
    )


@pytest.mark.exhaustive
@settings(max_examples=500, deadline=None)
@given(_claims(), st.lists(_policies(), max_size=3, unique_by=lambda p: p.owner))
def test_no_key_leaves_without_its_owners_policy(who, policies):
    def there(owner, place):
        for one in policies:
            for each in one.grant:
                if one.owner == owner and each.location == place and each.key_owner == owner:
                    return listing(owner, place, each.key)
        return None

    try:
        release = decide(who, policies, key_of, there, NOW)
    except Refused:
        return
    assert not who.debug
    for text, key in release.keys.items():
        owner = KeyName.parse(text).owner
        naming = [
            (one, load)
            for one in policies
            if one.owner == owner and one.valid_at(NOW)
            for load in one.workload
            if who.measurement in load.measurements
            and load.tee is who.tee
            and load.role == who.role
            and load.minimum_svn <= who.svn
            and (not load.launch or who.launch.get("args") == "aa")
        ]
        assert naming, "released a key of an owner whose policy does not name this workload"
        granted = [g for one, load in naming for g in one.grant if g.workload == load.name and g.key == text]
        logs = [load for _, load in naming if text in (load.logs, load.requests)]
        assert granted or logs
        if key.current is not None:
            assert logs or any(g.access is Access.WRITE for g in granted)


HARDWARE = Platform(
    registers={"mrsigner": "aa" * 32},
    numbers={"isv_prod_id": 0, "isv_svn": 5},
    hardware_ids=("01",),
    tcb=Tcb(status="UpToDate", smt=False),
    debug=False,
    expires=NOW + 60,
)


def on_sgx(platform=HARDWARE):
    return replace(claims(tee=Tee.SGX), platform=platform)


def sgx_policy(**platform):
    return policy(workloads=[workload(tee="sgx", platform=PlatformRequirements(**platform))])


def test_a_platform_as_demanded():
    asked = sgx_policy(registers={"mrsigner": ["aa" * 32]})
    assert run(on_sgx(), [asked]).workload == "study"


@pytest.mark.parametrize(
    ("platform", "demanded"),
    [
        (HARDWARE, {"registers": {"mrsigner": ["bb" * 32]}}),
        (HARDWARE, {"hardware_ids": ["02"]}),
        (replace(HARDWARE, tcb=Tcb(status="OutOfDate")), {}),
        (replace(HARDWARE, debug=True), {}),
        (replace(HARDWARE, expires=NOW), {}),
        (None, {}),
    ],
)
def test_a_platform_that_is_not_as_demanded(platform, demanded):
    with pytest.raises(PlatformRefused, match="step 3"):
        run(on_sgx(platform), [sgx_policy(**demanded)])


def test_a_policy_that_demands_nothing_of_hardware_accepts_none():
    with pytest.raises(PlatformRefused, match="step 3"):
        run(on_sgx(), [policy(workloads=[workload(tee="sgx")])])
