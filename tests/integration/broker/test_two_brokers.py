"""Two broker processes on one PostgreSQL database: they serve at once, and one that is killed loses nothing."""

from __future__ import annotations

import base64
import random
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from confide.broker.ca import CertificateAuthority, authority_id
from confide.broker.checkpoint import open_checkpoint
from confide.broker.client import KbsClient, OwnerClient
from confide.broker.home import Home
from confide.broker.mesh_member import join_mesh
from confide.broker.owner_call import CALL_TYP
from confide.broker.policy_signing import sign_policy
from confide.broker.release import ReleasedKey
from confide.broker.store import Store
from confide.canonical import canonical_json
from confide.data.listing import ListedFile
from confide.errors import BrokerUnavailable, Conflict, MeasurementRefused, RevokedKey, Rollback
from confide.keys.material import NamedKey
from confide.keys.names import KeyName
from confide.keys.signing import sign_jws

from ...broker_process import CONFIDE, BrokerProcess
from ...postgres import PASSWORD
from .conftest import Clinic

LAUNCH = {"args": "--year 2024"}
PASSPHRASE = b"passphrase of the tests"
KILLS = 4
PACE_S = 0.1
"""Between two rounds of a client: a broker takes 50 requests a second from one address."""


@dataclass
class Pair:
    """Two brokers called by one name and port, each on an address of its own, and a look into their store."""

    clinic: Clinic
    url: str
    one: BrokerProcess
    two: BrokerProcess
    ca_pem: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.ca_pem = CertificateAuthority.of(self.store).certificate_pem

    @property
    def store(self) -> Store:
        return self.clinic.store

    def client(self, broker: BrokerProcess) -> KbsClient:
        return KbsClient(broker.url, self.ca_pem)

    def owner(self, broker: BrokerProcess) -> OwnerClient:
        return OwnerClient(broker.url, self.ca_pem, "clinic", self.clinic.signing_key)


@contextmanager
def two_brokers(postgres, folder: Path) -> Iterator[Pair]:
    """Start them on a home made by the command line, and its copy; its store is in a new database, over TLS."""
    url = postgres.tls_url(postgres.new_database())
    passphrase = folder / "passphrase"
    passphrase.write_bytes(PASSPHRASE)
    command = [str(CONFIDE), "--home", str(folder / "one"), "--passphrase-fd", "0", "init", "--store", url]
    with passphrase.open("rb") as secret:
        made = subprocess.run(command, stdin=secret, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    shutil.copytree(folder / "one", folder / "two")
    with ExitStack() as stack:
        home = stack.enter_context(Home.open(folder / "one", PASSPHRASE))
        clinic = Clinic(home.store, home.provider)
        clinic.furnish()
        one = BrokerProcess(folder / "one", passphrase, "127.0.0.1:0")
        two = BrokerProcess(folder / "two", passphrase, "127.0.0.2:0")
        for each in (one, two):
            stack.callback(each.stop)
        one.start()
        one.await_ready()
        two.listen = one.listen.replace("127.0.0.1", "127.0.0.2")
        two.start()
        two.await_ready()
        yield Pair(clinic, url, one, two)


@pytest.fixture(scope="module")
def pair(postgres, tmp_path_factory) -> Iterator[Pair]:
    """Two brokers that no test stops; nobody changes the owner's policy or keys in their store."""
    with two_brokers(postgres, tmp_path_factory.mktemp("pair")) as made:
        yield made


@pytest.fixture
def own_pair(postgres, tmp_path: Path) -> Iterator[Pair]:
    """Two brokers of a test's own."""
    with two_brokers(postgres, tmp_path) as made:
        yield made


# serving at once


def key_of(number: int) -> ReleasedKey:
    """Return a key that says which it is."""
    return ReleasedKey(current=1, versions={"1": base64.b64encode(number.to_bytes(32)).decode()})


@dataclass
class Acknowledged:
    """What the brokers said was done."""

    keys: dict[str, int] = field(default_factory=dict)
    policies: list[int] = field(default_factory=list)
    releases: list[int] = field(default_factory=list)
    listings: list[int] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    done: threading.Condition = field(default_factory=threading.Condition)

    def count(self) -> int:
        return len(self.keys) + len(self.policies) + len(self.releases) + len(self.listings)


class Work:
    """Clients of one broker, each in a thread, until `stop` is set or the broker goes away."""

    def __init__(self, pair: Pair, broker: BrokerProcess, numbers: Iterator[int], may_die: bool) -> None:
        self.pair, self.broker, self.numbers, self.may_die = pair, broker, numbers, may_die
        self.said = Acknowledged()
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._repeat, args=(each,))
            for each in (self.release, self.own, self.commit)
        ]
        for thread in self.threads:
            thread.start()

    def finish(self) -> Acknowledged:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return self.said

    def await_work(self, count: int) -> None:
        """Wait until that much more was acknowledged."""
        with self.said.done:
            wanted = self.said.count() + count
            enough = self.said.done.wait_for(lambda: self.said.count() >= wanted or self.said.failures, 120)
        assert enough
        assert not self.said.failures

    def _repeat(self, round_: Callable[[], None]) -> None:
        try:
            while not self.stop.is_set():
                round_()
                with self.said.done:
                    self.said.done.notify_all()
                time.sleep(PACE_S)
        except BrokerUnavailable as error:
            if not self.may_die:
                self.said.failures.append(error)
        except BaseException as error:
            self.said.failures.append(error)
        finally:
            with self.said.done:
                self.said.done.notify_all()

    def release(self) -> None:
        number = next(self.numbers)
        host = replace(self.pair.clinic.host, svn=number)
        with closing(self.pair.client(self.broker)) as client:
            assert client.attest("simulated", host.issue, LAUNCH).release().workload == "study"
        self.said.releases.append(number)

    def own(self) -> None:
        number = next(self.numbers)
        with closing(self.pair.owner(self.broker)) as owner:
            owner.put_key(f"key-{number}", key_of(number))
            self.said.keys[f"key-{number}"] = number
            policy = sign_policy(self.pair.clinic.policy(number + 2), self.pair.clinic.signing_key)
            with suppress(Rollback):  # the other broker's clients were faster with a higher serial
                owner.put_policy(policy)
                self.said.policies.append(number + 2)

    def commit(self) -> None:
        with closing(self.pair.client(self.broker)) as client:
            session = client.attest("simulated", self.pair.clinic.host.issue, LAUNCH)
            out = next(grant for grant in session.release().grants if grant.location == "out")
            base = out.listing.serial if out.listing else 0
            files = (ListedFile(path=f"part-{next(self.numbers)}.parquet", size=5, binding="c" * 64),)
            try:
                self.said.listings.append(session.commit_listing("out", "2" * 32, base, files)[0].serial)
            except Conflict:
                return  # the other broker's clients were faster


