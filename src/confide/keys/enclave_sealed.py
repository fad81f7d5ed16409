"""Key provider `sealed:`: a key that the processor gives to one enclave only, through Gramine.

Gramine shows two keys of SGX (EGETKEY, SEAL_KEY) as pseudo-files of 16 bytes in /dev/attestation/keys:
`_sgx_mrenclave` is the same for this very enclave on this very machine, `_sgx_mrsigner` for all enclaves of its signer.
Neither is known to anybody else, the machine's operator included. HKDF-SHA-256 (RFC 5869) makes a key of it that wraps.

It is used only if
1. this is an SGX enclave: Gramine shows `my_target_info`, which `gramine-direct` does not have,
2. the pseudo-file is there and has 16 bytes, not all zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confide.errors import Misuse, ProviderUnavailable
from confide.keys.material import SECRET_BYTES, unwrap_with, wrap_with

ATTESTATION = Path("/dev/attestation")
SEAL_KEY_BYTES = 16
KINDS: Mapping[str, str] = {"mrenclave": "_sgx_mrenclave", "mrsigner": "_sgx_mrsigner"}
"""What follows `sealed:` in the URI -> name of the pseudo-file."""

_INFO = b"confide/v1/enclave-seal/"


@dataclass(frozen=True)
class EnclaveSealed:
    """The processor's sealing key. A `KeyProvider`."""

    kind: str
    _secret: bytes = field(repr=False)

    @classmethod
    def open(cls, kind: str, attestation: Path = ATTESTATION) -> EnclaveSealed:
        """Take the key from Gramine.

        Args:
            kind: `mrenclave` or `mrsigner`.
            attestation: folder of Gramine's pseudo-files.

        Raises:
            Misuse: no such kind.
            ProviderUnavailable: step 1 or 2 fails.
        """
        if kind not in KINDS:
            raise Misuse(f"no sealing key {kind!r}: sealed:mrenclave or sealed:mrsigner")
        if not (attestation / "my_target_info").exists():
            raise ProviderUnavailable(
                "not in an SGX enclave under Gramine: only there the processor gives a sealing key"
            )
        path = attestation / "keys" / KINDS[kind]
        try:
            with path.open("rb", buffering=0) as file:
                key = file.read(SEAL_KEY_BYTES + 1) or b""
        except OSError as error:
            raise ProviderUnavailable(f"Gramine gives no sealing key at {path}: {error.strerror}") from None
        if len(key) != SEAL_KEY_BYTES or key == bytes(SEAL_KEY_BYTES):
            raise ProviderUnavailable(f"{path} holds no key of {SEAL_KEY_BYTES} bytes")
        info = _INFO + KINDS[kind].encode()
        return cls(kind, HKDF(hashes.SHA256(), SECRET_BYTES, salt=None, info=info).derive(key))

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Wrap `secret` under the sealing key, `context` as AAD."""
        return wrap_with(self._secret, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Reverse `wrap`.

        Raises:
            Tampered: another enclave, machine or signer, another context, or changed bytes.
        """
        return unwrap_with(self._secret, wrapped, context)


def open_uri(uri: str, secrets: Mapping[str, bytes]) -> EnclaveSealed:
    """Open `sealed:mrenclave` or `sealed:mrsigner`; it takes no secret.

    Raises:
        Misuse: not such a URI, or a secret is given.
        ProviderUnavailable: as `EnclaveSealed.open`.
    """
    if secrets:
        raise Misuse("a sealed key takes no passphrase: the processor knows its enclave")
    return EnclaveSealed.open(uri.removeprefix("sealed:"))
