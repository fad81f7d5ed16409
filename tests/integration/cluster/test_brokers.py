"""Owners at two brokers: neither can decide for both who belongs to a job, so there is none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from confide.errors import LaunchRefused

pytestmark = pytest.mark.spark

ROWS = pa.table({"id": [1, 2, 3]})


def test_a_job_with_two_brokers_is_not_opened(site, new_owner, small_spark):
    """Else the one owner could let in an executor of his own, to which the driver shows the other's data."""
    clinic = new_owner("clinic", site.broker("clinic-kbs"), site.root)
    bank = new_owner("bank", site.broker("bank-kbs"), site.root)
    clinic.encrypt(ROWS, site.data, "data/patients")
    bank.encrypt(ROWS, site.data, "data/loans")
    driver = site.build("print('ran')", small_spark, owners=("bank", "clinic"))
    executor = site.build_executor("print('mine')", small_spark)
    clinic.allow(driver, ("data/patients", "read"), executor=executor)
    bank.allow(driver, ("data/loans", "read"))
    with pytest.raises(LaunchRefused):
        site.run_job(executors=1)
    assert "released" in [status["state"] for status in site.said]
    assert not [status for status in site.said if status["state"] == "opened"]
    for owner in (clinic, bank):
        assert not owner.store.audit.entries(kind="mesh-certificate")
