"""What every command needs: the options that all share, tables and JSON, and opening the hub that hub.toml describes."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hub.audit.entry import check_detail
from hub.config import Config, load
from hub.domain.errors import Misconfigured, NotFound
from hub.domain.ids import now_us

if TYPE_CHECKING:  # SQLAlchemy and all adapters: 0.3 s that `hub --help` need not wait for
    from sqlalchemy import Engine

    from hub.audit.actions import Action
    from hub.bootstrap import Hub

ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="HUB_CONFIG", help="The hub's configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Plain JSON on stdout, nothing else.")]


def audit_reason(text: str) -> str:
    """A reason as the audit log takes it, by the API's rule (hub/audit/entry.py). typer.BadParameter."""
    text = text.strip()
    try:
        if len(text) < 3 or not text.isprintable():
            raise ValueError
        check_detail({"reason": text})
    except ValueError:
        raise typer.BadParameter(
            "write 3 to 200 characters on one line, without telephone, registration or other long numbers: it stays for ever"
        ) from None
    return text


ReasonOption = Annotated[
    str,
    typer.Option(
        "--reason", "-r", prompt=True, callback=audit_reason,
        help="Why: 3 to 200 characters on one line. Stands in the audit log for ever, so no patient data; telephone numbers, "
        "registration numbers and six digits in a row are refused.",
    ),
]  # fmt: skip
DEFAULT_CONFIG = Path("hub.toml")
SPAN = re.compile(r"(\d+)\s*([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
GOOD, BAD, WARN, DIM = "green", "bold red", "yellow", "dim"

out = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 160)


def complain(text: str) -> None:
    """One line on stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text("hub: ", style=BAD) + Text(text))


def say(text: str, style: str = "") -> None:
    """One line on stdout; no markup, so that brackets of ours stay."""
    out.print(Text(text, style=style), soft_wrap=True)


def print_json(value: Any) -> None:
    """`value` as JSON, indented, in UTF-8."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str).decode() + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table for people; columns named in `right` are numbers."""
    out.print(table(title, columns, rows, right=right))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> Table:
    """The same as a renderable, for live views."""
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in right)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)) for cell in row))
    return made


def actor() -> str:
    """Who acts, for the audit log: `cli:<user>`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli:unknown"


def moment(us: int | None) -> str:
    """A stored time for people, in this machine's zone."""
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if us else ""


def duration(us: int) -> str:
    """`0.2 s`, `3 m`, `5 h`, `2 d`."""
    seconds = us / 1e6
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def parse_moment(text: str | None) -> int | None:
    """`2h` (ago), `2026-11-22`, `2026-11-22T09:00` -> µs. typer.BadParameter where it is neither."""
    if not text:
        return None
    if found := SPAN.fullmatch(text.strip()):
        return now_us() - int(found.group(1)) * SECONDS[found.group(2)] * 1_000_000
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f'"{text}" is no time: write 15m, 2h, 3d, 2026-11-22 or 2026-11-22T09:00') from None
    return int(when.astimezone().timestamp() * 1_000_000)


def read_file(path: Path) -> bytes:
    """The bytes of a file that the user named. NotFound."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from None


def require_folder(config: Config) -> None:
    """Misconfigured where the folder of a SQLite file is missing: the driver would only say that it cannot open it."""
    folder = Path(config.database.url.removeprefix("sqlite:///")).parent
    if config.database.is_sqlite and not folder.is_dir():
        raise Misconfigured(f"there is no folder {folder} for the database: create it, or change [database] url")


@contextmanager
def database(config: Config) -> Iterator[Engine]:
    """The database for reading, its schema checked."""
    from hub.db import schema
    from hub.db.engine import make_engine, parse_url

    require_folder(config)
    engine = make_engine(parse_url(config.database.url))
    try:
        with told():
            schema.check(engine)
            yield engine
    finally:
        engine.dispose()


@contextmanager
def told() -> Iterator[None]:
    """A database that cannot be reached is the set-up's fault: one sentence, no parameters, no traceback."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        what = type(error.orig).__name__
        raise Misconfigured(f"the database cannot be used ({what}): is it running, and is [database] url right?") from None


def record(engine: Engine, action: Action, *, message_id: int | None = None, detail: dict[str, Any] | None = None) -> None:
    """One audit entry of what this command does, committed before it goes on."""
    from hub.db import audit

    with engine.begin() as connection:
        audit.append(connection, action, actor=actor(), message_id=message_id, detail=detail)


@contextmanager
def opened(config_file: Path) -> Iterator[Hub]:
    """The whole hub, without any role running: for what operators do to messages and channels."""
    from hub import bootstrap

    config = load(config_file)
    require_folder(config)
    with told():
        hub = bootstrap.open_hub(config)
        try:
            yield hub
        finally:
            hub.close()
