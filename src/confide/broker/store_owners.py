"""Owners, simulated hosts and TPMs in the store: names and ids pinned to public keys."""

from __future__ import annotations

import hmac

from confide.attestation.tpm.verify import read_attestation_key
from confide.broker.store_secrets import SecretRecords
from confide.canonical import sha256_hex
from confide.errors import AttestationRefused, SignatureRefused
from confide.keys.names import parse_owner
from confide.keys.signing import key_id, private_key_from_raw, public_key_from_raw, raw_public

_SIGNING_KEY = "owner-signing-key"


class OwnerRecords(SecretRecords):
    """Pinned keys. They are sealed although they are public: whoever may swap them may speak for an owner."""

    def put_owner(self, name: str, public_key: bytes) -> None:
        """Pin an owner's raw public key. Pinning the same key again changes nothing.

        Raises:
            SignatureRefused: the name is pinned to another key.
            Misuse: not an owner's name.
            InvalidFormat: not 32 bytes.
        """
        parse_owner(name)
        public_key_from_raw(public_key)
        with self._database.transaction():
            row = self._database.row("SELECT sealed FROM owner WHERE name = ?", name)
            if row is None:
                sealed = self._seal("owner", name, public_key)
                self._database.run("INSERT INTO owner VALUES (?, ?)", name, sealed)
            elif not hmac.compare_digest(self._unseal("owner", name, row[0]), public_key):
                raise SignatureRefused(f"owner {name} is pinned to another key")

    def owner(self, name: str) -> bytes:
        """Return an owner's raw public key.

        Raises:
            SignatureRefused: no owner of that name is known here.
        """
        row = self._database.row("SELECT sealed FROM owner WHERE name = ?", name)
        if row is None:
            raise SignatureRefused(f"owner {name} is not known here")
        return self._unseal("owner", name, row[0])

    def owners(self) -> dict[str, bytes]:
        """Return every owner's raw public key, by name in order."""
        rows = self._database.rows("SELECT name, sealed FROM owner ORDER BY name")
        return {name: self._unseal("owner", name, sealed) for name, sealed in rows}

    def put_owner_signing_key(self, name: str, private_key: bytes) -> None:
        """Keep an owner's raw private key, and pin its public key. For the owner's own home.

        Raises:
            SignatureRefused: the name is pinned to another key.
            InvalidFormat: not 32 bytes.
        """
        public_key = raw_public(private_key_from_raw(private_key).public_key())
        with self._database.transaction():
            self.put_owner(name, public_key)
            self.put_secret(_SIGNING_KEY, name, private_key)

    def owner_signing_key(self, name: str) -> bytes:
        """Return an owner's raw private key.

        Raises:
            UnknownKey: it is not kept here.
        """
        return self.secret(_SIGNING_KEY, name)

    def enroll_host(self, public_key: bytes) -> str:
        """Enroll a simulated host by its raw public key; again changes nothing. Returns its id.

        Raises:
            InvalidFormat: not 32 bytes.
        """
        return self._enroll(key_id(public_key_from_raw(public_key)), public_key)

    def enroll_tpm(self, attestation_key: bytes) -> str:
        """Enroll a TPM by its attestation key (DER); again changes nothing. Returns its id.

        Raises:
            EvidenceRefused: not a key that a quote is accepted of.
        """
        read_attestation_key(attestation_key)
        return self._enroll(sha256_hex(attestation_key), attestation_key)

    def _enroll(self, host_id: str, public_key: bytes) -> str:
        sealed = self._seal("host", host_id, public_key)
        with self._database.transaction():
            statement = "INSERT INTO host VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            self._database.run(statement, host_id, self._clock(), sealed)
        return host_id

    def host(self, host_id: str) -> bytes:
        """Return the public key of an enrolled host (raw) or TPM (DER).

        Raises:
            AttestationRefused: no such host is enrolled.
        """
        row = self._database.row("SELECT sealed FROM host WHERE id = ?", host_id)
        if row is None:
            raise AttestationRefused(f"host {host_id[:64]} is not enrolled")
        return self._unseal("host", host_id, row[0])

    def hosts(self) -> list[str]:
        """Return the ids of the enrolled hosts and TPMs, sorted."""
        return [row[0] for row in self._database.rows("SELECT id FROM host ORDER BY id")]

    def remove_host(self, host_id: str) -> None:
        """End a host's or TPM's enrollment.

        Raises:
            AttestationRefused: no such host is enrolled.
        """
        with self._database.transaction():
            if not self._database.run("DELETE FROM host WHERE id = ?", host_id):
                raise AttestationRefused(f"host {host_id[:64]} is not enrolled")
