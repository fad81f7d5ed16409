"""The commands, put together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from confide import __version__
from confide.cli import (
    audit,
    broker,
    collateral,
    data,
    guest,
    init,
    key,
    logs,
    policy,
    recovery,
    run,
    serve,
    serving,
    spark,
    stream,
)
from confide.cli import image as image_commands
from confide.cli.context import Settings
from confide.cli.demo import demo
from confide.cli.doctor import doctor
from confide.cli.verify import verify

_EPILOG = """Start here:  confide demo   ·   confide init clinic   ·   confide doctor

Exit codes: a workload's own code passes through; 64-68 misuse, 70-77 unavailable, 80-99 refused
(docs/exit-codes.md)."""

app = typer.Typer(
    name="confide",
    help="Run unmodified Spark and Python programs on encrypted data; keys go only to attested code.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"confide {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    home: Annotated[
        Path,
        typer.Option(envvar="CONFIDE_HOME", help="Folder of the owner's or broker's root key and store."),
    ] = Path("~/.confide"),
    passphrase_fd: Annotated[
        int | None,
        typer.Option(
            envvar="CONFIDE_PASSPHRASE_FD",
            help="Read the passphrase from this file descriptor instead of asking, e.g. `3` with `3<file`.",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001  # eager callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Settings(home.expanduser().absolute(), passphrase_fd)


app.command("init")(init.init)
app.command("encrypt")(data.encrypt)
app.command("decrypt")(data.decrypt)
app.command("inspect")(data.inspect)
app.command("run", context_settings={"allow_interspersed_args": False})(run.run)
app.command("serve")(serve.serve)
app.command("logs")(logs.logs)
app.command("doctor")(doctor)
app.command("verify")(verify)
app.command("demo")(demo)
app.command("push")(broker.push)
app.add_typer(key.app, name="key")
app.add_typer(policy.app, name="policy")
app.add_typer(image_commands.app, name="image")
app.add_typer(guest.app, name="guest")
app.add_typer(audit.app, name="audit")
app.add_typer(broker.app, name="broker")
app.add_typer(collateral.app, name="collateral")
app.add_typer(serving.app, name="serving")
app.add_typer(spark.app, name="spark")
app.add_typer(stream.app, name="stream")
app.add_typer(recovery.app, name="recovery")
