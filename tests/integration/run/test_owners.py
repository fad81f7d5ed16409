"""Two owners, one or two brokers, and every refusal before a program starts. The Python profile: no Spark."""

from __future__ import annotations

import socket
import threading

import pyarrow as pa
import pytest

from confide.enclave.run import run
from confide.errors import (
    BrokerUnavailable,
    BrokerUntrusted,
    KeyRefused,
    LaunchRefused,
    MeasurementRefused,
    NoGrant,
    RevokedKey,
)
from confide.python.image_spec import image_profile

PATIENTS = pa.table({"id": [1, 2, 3], "age": [30, 40, 50]})
LOANS = pa.table({"id": [2, 3, 4], "loan": [200, 300, 400]})
BOTH = [{"id": 2, "age": 40, "loan": 200}, {"id": 3, "age": 50, "loan": 300}]
JOIN = """
import os, sys
import pandas as pd
if sys.argv[1:]:
    sys.exit(int(sys.argv[1]))
patients, loans = pd.read_parquet("data/patients"), pd.read_parquet("data/loans")
os.makedirs("out/joined", exist_ok=True)
patients.merge(loans, on="id").to_parquet("out/joined/part.parquet")
"""
MINE = {"clinic": "data/patients", "bank": "data/loans"}
RESULT = ("out/joined", "write", "clinic/data")


class Pair:
    """A clinic and a bank, at one broker or at one each."""

    def __init__(self, site, new_owner, *brokers):
        self.site = site
        served = [site.broker(name) for name in brokers]
        self.clinic = new_owner("clinic", served[0], site.root)
        self.bank = new_owner("bank", served[-1], site.root)
        self.clinic.encrypt(PATIENTS, site.data, MINE["clinic"])
        self.bank.encrypt(LOANS, site.data, MINE["bank"])
        self.image = site.build(JOIN, image_profile(), args=("[0-9]{1,2}",), owners=("bank", "clinic"))

    def allow(self, *names, consent=True, **more):
        for name in names:
            extra = (RESULT,) if name == "clinic" or consent else ()
            owner = self.clinic if name == "clinic" else self.bank
            owner.allow(self.image, (MINE[name], "read"), *extra, **more)


@pytest.fixture(scope="module")
def one(site, new_owner):
    return Pair(site, new_owner, "shared")


@pytest.fixture(scope="module")
def two(new_site, new_owner):
    return Pair(new_site(), new_owner, "clinic-kbs", "bank-kbs")


@pytest.mark.parametrize("which", ["one", "two"])
def test_one_owner_is_not_enough(which, request):
    pair = request.getfixturevalue(which)
    with pytest.raises(MeasurementRefused):
        pair.site.run()
    pair.allow("clinic")
    with pytest.raises((NoGrant, MeasurementRefused)):
        pair.site.run()
    assert not (pair.site.data / "out").exists()


def test_both_at_one_broker(one):
    one.allow("clinic", "bank", consent=False)
    with pytest.raises(NoGrant):  # the result would hold the bank's values under the clinic's key
        one.site.run()
    assert one.clinic.store.listing_at("clinic", "out/joined") is None
    one.allow("bank")
    assert one.site.run() == 0
    assert one.clinic.read(one.site.data, "out/joined").to_pylist() == BOTH


def test_both_at_two_brokers(two):
    two.allow("clinic", "bank", consent=True)
    two.site.said.clear()
    assert two.site.run() == 0
    assert two.clinic.read(two.site.data, "out/joined").to_pylist() == BOTH
    attested = [status["broker"] for status in two.site.said if status["state"] == "attested"]
    assert attested == ["bank-kbs", "clinic-kbs"]


@pytest.mark.parametrize("code", [0, 1, 42])
def test_exit_code_passes_through(one, code):
    one.allow("clinic", "bank")
    assert one.site.run(str(code)) == code


@pytest.mark.parametrize(
    "arguments", [("x",), ("123",), ("1", "--config=/work/x"), ("1\n2",), ("-c", "import os")]
)
def test_arguments_outside_the_grammar(one, arguments):
    _refused(LaunchRefused, 95, one.site, *arguments)


def test_parameters_outside_the_grammar(one):
    _refused(LaunchRefused, 95, one.site, launch={"cores": "2"})
    _refused(LaunchRefused, 95, one.site, brokers={"mine": "https://127.0.0.1:1"})
    _refused(LaunchRefused, 95, one.site, brokers={"shared": "http://127.0.0.1:1"})
    _refused(LaunchRefused, 95, one.site, brokers={})


def test_broker_that_is_down(one):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        _refused(
            BrokerUnavailable,
            71,
            one.site,
            brokers={"shared": f"https://127.0.0.1:{unused.getsockname()[1]}"},
        )


def test_broker_that_says_nothing(one):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held = []
        threading.Thread(target=lambda: held.append(silent.accept()), daemon=True).start()
        _refused(
            BrokerUnavailable,
            71,
            one.site,
            brokers={"shared": f"https://127.0.0.1:{silent.getsockname()[1]}"},
        )


def test_broker_of_another_authority(one, new_site, other_authority):
    site = new_site()
    site.build(JOIN, image_profile(), pinned={"shared": other_authority})
    _refused(BrokerUntrusted, 72, site, brokers={"shared": one.site.brokers["shared"].url})


def test_expired_policy(one):
    one.allow("clinic", "bank")
    one.allow("bank", until="2021-01-01T00:00:00Z")
    with pytest.raises((NoGrant, MeasurementRefused)):
        one.site.run()
    one.allow("bank")
    assert one.site.run() == 0


def test_revoked_key(one):  # the last one: it is for ever
    one.bank.store.revoke_key(one.bank.key)
    try:
        code = one.site.run()
    except KeyRefused as error:
        code = error.exit_code
    assert code in (RevokedKey.exit_code, NoGrant.exit_code, KeyRefused.exit_code)


def _refused(kind, code, site, *arguments, **changes):
    with pytest.raises(kind) as caught:
        run(site.request(arguments, **changes))
    assert caught.value.exit_code == code
    assert site.gone()
