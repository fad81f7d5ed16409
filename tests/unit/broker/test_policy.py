from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.claims import Tee
from confide.broker.locations import is_topic, overlap, parse_location, stream_addresses, stream_name
from confide.broker.policy import MAX_POLICY_BYTES, parse_policy
from confide.broker.policy_signing import POLICY_TYP, sign_policy, verify_policy
from confide.errors import InvalidPolicy, Misuse, PolicyRefused, SignatureRefused
from confide.keys.signing import generate_signing_key, sign_jws

GOOD = f"""version = 1
owner = "clinic"
serial = 3
not_before = 2026-11-22T00:00:00Z
not_after = 2027-11-22T00:00:00Z

[[workload]]
name = "readmissions"
tee = "simulated"
role = "driver"
measurements = ["{"a" * 64}"]
minimum_svn = 0
launch = {{ args = "--year 20[0-9]{{2}}" }}
logs = "clinic/logs"

[[grant]]
workload = "readmissions"
location = "data/patients"
access = "read"
format = "table"
key = "clinic/patients"
columns = {{ ssn = "clinic/identifiers" }}
table = "{"0" * 32}"

[[grant]]
workload = "readmissions"
location = "s3a://bucket/out"
access = "write"
format = "files"
key = "bank/results"
"""
NOW = 1_800_000_000
KEY = generate_signing_key()


def faults(text):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text if isinstance(text, bytes) else text.encode())
    return [(fault.line, fault.field, fault.reason) for fault in caught.value.faults]


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def test_a_good_policy():
    policy = parse_policy(GOOD.encode())
    assert (policy.owner, policy.serial) == ("clinic", 3)
    assert policy.workload[0].tee is Tee.SIMULATED
    assert policy.grant[1].key_owner == "bank"
    assert policy.valid_at(NOW)


