"""`hub map`: what a map makes of a message, field by field, and which events the maps know."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from hub.cli import map_fhir, map_row
from hub.cli.common import (
    BAD,
    DEFAULT_CONFIG,
    DIM,
    WARN,
    ConfigOption,
    JsonOption,
    complain,
    print_json,
    print_table,
    read_file,
    say,
)
from hub.cli.map_out import out
from hub.cli.send import messages_in
from hub.codecs.fhir_types import Systems
from hub.codecs.hl7v2 import parse, peek
from hub.config import ConfigError, load
from hub.domain.errors import HubError
from hub.domain.ids import now_us
from hub.mapping import Context, MapSet, load_maps
from hub.mapping.fhir_keys import Names

app = typer.Typer(no_args_is_help=True, help="Maps: try one on a message, list events.", rich_markup_mode=None)
app.command("out")(out)
Overlay = Annotated[list[Path] | None, typer.Option(help="A folder of maps laid over the shipped ones; may be given again.")]


@app.command("try")
def try_(
    file: Annotated[Path, typer.Argument(help="An HL7 v2 file, FHIR R4 JSON, or a row as JSON; - reads standard input.")],
    config: ConfigOption = DEFAULT_CONFIG,
    channel: Annotated[
        str | None, typer.Option(help="As this channel of hub.toml: its overlays, charset, assigner, time zone.")
    ] = None,
    overlay: Overlay = None,
    charset: Annotated[str, typer.Option(help="Charset where MSH-18 is empty or wrong.")] = "utf-8",
    everything: Annotated[bool, typer.Option("--all", help="Also the rules that found nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the maps make of a message, field by field: path, function, value, target. Stores nothing.

    The output holds what the message holds: patient data. Exit 1 where a message cannot be mapped.

    Examples:

      hub map try admission.hl7

      hub map try admission.hl7 --overlay my-maps/

      hub map try admission.hl7 --channel ocs-in --all

      hub map try patient.json --channel emr-fhir

      hub map try partner.json --channel sap-in   (a row: {"event": "A_BusinessPartner", "row": {…}})
    """
    maps, context, charset = _set_up(config, channel, overlay or [], charset)
    data = sys.stdin.buffer.read() if str(file) == "-" else read_file(file)
    if map_row.is_row(data):
        results = [map_row.explained(maps, context, data)]
    elif map_fhir.is_json(data):
        results = map_fhir.explained(maps, context, _names(config, channel, context), data)
    else:
        results = [_explained(maps, context, body, charset) for body in messages_in(data)]
    if as_json:
        print_json(results)
    else:
        for result in results:
            _print(result, everything)
    if not results:
        complain(f"{file} holds no HL7 message")
    if not any(result["event"] for result in results):
        raise typer.Exit(2)
    if any(result["error"] for result in results):
        raise typer.Exit(1)


@app.command()
def events(config: ConfigOption = DEFAULT_CONFIG, overlay: Overlay = None, as_json: JsonOption = False) -> None:
    """The events (and tables) that the maps know.

    Example:  hub map events
    """
    maps, _, _ = _set_up(config, None, overlay or [], "utf-8")
    if as_json:
        print_json({"version": maps.version, "events": dict(maps.events())})
    else:
        print_table(f"maps, version {maps.version}", ("event", ""), maps.events())


def _set_up(config_file: Path, channel: str | None, overlays: list[Path], charset: str) -> tuple[MapSet, Context, str]:
    """Maps and context; without a channel, hub.toml need not exist."""
    if channel is None and not config_file.exists():
        return load_maps(overlays), Context("HOSP", "ocs", received_at=now_us()), charset
    config = load(config_file)
    folders = [*sorted({one.overlay for one in config.channels.values() if one.overlay}), *overlays]
    maps = load_maps(folders, result_values=config.results.keep_values)
    if channel is None:
        return maps, Context(config.hub.assigner, "ocs", config.hub.timezone, now_us()), charset
    one = config.channels.get(channel)
    if one is None:
        close = difflib.get_close_matches(channel, config.channels, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(config.channels) or 'none'}"
        raise ConfigError(str(config_file), 0, f'has no channel "{channel}"', hint)
    return maps, Context(one.assigner, one.system, one.timezone, now_us()), str(one.settings.get("charset", charset))


def _names(config_file: Path, channel: str | None, context: Context) -> Names:
    """How that channel's FHIR server names things; without one, by what [fhir] says."""
    if not config_file.exists():
        return Names(context.assigner, context.system)
    from hub.bootstrap.channels import fhir_names

    config = load(config_file)
    if channel is not None:
        return fhir_names(config.channels[channel], config.fhir)
    return Names(context.assigner, context.system, Systems(config.fhir.systems, config.fhir.code_systems))


def _explained(maps: MapSet, context: Context, body: bytes, charset: str) -> dict[str, Any]:
    """event, map version, rows of the rules, facts by kind, warnings, and the error where it cannot be mapped."""
    result: dict[str, Any] = {"event": "", "version": maps.version, "error": "", "rows": [], "facts": [], "warnings": []}
    try:
        result["event"] = peek(body, charset).type
        message = parse(body, charset)
        if not maps.handles(result["event"]):
            result["error"] = f"there is no map for {result['event']}: the hub would end it ignored"
            return result
        result["rows"] = maps.explain(message, context)
        mapped = maps.map(message, context)
        result["event"], result["warnings"] = mapped.event, mapped.warnings
        result["facts"] = [f"{type(fact).__name__} {getattr(fact, 'kind', '')}".strip() for fact in mapped.facts]
    except HubError as error:
        result["error"] = error.reason
    return result


def _print(result: dict[str, Any], everything: bool) -> None:
    rows = [
        (row["fact"], row["path"], row["function"], row["to"], Text(_shown(row["result"]), style="" if row["present"] else DIM))
        for row in result["rows"]
        if everything or row["present"]
    ]
    if not result["event"]:
        complain(f"no HL7 message: {result['error']}")
        return
    if rows or not result["error"]:
        print_table(f"{result['event']}, maps {result['version']}", ("fact", "path", "by", "field", "value"), rows)
    for warning in result["warnings"]:
        say(f"warning: {warning}", WARN)
    if result["error"]:
        say(result["error"], BAD)
    else:
        say(f"facts: {', '.join(result['facts'])}", DIM)


def _shown(value: Any) -> str:
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
