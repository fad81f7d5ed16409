"""Fields of SGX and TDX quotes, in words."""

from __future__ import annotations

from collections.abc import Mapping

from confide.attestation.claims import Tee
from confide.attestation.explain import flags
from confide.attestation.explain.document import Field, Flag, Group
from confide.attestation.explain.flags import decode, little
from confide.attestation.intel.pck import Pck
from confide.attestation.intel.quote import Quote

_HEADER = {
    "version": "of the quote's format",
    "attestation_key_type": "2: ECDSA on P-256",
    "tee_type": "0: SGX, 129: TDX",
    "qe_svn": "security version of the quoting enclave",
    "pce_svn": "security version of the provisioning certification enclave",
    "qe_vendor_id": "vendor of the quoting enclave; 939a7233… is Intel",
    "user_data": "free data of the quoting enclave; Intel's: an id of the machine in the first 16 bytes",
}
_SGX = {
    "mrenclave": "measurement of the enclave's code and data at its start; a policy's `measurements`",
    "mrsigner": "SHA-256 of the key that signed the enclave",
    "isv_prod_id": "product, as its signer numbers it; a policy's `isv_prod_id`",
    "isv_svn": "security version, as its signer numbers it; a policy's `minimum_svn`",
    "report_data": "64 bytes that the enclave had signed along: what binds a nonce or a key",
    "attributes": "how the enclave runs (8 bytes), and which registers it may use (8 bytes)",
    "misc_select": "which details of exceptions the enclave is told",
    "config_id": "configuration that the enclave was started with (KSS)",
    "config_svn": "security version of that configuration (KSS)",
    "family_id": "family of products (KSS)",
    "ext_prod_id": "extended product id (KSS)",
    "cpu_svn": "security versions of the processor, as the enclave saw them",
}
_TDX = {
    "mrtd": "measurement of the TD at its start: the virtual firmware",
    "rtmr0": "run-time measurements: the firmware's configuration (by convention, as PCR 1 and 7)",
    "rtmr1": "run-time measurements: boot loader and kernel (by convention, as PCR 2 to 6)",
    "rtmr2": "run-time measurements: kernel command line, initrd, operating system (by convention, PCR 8 to 15)",
    "rtmr3": "run-time measurements: left to applications",
    "mrconfigid": "configuration that the host stated at launch; init-data's digest where that is used",
    "mrowner": "owner that the host stated at launch",
    "mrownerconfig": "configuration by that owner, stated at launch",
    "report_data": "64 bytes that the guest had signed along: what binds a nonce or a key",
    "td_attributes": "how the TD runs",
    "xfam": "which extended registers the TD may use",
    "tee_tcb_svn": "security versions of the TDX module and its loader, when the TD was launched",
    "tee_tcb_svn2": "the same of the TDX module that runs now",
    "mrseam": "measurement of the TDX module",
    "mrsignerseam": "signer of the TDX module; zeros: Intel",
    "seam_attributes": "attributes of the TDX module; zeros in production",
    "mrservicetd": "service TDs that are bound to it; must be zeros",
}
_ORDER = {Tee.SGX: tuple(_SGX), Tee.TDX: tuple(_TDX)}
_TITLES = {Tee.SGX: "Enclave", Tee.TDX: "Trust domain (TD)"}
_QE = (
    "mrenclave",
    "mrsigner",
    "isv_prod_id",
    "isv_svn",
    "attributes",
    "misc_select",
    "cpu_svn",
    "report_data",
)
_QE_WORDS = {
    "mrenclave": "measurement of Intel's quoting enclave; the collateral says by whom it must be signed",
    "isv_prod_id": "product, as Intel numbers its enclaves",
    "isv_svn": "security version, which the collateral judges",
    "report_data": "SHA-256 of attestation key and authentication data, which it so vouches for",
}


def quote_groups(quote: Quote) -> tuple[Group, ...]:
    """Return the fields of a quote."""
    words = _SGX if quote.tee is Tee.SGX else _TDX
    known = [name for name in _ORDER[quote.tee] if name in quote.body]
    known += [name for name in quote.body if name not in known]
    body = Group(
        "workload", _TITLES[quote.tee], tuple(_field(name, quote.body[name], words) for name in known)
    )
    header = Group(
        "header", "Quote", tuple(_field(name, value, _HEADER) for name, value in quote.header.items())
    )
    quoting = Group(
        "quoting_enclave",
        "Quoting enclave, which signed",
        (
            *(_field(name, quote.qe_report[name], {**_SGX, **_QE_WORDS}) for name in _QE),
            Field("attestation_key", quote.attestation_key.hex(), "its public key (P-256: x, y)"),
            Field("qe_auth_data", quote.qe_auth_data.hex(), "what its report covers with that key"),
            Field("signature", quote.signature.hex(), "of header and body by the attestation key (r, s)"),
            Field(
                "qe_report_signature", quote.qe_report_signature.hex(), "of its report by the platform's key"
            ),
        ),
    )
    return body, platform_group(quote.pck), quoting, header


def platform_group(pck: Pck) -> Group:
    """Return what a platform's certificate says."""
    return Group(
        "platform",
        "Platform, by its certificate (PCK)",
        (
            Field("fmspc", pck.fmspc, "kind of platform: which collateral is needed"),
            Field("ca", pck.ca, "Intel's authority that certified it: platform (servers) or processor"),
            Field("piid", _hex(pck.piid), "platform instance id; a policy's `hardware_ids`"),
            Field("ppid", pck.ppid.hex(), "platform provisioning id; `hardware_ids` where there is no PIID"),
            Field("cpu_svn", pck.cpu_svn.hex(), "security versions of the processor's components"),
            Field("pce_svn", pck.pce_svn, "security version of the provisioning certification enclave"),
            Field("pce_id", pck.pce_id.hex(), "which provisioning certification enclave"),
            Field("smt", pck.smt, "hyperthreads are on; a policy's `allow_smt`"),
            Field(
                "dynamic_platform", pck.dynamic_platform, "packages can be added; `allow_dynamic_platform`"
            ),
            Field(
                "cached_keys",
                pck.cached_keys,
                "Intel's registration server keeps its keys; `allow_cached_keys`",
            ),
        ),
    )


def attribute_flags(name: str, value: bytes) -> tuple[Flag, ...]:
    """Return the flags of a field of SGX or TDX that has any."""
    if name in ("attributes", "attributes_mask"):
        enclave = decode(little(value[:8]), flags.SGX_ATTRIBUTES, matter=(1,) if name == "attributes" else ())
        return enclave + decode(little(value[8:]), flags.XFRM)
    if name == "misc_select":
        return decode(little(value), flags.MISC_SELECT)
    if name == "td_attributes":
        return decode(little(value), flags.TD_ATTRIBUTES, matter=(0, 28))
    return decode(little(value), flags.XFRM) if name == "xfam" else ()


def _field(name: str, value: int | bytes, words: Mapping[str, str]) -> Field:
    meaning = words.get(name, "")
    if isinstance(value, bytes):
        return Field(name, value.hex(), meaning, attribute_flags(name, value))
    return Field(name, value, meaning)


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
