"""The release: what an attested workload receives, and what it may do with it.

It travels as the plaintext of a JWE to the workload's key, and from the agent to the workload over a Unix
socket inside the enclave. Format: docs/formats/release.md.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from confide.data.listing import Format, KeyNameText, Listing, OwnerText, TableId
from confide.document import StrictModel
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName


class Access(StrEnum):
    """`read`, or `write`, which includes reading back what the location holds."""

    READ = "read"
    WRITE = "write"


class ReleasedKey(StrictModel):
    """A named key with the secrets of its live versions.

    Attributes:
        current: version that wraps new data keys; None where the workload may only read.
        versions: version -> secret, base64 of 32 bytes.
    """

    current: int | None
    versions: dict[str, str] = Field(repr=False)
    revoked: Annotated[tuple[int, ...], Field(strict=False)] = ()


class Grant(StrictModel):
    """What a workload may do at one location.

    Attributes:
        owner: the owner who granted it.
        location: as the policy names it: relative to the data root, or an absolute URI prefix.
        access: `read` or `write`.
        format: `table` or `files`.
        key: key of the location.
        columns: column -> key, for tables with column keys.
        table: id of the table that lies there; None where nothing was committed yet.
        listing: newest listing known to the broker; None where nothing was committed yet.
    """

    owner: OwnerText
    location: Annotated[str, Field(min_length=1, max_length=1024)]
    access: Annotated[Access, Field(strict=False)]
    format: Annotated[Format, Field(strict=False)]
    key: KeyNameText
    columns: dict[str, KeyNameText] = Field(default_factory=dict)
    table: TableId | None = None
    listing: Listing | None = None


class Consent(StrictModel):
    """A write under a key of an owner at another broker, to which every owner of this release consents.

    Attributes:
        location, format, key, columns: as in the policies' write grants.
    """

    location: Annotated[str, Field(min_length=1, max_length=1024)]
    format: Annotated[Format, Field(strict=False)]
    key: KeyNameText
    columns: dict[str, KeyNameText] = Field(default_factory=dict)


class Release(StrictModel):
    """Keys and grants of one workload, from every owner that takes part.

    Attributes:
        workload: name in the owners' policies.
        owners: who granted, sorted.
        keys: key name -> key.
        grants: what may be read and written where.
        consents: writes that another broker's owners may grant beside these grants.
        logs: key that the workload's output is sealed under; None: its output is discarded. A key of an owner
            at another broker is only named here.
        requests: key that requests to the workload are sealed to; None: it takes none. Named as `logs` is.
        expires: Unix seconds after which it must not be used.
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    workload: str
    owners: Annotated[tuple[OwnerText, ...], Field(strict=False)]
    keys: dict[str, ReleasedKey]
    grants: Annotated[tuple[Grant, ...], Field(strict=False)]
    consents: Annotated[tuple[Consent, ...], Field(strict=False)] = ()
    logs: KeyNameText | None = None
    requests: KeyNameText | None = None
    expires: int

    def keyset(self) -> Keyset:
        """Return the released keys, ready to wrap and unwrap."""
        named = {}
        for text, key in self.keys.items():
            name = KeyName.parse(text)
            secrets = {int(v): base64.b64decode(s, validate=True) for v, s in key.versions.items()}
            named[name] = NamedKey(name, key.current, secrets, frozenset(key.revoked))
        return Keyset(named)
