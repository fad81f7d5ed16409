"""What fuzzing starts from: evidence made by the tests' helpers, the repository's vectors, real evidence where it lies.

Keys are new each time, and so are signatures. Inputs that once failed lie in tests/vectors/fuzz.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product
from confide.attestation.claims import Claims, Tee
from confide.attestation.evidence import StatedImage
from confide.attestation.intel.roots import SGX_ROOT
from confide.attestation.ratls.forms import Form
from confide.attestation.simulated import SimulatedStatement
from confide.broker.attested_leaf import evidence_extension
from confide.broker.checkpoint import sign_checkpoint, verifier_key
from confide.broker.jwe import seal_to
from confide.broker.listing_signing import sign_listing
from confide.broker.merkle import consistency_path, inclusion_path, leaf_hash, pair_hash, root_hash
from confide.broker.policy_signing import sign_policy
from confide.canonical import canonical_json
from confide.data.listing import Listing
from confide.enclave.attester import OwnEvidence
from confide.enclave.image import Image
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.keys.recovery.documents import Answer, encode
from confide.keys.recovery.key import RecoveryPublicKey
from confide.keys.recovery.recover import split_root
from confide.serving.grpc_messages import ModelInferRequest
from confide.serving.identity import WorkerIdentity
from confide.serving.oip import write_request

from ..unit.attestation.amd import synthetic as amd
from ..unit.attestation.azure import synthetic as azure
from ..unit.attestation.intel import synthetic as intel
from ..unit.attestation.intel import test_event_log as logs
from ..unit.attestation.ratls import issuing as ratls
from ..unit.attestation.test_recognize import structured
from ..unit.attestation.tpm import synthetic as tpm
from ..unit.attestation.tpm.test_verify_tpm import LOG as PCR_LOG
from ..unit.broker.test_policy import GOOD as POLICY
from . import documents, evidence
from .forms import join
from .targets import TARGETS

TESTS = Path(__file__).parents[1]
FOUND = TESTS / "vectors" / "fuzz"
QUOTES = TESTS.parents[1] / "shared" / "data" / "quotes"


def seeds_of(name: str) -> list[bytes]:
    """Return the inputs from which a target is fuzzed, those first that once failed."""
    found = sorted((FOUND / name).glob("*"))
    made = _MADE[name]()
    return [path.read_bytes() for path in found] + made


def real(*patterns: str) -> list[bytes]:
    """Return real evidence, which is not distributed with the project; nothing where it does not lie."""
    return [path.read_bytes() for pattern in patterns for path in sorted(QUOTES.glob(pattern))]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


# -- Intel


@cache
def _intel() -> tuple[intel.Machine, intel.Machine]:
    authority = intel.Authority()
    platform = intel.Machine(authority)
    processor = intel.Machine(authority, ca=authority.processor_ca, extension=intel.sgx_extension(piid=None))
    return platform, processor


@cache
def _quotes() -> list[bytes]:
    platform, processor = _intel()
    kinds = ((3, 1), (4, 2), (5, 1), (5, 2), (5, 3))
    return [platform.quote(*kind) for kind in kinds] + [processor.quote(3, 1)]


def _collaterals() -> list[bytes]:
    authority = _intel()[0].authority
    made = [authority.collateral(tee) for tee in ("SGX", "TDX")]
    made.append(authority.collateral("SGX", ca=authority.processor_ca))
    return [each.to_json() for each in made]


def _intel_verify() -> list[bytes]:
    root = _intel()[0].authority.root_der
    sgx, tdx, processor = _collaterals()
    quotes = _quotes()
    made = [(quotes[0], sgx), (quotes[1], tdx), (quotes[3], tdx), (quotes[5], processor)]
    pairs = zip(real("*.quote.bin"), real("*.collateral.json"), strict=True)
    return [join(root, *each) for each in made] + [join(SGX_ROOT, *each) for each in pairs]


def _intel_collateral() -> list[bytes]:
    root = _intel()[0].authority.root_der
    made = [join(root, each) for each in _collaterals()]
    return made + [join(SGX_ROOT, each) for each in real("*.collateral.json")]


def _intel_evidence() -> list[bytes]:
    log = _encode(_event_logs()[0])
    return [
        _json({"quote": _encode(quote), **more})
        for quote in (*_quotes(), *real("*.quote.bin"))
        for more in ({}, {"cc_eventlog": log})
    ]


def _event_logs() -> list[bytes]:
    events = [logs.event(register, f"event {register}".encode()) for register in range(1, 5)]
    plain = logs.header() + b"".join(events)
    several = logs.header((4, 20), (11, 32), (12, 48)) + logs.event(
        1, b"data", digests=[(4, bytes(20)), (11, bytes(32)), (12, bytes(48))]
    )
    return [plain, several, plain + b"\xff" * 64, plain + bytes(64)]


def _sigstructs() -> list[bytes]:
    made = bytearray(1808)
    made[:16] = bytes.fromhex("06000000e10000000000010000000000")
    made[24:40] = bytes.fromhex("01010000600000006000000001000000")
    made[128:512] = b"\xff" * 384
    made[512:516] = (3).to_bytes(4, "little")
    return [bytes(made), *real("*.sig")]


# -- AMD


@cache
def _amd() -> dict[Product, amd.Machine]:
    authority = amd.Authority()
    return {product: amd.Machine(authority, product) for product in (Product.MILAN, Product.TURIN)}


def _reports() -> list[bytes]:
    return [machine.report() for machine in _amd().values()] + real("*.report.bin")


def _reports_in_json() -> list[bytes]:
    return [_json(structured(report)) for report in _reports()]


def _bundles() -> list[bytes]:
    authority = next(iter(_amd().values())).authority
    return [
        Certificates(
            machine.endorsement(), (machine.intermediate, machine.root), authority.crl(product)
        ).to_pem()
        for product, machine in _amd().items()
    ]


def _snp_verify() -> list[bytes]:
    return [
        join(machine.report(), bundle) for machine, bundle in zip(_amd().values(), _bundles(), strict=True)
    ]


def _snp_evidence() -> list[bytes]:
    return [
        _json(
            {
                "attestation_report": _encode(machine.report()),
                "cert_chain": [
                    {"cert_type": kind, "data": _encode(amd.der(certificate))}
                    for kind, certificate in (
                        ("VCEK", machine.endorsement()),
                        ("ASK", machine.intermediate),
                        ("ARK", machine.root),
                    )
                ],
            }
        )
        for machine in _amd().values()
    ]


def _endorsements() -> list[bytes]:
    made = [machine.endorsement() for machine in _amd().values()]
    return [amd.der(each) for each in made] + [amd.pem(made[0])] + real("*.vcek.der")


def _crls() -> list[bytes]:
    authority = next(iter(_amd().values())).authority
    made = authority.crl(Product.MILAN, revoked=(1, 2, 3))
    platform, _ = _intel()
    crl = intel.crl(platform.authority.root, [platform.authority.platform_ca])
    return [made.public_bytes(Encoding.DER), made.public_bytes(Encoding.PEM), crl]


def _certificate_tables() -> list[bytes]:
    machine = _amd()[Product.TURIN]
    certificates = [amd.der(each) for each in (machine.endorsement(), machine.intermediate, machine.root)]
    guids = (
        "63da758de6644564adc5f4b93be8accd",
        "4ab7b379bbac4fe4a02f05aef327c782",
        "c0b406a4a803495297433fb6014cd0ae",
    )
    at, entries = 24 * 4, b""
    for guid, certificate in zip(guids, certificates, strict=True):
        entries += bytes.fromhex(guid) + at.to_bytes(4, "little") + len(certificate).to_bytes(4, "little")
        at += len(certificate)
    return [entries + bytes(24) + b"".join(certificates), bytes(64)]


# -- Azure


@cache
def _tpm_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _runtimes() -> list[bytes]:
    return [azure.runtime_json(_tpm_key().public_key(), bytes(range(64))), b"{}"]


def _hcl_reports() -> list[bytes]:
    runtime = _runtimes()[0]
    return [azure.hcl_report(_reports()[0], runtime, 2), azure.hcl_report(bytes(1024), runtime, 4)]


def _tpm_quotes() -> list[bytes]:
    return [azure.quote_message(bytes(48)), azure.quote_message(b"")]


def _azure_evidence() -> list[bytes]:
    message = _tpm_quotes()[0]
    signature = azure.sign(_tpm_key(), message)
    snp, tdx = _hcl_reports()
    vcek = base64.urlsafe_b64encode(_endorsements()[0]).decode()
    quote = base64.urlsafe_b64encode(_quotes()[1]).decode()
    return [
        _json(azure.evidence(snp, message, signature, vcek=vcek)),
        _json(azure.evidence(tdx, message, signature, version=2, td_quote=quote)),
        *real("azure-*.evidence.json"),
    ]


def _azure_unnumbered() -> list[bytes]:
    message = _tpm_quotes()[0]
    quote = {
        "message": list(message),
        "signature": list(azure.sign(_tpm_key(), message)),
        "pcrs": [list(pcr) for pcr in azure.PCRS],
    }
    snp, tdx = _hcl_reports()
    machine = _amd()[Product.MILAN]
    return [
        _json({"quote": quote, "report": list(snp), "vcek": amd.pem(machine.endorsement()).decode()}),
        _json({"tpm_quote": quote, "hcl_report": list(tdx), "td_quote": list(_quotes()[1])}),
    ]


# -- TPM


def _tpm_evidence() -> list[bytes]:
    return [
        _json(tpm.evidence(_tpm_key(), bytes(48))),
        _json(tpm.evidence(_tpm_key(), b"", event_log="AAAA")),
    ]


def _tpm_signatures() -> list[bytes]:
    return [tpm.marshalled(azure.sign(_tpm_key(), b"")), tpm.marshalled(b"", scheme=0x18)]


def _pcr_event_logs() -> list[bytes]:
    return [PCR_LOG, b""]


# -- RA-TLS, KBS


def _ratls() -> list[bytes]:
    made = [ratls.Draft(form).der() for form in Form]
    real_quote = ratls.Draft(Form.GRAMINE)
    real_quote.extensions = [(Form.GRAMINE.value, False, _quotes()[0])]
    return [*made, real_quote.der(), *real("ratls-*.pem")]


def _ratls_claims() -> list[bytes]:
    draft = ratls.Draft()
    return [draft.claims, draft.content()]


def _requests() -> list[bytes]:
    return [_json({"version": "0.1.1", "tee": "snp", "extra-params": ""}), _json({"nonce": "bm9uY2U="})]


def _attestations() -> list[bytes]:
    runtime = evidence.RUNTIME.wire()
    kinds = {
        "azure-snp-vtpm": _azure_evidence()[0],
        "azure-tdx-vtpm": _azure_evidence()[1],
        "sgx": _intel_evidence()[0],
        "simulated": _statements_signed()[0],
        "snp": _snp_evidence()[0],
        "tdx": _intel_evidence()[3],
    }
    return [
        _json(
            {
                "runtime-data": runtime,
                "tee-evidence": {"primary_evidence": json.loads(each), "additional_evidence": "{}"},
            }
        )
        for each in kinds.values()
    ]


def _statements() -> list[bytes]:
    return [
        canonical_json(
            SimulatedStatement.of(
                measurement="ab" * 32,
                role="driver",
                svn=1,
                debug=False,
                report_data=evidence.RUNTIME.report_data(),
                host=evidence.HOST_ID,
            ).wire()
        )
    ]


def _statements_signed() -> list[bytes]:
    issuer = SimulatedIssuer(evidence.HOST, StatedImage(measurement="ab" * 32, role="driver", svn=1))
    return [_json(issuer.issue(evidence.RUNTIME.report_data()))]


# -- files of the command line


def _evidence_files() -> list[bytes]:
    quote, report = _quotes()[0], _reports()[0]
    armour = b"-----BEGIN QUOTE-----\n" + base64.encodebytes(quote) + b"-----END QUOTE-----\n"
    return [
        *_quotes(),
        *_reports()[:2],
        *_ratls(),
        *_sigstructs(),
        *_azure_evidence(),
        *_azure_unnumbered(),
        *_intel_evidence()[:2],
        *_snp_evidence(),
        *_attestations(),
        *(_json({"attestation_report": json.loads(each), "cert_chain": []}) for each in _reports_in_json()),
        quote.hex().encode(),
        " ".join(f"{byte:02x}" for byte in report).encode(),
        " ".join(f"0x{byte:02x}" for byte in report).encode(),
        base64.b64encode(quote),
        base64.b64encode(base64.b64encode(report)),
        armour,
        _json(quote.hex()),
        _json(list(report)),
        quote + bytes(512),
        b"\xff\xfe" + report.hex().encode("utf-16-le"),
        *_collaterals()[:1],
    ]


def _endorsement_files() -> list[bytes]:
    return [
        *_collaterals(),
        *_bundles(),
        *_crls(),
        *_endorsements(),
        *_signed_json(),
        *real("*.collateral.json", "*ask-ark.pem"),
    ]


def _collateral_files() -> list[bytes]:
    authority = _intel()[0].authority
    certificates = (authority.root, authority.platform_ca, authority.tcb_signer)
    parts = intel.pem(*(each.certificate for each in certificates)).encode()
    for der in (intel.crl(authority.root), intel.crl(authority.platform_ca)):
        parts += x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    collaterals = _collaterals()
    return [join(each, collaterals[1], b"") for each in (*collaterals[:1], *_bundles())] + [
        join(*_signed_json(), parts)
    ]


def _signed_json() -> list[bytes]:
    authority = _intel()[0].authority
    documents = {"tcbInfo": authority.tcb_info("SGX"), "enclaveIdentity": authority.qe_identity("SGX")}
    return [
        b'{"%s":%s,"signature":"%s"}'
        % (
            name.encode(),
            text.encode(),
            intel.raw_signature(authority.tcb_signer.key, text.encode()).hex().encode(),
        )
        for name, text in documents.items()
    ]


# -- documents


def _policies() -> list[bytes]:
    hardware = POLICY.replace('tee = "simulated"', 'tee = "snp"').replace(
        'logs = "clinic/logs"',
        'logs = "clinic/logs"\n[workload.platform]\nproducts = ["Genoa"]\n'
        "minimum_tcb = { bootloader = 3, tee = 0, snp = 8, microcode = 1 }\n"
        f'registers = {{ measurement = ["{"a" * 96}"] }}',
    )
    inline = 'workload = [{ name = "x", tee = "tdx" }]\n"grant" = []\nversion = 0x1\n# \xe9\n'
    return [POLICY.encode(), hardware.encode(), inline.encode()]


def _listing() -> Listing:
    files = [{"path": f"part-{number}", "size": number, "binding": "ab" * 32} for number in range(3)]
    fields = {"table": "0f" * 16, "owner": "clinic", "location": "x", "format": "files", "serial": 1}
    return Listing.model_validate({**fields, "key": "clinic/patients", "files": files})


def _commits() -> list[bytes]:
    files = _listing().model_dump(mode="json")["files"]
    return [_json({"location": "x", "table": "0f" * 16, "base_serial": 0, "files": files})]


@cache
def _sealed() -> list[bytes]:
    vectors = json.loads((TESTS / "vectors" / "sealed" / "sealed.json").read_bytes())["cases"]
    found = (base64.b64decode(case["sealed"]) for case in vectors if "sealed" in case)
    return [each for each in found if len(each) <= 8192]


def _parquet_tails() -> list[bytes]:
    footer = b"crypto metadata and footer"
    encrypted = b"PARE" + b"pages" + footer + len(footer).to_bytes(4, "little") + b"PARE"
    return [encrypted, b"PAR1" + encrypted[4:-4] + b"PAR1", b"PARE"]


def _images() -> list[bytes]:
    return [Image.model_validate(documents.IMAGE).canonical()]


def _launches() -> list[bytes]:
    made = {"broker.local": "https://127.0.0.1:8443", "args": "--year=2013 abc", "cores": "4"}
    return [_json(made), _json({"broker.local": "https://[::1]/"})]


def _notes() -> list[bytes]:
    note = sign_checkpoint(7, bytes(range(32)), documents.OWNER)
    return [note.encode(), (note + note.splitlines()[-1] + "\n").encode()]


def _proofs() -> list[bytes]:
    leaves = [leaf_hash(bytes([number])) for number in range(7)]

    def node(level: int, position: int) -> bytes:
        if level == 0:
            return leaves[position]
        return pair_hash(node(level - 1, 2 * position), node(level - 1, 2 * position + 1))

    def proof(one: int, other: int, root: bytes, other_root: bytes, path: list[bytes]) -> bytes:
        return one.to_bytes(8, "big") + other.to_bytes(8, "big") + root + other_root + b"".join(path)

    new = root_hash(7, node)
    return [
        *(proof(old, 7, root_hash(old, node), new, consistency_path(old, 7, node)) for old in (1, 3, 4, 6)),
        proof(7, 7, new, new, []),
        proof(5, 7, leaves[5], new, inclusion_path(5, 7, node)),
    ]


def _resources() -> list[bytes]:
    point = documents.WORKLOAD.public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(each.to_bytes(32, "big")).rstrip(b"=").decode()
        for each in (point.x, point.y)
    )
    return [_json(seal_to({"x": x, "y": y}, b'{"version":1}'))]


def _tokens() -> list[bytes]:
    claims = Claims(
        tee=Tee.SIMULATED,
        measurement="ab" * 32,
        role="driver",
        svn=1,
        debug=False,
        hardware_id="cd" * 32,
        tee_pubkey=evidence.RUNTIME.tee_pubkey.wire(),
        launch={},
    )
    return [documents.TOKENS.issue(claims, "nonce", known=True, now=documents.NOW).encode()]


def _accepted_brokers() -> list[bytes]:
    simulated = (
        f'version = 1\ntee = "simulated"\nmeasurements = ["{"ab" * 32}"]\nhosts = ["{_encode(bytes(32))}"]\n'
    )
    snp = f'version = 1\ntee = "snp"\nmeasurements = ["{"ab" * 32}"]\n[platform]\nhighest_vmpl = 1\n'
    return [simulated.encode(), snp.encode()]


def _introductions() -> list[bytes]:
    authority = intel.pem(_intel()[0].authority.root.certificate)
    return [
        _json({"authority": authority, "collateral": [_collaterals()[0].decode()]}),
        _json({"authority": authority, "certificates": [_bundles()[0].decode()]}),
    ]


def _serving_requests() -> list[bytes]:
    tensors = write_request({"x": np.ones((2, 2), np.float32), "t": np.array(["a", "b"])}, ["y"])
    plain = {"id": "7", "inputs": [{"name": "x", "datatype": "INT8", "shape": [2], "data": [1, 2]}]}
    assert tensors.json_bytes is not None
    return [tensors.json_bytes.to_bytes(2, "big") + bytes(tensors.data), b"\xff\xff" + _json(plain)]


def _grpc_requests() -> list[bytes]:
    raw = ModelInferRequest(
        model_name="m", model_version="3", id="7", raw_input_contents=[bytes(8), b"\1\0\0\0a"]
    )
    raw.inputs.add(name="x", datatype="FP32", shape=[2])
    raw.inputs.add(name="t", datatype="BYTES", shape=[1]).parameters["a"].double_param = 0.5
    raw.outputs.add(name="y")
    plain = ModelInferRequest(model_name="m")
    plain.inputs.add(name="x", datatype="INT8", shape=[2]).contents.int_contents.extend([1, -2])
    plain.inputs.add(name="t", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    plain.parameters["timeout"].int64_param = 7
    return [raw.SerializeToString(), plain.SerializeToString()]


def _sealed_requests() -> list[bytes]:
    file = Path(__file__).parents[1] / "vectors/serving/requests.json"
    return [bytes.fromhex(case["data"]) for case in json.loads(file.read_bytes())["requests"][:6]]


def _serving_introductions() -> list[bytes]:
    image = StatedImage(measurement="ab" * 32, role="driver", svn=1)
    issuer = SimulatedIssuer(evidence.HOST, image)
    own = OwnEvidence("simulated", image, lambda runtime: issuer.issue(runtime.report_data()))
    worker = WorkerIdentity(own, ["localhost"], documents.NOW)
    return [_json(worker.introduce(documents.POOL, worker.leaf(documents.POOL, documents.NOW)))]


def _attested_certificates() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    image = StatedImage(measurement="ab" * 32, role="broker", svn=1)
    issuer = SimulatedIssuer(evidence.HOST, image)
    extension = evidence_extension(
        key.public_key(), "cd" * 32, "simulated", lambda runtime: issuer.issue(runtime.report_data()), image
    )
    signer = intel.issue("broker", extra=[extension], key=key)
    return [
        signer.certificate.public_bytes(Encoding.DER),
        intel.issue("plain").certificate.public_bytes(Encoding.DER),
    ]


def _mesh_certificates() -> list[bytes]:
    uri = x509.UniformResourceIdentifier(f"spiffe://{'ab' * 32}/job/{'0f' * 16}/role/driver")
    name = x509.SubjectAlternativeName([uri, x509.DNSName("driver.confide.internal")])
    return [intel.issue("mesh", extra=[name]).certificate.public_bytes(Encoding.DER)]


def _programs() -> list[bytes]:
    return [
        b'# /// script\n# requires-python = ">=3.11"\n# dependencies = ["numpy>=2", "pandas[x]; os_name<\'4\'"]\n'
        b'# [tool.confide]\n# args = ["--year=20[0-9]{2}"]\n# ///\nimport os\n',
        b"print(1)\n",
    ]


def _recovery_sets() -> list[bytes]:
    owners = {
        name: RecoveryPublicKey(X25519PrivateKey.from_private_bytes(bytes([number]) * 32).public_key())
        for number, name in enumerate(("ana", "ben", "cleo"), start=1)
    }
    return [split_root(bytes(range(32)), "0f" * 16, 2, owners).canonical()]


def _recovery_answers() -> list[bytes]:
    return [Answer(set="ab" * 32, index=1, to="cd" * 32, sealed=encode(bytes(80))).canonical()]


def _recovery_keys() -> list[bytes]:
    keys = X25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    return [key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in keys]


def _key_uris() -> list[bytes]:
    return [
        b"file:///home/ana/.confide/root.json",
        b"sealed:mrenclave",
        b"vault://vault.example:8200/transit/confide?ca=/etc/ca.pem&role=confide",
        b"aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd?endpoint=https://kms.example&ca=/etc/ca.pem",
        b"pkcs11:token=confide;object=root;id=%01%02?module-path=/usr/lib/softhsm/libsofthsm2.so",
    ]


def _certificate_requests() -> list[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(intel.name("member"))
    return [builder.sign(key, SHA256()).public_bytes(Encoding.PEM)]


_MADE: dict[str, Callable[[], list[bytes]]] = {
    "intel-quote": lambda: [*_quotes(), *real("*.quote.bin")],
    "intel-verify": _intel_verify,
    "intel-collateral": _intel_collateral,
    "intel-evidence": _intel_evidence,
    "event-log": _event_logs,
    "sigstruct": _sigstructs,
    "snp-report": _reports,
    "snp-report-in-json": _reports_in_json,
    "snp-verify": _snp_verify,
    "snp-evidence": _snp_evidence,
    "snp-certificate": _endorsements,
    "snp-crl": _crls,
    "snp-certificate-table": _certificate_tables,
    "azure-hcl": _hcl_reports,
    "azure-runtime": _runtimes,
    "azure-tpm-quote": _tpm_quotes,
    "azure-evidence": _azure_evidence,
    "azure-unnumbered": _azure_unnumbered,
    "tpm-evidence": _tpm_evidence,
    "tpm-signature": _tpm_signatures,
    "pcr-event-log": _pcr_event_logs,
    "ratls-certificate": _ratls,
    "ratls-claims": _ratls_claims,
    "kbs-request": _requests,
    "verify-command": _evidence_files,
    "endorsement-files": _endorsement_files,
    "collateral-files": _collateral_files,
    "collateral-name": lambda: [
        b"intel/tdx/50806F000000/platform",
        b"amd/Milan/vcek",
        b"amd/Turin/vcek/00/1.2.3.4.5",
    ],
    "signed-json": _signed_json,
    "policy": _policies,
    "policy-jws": lambda: [_json(sign_policy(POLICY.encode(), documents.OWNER))],
    "listing": lambda: [_listing().canonical()],
    "listing-jws": lambda: [_json(sign_listing(_listing(), documents.OWNER, "clinic"))],
    "commit": _commits,
    "sealed-header": _sealed,
    "sealed-file": _sealed,
    "parquet-tail": _parquet_tails,
    "parquet-identifier": lambda: [b"clinic/patients/1@" + b"0f" * 16],
    "image": _images,
    "launch": _launches,
    "launch-arguments": lambda: [b"--year=2013 'a b'"],
    "checkpoint": _notes,
    "checkpoint-key": lambda: [verifier_key(documents.OWNER.public_key()).encode()],
    "audit-proof": _proofs,
    "resource": _resources,
    "token": _tokens,
    "accepted-broker": _accepted_brokers,
    "introduction": _introductions,
    "attested-certificate": _attested_certificates,
    "mesh-request": _certificate_requests,
    "mesh-member": _mesh_certificates,
    "serving-configuration": lambda: [
        b'version = 1\nmodels = ["a.onnx"]\nplain_requests = true\n[model.iris]\nmax_batch = 8\n'
    ],
    "serving-request": _serving_requests,
    "grpc-request": _grpc_requests,
    "sealed-request": _sealed_requests,
    "serving-introduction": _serving_introductions,
    "script-metadata": _programs,
    "recovery-set": _recovery_sets,
    "recovery-answer": _recovery_answers,
    "recovery-key": _recovery_keys,
    "key-uri": _key_uris,
    "key-name": lambda: [b"clinic/patients:12", b"clinic/patients"],
}
assert _MADE.keys() == TARGETS.keys()
