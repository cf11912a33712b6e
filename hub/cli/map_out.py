"""`hub map out`: what an outbound map would write for a change, column by column. Connects to nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import orjson
import typer

from hub.cli.common import BAD, DEFAULT_CONFIG, DIM, ConfigOption, JsonOption, complain, print_json, print_table, read_file, say
from hub.config import ConfigError, did_you_mean, load
from hub.domain.errors import HubError
from hub.domain.model import KINDS
from hub.domain.ports import Outbound
from hub.mapping import SHIPPED
from hub.mapping.codes import read_codes
from hub.mapping.row_compose import OutRow, compose
from hub.mapping.row_out import OutMap, read_out_map


def out(
    file: Annotated[
        Path, typer.Argument(help='A change as JSON: a webhook\'s body, or {"type", "resource", "patient"}; - reads it.')
    ],
    config: ConfigOption = DEFAULT_CONFIG,
    channel: Annotated[str | None, typer.Option(help="The map and time zone of this channel of hub.toml.")] = None,
    map_file: Annotated[Path | None, typer.Option("--map", help="An outbound map, without a channel.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an outbound map (ocs.sql_out) makes of a change: table, columns, values. Writes nothing.

    The output holds what the change holds: patient data. Exit 1 where the map has nothing for it, or cannot say it.

    Examples:

      hub map out change.json --channel ocs-write

      hub map out change.json --map maps/ocs-write.toml
    """
    found, zone = _map(config, channel, map_file)
    message = _message(sys.stdin.buffer.read() if str(file) == "-" else read_file(file))
    try:
        row = compose(found, message, ZoneInfo(zone))
    except HubError as error:
        say(f"it would be refused: {error.reason}", BAD)
        raise typer.Exit(1) from None
    if row is None:
        complain(f"no write of the map is for {message.type}: it would end delivered, with nothing to do")
        raise typer.Exit(1)
    _print(row, as_json)


def _map(config_file: Path, channel: str | None, map_file: Path | None) -> tuple[OutMap, str]:
    zone = "Asia/Seoul"
    if channel is not None:
        config = load(config_file)
        one = config.channels.get(channel)
        if one is None:
            raise ConfigError(str(config_file), 0, f'has no channel "{channel}"', did_you_mean(channel, config.channels))
        if "map_file" not in one.settings:
            raise one.error("has no outbound map", "name a channel of ocs.sql_out", key="adapter")
        map_file, zone = Path(str(one.settings["map_file"])), one.timezone
    if map_file is None:
        complain("say whose map: --channel NAME, or --map FILE")
        raise typer.Exit(2)
    codes, _ = read_codes([SHIPPED / "codes", map_file.parent / "codes"])
    return read_out_map(map_file.name, read_file(map_file).decode("utf-8"), codes), zone


def _message(data: bytes) -> Outbound:
    """From a webhook's body (docs/webhooks.md), or from as little as type and resource."""
    try:
        body = orjson.loads(data)
        told = body.get("data", body)
        type_, resource = body["type"], told["resource"]
        kind = next(kind for kind in KINDS if kind.lower() == type_.partition(".")[0])
    except (orjson.JSONDecodeError, AttributeError, KeyError, StopIteration):
        complain('that is no change: write {"type": "patient.updated", "resource": { … }, "patient": { … }}')
        raise typer.Exit(2) from None
    id_ = str(told.get("id", "00000000-0000-0000-0000-000000000000"))
    owner: dict[str, Any] = body.get("patient") or (resource if kind == "Patient" else {})
    return Outbound(
        message_id=1, channel="", type=type_, at=0, attempt=1, kind=kind, resource_id=id_, version=int(told.get("version", 1)),
        resource=resource, changed=list(told.get("changed", [])), patient_id=str(told.get("patientId", id_)), patient=owner,
    )  # fmt: skip


def _print(row: OutRow, as_json: bool) -> None:
    write = row.write
    if as_json:
        print_json(
            {
                "write": write.name,
                "do": write.do,
                "target": write.target,
                "values": {v.column.name: v.cell for v in row.values},
            }
        )
        return
    rows = [
        (
            "key" if value.column.name in write.key else "",
            value.column.name,
            value.field,
            "NULL" if value.cell is None else value.cell,
        )
        for value in row.values
    ]
    print_table(f"{write.name}: {write.do} {write.target}", ("", "column", "field", "value"), rows)
    if write.check:
        say(f"read back by: {write.check}", DIM)