def check(pair: Pair, said: list[Acknowledged], kept: str) -> str:
    """Check that everything acknowledged is there, once, and return the log's new checkpoint."""
    store = pair.store
    verifier = store.audit.verifier_key()
    state = store.audit.verify(open_checkpoint(kept, verifier))
    entries = []
    while page := store.audit.entries(len(entries), 10_000):
        entries += page
    assert [entry.index for entry in entries] == list(range(state.size))
    fields = {
        kind: [entry.fields for entry in entries if entry.kind == kind]
        for kind in ("release", "commit", "key-put", "policy")
    }
    for each in said:
        assert not each.failures
        released = Counter(found["svn"] for found in fields["release"])
        assert all(released[number] == 1 for number in each.releases)
        put = Counter(found["key"] for found in fields["key-put"])
        for name, number in each.keys.items():
            assert put[f"clinic/{name}"] == 1
            assert store.key(KeyName("clinic", name)) == NamedKey(
                KeyName("clinic", name), 1, {1: number.to_bytes(32)}
            )
        logged = {found["serial"] for found in fields["policy"]}
        assert logged >= set(each.policies)
        assert store.policy("clinic").serial >= max(each.policies, default=1)
    listings = [serial for each in said for serial in each.listings]
    assert len(set(listings)) == len(listings)  # two never won the same one
    committed = [found["serial"] for found in fields["commit"]]
    assert committed == list(range(1, len(committed) + 1))
    assert set(committed) >= set(listings)
    assert store.listing_at("clinic", "out").listing.serial == len(committed)
    return store.audit.checkpoint()


def test_both_serve_at_once_and_a_killed_one_loses_nothing(own_pair):
    pair = own_pair
    chance = random.Random(20260102)
    numbers = iter(range(1, 65_000))
    kept = pair.store.audit.checkpoint()
    two = Work(pair, pair.two, numbers, may_die=False)
    said = [two.said]
    try:
        for _ in range(KILLS):
            one = Work(pair, pair.one, numbers, may_die=True)
            said.append(one.said)
            try:
                one.await_work(chance.randint(3, 20))
                two.await_work(3)
                time.sleep(chance.random() * 0.05)
            finally:
                pair.one.kill()
                one.finish()
            two.await_work(6)  # the one that is left goes on
            pair.one.start()
            pair.one.await_ready()
    finally:
        two.finish()
    new = check(pair, said, kept)
    assert sum(each.count() for each in said[1:]) >= KILLS * 3
    assert min(len(each.releases) for each in said[:1]) >= 1
    work = [Work(pair, each, numbers, may_die=False) for each in (pair.one, pair.two)]
    for each in work:
        each.await_work(4)
    check(pair, [each.finish() for each in work] + said, new)


