"""Every parser that sees bytes of others, in one table: what it is given, and what it may raise.

Whoever adds such a parser adds a row here, and seeds in `seeds.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from confide import errors
from confide.errors import ConfideError

from . import documents, evidence

_KB = 1024


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        parse: takes any bytes.
        raises: what it documents that it raises; a subclass must be named too, unless its parent is.
        most: largest input that is tried, in bytes: a little more than the parser takes, and at most 64 KiB.
    """

    parse: Callable[[bytes], object]
    raises: tuple[type[ConfideError], ...]
    most: int = 64 * _KB

    def run(self, data: bytes) -> None:
        """Parse, and check that a refusal can be printed. Whatever else is raised is a bug."""
        try:
            self.parse(data)
        except self.raises as error:
            str(error).encode()


_FORM = (errors.InvalidFormat,)
_EVIDENCE = (errors.EvidenceRefused,)
_VERIFIED = (errors.EvidenceRefused, errors.CollateralUnavailable)

TARGETS = {
    # evidence
    "intel-quote": Target(evidence.intel_quote, _EVIDENCE),
    "intel-verify": Target(evidence.intel_verify, (*_FORM, *_VERIFIED)),
    "intel-collateral": Target(evidence.intel_collateral, (*_FORM, *_VERIFIED)),
    "intel-evidence": Target(evidence.intel_evidence, _EVIDENCE),
    "event-log": Target(evidence.event_log, _EVIDENCE),
    "sigstruct": Target(evidence.sigstruct, _EVIDENCE, 2 * _KB),
    "snp-report": Target(evidence.snp_report, _FORM, 2 * _KB),
    "snp-report-in-json": Target(evidence.snp_report_in_json, _FORM, 16 * _KB),
    "snp-verify": Target(evidence.snp_verify, (*_FORM, *_VERIFIED), 32 * _KB),
    "snp-evidence": Target(evidence.snp_evidence, _EVIDENCE),
    "snp-certificate": Target(evidence.snp_certificate, _FORM, 9 * _KB),
    "snp-crl": Target(evidence.snp_crl, _FORM),
    "snp-certificate-table": Target(evidence.snp_certificate_table, _FORM, 16 * _KB),
    "azure-hcl": Target(evidence.azure_hcl, _FORM, 9 * _KB),
    "azure-runtime": Target(evidence.azure_runtime, _FORM, 8 * _KB),
    "azure-tpm-quote": Target(evidence.azure_tpm_quote, _FORM, 600),
    "azure-evidence": Target(evidence.azure_evidence, _EVIDENCE, 48 * _KB),
    "azure-unnumbered": Target(evidence.azure_unnumbered, _EVIDENCE, 48 * _KB),
    "tpm-evidence": Target(evidence.tpm_evidence, _EVIDENCE, 16 * _KB),
    "tpm-signature": Target(evidence.tpm_signature, _FORM, 1200),
    "pcr-event-log": Target(evidence.pcr_event_log, _EVIDENCE),
    "ratls-certificate": Target(evidence.ratls_certificate, _EVIDENCE),
    "ratls-claims": Target(evidence.ratls_claims, _FORM, 8 * _KB),
    "kbs-request": Target(evidence.kbs_request, _FORM, 5 * _KB),
    "verify-command": Target(evidence.verify_command, _FORM),
    "endorsement-files": Target(evidence.endorsement_files, _FORM),
    "collateral-files": Target(evidence.collateral_files, (*_FORM, errors.Misuse)),
    "collateral-name": Target(evidence.collateral_name, _FORM, 1 * _KB),
    "signed-json": Target(evidence.signed_json, _FORM),
    # documents
    "policy": Target(documents.policy, (errors.InvalidPolicy,)),
    "policy-jws": Target(
        documents.policy_jws, (*_FORM, errors.SignatureRefused, errors.InvalidPolicy, errors.PolicyRefused)
    ),
    "listing": Target(documents.listing, _FORM),
    "listing-jws": Target(documents.listing_jws, (*_FORM, errors.SignatureRefused)),
    "commit": Target(documents.commit, _FORM),
    "sealed-header": Target(documents.sealed_header, (*_FORM, errors.NotEncrypted, errors.Tampered), 5 * _KB),
    "sealed-file": Target(
        documents.sealed_file,
        (*_FORM, errors.NotEncrypted, errors.Tampered, errors.UnknownKey, errors.RevokedKey),
    ),
    "parquet-tail": Target(documents.parquet_tail, (*_FORM, errors.NotEncrypted), 4 * _KB),
    "parquet-identifier": Target(documents.parquet_identifier, _FORM, 1 * _KB),
    "image": Target(documents.image, (errors.InvalidImage,)),
    "launch": Target(documents.launch, (errors.LaunchRefused,), 16 * _KB),
    "launch-arguments": Target(documents.launch_arguments, (errors.LaunchRefused,), 5 * _KB),
    "checkpoint": Target(documents.checkpoint, (errors.Tampered,), 17 * _KB),
    "checkpoint-key": Target(documents.checkpoint_key, (*_FORM, errors.Tampered), 1 * _KB),
    "audit-proof": Target(documents.audit_proof, (errors.Tampered,), 4 * _KB),
    "resource": Target(documents.resource, (errors.Tampered,)),
    "token": Target(documents.token, (errors.AttestationRefused,)),
    "accepted-broker": Target(documents.accepted_broker, _FORM, 17 * _KB),
    "introduction": Target(documents.introduction, _FORM),
    "attested-certificate": Target(documents.attested_certificate, _FORM),
    "mesh-request": Target(documents.mesh_request, _FORM, 9 * _KB),
    "mesh-member": Target(documents.mesh_member, _FORM, 9 * _KB),
    "serving-configuration": Target(documents.serving_configuration, _FORM, 65 * _KB),
    "serving-request": Target(documents.serving_request, _FORM),
    "grpc-request": Target(documents.grpc_request, _FORM),
    "sealed-request": Target(
        documents.sealed_request, (*_FORM, errors.Tampered, errors.UnknownKey, errors.Unavailable)
    ),
    "serving-introduction": Target(documents.serving_introduction, (*_FORM, errors.AttestationRefused)),
    "script-metadata": Target(documents.script_metadata, (errors.InvalidImage,)),
    "recovery-set": Target(documents.recovery_set, _FORM),
    "recovery-answer": Target(documents.recovery_answer, _FORM, 5 * _KB),
    "recovery-key": Target(documents.recovery_key, _FORM, 5 * _KB),
    "key-uri": Target(documents.key_uri, (errors.Misuse, errors.ProviderUnavailable), 5 * _KB),
    "key-name": Target(documents.key_name, (errors.Misuse,), 1 * _KB),
}
