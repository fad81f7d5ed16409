"""Who asks at the same time, again and again, or for too much; what is kept, and what a bad refresh does to it."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from confide.attestation.claims import Tee
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import parse_quote
from confide.attestation.intel.verify import verify_quote
from confide.broker.collateral.finder import FAILURE_S, WAITING
from confide.broker.collateral.intel_platform import IntelPlatform
from confide.broker.collateral.refresh import RETRY_S, Refresher, due, refresh
from confide.broker.collateral.service import hardware_trust
from confide.broker.collateral.sources import OFFLINE
from confide.errors import CollateralUnavailable, EvidenceRefused, Tampered

from ...unit.attestation.intel.synthetic import DAY, NOW, Authority, Machine, crl, iso, issue
from .publisher import Answer

FMSPC = "50806F000000"
ITEM = IntelPlatform(Tee.TDX, FMSPC, "platform")
TCB = f"/tdx/certification/v4/tcb?fmspc={FMSPC}"


@pytest.fixture
def published(server, authority):
    server.publish_intel(authority.collateral())
    return server


def put(site, collateral):
    return site.cache.put(ITEM, collateral.to_json(), "a test")


def dated(authority, day, **changed):
    """Collateral that was published on a day, and is valid for thirty."""
    since, until = NOW + day * DAY, NOW + (day + 30) * DAY
    dates = {"issueDate": iso(since), "nextUpdate": iso(until)}
    members = {
        "tcb_info": authority.tcb_info("TDX", **dates),
        "qe_identity": authority.qe_identity("TDX", **dates),
        "root_ca_crl": crl(authority.root, since=since, until=until),
        "pck_crl": crl(authority.platform_ca, since=since, until=until),
    }
    return authority.collateral(**members | changed)


def test_all_who_ask_at_once_wait_for_one_fetch(site, published):
    asking, everyone = threading.Event(), threading.Event()

    def hold():
        asking.set()
        everyone.wait(20)

    published.answers[TCB] = published.answers[TCB].but(started=hold)
    finder = site.finder()
    with ThreadPoolExecutor(12) as pool:
        found = [pool.submit(finder.find, ITEM) for _ in range(12)]
        assert asking.wait(20)
        everyone.set()
        assert len({each.result() for each in found}) == 1
    assert published.asked.count(TCB) == 1


def test_more_than_may_wait_are_sent_away(site, published):
    asking, release = threading.Event(), threading.Event()

    def hold():
        asking.set()
        release.wait(20)

    published.answers[TCB] = published.answers[TCB].but(started=hold)
    finder = site.finder()
    refusals = []

    def ask():
        try:
            finder.find(ITEM)
        except CollateralUnavailable as error:
            refusals.append(str(error))
            release.set()

    threads = [threading.Thread(target=ask) for _ in range(WAITING + 1)]
    for thread in threads:
        thread.start()
    assert asking.wait(20)
    assert release.wait(20)
    for thread in threads:
        thread.join()
    assert len(refusals) == 1
    assert "too many wait" in refusals[0]


def test_a_failure_is_remembered_for_a_while(site, server, authority):
    finder = site.finder()
    for _ in range(3):
        with pytest.raises(CollateralUnavailable, match="status 404"):
            finder.find(ITEM)
    assert server.asked.count(TCB) == 1
    server.publish_intel(authority.collateral())
    site.monotonic.now += int(FAILURE_S) - 1
    with pytest.raises(CollateralUnavailable, match="status 404"):
        finder.find(ITEM)
    site.monotonic.now += 1
    assert finder.find(ITEM).fmspc == FMSPC
    assert server.asked.count(TCB) == 2


def test_what_was_imported_meanwhile_ends_a_failure(site, server, authority):
    finder = site.finder()
    with pytest.raises(CollateralUnavailable):
        finder.find(ITEM)
    imported = put(site, authority.collateral())
    assert finder.find(ITEM) == imported


def test_made_up_things_are_asked_for_only_so_often(site, server):
    finder = site.finder(burst=3)
    for number in range(5):
        with pytest.raises(CollateralUnavailable, match="status 404" if number < 3 else "asked too often"):
            finder.find(IntelPlatform(Tee.TDX, f"{number:012X}", "platform"))
    assert len({path for path in server.asked if "fmspc" in path}) == 3


def test_expired_and_offline(site, authority):
    put(site, authority.collateral())
    site.clock.now = NOW + 30 * DAY
    offline = dataclasses.replace(site, sources=OFFLINE)
    with pytest.raises(CollateralUnavailable) as caught:
        offline.finder().find(ITEM)
    assert str(caught.value) == (
        "collateral for TDX on Intel platforms 50806F000000 (platform CA): its TCB info expired at "
        "2027-02-14T08:00:00Z. This broker fetches nothing (--offline): on a machine that is online, "
        "`confide collateral fetch --tee tdx --fmspc 50806F000000 --ca platform --output FILE`; here, "
        "`confide collateral import FILE`"
    )


def test_expired_and_the_server_is_gone(site, server, authority):
    put(site, authority.collateral())
    site.clock.now = NOW + 30 * DAY
    with pytest.raises(
        CollateralUnavailable, match=r"its TCB info expired at 2027.*status 404.*collateral fetch"
    ):
        site.finder().find(ITEM)
    (kept,) = site.store.collaterals()
    assert kept.failed == NOW + 30 * DAY
    assert "status 404" in kept.failure


def test_expired_and_fetched_anew(site, server, authority):
    put(site, authority.collateral())
    site.clock.now = NOW + 30 * DAY
    server.publish_intel(newer := dated(authority, 29))
    assert site.finder().find(ITEM) == newer


def test_a_clock_before_all_that_is_kept(site, authority):
    put(site, authority.collateral())
    site.clock.now = NOW - 2 * DAY
    with pytest.raises(CollateralUnavailable, match="is the clock right"):
        dataclasses.replace(site, sources=OFFLINE).finder().find(ITEM)


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity", "root_ca_crl", "pck_crl"])
def test_older_than_what_is_kept(site, authority, part):
    kept = put(site, dated(authority, -1))
    older = dated(authority, -2)
    changed = {part: getattr(older, part)}
    with pytest.raises(CollateralUnavailable, match="older than what is kept"):
        put(site, dated(authority, -1, **changed))
    assert site.cache.get(ITEM) == kept


def test_older_than_what_is_kept_but_expired(site, authority):
    put(site, dated(authority, -29, qe_identity=authority.qe_identity("TDX")))
    site.clock.now = NOW + 2 * DAY
    older_identity = authority.qe_identity(
        "TDX", issueDate=iso(NOW - 2 * DAY), nextUpdate=iso(NOW + 28 * DAY)
    )
    offered = dated(authority, 1, qe_identity=older_identity)
    assert put(site, offered) == offered


BAD = {
    "another maker": lambda authority: Authority().collateral(),
    "another platform": lambda authority: authority.collateral(
        tcb_info=authority.tcb_info("TDX", fmspc="00" * 6)
    ),
    "stale": lambda authority: authority.collateral(tcb_info=authority.tcb_info("TDX", nextUpdate=iso(NOW))),
    "older": lambda authority: dated(authority, -9),
    "not Intel's signer": lambda authority: authority.collateral(signer=issue("Someone", authority.root)),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_good_one_survives_a_bad_refresh(site, server, authority, bad, caplog):
    kept = put(site, authority.collateral())
    server.publish_intel(BAD[bad](authority), fmspc=FMSPC)
    site.clock.now += DAY
    assert refresh(site.cache, site.sources) == 1
    assert site.finder().find(ITEM) == kept
    (stored,) = site.store.collaterals()
    assert (stored.obtained, stored.failed) == (NOW, NOW + DAY)
    assert stored.failure in caplog.text
    assert "is not refreshed" in caplog.text


NO_ANSWER = {
    "an error": Answer(b"", 500),
    "too often": Answer(b"", 429, {"Retry-After": "99"}),
    "another document": Answer(b"{}"),
    "a sign-in page": Answer(b"<html>", headers={"Content-Type": "text/html"}),
    "a redirect": Answer(b"", 302, {"Location": "/"}),
    "cut": Answer(b"{", length=999),
    "huge": Answer(b" " * 600_000),
    "without an end": Answer(b"{", drip=True),
}


@pytest.mark.parametrize("answer", NO_ANSWER)
def test_a_good_one_survives_no_answer(site, published, authority, answer):
    kept = put(site, authority.collateral())
    published.answers[TCB] = NO_ANSWER[answer]
    pcs = dataclasses.replace(site.sources.pcs, timeout_s=0.5 if answer == "without an end" else 20)
    site.sources = dataclasses.replace(site.sources, pcs=pcs)
    site.clock.now += DAY
    assert refresh(site.cache, site.sources) == 1
    assert site.finder().find(ITEM) == kept


@pytest.mark.parametrize("revoked", ["tcb_signer", "platform_ca"])
def test_a_refused_refresh_that_proves_a_revocation_counts(site, server, authority, revoked):
    """A server goes on with the chain of someone whom the root's newer CRL revokes."""
    put(site, authority.collateral())
    newer = crl(authority.root, [getattr(authority, revoked)], since=NOW)
    server.publish_intel(authority.collateral(root_ca_crl=newer))
    site.clock.now += DAY
    assert refresh(site.cache, site.sources) == 1
    quote = Machine(authority).quote()
    found = site.endorsements().intel(parse_quote(quote))
    with pytest.raises(EvidenceRefused, match="revoked"):
        verify_quote(quote, found, site.clock.now, root_der=authority.root_der)
    (stored,) = site.store.collaterals()
    assert "revoked" in stored.failure


