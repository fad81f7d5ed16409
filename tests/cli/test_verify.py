"""`confide verify` and `confide policy from-evidence`: real evidence against what is known of it; what is refused."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.evidence import RuntimeData, StatedImage
from confide.attestation.ratls.forms import Form
from confide.attestation.ratls.make import make_certificate
from confide.attestation.report_data import report_data
from confide.broker.policy import parse_policy
from confide.broker.policy_skeleton import OPEN

from ..unit.attestation.amd import synthetic as amd
from ..unit.attestation.intel import synthetic as intel
from ..unit.attestation.intel import test_event_log as event_log

QUOTES = Path(__file__).parents[3] / "shared" / "data" / "quotes"
NOW = 1_800_000_000
AZURE_AT = "2026-01-01T00:00:00Z"
IN_WINDOW = {
    "sgx-v3-config-swhardening": "1751624924",
    "sgx-v3-debug": "1688270388",
    "tdx-v4-uptodate": "1751624191",
    "tdx-v5-no-tcb-level": "1772707803",
}


def real(name: str) -> str:
    """Return the path of real evidence, which is not distributed with the project, or skip."""
    path = QUOTES / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not distributed with the project")
    return str(path)


def expected() -> dict:
    return json.loads(Path(real("expected.json")).read_bytes())


def intel_args(stem: str, collateral: str | None = None) -> list[str]:
    given = real(f"{collateral or stem}.collateral.json")
    return [real(f"{stem}.quote.bin"), "--collateral", given, "--at", IN_WINDOW[stem]]


def said(confide, *arguments: str, code: int, error: str | None = None) -> dict:
    """Return the JSON that `confide verify` prints, with this exit code and error."""
    answer = confide("verify", *arguments, "--json")
    document = json.loads(answer.out)
    assert (answer.code, document["exit_code"], document["error"]) == (code, code, error), document["message"]
    assert document["verified"] is (code == 0)
    return document


def fields_of(document: dict, group: str = "workload") -> dict:
    (found,) = [each for each in document["groups"] if each["name"] == group]
    return {field["name"]: field["value"] for field in found["fields"]}


RTMRS = {f"rtmr{index}": bytes([0x61 + index]) * 48 for index in range(3)}


class World:
    """Intel and AMD made here, as files; nothing in it is real, so their roots are named as dangerous."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.intel, self.amd = intel.Authority(), amd.Authority()
        self.quoting = intel.Machine(self.intel)
        self.chip = amd.Machine(self.amd, amd.Product.MILAN)
        self.put("intel-root.der", self.intel.root_der)
        self.put("amd-root.pem", amd.pem(self.chip.root))
        self.put("tdx.json", self.intel.collateral("TDX").to_json())
        self.put("sgx.json", self.intel.collateral("SGX").to_json())
        self.put("amd.pem", amd.pem(self.chip.endorsement()) + amd.pem(self.chip.intermediate))
        self.put("crl.der", self.amd.crl(self.chip.product).public_bytes(Encoding.DER))

    def put(self, name: str, data: bytes | str | dict) -> str:
        if isinstance(data, dict):
            data = json.dumps(data)
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def intel_args(self, tee: str = "tdx") -> list[str]:
        root = self.path("intel-root.der")
        return ["--collateral", self.path(f"{tee}.json"), "--dangerously-trust-root", root, "--at", str(NOW)]

    def amd_args(self) -> list[str]:
        root = self.path("amd-root.pem")
        given = ["--certificates", self.path("amd.pem"), "--certificates", self.path("crl.der")]
        return [*given, "--dangerously-trust-root", root, "--at", str(NOW)]

    def tdx(self, **body) -> str:
        return self.put("tdx.quote", self.quoting.quote(body=RTMRS | body))

    def sgx(self, **body) -> str:
        return self.put("sgx.quote", self.quoting.quote(3, 1, body={"mrsigner": b"S" * 32} | body))

    def snp(self, **fields) -> str:
        self.chip.fields |= {"host_data": bytes(32), "policy": 0x30000, "vmpl": 0} | fields
        return self.put("snp.report", self.chip.report())


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


# -- Event logs


def test_an_event_log_is_replayed_and_shown(confide, world):
    log = world.put("ccel", event_log.LOG + b"\xff" * 1000)
    rtmrs = {f"rtmr{number}": value for number, value in enumerate(event_log.RTMRS)}
    quote = world.tdx(**rtmrs)
    document = said(confide, quote, *world.intel_args(), "--event-log", log, code=0)
    assert len(fields_of(document, "event_log")) == 4
    answer = confide("verify", quote, *world.intel_args(), "--event-log", log)
    assert "rtmr3 event 1" in answer.out
    assert "EV_EVENT_TAG: app" in answer.out
    quote = world.tdx(**rtmrs | {"rtmr1": bytes(48)})
    document = said(confide, quote, *world.intel_args(), "--event-log", log, code=98, error="EvidenceRefused")
    assert document["message"].endswith("step 2: replayed, it does not give rtmr1 of the quote")
    assert document["platform"] is None


def test_an_event_log_that_belongs_to_nothing(confide, world):
    log = world.put("ccel", event_log.LOG)
    answer = confide("verify", world.sgx(), *world.intel_args("sgx"), "--event-log", log)
    assert (answer.code, "has no RTMRs" in answer.out) == (98, True)
    for arguments in ([world.snp(), *world.amd_args()], [world.tdx(), *world.intel_args()]):
        given = log if arguments[0].endswith("report") else world.path("absent")
        answer = confide("verify", *arguments, "--event-log", given)
        assert answer.code == 64
    with_one = {"quote": base64.b64encode(Path(world.tdx()).read_bytes()).decode(), "cc_eventlog": "zzzz"}
    both = world.put("both.json", with_one)
    assert confide("verify", both, *world.intel_args(), "--event-log", log).code == 64


# -- Real evidence, against what is known of it


