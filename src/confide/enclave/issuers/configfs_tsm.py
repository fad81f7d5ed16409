"""Evidence of a confidential VM (TDX, SEV-SNP) from Linux 6.7 or newer: configfs-tsm.

Source: the kernel's Documentation/ABI/testing/configfs-tsm-report. A folder made there is a request: `inblob` takes
the report data when it is closed, `outblob` gives the report, `generation` counts the writes.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confide.attestation.claims import Tee
from confide.enclave.issuers.kernel_files import asking, read_attribute, write_attribute
from confide.enclave.issuers.quote import quote_evidence
from confide.enclave.issuers.snp import snp_evidence
from confide.errors import AttestationRefused

REPORTS = Path("/sys/kernel/config/tsm/report")
MAX_BLOB_BYTES = 32 * 1024  # TSM_REPORT_OUTBLOB_MAX
_MAX_ATTRIBUTE_BYTES = 4096

PROVIDERS = {"tdx_guest": Tee.TDX, "sev_guest": Tee.SNP}


class TsmIssuer:
    """Asks the kernel for TD quotes or SNP reports.

    Args:
        tee: what the kernel must be a guest of.
        reports: folder of the requests.
    """

    def __init__(self, tee: Tee, reports: Path = REPORTS) -> None:
        self._tee, self._reports = tee, reports

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return a quote or report that carries 64 bytes of report data.

        Raises:
            AttestationRefused: the kernel issues none, is a guest of something else, or was asked by someone else
                through the same request meanwhile.
        """
        with asking("configfs-tsm"), _request(self._reports) as request:
            self._check_provider(request)
            writes = 1
            if level := self._level(request):  # 0 unless written
                write_attribute(request / "privlevel", str(level).encode())
                writes += 1
            write_attribute(request / "inblob", report_data)
            report = read_attribute(request / "outblob", MAX_BLOB_BYTES)
            certificates = self._certificates(request)
            self._check_provider(request)
            generation = _text(request / "generation")
        if generation != str(writes):
            raise AttestationRefused(
                f"configfs-tsm: generation {generation} after {writes} writes: someone else asked meanwhile"
            )
        if self._tee is Tee.TDX:
            return quote_evidence(report, report_data)
        with asking("configfs-tsm"):
            return snp_evidence(report, certificates, report_data)

    def _check_provider(self, request: Path) -> None:
        provider = _text(request / "provider")
        if PROVIDERS.get(provider) is not self._tee:
            raise AttestationRefused(
                f"configfs-tsm: the provider is {provider}, which gives no {self._tee} evidence"
            )

    def _level(self, request: Path) -> int:
        """Return the most privileged VMPL for which the kernel may have a SNP report made."""
        if self._tee is not Tee.SNP:
            return 0
        try:
            floor = _text(request / "privlevel_floor")
        except FileNotFoundError:
            return 0
        if floor not in ("0", "1", "2", "3"):
            raise AttestationRefused(f"configfs-tsm: privlevel_floor is {floor!r}")
        return int(floor)

    def _certificates(self, request: Path) -> bytes:
        if self._tee is not Tee.SNP:
            return b""
        try:
            return read_attribute(request / "auxblob", MAX_BLOB_BYTES)
        except FileNotFoundError:
            return b""  # the host gives none; the broker finds them by the chip's id


def open_issuer(tee: str) -> TsmIssuer:
    """Return the issuer for `tdx` or `snp`."""
    return TsmIssuer(Tee(tee))


def detect(reports: Path = REPORTS) -> Tee | None:
    """Return the TEE that the kernel is a guest of, as far as configfs-tsm knows it; leaves nothing behind."""
    try:
        with _request(reports) as request:
            return PROVIDERS.get(_text(request / "provider"))
    except OSError:
        return None


@contextlib.contextmanager
def _request(reports: Path) -> Iterator[Path]:
    request = reports / f"confide-{secrets.token_hex(8)}"
    request.mkdir()
    try:
        yield request
    finally:
        with contextlib.suppress(OSError):
            request.rmdir()


def _text(path: Path) -> str:
    return read_attribute(path, _MAX_ATTRIBUTE_BYTES).decode("ascii", "replace").strip()
