"""What is true of a store on PostgreSQL only: the way to the server, and a server that goes away."""

from __future__ import annotations

import shutil
import signal
import stat
import threading
from contextlib import closing

import psycopg
import pytest

from confide.broker.ca import CertificateAuthority
from confide.broker.database_postgres import check_url
from confide.broker.home import Home
from confide.broker.store import Store
from confide.errors import AlreadyExists, Conflict, InvalidFormat, Misuse, StorageUnavailable, Tampered
from confide.keys.names import KeyName
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile

from ...postgres import PASSWORD, postgres_server

pytestmark = pytest.mark.exhaustive  # starts PostgreSQL

PATIENTS = KeyName("clinic", "patients")


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    return PassphraseFile.create(tmp_path_factory.mktemp("keys") / "root.json", b"x", LEAST_COST)


@pytest.fixture
def url(postgres):
    return postgres.url(postgres.new_database())


@pytest.fixture
def own_server():
    """A server that may be stopped and started again."""
    with postgres_server() as server:
        yield server


# the way to the server


def test_tls_with_a_verified_name(postgres, provider):
    url = postgres.tls_url(postgres.new_database())
    with closing(Store.create(url, provider)) as store:
        assert store._database._connection.pgconn.ssl_in_use
        store.create_key(PATIENTS)
    with closing(Store.open(url, provider)) as store:
        assert store.key(PATIENTS).current == 1


