"""`hub channel`: what is connected, and pausing, resuming and asking it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.text import Text

from hub.cli import checks
from hub.cli.common import (
    DEFAULT_CONFIG,
    GOOD,
    WARN,
    ConfigOption,
    JsonOption,
    ReasonOption,
    actor,
    complain,
    opened,
    print_json,
    print_table,
    say,
)
from hub.config import Channel, load
from hub.domain.errors import Misconfigured, NotFound
from hub.domain.ports import Manifest

app = typer.Typer(no_args_is_help=True, help="Channels: list, kinds, pause, resume, ping, jwks.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The channel's name in hub.toml.")]


@app.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """The configured channels. What they carry at the moment: hub status.

    Example:  hub channel list
    """
    channels = load(config).channels.values()
    rows = [
        {
            "channel": c.name,
            "adapter": c.adapter,
            "system": c.system,
            "enabled": c.enabled,
            "on_dead": c.on_dead,
            "settings": sorted(c.settings),
        }
        for c in channels
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        "",
        ("channel", "adapter", "system", "", "when a message is dead"),
        [
            (r["channel"], r["adapter"], r["system"], "" if r["enabled"] else Text("not enabled", style=WARN), r["on_dead"])
            for r in rows
        ],
    )


@app.command()
def kinds(
    name: Annotated[str | None, typer.Argument(help="Show this adapter's settings.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The adapters that can be written after `adapter = `, and the settings of one.

    Examples:

      hub channel kinds

      hub channel kinds ocs.hl7_in
    """
    from hub.bootstrap.kinds import manifests, module_of, names

    found, broken = manifests()
    if name is None:
        if as_json:
            print_json(
                [
                    {"adapter": m.name, "title": m.title, "direction": m.direction, "system": m.system, "protocol": m.protocol}
                    for m in found
                ]
            )
        else:
            print_table("", ("adapter", "", "what", "protocol"), [(m.name, m.direction, m.title, m.protocol) for m in found])
        for why in broken.values():
            complain(why)
        return
    if name not in names():
        raise NotFound(f'there is no adapter "{name}"; hub channel kinds lists all')
    manifest: Manifest = module_of(name).MANIFEST
    fields = checks.fields_of(manifest)
    if as_json:
        print_json([{"key": key, "default": default, "explanation": doc} for key, default, doc in fields])
    else:
        print_table(f"{manifest.name}: {manifest.title}", ("key", "default", "explanation"), fields)


@app.command()
def pause(name: Name, reason: ReasonOption, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Stop a channel's work: inbound is still stored and answered, outbound waits; audited.

    Example:  hub channel pause crm-webhook --reason "CRM is being upgraded"
    """
    with opened(config) as hub:
        hub.operations.pause(_known(hub.config.channels, name), reason=reason, actor=actor())
    say(f"{name} is paused", WARN)


@app.command()
def resume(name: Name, reason: ReasonOption, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let a paused or stopped channel go on; audited.

    Example:  hub channel resume crm-webhook --reason "CRM is back"
    """
    with opened(config) as hub:
        hub.operations.resume(_known(hub.config.channels, name), reason=reason, actor=actor())
    say(f"{name} goes on", GOOD)


@app.command()
def ping(name: Name, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Ask a channel's target or source whether it is there, and can what it is asked for (a webhook gets a test event); audited.

    Example:  hub channel ping crm-webhook
    """
    with opened(config) as hub:
        answer = hub.operations.ping(_known(hub.config.channels, name), actor=actor())
    say(f"{name}: {answer}", GOOD)


@app.command()
def jwks(name: Name, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Show the public key of a channel that signs for its tokens (SMART Backend Services), for the EMR to register.

    Example:  hub channel jwks emr > jwks.json
    """
    from hub.adapters.emr import smart
    from hub.bootstrap.channels import settings_of

    channels = load(config).channels
    settings = settings_of(channels[_known(channels, name)])
    if not isinstance(settings, smart.SmartSettings):
        raise Misconfigured(f"{name} shows no token: only adapters of emr have a private_key")
    print_json(smart.jwks(settings))


def _known(channels: Mapping[str, Channel], name: str) -> str:
    if name not in channels:
        raise NotFound(f'there is no channel "{name}"; there are: {", ".join(channels) or "none"}')
    return name
