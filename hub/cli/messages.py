"""What came, what went, what is stuck: `hub status`, `messages`, `show`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hub.audit.actions import Action
from hub.cli.common import (
    BAD,
    DEFAULT_CONFIG,
    DIM,
    GOOD,
    WARN,
    ConfigOption,
    JsonOption,
    database,
    duration,
    moment,
    out,
    parse_moment,
    print_json,
    print_table,
    record,
    say,
    table,
)
from hub.cli.run import running
from hub.config import Config, load
from hub.domain.errors import NotFound
from hub.domain.ids import now_us
from hub.domain.lifecycle import Outcome, State

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.db.views.channels import ChannelStatus
    from hub.db.views.messages import MessageRow

COUNTS = ("queued", "in_flight", "done", "ignored", "uncertain", "dead", "refused")
STATES: tuple[str, ...] = (*State, *Outcome)
HEADS = (*(name.replace("_", " ") for name in COUNTS), "lag", "blocked")
COLOURS = {"dead": BAD, "uncertain": WARN, "refused": WARN, "done": GOOD, "queued": "", "in_flight": "", "discarded": DIM}


def register(app: typer.Typer) -> None:
    for command in (status, messages, show):
        app.command()(command)


def status(
    config: ConfigOption = DEFAULT_CONFIG,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Every channel: counts by state, lag, blocked lanes, breaker; and the alerts that stand.

    Lag is how long the oldest message that could go has waited. A blocked lane stands behind a dead or uncertain
    message: see it with hub show ID, then hub replay, hub discard or hub settle.

    Examples:

      hub status

      hub status --watch

      hub status --json | jq '.channels["ocs-in"].queued'
    """
    settings = load(config)
    with database(settings) as engine:
        if as_json:
            print_json(snapshot(settings, engine))
            return
        if not watch:
            out.print(status_table(settings, engine))
            _print_todo(settings, engine)
            _print_alerts(engine)
            return
        with Live(status_table(settings, engine), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(1)
                live.update(status_table(settings, engine), refresh=True)


def current(config: Config, engine: Engine) -> list[ChannelStatus]:
    """Every channel as it stands now."""
    from hub.db.views.channels import status as channel_status

    skipping = [name for name, channel in config.channels.items() if channel.on_dead == "skip"]
    with engine.connect() as connection:
        return channel_status(connection, list(config.channels), skipping=skipping, now=now_us())


def snapshot(config: Config, engine: Engine) -> dict[str, Any]:
    """What `hub status --json` prints."""
    from hub.db.views.channels import alerts

    with engine.connect() as connection:
        standing = alerts(connection)
    pid = running(config)
    channels: dict[str, dict[str, Any]] = {}
    for one in current(config, engine):
        values = one.as_dict()
        values["lag_seconds"] = values.pop("lag") / 1e6
        values["blocked_lanes"] = values.pop("blocked")
        values["blocked_by"] = [
            {key: lane[key] for key in ("message_id", "state", "reason", "since", "waiting")}
            for lane in one.as_dict()["blocked_lanes"]
        ]
        configured = config.channels.get(one.channel)
        values |= {"adapter": configured.adapter if configured else None, "enabled": bool(configured and configured.enabled)}
        channels[one.channel] = values
    return {
        "hub": config.hub.name,
        "at": now_us(),
        "running": pid is not None,
        "pid": pid,
        "channels": channels,
        "alerts": standing,
    }


def status_table(config: Config, engine: Engine) -> Table:
    """What `hub status` prints."""
    rows = []
    for one in current(config, engine):
        counts = [Text(f"{getattr(one, name):,}", style=COLOURS.get(name, "") if getattr(one, name) else DIM) for name in COUNTS]
        rows.append([one.channel, *counts, duration(one.lag) if one.lag else "", one.blocked or "", _condition(config, one)])
    pid = running(config)
    title = f"{config.hub.name}: " + (f"running, process {pid}" if pid else "not running")
    return table(title, ("channel", *HEADS, ""), rows, right=HEADS)


def _condition(config: Config, one: ChannelStatus) -> Text:
    if one.stopped:
        return Text(f"stopped: {one.stopped}", style=BAD)
    if one.trouble:
        return Text(one.trouble, style=BAD)
    if one.paused:
        return Text("paused", style=WARN)
    if one.breaker != "closed":
        return Text(f"breaker {one.breaker}", style=WARN)
    if one.reading:
        return Text(", ".join(f"reading a file of {f.size / 1e6:,.0f} MB: {100 * f.bytes // f.size} %" for f in one.reading))
    if one.channel not in config.channels:
        return Text("no longer configured", style=DIM)
    return Text("" if config.channels[one.channel].enabled else "not enabled", style=DIM)


def _print_todo(config: Config, engine: Engine) -> None:
    """Of each channel that does not go, what ends that: as lines, because a command is copied."""
    for one in current(config, engine):
        if one.stopped:
            say(f'{one.channel}: correct the cause, then: hub channel resume {one.channel} --reason "…"', WARN)
        elif one.trouble:
            say(f"{one.channel}: correct the cause; it is tried again every second", WARN)
        elif one.breaker == "open":
            say(f"{one.channel}: nothing to do; next probe of the target {moment(one.breaker_until)}", WARN)


def _print_alerts(engine: Engine) -> None:
    from hub.db.views.channels import alerts

    with engine.connect() as connection:
        standing = alerts(connection)
    if standing:
        rows = [(moment(a["at"]), a["channel"], a["kind"], a["text"]) for a in standing]
        print_table("\nAlerts", ("since", "channel", "kind", "what"), rows)


def messages(
    config: ConfigOption = DEFAULT_CONFIG,
    state: Annotated[
        str, typer.Option(help="queued, in_flight, done, uncertain, dead, discarded, refused, applied, ignored, stale …")
    ] = "",
    channel: Annotated[str, typer.Option(help="Only this channel.")] = "",
    kind: Annotated[str, typer.Option("--type", help="ADT, ADT^A08, patient.updated; may be a beginning.")] = "",
    patient: Annotated[str, typer.Option(help="A patient number; the search stands in the audit log.")] = "",
    control_id: Annotated[str, typer.Option(help="MSH-10.")] = "",
    since: Annotated[str | None, typer.Option(help="15m, 2h, 3d (ago), or 2026-11-22T09:00.")] = None,
    until: Annotated[str | None, typer.Option(help="The same.")] = None,
    before: Annotated[int | None, typer.Option(help="Ids below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Search the messages, in and out, the newest first.

    Examples:

      hub messages --state dead

      hub messages --patient 00012345 --since 2d

      hub messages --channel ocs-in --type "ADT^A40" --json
    """
    from hub.db.views.messages import Query, find

    if state and state not in STATES:
        raise typer.BadParameter(f'"{state}" is no state: write one of {", ".join(STATES)}', param_hint="--state")
    query = Query(
        patient_no=patient, control_id=control_id, type=kind, state=state, channel=channel,
        since=parse_moment(since), until=parse_moment(until),
    )  # fmt: skip
    with database(load(config)) as engine:
        if patient:
            record(engine, Action.MESSAGE_SEARCHED, detail={"by": "patient_no"})
        with engine.connect() as connection:
            found = find(connection, query, before=before, limit=limit)
    if as_json:
        print_json([row.as_dict() for row in found])
        return
    print_table(
        "", ("id", "time", "channel", "type", "state", "tries", "reason"), [_line(row) for row in found], right=("id", "tries")
    )
    if len(found) == limit:
        say(f"more: --before {found[-1].id}", DIM)


def _line(row: MessageRow) -> Sequence[Any]:
    state = f"{row.state} {row.outcome}".strip()
    return (
        row.id,
        moment(row.at),
        row.channel,
        row.type,
        Text(state, style=_colour(row.state, row.outcome, row.reason)),
        row.attempts or "",
        row.reason,
    )


def _colour(state: str, outcome: str, reason: str) -> str:
    """What was applied with a remark (a value that could not be read) does not look as if all were well."""
    return WARN if outcome == Outcome.APPLIED and reason else COLOURS.get(state, "")


def show(
    message_id: Annotated[int, typer.Argument(metavar="ID")],
    config: ConfigOption = DEFAULT_CONFIG,
    raw: Annotated[bool, typer.Option("--raw", help="Also the bytes as received: patient data; the look is audited.")] = False,
    as_json: JsonOption = False,
) -> None:
    """One message's story: state, answer, attempts, what it changed, what went out because of it, audit.

    Examples:

      hub show 42

      hub show 42 --raw
    """
    from hub.db.views import changes as change_views
    from hub.db.views import messages as views
    from hub.db.views import receivers

    with database(load(config)) as engine, engine.connect() as connection:
        row = views.get(connection, message_id)
        if row is None:
            raise NotFound(f"there is no message {message_id}")
        changes = views.changes_of(connection, message_id)
        told = [(c["id"], c["type"]) for c in changes]
        went = views.carriers(connection, [(c["id"], c["resource_id"]) for c in changes])
        carried = change_views.get(connection, row.change_id) if row.change_id is not None else None
        if carried is not None:
            told, went = [(carried.id, carried.type)], views.carriers(connection, [(carried.id, carried.resource_id)])
        story: dict[str, Any] = row.as_dict() | {
            "answer": views.answer_state(connection, row),
            "attempts_made": views.attempts(connection, message_id),
            "changes": changes,
            "sent_because_of_it": [
                one.as_dict()
                for one in (
                    *views.carriers(connection, [(c["id"], c["resource_id"]) for c in changes]),
                    *views.passed(connection, message_id),
                )
            ],
            "receivers": receivers.of_rows(connection, told, went),
            "audit": views.audit_of(connection, message_id),
        }
    if raw:
        story["body"] = _body(load(config), message_id)
    if as_json:
        print_json(story)
    else:
        _print_story(story)


def _body(config: Config, message_id: int) -> str:
    """The stored bytes as text; the access record is written before they are shown."""
    from hub.db.crypt import KeyRing
    from hub.db.views import messages as views

    keys = KeyRing.load(config.keys.folder)
    with database(config) as engine:
        record(engine, Action.MESSAGE_READ, message_id=message_id, detail={"what": "body"})
        with engine.connect() as connection:
            sealed = views.body(connection, message_id)
    if sealed is None:
        return ""
    plain = keys.open_("message", message_id, sealed)
    for charset in ("utf-8", "cp949"):
        try:
            return plain.decode(charset)
        except UnicodeDecodeError:
            continue
    return plain.decode("latin-1")


def _print_story(story: dict[str, Any]) -> None:
    say(f"Message {story['id']}: {story['type']} {story['direction']} by {story['channel']}", "bold")
    state = f"{story['state']} {story['outcome']}".strip()
    said = f"  {state}" + (f": {story['reason']}" if story["reason"] else "")
    say(said, _colour(story["state"], story["outcome"], story["reason"]))
    say(f"  {moment(story['at'])}  sender {story['sender'] or '-'}  control id {story['control_id'] or '-'}")
    say(f"  answer {story['answer']} {story['code']}")
    for title, columns, rows in _parts(story):
        if rows:
            print_table(f"\n{title}", columns, rows)
    if "body" in story:
        say("\n" + (story["body"].replace("\r", "\n") or "no body is kept: it is built when it is sent, or was purged"))


def _last(receiver: dict[str, Any]) -> str:
    last = receiver["lastAnswer"]
    return f"{last['verdict']} {last['detail']}".strip() if last else ""


def _parts(story: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    """The tables of a story: title, columns, rows."""
    return [
        (
            "Attempts", ("n", "time", "verdict", "detail"),
            [(a["n"], moment(a["at"]), a["verdict"], a["detail"]) for a in story["attempts_made"]],
        ),
        (
            "Changes", ("type", "resource", "version", "fields"),
            [(c["type"], c["resource_id"], c["version"], ", ".join(c["fields"])) for c in story["changes"]],
        ),
        (
            "Sent because of it", ("id", "channel", "type", "state", "reason"),
            [(o["id"], o["channel"], o["type"], o["state"], o["reason"]) for o in story["sent_because_of_it"]],
        ),
        (
            "Receivers", ("change", "code", "receiver", "state", "its code", "attempts", "last answer"),
            [(h["type"], h["code"], r["target"], r["state"], f"{r['code']} {r['codeName']}", r["attempts"], _last(r))
             for h in story["receivers"] for r in h["receivers"]],
        ),
        (
            "Audit", ("id", "time", "action", "actor"),
            [(a["id"], moment(a["at"]), a["action"], a["actor"]) for a in story["audit"]],
        ),
    ]  # fmt: skip
