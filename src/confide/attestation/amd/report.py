"""SNP attestation reports: read, and not verified.

Source: SEV Secure Nested Paging Firmware ABI Specification (AMD 56860), tables ATTESTATION_REPORT, TCB_VERSION,
Guest Policy. Version 3 added the CPUID fields, version 5 the mitigation vectors; before, those bytes are reserved.
What is reserved must be zero: firmware that says more than is understood here must not pass for less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag, StrEnum

from confide.attestation.layout import Field, Layout
from confide.errors import InvalidFormat

REPORT_BYTES = 1184
SIGNED_BYTES = 0x2A0
VERSIONS = (2, 3, 5)
CHIP_ID_BYTES = 64

LAYOUT = Layout(
    "SNP report",
    REPORT_BYTES,
    (
        Field("version", 0x00, 4, number=True),
        Field("guest_svn", 0x04, 4, number=True),
        Field("policy", 0x08, 8, number=True),
        Field("family_id", 0x10, 16),
        Field("image_id", 0x20, 16),
        Field("vmpl", 0x30, 4, number=True),
        Field("signature_algo", 0x34, 4, number=True),
        Field("current_tcb", 0x38, 8),
        Field("platform_info", 0x40, 8, number=True),
        Field("key_info", 0x48, 4, number=True),
        Field("report_data", 0x50, 64),
        Field("measurement", 0x90, 48),
        Field("host_data", 0xC0, 32),
        Field("id_key_digest", 0xE0, 48),
        Field("author_key_digest", 0x110, 48),
        Field("report_id", 0x140, 32),
        Field("report_id_ma", 0x160, 32),
        Field("reported_tcb", 0x180, 8),
        Field("cpuid_family", 0x188, 1, number=True),
        Field("cpuid_model", 0x189, 1, number=True),
        Field("cpuid_stepping", 0x18A, 1, number=True),
        Field("chip_id", 0x1A0, CHIP_ID_BYTES),
        Field("committed_tcb", 0x1E0, 8),
        Field("current_build", 0x1E8, 1, number=True),
        Field("current_minor", 0x1E9, 1, number=True),
        Field("current_major", 0x1EA, 1, number=True),
        Field("committed_build", 0x1EC, 1, number=True),
        Field("committed_minor", 0x1ED, 1, number=True),
        Field("committed_major", 0x1EE, 1, number=True),
        Field("launch_tcb", 0x1F0, 8),
        Field("launch_mit_vector", 0x1F8, 8, number=True),
        Field("current_mit_vector", 0x200, 8, number=True),
        Field("signature_r", SIGNED_BYTES, 72),
        Field("signature_s", SIGNED_BYTES + 72, 72),
    ),
)


_SINCE = dict.fromkeys(("cpuid_family", "cpuid_model", "cpuid_stepping"), 3) | dict.fromkeys(
    ("launch_mit_vector", "current_mit_vector"), 5
)
"""Field -> first version that has it."""
_KEY_INFO = 0b11111


class Product(StrEnum):
    """Generations of EPYC, each with its own root key; Genoa stands for Bergamo and Siena too."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"


_MODELS = {
    (0x19, Product.MILAN): (range(0x10),),
    (0x19, Product.GENOA): (range(0x10, 0x20), range(0xA0, 0xB0)),
    (0x1A, Product.TURIN): (range(0x12),),
}

_ZEN3_TCB = Layout(
    "TCB version",
    8,
    (
        Field("bootloader", 0, 1, number=True),
        Field("tee", 1, 1, number=True),
        Field("snp", 6, 1, number=True),
        Field("microcode", 7, 1, number=True),
    ),
)
_TURIN_TCB = Layout(
    "TCB version",
    8,
    (
        Field("fmc", 0, 1, number=True),
        Field("bootloader", 1, 1, number=True),
        Field("tee", 2, 1, number=True),
        Field("snp", 3, 1, number=True),
        Field("microcode", 7, 1, number=True),
    ),
)
TCB_LAYOUTS = {Product.MILAN: _ZEN3_TCB, Product.GENOA: _ZEN3_TCB, Product.TURIN: _TURIN_TCB}


class SigningKey(IntEnum):
    """Which key signed a report: KEY_INFO bits 2 to 4."""

    VCEK = 0
    VLEK = 1
    NONE = 7


