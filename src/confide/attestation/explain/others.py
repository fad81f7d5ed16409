"""Fields of Azure's evidence, of certificates with evidence and of SIGSTRUCTs, in words."""

from __future__ import annotations

import hashlib
import json

from asn1crypto import x509

from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.hcl import HclReport, Runtime
from confide.attestation.explain.document import Field, Group, Link
from confide.attestation.explain.intel import attribute_flags
from confide.attestation.intel.sigstruct import Sigstruct
from confide.attestation.ratls.certificate import RatlsCertificate
from confide.attestation.ratls.forms import Form
from confide.attestation.tpm.quote import TpmQuote

_PCRS = {
    0: "firmware",
    1: "the firmware's configuration",
    2: "option ROMs",
    3: "their configuration",
    4: "boot loader: every EFI program that was started",
    5: "partition table, the boot loader's configuration",
    6: "resume from sleep; vendor's",
    7: "Secure Boot: whether it is on, and its keys",
    8: "GRUB: commands and kernel command line",
    9: "files that GRUB read; or the kernel's initrd",
    10: "files that the kernel measured (IMA)",
    11: "unified kernel image and boot phases (systemd)",
    12: "kernel command line and credentials (systemd)",
    13: "system extensions (systemd)",
    14: "keys of shim (MOK)",
    15: "identity of the system: machine id, volumes (systemd)",
    16: "debugging: anyone may reset it",
    23: "applications: anyone may reset it",
}
_FORMS = {
    Form.TAGGED: "TCG DICE: a quote and claims, in CBOR",
    Form.GRAMINE: "Gramine's legacy extension: a quote",
    Form.SGX_SDK: "Intel SGX SDK's extension: a quote",
}
_HASHES = {1: "SHA-256", 7: "SHA-384", 8: "SHA-512"}
_SIGSTRUCT = {
    "mrenclave": "measurement that the enclave will have; a policy's `measurements`",
    "isv_prod_id": "product, as its author numbers it",
    "isv_svn": "security version, as its author numbers it; a policy's `minimum_svn`",
    "attributes": "how the enclave is to run (8 bytes), and which registers it may use (8 bytes)",
    "attributes_mask": "which of these the processor enforces; the rest is open to whoever starts it",
    "misc_select": "which details of exceptions the enclave is told",
    "misc_mask": "which of these the processor enforces",
    "isv_family_id": "family of products (KSS)",
    "isv_ext_prod_id": "extended product id (KSS)",
    "vendor": "0: not Intel's, 32902 (0x8086): Intel's",
    "swdefined": "free for the author",
    "exponent": "of its author's RSA key",
    "modulus": "of its author's RSA key, little-endian",
    "signature": "by that key, little-endian",
    "q1": "helps the processor to verify the signature",
    "q2": "helps the processor to verify the signature",
}


def azure_groups(
    evidence: AzureEvidence, hcl: HclReport, runtime: Runtime | None, quote: TpmQuote | None
) -> tuple[Group, ...]:
    """Return what the paravisor and the TPM say; the hardware's part is explained by itself."""
    tpm = [
        Field(
            "form", evidence.version, "of the evidence: in 2 the hardware report carries the guest's data too"
        ),
        Field(
            "runtime_data_sha256",
            hashlib.sha256(hcl.runtime_json).hexdigest(),
            "must be the hardware's report_data",
        ),
    ]
    if quote is not None:
        tpm += [
            Field(
                "extra_data",
                quote.extra_data.hex(),
                f"what the guest had signed along{_said(quote.extra_data)}",
            ),
            Field("pcr_digest", quote.pcr_digest.hex(), "SHA-256 over the 24 PCRs below"),
            Field("firmware_version", f"{quote.firmware:#x}", "of the TPM, as its vendor counts"),
        ]
    if runtime is not None:
        numbers = runtime.attestation_key.public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        tpm += [
            Field(
                "attestation_key_sha256",
                hashlib.sha256(modulus).hexdigest(),
                "of the modulus of the TPM's key",
            ),
            Field(
                "user_data",
                runtime.user_data.hex(),
                "what the guest put into the hardware report; zeros: nothing",
            ),
            *(
                Field(f"vm.{name[:40]}", json.dumps(value)[:120], "setting of the VM, as the paravisor says")
                for name, value in sorted(runtime.configuration.items())[:24]
            ),
        ]
    pcrs = tuple(
        Field(f"pcr{index}", value.hex(), _PCRS.get(index, ""))
        for index, value in enumerate(evidence.tpm_quote.pcrs)
    )
    return Group("vtpm", "Virtual TPM", tuple(tpm)), Group("pcrs", "PCRs (SHA-256)", pcrs)


def ratls_group(certificate: RatlsCertificate) -> Group:
    """Return what a certificate with evidence says beside its evidence."""
    digest = hashlib.sha256(certificate.public_key).hexdigest()
    fields = [
        Field("form", certificate.form.value, _FORMS[certificate.form]),
        Field("key", certificate.key.curve.name, "kind of key that is certified"),
        Field("key_sha256", digest, "of that key (SubjectPublicKeyInfo): what the evidence must bind"),
        Field("self_issued", certificate.self_issued, "names itself as its issuer, as it must"),
    ]
    if certificate.claims is not None:
        nonce = certificate.claims.nonce.hex() or None
        fields += [
            Field(
                "claims_hash", _HASHES[certificate.claims.hash_algorithm], "by which its claims name the key"
            ),
            Field("claims_pubkey_hash", certificate.claims.pubkey_hash.hex(), "key that its claims name"),
            Field("claims_nonce", nonce, "what made it fresh; compared with nothing here"),
        ]
    return Group("certificate", "Certificate with evidence (RA-TLS)", tuple(fields))


def ratls_link(der: bytes, certificate: RatlsCertificate) -> Link:
    """Return the certificate itself, which asn1crypto reads where `cryptography` does not."""
    parsed = x509.Certificate.load(der)
    return Link(
        role="certificate with evidence",
        subject=parsed.subject.human_friendly,
        issuer=parsed.issuer.human_friendly,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        serial=f"{parsed.serial_number:x}",
        sha256=hashlib.sha256(der).hexdigest(),
    )


def sigstruct_group(found: Sigstruct) -> Group:
    """Return the fields of a SIGSTRUCT."""
    fields = [
        Field("mrsigner", found.mrsigner.hex(), "identity of its author: SHA-256 of the modulus"),
        Field("date", found.date or None, "that its author put in"),
    ]
    for name, meaning in _SIGSTRUCT.items():
        value = found.fields[name]
        if isinstance(value, bytes):
            marks = attribute_flags(name, value) if name != "attributes_mask" else ()
            fields.append(Field(name, value.hex(), meaning, marks))
        else:
            fields.append(Field(name, value, meaning))
    return Group("sigstruct", "Enclave, as its author signed it", tuple(fields))


def _said(data: bytes) -> str:
    return f": {data.decode()!r}" if data and all(0x20 <= each < 0x7F for each in data) else ""
