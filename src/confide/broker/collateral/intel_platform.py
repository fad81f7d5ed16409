"""Collateral of Intel's for one kind of platform and one TEE, as an item."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from confide.attestation.claims import Tee
from confide.attestation.intel.collateral import Collateral, Part
from confide.attestation.intel.quote import Quote
from confide.attestation.intel.verify_collateral import verify_collateral
from confide.broker.collateral.item import Roots
from confide.broker.collateral.sources import Sources
from confide.errors import CollateralUnavailable, InvalidFormat

_REMEMBERED = 256
_TEES = ("sgx", "tdx")
_CAS = ("platform", "processor")
_FMSPC = re.compile(r"[0-9a-fA-F]{12}")


@dataclass(frozen=True)
class IntelPlatform:
    """A kind of platform.

    Attributes:
        tee: SGX or TDX.
        fmspc: 12 upper-case hex digits.
        ca: `platform` or `processor`.
    """

    tee: Tee
    fmspc: str
    ca: str

    @classmethod
    def of(cls, quote: Quote | Collateral) -> IntelPlatform:
        """Return the platform of a quote, or that collateral is for."""
        return cls(quote.tee, quote.fmspc, quote.ca)

    @classmethod
    def parse(cls, tee: str, fmspc: str, ca: str) -> IntelPlatform:
        """Read what an option or a name says.

        Raises:
            InvalidFormat: no platform, and what it would look like.
        """
        if tee not in _TEES or ca not in _CAS or not _FMSPC.fullmatch(fmspc):
            raise InvalidFormat(
                f"no TEE (sgx, tdx), FMSPC (12 hex digits) and CA (platform, processor): {tee} {fmspc} {ca}"
            )
        return cls(Tee(tee), fmspc.upper(), ca)

    @property
    def name(self) -> str:
        """`intel/tdx/50806F000000/platform`."""
        return f"intel/{self.tee.value}/{self.fmspc}/{self.ca}"

    @property
    def title(self) -> str:
        """For people."""
        return f"collateral for {self.tee.value.upper()} on Intel platforms {self.fmspc} ({self.ca} CA)"

    @property
    def options(self) -> str:
        """Of `confide collateral fetch`."""
        return f"--tee {self.tee.value} --fmspc {self.fmspc} --ca {self.ca}"

    def server(self, sources: Sources) -> str | None:
        """The PCS or PCCS."""
        return None if sources.pcs is None else sources.pcs.base

    def fetch(self, sources: Sources) -> bytes:
        """Ask the PCS or PCCS."""
        if sources.pcs is None:
            raise CollateralUnavailable("nothing is fetched here")
        return sources.pcs.collateral(self.tee, self.fmspc, self.ca).to_json()

    def read(self, document: bytes) -> Collateral:
        """Read JSON."""
        return _read(document)

    def parts(self, value: Collateral) -> tuple[Part, ...]:
        """TCB info, QE identity, CRLs."""
        return value.parts

    def verify(self, value: Collateral, now: int, roots: Roots) -> None:
        """As `verify_collateral`, and that it is for this platform."""
        found = IntelPlatform.of(value)
        if found != self:
            raise CollateralUnavailable(f"this is {found.title}")
        verify_collateral(value, now, root_der=roots.intel)


@functools.lru_cache(maxsize=_REMEMBERED)
def _read(document: bytes) -> Collateral:
    return Collateral.from_json(document)
