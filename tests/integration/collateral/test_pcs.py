"""Collateral of SGX and TDX over HTTPS, from a server that speaks PCS version 4 and misbehaves in every way."""

from __future__ import annotations

import json
import threading

import pytest

from confide.attestation.claims import Tee
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import parse_quote
from confide.broker.collateral.intel_platform import IntelPlatform
from confide.broker.collateral.pcs import PCS, ROOT_CRL, Pcs
from confide.broker.collateral.web import tls_context
from confide.errors import CollateralUnavailable, EvidenceRefused, Misuse

from ...unit.attestation.intel.synthetic import DAY, NOW, Authority, Machine, crl, iso, issue, pem
from .publisher import Answer, Publisher, WebAuthority

FMSPC = "50806F000000"
ITEM = IntelPlatform(Tee.TDX, FMSPC, "platform")
TCB = f"/tdx/certification/v4/tcb?fmspc={FMSPC}"
QE = "/tdx/certification/v4/qe/identity"
PCK_CRL = "/sgx/certification/v4/pckcrl?ca=platform&encoding=der"
ROOT = "/sgx/certification/v4/rootcacrl"


@pytest.fixture
def quote(authority):
    return parse_quote(Machine(authority).quote())


@pytest.fixture(scope="session")
def collateral(authority):
    return authority.collateral()


@pytest.fixture
def published(server, collateral):
    server.publish_intel(collateral)
    return server


def refused(site, quote, reason):
    with pytest.raises(CollateralUnavailable, match=reason) as caught:
        site.endorsements().intel(quote)
    assert site.store.collaterals() == []
    assert f"confide collateral fetch --tee tdx --fmspc {FMSPC} --ca platform" in str(caught.value)


def test_collateral_is_fetched_verified_and_kept(site, published, quote, collateral):
    assert site.endorsements().intel(quote) == collateral
    assert sorted(published.asked) == sorted([TCB, QE, PCK_CRL, ROOT])
    (kept,) = site.store.collaterals()
    assert (kept.name, kept.source) == (ITEM.name, published.url)
    assert (kept.obtained, kept.expires) == (NOW, collateral.expires)
    assert Collateral.from_json(kept.document) == collateral


def test_what_is_kept_is_not_asked_for_again(site, published, quote, collateral):
    site.endorsements().intel(quote)
    published.asked.clear()
    assert site.endorsements().intel(quote) == collateral
    assert published.asked == []


def test_sgx_and_the_processor_ca(site, server, authority):
    collateral = authority.collateral("SGX", ca=authority.processor_ca)
    server.publish_intel(collateral, tee="sgx")
    quote = parse_quote(Machine(authority, ca=authority.processor_ca).quote(3, 1))
    assert site.endorsements().intel(quote) == collateral
    assert (collateral.tee, collateral.ca) == (Tee.SGX, "processor")


def test_real_collateral_comes_through_byte_for_byte(server, tls, real):
    server.publish_intel(real, tee=real.tee.value)
    assert Pcs.at(server.url, tls).collateral(real.tee, real.fmspc, real.ca) == real


def test_intels_own_service_has_the_root_crl_elsewhere(server, tls, collateral):
    server.publish_intel(collateral, pccs=False)
    pcs = Pcs(server.url, f"{server.url}/IntelSGXRootCA.der", tls)
    assert pcs.collateral(Tee.TDX, FMSPC, "platform") == collateral
    assert Pcs.at(PCS, tls).root_crl == ROOT_CRL
    assert Pcs.at(f"{PCS}/sgx/certification/v4/", tls).root_crl == ROOT_CRL


@pytest.mark.parametrize(
    "path", ["", "/", "/sgx/certification/v4", "/sgx/certification/v4/", "/tdx/certification/v4/"]
)
def test_urls_as_in_other_tools_settings(published, tls, collateral, path):
    assert Pcs.at(published.url + path, tls).collateral(Tee.TDX, FMSPC, "platform") == collateral


@pytest.mark.parametrize(
    "url", ["ftp://a", "pccs.example", "http://pccs.example", "https://a?b", "https://u:p@a", "https://", ""]
)
def test_what_is_no_url_of_a_server(tls, url):
    with pytest.raises(Misuse):
        Pcs.at(url, tls)