@pytest.mark.parametrize("by", ["another root", "an older CRL", "of someone else"])
def test_what_proves_no_revocation_does_not_count(site, server, authority, by):
    kept = put(site, authority.collateral())
    newer = {
        "another root": lambda: crl(Authority().root, [authority.tcb_signer], since=NOW),
        "an older CRL": lambda: crl(authority.root, [authority.tcb_signer], since=NOW - 2 * DAY),
        "of someone else": lambda: crl(authority.root, [authority.processor_ca], since=NOW),
    }[by]()
    signer = issue("Someone", authority.root)
    server.publish_intel(authority.collateral(root_ca_crl=newer, signer=signer))
    site.clock.now += DAY
    assert refresh(site.cache, site.sources) == 1
    assert site.cache.get(ITEM) == kept


def test_a_new_chain_after_a_revocation_is_accepted(site, server, authority):
    put(site, authority.collateral())
    revoking = crl(authority.root, [authority.tcb_signer], since=NOW)
    server.publish_intel(authority.collateral(root_ca_crl=revoking))
    site.clock.now += DAY
    refresh(site.cache, site.sources)
    server.publish_intel(
        good := authority.collateral(
            root_ca_crl=revoking, signer=issue("Intel SGX TCB Signing", authority.root)
        )
    )
    assert refresh(site.cache, site.sources, even_if_not_due=True) == 0
    assert site.cache.get(ITEM) == good


