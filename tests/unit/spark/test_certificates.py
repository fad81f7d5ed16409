import datetime
import json
from pathlib import PurePosixPath

from confide.spark.certificates import Identity, run_secrets
from confide.spark.settings import settings

NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)
TABLE = settings(PurePosixPath("/scratch"), cores=1)


def test_each_side_has_only_its_own_key():
    made = run_secrets(TABLE, NOW)
    jvm, driver = made["gateway"], made["driver"]
    assert jvm["token"] == driver["token"]
    assert len(jvm["token"]) == 64
    assert jvm["tls"]["key"] not in json.dumps(driver)
    assert "".join(driver["key"].splitlines()[1:-1]) not in json.dumps(jvm)
    assert "".join(driver["peer"].splitlines()[1:-1]) == jvm["tls"]["certificate"]
    assert "".join(driver["certificate"].splitlines()[1:-1]) == jvm["tls"]["peer"]


def test_every_run_has_its_own():
    first, second = run_secrets(TABLE, NOW), run_secrets(TABLE, NOW)
    assert first["driver"]["token"] != second["driver"]["token"]
    assert first["driver"]["certificate"] != second["driver"]["certificate"]


def test_representation_shows_no_key():
    assert "private" not in repr(Identity.new("jvm", NOW)).lower()
