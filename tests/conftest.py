"""Settings of the whole suite."""

import os

import pytest
from hypothesis import HealthCheck, settings

from .postgres import postgres_server

# No deadline: the machine that runs the tests may be busy. `make properties` looks longer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("CONFIDE_HYPOTHESIS", "default"))


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server that no test stops or changes: each makes databases of its own in it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.exhaustive)])
def where(request, tmp_path):
    """Where a store may be made: a file's path, or the URL of an empty database."""
    if request.param == "sqlite":
        return tmp_path / "store.db"
    server = request.getfixturevalue("postgres")
    return server.url(server.new_database())