class PolicyBit(IntFlag):
    """Guest policy: what the guest's owner let the host do; bits 0 to 15 are the lowest ABI version."""

    SMT = 1 << 16
    ALWAYS_ONE = 1 << 17
    MIGRATE_MA = 1 << 18
    DEBUG = 1 << 19
    SINGLE_SOCKET = 1 << 20
    CXL_ALLOW = 1 << 21
    MEM_AES_256_XTS = 1 << 22
    RAPL_DIS = 1 << 23
    CIPHERTEXT_HIDING_DRAM = 1 << 24
    PAGE_SWAP_DISABLE = 1 << 25


KNOWN_POLICY = (1 << 26) - 1
"""Bits that have a meaning; the rest must be zero."""


class PlatformBit(IntFlag):
    """PLATFORM_INFO: settings of the machine."""

    SMT_EN = 1 << 0
    TSME_EN = 1 << 1
    ECC_EN = 1 << 2
    RAPL_DIS = 1 << 3
    CIPHERTEXT_HIDING_DRAM_EN = 1 << 4
    ALIAS_CHECK_COMPLETE = 1 << 5
    SEV_TIO_EN = 1 << 7


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        fields: field of the layout -> value; numbers, else bytes.
        raw: all of it, 1184 bytes.
    """

    fields: Mapping[str, int | bytes]
    raw: bytes = field(repr=False)

    def number(self, name: str) -> int:
        """Return a field that is a number."""
        value = self.fields[name]
        assert isinstance(value, int)
        return value

    def octets(self, name: str) -> bytes:
        """Return a field that is bytes."""
        value = self.fields[name]
        assert isinstance(value, bytes)
        return value

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that whoever asked for the report put into it."""
        return self.octets("report_data")

    @property
    def policy(self) -> PolicyBit:
        """Known bits of the guest policy."""
        return PolicyBit(self.number("policy") & sum(PolicyBit))

    @property
    def abi(self) -> tuple[int, int]:
        """Lowest ABI version that the guest policy demands: major, minor."""
        policy = self.number("policy")
        return policy >> 8 & 0xFF, policy & 0xFF

    @property
    def platform_info(self) -> PlatformBit:
        """Known bits of the platform's settings."""
        return PlatformBit(self.number("platform_info") & sum(PlatformBit))

    @property
    def signing_key(self) -> SigningKey | None:
        """Which key signed; None for a number without a meaning."""
        number = self.number("key_info") >> 2 & 0b111
        return SigningKey(number) if number in set(SigningKey) else None

    @property
    def product(self) -> Product | None:
        """What CPUID says; None where the report does not carry it (version 2) or the model is not known."""
        if self.number("version") < 3:
            return None
        family, model = self.number("cpuid_family"), self.number("cpuid_model")
        for (known, product), ranges in _MODELS.items():
            if family == known and any(model in models for models in ranges):
                return product
        return None

    def tcb(self, name: str, product: Product) -> dict[str, int]:
        """Return the components of one of the report's TCB versions.

        Args:
            name: `current_tcb`, `reported_tcb`, `committed_tcb` or `launch_tcb`.
            product: whose bytes they are.

        Raises:
            InvalidFormat: it has a component that is not known for this product.
        """
        raw, layout = self.octets(name), TCB_LAYOUTS[product]
        if any(layout.reserved(raw)):
            raise InvalidFormat(f"{name} {raw.hex()} has components that {product} is not known to have")
        return {component.name: raw[component.offset] for component in layout.fields}


def parse_report(data: bytes) -> Report:
    """Read a report.

    Raises:
        InvalidFormat: not 1184 bytes, a version other than 2, 3 and 5, or something in what is reserved.
    """
    if len(data) != REPORT_BYTES:
        raise InvalidFormat(f"{len(data)} bytes, a report has {REPORT_BYTES}")
    raw = bytes(data)
    report = Report(LAYOUT.read(raw), raw)
    if report.number("version") not in VERSIONS:
        raise InvalidFormat(f"version {report.number('version')}, known are {', '.join(map(str, VERSIONS))}")
    later = [name for name, version in _SINCE.items() if report.number("version") < version]
    if any(LAYOUT.reserved(raw)) or any(map(report.number, later)) or report.number("key_info") & ~_KEY_INFO:
        raise InvalidFormat(f"reserved bytes of a report of version {report.number('version')} are not zero")
    return report
