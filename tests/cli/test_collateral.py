"""`confide collateral fetch`, `import` and `show`, with makers of hardware made here in Intel's and AMD's place."""

from __future__ import annotations

import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.report import Product, SigningKey
from confide.broker.collateral import item
from confide.broker.home import Home
from confide.keys.passphrase_file import Argon2Cost

from ..integration.collateral.publisher import Answer, Publisher, WebAuthority
from ..unit.attestation.amd import synthetic as amd
from ..unit.attestation.intel import synthetic as intel
from ..unit.attestation.intel.test_sigstruct import made
from .conftest import PASSPHRASE

DAY, NOW = intel.DAY, int(time.time())
FMSPC = "50806F000000"
TDX = f"intel/tdx/{FMSPC}/platform"
TCB = f"/tdx/certification/v4/tcb?fmspc={FMSPC}"
GENOA_CHAIN, GENOA_CRL = "/vcek/v1/Genoa/cert_chain", "/vcek/v1/Genoa/crl"


def published(authority, tee="TDX", *, day=0, **members):
    """Collateral that was published on a day from today, and is valid for thirty."""
    since, until = NOW + day * DAY - 60, NOW + (day + 30) * DAY
    dates = {"issueDate": intel.iso(since), "nextUpdate": intel.iso(until)}
    made = {
        "tcb_info": authority.tcb_info(tee, **dates),
        "qe_identity": authority.qe_identity(tee, **dates),
        "root_ca_crl": intel.crl(authority.root, since=since, until=until),
        "pck_crl": intel.crl(authority.platform_ca, since=since, until=until),
    }
    return authority.collateral(tee, **made | members)


