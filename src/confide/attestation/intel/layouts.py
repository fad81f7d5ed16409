"""Layouts of Intel quotes: header, bodies, what starts the signature data.

Sources: Intel SGX ECDSA QuoteLibReference, Quote Generation (version 3: sgx_quote_3.h); Intel TDX DCAP Quoting Library
API (version 4 and 5: sgx_quote_4.h, sgx_quote_5.h); Intel SDM volume 3D, REPORT structure; Intel TDX Module ABI
specification, TDREPORT_STRUCT.
"""

from __future__ import annotations

from dataclasses import dataclass

from confide.attestation.claims import Tee
from confide.attestation.layout import Field, Layout

HEADER = Layout(
    "quote header",
    48,
    (
        Field("version", 0, 2, number=True),
        Field("attestation_key_type", 2, 2, number=True),
        Field("tee_type", 4, 4, number=True),  # reserved in version 3, zero as for SGX
        Field("qe_svn", 8, 2, number=True),
        Field("pce_svn", 10, 2, number=True),
        Field("qe_vendor_id", 12, 16),
        Field("user_data", 28, 20),
    ),
)

BODY_DESCRIPTOR = Layout(
    "quote body descriptor",
    6,
    (Field("body_type", 0, 2, number=True), Field("body_size", 2, 4, number=True)),
)
"""Between header and body, in version 5 only."""

SGX_REPORT = Layout(
    "SGX report body",
    384,
    (
        Field("cpu_svn", 0, 16),
        Field("misc_select", 16, 4),
        Field("ext_prod_id", 32, 16),
        Field("attributes", 48, 16),
        Field("mrenclave", 64, 32),
        Field("mrsigner", 128, 32),
        Field("config_id", 192, 64),
        Field("isv_prod_id", 256, 2, number=True),
        Field("isv_svn", 258, 2, number=True),
        Field("config_svn", 260, 2, number=True),
        Field("family_id", 304, 16),
        Field("report_data", 320, 64),
    ),
)

_TDX_10 = (
    Field("tee_tcb_svn", 0, 16),
    Field("mrseam", 16, 48),
    Field("mrsignerseam", 64, 48),
    Field("seam_attributes", 112, 8),
    Field("td_attributes", 120, 8),
    Field("xfam", 128, 8),
    Field("mrtd", 136, 48),
    Field("mrconfigid", 184, 48),
    Field("mrowner", 232, 48),
    Field("mrownerconfig", 280, 48),
    Field("rtmr0", 328, 48),
    Field("rtmr1", 376, 48),
    Field("rtmr2", 424, 48),
    Field("rtmr3", 472, 48),
    Field("report_data", 520, 64),
)
_TDX_15 = (*_TDX_10, Field("tee_tcb_svn2", 584, 16), Field("mrservicetd", 600, 48))
_TDX_15_EX = (
    *_TDX_15,
    Field("vmid", 648, 1, number=True),
    Field("td_id", 649, 32),
    Field("dev_info", 681, 48),
    Field("init_service_td_hash", 729, 48),
    Field("init_service_td_attributes", 777, 8),
    Field("init_cpu_svn", 785, 16),
    Field("init_tee_tcb_svn", 801, 16),
    Field("init_tee_fmspc", 817, 12),
    Field("current_service_td_hash", 829, 48),
    Field("current_service_td_attributes", 877, 8),
)


@dataclass(frozen=True)
class BodyType:
    """A kind of quote body.

    Attributes:
        name: for people.
        tee: kind of TEE that it reports on.
        layout: of the body.
    """

    name: str
    tee: Tee
    layout: Layout


BODY_TYPES = {
    1: BodyType("SGX", Tee.SGX, SGX_REPORT),
    2: BodyType("TDX 1.0", Tee.TDX, Layout("TDX 1.0 body", 584, _TDX_10)),
    3: BodyType("TDX 1.5", Tee.TDX, Layout("TDX 1.5 body", 648, _TDX_15)),
    4: BodyType("TDX 1.5ex", Tee.TDX, Layout("TDX 1.5ex body", 885, _TDX_15_EX)),
}
"""By their numbers in version 5; versions 3 and 4 have 1 and 2."""

SIGNATURE = Layout(
    "quote signature",
    128,
    (Field("signature", 0, 64), Field("attestation_key", 64, 64)),
)
"""ECDSA over P-256: r and s, then x and y, big-endian."""

QE_REPORT_SIGNATURE_BYTES = 64
