"""`hub load`, `hub request`: have a polled channel's source hand over all that it holds, or one thing, now."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from hub.audit.actions import Action
from hub.cli.common import DEFAULT_CONFIG, GOOD, WARN, ConfigOption, JsonOption, actor, opened, print_json, say
from hub.cli.run import waker
from hub.config import Config
from hub.domain.ports import Condition

if TYPE_CHECKING:
    from hub.bootstrap import Hub
    from hub.bootstrap.load import Asked
    from hub.sync.load import Progress

CONDITION = re.compile(r"""\s*("[^"]+"|[^\s<>=!"]+)\s*(<=|>=|!=|<>|=|<|>)\s*(.*?)\s*""", re.DOTALL)
JSON_SECONDS = 1.0  # between two lines of --json


def register(app: typer.Typer) -> None:
    for command in (load, request):
        app.command()(command)


def condition(text: str) -> Condition:
    """`COLUMN OPERATOR VALUE` -> its parts; the value stands for itself, with or without quotes. typer.BadParameter."""
    found = CONDITION.fullmatch(text)
    if found is None or not found[3]:
        raise typer.BadParameter('write COLUMN, one of = != < <= > >=, and a value: "UPD_DT >= 2020-01-01"', param_hint="--where")
    column, operator, value = found.groups()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return Condition(column, "!=" if operator == "<>" else operator, value)


def load(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A polled channel of hub.toml.")],
    kind: Annotated[str, typer.Option(help="What is loaded: patient, encounter, servicerequest …")],
    where: Annotated[
        list[str] | None, typer.Option(help='Only rows like these: "UPD_DT >= 2020-01-01". May be repeated.')
    ] = None,
    afresh: Annotated[bool, typer.Option("--afresh", help="From the beginning, whatever an interrupted load had done.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Load all that a channel's source holds of a kind. Goes on where it was interrupted; what is known already makes no message.

    Runs beside a hub and its polls, or without one: then what it stored waits. Ctrl-C ends it after the block in hand.

    Examples:

      hub load ocs-patient --kind patient

      hub load ocs-visit --kind encounter --where "VISIT_DT >= 2024-01-01" --where "DEPT = OBGY"
    """
    from hub.bootstrap.load import asked
    from hub.bootstrap.priority import step_back

    conditions = [condition(text) for text in where or ()]
    step_back()
    with _interruptible() as interrupted, opened(config) as hub, asked(hub, channel, kind, interrupted, later=True) as source:
        _wake(hub.config, source)
        detail = {"kind": source.kind, "conditions": len(conditions)}
        hub.audit.append(Action.LOAD_STARTED, actor=actor(), channel=channel, detail=detail)
        running = source.load(conditions).run(afresh=afresh)
        last = _json_lines(running) if as_json else _bar(running, f"{channel}, {source.kind.lower()}")
        ended = last is not None and last.ended
        counts = {"read": last.read if last else 0, "told": last.told if last else 0}
        hub.audit.append(
            Action.LOAD_ENDED if ended else Action.LOAD_INTERRUPTED, actor=actor(), channel=channel,
            detail={**detail, **counts},
        )  # fmt: skip
    if not ended:
        if not as_json:
            say("interrupted; the same command goes on from here", WARN)
        raise typer.Exit(1)
    if not as_json:
        say(f"{counts['read']:,} rows read, {counts['told']:,} of them new or changed", GOOD)


def _wake(config: Config, source: Asked) -> None:
    """Where Celery's workers apply, they are told of what is stored; others look by themselves."""
    make = waker(config)
    if make is not None:
        source.stored = partial(make(), "in")


