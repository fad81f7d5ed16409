"""`confide stream` and a real Redis: TLS 1.3, users of an ACL."""

from __future__ import annotations

import time

import pytest
from redis.exceptions import ResponseError
from tests.redis_server import redis_server

from confide.broker.ca import CertificateAuthority
from confide.data.streams import APPEND, producers

ROWS = [f'{{"patient": "NEEDLE-{n}", "rate": {n}}}' for n in range(600)]


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis") / "server") as server:
        with server.operator() as client:
            client.execute_command(
                "ACL", "SETUSER", "ward", "on", ">a-password", "~pulses", "~{pulses}:*", "+eval"
            )
            client.execute_command("ACL", "SETUSER", "ward", "+xadd", "+hget", "+hset", "+xrange")
        yield server


@pytest.fixture
def ward(confide, redis):
    """Options of a user who may use the stream `pulses`."""
    confide.ok("init", "clinic")
    for key in ("pulses", "other"):
        confide.ok("key", "create", f"clinic/{key}")
    (confide.folder / "password").write_text("a-password\n")
    (confide.folder / "rows.jsonl").write_text("\n".join(ROWS) + "\n")
    with redis.operator() as client:
        client.delete("pulses", "{pulses}:producers")
    return ("--user", "ward", "--password-file", "password", "--ca", str(redis.folder / "ca.pem"))


def place(redis, name="pulses", host="localhost"):
    return f"rediss://{host}:{redis.port}/{name}"


def send(confide, redis, ward, *more):
    return confide("stream", "send", place(redis), "rows.jsonl", "--key", "clinic/pulses", *ward, *more)


def read(confide, redis, ward, *more, key="clinic/pulses"):
    return confide("stream", "read", place(redis), "--key", key, *ward, *more)


def test_what_is_sent_is_read_and_the_redis_sees_none_of_it(confide, redis, ward):
    said = send(confide, redis, ward)
    assert said.code == 0, said.err
    assert "600 row(s) under clinic/pulses" in said.err
    assert send(confide, redis, ward).code == 0  # another producer
    said = read(confide, redis, ward)
    assert said.code == 0, said.err
    assert said.out.splitlines() == ROWS * 2
    kept = b"".join(path.read_bytes() for path in redis.folder.rglob("*.aof"))
    assert b"CONFIDR" in kept
    assert b"NEEDLE" not in kept


def test_rows_of_a_rotated_key_are_read(confide, redis, ward):
    send(confide, redis, ward)
    confide.ok("key", "rotate", "clinic/pulses")
    send(confide, redis, ward)
    assert read(confide, redis, ward).out.splitlines() == ROWS * 2


def test_a_stream_that_was_cut_from_within_is_refused_where_it_was(confide, redis, ward):
    send(confide, redis, ward)
    with redis.operator() as client:
        (cut, _), *_ = client.xrange("pulses", count=1)
        client.xdel("pulses", cut)
    said = read(confide, redis, ward)
    assert said.code == 90
    assert "records are missing: number 2 of producer" in said.err
    assert said.out == ""
    assert read(confide, redis, ward, "--trimmed").out.splitlines() == ROWS[1:]


def test_a_repeated_entry_is_refused(confide, redis, ward):
    send(confide, redis, ward)
    with redis.operator() as client:
        (_, fields), *_ = client.xrange("pulses", count=1)
        client.xadd("pulses", fields)
    said = read(confide, redis, ward)
    assert said.code == 90
    assert "a record was repeated" in said.err
    assert said.out.splitlines() == ROWS


def test_another_key_and_another_entry_are_refused(confide, redis, ward):
    send(confide, redis, ward)
    assert read(confide, redis, ward, key="clinic/other").code == 82
    with redis.operator() as client:
        client.xadd("pulses", {"other": b"x"})
    said = read(confide, redis, ward)
    assert (said.code, "other fields" in said.err) == (94, True)


@pytest.mark.parametrize(
    ("location", "code", "reason"),
    [
        ("redis://localhost:1/pulses", 64, "rediss://host:port/NAME"),
        ("rediss://localhost/pulses", 64, "rediss://host:port/NAME"),
        ("rediss://localhost:1/pulses", 70, "refused"),
    ],
)
def test_where_no_stream_is(confide, ward, location, code, reason):
    said = confide("stream", "read", location, "--key", "clinic/pulses", *ward)
    assert said.code == code
    assert reason in said.err


def test_a_server_that_does_not_verify_is_refused(confide, redis, ward):
    said = confide("stream", "read", place(redis, host="127.0.0.1"), "--key", "clinic/pulses", *ward)
    assert (said.code, "127.0.0.1" in said.err) == (70, True)
    (confide.folder / "other.pem").write_bytes(CertificateAuthority.create(int(time.time())).certificate_pem)
    for more in (("--ca", "other.pem"), ("--ca", "rows.jsonl")):
        said = read(confide, redis, ward, *more)
        assert said.code in (64, 70)
        assert "certificate" in said.err.lower()


def test_a_user_who_may_not_is_told_so(confide, redis, ward):
    said = confide("stream", "read", place(redis, "others"), "--key", "clinic/pulses", *ward)
    assert (said.code, "permission" in said.err.lower()) == (64, True)
    (confide.folder / "password").write_text("not it\n")
    said = read(confide, redis, ward)
    assert (said.code, "WRONGPASS" in said.err or "invalid" in said.err) == (64, True)


def append(client, data_key, first, *records):
    return client.eval(APPEND, 2, "pulses", producers("pulses"), "ab" * 16, data_key, first, *records)


def test_appending_again_changes_nothing_and_another_life_of_a_producer_goes_on(redis):
    with redis.operator() as client:
        client.delete("pulses", producers("pulses"))
        for _ in range(2):
            append(client, "aa", 1, b"one", b"two")
        append(client, "aa", 2, b"two", b"three")
        append(client, "bb", 4, b"four")
        assert [fields[b"record"] for _, fields in client.xrange("pulses")] == [
            b"one",
            b"two",
            b"three",
            b"four",
        ]


@pytest.mark.parametrize(
    ("data_key", "first", "reason"), [("bb", 2, "ROLLBACK"), ("bb", 1, "ROLLBACK"), ("aa", 4, "GAP")]
)
def test_a_producer_from_an_older_state_and_a_gap_are_refused(redis, data_key, first, reason):
    with redis.operator() as client:
        client.delete("pulses", producers("pulses"))
        append(client, "aa", 1, b"one", b"two")
        with pytest.raises(ResponseError, match=reason):
            append(client, data_key, first, b"another")
        assert client.xlen("pulses") == 2