def test_an_older_caches_spelling(site, published, quote, collateral):
    published.answers[PCK_CRL] = published.answers[PCK_CRL].but(
        body=collateral.pck_crl.hex().upper().encode() + b"\n"
    )
    published.answers[ROOT] = Answer(collateral.root_ca_crl)
    tcb = published.answers[TCB]
    chain = tcb.headers["TCB-Info-Issuer-Chain"]
    published.answers[TCB] = tcb.but(headers={"SGX-TCB-Info-Issuer-Chain": chain})
    assert site.endorsements().intel(quote) == collateral


def test_what_counts_is_the_signature_and_not_the_label(site, published, quote, collateral):
    for path, answer in published.answers.items():
        published.answers[path] = answer.but(headers=answer.headers | {"Content-Type": "text/html"})
    assert site.endorsements().intel(quote) == collateral


@pytest.mark.parametrize("path", [TCB, QE, PCK_CRL, ROOT])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"gone", 404), "status 404"),
        (Answer(b"slow down", 429), "status 429"),
        (Answer(b"slow down", 429, {"Retry-After": "3600"}), "status 429, and to come back in 3600 s"),
        (Answer(b"slow down", 429, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}), "status 429"),
        (Answer(b"slow down", 429, {"Retry-After": "9" * 400}), "status 429"),
        (Answer(b"oops", 500, {"Retry-After": "0"}), "status 500"),
        (Answer(b"", 204), "status 204"),
        (Answer(b"", 200), "not"),
        (Answer(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}), "not"),
        (Answer(b"", 302, {"Location": "https://elsewhere.example/"}), "redirects"),
        (Answer(b" " * 600_000), "more than"),
        (Answer(b"", length=600_000), "without sending complete|closed"),
        (Answer(headers={"X": "x" * 200_000}), "."),
        (Answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "compressed"),
        (Answer(b'{"tcbInfo":', headers={"TCB-Info-Issuer-Chain": "x"}), "not"),
        (Answer(b"0" * 20), "."),
    ],
)
def test_no_good_answer(site, published, quote, path, answer, reason):
    published.answers[path] = answer
    refused(site, quote, reason)


@pytest.mark.parametrize(
    ("path", "header"),
    [
        (TCB, "TCB-Info-Issuer-Chain"),
        (QE, "SGX-Enclave-Identity-Issuer-Chain"),
        (PCK_CRL, "SGX-PCK-CRL-Issuer-Chain"),
    ],
)
@pytest.mark.parametrize("value", [None, "", "%ZZ", "-----BEGIN CERTIFICATE-----", "other"])
def test_no_good_chain(site, published, quote, path, header, value):
    answer = published.answers[path].without(header)
    if value == "other":  # of another authority in Intel's name
        value = pem(Authority().tcb_signer.certificate).replace("\n", "%0A").replace("+", "%2B")
    if value is not None:
        answer = answer.but(headers=answer.headers | {header: value})
    published.answers[path] = answer
    refused(site, quote, "comes without the header" if value is None else ".")


def test_chains_of_each_other(site, published, quote):
    crl_chain = published.answers[PCK_CRL].headers["SGX-PCK-CRL-Issuer-Chain"]
    tcb = published.answers[TCB]
    published.answers[TCB] = tcb.but(headers={"TCB-Info-Issuer-Chain": crl_chain})
    refused(site, quote, "step 4")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: json.dumps(json.loads(body)).encode(),
        lambda body: json.dumps(json.loads(body), separators=(",", ":"), sort_keys=True).encode(),
        lambda body: body.replace(b'"tcbInfo":{', b'"tcbInfo": {"id":"TDX",'),
    ],
    ids=["spaces", "sorted", "member added"],
)
def test_reserialized_json(site, server, authority, quote, change):
    made = authority.tcb_info("TDX").replace(" ", "")
    server.publish_intel(authority.collateral(tcb_info=made))
    server.answers[TCB] = server.answers[TCB].but(body=change(server.answers[TCB].body))
    refused(site, quote, "TCB info: is not signed by Intel|tcb_info")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'{"tcbInfo"', b'{"tcbInfo":{},"tcbInfo"', 1),
        lambda body: body[:-1] + b',"tcbInfo":{}}',
        lambda body: body[:-1] + b',"signature":"00"}',
        lambda body: body[:-1] + b',"more":1}',
        lambda body: body + b"{}",
        lambda body: body[:-1],
        lambda body: body.replace(b'"signature":"', b'"signature":"zz'),
        lambda body: body.replace(b'"signature":"', b'"signature":["') + b"]",
    ],
    ids=["twice before", "twice behind", "two signatures", "more", "more behind", "cut", "no hex", "no text"],
)
def test_json_of_another_form(site, published, quote, change):
    published.answers[TCB] = published.answers[TCB].but(body=change(published.answers[TCB].body))
    refused(site, quote, "tcbInfo")


