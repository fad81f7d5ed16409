"""Key provider `pkcs11:`: an AES key that stays in a PKCS#11 token (an HSM, a smart card, SoftHSM).

The token wraps with its own key: AES-256-GCM (CKM_AES_GCM, PKCS#11 v2.40 section 2.12), the context as AAD. What is
wrapped looks like everywhere else: nonce (12) || ciphertext || tag (16).

A key is used only if
1. the URI names exactly one token, which has CKM_AES_GCM,
2. the PIN opens it,
3. exactly one secret key there has that label and id,
4. it is AES with 256 bits, and may encrypt and decrypt,
5. it is sensitive and not extractable: it cannot leave the token.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confide.errors import (
    ConfideError,
    MissingDependency,
    Misuse,
    ProviderRefused,
    ProviderUnavailable,
    Tampered,
    WrongPassphrase,
)
from confide.keys.material import NONCE_BYTES, SECRET_BYTES, TAG_BYTES
from confide.keys.pkcs11_uri import Pkcs11Uri

if TYPE_CHECKING:
    import pkcs11

SECRET = "PIN"  # noqa: S105 - a name


@dataclass(frozen=True)
class Pkcs11Key:
    """A key in a token. A `KeyProvider`. Each operation logs in and out again."""

    uri: Pkcs11Uri
    _pin: str = field(repr=False)

    @classmethod
    def open(cls, uri: Pkcs11Uri, pin: bytes) -> Pkcs11Key:
        """Find the key and see that it may be used.

        Raises:
            WrongPassphrase: step 2 fails.
            ProviderRefused: the PIN is locked or expired, or step 3, 4 or 5 fails.
            ProviderUnavailable: the module cannot be loaded, or there is no such token.
            MissingDependency: python-pkcs11 is not installed.
        """
        try:
            provider = cls(uri, pin.decode("utf-8"))
        except UnicodeDecodeError:
            raise WrongPassphrase("the PIN is not UTF-8 text") from None
        with provider._key():
            return provider

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Wrap `secret` in the token, `context` as AAD.

        Raises:
            ProviderRefused, ProviderUnavailable, WrongPassphrase: as `open`.
        """
        nonce = os.urandom(NONCE_BYTES)
        with self._key() as key:
            return nonce + bytes(key.encrypt(secret, **_gcm(nonce, context)))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Reverse `wrap`.

        Raises:
            Tampered: another key, another context, or changed bytes.
            ProviderRefused, ProviderUnavailable, WrongPassphrase: as `open`.
        """
        import pkcs11.exceptions as failures

        if len(wrapped) < NONCE_BYTES + TAG_BYTES:
            raise Tampered("wrapped key is too short")
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        with self._key() as key:
            try:
                return bytes(key.decrypt(sealed, **_gcm(nonce, context)))
            # PKCS#11 has no code of its own for a wrong tag: SoftHSM answers CKR_GENERAL_ERROR.
            except (
                failures.EncryptedDataInvalid,
                failures.EncryptedDataLenRange,
                failures.SignatureInvalid,
                failures.GeneralError,
                failures.FunctionFailed,
            ):
                raise Tampered("wrapped key does not authenticate under the token's key") from None

    @contextlib.contextmanager
    def _key(self) -> Iterator[Any]:
        """Steps 1 to 5; logged in within the block."""
        library = pkcs11_library()
        token = None
        try:
            token = find_token(self.uri)
            if library.Mechanism.AES_GCM not in token.slot.get_mechanisms():
                raise ProviderRefused(f"token {token.label!r} has no AES-GCM (CKM_AES_GCM)")
            with token.open(user_pin=self._pin) as session:
                yield self._checked(session)
        except library.PKCS11Error as error:
            raise translated(error, self.uri, token) from None

    def _checked(self, session: pkcs11.Session) -> pkcs11.Key:
        """Steps 3 to 5."""
        from pkcs11 import Attribute, KeyType, ObjectClass

        meant: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.SECRET_KEY}
        if self.uri.object is not None:
            meant[Attribute.LABEL] = self.uri.object
        if self.uri.id is not None:
            meant[Attribute.ID] = self.uri.id
        keys: list[Any] = list(session.get_objects(meant))
        if len(keys) != 1:
            raise ProviderRefused(
                f"{len(keys)} secret keys in the token have that object label and id; it must be one. "
                "The token's administrator makes it: AES, 256 bits, sensitive, not extractable"
            )
        key = keys[0]
        if key[Attribute.KEY_TYPE] != KeyType.AES or key[Attribute.VALUE_LEN] != SECRET_BYTES:
            raise ProviderRefused("the key in the token is not an AES key of 256 bits")
        if not (key[Attribute.ENCRYPT] and key[Attribute.DECRYPT]):
            raise ProviderRefused(
                "the key in the token may not encrypt and decrypt (CKA_ENCRYPT, CKA_DECRYPT)"
            )
        if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
            raise ProviderRefused(
                "the key can leave its token: it must be sensitive and not extractable "
                "(CKA_SENSITIVE true, CKA_EXTRACTABLE false)"
            )
        return key  # type: ignore[no-any-return]


def open_uri(uri: str, secrets: Mapping[str, bytes]) -> Pkcs11Key:
    """Open `pkcs11:token=...;object=...?module-path=...` with `secrets["PIN"]`.

    Raises:
        Misuse: not such a URI, or no PIN given.
        ProviderRefused, ProviderUnavailable, WrongPassphrase, MissingDependency: as `Pkcs11Key.open`.
    """
    parsed = Pkcs11Uri.parse(uri)
    if SECRET not in secrets:
        raise Misuse("the token needs its PIN")
    return Pkcs11Key.open(parsed, secrets[SECRET])


def find_token(uri: Pkcs11Uri) -> pkcs11.Token:
    """Return the one token that a URI names.

    Raises:
        ProviderUnavailable: its module cannot be loaded, or none or several tokens of it are meant.
        MissingDependency: python-pkcs11 is not installed.
    """
    library = pkcs11_library()
    try:
        module = library.lib(str(uri.module))
    except library.PKCS11Error as error:
        why = str(error) or type(error).__name__
        raise ProviderUnavailable(f"cannot load the PKCS#11 module {uri.module}: {why}") from None
    found = [token for token in module.get_tokens() if _is_meant(token, uri)]
    if len(found) != 1:
        known = ", ".join(sorted({token.label for token in module.get_tokens() if token.label})) or "none"
        raise ProviderUnavailable(
            f"{len(found)} tokens of {uri.module} are the one meant (there are: {known})"
        )
    token: pkcs11.Token = found[0]
    return token


def pkcs11_library() -> Any:
    """Return the module of python-pkcs11.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import pkcs11
    except ImportError:
        raise MissingDependency(
            "keys in PKCS#11 tokens need python-pkcs11: install the extra `confide[pkcs11]`"
        ) from None
    return pkcs11


