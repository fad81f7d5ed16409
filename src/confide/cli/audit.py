"""`confide audit`: every release and refusal, and the proof that the log was not altered."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from confide.cli.context import open_home
from confide.cli.output import emit, say, stdout, table
from confide.cli.provenance import provenance

app = typer.Typer(
    help="The audit log: list it, prove it, and what it says of how data came about.",
    epilog="Example:  confide audit --kind refusal --limit 5",
    invoke_without_command=True,
)


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option(help="Only this kind, e.g. `release` or `refusal`.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="At most this many of the newest entries.")
    ] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the newest entries, oldest first.

    Examples:

        confide audit

        confide audit --kind refusal --json

        confide audit verify
    """
    if context.invoked_subcommand is not None:
        return
    with open_home(context) as home:
        entries = home.store.audit.newest(limit, kind=kind)
    if json:
        emit([{"index": e.index, "time": e.time, "kind": e.kind, **e.fields} for e in entries])
        return
    rows = table("#", "time (UTC)", "what", "details")
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.time))
        rows.add_row(str(entry.index), when, entry.kind, _details(entry.fields))
    stdout.print(rows)


app.command()(provenance)


@app.command()
def verify(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rehash the whole log, and check that it still contains the state this machine saw last time.

    The last checkpoint seen is kept in the home as `audit.checkpoint`; keep a copy elsewhere, and a log
    that was cut or rewritten since cannot hide it.

    Example:

        confide audit verify
    """
    from confide.broker.seen_logs import verify_own_log

    with open_home(context) as home:
        kept, now = verify_own_log(home)
    if json:
        emit({"size": now.size, "root": now.root.hex(), "extends": kept.size if kept else None})
        return
    since = f", and extends the {kept.size} seen before" if kept else " (first look: checkpoint kept)"
    say(f"{now.size} entries, root {now.root.hex()[:16]}…: every entry rehashed{since}")


@app.command()
def checkpoint(context: typer.Context) -> None:
    """Print the signed state of the log (C2SP checkpoint), to keep elsewhere.

    Example:

        confide audit checkpoint > checkpoint.txt
    """
    with open_home(context) as home:
        typer.echo(home.store.audit.checkpoint(), nl=False)


def _details(fields: Mapping[str, Any]) -> str:
    def short(value: Any) -> str:
        if isinstance(value, dict):  # location -> what lay there
            value = [f"{name} ({lay['serial']})" for name, lay in value.items()]
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        return f"{text[:12]}…" if len(text) == 64 and " " not in text else text

    return "  ".join(
        f"{name}={short(value)}" for name, value in fields.items() if value not in (None, "", [], {})
    )
