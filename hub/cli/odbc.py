"""`hub odbc`: a look into a table that is to be connected."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Annotated

import typer

from hub.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, print_json, print_table, say
from hub.config import load
from hub.domain.errors import Misconfigured

app = typer.Typer(no_args_is_help=True, help="Old tables: look into one.", rich_markup_mode=None)
SECONDS = 30.0  # for a statement


@app.command()
def sniff(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A channel that has connection and database.")],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A table or view there.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Read a sample of a table and propose encoding, key, cursor and a draft of its map. Shows no value of any row.

    Example:  hub odbc sniff ocs-patient OPD_PATIENT
    """
    from hub.adapters.sql import sniff as sniffing
    from hub.transport.odbc import PROFILES
    from hub.transport.sql_url import open_database

    known = load(config).channels
    if channel not in known:
        raise Misconfigured(f'there is no channel "{channel}"; there are: {", ".join(known) or "none"}')
    settings = known[channel].settings
    connection, url, database = (settings.get(key, "") for key in ("connection", "url", "database"))
    if not (connection or url) or database not in PROFILES:
        raise Misconfigured(f"[channels.{channel}] needs connection or url, and database ({', '.join(PROFILES)}) to look there")
    found = sniffing.sniff(lambda encoding: open_database(connection, url, database, encoding, SECONDS), table)
    event = re.sub(r"\W", "_", table.rpartition(".")[2].strip('"')).upper()
    if as_json:
        print_json(asdict(found))
        return
    rows = [(c.name, c.kind, c.encoding, c.meaning, ", ".join(c.sentinels), f"{c.nulls}") for c in found.columns]
    print_table(f"{table}: {found.rows} rows looked at", ("column", "kind", "encoding", "seems to be", "no date", "empty"), rows)
    say(f"\n# hub.toml, [channels.{channel}]")
    for line in sniffing.channel_lines(found, event):
        say(line)
    say(f"\n# maps/{event.lower()}.toml")
    for line in sniffing.map_lines(found, event):
        say(line)