@pytest.mark.parametrize("stem", ["sgx-v3-config-swhardening", "sgx-v3-debug"])
def test_fields_of_real_sgx_quotes(confide, stem):
    document = json.loads(confide("verify", *intel_args(stem), "--json").out)
    known, fields = expected()["intel"][stem], fields_of(document)
    for name in ("mrenclave", "mrsigner", "attributes", "report_data"):
        assert fields[name] == known["fields"][name]
    assert (fields["isv_prod_id"], fields["isv_svn"]) == (0, 0)
    assert document["debug"] is known["fields"]["debug"]
    platform = fields_of(document, "platform")
    assert (platform["fmspc"], platform["ca"]) == (known["fmspc"], known["ca"])


@pytest.mark.parametrize("stem", ["tdx-v4-uptodate", "tdx-v5-no-tcb-level"])
def test_fields_of_real_tdx_quotes(confide, stem):
    document = json.loads(confide("verify", *intel_args(stem), "--json").out)
    known, fields = expected()["intel"][stem]["fields"], fields_of(document)
    for name in ("tee_tcb_svn", "mrseam", "xfam", "mrtd", "mrconfigid", "report_data"):
        assert fields[name] == known[name]
    assert [fields[f"rtmr{index}"] for index in range(4)] == known["rtmr"]
    assert fields["td_attributes"] == known["tdattributes"]


def test_an_up_to_date_td_verifies(confide):
    document = said(confide, *intel_args("tdx-v4-uptodate"), code=0)
    assert document["tcb"]["status"] == "UpToDate"
    assert document["tcb"]["verified"] is True
    assert document["input"]["padding"] == 70
    assert document["tee"] == "tdx"
    assert {step["state"] for each in document["verifications"][:2] for step in each["steps"]} == {"passed"}
    assert [link["trusted"] for link in document["certificates"] if link["role"] == "root"] == [True]


def test_a_status_is_accepted_by_name_only(confide):
    arguments = intel_args("sgx-v3-config-swhardening")
    document = said(confide, *arguments, code=97, error="PlatformRefused")
    known = expected()["intel"]["sgx-v3-config-swhardening"]["inside"]
    assert document["tcb"]["status"] == known["status"]
    assert document["tcb"]["advisories"] == known["advisory_ids"]
    assert "--accept-status ConfigurationAndSWHardeningNeeded" in document["hint"]
    said(confide, *arguments, "--accept-status", known["status"], code=0)
    other = said(
        confide, *arguments, "--accept-status", "SWHardeningNeeded", code=97, error="PlatformRefused"
    )
    assert other["platform"]["registers"]["mrenclave"] == fields_of(other)["mrenclave"]


def test_a_debug_enclave_is_explained_and_refused(confide):
    arguments = intel_args("sgx-v3-debug")
    document = said(confide, *arguments, code=98, error="EvidenceRefused")
    assert document["debug"] is True
    assert document["tcb"]["verified"] is False
    assert document["tcb"]["status"] == "SWHardeningNeeded"
    assert "sgx.debug = false" in document["hint"]
    statuses = ["--accept-status", "SWHardeningNeeded"]
    said(confide, *arguments, *statuses, code=98, error="EvidenceRefused")
    out = confide("verify", *arguments).out
    assert "DEBUG set" in out
    assert "NOT VERIFIED" in out


def test_a_platform_below_every_level_is_explained_and_refused(confide):
    document = said(confide, *intel_args("tdx-v5-no-tcb-level"), code=98, error="EvidenceRefused")
    assert "older than every TCB level" in document["message"]
    (group,) = [each for each in document["groups"] if each["name"] == "tcb"]
    behind = {field["name"] for field in group["fields"] if field["flags"]}
    assert "sgx.08" in behind


@pytest.mark.parametrize("stem", IN_WINDOW)
@pytest.mark.parametrize("when", ["before", "after"])
def test_outside_the_validity_of_collateral(confide, stem, when):
    arguments = intel_args(stem)
    arguments[-1] = str(expected()["intel"][stem][when]["now"])
    document = said(confide, *arguments, code=76, error="CollateralUnavailable")
    window = expected()["intel"][stem]
    assert f"valid for --at {window['window_start_iso']} to " in document["hint"]
    assert not all(part["valid"] for part in document["collateral"])


@pytest.mark.parametrize("stem", IN_WINDOW)
def test_collateral_of_another_platform(confide, stem):
    other = next(each for each in IN_WINDOW if each != stem)
    document = said(confide, *intel_args(stem, other), code=76, error="CollateralUnavailable")
    assert "the collateral is for" in document["message"]


@pytest.mark.parametrize("stem", IN_WINDOW)
def test_no_collateral(confide, stem):
    quote = real(f"{stem}.quote.bin")
    document = said(confide, quote, code=76, error="CollateralUnavailable")
    assert "no collateral for" in document["message"]
    assert expected()["intel"][stem]["fmspc"] in document["hint"]
    assert f"`confide collateral fetch {quote} --output collateral.json`" in document["hint"]
    assert "--collateral collateral.json" in document["hint"]
    assert fields_of(document)["report_data"]


def test_the_right_one_of_several_collaterals(confide):
    more = [part for stem in IN_WINDOW for part in ("--collateral", real(f"{stem}.collateral.json"))]
    said(confide, real("tdx-v4-uptodate.quote.bin"), *more, "--at", "2025-07-04T10:16:31Z", code=0)


def test_a_real_snp_report(confide):
    report, vcek = real("snp-v2-milan.report.bin"), real("snp-v2-milan.vcek.der")
    arguments = [report, "--certificates", vcek, "--at", "1735000000"]
    document = said(confide, *arguments, code=76, error="CollateralUnavailable")
    assert "CRL is missing" in document["message"]
    assert document["platform"] is None
    document = said(confide, *arguments, "--revocation-unchecked", code=0)
    known, fields = expected()["snp"]["snp-v2-milan"], fields_of(document)
    for name in ("report_data", "measurement", "host_data"):
        assert fields[name] == known[name]
    assert fields["policy"] == known["policy"]
    assert fields_of(document, "tcb")["reported_tcb"] == known["reported_tcb"]
    assert any("revocation is not checked" in note for note in document["notes"])
    chain = ["--certificates", real("snp-milan-ask-ark.pem")]
    said(confide, *arguments, *chain, "--revocation-unchecked", code=0)