def test_brokers_of_one_store_are_one_to_their_clients(pair):
    for broker in (pair.one, pair.two):
        with http(pair, broker) as client:
            assert client.get("/confide/v1/broker").json()["authority"] == pair.ca_pem.decode()
    jwks = []
    for broker in (pair.one, pair.two):
        with http(pair, broker) as client:
            jwks.append(client.get("/confide/v1/jwks").json())
    assert jwks[0] == jwks[1]


def test_what_one_broker_learns_holds_at_the_other(own_pair):
    pair, clinic = own_pair, own_pair.clinic
    with closing(pair.owner(pair.one)) as owner, closing(pair.client(pair.two)) as client:
        session = client.attest("simulated", clinic.host.issue, LAUNCH)
        session.release()
        owner.revoke_key("patients")
        with pytest.raises(RevokedKey):
            session.release()
        owner.put_policy(sign_policy(clinic.policy(2, measurement="e" * 64), clinic.signing_key))
        with pytest.raises(MeasurementRefused):
            session.release()


def test_an_executor_joins_at_the_other_broker(own_pair):
    pair, clinic = own_pair, own_pair.clinic
    executor = (
        f'[[workload]]\nname = "study"\ntee = "simulated"\nrole = "executor"\nmeasurements = ["{"e" * 64}"]\n'
    )
    policy = clinic.policy(2) + (executor + 'logs = "clinic/logs"\n').encode()
    clinic.put_policy(policy, 2)
    with closing(pair.client(pair.one)) as one, closing(pair.client(pair.two)) as two:
        session = one.attest("simulated", clinic.host.issue, LAUNCH)
        driver = join_mesh(session, pair.ca_pem, "driver", session.release())
        host = replace(clinic.host, measurement="e" * 64, role="executor")
        session = two.attest("simulated", host.issue, {"mesh_job": driver.member.job})
        member = join_mesh(session, pair.ca_pem, "executor", driver.member.job)
    assert (member.authority, member.secret) == (driver.authority, driver.secret)
    shown = member.certificate.public_bytes(Encoding.DER)
    assert driver.check_peer(shown, "executor") == member.member


# what is good once, and only where it came from


@contextmanager
def http(pair: Pair, broker: BrokerProcess) -> Iterator[httpx.Client]:
    """A plain client of one broker, which calls it as it calls the other."""
    context = ssl.create_default_context(cadata=pair.ca_pem.decode())
    headers = {"Host": pair.one.listen}
    with httpx.Client(base_url=broker.url, verify=context, trust_env=False, headers=headers) as client:
        yield client


class Caught(Exception):
    """An attestation that was not sent."""


def caught(pair: Pair, broker: BrokerProcess) -> tuple[dict[str, str], bytes]:
    """Open a session; return its cookie, and its attestation, which nobody has sent yet."""
    with closing(pair.client(broker)) as client:
        send = client._transport.request

        def request(method, path, body=None, headers=None):
            if path == "/kbs/v0/attest":
                raise Caught(dict(headers), body)
            return send(method, path, body, headers)

        client._transport.request = request
        with pytest.raises(Caught) as found:
            client.attest("simulated", pair.clinic.host.issue, LAUNCH)
    return found.value.args


def attest(client: httpx.Client, cookie: dict[str, str], body: bytes) -> httpx.Response:
    answer = client.post("/kbs/v0/attest", content=body, headers=cookie)
    client.cookies.clear()
    return answer


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["error"]) == (401, "AttestationRefused")


def refusals(pair: Pair, since: int) -> list[str]:
    return [entry.fields["detail"] for entry in pair.store.audit.entries(since, kind="refusal")]


def test_a_nonce_is_good_once_at_one_of_the_two(pair):
    before = pair.store.audit.size()
    with http(pair, pair.one) as one, http(pair, pair.two) as two:
        cookie, body = caught(pair, pair.one)
        assert refused(attest(two, cookie, body))
        assert attest(one, cookie, body).status_code == 200
        for client in (one, two, one):
            assert refused(attest(client, cookie, body))
    assert not refusals(pair, before)  # anybody can do this, as often as he likes


