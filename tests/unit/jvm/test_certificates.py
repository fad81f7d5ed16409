import datetime
import json

from confide.jvm.certificates import Identity, gateway_secrets

NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)


def test_each_side_has_only_its_own_key():
    jvm, driver = gateway_secrets(NOW)
    assert jvm["token"] == driver["token"]
    assert len(jvm["token"]) == 64
    assert jvm["tls"]["key"] not in json.dumps(driver)
    assert "".join(driver["key"].splitlines()[1:-1]) not in json.dumps(jvm)
    assert "".join(driver["peer"].splitlines()[1:-1]) == jvm["tls"]["certificate"]
    assert "".join(driver["certificate"].splitlines()[1:-1]) == jvm["tls"]["peer"]


def test_every_run_has_its_own():
    (_, first), (_, second) = gateway_secrets(NOW), gateway_secrets(NOW)
    assert first["token"] != second["token"]
    assert first["certificate"] != second["certificate"]


def test_representation_shows_no_key():
    assert "private" not in repr(Identity.new("jvm", NOW)).lower()
