"""An image that pins what its broker must be, instead of the broker's authority."""

from __future__ import annotations

import base64

import pyarrow as pa
import pytest

from confide.attestation.evidence import StatedImage
from confide.broker.attested_leaf import ROLE, evidence_extension
from confide.broker.home import Home
from confide.broker.server import EmbeddedBroker
from confide.enclave.simulated.host import host_key
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.errors import BrokerUntrusted
from confide.keys.signing import raw_public
from confide.python.image_spec import image_profile

from .conftest import CHEAP, Owner, Served

PROGRAM = """
from pathlib import Path
import pyarrow.parquet as pq
Path("out/copy").mkdir(parents=True)
pq.write_table(pq.read_table("data/patients"), "out/copy/part-0.parquet")
"""
MEASUREMENT = "ab" * 32
PATIENTS = pa.table({"name": ["Ada"]})


@pytest.fixture(scope="module")
def owner(site):
    """An owner at a broker that shows evidence of itself."""
    key = host_key(site.host)
    image = StatedImage(measurement=MEASUREMENT, role=ROLE, svn=0)
    issuer = SimulatedIssuer(key, image)

    def attest(leaf, authority):
        return evidence_extension(
            leaf, authority, "simulated", lambda runtime: issuer.issue(runtime.report_data()), image
        )

    home = site.stack.enter_context(Home.create(site.root / "broker", b"passphrase", CHEAP))
    home.store.enroll_host(raw_public(key.public_key()))
    server = site.stack.enter_context(EmbeddedBroker(home.store, allow_simulated=True, attest=attest))
    site.brokers["local"] = Served(home, server.url, server.ca_pem.decode())
    owner = Owner("clinic", site.brokers["local"], site.root)
    owner.encrypt(PATIENTS, site.data, "data/patients")
    return owner


def pin(site, measurement):
    key = base64.b64encode(raw_public(host_key(site.host).public_key())).decode()
    return f'version = 1\ntee = "simulated"\nmeasurements = ["{measurement}"]\nhosts = ["{key}"]\n'


def test_the_agent_has_the_broker_prove_what_it_is(site, owner):
    image = site.build(PROGRAM, image_profile(), pinned={"local": pin(site, MEASUREMENT)})
    owner.allow(image, ("data/patients", "read"), ("out/copy", "write"))
    assert site.run() == 0
    assert owner.read(site.data, "out/copy").equals(PATIENTS)


def test_the_agent_asks_no_other_broker_for_keys(site, owner):
    image = site.build(PROGRAM, image_profile(), pinned={"local": pin(site, "cd" * 32)})
    owner.allow(image, ("data/patients", "read"), ("out/copy", "write"))
    with pytest.raises(BrokerUntrusted, match="step 5"):
        site.run()
    assert owner.store.audit.entries(kind="refusal") == []