def test_what_is_due(site, authority, machine, amd_authority):
    put(site, authority.collateral())
    (kept,) = site.store.collaterals()
    assert due(kept) == NOW + DAY
    assert due(dataclasses.replace(kept, failed=NOW + 7)) == NOW + 7 + RETRY_S
    assert due(dataclasses.replace(kept, expires=NOW + 7200)) == NOW + 3600
    assert due(dataclasses.replace(kept, expires=NOW + 1)) == NOW + RETRY_S
    assert due(dataclasses.replace(kept, expires=NOW + 2000 * DAY)) == NOW + 1970 * DAY


def test_what_is_not_due_is_left_alone(site, published, authority):
    put(site, authority.collateral())
    site.clock.now += DAY - 1
    assert refresh(site.cache, site.sources) == 0
    assert published.asked == []


def test_nothing_is_refreshed_offline(site, published, authority):
    put(site, authority.collateral())
    site.clock.now += DAY
    assert refresh(site.cache, OFFLINE, even_if_not_due=True) == 0
    assert site.store.collaterals()[0].failed is None


def test_what_a_newer_program_keeps_is_left_alone(site, published):
    site.store.put_collateral("intel/tdx/50806F000000/platform/early", b"?", source="?", expires=NOW)
    site.store.put_collateral("arm/cca", b"?", source="?", expires=NOW)
    site.clock.now += DAY
    assert refresh(site.cache, site.sources) == 0


def test_a_thread_refreshes_in_time_and_ends_with_the_broker(site, server, authority):
    put(site, authority.collateral())
    fetched = threading.Event()
    server.publish_intel(newer := dated(authority, 0))
    server.answers[TCB] = server.answers[TCB].but(started=fetched.set)
    site.clock.now += DAY
    with Refresher(site.cache, site.sources, look_every_s=0.02):
        assert fetched.wait(20)
        while site.cache.get(ITEM) != newer:
            threading.Event().wait(0.01)
    assert not [each for each in threading.enumerate() if each.name == "collateral"]


def test_a_thread_goes_on_after_any_failure(site, published, authority, caplog):
    class Broken:
        def __init__(self, site):
            self.site, self.looked, self.again = site, 0, threading.Event()

        def all(self):
            self.looked += 1
            if self.looked == 1:
                raise Tampered("a cell")
            if self.looked == 2:
                raise RuntimeError("a fault of ours")
            self.again.set()
            return []

    broken = Broken(site)
    with Refresher(broken, site.sources, look_every_s=0.02):
        assert broken.again.wait(20)
    assert caplog.text.count("collateral is not refreshed") == 2


def test_a_brokers_trust(site, published, authority, machine):
    with hardware_trust(site.store, site.sources, site.clock, site.roots) as trust:
        quote = Machine(authority).quote()
        collateral = trust.endorsements.intel(parse_quote(quote))
        verify_quote(quote, collateral, NOW, root_der=trust.intel_root)
        assert trust.amd_roots == machine.roots()


def test_two_brokers_on_one_store(site, published, authority):
    first, second = site.finder(), site.finder()
    first.find(ITEM)
    published.asked.clear()
    assert isinstance(second.find(ITEM), Collateral)
    assert published.asked == []