def test_every_fault_at_once_with_its_line():
    text = (
        GOOD.replace("serial = 3", "serial = 0")
        .replace("role =", "rule =")
        .replace("20[0-9]", "20[0-9")
        .replace('"data/patients"', '"/data"')
        .replace('"files"', '"folder"')
    )
    assert [(line, field) for line, field, _ in faults(text)] == [
        (3, "serial"),
        (10, "workload[0].rule"),
        (13, "workload[0].launch.args"),
        (18, "grant[0].location"),
        (29, "grant[1].format"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("version = 1", "version = 2", 1, "version"),
        ("version = 1", 'version = "1"', 1, "version"),
        ('owner = "clinic"', 'owner = "Clinic"', 2, "owner"),
        ('owner = "clinic"', 'owner = ""', 2, "owner"),
        ("serial = 3", "serial = 3.0", 3, "serial"),
        ("serial = 3", "serial = true", 3, "serial"),
        ("serial = 3", "", 1, "serial"),
        ("serial = 3", "serial = 3\nmore = 1", 4, "more"),
        ("2026-11-22T00:00:00Z", "2026-11-22T00:00:00", 4, "not_before"),
        ("2026-11-22T00:00:00Z", '"2026-11-22T00:00:00Z"', 4, "not_before"),
        ("2026-11-22T00:00:00Z", "2026-11-22", 4, "not_before"),
        ("2026-11-22T00:00:00Z", "2026-11-22T00:00:00.5Z", 4, "not_before"),
        ("2026-11-22T00:00:00Z", "2028-11-22T00:00:00Z", 5, "not_after"),
        ('tee = "simulated"', "", 7, "workload[0].tee"),
        ('tee = "simulated"', 'tee = "any"', 9, "workload[0].tee"),
        ('tee = "simulated"', 'tee = ""', 9, "workload[0].tee"),
        ('name = "readmissions"', 'name = "Re admissions"', 8, "workload[0].name"),
        ('role = "driver"', 'role = ""', 10, "workload[0].role"),
        ('"' + "a" * 64 + '"', "", 11, "workload[0].measurements"),
        ("a" * 64, "a" * 63, 11, "workload[0].measurements[0]"),
        ("a" * 64, "A" * 64, 11, "workload[0].measurements[0]"),
        ("minimum_svn = 0", "minimum_svn = -1", 12, "workload[0].minimum_svn"),
        ("minimum_svn = 0", 'minimum_svn = "0"', 12, "workload[0].minimum_svn"),
        ('{ args = "--year 20[0-9]{2}" }', "{}", 13, "workload[0].launch"),
        ('"--year 20[0-9]{2}"', '"("', 13, "workload[0].launch.args"),
        ('"--year 20[0-9]{2}"', '""', 13, "workload[0].launch.args"),
        ('logs = "clinic/logs"', 'logs = "logs"', 14, "workload[0].logs"),
        ('workload = "readmissions"', 'workload = "unknown"', 17, "grant[0].workload"),
        ('location = "data/patients"', 'location = "data/../x"', 18, "grant[0].location"),
        ('location = "data/patients"', 'location = "data/"', 18, "grant[0].location"),
        ('location = "data/patients"', 'location = "s3a://bucket/out"', 27, "grant[1].location"),
        ('location = "data/patients"', 'location = "s3a://bucket"', 27, "grant[1].location"),
        ('location = "data/patients"', 'location = "s3a://bucket/out/deep"', 27, "grant[1].location"),
        ('access = "read"', 'access = "all"', 19, "grant[0].access"),
        ('access = "read"', "", 16, "grant[0].access"),
        ('key = "clinic/patients"', 'key = "clinic/patients:1"', 21, "grant[0].key"),
        ('key = "clinic/patients"', 'key = "bank/patients"', 21, "grant[0].key"),
        ('ssn = "clinic/identifiers"', 'ssn = "bank/identifiers"', 22, "grant[0].columns.ssn"),
        ('{ ssn = "clinic/identifiers" }', "{}", 22, "grant[0].columns"),
        ('format = "files"', 'format = "files"\ncolumns = { a = "bank/a" }', 30, "grant[1].columns"),
        ('format = "files"', f'format = "files"\ntable = "{"0" * 32}"', 30, "grant[1].table"),
        ('table = "' + "0" * 32, 'table = "' + "0" * 31, 23, "grant[0].table"),
    ],
)
def test_a_single_fault(old, new, line, field):
    assert (line, field) in [(found[0], found[1]) for found in faults(changed(old, new))]


STREAM = changed('location = "s3a://bucket/out"', 'location = "rediss://redis.example:6380/pulses"').replace(
    'format = "files"', 'format = "stream"'
)


def test_a_stream():
    location = parse_policy(STREAM.encode()).grant[1].location
    assert (stream_addresses(location), stream_name(location)) == ((("redis.example", 6380),), "pulses")
    assert not is_topic(location)


def test_a_topic():
    location = "kafka://a.example:9093,b.example:9094/pulses"
    document = STREAM.replace("rediss://redis.example:6380/pulses", location)
    assert parse_policy(document.encode()).grant[1].location == location
    assert stream_addresses(location) == (("a.example", 9093), ("b.example", 9094))
    assert stream_name(location) == "pulses"
    assert is_topic(location)


@pytest.mark.parametrize(
    "location",
    [
        "pulses",
        "redis://redis.example:6380/pulses",
        "rediss://redis.example/pulses",
        "rediss://redis.example:0/pulses",
        "rediss://redis.example:65536/pulses",
        "rediss://redis.example:6380",
        "rediss://redis.example:6380/a/b",
        "rediss://redis.example:6380/a b",
        "rediss://user@redis.example:6380/pulses",
        "rediss://Redis.example:6380/pulses",
        "rediss://redis.example:6380/" + "a" * 129,
        "rediss://a.example:6380,b.example:6380/pulses",
        "kafka://a.example/pulses",
        "kafka://a.example:9093",
        "kafka://a.example:9093,/pulses",
        "kafka://a.example:9093, b.example:9093/pulses",
        "kafka://10.0.0.1:9093/pulses",
        "kafka://a.example:9093,10.0.0.1:9093/pulses",
        "kafka://a.example:65536/pulses",
        "kafka://a.example:9093/pulses;alarms",
        "kafka://a.example:9093/pulses/0",
        "kafka://a.example:9093/..",
        "kafka://a.example:9093/" + "a" * 250,
    ],
)
def test_no_location_of_a_stream(location):
    found = faults(STREAM.replace("rediss://redis.example:6380/pulses", location))
    assert (27, "grant[1].location") in [fault[:2] for fault in found]
    with pytest.raises(Misuse, match="not the location of a stream"):
        stream_name(location)