def test_real_snp_reports_that_are_refused(confide):
    report, vcek = real("snp-v2-milan.report.bin"), real("snp-v2-milan.vcek.der")
    other = real("snp-v2-milan-debug.vcek.der")
    document = said(confide, report, code=76, error="CollateralUnavailable")
    assert "https://kdsintf.amd.com/vcek/v1/Milan/d49554ec717f4e5b" in document["hint"]
    assert f"`confide collateral fetch {report} --output certificates.pem`" in document["hint"]
    document = said(confide, report, "--certificates", other, code=98, error="EvidenceRefused")
    assert "step 6: not signed by the SEV-VCEK, which is that of another chip" in document["message"]
    turin = ["--certificates", real("snp-turin-ask-ark.pem")]
    said(confide, report, "--certificates", vcek, *turin, code=98, error="EvidenceRefused")
    said(confide, report, "--certificates", vcek, "--at", "0", code=98, error="EvidenceRefused")
    expired = ["--at", "2031-01-01T00:00:00Z"]
    said(confide, report, "--certificates", vcek, *expired, code=76, error="CollateralUnavailable")
    debug = [real("snp-v2-milan-debug.report.bin"), "--certificates", other, "--at", "1735000000"]
    document = said(confide, *debug, code=98, error="EvidenceRefused")
    assert (document["debug"], document["message"].count("debug")) == (True, 1)


def test_real_azure_evidence(confide):
    evidence = real("azure-snp-vtpm.evidence.json")
    document = said(confide, evidence, "--at", AZURE_AT, "--revocation-unchecked", code=0)
    assert document["tee"] == "az-snp-vtpm"
    assert fields_of(document, "vtpm")["extra_data"] == b"challenge".hex()
    given = json.loads(Path(evidence).read_bytes())
    assert list(fields_of(document, "pcrs").values()) == given["tpm_quote"]["pcrs"]
    said(confide, evidence, "--at", AZURE_AT, code=76, error="CollateralUnavailable")
    arguments = ["--revocation-unchecked", "--at", AZURE_AT]
    said(confide, evidence, *arguments, "--tee", "az-snp-vtpm", code=0)


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda given: given["tpm_quote"]["pcrs"].reverse(), 9),
        (lambda given: given["tpm_quote"].update(signature="00" * 256), 6),
        (lambda given: given["tpm_quote"].update(message=given["tpm_quote"]["message"][:-2]), 6),
        (lambda given: given.update(hcl_report=given["hcl_report"][:-8]), None),
        (lambda given: given.update(hcl_report="AAAA"), 2),
        (lambda given: given.update(vcek="AAAA"), 3),
        (lambda given: given.update(version=2), 10),
    ],
)
def test_real_azure_evidence_that_was_changed(confide, change, step):
    given = json.loads(Path(real("azure-snp-vtpm.evidence.json")).read_bytes())
    change(given)
    (confide.folder / "evidence.json").write_text(json.dumps(given))
    answer = confide("verify", "evidence.json", "--at", AZURE_AT, "--revocation-unchecked", "--json")
    document = json.loads(answer.out)
    if step is None:  # the zeros behind the report became fewer
        assert answer.code == 0
        return
    assert answer.code == 98
    assert f"Azure evidence, step {step}" in document["message"]


def test_a_real_sigstruct(confide):
    document = said(confide, real("gramine-sigstruct.sig"), code=0)
    known, fields = expected()["sigstruct"]["gramine-sigstruct.sig"], fields_of(document, "sigstruct")
    assert (fields["mrenclave"], fields["mrsigner"]) == (known["mrenclave"], known["mrsigner"])
    assert any("no evidence" in note for note in document["notes"])
    raw = bytearray(Path(real("gramine-sigstruct.sig")).read_bytes())
    raw[960] ^= 1
    (confide.folder / "changed.sig").write_bytes(raw)
    said(confide, "changed.sig", code=98, error="EvidenceRefused")


@pytest.mark.parametrize("name", ["ratls-gramine.cert.pem", "ratls-rats-tls.cert.pem"])
def test_real_certificates_with_evidence(confide, name):
    collateral = ["--collateral", real("sgx-v3-debug.collateral.json"), "--at", IN_WINDOW["sgx-v3-debug"]]
    answer = confide("verify", real(name), *collateral, "--json")
    document = json.loads(answer.out)
    assert document["kind"] == "ra-tls"
    assert document["debug"] is True
    assert answer.code in (76, 98)
    key = fields_of(document, "certificate")["key_sha256"]
    assert key == expected()["ratls"][name]["spki_sha256"]
    assert fields_of(document)["mrenclave"]


@pytest.mark.parametrize("size", [0, 1, 47, 48, 400, 435, 436, 1000, 4000, -1])
@pytest.mark.parametrize("stem", ["sgx-v3-config-swhardening", "tdx-v4-uptodate"])
def test_real_quotes_truncated(confide, stem, size):
    raw = Path(real(f"{stem}.quote.bin")).read_bytes().rstrip(b"\0")
    (confide.folder / "cut.bin").write_bytes(raw[:size])
    answer = confide("verify", "cut.bin", *intel_args(stem)[1:], "--json")
    assert answer.code in (67, 98)
    assert json.loads(answer.out)["error"] in ("InvalidFormat", "EvidenceRefused")


