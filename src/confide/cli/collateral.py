"""`confide collateral`: what makers of TEEs publish about their hardware, and evidence is verified with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confide.cli.context import open_home
from confide.cli.hints import advice
from confide.cli.options import JsonOption
from confide.cli.output import emit, say, stdout, table
from confide.cli.sources import KdsOption, PccsCaOption, PccsOption, read_sources
from confide.cli.verify import FORM_HINT, read_input
from confide.errors import CollateralUnavailable, InvalidFormat, Misuse

if TYPE_CHECKING:
    from confide.broker.collateral.cache import Cache
    from confide.broker.collateral.files import Found
    from confide.broker.collateral.item import AnyItem
    from confide.broker.collateral.sources import Sources
    from confide.broker.home import Home
    from confide.broker.store_collateral import StoredCollateral

app = typer.Typer(
    help="What makers of TEEs publish about their hardware (certificates, CRLs, TCB data): docs/collateral.md.",
    epilog="Example:  confide collateral show",
    no_args_is_help=True,
)

_FILES_HINT = (
    "`confide collateral fetch` writes such a file with --output; docs/collateral.md says what else is taken. "
    "Evidence is verified with `confide verify`."
)
_SERVERS_HINT = (
    "does this machine reach that server? It is asked directly, by no proxy. --pccs and --kds name others; or fetch on "
    "another machine with --output, and `confide collateral import` the file here. docs/collateral.md lists refusals."
)
_IMPORT_HINT = (
    "fetch it anew where it came from; docs/collateral.md lists refusals. What was kept before is unchanged."
)
_OPTIONS_HINT = (
    "`confide verify EVIDENCE` prints the options for its platform; "
    "`confide collateral fetch --help` has examples."
)


@app.command()
def fetch(
    context: typer.Context,
    evidence: Annotated[
        Path | None,
        typer.Argument(
            help="Quote, SNP report or other evidence that `confide verify` takes; `-`: standard input."
        ),
    ] = None,
    tee: Annotated[str | None, typer.Option(help="Intel: `sgx` or `tdx`.")] = None,
    fmspc: Annotated[str | None, typer.Option(help="Intel: kind of platform, 12 hex digits.")] = None,
    ca: Annotated[
        str, typer.Option(help="Intel: authority of its certificate, `platform` or `processor`.")
    ] = "platform",
    product: Annotated[str | None, typer.Option(help="AMD: `Milan`, `Genoa` or `Turin`.")] = None,
    kind: Annotated[str, typer.Option(help="AMD: keys that the CRL is over, `vcek` or `vlek`.")] = "vcek",
    chip: Annotated[
        str | None, typer.Option(help="AMD: a chip's id in hex, for the certificate of its key.")
    ] = None,
    tcb: Annotated[
        str | None,
        typer.Option(
            help="AMD: the chip's reported TCB, bootloader.tee.snp.microcode; of Turin fmc in front."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write it to this file for `import` elsewhere; needs no home.")
    ] = None,
    pccs: PccsOption = None,
    pccs_ca: PccsCaOption = None,
    kds: KdsOption = None,
    json: JsonOption = False,
) -> None:
    """Fetch what evidence is verified with, verify it, and keep it in the home, or write it to a file.

    Without evidence, --fmspc or --product: everything that the home has, anew.

    Examples:

        confide collateral fetch quote.bin

        confide collateral fetch --tee tdx --fmspc 50806F000000 --output tdx.json

        confide collateral fetch --product Genoa --output genoa.pem

        confide collateral fetch --pccs https://pccs.example:8081 --pccs-ca pccs-ca.pem
    """
    from confide.attestation.recognize.encodings import MAX_INPUT_BYTES
    from confide.attestation.recognize.recognize import recognize
    from confide.broker.collateral.gather import gather
    from confide.broker.store import unix_now

    sources = read_sources(pccs, pccs_ca, kds)
    with advice(InvalidFormat, _OPTIONS_HINT):
        items = _items(tee, fmspc, ca, product, kind, chip, tcb)
    if evidence is None and not items:
        if output is not None:
            raise Misuse("what to fetch? Give evidence, --tee with --fmspc, or --product")
        _refresh(context, sources, json=json)
        return
    with advice(InvalidFormat, FORM_HINT):
        given = None if evidence is None else recognize(read_input(evidence, MAX_INPUT_BYTES)).evidence
    with advice(CollateralUnavailable, _SERVERS_HINT):
        found = gather(given, items, sources, unix_now)
    if output is not None:
        _write(output, found, json=json)
        return
    with open_home(context) as home:
        _keep(home, found, json=json)


@app.command("import")
def import_(
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Written by `fetch`; collateral JSON of other tools; AMD's certificates and CRLs, PEM or DER. Parts "
            "that belong together: in one command."
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Take over collateral from files, for a broker that fetches nothing. It is verified like what is fetched.

    Examples:

        confide collateral import tdx.json genoa.pem

        confide collateral import vcek.der cert_chain crl   # as AMD's service sends them
    """
    from confide.attestation.recognize.encodings import MAX_INPUT_BYTES
    from confide.broker.collateral.files import items_in

    with advice(InvalidFormat, _FILES_HINT):
        found = items_in([(file.name, read_input(file, MAX_INPUT_BYTES)) for file in files])
    with open_home(context) as home, advice(CollateralUnavailable, _IMPORT_HINT):
        _keep(home, found, json=json)