class Vendors:
    """Intel and AMD, a PCCS and a KDS, and what they publish today."""

    def __init__(self, folder, monkeypatch, server, mirror) -> None:
        self.folder, self.server, self.mirror = folder, server, mirror
        self.intel, self.amd = intel.Authority(), amd.Authority()
        self.machine = intel.Machine(self.intel)
        self.chip = amd.Machine(self.amd, Product.GENOA)
        self.crl = self.amd.crl(Product.GENOA, last=NOW - DAY)
        self.collateral = published(self.intel)
        monkeypatch.setattr(item, "SGX_ROOT", self.intel.root_der)
        monkeypatch.setattr(item, "PINNED", self.chip.roots())
        server.publish_intel(self.collateral)
        mirror.publish_amd(self.chip, self.crl)
        mirror.publish_chip(self.chip)
        self.pccs = ["--pccs", server.url, "--pccs-ca", str(folder / "pccs-ca.pem")]
        self.kds = ["--kds", mirror.url]

    def put(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return name

    def quote(self) -> str:
        return self.put("quote.bin", self.machine.quote())

    def report(self) -> str:
        return self.put("report.bin", self.chip.report())

    def chip_options(self) -> list[str]:
        tcb = ".".join(map(str, self.chip.tcb.values()))
        return ["--product", "Genoa", "--chip", self.chip.hardware_id.hex(), "--tcb", tcb]


@pytest.fixture
def vendors(tmp_path, monkeypatch):
    authority = WebAuthority()
    (tmp_path / "pccs-ca.pem").write_bytes(authority.pem)
    with Publisher(authority.server_context(tmp_path)) as server, Publisher() as mirror:
        yield Vendors(tmp_path, monkeypatch, server, mirror)


def with_home(line):
    """Make a home whose passphrase is cheap to check."""
    Home.create(
        line.home, PASSPHRASE.encode(), Argon2Cost(memory_kib=19 * 1024, iterations=2, lanes=1)
    ).close()
    return line


@pytest.fixture
def home(confide):
    return with_home(confide)


def shown(line) -> list[dict]:
    return json.loads(line.ok("collateral", "show", "--json").out)


def names(line) -> list[str]:
    return [each["name"] for each in shown(line)]


def refused(line, code: int, *arguments: str, reason: str):
    said = line("collateral", *arguments)
    assert (said.code, reason in said.err) == (code, True), said.err
    return said.err


def test_nothing_yet(home):
    assert "no collateral yet" in home.ok("collateral", "show").err
    assert shown(home) == []


def test_what_a_quote_needs_is_fetched_and_shown(home, vendors):
    said = home.ok("collateral", "fetch", vendors.quote(), *vendors.pccs)
    assert f"collateral for TDX on Intel platforms {FMSPC} (platform CA): valid until" in said.err
    (kept,) = shown(home)
    assert (kept["name"], kept["source"]) == (TDX, vendors.server.url)
    assert (kept["expires"], kept["expired"]) == (vendors.collateral.expires, False)
    assert kept["failed"] is kept["failure"] is None
    text = home.ok("collateral", "show").out
    assert FMSPC in text
    assert "EXPIRED" not in text


def test_what_a_report_needs_is_fetched_and_shown(home, vendors):
    home.ok("collateral", "fetch", vendors.report(), *vendors.kds)
    assert names(home)[0] == "amd/Genoa/vcek"
    assert names(home)[1].startswith(f"amd/Genoa/vcek/{vendors.chip.hardware_id.hex()}/")


def test_a_file_for_elsewhere_needs_no_home(confide, vendors):
    """Fetched on a machine that is online, used by `confide verify`, imported where nothing is fetched."""
    said = confide.ok(
        *("collateral", "fetch", "--tee", "tdx", "--fmspc", FMSPC.lower(), *vendors.pccs),
        *("--output", "tdx.json"),
    )
    assert "`confide collateral import tdx.json`" in said.err
    root = vendors.put("root.der", vendors.intel.root_der)
    quote = vendors.quote()
    confide.ok("verify", quote, "--collateral", "tdx.json", "--dangerously-trust-root", root)
    with_home(confide)
    vendors.server.asked.clear()
    confide.ok("collateral", "import", "tdx.json")
    assert [(each["name"], each["source"]) for each in shown(confide)] == [(TDX, "tdx.json")]
    assert vendors.server.asked == []


def test_a_file_for_elsewhere_of_amd(confide, vendors):
    confide.ok("collateral", "fetch", *vendors.chip_options(), *vendors.kds, "--output", "genoa.pem")
    with_home(confide)
    said = confide.ok("collateral", "import", "genoa.pem", "--json")
    assert [each["name"] for each in json.loads(said.out)] == names(confide)
    assert len(names(confide)) == 2


def test_files_as_makers_services_send_them(home, vendors):
    vendors.put("vcek.der", vendors.chip.endorsement().public_bytes(Encoding.DER))
    vendors.put("cert_chain", vendors.mirror.answers[GENOA_CHAIN].body)
    vendors.put("crl", vendors.mirror.answers[GENOA_CRL].body)
    home.ok("collateral", "import", "vcek.der", "cert_chain", "crl")
    files = {
        "tcb.json": vendors.server.answers[TCB].body,
        "qe.json": vendors.server.answers["/tdx/certification/v4/qe/identity"].body,
        "pck.crl": vendors.collateral.pck_crl,
        "root.crl": vendors.collateral.root_ca_crl,
        "chains.pem": "".join(
            (vendors.collateral.tcb_info_issuer_chain, vendors.collateral.pck_crl_issuer_chain)
        ).encode(),
    }
    home.ok("collateral", "import", *(vendors.put(name, data) for name, data in files.items()))
    assert len(names(home)) == 3
    assert names(home)[-1] == TDX


def test_everything_anew(home, vendors):
    home.ok("collateral", "import", vendors.put("tdx.json", vendors.collateral.to_json()))
    vendors.server.publish_intel(newer := published(vendors.intel, day=1 / 24 / 60))
    home.ok("collateral", "fetch", *vendors.pccs)
    (kept,) = shown(home)
    assert (kept["expires"], kept["source"]) == (newer.expires, vendors.server.url)


def test_what_could_not_be_fetched_anew_stays(home, vendors):
    home.ok("collateral", "fetch", vendors.quote(), *vendors.pccs)
    vendors.server.answers[TCB] = Answer(b"slow down", 429)
    said = refused(home, 76, "fetch", *vendors.pccs, reason="1 of 1 could not be fetched anew")
    assert "`confide collateral show` says why" in said
    (kept,) = shown(home)
    assert (kept["expires"], kept["expired"]) == (vendors.collateral.expires, False)
    assert "status 429" in kept["failure"]
    assert "status 429" in " ".join(home.ok("collateral", "show").out.split())


def test_what_has_expired_is_shown_and_fetched_anew(home, vendors, monkeypatch):
    home.ok("collateral", "fetch", vendors.quote(), *vendors.pccs)
    later = NOW + 31 * DAY
    monkeypatch.setattr("confide.broker.store.unix_now", lambda: later)
    assert "EXPIRED" in home.ok("collateral", "show").out
    assert shown(home)[0]["expired"] is True
    assert home("collateral", "fetch", *vendors.pccs).code == 76
    refused(home, 76, "fetch", vendors.quote(), *vendors.pccs, reason="expired at")
    vendors.server.publish_intel(published(vendors.intel, day=31))
    home.ok("collateral", "fetch", *vendors.pccs)
    assert shown(home)[0]["expired"] is False


def test_nothing_to_fetch_anew(home, vendors):
    refused(home, 64, "fetch", *vendors.pccs, reason="there is no collateral yet to fetch anew")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--tee", "tdx"], 64, "--tee and --fmspc go together"),
        (["--fmspc", FMSPC], 64, "--tee and --fmspc go together"),
        (["--tee", "snp", "--fmspc", FMSPC], 67, "no TEE (sgx, tdx), FMSPC (12 hex digits)"),
        (["--tee", "tdx", "--fmspc", "50806F"], 67, "12 hex digits"),
        (["--tee", "tdx", "--fmspc", FMSPC, "--ca", "root"], 67, "platform, processor"),
        (["--product", "Rome"], 67, "Milan, Genoa, Turin"),
        (["--product", "Genoa", "--kind", "ark"], 67, "vcek, vlek"),
        (["--product", "Genoa", "--chip", "ab"], 64, "--chip, --tcb and --product go together"),
        (["--chip", "ab" * 64, "--tcb", "1.2.3.4"], 64, "--chip, --tcb and --product go together"),
        (["--product", "Genoa", "--chip", "ab" * 64, "--tcb", "1.2.3"], 67, "bootloader.tee.snp.microcode"),
        (["--product", "Genoa", "--chip", "ab" * 64, "--tcb", "1.2.3.400"], 67, "not the TCB components"),
        (["--product", "Turin", "--chip", "ab" * 64, "--tcb", "1.2.3.4.5"], 67, "not the chip id of a Turin"),
        (["--output", "x"], 64, "what to fetch?"),
        (["--pccs", "pccs.example"], 64, "not the URL of a server"),
        (["--pccs", "http://pccs.example"], 64, "plain http goes to this machine alone"),
        (["--kds", "https://user:secret@kds.example"], 64, "not the URL of a server"),
        (["--pccs-ca", "pccs-ca.pem"], 64, "--pccs-ca without --pccs"),
        (["--pccs", "https://pccs.example", "--pccs-ca", "none"], 64, "cannot read none"),
        (["--pccs", "https://pccs.example", "--pccs-ca", "quote.bin"], 64, "not a certificate in PEM form"),
        (["sigstruct"], 64, "a SIGSTRUCT is verified by itself"),
        (["noise"], 67, "no evidence"),
        (["absent"], 64, "cannot read absent"),
    ],
)
def test_what_cannot_be_fetched(confide, vendors, arguments, code, reason):
    vendors.quote()
    vendors.put("noise", b"\0\1\2")
    if arguments == ["sigstruct"]:
        vendors.put("sigstruct", made(rsa.generate_private_key(3, 3072)))
    refused(confide, code, "fetch", *arguments, reason=reason)
    assert vendors.server.asked == vendors.mirror.asked == []