def test_bytes_behind_a_real_quote(confide):
    raw = Path(real("tdx-v4-uptodate.quote.bin")).read_bytes()
    for name, more, code in (("a", bytes(3000), 0), ("b", b"\1", 98), ("c", b"\n", 98), ("d", raw, 98)):
        (confide.folder / name).write_bytes(raw + more)
        answer = confide("verify", name, *intel_args("tdx-v4-uptodate")[1:], "--json")
        assert answer.code == code, name
    assert "behind its end, not all zero" in json.loads(answer.out)["message"]


def test_evidence_against_another_root(confide, world):
    root = ["--dangerously-trust-root", world.path("intel-root.der")]
    document = said(confide, *intel_args("tdx-v4-uptodate"), *root, code=98, error="EvidenceRefused")
    assert document["notes"][0].startswith("DANGER")
    assert False in [link["trusted"] for link in document["certificates"]]
    vcek = ["--certificates", real("snp-v2-milan.vcek.der")]
    root = ["--dangerously-trust-root", world.path("amd-root.pem")]
    said(confide, real("snp-v2-milan.report.bin"), *vcek, *root, code=98, error="EvidenceRefused")


# -- Collateral in other forms


def test_collateral_in_the_parts_that_intels_service_sends(confide, world):
    collateral = json.loads((world.folder / "tdx.json").read_text())
    signed = '{{"{}":{},"signature":"{}"}}'
    members = {"tcbInfo": "tcb_info", "enclaveIdentity": "qe_identity"}
    parts = [
        world.put(f"{name}.json", signed.format(name, collateral[member], collateral[f"{member}_signature"]))
        for name, member in members.items()
    ]
    parts += [
        world.put(f"{name}.crl", bytes.fromhex(collateral[name])) for name in ("root_ca_crl", "pck_crl")
    ]
    chains = collateral["pck_crl_issuer_chain"] + collateral["tcb_info_issuer_chain"]
    parts.append(world.put("chains.pem", chains))
    given = [argument for part in parts for argument in ("--collateral", part)]
    quote, rest = world.tdx(), world.intel_args()[2:]
    said(confide, quote, *given, *rest, code=0)
    answer = confide("verify", quote, *given[:-4], *rest)
    assert answer.code == 67
    assert "of which are missing: the certificate of Intel SGX TCB Signing" in answer.err


def test_collateral_in_the_form_of_intels_library(confide, world):
    collateral = json.loads((world.folder / "tdx.json").read_text())
    for member, name in (("tcb_info", "tcbInfo"), ("qe_identity", "enclaveIdentity")):
        signature = collateral.pop(f"{member}_signature")
        collateral[member] = f'{{"{name}":{collateral[member]},"signature":"{signature}"}}'
    crl = base64.b64encode(bytes.fromhex(collateral["pck_crl"])).decode()
    collateral["pck_crl"] = f"-----BEGIN X509 CRL-----\n{crl}\n-----END X509 CRL-----\n"
    quote, rest = world.tdx(), world.intel_args()[2:]
    given = ["--collateral", world.put("library.json", collateral)]
    said(confide, quote, *given, *rest, code=0)
    collateral["tcb_info"] = collateral["tcb_info"].replace("UpToDate", "UpToDat3")
    given = ["--collateral", world.put("library.json", collateral)]
    assert confide("verify", quote, *given, *rest).code == 98


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, world!",
        b"{}",
        b"[1]",
        b"\0" * 100,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ],
)
def test_files_that_are_no_collateral(confide, world, content):
    given = world.put("bad", content)
    for option in ("--collateral", "--certificates"):
        answer = confide("verify", world.tdx(), option, given)
        assert answer.code == 67
        assert given in answer.err


def test_a_revoked_platform(confide, world):
    crl = intel.crl(world.intel.platform_ca, [world.quoting.pck])
    given = world.put("revoked.json", world.intel.collateral("TDX", pck_crl=crl).to_json())
    rest = world.intel_args()[2:]
    document = said(confide, world.tdx(), "--collateral", given, *rest, code=98, error="EvidenceRefused")
    assert "revoked" in document["message"]


def test_a_revoked_intermediate_of_amd(confide, world):
    crl = world.amd.crl(world.chip.product, [world.chip.intermediate.serial_number])
    given = ["--certificates", world.put("revoked.der", crl.public_bytes(Encoding.DER))]
    said(confide, world.snp(), *given, *world.amd_args(), code=98, error="EvidenceRefused")
    good = ["--certificates", world.path("crl.der")]
    document = said(confide, world.snp(), *good, *world.amd_args(), code=0)
    assert [part["name"] for part in document["collateral"]] == ["CRL of the root"]


# -- What evidence binds


def runtime(**more) -> dict:
    key = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()

    def coordinate(number):
        return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()

    pubkey = {"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW"}
    return {
        "nonce": "bm9uY2U=",
        "tee-pubkey": pubkey | {"x": coordinate(key.x), "y": coordinate(key.y)},
        **more,
    }


IMAGE = {"measurement": "ab" * 32, "role": "driver", "svn": 4}


def attestation(world, given: dict, bound: dict | None = None) -> str:
    data = report_data(given if bound is None else bound, "{}")
    quote = base64.b64encode(world.quoting.quote(body=RTMRS | {"report_data": data})).decode()
    evidence = {"primary_evidence": {"quote": quote}, "additional_evidence": "{}"}
    return world.put("attestation.json", {"runtime-data": given, "tee-evidence": evidence})


def test_a_whole_attestation_binds_its_runtime_data(confide, world):
    given = runtime(image=IMAGE)
    document = said(confide, attestation(world, given), *world.intel_args(), code=0)
    assert document["verifications"][-1]["steps"][1]["state"] == "passed"
    other = said(
        confide,
        attestation(world, {**given, "nonce": "b3RoZXI="}, given),
        *world.intel_args(),
        code=85,
        error="AttestationRefused",
    )
    assert "another nonce, key or image" in other["message"]
    assert other["verifications"][-1]["steps"][1]["state"] == "failed"