@app.command()
def show(context: typer.Context, json: JsonOption = False) -> None:
    """List the collateral that the home has: how long it is valid, when it came from where, what failed since.

    Examples:

        confide collateral show

        confide collateral show --json
    """
    from confide.broker.collateral.item import iso
    from confide.broker.store import unix_now

    with open_home(context) as home:
        kept = home.store.collaterals()
    now = unix_now()
    if json:
        emit([_described(each, now) for each in kept])
        return
    if not kept:
        say(
            "no collateral yet: a broker that is online fetches what evidence needs; `confide collateral fetch --help`"
        )
        return
    rows = table("what", "valid until", "obtained", "from", "last failure")
    for each in kept:
        until = iso(each.expires) + (" EXPIRED" if each.expires <= now else "")
        failure = f"{iso(each.failed)}: {each.failure}" if each.failed else ""
        rows.add_row(_title(each), until, iso(each.obtained), each.source, failure)
    stdout.print(rows)


def _items(
    tee: str | None,
    fmspc: str | None,
    ca: str,
    product: str | None,
    kind: str,
    chip: str | None,
    tcb: str | None,
) -> list[AnyItem]:
    """Return what the options name."""
    from confide.broker.collateral.amd_authority import AmdAuthority
    from confide.broker.collateral.amd_chip import AmdChip
    from confide.broker.collateral.intel_platform import IntelPlatform

    if (tee is None) != (fmspc is None):
        raise Misuse("--tee and --fmspc go together")
    if (chip is None) != (tcb is None) or (chip is not None and product is None):
        raise Misuse("--chip, --tcb and --product go together")
    items: list[AnyItem] = []
    if tee is not None and fmspc is not None:
        items.append(IntelPlatform.parse(tee, fmspc, ca))
    if product is not None:
        items.append(AmdAuthority.parse(product, kind))
    if product is not None and chip is not None and tcb is not None:
        items.append(AmdChip.parse(product, chip, tcb))
    return items


def _refresh(context: typer.Context, sources: Sources, *, json: bool) -> None:
    """Fetch everything anew that the home has."""
    from confide.broker.collateral.refresh import refresh
    from confide.broker.store import unix_now

    with open_home(context) as home:
        cache = _cache(home)
        if not cache.all():
            raise Misuse(
                "there is no collateral yet to fetch anew: give evidence, --tee with --fmspc, or --product"
            )
        failures = refresh(cache, sources, even_if_not_due=True)
        kept = cache.all()
    if failures:
        with advice(CollateralUnavailable, _SERVERS_HINT):
            raise CollateralUnavailable(
                f"{failures} of {len(kept)} could not be fetched anew; `confide collateral show` says why, and how "
                "long the old ones are valid"
            )
    _tell(kept, unix_now(), json=json)


def _keep(home: Home, found: Sequence[Found], *, json: bool) -> None:
    from confide.broker.store import unix_now

    cache = _cache(home)
    for each in found:
        cache.put(each.item, each.document, each.source)
    names = {each.item.name for each in found}
    _tell([kept for kept in cache.all() if kept.name in names], unix_now(), json=json)


def _write(output: Path, found: Sequence[Found], *, json: bool) -> None:
    from confide.broker.collateral.files import one_file
    from confide.data.atomic import atomic_file

    document = one_file(found)
    with atomic_file(output, overwrite=True) as file:
        file.write(document)
    if json:
        emit({"file": str(output), "names": [each.item.name for each in found]})
        return
    for each in found:
        say(f"{output}: {each.item.title}")
    say(f"where it is needed: `confide collateral import {output.name}`")


def _cache(home: Home) -> Cache:
    from confide.broker.collateral.cache import Cache
    from confide.broker.store import unix_now

    return Cache(home.store, unix_now)


def _tell(kept: Sequence[StoredCollateral], now: int, *, json: bool) -> None:
    from confide.broker.collateral.item import iso

    if json:
        emit([_described(each, now) for each in kept])
        return
    for each in kept:
        say(f"{_title(each)}: valid until {iso(each.expires)}")


def _described(kept: StoredCollateral, now: int) -> dict[str, Any]:
    return {
        "name": kept.name,
        "title": _title(kept),
        "source": kept.source,
        "obtained": kept.obtained,
        "expires": kept.expires,
        "expired": kept.expires <= now,
        "failed": kept.failed,
        "failure": kept.failure or None,
    }


def _title(kept: StoredCollateral) -> str:
    from confide.broker.collateral.names import item_named
    from confide.errors import InvalidFormat

    try:
        return item_named(kept.name).title
    except InvalidFormat:
        return kept.name
