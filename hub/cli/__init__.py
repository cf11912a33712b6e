"""The command line: one file a group of commands, thin; what they call lives below.

Exit codes: 0 done; 1 the answer is no, or it failed; 2 the command, hub.toml or the set-up is wrong; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import typer

from hub import __version__
from hub.cli import acts, adapters, audit, bench, channels, demo, init, load, maps, messages, odbc, run, send, store, tokens
from hub.cli.common import complain
from hub.config import ConfigError
from hub.domain.errors import HubError, Misconfigured
from hub.domain.lifecycle import IllegalStep

HELP = """Hospital Hub: one patient-relationship model between OCS, EMR, ERP, PACS and CRM.

Start:    hub init my-hub && hub run -c my-hub/hub.toml

Look:     hub status, hub messages --state dead, hub show 42

Act:      hub replay 42 --reason "department code added", hub channel pause crm-webhook --reason maintenance

Prove:    hub audit verify

Every command has --help with examples; --json gives plain JSON; --config FILE names another hub.toml than ./hub.toml.
"""

app = typer.Typer(
    name="hub", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hub {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")) -> None:
    """Options before the command."""


for group in (init, run, demo, messages, acts, send, load, store, bench):
    group.register(app)
app.add_typer(channels.app, name="channel")
app.add_typer(adapters.app, name="adapter")
app.add_typer(maps.app, name="map")
app.add_typer(odbc.app, name="odbc")
app.add_typer(audit.app, name="audit")
app.add_typer(tokens.app, name="token")
app.add_typer(store.app, name="db")


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code. Errors that we know are told in one sentence on stderr."""
    try:
        app(list(arguments) if arguments is not None else None, prog_name="hub")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1 if end.code else 0
    except (ConfigError, Misconfigured) as error:
        complain(str(error))
        return 2
    except (HubError, IllegalStep) as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return 0


def main() -> None:
    """The entry point `hub`."""
    sys.exit(execute())