def test_an_attestation_of_another_client(confide, world):
    given = {
        "nonce": "bm9uY2U=",
        "tee-pubkey": {"kty": "RSA", "alg": "RSA-OAEP-256", "n": "AQAB", "e": "AQAB"},
    }
    said(confide, attestation(world, given), *world.intel_args(), code=0)
    floats = {"nonce": 1e400 if False else 1.5, "tee-pubkey": {}}
    answer = confide("verify", attestation(world, floats, given), *world.intel_args())
    assert answer.code == 85


@pytest.mark.parametrize("form", list(Form))
def test_a_certificate_that_carries_evidence(confide, world, form):
    def certificate(quote_of, key=None):
        key = key or ec.generate_private_key(ec.SECP256R1())
        made = make_certificate(key, quote_of, not_before=NOW - 1, not_after=NOW + 1, form=form)
        return world.put("ratls.pem", made)

    def quote_of(data):
        return world.quoting.quote(3, 1, body={"report_data": data})

    arguments = world.intel_args("sgx")
    said(confide, certificate(quote_of), *arguments, code=0)
    said(confide, certificate(lambda data: quote_of(data) + bytes(9)), *arguments, code=0)
    other = said(
        confide, certificate(lambda data: quote_of(data[::-1])), *arguments, code=98, error="EvidenceRefused"
    )
    assert "RA-TLS certificate, step 6" in other["message"]
    late = [*arguments[:-1], str(NOW + 2)]
    expired = said(confide, certificate(quote_of), *late, code=98, error="EvidenceRefused")
    assert "RA-TLS certificate, step 3" in expired["message"]
    assert expired["tcb"]["status"] == "UpToDate"
    debug = certificate(
        lambda data: world.quoting.quote(3, 1, body={"report_data": data, "attributes": b"\2" + bytes(15)})
    )
    assert said(confide, debug, *arguments, code=98, error="EvidenceRefused")["debug"] is True


# -- Policies


POLICY = """
version = 1
owner = "clinic"
serial = 1
not_before = 2026-01-01T00:00:00Z
not_after = 2036-01-01T00:00:00Z
[[workload]]
name = "study"
tee = "{tee}"
measurements = ["{measurement}"]
{more}
[workload.platform]
{platform}
[workload.platform.registers]
{registers}
[[grant]]
workload = "study"
location = "data/patients"
access = "read"
format = "table"
key = "clinic/patients"
"""
MRTD = f'mrtd = ["{"54" * 48}"]\n' + "".join(f'{name} = ["{value.hex()}"]\n' for name, value in RTMRS.items())


ALLOWED = "allow_smt = true\nallow_dynamic_platform = true\nallow_cached_keys = true\n"


def policy(
    world, *, tee="tdx", measurement="ab" * 32, platform=ALLOWED, registers=MRTD, more=""
) -> list[str]:
    text = POLICY.format(tee=tee, measurement=measurement, platform=platform, registers=registers, more=more)
    return ["--policy", world.put("policy.toml", text)]


def test_a_policy_that_accepts(confide, world):
    document = said(confide, world.tdx(), *world.intel_args(), *policy(world), code=0)
    assert document["policy"] == [{"workload": "study", "role": "driver", "measured": False}]
    whole = attestation(world, runtime(image=IMAGE))
    document = said(confide, whole, *world.intel_args(), *policy(world), code=0)
    assert document["policy"][0]["measured"] is True


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"tee": "sgx", "registers": 'mrsigner = ["00"]'}, 86, "no workload of the policy is for"),
        ({"measurement": "cd" * 32}, 86, "measurement abab"),
        ({"more": "minimum_svn = 5"}, 86, "security version 4"),
        ({"more": 'role = "worker"'}, 86, "no workload"),
        ({"registers": MRTD.replace("54", "55")}, 97, "step 4: mrtd"),
        ({"platform": 'hardware_ids = ["00"]'}, 97, "step 3"),
        ({"platform": "minimum_evaluation = 21"}, 97, "step 7"),
        ({"platform": 'status = ["SWHardeningNeeded"]'}, 97, "step 5"),
    ],
)
def test_a_policy_that_refuses(confide, world, change, code, reason):
    whole = attestation(world, runtime(image=IMAGE))
    error = {86: "MeasurementRefused", 97: "PlatformRefused"}[code]
    document = said(confide, whole, *world.intel_args(), *policy(world, **change), code=code, error=error)
    assert reason in document["message"]
    assert document["verifications"][-1]["steps"][4]["state"] == "failed"


def test_a_configuration_digest_of_another_kind_is_no_measurement(confide, world):
    arguments = [world.tdx(mrconfigid=bytes([0xAB]) * 48), *world.intel_args()]
    named = policy(world, measurement="ab" * 32)
    said(confide, *arguments, *named, code=85, error="AttestationRefused")
    launched = [world.tdx(mrconfigid=bytes([0xAB]) * 32 + bytes(16)), *world.intel_args()]
    assert said(confide, *launched, *named, code=0)["policy"][0]["measured"] is True


def test_a_policy_decides_on_the_status_in_place_of_the_flag(confide, world):
    info = world.intel.tcb_info(
        "TDX", tcbLevels=[intel.level("SWHardeningNeeded", advisories=["INTEL-SA-00615"])]
    )
    given = world.put("hardening.json", world.intel.collateral("TDX", tcb_info=info).to_json())
    arguments = [world.tdx(), "--collateral", given, *world.intel_args()[2:]]
    accepts = 'status = ["SWHardeningNeeded"]\nadvisories = ["INTEL-SA-00615"]\n' + ALLOWED
    said(confide, *arguments, *policy(world, platform=accepts), code=0)
    flag = ["--accept-status", "SWHardeningNeeded"]
    said(confide, *arguments, *flag, code=0)
    said(confide, *arguments, *flag, *policy(world), code=97, error="PlatformRefused")
    half = accepts.replace("advisories", "# advisories")
    document = said(confide, *arguments, *policy(world, platform=half), code=97, error="PlatformRefused")
    assert "INTEL-SA-00615" in document["message"]