@pytest.mark.parametrize("more", [f'table = "{"0" * 32}"', 'columns = { a = "bank/a" }'])
def test_a_stream_has_no_table_and_no_columns(more):
    field = f"grant[1].{more.split()[0]}"
    assert field in [fault[1] for fault in faults(STREAM.replace('"stream"', f'"stream"\n{more}'))]


def test_a_stream_has_a_name_of_its_own_under_its_key():
    grant = STREAM[STREAM.index("[[grant]]", STREAM.index("[[grant]]") + 1) :].split("\n[")[0]
    elsewhere = f"{STREAM}\n{grant.replace('redis.example', 'redis-b.example')}\n"
    assert any("one could pass for the other" in fault[2] for fault in faults(elsewhere))
    assert parse_policy(
        elsewhere.replace("redis-b.example:6380/pulses", "redis-b.example:6380/other").encode()
    )


def test_duplicate_workload_and_measurement():
    block = GOOD[GOOD.index("[[workload]]") : GOOD.index("[[grant]]")]
    found = faults(GOOD.replace("[[grant]]", block + "[[grant]]", 1))
    assert [field for _, field, _ in found] == ["workload[1].name", "workload[1].measurements"]


def test_a_role_of_its_own_is_no_duplicate():
    block = GOOD[GOOD.index("[[workload]]") : GOOD.index("[[grant]]")]
    parse_policy(GOOD.replace("[[grant]]", block.replace("driver", "executor") + "[[grant]]", 1).encode())


def test_a_workload_with_a_key_for_requests_needs_no_grant():
    bare = GOOD[: GOOD.index("[[grant]]")]
    assert faults(bare) == [(1, "grant", "missing")]
    assert parse_policy(f'{bare}requests = "clinic/pool"\n'.encode()).grant == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 1),
        (b"version = ", 1),
        (b"version = 1\nversion = 1", 2),
        (b"version = 1\n\xff", 2),
        (b"#" * (MAX_POLICY_BYTES + 1), 1),
        (b"x = " + b"[" * 20_000, 1),
        (b"workload = 1\ngrant = [1, 2]", 1),
    ],
)
def test_documents_that_are_no_policy(text, line):
    assert faults(text)[0][0] == line


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_invalid_policy(data):
    assert faults(data)


@given(st.integers(0, len(GOOD) - 1), st.sampled_from(["", "x", '"', "=", "[", "\n", "0"]))
def test_any_small_change_parses_or_is_an_invalid_policy(position, replacement):
    text = GOOD[:position] + replacement + GOOD[position + 1 :]
    found = ()
    try:
        parse_policy(text.encode())
    except InvalidPolicy as error:
        found = error.faults or (None,)
    assert all(1 <= fault.line <= text.count("\n") + 1 for fault in found)


@pytest.mark.parametrize("good", ["a", "data/patients", "s3a://bucket/x", "file:///srv/x", "a.b/c d"])
def test_locations(good):
    assert parse_location(good) == good


@pytest.mark.parametrize(
    "bad",
    ["", "/", "/a", "a/", "a//b", ".", "a/..", "./a", "a\\b", "a\0", "a*", "a?", "a%2e", "file://srv/x"],
)
def test_no_locations(bad):
    with pytest.raises(ValueError):
        parse_location(bad)


