"""Fields of SNP reports, in words."""

from __future__ import annotations

from confide.attestation.amd.certificates import Endorsement
from confide.attestation.amd.report import Product, Report, SigningKey
from confide.attestation.explain import flags
from confide.attestation.explain.document import Field, Group
from confide.attestation.explain.flags import decode
from confide.errors import InvalidFormat

_GUEST = {
    "measurement": "measurement of the guest at its launch: firmware, and what the launcher measured with it",
    "host_data": "32 bytes that the host stated at launch; init-data's digest where that is used",
    "report_data": "64 bytes that the guest had signed along: what binds a nonce or a key",
    "vmpl": "privilege level that asked for the report: 0 the most privileged; a policy's `highest_vmpl`",
    "guest_svn": "security version of the guest, by its owner",
    "family_id": "family of guests, by its owner",
    "image_id": "image, by its owner",
    "id_key_digest": "SHA-384 of the key that signed the identity block; zeros: none",
    "author_key_digest": "SHA-384 of the key that certified that one; zeros: none",
    "report_id": "of this guest, until it ends",
    "report_id_ma": "of its migration agent; ff…: none",
}
_TCBS = {
    "reported_tcb": "reported to guests: what the endorsement key stands for",
    "committed_tcb": "committed: the machine cannot go back behind it",
    "launch_tcb": "when the guest was launched",
    "current_tcb": "running now",
}
_COMPONENTS = {
    "fmc": "first mutable code of the security processor",
    "bootloader": "boot loader of the security processor",
    "tee": "operating system of the security processor",
    "snp": "SNP firmware",
    "microcode": "microcode",
}


def report_groups(report: Report, endorsement: Endorsement | None) -> tuple[Group, ...]:
    """Return the fields of a report; components of its TCB where the product is known."""
    policy, info, key = (report.number(name) for name in ("policy", "platform_info", "key_info"))
    major, minor = report.abi
    guest = Group(
        "workload",
        "Guest",
        (
            *(_field(report, name, meaning) for name, meaning in _GUEST.items()),
            Field(
                "policy",
                f"{policy:#x}",
                f"what its owner lets the host do; ABI {major}.{minor} at least",
                decode(policy >> 16 << 16, flags.GUEST_POLICY, matter=(19,)),
            ),
        ),
    )
    machine = Group(
        "platform",
        "Machine",
        (
            _field(
                report, "chip_id", "of the chip; a policy's `hardware_ids` (not behind a VLEK); zeros: hidden"
            ),
            Field("product", _product(report, endorsement), "generation of EPYC"),
            Field(
                "platform_info",
                f"{info:#x}",
                "settings of the machine",
                decode(info, flags.PLATFORM_INFO, matter=(0, 5)),
            ),
            Field("key_info", f"{key:#x}", _key(report), decode(key & 0b11, flags.KEY_INFO)),
            *_versions(report),
            *(
                _field(report, name, "CPUID, since version 3 of the report")
                for name in ("cpuid_family", "cpuid_model", "cpuid_stepping")
            ),
            *(
                _field(report, name, "mitigations in force, since version 5 of the report")
                for name in ("launch_mit_vector", "current_mit_vector")
            ),
        ),
    )
    product = endorsement.product if endorsement else report.product
    tcb = Group("tcb", "TCB versions", tuple(_tcb_fields(report, product)))
    form = Group(
        "header",
        "Report",
        (
            _field(report, "version", "of the report's format"),
            _field(report, "signature_algo", "1: ECDSA on P-384 with SHA-384"),
            _field(report, "signature_r", "signature, little-endian"),
            _field(report, "signature_s", "signature, little-endian"),
        ),
    )
    return guest, machine, tcb, form


def endorsement_group(endorsement: Endorsement) -> Group:
    """Return what the certificate of an endorsement key says."""
    tcb = ", ".join(f"{name} {version}" for name, version in endorsement.tcb.items())
    return Group(
        "endorsement",
        "Endorsement key, by its certificate",
        (
            Field("kind", endorsement.kind.name, "VCEK: the chip's own; VLEK: lent to a cloud provider"),
            Field("product", str(endorsement.product), "generation of EPYC"),
            Field("tcb", tcb, "TCB that it stands for: must be the reported one"),
            Field("hardware_id", endorsement.hardware_id.hex() or None, "of the chip"),
            Field("provider", endorsement.provider or None, "that a VLEK was lent to"),
        ),
    )


def _tcb_fields(report: Report, product: Product | None) -> list[Field]:
    fields = []
    for name, meaning in _TCBS.items():
        fields.append(Field(name, report.octets(name).hex(), meaning))
        if product is None:
            continue
        try:
            components = report.tcb(name, product)
        except InvalidFormat:
            continue
        stem = name.removesuffix("_tcb")
        fields += [Field(f"{stem}.{part}", svn, _COMPONENTS[part]) for part, svn in components.items()]
    return fields


def _versions(report: Report) -> list[Field]:
    return [
        Field(
            f"{name}_version",
            ".".join(str(report.number(f"{name}_{part}")) for part in ("major", "minor", "build")),
            meaning,
        )
        for name, meaning in (("current", "SNP firmware, running"), ("committed", "SNP firmware, committed"))
    ]


def _product(report: Report, endorsement: Endorsement | None) -> str | None:
    product = report.product or (endorsement.product if endorsement else None)
    return None if product is None else str(product)


def _key(report: Report) -> str:
    key = report.signing_key
    names = {SigningKey.VCEK: "signed by the VCEK, the chip's own key", SigningKey.VLEK: "signed by a VLEK"}
    return (
        "not signed"
        if key is SigningKey.NONE
        else names.get(key, "signed by a key of unknown kind")
        if key is not None
        else "signed by a key of unknown kind"
    )


def _field(report: Report, name: str, meaning: str) -> Field:
    value = report.fields[name]
    return Field(name, value.hex() if isinstance(value, bytes) else value, meaning)
