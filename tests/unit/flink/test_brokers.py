"""The names of brokers in a sandbox without a network."""

from __future__ import annotations

from confide.broker.release import Grant
from confide.flink.brokers import Broker, granted_brokers, write_hosts


def grant(location: str, form: str = "stream") -> Grant:
    return Grant.model_validate(
        {"owner": "a", "location": location, "access": "write", "format": form, "key": "a/b"}
    )


def test_each_host_has_an_address_of_its_own_and_keeps_its_ports():
    grants = [
        grant("kafka://b.example:9093,a.example:9094/x"),
        grant("kafka://b.example:9093,b.example:9095/y"),
        grant("kafka://localhost:9093/z"),
        grant("rediss://c.example:6380/x"),
        grant("data/x", "files"),
    ]
    assert granted_brokers(grants) == [
        Broker("a.example", 9094, "127.1.0.1"),
        Broker("b.example", 9093, "127.1.0.2"),
        Broker("b.example", 9095, "127.1.0.2"),
        Broker("localhost", 9093, "127.0.0.1"),
    ]


def test_no_other_name_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    file = write_hosts(
        [Broker("a.example", 9094, "127.1.0.1"), Broker("a.example", 9095, "127.1.0.1")], tmp_path
    )
    assert file.read_text() == "127.1.0.1 a.example\n127.0.0.1 localhost\n127.0.0.1 here\n"