def test_a_server_of_another_authority(postgres, provider, tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(CertificateAuthority.create(1_700_000_000).certificate_pem)
    with pytest.raises(StorageUnavailable, match="certificate verify failed"):
        Store.create(postgres.tls_url(postgres.new_database(), sslrootcert=other), provider)


def test_a_server_by_another_name(postgres, provider):
    with pytest.raises(StorageUnavailable, match="does not match host name"):
        Store.create(postgres.tls_url(postgres.new_database(), host="db.clinic.example"), provider)


def test_no_authority_at_all(postgres, provider, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StorageUnavailable, match="root certificate"):
        Store.create(postgres.tls_url(postgres.new_database(), sslrootcert=""), provider)


def test_the_environment_cannot_weaken_it(postgres, provider, monkeypatch, tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(CertificateAuthority.create(1_700_000_000).certificate_pem)
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGGSSENCMODE", "prefer")
    with pytest.raises(StorageUnavailable, match="certificate verify failed"):
        Store.create(postgres.tls_url(postgres.new_database(), sslrootcert=other), provider)


def test_a_service_file_cannot_weaken_it(postgres, provider, monkeypatch, tmp_path):
    """A service file may hold the password, but not say that the server need not show who it is."""
    database = postgres.new_database()
    services = tmp_path / "services.conf"
    services.write_text(
        f"[confide]\nhost=localhost\nhostaddr=127.0.0.1\nport={postgres.port}\nuser=confide\n"
        f"password={PASSWORD}\ndbname={database}\nsslmode=disable\nsslrootcert={postgres.folder / 'ca.pem'}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    with closing(Store.create("postgresql:///?service=confide", provider)) as store:
        assert store._database._connection.pgconn.ssl_in_use
    services.write_text(services.read_text().replace("host=localhost", "host=other.example"))
    with pytest.raises(StorageUnavailable, match="does not match host name"):
        Store.open("postgresql:///?service=confide", provider)


@pytest.mark.parametrize(
    "parameter",
    ["sslmode=disable", "sslmode=prefer", "sslmode=require", "sslmode=verify-ca", "gssencmode=require"],
)
def test_urls_that_ask_for_less(parameter):
    with pytest.raises(Misuse, match=r"of a store's URL is (verify-full|disable)"):
        check_url(f"postgresql://confide@db.clinic.example/confide?{parameter}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://confide:hunter2@db.clinic.example/confide",
        "postgresql://confide@db.clinic.example/confide?password=hunter2",
        "postgres://confide@db.clinic.example/confide?sslkey=k.pem&sslpassword=hunter2",
    ],
)
def test_passwords_in_urls(url):
    with pytest.raises(Misuse, match="pgpass") as caught:
        check_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_password_in_the_environment(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    with pytest.raises(Misuse, match="pgpass") as caught:
        check_url("postgresql://confide@db.clinic.example/confide")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store.db",
        "sqlite:///store.db",
        "mysql://confide@db/confide",
        "host=db dbname=confide password=hunter2",
        "postgresql://confide@db/confide?nonsense=1",
        "postgresql://[::1/confide",
    ],
)
def test_what_is_no_url_of_a_store(url):
    with pytest.raises(Misuse) as caught:
        check_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_password(postgres, provider, tmp_path):
    wrong = tmp_path / "pgpass"
    wrong.write_text("*:*:*:confide:hunter2\n")
    wrong.chmod(0o600)
    with pytest.raises(StorageUnavailable, match="password authentication failed") as caught:
        Store.create(postgres.tls_url(postgres.new_database(), passfile=wrong), provider)
    assert "hunter2" not in str(caught.value)


def test_nobody_there(provider, tmp_path):
    with pytest.raises(StorageUnavailable):
        Store.create(f"postgresql://confide@/confide?host={tmp_path}", provider)


# what lies in the database


def test_create_never_replaces(url, provider):
    with closing(Store.create(url, provider)) as store:
        store.create_key(PATIENTS)
    with pytest.raises(AlreadyExists):
        Store.create(url, provider)
    with closing(Store.open(url, provider)) as store:
        assert store.key(PATIENTS).current == 1


def test_a_database_without_a_store(url, provider):
    with pytest.raises(InvalidFormat, match="no store"):
        Store.open(url, provider)


def test_a_newer_store(url, provider, postgres):
    Store.create(url, provider).close()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(InvalidFormat, match="version 99"):
        Store.open(url, provider)


def test_another_encoding(postgres, provider):
    postgres.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER confide")
    with pytest.raises(Misuse, match="LATIN1"):
        Store.create(postgres.url("latin"), provider)


def test_a_commit_is_on_the_disk_before_it_is_acknowledged(postgres, provider):
    """Whatever the database's default says: a power cut spares what was acknowledged."""
    database = postgres.new_database()
    postgres.run(f"ALTER DATABASE {database} SET synchronous_commit = off")
    with closing(Store.create(postgres.url(database), provider)) as store:
        assert store._database.row("SHOW synchronous_commit") == ("on",)


# a server that goes away


def test_a_server_that_restarts(own_server, provider):
    url = own_server.url(own_server.new_database())
    with closing(Store.create(url, provider)) as store:
        index = store.audit.append({"kind": "before"})
        own_server.stop(signal.SIGQUIT)
        with pytest.raises(StorageUnavailable):
            store.audit.append({"kind": "lost"})
        own_server.start()
        store._database._paused_until = 0.0
        assert store.audit.append({"kind": "after"}) == index + 1
        assert [entry.kind for entry in store.audit.entries()] == ["before", "after"]
        store.audit.verify()


def test_a_server_that_restarts_within_a_transaction(own_server, provider):
    """What came before the restart is gone, so what comes after must not be kept alone."""
    url = own_server.url(own_server.new_database())
    with closing(Store.create(url, provider)) as store:

        def change():
            with store.transaction():
                store.create_key(PATIENTS)
                own_server.stop(signal.SIGQUIT)
                own_server.start()
                store._database._paused_until = 0.0
                store.audit.append({"kind": "key"})

        with pytest.raises((StorageUnavailable, Conflict)):
            change()
        store._database._paused_until = 0.0
        assert store.keys("clinic") == []
        assert store.audit.size() == 0


def test_a_connection_that_is_cut(url, provider, postgres):
    database = url.partition("@/")[2].partition("?")[0]
    with closing(Store.create(url, provider)) as store:
        store.audit.append({"kind": "before"})
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        assert postgres.run(cut, "postgres", database) == [(True,)]
        assert store.audit.append({"kind": "after"}) == 1


def test_another_broker_that_hangs(url, provider, postgres, monkeypatch):
    """A transaction that somebody keeps open is waited for, and then the request is refused."""
    monkeypatch.setattr("confide.broker.database_postgres._SESSION", "SET lock_timeout = '300ms'")
    with closing(Store.create(url, provider)) as store, closing(Store.open(url, provider)) as other:
        entered, leave = threading.Event(), threading.Event()

        def hang():
            with other.transaction():
                entered.set()
                leave.wait(30)

        thread = threading.Thread(target=hang)
        thread.start()
        try:
            entered.wait(30)
            with pytest.raises(Conflict, match="another broker"):
                store.audit.append({"kind": "x"})
        finally:
            leave.set()
            thread.join()
        assert store.audit.append({"kind": "x"}) == 0


def test_another_broker_that_hangs_for_long_loses_its_transaction(url, provider, monkeypatch):
    session = "SET idle_in_transaction_session_timeout = '300ms'; SET lock_timeout = '60s'"
    monkeypatch.setattr("confide.broker.database_postgres._SESSION", session)
    with closing(Store.create(url, provider)) as store, closing(Store.open(url, provider)) as other:

        def hang():
            with other.transaction():
                other.audit.append({"kind": "lost"})
                assert (
                    store.audit.append({"kind": "kept"}) == 0
                )  # waits until the server has cut the other off

        with pytest.raises(StorageUnavailable, match="idle-in-transaction timeout"):
            hang()
        assert [entry.kind for entry in other.audit.entries()] == ["kept"]


# a home


def make_home(path, url, secret=b"passphrase"):
    return Home.create(path, secret, LEAST_COST, store=url)


def test_a_home_says_where_its_store_is(url, tmp_path):
    with make_home(tmp_path / "home", url) as home:
        home.store.create_key(PATIENTS)
    names = {entry.name for entry in (tmp_path / "home").iterdir()}
    assert names == {"root.json", "store-url"}
    assert stat.S_IMODE((tmp_path / "home/store-url").stat().st_mode) == 0o600
    with Home.open(tmp_path / "home", b"passphrase") as home:
        assert home.store.key(PATIENTS).current == 1


def test_a_copied_home_has_the_same_store(url, tmp_path):
    with make_home(tmp_path / "home", url) as home:
        shutil.copytree(tmp_path / "home", tmp_path / "copy")
        with Home.open(tmp_path / "copy", b"passphrase") as copy:
            home.store.create_key(PATIENTS)
            assert copy.store.key(PATIENTS).current == 1
            assert copy.store.audit.append({"kind": "x"}) == 0
            assert home.store.audit.append({"kind": "y"}) == 1


def test_a_home_that_names_another_store(postgres, url, tmp_path):
    make_home(tmp_path / "home", url).close()
    other = postgres.url(postgres.new_database())
    make_home(tmp_path / "other", other, b"other").close()
    (tmp_path / "home/store-url").write_text(other + "\n")
    with pytest.raises(Tampered):
        Home.open(tmp_path / "home", b"passphrase")


def test_no_home_beside_a_store_that_is_there(url, tmp_path):
    make_home(tmp_path / "home", url).close()
    with pytest.raises(AlreadyExists):
        make_home(tmp_path / "second", url)
    assert not (tmp_path / "second").exists()
    Home.open(tmp_path / "home", b"passphrase").close()


def test_no_store_without_a_home(url, provider, tmp_path):
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home/notes").write_text("mine")
    with pytest.raises(AlreadyExists):
        make_home(tmp_path / "home", url)
    with pytest.raises(InvalidFormat, match="no store"):
        Store.open(url, provider)


@pytest.mark.parametrize(
    "store",
    ["postgresql://confide:hunter2@db/confide", "postgresql://confide@db/confide?sslmode=require", "x"],
)
def test_no_home_with_a_url_that_is_refused(tmp_path, store):
    with pytest.raises(Misuse):
        make_home(tmp_path / "home", store)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", ["", "\n", "\0", "x" * 10_000, "postgresql://confide:hunter2@db/confide"])
def test_a_home_whose_store_url_is_none(url, tmp_path, said):
    make_home(tmp_path / "home", url).close()
    (tmp_path / "home/store-url").write_text(said)
    with pytest.raises((Misuse, StorageUnavailable)):
        Home.open(tmp_path / "home", b"passphrase")