def test_secrets_in_urls_are_not_repeated_by_a_server_that_fails(home, vendors):
    vendors.server.answers.clear()
    said = refused(home, 76, "fetch", vendors.quote(), *vendors.pccs, reason="status 404")
    assert f"`confide collateral fetch --tee tdx --fmspc {FMSPC} --ca platform`" in said
    assert names(home) == []


def test_a_server_of_another_authority(home, vendors):
    vendors.put("pccs-ca.pem", WebAuthority().pem)
    refused(home, 76, "fetch", vendors.quote(), *vendors.pccs, reason="its certificate is not accepted")
    assert vendors.server.asked == []


def test_a_platform_that_intel_does_not_vouch_for(home, vendors):
    forged = vendors.put("forged.bin", intel.Machine(intel.Authority()).quote())
    refused(home, 98, "fetch", forged, *vendors.pccs, reason="not one that the pinned root vouches for")
    assert vendors.server.asked == []


BAD = {
    "another maker's": lambda vendors: published(intel.Authority()).to_json(),
    "expired": lambda vendors: published(vendors.intel, day=-40).to_json(),
    "of the future": lambda vendors: published(vendors.intel, day=2).to_json(),
    "changed": lambda vendors: vendors.collateral.to_json().replace(b"UpToDate", b"OutOfDat"),
    "with a revoked signer": lambda vendors: published(
        vendors.intel, root_ca_crl=intel.crl(vendors.intel.root, [vendors.intel.tcb_signer], since=NOW - DAY)
    ).to_json(),
    "of AMD's, another maker's": lambda vendors: amd.pem(
        amd.Machine(amd.Authority(), Product.GENOA).endorsement()
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_imported(home, vendors, bad):
    refused(home, 76, "import", vendors.put("file", BAD[bad](vendors)), reason="from file: ")
    assert names(home) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("quote", "neither a certificate nor a CRL"),
        ("noise", "neither collateral in JSON nor certificates or CRLs"),
        ("empty", "neither a certificate nor a CRL"),
        ("json", "JSON that is no collateral"),
        ("crl", "a CRL of AMD's alone does not say over which keys it is"),
        ("vlek", "the certificate of a VLEK is not kept"),
        ("chain", "give the CRL of that root with them"),
        ("tcb", "Intel's collateral in parts, of which are missing: the QE identity"),
        ("huge", "more than 1048576 bytes"),
    ],
)
def test_files_that_are_no_collateral(home, vendors, name, reason):
    vlek = amd.Machine(vendors.amd, Product.GENOA, SigningKey.VLEK)
    content = {
        "quote": vendors.machine.quote(),
        "noise": b"hello, world",
        "empty": b"",
        "json": b'{"a": 1}',
        "crl": vendors.mirror.answers[GENOA_CRL].body,
        "vlek": amd.pem(vlek.endorsement()),
        "chain": vendors.mirror.answers[GENOA_CHAIN].body,
        "tcb": vendors.server.answers[TCB].body,
        "huge": b"{" * 1_100_000,
    }[name]
    said = refused(home, 67, "import", vendors.put(name, content), reason=reason)
    assert "hint: `confide collateral fetch` writes such a file" in said
    assert names(home) == []


