"""GUIDs in the table of certificates that a host passes to SNP guests.

Source: SEV-ES Guest-Hypervisor Communication Block Standardization, section 4.1.8.1 (SNP Extended Guest Request).
"""

from __future__ import annotations

from uuid import UUID

CERTIFICATE_TYPES = {
    UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"): "ARK",
    UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"): "ASK",
    UUID("63da758d-e664-4564-adc5-f4b93be8accd"): "VCEK",
    UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1"): "VLEK",
}
"""GUID -> what the certificate is; an ASVK goes by `ASK`."""
