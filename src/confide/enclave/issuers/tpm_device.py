"""What an issuer asks a TPM 2.0: what an NV index holds, what the PCRs are, a quote of them, and a key for that.

Spoken directly to the kernel's resource manager, as commands of fixed form without secrets; nothing here verifies
anything. Source: Trusted Platform Module Library, Part 3: Commands (TPM2_NV_ReadPublic, TPM2_NV_Read, TPM2_PCR_Read,
TPM2_Quote, TPM2_CreatePrimary, TPM2_FlushContext), Part 2: Structures. Numbers are big-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from confide.attestation.tpm.structures import TpmReader
from confide.errors import InvalidFormat

TPM = Path("/dev/tpmrm0")

_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_NV_READ, _QUOTE, _NV_READ_PUBLIC, _PCR_READ = 0x14E, 0x158, 0x169, 0x17E
_CREATE_PRIMARY, _FLUSH_CONTEXT = 0x131, 0x165
_OWNER, _ENDORSEMENT = 0x40000001, 0x4000000B
_EMPTY_PASSWORD = struct.pack(
    ">I I H B H", 9, 0x40000009, 0, 0, 0
)  # TPM_RS_PW, no nonce, no attributes, no value
_RSA, _SHA256, _RSASSA, _NULL = 0x0001, 0x000B, 0x0014, 0x0010
_KEY_BITS, _EXPONENT = 2048, 65537
_ATTRIBUTES = 0x00050072  # fixed to this TPM and made in it, restricted, signs, password (empty)
_KEY_HEAD = struct.pack(">HHIHHHHHI", _RSA, _SHA256, _ATTRIBUTES, 0, _NULL, _RSASSA, _SHA256, _KEY_BITS, 0)
"""TPMT_PUBLIC of the attestation key up to its modulus."""
_PCRS = 24
_NV_PART_BYTES = 512
_MAX_NV_BYTES = 16 * 1024
_MAX_RESPONSE_BYTES = 4096


@dataclass(frozen=True)
class SignedQuote:
    """What TPM2_Quote gives: the TPMS_ATTEST and the RSASSA signature (SHA-256) over it."""

    message: bytes
    signature: bytes


class Tpm:
    """A TPM on an open descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_nv(self, index: int) -> bytes:
        """Return what an NV index holds, read with the owner's authorisation, whose password is empty.

        Raises:
            OSError: the TPM refuses, as for an index that is not there.
            InvalidFormat: it answers nonsense.
        """
        public = TpmReader(self._ask(_NV_READ_PUBLIC, struct.pack(">I", index))).sized()
        size = int.from_bytes(public[-2:], "big")  # dataSize ends TPMS_NV_PUBLIC
        if not 0 < size <= _MAX_NV_BYTES:
            raise InvalidFormat(f"TPM: an NV index of {size} bytes")
        content = b""
        while len(content) < size:
            wanted = min(size - len(content), _NV_PART_BYTES)
            parameters = struct.pack(">HH", wanted, len(content))
            part = self._ask_authorised(_NV_READ, struct.pack(">II", _OWNER, index), parameters).sized()
            if len(part) != wanted:
                raise InvalidFormat("TPM: less of an NV index than was asked for")
            content += part
        return content

    def read_pcrs(self) -> tuple[bytes, ...]:
        """Return the 24 values of the SHA-256 bank.

        Raises:
            OSError: the TPM refuses.
            InvalidFormat: it has no such bank, or answers nonsense.
        """
        values: dict[int, bytes] = {}
        while len(values) < _PCRS:
            wanted = set(range(_PCRS)) - values.keys()
            answer = TpmReader(self._ask(_PCR_READ, _selection(wanted)))
            answer.take(4)  # update counter: a quote tells better whether a value changed
            given = _selected(answer)
            digests = [answer.sized() for _ in range(answer.number(4))]
            if not given or not set(given) <= wanted or len(digests) != len(given):
                raise InvalidFormat("TPM: no SHA-256 bank of 24 PCRs")
            values.update(zip(given, digests, strict=True))
        return tuple(values[index] for index in range(_PCRS))

    @contextmanager
    def attestation_key(self) -> Iterator[tuple[int, RSAPublicKey]]:
        """Yield handle and public half of this TPM's attestation key, an RSA key of 2048 bits.

        It is a primary key of the endorsement hierarchy, whose password is empty: derived from the TPM's seed, always
        the same, stored nowhere. It is restricted, so that it signs only what the TPM itself says.

        Raises:
            OSError: the TPM refuses.
            InvalidFormat: it answers nonsense.
        """
        template = _KEY_HEAD + struct.pack(">H", 0)
        parameters = struct.pack(">HHH", 4, 0, 0) + struct.pack(">H", len(template)) + template
        message = struct.pack(">I", _ENDORSEMENT) + _EMPTY_PASSWORD + parameters + struct.pack(">HI", 0, 0)
        answer = TpmReader(self._ask(_CREATE_PRIMARY, message, _SESSIONS))
        handle = answer.number(4)
        answer.take(4)  # size of the parameters
        public = TpmReader(answer.sized())
        try:
            if public.take(len(_KEY_HEAD)) != _KEY_HEAD:
                raise InvalidFormat("TPM: another key than was asked for")
            modulus = int.from_bytes(public.sized(), "big")
            try:
                key = RSAPublicNumbers(_EXPONENT, modulus).public_key()
            except ValueError:
                raise InvalidFormat("TPM: not an RSA key") from None
            yield handle, key
        finally:
            self._ask(_FLUSH_CONTEXT, struct.pack(">I", handle))

    def quote(self, key: int, data: bytes) -> SignedQuote:
        """Return a quote of the 24 PCRs of the SHA-256 bank.

        Args:
            key: handle of the signing key, whose password is empty.
            data: signed along, at most as long as the TPM's longest digest.

        Raises:
            OSError: the TPM refuses.
            InvalidFormat: it signs by another scheme than RSASSA with SHA-256, or answers nonsense.
        """
        parameters = (
            struct.pack(">H", len(data)) + data + struct.pack(">H", _NULL) + _selection(set(range(_PCRS)))
        )
        answer = self._ask_authorised(_QUOTE, struct.pack(">I", key), parameters)
        message = answer.sized()
        if (answer.number(2), answer.number(2)) != (_RSASSA, _SHA256):
            raise InvalidFormat("TPM: the key does not sign by RSASSA with SHA-256")
        return SignedQuote(message, answer.sized())

    def _ask_authorised(self, command: int, handles: bytes, parameters: bytes) -> TpmReader:
        answer = TpmReader(self._ask(command, handles + _EMPTY_PASSWORD + parameters, _SESSIONS))
        return TpmReader(answer.take(answer.number(4)))

    def _ask(self, command: int, body: bytes, tag: int = _NO_SESSIONS) -> bytes:
        message = struct.pack(">HII", tag, 10 + len(body), command) + body
        if os.write(self._descriptor, message) != len(message):
            raise OSError("TPM: the command was not taken whole")
        answer = os.read(self._descriptor, _MAX_RESPONSE_BYTES)
        if len(answer) < 10:
            raise InvalidFormat("TPM: no answer")
        _, size, code = struct.unpack_from(">HII", answer)
        if code:
            raise OSError(f"TPM: refused with code {code:#x}")
        if size != len(answer):
            raise InvalidFormat("TPM: an answer of another size than it says")
        return answer[10:]


@contextmanager
def open_tpm(device: Path = TPM) -> Iterator[Tpm]:
    """Open the kernel's resource manager of the TPM, for one caller at a time.

    Raises:
        OSError: there is none, or it is not accessible.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield Tpm(descriptor)
    finally:
        os.close(descriptor)


def _selection(pcrs: set[int]) -> bytes:
    bits = sum(1 << pcr for pcr in pcrs)
    return struct.pack(">IHB", 1, _SHA256, 3) + bits.to_bytes(3, "little")


def _selected(answer: TpmReader) -> list[int]:
    """Return the PCRs of a TPML_PCR_SELECTION that selects of the SHA-256 bank alone."""
    if answer.number(4) != 1 or answer.number(2) != _SHA256:
        raise InvalidFormat("TPM: PCRs of another bank")
    bits = int.from_bytes(answer.take(answer.number(1)), "little")
    return [pcr for pcr in range(_PCRS) if bits >> pcr & 1]