def test_evidence_of_one_session_is_none_in_a_session_of_the_other(pair):
    with http(pair, pair.one) as one, http(pair, pair.two) as two:
        _, body = caught(pair, pair.one)
        for client, broker in ((one, pair.one), (two, pair.two)):
            assert refused(attest(client, caught(pair, broker)[0], body))


def test_evidence_that_is_sent_to_both_at_once_counts_once(pair):
    with ExitStack() as stack:
        clients = [
            stack.enter_context(http(pair, broker)) for broker in (pair.one, pair.two, pair.one, pair.two)
        ]
        for _ in range(10):
            codes = at_once(clients, *caught(pair, pair.one))
            assert sorted(codes) == [200, 401, 401, 401]


def at_once(clients: list[httpx.Client], cookie: dict[str, str], body: bytes) -> list[int]:
    ready, codes = threading.Barrier(len(clients)), []

    def send(client: httpx.Client) -> None:
        ready.wait()
        codes.append(attest(client, cookie, body).status_code)

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes


def test_a_session_stays_with_its_broker_and_a_token_does_not(pair):
    with http(pair, pair.one) as one, http(pair, pair.two) as two:
        cookie, body = caught(pair, pair.one)
        token = attest(one, cookie, body).json()["token"]
        path = "/kbs/v0/resource/confide/release/driver"
        assert one.get(path, headers=cookie).status_code == 200
        assert refused(two.get(path, headers=cookie))
        bearer = {"Authorization": f"Bearer {token}"}
        assert two.get(path, headers=bearer).status_code == 200
        changed = {"Authorization": f"Bearer {token[:-4]}AAAA"}
        assert refused(two.get(path, headers=changed))


def owner_call(pair: Pair, nonce: str) -> bytes:
    headers = {
        "kid": "clinic",
        "typ": CALL_TYP,
        "nonce": nonce,
        "url": f"https://{pair.one.listen}/confide/v1/owners/clinic/put-key",
        "aud": authority_id(pair.ca_pem),
    }
    payload = {"name": "new", "key": key_of(7).model_dump(mode="json")}
    return canonical_json(sign_jws(pair.clinic.signing_key, canonical_json(payload), headers))


def test_an_owner_s_call_is_good_once_at_one_of_the_two(pair):
    path = "/confide/v1/owners/clinic/put-key"
    before = pair.store.audit.size()
    with http(pair, pair.one) as one, http(pair, pair.two) as two:
        body = owner_call(pair, one.get("/confide/v1/nonce").headers["replay-nonce"])
        answer = two.post(path, content=body)
        assert (answer.status_code, answer.json()["error"]) == (403, "SignatureRefused")
        assert one.post(path, content=body).status_code == 200
        for client in (one, two):
            answer = client.post(path, content=body)
            assert (answer.status_code, answer.json()["error"]) == (403, "SignatureRefused")
    assert refusals(pair, before) == ["nonce of the call is unknown, used or expired"] * 3
    assert len(pair.store.audit.entries(before, kind="key-put")) == 1


def test_one_of_two_commits_wins(pair):
    files = [(ListedFile(path=f"part-{n}.parquet", size=5, binding="c" * 64),) for n in range(6)]
    outcomes = []

    def commit(broker: BrokerProcess, number: int) -> None:
        with closing(pair.client(broker)) as client:
            session = client.attest("simulated", pair.clinic.host.issue, LAUNCH)
            try:
                outcomes.append(session.commit_listing("out", "2" * 32, 0, files[number])[0].files)
            except Conflict:
                outcomes.append(None)

    threads = [threading.Thread(target=commit, args=((pair.one, pair.two)[n % 2], n)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [outcome for outcome in outcomes if outcome]
    assert outcomes.count(None) == 5
    assert pair.store.listing_at("clinic", "out").listing.files == won


# what an operator can see


def test_the_password_is_in_no_argument_environment_or_home(pair):
    for broker in (pair.one, pair.two):
        process = Path(f"/proc/{broker._process.pid}")
        for name in ("cmdline", "environ"):
            assert PASSWORD.encode() not in (process / name).read_bytes()
        for file in broker.home.iterdir():
            assert PASSWORD.encode() not in file.read_bytes()


def test_their_connections_are_encrypted(pair, postgres):
    query = (
        "SELECT s.ssl, s.version FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)"
        " WHERE a.application_name = 'confide' AND a.datname = %s"
    )
    database = re.search(r"/(store_\d+)\?", pair.url)[1]
    connections = postgres.run(query, "postgres", database)
    assert len(connections) == 3  # theirs, and that of the test
    assert {(encrypted, version) for encrypted, version in connections} == {(True, "TLSv1.3")}
