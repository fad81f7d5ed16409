"""Where AMD's Key Distribution Service keeps certificates and CRLs. Addresses only: nothing is fetched here.

Source: Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification (AMD 57230), section 4.
A VLEK is only given to cloud providers, which pass it on with the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from confide.attestation.amd.report import CHIP_ID_BYTES, TCB_LAYOUTS, Product
from confide.errors import InvalidFormat

KDS = "https://kdsintf.amd.com"
HARDWARE_ID_BYTES = {Product.MILAN: 64, Product.GENOA: 64, Product.TURIN: 8}

Kind = Literal["vcek", "vlek"]

_PARAMETERS = {
    "fmc": "fmcSPL",
    "bootloader": "blSPL",
    "tee": "teeSPL",
    "snp": "snpSPL",
    "microcode": "ucodeSPL",
}


def vcek_url(product: Product, chip_id: bytes, tcb: Mapping[str, int], base: str = KDS) -> str:
    """Return the address of a chip's certificate (DER).

    Args:
        product: generation of the chip.
        chip_id: the report's 64 bytes.
        tcb: components of the report's `reported_tcb`.
        base: of a mirror that keeps the same paths.

    Raises:
        InvalidFormat: no chip id (the machine hides it) or none of this product, or other components than it has.
    """
    size = HARDWARE_ID_BYTES[product]
    if len(chip_id) != CHIP_ID_BYTES or not any(chip_id) or any(chip_id[size:]):
        raise InvalidFormat(f"not the chip id of a {product}")
    names = [component.name for component in TCB_LAYOUTS[product].fields]
    if set(names) != set(tcb) or not all(0 <= tcb[name] <= 255 for name in names):
        raise InvalidFormat(f"not the TCB components of a {product}: {', '.join(names)}")
    query = "&".join(f"{_PARAMETERS[name]}={tcb[name]}" for name in names)
    return f"{base}/vcek/v1/{product}/{chip_id[:size].hex()}?{query}"


def chain_url(product: Product, kind: Kind = "vcek", base: str = KDS) -> str:
    """Return the address of the intermediate and root certificate (PEM) over keys of `kind`."""
    return f"{base}/{kind}/v1/{product}/cert_chain"


def crl_url(product: Product, kind: Kind = "vcek", base: str = KDS) -> str:
    """Return the address of the root's CRL (DER)."""
    return f"{base}/{kind}/v1/{product}/crl"