@contextmanager
def _interruptible() -> Iterator[Any]:
    """A function that says whether Ctrl-C or SIGTERM came: the block in hand is finished first."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda *_: came.append(1)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bar(running: Iterator[Progress], title: str) -> Progress | None:
    last = None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[more]}"))
    with Bar(*columns) as bar:
        task = bar.add_task(title, total=None, more="")
        for last in running:
            bar.update(task, total=last.total, completed=last.read, more=_more(last))
    return last


def _more(now: Progress) -> str:
    if now.trouble:
        return f"waits: {now.trouble}"
    left = now.seconds_left
    return f"{now.rate:,.0f}/s" + (f", {left // 60:.0f}:{left % 60:02.0f} left" if left is not None else "")


def _json_lines(running: Iterator[Progress]) -> Progress | None:
    """A line a second, and one at the end."""
    last, told = None, 0.0
    for last in running:
        if last.ended or last.trouble or time.monotonic() - told >= JSON_SECONDS:
            told = time.monotonic()
            sys.stdout.write(orjson.dumps({**asdict(last), "seconds_left": last.seconds_left}).decode() + "\n")
            sys.stdout.flush()
    return last


def request(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="A polled channel of hub.toml.")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="patient, encounter, servicerequest …")],
    number: Annotated[str, typer.Argument(metavar="ID", help="Its number there.")],
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it is applied.")] = 30.0,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Fetch one thing from a channel's source now, wait until it is applied, and say what came. Exit 1 where there is none.

    Example:  hub request ocs-patient patient 10000015
    """
    from hub.bootstrap.load import asked

    with opened(config) as hub, asked(hub, channel, kind) as source:
        _wake(hub.config, source)
        hub.audit.append(Action.REQUEST_MADE, actor=actor(), channel=channel, detail={"kind": source.kind})
        rows = source.request(number)
        ids = [receipt.message_id for receipt in source.receipts if receipt.message_id is not None]
        states = _applied(hub, ids, wait)
        changes = _changes(hub, ids)
        known = _known(hub, source, number)
    if as_json:
        print_json({"found": rows, "messages": states, "changes": changes, "known_as": known})
    else:
        _say_what_came(rows, states, changes, known, source.kind)
    if not rows:
        raise typer.Exit(1)


def _applied(hub: Hub, ids: Sequence[int], seconds: float) -> dict[int, str]:
    """What became of these messages: `applied`, `ignored`, `stale`, `refused`, else the state that they are in."""
    until = time.monotonic() + seconds
    while True:
        states = _states(hub, ids)
        if "queued" not in states.values() or time.monotonic() >= until:
            return states
        time.sleep(0.05)


def _states(hub: Hub, ids: Sequence[int]) -> dict[int, str]:
    states = {}
    with hub.store.snapshot() as tx:
        for id_ in ids:
            outcome = tx.one("SELECT state, outcome FROM outcome WHERE message_id = ?", id_)
            work = tx.work_of(id_) if outcome is None else None
            states[id_] = (outcome[1] or outcome[0]) if outcome is not None else work[2] if work is not None else "gone"
    return states


def _changes(hub: Hub, ids: Sequence[int]) -> list[dict[str, Any]]:
    """What they changed: types and ids, no values."""
    found = []
    with hub.store.snapshot() as tx:
        for id_ in ids:
            sql = "SELECT type, resource_id, version, fields FROM change WHERE message_id = ? ORDER BY id"
            for type_, resource_id, version, fields in tx.many(sql, id_):
                found.append({"type": type_, "id": resource_id, "version": version, "fields": orjson.loads(fields)})
    return found


def _known(hub: Hub, source: Asked, number: str) -> list[str]:
    """The canonical resources of that kind with that number."""
    sql = "SELECT DISTINCT resource_id FROM identifier WHERE kind = ? AND value = ? ORDER BY resource_id"
    with hub.store.snapshot() as tx:
        return [row[0] for row in tx.many(sql, source.kind, number)]


def _say_what_came(rows: int, states: dict[int, str], changes: Sequence[dict[str, Any]], known: Sequence[str], kind: str) -> None:
    if not rows:
        say(f"the source has no {kind.lower()} of that number", WARN)
        return
    if not states:
        say(f"{rows} found, nothing new in what came", GOOD)
    for id_, state in states.items():
        waits = state == "queued"
        say(f"message {id_}: {'waits; nobody has applied it yet' if waits else state}", WARN if waits else GOOD)
    for one in changes:
        say(f"  {one['type']}  {one['id']}  version {one['version']}: {', '.join(one['fields'])}")
    for resource_id in known:
        say(f"known as {kind}/{resource_id}")