@pytest.mark.parametrize(
    "bad",
    ["s3a://", "s3a://bucket/", "s3a://b/../c", "C:/x", "S3A://b", "file:///", "a#b", "a\nb", "file:a"],
)
def test_no_location_uris(bad):
    with pytest.raises(ValueError):
        parse_location(bad)


def test_overlap():
    assert overlap("a", "a")
    assert overlap("a", "a/b")
    assert overlap("a/b", "a")
    assert not overlap("a", "ab")
    assert not overlap("a/b", "a/c")


def test_sign_and_verify():
    policy, toml = verify_policy(sign_policy(GOOD.encode(), KEY), {"clinic": KEY.public_key()}, NOW)
    assert (policy, toml) == (parse_policy(GOOD.encode()), GOOD.encode())


def test_signing_refuses_a_faulty_policy():
    with pytest.raises(InvalidPolicy):
        sign_policy(b"version = 1", KEY)


def test_signed_policies_that_are_refused():
    keys = {"clinic": KEY.public_key(), "bank": KEY.public_key()}
    good = sign_policy(GOOD.encode(), KEY)
    for jws in (
        sign_policy(GOOD.encode(), generate_signing_key()),
        sign_jws(KEY, GOOD.encode(), {"kid": "lab", "typ": POLICY_TYP}),
        sign_jws(KEY, GOOD.encode(), {"kid": "clinic", "typ": "confide-listing+json"}),
        {**good, "payload": good["payload"][:-8]},
        {},
    ):
        with pytest.raises(SignatureRefused):
            verify_policy(jws, keys, NOW)
    with pytest.raises(PolicyRefused, match="signed by bank"):
        verify_policy(sign_jws(KEY, GOOD.encode(), {"kid": "bank", "typ": POLICY_TYP}), keys, NOW)
    with pytest.raises(PolicyRefused, match="ended"):
        verify_policy(good, keys, 2_000_000_000)


SGX = changed('tee = "simulated"', 'tee = "sgx"')
SGX_PLATFORM = changed(
    'tee = "simulated"', 'tee = "sgx"\nplatform = { registers = { mrsigner = ["aabb"] }, allow_smt = true }'
)


def test_what_is_demanded_of_hardware():
    platform = parse_policy(SGX_PLATFORM.encode()).workload[0].platform
    assert platform is not None
    assert platform.registers == {"mrsigner": ("aabb",)}
    assert platform.status == ("UpToDate",)
    signed = SGX_PLATFORM.replace("minimum_svn = 0", "minimum_svn = 2")
    assert parse_policy(signed.encode()).workload[0].minimum_svn == 2


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (SGX, "workload[0]", "platform is missing"),
        (SGX_PLATFORM.replace('"sgx"', '"simulated"'), "workload[0].platform", "no platform to demand"),
        (SGX_PLATFORM.replace('"sgx"', '"snp"'), "workload[0].platform", "registers lacks measurement"),
        (SGX_PLATFORM.replace("mrsigner", "mrtd"), "workload[0].platform", "no register mrtd in sgx"),
        (
            SGX_PLATFORM.replace("allow_smt", "allow_debug"),
            "workload[0].platform.allow_debug",
            "unknown field",
        ),
        (
            SGX_PLATFORM.replace("registers = { mrsigner", "registers = { config_id").replace(
                "minimum_svn = 0", "minimum_svn = 1"
            ),
            "workload[0].minimum_svn",
            "without registers.mrsigner",
        ),
        (SGX_PLATFORM.replace('["aabb"]', "[]"), "workload[0].platform.registers.mrsigner", "empty"),
        (SGX_PLATFORM.replace('"aabb"', '"AABB"'), "workload[0].platform.registers.mrsigner[0]", "hex"),
    ],
)
def test_faults_of_what_is_demanded_of_hardware(text, field, reason):
    assert any(found[1] == field and reason in found[2] for found in faults(text)), faults(text)