def test_an_older_one_is_not_imported_over_a_newer(home, vendors):
    home.ok("collateral", "import", vendors.put("new.json", vendors.collateral.to_json()))
    old = vendors.put("old.json", published(vendors.intel, day=-3).to_json())
    refused(home, 76, "import", old, reason="older than what is kept")
    assert shown(home)[0]["source"] == "new.json"


def test_all_of_a_bad_import_is_refused_and_nothing_of_a_good_one_lost(home, vendors):
    home.ok("collateral", "import", vendors.put("tdx.json", vendors.collateral.to_json()))
    before = shown(home)
    bad = vendors.put("bad.json", published(intel.Authority(), "SGX").to_json())
    refused(home, 76, "import", bad, reason="step 1")
    assert shown(home) == before


def test_without_a_home(confide, vendors):
    refused(confide, 64, "show", reason="`confide init OWNER` makes one")
    refused(
        confide, 64, "import", vendors.put("f", vendors.collateral.to_json()), reason="confide init OWNER"
    )


def test_an_output_that_cannot_be_written(confide, vendors):
    said = confide(
        *("collateral", "fetch", vendors.quote(), *vendors.pccs, "--output", "nowhere/at/all.json"),
    )
    assert said.code in (64, 73)
    assert "Traceback" not in said.err


def test_one_file_has_one_platform(confide, vendors):
    refused(
        confide,
        64,
        *("fetch", vendors.quote(), "--product", "Genoa", *vendors.pccs, *vendors.kds, "--output", "both"),
        reason="a file has collateral of one platform",
    )
    assert not (vendors.folder / "both").exists()