def test_one_that_drips_without_end(site, published, quote, tls):
    published.answers[QE] = published.answers[QE].but(drip=True)
    slow = Pcs.at(published.url, tls, timeout_s=0.5)
    with pytest.raises(CollateralUnavailable, match=r"no complete answer within 0\.5 s"):
        slow.collateral(Tee.TDX, FMSPC, "platform")
    assert site.store.collaterals() == []


def test_one_that_says_nothing(published, tls):
    ended = threading.Event()
    published.answers[QE] = published.answers[QE].but(started=lambda: ended.wait(20))
    slow = Pcs.at(published.url, tls, timeout_s=0.5)
    with pytest.raises(CollateralUnavailable, match=r"no complete answer within 0\.5 s"):
        slow.collateral(Tee.TDX, FMSPC, "platform")
    ended.set()


@pytest.mark.parametrize("path", [TCB, QE, PCK_CRL, ROOT])
@pytest.mark.parametrize("kept", [0, 1, -1])
def test_a_body_that_ends_early(site, published, quote, path, kept):
    """What says its whole length, and what is cut on its way."""
    body = published.answers[path].body
    published.answers[path] = published.answers[path].but(body=body[:kept], length=len(body))
    refused(site, quote, "without sending complete|closed")
    published.answers[path] = published.answers[path].but(body=body[:kept], length=None)
    site.monotonic.now += 1000
    refused(site, quote, ".")


@pytest.mark.parametrize("status", [429, 503])
def test_one_that_is_asked_too_often_is_asked_again_when_it_says(site, published, quote, collateral, status):
    later = published.answers[QE]
    published.answers[QE] = Answer(b"slow down", status, {"Retry-After": "0"}, then=later)
    assert site.endorsements().intel(quote) == collateral
    assert published.asked.count(QE) == 2
    assert len(published.asked) == 5


def test_one_that_is_always_asked_too_often(site, published, quote):
    published.answers[QE] = Answer(b"slow down", 429, {"Retry-After": "0"})
    refused(site, quote, "status 429, and to come back in 0 s")
    assert published.asked.count(QE) == 2


def test_a_swapped_platform(site, server, authority, quote):
    other = authority.collateral(tcb_info=authority.tcb_info("TDX", fmspc="00806f050000"))
    server.publish_intel(other, fmspc=FMSPC)
    refused(site, quote, "this is collateral for TDX on Intel platforms 00806F050000")


def test_a_swapped_tee(site, server, authority, quote):
    server.publish_intel(authority.collateral("SGX"), tee="tdx")
    refused(site, quote, "this is collateral for SGX")


def test_a_swapped_authority(site, server, authority, quote):
    server.publish_intel(authority.collateral(ca=authority.processor_ca))
    server.answers[PCK_CRL] = server.answers[PCK_CRL.replace("platform", "processor")]
    refused(site, quote, "processor CA")


def test_another_maker(site, server, quote):
    server.publish_intel(Authority().collateral())
    refused(site, quote, "step 1")


def test_a_signer_that_is_a_platform(site, server, authority, quote):
    machine = Machine(authority)
    server.publish_intel(authority.collateral(signer=machine.pck))
    refused(site, quote, "step 4")


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_stale_documents(site, server, authority, quote, name):
    document = getattr(authority, name)("TDX", nextUpdate=iso(NOW))
    server.publish_intel(authority.collateral(**{name: document}))
    refused(site, quote, "expired at 2027-01-15T08:00:00Z")