def test_debug_evidence_is_refused_whatever_the_policy_says(confide, world):
    quote = world.snp(policy=0x30000 | 1 << 19)
    arguments = [quote, *world.amd_args()]
    lowest = 'products = ["Milan"]\n'
    lowest += "minimum_tcb = { bootloader = 0, tee = 0, snp = 0, microcode = 0 }\nallow_smt = true"
    registers = f'measurement = ["{bytes(range(100, 148)).hex()}"]'
    accepts = policy(world, tee="snp", platform=lowest, registers=registers)
    document = said(confide, *arguments, *accepts, code=98, error="EvidenceRefused")
    assert document["policy"] == []
    said(confide, world.snp(), *world.amd_args(), *accepts, code=0)


def test_policies_that_are_none(confide, world):
    quote = world.tdx()
    bad = confide("verify", quote, *world.intel_args(), "--policy", world.put("bad.toml", "version = 2"))
    assert bad.code == 65
    assert confide("verify", quote, *world.intel_args(), "--policy", "nowhere.toml").code == 64
    sigstruct = [real("gramine-sigstruct.sig"), *policy(world)]
    said(confide, *sigstruct, code=64, error="Misuse")


def test_evidence_of_another_tee_than_asked_for(confide, world):
    said(confide, world.tdx(), *world.intel_args(), "--tee", "tdx", code=0)
    document = said(
        confide, world.tdx(), *world.intel_args(), "--tee", "snp", code=98, error="EvidenceRefused"
    )
    assert "of tdx, not of snp" in document["message"]


# -- Files, times, options


def test_standard_input(confide, world, monkeypatch):
    data = base64.b64encode(Path(world.tdx()).read_bytes())
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(data)))
    document = said(confide, "-", *world.intel_args(), code=0)
    assert document["input"]["encoding"] == "base64"


@pytest.mark.parametrize(
    "at", [str(NOW), "2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00", "2027-01-15 08:00:00+00:00"]
)
def test_times(confide, world, at):
    arguments = [*world.intel_args()[:-1], at]
    assert said(confide, world.tdx(), *arguments, code=0)["at"] == NOW


@pytest.mark.parametrize(
    "at",
    [
        "",
        "now",
        "-1",
        "1e9",
        "99999999999999999999",
        "2027-01-15",
        "2027-01-15T08:00:00",
        "2027-13-01T00:00:00Z",
    ],
)
def test_times_that_are_none(confide, world, at):
    assert confide("verify", world.tdx(), f"--at={at}").code == 64


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tee", "simulated"],
        ["--tee", "sev"],
        ["--accept-status", "Revoked"],
        ["--accept-status", "uptodate"],
        ["--collateral", "nowhere.json"],
        ["--certificates", "/"],
        ["--dangerously-trust-root", "nowhere.pem"],
    ],
)
def test_options_that_make_no_sense(confide, world, arguments):
    assert confide("verify", world.tdx(), *arguments).code == 64


def test_a_root_that_is_none(confide, world):
    for content in (b"", b"AAAA", world.intel.collateral().to_json()):
        root = world.put("root", content)
        assert confide("verify", world.tdx(), "--dangerously-trust-root", root).code == 67


def test_files_that_cannot_be_read(confide, tmp_path):
    assert confide("verify", "nowhere.bin").code == 64
    assert "cannot read" in confide("verify", str(tmp_path)).err
    assert confide("verify", str(tmp_path)).code == 64
    assert confide("verify", "a" * 5000).code == 64
    locked = tmp_path / "locked"
    locked.write_bytes(b"quote")
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        return  # root reads everything
    assert confide("verify", str(locked)).code == 64


def test_a_file_of_a_gibibyte(confide, tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**30)
    answer = confide("verify", str(tmp_path / "sparse"))
    assert answer.code == 67
    assert "more than 1048576 bytes" in answer.err


def test_json_bombs(confide, world):
    for name, bomb in (
        ("deep", "[" * 500_000),
        ("object", '{"a":' * 100_000),
        ("wide", '{"quote":' + "9" * 900_000),
    ):
        answer = confide("verify", world.put(name, bomb))
        assert answer.code == 67, name


def test_what_is_no_evidence_says_what_is(confide, world):
    answer = confide("verify", world.put("text", "hello, world!"))
    assert answer.code == 67
    assert "accepted are" in answer.err
    assert "--collateral (Intel)" in answer.err
    document = json.loads(confide("verify", world.path("tdx.json"), "--json").out)
    assert document["error"] == "InvalidFormat"
    assert "collateral for TDX" in document["message"]


def test_a_c_array(confide, world):
    quote = Path(world.tdx()).read_bytes()
    digits = ", ".join(f"0x{each:02x}" for each in quote)
    for text in (f"{{ {digits} }}", f"{{\n{digits}\n}};\n", digits):
        document = said(confide, world.put("quote.c", text), *world.intel_args(), code=0)
        assert document["input"]["encoding"] == "hex"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda report: report[:1183], "perhaps a SNP report of 1184 bytes that was cut to 1183"),
        (lambda report: report[:17], "perhaps a SNP report of 1184 bytes that was cut to 17"),
        (lambda report: b"00000000: 0200 0000  ....\n00000010: 0000  ..\n", "a hex dump with offsets"),
        (lambda report: b"00000000  02 00 00 00  |....|\n00000010  00\n", "a hex dump with offsets"),
        (lambda report: b"CCEL8\0\0\0" + bytes(48), "the ACPI table CCEL"),
        (lambda report: b"{0x02, 0x00", "JSON that does not read at line 1; accepted are"),
        (lambda report: b"{0x02, 0x00} {0x02}", "JSON that does not read at line 1; accepted are"),
    ],
)
def test_what_evidence_was_before_it_was_spoilt(confide, world, make, reason):
    spoilt = world.put("spoilt", make(Path(world.snp()).read_bytes()))
    answer = confide("verify", spoilt)
    assert (answer.code, reason in answer.err) == (67, True), answer.err


