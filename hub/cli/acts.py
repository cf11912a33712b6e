"""What a person decides about messages that stand still: `hub replay`, `discard`, `settle`; by id, or all that a filter finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import track

from hub.cli.common import DEFAULT_CONFIG, GOOD, WARN, ConfigOption, ReasonOption, actor, opened, say
from hub.domain.errors import NotFound
from hub.domain.lifecycle import State

if TYPE_CHECKING:
    from hub.bootstrap import Hub

Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID...]", help="Message ids, as hub messages lists them.")]
ChannelOption = Annotated[str, typer.Option(help="Instead of ids: all dead messages of this channel.")]
TypeOption = Annotated[str, typer.Option("--type", help="With --channel: only those of this type, or whose type begins so: ORU.")]
BecauseOption = Annotated[str, typer.Option(help="With --channel: only those whose reason has this text in it: PID-7.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before acting on many.")]
PAGE = 500


def register(app: typer.Typer) -> None:
    for command in (replay, discard, settle):
        app.command()(command)


def replay(
    reason: ReasonOption, ids: Ids = None, channel: ChannelOption = "", kind: TypeOption = "", because: BecauseOption = "",
    yes: YesOption = False, config: ConfigOption = DEFAULT_CONFIG,
) -> None:  # fmt: skip
    """Put dead or uncertain messages back into their lanes, in order; audited with the reason.

    Example:  hub replay 42 43 --reason "the OCS was upgraded"
              hub replay --channel erp-out --because 422 --reason "SAP takes the new field now"
    """
    with opened(config) as hub:
        wanted = _wanted(hub, ids, channel, kind, because, yes, "replay")
        _each(wanted, "is queued again", GOOD, lambda one: hub.operations.replay(one, reason=reason, actor=actor()))


def discard(
    reason: ReasonOption, ids: Ids = None, channel: ChannelOption = "", kind: TypeOption = "", because: BecauseOption = "",
    yes: YesOption = False, config: ConfigOption = DEFAULT_CONFIG,
) -> None:  # fmt: skip
    """Give dead or uncertain messages up, so that their lanes go on; audited with the reason.

    Example:  hub discard 42 --reason "test message"
              hub discard --channel lab-in --type ORU --reason "results of the test laboratory"
    """
    with opened(config) as hub:
        wanted = _wanted(hub, ids, channel, kind, because, yes, "discard")
        _each(wanted, "is discarded", WARN, lambda one: hub.operations.discard(one, reason=reason, actor=actor()))


def settle(
    message_id: Annotated[int, typer.Argument(metavar="ID")],
    reason: ReasonOption,
    acted: Annotated[bool, typer.Option("--acted/--not-acted", help="Whether the target did what the message asked.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Say what became of an uncertain message, after you asked the target: done, or to be sent again; audited.

    Example:  hub settle 42 --not-acted --reason "SAP basis found no such change"
    """
    with opened(config) as hub:
        hub.operations.settle(message_id, acted=acted, reason=reason, actor=actor())
    say(f"{message_id} is {'done' if acted else 'queued again'}", GOOD)


def _wanted(hub: Hub, ids: list[int] | None, channel: str, kind: str, because: str, yes: bool, verb: str) -> list[int]:
    """The messages meant, the oldest first: a lane's order is kept."""
    if bool(ids) == bool(channel):
        raise typer.BadParameter("write ids, or --channel NAME for all dead messages of a channel", param_hint="ID")
    if ids:
        if kind or because:
            raise typer.BadParameter("--type and --because narrow --channel, not ids", param_hint="--type")
        return sorted(set(ids))
    found = _dead(hub, channel, kind, because)
    if not found and channel not in hub.config.channels:  # one that is configured no more may still hold some
        raise NotFound(f'there is no channel "{channel}"; there are: {", ".join(hub.config.channels) or "none"}')
    if not found:
        say(f"no dead message of {channel} is like that")
    elif not yes and not typer.confirm(f"{verb} {len(found)} dead messages of {channel}?", default=False, err=True):
        raise typer.Exit(1)
    return found


def _dead(hub: Hub, channel: str, kind: str, because: str) -> list[int]:
    from hub.db.views.messages import Query, find

    query, found, before = Query(channel=channel, type=kind, state=State.DEAD), [], None
    with hub.engine.connect() as connection:
        while page := find(connection, query, before=before, limit=PAGE):
            found += [row.id for row in page if because in row.reason]
            before = page[-1].id
    return sorted(found)


def _each(ids: list[int], done: str, style: str, act: Callable[[int], None]) -> None:
    """One by one, each audited by itself; where one cannot be, those before it stay done. A bar where there are many."""
    many = len(ids) > 20
    for message_id in track(ids, description="messages", transient=True) if many else ids:
        act(message_id)
        if not many:
            say(f"{message_id} {done}", style)
    if many:
        say(f"{len(ids)} messages: each {done}", style)