@pytest.mark.parametrize("name", ["root_ca_crl", "pck_crl"])
def test_stale_crls(site, server, authority, quote, name):
    issuer = authority.root if name == "root_ca_crl" else authority.platform_ca
    server.publish_intel(authority.collateral(**{name: crl(issuer, until=NOW - 1)}))
    refused(site, quote, "CRL of the collateral expired")


def test_documents_of_the_future(site, server, authority, quote):
    server.publish_intel(authority.collateral(tcb_info=authority.tcb_info("TDX", issueDate=iso(NOW + 60))))
    refused(site, quote, "later than now; is the clock right")


def test_a_revoked_signer(site, server, authority, quote):
    server.publish_intel(authority.collateral(root_ca_crl=crl(authority.root, [authority.tcb_signer])))
    refused(site, quote, "revoked")


def test_a_platform_that_is_made_up_costs_no_download(site, published):
    forged = parse_quote(Machine(Authority()).quote())
    with pytest.raises(EvidenceRefused, match="not one that the pinned root vouches for"):
        site.endorsements().intel(forged)
    assert published.asked == []


def test_a_server_with_a_certificate_of_another_ca(published, quote, site):
    with pytest.raises(CollateralUnavailable, match="its certificate is not accepted"):
        Pcs.at(published.url, tls_context(WebAuthority().pem)).collateral(Tee.TDX, FMSPC, "platform")
    with pytest.raises(CollateralUnavailable, match="its certificate is not accepted"):
        Pcs.at(published.url, tls_context()).collateral(Tee.TDX, FMSPC, "platform")
    assert published.asked == []


def test_a_server_with_a_certificate_of_another_name(web_authority, tmp_path, tls):
    folder = tmp_path / "other"
    folder.mkdir()
    with (
        Publisher(web_authority.server_context(folder, "elsewhere.example")) as other,
        pytest.raises(CollateralUnavailable, match="its certificate is not accepted"),
    ):
        Pcs.at(other.url, tls).collateral(Tee.TDX, FMSPC, "platform")


def test_a_pccs_as_its_installer_leaves_it(tmp_path, collateral):
    """Its certificate is signed by itself and has a common name only: what is pinned is that certificate."""
    server, pem = WebAuthority.self_signed_context(tmp_path, "localhost")
    with Publisher(server) as pccs:
        pccs.publish_intel(collateral)
        found = Pcs.at(f"https://localhost:{pccs.port}", tls_context(pem))
        assert found.collateral(Tee.TDX, FMSPC, "platform") == collateral
        for url, ca in ((f"https://localhost:{pccs.port}", None), (pccs.url, pem)):
            with pytest.raises(CollateralUnavailable, match="its certificate is not accepted"):
                Pcs.at(url, tls_context(ca)).collateral(Tee.TDX, FMSPC, "platform")


def test_no_server_at_all(tls, server):
    gone = Publisher()
    gone.__enter__()
    gone.__exit__()
    with pytest.raises(CollateralUnavailable, match=gone.url):
        Pcs.at(gone.url, tls).collateral(Tee.TDX, FMSPC, "platform")


@pytest.mark.parametrize("ca", [b"", b"no PEM", b"\xff"])
def test_what_is_no_authority(ca):
    with pytest.raises(Misuse):
        tls_context(ca)


@pytest.fixture(params=["sgx-v3-config-swhardening", "tdx-v4-uptodate"])
def real(request):
    from ...unit.attestation.intel.conftest import real_quote

    return real_quote(request.param).collateral


def test_a_certificate_that_expires_is_told_before_it_counts(site, server, authority, quote):
    signer = issue("Intel SGX TCB Signing", authority.root, until=NOW - 1)
    server.publish_intel(authority.collateral(signer=signer))
    refused(site, quote, "certificate of Intel SGX TCB Signing of the collateral expired")


def test_valid_to_the_last_second(site, published, quote, collateral):
    site.clock.now = NOW + 30 * DAY - 1
    assert site.endorsements().intel(quote) == collateral