def test_an_event_log_alone_says_where_it_goes(confide, world):
    log = bytes(28) + bytes([33, 0, 0, 0]) + b"Spec ID Event03\0" + bytes(100)
    answer = confide("verify", world.put("log", log))
    assert "an event log: it goes with a TD's quote, as --event-log" in answer.err


def test_a_quote_is_explained_though_something_stands_behind_it(confide, world):
    quote = Path(world.tdx()).read_bytes() + b"\n"
    document = said(
        confide, world.put("behind", quote), *world.intel_args(), code=98, error="EvidenceRefused"
    )
    assert "step 1: 1 bytes behind its end" in document["message"]
    assert fields_of(document)["mrtd"]
    assert document["platform"] is None
    assert any("without what stands behind its end" in note for note in document["notes"])


def test_a_vlek_is_not_sent_for_to_amd(confide, world):
    raw = bytearray(world.chip.raw())
    raw[0x48] = 1 << 2
    document = said(
        confide,
        world.put("vlek.report", world.chip.report(bytes(raw))),
        code=76,
        error="CollateralUnavailable",
    )
    assert (
        "the certificate of the VLEK that signed it is missing; it comes from the host" in document["message"]
    )
    assert "collateral fetch" not in document["hint"]


def test_a_sigstruct_that_was_cut(confide, world):
    whole = Path(real("gramine-sigstruct.sig")).read_bytes()
    answer = confide("verify", world.put("cut.sig", whole[:1807]))
    assert "a SIGSTRUCT of 1808 bytes that was cut to 1807" in answer.err


def test_the_key_of_another_tcb(confide, world):
    """After an update of its firmware a chip signs by another key, and old certificates do not fit."""
    world.snp()
    raw = bytearray(world.chip.raw())
    raw[0x180:0x188] = bytes([9, 0, 0, 0, 0, 0, 24, 219])
    updated = world.chip.report(bytes(raw), ec.generate_private_key(ec.SECP384R1()))
    report = world.put("updated.report", updated)
    document = said(confide, report, *world.amd_args(), code=98, error="EvidenceRefused")
    assert re.search(
        r"step 6: .*, which is for TCB [0-9.]+ \(bootloader.tee.snp.microcode\) where the report says 9.0.24.219",
        document["message"],
    ), document["message"]


def test_the_hint_of_another_refusal_of_a_debug_enclave(confide):
    certificate = real("ratls-rats-tls.cert.pem")
    document = said(confide, certificate, "--at", "2026-01-01T00:00:00Z", code=98, error="EvidenceRefused")
    assert document["debug"]
    assert "step 3: expired at 2024-02-22T" in document["message"]
    assert "docs/attestation.md" in document["hint"]
    before = said(confide, certificate, "--at", "0", code=98, error="EvidenceRefused")
    assert "step 3: valid only from " in before["message"]


def test_the_text_fits_in_80_columns_and_has_no_control_characters(confide, world):
    """All but addresses, and values that would not be found in two parts."""
    for arguments in ([world.tdx(), *world.intel_args()], [world.snp(), *world.amd_args()]):
        out = confide("verify", *arguments).out
        long = [line for line in out.splitlines() if len(line) > 80]
        assert all("https://" in line or "/" in line for line in long), long
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", out)
        assert out.rstrip().splitlines()[-1].startswith("VERIFIED")