def _gcm(nonce: bytes, context: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism

    return {
        "mechanism": Mechanism.AES_GCM,
        "mechanism_param": GCMParams(nonce, aad=context, tag_bits=8 * TAG_BYTES),
    }


def _is_meant(token: pkcs11.Token, uri: Pkcs11Uri) -> bool:
    is_like = (
        (uri.token, token.label),
        (uri.serial, token.serial.decode("utf-8", "replace").strip()),
        (uri.manufacturer, token.manufacturer_id),
        (uri.model, token.model),
    )
    return all(asked in (None, said) for asked, said in is_like)


def translated(error: Exception, uri: Pkcs11Uri, token: pkcs11.Token | None) -> ConfideError:
    """Return what the token answered, in our words."""
    import pkcs11.exceptions as failures
    from pkcs11.constants import TokenFlag

    where = f"token {uri.token or uri.serial!r}"
    match error:
        case failures.PinIncorrect() | failures.PinInvalid() | failures.PinLenRange():
            last = token is not None and bool(token.flags & TokenFlag.USER_PIN_FINAL_TRY)
            return WrongPassphrase(f"{where} refuses the PIN" + ("; one try is left" if last else ""))
        case failures.PinLocked():
            return ProviderRefused(f"the PIN of {where} is locked: its security officer unlocks it")
        case failures.PinExpired():
            return ProviderRefused(f"the PIN of {where} has expired: set a new one")
        case failures.UserPinNotInitialized():
            return ProviderRefused(f"{where} has no user PIN yet: its security officer sets it")
        case failures.MechanismInvalid() | failures.MechanismParamInvalid() | failures.KeyTypeInconsistent():
            return ProviderRefused(f"{where} does not do this with that key ({type(error).__name__})")
        case failures.AttributeTypeInvalid() | failures.AttributeSensitive():
            return ProviderRefused(f"{where} does not tell what its key is ({type(error).__name__})")
    said = f"{type(error).__name__} {error}".strip()
    return ProviderUnavailable(f"{where} does not answer as it should: {said}")
