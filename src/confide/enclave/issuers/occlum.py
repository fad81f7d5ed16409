"""Evidence of an SGX enclave under Occlum: two ioctls of its /dev/sgx.

Source: Occlum's documentation, "Remote attestation", and its `sgxioc_gen_dcap_quote_arg_t`: three pointers, to the
report data, to the size of the buffer and to the buffer.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confide.attestation.claims import Tee
from confide.attestation.report_data import REPORT_DATA_BYTES
from confide.enclave.issuers.kernel_files import asking
from confide.enclave.issuers.quote import MAX_QUOTE_BYTES, quote_evidence
from confide.errors import AttestationRefused

SGX = Path("/dev/sgx")
GET_DCAP_QUOTE_SIZE = 0x80047307  # _IOR('s', 7, uint32_t)
GEN_DCAP_QUOTE = 0xC0187308  # _IOWR('s', 8, sgxioc_gen_dcap_quote_arg_t)

Ioctl = Callable[[int, int, bytearray], Any]
"""Descriptor, request, and the argument, which the call may change."""


class OcclumIssuer:
    """Asks Occlum for DCAP quotes.

    Args:
        device: Occlum's device.
        ioctl: the system call.
    """

    def __init__(self, device: Path = SGX, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._device, self._ioctl = device, ioctl

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return a quote that carries 64 bytes of report data.

        Raises:
            AttestationRefused: Occlum issues no quote, or says that it has no sensible size.
        """
        assert len(report_data) == REPORT_DATA_BYTES  # Occlum reads as many, whatever is there
        with asking("Occlum"):
            descriptor = os.open(self._device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                quote = self._quote(descriptor, report_data)
            finally:
                os.close(descriptor)
        return quote_evidence(quote, report_data)

    def _quote(self, descriptor: int, report_data: bytes) -> bytes:
        size = _quote_size(descriptor, self._ioctl)
        if not 0 < size <= MAX_QUOTE_BYTES:
            raise AttestationRefused(f"Occlum says that a quote has {size} bytes")
        data = ctypes.create_string_buffer(report_data, REPORT_DATA_BYTES)
        length = ctypes.c_uint32(size)
        buffer = ctypes.create_string_buffer(size)
        places = [ctypes.addressof(part) for part in (data, length, buffer)]
        self._ioctl(descriptor, GEN_DCAP_QUOTE, bytearray(struct.pack("@3P", *places)))
        return buffer.raw[: length.value]


def detect(device: Path = SGX, ioctl: Ioctl = fcntl.ioctl) -> Tee | None:
    """Return SGX where Occlum answers; on Linux itself no device of that name knows the question."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return Tee.SGX if _quote_size(descriptor, ioctl) else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _quote_size(descriptor: int, ioctl: Ioctl) -> int:
    said = bytearray(4)
    ioctl(descriptor, GET_DCAP_QUOTE_SIZE, said)
    return int.from_bytes(said, "little")