def test_every_field_of_the_json_is_documented(confide, world):
    text = (Path(__file__).parents[2] / "docs" / "formats" / "verify.md").read_text()
    document = said(confide, world.tdx(), *world.intel_args(), *policy(world), code=0)

    def names(value):
        if isinstance(value, dict):
            for name, inner in value.items():
                yield name
                if name not in ("registers", "numbers", "tcb_components"):
                    yield from names(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from names(inner)

    missing = sorted({name for name in names(document) if f"`{name}`" not in text})
    assert not missing


# -- A policy from evidence


def from_evidence(confide, *arguments: str) -> str:
    return confide.ok("policy", "from-evidence", *arguments).out


def completed(text: str, measurement: str = "ab" * 32) -> str:
    """Fill in what is marked, as an owner would."""
    text = text.replace(f'measurements = ["{OPEN}"]', f'measurements = ["{measurement}"]')
    text = re.sub(rf'^((?:rtmr|pcr)\d+) = \["{re.escape(OPEN)}"\]', r'\1 = ["ff"]', text, flags=re.MULTILINE)
    return text.replace(OPEN, "something")


def uncommented(text: str) -> str:
    """Accept the settings of the evidence's own platform."""
    return re.sub(r"^# (allow_\w+ = true)$", r"\1", text, flags=re.MULTILINE)


SOURCES = ["tdx", "sgx", "snp", "attestation"]


def source(world, kind: str) -> list[str]:
    if kind == "snp":
        return [world.snp(), *world.amd_args()]
    if kind == "attestation":
        return [attestation(world, runtime(image=IMAGE)), *world.intel_args()]
    return [getattr(world, kind)(), *world.intel_args(kind)]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_policy_from_evidence_accepts_it_once_completed(confide, world, kind):
    arguments = source(world, kind)
    text = from_evidence(confide, *arguments)
    (confide.folder / "open.toml").write_text(text)
    assert confide("policy", "check", "open.toml").code == 65
    whole = uncommented(completed(text))
    (confide.folder / "policy.toml").write_text(whole)
    confide.ok("policy", "check", "policy.toml")
    said(confide, *arguments, "--policy", "policy.toml", code=0)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_policy_from_evidence_refuses_any_other(confide, world, kind):
    text = uncommented(completed(from_evidence(confide, *source(world, kind))))
    (confide.folder / "policy.toml").write_text(text)
    others = {
        "tdx": [world.tdx(rtmr1=b"X" * 48), *world.intel_args()],
        "attestation": [world.tdx(mrtd=b"X" * 48), *world.intel_args()],
        "sgx": [world.sgx(mrenclave=b"X" * 32), *world.intel_args("sgx")],
        "snp": [world.snp(measurement=b"X" * 48), *world.amd_args()],
    }
    answer = confide("verify", *others[kind], "--policy", "policy.toml")
    assert answer.code == (86 if kind == "sgx" else 97)
    world.snp(measurement=bytes(range(100, 148)))


def test_strict_where_the_evidences_own_platform_is_not(confide, world):
    arguments = [world.snp(platform_info=0x1, policy=0x30000), *world.amd_args()]
    answer = confide.ok("policy", "from-evidence", *arguments, "--owner", "clinic", "--workload", "study")
    assert "refused: hyperthreads" in answer.err
    assert "refused: memory was not checked" in answer.err
    assert "\n# allow_unchecked_aliases = true\n" in answer.out
    (confide.folder / "policy.toml").write_text(completed(answer.out))
    document = said(confide, *arguments, "--policy", "policy.toml", code=97, error="PlatformRefused")
    assert "allow_smt" in document["message"]


def test_a_register_into_which_nothing_was_measured_is_not_pinned(confide, world):
    arguments = [world.tdx(rtmr2=bytes(48)), *world.intel_args(), "--owner", "clinic", "--workload", "study"]
    answer = confide.ok("policy", "from-evidence", *arguments)
    assert f'rtmr2 = ["{OPEN}"]' in answer.out
    assert "refused: rtmr2 is zero" in answer.err
    (confide.folder / "zero.toml").write_text(
        completed(answer.out.replace(f'rtmr2 = ["{OPEN}"]', f'rtmr2 = ["{"00" * 48}"]'))
    )
    checked = confide("policy", "check", "zero.toml")
    assert checked.code == 65
    assert "rtmr2 may be zero" in checked.err


@pytest.mark.parametrize("status", ["SWHardeningNeeded", "ConfigurationNeeded", "OutOfDate"])
def test_statuses_of_evidence_in_its_policy(confide, world, status):
    info = world.intel.tcb_info("TDX", tcbLevels=[intel.level(status, advisories=["INTEL-SA-00615"])])
    given = world.put("level.json", world.intel.collateral("TDX", tcb_info=info).to_json())
    text = from_evidence(confide, world.tdx(), "--collateral", given, *world.intel_args()[2:])
    platform = parse_policy(completed(text).encode()).workload[0].platform
    if status == "OutOfDate":
        assert (platform.status, platform.advisories) == (("UpToDate",), ())
        assert '# status = ["UpToDate", "OutOfDate"]' in text
    else:
        assert platform.status == ("UpToDate", status)
        assert platform.advisories == ("INTEL-SA-00615",)


def test_what_an_attestation_states_is_in_its_policy(confide, world):
    text = from_evidence(confide, *source(world, "attestation"), "--owner", "clinic", "--workload", "study")
    (workload,) = parse_policy(completed(text).encode()).workload
    assert (workload.measurements, workload.minimum_svn, workload.role) == (("ab" * 32,), 4, "driver")
    assert RuntimeData.model_validate(runtime(image=IMAGE)).image == StatedImage(**IMAGE)


def test_a_policy_from_real_evidence(confide):
    sigstruct = from_evidence(confide, real("gramine-sigstruct.sig"), "--owner", "clinic")
    known = expected()["sigstruct"]["gramine-sigstruct.sig"]
    (workload,) = parse_policy(completed(sigstruct).encode()).workload
    assert workload.measurements == (known["mrenclave"],)
    assert workload.platform.registers == {"mrsigner": (known["mrsigner"],)}
    azure = from_evidence(
        confide, real("azure-snp-vtpm.evidence.json"), "--at", AZURE_AT, "--revocation-unchecked"
    )
    registers = parse_policy(completed(azure).encode()).workload[0].platform.registers
    assert {"measurement", "pcr4", "pcr7", "pcr9"} <= set(registers)
    assert {"pcr8", "pcr12", "pcr13"} & set(registers) == {"pcr8"} | (
        {"pcr12", "pcr13"} if "pcr11" in registers else set()
    )
    tdx = from_evidence(confide, *intel_args("tdx-v4-uptodate"))
    assert {"mrtd", "rtmr0", "rtmr1", "rtmr2"} == set(
        parse_policy(completed(tdx).encode()).workload[0].platform.registers
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (lambda world: [world.sgx(attributes=b"\7" + bytes(15)), *world.intel_args("sgx")], 98),
        (lambda world: [world.snp(policy=0x30000 | 1 << 19), *world.amd_args()], 98),
        (lambda world: [world.tdx()], 76),
        (lambda world: [world.tdx(), *world.intel_args("sgx")], 76),
        (lambda world: [world.path("tdx.json")], 67),
        (lambda world: [world.path("nowhere")], 64),
        (lambda world: [world.tdx(), *world.intel_args(), "--owner", "no owner"], 64),
        (lambda world: [world.tdx(), *world.intel_args(), "--workload", 'a"\n[[grant]]'], 64),
        (lambda world: [world.tdx(), *world.intel_args(), "--owner", "Clinic"], 64),
        (lambda world: [world.tdx(), *world.intel_args(), "--output", world.path("tdx.json")], 68),
        (lambda world: [world.tdx(), *world.intel_args(), "--output", "/nowhere/policy.toml"], 64),
    ],
)
def test_no_policy_from_this(confide, world, arguments, code):
    answer = confide("policy", "from-evidence", *arguments(world))
    assert (answer.code, answer.out) == (code, "")


def test_the_policy_goes_to_a_file(confide, world):
    arguments = [world.tdx(), *world.intel_args()]
    text = from_evidence(confide, *arguments)
    confide.ok("policy", "from-evidence", *arguments, "--output", "policy.toml")
    written = (confide.folder / "policy.toml").read_text()
    assert written.splitlines()[8:] == text.splitlines()[8:]
